/**
 * The engine's side of a thread border: does what a front asks (remote-engine.ts) and tells it what comes of it, one message
 * a step whatever the number of requests.
 */
import type { EngineClient, Pin, StepRecord, WorkEvent, WorkHandle } from "../client.ts";
import { errorData } from "./error-data.ts";
import { packRecords, packStats, TokenPacker } from "./packed.ts";
import type { Ask, Batch, Call, CallValue, OtherEvent, Post, Tell } from "./protocol.ts";

export class EngineHost {
  readonly #client: EngineClient;
  readonly #post: Post<Tell>;
  readonly #release: () => Promise<void>;
  readonly #handles = new Map<number, WorkHandle>();
  readonly #pins = new Map<number, Pin>();
  readonly #tokens = new TokenPacker();
  #events: Batch["events"][number][] = [];
  #records: StepRecord[] = [];
  #isDue = false;

  /** `release`: frees what lies under the engine when the front closes it. */
  constructor(client: EngineClient, post: Post<Tell>, release: () => Promise<void>) {
    this.#client = client;
    this.#post = post;
    this.#release = release;
    client.watch((record) => {
      this.#records.push(record);
      this.#tellSoon();
    });
    this.#flush();
  }

  take(asks: readonly Ask[]): void {
    for (const ask of asks) {
      switch (ask.type) {
        case "submit":
          this.#handles.set(
            ask.id,
            this.#client.submit(ask.work, (event) => this.#hear(ask.id, event)),
          );
          break;
        case "endAnswer":
          this.#handles.get(ask.id)?.endAnswer(ask.answer);
          break;
        case "cancel":
          this.#handles.get(ask.id)?.cancel(new Error("cancelled, as the front knows"));
          break;
        case "release":
          this.#pins.get(ask.pin)?.release();
          this.#pins.delete(ask.pin);
          this.#tellSoon();
          break;
        case "call":
          void this.#answer(ask.id, ask.call);
          break;
        default:
          ask satisfies never;
      }
    }
  }

  #hear(id: number, event: WorkEvent): void {
    if (event.type === "tokens" || event.type === "logprobs") this.#tokens.add(id, event);
    else this.#events.push({ id, event: told(event) });
    if (event.type === "end") this.#handles.delete(id);
    this.#tellSoon();
  }

  /** Behind the microtask in which the engine tells of a step's record, which is queued after those of its events. */
  #tellSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => queueMicrotask(() => this.#flush()));
  }

  #flush(): void {
    this.#isDue = false;
    const events = this.#events;
    const records = packRecords(this.#records);
    this.#events = [];
    this.#records = [];
    const stats = packStats(this.#client.stats());
    this.#post({ type: "batch", tokens: this.#tokens.take(), events, records, stats }, events.flatMap(buffersOf));
  }

  async #answer(id: number, call: Call): Promise<void> {
    let outcome: { readonly value: CallValue } | { readonly error: ReturnType<typeof errorData> };
    try {
      outcome = { value: await this.#perform(id, call) };
    } catch (error) {
      outcome = { error: errorData(error) };
    }
    // What came before the answer is told before it.
    this.#flush();
    this.#post({ type: "result", id, outcome, adapters: this.#client.adapters() });
  }

  async #perform(id: number, call: Call): Promise<CallValue> {
    switch (call.name) {
      case "pin": {
        const pin = await this.#client.pin(call.prompt, call.cacheSalt);
        this.#pins.set(id, pin);
        return pin.tokens;
      }
      case "loadAdapter":
        return this.#client.loadAdapter(call.adapter, call.reference);
      case "dropAdapter":
        await this.#client.dropAdapter(call.adapter);
        return undefined;
      case "memory":
        return this.#client.memory();
      case "close":
        await this.#client.close();
        await this.#release();
        return undefined;
      default:
        return call satisfies never;
    }
  }
}

function told(event: Exclude<WorkEvent, { readonly type: "tokens" | "logprobs" }>): OtherEvent {
  if (event.type !== "end") return event;
  const { error, ...rest } = event;
  if (error === undefined) return rest;
  return { ...rest, error: errorData(error) };
}

/** Rows and vectors are the receiver's own: their memory goes over. */
function buffersOf({ event }: Batch["events"][number]): ArrayBuffer[] {
  const arrays = event.type === "logits" ? event.rows : event.type === "vector" ? [event.values] : [];
  return arrays.flatMap(({ buffer }) => (buffer instanceof ArrayBuffer ? [buffer] : []));
}
