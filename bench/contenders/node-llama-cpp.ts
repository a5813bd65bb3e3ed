/** node-llama-cpp, the prebuilt CPU binary. Arguments: MODEL THREADS; UV_THREADPOOL_SIZE from the environment. */
import { getLlama, LlamaLogLevel, type Token } from "node-llama-cpp";
import { promptIds, serve } from "./protocol.ts";

const [modelPath = "", threads = "1"] = process.argv.slice(2);

serve(async () => {
  const llama = await getLlama({
    gpu: false,
    build: "never",
    logLevel: LlamaLogLevel.error,
    maxThreads: Number(threads),
  });
  const model = await llama.loadModel({ modelPath });
  const context = await model.createContext({
    contextSize: 2048,
    batchSize: 512,
    sequences: 8,
    threads: Number(threads),
  });
  const sequences = Array.from({ length: 8 }, () => context.getSequence());
  let salt = 0;
  /** Times of the first and of the last token, and the tokens between: fewer than asked where the answer ended. */
  const run = async (
    which: number,
    prompt: number[],
    tokens: number,
  ): Promise<{ first: number; last: number; steps: number }> => {
    const sequence = sequences[which];
    if (!sequence) throw new Error(`no sequence ${which}`);
    await sequence.clearHistory();
    let first = 0;
    let seen = 0;
    for await (const _ of sequence.evaluate(prompt as Token[], { temperature: 0, yieldEogToken: true })) {
      if (seen === 0) first = performance.now();
      seen += 1;
      if (seen === tokens) break;
    }
    return { first, last: performance.now(), steps: seen - 1 };
  };
  return {
    async measure(task) {
      salt += 1;
      const start = performance.now();
      if (task.kind === "prefill") return (await run(0, promptIds(task.tokens, salt), 1)).first - start;
      const count = task.kind === "batch" ? task.sequences : 1;
      const runs = Array.from({ length: count }, (_, i) => run(i, promptIds(16, 100 * salt + i), task.tokens + 1));
      const times = await Promise.all(runs);
      const ms = Math.max(...times.map((t) => t.last)) - Math.max(...times.map((t) => t.first));
      return (ms * task.tokens) / Math.max(1, ...times.map((t) => t.steps));
    },
  };
});
