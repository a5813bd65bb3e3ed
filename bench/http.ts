/**
 * `npm run bench -- http [--streams N] [--tokens N]`: what the server itself costs: processor time of its process for each
 * event, with an engine that computes nothing and so many streams at once, by OpenAI's two APIs and Anthropic's.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import path from "node:path";
import { parseArgs } from "node:util";

const APIS = {
  "/v1/completions": { prompt: "The river" },
  "/v1/chat/completions": { messages: [{ role: "user", content: "The river" }] },
  "/v1/messages": { messages: [{ role: "user", content: "The river" }] },
} as const;

export async function benchHttp(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      streams: { type: "string", default: "64" },
      tokens: { type: "string", default: "200" },
      rounds: { type: "string", default: "5" },
    },
  });
  const [streams, tokens, rounds] = [Number(values.streams), Number(values.tokens), Number(values.rounds)];
  const host = fork(path.join(import.meta.dirname, "serving/mock-host.ts"), {
    execArgv: ["--no-warnings", ...(process.env["PROFILE"] === undefined ? [] : ["--cpu-prof"])],
  });
  const [{ port }] = (await once(host, "message")) as [{ port: number }];
  const used = async (): Promise<number> => {
    host.send("cpu");
    const [{ cpu }] = (await once(host, "message")) as [{ cpu: NodeJS.CpuUsage }];
    return cpu.user + cpu.system;
  };
  const agent = new Agent({ keepAlive: true });
  for (const [api, body] of Object.entries(APIS)) {
    const costs: number[] = [];
    let events = 0;
    for (let round = -1; round < rounds; round++) {
      const before = await used();
      const all = { model: "model", max_tokens: tokens, stream: true, ...body };
      const counts = await Promise.all(Array.from({ length: streams }, () => countEvents(agent, port, api, all)));
      const sum = counts.reduce((total, count) => total + count, 0);
      events = sum / streams;
      // The first round warms up.
      if (round >= 0) costs.push(((await used()) - before) / sum);
    }
    const median = costs.toSorted((a, b) => a - b)[Math.floor(costs.length / 2)] ?? Number.NaN;
    console.log(`${api}: ${median.toFixed(1)} µs an event, ${streams} streams of ${events} events`);
  }
  host.disconnect();
  await once(host, "exit");
}

function countEvents(agent: Agent, port: number, api: string, body: object): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json" };
    const asking = request({ port, path: api, method: "POST", agent, headers }, (response) => {
      let count = 0;
      response.setEncoding("utf8");
      response.on("data", (part: string) => (count += part.split("data: ").length - 1));
      response.once("end", () => {
        if (response.statusCode === 200) resolve(count);
        else reject(new Error(`${api}: status ${response.statusCode}`));
      });
    });
    asking.once("error", reject);
    asking.end(JSON.stringify(body));
  });
}
