/**
 * The general layout: any quantised format, losslessly, as int8 codes with a float32 scale and, where the format has
 * one, a float32 minimum for every 16 or 32 weights: w = scale × code + min. Computed in float32 the product is exact
 * (a format's scale × code has at most 24 significant bits), so the sum is rounded once and equals, bit for bit, what
 * the format's definition gives. `dequantize.ts` makes it; the native backend loads formats without a kernel of their
 * own in this form and takes this code as its reference.
 */

export interface GeneralLayout {
  /** Weights that share a scale: 16 or 32. */
  readonly groupSize: 16 | 32;
  /** One a weight. */
  readonly codes: Int8Array;
  /** One a group. */
  readonly scales: Float32Array;
  /** One a group; empty where the format has no minimum. */
  readonly mins: Float32Array;
}

/** How one format's blocks turn into the general layout. */
export interface BlockDecoder {
  readonly groupSize: 16 | 32;
  readonly hasMin: boolean;
  /** Reads the block at byte `at` of `src`, writes its codes from weight `w` on and its groups from `w / groupSize` on. */
  readonly decode: (src: DataView, at: number, out: GeneralLayout, w: number) => void;
}
