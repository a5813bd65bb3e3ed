/**
 * The graph: what one forward step computes, as a list of nodes in order of evaluation. A value is the output
 * of a node and holds one row for each token of the step, `[T, width]`; nothing here knows how many rows there
 * are, which backend runs it, or what a request is. `models/` builds plain graphs, `passes.ts` rewrites them, a
 * backend's lowering turns a plain graph into a lowered one (the same nodes and the ops marked "lowered").
 */

/** The index of the node that computes the value. */
export type Value = number;

/** Rows of one stored tensor. Stacked experts `[E, N, K]` count as `E·N` rows. */
export interface WeightPart {
  readonly tensor: string;
  /** First row and number of rows; all of the tensor's rows where absent. */
  readonly rowStart?: number;
  readonly rowCount?: number;
  /** The file holds the matrix as `[K, N]` (GPT-2's Conv1D in safetensors). */
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

export type Activation = "silu" | "gelu" | "geluTanh" | "relu" | "softplus" | "identity";

/** What `columnScale` makes of its weights: w, −eʷ, 1 − w. */
export type ColumnFactor = "weight" | "negativeExp" | "oneMinus";

/** What a layer remembers. Graphs that name the same state share it. */
export type StateSpec = KvSpec | RowsSpec | RecurrentSpec;

/** `kv`: keys and values of all positions; `window-kv`: of the last `window` positions (the position itself included). */
export interface KvSpec {
  readonly name: string;
  readonly kind: "kv" | "window-kv";
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

/** What a scan has come to at borders (every 64 positions), f32; what came in since is a state of kind `rows`. */
export interface RecurrentSpec {
  readonly name: string;
  readonly kind: "recurrent";
  readonly width: number;
}

export type Node =
  /** The rows of `weight` `[V, d]` that the step's token ids name, times `scale`. */
  | { readonly op: "embed"; readonly inputs: readonly []; readonly weight: WeightRef; readonly scale?: number }
  /** The rows of `weight` `[P, d]` that the tokens' positions name (learned positions). */
  | { readonly op: "positionEmbed"; readonly inputs: readonly []; readonly weight: WeightRef }
  /** x; where the plan gives rows of the input `name` (soft tokens, an image), those in its place. */
  | { readonly op: "input"; readonly inputs: readonly [Value]; readonly name: string }
  /** x Wᵀ + bias: `[T, K]` → `[T, N]`. */
  | { readonly op: "linear"; readonly inputs: readonly [Value]; readonly weight: WeightRef; readonly bias?: WeightRef }
  /**
   * x / rms(x) · (weight + weightOffset), over each group of `groupSize` columns by itself: the whole width, or
   * a head (QK norm; `weight` is `[groupSize]` then). Zhang & Sennrich 2019.
   */
  | {
      readonly op: "rmsNorm";
      readonly inputs: readonly [Value];
      readonly weight: WeightRef;
      readonly weightOffset: 0 | 1;
      readonly eps: number;
      readonly groupSize: number;
    }
  | {
      readonly op: "layerNorm";
      readonly inputs: readonly [Value];
      readonly weight: WeightRef;
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
   * Causal attention with grouped queries: q `[T, heads·keyDim]`, k `[T, kvHeads·keyDim]`, v
   * `[T, kvHeads·valueDim]` → `[T, heads·valueDim]`. Writes k and v into `state` (an index into `graph.states`),
   * then reads all keys from there: softmax(softcap(scale · q kᵀ)) v.
   */
  | {
      readonly op: "attention";
      readonly inputs: readonly [Value, Value, Value];
      readonly state: number;
      readonly heads: number;
      readonly scale: number;
      /** cap · tanh(x / cap) on the scores, where set (Gemma-2). */
      readonly softcap?: number;
    }
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
  /** activation(gate) · up. */
  | { readonly op: "gate"; readonly inputs: readonly [Value, Value]; readonly activation: Activation }
  | { readonly op: "activation"; readonly inputs: readonly [Value]; readonly activation: Activation }
  | { readonly op: "add"; readonly inputs: readonly [Value, Value] }
  | { readonly op: "scale"; readonly inputs: readonly [Value]; readonly factor: number }
  | { readonly op: "softcap"; readonly inputs: readonly [Value]; readonly cap: number }
  /** Columns `start .. start + width`. */
  | { readonly op: "slice"; readonly inputs: readonly [Value]; readonly start: number; readonly width: number }
  /**
   * Mixture of experts with a gated MLP each: p = softmax(x routerᵀ) over all E experts; the `topK` largest (the
   * lower index first among equals) divided by their sum where `normalize`; Σ pₑ · downₑ(act(gateₑ x) · upₑ x),
   * added in the order of the experts' indices. `gateUp` `[E, 2F, d]` (an expert's gate rows, then its up rows),
   * `down` `[E, d, F]`.
   */
  | {
      readonly op: "moe";
      readonly inputs: readonly [Value];
      readonly router: WeightRef;
      readonly gateUp: WeightRef;
      readonly down: WeightRef;
      readonly experts: number;
      readonly topK: number;
      readonly normalize: boolean;
      readonly activation: Activation;
      /**
       * Lowered: which of the three matrices read their input as int8 rows (rounded as by `quantize`); the input
       * of `down` is the gated product of the expert. Absent in plain graphs: none.
       */
      readonly int8?: { readonly router: boolean; readonly gateUp: boolean; readonly down: boolean };
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
  /** Lowered: attention over what `state` holds; the `kvWrite` of this step came before. */
  | {
      readonly op: "attendState";
      readonly inputs: readonly [Value];
      readonly state: number;
      readonly heads: number;
      readonly scale: number;
      readonly softcap?: number;
    };

export type Op = Node["op"];

export interface Graph {
  /** For messages: the family and its size ("llama, 30 layers, 576 wide"). */
  readonly name: string;
  /** Width of the output `logits`; 0 where there is none. */
  readonly vocabSize: number;
  /** Positions that the model was made for. */
  readonly contextLength: number;
  readonly nodes: readonly Node[];
  /** Columns of each node's output, by node index (shape inference). */
  readonly widths: readonly number[];
  readonly states: readonly StateSpec[];
  /**
   * What plans may ask for, by name: `logits` is sampled from, others are free ("hidden:12"). A row of an output is a
   * function of the same row of the values before it, or of what attention sees.
   */
  readonly outputs: ReadonlyMap<string, Value>;
}
