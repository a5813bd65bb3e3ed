/** Characters and classes of a JavaScript regular expression, as sets of code points: escapes, brackets, \p, case folding. */
import {
  type CodePoints,
  fromRanges,
  invert,
  unicodeClasses,
  type UnicodeClasses,
  unite,
} from "../../tokenizer/code-points.ts";
import type { TextScanner } from "./text-scanner.ts";

const DIGIT = fromRanges([[0x30, 0x39]]);
const WORD = fromRanges([
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
]);
const SPACE = fromRanges([
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
]);
const LINE_END = fromRanges([
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
]);
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };
const LONG_NAMES: Readonly<Record<string, string>> = {
  Letter: "L",
  Uppercase_Letter: "Lu",
  Lowercase_Letter: "Ll",
  Titlecase_Letter: "Lt",
  Cased_Letter: "LC",
  Modifier_Letter: "Lm",
  Other_Letter: "Lo",
  Mark: "M",
  Nonspacing_Mark: "Mn",
  Spacing_Mark: "Mc",
  Enclosing_Mark: "Me",
  Number: "N",
  Decimal_Number: "Nd",
  digit: "Nd",
  Letter_Number: "Nl",
  Other_Number: "No",
  Punctuation: "P",
  punct: "P",
  Connector_Punctuation: "Pc",
  Dash_Punctuation: "Pd",
  Open_Punctuation: "Ps",
  Close_Punctuation: "Pe",
  Initial_Punctuation: "Pi",
  Final_Punctuation: "Pf",
  Other_Punctuation: "Po",
  Symbol: "S",
  Math_Symbol: "Sm",
  Currency_Symbol: "Sc",
  Modifier_Symbol: "Sk",
  Other_Symbol: "So",
  Separator: "Z",
  Space_Separator: "Zs",
  Line_Separator: "Zl",
  Paragraph_Separator: "Zp",
  Other: "C",
  Control: "Cc",
  cntrl: "Cc",
  Format: "Cf",
};

/** A larger set under the flag i is taken to hold both cases already: categories and complements. */
const FOLD_LIMIT = 4000;

export class RegexClasses {
  readonly #scanner: TextScanner;
  readonly #ignoreCase: boolean;
  readonly #dotAll: boolean;
  #unicode: UnicodeClasses | undefined;

  constructor(scanner: TextScanner, ignoreCase: boolean, dotAll: boolean) {
    this.#scanner = scanner;
    this.#ignoreCase = ignoreCase;
    this.#dotAll = dotAll;
  }

  dot(): CodePoints {
    return this.#dotAll ? [0, 0x110000] : invert(LINE_END);
  }

  literal(char: string): CodePoints {
    const code = char.codePointAt(0) ?? 0;
    return this.#fold([code, code + 1]);
  }

  /** What stands after `[`, to `]`. */
  bracket(): CodePoints {
    const scanner = this.#scanner;
    const negated = scanner.skip("^");
    const sets: CodePoints[] = [];
    while (!scanner.skip("]")) {
      const first = this.#member();
      if (scanner.peek() === "-" && scanner.rest(2) !== "-]") {
        const before = scanner.position;
        scanner.next();
        const last = this.#member();
        if (isSingle(first) && isSingle(last)) {
          if ((first[0] ?? 0) > (last[0] ?? 0)) scanner.fail("a range is out of order");
          sets.push([first[0] ?? 0, last[1] ?? 0]);
          continue;
        }
        // [\w-.]: the dash is a character.
        scanner.position = before;
      }
      sets.push(first);
    }
    const set = this.#fold(unite(sets));
    return negated ? invert(set) : set;
  }

  /** From a backslash on, outside brackets. */
  escape(): CodePoints {
    return this.#fold(this.#escape());
  }

