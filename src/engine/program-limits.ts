/** What programs are compiled for, by the limits of the engine that runs them. */
import type { CompileOptions } from "../backend/contract.ts";
import type { ValueShape } from "../graph/interface.ts";
import type { StepLimits } from "./limits.ts";

/** How large the steps of an engine with these limits may be. */
export function compileOptions(
  limits: StepLimits,
  groups: number,
  outputs: readonly ValueShape[],
  inputs: readonly ValueShape[] = [],
): CompileOptions {
  const { stepTokens, maxSequences, maxOutputs, maxListed, maxDraft } = limits;
  return {
    stepTokens,
    maxSequences,
    maxOutputs,
    samplerSlots: maxSequences,
    maxListed,
    maxMoves: groups * maxSequences * maxDraft,
    maxCopies: groups * maxSequences,
    outputs: outputs.map(({ name }) => name),
    inputs: inputs.map(({ name }) => name),
    maxInputRows: inputs.length > 0 ? stepTokens : 0,
  };
}

/** How large the steps of a drafting model may be, or with a `beam` of a head, of whose rows two outputs are wanted. */
export function draftingOptions(limits: StepLimits, groups: number, beam = 0): CompileOptions {
  const { maxSequences } = limits;
  if (beam === 0) return { ...compileOptions(limits, groups, []), maxOutputs: maxSequences, maxListed: 0 };
  return {
    ...compileOptions(limits, groups, []),
    maxOutputs: 2 * beam * maxSequences,
    outputs: ["feature"],
    inputs: ["feature"],
    maxInputRows: beam * maxSequences,
  };
}
