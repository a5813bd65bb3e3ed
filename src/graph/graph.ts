/**
 * The graph: what one forward step computes, as a list of nodes in order of evaluation. A value is the output
 * of a node and holds one row for each token of the step, `[T, width]`; nothing here knows how many rows there
 * are, which backend runs it, or what a request is. `models/` builds plain graphs, `passes.ts` rewrites them, a
 * backend's lowering turns a plain graph into a lowered one (the same nodes and the ops marked "lowered").
 */
import type { Tensor } from "../artifact/artifact.ts";

/** The index of the node that computes the value. */
export type Value = number;

/** Rows of one stored tensor. Stacked experts `[E, N, K]` count as `E·N` rows. */
export interface WeightPart {
  readonly tensor: string;
  /** The tensor itself, where it isn't stored but computed (constants of a formula); `tensor` is its name. */
  readonly made?: Tensor;
  /** Which of the matrices of a tensor `[E, …, …]`; its rows are counted from 0 then. */
  readonly slice?: number;
  /** First row and number of rows; all of the tensor's rows where absent. */
  readonly rowStart?: number;
  readonly rowCount?: number;
  /** The file holds the matrix as `[K, N]` (GPT-2's Conv1D in safetensors): rows are those of the file, all K of them. */
  readonly transpose?: boolean;
}

/**
 * A weight as the graph sees it: rows of one or several stored tensors, one after another. Shapes: a vector
 * `[K]`, a matrix `[N, K]`, or stacked experts `[E, N, K]`.
 */
export interface WeightRef {
  /** Unique in the graph: weights of equal name are one (tied embeddings). */
  readonly name: string;
  readonly shape: readonly number[];
  readonly parts: readonly WeightPart[];
}

export type Activation = "silu" | "gelu" | "geluTanh" | "relu" | "sigmoid" | "softplus" | "exp" | "identity";

/**
 * How a gate and what it gates become one: activation(g) · u, or gpt-oss's `clampedSwiglu`
 * g' σ(1.702 g') · (u' + 1), where g' = min(g, 7) and u' is u between −7 and 7.
 */
export type GateKind = Activation | "clampedSwiglu";

/** What `columnScale` makes of its weights: w, −eʷ, 1 − w. */
export type ColumnFactor = "weight" | "negativeExp" | "oneMinus";

/** What a layer remembers. Graphs that name the same state share it. */
export type StateSpec = KvSpec | RowsSpec | RecurrentSpec;

/**
 * `kv`: keys and values of all positions; `window-kv`: of the last `window` positions (the position itself included);
 * `latent-kv`: one key for all heads, whose first `valueDim` columns are the value too (`kvHeads` is 1).
 */
export interface KvSpec {
  readonly name: string;
  readonly kind: "kv" | "window-kv" | "latent-kv";
  readonly kvHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly window?: number;
}

/**
 * A row of f32 values for each position, or for the last `window` of them: features that another graph reads, what a
 * convolution looks back at, what came into a scan since the last border.
 */
export interface RowsSpec {
  readonly name: string;
  readonly kind: "rows";
  readonly width: number;
  readonly window?: number;
}

/** Rows of its history that a scan may look back at: those since the border before the last one. */
export const HISTORY_PLACES = 128;

/** What a scan has come to at borders (every 64 positions), f32; what came in since is a state of kind `rows`. */
export interface RecurrentSpec {
  readonly name: string;
  readonly kind: "recurrent";
  readonly width: number;
}

export type MatrixScanInputs =
  | readonly [r: Value, w: Value, k: Value, v: Value]
  | readonly [r: Value, w: Value, k: Value, v: Value, a: Value, b: Value];

