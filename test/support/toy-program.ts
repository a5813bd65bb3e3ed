/**
 * A Program whose "KV cache" holds token ids (and whose recurrent state is a hash of those before a border) and whose samples are a hash of everything that the sampled row sees through
 * its block table and list; their log-probabilities are one of everything that the sampler slot counts: whatever batching, chunking, forking, drafts,
 * preemption, references or freeing get wrong changes an answer. Steps run one after another with turns of the event loop
 * between; a step can be told to fail.
 */
import assert from "node:assert/strict";
import {
  BLOCK_TOKENS,
  BORDER_TOKENS,
  HISTORY_TOKENS,
  type Lowered,
  MAX_TOP_LOGPROBS,
  type Pool,
  type Program,
  REMEMBERED_STEPS,
  type StateGroup,
  type StepHandle,
  type StepPlan,
  type StepResult,
} from "../../src/backend/contract.ts";
import { StepError } from "../../src/errors.ts";

export const TOY_VOCAB = 50;
export const TOY_OUTPUTS = [
  { name: "logits", width: TOY_VOCAB },
  { name: "hidden", width: 3 },
] as const;
/** Rows that are given stand in memory in place of their tokens. */
export const TOY_INPUTS = [{ name: "soft", width: 2 }] as const;
const SHAPE = { kvHeads: 1, keyDim: 16, valueDim: 16, type: "f32" } as const;
export const TOY_GROUPS: readonly StateGroup[] = [
  { ...SHAPE, kind: "kv", states: ["all"] },
  { ...SHAPE, kind: "window-kv", window: 21, states: ["near"] },
  { ...SHAPE, kind: "kv", states: ["draft"] },
  { kind: "rows", width: 1, window: HISTORY_TOKENS, states: ["history"] },
  { kind: "recurrent", width: 1, states: ["scan"] },
];
/** The group that a drafter reads and writes. */
const DRAFT = 2;
/** What came into the toy's scan, and what it came to. */
const HISTORY = 3;
const SCAN = 4;

interface Slot {
  readonly salt: string;
  readonly prompt: readonly number[];
  readonly answer: number[];
}

interface Pending {
  readonly plan: StepPlan;
  readonly resolve: (result: StepResult) => void;
  readonly reject: (error: Error) => void;
  /** Transfers that were submitted behind it. */
  readonly behind: (() => void)[];
  cancelled: boolean;
}

export class ToyProgram implements Program {
  readonly lowered = {} as Lowered;
  readonly pool: Pool;
  /** Rows of each step that ran. */
  readonly steps: number[] = [];
  /** How often each mechanism was used. */
  readonly used = {
    references: 0,
    listed: 0,
    moves: 0,
    copies: 0,
    reopened: 0,
    unrun: 0,
    cancelled: 0,
    inFlight: 0,
    spans: 0,
    given: 0,
    /** Borders that were passed; states that steps went on from. */
    borders: 0,
    granules: 0,
  };
  readonly slots = new Map<number, Slot>();
  /** The next step to run fails. */
  failNext = false;
  readonly #memory: readonly Int32Array[];
  /** What a row sees: groups, and their windows. */
  readonly #sees: readonly (readonly [group: number, window: number])[];
  readonly #isDrafter: boolean;
  readonly #samples = new Map<number, Int32Array>();
  readonly #queue: Pending[] = [];
  #running: Promise<void> | undefined;

  /**
   * Blocks of the first groups; of the rest there are enough. A drafter of another one shares its memory, reads the group
   * "draft" alone, and is often right.
   */
  constructor(some: readonly number[], target?: ToyProgram) {
    const blocks = TOY_GROUPS.map((_, g) => some[g] ?? 4 * (some[0] ?? 0));
    this.#memory =
      target === undefined ? blocks.map((count) => new Int32Array(count * BLOCK_TOKENS).fill(-7)) : target.#memory;
    this.#isDrafter = target !== undefined;
    this.#sees = TOY_GROUPS.flatMap(({ window = Infinity }, g) =>
      g === DRAFT || g >= HISTORY ? [] : [[this.#isDrafter ? DRAFT : g, window]],
    );
    this.pool = {
      groups: TOY_GROUPS,
      blocks,
      bytes: 0,
      read: (group, list) =>
        this.#behind(() => {
          const values = [...list].flatMap((block) => [...this.#blockOf(group, block)]);
          return new Uint8Array(Int32Array.from(values).buffer);
        }),
      write: (group, list, bytes) => {
        const values = new Int32Array(bytes.slice().buffer);
        return this.#behind(() =>
          list.forEach((block, i) =>
            this.#blockOf(group, block).set(values.subarray(i * BLOCK_TOKENS, (i + 1) * BLOCK_TOKENS)),
          ),
        );
      },
      close: () => undefined,
    };
  }

