/**
 * `compileGrammar`: a grammar as data → a `Grammar`. What can't be enforced exactly is refused here, by an
 * UnsupportedGrammarError; malformed notation is a RequestError.
 */
import { RequestError, UnsupportedGrammarError } from "../../errors.ts";
import { GrammarBuilder } from "./builder.ts";
import type { Expression } from "./expression.ts";
import { gbnf } from "./gbnf.ts";
import { Grammar } from "./grammar.ts";
import { lark } from "./lark.ts";
import { wholeRegex } from "./regex.ts";
import { compileCall, compileSchema, stringMembers } from "./schema/compile-schema.ts";
import type { GrammarSpec, JsonValue } from "./spec.ts";
import { specialBytes } from "./vocabulary.ts";

/** Units of work (fuel.ts) that compiling may take. */
const COMPILE_FUEL = 1_000_000;
const KEPT_GRAMMARS = 128;
/** Of the kept grammars' descriptions together. */
const KEPT_CHARACTERS = 4 * 2 ** 20;

/**
 * Compiles a grammar.
 *
 * ```ts
 * const grammar = compileGrammar({ schema: { type: "object", properties: { age: { type: "integer" } }, required: ["age"] } });
 * grammar.accepts('{"age":7}'); // true
 * ```
 *
 * Throws UnsupportedGrammarError where the grammar asks for what can't be enforced, RequestError where it is malformed.
 */
export function compileGrammar(spec: GrammarSpec): Grammar {
  return new GrammarCompiler().compile(spec);
}

/** Names of the members, of objects that validate, that can be nothing but strings. */
export function stringMembersOf(schema: JsonValue): ReadonlySet<string> {
  return stringMembers(new GrammarBuilder(COMPILE_FUEL), schema);
}

/**
 * Compiles many grammars over one pool: what they have in common (the same pattern, the same format) is learnt once, and the
 * same grammar is compiled once. A server keeps one.
 */
export class GrammarCompiler {
  readonly #builder = new GrammarBuilder(COMPILE_FUEL);
  /** By their data; the first was used least recently. */
  readonly #grammars = new Map<string, Grammar>();
  #characters = 0;

  compile(spec: GrammarSpec): Grammar {
    const key = JSON.stringify(spec);
    const grammar = this.#grammars.get(key) ?? this.#compile(spec);
    this.#forget(key);
    this.#grammars.set(key, grammar);
    this.#characters += key.length;
    for (const oldest of this.#grammars.keys()) {
      if (this.#grammars.size <= KEPT_GRAMMARS && this.#characters <= KEPT_CHARACTERS) break;
      this.#forget(oldest);
    }
    return grammar;
  }

  #forget(key: string): void {
    if (this.#grammars.delete(key)) this.#characters -= key.length;
  }

  #compile(spec: GrammarSpec): Grammar {
    const builder = this.#builder;
    builder.fuel.fill(COMPILE_FUEL, "compiling");
    builder.pool.tidy(false);
    const body = lower(builder, spec, "");
    if (body === builder.pool.none || !builder.derivatives.live(body)) {
      throw new UnsupportedGrammarError("no text at all satisfies the grammar", "unsatisfiable", "");
    }
    return new Grammar(
      builder,
      builder.rule("grammar", body.nullable, () => body),
    );
  }
}

function lower(builder: GrammarBuilder, spec: GrammarSpec, path: string): Expression {
  const { pool } = builder;
  if ("schema" in spec) return compileSchema(builder, spec.schema, spec);
  if ("call" in spec) return compileCall(builder, spec.call, spec.notation);
  if ("json" in spec) {
    return compileSchema(builder, spec.json === "object" ? { type: "object" } : {}, { whitespace: spec.whitespace });
  }
  if ("regex" in spec) return wholeRegex(pool, spec.regex, { flags: spec.flags ?? "", path: `${path}/regex` });
  if ("gbnf" in spec) return gbnf(builder, spec.gbnf);
  if ("lark" in spec) {
    return lark(builder, spec.lark, (text, at) => compileSchema(builder, parseJson(text, at), {}));
  }
  if ("choice" in spec) return pool.alternatives(spec.choice.map((text) => pool.text(text)));
  if ("text" in spec) return pool.text(spec.text);
  if ("special" in spec) return pool.words([specialBytes(spec.special)]);
  if ("until" in spec) {
    const ends = pool.concat(pool.anyText, pool.text(spec.until));
    return pool.without(ends, pool.concat(ends, pool.anyChar, pool.anyText));
  }
  if ("without" in spec) {
    const found = spec.without.map((text) => pool.concat(pool.anyText, pool.text(text), pool.anyText));
    return pool.without(pool.anyText, pool.alternatives(found));
  }
  if ("sequence" in spec) {
    return pool.concat(...spec.sequence.map((one, i) => lower(builder, one, `${path}/sequence/${i}`)));
  }
  if ("anyOf" in spec) return pool.alternatives(spec.anyOf.map((one, i) => lower(builder, one, `${path}/anyOf/${i}`)));
  if ("repeat" in spec) {
    return pool.repeat(lower(builder, spec.repeat, `${path}/repeat`), spec.min ?? 0, spec.max ?? Infinity);
  }
  throw new RequestError(
    `a grammar has one of the fields schema, json, regex, gbnf, lark, choice, …; got ${Object.keys(spec).join(", ")}`,
  );
}

function parseJson(text: string, path: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    throw new RequestError(`the schema at ${path} is no JSON: ${String(error)}`, { cause: error });
  }
}
