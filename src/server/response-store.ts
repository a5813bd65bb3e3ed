/**
 * Responses that can be had again: in memory alone, for an hour, each its key's own. So many, and so much text, are kept at
 * most; the oldest go first.
 */
import type { ChatMessage } from "../chat/chat-template.ts";
import type { ResponseBody } from "./schemas/responses.ts";

export interface StoredResponse {
  readonly body: ResponseBody;
  /** The conversation up to its end, without instructions. */
  readonly messages: readonly ChatMessage[];
}

const MOST = 1000;
const MOST_CHARACTERS = 32 * 2 ** 20;
const LIFETIME_MS = 3_600_000;

interface Entry {
  readonly key: string;
  readonly stored: StoredResponse;
  readonly characters: number;
  readonly until: number;
}

export class ResponseStore {
  readonly #entries = new Map<string, Entry>();
  readonly #now: () => number;
  #characters = 0;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  put(key: string, stored: StoredResponse): void {
    const { id } = stored.body;
    this.#forget(id);
    const characters = JSON.stringify(stored).length;
    this.#entries.set(id, { key, stored, characters, until: this.#now() + LIFETIME_MS });
    this.#characters += characters;
    for (const [oldest, { until }] of this.#entries) {
      const full = this.#entries.size > MOST || this.#characters > MOST_CHARACTERS;
      if (!full && until > this.#now()) break;
      this.#forget(oldest);
    }
  }

  /** Undefined: there is none of that key, or no longer. */
  get(key: string, id: string): StoredResponse | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.key !== key) return undefined;
    if (entry.until > this.#now()) return entry.stored;
    this.#forget(id);
    return undefined;
  }

  /** False: there was none. */
  delete(key: string, id: string): boolean {
    if (this.get(key, id) === undefined) return false;
    this.#forget(id);
    return true;
  }

  #forget(id: string): void {
    this.#characters -= this.#entries.get(id)?.characters ?? 0;
    this.#entries.delete(id);
  }
}
