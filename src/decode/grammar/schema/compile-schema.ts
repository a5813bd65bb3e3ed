/**
 * JSON Schema → an expression. Everything that the schema can reach is brought to its normal form here, so that what isn't
 * supported is refused before the first token; the texts themselves are written lazily (writer.ts).
 */
import type { GrammarBuilder } from "../builder.ts";
import type { Expression } from "../expression.ts";
import type { JsonValue, SchemaOptions } from "../spec.ts";
import { SchemaAlgebra } from "./algebra.ts";
import { ArrayStates } from "./array-states.ts";
import { type Location, SchemaDocument } from "./document.ts";
import { readSchema } from "./keywords.ts";
import { located, type SchemaReading, termAt } from "./reading.ts";
import type { Term } from "./shapes.ts";
import { SchemaWriter } from "./writer.ts";

export function compileSchema(builder: GrammarBuilder, schema: JsonValue, options: SchemaOptions): Expression {
  const document = new SchemaDocument(schema, options.draft, builder.fuel);
  const algebra: SchemaAlgebra = new SchemaAlgebra(
    builder,
    { tracks: document.tracksEvaluation, strict: options.strict === true },
    (at) => readSchema(reading, at),
  );
  const reading: SchemaReading = { algebra, document, options };
  const root = termAt(reading, document.root);
  visitAll(algebra, root, document.root);
  if (algebra.isEmpty(root)) return builder.pool.none;
  return new SchemaWriter(algebra, options).document(root);
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
