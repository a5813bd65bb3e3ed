/**
 * The importance of columns, measured: the calibration's sequences go through the model layer by layer, and the mean squares
 * of what each matrix reads are taken (llama.cpp's "importance matrix"). Files of it are read in `imatrix.ts`.
 */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Calibration, Importance } from "./calibration.ts";
import { LayerWalk } from "./layer-walk.ts";
import { ColumnStatistics } from "./column-statistics.ts";
import type { PassContext } from "./pass.ts";

/** By tensor the mean squares of the columns that it reads; the matrices of layers, and the head. */
export async function measureImportance(
  artifact: ModelArtifact,
  { backend, progress, signal }: Pick<PassContext, "backend" | "progress" | "signal">,
  calibration: Calibration,
): Promise<Importance> {
  const columns = new Map<string, Float32Array>();
  const walk = await LayerWalk.begin(artifact, { backend, calibration, signal });
  const total = walk.sections.layers.length;
  for (let section = walk.section; section !== undefined; section = walk.section) {
    const { sites, index } = section;
    const inputs = [...new Set(sites.map(({ input }) => input))];
    const squares = new Map(
      inputs.map((value) => [value, new ColumnStatistics(walk.sections.graph.widths[value] ?? 0)]),
    );
    walk.accept(await walk.observe(inputs, (value, rows) => squares.get(value)?.add(rows)));
    for (const { tensor, input } of sites) {
      const mean = squares.get(input)?.meanSquare();
      if (mean !== undefined) columns.set(tensor, mean);
    }
    progress({ done: index + 1, total, unit: "steps" });
  }
  return { name: calibration.name, columns };
}
