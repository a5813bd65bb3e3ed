/**
 * Terms → normal forms, and whether anything satisfies them. Conjunction distributes over unions, negation is pushed down to
 * the types; what grows out of bounds is refused.
 */
import { UnsupportedGrammarError } from "../../../errors.ts";
import type { GrammarBuilder } from "../builder.ts";
import type { JsonValue } from "../spec.ts";
import type { Location } from "./document.ts";
import { ArrayStates } from "./array-states.ts";
import { finiteValues } from "./finite-values.ts";
import { ALL_NUMBERS, complementNumbers, intersectNumbers, NumberWriter, pointOf } from "./numbers.ts";
import { ShapeAlgebra, type WrittenObject } from "./shape-algebra.ts";
import {
  anyArray,
  anyObject,
  arrayKey,
  type ArrayShape,
  FALSE,
  type Forms,
  NO_KEYS,
  NULL,
  objectKey,
  type ObjectShape,
  TRUE,
  type Term,
} from "./shapes.ts";
import { Terms } from "./terms.ts";

/** Shapes of one type that a union may have. */
const MAX_SHAPES = 200;
const MAX_TERMS = 20_000;

/** Reads the keywords of a subschema (keywords.ts). */
export type SchemaForms = (at: Location) => Forms;

export class SchemaAlgebra {
  readonly builder: GrammarBuilder;
  readonly terms: Terms;
  readonly shapes: ShapeAlgebra;
  readonly numbers: NumberWriter;
  readonly all: Forms;
  readonly nothing: Forms;
  /** Which alternatives hold matters beyond what they allow (unevaluated…). */
  readonly #tracks: boolean;
  readonly #strict: boolean;
  readonly #read: SchemaForms;
  readonly #known = new Map<Term, Forms>();
  readonly #reading = new Set<Term>();
  readonly #empty = new Map<Term, boolean>();
  readonly #deciding = new Set<Term>();
  #assumed = false;
  #proving = false;

  constructor(builder: GrammarBuilder, options: { tracks: boolean; strict: boolean }, read: SchemaForms) {
    this.builder = builder;
    this.terms = new Terms(options.tracks);
    this.shapes = new ShapeAlgebra(builder, this.terms);
    this.numbers = new NumberWriter(builder);
    this.#tracks = options.tracks;
    this.#strict = options.strict;
    this.#read = read;
    const { anyText, none } = builder.pool;
    this.all = {
      literals: NULL | TRUE | FALSE,
      numbers: [ALL_NUMBERS],
      strings: anyText,
      arrays: [anyArray(this.terms.any)],
      objects: [anyObject(this.terms.any, anyText)],
    };
    this.nothing = { literals: 0, numbers: [], strings: none, arrays: [], objects: [] };
  }

  forms(term: Term): Forms {
    const known = this.#known.get(term);
    if (known !== undefined) return known;
    if (this.#reading.has(term)) {
      if (this.#proving) throw new Unproved();
      const path = term.kind === "schema" ? term.at.path : "";
      throw new UnsupportedGrammarError("the schema refers to itself without an end", "$ref", path);
    }
    if (this.terms.size > MAX_TERMS) throw tooMany("subschemas");
    this.builder.fuel.spend(10);
    this.#reading.add(term);
    try {
      const forms = this.#forms(term);
      this.#known.set(term, forms);
      return forms;
    } finally {
      this.#reading.delete(term);
    }
  }

  #forms(term: Term): Forms {
    switch (term.kind) {
      case "any":
        return this.all;
      case "none":
        return this.nothing;
      case "schema":
        return this.#read(term.at);
      case "value":
        return this.valueForms(term.value);
      case "all":
        return term.list.map((one) => this.forms(one)).reduce((a, b) => this.intersect(a, b));
      case "some":
        return this.#someForms(term.list);
      case "not":
        return this.complement(this.forms(term.of));
      case "forms":
        return term.forms;
      default:
        return term satisfies never;
    }
  }

