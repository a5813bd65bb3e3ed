/**
 * How much an error in a column of a matrix counts: the mean square of the activations that meet it (llama.cpp's
 * "importance matrix"). Measured with the calibration's text, or read from an imatrix file (`imatrix.ts`).
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Calibration, Importance } from "./calibration.ts";
import type { PassContext } from "./pass.ts";
import { UnsupportedError } from "../errors.ts";

/** Runs the calibration's sequences through the model and takes the mean squares of what its matrices read. */
export async function measureImportance(
  artifact: ModelArtifact,
  _context: PassContext,
  _calibration: Calibration,
): Promise<Importance> {
  throw new UnsupportedError(`${artifact.name}: not yet`);
}
