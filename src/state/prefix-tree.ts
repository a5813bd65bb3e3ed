/**
 * What earlier sequences left in memory, found by prefix: a radix tree whose nodes are blocks of tokens (Zheng et al.
 * 2024). Prefixes are compared by their tokens, under a salt that keeps tenants apart. A node holds one block of each
 * state group, or none where a window has passed it, and at a border the granules of recurrent groups; the last block of a sequence may hold fewer tokens and is a leaf. A
 * hit is the longest length that every group can serve. Nodes that nobody uses go least recently used first, leaves
 * before their parents; nothing here recurses.
 */
import { BLOCK_TOKENS, BORDER_TOKENS } from "../backend/contract.ts";
import { invariant } from "../errors.ts";
import type { GroupMemory } from "./block-pool.ts";

export interface PrefixNode {
  /** Undefined: a root. */
  readonly parent: PrefixNode | undefined;
  /** 1 … 16 ids; fewer than 16 only in leaves. */
  readonly tokens: Int32Array;
  /** For each group; −1: none. */
  readonly blocks: number[];
  readonly children: Map<number, PrefixNode[]>;
  childCount: number;
  /** One bit for each drafting model: it has computed its part of these blocks, and of all before them. */
  models: number;
  /** Sequences that will add their next block here. */
  locks: number;
  /** Neighbours in order of use. */
  older: PrefixNode | undefined;
  newer: PrefixNode | undefined;
}

/** A run of blocks without a branch, for pictures of the tree: how long it is, and where it hangs. */
export interface PrefixRun {
  /** Index of the run before it; −1: none. */
  readonly parent: number;
  readonly blocks: number;
  /** Some sequence holds its last block, or adds to it. */
  readonly inUse: boolean;
}

/** What the tree has given up to make room: the last of the tokens' blocks, for each group, −1 where it had none. */
export interface EvictedNode {
  readonly salt: string;
  /** From the beginning. */
  readonly tokens: Int32Array;
  readonly blocks: readonly number[];
  readonly models: number;
}

/** The first `length` tokens: `full` blocks, then `count` tokens of `tail`'s. */
export interface PrefixHit {
  readonly length: number;
  readonly full: readonly PrefixNode[];
  readonly tail: PrefixNode | undefined;
}

export class PrefixTree {
  readonly #memory: readonly GroupMemory[];
  readonly #roots = new Map<string, PrefixNode>();
  readonly #salts = new WeakMap<PrefixNode, string>();
  /** Told of nodes before their blocks become others'. */
  evicted: ((node: EvictedNode) => void) | undefined;
  #oldest: PrefixNode | undefined;
  #newest: PrefixNode | undefined;
  #nodes = 0;

  constructor(memory: readonly GroupMemory[]) {
    this.#memory = memory;
    for (const [g, { pool }] of memory.entries()) pool.reclaim = () => this.#reclaim(g);
  }

  /** Blocks' worth of prefixes. */
  get size(): number {
    return this.#nodes;
  }

  root(salt: string): PrefixNode {
    let root = this.#roots.get(salt);
    if (root === undefined) {
      root = newNode(undefined, new Int32Array(), []);
      this.#roots.set(salt, root);
      this.#salts.set(root, salt);
    }
    return root;
  }

  /** The longest prefix of the first `limit` tokens that every group has; it has been used now. */
  match(tokens: Int32Array, limit: number, salt: string): PrefixHit {
    const hit = this.find(tokens, limit, salt);
    this.#touch(hit.tail === undefined ? hit.full : [...hit.full, hit.tail]);
    return hit;
  }

