/**
 * The cases of the shared suite (src/backend/cases.test.ts): tiny graphs around one op each, with inputs that are exact
 * (rows of an F32 embedding), so that backends can be compared op by op. Every weight format, KV type and variant.
 */
import { DTYPES, type DType } from "../../src/artifact/dtype.ts";
import type { KvType } from "../../src/backend/contract.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import type { Activation, Graph, Value, WeightRef } from "../../src/graph/graph.ts";
import { wkvStateWidth } from "../../src/graph/shapes.ts";
import type { TensorMaker } from "./memory-artifact.ts";

export interface OpCase {
  readonly name: string;
  readonly kv: KvType;
  /** Tokens that each step feeds to sequence 0 and to sequence 1. */
  readonly steps: readonly (readonly [number, number])[];
  readonly graph: (tensors: TensorMaker) => Graph;
  /**
   * An int8 rounding lies inside the op (`moe`), where float noise may turn a code: at most a twentieth of the values
   * may differ by more than the tolerance, none by more than a hundredth of the row's largest.
   */
  readonly roundsInside?: boolean;
}

export const VOCABULARY = 64;
const CONTEXT = 512;

/** One row, few, and many; then both sequences at once. */
const ROWS_STEPS = [
  [1, 0],
  [7, 0],
  [0, 40],
  [3, 2],
] as const;

/** A graph from `width` exact columns through `body`. */
function around(
  width: number,
  body: (g: GraphBuilder, x: Value, tensors: TensorMaker) => Value,
): (tensors: TensorMaker) => Graph {
  return (tensors) => {
    const g = new GraphBuilder("case");
    const x = g.embed(tensors.tensor("table", "F32", [VOCABULARY, width]));
    return g.finish(body(g, x, tensors), { contextLength: CONTEXT });
  };
}

function rowsCase(
  name: string,
  width: number,
  body: (g: GraphBuilder, x: Value, tensors: TensorMaker) => Value,
  extra: Partial<OpCase> = {},
): OpCase {
  return {
    name,
    kv: "f32",
    steps: ROWS_STEPS,
    graph: around(width, body),
    ...extra,
  };
}

/** A width that the format's blocks divide, no power of two where possible. */
function columnsFor(dtype: DType): number {
  const { blockSize } = DTYPES[dtype];
  return blockSize === 256 ? 512 : blockSize === 1 ? 160 : 3 * Math.max(blockSize, 64);
}

const FORMATS = Object.keys(DTYPES) as DType[];
const ACTIVATIONS: readonly Activation[] = [
  "silu",
  "gelu",
  "geluTanh",
  "relu",
  "sigmoid",
  "softplus",
  "exp",
  "identity",
];

function linearCases(): OpCase[] {
  const formats = FORMATS.map((dtype) =>
    rowsCase(`linear ${dtype}`, columnsFor(dtype), (g, x, t) =>
      g.linear(x, t.tensor("w", dtype, [37, columnsFor(dtype)])),
    ),
  );
  const int8 = "Q8_0";
  return [
    ...formats,
    rowsCase("linear F32, columns no multiple of 32", 88, (g, x, t) => g.linear(x, t.tensor("w", "F32", [37, 88]))),
    rowsCase("linear with a bias, F16 and F32", 96, (g, x, t) =>
      g.linear(x, t.tensor("w", "F16", [50, 96]), t.tensor("b", "F16", [50])),
    ),
    rowsCase("linear with a bias, int8", 96, (g, x, t) =>
      g.linear(x, t.tensor("w", int8, [50, 96]), t.tensor("b", "F32", [50])),
    ),
    rowsCase("linear and a residual", 96, (g, x, t) => g.add(x, g.linear(x, t.tensor("w", int8, [96, 96])))),
    rowsCase("linear and a residual that is read again", 96, (g, x, t) => {
      const y = g.add(g.linear(x, t.tensor("w", "BF16", [96, 96]), t.tensor("b", "F32", [96])), x);
      return g.add(g.linear(y, t.tensor("w2", "BF16", [96, 96], 0.1)), g.scale(y, 0.5));
    }),
    rowsCase("linear of a transposed matrix", 96, (g, x, t) => {
      const stored = t.tensor("w", "F16", [96, 70]);
      return g.linear(x, { ...stored, shape: [70, 96], parts: [{ tensor: "w", transpose: true }] });
    }),
    rowsCase("linear of several tensors' rows", 96, (g, x, t) => {
      t.tensor("a", int8, [40, 96]);
      t.tensor("b", int8, [21, 96]);
      const parts = [
        { tensor: "b" },
        { tensor: "a", rowStart: 7, rowCount: 20 },
        { tensor: "a", rowStart: 0, rowCount: 3 },
      ];
      return g.linear(x, { name: "parts", shape: [44, 96], parts });
    }),
    rowsCase("linears of different formats read one value", 256, (g, x, t) => {
      const a = g.linear(x, t.tensor("a", "Q4_K", [32, 256]));
      const b = g.linear(x, t.tensor("b", "Q6_K", [32, 256]));
      return g.add(g.scale(a, 0.001), g.add(g.scale(b, 0.001), g.linear(x, t.tensor("c", "F32", [32, 256]))));
    }),
    rowsCase("a tied output matrix", 96, (g, x, t) => {
      const tied = t.tensor("tied", int8, [70, 96]);
      return g.linear(g.add(x, g.embed(tied, 0.001)), tied);
    }),
  ];
}

