/**
 * What the executor runs (native/cpu/instructions.h): stages of a wide op, row ops and a serial op, in this order, each
 * optional. All threads meet at a barrier before and after each of the three; stages.ts puts them together. The union is
 * over how operands are written: places in buffers while a program is emitted (`Draft…`), bytes of the arena in the end.
 */
import type { Activation, ColumnFactor, GateKind } from "../../graph/graph.ts";
import type { Buffer } from "./arena.ts";

/** Rows in the arena: the byte where row 0 begins, and the values (of 4 bytes) from a row to the next. */
export type Span = readonly [at: number, stride: number];
/** Int8 rows in the arena: codes, scales, sums (bytes), columns. */
export type Span8 = readonly [codes: number, scales: number, sums: number, cols: number];
/** Lists of experts in the arena (bytes). */
export type ListSpans = readonly [offsets: number, active: number, rowIndex: number, place: number];

/** Columns of a buffer of rows: where a value lies. */
export interface Place {
  readonly kind: "rows";
  readonly buffer: Buffer;
  /** Values from a row to the next, and the first column. */
  readonly stride: number;
  readonly column: number;
  readonly width: number;
}
/** Int8 rows. */
export interface Place8 {
  readonly kind: "int8";
  readonly codes: Buffer;
  readonly scales: Buffer;
  readonly sums: Buffer;
  readonly cols: number;
}
/** The rows of each expert. */
export interface PlaceLists {
  readonly kind: "lists";
  readonly offsets: Buffer;
  readonly active: Buffer;
  readonly rowIndex: Buffer;
  readonly place: Buffer;
}

/** (how many bases down, index of a vector). */
export type VectorId = readonly [holder: number, index: number];
/** (how many bases down, index of a matrix, first output column or row). */
export type MatrixPart = readonly [holder: number, index: number, first: number];

interface Attention<R> {
  readonly q: R;
  readonly y: R;
  readonly heads: number;
  readonly scale: number;
  /** 0: none. */
  readonly softcap: number;
  /** 0: none. */
  readonly chunk: number;
  /** −1: no limit. */
  readonly ahead: number;
  readonly sinks?: VectorId;
  readonly slopes?: Float32Array;
  readonly distances?: Float32Array;
  readonly group: number;
  readonly layer: number;
}

interface Scan<R> {
  readonly q: R;
  readonly v: R;
  readonly g: R;
  readonly beta: R;
  readonly y: R;
  readonly heads: number;
  readonly keyHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly delta: boolean;
  readonly history: StateId;
  readonly state: StateId;
}

interface Recur<R> {
  readonly isSelective: boolean;
  /** C of a selective scan. */
  readonly read?: R;
  readonly y: R;
  readonly cols: number;
  /** Values of a column's state. */
  readonly stateDim: number;
  readonly decay: VectorId;
  readonly bonus?: VectorId;
  readonly factor: ColumnFactor;
  readonly history: StateId;
  readonly state: StateId;
}

interface MatrixScan<R> {
  readonly r: R;
  readonly y: R;
  readonly heads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Does the history have a and b? */
  readonly removes: boolean;
  readonly bonus?: VectorId;
  readonly history: StateId;
  readonly state: StateId;
}

/** Where a state lies in the pool. */
export interface StateId {
  readonly group: number;
  readonly layer: number;
}

/** Float rows, or rounded ones. */
type Input<R, R8> = { readonly x: R } | { readonly q: R8 };

