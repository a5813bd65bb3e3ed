/**
 * Random workloads on Programs, without an engine: answers told together by every mechanism of a step (two in flight,
 * references, drafted trees, moves, late masks, slots opened again, forks, blocks as bytes, a second program on the same
 * pool, cancellation), each compared with itself told alone. Ends at the first difference.
 */
import { type AdapterWeights, type Backend, BORDER_TOKENS, NO_SAMPLE } from "../../src/backend/contract.ts";
import {
  ProgramRunner,
  type Feed,
  type RunnerHandle,
  type RunnerResult,
  type SampleWish,
} from "../../src/backend/program-runner.ts";
import { StepError } from "../../src/errors.ts";
import type { Random } from "./random.ts";
import { ADAPTER_PLACES, maskAt, STEP_CONTEXT, type StepJob, type StepModel, type Told } from "./step-jobs.ts";
import {
  compare,
  finished,
  growTree,
  isTrue,
  type MechanismCounts,
  pathTo,
  type Share,
  StepMismatch,
  take,
  type Walk,
} from "./step-walk.ts";

interface Flight {
  readonly handle: RunnerHandle;
  readonly shares: readonly Share[];
  /** Sequences whose moves or copies went with the step. */
  readonly carried: readonly Walk[];
  /** It was asked to end: how it ended is looked at before the next step. */
  doubtful: boolean;
}

export async function runStepWorkload(
  backend: Backend,
  model: StepModel,
  jobs: readonly StepJob[],
  told: readonly Told[],
  random: Random,
  counts: MechanismCounts,
): Promise<void> {
  const workload = new StepWorkload(random, counts, jobs, told);
  await workload.run(backend, model);
}

class StepWorkload {
  readonly #random: Random;
  readonly #counts: MechanismCounts;
  readonly #walks: Walk[];
  /** Sequences that nobody uses; those that were forked away are usable after the next step. */
  #spare: number[];
  #leaving: number[] = [];
  #pending: Flight[] = [];
  /** The model's adapters, and the place of each. */
  #adapters: { readonly weights: AdapterWeights; place: number }[] = [];

