/**
 * What compression asks of the native side: blocks of file formats made from floats, and the linear algebra of methods
 * that a profile shows to need it. A team of threads of its own; no graph, no weights. Which method calls what stands in
 * `compress/`.
 */
import { DTYPES } from "../../artifact/dtype.ts";
import { invariant } from "../../errors.ts";
import { loadAddon, type LoadAddonOptions } from "./addon.ts";
import { asNativeAddon, type NativeAddon, type TeamHandle } from "./native.ts";

export interface ToolkitOptions extends LoadAddonOptions {
  /** Default: the cores that this process may use. */
  readonly threads?: number | undefined;
}

/** The formats that blocks can be made of. */
export const QUANTIZABLE = [
  "Q4_0",
  "Q4_1",
  "Q5_0",
  "Q5_1",
  "Q8_0",
  "Q2_K",
  "Q3_K",
  "Q4_K",
  "Q5_K",
  "Q6_K",
  "IQ4_NL",
  "IQ4_XS",
  "TQ1_0",
  "TQ2_0",
  "MXFP4",
  "NVFP4",
] as const;
export type QuantizedDType = (typeof QUANTIZABLE)[number];

/** Rows in a file format, and the sum of the squared errors of each row. */
export interface QuantizedRows {
  readonly bytes: Uint8Array;
  readonly errors: Float32Array;
}

/** Loads (at the first use on a machine: compiles) the addon and starts the threads. Throws NativeError. */
export async function createToolkit(options: ToolkitOptions = {}): Promise<Toolkit> {
  const native = asNativeAddon(await loadAddon({ onBuild: options.onBuild, signal: options.signal }));
  return new Toolkit(native, native.createTeam(options.threads ?? native.cores(), undefined));
}

export class Toolkit {
  readonly #native: NativeAddon;
  readonly #team: TeamHandle;

  constructor(native: NativeAddon, team: TeamHandle) {
    this.#native = native;
    this.#team = team;
  }

  /**
   * Rounds rows to a block format, each block's scales searched so that the weighted squared error is least.
   * @param values `[rows, columns]`, untouched until the promise is settled
   * @param importance `[columns]`: how much an error in a column counts (the mean square of its activations)
   */
  async quantize(
    dtype: QuantizedDType,
    values: Float32Array,
    columns: number,
    importance?: Float32Array,
  ): Promise<QuantizedRows> {
    const { ggml, blockSize, blockBytes } = DTYPES[dtype];
    invariant(values.length % columns === 0 && columns % blockSize === 0, `rows of ${columns} as ${dtype}`);
    const bytes = new Uint8Array((values.length / blockSize) * blockBytes);
    const errors = new Float32Array(values.length / columns);
    await this.#native.quantizeRows(this.#team, ggml, columns, values, importance, bytes, errors);
    return { bytes, errors };
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    this.#native.stopTeam(this.#team);
    this.#native.close(this.#team);
  }
}
