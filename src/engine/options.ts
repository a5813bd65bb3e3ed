/** What a model can be loaded with: the engine's options, what loading adds to them, and what only tests and experiments ask for. */
import type { KvType } from "../backend/contract.ts";
import type { WordReader } from "../decode/speculative/datastore.ts";
import type { Drafter } from "../decode/speculative/drafter.ts";
import type { SpeculationOption } from "../decode/speculative/option.ts";
import type { AdapterOptions, OpenAdapter } from "./adapter-files.ts";
import type { DraftingOptions } from "./drafting-models.ts";
import type { AdmissionName } from "./policies/admission.ts";
import type { Policy } from "./policies/policy.ts";

export interface EngineOptions extends AdapterOptions {
  /** Positions of prompt and answer together. Default: the model's, at most 8,192. */
  readonly context?: number | undefined;
  /** Storage of keys and values. Default "f16". */
  readonly kv?: KvType | undefined;
  /** The KV budget. Default: four sequences of full length, at most 1 GiB, at least one. */
  readonly kvBytes?: number | undefined;
  /** Sequences that run at once; more requests wait. Default 32. */
  readonly maxSequences?: number | undefined;
  /** The most tokens that one step computes: the largest chunk of a prefill. Default 512. */
  readonly stepTokens?: number | undefined;
  /**
   * Which requests start while others run. "peak": as long as all can end without giving way; "reserve": only where there is
   * room for the longest possible answers of all; "optimistic": as long as there is room now, and the newest gives way
   * (and computes again) when there is none. Default "peak".
   */
  readonly admission?: AdmissionName | undefined;
  /** Tokens of prompts in a step in which answers go on: fewer are smoother for those, more faster for the prompt. Default 64. */
  readonly chunkTokens?: number | undefined;
  /** Keep what was computed for equal beginnings of later prompts. Default true. */
  readonly prefixCache?: boolean | undefined;
  /**
   * Memory for keys and values that give way to others': they come back where that is quicker than computing them again.
   * Default 0: none.
   */
  readonly swapBytes?: number | undefined;
  /**
   * How tokens are guessed, so that one step verifies several: "auto" (default), "off", a method's name, or several joined
   * by "+" (docs/speculation.md). Answers are the same with any. Requests may say otherwise, unless it is "off" here.
   */
  readonly speculation?: SpeculationOption | undefined;
}

/** For tests and experiments. */
export interface AssembleOptions extends EngineOptions {
  readonly policy?: Policy | undefined;
  /** Asked for every draft, instead of what `speculation` says. */
  readonly drafter?: Drafter | undefined;
  /** Models that draft: one's chain, or the tree of several. */
  readonly drafting?: readonly DraftingOptions[] | undefined;
  /** What the method "rest" searches; closed with the model. */
  readonly datastore?: WordReader | undefined;
  /** Nodes of a draft, at most; 0: none, of text that a grammar forces neither. Default 64 with a drafter or a drafting model, else 32 or more. */
  readonly maxDraft?: number | undefined;
  /** What a swapped block's way back is taken to cost, in seconds; 0: always less than computing it. Default: measured. */
  readonly swapSeconds?: number | undefined;
  /** Steps in flight. Default 2; 1 with `drafter`, whose drafts depend on what the step before gave. */
  readonly depth?: 1 | 2 | undefined;
  /** Opens what references of adapters name; without it none can be loaded. */
  readonly openAdapter?: OpenAdapter | undefined;
}

export interface LoadOptions extends EngineOptions {
  /** "cpu": native kernels. "reference": plain TypeScript, slow, the oracle of tests. Default "cpu". */
  readonly backend?: "cpu" | "reference" | undefined;
  /** Compute threads. Default: the cores that this process may use. */
  readonly threads?: number | undefined;
  /** An ISA path of the cpu backend, for experiments ("avx512amx", "avx512vnni", "avxvnni", "avx2", "neon", "scalar"). Default: the best. */
  readonly isa?: string | undefined;
  /**
   * Keep the weights as the kernels read them on disk (MILLRACE_HOME/packed, at most a tenth of what is free there), so that a
   * later load maps them: it takes a fraction of the time, and processes share the memory. Default true, unless
   * MILLRACE_PACKED_CACHE is "off".
   */
  readonly packedCache?: boolean | undefined;
  /** Never ask the network: what is not in the cache is an error. Default: MILLRACE_OFFLINE. */
  readonly offline?: boolean | undefined;
  /**
   * Run the engine in a thread of its own, so that what keeps this one busy (long texts, the program's own work) holds no
   * answer up. It costs memory for a second tokenizer, and for a third one when a long text comes. Default false.
   */
  readonly thread?: boolean | undefined;
  /** The download, the kernels' compilation at the first load ever, then the weights on their way into memory. */
  readonly onProgress?: ((progress: LoadEvent) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * `done` of `total`: bytes, or for `compile` calls of the compiler. `name`: the file that it is about; where `compile` has
 * a total of 0, another process compiles, and it says which.
 */
export interface LoadEvent {
  readonly stage: "download" | "compile" | "load";
  readonly name: string;
  readonly done: number;
  readonly total: number;
}
