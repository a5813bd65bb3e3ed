import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { NetworkError } from "../errors.ts";
import { parseHubReference } from "./hub-reference.ts";
import type { Progress } from "./node-download.ts";
import { listCached, pullModel, type HubOptions } from "./node-hub.ts";

const REPO = "owner/name";
const TOKEN = "secret-token";

interface Seen {
  readonly host: "hub" | "cdn";
  readonly path: string;
  readonly authorization: string | undefined;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
}

/** Decides an answer before the server's own; returns whether it did. */
type Fault = (request: Seen, response: ServerResponse, content: Uint8Array) => boolean;

/**
 * A hub on 127.0.0.1: listing in pages of two, small files served directly, large ones (.gguf, .safetensors) by redirect to
 * another origin with Range, If-Range and ETag.
 */
class Hub {
  readonly files = new Map<string, Uint8Array>();
  seen: Seen[] = [];
  fault: Fault = () => false;
  endpoint = "";
  #cdn = "";
  readonly #servers: Server[] = [];

  async start(): Promise<void> {
    this.endpoint = await this.#listen("hub", (seen, response) => this.#hub(seen, response));
    this.#cdn = await this.#listen("cdn", (seen, response) => this.#file(seen, response, seen.path.slice(1)));
  }

  stop(): void {
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
    }
  }

  /** Requests for contents (not a file's first byte, which the hub's library asks for). */
  get transfers(): Seen[] {
    return this.seen.filter(({ host, range }) => host === "cdn" && range !== "bytes=0-0");
  }

  #listen(host: "hub" | "cdn", handle: (seen: Seen, response: ServerResponse) => void): Promise<string> {
    const server = createServer((request: IncomingMessage, response: ServerResponse) => {
      const { authorization, range } = request.headers;
      const path = decodeURIComponent(request.url ?? "");
      const seen = { host, path, authorization, range, ifRange: request.headers["if-range"]?.toString() };
      this.seen.push(seen);
      handle(seen, response);
    });
    this.#servers.push(server);
    return new Promise((resolve) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address();
        resolve(`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`);
      });
    });
  }

  #hub(seen: Seen, response: ServerResponse): void {
    const listing = /^\/api\/models\/owner\/name\/tree\/main\?.*?(?:page=(\d+))?$/.exec(seen.path);
    if (listing !== null) {
      if (this.fault(seen, response, new Uint8Array(0))) return;
      const page = Number(listing[1] ?? 0);
      const entries = [...this.files].map(([path, content]) => entryOf(path, content));
      const next = `${this.endpoint}/api/models/${REPO}/tree/main?recursive=true&page=${page + 1}`;
      if (entries.length > 2 * page + 2) response.setHeader("link", `<${next}>; rel="next"`);
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(entries.slice(2 * page, 2 * page + 2)));
      return;
    }
    const path = seen.path.replace(`/${REPO}/resolve/main/`, "");
    if (!this.files.has(path)) response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
    else if (isLarge(path)) response.writeHead(302, { location: `${this.#cdn}/${encodeURIComponent(path)}` }).end();
    else this.#file(seen, response, path);
  }

  #file(seen: Seen, response: ServerResponse, path: string): void {
    const content = this.files.get(path);
    if (content === undefined) return void response.writeHead(404).end();
    if (this.fault(seen, response, content)) return;
    const etag = `"${sha256(content)}"`;
    const start = Number(/^bytes=(\d+)-/.exec(seen.range ?? "")?.[1] ?? NaN);
    response.setHeader("etag", etag);
    if (Number.isNaN(start) || (seen.ifRange !== undefined && seen.ifRange !== etag)) {
      response.writeHead(200, { "content-length": content.length }).end(content);
      return;
    }
    const end = seen.range === "bytes=0-0" ? 1 : content.length;
    response.writeHead(206, {
      "content-range": `bytes ${start}-${end - 1}/${content.length}`,
      "content-length": end - start,
    });
    response.end(content.subarray(start, end));
  }
}

const isLarge = (path: string) => /\.(gguf|safetensors)$/.test(path);
const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");
const gitSha1 = (content: Uint8Array) =>
  createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