  /** The same, for whoever only asks. */
  find(tokens: Int32Array, limit: number, salt: string): PrefixHit {
    const path = this.path(tokens, limit, salt);
    const deepest = path.at(-1) ?? this.#roots.get(salt);
    const full = path.length * BLOCK_TOKENS;
    const best = deepest && longestBeginning(deepest, tokens, full, limit);
    if (best !== undefined && this.#serves(full + best.count, [...path, best.node])) {
      return { length: full + best.count, full: path, tail: best.node };
    }
    while (path.length > 0 && !this.#serves(path.length * BLOCK_TOKENS, path)) path.pop();
    return { length: path.length * BLOCK_TOKENS, full: path, tail: undefined };
  }

  /** The full blocks of the first `limit` tokens that there are nodes for, whether or not every group can be served. */
  path(tokens: Int32Array, limit: number, salt: string): PrefixNode[] {
    const path: PrefixNode[] = [];
    let at = this.#roots.get(salt);
    while (at !== undefined && (path.length + 1) * BLOCK_TOKENS <= limit) {
      at = findChild(at, tokens, path.length * BLOCK_TOKENS, BLOCK_TOKENS);
      if (at !== undefined) path.push(at);
    }
    return path;
  }

  /**
   * The child of `parent` with these tokens, which `blocks` hold: found, or made. Where it is found, `blocks` gives way to
   * the child's: `swap` is told of each that differs.
   */
  add(
    parent: PrefixNode,
    tokens: Int32Array,
    blocks: readonly number[],
    swap: (group: number, own: number, shared: number) => void,
  ): PrefixNode {
    let child = findChild(parent, tokens, 0, tokens.length);
    if (child === undefined) {
      child = newNode(
        parent,
        tokens.slice(),
        blocks.map(() => -1),
      );
      const siblings = parent.children.get(tokens[0] ?? -1);
      if (siblings === undefined) parent.children.set(tokens[0] ?? -1, [child]);
      else siblings.push(child);
      parent.childCount += 1;
      this.#nodes += 1;
    } else this.#unlink(child);
    this.#link(child);
    for (const [g, own] of blocks.entries()) {
      const shared = child.blocks[g] ?? -1;
      if (own < 0 || own === shared) continue;
      if (shared >= 0) swap(g, own, shared);
      else {
        this.#memory[g]?.pool.cache(own);
        child.blocks[g] = own;
      }
    }
    this.#dropBeginnings(parent, child);
    return child;
  }

  /** Its runs, parents before their children; at most `limit`. */
  runs(limit: number): PrefixRun[] {
    const runs: PrefixRun[] = [];
    const open = [...this.#roots.values()].flatMap((root) => childrenOf(root).map((node) => ({ node, parent: -1 })));
    for (let next = open.shift(); next !== undefined && runs.length < limit; next = open.shift()) {
      let { node } = next;
      let blocks = 1;
      for (; node.childCount === 1; blocks++) node = childrenOf(node)[0] ?? node;
      const isHeld = node.blocks.some((block, g) => block >= 0 && (this.#memory[g]?.pool.references(block) ?? 0) > 1);
      const parent = runs.push({ parent: next.parent, blocks, inUse: isHeld || node.locks > 0 }) - 1;
      for (const child of childrenOf(node)) open.push({ node: child, parent });
    }
    return runs;
  }

  /** Forgets what nobody uses. */
  clear(): void {
    for (let before = -1; before !== this.#nodes;) {
      before = this.#nodes;
      for (let node = this.#oldest; node !== undefined;) {
        const next: PrefixNode | undefined = node.newer;
        if (this.#isRemovable(node)) this.#remove(node);
        node = next;
      }
    }
  }

  /** Makes at least one idle block of a group free: of the least recently used node that can do without it. */
  #reclaim(group: number): void {
    const { kind, window } = this.#memory[group]?.group ?? {};
    const isOptional = window !== undefined || kind === "recurrent";
    const pool = this.#memory[group]?.pool;
    for (let node = this.#oldest; node !== undefined; node = node.newer) {
      const block = node.blocks[group] ?? -1;
      if (block < 0 || pool?.references(block) !== 1) continue;
      // Without a block of the window, or a granule, a prefix can still be served from elsewhere on.
      if (isOptional) {
        pool.uncache(block);
        node.blocks[group] = -1;
        return;
      }
      if (!this.#isRemovable(node)) continue;
      this.#tell(node);
      this.#remove(node);
      return;
    }
  }

  #tell({ blocks, models, tokens, parent }: PrefixNode): void {
    if (this.evicted === undefined) return;
    const parts = [tokens];
    let at = parent;
    for (; at?.parent !== undefined; at = at.parent) parts.push(at.tokens);
    const salt = (at && this.#salts.get(at)) ?? "";
    const all = Int32Array.from(parts.toReversed().flatMap((part) => [...part]));
    this.evicted({ salt, tokens: all, blocks: [...blocks], models });
  }

  #isRemovable({ childCount, locks, blocks }: PrefixNode): boolean {
    if (childCount > 0 || locks > 0) return false;
    return blocks.every((block, g) => block < 0 || this.#memory[g]?.pool.references(block) === 1);
  }

  #remove(node: PrefixNode): void {
    const { parent, blocks } = node;
    invariant(parent !== undefined, "a root of the prefix tree is removed");
    for (const [g, block] of blocks.entries()) if (block >= 0) this.#memory[g]?.pool.uncache(block);
    const siblings = parent.children.get(node.tokens[0] ?? -1) ?? [];
    siblings.splice(siblings.indexOf(node), 1);
    if (siblings.length === 0) parent.children.delete(node.tokens[0] ?? -1);
    parent.childCount -= 1;
    this.#nodes -= 1;
    this.#unlink(node);
  }

  /** A shorter last block whose tokens a new one begins with says nothing more. */
  #dropBeginnings(parent: PrefixNode, child: PrefixNode): void {
    for (const other of (parent.children.get(child.tokens[0] ?? -1) ?? []).slice()) {
      const shorter = other !== child && other.tokens.length < child.tokens.length;
      if (shorter && startsWith(child.tokens, other.tokens) && this.#isRemovable(other)) this.#remove(other);
    }
  }

  /** Whether each group has what a row behind the first `length` tokens sees. */
  #serves(length: number, path: readonly PrefixNode[]): boolean {
    const [, granules] = granulesOf(this.#memory, length, path);
    if (granules.some((granule) => granule < 0)) return false;
    return this.#memory.every(({ group: { kind, window = Infinity } }, g) => {
      if (kind === "recurrent") return true;
      const first = Math.floor(Math.max(0, length - window + 1) / BLOCK_TOKENS);
      return path.slice(first).every(({ blocks }) => (blocks[g] ?? -1) >= 0);
    });
  }

  /** Parents are more recent than their children, so that these go first. */
  #touch(path: readonly PrefixNode[]): void {
    for (const node of path.toReversed()) {
      this.#unlink(node);
      this.#link(node);
    }
  }

  #link(node: PrefixNode): void {
    node.older = this.#newest;
    if (this.#newest !== undefined) this.#newest.newer = node;
    else this.#oldest = node;
    this.#newest = node;
  }

  #unlink(node: PrefixNode): void {
    if (node.older !== undefined) node.older.newer = node.newer;
    else this.#oldest = node.newer;
    if (node.newer !== undefined) node.newer.older = node.older;
    else this.#newest = node.older;
    node.older = node.newer = undefined;
  }
}

