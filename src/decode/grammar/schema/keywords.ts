/**
 * The keywords of a subschema → its normal form. What a type's own keywords say becomes one shape at once; the applicators
 * (allOf, anyOf, if, …) become terms, whose forms are cut with it.
 */
import { isObject, type Location, type SchemaObject } from "./document.ts";
import { unevaluated } from "./evaluation.ts";
import { readObjectKeywords } from "./keywords-object.ts";
import { readArrayKeywords, readNumberKeywords, readStringKeywords } from "./keywords-plain.ts";
import { childTerm, childTerms, located, malformed, type SchemaReading, termAt, unsupported } from "./reading.ts";
import { FALSE, type Forms, NULL, TRUE, type Term } from "./shapes.ts";

const TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"];
const DYNAMIC = ["$dynamicRef", "$recursiveRef"];

export function readSchema(reading: SchemaReading, at: Location): Forms {
  const { algebra, document } = reading;
  const { schema } = at;
  if (!isObject(schema)) return malformed(at, "", "a schema is an object or a boolean");
  const ref = schema["$ref"];
  if (typeof ref === "string" && document.draft === "7")
    return algebra.forms(termAt(reading, document.resolve(at, ref)));
  for (const key of DYNAMIC) if (schema[key] !== undefined) unsupported(at, key);
  const parts: Forms[] = [ownKeywords(reading, at, schema)];
  const both = (term: Term): void => {
    parts.push(algebra.forms(term));
  };
  if (typeof ref === "string") both(termAt(reading, document.resolve(at, ref)));
  const { enum: values, const: value } = schema;
  if (values !== undefined) {
    if (!Array.isArray(values)) malformed(at, "enum", "must be an array");
    else parts.push(algebra.unite(values.map((one) => algebra.valueForms(one))));
  }
  if (value !== undefined) parts.push(algebra.valueForms(value));
  for (const term of childTerms(reading, at, "allOf")) both(term);
  if (schema["anyOf"] !== undefined) both(algebra.terms.some(...childTerms(reading, at, "anyOf")));
  if (schema["oneOf"] !== undefined) parts.push(oneOf(reading, at));
  if (schema["not"] !== undefined) {
    located(at, "not", () => both(algebra.terms.not(childTerm(reading, at, "not"))));
  }
  if (schema["if"] !== undefined) located(at, "if", () => both(conditional(reading, at)));
  for (const term of dependencies(reading, at)) located(at, "dependencies", () => both(term));
  const forms = parts.reduce((a, b) => algebra.intersect(a, b));
  return document.draft === "7" ? forms : unevaluated(reading, at, forms);
}

/** type, and the keywords of each type. */
function ownKeywords(reading: SchemaReading, at: Location, schema: SchemaObject): Forms {
  const { algebra } = reading;
  const types = typesOf(at, schema);
  const allowed = (name: string): boolean => types === undefined || types.has(name);
  const numeric = allowed("number") || allowed("integer");
  const forms: Forms = {
    literals: (allowed("null") ? NULL : 0) | (allowed("boolean") ? TRUE | FALSE : 0),
    numbers: numeric ? readNumberKeywords(at, schema, !allowed("number")) : [],
    strings: allowed("string") ? readStringKeywords(reading, at, schema) : algebra.builder.pool.none,
    arrays: allowed("array") ? readArrayKeywords(reading, at, schema).filter(({ min, max }) => min <= max) : [],
    objects: allowed("object") ? readObjectKeywords(reading, at, schema).filter(({ min, max }) => min <= max) : [],
  };
  return forms;
}

function typesOf(at: Location, schema: SchemaObject): ReadonlySet<string> | undefined {
  const { type } = schema;
  if (type === undefined) return undefined;
  const types = Array.isArray(type) ? type : [type];
  for (const one of types)
    if (typeof one !== "string" || !TYPES.includes(one)) malformed(at, "type", "has no such type");
  return new Set(types as readonly string[]);
}

/** Exactly one: where two may both hold, each is taken without the others. */
function oneOf(reading: SchemaReading, at: Location): Forms {
  const { algebra, options } = reading;
  const list = childTerms(reading, at, "oneOf");
  if (options.oneOf === "anyOf") return algebra.forms(algebra.terms.some(...list));
  const overlaps = list.map(() => new Set<Term>());
  list.forEach((a, i) =>
    list.slice(i + 1).forEach((b, k) => {
      if (a !== b && algebra.areDisjoint(a, b)) return;
      overlaps[i]?.add(b);
      overlaps[i + 1 + k]?.add(a);
    }),
  );
  const alone = list.map((term, i) => {
    const others = [...(overlaps[i] ?? [])].map((other) => algebra.terms.not(other));
    if (others.length === 0) return algebra.forms(term);
    return located(at, "oneOf", () => algebra.forms(algebra.terms.all(term, ...others)));
  });
  return algebra.unite(alone);
}

function conditional(reading: SchemaReading, at: Location): Term {
  const { terms } = reading.algebra;
  const schema = at.schema as SchemaObject;
  const branch = (key: string): Term => (schema[key] === undefined ? terms.any : childTerm(reading, at, key));
  const condition = branch("if");
  return terms.some(terms.all(condition, branch("then")), terms.all(terms.not(condition), branch("else")));
}

/** dependentRequired, dependentSchemas, and draft 7's dependencies. */
function dependencies(reading: SchemaReading, at: Location): readonly Term[] {
  const { algebra } = reading;
  const { terms } = algebra;
  const schema = at.schema as SchemaObject;
  const out: Term[] = [];
  for (const keyword of ["dependentRequired", "dependentSchemas", "dependencies"]) {
    const map = schema[keyword];
    if (map === undefined) continue;
    if (!isObject(map)) malformed(at, keyword, "must be an object");
    for (const [name, what] of Object.entries(map as SchemaObject)) {
      const lacks = terms.forms({
        ...algebra.all,
        objects: algebra.all.objects.map((any) => ({ ...any, names: new Map([[name, terms.none]]) })),
      });
      const names = Array.isArray(what) ? [name, ...what.map(String)] : [name];
      const then = Array.isArray(what) ? terms.any : childTerm(reading, at, keyword, name);
      if (then === terms.any && names.length === 1) continue;
      const has = terms.forms({
        ...algebra.nothing,
        objects: algebra.all.objects.map((any) => ({ ...any, required: new Set(names) })),
      });
      out.push(terms.some(lacks, terms.all(has, then)));
    }
  }
  return out;
}
