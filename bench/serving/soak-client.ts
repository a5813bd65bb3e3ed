/**
 * 200 clients, good and bad, in one process: told a task over IPC they go on until its time is over, then say what became of
 * their requests. Each client is of one kind: it reads whole answers, hangs up in the middle, reads slowly, or sends nonsense.
 */
import { Agent, type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../../test/support/random.ts";
import { promptIds } from "./load.ts";

export interface SoakTask {
  readonly port: number;
  readonly seconds: number;
  readonly clients: number;
  /** Keys; the first one has most of the clients. */
  readonly keys: readonly string[];
}

export interface SoakReport {
  /** Well-formed requests by what came of them: "200", "429", "503", "aborted" (by us), and whatever else. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Nonsense by the status that it got; "closed": no answer but a closed connection. */
  readonly nonsense: Readonly<Record<string, number>>;
  /** Tokens of answers by key. */
  readonly tokens: Readonly<Record<string, number>>;
  /** Answers to one of the fixed prompts that differ from the first answer to it. */
  readonly mismatches: number;
  readonly compared: number;
}

const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
const outcomes: Record<string, number> = {};
const nonsense: Record<string, number> = {};
const tokens: Record<string, number> = {};
const known = new Map<string, string>();
let [mismatches, compared] = [0, 0];

function count(into: Record<string, number>, name: string, by = 1): void {
  into[name] = (into[name] ?? 0) + by;
}

type Kind = "whole" | "hang-up" | "slow" | "nonsense";
const KINDS: readonly Kind[] = ["whole", "whole", "whole", "hang-up", "slow", "nonsense"];

async function client(task: SoakTask, index: number, until: number): Promise<void> {
  const random = new Random(index + 1);
  // Seven of ten clients belong to the first key, one to each of the others; each key has clients of every kind.
  const key = task.keys[Math.max(0, (index % 10) - 6)] ?? "";
  const kind = KINDS[Math.floor(index / 10) % KINDS.length] ?? "whole";
  while (performance.now() < until) {
    if (kind === "nonsense") count(nonsense, await sendNonsense(task.port, key, random));
    else {
      const outcome = await ask(task.port, key, kind, random, until);
      count(outcomes, outcome);
      if (outcome === "429" || outcome === "503") await sleep(200 + random.below(300));
    }
    if (kind !== "whole") await sleep(random.below(200));
  }
}

/** A well-formed request; gives its status, "aborted", or what went wrong. */
function ask(port: number, key: string, kind: Kind, random: Random, until: number): Promise<string> {
  const which = random.below(16);
  const length = 16 + 8 * which;
  const wanted = 16 + 4 * which;
  const body = JSON.stringify({
    model: "model",
    prompt: promptIds(length, which),
    max_tokens: wanted,
    min_tokens: wanted,
    temperature: 1,
    seed: which,
    stream: true,
  });
  return new Promise((resolve) => {
    let text = "";
    let isOver = false;
    const end = (outcome: string): void => {
      if (isOver) return;
      isOver = true;
      resolve(outcome);
    };
    const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
    const asking = request({ port, path: "/v1/completions", method: "POST", agent, headers }, (response) => {
      const status = String(response.statusCode);
      const hangUpAt = kind === "hang-up" ? 200 + random.below(4000) : Infinity;
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        text += part;
        if (text.length > hangUpAt) {
          end("aborted");
          asking.destroy();
        } else if (kind === "slow") pause(response, 20 + random.below(300));
      });
      response.once("end", () => {
        if (status !== "200") return end(status);
        if (!text.includes("data: [DONE]")) return end("cut");
        count(tokens, key, wanted);
        compare(String(which), text);
        end(status);
      });
      response.once("error", () => end("broken"));
    });
    asking.once("error", () => end(performance.now() > until + 60_000 ? "late" : "broken"));
    asking.end(body);
  });
}

function pause(response: IncomingMessage, ms: number): void {
  response.pause();
  setTimeout(() => response.resume(), ms);
}

/** An answer is the first one's to the same prompt, word for word. */
function compare(prompt: string, stream: string): void {
  const text = [...stream.matchAll(/"text":("(?:[^"\\]|\\.)*")/g)].map(([, part = '""']) => JSON.parse(part) as string);
  const whole = text.join("");
  const first = known.get(prompt);
  known.set(prompt, first ?? whole);
  compared += 1;
  if (first !== undefined && first !== whole) mismatches += 1;
}

const NONSENSE: readonly ((random: Random, key: string) => string)[] = [
  (random) => Buffer.from(Array.from({ length: 200 }, () => random.below(256))).toString("latin1"),
  (_, key) => post("{", key),
  (_, key) => post('{"model":"model"}', key),
  (_, key) => post('{"model":"model","prompt":"x","max_tokens":-5}', key),
  (_, key) => post(`{"model":"model","prompt":${"[".repeat(500)}`, key),
  (_, key) => post('{"model":"nobody","prompt":"x"}', key),
  () => post('{"model":"model","prompt":"x"}', "a wrong key"),
  (_, key) => post('{"model":"model","prompt":"x","response_format":{"type":"json_schema"}}', key),
  () => "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999\r\n\r\n{",
  () => "GET / HTTP/1.1\r\nhost: localhost\r\n",
  () => "DELETE /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
];

function post(body: string, key: string): string {
  return (
    `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${key}\r\nconnection: close\r\n` +
    `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}

/** Sends bytes that mean nothing, or half of something, and leaves after a while; gives the status that came. */
function sendNonsense(port: number, key: string, random: Random): Promise<string> {
  const make = NONSENSE[random.below(NONSENSE.length)];
  return new Promise((resolve) => {
    let head = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(make?.(random, key) ?? "", "latin1"));
    const timer = setTimeout(() => socket.destroy(), 300 + random.below(700));
    socket.on("data", (part) => (head += part.toString("latin1")));
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(/^HTTP\/1.1 (\d+)/.exec(head)?.[1] ?? "closed");
    });
  });
}

process.on("message", (task: SoakTask) => {
  const until = performance.now() + 1000 * task.seconds;
  const all = Array.from({ length: task.clients }, (_, index) => client(task, index, until));
  void Promise.all(all).then(() =>
    process.send?.({ outcomes, nonsense, tokens, mismatches, compared } satisfies SoakReport),
  );
});
process.on("disconnect", () => process.exit(0));
