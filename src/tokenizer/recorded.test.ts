/** Our ids against those of other implementations: Hugging Face `tokenizers` (recorded), llama.cpp's vectors (../shared). */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { MetaObject } from "../artifact/artifact.ts";
import { openGguf } from "../artifact/node-gguf.ts";
import { createTokenizer } from "./tokenizer.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const VECTORS = `${ROOT}/../shared/data/tokenizers`;

interface Recorded {
  readonly texts: readonly string[];
  readonly tokenizers: readonly {
    readonly name: string;
    readonly tokenizer: MetaObject;
    readonly ids: readonly (readonly number[])[];
    readonly decoded: readonly string[];
    readonly with_special: readonly number[];
  }[];
}

const recorded: Recorded = JSON.parse(
  gunzipSync(readFileSync(`${ROOT}/test/fixtures/tokenizers/small.json.gz`)).toString(),
);

for (const { name, tokenizer: json, ids, decoded, with_special } of recorded.tokenizers) {
  test(`tokenizer.json as Hugging Face reads it: ${name}`, () => {
    const tokenizer = createTokenizer({ format: "hf", tokenizer: json, config: {} });
    recorded.texts.forEach((text, i) => {
      const parseSpecial = i % 2 === 1;
      const ours = tokenizer.encode(text, { addSpecial: false, parseSpecial });
      const theirs = ids[i] ?? [];
      // Hugging Face merges "</s>" of plain text into the control token where the vocabulary has such merges; we never.
      const forged = (id: number): boolean => tokenizer.isSpecial(id) && tokenizer.tokenText(id) !== "<unk>";
      if (!parseSpecial && theirs.some(forged)) {
        assert.ok(!ours.some(forged), JSON.stringify(text));
        return;
      }
      assert.deepEqual([...ours], theirs, JSON.stringify(text));
      assert.equal(tokenizer.decode(ours), decoded[i]);
    });
    assert.deepEqual([...tokenizer.encode("Hello World")], with_special);
  });
}

const missing = existsSync(VECTORS) ? false : `needs ${VECTORS}`;
for (const file of missing === false ? readdirSync(VECTORS).filter((name) => name.endsWith(".gguf")) : ["(none)"]) {
  test(`llama.cpp's vectors: ${file}`, { skip: missing }, async () => {
    const artifact = await openGguf(`${VECTORS}/${file}`);
    await artifact.close();
    const tokenizer = createTokenizer(artifact.tokenizer);
    const lines = readFileSync(`${VECTORS}/${file}.out`, "utf8").split("\n");
    // As llama.cpp's own test: no BOS, and special tokens in the text are text.
    readFileSync(`${VECTORS}/${file}.inp`, "utf8")
      .split("\n__ggml_vocab_test__\n")
      .forEach((text, i) => {
        const ids = tokenizer.encode(text, { addSpecial: false });
        assert.equal(ids.join(" "), lines[i]?.trim(), JSON.stringify(text));
        assert.equal(tokenizer.decode(ids), text);
      });
  });
}
