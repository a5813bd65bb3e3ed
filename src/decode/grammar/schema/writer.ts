/**
 * Normal forms → expressions: how JSON texts of a term are written. Arrays and objects are lazy expressions over their states,
 * so that nothing is written before a text gets there; keys that the schema doesn't name are noted and never repeated.
 */
import type { Expression, Rule } from "../expression.ts";
import { jsonString } from "../json-text.ts";
import type { SchemaOptions } from "../spec.ts";
import type { SchemaAlgebra } from "./algebra.ts";
import { type ArrayState, ArrayStates } from "./array-states.ts";
import { ObjectWriter } from "./object-writer.ts";
import { type ArrayShape, FALSE, NULL, TRUE, type Term } from "./shapes.ts";

export class SchemaWriter {
  readonly algebra: SchemaAlgebra;
  readonly anyOrder: boolean;
  /** White space where JSON allows it. */
  readonly space: Expression;
  readonly #rules = new Map<Term, Rule>();

  constructor(algebra: SchemaAlgebra, options: SchemaOptions) {
    const { pool } = algebra.builder;
    this.algebra = algebra;
    this.anyOrder = options.keyOrder === "any";
    const blank = pool.char([0x09, 0x0b, 0x0d, 0x0e, 0x20, 0x21]);
    this.space = options.whitespace === "flexible" ? pool.repeat(blank, 0, Infinity) : pool.empty;
  }

  document(root: Term): Expression {
    return this.algebra.builder.pool.concat(this.space, this.value(root), this.space);
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
    const literal = (bit: number, text: string): Expression => ((literals & bit) === 0 ? pool.none : pool.text(text));
    return pool.alternatives([
      literal(NULL, "null"),
      literal(TRUE, "true"),
      literal(FALSE, "false"),
      ...numbers.map((piece) => this.algebra.numbers.write(piece)),
      jsonString(pool, strings),
      ...arrays.map((shape) => this.#array(shape)),
      ...objects.flatMap((shape) => {
        const finished = this.algebra.finishObject(shape);
        return finished === undefined ? [] : [new ObjectWriter(this, finished).write()];
      }),
    ]);
  }

  #array(shape: ArrayShape): Expression {
    const { pool } = this.algebra.builder;
    const states = new ArrayStates(shape, this.algebra);
    if (!states.satisfiable()) return pool.none;
    const id = pool.nextId();
    const item = (one: Term | readonly string[]): Expression =>
      "kind" in one ? this.value(one) : pool.alternatives(one.map((text) => pool.text(text)));
    const after = (state: ArrayState, first: boolean): Expression =>
      pool.lazy(`${id} ${first} ${states.keyOf(state)}`, () =>
        pool.alternatives([
          states.mayClose(state) ? pool.text("]") : pool.none,
          ...states
            .moves(state)
            .map((move) =>
              pool.concat(
                first ? pool.empty : pool.concat(pool.text(","), this.space),
                item(move.item),
                this.space,
                after(move.next, false),
              ),
            ),
        ]),
      );
    return pool.concat(pool.text("["), this.space, after(states.start, true));
  }
}
