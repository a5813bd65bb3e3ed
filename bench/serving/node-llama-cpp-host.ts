/**
 * node-llama-cpp behind the thinnest server that its API allows: /v1/completions of token ids, streamed, one sequence a
 * request, as many at once as there are sequences; who comes later waits in line. Its setting comes as JSON.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { getLlama, type LlamaContextSequence, LlamaLogLevel, type Token } from "node-llama-cpp";
import type { HostSetting } from "./millrace-host.ts";

const setting = JSON.parse(process.argv[2] ?? "{}") as HostSetting;
const { model: modelPath, threads = 2, context: contextSize, maxSequences: sequences } = setting;

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: threads });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize, batchSize: 512, sequences, threads });
const free = Array.from({ length: sequences }, () => context.getSequence());
const line: ((sequence: LlamaContextSequence) => void)[] = [];

function take(): Promise<LlamaContextSequence> {
  const sequence = free.pop();
  return sequence === undefined ? new Promise((resolve) => line.push(resolve)) : Promise.resolve(sequence);
}

function giveBack(sequence: LlamaContextSequence): void {
  const next = line.shift();
  if (next === undefined) free.push(sequence);
  else next(sequence);
}

const server = createServer((request, response) => {
  void (async () => {
    let text = "";
    for await (const part of request) text += String(part);
    const { prompt, max_tokens } = JSON.parse(text) as { prompt: number[]; max_tokens: number };
    const sequence = await take();
    let tokens = 0;
    try {
      await sequence.clearHistory();
      response.writeHead(200, { "content-type": "text/event-stream" });
      const options = { temperature: 0, yieldEogToken: true };
      for await (const token of sequence.evaluate(prompt as Token[], options)) {
        tokens += 1;
        const piece = model.detokenize([token]) || " ";
        response.write(`data: ${JSON.stringify({ choices: [{ index: 0, text: piece }] })}\n\n`);
        if (tokens === max_tokens) break;
      }
      const usage = { prompt_tokens: prompt.length, completion_tokens: tokens };
      response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
    } finally {
      giveBack(sequence);
    }
  })();
});
server.listen(0, "127.0.0.1", () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on("disconnect", () => process.exit(0));
