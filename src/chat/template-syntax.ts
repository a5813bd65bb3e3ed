/**
 * Chat templates as syntax trees. The parser is @huggingface/jinja's, whose own types don't resolve under nodenext: the
 * shapes that it makes are described here, and a change of theirs shows in the tests. template-interpreter.ts runs them.
 */
import { parse, tokenize } from "@huggingface/jinja";
import { RequestError } from "../errors.ts";

export interface Identifier {
  readonly type: "Identifier";
  readonly value: string;
}
export interface Literal {
  readonly type: "StringLiteral" | "IntegerLiteral" | "FloatLiteral";
  readonly value: string | number;
}
export interface ListLiteral {
  readonly type: "ArrayLiteral" | "TupleLiteral";
  readonly value: readonly Expression[];
}
export interface ObjectLiteral {
  readonly type: "ObjectLiteral";
  readonly value: ReadonlyMap<Expression, Expression>;
}
export interface Member {
  readonly type: "MemberExpression";
  readonly object: Expression;
  readonly property: Expression | Slice;
  /** `object[property]`, else `object.property`. */
  readonly computed: boolean;
}
export interface Slice {
  readonly type: "SliceExpression";
  readonly start: Expression | undefined;
  readonly stop: Expression | undefined;
  readonly step: Expression | undefined;
}
export interface Call {
  readonly type: "CallExpression";
  readonly callee: Expression;
  readonly args: readonly Argument[];
}
export interface Binary {
  readonly type: "BinaryExpression";
  readonly operator: { readonly value: string };
  readonly left: Expression;
  readonly right: Expression;
}
export interface Unary {
  readonly type: "UnaryExpression";
  readonly operator: { readonly value: string };
  readonly argument: Expression;
}
export interface Filter {
  readonly type: "FilterExpression";
  readonly operand: Expression;
  readonly filter: Identifier | Call;
}
export interface Test {
  readonly type: "TestExpression";
  readonly operand: Expression;
  readonly negate: boolean;
  readonly test: Identifier;
}
export interface Ternary {
  readonly type: "Ternary";
  readonly condition: Expression;
  readonly trueExpr: Expression;
  readonly falseExpr: Expression;
}
/** `lhs if test`, without an else; as a loop's iterable, the filter of its items. */
export interface Select {
  readonly type: "SelectExpression";
  readonly lhs: Expression;
  readonly test: Expression;
}
export interface NamedArgument {
  readonly type: "KeywordArgumentExpression";
  readonly key: Identifier;
  readonly value: Expression;
}
/** `*list` among arguments. */
export interface Spread {
  readonly type: "SpreadExpression";
  readonly argument: Expression;
}
/** `**object` among arguments. */
export interface NamedSpread {
  readonly type: "KeywordSpreadExpression";
  readonly argument: Expression;
}
export type Argument = Expression | NamedArgument | Spread | NamedSpread;
export type Parameter = Identifier | NamedArgument;

export type Expression =
  | Identifier
  | Literal
  | ListLiteral
  | ObjectLiteral
  | Member
  | Call
  | Binary
  | Unary
  | Filter
  | Test
  | Ternary
  | Select;

export interface If {
  readonly type: "If";
  readonly test: Expression;
  readonly body: readonly Statement[];
  readonly alternate: readonly Statement[];
}
export interface For {
  readonly type: "For";
  readonly loopvar: Expression;
  readonly iterable: Expression;
  readonly body: readonly Statement[];
  readonly defaultBlock: readonly Statement[];
}
export interface Assign {
  readonly type: "Set";
  readonly assignee: Expression;
  /** Null where a block gives the value. */
  readonly value: Expression | null;
  readonly body: readonly Statement[];
}
export interface Macro {
  readonly type: "Macro";
  readonly name: Identifier;
  readonly args: readonly Parameter[];
  readonly body: readonly Statement[];
}
export interface CallBlock {
  readonly type: "CallStatement";
  readonly call: Call;
  readonly callerArgs: readonly Parameter[] | null;
  readonly body: readonly Statement[];
}
export interface FilterBlock {
  readonly type: "FilterStatement";
  readonly filter: Identifier | Call;
  readonly body: readonly Statement[];
}
export interface Plain {
  readonly type: "Comment" | "Break" | "Continue";
}
export type Statement = Expression | If | For | Assign | Macro | CallBlock | FilterBlock | Plain;

export interface Program {
  readonly type: "Program";
  readonly body: readonly Statement[];
}

/** The longest published templates have some 30,000 characters. */
const MAX_SOURCE = 256 * 1024;
/** The parser looks through a run of white space once for each of its characters. */
const MAX_SPACE = 1000;

/** Throws what the parser throws where the source is malformed, RequestError where it is beyond bounds. */
export function parseTemplate(source: string): Program {
  if (source.length > MAX_SOURCE)
    throw new RequestError(
      `the model's chat template has ${source.length} characters, more than ${MAX_SOURCE}; give the model plain text instead`,
    );
  const run = longestSpace(source);
  if (run > MAX_SPACE)
    throw new RequestError(
      `the model's chat template has ${run} characters of white space in a row, more than ${MAX_SPACE}; give the model plain text instead`,
    );
  const tree: unknown = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  return tree as Program;
}

function longestSpace(source: string): number {
  let longest = 0;
  let start = 0;
  for (let at = 0; at <= source.length; at++) {
    if (at < source.length && /\s/.test(source.charAt(at))) continue;
    longest = Math.max(longest, at - start);
    start = at + 1;
  }
  return longest;
}
