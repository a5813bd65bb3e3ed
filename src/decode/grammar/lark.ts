/**
 * Lark's notation, the part that describes a language: rules, terminals, strings, regular expressions, ranges, repetitions,
 * %import from `common`, %ignore, and llguidance's `%json { … }`. There is no lexer beside the parser: a text is in the language
 * if some division into terminals parses (Lark's Earley parser with `lexer="dynamic_complete"`); priorities and aliases, which
 * choose among parses, are read over. Templates, %declare, %extend and %override are refused.
 */
import { UnsupportedGrammarError } from "../../errors.ts";
import type { GrammarBuilder } from "./builder.ts";
import { lowerRules, type Syntax } from "./context-free.ts";
import type { Expression } from "./expression.ts";
import { COMMON_TERMINALS } from "./lark-terminals.ts";
import { wholeRegex } from "./regex.ts";
import { TextScanner } from "./text-scanner.ts";

/** Lowers the schema of a `%json` item. */
export type SchemaReader = (schemaText: string, path: string) => Expression;

const DEPTH = 200;
const RULE = /[?!]*(_?[a-z][_a-z0-9]*)(?:\.-?\d+)?(?=[\s:{])/y;
const TERMINAL = /!?(_?[A-Z][_A-Z0-9]*)(?:\.-?\d+)?(?=[\s:{])/y;
const TERMINAL_NAME = /^_?[A-Z]/;

export function lark(builder: GrammarBuilder, source: string, schema: SchemaReader): Expression {
  return new LarkReader(builder, source, schema).read();
}

class LarkReader {
  readonly #builder: GrammarBuilder;
  readonly #scanner: TextScanner;
  readonly #schema: SchemaReader;
  readonly #rules = new Map<string, Syntax>();
  readonly #terminals = new Map<string, Syntax>();
  readonly #lowered = new Map<string, Expression>();
  readonly #lowering = new Set<string>();
  readonly #ignored: Syntax[] = [];
  #depth = 0;

  constructor(builder: GrammarBuilder, source: string, schema: SchemaReader) {
    this.#builder = builder;
    this.#scanner = new TextScanner(source, "the Lark grammar", "");
    this.#schema = schema;
  }

  read(): Expression {
    const scanner = this.#scanner;
    for (this.#space(true); !scanner.done; this.#space(true)) {
      if (scanner.peek() === "%") this.#directive();
      else this.#definition();
    }
    const { pool } = this.#builder;
    const ignored = pool.repeat(pool.alternatives(this.#ignored.map((one) => this.#terminal(one))), 0, Infinity);
    const rules = new Map<string, Syntax>();
    for (const [name, syntax] of this.#rules) rules.set(name, this.#withIgnored(syntax, ignored));
    if (!rules.has("start")) scanner.fail('it has no rule "start"');
    return pool.concat(lowerRules(this.#builder, rules, "start"), ignored);
  }

  #definition(): void {
    const scanner = this.#scanner;
    const rule = scanner.match(RULE)?.[1];
    const name = rule ?? scanner.match(TERMINAL)?.[1] ?? scanner.fail("a rule or a terminal is expected");
    if (scanner.peek() === "{") this.#refuse("a template", "template");
    this.#space(false);
    if (!scanner.skip(":")) scanner.fail('":" is expected');
    const table = rule === undefined ? this.#terminals : this.#rules;
    if (table.has(name)) scanner.fail(`"${name}" is defined twice`);
    table.set(name, this.#alternatives());
    this.#endOfLine();
  }

  #directive(): void {
    const scanner = this.#scanner;
    if (scanner.match(/%ignore\b/y) !== undefined) {
      this.#ignored.push(this.#alternatives());
    } else if (scanner.match(/%import\s+/y) !== undefined) {
      const [, name, list, alias] =
        scanner.match(/common\s*(?:\.\s*(\w+)|\(([\w\s,]+)\))(?:\s*->\s*(\w+))?/y) ??
        this.#refuse("an import from elsewhere than common", "%import");
      const names = name === undefined ? (list ?? "").split(",").map((one) => one.trim()) : [name];
      for (const one of names) {
        const regex = COMMON_TERMINALS[one] ?? scanner.fail(`common has no terminal ${one}`);
        this.#terminals.set(alias ?? one, this.#leaf(wholeRegex(this.#builder.pool, regex)));
      }
    } else {
      this.#refuse(`the directive ${scanner.match(/%\w*/y)?.[0] ?? "%"}`, "directive");
    }
    this.#endOfLine();
  }

  #endOfLine(): void {
    this.#space(false);
    if (!this.#scanner.done && this.#scanner.match(/\r?\n/y) === undefined)
      this.#scanner.fail("a definition ends where its line does");
  }

  #space(lines: boolean): void {
    this.#scanner.match(lines ? /(?:[ \t\r\n]|#[^\n]*|\/\/[^\n]*)*/y : /(?:[ \t]|\/\/[^\n]*)*/y);
  }

  #alternatives(): Syntax {
    if (++this.#depth > DEPTH) this.#scanner.fail("groups are nested too deeply");
    const list: Syntax[] = [];
    this.#space(false);
    // The first alternative may stand in the next line after a bar.
    this.#bar();
    do list.push(this.#sequence());
    while (this.#bar());
    this.#depth--;
    return { kind: "alternatives", list };
  }

  #bar(): boolean {
    const before = this.#scanner.position;
    this.#space(true);
    if (this.#scanner.skip("|")) return true;
    this.#scanner.position = before;
    return false;
  }

  #sequence(): Syntax {
    const list: Syntax[] = [];
    for (;;) {
      this.#space(false);
      if (this.#scanner.match(/->\s*\w+/y) !== undefined) return { kind: "sequence", list };
      const element = this.#element();
      if (element === undefined) return { kind: "sequence", list };
      list.push(this.#repeated(element));
    }
  }

  #element(): Syntax | undefined {
    const scanner = this.#scanner;
    if (scanner.peek() === '"') return this.#string();
    if (scanner.peek() === "/") return this.#regex();
    for (const [open, close] of [
      ["(", ")"],
      ["[", "]"],
    ] as const) {
      if (!scanner.skip(open)) continue;
      this.#space(true);
      const group = this.#alternatives();
      this.#space(true);
      if (!scanner.skip(close)) scanner.fail(`"${close}" is missing`);
      return open === "(" ? group : { kind: "repeat", of: group, min: 0, max: 1 };
    }
    if (scanner.match(/%json\s*/y) !== undefined) return this.#json();
    if (scanner.peek() === "<") this.#refuse("a token reference", "token reference");
    const name = scanner.match(/!?(_?[a-zA-Z][_a-zA-Z0-9]*)/y)?.[1];
    if (name === undefined) return undefined;
    if (scanner.peek() === "{") this.#refuse("a template", "template");
    if (scanner.peek() === ":") scanner.fail("a definition begins in a line of its own");
    return { kind: "reference", name };
  }

  #repeated(element: Syntax): Syntax {
    const scanner = this.#scanner;
    if (scanner.skip("*")) return { kind: "repeat", of: element, min: 0, max: Infinity };
    if (scanner.skip("+")) return { kind: "repeat", of: element, min: 1, max: Infinity };
    if (scanner.skip("?")) return { kind: "repeat", of: element, min: 0, max: 1 };
    const match = scanner.match(/\s*~\s*(\d+)(?:\s*\.\.\s*(\d+))?/y);
    if (match === undefined) return element;
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : Number(match[2]);
    if (min > max) scanner.fail("a repetition's bounds are out of order");
    return { kind: "repeat", of: element, min, max };
  }

  #string(): Syntax {
    const scanner = this.#scanner;
    const { pool } = this.#builder;
    const text = this.#quoted();
    if (scanner.skip("i")) return this.#leaf(wholeRegex(pool, escapeRegex(text), { flags: "i" }));
    if (scanner.match(/\s*\.\.\s*(?=")/y) === undefined) return this.#leaf(pool.text(text));
    const first = text.codePointAt(0) ?? 0;
    const last = this.#quoted().codePointAt(0) ?? 0;
    if (first > last) scanner.fail("a range is out of order");
    return this.#leaf(pool.char([first, last + 1]));
  }

  #quoted(): string {
    const scanner: TextScanner = this.#scanner;
    const match = scanner.match(/"((?:[^"\\\n]|\\.)*)"/y) ?? scanner.fail("a string isn't closed");
    return (match[1] ?? "").replace(/\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))/gs, (_, byte, unit, char) => {
      const hex: unknown = byte ?? unit;
      if (typeof hex === "string") return String.fromCharCode(Number.parseInt(hex, 16));
      const simple: Readonly<Record<string, string>> = {
        n: "\n",
        r: "\r",
        t: "\t",
        f: "\f",
        v: "\v",
        b: "\b",
        "0": "\0",
      };
      return simple[String(char)] ?? String(char);
    });
  }

  #regex(): Syntax {
    const scanner: TextScanner = this.#scanner;
    const match =
      scanner.match(/\/((?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)\/([a-z]*)/y) ??
      scanner.fail("a regular expression isn't closed");
    const { position } = scanner;
    const options = { flags: match[2] ?? "", path: `character ${position}` };
    return this.#leaf(wholeRegex(this.#builder.pool, match[1] ?? "", options));
  }

  #json(): Syntax {
    const scanner = this.#scanner;
    const from = scanner.position;
    let depth = 0;
    do {
      // Over strings in one go, so that a brace in one doesn't count.
      if (scanner.match(/"(?:[^"\\]|\\.)*"|[^"{}]/y) !== undefined) continue;
      if (scanner.skip("{")) depth++;
      else if (scanner.skip("}")) depth--;
      else scanner.fail("a schema isn't closed");
    } while (depth > 0);
    return this.#leaf(this.#schema(scanner.text.slice(from, scanner.position), `character ${from}`));
  }

  #leaf(expression: Expression): Syntax {
    return { kind: "expression", expression };
  }

  /** Puts what is ignored before every terminal of a rule. */
  #withIgnored(syntax: Syntax, ignored: Expression): Syntax {
    switch (syntax.kind) {
      case "expression":
        return this.#leaf(this.#builder.pool.concat(ignored, syntax.expression));
      case "reference":
        if (!TERMINAL_NAME.test(syntax.name)) return syntax;
        return this.#leaf(this.#builder.pool.concat(ignored, this.#terminal(syntax)));
      case "sequence":
      case "alternatives":
        return { ...syntax, list: syntax.list.map((one) => this.#withIgnored(one, ignored)) };
      case "repeat":
        return { ...syntax, of: this.#withIgnored(syntax.of, ignored) };
      default:
        return syntax satisfies never;
    }
  }

  /** A terminal's definition, with the terminals that it names put in. */
  #terminal(syntax: Syntax): Expression {
    const { pool } = this.#builder;
    switch (syntax.kind) {
      case "expression":
        return syntax.expression;
      case "sequence":
        return pool.concat(...syntax.list.map((one) => this.#terminal(one)));
      case "alternatives":
        return pool.alternatives(syntax.list.map((one) => this.#terminal(one)));
      case "repeat":
        return pool.repeat(this.#terminal(syntax.of), syntax.min, syntax.max);
      case "reference": {
        const { name } = syntax;
        const known = this.#lowered.get(name);
        if (known !== undefined) return known;
        const definition = this.#terminals.get(name) ?? this.#scanner.fail(`there is no terminal ${name}`);
        if (this.#lowering.has(name)) this.#scanner.fail(`the terminal ${name} is defined by itself`);
        this.#lowering.add(name);
        const expression = this.#terminal(definition);
        this.#lowered.set(name, expression);
        return expression;
      }
      default:
        return syntax satisfies never;
    }
  }

  #refuse(what: string, keyword: string): never {
    throw new UnsupportedGrammarError(
      `${what} isn't supported in a Lark grammar`,
      keyword,
      `character ${this.#scanner.position}`,
    );
  }
}

function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
