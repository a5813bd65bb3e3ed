import assert from "node:assert/strict";
import { test } from "node:test";
import { ArtifactError } from "../errors.ts";
import { chooseFiles, formatHubReference, isSafePath, parseHubReference } from "./hub-reference.ts";

test("references are parsed and written", () => {
  assert.equal(parseHubReference("model.gguf"), undefined);
  assert.deepEqual(parseHubReference("hf:a/b"), { repo: "a/b", revision: "main" });
  assert.deepEqual(parseHubReference("hf:a-1/b.c_d@v1:Q8_0"), { repo: "a-1/b.c_d", revision: "v1", selection: "Q8_0" });
  assert.deepEqual(parseHubReference("hf:a/b:sub/x.gguf")?.selection, "sub/x.gguf");
  for (const text of ["hf:a/b", "hf:a/b@v1", "hf:a/b:Q8_0", "hf:a/b@v1:sub/x.gguf"]) {
    assert.equal(formatHubReference(parseHubReference(text) ?? { repo: "", revision: "" }), text);
  }
  for (const text of [
    "hf:",
    "hf:a",
    "hf:a/b/c",
    "hf:../b",
    "hf:a/..",
    "hf:a/b:",
    "hf:a/b@",
    "hf:a/b@../x:Q8_0",
    "hf:a b/c",
  ]) {
    assert.throws(() => parseHubReference(text), ArtifactError, text);
  }
});

test("paths from a server stay inside", () => {
  for (const path of ["a", "a/b.gguf", "a..b"]) assert.ok(isSafePath(path), path);
  for (const path of ["", "/a", "a/", "../a", "a/../b", "./a", "a\\b", "c:x", "a\0"])
    assert.ok(!isSafePath(path), path);
});

const files = (...paths: string[]) => paths.map((path) => ({ path, size: 1 }));
const choose = (selection: string | undefined, ...paths: string[]) => {
  const choice = chooseFiles(
    { repo: "a/b", revision: "main", ...(selection !== undefined && { selection }) },
    files(...paths),
  );
  return [choice.open, ...choice.files.map(({ path }) => path)];
};

test("a quant names the file that holds it as a word", () => {
  const there = ["m-Q4_0.gguf", "m-Q4_0_4_4.gguf", "m-IQ4_0.gguf", "m-Q8_0.gguf", "mmproj-Q8_0.gguf", "README.md"];
  assert.deepEqual(choose("Q4_0", ...there), ["m-Q4_0.gguf", "m-Q4_0.gguf"]);
  assert.deepEqual(choose("q8_0", ...there), ["m-Q8_0.gguf", "m-Q8_0.gguf"]);
  assert.deepEqual(choose("Q4_K", "m-Q4_K_M.gguf", "m-Q5_K_M.gguf"), ["m-Q4_K_M.gguf", "m-Q4_K_M.gguf"]);
  assert.throws(() => choose("Q4_K", "m-Q4_K_M.gguf", "m-Q4_K_S.gguf"), /could be any of m-Q4_K_M.gguf, m-Q4_K_S.gguf/);
  assert.throws(() => choose("Q6_K", ...there), /no GGUF file's name holds "Q6_K"; there are m-Q4_0.gguf, /);
  assert.throws(() => choose("[", ...there), /no GGUF file's name holds/);
});

test("a file is named by its path or its name", () => {
  assert.deepEqual(choose("m.gguf", "m.gguf", "x/m.gguf"), ["m.gguf", "m.gguf"]);
  assert.deepEqual(choose("x/m.gguf", "m.gguf", "x/m.gguf"), ["x/m.gguf", "x/m.gguf"]);
  assert.deepEqual(choose("n.gguf", "m.gguf", "x/n.gguf"), ["x/n.gguf", "x/n.gguf"]);
});

test("the parts of a split model come together; incomplete sets don't count", () => {
  const parts = ["Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf"];
  assert.deepEqual(choose("Q8_0", ...parts, "m-Q4_0.gguf"), [parts[0], ...parts]);
  assert.deepEqual(choose(parts[1], ...parts, "m-Q4_0.gguf"), [parts[0], ...parts]);
  assert.throws(() => choose("Q8_0", parts[0] ?? "", "m-Q4_0.gguf"), /no GGUF file's name holds "Q8_0"/);
});

test("without a selection: safetensors, else the only GGUF model", () => {
  const json = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"];
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  assert.deepEqual(choose(undefined, ...json, ...shards, "consolidated.safetensors", "onnx/model.onnx"), [
    "",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
    ...shards,
  ]);
  assert.deepEqual(
    choose(undefined, "config.json", "tokenizer.json", "model.safetensors", "m.gguf").at(-1),
    "model.safetensors",
  );
  const mistral = ["config.json", "tekken.json", "model.safetensors"];
  assert.deepEqual(choose(undefined, ...mistral), ["", ...mistral]);
  assert.deepEqual(choose(undefined, "config.json", "m.gguf"), ["m.gguf", "m.gguf"]);
  assert.throws(() => choose(undefined, "m.gguf", "n.gguf"), /could be any of m.gguf, n.gguf; name one/);
  assert.throws(() => choose(undefined, "README.md"), /holds no GGUF model, and no safetensors model/);
});
