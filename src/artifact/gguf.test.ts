import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ArtifactError } from "../errors.ts";
import type { ByteSource, Tensor } from "./artifact.ts";
import { memorySource } from "./byte-source.ts";
import { DTYPES, type DType } from "./dtype.ts";
import { describeGguf, ggufArtifact } from "./gguf-artifact.ts";
import type { GgufDescription, GgufFile } from "./gguf-file.ts";
import { readGguf } from "./gguf-reader.ts";
import { ggufBytes, splitGguf, splitName, splitNames } from "./gguf-writer.ts";
import { fileSource } from "./node-file.ts";
import { openGguf, writeGguf } from "./node-gguf.ts";

const model = new URL("../../../shared/models/smollm2-135m-instruct-q4_1.gguf", import.meta.url).pathname;

async function concatenate(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts = [];
  for await (const chunk of chunks) parts.push(chunk);
  return new Uint8Array(Buffer.concat(parts));
}

function tensor(name: string, dtype: DType, shape: number[]): Tensor {
  const { blockSize, blockBytes } = DTYPES[dtype];
  const byteLength = (shape.reduce((a, b) => a * b, 1) / blockSize) * blockBytes;
  const bytes = Uint8Array.from({ length: byteLength }, (_, i) => (i * 7 + name.length) & 255);
  return { name, dtype, shape, source: memorySource(name, bytes), offset: 0, byteLength };
}

const description: GgufDescription = {
  metadata: {
    "general.architecture": "llama",
    "a.u8": 255,
    "a.i8": -128,
    "a.u16": 65535,
    "a.i16": -32768,
    "a.u32": 4294967295,
    "a.i32": -2147483648,
    "a.f32": 0.5,
    "a.f64": Math.PI,
    "a.u64": 18446744073709551615n,
    "a.i64": -5,
    "a.bool": true,
    "a.string": "größe \u{1F600}\0 \uFEFF",
    "a.strings": ["", "ab", "Ġthe", "\uFEFF"],
    "a.bools": [true, false],
    "a.f32s": Float32Array.of(1, -2.5),
    "a.i32s": Int32Array.of(-1, 7),
    "a.u64s": Float64Array.of(0, 2 ** 53 - 1),
    "a.large": [1, 2n ** 63n],
    "a.none": [],
    __proto__x: 1,
  },
  types: new Map([
    ["general.architecture", "string"],
    ["a.u8", "u8"],
    ["a.i8", "i8"],
    ["a.u16", "u16"],
    ["a.i16", "i16"],
    ["a.u32", "u32"],
    ["a.i32", "i32"],
    ["a.f32", "f32"],
    ["a.f64", "f64"],
    ["a.u64", "u64"],
    ["a.i64", "i64"],
    ["a.bool", "bool"],
    ["a.string", "string"],
    ["a.strings", "string[]"],
    ["a.bools", "bool[]"],
    ["a.f32s", "f32[]"],
    ["a.i32s", "i32[]"],
    ["a.u64s", "u64[]"],
    ["a.large", "u64[]"],
    ["a.none", "string[]"],
    ["__proto__x", "u8"],
  ]),
  tensors: [
    tensor("x", "F32", [3]),
    tensor("w", "Q4_0", [2, 64]),
    tensor("e", "F16", [2, 3, 5]),
    tensor("k", "Q6_K", [256]),
  ],
};

test("every value type and shape is read back as written", async () => {
  const file = await readGguf(memorySource("m", await concatenate(ggufBytes(description))));
  assert.deepEqual({ ...file.metadata }, description.metadata);
  assert.deepEqual(file.types, description.types);
  assert.equal(file.version, 3);
  assert.deepEqual(
    file.tensors.map(({ name, dtype, shape, byteLength }) => ({ name, dtype, shape, byteLength })),
    description.tensors.map(({ name, dtype, shape, byteLength }) => ({ name, dtype, shape, byteLength })),
  );
  for (const [i, got] of file.tensors.entries()) {
    const want = description.tensors[i];
    assert.ok(want);
    assert.deepEqual(await got.source.read(got.offset, got.byteLength), await want.source.read(0, want.byteLength));
    assert.equal(got.offset % 32, 0);
  }
});

test("a header larger than the writer's first buffer", async () => {
  const words = Array.from({ length: 30_000 }, (_, i) => `word ${i}`);
  const bytes = await concatenate(
    ggufBytes({ metadata: { words }, types: new Map([["words", "string[]"]]), tensors: [] }),
  );
  assert.deepEqual((await readGguf(memorySource("m", bytes))).metadata["words"], words);
});

