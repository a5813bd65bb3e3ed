/** The methods of drafting by name: one line each. To add one, write its file and enter it here. */
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

export type MethodName = "ngram" | "suffix" | "rest" | "lookahead" | "draft";

/** Undefined where what a method needs is missing; a model of its own drafts in steps of its own (engine/drafting.ts). */
export const METHODS: Readonly<Record<MethodName, (resources: DraftResources) => DraftMethod | undefined>> = {
  ngram: () => ngram,
  suffix,
  rest: ({ datastore }) => datastore && rest(datastore),
  lookahead: () => lookahead,
  draft: () => undefined,
};

export const METHOD_NAMES = Object.keys(METHODS) as readonly MethodName[];

/** What "auto" means: it costs nothing where it finds nothing. */
export const AUTOMATIC: readonly MethodName[] = ["ngram"];
