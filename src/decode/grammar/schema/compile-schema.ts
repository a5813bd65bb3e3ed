/**
 * JSON Schema → an expression. Everything that the schema can reach is brought to its normal form here, so that what isn't
 * supported is refused before the first token; the texts themselves are written lazily (writer.ts).
 */
import { UnsupportedGrammarError } from "../../../errors.ts";
import type { GrammarBuilder } from "../builder.ts";
import type { Expression } from "../expression.ts";
import type { JsonValue, NotationSpec, SchemaOptions } from "../spec.ts";
import { SchemaAlgebra } from "./algebra.ts";
import { ArrayStates } from "./array-states.ts";
import { type Location, SchemaDocument } from "./document.ts";
import { readSchema } from "./keywords.ts";
import { callNotations, jsonNotation, onlyStrings } from "./notation.ts";
import { located, type SchemaReading, termAt } from "./reading.ts";
import type { Term } from "./shapes.ts";
import { SchemaWriter } from "./writer.ts";

export function compileSchema(builder: GrammarBuilder, schema: JsonValue, options: SchemaOptions): Expression {
  const { pool } = builder;
  const { algebra, root } = readAll(builder, schema, options);
  if (algebra.isEmpty(root)) return pool.none;
  return new SchemaWriter(algebra, jsonNotation(pool, options.whitespace), options).document(root);
}

/** The members of an object that validates, as the arguments of a call. */
export function compileCall(builder: GrammarBuilder, schema: JsonValue, notation: NotationSpec): Expression {
  const { algebra, root } = readAll(builder, schema, {});
  if (notation.kind === "tags") checkMembers(builder, algebra, root);
  const { outer, inner } = callNotations(builder.pool, notation, (term) => algebra.forms(term));
  // Templates of the notation "bare" sort names, so that models do.
  const keyOrder = notation.kind === "bare" ? "any" : "schema";
  return new SchemaWriter(algebra, inner, { keyOrder }).members(root, outer);
}

/** Names of an object's members that can be nothing but strings: the notation "tags" writes these as they are. */
export function stringMembers(builder: GrammarBuilder, schema: JsonValue): ReadonlySet<string> {
  const { algebra, root } = readAll(builder, schema, {});
  return checkMembers(builder, algebra, root);
}

/** Refuses what a reader could not tell apart: a member that is a string in one alternative and something else in another. */
function checkMembers(builder: GrammarBuilder, algebra: SchemaAlgebra, root: Term): ReadonlySet<string> {
  const texts = new Map<string, boolean>();
  for (const { names } of algebra.forms(root).objects) {
    for (const [name, term] of names) {
      const isText = onlyStrings(builder.pool, algebra.forms(term));
      if ((texts.get(name) ?? isText) !== isText) {
        const problem = `"${name}" is a string in one alternative and something else in another, which tags can't tell apart`;
        throw new UnsupportedGrammarError(problem, "anyOf", "");
      }
      texts.set(name, isText);
    }
  }
  return new Set([...texts].flatMap(([name, isText]) => (isText ? [name] : [])));
}

function readAll(
  builder: GrammarBuilder,
  schema: JsonValue,
  options: SchemaOptions,
): { readonly algebra: SchemaAlgebra; readonly root: Term } {
  const document = new SchemaDocument(schema, options.draft, builder.fuel);
  const algebra: SchemaAlgebra = new SchemaAlgebra(
    builder,
    { tracks: document.tracksEvaluation, strict: options.strict === true },
    (at) => readSchema(reading, at),
  );
  const reading: SchemaReading = { algebra, document, options };
  const root = termAt(reading, document.root);
  visitAll(algebra, root, document.root);
  return { algebra, root };
}

/** Reads every schema that a value may be held against. */
function visitAll(algebra: SchemaAlgebra, root: Term, at: Location): void {
  const seen = new Set<Term>([root]);
  for (const term of seen) {
    const { arrays, objects } = algebra.forms(term);
    const place = term.kind === "schema" ? term.at : at;
    located(place, "", () => {
      for (const shape of arrays) for (const item of new ArrayStates(shape, algebra).itemTerms()) seen.add(item);
    });
    for (const { names, rest } of objects) {
      for (const member of names.values()) seen.add(member);
      for (const one of rest) seen.add(one.term);
    }
    algebra.isEmpty(term);
  }
}
