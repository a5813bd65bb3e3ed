/**
 * Normal forms → expressions: how the texts of a term are written, in a notation (notation.ts). Arrays and objects are lazy expressions over their states,
 * so that nothing is written before a text gets there; keys that the schema doesn't name are noted and never repeated.
 */
import type { Expression, Rule } from "../expression.ts";
import type { SchemaOptions } from "../spec.ts";
import type { SchemaAlgebra } from "./algebra.ts";
import { type ArrayState, ArrayStates } from "./array-states.ts";
import type { Notation } from "./notation.ts";
import { ObjectWriter } from "./object-writer.ts";
import { type ArrayShape, FALSE, NULL, type ObjectShape, TRUE, type Term } from "./shapes.ts";

export class SchemaWriter {
  readonly algebra: SchemaAlgebra;
  readonly anyOrder: boolean;
  readonly #notation: Notation;
  readonly #rules = new Map<Term, Rule>();

  constructor(algebra: SchemaAlgebra, notation: Notation, options: Pick<SchemaOptions, "keyOrder">) {
    this.algebra = algebra;
    this.anyOrder = options.keyOrder === "any";
    this.#notation = notation;
  }

  document(root: Term): Expression {
    const { after } = this.#notation;
    return this.algebra.builder.pool.concat(after, this.value(root), after);
  }

  /** The members of objects alone, in a notation of their own. */
  members(root: Term, notation: Notation): Expression {
    const { pool } = this.algebra.builder;
    return pool.alternatives(this.algebra.forms(root).objects.map((shape) => this.#object(shape, notation)));
  }

  /** A value of the term; none where nothing satisfies it. */
  value(term: Term): Expression {
    const { pool } = this.algebra.builder;
    if (this.algebra.isEmpty(term)) return pool.none;
    let rule = this.#rules.get(term);
    if (rule === undefined) {
      rule = this.algebra.builder.rule(`value ${term.id}`, false, () => this.#body(term));
      this.#rules.set(term, rule);
    }
    return pool.call(rule);
  }

  #body(term: Term): Expression {
    const { pool } = this.algebra.builder;
    const { literals, numbers, strings, arrays, objects } = this.algebra.forms(term);
    const { literals: words } = this.#notation;
    const literal = (bit: number, text: string): Expression => ((literals & bit) === 0 ? pool.none : pool.text(text));
    return pool.alternatives([
      literal(NULL, words.null),
      literal(TRUE, words.true),
      literal(FALSE, words.false),
      ...numbers.map((piece) => this.algebra.numbers.write(piece)),
      strings === pool.none ? pool.none : this.#notation.string(strings),
      ...arrays.map((shape) => this.#array(shape)),
      ...objects.map((shape) => this.#object(shape, this.#notation)),
    ]);
  }

  #object(shape: ObjectShape, notation: Notation): Expression {
    const finished = this.algebra.finishObject(shape);
    return finished === undefined ? this.algebra.builder.pool.none : new ObjectWriter(this, finished, notation).write();
  }

  #array(shape: ArrayShape): Expression {
    const { pool } = this.algebra.builder;
    const { openArray, closeArray, commaArray, after: space } = this.#notation;
    const states = new ArrayStates(shape, this.algebra);
    if (!states.satisfiable()) return pool.none;
    const id = pool.nextId();
    const item = (one: Term | readonly string[]): Expression =>
      "kind" in one ? this.value(one) : pool.alternatives(one.map((text) => pool.text(text)));
    const after = (state: ArrayState, first: boolean): Expression =>
      pool.lazy(`${id} ${first} ${states.keyOf(state)}`, () =>
        pool.alternatives([
          states.mayClose(state) ? closeArray : pool.none,
          ...states
            .moves(state)
            .map((move) =>
              pool.concat(first ? pool.empty : commaArray, item(move.item), space, after(move.next, false)),
            ),
        ]),
      );
    return pool.concat(openArray, after(states.start, true));
  }
}
