/**
 * Drafting heads compute what their PyTorch form computes (recipes/heads/fixtures.py), over a tiny model with seeded weights,
 * on every backend: behind the model's own vectors, then behind their own, by GGUF's names and by those of the public files.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import type { MetaValue, ModelArtifact } from "../src/artifact/artifact.ts";
import type { Backend } from "../src/backend/contract.ts";
import { builtinDraftPath } from "../src/artifact/node-builtin.ts";
import { groupStates } from "../src/backend/groups.ts";
import { ProgramRunner } from "../src/backend/program-runner.ts";
import { headPrefix, withHeads } from "../src/engine/drafting-models.ts";
import { load } from "../src/index.ts";
import { HEADS } from "../src/models/heads/heads.ts";
import { withFeatures } from "../src/models/heads/target.ts";
import { modelGraph } from "../src/models/models.ts";
import { openBackends } from "./support/backends.ts";
import { TensorMaker } from "./support/memory-artifact.ts";
import { seededValues } from "./support/seeded.ts";

const KINDS = ["eagle", "eagle3", "mtp"] as const;
type Kind = (typeof KINDS)[number];
/** By recipes/heads/fixtures.py: a model 128 wide of four layers, and heads with eight heads of attention. */
const [WIDTH, LAYERS, VOCAB, INNER, HEAD_DIM] = [128, 4, 64, 96, 64];
const SPREAD = 36.95;
/** Of the largest logit. */
const LIMIT = 1e-5;

interface Fixture {
  readonly tokens: readonly number[];
  readonly first: readonly (readonly number[])[];
  readonly chain: readonly (readonly number[])[];
}

const backends = await openBackends();
after(async () => {
  await Promise.all(backends.map((backend) => backend.close()));
});

/** Adds a tensor with the values of the recipe's parameter; `reorder`: its rows in another order. */
function add(
  maker: TensorMaker,
  fixture: string,
  parameter: string,
  name: string,
  shape: number[],
  order?: number[],
): void {
  const columns = shape.at(-1) ?? 1;
  const exponent = parameter === "emb" ? -5 : Math.round(Math.log2(1.4 / Math.sqrt(columns) / SPREAD));
  const values = seededValues(fixture, parameter, shape.length === 1 ? [shape, 1, -7] : [shape, 0, exponent]);
  const rows = order?.flatMap((row) => [...values.subarray(row * columns, (row + 1) * columns)]);
  maker.values(`${name}.weight`, "F32", shape, rows ?? values);
}

function artifact(
  maker: TensorMaker,
  name: string,
  format: "gguf" | "hf",
  keys: Record<string, MetaValue>,
): ModelArtifact {
  const values = Object.fromEntries(
    Object.entries(keys).map(([key, value]) => [format === "gguf" ? `${name}.${key}` : key, value]),
  );
  return { ...maker.artifact(), name, config: { format, architecture: name, values } };
}

function target(): ModelArtifact {
  const maker = new TensorMaker(1);
  const own = (parameter: string, name: string, ...shape: number[]): void =>
    add(maker, "heads target", parameter, name, shape);
  own("emb", "token_embd", VOCAB, WIDTH);
  own("norm", "output_norm", WIDTH);
  for (let i = 0; i < LAYERS; i++) {
    const part = (parameter: string, name: string, ...shape: number[]): void =>
      own(`blocks.${i}.${parameter}`, `blk.${i}.${name}`, ...shape);
    part("n1", "attn_norm", WIDTH);
    part("q", "attn_q", 2 * HEAD_DIM, WIDTH);
    part("k", "attn_k", HEAD_DIM, WIDTH);
    part("v", "attn_v", HEAD_DIM, WIDTH);
    part("o", "attn_output", WIDTH, 2 * HEAD_DIM);
    part("n2", "ffn_norm", WIDTH);
    part("gate", "ffn_gate", INNER, WIDTH);
    part("up", "ffn_up", INNER, WIDTH);
    part("down", "ffn_down", WIDTH, INNER);
  }
  return artifact(maker, "llama", "gguf", {
    block_count: LAYERS,
    context_length: 128,
    embedding_length: WIDTH,
    feed_forward_length: INNER,
    "attention.head_count": 2,
    "attention.head_count_kv": 1,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.dimension_count": HEAD_DIM,
    "rope.freq_base": 10_000,
  });
}

