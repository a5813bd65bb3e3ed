/**
 * The front's side of a thread border: an EngineClient that stands for an engine elsewhere (host.ts). Asks of one turn go in
 * one message, so that calls made together are in the engine's first step together. Where the engine's thread ends without
 * having been asked to, all work ends with an error that says so.
 */
import { MillraceError, RequestError } from "../../errors.ts";
import type { AdapterInfo } from "../adapters.ts";
import type { EngineClient, EngineStats, MemoryMap, Pin, StepRecord, Work, WorkEvent, WorkHandle } from "../client.ts";
import { errorOf } from "./error-data.ts";
import { unpackRecords, unpackStats, unpackTokens } from "./packed.ts";
import type { Ask, Batch, Call, CallValue, EndEvent, Post, Result, Tell } from "./protocol.ts";

export interface RemoteEngineParts {
  readonly post: Post<readonly Ask[]>;
  /** Told whether anybody waits for the engine: only then must it keep the process alive. */
  readonly hold: (isWaitedFor: boolean) => void;
}

interface Request {
  readonly listen: (event: WorkEvent) => void;
  /** Why it was cancelled. */
  cancelled?: { readonly error: unknown };
}

interface Waiting {
  readonly resolve: (value: CallValue) => void;
  readonly reject: (error: unknown) => void;
}

const NO_DRAFTS = { steps: 0, drafted: 0, accepted: 0, predicted: { drafted: 0, accepted: 0 } };

export class RemoteEngine implements EngineClient {
  readonly #parts: RemoteEngineParts;
  readonly #requests = new Map<number, Request>();
  readonly #calls = new Map<number, Waiting>();
  readonly #watchers = new Set<(record: StepRecord) => void>();
  #asks: Ask[] = [];
  #ids = 0;
  #stats: Float64Array = new Float64Array();
  #adapters: readonly AdapterInfo[];
  #failure: MillraceError | undefined;
  #closing: Promise<void> | undefined;
  #isClosed = false;

  constructor(parts: RemoteEngineParts, adapters: readonly AdapterInfo[]) {
    this.#parts = parts;
    this.#adapters = adapters;
  }

  get failure(): MillraceError | undefined {
    return this.#failure;
  }

  submit(work: Work, listen: (event: WorkEvent) => void): WorkHandle {
    const dead = this.#failure ?? (this.#closing && new MillraceError("ERR_CLOSED", "the model is closed"));
    if (dead !== undefined) {
      queueMicrotask(() => listen({ type: "end", cachedTokens: 0, drafts: NO_DRAFTS, error: dead }));
      return { endAnswer: () => undefined, cancel: () => undefined };
    }
    const id = ++this.#ids;
    const request: Request = { listen };
    this.#requests.set(id, request);
    this.#ask({ type: "submit", id, work });
    return {
      endAnswer: (answer) => {
        if (this.#requests.has(id)) this.#ask({ type: "endAnswer", id, answer });
      },
      cancel: (error) => this.#cancel(id, error),
    };
  }

  stats(): EngineStats {
    return unpackStats(this.#stats);
  }

  async memory(): Promise<MemoryMap> {
    return (await this.#call({ name: "memory" })) as MemoryMap;
  }

  async loadAdapter(name: string, reference: string): Promise<AdapterInfo> {
    return (await this.#call({ name: "loadAdapter", adapter: name, reference })) as AdapterInfo;
  }

  async dropAdapter(name: string): Promise<void> {
    this.#adapters = this.#adapters.filter((one) => one.name !== name);
    await this.#call({ name: "dropAdapter", adapter: name });
  }

  adapters(): readonly AdapterInfo[] {
    return this.#adapters;
  }

  watch(listen: (record: StepRecord) => void): () => void {
    this.#watchers.add(listen);
    return () => this.#watchers.delete(listen);
  }

  async pin(prompt: Int32Array, cacheSalt?: string): Promise<Pin> {
    const id = this.#ids + 1;
    const tokens = Number(await this.#call({ name: "pin", prompt, cacheSalt }));
    let isHeld = true;
    return {
      tokens,
      release: () => {
        if (isHeld && this.#closing === undefined) this.#ask({ type: "release", pin: id });
        isHeld = false;
      },
    };
  }

  /** Ends all work, frees what lies under the engine. */
  close(): Promise<void> {
    this.#closing ??= this.#call({ name: "close" }).then(
      () => void (this.#isClosed = true),
      (error: unknown) => {
        // Of what is gone there is nothing left to free.
        if (error !== this.#failure) throw error;
      },
    );
    return this.#closing;
  }

  /** What the engine's side has sent. */
  take(tell: Tell): void {
    if (tell.type === "batch") this.#takeBatch(tell);
    else this.#takeResult(tell);
    this.#hold();
  }

  /** The engine's side is gone. */
  fail(error: MillraceError): void {
    if (this.#failure !== undefined || this.#isClosed) return;
    this.#failure = error;
    for (const id of this.#requests.keys()) {
      this.#tell(id, { type: "end", cachedTokens: 0, drafts: NO_DRAFTS, error });
    }
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
    this.#hold();
  }

  #takeBatch({ tokens, events, records, stats }: Batch): void {
    this.#stats = stats;
    unpackTokens(tokens, (id, event) => this.#tell(id, event));
    for (const { id, event } of events) this.#tell(id, event.type === "end" ? this.#endOf(id, event) : event);
    if (this.#watchers.size === 0) return;
    for (const record of unpackRecords(records)) for (const watcher of this.#watchers) watcher(record);
  }

  #takeResult({ id, outcome, adapters }: Result): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    this.#adapters = adapters;
    if ("error" in outcome) call?.reject(errorOf(outcome.error));
    else call?.resolve(outcome.value);
  }

  #endOf(id: number, { error, ...rest }: EndEvent): WorkEvent {
    const cancelled = this.#requests.get(id)?.cancelled;
    if (cancelled !== undefined) return { ...rest, error: cancelled.error };
    return error === undefined ? rest : { ...rest, error: errorOf(error) };
  }

  #tell(id: number, event: WorkEvent): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    if (event.type === "end") this.#requests.delete(id);
    else if (request.cancelled !== undefined) return;
    try {
      request.listen(event);
    } catch (error) {
      this.#cancel(id, error);
    }
  }

  #cancel(id: number, error: unknown): void {
    const request = this.#requests.get(id);
    if (request === undefined || request.cancelled !== undefined) return;
    request.cancelled = { error };
    this.#ask({ type: "cancel", id });
  }

  #call(call: Call): Promise<CallValue> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = ++this.#ids;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#ask({ type: "call", id, call });
    });
  }

  #ask(ask: Ask): void {
    if (this.#asks.push(ask) === 1) queueMicrotask(() => this.#send());
    this.#hold();
  }

  #send(): void {
    const asks = this.#asks;
    this.#asks = [];
    if (this.#failure !== undefined) return;
    try {
      this.#parts.post(asks);
    } catch {
      // Somebody's work is no plain data: one by one it shows whose.
      for (const ask of asks) this.#sendAlone(ask);
    }
  }

  #sendAlone(ask: Ask): void {
    try {
      this.#parts.post([ask]);
    } catch (error) {
      if (ask.type !== "submit") throw error;
      const why = new RequestError(`the request is no plain data: ${String(error)}`, { cause: error });
      this.#tell(ask.id, { type: "end", cachedTokens: 0, drafts: NO_DRAFTS, error: why });
      this.#hold();
    }
  }

  #hold(): void {
    this.#parts.hold(this.#requests.size + this.#calls.size > 0);
  }
}
