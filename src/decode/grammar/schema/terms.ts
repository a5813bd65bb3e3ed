/**
 * Schemas as terms: a place in the document, a value, or a combination of terms. Equal terms are one object, so that the
 * conjunctions that merging makes of a recursive schema are finitely many.
 */
import type { JsonValue } from "../spec.ts";
import type { Location } from "./document.ts";
import type { Forms, Term, TermKind } from "./shapes.ts";

export class Terms {
  readonly any: Term = { id: 0, kind: "any" };
  readonly none: Term = { id: 1, kind: "none" };
  readonly #known = new Map<string, Term>();
  readonly #tracks: boolean;
  #ids = 2;

  /** `tracks`: which alternatives hold matters, so none makes the others superfluous. */
  constructor(tracks: boolean) {
    this.#tracks = tracks;
  }

  /** How many there are. */
  get size(): number {
    return this.#ids;
  }

  schema(at: Location): Term {
    if (at.schema === true) return this.any;
    if (at.schema === false) return this.none;
    return this.#intern(`schema ${at.path}`, { kind: "schema", at });
  }

  value(value: JsonValue): Term {
    return this.#intern(`value ${JSON.stringify(value)}`, { kind: "value", value });
  }

  forms(forms: Forms): Term {
    return { id: this.#ids++, kind: "forms", forms };
  }

  all(...list: readonly Term[]): Term {
    const members = new Set(list.flatMap((one) => (one.kind === "all" ? one.list : [one])));
    members.delete(this.any);
    if (members.has(this.none)) return this.none;
    return this.#combine("all", members, this.any);
  }

  some(...list: readonly Term[]): Term {
    const members = new Set(list.flatMap((one) => (one.kind === "some" ? one.list : [one])));
    members.delete(this.none);
    if (members.has(this.any) && !this.#tracks) return this.any;
    return this.#combine("some", members, this.none);
  }

  not(of: Term): Term {
    if (of === this.any) return this.none;
    if (of === this.none) return this.any;
    return this.#intern(`not ${of.id}`, { kind: "not", of });
  }

  #combine(kind: "all" | "some", members: ReadonlySet<Term>, unit: Term): Term {
    const [first = unit, ...more] = members;
    if (more.length === 0) return first;
    // In the order of writing, which is that of keys in what is generated.
    const key = [...members].map((one) => one.id).join(" ");
    return this.#intern(`${kind} ${key}`, { kind, list: [...members] });
  }

  #intern(key: string, shape: TermKind): Term {
    let term = this.#known.get(key);
    if (term === undefined) {
      term = { ...shape, id: this.#ids++ };
      this.#known.set(key, term);
    }
    return term;
  }
}