const entryOf = (path: string, content: Uint8Array) => ({
  type: "file",
  path,
  oid: gitSha1(content),
  size: content.length,
  ...(isLarge(path) && { lfs: { oid: sha256(content), size: content.length, pointerSize: 130 } }),
});
const bytes = (length: number, seed = 1) =>
  Uint8Array.from({ length }, (_, i) => (i * i * 31 + i * seed + (i >> 8)) & 255);

const LARGE = 600_000;

async function start(t: TestContext): Promise<{ hub: Hub; options: HubOptions; home: string }> {
  const hub = new Hub();
  await hub.start();
  const home = await mkdtemp(join(tmpdir(), "millrace-hub-"));
  t.after(async () => {
    hub.stop();
    await rm(home, { recursive: true });
  });
  hub.files.set("README.md", bytes(10));
  hub.files.set("m-Q4_0.gguf", bytes(1000, 2));
  hub.files.set("m-Q8_0.gguf", bytes(LARGE, 3));
  return { hub, home, options: { home, endpoint: hub.endpoint, token: TOKEN, retryDelay: 1, offline: false } };
}

const pull = (reference: string, options: HubOptions) => {
  const parsed = parseHubReference(reference);
  assert.ok(parsed);
  return pullModel(parsed, options);
};
const Q8 = `hf:${REPO}:Q8_0`;

/**
 * Sends a body of the full length's headers but breaks off after some bytes, when they have arrived: what a connection that
 * fails still holds is lost.
 */
const breakAfter = (
  response: ServerResponse,
  status: number,
  headers: Record<string, string | number>,
  part: Uint8Array,
  haveArrived: () => boolean = () => true,
) => {
  const end = (): unknown => (haveArrived() ? response.destroy() : setTimeout(end, 20));
  response.writeHead(status, headers);
  response.write(part, () => setTimeout(end, 20));
  return true;
};

/** What has arrived, as a pull's progress tells. */
const arrivals = () => {
  let loaded = 0;
  const onProgress = (progress: Progress): void => {
    ({ loaded } = progress);
  };
  return { onProgress, have: (count: number) => (): boolean => loaded >= count };
};

test("a quant is fetched once, with progress, and the token stays with the hub", async (t) => {
  const { hub, options, home } = await start(t);
  const progress: Progress[] = [];
  const path = await pull(Q8, { ...options, onProgress: (p) => progress.push(p) });
  assert.equal(path, join(home, "models/owner/name/main/m-Q8_0.gguf"));
  assert.deepEqual(new Uint8Array(await readFile(path)), hub.files.get("m-Q8_0.gguf"));
  assert.deepEqual(progress.at(0), { file: "m-Q8_0.gguf", loaded: 0, total: LARGE });
  assert.deepEqual(progress.at(-1), { file: "m-Q8_0.gguf", loaded: LARGE, total: LARGE });
  assert.ok(progress.every((p, i) => p.loaded >= (progress[i - 1]?.loaded ?? 0)));

  const hosts = (host: string) => new Set(hub.seen.filter((s) => s.host === host).map((s) => s.authorization));
  assert.deepEqual(hosts("hub"), new Set([`Bearer ${TOKEN}`]));
  assert.deepEqual(hosts("cdn"), new Set([undefined]));
  assert.ok(
    hub.seen.some((s) => s.path.includes("page=1")),
    "the listing's second page was read",
  );

  hub.seen = [];
  assert.equal(await pull(Q8, options), path);
  assert.equal(await pull(Q8, { ...options, offline: true }), path);
  assert.deepEqual(hub.seen, [], "nothing is asked for again");
  assert.equal(await pull(Q8, { ...options, refresh: true }), path);
  assert.equal(hub.transfers.length, 0, "refresh lists, but what is right isn't fetched");
  assert.deepEqual(await listCached({ home }), [{ reference: `hf:${REPO}:m-Q8_0.gguf`, path, bytes: LARGE }]);
});

