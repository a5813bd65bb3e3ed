/** Millrace through its public API. Arguments: MODEL THREADS. */
import { load } from "../../src/index.ts";
import { promptIds, serve } from "./protocol.ts";

const [model = "", threads = "1"] = process.argv.slice(2);

serve(async () => {
  // Drafts would flatter: prompts of random tokens are answered by loops.
  const llm = await load(model, { threads: Number(threads), context: 2048, speculation: "off" });
  let salt = 0;
  return {
    async measure(task) {
      salt += 1;
      const maxTokens = task.kind === "prefill" ? 1 : task.tokens + 1;
      const options = { maxTokens, minTokens: maxTokens, temperature: 0 };
      if (task.kind === "prefill") {
        const { timings } = await llm.generate(promptIds(task.tokens, salt), options);
        return timings.firstTokenMs;
      }
      const count = task.kind === "batch" ? task.sequences : 1;
      const answers = Array.from({ length: count }, (_, i) => llm.generate(promptIds(16, 100 * salt + i), options));
      const timings = (await Promise.all(answers)).map((answer) => answer.timings);
      return Math.max(...timings.map((t) => t.totalMs)) - Math.max(...timings.map((t) => t.firstTokenMs));
    },
  };
});