function elementwiseCases(): OpCase[] {
  const vector = (t: TensorMaker, name: string, n: number, dtype: "F32" | "F16" = "F32"): WeightRef =>
    t.tensor(name, dtype, [n], 0.3, 1);
  const rope = { headDim: 32, magnitude: 1, frequencies: Float32Array.from({ length: 16 }, (_, i) => 0.7 ** i) };
  return [
    ...FORMATS.map((dtype) =>
      rowsCase(`embed ${dtype}`, columnsFor(dtype), (g, x, t) =>
        g.add(g.scale(x, 2), g.embed(t.tensor("e", dtype, [VOCABULARY, columnsFor(dtype)]), 3.3)),
      ),
    ),
    rowsCase("embed by id and by segment", 96, (g, x, t) => {
      const ids = g.embed(t.tensor("ids", "F16", [16, 96]), 2, { size: 16, by: "id" });
      return g.add(x, g.add(ids, g.embed(t.tensor("types", "F32", [4, 96]), 1, { size: 16, by: "segment" })));
    }),
    rowsCase("positionEmbed", 96, (g, x, t) => g.add(x, g.positionEmbed(t.tensor("p", "F16", [CONTEXT, 96])))),
    rowsCase("input, of which no rows are given", 96, (g, x) => g.add(g.input(g.scale(x, 3), "soft"), x)),
    rowsCase("rmsNorm", 100, (g, x, t) => g.rmsNorm(x, vector(t, "n", 100), { eps: 1e-5 })),
    rowsCase("rmsNorm of a tiny row: eps counts", 96, (g, x, t) =>
      g.rmsNorm(g.scale(x, 1e-3), vector(t, "n", 96, "F16"), { eps: 1e-5, weightOffset: 1 }),
    ),
    rowsCase("rmsNorm over heads", 96, (g, x, t) => g.rmsNorm(x, vector(t, "n", 24), { eps: 1e-6, groupSize: 24 })),
    rowsCase("rmsNorm over heads of a slice", 160, (g, x, t) =>
      g.rmsNorm(g.slice(x, 32, 96), vector(t, "n", 32), { eps: 1e-6, groupSize: 32, weightOffset: 1 }),
    ),
    rowsCase("layerNorm", 100, (g, x, t) => g.layerNorm(x, vector(t, "n", 100), t.tensor("b", "F32", [100]), 1e-5)),
    rowsCase("layerNorm without a bias", 96, (g, x, t) => g.layerNorm(x, vector(t, "n", 96, "F16"), undefined, 1e-5)),
    rowsCase("norms without weights, and with 1 + weight", 96, (g, x, t) => {
      const heads = g.rmsNorm(x, undefined, { eps: 1e-5, groupSize: 24 });
      const centred = g.layerNorm(x, t.tensor("w", "F32", [96], 0.3), t.tensor("b", "F32", [96]), 1e-5, 1);
      return g.add(heads, g.add(g.layerNorm(x, undefined, undefined, 1e-5), centred));
    }),
    rowsCase("layerNorm of groups", 120, (g, x, t) => {
      const plain = g.layerNorm(x, undefined, undefined, 1e-5, 0, 40);
      return g.add(plain, g.layerNorm(x, vector(t, "n", 30), t.tensor("b", "F32", [30]), 1e-5, 0, 30));
    }),
    rowsCase("clamp", 96, (g, x) => g.clamp(x, 0.7)),
    rowsCase("positionScale", 96, (g, x) =>
      g.positionScale(x, { every: 8, offset: 1, factors: Float32Array.of(1, 1.25, 0.5, 3) }),
    ),
    rowsCase("rope, half", 96, (g, x) => g.rope(x, { ...rope, style: "half" })),
    rowsCase("rope, interleaved", 96, (g, x) => g.rope(x, { ...rope, style: "interleaved" })),
    rowsCase("rope of part of a head, with a magnitude", 120, (g, x) =>
      g.rope(x, { headDim: 40, style: "half", magnitude: 1.19, frequencies: rope.frequencies.slice(0, 12) }),
    ),
    rowsCase("rope of slices", 160, (g, x) => {
      const [a, b] = [
        g.rope(g.slice(x, 0, 64), { ...rope, style: "half" }),
        g.rope(g.slice(x, 96, 64), { ...rope, style: "half" }),
      ];
      return g.add(a, b);
    }),
    ...ACTIVATIONS.flatMap((activation) => [
      rowsCase(`gate ${activation}`, 200, (g, x) => g.gate(g.slice(x, 0, 100), g.slice(x, 100, 100), activation)),
      rowsCase(`activation ${activation}`, 100, (g, x) => g.activation(g.scale(x, 3), activation)),
    ]),
    rowsCase("gate clampedSwiglu", 200, (g, x) =>
      g.gate(g.scale(g.slice(x, 0, 100), 6), g.scale(g.slice(x, 100, 100), 6), "clampedSwiglu"),
    ),
    rowsCase("a gate of one column", 97, (g, x) => g.gate(g.slice(x, 96, 1), g.slice(x, 0, 96), "sigmoid")),
    rowsCase("gate of two values, then int8", 96, (g, x, t) =>
      g.linear(g.gate(x, x, "relu"), t.tensor("w", "Q8_0", [40, 96])),
    ),
    rowsCase("add, scale, softcap, slice", 100, (g, x) => {
      const y = g.add(x, g.scale(x, -2.5));
      return g.add(g.softcap(g.slice(y, 3, 61), 1.5), g.slice(x, 39, 61));
    }),
    rowsCase("columnScale", 100, (g, x, t) => g.columnScale(x, vector(t, "w", 100))),
    rowsCase("columnScale of runs, 1 − w", 96, (g, x, t) => g.columnScale(x, vector(t, "w", 4), "oneMinus")),
    rowsCase("columnScale by −eʷ", 100, (g, x, t) => g.columnScale(x, vector(t, "w", 50, "F16"), "negativeExp")),
    rowsCase("bias", 100, (g, x, t) => g.bias(x, vector(t, "b", 100, "F16"))),
    rowsCase("pick", 96, (g, x) => g.pick(g.slice(x, 30, 40), Int32Array.of(39, 3, 3, 0, 17))),
    rowsCase("softcap of the logits", 96, (g, x, t) => g.softcap(g.linear(x, t.tensor("w", "F32", [70, 96])), 15)),
    rowsCase("a value added to itself", 96, (g, x) => g.add(x, x)),
    {
      ...rowsCase("rows in two places", 96, (g, x, t) => {
        const y = g.linear(x, t.tensor("w", "Q8_0", [96, 96]));
        return g.add(y, g.rmsNorm(y, vector(t, "n", 96), { eps: 1e-5 }));
      }),
      graph: (t) => {
        const g = new GraphBuilder("case");
        const x = g.embed(t.tensor("table", "F32", [VOCABULARY, 96]));
        const state = g.state({ name: "layer 0", kind: "kv", kvHeads: 1, keyDim: 32, valueDim: 32 });
        const [q, k, v] = [g.slice(x, 0, 32), g.slice(x, 32, 32), g.slice(x, 64, 32)];
        const attended = g.linear(
          g.attention(q, k, v, { state, heads: 1, scale: 0.2 }),
          t.tensor("o", "F32", [96, 32]),
        );
        const y = g.add(x, attended);
        const z = g.add(y, g.linear(g.rmsNorm(y, vector(t, "n", 96), { eps: 1e-5 }), t.tensor("w", "F16", [96, 96])));
        return g.finish(z, { contextLength: CONTEXT });
      },
    },
  ];
}

