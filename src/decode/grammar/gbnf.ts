/**
 * GBNF, llama.cpp's notation: rules `name ::= …` of literals, character classes, groups and repetitions; the root is `root`.
 * Left recursion is allowed here. Token references (`<[42]>`, `<think>`) are refused: a grammar knows text only.
 */
import { UnsupportedGrammarError } from "../../errors.ts";
import { type CodePoints, fromRanges, invert } from "../../tokenizer/code-points.ts";
import type { GrammarBuilder } from "./builder.ts";
import { lowerRules, type Syntax } from "./context-free.ts";
import type { Expression } from "./expression.ts";
import type { ExpressionPool } from "./expression-pool.ts";
import { TextScanner } from "./text-scanner.ts";

/** Groups within groups, at most. */
const DEPTH = 200;

export function gbnf(builder: GrammarBuilder, source: string): Expression {
  return lowerRules(builder, new GbnfReader(builder.pool, source).read(), "root");
}

class GbnfReader {
  readonly #pool: ExpressionPool;
  readonly #scanner: TextScanner;
  #depth = 0;

  constructor(pool: ExpressionPool, source: string) {
    this.#pool = pool;
    this.#scanner = new TextScanner(source, "the GBNF grammar", "");
  }

  read(): ReadonlyMap<string, Syntax> {
    const scanner = this.#scanner;
    const rules = new Map<string, Syntax>();
    for (this.#space(true); !scanner.done; this.#space(true)) {
      const name = this.#name() ?? scanner.fail("a rule's name is expected");
      this.#space(false);
      if (!scanner.skip("::=")) scanner.fail('"::=" is expected');
      if (rules.has(name)) scanner.fail(`the rule "${name}" is defined twice`);
      this.#space(true);
      rules.set(name, this.#alternatives(false));
      this.#space(false);
      if (!scanner.done && scanner.match(/\r?\n/y) === undefined) scanner.fail("a rule ends where its line does");
    }
    return rules;
  }

  /** Past blanks and comments; past line ends too where they don't end a rule. */
  #space(lines: boolean): void {
    this.#scanner.match(lines ? /(?:[ \t\r\n]|#[^\n]*)*/y : /(?:[ \t]|#[^\n]*)*/y);
  }

  #name(): string | undefined {
    return this.#scanner.match(/[a-zA-Z0-9][a-zA-Z0-9-]*/y)?.[0];
  }

  #alternatives(nested: boolean): Syntax {
    if (++this.#depth > DEPTH) this.#scanner.fail("groups are nested too deeply");
    const list = [this.#sequence(nested)];
    while (this.#scanner.skip("|")) {
      this.#space(true);
      list.push(this.#sequence(nested));
    }
    this.#depth--;
    return { kind: "alternatives", list };
  }

  #sequence(nested: boolean): Syntax {
    const list: Syntax[] = [];
    for (;;) {
      const before = this.#scanner.position;
      // As llama.cpp: a sequence may go on in the next line inside a group only.
      this.#space(nested);
      const element = this.#element();
      if (element === undefined) {
        if (this.#scanner.peek() !== "|" && this.#scanner.peek() !== ")") this.#scanner.position = before;
        return { kind: "sequence", list };
      }
      list.push(this.#repeated(element));
    }
  }

  #element(): Syntax | undefined {
    const scanner = this.#scanner;
    if (scanner.skip('"')) return this.#leaf(this.#pool.text(this.#literal()));
    if (scanner.skip("[")) return this.#leaf(this.#pool.char(this.#class()));
    if (scanner.skip(".")) return this.#leaf(this.#pool.anyChar);
    if (scanner.skip("(")) {
      this.#space(true);
      const group = this.#alternatives(true);
      this.#space(true);
      if (!scanner.skip(")")) scanner.fail("a group isn't closed");
      return group;
    }
    if (scanner.peek() === "<" || scanner.peek() === "!") {
      throw new UnsupportedGrammarError(
        "a grammar can't refer to tokens, only to text",
        "token reference",
        `character ${scanner.position}`,
      );
    }
    const name = this.#name();
    return name === undefined ? undefined : { kind: "reference", name };
  }

  #repeated(element: Syntax): Syntax {
    const scanner = this.#scanner;
    let syntax = element;
    for (;;) {
      if (scanner.skip("*")) syntax = { kind: "repeat", of: syntax, min: 0, max: Infinity };
      else if (scanner.skip("+")) syntax = { kind: "repeat", of: syntax, min: 1, max: Infinity };
      else if (scanner.skip("?")) syntax = { kind: "repeat", of: syntax, min: 0, max: 1 };
      else {
        const match = scanner.match(/\{\s*(\d*)\s*(?:(,)\s*(\d*)\s*)?\}/y);
        if (match === undefined) return syntax;
        const [, low = "", comma, high = ""] = match;
        if (low === "" && (comma === undefined || high === "")) scanner.fail("a repetition needs a number");
        const min = Number(low);
        const max = comma === undefined ? min : high === "" ? Infinity : Number(high);
        if (min > max) scanner.fail("a repetition's bounds are out of order");
        syntax = { kind: "repeat", of: syntax, min, max };
      }
    }
  }

  #leaf(expression: Expression): Syntax {
    return { kind: "expression", expression };
  }

  #literal(): string {
    let text = "";
    while (!this.#scanner.skip('"')) text += this.#char();
    return text;
  }

  #class(): CodePoints {
    const scanner = this.#scanner;
    const negated = scanner.skip("^");
    const ranges: [number, number][] = [];
    while (!scanner.skip("]")) {
      const first = this.#char().codePointAt(0) ?? 0;
      let last = first;
      if (scanner.peek() === "-" && scanner.rest(2) !== "-]") {
        scanner.next();
        last = this.#char().codePointAt(0) ?? 0;
        if (first > last) scanner.fail("a range is out of order");
      }
      ranges.push([first, last]);
    }
    const set = fromRanges(ranges);
    return negated ? invert(set) : set;
  }

  #char(): string {
    const scanner: TextScanner = this.#scanner;
    const char = scanner.next();
    if (char !== "\\") return char;
    const escape = scanner.next();
    const simple = { n: "\n", r: "\r", t: "\t", "\\": "\\", '"': '"', "[": "[", "]": "]" }[escape];
    if (simple !== undefined) return simple;
    const digits = { x: 2, u: 4, U: 8 }[escape] ?? scanner.fail(`\\${escape} is no escape`);
    const hex = scanner.match(new RegExp(`[0-9a-fA-F]{${digits}}`, "y"))?.[0];
    const code = Number.parseInt(hex ?? "", 16);
    if (!(code <= 0x10ffff) || (code >= 0xd800 && code < 0xe000))
      scanner.fail(`\\${escape} needs ${digits} digits of a character`);
    return String.fromCodePoint(code);
  }
}
