import assert from "node:assert/strict";
import test from "node:test";
import { TensorMaker } from "../../test/support/memory-artifact.ts";
import type { MetaObject, ModelArtifact } from "../artifact/artifact.ts";
import { ArtifactError, UnsupportedError } from "../errors.ts";
import type { Graph, GraphNode, KvSpec, NodeOf } from "../graph/graph.ts";
import { ConfigReader } from "./config.ts";
import { modelContext, modelGraph } from "./models.ts";
import { readRope, ropeVariant } from "./rope.ts";

const LLAMA: MetaObject = {
  "llama.block_count": 2,
  "llama.embedding_length": 64,
  "llama.attention.head_count": 4,
  "llama.attention.head_count_kv": 2,
  "llama.feed_forward_length": 96,
  "llama.context_length": 256,
  "llama.attention.layer_norm_rms_epsilon": 1e-5,
};

/** A two-layer Llama in GGUF's words; `shapes` replaces or (undefined) removes tensors. */
function llamaFile(
  values: MetaObject = LLAMA,
  shapes: Readonly<Record<string, readonly number[] | undefined>> = {},
): ModelArtifact {
  const all: Record<string, readonly number[] | undefined> = {
    "token_embd.weight": [100, 64],
    "output_norm.weight": [64],
  };
  for (const i of [0, 1]) {
    Object.assign(all, {
      [`blk.${i}.attn_norm.weight`]: [64],
      [`blk.${i}.attn_q.weight`]: [64, 64],
      [`blk.${i}.attn_k.weight`]: [32, 64],
      [`blk.${i}.attn_v.weight`]: [32, 64],
      [`blk.${i}.attn_output.weight`]: [64, 64],
      [`blk.${i}.ffn_norm.weight`]: [64],
      [`blk.${i}.ffn_gate.weight`]: [96, 64],
      [`blk.${i}.ffn_up.weight`]: [96, 64],
      [`blk.${i}.ffn_down.weight`]: [64, 96],
    });
  }
  Object.assign(all, shapes);
  const maker = new TensorMaker(1);
  for (const [name, shape] of Object.entries(all)) if (shape !== undefined) maker.tensor(name, "F32", shape);
  return { ...maker.artifact(), name: "tiny.gguf", config: { format: "gguf", architecture: "llama", values } };
}

/** The artifact's graph, loaded for its whole context. */
function graphOf(artifact: ModelArtifact, context = 256): ReturnType<typeof modelGraph> {
  return modelGraph(artifact, { context });
}

function nodesOf<O extends GraphNode["op"]>(nodes: readonly GraphNode[], op: O): NodeOf<O>[] {
  return nodes.filter((node): node is NodeOf<O> => node.op === op);
}

function statesOf(graph: Graph): KvSpec[] {
  return graph.states.flatMap((state) => (state.kind === "rows" || state.kind === "recurrent" ? [] : [state]));
}

test("a GGUF Llama becomes a graph with tied embeddings and interleaved rope", async () => {
  const { graph, dtypeOf } = await graphOf(llamaFile());
  assert.equal(graph.name, "llama, 2 layers, 64 wide");
  assert.equal(graph.vocabSize, 100);
  assert.equal(graph.contextLength, 256);
  assert.deepEqual(
    statesOf(graph).map(({ name, kind, kvHeads, keyDim }) => [name, kind, kvHeads, keyDim]),
    [
      ["layer 0", "kv", 2, 16],
      ["layer 1", "kv", 2, 16],
    ],
  );
  assert.equal(nodesOf(graph.nodes, "linear").at(-1)?.weight.name, "token_embd.weight");
  assert.ok(nodesOf(graph.nodes, "rope").every(({ style }) => style === "interleaved"));
  assert.equal(dtypeOf("blk.0.attn_q.weight"), "F32");
});

