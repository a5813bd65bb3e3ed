/** The keywords of numbers, strings and arrays → shapes. */
import { UnsupportedGrammarError } from "../../../errors.ts";
import type { Expression } from "../expression.ts";
import { foundRegex, wholeRegex } from "../regex.ts";
import { nextDown, nextUp } from "./decimal.ts";
import type { Location, SchemaObject } from "./document.ts";
import { FORMATS } from "./formats.ts";
import { childTerm, childTerms, malformed, type SchemaReading, unsupported } from "./reading.ts";
import { ALL_NUMBERS, type NumberPiece } from "./numbers.ts";
import { anyArray, type ArrayShape, type Contains } from "./shapes.ts";

/** An array's or a string's length beyond this is as good as none. */
const LARGE = 1e9;

export function readNumberKeywords(at: Location, schema: SchemaObject, integer: boolean): readonly NumberPiece[] {
  const numberOf = (key: string): number | undefined => {
    const value = schema[key];
    if (value !== undefined && typeof value !== "number") malformed(at, key, "must be a number");
    return value;
  };
  const multiple = numberOf("multipleOf");
  if (multiple !== undefined && !(multiple > 0)) malformed(at, "multipleOf", "must be greater than 0");
  const exclusiveMin = numberOf("exclusiveMinimum");
  const exclusiveMax = numberOf("exclusiveMaximum");
  const min = Math.max(numberOf("minimum") ?? -Infinity, exclusiveMin === undefined ? -Infinity : nextUp(exclusiveMin));
  const max = Math.min(numberOf("maximum") ?? Infinity, exclusiveMax === undefined ? Infinity : nextDown(exclusiveMax));
  const multipleOf = [...(integer ? [1] : []), ...(multiple === undefined ? [] : [multiple])];
  return min > max ? [] : [{ ...ALL_NUMBERS, min, max, multipleOf }];
}

export function readStringKeywords(reading: SchemaReading, at: Location, schema: SchemaObject): Expression {
  const { pool, derivatives } = reading.algebra.builder;
  const { pattern, format } = schema;
  let strings = pool.anyText;
  const [min, max] = [countOf(at, schema, "minLength") ?? 0, countOf(at, schema, "maxLength") ?? Infinity];
  if (min > max) return pool.none;
  if (min > 0 || max < Infinity) strings = pool.repeat(pool.anyChar, min, max);
  if (pattern !== undefined) {
    if (typeof pattern !== "string") malformed(at, "pattern", "must be a string");
    else strings = derivatives.intersect(strings, foundRegex(pool, pattern, { path: `${at.path}/pattern` }));
  }
  if (format !== undefined && reading.options.formats !== "annotate") {
    const regex = typeof format === "string" && Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
    if (regex === undefined) {
      unsupported(
        at,
        "format",
        `is ${JSON.stringify(format)}, which isn't known; the option formats: "annotate" ignores it`,
      );
    } else {
      strings = derivatives.intersect(strings, wholeRegex(pool, regex.pattern));
      if (regex.longest !== undefined) strings = pool.both([strings, pool.repeat(pool.anyChar, 0, regex.longest)]);
      if (regex.not !== undefined) strings = pool.without(strings, foundRegex(pool, regex.not));
    }
  }
  return derivatives.live(strings) ? strings : pool.none;
}

export function readArrayKeywords(reading: SchemaReading, at: Location, schema: SchemaObject): readonly ArrayShape[] {
  const { terms } = reading.algebra;
  const { items } = schema;
  const any = anyArray(terms.any);
  let { prefix, rest } = any;
  const old = reading.document.draft === "7" && Array.isArray(items);
  if (old) {
    prefix = items.length === 0 ? [] : childTerms(reading, at, "items");
    if (schema["additionalItems"] !== undefined) rest = childTerm(reading, at, "additionalItems");
  } else {
    if (reading.document.draft !== "7") prefix = childTerms(reading, at, "prefixItems");
    if (items !== undefined) {
      if (Array.isArray(items)) malformed(at, "items", "an array of schemas is draft 7's (use prefixItems)");
      rest = childTerm(reading, at, "items");
    }
  }
  const closes = old ? schema["additionalItems"] !== undefined : items !== undefined;
  const contains: Contains[] = [];
  const newer = reading.document.draft !== "7";
  if (schema["contains"] !== undefined) {
    const min = (newer ? countOf(at, schema, "minContains") : undefined) ?? 1;
    const max = (newer ? countOf(at, schema, "maxContains") : undefined) ?? Infinity;
    if (min > max) return [];
    contains.push({ term: childTerm(reading, at, "contains"), min, max, from: 0 });
  }
  const unique = schema["uniqueItems"];
  if (unique !== undefined && typeof unique !== "boolean") malformed(at, "uniqueItems", "must be a boolean");
  return [
    {
      prefix,
      rest,
      min: countOf(at, schema, "minItems") ?? 0,
      max: countOf(at, schema, "maxItems") ?? Infinity,
      contains,
      unique: unique === true,
      evaluated: { count: closes ? Infinity : prefix.length, matching: newer ? contains.map((one) => one.term) : [] },
    },
  ];
}

export function countOf(at: Location, schema: SchemaObject, keyword: string): number | undefined {
  const value = schema[keyword];
  if (value === undefined) return undefined;
  if (typeof value !== "number" || value < 0 || !Number.isInteger(value))
    malformed(at, keyword, "must be a whole number from 0 on");
  if (typeof value === "number" && value > LARGE) {
    if (keyword.startsWith("max")) return undefined;
    throw new UnsupportedGrammarError(
      `"${keyword}" at ${at.path || "/"} is too large`,
      "complexity",
      `${at.path}/${keyword}`,
    );
  }
  return value;
}