interface AttentionVariant {
  readonly name: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly keyDim: number;
  readonly valueDim?: number;
  readonly window?: number;
  readonly softcap?: number;
  readonly sinks?: true;
  readonly slopes?: readonly number[];
  /** Of a head, from the farthest before to the farthest behind. */
  readonly distances?: readonly number[];
  readonly chunk?: number;
  readonly ahead?: number;
}

const ATTENTION: readonly AttentionVariant[] = [
  { name: "MHA", heads: 3, kvHeads: 3, keyDim: 32 },
  { name: "GQA", heads: 6, kvHeads: 2, keyDim: 64 },
  { name: "MQA", heads: 4, kvHeads: 1, keyDim: 48 },
  { name: "heads of 40 and 24 columns", heads: 2, kvHeads: 1, keyDim: 40, valueDim: 24 },
  { name: "a window", heads: 4, kvHeads: 2, keyDim: 32, window: 24 },
  { name: "a window over tiles", heads: 2, kvHeads: 2, keyDim: 32, window: 150 },
  { name: "soft cap", heads: 4, kvHeads: 2, keyDim: 32, softcap: 2 },
  { name: "sinks", heads: 4, kvHeads: 2, keyDim: 32, sinks: true },
  { name: "sinks and a window", heads: 4, kvHeads: 2, keyDim: 32, sinks: true, window: 24 },
  { name: "slopes", heads: 4, kvHeads: 4, keyDim: 32, slopes: [0.25, 0.0625, 0, -0.015625] },
  { name: "distances", heads: 2, kvHeads: 2, keyDim: 32, distances: [-1, 0.5, 2, 0.25, 0, -0.75, 1.5, 3, -2] },
  { name: "chunks", heads: 4, kvHeads: 2, keyDim: 32, chunk: 48, window: 48 },
  { name: "chunks over tiles", heads: 2, kvHeads: 1, keyDim: 32, chunk: 160, ahead: 0 },
];

