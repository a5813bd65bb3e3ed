/**
 * What the prefix tree had to give up, kept in ordinary memory under a budget: the bytes of blocks, found by the tokens that
 * they hold and all before them (compared, never hashed) under their salt. Least recently used blocks go first. Whoever gets
 * bytes from here puts them into blocks of the pool again, which is cheaper than computing them.
 */
import { BLOCK_TOKENS } from "../backend/contract.ts";
import { invariant } from "../errors.ts";

/** A node of the prefix tree without its blocks: their bytes for each group, undefined where it had none. */
export interface BlockBytes {
  readonly groups: readonly (Uint8Array | undefined)[];
  /** Which drafting models have computed their part, one bit each. */
  readonly models: number;
}

interface TierNode {
  readonly parent: TierNode | undefined;
  readonly tokens: Int32Array;
  readonly children: Map<number, TierNode[]>;
  /** Where a deeper one is kept and this one is in the pool, or was given up. */
  kept: BlockBytes | undefined;
}

export class HostTier {
  readonly budget: number;
  readonly #roots = new Map<string, TierNode>();
  /** In order of use. */
  readonly #kept = new Set<TierNode>();
  #bytes = 0;

  /** `budget` in bytes. */
  constructor(budget: number) {
    this.budget = budget;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get blocks(): number {
    return this.#kept.size;
  }

  /** Keeps the last block of `tokens`, a whole number of blocks; what was kept of it before, and now is not given, stays. */
  put(salt: string, tokens: Int32Array, given: BlockBytes): void {
    invariant(tokens.length > 0 && tokens.length % BLOCK_TOKENS === 0, "the tier keeps whole blocks");
    let node = this.#roots.get(salt);
    if (node === undefined) this.#roots.set(salt, (node = newNode(undefined, new Int32Array())));
    for (let at = 0; at < tokens.length; at += BLOCK_TOKENS) {
      const parent: TierNode = node;
      node = childOf(parent, tokens, at);
      if (node !== undefined) continue;
      node = newNode(parent, tokens.slice(at, at + BLOCK_TOKENS));
      const first = tokens[at] ?? -1;
      const siblings = parent.children.get(first);
      if (siblings === undefined) parent.children.set(first, [node]);
      else siblings.push(node);
    }
    const before = node.kept;
    const groups = given.groups.map((bytes, g) => bytes ?? before?.groups[g]);
    this.#forget(node);
    node.kept = { groups, models: given.models };
    this.#kept.add(node);
    this.#bytes += sizeOf(node.kept);
    for (const oldest of this.#kept) {
      if (this.#bytes <= this.budget) break;
      this.#forget(oldest);
      this.#prune(oldest);
    }
  }

  /** What is kept of the blocks from entry `from` on, without a gap, of the first `limit` tokens; they have been used now. */
  get(salt: string, tokens: Int32Array, from: number, limit: number): readonly BlockBytes[] {
    const found: BlockBytes[] = [];
    let node = this.#roots.get(salt);
    for (let entry = 0; node !== undefined && (entry + 1) * BLOCK_TOKENS <= limit; entry++) {
      node = childOf(node, tokens, entry * BLOCK_TOKENS);
      if (entry < from || node === undefined) continue;
      if (node.kept === undefined) break;
      this.#kept.delete(node);
      this.#kept.add(node);
      found.push(node.kept);
    }
    return found;
  }

  #forget(node: TierNode): void {
    if (node.kept === undefined) return;
    this.#bytes -= sizeOf(node.kept);
    node.kept = undefined;
    this.#kept.delete(node);
  }

  /** Takes out what leads to nothing any more. */
  #prune(leaf: TierNode): void {
    for (let node = leaf; node.kept === undefined && node.children.size === 0;) {
      const { parent } = node;
      if (parent === undefined) return;
      const first = node.tokens[0] ?? -1;
      const siblings = (parent.children.get(first) ?? []).filter((one) => one !== node);
      if (siblings.length === 0) parent.children.delete(first);
      else parent.children.set(first, siblings);
      node = parent;
    }
  }
}

function newNode(parent: TierNode | undefined, tokens: Int32Array): TierNode {
  return { parent, tokens, children: new Map(), kept: undefined };
}

function childOf({ children }: TierNode, tokens: Int32Array, at: number): TierNode | undefined {
  return children.get(tokens[at] ?? -1)?.find((node) => node.tokens.every((token, i) => token === tokens[at + i]));
}

function sizeOf({ groups }: BlockBytes): number {
  return groups.reduce((sum, bytes) => sum + (bytes?.length ?? 0), 0);
}