test("an output matrix of its own is used, and a window where one is set", async () => {
  const values = { ...LLAMA, "llama.attention.sliding_window": 32 };
  const { graph } = await graphOf(llamaFile(values, { "output.weight": [100, 64] }));
  assert.equal(nodesOf(graph.nodes, "linear").at(-1)?.weight.name, "output.weight");
  assert.deepEqual(
    statesOf(graph).map(({ kind, window }) => [kind, window]),
    [
      ["window-kv", 32],
      ["window-kv", 32],
    ],
  );
  const all = await graphOf(llamaFile({ ...values, "llama.attention.sliding_window": 256 }));
  assert.equal(all.graph.states[0]?.kind, "kv", "a window over the whole context is none");
});

test("an unknown architecture names those that are supported", async () => {
  for (const architecture of ["perceiver", "constructor", "__proto__"]) {
    const artifact = { ...llamaFile(), config: { format: "gguf", architecture, values: {} } as const };
    await assert.rejects(graphOf(artifact), (error) => {
      assert.ok(error instanceof UnsupportedError);
      assert.match(error.message, new RegExp(`"${architecture}" is not supported \\(supported: .*gemma3, .*qwen3moe`));
      return true;
    });
  }
});

test("an unknown architecture is told the nearest that is known", async () => {
  const artifact = { ...llamaFile(), config: { format: "gguf", architecture: "gemma5", values: {} } as const };
  await assert.rejects(graphOf(artifact), /"gemma5" is not supported; the nearest is "gemma" \(supported: /);
});

test("a missing tensor and a wrong shape are named with what was expected", async () => {
  const missing = graphOf(llamaFile(LLAMA, { "blk.1.attn_k.weight": undefined }));
  await assert.rejects(
    missing,
    new ArtifactError('tiny.gguf: there is no tensor "blk.1.attn_k.weight", expected one of shape [32, 64]'),
  );
  const wrong = graphOf(llamaFile(LLAMA, { "blk.1.ffn_down.weight": [64, 95] }));
  await assert.rejects(
    wrong,
    new ArtifactError('tiny.gguf: tensor "blk.1.ffn_down.weight" has the shape [64, 95], expected [64, 96]'),
  );
});

test("missing and senseless settings are ArtifactErrors that name the key", async () => {
  const cases: readonly [MetaObject, RegExp][] = [
    [{ "llama.block_count": undefined }, /config "llama\.block_count" is missing, expected a positive whole number/],
    [{ "llama.block_count": 0 }, /"llama\.block_count" is 0/],
    [{ "llama.block_count": 2 ** 31 - 1 }, /"llama\.block_count" is 2147483647, expected at most 4096/],
    [{ "llama.block_count": 3 }, /there is no tensor "blk\.2\.attn_norm\.weight"/],
    [{ "llama.attention.head_count": "four" }, /"llama\.attention\.head_count" is "four"/],
    [{ "llama.attention.head_count_kv": 3 }, /4 heads can't share 3/],
    [{ "llama.attention.head_count_kv": [2, 1] }, /"llama\.attention\.head_count_kv" is \[2,1\]/],
    [{ "llama.attention.key_length": 2 ** 30 }, /"llama\.attention\.key_length" is 1073741824, expected at most 4096/],
    [{ "llama.rope.freq_base": -1 }, /"llama\.rope\.freq_base" is -1/],
    [{ "llama.rope.scaling.type": "spiral" }, /"llama\.rope\.scaling\.type" is "spiral", expected none, linear, yarn/],
    [{ "llama.embedding_length": 10n ** 20n }, /"llama\.embedding_length" is 1/],
  ];
  for (const [change, message] of cases) {
    await assert.rejects(graphOf(llamaFile({ ...LLAMA, ...change })), (error) => {
      assert.ok(error instanceof ArtifactError, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
});

test("counts that a file gives for each layer are taken where all are equal", async () => {
  const values = { ...LLAMA, "llama.attention.head_count_kv": Int32Array.of(2, 2), "llama.context_length": 256n };
  const { graph } = await graphOf(llamaFile(values));
  assert.equal(statesOf(graph)[0]?.kvHeads, 2);
});

test("Hugging Face's rope settings read the same from transformers 4 and 5", async () => {
  const scaling = {
    rope_type: "llama3",
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  const config = (values: MetaObject): ModelArtifact => ({
    ...llamaFile(),
    config: { format: "hf", architecture: "llama", values },
  });
  const settings = { headDim: 64, style: "half", contextLength: 131072, context: 131072 } as const;
  const read = (artifact: ModelArtifact): ReturnType<typeof readRope> =>
    readRope(artifact, new ConfigReader(artifact), settings);
  const old = await read(config({ rope_theta: 500000, rope_scaling: scaling }));
  const now = await read(config({ rope_parameters: { ...scaling, rope_theta: 500000 } }));
  assert.deepEqual(old, now);
  const { frequencies } = old;
  // Short wavelengths stay, long ones are stretched by the factor (Llama 3.1's published constants).
  assert.equal(frequencies[0], 1);
  assert.ok(Math.abs((frequencies[31] ?? 0) / (500000 ** (-62 / 64) / 8) - 1) < 1e-6);
  await assert.rejects(read(config({ rope_scaling: { type: "spiral", factor: 2 } })), UnsupportedError);
  await assert.rejects(read(config({ rope_scaling: { type: "linear" } })), /a factor for the rope type "linear"/);
});

test("LongRoPE takes its factors by the context that the model is loaded for", async () => {
  const rope = { rope_type: "longrope", short_factor: [1, 1], long_factor: [2, 4], rope_theta: 100 };
  const values = { original_max_position_embeddings: 1024, rope_parameters: rope };
  const artifact: ModelArtifact = { ...llamaFile(), config: { format: "hf", architecture: "phi3", values } };
  const config = new ConfigReader(artifact);
  const read = (context: number): ReturnType<typeof readRope> =>
    readRope(artifact, config, { headDim: 4, style: "half", contextLength: 8192, context });
  const [short, long] = [await read(1024), await read(1025)];
  assert.deepEqual([...short.frequencies], [1, Math.fround(0.1)]);
  assert.deepEqual([...long.frequencies], [0.5, Math.fround(0.025)]);
  // √(1 + ln 8 / ln 1024), by the length that the model was made for, in both.
  assert.equal(short.magnitude, Math.sqrt(1.3));
  assert.equal(long.magnitude, short.magnitude);
  assert.equal(ropeVariant(artifact, config, 1024), "rope-short");
  assert.equal(ropeVariant(artifact, config, 1025), "rope-long");
});

test("NTK-aware scaling stretches for the context that the model is loaded for, and a profile can name it", async () => {
  const values = { max_position_embeddings: 1000, rope_theta: 100, rope_scaling: { type: "dynamic", factor: 2 } };
  const artifact: ModelArtifact = { ...llamaFile(), config: { format: "hf", architecture: "internlm2", values } };
  const config = new ConfigReader(artifact);
  const read = (context: number): ReturnType<typeof readRope> =>
    readRope(artifact, config, { headDim: 6, style: "half", contextLength: 1000, context });
  const plain = [1, 100 ** (-1 / 3), 100 ** (-2 / 3)];
  assert.deepEqual([...(await read(1000)).frequencies], plain.map(Math.fround));
  assert.equal(ropeVariant(artifact, config, 1000), undefined);
  // The base grows to 100 · (2·3 − 1)^(6/4): the last pair turns 5 times slower.
  const grown = 100 * 5 ** 1.5;
  assert.deepEqual([...(await read(3000)).frequencies], [1, grown ** (-1 / 3), grown ** (-2 / 3)].map(Math.fround));
  assert.equal(ropeVariant(artifact, config, 3000), "rope-dynamic-3000");
});

test("modelGraph names what the context decided", async () => {
  assert.equal((await graphOf(llamaFile())).variant, undefined);
  assert.equal(modelContext(llamaFile()), 256);
});
