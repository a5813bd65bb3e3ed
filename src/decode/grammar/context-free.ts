/**
 * Context-free grammars as the front ends read them (GBNF, Lark): rules by name, lowered to expressions with calls. Rules
 * that derive no text at all are found here and cut out, so that a parse never waits for one.
 */
import { RequestError } from "../../errors.ts";
import type { GrammarBuilder } from "./builder.ts";
import type { Expression, Rule } from "./expression.ts";

export type Syntax =
  | { readonly kind: "expression"; readonly expression: Expression }
  | { readonly kind: "reference"; readonly name: string }
  | { readonly kind: "sequence" | "alternatives"; readonly list: readonly Syntax[] }
  | { readonly kind: "repeat"; readonly of: Syntax; readonly min: number; readonly max: number };

/** The expression that derives what the rule `root` derives. */
export function lowerRules(builder: GrammarBuilder, rules: ReadonlyMap<string, Syntax>, root: string): Expression {
  const { pool } = builder;
  for (const syntax of [...rules.values(), { kind: "reference", name: root } as const]) {
    for (const name of references(syntax)) {
      if (!rules.has(name)) throw new RequestError(`the grammar has no rule "${name}"`);
    }
  }
  const productive = fixpoint(rules, (syntax, known) =>
    derives(syntax, known, (expression) => builder.derivatives.live(expression)),
  );
  const nullable = fixpoint(rules, (syntax, known) => derives(syntax, known, (expression) => expression.nullable));
  const lowered = new Map<string, Rule>();
  const lower = (syntax: Syntax): Expression => {
    switch (syntax.kind) {
      case "expression":
        return syntax.expression;
      case "reference": {
        const rule = lowered.get(syntax.name);
        return rule !== undefined && productive.has(syntax.name) ? pool.call(rule) : pool.none;
      }
      case "sequence":
        return pool.concat(...syntax.list.map(lower));
      case "alternatives":
        return pool.alternatives(syntax.list.map(lower));
      case "repeat":
        return pool.repeat(lower(syntax.of), syntax.min, syntax.max);
      default:
        return syntax satisfies never;
    }
  };
  for (const [name, syntax] of rules)
    lowered.set(
      name,
      builder.rule(name, nullable.has(name), () => lower(syntax)),
    );
  return lower({ kind: "reference", name: root });
}

/** The least set of rules for which `holds`, given the set. */
function fixpoint(
  rules: ReadonlyMap<string, Syntax>,
  holds: (syntax: Syntax, known: ReadonlySet<string>) => boolean,
): ReadonlySet<string> {
  const known = new Set<string>();
  for (let size = -1; size < known.size;) {
    size = known.size;
    for (const [name, syntax] of rules) if (!known.has(name) && holds(syntax, known)) known.add(name);
  }
  return known;
}

/** Does it derive a text whose leaves pass `leaf`? */
function derives(syntax: Syntax, known: ReadonlySet<string>, leaf: (expression: Expression) => boolean): boolean {
  switch (syntax.kind) {
    case "expression":
      return leaf(syntax.expression);
    case "reference":
      return known.has(syntax.name);
    case "sequence":
      return syntax.list.every((one) => derives(one, known, leaf));
    case "alternatives":
      return syntax.list.some((one) => derives(one, known, leaf));
    case "repeat":
      return syntax.min === 0 || derives(syntax.of, known, leaf);
    default:
      return syntax satisfies never;
  }
}

function references(syntax: Syntax): readonly string[] {
  switch (syntax.kind) {
    case "expression":
      return [];
    case "reference":
      return [syntax.name];
    case "sequence":
    case "alternatives":
      return syntax.list.flatMap(references);
    case "repeat":
      return references(syntax.of);
    default:
      return syntax satisfies never;
  }
}
