/** Adapters behind HTTP: models of their own by name, in the list and in requests. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { adapterFile, matricesOf, randomAdapter } from "./support/adapters.ts";
import { NAME, post, type Served, serveTiny, tinyChatModel } from "./support/served.ts";

let served: Served;
before(async () => {
  const changes = matricesOf(tinyChatModel(), /embd|output/);
  served = await serveTiny(
    {},
    {
      adapters: { one: "1", two: "2" },
      openAdapter: async (seed) => adapterFile(randomAdapter(Number(seed), changes, { scale: 1 })),
    },
  );
});
after(() => served[Symbol.asyncDispose]());

const MODELS = [NAME, `${NAME}:one`, `${NAME}:two`];

async function json(response: Response): Promise<Record<string, unknown>> {
  return (await response.json()) as Record<string, unknown>;
}

test("the list has the model, and each adapter with its parent", async () => {
  const { data } = (await json(await fetch(`${served.url}/v1/models`))) as { data: { id: string; parent?: string }[] };
  assert.deepEqual(
    data.map(({ id, parent }) => [id, parent]),
    [
      [NAME, undefined],
      [MODELS[1], NAME],
      [MODELS[2], NAME],
    ],
  );
  const card = await json(await fetch(`${served.url}/v1/models/${NAME}:two`));
  assert.equal(card["parent"], NAME);
});

test("requests to a model and its adapters get what the library gives, at the same time too", async () => {
  const prompt = "Once upon a time";
  const options = { temperature: 0, maxTokens: 16 } as const;
  const expected = [
    (await served.llm.generate(prompt, options)).text,
    (await served.llm.generate(prompt, { ...options, adapter: "one" })).text,
    (await served.llm.generate(prompt, { ...options, adapter: "two" })).text,
  ];
  assert.equal(new Set(expected).size, 3);
  const answers = await Promise.all(
    MODELS.map(async (model) =>
      json(await post(`${served.url}/v1/completions`, { model, prompt, temperature: 0, max_tokens: 16 })),
    ),
  );
  assert.deepEqual(
    answers.map(({ choices }) => (choices as { text: string }[])[0]?.text),
    expected,
  );
  assert.deepEqual(
    answers.map(({ model }) => model),
    MODELS,
  );
  const messages = [{ role: "user", content: "Hello" }];
  const chat = await json(
    await post(`${served.url}/v1/chat/completions`, { model: MODELS[2], messages, temperature: 0, max_tokens: 8 }),
  );
  const alone = await served.llm.chat([{ role: "user", content: "Hello" }], {
    temperature: 0,
    maxTokens: 8,
    adapter: "two",
  });
  assert.equal((chat["choices"] as { message: { content: string } }[])[0]?.message.content, alone.text);
  const message = await json(
    await post(`${served.url}/v1/messages`, { model: MODELS[1], messages, temperature: 0, max_tokens: 8 }),
  );
  assert.equal(message["model"], MODELS[1]);
});

test("an adapter that isn't there is a model that isn't there", async () => {
  for (const model of [`${NAME}:three`, "other:one", ":one"]) {
    const response = await post(`${served.url}/v1/completions`, { model, prompt: "a" });
    assert.equal(response.status, 404);
    const { error } = (await response.json()) as { error: { message: string } };
    assert.match(error.message, /there is "tiny", "tiny:one", "tiny:two"/);
  }
});