  #blockOf(group: number, block: number): Int32Array {
    return (this.#memory[group] ?? new Int32Array()).subarray(block * BLOCK_TOKENS, (block + 1) * BLOCK_TOKENS);
  }

  /** Behind the steps that this program was given before; those of a drafter don't count. */
  #behind<T>(transfer: () => T): Promise<T> {
    const last = this.#queue.at(-1);
    if (last === undefined) return Promise.resolve(transfer());
    return new Promise((resolve) => last.behind.push(() => resolve(transfer())));
  }

  async setAdapter(): Promise<void> {
    assert.fail("the toy has no adapters");
  }

  run(plan: StepPlan): StepHandle {
    assert.ok(this.#queue.length < 2, "more than two steps in flight");
    const copy = structuredClone({ ...plan, opens: [...plan.opens] });
    const { promise, resolve, reject } = Promise.withResolvers<StepResult>();
    const pending: Pending = { plan: copy, resolve, reject, cancelled: false, behind: [] };
    this.#queue.push(pending);
    if (this.#queue.length === 2) this.used.inFlight += 1;
    this.#running ??= this.#work();
    return {
      result: promise,
      mask: () => assert.fail("the toy has no masks"),
      cancel: () => {
        pending.cancelled = true;
      },
    };
  }

  async close(): Promise<void> {
    await this.#running;
  }

  async #work(): Promise<void> {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      await new Promise((resolve) => setImmediate(resolve));
      if (!next.cancelled && !this.failNext) {
        const result = this.#step(next.plan);
        this.#queue.shift();
        next.resolve(result);
        for (const transfer of next.behind) transfer();
        continue;
      }
      // The slots that it names are closed, and whoever was behind it comes back unrun.
      const failed = this.failNext;
      this.failNext = false;
      for (const [i, { plan, reject, behind }] of this.#queue.splice(0).entries()) {
        for (const transfer of behind) transfer();
        this.#closeNamed(plan);
        if (i > 0) this.used.unrun += 1;
        else if (!failed) this.used.cancelled += 1;
        reject(
          i > 0
            ? new StepError("unrun", "unrun")
            : failed
              ? new Error("planned failure")
              : new StepError("cancelled", "cancelled"),
        );
      }
    }
    this.#running = undefined;
  }

  #closeNamed(plan: StepPlan): void {
    const named = [...plan.closes.subarray(0, plan.closeCount), ...plan.sampleSlots.subarray(0, plan.sampleCount)];
    named.push(...plan.opens.map(({ slot }) => slot));
    for (let i = 0; i < plan.commitCount; i++) named.push(plan.commits[2 * i] ?? -1);
    for (const slot of named) this.slots.delete(slot);
  }

  #step(plan: StepPlan): StepResult {
    this.steps.push(plan.tokenCount);
    const resolve = (token: number): number => {
      if (token >= 0) return token;
      this.used.references += 1;
      const [step = -1, sample = -1] = plan.references.subarray(2 * (-1 - token));
      const id = this.#samples.get(step)?.[sample];
      assert.ok(id !== undefined, `step ${step} has no sample ${sample}`);
      return id;
    };
    this.#openSlots(plan, resolve);
    this.#moveMemory(plan);
    const tokens = Array.from(plan.tokens.subarray(0, plan.tokenCount), resolve);
    const [soft] = plan.inputs;
    for (const [i, row] of soft?.rows.subarray(0, soft.count).entries() ?? [])
      tokens[row] = TOY_VOCAB + (soft?.values[2 * i] ?? 0) + 100 * (soft?.values[2 * i + 1] ?? 0);
    this.used.given += soft?.count ?? 0;
    const sequenceOf: number[] = [];
    for (let s = 0; s < plan.sequenceCount; s++) {
      for (let row = plan.queryStarts[s] ?? 0; row < (plan.queryStarts[s + 1] ?? 0); row++) {
        sequenceOf[row] = s;
        for (const [g, memory] of this.#memory.entries()) {
          if (g !== SCAN && (g === DRAFT) === this.#isDrafter)
            memory[at(plan, g, s, plan.slots[row] ?? -1)] = tokens[row] ?? -1;
        }
      }
    }
    if (!this.#isDrafter) this.#passBorders(plan);
    const hash = (row: number, salt: string): number => this.#hash(plan, sequenceOf[row] ?? -1, row, salt);
    const sampleLogprobs = new Float32Array(plan.sampleCount);
    const ids = Int32Array.from({ length: plan.sampleCount }, (_, i) => {
      const slot = this.slots.get(plan.sampleSlots[i] ?? -1);
      assert.ok(slot, "a sample names a slot that is not open");
      const counted: number[] = [];
      if (plan.countedCount > 0) {
        for (const row of plan.counted.subarray(plan.countStarts[i], plan.countStarts[i + 1]))
          counted.push(tokens[row] ?? -1);
      }
      const counts = `${slot.prompt.join()} ${[...slot.answer, ...counted].join()}`;
      sampleLogprobs[i] = -(hash(plan.sampleRows[i] ?? -1, counts) % 1000) / 100;
      const drawn = hash(plan.sampleRows[i] ?? -1, slot.salt);
      return (drawn + (this.#isDrafter && drawn % 4 === 0 ? 1 : 0)) % TOY_VOCAB;
    });
    this.#samples.set(plan.id, ids);
    this.#samples.delete(plan.id - REMEMBERED_STEPS);
    return {
      sampleIds: ids,
      sampleLogprobs,
      topIds: new Int32Array(plan.sampleCount * MAX_TOP_LOGPROBS),
      topLogprobs: new Float32Array(plan.sampleCount * MAX_TOP_LOGPROBS),
      logprobs: Float32Array.from(
        { length: plan.logprobCount },
        (_, i) => -(hash(plan.logprobRows[i] ?? 0, `${plan.logprobIds[i]}`) % 1000),
      ),
      logprobTopIds: new Int32Array(plan.logprobCount * MAX_TOP_LOGPROBS),
      logprobTopLogprobs: new Float32Array(plan.logprobCount * MAX_TOP_LOGPROBS),
      outputs: TOY_OUTPUTS.map(({ name, width }, o) => {
        const { count = 0, rows = new Int32Array() } = plan.outputs[o] ?? {};
        const salt = name === "logits" ? "" : name;
        return Float32Array.from(
          { length: count * width },
          (_, i) => hash(rows[Math.floor(i / width)] ?? 0, `${salt}${i % width}`) % 1000,
        );
      }),
    };
  }

  #openSlots(plan: StepPlan, resolve: (token: number) => number): void {
    for (const slot of plan.closes.subarray(0, plan.closeCount)) this.slots.delete(slot);
    for (const { slot, params, prompt, answer } of plan.opens) {
      assert.ok(!this.slots.has(slot), `slot ${slot} is open already`);
      if (answer.length > 0) this.used.reopened += 1;
      this.slots.set(slot, { salt: `${params.seed}:${params.sampleIndex}`, prompt: [...prompt], answer: [...answer] });
    }
    for (let i = 0; i < plan.commitCount; i++) {
      const slot = this.slots.get(plan.commits[2 * i] ?? -1);
      assert.ok(slot, "a commit names a slot that is not open");
      slot.answer.push(resolve(plan.commits[2 * i + 1] ?? 0));
    }
  }

  #moveMemory(plan: StepPlan): void {
    const [sources, targets]: [Set<string>, Set<string>] = [new Set(), new Set()];
    for (let i = 0; i < plan.moveCount; i++) {
      const [g = 0, block = 0, offset = 0, toBlock = 0, toOffset = 0] = plan.moves.subarray(5 * i, 5 * i + 5);
      const memory = this.#memory[g];
      assert.ok(memory);
      memory[toBlock * BLOCK_TOKENS + toOffset] = memory[block * BLOCK_TOKENS + offset] ?? -1;
      sources.add(`${g} ${block} ${offset}`);
      targets.add(`${g} ${toBlock} ${toOffset}`);
      this.used.moves += 1;
    }
    assert.equal(targets.size, plan.moveCount, "a slot is the target of two moves");
    for (const target of targets) assert.ok(!sources.has(target), "a move's target is a source");
    sources.clear();
    targets.clear();
    for (let i = 0; i < plan.copyCount; i++) {
      const [g = 0, from = 0, to = 0] = plan.copies.subarray(3 * i, 3 * i + 3);
      this.#memory[g]?.copyWithin(to * BLOCK_TOKENS, from * BLOCK_TOKENS, (from + 1) * BLOCK_TOKENS);
      sources.add(`${g} ${from}`);
      targets.add(`${g} ${to}`);
      this.used.copies += 1;
    }
    assert.equal(targets.size, plan.copyCount, "a block is the target of two copies");
    for (const target of targets) assert.ok(!sources.has(target), "a copy's target is a source");
  }

  /** The toy's recurrent state behind `end` places: that at the sequence's border, and the tokens since. */
  #scan(plan: StepPlan, sequence: number, slotAt: (place: number) => number, end: number): number {
    const border = plan.borders[sequence] ?? -1;
    const [granules, history] = [this.#memory[SCAN], this.#memory[HISTORY]];
    let state = border === 0 ? 0 : (granules?.[granuleAt(plan, sequence, border) * BLOCK_TOKENS] ?? -1);
    assert.ok(state >= 0, `the granule of border ${border} was never written`);
    assert.ok(end > border * BORDER_TOKENS, "a row before its sequence's border");
    for (let place = border * BORDER_TOKENS; place < end; place++)
      state = scanned(state, history?.[at(plan, HISTORY, sequence, slotAt(place))] ?? -1);
    return state;
  }

  /** The same from the first token on, for who has no granules. */
  #rescan(plan: StepPlan, sequence: number, slotAt: (place: number) => number, end: number): number {
    let state = 0;
    for (let place = 0; place < end; place++)
      state = scanned(state, this.#memory[DRAFT]?.[at(plan, DRAFT, sequence, slotAt(place))] ?? -1);
    return state;
  }

  /** Writes the granules of the borders that rows pass. */
  #passBorders(plan: StepPlan): void {
    const states = new Map<number, number>();
    const read = new Set<number>();
    for (let s = 0; s < plan.sequenceCount; s++) {
      const [begin = 0, end = 0] = plan.queryStarts.subarray(s, s + 2);
      const border = plan.borders[s] ?? -1;
      if (border > 0) read.add(granuleAt(plan, s, border));
      if (border > 0) this.used.granules += 1;
      const first = (plan.seen[begin] ?? 0) - 1;
      assert.ok(first - border * BORDER_TOKENS < HISTORY_TOKENS, "a border too far behind");
      const seen = Math.max(...plan.seen.subarray(begin, end));
      for (let b = border + 1; b * BORDER_TOKENS <= seen; b++) {
        this.used.borders += 1;
        const granule = granuleAt(plan, s, b);
        if (granule < 0) continue;
        assert.ok(!states.has(granule), "two borders are written to one granule");
        states.set(
          granule,
          this.#scan(plan, s, (place) => place, b * BORDER_TOKENS),
        );
      }
    }
    for (const [granule, state] of states) {
      assert.ok(!read.has(granule), "a granule that is read is written");
      (this.#memory[SCAN] ?? assert.fail())[granule * BLOCK_TOKENS] = state;
    }
  }

  /** Of what a row sees, by place; a window counts from the row's own place. */
  #hash(plan: StepPlan, sequence: number, row: number, salt: string): number {
    let h = 2166136261;
    const mix = (value: number): void => {
      h = Math.imul(h ^ value, 16777619) >>> 0;
      h = (h ^ (h >>> 13)) >>> 0;
    };
    const seen = plan.seen[row] ?? 0;
    const places = Array.from({ length: seen }, (_, slot) => slot);
    if (plan.listedCount > 0) places.push(...plan.listed.subarray(plan.listStarts[row], plan.listStarts[row + 1]));
    if (places.length > seen) this.used.listed += 1;
    const slot = plan.slots[row] ?? -1;
    const own = slot < seen - 1 ? slot : places.length - 1;
    if (slot < seen - 1) this.used.spans += 1;
    mix(plan.positions[row] ?? -1);
    for (const [g, window] of this.#sees) {
      for (const slot of places.slice(Math.max(0, own - window + 1))) {
        const value = this.#memory[g]?.[at(plan, g, sequence, slot)] ?? -1;
        assert.ok(value >= 0, `slot ${slot} of group ${g} was never written`);
        mix(value + 1);
      }
    }
    const slotAt = (place: number): number => places[place] ?? -1;
    mix(this.#isDrafter ? this.#rescan(plan, sequence, slotAt, own + 1) : this.#scan(plan, sequence, slotAt, own + 1));
    for (const letter of salt) mix(letter.charCodeAt(0));
    return h;
  }
}

/** The hash of one token more. */
function scanned(state: number, token: number): number {
  assert.ok(token >= 0, "a scan reads what was never written");
  return (Math.imul(state, 31) + token + 1) & 0x3fffffff;
}

function granuleAt(plan: StepPlan, sequence: number, border: number): number {
  const { ids, stride } = plan.blockTables[SCAN] ?? assert.fail();
  return ids[sequence * stride + border - 1] ?? -1;
}

function at(plan: StepPlan, group: number, sequence: number, slot: number): number {
  const table = plan.blockTables[group];
  const block = table?.ids[sequence * (table?.stride ?? 0) + Math.floor(slot / BLOCK_TOKENS)] ?? -1;
  assert.ok(block >= 0, `slot ${slot} of group ${group} has no block`);
  return block * BLOCK_TOKENS + (slot % BLOCK_TOKENS);
}
