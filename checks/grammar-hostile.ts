/**
 * check:grammar, third part: grammars made to stall. Each is refused, or compiled and taken a few tokens along, within a second
 * and without much memory; whichever it is, it is the same on every machine, because work is counted and not timed.
 */
import process from "node:process";
import { MillraceError } from "../src/errors.ts";
import { compileGrammar } from "../src/decode/grammar/compile.ts";
import { GrammarCursor, type GrammarVocabulary } from "../src/decode/grammar/grammar.ts";
import { allows } from "../src/decode/grammar/vocabulary.ts";
import type { GrammarSpec, JsonValue } from "../src/decode/grammar/spec.ts";

export interface HostileResult {
  readonly name: string;
  /** What was said, or "compiled". */
  readonly outcome: string;
  /** Of this process's CPU, so that a busy machine doesn't count. */
  readonly milliseconds: number;
}

function deep(depth: number, wrap: (inner: JsonValue) => JsonValue, inner: JsonValue = { type: "string" }): JsonValue {
  let schema = inner;
  for (let i = 0; i < depth; i++) schema = wrap(schema);
  return schema;
}

function many<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

const object = (count: number, value: (i: number) => JsonValue, more: Record<string, JsonValue> = {}): JsonValue => ({
  type: "object",
  properties: Object.fromEntries(many(count, (i) => [`key${i}`, value(i)])),
  ...more,
});

