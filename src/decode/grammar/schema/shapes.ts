/**
 * The normal form of a schema: for each type of JSON what is allowed, as a union of shapes without `anyOf`, `not` and the like.
 * Members and items stay terms (terms.ts), which are brought to their own normal form when they are reached.
 */
import type { Expression } from "../expression.ts";
import type { JsonValue } from "../spec.ts";
import type { Location } from "./document.ts";
import type { NumberPiece } from "./numbers.ts";

/** A schema, or a combination of schemas; equal ones are one object (terms.ts). */
export type TermKind =
  | { readonly kind: "any" | "none" }
  | { readonly kind: "schema"; readonly at: Location }
  /** Equal to a value (`const`). */
  | { readonly kind: "value"; readonly value: JsonValue }
  | { readonly kind: "all" | "some"; readonly list: readonly Term[] }
  | { readonly kind: "not"; readonly of: Term }
  /** Given by its normal form. */
  | { readonly kind: "forms"; readonly forms: Forms };

export type Term = { readonly id: number } & TermKind;

/** Bits of `Forms.literals`. */
export const NULL = 1;
export const TRUE = 2;
export const FALSE = 4;

/** Any of these. */
export interface Forms {
  readonly literals: number;
  readonly numbers: readonly NumberPiece[];
  /** The content of strings, decoded. */
  readonly strings: Expression;
  readonly arrays: readonly ArrayShape[];
  readonly objects: readonly ObjectShape[];
}

export interface ArrayShape {
  readonly prefix: readonly Term[];
  /** Items after the prefix. */
  readonly rest: Term;
  readonly min: number;
  readonly max: number;
  readonly contains: readonly Contains[];
  readonly unique: boolean;
  readonly evaluated: EvaluatedItems;
}

/** Between `min` and `max` of the items from index `from` on match. */
export interface Contains {
  readonly term: Term;
  readonly min: number;
  readonly max: number;
  readonly from: number;
}

/** What `unevaluatedItems` has nothing to say about. */
export interface EvaluatedItems {
  readonly count: number;
  readonly matching: readonly Term[];
}

export interface ObjectShape {
  /** In the order of writing. */
  readonly names: ReadonlyMap<string, Term>;
  readonly required: ReadonlySet<string>;
  /** Classes of other keys, disjoint; a key of no class is forbidden. */
  readonly rest: readonly KeyClass[];
  readonly min: number;
  readonly max: number;
  /** Other keys are allowed only because nothing forbids them. */
  readonly open: boolean;
  readonly evaluated: EvaluatedKeys;
}

export interface KeyClass {
  /** `names` are understood to be left out. */
  readonly keys: Expression;
  readonly term: Term;
}

export interface EvaluatedKeys {
  readonly names: ReadonlySet<string>;
  /** Expressions that keys match. */
  readonly keys: readonly Expression[];
}

export const NO_ITEMS: EvaluatedItems = { count: 0, matching: [] };
export const NO_KEYS: EvaluatedKeys = { names: new Set(), keys: [] };

export function anyArray(any: Term): ArrayShape {
  return { prefix: [], rest: any, min: 0, max: Infinity, contains: [], unique: false, evaluated: NO_ITEMS };
}

export function anyObject(any: Term, anyText: Expression): ObjectShape {
  return {
    names: new Map(),
    required: new Set(),
    rest: [{ keys: anyText, term: any }],
    min: 0,
    max: Infinity,
    open: true,
    evaluated: NO_KEYS,
  };
}

export function itemAt({ prefix, rest }: ArrayShape, index: number): Term {
  return prefix[index] ?? rest;
}

/** Equal shapes have equal keys. */
export function arrayKey(shape: ArrayShape): string {
  const { prefix, rest, min, max, contains, unique, evaluated } = shape;
  return JSON.stringify([
    prefix.map((term) => term.id),
    rest.id,
    min,
    String(max),
    contains.map((one) => [one.term.id, one.min, String(one.max), one.from]),
    unique,
    String(evaluated.count),
    evaluated.matching.map((term) => term.id),
  ]);
}

export function objectKey(shape: ObjectShape): string {
  const { names, required, rest, min, max, open, evaluated } = shape;
  return JSON.stringify([
    [...names].map(([name, term]) => [name, term.id]),
    [...required],
    rest.map(({ keys, term }) => [keys.id, term.id]),
    min,
    String(max),
    open,
    [...evaluated.names],
    evaluated.keys.map((one) => one.id),
  ]);
}
