/**
 * The sampling defaults that a model's makers give, from GGUF's `general.sampling.*` keys (as llama.cpp reads them) or
 * Hugging Face's generation_config.json. Values beyond the ranges of a request's parameters are left out:
 * they are advice.
 */
import type { GenerationDefaults, MetaObject, MetaValue } from "./artifact.ts";

/** GGUF metadata → defaults; ids of end-of-turn and end-of-message tokens count as ends. */
export function ggufDefaults(metadata: MetaObject): GenerationDefaults {
  const sampling = (name: string) => metadata[`general.sampling.${name}`];
  const id = (name: string) => metadata[`tokenizer.ggml.${name}`];
  return compact({
    temperature: number(sampling("temp"), 0, 100),
    topK: topK(sampling("top_k")),
    topP: number(sampling("top_p"), 0, 1),
    minP: number(sampling("min_p"), 0, 1),
    repetitionPenalty: number(sampling("penalty_repeat"), 0.01, 100),
    eosTokenIds: tokenIds(id("eos_token_id"), id("eos_token_ids"), id("eot_token_id"), id("eom_token_id")),
  });
}

/** generation_config.json → defaults; config.json's `eos_token_id` serves where it has none. */
export function hfDefaults(generation: MetaObject, config: MetaObject): GenerationDefaults {
  // Without do_sample the makers mean greedy decoding, whatever the other values say.
  const greedy = generation["do_sample"] === false;
  return compact({
    temperature: greedy ? 0 : number(generation["temperature"], 0, 100),
    topK: topK(generation["top_k"]),
    topP: number(generation["top_p"], 0, 1),
    minP: number(generation["min_p"], 0, 1),
    repetitionPenalty: number(generation["repetition_penalty"], 0.01, 100),
    eosTokenIds: tokenIds(generation["eos_token_id"] ?? config["eos_token_id"]),
  });
}

function number(value: MetaValue | undefined, least: number, most = Number.MAX_VALUE): number | undefined {
  return typeof value === "number" && value >= least && value <= most ? value : undefined;
}

/** 0 and below mean all tokens, which is no default worth stating. */
function topK(value: MetaValue | undefined): number | undefined {
  return Number.isSafeInteger(value) && Number(value) > 0 && Number(value) < 2 ** 31 ? Number(value) : undefined;
}

/** Ids from numbers and lists of numbers, each once. */
function tokenIds(...values: readonly (MetaValue | undefined)[]): number[] | undefined {
  const ids = new Set<number>();
  for (const value of values) {
    const list: Iterable<unknown> = Array.isArray(value) || ArrayBuffer.isView(value) ? (value as number[]) : [value];
    for (const id of list) if (typeof id === "number" && Number.isSafeInteger(id) && id >= 0) ids.add(id);
  }
  return ids.size > 0 ? [...ids] : undefined;
}

function compact(defaults: {
  readonly [K in keyof GenerationDefaults]: GenerationDefaults[K] | undefined;
}): GenerationDefaults {
  return Object.fromEntries(Object.entries(defaults).filter(([, value]) => value !== undefined));
}
