/**
 * Random JSON Schemas that grammars support, every keyword among them, small enough that answers end. Some that come out are
 * unsatisfiable: the caller draws again.
 */
import type { JsonValue } from "../../src/decode/grammar/spec.ts";
import type { Random } from "./random.ts";

type Schema = { [keyword: string]: JsonValue };

const NAMES = ["name", "age", "street", "is_open", "tags", "unit price", "x", "größe"] as const;
const WORDS = ["red", "green", "blue", "north", 'a "b"', "", "ünit"] as const;
const PATTERNS = [
  "^[a-z]{2,5}$",
  "^(ab|cd)+$",
  "[0-9]$",
  "^[A-Z][a-z]{1,6}( [A-Z][a-z]{1,6})?$",
  "^\\d{3}-\\d{2}$",
] as const;
const FORMATS = ["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"] as const;

/** Every keyword that the generator can draw. */
export const KEYWORDS: readonly string[] = `
type enum const allOf anyOf oneOf not if then else $ref $defs $anchor properties required additionalProperties
patternProperties propertyNames minProperties maxProperties unevaluatedProperties dependentRequired
dependentSchemas items prefixItems contains minContains maxContains minItems maxItems uniqueItems
unevaluatedItems minLength $schema $id definitions dependencies additionalItems maxLength pattern format
minimum maximum exclusiveMinimum exclusiveMaximum multipleOf
`
  .trim()
  .split(/\s+/);

export function randomSchema(random: Random): Schema {
  if (random.below(10) === 0) return draft7(random);
  const schema = value(random, 3);
  if (random.below(4) > 0) return schema;
  // References, one of them to itself.
  const node = {
    type: "object",
    properties: { value: value(random, 0), next: { $ref: "#/$defs/node" } },
    required: ["value"],
  };
  return {
    type: "object",
    properties: { head: { $ref: "#node" }, rest: schema },
    required: ["head"],
    additionalProperties: false,
    $defs: { node: { $anchor: "node", ...node, additionalProperties: false } },
  };
}

/** What the older draft spells otherwise. */
function draft7(random: Random): Schema {
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    $id: "https://example.com/schema",
    type: "object",
    properties: {
      list: {
        type: "array",
        items: [value(random, 1), value(random, 0)],
        additionalItems: value(random, 0),
        maxItems: 4,
      },
      word: { $ref: "#/definitions/word" },
      size: value(random, 0),
    },
    required: random.below(2) === 0 ? ["list"] : ["size"],
    dependencies: { list: ["word"], size: { required: ["word"] } },
    additionalProperties: false,
    definitions: { word: text(random) },
  };
}

function value(random: Random, depth: number): Schema {
  const kind = random.below(depth > 0 ? 12 : 5);
  if (kind < 2) return text(random);
  if (kind < 4) return numeric(random);
  if (kind === 4) return plain(random);
  if (kind < 8) return object(random, depth - 1);
  if (kind < 10) return array(random, depth - 1);
  return combined(random, depth - 1);
}

function plain(random: Random): Schema {
  return random.pick<Schema>([
    { type: "boolean" },
    { type: ["integer", "null"], minimum: 0, maximum: 99 },
    { enum: [random.pick(WORDS), 3, null, true, [1], { a: 1 }] },
    { const: random.pick<JsonValue>(["fixed", -1.5, { k: ["v"] }]) },
    { type: ["string", "boolean"], maxLength: 4 },
    { enum: [1, 2, 3, "x"], not: { const: 2 } },
  ]);
}

function text(random: Random): Schema {
  const kind = random.below(5);
  if (kind === 0) return { type: "string", pattern: random.pick(PATTERNS), maxLength: random.between(8, 20) };
  if (kind === 1) return { type: "string", format: random.pick(FORMATS) };
  if (kind === 2) return { type: "string", enum: [...new Set([random.pick(WORDS), random.pick(WORDS), "other"])] };
  const min = random.below(4);
  return { type: "string", minLength: min, maxLength: min + random.below(8) };
}

