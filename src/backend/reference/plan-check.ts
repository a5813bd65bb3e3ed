/**
 * The rules of a plan that its types don't say: counts and limits, ids, rows, blocks. A plan that breaks one is refused
 * as a whole before anything has changed. Sampler slots are slots.ts's to check, references the timeline's.
 */
import { invariant } from "../../errors.ts";
import type { Graph } from "../../graph/graph.ts";
import { graphInputs, tokenIdsOf } from "../../graph/interface.ts";
import {
  BLOCK_TOKENS,
  BORDER_TOKENS,
  HISTORY_TOKENS,
  MAX_TOP_LOGPROBS,
  type CompileOptions,
  type Pool,
  type StepPlan,
} from "../contract.ts";
import { findState } from "../groups.ts";
import { granuleOf } from "./borders.ts";
import { placeOf } from "./pool.ts";
import { ownPlace, sequencesOf, sightOf, slotAt } from "./sight.ts";

/** What a program's plans are checked against. */
export interface PlanLimits {
  readonly options: CompileOptions;
  readonly pool: Pool;
  /** The groups of the pool that the program's graph uses: others' block tables aren't looked at. */
  readonly groups: readonly number[];
  /** Columns of each named input. */
  readonly inputWidths: readonly number[];
  readonly vocabSize: number;
  /** Rows of the smallest table that token ids, or positions, are looked up in. */
  readonly tokenIds: number;
  readonly positions: number;
}

export function planLimits(graph: Graph, pool: Pool, options: CompileOptions): PlanLimits {
  const places = graph.nodes.flatMap((node) => (node.op === "positionEmbed" ? [node.weight.shape[0] ?? 0] : []));
  return {
    options,
    pool,
    groups: [...new Set(graph.states.map(({ name }) => findState(pool.groups, name).group))],
    inputWidths: (options.inputs ?? []).map((name) => graphInputs(graph).get(name) ?? 0),
    vocabSize: graph.vocabSize,
    tokenIds: tokenIdsOf(graph) ?? Infinity,
    positions: Math.min(Infinity, ...places),
  };
}

/** `plan` is a copy: each list is as long as its count, if the caller's was. */
export function checkPlan(plan: StepPlan, limits: PlanLimits): void {
  checkCounts(plan, limits);
  checkRows(plan, limits);
  checkInputs(plan, limits);
  checkAdapters(plan, limits);
  checkSight(plan, limits);
  checkBorders(plan, limits);
  checkBlockMoves(plan, limits);
  checkOutputs(plan, limits);
}

function checkCounts(plan: StepPlan, { options, pool }: PlanLimits): void {
  const named = plan.outputs.reduce((sum, { count }) => sum + count, 0);
  const counts: readonly (readonly [what: string, count: number, limit: number])[] = [
    ["tokens", plan.tokenCount, options.stepTokens],
    ["sequences", plan.sequenceCount, options.maxSequences],
    ["listed slots", plan.listedCount, options.maxListed],
    ["moves", plan.moveCount, options.maxMoves],
    ["block copies", plan.copyCount, options.maxCopies],
    ["input rows", plan.inputs.reduce((sum, { count }) => sum + count, 0), options.maxInputRows ?? 0],
    ["output rows", plan.sampleCount + plan.logprobCount + named, options.maxOutputs],
  ];
  for (const [what, count, limit] of counts)
    invariant(count >= 0 && count <= limit, `${count} ${what} in a step of at most ${limit}`);
  const lists: readonly (readonly [Int32Array, number])[] = [
    [plan.tokens, plan.tokenCount],
    [plan.positions, plan.tokenCount],
    [plan.slots, plan.tokenCount],
    [plan.seen, plan.tokenCount],
    [plan.listStarts, plan.tokenCount + 1],
    [plan.listed, plan.listedCount],
    [plan.queryStarts, plan.sequenceCount + 1],
    [plan.borders, plan.sequenceCount],
    [plan.adapters, plan.sequenceCount],
    [plan.moves, 5 * plan.moveCount],
    [plan.copies, 3 * plan.copyCount],
    [plan.references, 2 * plan.referenceCount],
    [plan.closes, plan.closeCount],
    [plan.commits, 2 * plan.commitCount],
    [plan.sampleRows, plan.sampleCount],
    [plan.sampleSlots, plan.sampleCount],
    [plan.sampleTop, plan.sampleCount],
    [plan.sampleMasked, plan.sampleCount],
    [plan.countStarts, plan.sampleCount + 1],
    [plan.counted, plan.countedCount],
    [plan.logprobRows, plan.logprobCount],
    [plan.logprobIds, plan.logprobCount],
    [plan.logprobTop, plan.logprobCount],
    ...[...plan.inputs, ...plan.outputs].map(({ rows, count }) => [rows, count] as const),
    ...plan.blockTables.map(({ ids, stride }) => [ids, plan.sequenceCount * stride] as const),
  ];
  for (const [list, count] of lists) invariant(list.length === count, "a list is shorter than its count");
  invariant(plan.blockTables.length === pool.groups.length, "a plan has one block table for each group");
  const { inputs = [] } = options;
  invariant(plan.inputs.length === inputs.length, "a plan has one list for each named input");
  invariant(plan.outputs.length === options.outputs.length, "a plan has one list for each named output");
  checkStarts("query starts", plan.queryStarts, plan.tokenCount);
  checkStarts("starts of listed slots", plan.listStarts, plan.listedCount);
  checkStarts("starts of counted rows", plan.countStarts, plan.countedCount);
}

