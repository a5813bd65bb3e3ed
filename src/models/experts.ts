/**
 * The experts' matrices of one layer, however the file keeps them: stacked (GGUF, `ffn_gate_exps [E, F, d]`), fused
 * (Granite, and transformers 5 in memory: `gate_up_proj [E, 2F, d]`; Llama 4 and gpt-oss transposed), or one tensor for
 * each expert. The graph's `experts` wants an expert's gate rows and then its up rows, expert after expert, which is a list
 * of parts. Biases are taken where the file has them.
 */
import type { WeightPart, WeightRef } from "../graph/graph.ts";
import type { TensorFinder } from "./tensors.ts";

export interface ExpertShape {
  readonly experts: number;
  /** Columns inside one expert, and of what it reads. */
  readonly hidden: number;
  readonly width: number;
  /** Hugging Face's file holds each expert's matrices as [K, N]. */
  readonly transposed?: boolean;
  /** Which part gates. Default: experts have gates of their own. */
  readonly gate?: "expertGate" | "expertUp";
}

export interface ExpertWeights {
  readonly gateUp: WeightRef;
  readonly down: WeightRef;
  readonly gateUpBias?: WeightRef;
  readonly downBias?: WeightRef;
}

/** `names(part, suffix)`: what a part of this layer may be called. */
export function expertWeights(
  tensors: TensorFinder,
  names: (part: string, suffix: string) => string[],
  shape: ExpertShape,
): ExpertWeights {
  const fusedNames = (part: string): string[] => [...names(part, ""), ...names(part, ".weight")];
  if (tensors.find(fusedNames("expertsGateUp")) !== undefined) return fused(tensors, fusedNames, names, shape);
  const stackedNames = (part: string, suffix: string): string[] =>
    names(part, "").map((name) => `${name.replace(/\.\*$/, "_exps")}${suffix}`);
  if (tensors.find(stackedNames("expertUp", ".weight")) !== undefined) return stacked(tensors, stackedNames, shape);
  return apart(tensors, names, shape);
}

function fused(
  tensors: TensorFinder,
  fusedNames: (part: string) => string[],
  names: (part: string, suffix: string) => string[],
  { experts, hidden, width, transposed = false }: ExpertShape,
): ExpertWeights {
  const stack = (part: string, n: number, k: number): WeightRef => {
    // Blocks lie along K: what is quantised in them (gpt-oss' own checkpoint) is [N, K] whatever the family does.
    const isTurned = transposed && tensors.find(fusedNames(part))?.dtype !== "MXFP4";
    const { name } = tensors.get(fusedNames(part), isTurned ? [experts, k, n] : [experts, n, k]);
    const slices = Array.from({ length: experts }, (_, slice) => ({ tensor: name, slice, transpose: true }));
    return { name, shape: [experts, n, k], parts: isTurned ? slices : [{ tensor: name }] };
  };
  const bias = (part: string, columns: number): WeightRef | undefined => {
    const found = tensors.find(names(part, "_bias"));
    if (found === undefined) return undefined;
    const { name } = tensors.get([found.name], [experts, columns]);
    return { name, shape: [experts * columns], parts: [{ tensor: name }] };
  };
  const [gateUpBias, downBias] = [bias("expertsGateUp", 2 * hidden), bias("expertsDown", width)];
  return {
    gateUp: stack("expertsGateUp", 2 * hidden, width),
    down: stack("expertsDown", width, hidden),
    ...(gateUpBias && { gateUpBias }),
    ...(downBias && { downBias }),
  };
}

function stacked(
  tensors: TensorFinder,
  names: (part: string, suffix: string) => string[],
  { experts, hidden, width, gate: gates = "expertGate" }: ExpertShape,
): ExpertWeights {
  const find = (part: string, suffix: string, shape: readonly number[]): string =>
    tensors.get(names(part, suffix), shape).name;
  /** Runs of `hidden` rows, of gates and ups in turn. */
  const inTurn = (gate: string, up: string): WeightPart[] =>
    Array.from({ length: experts }, (_, e) =>
      [gate, up].map((tensor) => ({ tensor, rowStart: e * hidden, rowCount: hidden })),
    ).flat();
  const gate = find(gates, ".weight", [experts, hidden, width]);
  const up = find("expertUp", ".weight", [experts, hidden, width]);
  const down = find("expertDown", ".weight", [experts, width, hidden]);
  const weights = {
    gateUp: { name: `${gate} + ${up}`, shape: [experts, 2 * hidden, width], parts: inTurn(gate, up) },
    down: { name: down, shape: [experts, width, hidden], parts: [{ tensor: down }] },
  };
  if (tensors.find(names("expertGate", ".bias")) === undefined) return weights;
  const gateBias = find("expertGate", ".bias", [experts, hidden]);
  const upBias = find("expertUp", ".bias", [experts, hidden]);
  const downBias = find("expertDown", ".bias", [experts, width]);
  return {
    ...weights,
    gateUpBias: {
      name: `${gateBias} + ${upBias}`,
      shape: [experts * 2 * hidden],
      parts: inTurn(gateBias, upBias),
    },
    downBias: { name: downBias, shape: [experts * width], parts: [{ tensor: downBias }] },
  };
}

function apart(
  tensors: TensorFinder,
  names: (part: string, suffix: string) => string[],
  { experts, hidden, width, gate: gates = "expertGate" }: ExpertShape,
): ExpertWeights {
  const one = (part: string, e: number, shape: readonly number[]): WeightPart => {
    const candidates = names(part, ".weight").map((name) => name.replace("*", String(e)));
    return { tensor: tensors.get(candidates, shape).name };
  };
  const gateUp: WeightPart[] = [];
  const down: WeightPart[] = [];
  for (let e = 0; e < experts; e++) {
    gateUp.push(one(gates, e, [hidden, width]), one("expertUp", e, [hidden, width]));
    down.push(one("expertDown", e, [width, hidden]));
  }
  const name = (parts: readonly WeightPart[]): string => `${parts[0]?.tensor ?? ""} …`;
  return {
    gateUp: { name: name(gateUp), shape: [experts, 2 * hidden, width], parts: gateUp },
    down: { name: name(down), shape: [experts, width, hidden], parts: down },
  };
}