/** Prefills beyond three KV tiles, decodes, a chunk beside a decode, and lengths at tile borders. */
const ATTENTION_STEPS = [
  [405, 37],
  [1, 1],
  [1, 90],
  [2, 1],
  [0, 17],
] as const;

function attentionCases(): OpCase[] {
  return ATTENTION.flatMap((variant) =>
    (["f32", "f16", "q8"] as const).map((kv): OpCase => {
      const {
        heads,
        kvHeads,
        keyDim,
        valueDim = keyDim,
        window,
        softcap,
        sinks,
        slopes,
        distances,
        chunk,
        ahead,
      } = variant;
      const width = heads * keyDim + kvHeads * (keyDim + valueDim);
      const graph = around(width, (g, x, t) => {
        const shape = { name: "layer 0", kvHeads, keyDim, valueDim };
        const state = g.state(
          window === undefined ? { ...shape, kind: "kv" } : { ...shape, kind: "window-kv", window },
        );
        const q = g.slice(x, 0, heads * keyDim);
        const k = g.slice(x, heads * keyDim, kvHeads * keyDim);
        const v = g.slice(x, (heads + kvHeads) * keyDim, kvHeads * valueDim);
        const scale = 1.3 / Math.sqrt(keyDim);
        return g.attention(q, k, v, {
          state,
          heads,
          scale,
          ...(softcap !== undefined && { softcap }),
          ...(sinks && { sinks: t.tensor("sinks", "F32", [heads], 2) }),
          ...(slopes && { slopes: Float32Array.from(slopes) }),
          ...(distances && {
            distances: Float32Array.from(
              { length: heads * distances.length },
              (_, i) => distances[i % distances.length] ?? 0,
            ),
          }),
          ...(chunk !== undefined && { chunk }),
          ...(ahead !== undefined && { ahead }),
        });
      });
      return { name: `attention ${variant.name}, KV ${kv}`, kv, steps: ATTENTION_STEPS, graph };
    }),
  );
}

