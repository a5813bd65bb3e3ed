/** What the front ends (JSON Schema, GBNF, Lark, …) build a grammar with: one pool, and rules with numbers. */
import { Derivatives } from "./derivative.ts";
import type { Expression, Rule } from "./expression.ts";
import { ExpressionPool } from "./expression-pool.ts";
import { Fuel } from "./fuel.ts";

export class GrammarBuilder {
  readonly fuel: Fuel;
  readonly pool: ExpressionPool;
  readonly derivatives: Derivatives;

  constructor(fuel: number) {
    this.fuel = new Fuel(fuel);
    this.pool = new ExpressionPool(this.fuel);
    this.derivatives = new Derivatives(this.pool);
  }

  /** A rule whose body is built when it is first called. */
  rule(name: string, nullable: boolean, body: () => Expression): Rule {
    let built: Expression | undefined;
    return { id: this.pool.nextId(), name, nullable, body: () => (built ??= body()) };
  }
}
