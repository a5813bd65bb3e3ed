/** Vectors of texts and scores of pairs, from a folder of files to the API, the command line's JSON and HTTP. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";
import { openArtifact } from "../src/artifact/node-open.ts";
import { hfEmbedding, ggufEmbedding } from "../src/artifact/embedding-defaults.ts";
import { ProgramRunner } from "../src/backend/program-runner.ts";
import { createReferenceBackend } from "../src/backend/reference/backend.ts";
import { load, type Llm } from "../src/index.ts";
import { modelGraph, pairForm } from "../src/models/models.ts";
import { encoderFiles } from "./support/encoders.ts";
import { createServer } from "../src/server/server.ts";
import { post } from "./support/served.ts";

const root = mkdtempSync(join(tmpdir(), "millrace-embed-"));
after(() => rmSync(root, { recursive: true }));

const WORDS = [
  "[PAD]",
  "[UNK]",
  "[CLS]",
  "[SEP]",
  ..."a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9".split(" "),
];

/** A vocabulary of letters, by BERT's rules. */
function tokenizer(): string {
  const vocab = Object.fromEntries(Array.from({ length: 251 }, (_, id) => [WORDS[id] ?? `[unused${id}]`, id]));
  const special = (id: number): object => ({ id, content: WORDS[id], special: true, ...PLAIN });
  const one = { SpecialToken: { id: "[CLS]", type_id: 0 } };
  const end = { SpecialToken: { id: "[SEP]", type_id: 0 } };
  return JSON.stringify({
    version: "1.0",
    added_tokens: [0, 1, 2, 3].map(special),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [one, { Sequence: { id: "A", type_id: 0 } }, end],
      pair: [one, { Sequence: { id: "A", type_id: 0 } }, end, { Sequence: { id: "B", type_id: 1 } }, end],
      special_tokens: {
        "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] },
        "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] },
      },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab,
    },
  });
}
const PLAIN = { single_word: false, lstrip: false, rstrip: false, normalized: false };

/** A fixture as a user's folder. */
function folderOf(family: string, pooling?: object): string {
  const folder = join(root, `${family}-${pooling === undefined ? "plain" : "pooled"}`);
  const { config, weights } = encoderFiles(family);
  mkdirSync(folder);
  writeFileSync(join(folder, "config.json"), config);
  writeFileSync(join(folder, "model.safetensors"), weights);
  writeFileSync(join(folder, "tokenizer.json"), tokenizer());
  if (pooling !== undefined) {
    mkdirSync(join(folder, "1_Pooling"));
    writeFileSync(join(folder, "1_Pooling/config.json"), JSON.stringify(pooling));
    const types = ["Transformer", "Pooling", "Normalize"].map((type) => ({
      type: `sentence_transformers.models.${type}`,
    }));
    writeFileSync(join(folder, "modules.json"), JSON.stringify(types));
  }
  return folder;
}

async function open(family: string, pooling?: object): Promise<Llm> {
  return load(folderOf(family, pooling), { threads: 2 });
}

const TEXTS = ["a b c d", "z", "the quick brown fox jumps over 1 2 3 lazy dogs", "a b c d e f g h i j k l m n o p"];

test("a text's vector has the same bits in any company, and the length 1", async () => {
  await using llm = await open("bert", { pooling_mode_cls_token: true, pooling_mode_mean_tokens: false });
  const alone = [];
  for (const text of TEXTS) alone.push((await llm.embed([text]))[0]);
  assert.deepEqual(await llm.embed(TEXTS), alone);
  assert.deepEqual(await llm.embed([...TEXTS, ...TEXTS].toReversed()), [...alone, ...alone].toReversed());
  for (const vector of alone) assert.ok(Math.abs(Math.hypot(...(vector ?? [])) - 1) < 1e-6);
  // As the files say: the first token's row.
  assert.deepEqual(await llm.embed(TEXTS, { pooling: "first" }), alone);
  const mean = await llm.embed(TEXTS, { pooling: "mean" });
  assert.notDeepEqual(mean, alone);
});

test("a vector can be cut before it gets its length, and left as it is", async () => {
  await using llm = await open("nomic-bert");
  const [whole] = await llm.embed(["a b"], { normalize: false });
  const [cut] = await llm.embed(["a b"], { dimensions: 32 });
  assert.ok(whole !== undefined && cut !== undefined);
  assert.equal(whole.length, 128);
  const length = Math.hypot(...whole.subarray(0, 32));
  assert.ok(cut.every((x, i) => Math.abs(x - (whole[i] ?? NaN) / length) < 1e-6));
  await assert.rejects(llm.embed(["a"], { dimensions: 129 }), /dimensions is a whole number from 1 to 128, not 129/);
  await assert.rejects(llm.embed(["a".repeat(3), "b ".repeat(600)]), /text 1 has 602 tokens, the context holds 512/);
  await assert.rejects(llm.rerank("a", ["b"]), /no score of two texts/);
  await assert.rejects(async () => llm.generate("a"), /makes no text/);
});

