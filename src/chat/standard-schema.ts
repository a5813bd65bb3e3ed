/**
 * Schemas as callers hand them in: plain JSON Schema, or an object of a library that implements Standard Schema with its JSON
 * Schema (zod 4, say), which gives the answer a type and checks what JSON Schema can't say. Source: standardschema.dev.
 */
import type { JsonValue } from "../decode/grammar/spec.ts";
import { RequestError } from "../errors.ts";

/** What is used of a Standard Schema; zod's schemas fit. */
export interface StandardSchema<Output = unknown> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => Validation<Output> | Promise<Validation<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
    readonly jsonSchema?: {
      readonly input: (options: { readonly target: "draft-2020-12" }) => Record<string, unknown>;
    };
  };
}

type Validation<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] };

/** The type of what a schema's answers are. */
export type OutputOf<Schema> = Schema extends StandardSchema<infer Output> ? Output : unknown;

/** A schema, read. */
export interface ReadSchema {
  readonly schema: JsonValue;
  /** Objects take no keys beside their `properties` where the schema leaves that open. */
  readonly strict: boolean;
  /** A JSON value → what the caller's schema makes of it. */
  readonly parse: (value: unknown) => unknown;
}

/** Throws RequestError where a schema has no form in JSON Schema. */
export function readSchema(schema: unknown, where: string): ReadSchema {
  if (!isStandard(schema)) return { schema: schema as JsonValue, strict: false, parse: (value) => value };
  const standard = schema["~standard"];
  if (standard.jsonSchema === undefined) {
    throw new RequestError(
      `${where}: this version of ${standard.vendor} gives no JSON Schema; hand in JSON Schema instead`,
    );
  }
  let json: unknown;
  try {
    json = standard.jsonSchema.input({ target: "draft-2020-12" });
  } catch (error) {
    throw new RequestError(`${where} has no form in JSON Schema: ${String(error)}`, { cause: error });
  }
  // Libraries drop keys that they don't know, so that it is no use to let a model write any.
  return { schema: withoutDoubles(json) as JsonValue, strict: true, parse: (value) => parse(standard, value, where) };
}

async function parse(standard: StandardSchema["~standard"], value: unknown, where: string): Promise<unknown> {
  const result = await standard.validate(value);
  if (result.issues === undefined) return result.value;
  const issues = result.issues.map(({ message, path = [] }) => {
    const keys = path.map((key) => (typeof key === "object" && key !== null && "key" in key ? key.key : key));
    return keys.length === 0 ? message : `${keys.join(".")}: ${message}`;
  });
  throw new RequestError(`the answer fits the form of ${where}, but ${issues.join("; ")}`);
}

function isStandard(schema: unknown): schema is StandardSchema {
  return (typeof schema === "object" || typeof schema === "function") && schema !== null && "~standard" in schema;
}

/** zod says a format twice, as its name and as its pattern: of the two, the one that a grammar can hold an answer to. */
function withoutDoubles(schema: unknown): unknown {
  if (typeof schema !== "object" || schema === null) return schema;
  if (Array.isArray(schema)) return schema.map(withoutDoubles);
  const { pattern, format, ...rest } = schema as Readonly<Record<string, unknown>>;
  const others = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, withoutDoubles(value)]));
  if (typeof pattern !== "string" || typeof format !== "string") {
    return { ...others, ...("pattern" in schema && { pattern }), ...("format" in schema && { format }) };
  }
  return { ...others, ...(/\(\?(?:[=!]|<[=!])/.test(pattern) ? { format } : { pattern }) };
}
