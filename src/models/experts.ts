/**
 * The experts' matrices of one layer, however the file keeps them: stacked (GGUF, `ffn_gate_exps [E, F, d]`),
 * fused (Granite, and transformers 5 in memory: `gate_up_proj [E, 2F, d]`), or one tensor for each expert. The graph's `moe`
 * wants an expert's gate rows and then its up rows, expert after expert, which is a list of parts.
 */
import type { WeightPart, WeightRef } from "../graph/graph.ts";
import type { TensorFinder } from "./tensors.ts";

/** `names(part, suffix)`: what a part of this layer may be called. */
export function expertWeights(
  tensors: TensorFinder,
  names: (part: string, suffix: string) => string[],
  experts: number,
  hidden: number,
  width: number,
): { readonly gateUp: WeightRef; readonly down: WeightRef } {
  const gateUpShape = [experts, 2 * hidden, width];
  const downShape = [experts, width, hidden];
  const matrix = (name: string, shape: readonly number[], parts: readonly WeightPart[]): WeightRef => ({
    name,
    shape,
    parts,
  });
  const fusedNames = (part: string): string[] => [...names(part, ""), ...names(part, ".weight")];

  const fused = tensors.find(fusedNames("expertsGateUp"));
  if (fused !== undefined) {
    const gateUp = tensors.get([fused.name], gateUpShape).name;
    const down = tensors.get(fusedNames("expertsDown"), downShape).name;
    return {
      gateUp: matrix(gateUp, gateUpShape, [{ tensor: gateUp }]),
      down: matrix(down, downShape, [{ tensor: down }]),
    };
  }

  const stackedName = (part: string): string[] =>
    names(part, "").map((name) => `${name.replace(/\.\*$/, "_exps")}.weight`);
  const stacked = tensors.find(stackedName("expertGate"));
  if (stacked !== undefined) {
    const gate = tensors.get([stacked.name], [experts, hidden, width]).name;
    const up = tensors.get(stackedName("expertUp"), [experts, hidden, width]).name;
    const down = tensors.get(stackedName("expertDown"), downShape).name;
    const parts = Array.from({ length: experts }, (_, e): WeightPart[] => [
      { tensor: gate, rowStart: e * hidden, rowCount: hidden },
      { tensor: up, rowStart: e * hidden, rowCount: hidden },
    ]);
    return {
      gateUp: matrix(`${gate} + ${up}`, gateUpShape, parts.flat()),
      down: matrix(down, downShape, [{ tensor: down }]),
    };
  }

  const one = (part: string, e: number, shape: readonly number[]): WeightPart => {
    const candidates = names(part, ".weight").map((name) => name.replace("*", String(e)));
    return { tensor: tensors.get(candidates, shape).name };
  };
  const gateUp: WeightPart[] = [];
  const down: WeightPart[] = [];
  for (let e = 0; e < experts; e++) {
    gateUp.push(one("expertGate", e, [hidden, width]), one("expertUp", e, [hidden, width]));
    down.push(one("expertDown", e, [width, hidden]));
  }
  const name = (parts: readonly WeightPart[]): string => `${parts[0]?.tensor ?? ""} …`;
  return { gateUp: matrix(name(gateUp), gateUpShape, gateUp), down: matrix(name(down), downShape, down) };
}