/** GGUF's names of a head's parts, and those of the public files. */
const NAMES: Readonly<Record<Kind, Readonly<Record<string, readonly [gguf: string, hf: string]>>>> = {
  eagle: { fc: ["fc", "fc"] },
  eagle3: {
    fc: ["fc", "fc"],
    n_token: ["blk.0.attn_norm", "midlayer.input_layernorm"],
    n_hidden: ["blk.0.hidden_norm", "midlayer.hidden_norm"],
    n_out: ["output_norm", "norm"],
  },
  mtp: {
    fc: ["blk.0.nextn.eh_proj", "layers.0.eh_proj"],
    n_token: ["blk.0.nextn.enorm", "layers.0.enorm"],
    n_hidden: ["blk.0.nextn.hnorm", "layers.0.hnorm"],
    n1: ["blk.0.attn_norm", "layers.0.input_layernorm"],
    n_out: ["blk.0.nextn.shared_head_norm", "layers.0.shared_head.norm"],
  },
};

function head(kind: Kind, format: "gguf" | "hf"): ModelArtifact {
  const maker = new TensorMaker(1);
  const at = format === "gguf" ? 0 : 1;
  const layer = kind === "eagle3" ? "midlayer" : "layers.0";
  const own = (parameter: string, names: readonly [string, string], shape: number[], order?: number[]): void =>
    add(maker, `heads ${kind}`, parameter, names[at], shape, order);
  const wide = kind === "eagle3" ? 2 * WIDTH : WIDTH;
  for (const [parameter, names] of Object.entries(NAMES[kind]))
    own(parameter, names, parameter === "fc" ? [WIDTH, (kind === "eagle3" ? 3 : 2) * WIDTH] : [WIDTH]);
  own("layer.q", ["blk.0.attn_q", `${layer}.self_attn.q_proj`], [8 * HEAD_DIM, wide], halves(8, format));
  own("layer.k", ["blk.0.attn_k", `${layer}.self_attn.k_proj`], [2 * HEAD_DIM, wide], halves(2, format));
  own("layer.v", ["blk.0.attn_v", `${layer}.self_attn.v_proj`], [2 * HEAD_DIM, wide]);
  own("layer.o", ["blk.0.attn_output", `${layer}.self_attn.o_proj`], [WIDTH, 8 * HEAD_DIM]);
  own("layer.n2", ["blk.0.ffn_norm", `${layer}.post_attention_layernorm`], [WIDTH]);
  own("layer.gate", ["blk.0.ffn_gate", `${layer}.mlp.gate_proj`], [1024, WIDTH]);
  own("layer.up", ["blk.0.ffn_up", `${layer}.mlp.up_proj`], [1024, WIDTH]);
  own("layer.down", ["blk.0.ffn_down", `${layer}.mlp.down_proj`], [WIDTH, 1024]);
  if (format === "hf")
    return artifact(maker, kind, format, {
      num_hidden_layers: 1,
      max_position_embeddings: 128,
      hidden_size: WIDTH,
      intermediate_size: 1024,
      num_attention_heads: 8,
      num_key_value_heads: 2,
      head_dim: HEAD_DIM,
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
      hidden_act: "silu",
      eagle_aux_hidden_state_layer_ids: [1, 2, 4],
    });
  return artifact(maker, kind, format, {
    block_count: 1,
    context_length: 128,
    embedding_length: WIDTH,
    feed_forward_length: 1024,
    "attention.head_count": 8,
    "attention.head_count_kv": 2,
    "attention.key_length": HEAD_DIM,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.dimension_count": HEAD_DIM,
    "rope.freq_base": 10_000,
    extract_layers: [1, 2, 4],
  });
}

/** Rows in the order of Hugging Face's rope, which turns column i with i + 32, not with its neighbour. */
function halves(heads: number, format: "gguf" | "hf"): number[] | undefined {
  if (format === "gguf") return undefined;
  const half = HEAD_DIM / 2;
  return Array.from({ length: heads * HEAD_DIM }, (_, row) => {
    const [head, i] = [Math.floor(row / HEAD_DIM), row % HEAD_DIM];
    return head * HEAD_DIM + (i < half ? 2 * i : 2 * (i - half) + 1);
  });
}

