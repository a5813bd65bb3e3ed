/**
 * Admission: whether one more request fits beside those that run. `reserve` sets aside all that each may come to need;
 * `peak` the most that they can hold at one time, since they don't all end together (Gong et al. 2025, LightLLM's
 * past-future scheduler, with the longest possible answers: nothing is ever preempted); `optimistic` what they hold now,
 * and somebody is preempted when that was too little.
 */
import { BLOCK_TOKENS } from "../../backend/contract.ts";
import type { EngineRequest, Sequence } from "../request.ts";
import type { SchedulerView } from "./policy.ts";

/** Says of one request after another whether it fits, too; one that does is counted from then on. */
export type Admission = (view: SchedulerView) => (request: Readonly<EngineRequest>) => boolean;

export const reserve = ({ running, memory }: Pick<SchedulerView, "running" | "memory">): ReturnType<Admission> => {
  const taken = memory.map((_, g) => running.reduce((sum, { need }) => sum + (need[g] ?? 0), 0));
  return ({ need }) => {
    if (memory.some(({ size }, g) => (taken[g] ?? 0) + (need[g] ?? 0) > size)) return false;
    for (const [g, blocks] of need.entries()) taken[g] = (taken[g] ?? 0) + blocks;
    return true;
  };
};

export const peak: Admission = (view) => {
  const { running, memory } = view;
  const growing = running.flatMap(growthOf);
  const fitsRest = reserveRest(view);
  return (request) => {
    const growth = growthOf(request);
    const all = [...growing, ...growth];
    const most = peakOf(all);
    // Whoever is alone fits: that was seen to when it came.
    const isAlone = growing.length === 0;
    const fits = memory.every(({ size, grows, slack }) => !grows || isAlone || most + all.length * slack <= size);
    if (!fits || !fitsRest(request)) return false;
    growing.push(...growth);
    return true;
  };
};

export const optimistic: Admission = (view) => {
  const { running, memory } = view;
  const answers = running.reduce((sum, { unfinished }) => sum + unfinished.length, 0);
  // A block for everybody's next tokens, and what the prompts that are being computed still lack.
  const lacking = running.reduce((sum, request) => sum + Math.max(0, promptBlocks(request) - heldBlocks(request)), 0);
  let promised = answers + lacking;
  const fitsRest = reserveRest(view);
  return (request) => {
    const wanted = promptBlocks(request) + request.unfinished.length;
    const fits = memory.every(({ free, grows }) => !grows || promised + wanted <= free);
    // Whoever is alone gets all there is.
    if (!fits && promised > 0) return false;
    if (!fitsRest(request)) return false;
    promised += wanted;
    return true;
  };
};

export const ADMISSIONS = { reserve, peak, optimistic } as const;
export type AdmissionName = keyof typeof ADMISSIONS;
export const ADMISSION_NAMES = ["reserve", "peak", "optimistic"] as const satisfies readonly AdmissionName[];

/** In groups that don't grow with the tokens, a request holds from the start what it will need. */
function reserveRest({ running, memory }: SchedulerView): ReturnType<Admission> {
  return reserve({ running, memory: memory.map((group) => (group.grows ? { ...group, size: Infinity } : group)) });
}

/** A sequence's blocks once its prompt is computed, and the tokens that may still come. */
interface Growth {
  readonly blocks: number;
  readonly left: number;
}

function growthOf(request: Readonly<EngineRequest>): Growth[] {
  const prompt = request.work.prompt.length;
  return request.unfinished.map((sequence: Readonly<Sequence>, i) => {
    const tokens = Math.max(prompt, sequence.reach);
    // Answers share the prompt's full blocks.
    const shared = i === 0 ? 0 : Math.floor(prompt / BLOCK_TOKENS);
    return { blocks: Math.ceil(tokens / BLOCK_TOKENS) - shared, left: request.capacity - tokens };
  });
}

/** When the i longest are left, each has grown by what the shortest of them had left. */
function peakOf(all: readonly Growth[]): number {
  let [held, most] = [0, 0];
  for (const [i, { blocks, left }] of all.toSorted((a, b) => b.left - a.left).entries()) {
    held += blocks;
    most = Math.max(most, held + (i + 1) * Math.ceil(left / BLOCK_TOKENS));
  }
  return most;
}

function promptBlocks({ sequences, unfinished, work }: Readonly<EngineRequest>): number {
  const known = sequences.length > 1 ? work.prompt.length : Math.max(...unfinished.map(({ length }) => length));
  return Math.ceil(known / BLOCK_TOKENS);
}

function heldBlocks({ unfinished }: Readonly<EngineRequest>): number {
  return Math.max(0, ...unfinished.map(({ planned }) => Math.ceil(planned / BLOCK_TOKENS)));
}