test("general.alignment is obeyed, in parts too", async () => {
  const aligned: GgufDescription = {
    metadata: { "general.architecture": "a", "general.alignment": 256 },
    types: new Map([
      ["general.architecture", "string"],
      ["general.alignment", "u32"],
    ]),
    tensors: description.tensors,
  };
  for (const part of [aligned, ...splitGguf(aligned, { maxTensors: 2 })]) {
    const file = await readGguf(memorySource("m", await concatenate(ggufBytes(part))));
    for (const { offset } of file.tensors) assert.equal(offset % 256, 0);
  }
});

test("a split model is whole again, and each part says its number", async () => {
  const parts: GgufFile[] = [];
  for (const part of splitGguf(description, { maxBytes: 100 })) {
    parts.push(await readGguf(memorySource(`part ${parts.length}`, await concatenate(ggufBytes(part)))));
  }
  assert.deepEqual(
    parts.map((part) => part.tensors.map((t) => t.name)),
    [["x", "w"], ["e"], ["k"]],
  );
  assert.equal(parts[2]?.metadata["split.no"], 2);
  const artifact = ggufArtifact(parts);
  assert.deepEqual([...artifact.tensors.keys()], ["x", "w", "e", "k"]);
  assert.deepEqual(describeGguf(artifact).types, description.types);

  assert.throws(() => ggufArtifact(parts.slice(0, 2)), /part 1 of a model in 3 files, but 2 given/);
  const [a, b, c] = parts;
  assert.ok(a && b && c);
  assert.throws(() => ggufArtifact([a, c, b]), /split.no is 2, its name says 1/);
  assert.throws(() => ggufArtifact([a, b, { ...c, tensors: [] }]), /split.tensors.count is 4, the parts hold 3/);
  assert.throws(() => ggufArtifact([a, b, { ...c, tensors: a.tensors }]), /tensor "x" is in an earlier part too/);
});

test("names of parts", () => {
  assert.equal(splitName("dir/m.gguf", 0, 12), "dir/m-00001-of-00012.gguf");
  assert.deepEqual(splitNames("m-00002-of-00002.gguf"), ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]);
  for (const none of ["m.gguf", "m-00000-of-00002.gguf", "m-00003-of-00002.gguf", "m-1-of-2.gguf"]) {
    assert.deepEqual(splitNames(none), []);
  }
});