/** The set: name → grammar. Made when asked for, since some are large. */
export const HOSTILE: Readonly<Record<string, () => GrammarSpec>> = {
  "pattern (a{1000}){1000}": () => ({ schema: { type: "string", pattern: "(a{1000}){1000}" } }),
  "pattern ((a{1000}){1000}){1000}": () => ({ schema: { type: "string", pattern: "^((a{1000}){1000}){1000}$" } }),
  "pattern (a|b)*a(a|b){2000}": () => ({ regex: "(a|b)*a(a|b){2000}" }),
  "pattern (.*a){50}": () => ({ schema: { type: "string", pattern: "(.*a){50}" } }),
  "pattern (a|a|a)*": () => ({ regex: `(${many(500, () => "a*").join("|")})*b` }),
  "pattern (a?){5000}a{5000}": () => ({ regex: "(a?){5000}a{5000}" }),
  "pattern of 100,000 alternatives": () => ({ regex: many(100_000, (i) => `x${i}`).join("|") }),
  "pattern nested 10,000 groups": () => ({ regex: "(".repeat(10_000) + ")".repeat(10_000) }),
  "pattern nested 200 stars": () => ({ regex: "(".repeat(200) + "a" + ")*".repeat(200) }),
  "pattern with a large class": () => ({ regex: "[\\p{L}\\p{N}\\p{P}\\p{S}]{1000}" }),
  "pattern with 1e15 repetitions": () => ({ regex: "a{1000000000000000}" }),
  "pattern .{0,100000}": () => ({
    schema: { type: "string", pattern: "^.{0,100000}x.{0,100000}$", maxLength: 150_000 },
  }),
  "pattern and maxLength that exclude each other": () => ({
    schema: { type: "string", pattern: "^(ab){5000}$", maxLength: 9999 },
  }),
  "two patterns that exclude each other": () => ({
    schema: { allOf: [{ type: "string", pattern: "^(a{97})+$" }, { pattern: "^(a{89})+$" }, { maxLength: 8000 }] },
  }),
  "three periodic patterns": () => ({
    schema: { allOf: many(5, (i) => ({ type: "string", pattern: `^(a{${[97, 89, 83, 79, 73][i] ?? 7}})+$` })) },
  }),
  "not of an exponential pattern": () => ({ schema: { type: "string", not: { pattern: "^(a|b)*a(a|b){40}$" } } }),
  "reference to itself": () => ({ schema: { $ref: "#" } }),
  "cycle of references": () => ({
    schema: { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } },
  }),
  "cycle through allOf": () => ({ schema: { allOf: [{ $ref: "#" }] } }),
  "cycle through anyOf": () => ({ schema: { anyOf: [{ type: "null" }, { $ref: "#" }] } }),
  "cycle through not": () => ({ schema: { not: { $ref: "#" } } }),
  "object that requires itself": () => ({
    schema: { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] },
  }),
  "allOf nested 10,000 deep": () => ({ schema: deep(10_000, (inner) => ({ allOf: [inner] })) }),
  "allOf nested 300 deep": () => ({ schema: deep(300, (inner) => ({ allOf: [inner, { minLength: 1 }] })) }),
  "not nested 300 deep": () => ({ schema: deep(300, (inner) => ({ not: inner })) }),
  "arrays nested 350 deep": () => ({ schema: deep(350, (inner) => ({ type: "array", items: inner, minItems: 1 })) }),
  "a chain of 390 references": () => ({
    schema: {
      $ref: "#/$defs/d0",
      $defs: Object.fromEntries(
        many(391, (i) => [`d${i}`, i === 390 ? { type: "null" } : { $ref: `#/$defs/d${i + 1}` }]),
      ),
    },
  }),
  "anyOf of anyOf, 2^20 ways": () => ({
    schema: { allOf: many(20, (i) => ({ anyOf: [{ required: [`a${i}`] }, { required: [`b${i}`] }] })) },
  }),
  "if-else 30 times": () => ({
    schema: { allOf: many(30, (i) => ({ if: { required: [`a${i}`] }, else: { required: [`b${i}`] } })) },
  }),
  "dependentRequired of 60 keys": () => ({
    schema: { dependentRequired: Object.fromEntries(many(60, (i) => [`a${i}`, [`b${i}`]])) },
  }),
  "oneOf of 300 objects": () => ({
    schema: { oneOf: many(300, (i) => object(3, () => ({ type: "integer" }), { required: [`key${i}`] })) },
  }),
  "oneOf of 60 patterns": () => ({ schema: { oneOf: many(60, (i) => ({ type: "string", pattern: `a{${i}}` })) } }),
  "anyOf of 5,000 constants": () => ({ schema: { anyOf: many(5000, (i) => ({ const: `value ${i}` })) } }),
  "enum of 200,000 strings": () => ({ schema: { enum: many(200_000, (i) => `value ${i}`) } }),
  "10 MB of schema": () => ({
    schema: object(100_000, (i) => ({ type: "string", description: "x".repeat(60), maxLength: i })),
  }),
  "5,000 properties": () => ({ schema: object(5000, () => ({ type: "string" }), { additionalProperties: false }) }),
  "2,000 properties in any order": () => ({ schema: object(2000, () => ({ type: "string" })), keyOrder: "any" }),
  "5,000 required properties": () => ({ schema: object(5000, () => ({}), { required: many(5000, (i) => `key${i}`) }) }),
  "40 patternProperties": () => ({
    schema: { patternProperties: Object.fromEntries(many(40, (i) => [`a.{${i}}b`, { minimum: i }])) },
  }),
  "8 exponential patternProperties": () => ({
    schema: { patternProperties: Object.fromEntries(many(8, (i) => [`^(a|b)*a(a|b){${i + 8}}$`, { minimum: i }])) },
  }),
  "minItems 1e9": () => ({ schema: { type: "array", items: { type: "null" }, minItems: 1e9 } }),
  "minItems 1e12": () => ({ schema: { type: "array", minItems: 1e12 } }),
  "minProperties 1e6": () => ({ schema: { type: "object", minProperties: 1e6 } }),
  "contains of 10,000": () => ({
    schema: { type: "array", contains: { type: "null" }, minContains: 10_000, maxContains: 20_000 },
  }),
  "unique items of 64 values": () => ({
    schema: { type: "array", items: { type: "integer", minimum: 1, maximum: 60 }, uniqueItems: true, minItems: 60 },
  }),
  "multipleOf 1e-300": () => ({ schema: { type: "number", multipleOf: 1e-300 } }),
  "multipleOf two large primes": () => ({
    schema: { allOf: [{ type: "integer", multipleOf: 999_983 }, { multipleOf: 999_979 }] },
  }),
  "bounds of 308 digits": () => ({ schema: { type: "number", minimum: 1e-300, maximum: 1e300, multipleOf: 7 } }),
  "GBNF: hidden left recursion": () => ({ gbnf: 'root ::= e root "a" | e\ne ::= "" | e e' }),
  "GBNF: ambiguous without end": () => ({ gbnf: 'root ::= root root root | root root | "a" | ""' }),
  "GBNF: 20,000 rules": () => ({
    gbnf: `root ::= r0\n${many(20_000, (i) => `r${i} ::= "x" r${(i * 7 + 1) % 20_000} | "y"`).join("\n")}`,
  }),
  "GBNF: nested repetitions": () => ({ gbnf: 'root ::= ((("a"{0,1000}){0,1000}){0,1000}){0,1000}' }),
  "Lark: terminals that double": () => ({
    lark: `start: T30\nT0: "a"\n${many(30, (i) => `T${i + 1}: T${i} T${i}`).join("\n")}`,
  }),
};

export function runHostile(vocabulary: GrammarVocabulary): readonly HostileResult[] {
  return Object.entries(HOSTILE).map(([name, make]) => {
    const spec = make();
    const begin = process.cpuUsage();
    let outcome = "compiled";
    try {
      const cursor = new GrammarCursor(compileGrammar(spec).over(vocabulary));
      for (let i = 0; i < 3 && !cursor.accepting; i++) {
        const mask = cursor.mask();
        let token = 0;
        while (token < vocabulary.vocabulary.size && !allows(mask, token)) token++;
        cursor.advance(token);
      }
    } catch (error) {
      // Anything but an error of ours is a fault, and ends the check.
      if (!(error instanceof MillraceError)) throw new Error(name, { cause: error });
      outcome = error.message.slice(0, 100);
    }
    const { user, system } = process.cpuUsage(begin);
    return { name, outcome, milliseconds: (user + system) / 1000 };
  });
}
