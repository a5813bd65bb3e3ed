/**
 * Requests that mean harm, to a server in a process of its own: slow, huge, malformed, from foreign pages, from clients that
 * vanish or don't read. While each attacks, a well-behaved client must get its one answer again and again; afterwards the
 * engine is idle and memory where it was. Part of check:hostile.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { NAME } from "../test/support/served.ts";
import { residentBytes } from "./hostile-run.ts";

export interface RequestCase {
  readonly name: string;
  /** What was wrong with how the server met it. */
  readonly attack: (target: Target) => Promise<readonly string[]>;
  /** Part of npm test. */
  readonly quick?: true;
}

/** What came of a connection: the status of its first answer (0: none came), and all of its text. */
interface Reply {
  readonly status: number;
  readonly text: string;
}

const CHAT = { model: NAME, messages: [{ role: "user", content: "Hi" }], max_tokens: 8, seed: 5, temperature: 0.9 };
const LONG = { ...CHAT, max_tokens: 450, logit_bias: { 256: -100 } };
const CHAT_PATH = "/v1/chat/completions";
const MOST_MS = 20_000;

export class Target {
  readonly url: string;
  readonly child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.child = child;
    this.url = url;
  }

  static async start(): Promise<Target> {
    const main = fileURLToPath(new URL("hostile-server.ts", import.meta.url));
    const child = spawn(process.execPath, ["--no-warnings", main], { stdio: ["pipe", "pipe", "inherit"] });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    return new Target(child, line.toString().trim());
  }

  async stop(): Promise<void> {
    const closed = once(this.child, "close");
    this.child.stdin?.end();
    await closed;
  }

  get host(): string {
    return new URL(this.url).host;
  }

  /** A connection; errors of it are its peer's right. */
  open(): Socket {
    const socket = connect(Number(new URL(this.url).port), "127.0.0.1");
    socket.on("error", () => undefined);
    return socket;
  }

  /** Sends bytes and reads until the server ends the connection, or has answered and said no more for a while. */
  async raw(bytes: string | Uint8Array, quietMs = 300): Promise<Reply> {
    const socket = this.open();
    socket.write(bytes);
    const text = await readAll(socket, quietMs);
    socket.destroy();
    return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), text };
  }

  post(body: unknown, path = CHAT_PATH, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(this.url + path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(MOST_MS),
    });
  }

  /** A request of this body as bytes, under these further header lines. */
  request(body: string, headers: readonly string[] = [`content-length: ${Buffer.byteLength(body)}`]): string {
    const lines = [`POST ${CHAT_PATH} HTTP/1.1`, `host: ${this.host}`, "content-type: application/json", ...headers];
    return `${lines.join("\r\n")}\r\n\r\n${body}`;
  }

  async answer(): Promise<string> {
    const response = await this.post(CHAT);
    const { choices } = (await response.json()) as { choices?: { message: { content: string } }[] };
    return `${response.status} ${choices?.[0]?.message.content}`;
  }

  /** Resolves when no request is under way. */
  async idle(): Promise<boolean> {
    for (let i = 0; i < 400; i++) {
      const text = await (await fetch(`${this.url}/metrics`)).text();
      const value = (name: string): number => Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, "m").exec(text)?.[1]);
      if (
        ["vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"].every(
          (n) => value(n) === 0,
        )
      )
        if (value("millrace_answers_inside") === 0) return true;
      await sleep(50);
    }
    return false;
  }
}

async function readAll(socket: Socket, quietMs: number): Promise<string> {
  let text = "";
  const ended = new Promise<void>((resolve) => {
    let quiet = setTimeout(resolve, MOST_MS);
    socket.on("data", (part: Buffer) => {
      if (text.length < 100_000) text += part.toString("latin1");
      clearTimeout(quiet);
      quiet = setTimeout(resolve, quietMs);
    });
    socket.once("close", () => {
      clearTimeout(quiet);
      resolve();
    });
  });
  await ended;
  return text;
}

function closing(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.once("close", () => resolve()));
}

function expect(what: string, found: number, ...wanted: readonly number[]): string[] {
  return wanted.includes(found) ? [] : [`${what}: ${found}, expected ${wanted.join(" or ")}`];
}

/** Each of these requests, as bytes, must get one of these statuses. */
function statuses(
  requests: (target: Target) => Readonly<Record<string, string | Uint8Array>>,
  ...wanted: readonly number[]
): RequestCase["attack"] {
  return async (target) => {
    const found: string[] = [];
    for (const [what, bytes] of Object.entries(requests(target))) {
      found.push(...expect(what, (await target.raw(bytes)).status, ...wanted));
    }
    return found;
  };
}