/** The last border in the first `length` tokens, which lie in the nodes `path`, and the granules that these have there. */
export function granulesOf(
  memory: readonly GroupMemory[],
  length: number,
  path: readonly PrefixNode[],
): [border: number, granules: number[]] {
  const border = Math.floor(length / BORDER_TOKENS);
  const node = path[border * (BORDER_TOKENS / BLOCK_TOKENS) - 1];
  if (node === undefined) return [0, []];
  return [border, memory.flatMap(({ group }, g) => (group.kind === "recurrent" ? [node.blocks[g] ?? -1] : []))];
}

function childrenOf({ children }: PrefixNode): PrefixNode[] {
  return [...children.values()].flat();
}

function newNode(parent: PrefixNode | undefined, tokens: Int32Array, blocks: number[]): PrefixNode {
  const links = { childCount: 0, locks: 0, older: undefined, newer: undefined };
  return { parent, tokens, blocks, children: new Map(), models: 0, ...links };
}

function findChild(parent: PrefixNode, tokens: Int32Array, from: number, count: number): PrefixNode | undefined {
  const candidates = parent.children.get(tokens[from] ?? -1) ?? [];
  return candidates.find((node) => node.tokens.length === count && common(node.tokens, tokens, from, count) === count);
}

/** The child that has the most tokens in common with those from `from` on, and how many; undefined: none has any. */
function longestBeginning(
  parent: PrefixNode,
  tokens: Int32Array,
  from: number,
  limit: number,
): { readonly node: PrefixNode; readonly count: number } | undefined {
  let best: { readonly node: PrefixNode; readonly count: number } | undefined;
  for (const node of parent.children.get(tokens[from] ?? -1) ?? []) {
    const count = common(node.tokens, tokens, from, Math.min(node.tokens.length, limit - from));
    if (count > (best?.count ?? 0)) best = { node, count };
  }
  return best;
}

function startsWith(tokens: Int32Array, beginning: Int32Array): boolean {
  return common(beginning, tokens, 0, beginning.length) === beginning.length;
}

/** How many of a node's first `most` tokens equal `tokens[from …]`. */
function common(own: Int32Array, tokens: Int32Array, from: number, most: number): number {
  let count = 0;
  while (count < most && own[count] === tokens[from + count]) count += 1;
  return count;
}
