/** The methods of drafting that a loaded model has: those whose needs are met. What was asked for and lacks them is refused. */
import { Datastore, vocabularyOf, type WordReader } from "../decode/speculative/datastore.ts";
import type { DraftMethod } from "../decode/speculative/drafter.ts";
import { type MethodName, METHODS, type ModelMethod, TEXT_METHODS } from "../decode/speculative/methods.ts";
import type { SpeculationPlan } from "../decode/speculative/option.ts";
import { RequestError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

export interface DraftNeeds {
  readonly tokenizer: Tokenizer;
  readonly vocabSize: number;
  readonly datastore: WordReader | undefined;
  /** What models and heads are there for. */
  readonly models: readonly ModelMethod[];
}

const LACKS: Readonly<Partial<Record<MethodName, string>>> = {
  draft: 'a model that drafts: { drafter: "draft", model }, or --draft MODEL',
  rest: 'texts: { drafter: "rest", datastore }, or --datastore FILE',
};

/** @throws RequestError where the plan names what isn't there, or the datastore is none of this model. */
export function draftMethods(
  plan: SpeculationPlan,
  { tokenizer, vocabSize, datastore: file, models }: DraftNeeds,
): ReadonlyMap<MethodName, DraftMethod | "model"> {
  const vocabulary = (): ReturnType<typeof vocabularyOf> =>
    vocabularyOf(tokenizer.vocabSize, (id) => tokenizer.tokenText(id));
  const datastore = file && new Datastore(file, "the datastore", vocabulary());
  const methods = new Map<MethodName, DraftMethod | "model">();
  for (const name of TEXT_METHODS) {
    const method = METHODS[name]({ vocabSize, datastore });
    if (method !== undefined) methods.set(name, method);
  }
  for (const name of models) methods.set(name, "model");
  const absent = plan.methods.find((name) => !methods.has(name));
  if (absent !== undefined)
    throw new RequestError(
      `speculation "${absent}" needs ${LACKS[absent] ?? `its head: { drafter: "${absent}", model }, or --draft FILE`}`,
    );
  return methods;
}
