/**
 * The storage formats of weights: names, GGUF type ids, block geometry. What a block's bytes mean stands in
 * `dequantize.ts` (and, packed for speed, in each backend).
 */

export interface DTypeInfo {
  /** ggml_type id in GGUF files. */
  readonly ggml: number;
  /** Weights in a block, along the last (contiguous) dimension. */
  readonly blockSize: number;
  /** Bytes in a block. */
  readonly blockBytes: number;
}

const table = {
  F32: { ggml: 0, blockSize: 1, blockBytes: 4 },
  F16: { ggml: 1, blockSize: 1, blockBytes: 2 },
  BF16: { ggml: 30, blockSize: 1, blockBytes: 2 },
  Q4_0: { ggml: 2, blockSize: 32, blockBytes: 18 },
  Q4_1: { ggml: 3, blockSize: 32, blockBytes: 20 },
  Q5_0: { ggml: 6, blockSize: 32, blockBytes: 22 },
  Q5_1: { ggml: 7, blockSize: 32, blockBytes: 24 },
  Q8_0: { ggml: 8, blockSize: 32, blockBytes: 34 },
  Q2_K: { ggml: 10, blockSize: 256, blockBytes: 84 },
  Q3_K: { ggml: 11, blockSize: 256, blockBytes: 110 },
  Q4_K: { ggml: 12, blockSize: 256, blockBytes: 144 },
  Q5_K: { ggml: 13, blockSize: 256, blockBytes: 176 },
  Q6_K: { ggml: 14, blockSize: 256, blockBytes: 210 },
  IQ2_XXS: { ggml: 16, blockSize: 256, blockBytes: 66 },
  IQ2_XS: { ggml: 17, blockSize: 256, blockBytes: 74 },
  IQ3_XXS: { ggml: 18, blockSize: 256, blockBytes: 98 },
  IQ1_S: { ggml: 19, blockSize: 256, blockBytes: 50 },
  IQ4_NL: { ggml: 20, blockSize: 32, blockBytes: 18 },
  IQ3_S: { ggml: 21, blockSize: 256, blockBytes: 110 },
  IQ2_S: { ggml: 22, blockSize: 256, blockBytes: 82 },
  IQ4_XS: { ggml: 23, blockSize: 256, blockBytes: 136 },
  IQ1_M: { ggml: 29, blockSize: 256, blockBytes: 56 },
  TQ1_0: { ggml: 34, blockSize: 256, blockBytes: 54 },
  TQ2_0: { ggml: 35, blockSize: 256, blockBytes: 66 },
  MXFP4: { ggml: 39, blockSize: 32, blockBytes: 17 },
  NVFP4: { ggml: 40, blockSize: 64, blockBytes: 36 },
} as const satisfies Record<string, DTypeInfo>;

export type DType = keyof typeof table;

export const DTYPES: Readonly<Record<DType, DTypeInfo>> = table;
