/** `unevaluatedProperties` and `unevaluatedItems`: hold for what no other keyword of the same value has looked at. */
import { utf8Bytes } from "../byte-string.ts";
import type { Location, SchemaObject } from "./document.ts";
import { childTerm, type SchemaReading } from "./reading.ts";
import { type ArrayShape, type Forms, itemAt, type ObjectShape, type Term } from "./shapes.ts";

export function unevaluated(reading: SchemaReading, at: Location, forms: Forms): Forms {
  const schema = at.schema as SchemaObject;
  let { arrays, objects } = forms;
  if (schema["unevaluatedItems"] !== undefined) {
    const term = childTerm(reading, at, "unevaluatedItems");
    arrays = arrays.map((shape) => restrictItems(reading, shape, term));
  }
  if (schema["unevaluatedProperties"] !== undefined) {
    const term = childTerm(reading, at, "unevaluatedProperties");
    objects = objects.map((shape) => restrictMembers(reading, shape, term));
  }
  return { ...forms, arrays, objects };
}

function restrictItems({ algebra }: SchemaReading, shape: ArrayShape, term: Term): ArrayShape {
  const { terms } = algebra;
  const { count, matching } = shape.evaluated;
  const evaluated = { count: Infinity, matching: [] };
  if (count === Infinity) return { ...shape, evaluated };
  const allowed = terms.some(...matching, term);
  const length = Math.max(shape.prefix.length, count);
  const prefix = Array.from({ length }, (_, i) => {
    const own = itemAt(shape, i);
    return i < count ? own : terms.all(own, allowed);
  });
  return { ...shape, prefix, rest: terms.all(shape.rest, allowed), evaluated };
}

function restrictMembers({ algebra }: SchemaReading, shape: ObjectShape, term: Term): ObjectShape {
  const { pool, derivatives } = algebra.builder;
  const { terms, shapes } = algebra;
  const seen = shape.evaluated;
  const isSeen = (name: string): boolean =>
    seen.names.has(name) || seen.keys.some((keys) => derivatives.matches(keys, utf8Bytes(name)));
  const names = new Map(
    [...shape.names].map(([name, own]) => [name, isSeen(name) ? own : terms.all(own, term)] as const),
  );
  // A name that was evaluated but has no entry is one of the other keys.
  for (const name of seen.names) if (!names.has(name)) names.set(name, shapes.restTerm(shape.rest, name));
  const keys = pool.alternatives(seen.keys);
  const rest = shape.rest.flatMap((one) => [
    { keys: derivatives.intersect(one.keys, keys), term: one.term },
    { keys: pool.without(one.keys, keys), term: terms.all(one.term, term) },
  ]);
  return {
    ...shape,
    names,
    rest: shapes.mergeClasses(rest),
    open: false,
    evaluated: { names: new Set(), keys: [pool.anyText] },
  };
}
