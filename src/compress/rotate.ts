/**
 * The pass `rotate`: the residual stream turned by an orthogonal matrix, folded into the weights, and each head's values
 * turned likewise between the matrix that makes them and the one that reads them. The function stays; outliers of single
 * columns are spread over all. These are QuaRot's rotations (Ashkboos et al. 2024) and SpinQuant's R1 and R2 (Liu et al.
 * 2024); those that have to be computed anew for each row (before the MLP's last matrix, and of keys) are not here.
 */
import { z } from "zod";

import type { ModelArtifact } from "../artifact/artifact.ts";
import { Hadamard } from "./linear-algebra/hadamard.ts";
import { randomOrthogonal } from "./linear-algebra/qr.ts";
import { SeededRandom } from "./linear-algebra/random.ts";
import { definePass, type PassContext, type PassResult } from "./pass.ts";
import { hadamardMap, matrixMap, type RowMap, type TensorChange } from "./row-maps.ts";
import { residualStream } from "./stream.ts";
import { turnStream } from "./turn-stream.ts";
import { type ValueHeads, valueHeads } from "./value-heads.ts";

const OPTIONS = z.strictObject({
  /** "hadamard": ±1/√n, with random signs; "orthogonal": any, uniformly drawn. */
  kind: z.enum(["hadamard", "orthogonal"]).default("hadamard"),
  seed: z.int().min(0).max(0xffff_ffff).default(0),
  /** Each head's values, too. */
  values: z.boolean().default(true),
  /** The format of what changed. */
  type: z.enum(["F32", "F16", "BF16"]).default("F32"),
});
type Options = z.infer<typeof OPTIONS>;

export const rotate = definePass<Options>({
  name: "rotate",
  summary: "QuaRot's folded rotations (Ashkboos et al. 2024): turn the residual stream and the heads' values",
  taxonomy: {
    tensors: ["weights", "activations"],
    format: "as it was",
    parameters: "none",
    update: "equivalent transform",
  },
  needsCalibration: false,
  options: OPTIONS,
  apply,
});

async function apply(artifact: ModelArtifact, context: PassContext, options: Options): Promise<PassResult> {
  const stream = await residualStream(artifact);
  const random = new SeededRandom(options.seed);
  const map = rotation(stream.width, options.kind, random);
  const heads = options.values ? valueHeads(artifact, stream.graph) : [];
  const more = turnValues(heads, (width) => rotation(width, options.kind, random));
  const turned = await turnStream(artifact, stream, { map, dtype: options.type, more }, context);
  return {
    artifact: turned,
    report: { kind: options.kind, seed: options.seed, width: stream.width, layersOfValues: heads.length },
  };
}

function rotation(width: number, kind: Options["kind"], random: SeededRandom): RowMap {
  return kind === "hadamard" ? hadamardMap(new Hadamard(width, random)) : matrixMap(randomOrthogonal(width, random));
}

/** For each layer a map of its own. What makes values goes through it, what reads them through its transpose. */
function turnValues(heads: readonly ValueHeads[], mapOf: (width: number) => RowMap): Map<string, TensorChange> {
  const changes = new Map<string, TensorChange>();
  for (const { width, values, output } of heads) {
    const map = mapOf(width);
    const { tensor, bias, start, count } = values;
    changes.set(tensor.name, { rows: [{ map, start, count }] });
    if (bias !== undefined) changes.set(bias.name, { rows: [{ map, start, count }] });
    changes.set(output.name, { columns: [map] });
  }
  return changes;
}