/** How rows attend to what a state holds. A place is a key's position, unless drafts are in play (see the step plan). */
export interface AttendOptions {
  /** An index into `graph.states`. */
  readonly state: number;
  readonly heads: number;
  readonly scale: number;
  /** cap · tanh(x / cap) on the scores, where set (Gemma 2). */
  readonly softcap?: number;
  /** `[heads]`: e^sink is added to the sum that weights are divided by (gpt-oss; Xiao et al. 2024). */
  readonly sinks?: WeightRef;
  /** `[heads]` f32 values: slope · |key's place − row's place| is taken from the scaled scores (ALiBi, Press et al. 2022). */
  readonly slopes?: Float32Array;
  /**
   * `[heads, 2 · reach + 1]` f32 values: what is added to a head's scaled scores where the key's place − the row's place is
   * −reach … reach, or beyond (relative positions, Raffel et al. 2020).
   */
  readonly distances?: Float32Array;
  /** A row sees its own chunk of so many places only (Llama 4). */
  readonly chunk?: number;
  /** A row sees so many places behind its own at most (encoders with windows). */
  readonly ahead?: number;
}

export type GraphNode =
  /**
   * The rows of `weight` `[V, d]` that the step's token ids name, times `scale`. Ids may carry a segment (BERT's token
   * types), as id + segment · `segments.size`: the rows are named by the one part or the other.
   */
  | {
      readonly op: "embed";
      readonly inputs: readonly [];
      readonly weight: WeightRef;
      readonly scale?: number;
      readonly segments?: { readonly size: number; readonly by: "id" | "segment" };
    }
  /** The rows of `weight` `[P, d]` that the tokens' positions name (learned positions). */
  | { readonly op: "positionEmbed"; readonly inputs: readonly []; readonly weight: WeightRef }
  /** x; where the plan gives rows of the input `name` (soft tokens, an image), those in its place. */
  | { readonly op: "input"; readonly inputs: readonly [Value]; readonly name: string }
  /** x Wᵀ + bias: `[T, K]` → `[T, N]`. */
  | { readonly op: "linear"; readonly inputs: readonly [Value]; readonly weight: WeightRef; readonly bias?: WeightRef }
  /** Each head's columns by a matrix of their own: x `[T, H·K]`, weight `[H, N, K]` → `[T, H·N]`. */
  | { readonly op: "headLinear"; readonly inputs: readonly [Value]; readonly weight: WeightRef }
  /** For each of `heads`: its columns of the first input, then those of the second. */
  | { readonly op: "concat"; readonly inputs: readonly [Value, Value]; readonly heads: number }
  /**
   * x / rms(x) · (weight + weightOffset), over each group of `groupSize` columns by itself: the whole width, or
   * a head (QK norm; `weight` is `[groupSize]` then). Without a weight nothing is multiplied. Zhang & Sennrich 2019.
   */
  | {
      readonly op: "rmsNorm";
      readonly inputs: readonly [Value];
      readonly weight?: WeightRef;
      readonly weightOffset: 0 | 1;
      readonly eps: number;
      readonly groupSize: number;
    }
  /**
   * (x − mean x) / √(var x + eps) · (weight + weightOffset) + bias, over the whole width, or each group of `groupSize`
   * columns by itself (Wu & He 2018); `weight` and `bias` are `[groupSize]`, and without a weight neither is applied (OLMo).
   * Ba et al. 2016.
   */
  | {
      readonly op: "layerNorm";
      readonly inputs: readonly [Value];
      readonly groupSize: number;
      readonly weight?: WeightRef;
      readonly weightOffset: 0 | 1;
      readonly bias?: WeightRef;
      readonly eps: number;
    }
  /**
   * Rotary position embedding (Su et al. 2021) on each head's first `2·frequencies.length` columns. `half` pairs
   * column i with i + n/2 (Hugging Face), `interleaved` pairs 2i with 2i+1 (GGUF's "llama"). The angle is
   * position · frequency; cos and sin are multiplied by `magnitude` (1 unless a scaling says so).
   */
  | {
      readonly op: "rope";
      readonly inputs: readonly [Value];
      readonly headDim: number;
      readonly style: "half" | "interleaved";
      /** Radians per position, f32 values. */
      readonly frequencies: Float32Array;
      readonly magnitude: number;
    }
  /**
   * Attention with grouped queries: q `[T, heads·keyDim]`, k `[T, kvHeads·keyDim]`, v `[T, kvHeads·valueDim]` →
   * `[T, heads·valueDim]`. Writes k and v into the state, then reads all keys that the plan lets a row see from there:
   * softmax(softcap(scale · q kᵀ)) v.
   */
  | ({ readonly op: "attention"; readonly inputs: readonly [Value, Value, Value] } & AttendOptions)
  /**
   * The same over a `latent-kv` state, which holds k `[T, keyDim]` alone: q `[T, heads·keyDim]` → `[T, heads·valueDim]`
   * (DeepSeek-AI 2024, with the matrices of keys and values absorbed into those of queries and outputs).
   */
  | ({ readonly op: "latentAttention"; readonly inputs: readonly [Value, Value] } & AttendOptions)
  /** Writes the rows into a state of kind `rows`. Its output is empty (width 0). */
  | { readonly op: "writeRows"; readonly inputs: readonly [Value]; readonly state: number }
  /**
   * What a state of kind `rows` holds `back` places before the row's own, zeros before the first place. The rows that
   * this step writes there were written before.
   */
  | { readonly op: "readRows"; readonly inputs: readonly []; readonly state: number; readonly back: number }
  /**
   * Each column's causal convolution with K weights of its own: y(p) = bias + Σⱼ weightⱼ · x(p − K + 1 + j), x before the
   * first place being 0. `weight` `[d · K]`: a column's K weights side by side. Writes x into `state` (of kind `rows`).
   */
  | {
      readonly op: "conv";
      readonly inputs: readonly [Value];
      readonly weight: WeightRef;
      readonly bias?: WeightRef;
      readonly state: number;
    }
  /**
   * Linear attention with decay, a matrix S of keyDim × valueDim for each of `heads` heads: with q, k
   * `[T, keyHeads · keyDim]`, which heads share in groups, v `[T, heads · valueDim]`, g (the logarithm of the decay) and β
   * `[T, heads]`,
   *   S(p) = eᵍ S(p − 1) + k uᵀ,  y(p) = S(p)ᵀ q  `[T, heads · valueDim]`,
   * where u = β v (SSD, Dao & Gu 2024), or with `delta` β (v − (eᵍ S(p − 1))ᵀ k) (gated delta rule, Yang et al. 2024).
   * From the border b at or before p it is computed as one sum, in prefill and decode alike:
   *   S(p)ᵀ q = e^G(p) S(b)ᵀ q + Σ over the places s from b on of e^(G(p) − G(s)) (q · k(s)) u(s), G = Σ g since b.
   * `history` (rows of k, u and G) holds these places, `state` S at borders, `[heads, keyDim, valueDim]`.
   */
  | {
      readonly op: "scan";
      readonly inputs: readonly [q: Value, k: Value, v: Value, g: Value, beta: Value];
      readonly heads: number;
      readonly keyHeads: number;
      readonly delta: boolean;
      readonly state: number;
      readonly history: number;
    }
  /**
   * Selective state spaces (Mamba, Gu & Dao 2023): for each of d columns a state h of N values. With dt and x `[T, d]`, B and
   * C `[T, N]`, and A (what `factor` makes of `weight` `[d · N]`, a column's N side by side),
   *   h(p) = e^(dt A) h(p − 1) + dt x B,  y(p) = Σ h(p) C  `[T, d]`.
   * A row goes through the places since its border one by one. `history` holds dt, x and B of these, `state` `[d, N]` at
   * borders.
   */
  | {
      readonly op: "selectiveScan";
      readonly inputs: readonly [dt: Value, x: Value, b: Value, c: Value];
      readonly weight: WeightRef;
      readonly factor: ColumnFactor;
      readonly state: number;
      readonly history: number;
    }
  /**
   * RWKV-4's weighted average over all places before, decaying, and the row's own with a bonus u (Peng et al. 2023), for
   * each of d columns of k and v; w is what `factor` makes of `decay`, u `bonus`, both `[d]`:
   *   y(p) = (Σₛ e^((p − s − 1) w + k(s)) v(s) + e^(u + k(p)) v(p)) / the same without v.
   * `history` holds k and v of the places since the border, `state` at borders, for each 16 columns, numerators,
   * denominators and the exponents that both are scaled by.
   */
  | {
      readonly op: "wkv";
      readonly inputs: readonly [k: Value, v: Value];
      readonly decay: WeightRef;
      readonly factor: ColumnFactor;
      readonly bonus: WeightRef;
      readonly state: number;
      readonly history: number;
    }
  /**
   * Linear attention whose memory forgets each key column by itself, and may take back what it holds: a matrix S of
   * keyDim × valueDim for each of `heads` heads. With r, w (what a column keeps), k `[T, heads · keyDim]`, v
   * `[T, heads · valueDim]`, and, where there are six inputs, a and b `[T, heads · keyDim]`,
   *   S(p) = diag(w) S(p − 1) + b (aᵀ S(p − 1)) + k vᵀ,  y(p) = S(p)ᵀ r  `[T, heads · valueDim]`,
   * or with a `bonus` u `[heads · keyDim]` y(p) = (S(p − 1) + diag(u) k vᵀ)ᵀ r (RWKV-6 and 7, Peng et al. 2024 and 2025; GLA,
   * Yang et al. 2023; Kimi delta attention, Kimi Team 2025). A row goes through the places since its border one by one.
   * `history` holds w, k, v, a and b of these, `state` S at borders.
   */
  | {
      readonly op: "matrixScan";
      readonly inputs: MatrixScanInputs;
      readonly heads: number;
      readonly bonus?: WeightRef;
      readonly state: number;
      readonly history: number;
    }
  /** x + weight, a value for each column. */
  | { readonly op: "bias"; readonly inputs: readonly [Value]; readonly weight: WeightRef }
  /** Columns in another order: y[i] = x[columns[i]]. */
  | { readonly op: "pick"; readonly inputs: readonly [Value]; readonly columns: Int32Array }
  /** Column i · factor(weight[⌊i · n / columns⌋]), n weights for equal runs of columns: w, −eʷ or 1 − w. */
  | {
      readonly op: "columnScale";
      readonly inputs: readonly [Value];
      readonly weight: WeightRef;
      readonly factor: ColumnFactor;
    }
  /**
   * Lowered: y + s · B A x on the rows of sequences whose adapter changes the weight, for a linear x → y (LoRA, Hu et al.
   * 2021); where the adapter has gains g, the sum less the bias times g, and the bias again (DoRA, Liu et al. 2024).
   * Other rows are y, to the bit.
   */
  | {
      readonly op: "lora";
      readonly inputs: readonly [y: Value, x: Value];
      readonly weight: WeightRef;
      readonly bias?: WeightRef;
    }
  /** activation(gate) · up. A gate of one column multiplies all of them. */
  | { readonly op: "gate"; readonly inputs: readonly [Value, Value]; readonly activation: GateKind }
  | { readonly op: "activation"; readonly inputs: readonly [Value]; readonly activation: Activation }
  | { readonly op: "add"; readonly inputs: readonly [Value, Value] }
  | { readonly op: "scale"; readonly inputs: readonly [Value]; readonly factor: number }
  /** x, between −limit and limit. */
  | { readonly op: "clamp"; readonly inputs: readonly [Value]; readonly limit: number }
  | { readonly op: "softcap"; readonly inputs: readonly [Value]; readonly cap: number }
  /** Columns `start .. start + width`. */
  | { readonly op: "slice"; readonly inputs: readonly [Value]; readonly start: number; readonly width: number }
  /** x · factors[⌊(position + offset) / every⌋], the last factor for whatever is beyond (attention temperature, Llama 4). */
  | {
      readonly op: "positionScale";
      readonly inputs: readonly [Value];
      readonly every: number;
      readonly offset: number;
      /** f32 values. */
      readonly factors: Float32Array;
    }
  /**
   * Routes each row to experts: logits `[T, E]` → `[T, 2·topK]`, the chosen experts' ids in ascending order, then their
   * shares. s is the softmax or the sigmoid of the logits; the `topK` experts with the largest s + bias are chosen (the
   * lower id first among equals), with `groups` only from those `kept` of `count` equal groups whose largest s + bias, or
   * whose two largest together, are largest (DeepSeek-AI 2024). A share is s, divided by the sum of the chosen ones' where
   * `normalize`, times `factor`.
   */
  | {
      readonly op: "route";
      readonly inputs: readonly [Value];
      readonly topK: number;
      readonly scores: "softmax" | "sigmoid";
      readonly bias?: WeightRef;
      readonly groups?: { readonly count: number; readonly kept: number; readonly by: "largest" | "two largest" };
      readonly normalize: boolean;
      readonly factor: number;
    }
  /**
   * A mixture of experts with a gated MLP each (Shazeer et al. 2017): x `[T, d]` and what `route` gave →
   * Σ shareₑ · downₑ(gate(gateₑ x, upₑ x)), added in the order of the experts' ids. `gateUp` `[E, 2F, d]`: an expert's gate
   * rows, then its up rows, or where `paired` a gate row before each up row; `down` `[E, d, F]`; biases `[E, 2F]` and
   * `[E, d]`, as vectors. `weighs` "input": the share multiplies the expert's input instead (Llama 4, which chooses one).
   */
  | {
      readonly op: "experts";
      readonly inputs: readonly [Value, Value];
      readonly gateUp: WeightRef;
      readonly down: WeightRef;
      readonly gateUpBias?: WeightRef;
      readonly downBias?: WeightRef;
      readonly activation: GateKind;
      readonly paired?: true;
      readonly weighs: "output" | "input";
      /**
       * Lowered: which of the matrices read their input as int8 rows (rounded as by `quantize`); the input of `down` is the
       * gated product of the expert. Absent in plain graphs: none.
       */
      readonly int8?: { readonly gateUp: boolean; readonly down: boolean };
    }
  /**
   * Only the rows that the plan wants of `output` go on, in the order of its list. For `logits` the rows of samples and
   * log-probabilities are wanted too.
   */
  | { readonly op: "rows"; readonly inputs: readonly [Value]; readonly output: string }
  /** Lowered: the rows as int8 codes with an f32 scale for each 32 columns (amax / 127, round half to even). */
  | { readonly op: "quantize"; readonly inputs: readonly [Value] }
  /** Lowered: rounds k and v to the pool's type and writes them into `state`. Its output is empty (width 0). */
  | { readonly op: "kvWrite"; readonly inputs: readonly [Value, Value]; readonly state: number }
  /** Lowered: the same of a `latent-kv` state, which holds keys alone. */
  | { readonly op: "latentWrite"; readonly inputs: readonly [Value]; readonly state: number }
  /**
   * Attention over what `state` holds, which this step wrote before: in lowered graphs, and where a layer reads the keys and
   * values of another.
   */
  | ({ readonly op: "attendState"; readonly inputs: readonly [Value] } & AttendOptions);

export type Op = GraphNode["op"];
/** The node of an op. */
export type NodeOf<O extends Op> = Extract<GraphNode, { readonly op: O }>;

export interface Graph {
  /** For messages: the family and its size ("llama, 30 layers, 576 wide"). */
  readonly name: string;
  /** Width of the output `logits`; 0 where there is none. */
  readonly vocabSize: number;
  /** Positions that the model was made for. */
  readonly contextLength: number;
  readonly nodes: readonly GraphNode[];
  /** Columns of each node's output, by node index (shape inference). */
  readonly widths: readonly number[];
  readonly states: readonly StateSpec[];
  /**
   * What plans may ask for, by name: `logits` is sampled from, others are free ("hidden:12"). A row of an output is a
   * function of the same row of the values before it, or of what attention sees.
   */
  readonly outputs: ReadonlyMap<string, Value>;
}
