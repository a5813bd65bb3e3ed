/**
 * How a model writes calls of tools, as data: literal text around the name, the arguments and, where there is one, an
 * identifier. One description serves both ways: grammar.ts holds a model to it, parser.ts reads it. formats.ts has them all.
 */
import type { NotationSpec } from "../../decode/grammar/spec.ts";

/** A place in a call. "number": an index that the model counts. */
export interface Hole {
  readonly hole: "name" | "arguments" | "id" | "number";
}

/** What a call consists of; an optional part may be left out. */
export type Part = string | Hole | { readonly optional: readonly (string | Hole)[] };

export const NAME: Hole = { hole: "name" };
export const ARGUMENTS: Hole = { hole: "arguments" };
export const ID: Hole = { hole: "id" };
export const NUMBER: Hole = { hole: "number" };

/** How arguments are written; whether the quote of "bare" is a control token is the tokenizer's to say. */
export type ArgumentNotation =
  | "json"
  | Exclude<NotationSpec, { readonly kind: "bare" }>
  | { readonly kind: "bare"; readonly quote: string };

/** Literal texts name control tokens as their tokenizer does; white space in them is taken loosely when calls are read. */
export interface ToolFormat {
  readonly name: string;
  /** From the answer's text to the first call of a section. */
  readonly begin: string;
  readonly call: readonly Part[];
  /** Between the calls of a section; undefined: a section has one. */
  readonly between?: string;
  readonly end: string;
  /** Several sections may follow one another, with or without a line's end between them. */
  readonly repeats?: boolean;
  /** Calls stand at the answer's beginning only: nothing marks them, and an answer that begins alike is one. */
  readonly isWhole?: boolean;
  readonly notation: ArgumentNotation;
  /** The call's identifier, where the format has one that its template repeats. */
  readonly idOf?: (name: string, number: string) => string;
}