/** One latent key for all heads, whose first columns are the value. */
function latentCases(): OpCase[] {
  const shapes = [
    { heads: 4, keyDim: 48, valueDim: 32 },
    { heads: 20, keyDim: 40, valueDim: 24 },
    { heads: 1, keyDim: 48, valueDim: 48 },
  ];
  return shapes.flatMap(({ heads, keyDim, valueDim }) =>
    (["f32", "f16", "q8"] as const).map((kv): OpCase => {
      const graph = around((heads + 1) * keyDim, (g, x) => {
        const state = g.state({ name: "layer 0", kind: "latent-kv", kvHeads: 1, keyDim, valueDim });
        const [q, k] = [g.slice(x, 0, heads * keyDim), g.slice(x, heads * keyDim, keyDim)];
        return g.latentAttention(q, k, { state, heads, scale: 1.3 / Math.sqrt(keyDim) });
      });
      return { name: `latent attention, ${heads} heads of ${keyDim}, KV ${kv}`, kv, steps: ATTENTION_STEPS, graph };
    }),
  );
}

function headCases(): OpCase[] {
  const dtypes = ["F32", "F16", "Q8_0", "Q4_0"] as const;
  return [
    ...dtypes.map((dtype) =>
      rowsCase(`headLinear ${dtype}`, 5 * 64, (g, x, t) => g.headLinear(x, t.tensor("w", dtype, [5, 40, 64], 0.3))),
    ),
    rowsCase("headLinear F16, of a transposed stack", 5 * 48, (g, x, t) => {
      // As DeepSeek's matrix of keys and values: of each head 48 rows for keys, then 16 for values.
      t.tensor("w", "F16", [5 * 64, 40], 0.3);
      const parts = Array.from({ length: 5 }, (_, head) => ({
        tensor: "w",
        rowStart: head * 64,
        rowCount: 48,
        transpose: true,
      }));
      return g.headLinear(x, { name: "w", shape: [5, 40, 48], parts });
    }),
    rowsCase("concat of heads", 3 * 24 + 3 * 8, (g, x) => g.concat(g.slice(x, 0, 72), g.slice(x, 72, 24), 3)),
    rowsCase("concat of a value with itself", 24, (g, x) => g.concat(x, x)),
  ];
}

function twoGroupsCase(): OpCase {
  const graph = around(96, (g, x) => {
    const shape = { kvHeads: 1, keyDim: 32, valueDim: 32 };
    const all = g.state({ ...shape, name: "layer 0", kind: "kv" });
    const near = g.state({ ...shape, name: "layer 1", kind: "window-kv", window: 20 });
    const again = g.state({ ...shape, name: "layer 2", kind: "kv" });
    const [q, k, v] = [g.slice(x, 0, 32), g.slice(x, 32, 32), g.slice(x, 64, 32)];
    const options = { heads: 1, scale: 0.2 };
    const a = g.attention(q, k, v, { state: all, ...options });
    const b = g.attention(k, v, q, { state: near, ...options });
    const c = g.attention(v, q, k, { state: again, ...options });
    return g.add(a, g.add(b, c));
  });
  return { name: "three layers in two state groups", kv: "f16", steps: ATTENTION_STEPS, graph };
}

/** What lies one and 20 places back, written by the same step or by earlier ones, and the row's own. */
function pagedRowsCase(): OpCase {
  const graph = around(40, (g, x) => {
    const state = g.state({ name: "features", kind: "rows", width: 40 });
    const other = g.state({ name: "others", kind: "rows", width: 40 });
    g.writeRows(g.scale(x, 2), state);
    g.writeRows(g.scale(x, 0.5), other);
    const back = g.add(g.readRows(state, 1), g.scale(g.readRows(other, 20), 3));
    return g.add(back, g.readRows(state, 0));
  });
  return { name: "rows written and read back", kv: "f16", steps: ATTENTION_STEPS, graph };
}

