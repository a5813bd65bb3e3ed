/**
 * What passes and lowerings must know of each op. An op that isn't entered here doesn't compile.
 */
import type { Op } from "./graph.ts";

export interface OpTraits {
  /** An output row depends on the same row of the inputs and on nothing else (not on its position either). */
  readonly rowLocal: boolean;
  /** It changes a state: it stays though nothing reads its output. */
  readonly writes: boolean;
}

const LOCAL: OpTraits = { rowLocal: true, writes: false };
const GLOBAL: OpTraits = { rowLocal: false, writes: false };

export const OP_TRAITS: Readonly<Record<Op, OpTraits>> = {
  embed: GLOBAL,
  positionEmbed: GLOBAL,
  input: GLOBAL,
  linear: LOCAL,
  rmsNorm: LOCAL,
  layerNorm: LOCAL,
  rope: GLOBAL,
  headLinear: LOCAL,
  concat: LOCAL,
  attention: { rowLocal: false, writes: true },
  latentAttention: { rowLocal: false, writes: true },
  gate: LOCAL,
  activation: LOCAL,
  add: LOCAL,
  scale: LOCAL,
  clamp: LOCAL,
  softcap: LOCAL,
  slice: LOCAL,
  positionScale: GLOBAL,
  route: LOCAL,
  experts: LOCAL,
  rows: LOCAL,
  lora: LOCAL,
  quantize: LOCAL,
  writeRows: { rowLocal: false, writes: true },
  readRows: GLOBAL,
  conv: { rowLocal: false, writes: true },
  scan: { rowLocal: false, writes: true },
  selectiveScan: { rowLocal: false, writes: true },
  wkv: { rowLocal: false, writes: true },
  matrixScan: { rowLocal: false, writes: true },
  pick: LOCAL,
  bias: LOCAL,
  columnScale: LOCAL,
  kvWrite: { rowLocal: false, writes: true },
  latentWrite: { rowLocal: false, writes: true },
  attendState: GLOBAL,
};
