/** What suites and checks go through: the types of KV memory, and the formats of weights. */
import type { DType } from "../../src/artifact/dtype.ts";
import type { KvType } from "../../src/backend/contract.ts";

export const KV_TYPES: readonly KvType[] = ["f16", "f32", "q8"];
/** Every native format, and file formats that load into each of the general layouts. */
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
];