type RowOp<R, R8, L> =
  | {
      readonly op: "embed";
      readonly parts: readonly MatrixPart[];
      readonly factor: number;
      /** Ids of a segment, 0: ids carry none; `bySegment`: the rows are named by it. */
      readonly segment: number;
      readonly bySegment: boolean;
      readonly y: R;
      readonly cols: number;
    }
  | { readonly op: "positionEmbed"; readonly parts: readonly MatrixPart[]; readonly y: R; readonly cols: number }
  /** `input`: which of the program's named inputs; −1: no plan gives any. */
  | { readonly op: "input"; readonly x: R; readonly y: R; readonly cols: number; readonly input: number }
  | { readonly op: "rows"; readonly x: R; readonly y: R; readonly cols: number }
  | {
      readonly op: "rmsNorm";
      readonly x: R;
      readonly y: R;
      readonly cols: number;
      readonly groupSize: number;
      readonly weight?: VectorId;
      readonly weightOffset: number;
      readonly eps: number;
    }
  | {
      readonly op: "layerNorm";
      readonly x: R;
      readonly y: R;
      readonly cols: number;
      readonly groupSize: number;
      readonly weight?: VectorId;
      readonly weightOffset: number;
      readonly bias?: VectorId;
      readonly eps: number;
    }
  | {
      readonly op: "ropeTable";
      readonly cos: R;
      readonly sin: R;
      readonly frequencies: Float32Array;
      readonly magnitude: number;
    }
  | {
      readonly op: "rope";
      readonly x: R;
      readonly y: R;
      readonly cos: R;
      readonly sin: R;
      readonly heads: number;
      readonly headDim: number;
      readonly pairs: number;
      readonly interleaved: boolean;
    }
  /** `values`: absent for a latent state. */
  | { readonly op: "kvWrite"; readonly keys: R; readonly values?: R; readonly group: number; readonly layer: number }
  | {
      readonly op: "concat";
      readonly a: R;
      readonly b: R;
      readonly y: R;
      readonly heads: number;
      readonly aCols: number;
      readonly bCols: number;
    }
  /** `width`: columns of the state, of which those from `column` on are written. */
  | {
      readonly op: "writeRows";
      readonly x: R;
      readonly cols: number;
      readonly column: number;
      readonly width: number;
      readonly group: number;
      readonly layer: number;
    }
  | {
      readonly op: "readRows";
      readonly y: R;
      readonly cols: number;
      readonly back: number;
      readonly group: number;
      readonly layer: number;
    }
  | {
      readonly op: "conv";
      readonly y: R;
      readonly cols: number;
      readonly taps: number;
      readonly weight: VectorId;
      readonly bias?: VectorId;
      readonly group: number;
      readonly layer: number;
    }
  | { readonly op: "bias"; readonly x: R; readonly y: R; readonly cols: number; readonly weight: VectorId }
  | {
      readonly op: "pick";
      readonly x: R;
      readonly y: R;
      readonly columns: Int32Array;
      /** Columns of x, and how many are picked. */
      readonly width: number;
      readonly cols: number;
    }
  | {
      readonly op: "columnScale";
      readonly x: R;
      readonly y: R;
      readonly cols: number;
      readonly weight: VectorId;
      /** How many there are. */
      readonly weights: number;
      readonly factor: ColumnFactor;
    }
  /** `gateCols`: as many as `cols`, or 1; `paired`: gate and up columns take turns in `gate`. */
  | {
      readonly op: "gate";
      readonly gate: R;
      readonly up: R;
      readonly y: R;
      readonly cols: number;
      readonly gateCols: number;
      readonly activation: GateKind;
      readonly paired: boolean;
    }
  | {
      readonly op: "positionScale";
      readonly x: R;
      readonly y: R;
      readonly cols: number;
      readonly every: number;
      readonly offset: number;
      readonly factors: Float32Array;
    }
  /** y[row] = x[row] · shares[row, 0] */
  | { readonly op: "weigh"; readonly x: R; readonly shares: R; readonly y: R; readonly cols: number }
  | { readonly op: "activate"; readonly x: R; readonly y: R; readonly cols: number; readonly activation: Activation }
  | { readonly op: "add"; readonly a: R; readonly b: R; readonly y: R; readonly cols: number }
  | { readonly op: "scale"; readonly x: R; readonly y: R; readonly cols: number; readonly factor: number }
  | { readonly op: "clamp"; readonly x: R; readonly y: R; readonly cols: number; readonly limit: number }
  | { readonly op: "softcap"; readonly x: R; readonly y: R; readonly cols: number; readonly cap: number }
  | { readonly op: "quantize"; readonly x: R; readonly q: R8; readonly cols: number }
  | {
      readonly op: "route";
      readonly logits: R;
      /** Room for what ranks the experts. */
      readonly keys: R;
      readonly routes: R;
      readonly experts: number;
      readonly topK: number;
      readonly sigmoid: boolean;
      readonly bias?: VectorId;
      /** 0: none. */
      readonly groups: number;
      readonly keptGroups: number;
      readonly twoLargest: boolean;
      readonly normalize: boolean;
      readonly factor: number;
    }
  | {
      readonly op: "combine";
      readonly x: R;
      readonly routes: R;
      readonly y: R;
      readonly lists: L;
      readonly cols: number;
      readonly experts: number;
      readonly topK: number;
      /** Else they are added as they are. */
      readonly weighs: boolean;
    };