function convCases(): OpCase[] {
  return [3, 4].map((taps) => {
    const graph = (t: TensorMaker): Graph =>
      around(100, (g, x) => {
        const state = g.state({ name: "recent", kind: "rows", width: 100, window: taps });
        const weight = t.tensor("w", "F16", [100 * taps]);
        return g.conv(x, { weight, state, ...(taps === 4 && { bias: t.tensor("b", "F32", [100]) }) });
      })(t);
    return { name: `conv of ${taps} places`, kv: "f16", steps: ATTENTION_STEPS, graph };
  });
}

interface ScanVariant {
  readonly heads: number;
  readonly keyHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
}

const SCANS: readonly ScanVariant[] = [
  { heads: 2, keyHeads: 2, keyDim: 16, valueDim: 16 },
  { heads: 4, keyHeads: 1, keyDim: 33, valueDim: 64 },
  { heads: 3, keyHeads: 3, keyDim: 40, valueDim: 88 },
  { heads: 4, keyHeads: 2, keyDim: 7, valueDim: 9 },
];

function scanCases(): OpCase[] {
  return SCANS.flatMap((variant) =>
    [false, true].map((delta): OpCase => {
      const { heads, keyHeads, keyDim, valueDim } = variant;
      const [keys, values] = [keyHeads * keyDim, heads * valueDim];
      const graph = (t: TensorMaker): Graph =>
        around(2 * keys + values + 2 * heads, (g, x) => {
          const unit = t.values(
            "unit",
            "F32",
            [keyDim],
            Array.from({ length: keyDim }, () => 1 / Math.sqrt(keyDim)),
          );
          const key = (from: number): Value =>
            g.rmsNorm(g.slice(x, from, keys), unit, { eps: 1e-6, groupSize: keyDim });
          const rate = (from: number): Value => g.scale(g.activation(g.slice(x, from, heads), "softplus"), 0.3);
          const decay = g.columnScale(rate(2 * keys + values), t.tensor("A", "F32", [heads]), "negativeExp");
          return g.scan([key(0), key(keys), g.slice(x, 2 * keys, values), decay, rate(2 * keys + values + heads)], {
            heads,
            keyHeads,
            delta,
            state: g.state({ name: "state", kind: "recurrent", width: heads * keyDim * valueDim }),
            history: g.state({ name: "history", kind: "rows", width: keys + values + heads, window: 128 }),
          });
        })(t);
      const rule = delta ? ", delta rule" : "";
      const name = `scan of ${heads} heads over ${keyHeads}, ${keyDim} × ${valueDim}${rule}`;
      return { name, kv: "f16", steps: ATTENTION_STEPS, graph };
    }),
  );
}

const SOFTMAX = { scores: "softmax", normalize: true, factor: 1 } as const;
const SHARES = { scores: "softmax", normalize: false, factor: 1 } as const;

/** The routes of every kind of router, as numbers: ids and shares. */
function routeCases(): OpCase[] {
  const kinds = {
    "softmax, shares of one": { ...SOFTMAX, topK: 3 },
    "softmax of all": { ...SHARES, topK: 2, factor: 1.5 },
    "softmax and a bias": { ...SOFTMAX, topK: 4, bias: true },
    sigmoid: { scores: "sigmoid", normalize: false, factor: 1, topK: 1 },
    "sigmoid, a bias and the two largest of groups": {
      scores: "sigmoid",
      normalize: true,
      factor: 2.5,
      topK: 4,
      bias: true,
      groups: { count: 6, kept: 3, by: "two largest" },
    },
    "softmax and the largest of groups": { ...SHARES, topK: 3, groups: { count: 4, kept: 1, by: "largest" } },
    "the two largest of groups without a bias": {
      ...SHARES,
      topK: 5,
      groups: { count: 8, kept: 2, by: "two largest" },
    },
  } as const;
  return Object.entries(kinds).map(([name, kind]) =>
    rowsCase(`route by ${name}`, 24, (g, x, t) => {
      const { bias, ...options } = { bias: false, ...kind };
      const routes = g.route(x, { ...options, ...(bias && { bias: t.tensor("bias", "F32", [24], 0.2) }) });
      // An id that differs shows, and the shares stay the larger part.
      const { topK } = options;
      return g.add(g.scale(g.slice(routes, 0, topK), 0.01), g.slice(routes, topK, topK));
    }),
  );
}

