/**
 * JavaScript's regular expressions (by code points, as with the flag u) as expressions. Look-around, back-references and
 * word boundaries are refused; anchors are understood wherever they can be told from the text before and after them.
 * Character classes stand in regex-class.ts.
 */
import { UnsupportedGrammarError } from "../../errors.ts";
import type { CodePoints } from "../../tokenizer/code-points.ts";
import type { Expression } from "./expression.ts";
import type { ExpressionPool } from "./expression-pool.ts";
import { RegexClasses } from "./regex-class.ts";
import { TextScanner } from "./text-scanner.ts";

export interface RegexOptions {
  /** "i" and "s" have a meaning; "u", "v", "g", "y" and "d" have none here. */
  readonly flags?: string;
  /** Where the pattern stands, for errors. */
  readonly path?: string;
}

/** A way to match, and whether it holds only at the text's beginning or end. */
interface Way {
  readonly start: boolean;
  readonly end: boolean;
  readonly body: Expression;
}

/** Groups within groups, at most. */
const DEPTH = 250;

/** The texts that a pattern matches as a whole. */
export function wholeRegex(pool: ExpressionPool, source: string, options: RegexOptions = {}): Expression {
  return pool.alternatives(new RegexParser(pool, source, options).parse().map((way) => way.body));
}

/** The texts in which a pattern is found: JSON Schema's `pattern`. */
export function foundRegex(pool: ExpressionPool, source: string, options: RegexOptions = {}): Expression {
  const ways = new RegexParser(pool, source, options).parse();
  const around = (anchored: boolean): Expression => (anchored ? pool.empty : pool.anyText);
  return pool.alternatives(ways.map(({ start, end, body }) => pool.concat(around(start), body, around(end))));
}

class RegexParser {
  readonly #pool: ExpressionPool;
  readonly #scanner: TextScanner;
  readonly #classes: RegexClasses;
  readonly #path: string;
  #depth = 0;

  constructor(pool: ExpressionPool, source: string, options: RegexOptions) {
    const { flags = "", path = "" } = options;
    if (/[^isuvgyd]/.test(flags))
      throw new UnsupportedGrammarError(`the flags "${flags}" aren't supported`, "flags", path);
    this.#pool = pool;
    this.#path = path;
    this.#scanner = new TextScanner(source, `the regular expression ${JSON.stringify(source.slice(0, 200))}`, path);
    this.#classes = new RegexClasses(this.#scanner, flags.includes("i"), flags.includes("s"));
  }

