/**
 * npm run check:tokenizers: our token ids against three witnesses.
 *  1. llama.cpp's own vectors, and transformers' ids of a whole text and of 16 prompts (../shared).
 *  2. Hugging Face `tokenizers` (Rust): 10,000 random Unicode strings for each vocabulary, recorded by
 *     recipes/tokenizers/record.py; from the GGUF file and from a tokenizer.json made of it. WordPiece, Unigram, RWKV and
 *     Tekken (against tiktoken) likewise, by small vocabularies of recipes/tokenizers/record_pieces.py.
 *  3. llama.cpp itself (node-llama-cpp, vocabulary only) on the same strings. Where it disagrees with Hugging Face, the
 *     difference is counted under its cause, and the latter decides.
 * node-llama-cpp is looked for in bench/node_modules, or at MILLRACE_NODE_LLAMA_CPP (its package folder).
 */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import type { MetaObject, MetaValue, TokenizerSource } from "../src/artifact/artifact.ts";
import { describeGguf } from "../src/artifact/gguf-artifact.ts";
import { openGguf, writeGguf } from "../src/artifact/node-gguf.ts";
import { byteAlphabet } from "../src/tokenizer/byte-alphabet.ts";
import { createTokenizer, type Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { hashIds, randomText } from "../test/random-text.ts";
import { forges, recordedPieces, sourceOf } from "../test/support/recorded-pieces.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SHARED = resolve(ROOT, "../shared");
const MODEL = "smollm2-135m-instruct-q4_1";

interface RecordedCase {
  readonly file: string;
  /** Put in the place of the file's own pre-tokenizer; "" keeps it. */
  readonly pre: string;
  readonly normalizer: MetaValue;
  readonly pre_tokenizer: MetaValue;
  readonly ignore_merges: boolean;
  readonly hashes: string;
}

interface Recorded {
  readonly made_with: string;
  readonly seed: number;
  readonly count: number;
  readonly cases: readonly RecordedCase[];
}

type LlamaTokenize = (text: string, parseSpecial: boolean) => number[];

let failures = 0;

function report(ok: boolean, line: string): void {
  if (!ok) failures++;
  process.stdout.write(`${ok ? "ok  " : "FAIL"} ${line}\n`);
}

function pathOf(file: string): string {
  return file.startsWith(MODEL) ? join(SHARED, "models", file) : join(SHARED, "data/tokenizers", file);
}

async function readMetadata(path: string, pre: string): Promise<MetaObject> {
  const artifact = await openGguf(path);
  await artifact.close();
  return pre === "" ? artifact.metadata : { ...artifact.metadata, "tokenizer.ggml.pre": pre };
}

async function checkVectors(): Promise<void> {
  for (const name of ["deepseek-coder", "falcon", "gpt-2", "llama-spm", "mpt", "refact"]) {
    const path = pathOf(`${name}.gguf`);
    const tokenizer = createTokenizer({ format: "gguf", metadata: await readMetadata(path, "") });
    // As llama.cpp's own test: no BOS, special tokens in the text are text.
    const texts = readFileSync(`${path}.inp`, "utf8").split("\n__ggml_vocab_test__\n");
    const lines = readFileSync(`${path}.out`, "utf8").split("\n");
    const wrong = texts.filter(
      (text, i) => tokenizer.encode(text, { addSpecial: false }).join(" ") !== lines[i]?.trim(),
    );
    report(
      wrong.length === 0,
      `vectors of ${name}: ${texts.length - wrong.length} of ${texts.length} equal${first(wrong)}`,
    );
  }
}

function first(texts: readonly string[]): string {
  return texts[0] === undefined ? "" : `, not ${JSON.stringify(texts[0])}`;
}

async function checkModel(): Promise<void> {
  const tokenizer = createTokenizer({ format: "gguf", metadata: await readMetadata(pathOf(`${MODEL}.gguf`), "") });
  const text = readFileSync(join(SHARED, "data/text/wikitext-2-valid.txt"), "utf8");
  const expected = String(
    JSON.parse(readFileSync(join(SHARED, "models", `${MODEL}.wikitext-2-valid.json`), "utf8"))["token_ids_sha256"],
  );
  const ids = tokenizer.encode(text, { addSpecial: false });
  const hash = createHash("sha256")
    .update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength))
    .digest("hex");
  report(
    hash === expected && tokenizer.decode(ids) === text,
    `wikitext-2-valid: ${ids.length} ids, sha256 ${hash.slice(0, 16)}…, decodes to itself`,
  );
  let equal = 0;
  const lines = readFileSync(join(SHARED, "models", `${MODEL}.greedy.jsonl`), "utf8")
    .trim()
    .split("\n");
  for (const line of lines) {
    const record: { text_prompt: string; prompt_ids: number[]; steps: number[][]; text: string } = JSON.parse(line);
    const prompt = tokenizer.encode(record.text_prompt, { addSpecial: false, parseSpecial: true });
    const answer = tokenizer.decode(record.steps.map((step) => step[0] ?? -1));
    if (prompt.join() === record.prompt_ids.join() && answer === record.text) equal++;
  }
  report(equal === lines.length, `prompts and answers of ${MODEL}: ${equal} of ${lines.length} equal`);
}