function checkStarts(what: string, starts: Int32Array, end: number): void {
  const rising = starts.every((start, i) => i === 0 || start >= (starts[i - 1] ?? 0));
  invariant(starts[0] === 0 && starts.at(-1) === end && rising, `the ${what} don't rise from 0 to ${end}`);
}

function within(what: string, values: Iterable<number>, limit: number): void {
  for (const value of values)
    invariant(Number.isInteger(value) && value >= 0 && value < limit, `${value} is no ${what}: there are ${limit}`);
}

function checkIds(plan: StepPlan, ids: Int32Array, limit: number): void {
  within(
    "token id",
    ids.filter((id) => id >= 0),
    limit,
  );
  within(
    "reference",
    ids.filter((id) => id < 0).map((id) => -1 - id),
    plan.referenceCount,
  );
}

function checkRows(plan: StepPlan, { tokenIds, positions, vocabSize }: PlanLimits): void {
  checkIds(plan, plan.tokens, tokenIds);
  checkIds(
    plan,
    plan.commits.filter((_, i) => i % 2 === 1),
    vocabSize,
  );
  for (const { prompt, answer } of plan.opens) within("token id", [...prompt, ...answer], vocabSize);
  within("position", plan.positions, positions);
}

function checkInputs(plan: StepPlan, { inputWidths }: PlanLimits): void {
  for (const [i, { count, rows, values }] of plan.inputs.entries()) {
    within("row of the step", rows, plan.tokenCount);
    invariant(new Set(rows).size === count, "a row is given twice");
    invariant(values.length === count * (inputWidths[i] ?? 0), "the values of an input don't fit its rows");
  }
}

/** That a place isn't empty the program sees to. */
function checkAdapters(plan: StepPlan, { options }: PlanLimits): void {
  within(
    "place of an adapter",
    plan.adapters.filter((place) => place !== -1),
    options.maxAdapters ?? 0,
  );
}

/** The blocks of every slot that is written or seen are there. */
function checkSight(plan: StepPlan, { pool, groups }: PlanLimits): void {
  for (const { sequence, begin, end } of sequencesOf(plan)) {
    invariant(new Set(plan.slots.subarray(begin, end)).size === end - begin, "two rows of a sequence have one slot");
    for (const group of groups) {
      const { kind, window = Infinity } = pool.groups[group] ?? {};
      if (kind === "recurrent") continue;
      for (let row = begin; row < end; row++) {
        const { slots: sight } = sightOf(plan, row, { window });
        invariant(sight.length > 0, `row ${row} sees nothing`);
        for (const slot of [plan.slots[row] ?? -1, ...sight]) {
          invariant(slot >= 0, `${slot} is no slot`);
          within("block", [placeOf(plan, group, sequence, slot).block], pool.blocks[group] ?? 0);
        }
      }
    }
  }
}