  parse(): readonly Way[] {
    const ways = this.#alternatives();
    if (!this.#scanner.done) this.#scanner.fail(`"${this.#scanner.peek()}" has no partner`);
    return ways;
  }

  #alternatives(): readonly Way[] {
    if (++this.#depth > DEPTH) this.#refuse("groups nested this deeply", "complexity");
    const ways: Way[] = [];
    do ways.push(...this.#sequence());
    while (this.#scanner.skip("|"));
    this.#depth--;
    if (ways.some((way) => way.start || way.end)) return ways;
    return [this.#plain(this.#pool.alternatives(ways.map((way) => way.body)))];
  }

  #sequence(): readonly Way[] {
    const parts: (readonly Way[])[] = [];
    while (!this.#scanner.done && this.#scanner.peek() !== "|" && this.#scanner.peek() !== ")")
      parts.push(this.#term());
    // From the right, so that a long sequence is built in linear time.
    let ways: readonly Way[] = [this.#plain(this.#pool.empty)];
    for (const part of parts.reverse()) {
      ways = part.flatMap((left) => ways.flatMap((right) => this.#join(left, right)));
      if (ways.length > 100) this.#refuse("this many anchored alternatives", "complexity");
    }
    return ways;
  }

  /** One way after another. An anchor between them holds only if what is on its outer side is empty. */
  #join(left: Way, right: Way): readonly Way[] {
    if (right.start && !left.body.nullable) return [];
    if (left.end && !right.body.nullable) return [];
    const { empty } = this.#pool;
    const body = this.#pool.concat(right.start ? empty : left.body, left.end ? empty : right.body);
    return [{ start: left.start || right.start, end: left.end || right.end, body }];
  }

  #term(): readonly Way[] {
    this.#pool.fuel.spend(4);
    const scanner = this.#scanner;
    const anchored = scanner.peek() === "^" || scanner.peek() === "$";
    const atom = anchored ? this.#anchor() : this.#atom();
    const quantifier = this.#quantifier();
    if (quantifier === undefined) return atom;
    if (anchored) scanner.fail("an anchor can't be repeated");
    const [min, max] = quantifier;
    if (atom.every((way) => !way.start && !way.end)) {
      return [this.#plain(this.#pool.repeat(this.#pool.alternatives(atom.map((way) => way.body)), min, max))];
    }
    if (max > 1) this.#refuse("an anchor inside a repetition", "anchor");
    if (max === 0) return [this.#plain(this.#pool.empty)];
    return min === 0 ? [this.#plain(this.#pool.empty), ...atom] : atom;
  }

  #anchor(): readonly Way[] {
    const start = this.#scanner.next() === "^";
    return [{ start, end: !start, body: this.#pool.empty }];
  }

  #atom(): readonly Way[] {
    const scanner = this.#scanner;
    if (scanner.skip("(")) return this.#group();
    if (scanner.skip("[")) return this.#set(this.#classes.bracket());
    if (scanner.skip(".")) return this.#set(this.#classes.dot());
    if (scanner.peek() === "\\") {
      if (/^\\[bB]/.test(scanner.rest(2))) this.#refuse("a word boundary", "\\b");
      if (/^\\[1-9]/.test(scanner.rest(2)) || scanner.rest(2) === "\\k")
        this.#refuse("a back-reference", "back-reference");
      return this.#set(this.#classes.escape());
    }
    if (/[*+?]/.test(scanner.peek())) scanner.fail(`"${scanner.peek()}" has nothing to repeat`);
    return this.#set(this.#classes.literal(scanner.next()));
  }

  #group(): readonly Way[] {
    const scanner = this.#scanner;
    if (scanner.skip("?")) {
      if (/^(?:[=!]|<[=!])/.test(scanner.rest(2))) this.#refuse("look-ahead and look-behind", "look-around");
      if (scanner.skip("<")) {
        if (!/^[\p{L}\p{N}_$]+$/u.test(scanner.until(">"))) scanner.fail("a group's name is wrong");
      } else if (!scanner.skip(":")) this.#refuse(`a group that begins with "(?${scanner.peek()}"`, "group");
    }
    const ways = this.#alternatives();
    if (!scanner.skip(")")) scanner.fail("a group isn't closed");
    return ways;
  }

  #quantifier(): readonly [min: number, max: number] | undefined {
    const scanner = this.#scanner;
    let bounds: readonly [number, number] | undefined;
    if (scanner.skip("*")) bounds = [0, Infinity];
    else if (scanner.skip("+")) bounds = [1, Infinity];
    else if (scanner.skip("?")) bounds = [0, 1];
    else {
      const match = scanner.match(/\{(\d+)(?:(,)(\d*))?\}/y);
      if (match === undefined) return undefined;
      const min = Number(match[1]);
      bounds = [min, match[2] === undefined ? min : match[3] === "" ? Infinity : Number(match[3])];
      if (bounds[0] > bounds[1]) scanner.fail("a repetition's bounds are out of order");
    }
    // Laziness changes which match is found, not whether there is one.
    scanner.skip("?");
    if (/[*+?]/.test(scanner.peek())) scanner.fail("a repetition can't be repeated");
    return bounds;
  }

  #set(set: CodePoints): readonly Way[] {
    return [this.#plain(this.#pool.char(set))];
  }

  #plain(body: Expression): Way {
    return { start: false, end: false, body };
  }

  #refuse(what: string, keyword: string): never {
    throw new UnsupportedGrammarError(
      `${what} can't be enforced in a regular expression (at character ${this.#scanner.position})`,
      keyword,
      this.#path,
    );
  }
}