/** A tokenizer.json of the GGUF's vocabulary; record.py makes the same. */
function tokenizerJson(metadata: MetaObject, recorded: RecordedCase): TokenizerSource {
  const tokens = metadata["tokenizer.ggml.tokens"] as readonly string[];
  const types = metadata["tokenizer.ggml.token_type"] as ArrayLike<number>;
  const spm = metadata["tokenizer.ggml.model"] === "llama";
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (!ids.has(token)) ids.set(token, id);
  });
  const vocab = Object.fromEntries(ids);
  const added = tokens.flatMap((content, id) => {
    const type = types[id];
    if (type !== 2 && type !== 3 && type !== 4) return [];
    return [
      { id, content, single_word: false, lstrip: false, rstrip: false, normalized: type === 4, special: type !== 4 },
    ];
  });
  const scores = metadata["tokenizer.ggml.scores"] as ArrayLike<number>;
  const merges = spm
    ? mergesFromScores(tokens, scores, types, ids)
    : (metadata["tokenizer.ggml.merges"] as readonly string[]);
  const model = {
    type: "BPE",
    unk_token: spm ? "<unk>" : null,
    fuse_unk: spm,
    byte_fallback: spm,
    ignore_merges: recorded.ignore_merges,
    vocab,
    merges,
  };
  return {
    format: "hf",
    tokenizer: { added_tokens: added, normalizer: recorded.normalizer, pre_tokenizer: recorded.pre_tokenizer, model },
    config: {},
  };
}

function mergesFromScores(
  tokens: readonly string[],
  scores: ArrayLike<number>,
  types: ArrayLike<number>,
  ids: ReadonlyMap<string, number>,
): string[][] {
  const merges: { left: string; right: string; score: number }[] = [];
  tokens.forEach((token, id) => {
    if (types[id] !== 1) return;
    const chars = Array.from(token);
    const local = chars.slice(1).map((_, i) => ({
      left: chars.slice(0, i + 1).join(""),
      right: chars.slice(i + 1).join(""),
      score: scores[id] ?? 0,
    }));
    const known = local.filter(({ left, right }) => ids.has(left) && ids.has(right));
    merges.push(...known.toSorted((a, b) => (ids.get(a.left) ?? 0) - (ids.get(b.left) ?? 0)));
  });
  const length = (text: string): number => Array.from(text).length;
  merges.sort((a, b) => b.score - a.score || length(b.left) - length(a.left) || length(b.right) - length(a.right));
  return merges.map(({ left, right }) => [left, right]);
}

async function findLlama(): Promise<
  | { load(path: string): Promise<{ tokenize: LlamaTokenize; dispose(): Promise<void> }>; dispose(): Promise<void> }
  | undefined
> {
  const folder = process.env["MILLRACE_NODE_LLAMA_CPP"] ?? join(ROOT, "bench/node_modules/node-llama-cpp");
  const entry = join(folder, "dist/index.js");
  if (!existsSync(entry)) return undefined;
  const library = await import(pathToFileURL(entry).href);
  const llama = await library.getLlama({ gpu: false, build: "never", logLevel: "disabled" });
  return {
    async load(path) {
      const model = await llama.loadModel({ modelPath: path, vocabOnly: true });
      return { tokenize: (text, parseSpecial) => model.tokenize(text, parseSpecial), dispose: () => model.dispose() };
    },
    dispose: () => llama.dispose(),
  };
}

/** Why llama.cpp's ids may differ from Hugging Face's on a string; the first cause that applies. */
function cause(text: string, recorded: RecordedCase, name: string, lacking: ReadonlySet<number>): string {
  if (JSON.stringify(recorded.normalizer).includes("NFC") && text.normalize("NFC") !== text)
    return "llama.cpp does not normalise to NFC";
  if (Buffer.from(text).some((byte) => lacking.has(byte)))
    return "a byte that the vocabulary lacks is dropped before merging, by llama.cpp after it";
  if (name === "falcon" && Buffer.from(text).some((byte) => [0xb2, 0xb3, 0xb9, 0xbc, 0xbd, 0xbe].includes(byte))) {
    return "Falcon's digit stages see the byte alphabet, where six bytes are written as numerals";
  }
  if (name === "deepseek-llm" && /\p{N}{2}/u.test(text))
    return "llama.cpp leaves numbers whole (DeepSeek's own vocabulary has no token of two digits)";
  if (name === "gpt-4o" || name === "tekken") return "llama.cpp tells upper from lower case by A–Z and a–z only";
  return "another difference of the two regex engines";
}

