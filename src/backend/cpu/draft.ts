/**
 * Instructions while they are emitted: their operands are places in buffers that have no addresses yet. Once the arena
 * is planned, `finish` turns a draft into what the executor reads.
 */
import type { Buffer } from "./arena.ts";
import type { Instruction, Span, Span8 } from "./native.ts";

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

/** An instruction whose buffers have no addresses yet. */
export type Draft = Omit<Instruction, "x" | "y" | "z" | "t" | "q" | "q2" | "experts"> & {
  readonly x?: Place;
  readonly y?: Place;
  readonly z?: Place;
  readonly t?: Place;
  readonly q?: Place8;
  readonly q2?: Place8;
  readonly experts?: readonly [Buffer, Buffer, Buffer, Buffer];
};

export function buffersOf(draft: Draft): Buffer[] {
  const buffers: Buffer[] = [];
  for (const place of [draft.x, draft.y, draft.z, draft.t]) if (place) buffers.push(place.buffer);
  for (const place of [draft.q, draft.q2]) if (place) buffers.push(place.codes, place.scales, place.sums);
  buffers.push(...(draft.experts ?? []));
  return buffers;
}

export function spanOf(place: Place): Span {
  return [place.buffer.at + 4 * place.column, place.stride];
}

function span8Of(place: Place8): Span8 {
  return [place.codes.at, place.scales.at, place.sums.at, place.cols];
}

export function finish(draft: Draft): Instruction {
  const { x, y, z, t, q, q2, experts, ...rest } = draft;
  return {
    ...rest,
    ...(x && { x: spanOf(x) }),
    ...(y && { y: spanOf(y) }),
    ...(z && { z: spanOf(z) }),
    ...(t && { t: spanOf(t) }),
    ...(q && { q: span8Of(q) }),
    ...(q2 && { q2: span8Of(q2) }),
    ...(experts && { experts: [experts[0].at, experts[1].at, experts[2].at, experts[3].at] as const }),
  };
}
