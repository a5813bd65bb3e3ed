/** The chat page and its live view in a browser, against the built-in model. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import type { Browser, BrowserContext, Page } from "playwright-core";

import type { Llm } from "../src/engine/llm.ts";
import { load } from "../src/engine/load.ts";
import { createServer, type Server } from "../src/server/server.ts";
import { noBrowser, openBrowser } from "./support/browser.ts";
import { post } from "./support/served.ts";

/** A machine may be busy with other tests. */
const PATIENCE_MS = 90_000;
const options = { skip: noBrowser, timeout: 240_000 };
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let llm: Llm;
let server: Server;
let url: string;
let browser: Browser;
/** What pages complained of: nothing may. */
const complaints: string[] = [];

before(async () => {
  if (noBrowser !== false) return;
  llm = await load();
  server = createServer({ models: new Map([["brook", llm]]) });
  url = `http://127.0.0.1:${await server.listen(0, "127.0.0.1")}`;
  browser = await openBrowser();
});
after(async () => {
  if (noBrowser !== false) return;
  await browser.close();
  await server.close();
  await llm.close();
});

function watched(page: Page): Page {
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  return page;
}

/** A browser of its own, with these sampling settings. */
async function visitor(sampling: object): Promise<{ context: BrowserContext; page: Page }> {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  context.setDefaultTimeout(PATIENCE_MS);
  await context.addInitScript((kept) => localStorage.setItem("millrace:sampling", kept), JSON.stringify(sampling));
  const page = watched(await context.newPage());
  await page.goto(url);
  await page.waitForFunction(() => document.querySelector<HTMLSelectElement>("#model")?.value === "brook");
  return { context, page };
}

async function say(page: Page, text: string): Promise<void> {
  await page.fill("#composer", text);
  await page.press("#composer", "Enter");
}

function answered(page: Page): Promise<unknown> {
  return page.waitForFunction(
    () =>
      document.querySelector("#send")?.textContent === "Send" &&
      document.querySelector(".turn.assistant:last-child") !== null,
  );
}

interface Kept {
  readonly turns: readonly { readonly role: string; readonly text: string; readonly note?: string }[];
  readonly system: string;
}

