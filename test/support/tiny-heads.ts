/** Drafting heads with random weights for tiny models (tiny-models.ts): GGUF's names and keys, one of each kind. */
import type { MetaValue, ModelArtifact } from "../../src/artifact/artifact.ts";
import type { HeadMethod } from "../../src/models/heads/heads.ts";
import { TensorMaker } from "./memory-artifact.ts";

/** Of tinyModel's sizes. */
const WIDTH = 512;
const HIDDEN = 128;
const HEADS = 4;
const KV_HEADS = 2;
const HEAD_DIM = 64;

export const RECURRENT_HEADS = ["eagle", "eagle2", "eagle3", "mtp"] as const satisfies readonly HeadMethod[];
type RecurrentHead = (typeof RECURRENT_HEADS)[number];

export function tinyHead(method: RecurrentHead, seed: number): ModelArtifact {
  const architecture = method === "eagle2" ? "eagle" : method;
  const maker = new TensorMaker(seed);
  const matrix = (name: string, rows: number, columns: number): void =>
    void maker.q8(`${name}.weight`, [rows, columns], 1 / Math.sqrt(columns));
  const norm = (name: string): void => void maker.tensor(`${name}.weight`, "F32", [WIDTH], 0.1, 1);
  const input = method === "eagle3" ? 2 * WIDTH : WIDTH;
  if (method === "eagle3") for (const name of ["blk.0.hidden_norm", "output_norm"]) norm(name);
  if (method === "mtp") for (const name of ["enorm", "hnorm", "shared_head_norm"]) norm(`blk.0.nextn.${name}`);
  if (architecture !== "eagle") norm("blk.0.attn_norm");
  matrix(method === "mtp" ? "blk.0.nextn.eh_proj" : "fc", WIDTH, 2 * WIDTH);
  matrix("blk.0.attn_q", HEADS * HEAD_DIM, input);
  matrix("blk.0.attn_k", KV_HEADS * HEAD_DIM, input);
  matrix("blk.0.attn_v", KV_HEADS * HEAD_DIM, input);
  matrix("blk.0.attn_output", WIDTH, HEADS * HEAD_DIM);
  norm("blk.0.ffn_norm");
  matrix("blk.0.ffn_gate", HIDDEN, WIDTH);
  matrix("blk.0.ffn_up", HIDDEN, WIDTH);
  matrix("blk.0.ffn_down", WIDTH, HIDDEN);
  const keys: Record<string, MetaValue> = {
    block_count: 1,
    context_length: 1024,
    embedding_length: WIDTH,
    feed_forward_length: HIDDEN,
    "attention.head_count": HEADS,
    "attention.head_count_kv": KV_HEADS,
    "attention.key_length": HEAD_DIM,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.dimension_count": HEAD_DIM,
    "rope.freq_base": 10_000,
    // Two of a tiny model's two layers.
    ...(method === "eagle3" && { extract_layers: [1, 2] }),
  };
  const values = Object.fromEntries(Object.entries(keys).map(([key, value]) => [`${architecture}.${key}`, value]));
  return { ...maker.artifact(), name: `tiny ${method}`, config: { format: "gguf", architecture, values } };
}
