/**
 * The parts of a random workload on programs: the mechanisms that are counted, an answer being told, the trees that are
 * drafted for it, and its comparison with itself told alone.
 */
import type { RunnerResult } from "../../src/backend/program-runner.ts";
import type { Random } from "./random.ts";
import type { StepJob, Told } from "./step-jobs.ts";
import { TOY_VOCAB } from "./toy-models.ts";

/** What is counted, and must not stay at zero. */
export const MECHANISMS = [
  "prefill rows",
  "rows behind a step in flight",
  "references",
  "tree rows",
  "counted rows",
  "moved slots",
  "commits",
  "slots opened in mid-answer",
  "late masks",
  "dropped masks",
  "forks",
  "transfers",
  "rows of a second program",
  "rows with an adapter",
  "adapters moved between steps",
  "rows behind a border",
  "cancelled steps",
  "steps unrun",
] as const;
export type Mechanism = (typeof MECHANISMS)[number];
export type MechanismCounts = Record<Mechanism, number>;

export function noCounts(): MechanismCounts {
  return Object.fromEntries(MECHANISMS.map((name) => [name, 0])) as MechanismCounts;
}

/** One answer being told. */
export interface Walk {
  readonly job: StepJob;
  readonly told: Told;
  readonly slot: number;
  sequence: number;
  readonly answer: number[];
  /** The slot is open, and has all of the answer but `uncommitted`. */
  open: boolean;
  uncommitted: number[];
  /** The sequence's moves or copies aren't submitted yet. */
  dirty: boolean;
  /** Shares of steps that haven't ended, in order. */
  flight: Share[];
}

export interface Share {
  readonly walk: Walk;
  readonly kind: "prefill" | "plain" | "tree";
  readonly firstRow: number;
  readonly rows: number;
  readonly firstSample: number;
  /** Computed before the step. */
  readonly before: number;
  readonly tree?: Tree;
  /** Samples whose masks were dropped. */
  readonly dropped: ReadonlySet<number>;
}

export interface Tree {
  readonly tokens: number[];
  readonly parents: number[];
}

export class StepMismatch extends Error {}

/** Node 0 is the pending token; below it some of what will come, and other tokens anywhere. */
export function growTree(random: Random, { told, answer }: Walk, pending: number): Tree {
  const tree: Tree = { tokens: [pending], parents: [-1] };
  const ahead = told.ids.slice(answer.length, answer.length + random.below(6));
  let tip = 0;
  const add = (token: number, parent: number): number => {
    tree.parents.push(parent);
    return tree.tokens.push(token) - 1;
  };
  for (let junk = random.below(16); ahead.length > 0 || junk > 0;) {
    const next = random.below(2) === 0 ? ahead.shift() : undefined;
    if (next !== undefined) tip = add(next, tip);
    else if (junk-- > 0) add(random.below(TOY_VOCAB), random.below(tree.tokens.length));
  }
  return tree;
}

/** Is the node on the way that the answer will take, and not behind its end? */
export function isTrue({ told, answer }: Walk, { tokens, parents }: Tree, node: number): boolean {
  const path = pathTo(parents, node).slice(1);
  const known = path.every((step, i) => tokens[step] === told.ids[answer.length + i]);
  return known && answer.length + path.length < told.ids.length;
}

export function finished({ answer, job }: Walk): boolean {
  return answer.length >= job.length;
}

export function pathTo(parents: readonly number[], node: number): number[] {
  const parent = parents[node] ?? -1;
  return parent < 0 ? [node] : [...pathTo(parents, parent), node];
}

export function take(walk: Walk, id: number, kind: string): void {
  const { answer, told, slot } = walk;
  const expected = told.ids[answer.length];
  if (id !== expected) {
    throw new StepMismatch(`answer ${slot}, token ${answer.length} (${kind}): ${id}, alone ${expected}`);
  }
  answer.push(id);
}

export function compare(
  walk: Walk,
  result: RunnerResult,
  row: number,
  alone: Float32Array | undefined,
  kind: string,
): void {
  const found = result.logits.subarray(row * TOY_VOCAB, (row + 1) * TOY_VOCAB);
  const equal = alone !== undefined && found.length === alone.length && found.every((x, i) => Object.is(x, alone[i]));
  if (!equal) throw new StepMismatch(`answer ${walk.slot}, a row's logits (${kind}) differ from those alone`);
}
