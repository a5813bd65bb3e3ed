/**
 * Where a weight's rows go: which packed matrices or vector it takes, and the pieces of files that fill them. A task covers
 * some megabytes of one tensor. What the packed layout is, native/cpu/pack.cpp knows.
 */
import type { ModelArtifact, Tensor } from "../../artifact/artifact.ts";
import { DTYPES, type DType } from "../../artifact/dtype.ts";
import { ArtifactError, UnsupportedError, invariant } from "../../errors.ts";
import type { WeightPart, WeightRef } from "../../graph/graph.ts";
import type { LoadSpec, NativeAddon, WeightsHandle } from "./native.ts";

/** Bytes of a file that one task reads. */
const TASK_BYTES = 8 << 20;
const GROUP_ROWS = 16;

/** A packed matrix that holds the rows `row … row + rows − 1` of a weight (of each expert). */
export interface Segment {
  readonly matrix: number;
  readonly row: number;
  readonly rows: number;
}

export type Stored =
  | { readonly kind: "vector"; readonly vector: number }
  | { readonly kind: "matrix"; readonly segments: readonly Segment[] };

/** Rows of a tensor that go to one place: a run inside of one segment and one expert. */
interface Piece {
  readonly tensor: Tensor;
  /** Bytes of the tensor before the matrix that the rows are counted in. */
  readonly skip: number;
  readonly fileRow: number;
  readonly rows: number;
  readonly expert: number;
  /** Row inside of the weight (of the expert). */
  readonly row: number;
  readonly transposed: boolean;
}

/** What a part names, or brings with it. */
export function tensorOfPart(artifact: ModelArtifact, part: WeightPart): Tensor {
  return part.made ?? tensorOf(artifact, part.tensor);
}

export function tensorOf(artifact: ModelArtifact, name: string): Tensor {
  const tensor = artifact.tensors.get(name);
  if (tensor === undefined) throw new ArtifactError(`${artifact.name}: the tensor ${name} is missing.`);
  return tensor;
}

export interface Task {
  readonly tensor: Tensor;
  readonly spec: Omit<LoadSpec, "fd" | "bytes" | "offset">;
  readonly offset: number;
  readonly bytes: number;
}

export interface WeightPlan {
  readonly name: string;
  readonly bytes: number;
  create(handle: WeightsHandle): { readonly store: Stored; readonly specs: readonly Task[] };
}

export function planWeight(native: NativeAddon, artifact: ModelArtifact, weight: WeightRef): WeightPlan {
  return weight.shape.length === 1 ? planVector(native, artifact, weight) : planMatrix(native, artifact, weight);
}

function planVector(native: NativeAddon, artifact: ModelArtifact, weight: WeightRef): WeightPlan {
  const [length] = weight.shape;
  invariant(length !== undefined, `${weight.name} has no length`);
  const runs = weight.parts.map((part) => {
    const tensor = tensorOfPart(artifact, part);
    const size = tensor.shape.reduce((product, n) => product * n, 1);
    const run = rangeOf(artifact, weight, part, tensor, size);
    if (tensor.dtype !== "F32" && tensor.dtype !== "F16" && tensor.dtype !== "BF16") {
      throw new UnsupportedError(
        `${artifact.name}: ${tensor.name} is a vector of ${tensor.dtype}; F32, F16 or BF16 works.`,
      );
    }
    return { tensor, ...run };
  });
  checkRows(
    artifact,
    weight,
    runs.reduce((sum, run) => sum + run.count, 0),
    length,
  );
  // As Weights::vectorBytes in weights.h: rounded up, and room for a kernel that reads past the end.
  const bytes = Math.ceil((length * 4) / 128) * 128 + 128;
  return {
    name: weight.name,
    bytes,
    create(handle) {
      const vector = native.addVector(handle, length);
      let row = 0;
      const specs = runs.map(({ tensor, start, count }): Task => {
        const { ggml, blockBytes } = DTYPES[tensor.dtype];
        const spec = { vector, row, rows: count, type: ggml };
        row += count;
        return { tensor, spec, offset: tensor.offset + start * blockBytes, bytes: count * blockBytes };
      });
      return { store: { kind: "vector", vector }, specs };
    },
  };
}

function checkRows(artifact: ModelArtifact, weight: WeightRef, have: number, want: number): void {
  if (have !== want) {
    throw new ArtifactError(`${artifact.name}: ${weight.name} has ${have} rows, the model's shape says ${want}.`);
  }
}

/** The rows of a tensor that a part names. */
function rangeOf(
  artifact: ModelArtifact,
  weight: WeightRef,
  part: WeightPart,
  tensor: Tensor,
  rows: number,
): { readonly start: number; readonly count: number } {
  const start = part.rowStart ?? 0;
  const count = part.rowCount ?? rows - start;
  if (start < 0 || count < 1 || start + count > rows) {
    throw new ArtifactError(
      `${artifact.name}: ${weight.name} needs the rows ${start} … ${start + count} of ${tensor.name}, which has ${rows}.`,
    );
  }
  return { start, count };
}

