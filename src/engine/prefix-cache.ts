/**
 * Between sequences and the prefix tree: a sequence begins with what the tree has of its tokens, and enters what it has
 * computed, full blocks as it goes and its last one when it ends. Only what a finished step has put in memory is entered.
 */
import { BLOCK_TOKENS } from "../backend/contract.ts";
import { invariant } from "../errors.ts";
import type { BlockPool, GroupMemory } from "../state/block-pool.ts";
import { type EvictedNode, type PrefixNode, type PrefixRun, PrefixTree } from "../state/prefix-tree.ts";
import { SequenceState } from "../state/sequence-state.ts";
import type { Span } from "./client.ts";
import type { EngineRequest, Sequence } from "./request.ts";

/** What lies behind the prefix tree. */
export interface PrefixBacking {
  /** The tree gives up a node. */
  evicted(node: EvictedNode): void;
  /** Brings back what the tree lacks of the first `limit` tokens. */
  restore(tree: PrefixTree, tokens: Int32Array, limit: number, salt: string): void;
}

export class PrefixCache {
  /** Blocks of each group that pins hold. */
  readonly pinned: number[];
  readonly #memory: readonly GroupMemory[];
  readonly #tree: PrefixTree | undefined;
  readonly #backing: PrefixBacking | undefined;