/** Where scans go on from, and which granules they write. */
function checkBorders(plan: StepPlan, { pool, groups }: PlanLimits): void {
  for (const group of groups.filter((g) => pool.groups[g]?.kind === "recurrent")) {
    const read = new Set<number>();
    const written: number[] = [];
    for (const { sequence, begin, end } of sequencesOf(plan)) {
      const border = plan.borders[sequence] ?? -1;
      within("border", [border], 2 ** 24);
      const granule = granuleOf(plan, group, sequence, border);
      if (border > 0) within("granule", [granule], pool.blocks[group] ?? 0);
      if (border > 0) read.add(granule);
      const behind = new Set<number>();
      for (let row = end - 1; row >= begin; row--) {
        behind.add(plan.slots[row] ?? -1);
        const place = ownPlace(plan, row);
        const since = place - border * BORDER_TOKENS;
        invariant(since >= 0, `place ${place} lies before the border ${border} from which its sequence goes on`);
        const late = row === begin && since >= HISTORY_TOKENS;
        invariant(!late, `place ${place} lies ${since} places behind the border from which its sequence goes on`);
        const before = place === 0 ? -1 : slotAt(plan, row, place - 1);
        invariant(!behind.has(before), `row ${row} of the step lies before a row whose place it follows`);
      }
      const seen = Math.max(0, ...plan.seen.subarray(begin, end));
      for (let b = border + 1; b * BORDER_TOKENS <= seen; b++) {
        const target = granuleOf(plan, group, sequence, b);
        if (target !== -1) written.push(target);
      }
    }
    within("granule", written, pool.blocks[group] ?? 0);
    invariant(new Set(written).size === written.length, "two borders are written to one granule");
    invariant(!written.some((granule) => read.has(granule)), "a granule that is read is written too");
  }
}

function checkBlockMoves(plan: StepPlan, { pool }: PlanLimits): void {
  const places = new Set<string>();
  for (let i = 0; i < plan.moves.length; i += 5) {
    const [group = -1, fromBlock = -1, from = -1, toBlock = -1, to = -1] = plan.moves.subarray(i, i + 5);
    within("group", [group], pool.groups.length);
    invariant(pool.groups[group]?.kind !== "recurrent", "a granule has no slots that could be moved");
    within("block", [fromBlock, toBlock], pool.blocks[group] ?? 0);
    within("place in a block", [from, to], BLOCK_TOKENS);
    const [source, target] = [`${group} ${fromBlock} ${from}`, `${group} ${toBlock} ${to}`];
    claim(places, source, target);
  }
  checkTargets(places);
  const blocks = new Set<string>();
  for (let i = 0; i < plan.copies.length; i += 3) {
    const [group = -1, from = -1, to = -1] = plan.copies.subarray(i, i + 3);
    within("group", [group], pool.groups.length);
    within("block", [from, to], pool.blocks[group] ?? 0);
    claim(blocks, `${group} ${from}`, `${group} ${to}`);
  }
  checkTargets(blocks);
}

function claim(claims: Set<string>, source: string, target: string): void {
  invariant(!claims.has(`to ${target}`), "two moves or copies have one target");
  claims.add(`from ${source}`).add(`to ${target}`);
}

function checkTargets(claims: ReadonlySet<string>): void {
  for (const claimed of claims)
    invariant(!claimed.startsWith("to ") || !claims.has(`from ${claimed.slice(3)}`), "a target is a source too");
}

function checkOutputs(plan: StepPlan, { vocabSize }: PlanLimits): void {
  const rows = [plan.sampleRows, plan.logprobRows, plan.counted, ...plan.outputs.map((output) => output.rows)];
  for (const list of rows) within("row of the step", list, plan.tokenCount);
  within("number of alternatives", [...plan.sampleTop, ...plan.logprobTop], MAX_TOP_LOGPROBS + 1);
  within("flag", plan.sampleMasked, 2);
  within("token id", plan.logprobIds, vocabSize);
  invariant(vocabSize > 0 || plan.sampleCount === 0, "the graph has no logits to sample from");
}
