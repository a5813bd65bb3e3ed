/** What suites and checks go through: the types of KV memory, and the formats of weights. */
import type { DType } from "../../src/artifact/dtype.ts";
import type { KvType } from "../../src/backend/contract.ts";

export const KV_TYPES: readonly KvType[] = ["f16", "f32", "q8"];
/** Every format with a layout of its own, and two that load into the general ones. */
export const FORMATS: readonly DType[] = [
  "F32",
  "F16",
  "BF16",
  "Q4_0",
  "Q4_1",
  "Q8_0",
  "Q4_K",
  "Q5_K",
  "Q6_K",
  "Q3_K",
  "Q2_K",
  "Q5_0",
  "Q5_1",
  "IQ4_NL",
  "IQ4_XS",
  "MXFP4",
  "NVFP4",
  "TQ1_0",
  "TQ2_0",
  "IQ3_S",
  "IQ2_S",
];