  /** With tracking a value that satisfies several has the annotations of them all. */
  #someForms(list: readonly Term[]): Forms {
    const single = list.map((one) => this.forms(one));
    if (!this.#tracks) return this.unite(single);
    if (list.length > 5)
      throw new UnsupportedGrammarError("too many alternatives beside unevaluated keywords", "anyOf", "");
    const all: Forms[] = [];
    for (const one of single) all.push(...all.map((before) => this.intersect(before, one)), one);
    return this.unite(all);
  }

  valueForms(value: JsonValue): Forms {
    const { pool } = this.builder;
    pool.fuel.spend(5);
    if (value === null) return { ...this.nothing, literals: NULL };
    if (typeof value === "boolean") return { ...this.nothing, literals: value ? TRUE : FALSE };
    if (typeof value === "number") return { ...this.nothing, numbers: [pointOf(value)] };
    if (typeof value === "string") {
      return { ...this.nothing, strings: value.isWellFormed() ? pool.text(value) : pool.none };
    }
    if (Array.isArray(value)) {
      const prefix = value.map((one: JsonValue) => this.terms.value(one));
      const { length } = prefix;
      return { ...this.nothing, arrays: [{ ...anyArray(this.terms.none), prefix, min: length, max: length }] };
    }
    const entries = Object.entries(value as Readonly<Record<string, JsonValue>>);
    const names = new Map(entries.map(([name, one]) => [name, this.terms.value(one)]));
    const shape: ObjectShape = {
      names,
      required: new Set(names.keys()),
      rest: [],
      min: 0,
      max: Infinity,
      open: false,
      evaluated: NO_KEYS,
    };
    return { ...this.nothing, objects: [shape] };
  }

  intersect(a: Forms, b: Forms): Forms {
    if (a === this.all) return b;
    if (b === this.all) return a;
    const pairs = <T>(x: readonly T[], y: readonly T[], of: (p: T, q: T) => T): T[] => {
      if (x.length * y.length > MAX_SHAPES * 10) throw tooMany("combinations");
      return x.flatMap((p) => y.map((q) => of(p, q)));
    };
    return {
      literals: a.literals & b.literals,
      numbers: intersectNumbers(a.numbers, b.numbers),
      strings: this.builder.derivatives.intersect(a.strings, b.strings),
      arrays: distinct(
        pairs(a.arrays, b.arrays, (x, y) => this.shapes.intersectArrays(x, y)).filter(hasRoom),
        arrayKey,
      ),
      objects: distinct(
        pairs(a.objects, b.objects, (x, y) => this.shapes.intersectObjects(x, y)).filter(hasRoom),
        objectKey,
      ),
    };
  }

  unite(list: readonly Forms[]): Forms {
    const numbers = new Map(
      list.flatMap((one) => one.numbers).map((piece) => [JSON.stringify(piece, infinite), piece]),
    );
    return {
      literals: list.reduce((bits, one) => bits | one.literals, 0),
      numbers: [...numbers.values()],
      strings: this.builder.pool.alternatives(list.map((one) => one.strings)),
      arrays: distinct(
        list.flatMap((one) => one.arrays),
        arrayKey,
      ),
      objects: distinct(
        list.flatMap((one) => one.objects),
        objectKey,
      ),
    };
  }

  complement(forms: Forms): Forms {
    const { pool, derivatives } = this.builder;
    const without = <T>(
      list: readonly T[],
      any: T,
      complementOf: (one: T) => readonly T[],
      both: (a: T, b: T) => T,
    ): T[] =>
      list.map(complementOf).reduce<T[]>(
        (left, next) => {
          if (left.length * next.length > MAX_SHAPES) throw tooMany("combinations");
          return left.flatMap((a) => next.map((b) => both(a, b)));
        },
        [any],
      );
    const strings = pool.without(pool.anyText, forms.strings);
    return {
      literals: this.all.literals & ~forms.literals,
      numbers: complementNumbers(forms.numbers),
      strings: forms.strings !== pool.anyText && derivatives.live(strings) ? strings : pool.none,
      arrays: without(
        forms.arrays,
        anyArray(this.terms.any),
        (one) => this.shapes.complementArray(one),
        (a, b) => this.shapes.intersectArrays(a, b),
      ).filter(hasRoom),
      objects: without(
        forms.objects,
        anyObject(this.terms.any, pool.anyText),
        (one) => this.shapes.complementObject(one),
        (a, b) => this.shapes.intersectObjects(a, b),
      ).filter(hasRoom),
    };
  }