async function open(backend: Backend, kind: Kind, format: "gguf" | "hf"): Promise<readonly ProgramRunner[]> {
  const model = target();
  const files = head(kind, format);
  const both = withHeads(model, [{ artifact: files, method: kind }]);
  const { graph } = await modelGraph(both, { context: 128 });
  const parts = { target: graph, head: files, both, prefix: headPrefix(0), context: 128 };
  const { graph: drafting, features } = await HEADS[kind](parts);
  const writing = withFeatures(graph, features);
  const groups = groupStates([writing, drafting], "f32");
  const compiled = { kv: "f32", context: 64, outputs: ["logits"] } as const;
  const lowered = [backend.lower(writing, both, groups), backend.lower(drafting, both, groups)];
  const more = { outputs: ["logits", "feature"], inputs: ["feature"], maxInputRows: 8 };
  return ProgramRunner.open(backend, lowered, compiled, [{}, more]);
}

function difference(got: Float32Array, wanted: readonly (readonly number[])[]): number {
  assert.equal(got.length, wanted.flat().length);
  const largest = Math.max(...wanted.flat().map(Math.abs));
  return Math.max(...wanted.flat().map((value, i) => Math.abs(value - (got[i] ?? Number.NaN)))) / largest;
}

for (const kind of KINDS) {
  for (const backend of backends) {
    for (const format of ["gguf", "hf"] as const) {
      test(`${kind} by ${format}'s names on ${backend.name} has PyTorch's logits`, async () => {
        const file = new URL(`fixtures/heads/${kind}.json`, import.meta.url);
        const { tokens, first, chain } = JSON.parse(readFileSync(file, "utf8")) as Fixture;
        const [model, drafting] = await open(backend, kind, format);
        assert.ok(model !== undefined && drafting !== undefined);
        await model.step([{ sequence: 0, tokens }]);
        // Row i has the token of place i + 1. The chain begins at the last row that has one, less what is ahead of it.
        const base = tokens.length - 2 - chain.length;
        const known = tokens.slice(1, base + 2);
        const behind = await drafting.step([{ sequence: 0, tokens: known }], {
          logits: [...first.keys(), base],
          named: { feature: [base] },
        });
        const split = first.length * VOCAB;
        assert.ok(difference(behind.logits.subarray(0, split), first) <= LIMIT);
        let logits: Float32Array = behind.logits.slice(split);
        let feature = behind.outputs[1];
        for (const [k, wanted] of chain.entries()) {
          assert.ok(difference(logits, [wanted]) <= LIMIT, `depth ${k}: ${difference(logits, [wanted])}`);
          assert.ok(feature !== undefined);
          const next = await drafting.step(
            [{ sequence: 0, tokens: [tokens[base + 2 + k] ?? 0], inputs: { feature: new Map([[0, feature]]) } }],
            { logits: [0], named: { feature: [0] } },
          );
          [logits, feature] = [next.logits, next.outputs[1]];
        }
        await drafting.close();
        await model.close();
      });
    }
  }
}

test("the built-in model's head guesses most of its tokens; in trees more than in chains", async () => {
  const ask = { temperature: 0, maxTokens: 80 } as const;
  const question = [{ role: "user", content: "Tell me a short story about a lighthouse." }] as const;
  const perStep: number[] = [];
  let answer: readonly number[] = [];
  for (const tree of [16, 24]) {
    await using llm = await load(undefined, { context: 512, speculation: { drafter: "mtp", tree } });
    const plain = await llm.chat([...question], { ...ask, speculation: "off" });
    const drafted = await llm.chat([...question], { ...ask, speculation: { drafter: "mtp", depth: 4, tree } });
    assert.deepEqual(drafted.tokens, plain.tokens);
    perStep.push(drafted.timings.tokensPerStep);
    answer = plain.tokens;
  }
  assert.ok(answer.length > 40);
  const [chains = 0, trees = 0] = perStep;
  assert.ok(chains > 1.4 && trees > chains, perStep.join());
});

test("a head that fits no model is refused by name", async () => {
  const mtp = builtinDraftPath("mtp");
  assert.ok(mtp !== undefined);
  await assert.rejects(
    load(undefined, { speculation: { drafter: "eagle3", model: mtp } }),
    /a head of the kind "mtp", not "eagle3"/,
  );
  await assert.rejects(load(undefined, { speculation: "eagle3" }), /"eagle3" needs its head/);
});
