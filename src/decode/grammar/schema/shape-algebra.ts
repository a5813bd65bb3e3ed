/** Intersections and complements of array and object shapes; and objects brought to the form in which they are written. */
import { UnsupportedGrammarError } from "../../../errors.ts";
import { toText, utf8Bytes } from "../byte-string.ts";
import type { GrammarBuilder } from "../builder.ts";
import {
  anyArray,
  anyObject,
  type ArrayShape,
  itemAt,
  type KeyClass,
  NO_ITEMS,
  NO_KEYS,
  type ObjectShape,
  type Term,
} from "./shapes.ts";
import type { Terms } from "./terms.ts";

/** Finite classes of keys up to this size are written out as names. */
const SMALL_CLASS = 64;
/** Classes of keys that patterns may cut an object's keys into. */
const MAX_CLASSES = 64;

/** An object shape of which every part can be written. */
export interface WrittenObject extends ObjectShape {
  /** Names that may not come. */
  readonly forbidden: readonly string[];
}

export class ShapeAlgebra {
  readonly #builder: GrammarBuilder;
  readonly #terms: Terms;

  constructor(builder: GrammarBuilder, terms: Terms) {
    this.#builder = builder;
    this.#terms = terms;
  }

  intersectArrays(a: ArrayShape, b: ArrayShape): ArrayShape {
    const terms = this.#terms;
    const length = Math.max(a.prefix.length, b.prefix.length);
    return {
      prefix: Array.from({ length }, (_, i) => terms.all(itemAt(a, i), itemAt(b, i))),
      rest: terms.all(a.rest, b.rest),
      min: Math.max(a.min, b.min),
      max: Math.min(a.max, b.max),
      contains: [...a.contains, ...b.contains],
      unique: a.unique || b.unique,
      evaluated: {
        count: Math.max(a.evaluated.count, b.evaluated.count),
        matching: [...new Set([...a.evaluated.matching, ...b.evaluated.matching])],
      },
    };
  }

  intersectObjects(a: ObjectShape, b: ObjectShape): ObjectShape {
    const terms = this.#terms;
    const names = new Map<string, Term>();
    for (const name of new Set([...a.names.keys(), ...b.names.keys()])) {
      names.set(name, terms.all(this.memberTerm(a, name), this.memberTerm(b, name)));
    }
    return {
      names,
      required: new Set([...a.required, ...b.required]),
      rest: this.#intersectClasses(a.rest, b.rest),
      min: Math.max(a.min, b.min),
      max: Math.min(a.max, b.max),
      open: a.open && b.open,
      evaluated: {
        names: new Set([...a.evaluated.names, ...b.evaluated.names]),
        keys: [...new Set([...a.evaluated.keys, ...b.evaluated.keys])],
      },
    };
  }

  /** What a member of this name must match. */
  memberTerm(shape: ObjectShape, name: string): Term {
    return shape.names.get(name) ?? this.restTerm(shape.rest, name);
  }

  restTerm(rest: readonly KeyClass[], name: string): Term {
    const bytes = utf8Bytes(name);
    const { derivatives, pool } = this.#builder;
    const found = rest.find(({ keys }) => keys === pool.anyText || derivatives.matches(keys, bytes));
    return found?.term ?? this.#terms.none;
  }