/**
 * What adapters may add to a product: rows of A x, in the place that a `loraDown` of the same site filled. The site is the
 * `lora` node's value, by which adapters know it.
 */
interface Adapted<R> {
  readonly site?: number;
  readonly inner?: R;
}

/** `inputs`: columns of what is read, `cols`: columns of what is written. */
type WideOp<R, R8, L> =
  | ({
      readonly op: "linear";
      readonly parts: readonly MatrixPart[];
      readonly inputs: number;
      readonly cols: number;
      readonly bias?: VectorId;
      readonly residual?: R;
      readonly y: R;
    } & Input<R, R8> &
      Adapted<R>)
  | ({
      readonly op: "linearGate";
      readonly parts: readonly MatrixPart[];
      readonly inputs: number;
      readonly cols: number;
      readonly y: R;
      readonly rounded?: R8;
      readonly activation: GateKind;
    } & Input<R, R8> &
      Adapted<R>)
  | {
      readonly op: "loraDown";
      readonly x: R;
      readonly inner: R;
      readonly inputs: number;
      readonly cols: number;
      readonly site: number;
    }
  | ({
      readonly op: "expertLinear";
      readonly parts: readonly MatrixPart[];
      readonly inputs: number;
      readonly cols: number;
      readonly experts: number;
      readonly topK: number;
      /** The input has the token rows, else the assignments. */
      readonly gather: boolean;
      /** `[experts, cols]`. */
      readonly bias?: VectorId;
      readonly y: R;
      readonly lists: L;
    } & Input<R, R8>)
  /** `inputs` and `cols`: of one head. */
  | ({
      readonly op: "headLinear";
      readonly parts: readonly MatrixPart[];
      readonly heads: number;
      readonly inputs: number;
      readonly cols: number;
      readonly y: R;
    } & Input<R, R8>)
  | ({ readonly op: "attend" } & Attention<R>)
  | ({ readonly op: "scan" } & Scan<R>)
  | ({ readonly op: "recur" } & Recur<R>)
  | ({ readonly op: "matrixScan" } & MatrixScan<R>);

interface SerialOp<R, L> {
  readonly op: "groupExperts";
  readonly routes: R;
  readonly lists: L;
  readonly experts: number;
  readonly topK: number;
}

interface StageOf<R, R8, L> {
  readonly wide?: WideOp<R, R8, L>;
  readonly rows: readonly RowOp<R, R8, L>[];
  /** Rows of the row ops for each row of the step (experts). */
  readonly perRow: number;
  readonly serial?: SerialOp<R, L>;
}

export type RowDraft = RowOp<Place, Place8, PlaceLists>;
export type WideDraft = WideOp<Place, Place8, PlaceLists>;
export type SerialDraft = SerialOp<Place, PlaceLists>;
export type StageDraft = StageOf<Place, Place8, PlaceLists>;
export type Stage = StageOf<Span, Span8, ListSpans>;
