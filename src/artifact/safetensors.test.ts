import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ArtifactError } from "../errors.ts";
import { memorySource } from "./byte-source.ts";
import { openArtifact } from "./node-open.ts";
import { readSafetensors } from "./safetensors.ts";

function file(header: string, dataBytes: number, length = BigInt(Buffer.byteLength(header))): Uint8Array {
  const bytes = new Uint8Array(8 + Buffer.byteLength(header) + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, length, true);
  bytes.set(new TextEncoder().encode(header), 8);
  return bytes;
}
const entry = (dtype: string, shape: number[], begin: number, end: number) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});
const read = (bytes: Uint8Array) => readSafetensors(memorySource("m.safetensors", bytes));

test("tensors, their places and the metadata; integers are left out", async () => {
  const header = JSON.stringify({
    __metadata__: { format: "pt", 'quo"te': "a\\b\u00e9" },
    'we"ird\n': entry("F16", [2, 3], 0, 12),
    mask: entry("BOOL", [1, 4], 12, 16),
    scalar: entry("F32", [], 16, 20),
    empty: entry("BF16", [0, 7], 20, 20),
  });
  const parsed = await read(file(`${header}   `, 20));
  assert.deepEqual({ ...parsed.metadata }, { format: "pt", 'quo"te': "a\\b\u00e9" });
  assert.deepEqual(
    parsed.raw.map(({ name, type }) => [name, type]),
    [["mask", "BOOL"]],
  );
  const base = parsed.headerBytes;
  assert.deepEqual(
    parsed.tensors.map(({ name, dtype, shape, offset, byteLength }) => [name, dtype, shape, offset - base, byteLength]),
    [
      ['we"ird\n', "F16", [2, 3], 0, 12],
      ["scalar", "F32", [], 16, 4],
      ["empty", "BF16", [0, 7], 20, 0],
    ],
  );
});