function kept(page: Page): Promise<Kept> {
  return page.evaluate(
    () => JSON.parse(localStorage.getItem(`millrace:chat:${location.hash.slice(1)}`) ?? "null") as Kept,
  );
}

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: { run: () => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
    };
    const { violations: found } = await axe.run();
    return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" ")}`);
  });
}

const GREEDY = { temperature: 0, max_completion_tokens: 24, seed: 1 };
const user = (content: string) => ({ role: "user", content }) as const;

test("the page is light", () => {
  const folder = new URL("../src/server/page/", import.meta.url);
  const files = readdirSync(folder).filter((name) => !name.endsWith(".test.ts"));
  const bytes = files.reduce((sum, name) => sum + gzipSync(readFileSync(new URL(name, folder))).length, 0);
  assert.ok(bytes < 150 * 1024, `${bytes} bytes`);
});

test("a conversation: the answers are the model's, and are there after a reload", options, async () => {
  const { context, page } = await visitor(GREEDY);
  const chat = { temperature: 0, maxTokens: 24 };
  const first = await llm.chat([user("Name three rivers.")], chat);
  await say(page, "Name three rivers.");
  await answered(page);
  const history = [
    user("Name three rivers."),
    { role: "assistant", content: first.text } as const,
    user("And a lake?"),
  ];
  const second = await llm.chat(history, chat);
  await say(page, "And a lake?");
  await page.waitForFunction(() => document.querySelectorAll(".turn.assistant").length === 2);
  await answered(page);
  const expected = ["Name three rivers.", first.text, "And a lake?", second.text];
  assert.deepEqual(
    (await kept(page)).turns.map(({ text }) => text),
    expected,
  );
  await page.reload();
  assert.equal(await page.locator(".turn").count(), 4);
  assert.equal(await page.locator("#conversations .open").textContent(), "Name three rivers.");
  assert.match((await page.locator(".turn.assistant .numbers").last().textContent()) ?? "", /^\d+ tokens?/);
  await context.close();
});

test("stop keeps what there is and frees the engine; again and edit ask anew", options, async () => {
  const { context, page } = await visitor({ max_completion_tokens: 1500, min_tokens: 1500 });
  await say(page, "Write a very long story about a river.");
  await page.waitForFunction(() => (document.querySelector(".turn.assistant .prose")?.textContent?.length ?? 0) > 20);
  await page.keyboard.press("Escape");
  await answered(page);
  const stopped = await kept(page);
  assert.equal(stopped.turns[1]?.note, "stopped");
  assert.ok((stopped.turns[1]?.text.length ?? 0) > 0);
  while (llm.stats().running > 0) await new Promise((resolve) => setTimeout(resolve, 20));

  await page.evaluate(() => localStorage.setItem("millrace:sampling", '{"temperature":0,"max_completion_tokens":12}'));
  await page.getByRole("button", { name: "Again" }).click();
  await page.waitForFunction(
    (old) => !document.querySelector(".turn.assistant")?.textContent?.includes(old),
    "stopped",
  );
  await answered(page);
  const again = await llm.chat([user("Write a very long story about a river.")], { temperature: 0, maxTokens: 12 });
  assert.deepEqual(
    (await kept(page)).turns.map(({ text }) => text),
    ["Write a very long story about a river.", again.text],
  );

  await page.press("#composer", "ArrowUp");
  await page.getByLabel("The message").fill("Name a lake.");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector(".turn.user .said")?.textContent === "Name a lake.");
  await answered(page);
  const edited = await llm.chat([user("Name a lake.")], { temperature: 0, maxTokens: 12 });
  assert.deepEqual(
    (await kept(page)).turns.map(({ text }) => text),
    ["Name a lake.", edited.text],
  );
  await context.close();
});

test("settings: a system prompt and sampling reach the model", options, async () => {
  const { context, page } = await visitor({});
  await page.click("#open-settings");
  assert.deepEqual(await violations(page), []);
  await page.fill("#set-system", "Be brief.");
  await page.fill("#set-temperature", "0");
  await page.fill("#set-max_completion_tokens", "10");
  // The visitor's own script would set them again at a reload; here they are kept.
  await page.getByRole("button", { name: "Keep" }).click();
  await say(page, "What is water?");
  await answered(page);
  const messages = [{ role: "system", content: "Be brief." }, user("What is water?")] as const;
  const expected = await llm.chat(messages, { temperature: 0, maxTokens: 10 });
  const { turns, system } = await kept(page);
  assert.deepEqual([system, turns[1]?.text], ["Be brief.", expected.text]);
  await context.close();
});

test("two tabs at once: each its own answer, and each sees the other's conversation", options, async () => {
  const { context, page } = await visitor(GREEDY);
  const other = watched(await context.newPage());
  await other.goto(url);
  await Promise.all([say(page, "Name three rivers."), say(other, "Name two lakes.")]);
  await Promise.all([answered(page), answered(other)]);
  for (const [tab, question] of [
    [page, "Name three rivers."],
    [other, "Name two lakes."],
  ] as const) {
    const { text } = await llm.chat([user(question)], { temperature: 0, maxTokens: 24 });
    assert.deepEqual(
      (await kept(tab)).turns.map((turn) => turn.text),
      [question, text],
    );
    await tab.waitForFunction(() => document.querySelectorAll("#conversations li").length === 2);
  }
  await page.getByRole("button", { name: "Name two lakes.", exact: true }).click();
  assert.equal(await page.locator(".turn.user .said").textContent(), "Name two lakes.");
  await page.getByRole("button", { name: "Delete “Name two lakes.”" }).click({ force: true });
  await other.waitForFunction(() => document.querySelectorAll("#conversations li").length === 1);
  await context.close();
});

test("what is written is text, whatever it says; thoughts are folded away", options, async () => {
  const { context, page } = await visitor(GREEDY);
  const evil =
    '<img src=x onerror="document.title=\'evil\'"> <script>document.title="evil"</script> [x](javascript:alert(1))';
  await page.evaluate((text) => {
    const turns = [
      { role: "user", text },
      { role: "assistant", text, reasoning: text },
    ];
    const id = "00000000-0000-4000-8000-000000000001";
    localStorage.setItem(`millrace:chat:${id}`, JSON.stringify({ id, title: text, changed: 1, system: text, turns }));
    location.hash = id;
  }, evil);
  await page.reload();
  assert.equal(await page.locator(".turn.user .said").textContent(), evil);
  assert.equal(await page.locator(".turns img, .turns script, .turns a").count(), 0);
  assert.equal(await page.title(), "Millrace");
  assert.equal(await page.locator("details.thought").getAttribute("open"), null);
  await page.locator("details.thought summary").click();
  assert.equal(await page.locator("details.thought .said").textContent(), evil);
  await context.close();
});

test("the live view moves under load, and shows nobody's text", options, async () => {
  const { context, page } = await visitor(GREEDY);
  await page.click("#open-live");
  await page.waitForFunction(() => document.querySelector('[data-value="total steps"]')?.textContent !== "–");
  const value = (name: string): Promise<string | null> => page.locator(`[data-value="${name}"]`).textContent();
  const steps = Number((await value("total steps"))?.replaceAll(",", ""));
  const question = "Xylophone zebra quartz";
  const body = { model: "brook", messages: [user(question)], max_tokens: 300, min_tokens: 300, n: 8 };
  const work = Promise.all([post(`${url}/v1/chat/completions`, body), post(`${url}/v1/chat/completions`, body)]);
  await page.waitForFunction(
    () => Number.parseInt(document.querySelector('[data-value="running"]')?.textContent ?? "0") > 0,
  );
  await work;
  await page.waitForFunction(
    (before) =>
      Number(document.querySelector('[data-value="total steps"]')?.textContent?.replaceAll(",", "")) > before + 20,
    steps,
  );
  const painted = await page.evaluate(() =>
    [...document.querySelectorAll<HTMLCanvasElement>(".live canvas")].map((canvas) =>
      canvas
        .getContext("2d")
        ?.getImageData(0, 0, canvas.width, canvas.height)
        .data.some((byte) => byte !== 0),
    ),
  );
  assert.deepEqual(painted, [true, true, true, true, true]);
  assert.match((await value("first")) ?? "", /^half ≤ /);
  assert.ok(!((await page.locator("#live").textContent()) ?? "").includes("Xylophone"));
  // Closed, it asks for nothing more.
  await page.click("#open-live");
  const response = await post(`${url}/v1/chat/completions`, { ...body, n: 1, min_tokens: 0, max_tokens: 4 });
  assert.equal(response.status, 200);
  await context.close();
});

test("no axe violation, light and dark, wide and small, empty and full", options, async () => {
  const { context, page } = await visitor(GREEDY);
  assert.deepEqual(await violations(page), []);
  await say(page, "Name three rivers.");
  await answered(page);
  await page.click("#open-live");
  await page.waitForFunction(() => document.querySelector('[data-value="running"]')?.textContent !== "–");
  for (const size of [
    { width: 1400, height: 900 },
    { width: 1000, height: 700 },
    { width: 390, height: 800 },
  ]) {
    await page.setViewportSize(size);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      assert.deepEqual(await violations(page), [], JSON.stringify([size, colorScheme]));
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${wide} pixels too wide at ${size.width}`);
  }
  await context.close();
});

test("where the server has keys the page asks for one", options, async () => {
  const closed = createServer({ models: new Map([["brook", llm]]), apiKeys: [{ name: "a", key: "secret-one" }] });
  const port = await closed.listen(0, "127.0.0.1");
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(`http://127.0.0.1:${port}`);
  await page.locator("dialog[open] .problem").waitFor();
  await page.fill("#set-key", "secret-one");
  await page.getByRole("button", { name: "Keep" }).click();
  await page.waitForFunction(() => document.querySelector<HTMLSelectElement>("#model")?.value === "brook");
  await say(page, "Hi");
  await answered(page);
  assert.equal(await page.locator(".turn .problem").count(), 0);
  await page.close();
  await closed.close();
});

test("no page has complained on the console", options, () => assert.deepEqual(complaints, []));
