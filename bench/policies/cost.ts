/**
 * What a step takes on this machine: seconds = step + row · rows + key · keys, fitted to steps of a real model by least
 * squares over relative errors.
 */
import type { Llm } from "../../src/engine/llm.ts";
import type { StepSize } from "../../test/support/simulation.ts";
import { promptIds } from "../contenders/protocol.ts";

export interface Cost {
  /** Seconds. */
  readonly step: number;
  readonly row: number;
  readonly key: number;
}

export function secondsOf({ step, row, key }: Cost, { rows, keys }: StepSize): number {
  return step + row * rows + key * keys;
}

interface Observed extends StepSize {
  readonly seconds: number;
}

/** Prompts of several lengths, alone, and answers to several at once. */
export async function measureCost(llm: Llm): Promise<{ readonly cost: Cost; readonly error: number }> {
  const observed: Observed[] = [];
  const run = async (lengths: readonly number[], maxTokens: number): Promise<void> => {
    const steps: { rows: number; ms: number }[] = [];
    const stop = llm.watch(({ tokens, ms }) => steps.push({ rows: tokens, ms }));
    const options = { maxTokens, minTokens: maxTokens, temperature: 0, speculation: "off" } as const;
    await Promise.all(lengths.map((length, i) => llm.generate(promptIds(length, observed.length + i), options)));
    stop();
    const total = lengths.reduce((sum, length) => sum + length, 0);
    const prompts = steps.filter(({ rows }) => rows > lengths.length);
    const [first] = prompts;
    // A step of whole prompts, then the steps of answers, by their median.
    if (prompts.length === 1 && first?.rows === total) {
      const keys = lengths.reduce((sum, length) => sum + (length * (length + 1)) / 2, 0);
      observed.push({ rows: total, keys, seconds: first.ms / 1000 });
    }
    const decodes = steps.filter(({ rows }) => rows === lengths.length).map(({ ms }) => ms);
    const median = decodes.toSorted((a, b) => a - b)[Math.floor(decodes.length / 2)];
    if (median !== undefined && decodes.length > 4) {
      observed.push({ rows: lengths.length, keys: total + (lengths.length * maxTokens) / 2, seconds: median / 1000 });
    }
  };
  for (let round = 0; round < 3; round++) {
    for (const length of [16, 64, 128, 256, 500]) await run([length], 1);
    for (const count of [1, 4, 8, 16]) for (const length of [8, 30]) await run(Array<number>(count).fill(length), 24);
    await run([500], 24);
  }
  const cost = fit(observed);
  const errors = observed.map((one) => Math.abs(secondsOf(cost, one) / one.seconds - 1));
  return { cost, error: errors.toSorted((a, b) => a - b)[Math.floor(errors.length / 2)] ?? Number.NaN };
}

/** Least squares over (prediction / seconds − 1); a coefficient that would be negative is 0. */
function fit(observed: readonly Observed[]): Cost {
  const rows = observed.map(({ rows, keys, seconds }) => [1 / seconds, rows / seconds, keys / seconds]);
  const solve = (used: readonly number[]): number[] => {
    const matrix = used.map((i) => [
      ...used.map((j) => rows.reduce((sum, row) => sum + (row[i] ?? 0) * (row[j] ?? 0), 0)),
      rows.reduce((sum, row) => sum + (row[i] ?? 0), 0),
    ]);
    const found = eliminate(matrix);
    return [0, 1, 2].map((i) => found[used.indexOf(i)] ?? 0);
  };
  let used = [0, 1, 2];
  let found = solve(used);
  while (found.some((value) => value < 0)) {
    used = used.filter((i) => (found[i] ?? 0) > 0);
    found = solve(used);
  }
  const [step = 0, row = 0, key = 0] = found;
  return { step, row, key };
}

/** Gaussian elimination of a small system `[A | b]`. */
function eliminate(matrix: number[][]): number[] {
  const size = matrix.length;
  for (let column = 0; column < size; column++) {
    matrix.splice(
      column,
      size,
      ...matrix.slice(column).toSorted((a, b) => Math.abs(b[column] ?? 0) - Math.abs(a[column] ?? 0)),
    );
    const pivot = matrix[column] ?? [];
    for (const [r, row] of matrix.entries()) {
      if (r === column) continue;
      const factor = (row[column] ?? 0) / (pivot[column] ?? 1);
      for (let c = column; c <= size; c++) row[c] = (row[c] ?? 0) - factor * (pivot[c] ?? 0);
    }
  }
  return matrix.map((row, r) => (row[size] ?? 0) / (row[r] ?? 1));
}