function expertsCases(): OpCase[] {
  const silu = { activation: "silu", weighs: "output" } as const;
  const variants = [
    { dtype: "F32", width: 96, hidden: 40, experts: 6, topK: 2, route: SOFTMAX, ...silu },
    { dtype: "F16", width: 64, hidden: 96, experts: 4, topK: 4, route: SHARES, ...silu, activation: "geluTanh" },
    { dtype: "BF16", width: 64, hidden: 64, experts: 3, topK: 1, route: SHARES, ...silu },
    { dtype: "Q8_0", width: 96, hidden: 64, experts: 8, topK: 3, route: SOFTMAX, ...silu },
    { dtype: "Q4_K", width: 256, hidden: 256, experts: 4, topK: 2, route: SHARES, ...silu },
    { dtype: "IQ4_XS", width: 256, hidden: 256, experts: 4, topK: 2, route: SOFTMAX, ...silu },
    { dtype: "F16", width: 64, hidden: 96, experts: 4, topK: 1, route: SHARES, ...silu, weighs: "input" },
    { dtype: "Q8_0", width: 64, hidden: 96, experts: 4, topK: 1, route: SHARES, ...silu, weighs: "input" },
    { dtype: "F32", width: 64, hidden: 40, experts: 5, topK: 3, route: SOFTMAX, ...silu, biased: true, paired: true },
    {
      dtype: "MXFP4",
      width: 96,
      hidden: 64,
      experts: 4,
      topK: 2,
      route: SOFTMAX,
      activation: "clampedSwiglu",
      weighs: "output",
      biased: true,
      paired: true,
    },
  ] as const;
  return variants.map((variant) => {
    const { dtype, width, hidden, experts, topK, route, activation, weighs, biased, paired } = {
      biased: false,
      paired: false,
      ...variant,
    };
    const extras = [
      ...(biased ? ["biases"] : []),
      ...(paired ? ["pairs"] : []),
      ...(weighs === "input" ? [weighs] : []),
    ];
    return rowsCase(
      [`experts ${dtype}`, `${topK} of ${experts}`, ...extras].join(", "),
      width,
      (g, x, t) => {
        const routes = g.route(g.linear(x, t.tensor("router", "F32", [experts, width], 0.3)), { ...route, topK });
        const gateUpBias = t.tensor("gateUpBias", "F32", [experts * 2 * hidden]);
        const downBias = t.tensor("downBias", "F16", [experts * width]);
        return g.experts(x, routes, {
          gateUp: t.tensor("gateUp", dtype, [experts, 2 * hidden, width], 0.2),
          down: t.tensor("down", dtype, [experts, width, hidden], 0.2),
          activation,
          weighs,
          ...(biased && { gateUpBias, downBias }),
          ...(paired && { paired }),
        });
      },
      { roundsInside: DTYPES[dtype].blockSize > 1 },
    );
  });
}

/** Experts whose matrices the file holds stacked and transposed. */
function transposedExpertsCase(): OpCase {
  const [width, hidden, experts] = [64, 48, 3];
  return rowsCase("experts F16, stacked and transposed", width, (g, x, t) => {
    t.tensor("gateUp", "F16", [experts, width, 2 * hidden], 0.2);
    t.tensor("down", "F16", [experts, hidden, width], 0.2);
    const slices = (tensor: string): WeightRef["parts"] =>
      Array.from({ length: experts }, (_, slice) => ({ tensor, slice, transpose: true }));
    const logits = g.linear(x, t.tensor("router", "F32", [experts, width], 0.3));
    return g.experts(x, g.route(logits, { ...SOFTMAX, topK: 2 }), {
      gateUp: { name: "gateUp", shape: [experts, 2 * hidden, width], parts: slices("gateUp") },
      down: { name: "down", shape: [experts, width, hidden], parts: slices("down") },
      activation: "silu",
      weighs: "output",
    });
  });
}