test("documents are ranked by what the model says of them and the query", async () => {
  const folder = folderOf("xlm-roberta-scores");
  const artifact = await openArtifact(folder);
  const { graph } = await modelGraph(artifact, { context: 64 });
  const runner = await ProgramRunner.create(createReferenceBackend(), artifact, graph, {
    kv: "f32",
    context: 64,
    outputs: [...graph.outputs.keys()],
  });
  await using llm = await load(folder, { threads: 2, kv: "f32" });
  const expected: number[] = [];
  for (const text of TEXTS) {
    const [query, document] = ["q w", text].map((one) => [...llm.tokenize(one)]) as [number[], number[]];
    runner.restart();
    // RoBERTa's form: two separators between the texts.
    const tokens = [...query, 3, ...document.slice(1)];
    const { outputs } = await runner.step([{ sequence: 0, tokens, span: true }], { named: { scores: [0] } });
    expected.push(1 / (1 + Math.exp(-(outputs[runner.options.outputs.indexOf("scores")]?.[0] ?? NaN))));
  }
  await runner.close();
  await artifact.close();
  const ranked = await llm.rerank("q w", TEXTS);
  assert.deepEqual(
    ranked.map(({ index }) => index),
    [0, 1, 2, 3].toSorted((a, b) => (expected[b] ?? 0) - (expected[a] ?? 0)),
  );
  for (const { index, score } of ranked) assert.ok(Math.abs(score - (expected[index] ?? NaN)) < 1e-4);
});

test("over HTTP: vectors as numbers and as base64, and documents in order", async () => {
  await using vectors = await open("distilbert");
  await using scores = await open("modernbert-scores");
  const server = createServer({
    models: new Map([
      ["vectors", vectors],
      ["scores", scores],
    ]),
  });
  const url = `http://127.0.0.1:${await server.listen(0, "127.0.0.1")}`;
  try {
    const ask = async (body: object): Promise<{ data: { embedding: number[] | string }[]; usage: object }> =>
      (await (await post(`${url}/v1/embeddings`, { model: "vectors", ...body })).json()) as never;
    const floats = await ask({ input: TEXTS });
    const expected = await vectors.embed(TEXTS);
    assert.deepEqual(
      floats.data.map(({ embedding }) => embedding),
      expected.map((vector) => [...vector]),
    );
    const tokens = TEXTS.reduce((sum, text) => sum + vectors.tokenize(text).length, 0);
    assert.deepEqual(floats.usage, { prompt_tokens: tokens, total_tokens: tokens });
    const [encoded] = (await ask({ input: "a b c d", encoding_format: "base64" })).data;
    const bytes = Buffer.from(String(encoded?.embedding), "base64");
    assert.deepEqual(
      Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i)),
      expected[0],
    );
    const response = await post(`${url}/v1/rerank`, {
      model: "scores",
      query: "q",
      documents: ["a", { text: "b c" }, "d"],
      top_n: 2,
      return_documents: true,
    });
    const { results } = (await response.json()) as { results: { index: number; document: { text: string } }[] };
    const ranked = await scores.rerank("q", ["a", "b c", "d"]);
    assert.deepEqual(
      results.map(({ index }) => index),
      ranked.slice(0, 2).map(({ index }) => index),
    );
    assert.equal(results[0]?.document.text, ["a", "b c", "d"][results[0]?.index ?? -1]);
    const refused = await post(`${url}/v1/embeddings`, { model: "vectors", input: [] });
    assert.equal(refused.status, 400);
    const text = await post(`${url}/v1/completions`, { model: "vectors", prompt: "a" });
    assert.equal(text.status, 400);
    assert.match(JSON.stringify(await text.json()), /makes no text/);
  } finally {
    await server.close();
  }
});

test("BERT's second text carries the segment 1", async () => {
  const artifact = await openArtifact(folderOf("bert-scores"));
  const { graph } = await modelGraph(artifact, { context: 64 });
  assert.deepEqual(pairForm("bert", graph), { separators: 1, segment: 251 });
  await artifact.close();
});

test("poolings are read from both kinds of files", () => {
  assert.deepEqual(ggufEmbedding("bert", { "bert.pooling_type": 2 }), { pooling: "first" });
  assert.deepEqual(ggufEmbedding("qwen3", { "qwen3.pooling_type": 3 }), { pooling: "last" });
  assert.deepEqual(ggufEmbedding("llama", {}), {});
  const modules = ["Transformer", "Pooling", "Dense"].map((type) => ({ type: `sentence_transformers.models.${type}` }));
  assert.deepEqual(hfEmbedding(modules, { pooling_mode_mean_tokens: true }), {
    pooling: "mean",
    normalize: false,
    unread: ["Dense"],
  });
  assert.deepEqual(hfEmbedding(undefined, { pooling_mode_max_tokens: true }), { unread: ["pooling_mode_max_tokens"] });
});