function planMatrix(native: NativeAddon, artifact: ModelArtifact, weight: WeightRef): WeightPlan {
  const [cols, rows, experts = 1] = weight.shape.toReversed();
  invariant(cols !== undefined && rows !== undefined, `${weight.name} is no matrix`);
  const pieces = piecesOf(artifact, weight, rows, cols, experts);

  // Segments: the runs of the first expert, joined where the type stays and the border is one of 16 rows. The other
  // experts must be cut alike.
  const segments: { row: number; rows: number; dtype: DType; transposed: boolean }[] = [];
  for (const piece of pieces) {
    if (piece.expert > 0) break;
    const last = segments.at(-1);
    const { dtype } = piece.tensor;
    const joins = last && last.dtype === dtype && last.rows % GROUP_ROWS === 0 && !last.transposed && !piece.transposed;
    if (joins) last.rows += piece.rows;
    else segments.push({ row: piece.row, rows: piece.rows, dtype, transposed: piece.transposed });
  }
  const segmentOf = (piece: Piece): number => {
    const index = segments.findIndex((s) => piece.row >= s.row && piece.row + piece.rows <= s.row + s.rows);
    const segment = segments[index];
    const aligned = segment !== undefined && (piece.row - segment.row) % GROUP_ROWS === 0;
    const whole =
      segment !== undefined && (piece.rows % GROUP_ROWS === 0 || piece.row + piece.rows === segment.row + segment.rows);
    if (segment === undefined || segment.dtype !== piece.tensor.dtype || !aligned || !whole) {
      throw new UnsupportedError(
        `${artifact.name}: ${weight.name} is put together from parts that the cpu backend can't join ` +
          `(${piece.tensor.name}, ${piece.tensor.dtype}, rows ${piece.row} … ${piece.row + piece.rows}).`,
      );
    }
    return index;
  };
  const placed = pieces.map((piece) => ({ piece, segment: segmentOf(piece) }));

  const layouts = segments.map((segment) => {
    const layout = native.matrixLayout(DTYPES[segment.dtype].ggml, segment.rows, cols, experts);
    if (layout === undefined) {
      throw new UnsupportedError(
        `${artifact.name}: ${weight.name} is ${segment.dtype} with ${cols} columns, which the cpu backend can't read.`,
      );
    }
    return layout;
  });
  const int8 = layouts.some((layout) => layout.int8);
  if (int8 && layouts.some((layout) => !layout.int8)) {
    throw new UnsupportedError(`${artifact.name}: ${weight.name} mixes quantised and float formats.`);
  }
  return {
    name: weight.name,
    bytes: layouts.reduce((sum, layout) => sum + layout.bytes, 0),
    create(handle) {
      const stored = segments.map(({ dtype, row, rows: n }): Segment => {
        return { matrix: native.addMatrix(handle, DTYPES[dtype].ggml, n, cols, experts), row, rows: n };
      });
      const specs = placed.flatMap(({ piece, segment }) => {
        const target = stored[segment];
        invariant(target, `${weight.name} has no segment ${segment}`);
        return tasksOf(piece, target.matrix, piece.row - target.row, cols);
      });
      return { store: { kind: "matrix", segments: stored }, specs };
    },
  };
}

/** A weight's parts, cut at the borders of experts. */
function piecesOf(artifact: ModelArtifact, weight: WeightRef, rows: number, cols: number, experts: number): Piece[] {
  const pieces: Piece[] = [];
  let flat = 0;
  for (const part of weight.parts) {
    const tensor = tensorOfPart(artifact, part);
    const transposed = part.transpose === true;
    const shape = part.slice === undefined ? tensor.shape : tensor.shape.slice(1);
    const [inner = 0, ...outer] = shape.toReversed();
    const outerRows = outer.reduce((product, n) => product * n, 1);
    const range = rangeOf(artifact, weight, part, tensor, outerRows);
    if ((transposed ? range.count : inner) !== cols || (transposed && shape.length !== 2)) {
      throw new ArtifactError(
        `${artifact.name}: ${tensor.name} has the shape [${tensor.shape.join(", ")}], ` +
          `${weight.name} needs ${cols} columns.`,
      );
    }
    const { blockSize, blockBytes } = DTYPES[tensor.dtype];
    const skipped = (part.slice ?? 0) * outerRows + (transposed ? range.start : 0);
    const skip = ((skipped * inner) / blockSize) * blockBytes;
    // A transposed one's rows are the file's columns.
    let { start, count } = transposed ? { start: 0, count: inner } : range;
    while (count > 0) {
      const row = flat % rows;
      const run = Math.min(count, rows - row);
      pieces.push({ tensor, skip, fileRow: start, rows: run, expert: Math.floor(flat / rows), row, transposed });
      start += run;
      count -= run;
      flat += run;
    }
  }
  checkRows(artifact, weight, flat, rows * experts);
  return pieces;
}

function tasksOf(piece: Piece, matrix: number, row: number, cols: number): Task[] {
  const { tensor, skip, expert, fileRow } = piece;
  const { ggml: type, blockSize, blockBytes } = DTYPES[tensor.dtype];
  if (piece.transposed) {
    const transposed = tensor.shape.at(-1);
    invariant(transposed !== undefined, `${tensor.name} has no columns`);
    const spec = { matrix, expert, row, rows: piece.rows, type, transposed, fileRow };
    return [{ tensor, spec, offset: tensor.offset + skip, bytes: cols * transposed * blockBytes }];
  }
  const rowBytes = (cols / blockSize) * blockBytes;
  invariant(Number.isInteger(rowBytes), `${tensor.name}: ${cols} columns aren't whole blocks of ${tensor.dtype}`);
  const step = Math.max(1, Math.floor(TASK_BYTES / rowBytes / GROUP_ROWS)) * GROUP_ROWS;
  const tasks: Task[] = [];
  for (let done = 0; done < piece.rows; done += step) {
    const rows = Math.min(step, piece.rows - done);
    const spec = { matrix, expert, row: row + done, rows, type };
    tasks.push({ tensor, spec, offset: tensor.offset + skip + (fileRow + done) * rowBytes, bytes: rows * rowBytes });
  }
  return tasks;
}