const t = (value: object) => JSON.stringify({ t: value });
const faults: readonly [string, Uint8Array, RegExp][] = [
  ["empty file", new Uint8Array(0), /truncated: 0 bytes/],
  ["huge header", file("{}", 0, 2n ** 63n), /a header of 9223372036854775808 bytes/],
  ["header beyond the file", file("{}", 0, 99n), /truncated: the header ends at 107, the file has 10/],
  ["no object", file("[]", 0), /doesn't begin with "\{"/],
  ["broken JSON", file('{"t":{"dtype":"F32"', 0), /byte 19: expected "}"/],
  ["text after", file("{}x", 0), /byte 2: expected the end/],
  ["comma at the end", file('{"__metadata__":{},}', 0), /expected a string/],
  ["control character", file('{"a\nb":{}}', 0), /expected the end of a string/],
  ["bad escape", file('{"\\x":{}}', 0), /expected a valid string/],
  ["twice", file('{"__metadata__":{},"__metadata__":{}}', 0), /occurs twice/],
  ["metadata number", file('{"__metadata__":{"a":1}}', 0), /expected a string/],
  ["nothing said", file('{"t":{}}', 0), /needs dtype, shape and two ascending/],
  ["another field", file(t({ ...entry("F32", [1], 0, 4), x: 1 }), 4), /expected dtype, shape and data_offsets/],
  ["three offsets", file(t({ dtype: "F32", shape: [1], data_offsets: [0, 4, 8] }), 4), /at most 2 numbers/],
  ["negative", file(t(entry("F32", [-1], 0, 4)), 4), /expected a whole number/],
  ["fraction", file(t(entry("F32", [1.5], 0, 4)), 4), /expected "\]"/],
  ["beyond 2^53", file('{"t":{"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,4]}}', 4), /a whole number/],
  ["descending", file(t(entry("F32", [1], 4, 0)), 4), /two ascending/],
  ["float6", file(t(entry("F6_E3M2", [4], 0, 3)), 3), /type F6_E3M2, which Millrace doesn't read/],
  ["type of Object.prototype", file(t(entry("constructor", [4], 0, 4)), 4), /type constructor/],
  ["wrong size", file(t(entry("F32", [2], 0, 4)), 4), /F32\[2\] but has 4 bytes/],
  ["a hole", file(t(entry("F32", [1], 4, 8)), 8), /leaves a hole/],
  ["overlap", file(JSON.stringify({ a: entry("F32", [2], 0, 8), b: entry("F32", [1], 4, 8) }), 8), /overlaps/],
  ["data missing", file(t(entry("F32", [2], 0, 8)), 4), /the tensors end at byte 8 of the data, the file has 4/],
  ["data left over", file(t(entry("F32", [1], 0, 4)), 5), /the file has 5/],
];
for (const [name, bytes, message] of faults) {
  test(`refused: ${name}`, async () => {
    await assert.rejects(read(bytes), (error: Error) => {
      assert.ok(error instanceof ArtifactError, String(error.stack));
      assert.match(error.message, message);
      return true;
    });
  });
}

async function inFolder(
  files: Record<string, string | Uint8Array>,
  work: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-"));
  try {
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
    await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const weights = (name: string) => file(JSON.stringify({ [name]: entry("F32", [1], 0, 4) }), 4);
const side = {
  "config.json": JSON.stringify({ model_type: "llama", eos_token_id: 2 }),
  "generation_config.json": JSON.stringify({
    eos_token_id: [2, 5, 2],
    do_sample: true,
    temperature: 0.6,
    top_k: 50,
    top_p: 0.9,
  }),
  "tokenizer.json": JSON.stringify({ model: {} }),
  "tokenizer_config.json": JSON.stringify({ chat_template: "from the config" }),
};

test("a folder with one file", async () => {
  await inFolder({ ...side, "model.safetensors": weights("a") }, async (folder) => {
    const artifact = await openArtifact(folder);
    assert.deepEqual([...artifact.tensors.keys()], ["a"]);
    assert.equal(artifact.config.architecture, "llama");
    assert.equal(artifact.chatTemplate, "from the config");
    assert.deepEqual(artifact.generation, { temperature: 0.6, topK: 50, topP: 0.9, eosTokenIds: [2, 5] });
    await artifact.close();
  });
});

test("chat_template.jinja comes first; of named templates the default", async () => {
  const named = JSON.stringify({
    chat_template: [
      { name: "rag", template: "r" },
      { name: "default", template: "d" },
    ],
  });
  await inFolder({ ...side, "tokenizer_config.json": named, "model.safetensors": weights("a") }, async (folder) => {
    const first = await openArtifact(folder);
    assert.equal(first.chatTemplate, "d");
    await first.close();
    await writeFile(join(folder, "chat_template.jinja"), "from the file");
    const second = await openArtifact(folder);
    assert.equal(second.chatTemplate, "from the file");
    await second.close();
  });
});

test("a sharded model, and what its index may get wrong", async () => {
  const index = (map: Record<string, unknown>) => JSON.stringify({ metadata: {}, weight_map: map });
  const files = { ...side, "a.safetensors": weights("a"), "b.safetensors": weights("b") };
  await inFolder(files, async (folder) => {
    const write = (map: Record<string, unknown>) => writeFile(join(folder, "model.safetensors.index.json"), index(map));
    await assert.rejects(openArtifact(folder), /several safetensors files but no model.safetensors.index.json/);
    await write({ a: "a.safetensors", b: "b.safetensors" });
    const artifact = await openArtifact(folder);
    assert.deepEqual([...artifact.tensors.keys()], ["a", "b"]);
    await artifact.close();

    await write({ a: "a.safetensors", c: "b.safetensors" });
    await assert.rejects(openArtifact(folder), /b.safetensors holds tensor "c" \(1 in all\), but no file does/);
    await write({ a: "../a.safetensors" });
    await assert.rejects(openArtifact(folder), /places "a" in "..\/a.safetensors", no safetensors file/);
    await write({ a: "missing.safetensors" });
    await assert.rejects(openArtifact(folder), /missing.safetensors: no such file/);
    await write({});
    await assert.rejects(openArtifact(folder), /names no tensors/);
    await writeFile(join(folder, "model.safetensors.index.json"), "{");
    await assert.rejects(openArtifact(folder), /no valid JSON/);
  });
});

test("folders without a model, or with several, say what is there", async () => {
  await inFolder({ "model.safetensors": weights("a") }, async (folder) => {
    await assert.rejects(openArtifact(folder), /safetensors files but no config.json/);
    await writeFile(join(folder, "config.json"), side["config.json"]);
    await assert.rejects(openArtifact(folder), /tokenizer.json is missing/);
    await writeFile(join(folder, "tekken.json"), '{ "config": {} }');
    const mistral = await openArtifact(folder);
    assert.deepEqual(mistral.tokenizer, { name: folder, format: "tekken", tekken: { config: {} } });
    await mistral.close();
    await assert.rejects(openArtifact(join(folder, "model.safetensors")), /name the folder/);
  });
  await inFolder({ "a.gguf": "", "b.gguf": "", "mmproj-b.gguf": "" }, async (folder) => {
    await assert.rejects(openArtifact(folder), /several GGUF models; name one of: a.gguf, b.gguf$/);
    await mkdir(join(folder, "empty"));
    await assert.rejects(openArtifact(join(folder, "empty")), /holds no model/);
    await assert.rejects(openArtifact(join(folder, "nothing")), /can't open .*nothing: no such file or folder/);
  });
});