test("a transfer that breaks off goes on from there", async (t) => {
  const { hub, options } = await start(t);
  const { onProgress, have } = arrivals();
  let breaks = 0;
  hub.fault = ({ host, range }, response, content) => {
    if (host !== "cdn" || range === "bytes=0-0" || breaks >= 3) return false;
    breaks++;
    const first = Number(/^bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
    const headers = { "content-length": content.length - first, etag: `"${sha256(content)}"` };
    const more =
      first === 0 ? headers : { ...headers, "content-range": `bytes ${first}-${content.length - 1}/${content.length}` };
    const part = content.subarray(first, first + 100_000);
    return breakAfter(response, first === 0 ? 200 : 206, more, part, have(first + part.length));
  };
  const path = await pull(Q8, { ...options, onProgress });
  assert.deepEqual(new Uint8Array(await readFile(path)), hub.files.get("m-Q8_0.gguf"));
  const ranges = hub.transfers.map(({ range }) => range);
  assert.deepEqual(ranges, [undefined, "bytes=100000-", "bytes=200000-", "bytes=300000-"]);
  const etag = `"${sha256(hub.files.get("m-Q8_0.gguf") ?? bytes(0))}"`;
  assert.deepEqual(
    hub.transfers.map(({ ifRange }) => ifRange),
    [undefined, etag, etag, etag],
  );
});

/** Sends so many bytes, and to whoever comes back for the rest nothing. */
const giveOnly =
  (count: number): Fault =>
  ({ host, range }, response, content) => {
    if (host !== "cdn" || range === "bytes=0-0") return false;
    const headers = { "content-length": content.length, etag: `"${sha256(content)}"` };
    if (range === undefined) return breakAfter(response, 200, headers, content.subarray(0, count));
    response.destroy();
    return true;
  };

test("a later call goes on where an earlier one gave up", async (t) => {
  const { hub, options, home } = await start(t);
  hub.fault = giveOnly(5000);
  await assert.rejects(pull(Q8, { ...options, retries: 1 }), (error: Error) => {
    assert.ok(error instanceof NetworkError);
    return /can't reach|m-Q8_0.gguf: the transfer from .* breaks off at 5000 of 600000 bytes/.test(error.message);
  });
  assert.deepEqual(await listCached({ home }), []);
  const offline = { ...options, offline: true };
  await assert.rejects(pull(Q8, offline), /isn't on this machine, and Millrace is offline; nothing was pulled yet/);

  hub.fault = () => false;
  hub.seen = [];
  const path = await pull(Q8, options);
  assert.deepEqual(
    hub.transfers.map(({ range }) => range),
    ["bytes=5000-"],
  );
  assert.deepEqual(new Uint8Array(await readFile(path)), hub.files.get("m-Q8_0.gguf"));
});

test("the part of an earlier call is used, or dropped where the content is another", async (t) => {
  const { hub, options, home } = await start(t);
  const controller = new AbortController();
  hub.fault = ({ host, range }, response, content) => {
    if (host !== "cdn" || range === "bytes=0-0") return false;
    response.writeHead(200, { "content-length": content.length, etag: '"e"' });
    response.write(content.subarray(0, 250_000)); // and then silence
    return true;
  };
  const stopped = pull(Q8, {
    ...options,
    signal: controller.signal,
    onProgress: ({ loaded }) => loaded === 250_000 && controller.abort(new Error("enough")),
  });
  await assert.rejects(stopped, /enough/);
  const work = join(home, "models/owner/name/main/.millrace");
  assert.equal((await stat(join(work, "m-Q8_0.gguf.part"))).size, 250_000);

  hub.fault = () => false;
  hub.seen = [];
  const path = await pull(Q8, options);
  // The ETag is another by now, so the server sends the whole; nothing of the part may be left in it.
  assert.deepEqual(
    hub.transfers.map(({ range, ifRange }) => [range, ifRange]),
    [["bytes=250000-", '"e"']],
  );
  assert.deepEqual(new Uint8Array(await readFile(path)), hub.files.get("m-Q8_0.gguf"));
  assert.deepEqual((await readdir(work)).sort(), ["listing.json", "m-Q8_0.gguf.json"], "no part, note or lock is left");

  hub.files.set("m-Q8_0.gguf", bytes(LARGE, 9));
  await pull(Q8, { ...options, refresh: true });
  assert.deepEqual(new Uint8Array(await readFile(path)), bytes(LARGE, 9), "refresh fetches what changed");
});

test("a damaged part is noticed and fetched anew", async (t) => {
  const { hub, options, home } = await start(t);
  hub.fault = giveOnly(1000);
  await assert.rejects(pull(Q8, { ...options, retries: 0 }), NetworkError);
  await writeFile(join(home, "models/owner/name/main/.millrace/m-Q8_0.gguf.part"), bytes(1000, 77));
  hub.fault = () => false;
  hub.seen = [];
  const path = await pull(Q8, options);
  assert.deepEqual(new Uint8Array(await readFile(path)), hub.files.get("m-Q8_0.gguf"));
  assert.deepEqual(
    hub.transfers.map(({ range }) => range),
    ["bytes=1000-", undefined],
  );
});

test("a server that ignores Range sends the whole again", async (t) => {
  const { hub, options } = await start(t);
  const { onProgress, have } = arrivals();
  let first = true;
  hub.fault = ({ host }, response, content) => {
    if (host !== "cdn") return false;
    if (!first || hub.transfers.length === 0) {
      response.writeHead(200, { "content-length": content.length }).end(content);
      return true;
    }
    first = false;
    const part = content.subarray(0, 100_000);
    return breakAfter(response, 200, { "content-length": content.length }, part, have(part.length));
  };
  const path = await pull(Q8, { ...options, onProgress });
  assert.deepEqual(new Uint8Array(await readFile(path)), hub.files.get("m-Q8_0.gguf"));
  assert.deepEqual(
    hub.transfers.map(({ range }) => range),
    [undefined, "bytes=100000-"],
  );
});

test("a server that continues elsewhere, or refuses to, is asked for the whole", async (t) => {
  for (const status of [206, 416]) {
    const { hub, options } = await start(t);
    const { onProgress, have } = arrivals();
    hub.fault = ({ host, range }, response, content) => {
      if (host !== "cdn" || range === "bytes=0-0") return false;
      if (range !== undefined) {
        response.writeHead(status, { "content-range": `bytes 7-9/${content.length}`, "content-length": 3 }).end("abc");
        return true;
      }
      if (hub.transfers.length > 1) return false;
      const part = content.subarray(0, 100_000);
      return breakAfter(response, 200, { "content-length": content.length, etag: '"e"' }, part, have(part.length));
    };
    const path = await pull(Q8, { ...options, onProgress });
    assert.deepEqual(new Uint8Array(await readFile(path)), hub.files.get("m-Q8_0.gguf"));
    assert.deepEqual(
      hub.transfers.map(({ range }) => range),
      [undefined, "bytes=100000-", undefined],
    );
  }
});

test("wrong bytes are never given out", async (t) => {
  const { hub, options, home } = await start(t);
  hub.files.set("config.json", bytes(100));
  hub.files.set("tokenizer.json", bytes(100));
  hub.files.set("model.safetensors", bytes(100));
  hub.fault = ({ path }, response, content) => {
    if (path.includes("/api/")) return false;
    const wrong = content.slice();
    wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1;
    response.writeHead(200, { "content-length": wrong.length }).end(wrong);
    return true;
  };
  await assert.rejects(pull(Q8, options), /m-Q8_0.gguf: .* sends wrong bytes/);
  await assert.rejects(pull(`hf:${REPO}`, options), /config.json: .* sends wrong bytes/, "by git's hash too");
  const folder = join(home, "models/owner/name/main");
  assert.deepEqual(await readdir(folder), [".millrace"]);
  assert.deepEqual(await readdir(join(folder, ".millrace")), ["listing.json"]);

  hub.fault = ({ host, range }, response, content) => {
    if (host !== "cdn" || range === "bytes=0-0") return false;
    response.writeHead(200).end(Buffer.concat([content, content]));
    return true;
  };
  await assert.rejects(pull(Q8, { ...options, retries: 2 }), /more than the 600000 bytes that it lists/);
});

test("refusals say what to do, at once; passing faults are tried again", async (t) => {
  const { hub, options } = await start(t);
  const status =
    (code: number, headers: Record<string, string> = {}): Fault =>
    (_, response) => {
      response.writeHead(code, headers).end();
      return true;
    };
  for (const [code, message] of [
    [401, /hf:owner\/name:Q8_0: .* wants a login \(401\). Set HF_TOKEN/],
    [403, /refuses access \(403\)/],
    [404, /not found on .* \(404\)/],
  ] as const) {
    hub.seen = [];
    hub.fault = status(code);
    await assert.rejects(
      pull(Q8, options),
      (error: Error) => error instanceof NetworkError && message.test(error.message),
    );
    assert.equal(hub.seen.length, 1);
  }
  for (const [code, message] of [
    [429, /answered 429 \(too many requests/],
    [503, /answered 503 \(the server has a fault/],
  ] as const) {
    hub.seen = [];
    hub.fault = status(code);
    await assert.rejects(pull(Q8, { ...options, retries: 3 }), message);
    assert.equal(hub.seen.length, 4);
  }
  hub.fault = status(429, { "retry-after": "3600" });
  await assert.rejects(pull(Q8, options), /is busy \(429\) and asks to come back in 3600 s/);

  let refused = 0;
  hub.fault = (_, response) =>
    refused++ < 4 && status(refused % 2 === 0 ? 503 : 429, { "retry-after": "0" })(_, response, bytes(0));
  const path = await pull(Q8, options);
  assert.equal((await stat(path)).size, LARGE);

  await assert.rejects(
    pull(`hf:${REPO}:Q2_K`, options),
    /no GGUF file's name holds "Q2_K"; there are m-Q4_0.gguf, m-Q8_0.gguf/,
  );
  await assert.rejects(
    pull(Q8, { ...options, offline: false, refresh: true, endpoint: "http://127.0.0.1:9" }),
    /can't reach 127.0.0.1/,
  );
  await assert.rejects(
    pull("hf:other/one", { ...options, offline: true }),
    /offline; here are: hf:owner\/name:m-Q8_0.gguf/,
  );
});

test("a server that falls silent is left after a while, and asked again", async (t) => {
  const { hub, options } = await start(t);
  let silent = true;
  hub.fault = ({ host, range }, response, content) => {
    if (host !== "cdn" || range === "bytes=0-0" || !silent) return false;
    silent = false;
    response.writeHead(200, { "content-length": content.length, etag: `"${sha256(content)}"` });
    response.write(content.subarray(0, 100_000));
    return true;
  };
  const path = await pull(Q8, { ...options, idleTimeout: 200 });
  assert.equal((await stat(path)).size, LARGE);
  assert.deepEqual(
    hub.transfers.map(({ range }) => range),
    [undefined, "bytes=100000-"],
  );
});

test("redirects without an end, and to nowhere", async (t) => {
  const { hub, options } = await start(t);
  hub.fault = ({ path }, response) => {
    response.writeHead(302, { location: path }).end();
    return true;
  };
  await assert.rejects(pull(Q8, options), /more than 10 redirects/);
  hub.fault = (_, response) => {
    response.writeHead(302, { location: "file:///etc/passwd" }).end();
    return true;
  };
  await assert.rejects(pull(Q8, options), /is no web address/);
});

test("several pulls at once transfer once", async (t) => {
  const { hub, options } = await start(t);
  const paths = await Promise.all([pull(Q8, options), pull(Q8, options), pull(`hf:${REPO}:m-Q8_0.gguf`, options)]);
  assert.equal(new Set(paths).size, 1);
  assert.equal(hub.transfers.length, 1);
});

test("several processes at once transfer once", async (t) => {
  const { hub, home } = await start(t);
  const module = JSON.stringify(new URL("node-model.ts", import.meta.url).href);
  const program = `const { resolveModel } = await import(${module}); console.log(await resolveModel("${Q8}"));`;
  const environment = {
    ...process.env,
    MILLRACE_HOME: home,
    HF_ENDPOINT: hub.endpoint,
    HF_TOKEN: "",
    MILLRACE_OFFLINE: "",
  };
  const run = () => promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], { env: environment });
  const [a, b] = await Promise.all([run(), run()]);
  assert.equal(a.stdout.trim(), join(home, "models/owner/name/main/m-Q8_0.gguf"));
  assert.equal(b.stdout, a.stdout);
  assert.equal(hub.transfers.length, 1);
  assert.ok(
    hub.seen.every(({ authorization }) => authorization === undefined),
    "no token was set",
  );
});

test("a safetensors model is a folder; a listing's evil paths are left out", async (t) => {
  const { hub, options, home } = await start(t);
  for (const name of ["config.json", "tokenizer.json", "model.safetensors", "../../../evil.gguf"])
    hub.files.set(name, bytes(300, name.length));
  hub.files.set("empty.gguf", bytes(0));
  hub.files.set("sub dir/50% #1?.gguf", bytes(70));
  const path = await pull(`hf:${REPO}`, options);
  assert.equal(path, join(home, "models/owner/name/main"));
  assert.deepEqual((await readdir(path)).sort(), [".millrace", "config.json", "model.safetensors", "tokenizer.json"]);
  await assert.rejects(pull(`hf:${REPO}:evil`, options), /no GGUF file's name holds "evil"/);
  assert.equal((await stat(await pull(`hf:${REPO}:empty.gguf`, options))).size, 0);
  assert.equal((await stat(await pull(`hf:${REPO}:50% #1?.gguf`, options))).size, 70);
  assert.deepEqual(
    (await listCached({ home })).map(({ reference }) => reference),
    [`hf:${REPO}`, `hf:${REPO}:empty.gguf`, `hf:${REPO}:sub dir/50% #1?.gguf`],
  );
});

test("a file shorter than its listing ends with an error, however it is served", { timeout: 30_000 }, async (t) => {
  const { hub, options } = await start(t);
  const short = bytes(1000, 4);
  const listed = (content: Uint8Array): Uint8Array => content.subarray(0, 400);
  hub.files.set("short-Q8_0.gguf", short);
  let served = 0;
  // Knows Range: beyond its end it says 416, and from the beginning it sends the same again.
  hub.fault = (seen, response, content) => {
    if (seen.host !== "cdn" || seen.range === "bytes=0-0") return false;
    served++;
    if (seen.range !== undefined) response.writeHead(416).end();
    else response.writeHead(200).end(listed(content));
    return true;
  };
  const refused = (error: unknown): boolean => error instanceof NetworkError && /400 of 1000 bytes/.test(error.message);
  await assert.rejects(pull(`hf:${REPO}:short-Q8_0`, options), refused);
  assert.ok(served < 30, `${served} transfers`);
  // Doesn't know Range.
  hub.fault = (seen, response, content) => {
    if (seen.host !== "cdn" || seen.range === "bytes=0-0") return false;
    response.writeHead(200).end(listed(content));
    return true;
  };
  await assert.rejects(pull(`hf:${REPO}:short-Q8_0`, options), refused);
});

test("a listing that lies, or never ends, is refused", { timeout: 30_000 }, async (t) => {
  const { hub, options } = await start(t);
  const listing = (answer: (response: ServerResponse) => void): void => {
    hub.fault = (seen, response) => {
      if (!seen.path.startsWith("/api/")) return false;
      answer(response);
      return true;
    };
  };
  const entry = (change: object): string =>
    JSON.stringify([{ type: "file", path: "a.gguf", oid: "0", size: 1, ...change }]);
  const refused = (message: RegExp): Promise<void> =>
    assert.rejects(pull(`hf:${REPO}:a`, options), (error) => {
      assert.ok(error instanceof NetworkError, String(error));
      assert.match(error.message, message);
      return true;
    });
  for (const size of [undefined, "1", -1, 0.5, 1e300, null]) {
    listing((response) => response.end(entry({ size })));
    await refused(/a\.gguf with the size/);
  }
  for (const body of ["null", "{}", "[null]", "5", '[{"type":"file"}]', "<html>", ""]) {
    listing((response) => response.end(body));
    await refused(/gives no listing/);
  }
  // Every page names another.
  let pages = 0;
  listing((response) => {
    const next = `${hub.endpoint}/api/models/${REPO}/tree/main?recursive=true&page=${++pages}`;
    response.setHeader("link", `<${next}>; rel="next"`);
    response.end("[]");
  });
  await refused(/more than 200 pages/);
  // A body without end.
  const chunk = Buffer.alloc(1 << 20, " ");
  listing((response) => {
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on("drain", more);
    more();
  });
  await refused(/an answer of more than/);
  listing((response) => response.write("["));
  await assert.rejects(pull(`hf:${REPO}:a`, { ...options, idleTimeout: 100 }), /the answer breaks off \(no bytes for/);
});

test("names that could steer a terminal are left out", async (t) => {
  const { hub, options } = await start(t);
  for (const name of ["x\u001b[2J-Q8_1.gguf", "x\u009b2J-Q8_1.gguf", "x\u202egpj-Q8_1.gguf", "x\n-Q8_1.gguf"])
    hub.files.set(name, bytes(10));
  await assert.rejects(pull(`hf:${REPO}:Q8_1`, options), (error) => {
    assert.ok(error instanceof Error && !/[^\P{Cc}]|\u202e/u.test(error.message), String(error));
    return /no GGUF file's name holds "Q8_1"/.test(error.message);
  });
});
