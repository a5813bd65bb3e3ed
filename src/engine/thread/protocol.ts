/**
 * What the two halves of a model say to each other where a thread lies between them: plain data, many a message. Asks go to
 * the engine (host.ts), tells come from it (remote-engine.ts).
 */
import type { AdapterInfo } from "../adapters.ts";
import type { DraftCounts, MemoryMap, Work, WorkEvent } from "../client.ts";
import type { ErrorData } from "./error-data.ts";
import type { PackedTokens } from "./packed.ts";

/** Requests, calls and pins have ids that the front gives. A message is a list of asks. */
export type Ask =
  | { readonly type: "submit"; readonly id: number; readonly work: Work }
  | { readonly type: "endAnswer"; readonly id: number; readonly answer: number }
  | { readonly type: "cancel"; readonly id: number }
  | { readonly type: "release"; readonly pin: number }
  | { readonly type: "call"; readonly id: number; readonly call: Call };

export type Call =
  /** The pin's id is the call's. */
  | { readonly name: "pin"; readonly prompt: Int32Array; readonly cacheSalt: string | undefined }
  | { readonly name: "loadAdapter"; readonly adapter: string; readonly reference: string }
  | { readonly name: "dropAdapter"; readonly adapter: string }
  | { readonly name: "memory" }
  /** Frees all that lies under the engine, too. */
  | { readonly name: "close" };

export type Tell = Batch | Result;

/** What became of a step, and what else there is to tell by then. Tokens come before the other events of their request. */
export interface Batch {
  readonly type: "batch";
  readonly tokens: PackedTokens;
  readonly events: readonly { readonly id: number; readonly event: OtherEvent }[];
  /** Step records, and a moment of the engine (packed.ts). */
  readonly records: Float64Array;
  readonly stats: Float64Array;
}

export type OtherEvent = Extract<WorkEvent, { readonly type: "logits" | "vector" }> | EndEvent;

export interface EndEvent {
  readonly type: "end";
  readonly cachedTokens: number;
  readonly drafts: DraftCounts;
  readonly error?: ErrorData;
}

export interface Result {
  readonly type: "result";
  readonly id: number;
  readonly outcome: { readonly value: CallValue } | { readonly error: ErrorData };
  /** Those that are loaded by then. */
  readonly adapters: readonly AdapterInfo[];
}

/** A pin's tokens, an adapter that was loaded, the memory map, or nothing. */
export type CallValue = number | AdapterInfo | MemoryMap | undefined;

/** Where a half sends to. `transfer`: buffers that go over and are the receiver's alone. */
export type Post<Message> = (message: Message, transfer?: ArrayBuffer[]) => void;
