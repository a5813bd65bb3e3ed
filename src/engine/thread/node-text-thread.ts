/**
 * A thread that encodes long texts, with a tokenizer of its own: a prompt of a megabyte takes a tenth of a second, in which
 * the front's thread would write nobody's tokens. It is started by the first such text.
 */
import type { Worker } from "node:worker_threads";

import type { TokenizerSource } from "../../artifact/artifact.ts";
import type { MarkedText, TextSegment } from "../../tokenizer/marked-text.ts";
import type { EncodeOptions } from "../../tokenizer/tokenizer.ts";
import type { LongTexts } from "../input.ts";
import { errorOf, type ErrorData } from "./error-data.ts";
import { startThread } from "./node-start.ts";

export type TextAsk =
  | { readonly id: number; readonly text: string; readonly options: EncodeOptions }
  | { readonly id: number; readonly segments: readonly TextSegment[] };

export type TextTell = { readonly id: number } & ({ readonly ids: Int32Array } | { readonly error: ErrorData });

interface Waiting {
  readonly resolve: (ids: Int32Array) => void;
  readonly reject: (error: unknown) => void;
}

export class TextThread implements LongTexts {
  readonly #source: TokenizerSource;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #ids = 0;

  constructor(source: TokenizerSource) {
    this.#source = source;
  }

  encode(text: string, options: EncodeOptions): Promise<Int32Array> {
    return this.#ask({ id: ++this.#ids, text, options });
  }

  encodeMarked(text: MarkedText): Promise<Int32Array> {
    return this.#ask({ id: ++this.#ids, segments: text.segments() });
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #ask(ask: TextAsk): Promise<Int32Array> {
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    return new Promise((resolve, reject) => {
      this.#waiting.set(ask.id, { resolve, reject });
      worker.postMessage(ask);
    });
  }

  #start(): Worker {
    const worker = startThread("node-text-worker", "millrace texts", this.#source);
    worker.on("message", (tell: TextTell) => {
      const waiting = this.#waiting.get(tell.id);
      this.#waiting.delete(tell.id);
      if (this.#waiting.size === 0) worker.unref();
      if ("ids" in tell) waiting?.resolve(tell.ids);
      else waiting?.reject(errorOf(tell.error));
    });
    let why: unknown = new Error("the thread that encodes long texts has ended");
    worker.on("error", (error) => (why = error));
    // The next long text starts another one.
    worker.on("exit", () => {
      this.#worker = undefined;
      for (const { reject } of this.#waiting.values()) reject(why);
      this.#waiting.clear();
    });
    return worker;
  }
}