/** Each of these bodies must get one of these statuses, with an error in OpenAI's form. */
function bodies(texts: () => Readonly<Record<string, unknown>>, ...wanted: readonly number[]): RequestCase["attack"] {
  return async (target) => {
    const found: string[] = [];
    for (const [what, body] of Object.entries(texts())) {
      const response = await target.post(body);
      const text = await response.text();
      found.push(...expect(what, response.status, ...wanted));
      if (response.status >= 400 && !/^\{"error":\{"message":".{1,2000}","type":/s.test(text))
        found.push(`${what}: the error is ${text.slice(0, 200)} (${text.length} characters)`);
    }
    return found;
  };
}

const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
const nested = (open: string, close: string, depth: number): string => open.repeat(depth) + close.repeat(depth);
const withSchema = (schema: unknown): unknown => ({
  ...CHAT,
  response_format: { type: "json_schema", json_schema: { name: "x", schema } },
});

export const REQUEST_CASES: readonly RequestCase[] = [
  {
    name: "headers that come byte by byte, on 200 connections",
    async attack(target) {
      const sockets = times(200, () => target.open());
      const closed = sockets.map(closing);
      for (const socket of sockets) socket.resume();
      const text = `GET /health HTTP/1.1\r\nhost: ${target.host}\r\nx-slow: ${"y".repeat(1000)}`;
      let at = 0;
      const drip = setInterval(() => {
        for (const socket of sockets) if (!socket.destroyed) socket.write(text.charAt(at));
        at += 1;
      }, 50);
      const all = await Promise.race([Promise.all(closed).then(() => true), sleep(20_000, false)]);
      clearInterval(drip);
      for (const socket of sockets) socket.destroy();
      return all ? [] : ["connections stay open after 20 s"];
    },
    quick: true,
  },
  {
    name: "a body that comes byte by byte",
    async attack(target) {
      const sockets = times(50, () => target.open());
      const closed = sockets.map(closing);
      for (const socket of sockets) socket.resume().write(target.request("", ["content-length: 100000"]));
      const drip = setInterval(() => {
        for (const socket of sockets) if (!socket.destroyed) socket.write(" ");
      }, 50);
      const all = await Promise.race([Promise.all(closed).then(() => true), sleep(20_000, false)]);
      clearInterval(drip);
      for (const socket of sockets) socket.destroy();
      return all ? [] : ["connections stay open after 20 s"];
    },
  },
  {
    name: "connections that say nothing, 1,000 of them",
    async attack(target) {
      const sockets = times(1000, () => target.open());
      await sleep(1500);
      for (const socket of sockets) socket.destroy();
      return [];
    },
  },
  {
    name: "bodies larger than what is allowed",
    attack: statuses(
      (target) => ({
        announced: target.request("", ["content-length: 100000000000"]),
        "in pieces": target.request(times(9, () => `100000\r\n${"x".repeat(2 ** 20)}\r\n`).join(""), [
          "transfer-encoding: chunked",
        ]),
      }),
      413,
    ),
    quick: true,
  },
  {
    name: "a body without end",
    async attack(target) {
      const socket = target.open();
      const reading = readAll(socket, 500);
      socket.write(target.request("", ["transfer-encoding: chunked"]));
      const piece = `100000\r\n${"x".repeat(2 ** 20)}\r\n`;
      let sent = 0;
      const more = (): void => {
        while (!socket.destroyed && sent < 500 && socket.write(piece)) sent += 1;
      };
      socket.on("drain", more);
      more();
      const text = await reading;
      socket.destroy();
      const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0);
      // A reset connection may swallow the answer.
      return [...expect("status", status, 413, 0), ...(sent > 100 ? [`${sent} MiB were taken`] : [])];
    },
  },
  {
    name: "bodies that are nested deeply",
    attack: bodies(
      () => ({
        lists: `{"model":"tiny","messages":${nested("[", "]", 1_000_000)}}`,
        objects: `{"model":"tiny","metadata":${'{"a":'.repeat(500_000)}1${"}".repeat(500_000)}}`,
        open: "[".repeat(4_000_000),
        "a schema": withSchema(JSON.parse(`${'{"items":'.repeat(70)}{}${"}".repeat(70)}`)),
      }),
      400,
    ),
    quick: true,
  },
  {
    name: "bodies that are no JSON, or odd",
    attack: bodies(
      () => ({
        empty: "",
        cut: '{"model":"tiny","messages":[{"role":"us',
        "a number": "5",
        null: "null",
        "a number of a million digits": `{"model":"tiny","seed":${"9".repeat(1_000_000)}}`,
        "an infinite number": `{"model":"tiny","messages":[{"role":"user","content":"x"}],"temperature":1e999}`,
        prototype: '{"__proto__":{"model":"tiny"},"messages":[]}',
        "a constructor": '{"constructor":{"prototype":{"model":1}},"model":"tiny","messages":[]}',
        "half a million fields": `{${times(500_000, (i) => `"k${i}":1`).join(",")}}`,
        "100,000 messages": { ...CHAT, messages: times(100_000, () => ({ role: "user", content: 5 })) },
        "20,000 messages": { ...CHAT, messages: times(20_000, () => ({ role: "user", content: 5 })) },
        "a lone surrogate in a role": '{"model":"tiny","messages":[{"role":"\\ud800","content":"x"}]}',
      }),
      400,
    ),
    quick: true,
  },
  {
    name: "a model's name of a megabyte",
    attack: bodies(() => ({ name: { ...CHAT, model: "x".repeat(2 ** 20) } }), 404, 400),
    quick: true,
  },
  {
    name: "prompts of megabytes",
    attack: bodies(
      () => ({
        words: { ...CHAT, messages: [{ role: "user", content: "river ".repeat(1_000_000) }] },
        "one letter": { ...CHAT, messages: [{ role: "user", content: "a".repeat(6_000_000) }] },
        "white space": { ...CHAT, messages: [{ role: "user", content: " ".repeat(6_000_000) }] },
        "many messages": { ...CHAT, messages: times(100_000, () => ({ role: "user", content: "Hi" })) },
        marks: { ...CHAT, messages: [{ role: "user", content: "e\u0301\u0327".repeat(500_000) }] },
      }),
      400,
    ),
  },
  {
    name: "schemas of megabytes",
    attack: bodies(
      () => ({
        "10 MB": withSchema({ enum: times(1_200_000, (i) => `v${i}`) }),
        properties: withSchema({
          type: "object",
          properties: Object.fromEntries(times(200_000, (i) => [`p${i}`, { type: "string" }])),
        }),
        values: withSchema({ enum: times(400_000, (i) => `value ${i}`) }),
        "a pattern": withSchema({ type: "string", pattern: "(a|b)".repeat(200_000) }),
        "a pattern that is just allowed": withSchema({ type: "string", pattern: "(a|b)".repeat(20_000) }),
        alternatives: withSchema({ anyOf: times(100_000, (i) => ({ type: "object", required: [`p${i}`] })) }),
        "a constant": withSchema({ const: "x".repeat(6_000_000) }),
      }),
      400,
      413,
      200,
    ),
  },
  {
    name: "schemas that explode",
    attack: bodies(
      () => ({
        references: withSchema({
          $defs: Object.fromEntries(
            times(41, (i): [string, unknown] => {
              const next = { $ref: `#/$defs/d${i + 1}` };
              return [`d${i}`, i === 40 ? { type: "string" } : { anyOf: [next, { items: next }] }];
            }),
          ),
          $ref: "#/$defs/d0",
        }),
        "all of many": withSchema({
          allOf: times(18, (i) => ({
            anyOf: [
              { properties: { [`a${i}`]: { type: "string" } } },
              { properties: { [`b${i}`]: { type: "number" } } },
            ],
          })),
        }),
        repeats: withSchema({ type: "string", pattern: "^((((a{1,100}){1,100}){1,100}){1,100})$" }),
        "its own": withSchema({ $ref: "#" }),
        lengths: withSchema({ type: "string", minLength: 1_000_000, maxLength: 1_000_000_000 }),
        items: withSchema({ type: "array", minItems: 100_000, items: { type: "array", minItems: 100_000 } }),
        unique: withSchema({ type: "array", uniqueItems: true, items: { enum: times(60, (i) => i) } }),
        properties: withSchema({ minProperties: 50_000, patternProperties: { "(a|aa)+b": {}, "(a+)+c": {} } }),
      }),
      400,
      200,
    ),
  },
  {
    name: "a host that is another's (DNS rebinding)",
    attack: statuses(
      ({ host }) => {
        const port = host.split(":")[1] ?? "";
        const hosts = [
          "evil.example",
          `evil.example:${port}`,
          `localhost.evil.example:${port}`,
          `127.0.0.1.nip.io:${port}`,
        ];
        hosts.push(`localhost:${port}@evil.example`, "[::1].evil.example", "0x7f.1", "127.0.0.1, evil.example", "");
        const own = `http://evil.example:${port}`;
        return {
          ...Object.fromEntries(
            hosts.map((name) => [`host "${name}"`, `GET /health HTTP/1.1\r\nhost: ${name}\r\n\r\n`]),
          ),
          "its own page": `GET /v1/models HTTP/1.1\r\nhost: evil.example:${port}\r\norigin: ${own}\r\n\r\n`,
          "two hosts": `GET /health HTTP/1.1\r\nhost: ${host}\r\nhost: evil.example\r\n\r\n`,
          "two hosts, turned": `GET /health HTTP/1.1\r\nhost: evil.example\r\nhost: ${host}\r\n\r\n`,
          "none (HTTP/1.0)": "GET /health HTTP/1.0\r\n\r\n",
        };
      },
      403,
      400,
    ),
    quick: true,
  },
  {
    name: "a page of another origin",
    attack: statuses(({ host }) => {
      const origins = ["https://evil.example", "null", "http://localhost:1", "file://", `http://${host}.evil.example`];
      origins.push(`http://${host}, https://evil.example`, "javascript:alert(1)", `http://evil@${host}x`);
      const get = (lines: string): string => `GET /health HTTP/1.1\r\nhost: ${host}\r\n${lines}\r\n\r\n`;
      return {
        ...Object.fromEntries(origins.map((origin) => [`origin "${origin}"`, get(`origin: ${origin}`)])),
        "two origins": get(`origin: http://${host}\r\norigin: https://evil.example`),
      };
    }, 403),
    quick: true,
  },
  {
    name: "a form of another page",
    attack: statuses(({ host }) => {
      const body = JSON.stringify(CHAT);
      const post = (type: string): string =>
        `POST ${CHAT_PATH} HTTP/1.1\r\nhost: ${host}\r\n${type}content-length: ${body.length}\r\n\r\n${body}`;
      return {
        "plain text": post("content-type: text/plain\r\n"),
        "no type": post(""),
        "a form": post("content-type: application/x-www-form-urlencoded\r\n"),
        "two types": post("content-type: text/plain\r\ncontent-type: application/json\r\n"),
      };
    }, 415),
    quick: true,
  },
  {
    name: "headers twice, and lengths that contradict each other",
    attack: statuses(
      (target) => {
        const body = JSON.stringify(CHAT);
        const length = `content-length: ${body.length}`;
        return {
          "two lengths": target.request(body, [length, "content-length: 3"]),
          "length and pieces": target.request(`${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`, [
            length,
            "transfer-encoding: chunked",
          ]),
          "a length that is none": target.request(body, ["content-length: -5"]),
          "a folded line": target.request(body, [length, "x-a: b\r\n c: d\r\n\te"]),
          "a line without colon": target.request(body, [length, "nonsense"]),
          "an odd encoding": target.request(body, ["transfer-encoding: chunked, identity"]),
          "a bare line feed": `GET /health HTTP/1.1\nhost: ${target.host}\n\n`,
          "a size that is none": target.request("zz\r\nabc\r\n0\r\n\r\n", ["transfer-encoding: chunked"]),
        };
      },
      400,
      501,
    ),
    quick: true,
  },
  {
    name: "what is no HTTP",
    attack: statuses(
      ({ host }) => ({
        zeros: new Uint8Array(10_000),
        TLS: Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 13, 10, 13, 10),
        words: "hello\r\n\r\n",
        "HTTP/9": `GET / HTTP/9.9\r\nhost: ${host}\r\n\r\n`,
        "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "a byte of zero": `GET /\u0000 HTTP/1.1\r\nhost: ${host}\r\n\r\n`,
        "a large header": `GET /health HTTP/1.1\r\nhost: ${host}\r\nx: ${"y".repeat(100_000)}\r\n\r\n`,
        "a long address": `GET /${"a".repeat(100_000)} HTTP/1.1\r\nhost: ${host}\r\n\r\n`,
        "5,000 headers": `GET /health HTTP/1.1\r\nhost: ${host}\r\n${times(5000, (i) => `x${i}: y\r\n`).join("")}\r\n`,
      }),
      400,
      431,
      505,
      0,
    ),
    quick: true,
  },
  {
    name: "addresses and methods that are odd",
    attack: statuses(
      ({ host }) => {
        const ask = (line: string, more = ""): string => `${line} HTTP/1.1\r\nhost: ${host}\r\n${more}\r\n`;
        return {
          "a broken escape": ask("GET /v1/models/%ff%zz"),
          "up and up": ask("GET /../../../../etc/passwd"),
          "up, escaped": ask("GET /%2e%2e/%2e%2e/etc/passwd"),
          "another's address": ask("GET http://evil.example/nowhere"),
          "an odd model": ask("GET /v1/models/__proto__"),
          TRACE: ask("TRACE /health"),
          PUT: ask("PUT /v1/models"),
          CONNECT: ask("CONNECT evil.example:443"),
          "OPTIONS *": ask("OPTIONS *"),
          "a socket": ask("GET /nowhere", "connection: upgrade\r\nupgrade: websocket\r\n"),
        };
      },
      404,
      405,
      400,
      0,
    ),
    quick: true,
  },
  {
    name: "clients that hang up, at every moment",
    async attack(target) {
      const body = JSON.stringify({ ...LONG, stream: true });
      const whole = target.request(body);
      await Promise.all(
        times(60, async (i) => {
          await sleep(20 * i);
          const socket = target.open();
          // In the headers, in the body, at once, while it streams; by an end or by a reset.
          socket.write(whole.slice(0, Math.ceil((whole.length * Math.min(10, 1 + (i % 12))) / 10)));
          socket.resume();
          await sleep((i % 7) * 15);
          if (i % 2 === 0) socket.destroy();
          else socket.resetAndDestroy();
        }),
      );
      return [];
    },
    quick: true,
  },
  {
    name: "readers that don't read",
    async attack(target) {
      const body = JSON.stringify({ ...LONG, n: 2, stream: true, logprobs: true, top_logprobs: 20 });
      const sockets = times(8, () => target.open());
      for (const socket of sockets) socket.pause().write(target.request(body));
      await sleep(6000);
      // Each was cut off, or its answer waits in the system's own buffers.
      const idle = await target.idle();
      for (const socket of sockets) socket.destroy();
      return idle ? [] : ["their answers are still under way"];
    },
  },
  {
    name: "1,000 requests in one go on one connection",
    async attack(target) {
      const { text } = await target.raw(target.request(JSON.stringify(CHAT)).repeat(1000), 2000);
      const answers = [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status));
      const odd = answers.filter((status) => status !== 200 && status !== 429);
      return answers.length > 0 && odd.length === 0 ? [] : [`${answers.length} answers, of them ${odd.join(" ")}`];
    },
  },
  {
    name: "overload by streams",
    async attack(target) {
      const responses = await Promise.all(times(300, () => target.post({ ...LONG, max_tokens: 20, stream: true })));
      const ends = await Promise.all(
        responses.map(async (response) => [response.status, await response.text()] as const),
      );
      const refused = ends.filter(([status]) => status === 429).length;
      const whole = ends.filter(([status, text]) => status === 200 && text.endsWith("data: [DONE]\n\n")).length;
      return refused + whole === 300 && whole >= 80 ? [] : [`${whole} whole, ${refused} refused, of 300`];
    },
  },
  {
    name: "wishes without end",
    attack: bodies(
      () => ({
        "1,000 answers": { ...CHAT, n: 1000 },
        "too many answers": { ...CHAT, n: 1e9 },
        "a tenth of a million biases": {
          ...CHAT,
          logit_bias: Object.fromEntries(times(100_000, (i) => [String(i), -1])),
        },
        "1,000 stops": { ...CHAT, stop: times(1000, (i) => `s${i}`) },
        "a long stop": { ...CHAT, stop: "x".repeat(100_000) },
        "a template's variables": {
          ...CHAT,
          chat_template_kwargs: { messages: "x", add_generation_prompt: 5, bos_token: {} },
        },
      }),
      400,
      200,
    ),
  },
];

export interface RequestOutcome {
  readonly complaints: readonly string[];
  /** The longest that the well-behaved client waited. */
  readonly slowestMs: number;
  /** Above what the server had before. */
  readonly moreBytes: number;
}

/** Runs a case, beside a client that behaves well. */
export async function attack(target: Target, { attack: run }: RequestCase): Promise<RequestOutcome> {
  const [expected, before] = [await target.answer(), residentBytes(target.child)];
  const complaints: string[] = [];
  let slowestMs = 0;
  let over = false;
  const bystander = async (): Promise<void> => {
    while (!over) {
      const began = performance.now();
      const found = await target.answer().catch((error: unknown) => String(error));
      slowestMs = Math.max(slowestMs, performance.now() - began);
      // Under overload the well-behaved too are told to come back.
      if (found !== expected && !found.startsWith("429")) complaints.push(`beside it: ${found.slice(0, 200)}`);
      await sleep(20);
    }
  };
  const beside = bystander();
  complaints.push(...(await run(target).catch((error: unknown) => [String(error)])));
  over = true;
  await beside;
  if (!(await target.idle())) complaints.push("the engine isn't idle afterwards");
  return { complaints: complaints.slice(0, 8), slowestMs, moreBytes: residentBytes(target.child) - before };
}
