/**
 * The methods of drafting by name. To add one, write its file and enter it here, or a head of a model in
 * models/heads/heads.ts: a line each.
 */
import { type HeadMethod, HEADS } from "../../models/heads/heads.ts";
import type { Datastore } from "./datastore.ts";
import type { DraftMethod } from "./drafter.ts";
import { lookahead } from "./lookahead.ts";
import { ngram } from "./ngram.ts";
import { rest } from "./rest.ts";
import { suffix } from "./suffix.ts";

/** What methods are made of, beside the sequences themselves. */
export interface DraftResources {
  readonly vocabSize: number;
  /** What "rest" searches. */
  readonly datastore: Datastore | undefined;
}

/** Those that look at texts. */
type TextMethod = "ngram" | "suffix" | "rest" | "lookahead";
/** Those that a program of their own computes (engine/drafting.ts): a model, or a head of the model that answers. */
export type ModelMethod = "draft" | "skip" | HeadMethod;
export type MethodName = TextMethod | ModelMethod;

/** Undefined where what a method needs is missing. */
export const METHODS: Readonly<Record<TextMethod, (resources: DraftResources) => DraftMethod | undefined>> = {
  ngram: () => ngram,
  suffix,
  rest: ({ datastore }) => datastore && rest(datastore),
  lookahead: () => lookahead,
};

export const TEXT_METHODS = Object.keys(METHODS) as readonly TextMethod[];
export const MODEL_METHODS: readonly ModelMethod[] = ["draft", "skip", ...(Object.keys(HEADS) as HeadMethod[])];
export const METHOD_NAMES: readonly MethodName[] = [...TEXT_METHODS, ...MODEL_METHODS];

/** What "auto" means: it costs nothing where it finds nothing. */
export const AUTOMATIC: readonly MethodName[] = ["ngram"];
