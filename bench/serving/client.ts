/**
 * A process that sends requests when their time has come and notes when each event of their answers came (/v1/completions,
 * streamed). Told by its parent over IPC, one task after another. It parses as little as it can: it shares the machine with
 * the server.
 */
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Outcome, Planned, Task } from "./load.ts";

const agent = new Agent({ keepAlive: true, maxSockets: Infinity });

async function send({ url, model }: Task, { prompt, answer, key }: Planned, start: number): Promise<Outcome> {
  const body = JSON.stringify({
    model,
    prompt,
    max_tokens: answer,
    min_tokens: answer,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  });
  const now = (): number => performance.now() - start;
  const sent = now();
  const events: number[] = [];
  const authorization = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body), ...authorization };
  return new Promise((resolve) => {
    let usage = { prompt_tokens: 0, completion_tokens: 0, prompt_tokens_details: { cached_tokens: 0 } };
    const end = (status: number): void =>
      resolve({
        sent,
        events,
        end: now(),
        status,
        promptTokens: usage.prompt_tokens,
        cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
        tokens: usage.completion_tokens,
      });
    const asking = request(`${url}/v1/completions`, { method: "POST", agent, headers }, (response) => {
      let rest = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        const frames = (rest + part).split("\n\n");
        rest = frames.pop() ?? "";
        for (const frame of frames) {
          if (frame.includes('"usage":{')) usage = (JSON.parse(frame.slice(6)) as { usage: typeof usage }).usage;
          if (/"text":"[^"]/.test(frame)) events.push(now());
        }
      });
      response.once("end", () => end(response.statusCode ?? 0));
      response.once("error", () => end(0));
    });
    asking.once("error", () => end(0));
    asking.end(body);
  });
}

process.on("message", (task: Task) => {
  const start = performance.now();
  const outcomes = task.requests.map(async (one) => {
    await sleep(1000 * one.at - (performance.now() - start));
    return send(task, one, start);
  });
  void Promise.all(outcomes).then((all) => process.send?.(all));
});
process.on("disconnect", () => process.exit(0));
