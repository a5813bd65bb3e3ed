/** The thread of node-text-thread.ts: a tokenizer, made of what its parent gives, and the texts that it is sent. */
import { parentPort, workerData } from "node:worker_threads";

import type { TokenizerSource } from "../../artifact/artifact.ts";
import { invariant } from "../../errors.ts";
import { MarkedText } from "../../tokenizer/marked-text.ts";
import { createTokenizer } from "../../tokenizer/tokenizer.ts";
import { errorData } from "./error-data.ts";
import type { TextAsk, TextTell } from "./node-text-thread.ts";

const port = parentPort;
invariant(port !== null, "the text thread has no parent");
const tokenizer = createTokenizer(workerData as TokenizerSource);

function encode(ask: TextAsk): Int32Array<ArrayBuffer> {
  const ids =
    "text" in ask
      ? tokenizer.encode(ask.text, ask.options)
      : tokenizer.encodeMarked(MarkedText.join(ask.segments.map(({ text, origin }) => MarkedText.of(text, origin))));
  return Int32Array.from(ids);
}

port.on("message", (ask: TextAsk) => {
  try {
    const ids = encode(ask);
    port.postMessage({ id: ask.id, ids } satisfies TextTell, [ids.buffer]);
  } catch (error) {
    port.postMessage({ id: ask.id, error: errorData(error) } satisfies TextTell);
  }
});
