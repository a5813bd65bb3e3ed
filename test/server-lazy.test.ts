/** Models that are loaded when they are asked for: several in one process, under a budget, closed when nobody wants them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import type { Llm } from "../src/engine/llm.ts";
import { createServer, type ServerOptions } from "../src/server/server.ts";
import { tinyLlm } from "./support/served.ts";

interface Lazy {
  /** How often each was loaded. */
  readonly loads: Record<string, number>;
  readonly ask: (model: string, more?: object) => Promise<Response>;
  readonly loaded: () => Promise<string[]>;
  readonly close: () => Promise<void>;
}

async function lazy(options: Partial<ServerOptions> = {}, names: readonly string[] = ["a", "b", "c"]): Promise<Lazy> {
  const loads: Record<string, number> = {};
  const loaderOf = (name: string) => async (): Promise<Llm> => {
    loads[name] = (loads[name] ?? 0) + 1;
    await sleep(20);
    if (name === "broken") throw new Error("no such file");
    return tinyLlm({ kvBytes: 2 ** 20 });
  };
  const server = createServer({
    models: new Map(),
    lazyModels: new Map(names.map((name) => [name, loaderOf(name)])),
    ...options,
  });
  const fetch = (path: string, body?: object): Promise<Response> => {
    const headers = { host: "localhost", "content-type": "application/json" };
    const init = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
    return Promise.resolve(server.fetch(new Request(`http://localhost${path}`, init)));
  };
  return {
    loads,
    ask: (model, more) => fetch("/v1/completions", { model, prompt: "abc", max_tokens: 4, temperature: 0, ...more }),
    async loaded() {
      const { data } = (await (await fetch("/v1/models")).json()) as { data: { id: string; loaded: boolean }[] };
      return data.filter(({ loaded }) => loaded).map(({ id }) => id);
    },
    close: () => server.close(),
  };
}

test("a model is loaded once, by the first who ask for it; to be listed loads nothing", async () => {
  const { loads, ask, loaded, close } = await lazy();
  assert.deepEqual(await loaded(), []);
  assert.deepEqual(loads, {});
  const responses = await Promise.all(Array.from({ length: 5 }, () => ask("a")));
  assert.deepEqual(new Set(responses.map(({ status }) => status)), new Set([200]));
  assert.deepEqual(loads, { a: 1 });
  assert.equal((await ask("b")).status, 200);
  assert.deepEqual(await loaded(), ["a", "b"]);
  const unknown = await ask("z");
  assert.equal(unknown.status, 404);
  assert.match(await unknown.text(), /there is \\"a\\", \\"b\\", \\"c\\"/);
  await close();
});

test("who nobody asks for is closed, and loaded again when asked for; an answer under way is use", async () => {
  const { loads, ask, loaded, close } = await lazy({ idleMs: 400 });
  await ask("a");
  for (let i = 0; i < 200 && (await loaded()).length > 0; i++) await sleep(50);
  assert.deepEqual(await loaded(), []);
  assert.equal((await ask("a")).status, 200);
  assert.deepEqual(loads, { a: 2 });
  await close();
});

test("under a budget the least recently used goes; where all are in use, the request is told to come back", async () => {
  const probe = await tinyLlm({ kvBytes: 2 ** 20 });
  const own = probe.info.weightBytes + probe.info.kvBytes;
  await probe.close();
  const { loads, ask, loaded, close } = await lazy({ memoryBytes: 2.5 * own });
  const long = { max_tokens: 450, min_tokens: 450, n: 8 };
  const busy = [ask("a", long), ask("b", long)];
  while ((await loaded()).length < 2) await sleep(5);
  const early = await ask("c");
  assert.equal(early.status, 503);
  assert.equal(early.headers.get("retry-after"), "5");
  assert.match(await early.text(), /needs \d+ MiB of the budget of \d+ MiB: \d+ MiB is held by models in use/);
  for (const response of await Promise.all(busy)) assert.equal(response.status, 200);
  await ask("b");
  await sleep(1100);
  await ask("a");
  assert.equal((await ask("c")).status, 200);
  assert.deepEqual(await loaded(), ["a", "c"]);
  assert.deepEqual(loads, { a: 1, b: 1, c: 2 });
  await close();

  const small = await lazy({ memoryBytes: own / 2 });
  const never = await small.ask("a");
  assert.equal(never.status, 503);
  assert.match(await never.text(), /it never fits/);
  await small.close();
});

test("a model that can't be loaded harms no other, and is tried again", async () => {
  const { loads, ask, close } = await lazy({}, ["a", "broken"]);
  const [broken, fine] = await Promise.all([ask("broken"), ask("a")]);
  assert.equal(broken.status, 500);
  assert.equal(fine.status, 200);
  assert.equal((await ask("broken")).status, 500);
  assert.deepEqual(loads, { broken: 2, a: 1 });
  await close();
});
