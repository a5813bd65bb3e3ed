/** The keywords of objects → a shape: names with their schemas, and classes of other keys cut out by patterns. */
import type { Expression } from "../expression.ts";
import { utf8Bytes } from "../byte-string.ts";
import { foundRegex } from "../regex.ts";
import { escapePointer, isObject, type Location, type SchemaObject } from "./document.ts";
import { childTerm, malformed, type SchemaReading, unsupported } from "./reading.ts";
import { countOf } from "./keywords-plain.ts";
import type { EvaluatedKeys, KeyClass, ObjectShape, Term } from "./shapes.ts";

/** Patterns of one object that say something: each may double the classes of keys. */
const MAX_PATTERNS = 8;

interface KeyPattern {
  readonly keys: Expression;
  readonly term: Term;
}

export function readObjectKeywords(reading: SchemaReading, at: Location, schema: SchemaObject): readonly ObjectShape[] {
  const { algebra } = reading;
  const { pool, derivatives } = algebra.builder;
  const { terms, shapes } = algebra;
  const properties = mapOf(at, schema, "properties");
  const patterns = readPatterns(reading, at, schema);
  const closes = schema["additionalProperties"] !== undefined;
  const strictly = reading.options.strict === true && patterns.length > 0 && !closes;
  const additional = closes ? childTerm(reading, at, "additionalProperties") : strictly ? terms.none : terms.any;
  const keyNames = readKeyNames(reading, at, schema);
  const matching = (name: string): readonly Term[] => {
    const bytes = utf8Bytes(name);
    if (keyNames !== undefined && !derivatives.matches(keyNames, bytes)) return [terms.none];
    return patterns.filter(({ keys }) => derivatives.matches(keys, bytes)).map(({ term }) => term);
  };
  const names = new Map<string, Term>();
  for (const name of Object.keys(properties)) {
    names.set(name, terms.all(childTerm(reading, at, "properties", name), ...matching(name)));
  }
  const required = requiredOf(at, schema);
  for (const name of required) {
    if (names.has(name)) continue;
    const by = matching(name);
    names.set(name, by.length > 0 ? terms.all(...by) : additional);
  }
  let rest = classes(reading, at, patterns, additional);
  if (keyNames !== undefined) {
    rest = shapes.mergeClasses(rest.map(({ keys, term }) => ({ keys: derivatives.intersect(keys, keyNames), term })));
  }
  const evaluated: EvaluatedKeys = {
    names: new Set(Object.keys(properties)),
    keys: closes ? [pool.anyText] : patterns.map(({ keys }) => keys),
  };
  return [
    {
      names,
      required,
      rest,
      min: countOf(at, schema, "minProperties") ?? 0,
      max: countOf(at, schema, "maxProperties") ?? Infinity,
      open: !closes && patterns.length === 0,
      evaluated,
    },
  ];
}

/** Cuts all keys into those that match the same patterns. */
function classes(
  reading: SchemaReading,
  at: Location,
  patterns: readonly KeyPattern[],
  additional: Term,
): readonly KeyClass[] {
  const { algebra } = reading;
  const { pool, derivatives } = algebra.builder;
  const { terms, shapes } = algebra;
  if (patterns.length > MAX_PATTERNS) unsupported(at, "patternProperties", `has more than ${MAX_PATTERNS} patterns`);
  let cut: { keys: Expression; term: Term; matched: boolean }[] = [
    { keys: pool.anyText, term: terms.any, matched: false },
  ];
  for (const { keys, term } of patterns) {
    cut = cut.flatMap((one) => [
      { keys: derivatives.intersect(one.keys, keys), term: terms.all(one.term, term), matched: true },
      { ...one, keys: pool.without(one.keys, keys) },
    ]);
    cut = cut.filter((one) => one.keys !== pool.none && derivatives.live(one.keys));
  }
  return shapes.mergeClasses(cut.map(({ keys, term, matched }) => ({ keys, term: matched ? term : additional })));
}

function readPatterns(reading: SchemaReading, at: Location, schema: SchemaObject): readonly KeyPattern[] {
  const { pool } = reading.algebra.builder;
  return Object.keys(mapOf(at, schema, "patternProperties")).map((pattern) => ({
    keys: foundRegex(pool, pattern, { path: `${at.path}/patternProperties/${escapePointer(pattern)}` }),
    term: childTerm(reading, at, "patternProperties", pattern),
  }));
}

/** What keys propertyNames allows; undefined: all. */
function readKeyNames(reading: SchemaReading, at: Location, schema: SchemaObject): Expression | undefined {
  if (schema["propertyNames"] === undefined) return undefined;
  const { strings } = reading.algebra.forms(childTerm(reading, at, "propertyNames"));
  return strings === reading.algebra.builder.pool.anyText ? undefined : strings;
}

function requiredOf(at: Location, schema: SchemaObject): ReadonlySet<string> {
  const { required = [] } = schema;
  if (!Array.isArray(required) || required.some((name) => typeof name !== "string")) {
    malformed(at, "required", "must be an array of strings");
  }
  return new Set(required as readonly string[]);
}

function mapOf(at: Location, schema: SchemaObject, keyword: string): SchemaObject {
  const map = schema[keyword];
  if (map === undefined) return {};
  return isObject(map) ? map : malformed(at, keyword, "must be an object");
}
