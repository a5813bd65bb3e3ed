/** A plan of a step's own: the caller may write the next one into the same arrays. Every list is as long as its count. */
import type { SamplerOpening, StepPlan } from "../contract.ts";

export function copyPlan(plan: StepPlan): StepPlan {
  const { tokenCount, sequenceCount, sampleCount, logprobCount } = plan;
  return {
    ...plan,
    tokens: plan.tokens.slice(0, tokenCount),
    positions: plan.positions.slice(0, tokenCount),
    slots: plan.slots.slice(0, tokenCount),
    seen: plan.seen.slice(0, tokenCount),
    listStarts: startsOf(plan.listedCount, tokenCount, plan.listStarts),
    listed: plan.listed.slice(0, plan.listedCount),
    queryStarts: plan.queryStarts.slice(0, sequenceCount + 1),
    borders: plan.borders.slice(0, sequenceCount),
    blockTables: plan.blockTables.map(({ ids, stride }) => ({ ids: ids.slice(0, sequenceCount * stride), stride })),
    adapters: plan.adapters.slice(0, sequenceCount),
    moves: plan.moves.slice(0, 5 * plan.moveCount),
    copies: plan.copies.slice(0, 3 * plan.copyCount),
    references: plan.references.slice(0, 2 * plan.referenceCount),
    closes: plan.closes.slice(0, plan.closeCount),
    opens: plan.opens.map(copyOpening),
    commits: plan.commits.slice(0, 2 * plan.commitCount),
    sampleRows: plan.sampleRows.slice(0, sampleCount),
    sampleSlots: plan.sampleSlots.slice(0, sampleCount),
    sampleTop: plan.sampleTop.slice(0, sampleCount),
    sampleMasked: plan.sampleMasked.slice(0, sampleCount),
    countStarts: startsOf(plan.countedCount, sampleCount, plan.countStarts),
    counted: plan.counted.slice(0, plan.countedCount),
    logprobRows: plan.logprobRows.slice(0, logprobCount),
    logprobIds: plan.logprobIds.slice(0, logprobCount),
    logprobTop: plan.logprobTop.slice(0, logprobCount),
    inputs: plan.inputs.map(({ count, rows, values }) => {
      const width = rows.length === 0 ? 0 : values.length / rows.length;
      return { count, rows: rows.slice(0, count), values: values.slice(0, count * width) };
    }),
    outputs: plan.outputs.map(({ count, rows }) => ({ count, rows: rows.slice(0, count) })),
  };
}

/** Where nothing is listed, the starts aren't read. */
function startsOf(listed: number, lists: number, starts: Int32Array): Int32Array {
  return listed === 0 ? new Int32Array(lists + 1) : starts.slice(0, lists + 1);
}

function copyOpening({ slot, params, prompt, answer }: SamplerOpening): SamplerOpening {
  const { biasIds, biasValues, stopIds } = params;
  const own = { biasIds: biasIds.slice(), biasValues: biasValues.slice(), stopIds: stopIds.slice() };
  return { slot, params: { ...params, ...own }, prompt: prompt.slice(), answer: answer.slice() };
}