test("in files: written, split, read, refused where a part is missing or short", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-"));
  try {
    const paths = await writeGguf(join(folder, "m.gguf"), description, { maxTensors: 1 });
    assert.equal(paths.length, 4);
    const artifact = await openGguf(paths[2] ?? "");
    assert.equal(artifact.tensors.size, 4);
    await artifact.close();
    assert.equal((await readdir(folder)).length, 4, "no unfinished files are left");

    const whole = (await concatenate(ggufBytes(description))).byteLength;
    const [single = ""] = await writeGguf(join(folder, "one.gguf"), description);
    await truncate(single, whole - 100);
    await assert.rejects(
      openGguf(single),
      (error: Error) => error instanceof ArtifactError && /ends at byte/.test(error.message),
    );

    await rm(paths[1] ?? "");
    await assert.rejects(openGguf(paths[0] ?? ""), /can't open .*-00002-of-00004.gguf: no such file/);
    await assert.rejects(fileSource(folder), /no regular file|folder/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a file that can't be written whole leaves nothing behind", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-"));
  try {
    const source: ByteSource = {
      ...memorySource("s", new Uint8Array(0)),
      read: () => Promise.reject(new Error("gone")),
    };
    const broken = { ...description, tensors: [{ ...tensor("x", "F32", [3]), source }] };
    await assert.rejects(writeGguf(join(folder, "m.gguf"), broken), /gone/);
    assert.deepEqual(await readdir(folder), []);
    await writeFile(join(folder, "f"), "");
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("values that don't fit their type aren't written", async () => {
  const bad = (type: "u8" | "i8" | "string" | "u64" | "bool[]", value: number | string | boolean) =>
    concatenate(ggufBytes({ metadata: { k: value }, types: new Map([["k", type]]), tensors: [] }));
  await assert.rejects(bad("u8", 256), /can't be written as u8/);
  await assert.rejects(bad("i8", -129), ArtifactError);
  await assert.rejects(bad("string", 1), ArtifactError);
  await assert.rejects(bad("u64", 2 ** 53), ArtifactError);
  await assert.rejects(bad("bool[]", true), ArtifactError);
});

/** Builds headers by hand, so that they may be wrong. */
class Header {
  bytes: number[] = [];
  text(text: string) {
    this.bytes.push(...new TextEncoder().encode(text));
    return this;
  }
  u32(...values: number[]) {
    for (const value of values) this.bytes.push(value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24);
    return this;
  }
  u64(...values: bigint[]) {
    for (const value of values) this.u32(Number(value & 0xffffffffn), Number(value >> 32n));
    return this;
  }
  string(text: string) {
    return this.u64(BigInt(text.length)).text(text);
  }
  start(tensors: number | bigint, keys: number | bigint) {
    return this.text("GGUF").u32(3).u64(BigInt(tensors), BigInt(keys));
  }
  tensor(name: string, dims: bigint[], type: number, offset: bigint) {
    return this.string(name)
      .u32(dims.length)
      .u64(...dims)
      .u32(type)
      .u64(offset);
  }
  pad(bytes: number) {
    while (this.bytes.length % 32 !== 0) this.bytes.push(0);
    for (let i = 0; i < bytes; i++) this.bytes.push(0);
    return this;
  }
}
const header = () => new Header();

const faults: readonly [string, Header, RegExp][] = [
  ["empty", header(), /truncated.*header needs 8 bytes at 0, the file has 0/],
  ["other magic", header().text("PK\x03\x04").u32(3), /not a GGUF file/],
  ["GGML", header().text("tjgg").u32(3), /older ggml format/],
  ["version 1", header().text("GGUF").u32(1), /version 1, expected 2 or 3/],
  ["big-endian", header().text("GGUF").u32(0x03000000), /big-endian/],
  ["hostile tensor count", header().start(2n ** 60n, 0), /claims 11529\d+ tensors/],
  ["hostile key count", header().start(0, 2n ** 63n), /metadata keys, more than/],
  ["truncated key", header().start(0, 1).u64(100n).text("abc"), /metadata key 0 of 1 needs 100 bytes/],
  [
    "string beyond",
    header()
      .start(0, 1)
      .string("k")
      .u32(8)
      .u64(2n ** 62n),
    /metadata key 0 of 1 needs/,
  ],
  [
    "string array beyond",
    header()
      .start(0, 1)
      .string("k")
      .u32(9, 8)
      .u64(2n ** 61n),
    /strings of metadata key 0/,
  ],
  [
    "number array beyond",
    header()
      .start(0, 1)
      .string("k")
      .u32(9, 6)
      .u64(2n ** 61n),
    /values of metadata key 0/,
  ],
  ["nested array", header().start(0, 1).string("k").u32(9, 9).u64(1n), /array of arrays/],
  ["unknown value type", header().start(0, 1).string("k").u32(13), /unknown value type 13/],
  ["boolean 2", header().start(0, 1).string("k").u32(7).text("\x02"), /holds the byte 2 as a boolean/],
  ["empty key", header().start(0, 1).string("").u32(0).text("x"), /key 0 has 0 bytes/],
  ["long key", header().start(0, 1).string("k".repeat(2000)).u32(0).text("x"), /key 0 has 2000 bytes/],
  [
    "key no UTF-8",
    (() => {
      const h = header().start(0, 1).u64(1n);
      h.bytes.push(0xff);
      return h.u32(0).text("x");
    })(),
    /no valid UTF-8/,
  ],
  ["key twice", header().start(0, 2).string("k").u32(0).text("x").string("k").u32(0).text("x"), /"k" occurs twice/],
  ["alignment 0", header().start(0, 1).string("general.alignment").u32(4).u32(0), /general.alignment is 0/],
  ["alignment 24", header().start(0, 1).string("general.alignment").u32(4).u32(24), /general.alignment is 24/],
  ["alignment a text", header().start(0, 1).string("general.alignment").u32(8).string("x"), /general.alignment is x/],
  ["no dimensions", header().start(1, 0).tensor("t", [], 0, 0n).pad(64), /0 dimensions/],
  ["5 dimensions", header().start(1, 0).tensor("t", [1n, 1n, 1n, 1n, 1n], 0, 0n).pad(64), /5 dimensions/],
  ["dimension 0", header().start(1, 0).tensor("t", [0n], 0, 0n).pad(64), /dimension of 0/],
  [
    "dimension 2^63",
    header()
      .start(1, 0)
      .tensor("t", [2n ** 63n], 0, 0n)
      .pad(64),
    /dimension of 922337203685477\d+/,
  ],
  [
    "product overflow",
    header()
      .start(1, 0)
      .tensor("t", [2n ** 32n, 2n ** 32n], 0, 0n)
      .pad(64),
    /impossible shape/,
  ],
  ["unknown dtype", header().start(1, 0).tensor("t", [32n], 99, 0n).pad(64), /"t" has type 99 \(unknown\)/],
  ["removed dtype", header().start(1, 0).tensor("t", [32n], 31, 0n).pad(64), /Q4_0_4_4, removed/],
  [
    "block",
    header().start(1, 0).tensor("t", [48n], 2, 0n).pad(64),
    /rows of 48 weights, no multiple of Q4_0's block of 32/,
  ],
  ["misaligned", header().start(1, 0).tensor("t", [4n], 0, 8n).pad(64), /begins at 8, no multiple of the alignment 32/],
  ["beyond the end", header().start(1, 0).tensor("t", [32n], 0, 0n).pad(64), /ends at byte 192, the file has 128/],
  [
    "far beyond",
    header()
      .start(1, 0)
      .tensor("t", [4n], 0, 2n ** 63n)
      .pad(64),
    /ends at byte 922337203685477\d+/,
  ],
  ["name twice", header().start(2, 0).tensor("t", [4n], 0, 0n).tensor("t", [4n], 0, 32n).pad(64), /"t" occurs twice/],
  ["overlap", header().start(2, 0).tensor("t", [9n], 0, 0n).tensor("u", [4n], 0, 32n).pad(64), /"t" and "u" overlap/],
];

for (const [name, { bytes }, message] of faults) {
  test(`refused: ${name}`, async () => {
    await assert.rejects(readGguf(memorySource("bad.gguf", Uint8Array.from(bytes))), (error: Error) => {
      assert.ok(error instanceof ArtifactError, String(error.stack));
      assert.match(error.message, message);
      assert.match(error.message, /^bad.gguf: /);
      return true;
    });
  });
}

test("a hostile count in a huge file reads and keeps little", async () => {
  const bytes = Uint8Array.from(
    header()
      .start(0, 1)
      .string("k")
      .u32(9, 8)
      .u64(2n ** 30n).bytes,
  );
  let read = 0;
  const source: ByteSource = {
    name: "huge.gguf",
    size: 2 ** 40,
    read: async (offset, length) => {
      read += length;
      const chunk = new Uint8Array(length).fill(255);
      if (offset < bytes.length) chunk.set(bytes.subarray(offset));
      return chunk;
    },
    close: async () => undefined,
  };
  await assert.rejects(readGguf(source), /damaged/);
  assert.ok(read <= 2 ** 20, `${read} bytes were read`);
});

const missing = existsSync(model) ? false : `${model} is missing`;

test("the shared model is written as it was, byte for byte", { skip: missing }, async () => {
  const artifact = await openGguf(model);
  const source = await fileSource(model);
  let offset = 0;
  for await (const chunk of ggufBytes(describeGguf(artifact))) {
    assert.ok(Buffer.from(chunk).equals(await source.read(offset, chunk.byteLength)), `the chunk at ${offset} differs`);
    offset += chunk.byteLength;
  }
  assert.equal(offset, source.size);
  await source.close();
  await artifact.close();
});

test("the shared model: shapes, places, defaults, template", { skip: missing }, async () => {
  const artifact = await openGguf(model);
  assert.equal(artifact.config.architecture, "llama");
  assert.equal(artifact.tensors.size, 272);
  const embedding = artifact.tensors.get("token_embd.weight");
  assert.deepEqual(embedding?.shape, [49152, 576]);
  assert.equal(embedding?.dtype, "Q8_0");
  const last = [...artifact.tensors.values()].reduce((a, b) => (a.offset > b.offset ? a : b));
  assert.equal(last.offset + last.byteLength, last.source.size);
  assert.deepEqual(artifact.generation, { eosTokenIds: [2] });
  assert.match(artifact.chatTemplate ?? "", /im_start/);
  assert.equal(artifact.ggufTypes?.get("tokenizer.ggml.tokens"), "string[]");
  await artifact.close();
});