function recurrenceCases(): OpCase[] {
  const widths = [
    { columns: 48, size: 16 },
    { columns: 21, size: 5 },
  ] as const;
  const selective = widths.map(({ columns, size }): OpCase => {
    const graph = (t: TensorMaker): Graph =>
      around(2 * columns + 2 * size, (g, x) => {
        const dt = g.scale(g.activation(g.slice(x, 0, columns), "softplus"), 0.3);
        const [b, c] = [g.slice(x, 2 * columns, size), g.slice(x, 2 * columns + size, size)];
        return g.selectiveScan([dt, g.slice(x, columns, columns), b, c], {
          weight: t.tensor("A", "F32", [columns * size]),
          factor: "negativeExp",
          state: g.state({ name: "state", kind: "recurrent", width: columns * size }),
          history: g.state({ name: "history", kind: "rows", width: 2 * columns + size, window: 128 }),
        });
      })(t);
    const name = `selective scan of ${columns} columns, ${size} values each`;
    return { name, kv: "f16", steps: ATTENTION_STEPS, graph };
  });
  const averages = widths.map(({ columns }): OpCase => {
    const graph = (t: TensorMaker): Graph =>
      around(2 * columns, (g, x) =>
        g.wkv(g.scale(g.slice(x, 0, columns), 3), g.slice(x, columns, columns), {
          decay: t.tensor("w", "F16", [columns], 1, -1),
          factor: "negativeExp",
          bonus: t.tensor("u", "F32", [columns]),
          state: g.state({ name: "state", kind: "recurrent", width: wkvStateWidth(columns) }),
          history: g.state({ name: "history", kind: "rows", width: 2 * columns, window: 128 }),
        }),
      )(t);
    return { name: `wkv of ${columns} columns`, kv: "f16", steps: ATTENTION_STEPS, graph };
  });
  const matrices = [
    { heads: 3, keyDim: 20, valueDim: 40, rule: "plain" },
    { heads: 2, keyDim: 33, valueDim: 32, rule: "bonus" },
    { heads: 2, keyDim: 32, valueDim: 17, rule: "removal" },
  ].map(({ heads, keyDim, valueDim, rule }): OpCase => {
    const [keys, values] = [heads * keyDim, heads * valueDim];
    const removes = rule === "removal";
    const graph = (t: TensorMaker): Graph =>
      around(4 * keys + values, (g, x) => {
        const [r, k, v] = [g.slice(x, 0, keys), g.slice(x, keys, keys), g.slice(x, 2 * keys, values)];
        const kept = g.activation(g.scale(g.activation(g.slice(x, 2 * keys + values, keys), "softplus"), -0.3), "exp");
        const unit = g.scale(g.rmsNorm(k, undefined, { eps: 1e-6, groupSize: keyDim }), 1 / Math.sqrt(keyDim));
        const share = g.activation(g.slice(x, 3 * keys + values, keys), "sigmoid");
        const removal = [g.scale(unit, -1), g.multiply(unit, share)] as const;
        return g.matrixScan(removes ? [r, kept, unit, v, ...removal] : [r, kept, unit, v], {
          heads,
          ...(rule === "bonus" && { bonus: t.tensor("u", "F32", [keys]) }),
          state: g.state({ name: "state", kind: "recurrent", width: keyDim * values }),
          history: g.state({ name: "history", kind: "rows", width: (removes ? 4 : 2) * keys + values, window: 128 }),
        });
      })(t);
    const name = `matrix scan, ${rule}, ${heads} × ${keyDim} × ${valueDim}`;
    return { name, kv: "f16", steps: ATTENTION_STEPS, graph };
  });
  return [...selective, ...averages, ...matrices];
}

export function opCases(): OpCase[] {
  return [
    ...linearCases(),
    ...elementwiseCases(),
    ...attentionCases(),
    ...latentCases(),
    ...headCases(),
    twoGroupsCase(),
    pagedRowsCase(),
    ...convCases(),
    ...scanCases(),
    ...recurrenceCases(),
    ...routeCases(),
    ...expertsCases(),
    transposedExpertsCase(),
  ];
}