  /** Does nothing at all satisfy a term? The least fixed point: what only an infinite value would satisfy is empty. */
  isEmpty(term: Term): boolean {
    const known = this.#empty.get(term);
    if (known !== undefined) return known;
    if (this.#deciding.has(term)) {
      this.#assumed = true;
      return true;
    }
    this.#deciding.add(term);
    const outermost = this.#deciding.size === 1;
    if (outermost) this.#assumed = false;
    try {
      const empty = !this.#satisfiable(this.forms(term));
      // "Empty" may rest on an assumption about a term that is still being decided.
      if (!empty || outermost || !this.#assumed) this.#empty.set(term, empty);
      return empty;
    } finally {
      this.#deciding.delete(term);
    }
  }

  /** Can it be shown, while schemas are still being read, that no value satisfies both? */
  areDisjoint(a: Term, b: Term): boolean {
    const before = this.#proving;
    this.#proving = true;
    try {
      return this.isEmpty(this.terms.all(a, b));
    } catch (error) {
      if (error instanceof Unproved) return false;
      throw error;
    } finally {
      this.#proving = before;
    }
  }

  #satisfiable({ literals, numbers, strings, arrays, objects }: Forms): boolean {
    return (
      literals !== 0 ||
      this.builder.derivatives.live(strings) ||
      numbers.some((piece) => this.numbers.write(piece) !== this.builder.pool.none) ||
      arrays.some((shape) => this.#arraySatisfiable(shape)) ||
      objects.some((shape) => this.#objectSatisfiable(shape))
    );
  }

  #arraySatisfiable(shape: ArrayShape): boolean {
    return new ArrayStates(shape, this).satisfiable();
  }

  #objectSatisfiable(shape: ObjectShape): boolean {
    let unproved: Unproved | undefined;
    for (const name of shape.required) {
      try {
        if (this.isEmpty(this.shapes.memberTerm(shape, name))) return false;
      } catch (error) {
        if (!(error instanceof Unproved)) throw error;
        unproved = error;
      }
    }
    if (unproved !== undefined) throw unproved;
    // Optional members matter only where more keys are needed than are required.
    if (shape.min <= shape.required.size) return shape.required.size <= shape.max;
    return this.finishObject(shape) !== undefined;
  }

  finishObject(shape: ObjectShape): WrittenObject | undefined {
    return this.shapes.finishObject(shape, this.#strict, (term) => this.isEmpty(term));
  }

  /** The values of a term as JSON texts, where they are at most `limit` and none is a container. */
  finiteValues(term: Term, limit: number): readonly string[] | undefined {
    return finiteValues(this.builder, this.numbers, this.forms(term), limit);
  }
}

/** A proof of emptiness met a schema that is still being read. */
class Unproved extends Error {}

function hasRoom({ min, max }: { min: number; max: number }): boolean {
  return min <= max;
}

function distinct<T>(list: readonly T[], keyOf: (one: T) => string): readonly T[] {
  if (list.length < 2) return list;
  const kept = [...new Map(list.map((one) => [keyOf(one), one])).values()];
  if (kept.length > MAX_SHAPES) throw tooMany("alternatives");
  return kept;
}

function infinite(_: string, value: unknown): unknown {
  return value === Infinity ? "∞" : value === -Infinity ? "-∞" : value;
}

function tooMany(what: string): UnsupportedGrammarError {
  return new UnsupportedGrammarError(`the schema has too many ${what}`, "complexity", "");
}
