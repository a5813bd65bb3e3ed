/**
 * Models that are loaded when they are asked for: at the first request, until nobody has asked for some time, and as many as a
 * memory budget holds. Where it is full, those that nobody uses go, least recently used first; if all are in use, the request is
 * told to come back. What is loaded here is closed here.
 */
import type { Llm } from "../engine/llm.ts";
import { HttpError } from "./failure.ts";
import type { Gate } from "./gate.ts";
import type { Log } from "./log.ts";

export interface ModelRoomsOptions {
  readonly loaders: ReadonlyMap<string, () => Promise<Llm>>;
  /** A model that nobody has asked for so long is closed. Default: never. */
  readonly idleMs?: number | undefined;
  /** Weights and KV memory of all models that are loaded here. Default: no limit. */
  readonly memoryBytes?: number | undefined;
  readonly log: Log;
}

/** What the service has of a model while it is loaded. */
export interface Tenant {
  readonly llm: Llm;
  /** Of the answers that it owes. */
  readonly gate: Gate;
  /** Told before the model is closed. */
  readonly leave: () => void;
}

interface Room {
  readonly tenant: Tenant;
  /** When it was last asked for. */
  asked: number;
}

/** Who was just given a model has not yet asked it for anything: until then it is in use. */
const GRACE_MS = 1000;

export class ModelRooms {
  readonly #options: ModelRoomsOptions;
  readonly #rooms = new Map<string, Room>();
  readonly #loading = new Map<string, Promise<Tenant>>();
  readonly #timer: NodeJS.Timeout | undefined;
  /** One load at a time: each needs to know what the others take. */
  #turn: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(options: ModelRoomsOptions) {
    this.#options = options;
    const { idleMs } = options;
    if (idleMs === undefined) return;
    this.#timer = setInterval(() => void this.#dropIdle(idleMs), Math.min(10_000, Math.ceil(idleMs / 4)));
    this.#timer.unref();
  }

  get names(): string[] {
    return [...this.#options.loaders.keys()];
  }

  has(name: string): boolean {
    return this.#options.loaders.has(name);
  }

  /** The model, loaded where it isn't; `enter` makes a tenant of it. Throws 503 where there is no room. */
  async get(name: string, enter: (llm: Llm) => Tenant): Promise<Tenant> {
    const room = this.#rooms.get(name);
    if (room !== undefined && room.tenant.llm.failure === undefined) {
      room.asked = performance.now();
      return room.tenant;
    }
    let loading = this.#loading.get(name);
    if (loading === undefined) {
      loading = this.#turn.then(() => this.#load(name, enter)).finally(() => this.#loading.delete(name));
      this.#loading.set(name, loading);
      this.#turn = loading.catch(() => undefined);
    }
    return loading;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#turn;
    for (const name of this.#rooms.keys()) await this.#drop(name);
  }

  async #load(name: string, enter: (llm: Llm) => Tenant): Promise<Tenant> {
    const loader = this.#options.loaders.get(name);
    if (this.#isClosed || loader === undefined) throw new HttpError(503, "the server is going down");
    const { memoryBytes = Infinity, log } = this.#options;
    const began = performance.now();
    // One whose engine is gone makes room for another.
    await this.#drop(name);
    const llm = await loader();
    try {
      const own = bytesOf(llm);
      while (this.#held + own > memoryBytes && (await this.#dropOldest()));
      if (this.#held + own > memoryBytes) throw full(name, own, this.#held, memoryBytes);
      const tenant = enter(llm);
      this.#rooms.set(name, { tenant, asked: performance.now() });
      log("info", "a model was loaded", { model: name, ms: Math.round(performance.now() - began), bytes: own });
      return tenant;
    } catch (error) {
      await llm.close();
      throw error;
    }
  }

  get #held(): number {
    return [...this.#rooms.values()].reduce((sum, { tenant }) => sum + bytesOf(tenant.llm), 0);
  }

  /** False: all are in use. */
  async #dropOldest(): Promise<boolean> {
    const unused = [...this.#rooms].filter(([, room]) => isUnused(room, GRACE_MS));
    const [oldest] = unused.toSorted(([, a], [, b]) => lastUsed(a) - lastUsed(b));
    if (oldest === undefined) return false;
    await this.#drop(oldest[0]);
    return true;
  }

  async #dropIdle(idleMs: number): Promise<void> {
    for (const [name, room] of this.#rooms) if (isUnused(room, Math.max(idleMs, GRACE_MS))) await this.#drop(name);
  }

  async #drop(name: string): Promise<void> {
    const room = this.#rooms.get(name);
    if (room === undefined) return;
    this.#rooms.delete(name);
    room.tenant.leave();
    await room.tenant.llm.close();
    this.#options.log("info", "a model was closed", { model: name });
  }
}

function isUnused(room: Room, ms: number): boolean {
  return room.tenant.gate.inside === 0 && performance.now() - lastUsed(room) >= ms;
}

function lastUsed({ asked, tenant }: Room): number {
  return Math.max(asked, tenant.gate.lastLeft);
}

function bytesOf({ info }: Llm): number {
  return info.weightBytes + info.kvBytes + info.swapBytes;
}

function full(name: string, own: number, held: number, budget: number): HttpError {
  const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  const alone = own > budget;
  const why = alone ? "it never fits; raise the memory budget" : `${mib(held)} is held by models in use`;
  const headers = alone ? {} : { "retry-after": "5" };
  return new HttpError(503, `the model "${name}" needs ${mib(own)} of the budget of ${mib(budget)}: ${why}`, {
    headers,
  });
}