  #intersectClasses(a: readonly KeyClass[], b: readonly KeyClass[]): readonly KeyClass[] {
    return this.mergeClasses(
      a.flatMap((x) =>
        b.map((y) => ({
          keys: this.#builder.derivatives.intersect(x.keys, y.keys),
          term: this.#terms.all(x.term, y.term),
        })),
      ),
    );
  }

  /** Disjoint classes without the empty ones; those of one term are one. */
  mergeClasses(classes: readonly KeyClass[]): readonly KeyClass[] {
    const { pool, derivatives } = this.#builder;
    const byTerm = new Map<Term, KeyClass>();
    for (const { keys, term } of classes) {
      if (term === this.#terms.none || keys === pool.none || !derivatives.live(keys)) continue;
      const known = byTerm.get(term);
      byTerm.set(term, known === undefined ? { keys, term } : { keys: pool.alternatives([known.keys, keys]), term });
    }
    if (byTerm.size > MAX_CLASSES) {
      throw new UnsupportedGrammarError("too many patterns of keys overlap", "patternProperties", "");
    }
    return [...byTerm.values()];
  }

  complementArray(shape: ArrayShape): readonly ArrayShape[] {
    const terms = this.#terms;
    const any = anyArray(terms.any);
    const out: ArrayShape[] = [];
    if (shape.unique) throw cantNegate("uniqueItems");
    if (shape.min > 0) out.push({ ...any, max: shape.min - 1 });
    if (shape.max < Infinity) out.push({ ...any, min: shape.max + 1 });
    shape.prefix.forEach((term, i) => {
      if (term === terms.any) return;
      const before = Array.from({ length: i }, () => terms.any);
      out.push({ ...any, prefix: [...before, terms.not(term)], min: i + 1 });
    });
    if (shape.rest !== terms.any) {
      out.push({
        ...any,
        contains: [{ term: terms.not(shape.rest), min: 1, max: Infinity, from: shape.prefix.length }],
      });
    }
    for (const one of shape.contains) {
      if (one.min > 0) out.push({ ...any, contains: [{ ...one, min: 0, max: one.min - 1 }] });
      if (one.max < Infinity) out.push({ ...any, contains: [{ ...one, min: one.max + 1, max: Infinity }] });
    }
    return out.map((one) => ({ ...one, evaluated: NO_ITEMS }));
  }

  complementObject(shape: ObjectShape): readonly ObjectShape[] {
    const terms = this.#terms;
    const any = anyObject(terms.any, this.#builder.pool.anyText);
    const out: ObjectShape[] = [];
    if (shape.min > 0) out.push({ ...any, max: shape.min - 1 });
    if (shape.max < Infinity) out.push({ ...any, min: shape.max + 1 });
    for (const name of shape.required) out.push({ ...any, names: new Map([[name, terms.none]]) });
    for (const [name, term] of shape.names) {
      if (term === terms.any) continue;
      out.push({ ...any, names: new Map([[name, terms.not(term)]]), required: new Set([name]) });
    }
    const [only, ...more] = shape.rest;
    const open = only !== undefined && more.length === 0 && only.keys === this.#builder.pool.anyText;
    if (!open || only.term !== terms.any) throw cantNegate("additionalProperties");
    return out.map((one) => ({ ...one, evaluated: NO_KEYS }));
  }

  /**
   * The form in which an object is written: no name or class that nothing satisfies, finite classes as names, closed where
   * `strict` says so. Undefined: no object satisfies it. `empty` says of a term whether nothing satisfies it.
   */
  finishObject(shape: ObjectShape, strict: boolean, empty: (term: Term) => boolean): WrittenObject | undefined {
    const { derivatives, pool } = this.#builder;
    const names = new Map(shape.names);
    for (const name of shape.required) if (!names.has(name)) names.set(name, this.memberTerm(shape, name));
    const rest: KeyClass[] = [];
    const closed = strict && shape.open && shape.names.size > 0;
    for (const one of closed ? [] : shape.rest) {
      const words = one.keys === pool.anyText ? undefined : derivatives.enumerate(one.keys, SMALL_CLASS);
      if (words === undefined) rest.push(one);
      else for (const word of words) if (!names.has(toText(word))) names.set(toText(word), one.term);
    }
    const forbidden: string[] = [];
    for (const [name, term] of names) {
      if (!empty(term)) continue;
      if (shape.required.has(name)) return undefined;
      names.delete(name);
      forbidden.push(name);
    }
    const kept = rest.filter(({ term }) => !empty(term));
    const most = kept.length > 0 ? Infinity : names.size;
    if (shape.required.size > shape.max || shape.min > Math.min(shape.max, most)) return undefined;
    return { ...shape, names, rest: kept, forbidden };
  }
}

function cantNegate(keyword: string): UnsupportedGrammarError {
  return new UnsupportedGrammarError(`the negation of "${keyword}" can't be enforced`, keyword, "");
}