  constructor(random: Random, counts: MechanismCounts, jobs: readonly StepJob[], told: readonly Told[]) {
    this.#random = random;
    this.#counts = counts;
    this.#walks = jobs.map((job, i) => ({
      job,
      told: told[i] ?? { ids: [], logits: [], draftLogits: [] },
      slot: i,
      sequence: i,
      answer: [],
      open: false,
      uncommitted: [],
      dirty: false,
      flight: [],
    }));
    this.#spare = [jobs.length, jobs.length + 1];
  }

  async run(backend: Backend, model: StepModel): Promise<void> {
    const sequences = this.#walks.length + this.#spare.length;
    const options = {
      kv: model.kv,
      context: STEP_CONTEXT,
      sequences,
      samplerSlots: this.#walks.length,
      stepTokens: 192,
      maxOutputs: 400,
      maxMoves: 256,
      ...ADAPTER_PLACES,
    };
    const [target, draft] = await ProgramRunner.open(backend, model.lower(backend), options);
    if (target === undefined || draft === undefined) throw new Error("a model has two programs");
    const drafts = await model.adapters(backend, draft.program);
    for (const [place, weights] of drafts.entries()) await draft.program.setAdapter(place, weights);
    for (const [place, weights] of (await model.adapters(backend, target.program)).entries()) {
      this.#adapters.push({ weights, place });
      await target.program.setAdapter(place, weights);
    }
    try {
      while (this.#walks.some((walk) => !finished(walk))) {
        await this.#between(target);
        if (this.#random.below(3) === 0) this.#moveAdapter(target);
        while (this.#pending.some(({ doubtful }) => doubtful)) await this.#settleNext(target);
        const flight = this.#submit(target);
        if (flight !== undefined) this.#pending.push(flight);
        if (this.#random.below(3) === 0) await this.#draft(target, draft);
        const depth = flight === undefined ? 0 : this.#random.below(2);
        while (this.#pending.length > depth) await this.#settleNext(target);
      }
      while (this.#pending.length > 0) await this.#settleNext(target);
    } finally {
      for (const weights of [...drafts, ...this.#adapters.map((adapter) => adapter.weights)]) weights.close();
      await draft.close();
      await target.close();
    }
  }

  /** An adapter goes to another place, while steps that name the old one may be in flight. Nobody waits for it. */
  #moveAdapter(runner: ProgramRunner): void {
    const adapter = this.#adapters[this.#random.below(this.#adapters.length)];
    const place = this.#random.below(ADAPTER_PLACES.maxAdapters);
    if (adapter === undefined || this.#adapters.some((other) => other.place === place)) return;
    void runner.program.setAdapter(place, adapter.weights);
    void runner.program.setAdapter(adapter.place, undefined);
    adapter.place = place;
    this.#counts["adapters moved between steps"] += 1;
  }

  /** What a feed says of its sequence's adapter. */
  #adapterOf({ adapter }: StepJob): { readonly adapter?: number } {
    const place = this.#adapters[adapter]?.place;
    return place === undefined ? {} : { adapter: place };
  }

  /** Preemptions, forks and transfers of answers that aren't in flight. */
  async #between(runner: ProgramRunner): Promise<void> {
    for (const walk of this.#walks) {
      if (walk.flight.length > 0 || walk.dirty) continue;
      const choice = this.#random.below(24);
      if (choice === 0 && walk.open) {
        if (this.#random.below(2) === 0) runner.closeSlot(walk.slot);
        walk.open = false;
        runner.truncate(walk.sequence, this.#random.below(runner.length(walk.sequence) + 1));
      } else if (choice === 1 && this.#spare.length > 0) {
        const to = this.#spare.pop() ?? 0;
        runner.fork(walk.sequence, to);
        this.#leaving.push(walk.sequence);
        walk.sequence = to;
        walk.dirty = true;
        this.#counts.forks += 1;
      } else if (choice === 2 && this.#spare.length > 0 && !this.#walks.some(({ dirty }) => dirty)) {
        const to = this.#spare.pop() ?? 0;
        await runner.transfer(walk.sequence, to);
        this.#spare.unshift(walk.sequence);
        walk.sequence = to;
        this.#counts.transfers += 1;
      }
    }
  }

  #submit(runner: ProgramRunner): Flight | undefined {
    const feeds: Feed[] = [];
    const shares: Share[] = [];
    const samples: SampleWish[] = [];
    const masks: ((handle: RunnerHandle) => void)[] = [];
    let rows = 0;
    for (const walk of this.#walks) {
      if (finished(walk) || rows > 100 || this.#random.below(5) === 0) continue;
      const share = this.#share(runner, walk, rows, samples, (sample, mask) =>
        masks.push((handle) => handle.mask(sample, mask)),
      );
      if (share === undefined) continue;
      feeds.push({ ...share.feed, ...this.#adapterOf(walk.job) });
      if (walk.job.adapter >= 0) this.#counts["rows with an adapter"] += share.share.rows;
      shares.push(share.share);
      walk.flight.push(share.share);
      rows += share.share.rows;
      if (this.#pending.length > 0) this.#counts["rows behind a step in flight"] += share.share.rows;
      const isRecurrent = runner.memory.pool.groups.some(({ kind }) => kind === "recurrent");
      if (isRecurrent && share.share.before >= BORDER_TOKENS) this.#counts["rows behind a border"] += share.share.rows;
    }
    const carried = this.#walks.filter(({ dirty }) => dirty);
    if (shares.length === 0 && carried.length === 0) return undefined;
    const handle = runner.submit(feeds, { samples, logits: Array.from({ length: rows }, (_, i) => i) });
    const flight = { handle, shares, carried, doubtful: false };
    // The outcome is looked at later; until then nobody else listens.
    handle.result.catch(() => undefined);
    for (const walk of carried) walk.dirty = false;
    this.#spare.push(...this.#leaving.splice(0));
    this.#deliver(handle, masks);
    if (this.#random.below(16) === 0) this.#cancelSoon(flight);
    return flight;
  }

  /** Masks in any order: at once, or each a little later. */
  #deliver(handle: RunnerHandle, masks: ((handle: RunnerHandle) => void)[]): void {
    while (masks.length > 0) {
      const [deliver] = masks.splice(this.#random.below(masks.length), 1);
      if (deliver === undefined) continue;
      if (this.#random.below(3) === 0) deliver(handle);
      else setTimeout(() => deliver(handle), this.#random.below(3));
    }
  }

  #cancelSoon(flight: Flight): void {
    const cancel = (): void => {
      flight.doubtful = true;
      flight.handle.cancel();
    };
    if (this.#random.below(2) === 0) cancel();
    else setTimeout(cancel, this.#random.below(2));
  }

  #share(
    runner: ProgramRunner,
    walk: Walk,
    firstRow: number,
    samples: SampleWish[],
    mask: (sample: number, mask: Uint32Array | "drop") => void,
  ): { feed: Feed; share: Share } | undefined {
    const { sequence, slot, answer, job } = walk;
    const before = runner.length(sequence);
    const firstSample = samples.length;
    const dropped = new Set<number>();
    const common = { walk, firstRow, firstSample, before, dropped };
    const want = (row: number, index: number, counted: number[], maybe: boolean): void => {
      const allowed = maskAt(job, index);
      const sample = samples.push({ row: firstRow + row, slot, masked: allowed !== undefined, counted }) - 1;
      this.#counts["counted rows"] += counted.length;
      if (allowed === undefined) return;
      const drop = maybe && this.#random.below(2) === 0;
      if (drop) dropped.add(sample);
      mask(sample, drop ? "drop" : allowed);
      this.#counts[drop ? "dropped masks" : "late masks"] += 1;
    };
    const last = walk.flight.at(-1);
    if (last !== undefined) return this.#follow(runner, last, common, want);
    if (!walk.open) this.#open(runner, walk);

    const tokens = [...job.prompt, ...answer];
    const missing = tokens.length - before;
    if (missing > 1 && (missing > 64 || this.#random.below(4) > 0)) {
      const count = Math.min(missing - 1, this.#random.pick([1, 3, 16, 17, 64]));
      this.#counts["prefill rows"] += count;
      const feed = { sequence, tokens: tokens.slice(before, before + count) };
      return { feed, share: { ...common, kind: "prefill", rows: count } };
    }
    for (const id of walk.uncommitted.splice(0)) this.#commit(runner, slot, id);
    if (missing > 1 || this.#random.below(2) === 0) {
      want(missing - 1, answer.length, [], false);
      const feed = { sequence, tokens: tokens.slice(before) };
      return { feed, share: { ...common, kind: "plain", rows: missing } };
    }
    const tree = growTree(this.#random, walk, tokens.at(-1) ?? 0);
    for (const node of tree.tokens.keys()) {
      const path = pathTo(tree.parents, node).slice(1);
      want(
        node,
        answer.length + path.length,
        path.map((row) => firstRow + row),
        !isTrue(walk, tree, node),
      );
    }
    this.#counts["tree rows"] += tree.tokens.length;
    const feed = { sequence, tokens: tree.tokens, parents: tree.parents };
    return { feed, share: { ...common, kind: "tree", rows: tree.tokens.length, tree } };
  }

  /** The token after a sample in flight is that sample, whatever it will be. */
  #follow(
    runner: ProgramRunner,
    last: Share,
    common: Omit<Share, "kind" | "rows">,
    want: (row: number, index: number, counted: number[], maybe: boolean) => void,
  ): { feed: Feed; share: Share } | undefined {
    const { walk } = common;
    const flight = this.#pending.find(({ shares }) => shares.includes(last));
    const index = walk.answer.length + walk.flight.filter(({ kind }) => kind === "plain").length;
    if (last.kind !== "plain" || flight === undefined || index >= walk.job.length) return undefined;
    const token = { step: flight.handle.id, sample: last.firstSample };
    runner.commit(walk.slot, token);
    this.#counts.commits += 1;
    this.#counts.references += 1;
    want(0, index, [], false);
    const feed = { sequence: walk.sequence, tokens: [token] };
    return { feed, share: { ...common, kind: "plain", rows: 1 } };
  }

  #open(runner: ProgramRunner, walk: Walk): void {
    runner.open(walk.slot, walk.job.params, walk.job.prompt, walk.answer);
    if (walk.answer.length > 0) this.#counts["slots opened in mid-answer"] += 1;
    walk.open = true;
    walk.uncommitted = [];
  }

  #commit(runner: ProgramRunner, slot: number, id: number): void {
    runner.commit(slot, id);
    this.#counts.commits += 1;
  }

  /** The second program computes some of the tokens that come next, with the first one's keys before them. */
  async #draft(target: ProgramRunner, draft: ProgramRunner): Promise<void> {
    // If a step is cancelled, what it should have moved is undefined.
    const moving = (walk: Walk): boolean => this.#pending.some(({ carried }) => carried.includes(walk));
    const idle = this.#walks.find((walk) => walk.flight.length === 0 && !moving(walk));
    if (idle === undefined || this.#walks.some(({ dirty }) => dirty)) return;
    draft.follow(idle.sequence, target);
    const from = draft.length(idle.sequence);
    const tokens = [...idle.job.prompt, ...idle.told.ids].slice(from, from + this.#random.between(1, 5));
    const rows = Math.min(tokens.length, idle.told.draftLogits.length - from);
    if (rows <= 0) return;
    const wanted = { logits: Array.from({ length: rows }, (_, i) => i) };
    // The draft's adapters stay in their places.
    const adapter = idle.job.adapter < 0 ? {} : { adapter: idle.job.adapter };
    const feed = { sequence: idle.sequence, tokens: tokens.slice(0, rows), ...adapter };
    const result = await draft.step([feed], wanted);
    this.#counts["rows of a second program"] += rows;
    for (let row = 0; row < rows; row++) compare(idle, result, row, idle.told.draftLogits[from + row], "the draft's");
  }

  async #settleNext(runner: ProgramRunner): Promise<void> {
    const flight = this.#pending.shift();
    if (flight === undefined) return;
    let result: RunnerResult;
    try {
      result = await flight.handle.result;
    } catch (error) {
      if (!(error instanceof StepError) || error.reason === "failed") throw error;
      this.#counts[error.reason === "unrun" ? "steps unrun" : "cancelled steps"] += 1;
      this.#rollBack(runner, flight);
      // Those behind it are unrun.
      while (this.#pending.length > 0) await this.#settleNext(runner);
      return;
    }
    for (const share of flight.shares) this.#read(runner, share, result);
  }

  #rollBack(runner: ProgramRunner, { shares, carried }: Flight): void {
    for (const { walk, before } of shares) {
      walk.flight.shift();
      walk.open = false;
      runner.truncate(walk.sequence, Math.min(before, runner.length(walk.sequence)));
    }
    // What moves or copies should have written is undefined.
    for (const walk of carried) runner.truncate(walk.sequence, 0);
  }

  #read(runner: ProgramRunner, share: Share, result: RunnerResult): void {
    const { walk, kind, firstRow, rows, before, tree, firstSample } = share;
    walk.flight.shift();
    if (tree === undefined) {
      for (let row = 0; row < rows; row++) compare(walk, result, firstRow + row, walk.told.logits[before + row], kind);
      if (kind === "plain") take(walk, result.sampleIds[firstSample] ?? -1, kind);
      // The slot has it where a later step in flight has committed it already.
      if (kind === "plain" && walk.flight.length === 0) walk.uncommitted.push(walk.answer.at(-1) ?? -1);
      return;
    }
    for (const sample of share.dropped)
      if (result.sampleIds[sample] !== NO_SAMPLE) throw new StepMismatch("a sample without a mask has an id");
    const accepted: number[] = [];
    for (let node = 0; node >= 0 && !finished(walk);) {
      compare(walk, result, firstRow + node, walk.told.logits[before + accepted.length], kind);
      accepted.push(node);
      const id = result.sampleIds[firstSample + node] ?? -1;
      take(walk, id, kind);
      walk.uncommitted.push(id);
      node = tree.parents.findIndex((parent, child) => parent === node && tree.tokens[child] === id);
    }
    runner.accept(walk.sequence, accepted);
    walk.dirty = true;
    this.#counts["moved slots"] += accepted.length;
  }
}