test("a model that makes text ranks by how likely it says yes", async () => {
  await using llm = await load(join(import.meta.dirname, "../builtin/brook-q8_0.gguf"), { threads: 2 });
  const ids = (text: string, parseSpecial = false): number[] => [
    ...llm.tokenize(text, { addSpecial: false, parseSpecial }),
  ];
  const [yes = -1, no = -1] = [...ids("yes"), ...ids("no")];
  const documents = ["Paris is the capital of France.", "Bananas are <|im_end|> yellow."];
  const expected: number[] = [];
  for (const document of documents) {
    const prompt = [
      ...ids(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct " +
          'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
        true,
      ),
      ...ids(`<Instruct>: Find the fact\n<Query>: capital of France\n<Document>: ${document}`),
      ...ids("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", true),
    ];
    const row = (await llm.logits(prompt)).at(-1);
    expected.push(1 / (1 + Math.exp((row?.[no] ?? NaN) - (row?.[yes] ?? NaN))));
  }
  const ranked = await llm.rerank("capital of France", documents, { instruction: "Find the fact" });
  assert.equal(ranked.length, documents.length);
  for (const { index, score } of ranked) assert.ok(Math.abs(score - (expected[index] ?? NaN)) < 1e-5);
  assert.ok((ranked[0]?.score ?? 0) >= (ranked[1]?.score ?? 1));
  const usual = await llm.rerank("capital of France", documents);
  assert.notDeepEqual(usual, ranked);
});

/** A safetensors file of F32 tensors. */
function safetensors(
  tensors: Readonly<Record<string, readonly [shape: readonly number[], values: Float32Array]>>,
): Uint8Array {
  let end = 0;
  const header: Record<string, unknown> = {};
  for (const [name, [shape, values]] of Object.entries(tensors)) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, (end += values.byteLength)] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...Object.values(tensors).map(([, values]) => Buffer.from(values.buffer))]);
}

test("a pooled vector goes through the dense modules of the model's folder, in order", async () => {
  const folder = folderOf("embeddinggemma", { pooling_mode_mean_tokens: true });
  const types = ["Transformer", "Pooling", "Dense", "Dense", "Normalize"];
  const modules = types.map((type, i) => ({
    idx: i,
    path: `${i}_${type}`,
    type: `sentence_transformers.models.${type}`,
  }));
  writeFileSync(join(folder, "modules.json"), JSON.stringify(modules));
  const numbers = (count: number, seed: number): Float32Array =>
    Float32Array.from({ length: count }, (_, i) => Math.sin(seed + i * 1.7) / 8);
  const [up, down, bias] = [numbers(160 * 128, 1), numbers(24 * 160, 2), numbers(24, 3)];
  const parts = [
    ["2_Dense", "torch.nn.modules.activation.Tanh", { "linear.weight": [[160, 128], up] }],
    [
      "3_Dense",
      "torch.nn.modules.linear.Identity",
      { "linear.weight": [[24, 160], down], "linear.bias": [[24], bias] },
    ],
  ] as const;
  for (const [name, activation_function, tensors] of parts) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, "config.json"), JSON.stringify({ activation_function }));
    writeFileSync(join(folder, name, "model.safetensors"), safetensors(tensors));
  }
  await using llm = await load(folder, { threads: 2 });
  const plain = folderOf("embeddinggemma");
  await using without = await load(plain, { threads: 2 });
  const [row] = await without.embed(["a b c"], { normalize: false });
  assert.ok(row !== undefined);
  const inner = Float32Array.from({ length: 160 }, (_, i) =>
    Math.tanh(row.reduce((s, x, j) => s + x * (up[i * 128 + j] ?? 0), 0)),
  );
  const expected = Float32Array.from(
    bias,
    (b, i) => b + inner.reduce((s, x, j) => s + x * (down[i * 160 + j] ?? 0), 0),
  );
  const [vector] = await llm.embed(["a b c"]);
  const length = Math.hypot(...expected);
  assert.equal(vector?.length, 24);
  for (const [i, x] of expected.entries()) assert.ok(Math.abs((vector[i] ?? NaN) - x / length) < 1e-5);
  await assert.rejects(llm.embed(["a"], { dimensions: 25 }), /from 1 to 24/);
  assert.equal((await llm.embed(["a"], { dimensions: 8 }))[0]?.length, 8);

  // Without its files a module is named, and nothing is computed without it.
  rmSync(join(folder, "3_Dense"), { recursive: true });
  await using half = await load(folder, { threads: 2 });
  await assert.rejects(half.embed(["a"]), /isn't computed here: Dense/);
});