function numeric(random: Random): Schema {
  const low = random.between(-50, 50);
  const bounds: Schema = random.below(2) === 0 ? { minimum: low } : { exclusiveMinimum: low };
  const top: Schema = random.below(2) === 0 ? { maximum: low + 40 } : { exclusiveMaximum: low + 40 };
  const step: Schema = random.below(3) === 0 ? { multipleOf: random.pick([2, 5, 0.25]) } : {};
  return { type: random.below(3) === 0 ? "number" : "integer", ...bounds, ...top, ...step };
}

function object(random: Random, depth: number): Schema {
  const count = random.between(1, 4);
  const names = Array.from({ length: count }, () => random.pick(NAMES)).filter(
    (name, i, all) => all.indexOf(name) === i,
  );
  const properties = Object.fromEntries(names.map((name) => [name, value(random, depth)]));
  const required = names.filter(() => random.below(3) > 0);
  const base: Schema = { type: "object", properties, required };
  const [first = "name", second = first] = names;
  switch (random.below(8)) {
    case 0:
      return {
        ...base,
        additionalProperties: value(random, 0),
        maxProperties: names.length + 1,
        propertyNames: { maxLength: 8 },
      };
    case 1:
      return {
        ...base,
        patternProperties: { "^n_": { type: "integer", minimum: 0, maximum: 9 } },
        additionalProperties: false,
        maxProperties: names.length + 2,
      };
    case 2:
      return { ...base, additionalProperties: false, dependentRequired: { [first]: [second] } };
    case 3:
      return { ...base, unevaluatedProperties: false, allOf: [{ properties: { extra: { type: "boolean" } } }] };
    case 4:
      return { ...base, additionalProperties: false, required: [], minProperties: 1 };
    case 5:
      return { ...base, additionalProperties: false, dependentSchemas: { [first]: { required: [second] } } };
    default:
      return { ...base, additionalProperties: false };
  }
}

function array(random: Random, depth: number): Schema {
  const min = random.below(3);
  const size = { minItems: min, maxItems: min + random.below(3) };
  switch (random.below(6)) {
    case 0:
      return { type: "array", items: { enum: ["a", "b", "c", "d"] }, uniqueItems: true, ...size };
    case 1:
      return { type: "array", prefixItems: [value(random, 0), value(random, 0)], items: false, minItems: 1 };
    case 2:
      return {
        type: "array",
        items: { type: "integer", minimum: 0, maximum: 20 },
        contains: { minimum: 15 },
        minContains: 1,
        maxContains: 2,
        maxItems: 4,
      };
    case 3:
      return { type: "array", prefixItems: [value(random, 0)], unevaluatedItems: false };
    default:
      return { type: "array", items: value(random, depth), ...size };
  }
}

function combined(random: Random, depth: number): Schema {
  switch (random.below(5)) {
    case 0:
      return { anyOf: [value(random, depth), value(random, 0)] };
    case 1:
      return {
        oneOf: [{ type: "integer", minimum: 0, maximum: 50 }, { type: "string", maxLength: 5 }, { type: "boolean" }],
      };
    case 2:
      return { type: "string", allOf: [{ minLength: 2 }, { maxLength: 6 }, { pattern: "^[a-m]*$" }] };
    case 3:
      return {
        type: "integer",
        minimum: 0,
        maximum: 100,
        if: { minimum: 50 },
        // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
        then: { multipleOf: 10 },
        else: { multipleOf: 3 },
      };
    default:
      return { type: ["string", "integer"], maxLength: 4, minimum: 0, maximum: 999, not: { enum: ["no", 7] } };
  }
}

/** The keywords of a schema, anywhere in it. */
export function keywordsIn(schema: JsonValue, found: Set<string> = new Set()): Set<string> {
  if (typeof schema !== "object" || schema === null) return found;
  if (Array.isArray(schema)) for (const item of schema) keywordsIn(item, found);
  else
    for (const [key, item] of Object.entries(schema)) {
      if (KEYWORDS.includes(key)) found.add(key);
      keywordsIn(item, found);
    }
  return found;
}