  /** Switched off, every sequence begins with nothing, and leaves nothing. */
  constructor(memory: readonly GroupMemory[], on: boolean, backing?: PrefixBacking) {
    this.pinned = memory.map(() => 0);
    this.#memory = memory;
    this.#tree = on ? new PrefixTree(memory) : undefined;
    this.#backing = backing;
    if (this.#tree !== undefined && backing !== undefined) this.#tree.evicted = (node) => backing.evicted(node);
  }

  /** Gives a sequence memory; its kinds of work say how many rows may be left out. */
  begin(sequence: Sequence): void {
    const { request } = sequence;
    const keys = sequence.keys(0, sequence.length);
    const limit = this.#limit(sequence, keys);
    const tree = this.#treeOf(sequence);
    if (tree !== undefined) this.#backing?.restore(tree, keys, limit, request.salt);
    const hit = tree?.match(keys, limit, request.salt);
    const state = hit && SequenceState.withPrefix(this.#memory, hit);
    sequence.state = state ?? new SequenceState(this.#memory);
    if (request.cachedTokens < 0) request.cachedTokens = state === undefined ? 0 : (hit?.length ?? 0);
    if (hit === undefined || state === undefined || this.#tree === undefined) return;
    sequence.computed = sequence.planned = hit.length;
    sequence.stored = hit.full.length * BLOCK_TOKENS;
    sequence.entered = hit.full.length;
    this.#moveTo(sequence, hit.full.at(-1) ?? this.#tree.root(request.salt));
  }

  /** How many of a request's first tokens need not be computed, where the tree has them. */
  reusable({ unfinished, unforked, work, kinds }: EngineRequest): number {
    const [first] = unfinished;
    if (first === undefined || this.#treeOf(first) === undefined) return 0;
    // Answers that share a prompt are forked off where it ends, behind a row that was computed.
    const shared = unforked.length > 1 ? work.prompt.length - 1 : first.length;
    return Math.min(shared, ...kinds.map((kind) => kind.skippable(first)));
  }

  /** How many of them the tree has. */
  cached(request: EngineRequest): number {
    const [first] = request.unfinished;
    if (first === undefined) return 0;
    const keys = first.keys(0, first.length);
    return this.#tree?.find(keys, this.#limit(first, keys), request.salt).length ?? 0;
  }

  /** Forgets what nobody holds. */
  clear(): void {
    this.#tree?.clear();
  }

  /** What is kept, as a picture shows it. */
  runs(limit: number): PrefixRun[] {
    return this.#tree?.runs(limit) ?? [];
  }

  /** Holds the full blocks that the tree has of a prompt, until they are released. */
  pin(prompt: Int32Array, salt: string): { readonly tokens: number; readonly release: () => void } | undefined {
    const hit = this.#tree?.match(prompt, prompt.length, salt);
    const state = hit && SequenceState.withPrefix(this.#memory, { ...hit, tail: undefined });
    if (hit === undefined || state === undefined) return undefined;
    const count = (sign: number): void => {
      for (const [g, ids] of state.tables.entries()) {
        this.pinned[g] = (this.pinned[g] ?? 0) + sign * ids.filter((block) => block >= 0).length;
      }
    };
    count(1);
    return {
      tokens: hit.full.length * BLOCK_TOKENS,
      release: () => {
        count(-1);
        state.release();
      },
    };
  }

  /** A fork goes on where its parent's prompt ended. */
  fork(parent: Sequence, child: Sequence): void {
    const full = Math.floor(child.computed / BLOCK_TOKENS);
    child.stored = full * BLOCK_TOKENS;
    child.entered = full;
    if (parent.prefix !== undefined) this.#moveTo(child, parent.prefix);
  }

  /** Enters the full blocks of what is stored. `later` releases a block of its own that the tree's has replaced. */
  enter(sequence: Sequence, later: (pool: BlockPool, block: number) => void): void {
    const tree = this.#treeOf(sequence);
    if (tree === undefined) return;
    this.#moveTo(sequence, sequence.prefix ?? tree.root(sequence.request.salt));
    while ((sequence.entered + 1) * BLOCK_TOKENS <= sequence.stored) this.#enter(sequence, BLOCK_TOKENS, later);
  }

  /** Enters all that is stored; the sequence ends. */
  leave(sequence: Sequence, later: (pool: BlockPool, block: number) => void): void {
    if (this.#treeOf(sequence) !== undefined && sequence.state !== undefined) {
      this.enter(sequence, later);
      const rest = sequence.stored - sequence.entered * BLOCK_TOKENS;
      if (rest > 0) this.#enter(sequence, rest, later);
      this.#moveTo(sequence, undefined);
    }
    sequence.stored = sequence.entered = 0;
  }

  /** A drafting model has computed a sequence's first `places`: so it has for whoever shares their blocks. */
  mark({ prefix, entered }: Sequence, model: number, places: number): void {
    let node = prefix;
    // What comes before a marked node is marked.
    for (let end = entered; end > 0 && node !== undefined && !isMarked(node, model); end--) {
      if (end * BLOCK_TOKENS <= places) node.models |= 1 << model;
      node = node.parent;
    }
  }

  /** How many places of the first `entered` blocks, the last of them `prefix`, a drafting model has computed. */
  markedPlaces(prefix: PrefixNode | undefined, entered: number, model: number): number {
    let end = entered;
    for (let node = prefix; node !== undefined; node = node.parent, end--) {
      if (isMarked(node, model)) return end * BLOCK_TOKENS;
    }
    return 0;
  }

  /** The most tokens that a hit may have: none ends in a span. */
  #limit({ request }: Sequence, keys: Int32Array): number {
    const { spans = [] } = request.work;
    let limit = this.reusable(request);
    for (let cut: Span | undefined = spans[0]; cut !== undefined; limit = cut?.begin ?? limit) {
      const { length = 0 } = this.#tree?.find(keys, limit, request.salt) ?? {};
      cut = spans.find(({ begin, end }) => begin < length && length < end);
    }
    return limit;
  }

  #enter(sequence: Sequence, count: number, later: (pool: BlockPool, block: number) => void): void {
    const { state, entered, tokens, prefix } = sequence;
    invariant(this.#tree && state && prefix, "a sequence enters the prefix tree without a place in it");
    const from = entered * BLOCK_TOKENS;
    const blocks = state.blocksAt(entered);
    let isOwn = true;
    const node = this.#tree.add(prefix, sequence.keys(from, from + count), blocks, (g, own, shared) => {
      const pool = this.#memory[g]?.pool;
      // The last, partial block is the sequence's own while it goes on.
      if (pool === undefined || count < BLOCK_TOKENS) return;
      isOwn = false;
      state.swap(g, entered, shared);
      later(pool, own);
    });
    sequence.entered += 1;
    this.#moveTo(sequence, node);
    for (const [model, draft] of sequence.drafts.entries()) {
      if (isOwn) this.mark(sequence, model, draft.computed);
      // What the model had computed went with the sequence's own block.
      else if (!isMarked(node, model)) draft.keep(tokens, from);
    }
  }

  /**
   * A token's row that sees tokens behind it isn't told by those before it. A span of one content is: all of it is given
   * wherever its first row is.
   */
  #treeOf({ request: { work, given } }: Sequence): PrefixTree | undefined {
    const isTold = ({ begin, end }: Span): boolean => given.some((one) => one.begin <= begin && end <= one.end);
    return work.spans?.every(isTold) === false ? undefined : this.#tree;
  }

  #moveTo(sequence: Sequence, node: Sequence["prefix"]): void {
    if (sequence.prefix !== undefined) sequence.prefix.locks -= 1;
    if (node !== undefined) node.locks += 1;
    sequence.prefix = node;
  }
}

function isMarked({ models }: PrefixNode, model: number): boolean {
  return ((models >> model) & 1) === 1;
}
