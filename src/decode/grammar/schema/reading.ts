/** What reading a subschema's keywords has at hand: terms for the schemas below it, and errors that name the place. */
import { UnsupportedGrammarError } from "../../../errors.ts";
import type { SchemaOptions } from "../spec.ts";
import type { SchemaAlgebra } from "./algebra.ts";
import {
  escapePointer,
  isObject,
  isSchema,
  type Location,
  type SchemaDocument,
  type SchemaObject,
} from "./document.ts";
import type { Term } from "./shapes.ts";

export interface SchemaReading {
  readonly algebra: SchemaAlgebra;
  readonly document: SchemaDocument;
  readonly options: SchemaOptions;
}

/** The term of a place; a schema that says nothing is `any`. */
export function termAt({ algebra }: SchemaReading, at: Location): Term {
  if (isObject(at.schema) && Object.keys(at.schema).length === 0) return algebra.terms.any;
  return algebra.terms.schema(at);
}

export function childTerm(reading: SchemaReading, at: Location, ...keys: readonly string[]): Term {
  const child = reading.document.child(at, ...keys);
  if (!isSchema(child.schema)) malformed(child, "", "a schema is an object or a boolean");
  return termAt(reading, child);
}

export function childTerms(reading: SchemaReading, at: Location, keyword: string): readonly Term[] {
  const list = (at.schema as SchemaObject)[keyword];
  if (list === undefined) return [];
  if (!Array.isArray(list) || list.length === 0) malformed(at, keyword, "must be an array of schemas, not empty");
  return (list as readonly unknown[]).map((_, i) => childTerm(reading, at, keyword, String(i)));
}

export function malformed(at: Location, keyword: string, what: string): never {
  const name = keyword === "" ? "the schema" : `"${keyword}"`;
  throw new UnsupportedGrammarError(`${name} at ${at.path || "/"} is malformed: ${what}`, keyword, pathOf(at, keyword));
}

export function unsupported(at: Location, keyword: string, why = "can't be enforced"): never {
  throw new UnsupportedGrammarError(`"${keyword}" at ${at.path || "/"} ${why}`, keyword, pathOf(at, keyword));
}

function pathOf(at: Location, keyword: string): string {
  return keyword === "" ? at.path : `${at.path}/${escapePointer(keyword)}`;
}

/** Gives an error from deeper down the place of the keyword that led there. */
export function located<T>(at: Location, keyword: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof UnsupportedGrammarError) || error.path !== "" || error.keyword === "complexity") throw error;
    const path = pathOf(at, keyword);
    throw new UnsupportedGrammarError(`${error.message} (at ${path})`, error.keyword, path, { cause: error });
  }
}