  #member(): CodePoints {
    const scanner = this.#scanner;
    if (scanner.done) scanner.fail("a class isn't closed");
    if (scanner.rest(2) === "\\b") {
      scanner.position += 2;
      return [8, 9];
    }
    if (scanner.peek() === "\\") return this.#escape();
    const code = scanner.next().codePointAt(0) ?? 0;
    return [code, code + 1];
  }

  #escape(): CodePoints {
    const scanner = this.#scanner;
    scanner.next();
    const char = scanner.next();
    const control = CONTROLS[char];
    if (control !== undefined) {
      if (char === "0" && /\d/.test(scanner.peek())) scanner.fail("octal escapes aren't part of the language");
      return [control, control + 1];
    }
    switch (char) {
      case "d":
        return DIGIT;
      case "D":
        return invert(DIGIT);
      case "w":
        return WORD;
      case "W":
        return invert(WORD);
      case "s":
        return SPACE;
      case "S":
        return invert(SPACE);
      case "p":
        return this.#property();
      case "P":
        return invert(this.#property());
      case "x":
      case "u":
        return this.#hex(char);
      case "c": {
        const letter = scanner.match(/[a-zA-Z]/y)?.[0] ?? scanner.fail("\\c needs a letter");
        const code = letter.charCodeAt(0) % 32;
        return [code, code + 1];
      }
      default: {
        if (/[a-zA-Z0-9]/.test(char)) scanner.fail(`\\${char} is no escape`);
        const code = char.codePointAt(0) ?? 0;
        return [code, code + 1];
      }
    }
  }

  #hex(kind: "x" | "u"): CodePoints {
    const scanner: TextScanner = this.#scanner;
    const match =
      kind === "x"
        ? scanner.match(/([0-9a-fA-F]{2})/y)
        : scanner.match(
            /\{([0-9a-fA-F]+)\}|([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|([0-9a-fA-F]{4})/y,
          );
    if (match === undefined) scanner.fail(`\\${kind} needs hexadecimal digits`);
    const [, single, high, low, unit] = match;
    const code =
      high !== undefined && low !== undefined
        ? 0x10000 + ((Number.parseInt(high, 16) - 0xd800) << 10) + (Number.parseInt(low, 16) - 0xdc00)
        : Number.parseInt(single ?? unit ?? "", 16);
    if (code > 0x10ffff) scanner.fail("a code point is too large");
    return [code, code + 1];
  }

  #property(): CodePoints {
    const scanner = this.#scanner;
    const name = scanner.match(/\{([A-Za-z0-9_=]+)\}/y)?.[1] ?? scanner.fail("\\p needs a name in braces");
    if (name === "Any") return [0, 0x110000];
    if (name === "ASCII") return [0, 0x80];
    this.#unicode ??= unicodeClasses();
    const unicode = this.#unicode;
    const short = name.replace(/^(?:gc|General_Category)=/, "");
    const category = LONG_NAMES[short] ?? short;
    const set =
      category === "LC"
        ? unite(["Lu", "Ll", "Lt"].map((one) => unicode.category(one) ?? []))
        : unicode.category(category);
    return set ?? scanner.fail(`\\p{${name}} isn't a general category, the only property that is known`);
  }

  #fold(set: CodePoints): CodePoints {
    if (!this.#ignoreCase) return set;
    let size = 0;
    for (let i = 0; i < set.length; i += 2) size += (set[i + 1] ?? 0) - (set[i] ?? 0);
    if (size > FOLD_LIMIT) return set;
    const more: [number, number][] = [];
    for (let i = 0; i < set.length; i += 2) {
      for (let code = set[i] ?? 0; code < (set[i + 1] ?? 0); code++) {
        const char = String.fromCodePoint(code);
        for (const other of [char.toLowerCase(), char.toUpperCase()]) {
          const point = other.codePointAt(0) ?? code;
          if (String.fromCodePoint(point) === other) more.push([point, point]);
        }
      }
    }
    return unite([set, fromRanges(more)]);
  }
}

function isSingle(set: CodePoints): boolean {
  return set.length === 2 && (set[1] ?? 0) - (set[0] ?? 0) === 1;
}