async function checkRandom(): Promise<void> {
  const recorded: Recorded = JSON.parse(
    gunzipSync(readFileSync(join(ROOT, "test/fixtures/tokenizers/full.json.gz"))).toString(),
  );
  const texts = Array.from({ length: recorded.count }, (_, i) => randomText(recorded.seed, i));
  const llama = await findLlama();
  if (llama === undefined)
    process.stdout.write("skipped: llama.cpp as a witness (npm install in bench/, or set MILLRACE_NODE_LLAMA_CPP)\n");
  const folder = mkdtempSync(join(tmpdir(), "millrace-tokenizers-"));
  try {
    for (const one of recorded.cases) {
      const name = one.pre === "" ? one.file.replace(".gguf", "") : one.pre;
      const metadata = await readMetadata(pathOf(one.file), one.pre);
      const fromGguf = createTokenizer({ format: "gguf", metadata });
      const fromJson = createTokenizer(tokenizerJson(metadata, one));
      const expected = new DataView(new Uint8Array(Buffer.from(one.hashes, "base64")).buffer);
      const agrees = (tokenizer: Tokenizer, text: string, i: number): boolean =>
        hashIds(tokenizer.encode(text, { addSpecial: false, parseSpecial: i % 2 === 1 })) ===
        expected.getUint32(i * 4, true);
      for (const [kind, tokenizer] of [
        ["GGUF", fromGguf],
        ["tokenizer.json", fromJson],
      ] as const) {
        const wrong = texts.filter((text, i) => !agrees(tokenizer, text, i));
        report(
          wrong.length === 0,
          `${name}, ${kind}: ${texts.length - wrong.length} of ${texts.length} strings as ${recorded.made_with}${first(wrong)}`,
        );
      }
      if (llama === undefined) continue;
      let path = pathOf(one.file);
      if (one.pre !== "") {
        const artifact = await openGguf(path);
        path = join(folder, `${one.pre}.gguf`);
        await writeGguf(path, { ...describeGguf(artifact), metadata });
        await artifact.close();
      }
      await compareWithLlama(path, name, one, texts, fromGguf, llama, agrees);
    }
  } finally {
    rmSync(folder, { recursive: true });
    await llama?.dispose();
  }
}

async function compareWithLlama(
  path: string,
  name: string,
  recorded: RecordedCase,
  texts: readonly string[],
  ours: Tokenizer,
  llama: NonNullable<Awaited<ReturnType<typeof findLlama>>>,
  agrees: (tokenizer: Tokenizer, text: string, i: number) => boolean,
): Promise<void> {
  const model = await llama.load(path);
  const { chars } = byteAlphabet();
  const lacking = new Set(
    chars.flatMap((char, byte) =>
      ours.tokenId(char) === undefined && ours.tokenId("<0x0A>") === undefined ? [byte] : [],
    ),
  );
  const causes = new Map<string, { count: number; example: string }>();
  let undecided = 0;
  texts.forEach((text, i) => {
    const theirs = model.tokenize(text, i % 2 === 1);
    if (theirs.join() === ours.encode(text, { addSpecial: false, parseSpecial: i % 2 === 1 }).join()) return;
    if (!agrees(ours, text, i)) undecided++;
    const why = cause(text, recorded, name, lacking);
    const known = causes.get(why);
    if (known === undefined) causes.set(why, { count: 1, example: text });
    else {
      known.count++;
      if (text.length < known.example.length) known.example = text;
    }
  });
  await model.dispose();
  const different = [...causes.values()].reduce((sum, { count }) => sum + count, 0);
  report(
    undecided === 0,
    `${name}, llama.cpp: ${texts.length - different} of ${texts.length} strings equal, ${different} decided by Hugging Face`,
  );
  for (const [why, { count, example }] of causes)
    process.stdout.write(`       ${count}: ${why}, e.g. ${JSON.stringify(example)}\n`);
}

/** Blocks of ten strings by the hash of their ids, but those in which plain text names a token that text can't give. */
function checkPieces(): void {
  const { made_with, seed, count, block, tokenizers } = recordedPieces();
  const texts = Array.from({ length: count }, (_, i) => randomText(seed, i));
  for (const recorded of tokenizers) {
    const tokenizer = createTokenizer(sourceOf(recorded));
    const expected = new DataView(new Uint8Array(Buffer.from(recorded.hashes, "base64")).buffer);
    const parses = (i: number): boolean => i % 2 === 1 && recorded.tokenizer !== undefined;
    let equal = 0;
    let compared = 0;
    for (let first = 0; first < count; first += block) {
      const strings = texts.slice(first, first + block);
      if (strings.some((text, i) => forges(text, tokenizer, parses(first + i)))) continue;
      const ids = strings.flatMap((text, i) => [
        ...tokenizer.encode(text, { addSpecial: false, parseSpecial: parses(first + i) }),
      ]);
      compared += block;
      if (hashIds(Int32Array.from(ids)) === expected.getUint32((first / block) * 4, true)) equal += block;
    }
    report(equal === compared && compared > 0, `${recorded.name}: ${equal} of ${compared} strings as ${made_with}`);
  }
}

checkPieces();
if (existsSync(join(SHARED, "data/tokenizers")) && existsSync(pathOf(`${MODEL}.gguf`))) {
  await checkVectors();
  await checkModel();
  await checkRandom();
  process.stdout.write(failures === 0 ? "PASS\n" : `FAIL: ${failures}\n`);
  process.exitCode = failures === 0 ? 0 : 1;
} else {
  process.stdout.write(`skipped: needs ${SHARED}/data/tokenizers and ${SHARED}/models\n`);
}
