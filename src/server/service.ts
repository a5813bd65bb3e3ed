/**
 * The service behind the endpoints: the models under their names, the gate before each, what is counted, and the rules of
 * the house. It knows no API's form.
 */
import { shown } from "../decode/limits.ts";
import type { Answer, AnswerPart, Generation, Llm } from "../engine/llm.ts";
import type { Call } from "./call.ts";
import { GoneError, HttpError } from "./failure.ts";
import { Gate } from "./gate.ts";
import type { Log } from "./log.ts";
import { ModelMetrics } from "./model-metrics.ts";
import type { ModelRooms } from "./model-rooms.ts";
import { Counter } from "./prometheus.ts";
import { ResponseStore } from "./response-store.ts";

export interface ServedModel {
  readonly name: string;
  /** Of the model's, the adapter that answers; undefined: the model alone. */
  readonly adapter?: string;
  readonly llm: Llm;
  readonly gate: Gate;
  readonly metrics: ModelMetrics;
}

export interface ServiceOptions {
  readonly models: ReadonlyMap<string, Llm>;
  /** Models that are loaded when they are asked for. */
  readonly rooms: ModelRooms;
  /** Answers that may wait, for each model, behind those that are computed. */
  readonly maxQueue: number;
  /** A reader of a stream that takes nothing for so long is cut off. */
  readonly stallMs: number;
  readonly log: Log;
}

/** An answer that was asked for. */
export interface Asked {
  /** Its parts as they come. */
  readonly parts: AsyncGenerator<AnswerPart, void>;
  readonly result: Promise<Generation>;
}

export class Service {
  readonly #models = new Map<string, ServedModel>();
  readonly #rooms: ModelRooms;
  readonly #maxQueue: number;
  readonly stallMs: number;
  readonly log: Log;
  /** By `path` and `status`. */
  readonly httpRequests = new Counter();
  readonly responses = new ResponseStore();
  readonly startedAt = Math.floor(Date.now() / 1000);
  readonly #closing = new AbortController();
  #draining = false;

  constructor({ models, rooms, maxQueue, stallMs, log }: ServiceOptions) {
    this.#rooms = rooms;
    this.#maxQueue = maxQueue;
    this.stallMs = stallMs;
    this.log = log;
    for (const [name, llm] of models) this.#enter(name, llm);
  }

  /** Those that are loaded. */
  get models(): ReadonlyMap<string, ServedModel> {
    return this.#models;
  }

  /** Names of models that will be loaded when they are asked for. */
  get unloaded(): string[] {
    return this.#rooms.names.filter((name) => !this.#models.has(name));
  }

  get isDraining(): boolean {
    return this.#draining;
  }

  /** Whether the engine of a model is gone that nobody will load again. */
  get hasFailed(): boolean {
    return [...this.#models.values()].some(({ name, llm }) => llm.failure !== undefined && !this.#rooms.has(name));
  }

  /** Aborted when the service closes: for what would go on without an end. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** The models that are loaded, each followed by itself with each of its adapters: "MODEL:ADAPTER". */
  get served(): ServedModel[] {
    return [...this.models.values()].flatMap((model) => [
      model,
      ...model.llm.adapters().map(({ name }) => ({ ...model, name: `${model.name}:${name}`, adapter: name })),
    ]);
  }

  /** A model that is loaded. Throws 404 with the names that there are. */
  loaded(name: string): ServedModel {
    const model = this.#models.get(name) ?? this.#adapted(name);
    if (model !== undefined) return model;
    const names = [...this.served.map((known) => known.name), ...this.unloaded].map((known) => `"${known}"`).join(", ");
    throw new HttpError(404, `the model ${shown(name)} isn't served here; there is ${names}`, {
      code: "model_not_found",
      param: "model",
    });
  }

  /** The same; where it can be loaded it is. */
  async model(name: string): Promise<ServedModel> {
    const colon = name.lastIndexOf(":");
    const room = [name, name.slice(0, Math.max(0, colon))].find((known) => this.#rooms.has(known));
    if (room !== undefined) {
      if (this.#draining) throw new HttpError(503, "the server is going down", { headers: { "retry-after": "5" } });
      await this.#rooms.get(room, (llm) => {
        const { gate } = this.#enter(room, llm);
        return { llm, gate, leave: () => this.#leave(room) };
      });
    }
    return this.loaded(name);
  }

  #enter(name: string, llm: Llm): ServedModel {
    const gate = new Gate(llm.info.maxSequences, this.#maxQueue);
    const model = { name, llm, gate, metrics: new ModelMetrics(llm) };
    this.#models.set(name, model);
    return model;
  }

  #leave(name: string): void {
    this.#models.get(name)?.metrics.close();
    this.#models.delete(name);
  }

  /** "MODEL:ADAPTER", where the model has such an adapter. */
  #adapted(name: string): ServedModel | undefined {
    const colon = name.lastIndexOf(":");
    const model = this.#models.get(name.slice(0, Math.max(0, colon)));
    const adapter = name.slice(colon + 1);
    const isLoaded = model?.llm.adapters().some((one) => one.name === adapter) === true;
    return model !== undefined && isLoaded ? { ...model, name, adapter } : undefined;
  }

  /**
   * Starts `count` answers to one prompt, unless the queue is full. The place in the queue is given back when the engine
   * is done with them, however slowly they are read.
   */
  ask(call: Call, { gate, metrics }: ServedModel, count: number, start: () => Answer): Asked {
    call.signal.throwIfAborted();
    const leave = gate.enter(count, call.key);
    const began = performance.now();
    let answer: Answer;
    try {
      answer = start();
    } catch (error) {
      leave();
      throw error;
    }
    const result = answer
      .then(
        (generation) => {
          metrics.done(generation, performance.now() - began);
          return generation;
        },
        (error: unknown) => {
          metrics.failed(error instanceof GoneError ? "abort" : "error");
          throw error;
        },
      )
      .finally(leave);
    result.catch(() => undefined);
    return { parts: measured(answer, metrics, began), result };
  }

  /** Work that makes no text (vectors, ranks): it takes one place in the queue, unless that is full. */
  async during<T>(call: Call, { gate }: ServedModel, work: () => Promise<T>): Promise<T> {
    call.signal.throwIfAborted();
    const leave = gate.enter(1, call.key);
    try {
      return await work();
    } finally {
      leave();
    }
  }

  /** No new work from now on; resolves when what is under way has ended. */
  async drain(): Promise<void> {
    this.#draining = true;
    for (const { gate } of this.models.values()) gate.drain();
    for (const { gate } of this.models.values()) await gate.empty();
  }

  /** Ends what has no end of its own, and closes the models that were loaded on the way. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#rooms.close();
    for (const { metrics } of this.models.values()) metrics.close();
  }
}

async function* measured(answer: Answer, metrics: ModelMetrics, began: number): AsyncGenerator<AnswerPart, void> {
  let isFirst = true;
  for await (const part of answer) {
    if (isFirst) metrics.firstToken(performance.now() - began);
    isFirst = false;
    yield part;
  }
}
