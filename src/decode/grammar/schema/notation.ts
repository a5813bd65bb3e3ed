/**
 * How values are spelled: JSON, or one of the notations in which models write the arguments of calls. A notation says what
 * stands around members and items and how strings are written; which values there are is the schema's affair, so what a
 * schema forbids is forbidden in every notation.
 */
import type { Expression } from "../expression.ts";
import type { ExpressionPool } from "../expression-pool.ts";
import { jsonString } from "../json-text.ts";
import type { NotationSpec, SchemaOptions } from "../spec.ts";
import { specialBytes } from "../vocabulary.ts";
import type { Forms, Term } from "./shapes.ts";

export interface Notation {
  /** Around an object's members, and between them. */
  readonly open: Expression;
  readonly close: Expression;
  readonly comma: Expression;
  /** Behind a name that JSON quotes, and behind a member's value. */
  readonly colon: Expression;
  readonly after: Expression;
  /** The same of arrays. */
  readonly openArray: Expression;
  readonly closeArray: Expression;
  readonly commaArray: Expression;
  readonly literals: { readonly null: string; readonly true: string; readonly false: string };
  /** A name of the schema's with all that stands before its value; undefined: quoted, then the colon. */
  readonly name: ((name: string, term: Term) => Expression) | undefined;
  /** Names that the schema doesn't list can be written. */
  readonly takesOthers: boolean;
  /** A member's value, where that isn't written like any other. */
  readonly member: ((term: Term) => Expression | undefined) | undefined;
  string(content: Expression): Expression;
}

const JSON_LITERALS = { null: "null", true: "true", false: "false" } as const;
const PYTHON_LITERALS = { null: "None", true: "True", false: "False" } as const;

export function jsonNotation(pool: ExpressionPool, whitespace: SchemaOptions["whitespace"]): Notation {
  const blank = pool.char([0x09, 0x0b, 0x0d, 0x0e, 0x20, 0x21]);
  const space = whitespace === "flexible" ? pool.repeat(blank, 0, Infinity) : pool.empty;
  const behind = (mark: string): Expression =>
    whitespace === "spaced" ? pool.text(`${mark} `) : pool.concat(pool.text(mark), space);
  return {
    open: pool.concat(pool.text("{"), space),
    close: pool.text("}"),
    comma: behind(","),
    colon: pool.concat(space, behind(":")),
    after: space,
    openArray: pool.concat(pool.text("["), space),
    closeArray: pool.text("]"),
    commaArray: behind(","),
    literals: JSON_LITERALS,
    name: undefined,
    takesOthers: true,
    member: undefined,
    string: (content) => jsonString(pool, content),
  };
}

/** The notation of an object's members, and that of what is inside their values. */
export function callNotations(
  pool: ExpressionPool,
  spec: NotationSpec,
  formsOf: (term: Term) => Forms,
): { readonly outer: Notation; readonly inner: Notation } {
  const json = jsonNotation(pool, "spaced");
  switch (spec.kind) {
    case "keywords": {
      const inner = { ...json, literals: PYTHON_LITERALS };
      const name = (name: string): Expression => (isWord(name) ? pool.text(`${name}=`) : pool.none);
      const bare = { open: pool.empty, close: pool.empty, takesOthers: false };
      return { outer: { ...inner, ...bare, name }, inner };
    }
    case "bare": {
      const quote = spec.isControl ? pool.words([specialBytes(spec.quote)]) : pool.text(spec.quote);
      const notation = {
        ...jsonNotation(pool, "compact"),
        takesOthers: false,
        name: (name: string) => (isWord(name) ? pool.text(`${name}:`) : pool.none),
        string: (content: Expression) => pool.concat(quote, withoutText(pool, content, spec.quote), quote),
      };
      return { outer: notation, inner: notation };
    }
    case "tags": {
      const { open, beforeText, beforeJson, close } = spec;
      const isText = (term: Term): boolean => onlyStrings(pool, formsOf(term));
      const name = (name: string, term: Term): Expression =>
        pool.text(`${open}${name}${isText(term) ? beforeText : beforeJson}`);
      const member = (term: Term): Expression | undefined =>
        isText(term) ? withoutText(pool, formsOf(term).strings, close.trim()) : undefined;
      const outer = {
        ...json,
        open: pool.empty,
        close: pool.empty,
        comma: pool.empty,
        after: pool.text(close),
        takesOthers: false,
        name,
        member,
      };
      return { outer, inner: json };
    }
    default:
      return spec satisfies never;
  }
}

/** Whether a string is all that a value can be. */
export function onlyStrings(pool: ExpressionPool, { literals, numbers, strings, arrays, objects }: Forms): boolean {
  return strings !== pool.none && literals === 0 && numbers.length + arrays.length + objects.length === 0;
}

function isWord(name: string): boolean {
  return /^[\p{L}_][\p{L}\p{N}_-]*$/u.test(name);
}

function withoutText(pool: ExpressionPool, content: Expression, text: string): Expression {
  return pool.without(content, pool.concat(pool.anyText, pool.text(text), pool.anyText));
}
