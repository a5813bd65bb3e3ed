/**
 * A suffix automaton that grows by tokens (Blumer et al. 1985): the smallest automaton of all parts of a text. A state
 * stands for parts that end at the same places, of which the longest is known; its link leads to the longest shorter ending.
 * Appending takes amortised constant time, and about 100 bytes a token; counts of occurrences are kept along at most
 * LINKS links, which is exact but for text that repeats itself very deeply.
 */

import type { Follower } from "./likely-tree.ts";

/** The state of the empty text. */
export const ROOT = 0;
const NONE = -1;
const LINKS = 32;

export class SuffixAutomaton {
  /** Of each state: the length of its longest text, its link, how often it occurred, its newest edge. */
  #lengths = new Int32Array(64);
  #links = new Int32Array(64);
  #counts = new Int32Array(64);
  #edges = new Int32Array(64);
  #states = 1;
  /** Of each edge: where it comes from, its token, where it leads, its state's next older edge. */
  #from = new Int32Array(64);
  #tokens = new Int32Array(64);
  #to = new Int32Array(64);
  #older = new Int32Array(64);
  #edgeCount = 0;
  /** Edges by state and token: open addressing, a power of two, at most half full. */
  #table = new Int32Array(256).fill(NONE);
  #last = ROOT;
  /** Tokens so far. */
  length = 0;

  constructor() {
    this.#links[ROOT] = NONE;
    this.#edges[ROOT] = NONE;
  }

  /** The state of the longest ending of the text that stood in it before. */
  get repeated(): number {
    return Math.max(ROOT, this.link(this.#last));
  }

  /** The length of a state's longest text. */
  lengthOf(state: number): number {
    return this.#lengths[state] ?? 0;
  }

  link(state: number): number {
    return this.#links[state] ?? NONE;
  }

  /** How often a state's texts occurred. */
  count(state: number): number {
    return this.#counts[state] ?? 0;
  }

  /** Where a token leads from a state; −1: it never followed. */
  next(state: number, token: number): number {
    return this.#to[this.#find(state, token)] ?? NONE;
  }

  /** The newest edges of a state, at most `most`. */
  *followers(state: number, most: number): Generator<Follower<number>> {
    let edge = this.#edges[state] ?? NONE;
    for (let i = 0; edge >= 0 && i < most; i++, edge = this.#older[edge] ?? NONE) yield this.#follower(edge);
  }

  #follower(edge: number): Follower<number> {
    const to = this.#to[edge] ?? ROOT;
    return { token: this.#tokens[edge] ?? NONE, to, count: this.count(to) };
  }

  append(token: number): void {
    this.length += 1;
    const state = this.#addState(this.lengthOf(this.#last) + 1, ROOT);
    let at = this.#last;
    let edge = NONE;
    for (; at >= 0; at = this.link(at)) {
      edge = this.#find(at, token);
      if (edge >= 0) break;
      this.#addEdge(at, token, state);
    }
    const link = edge < 0 ? ROOT : this.#splitAt(at, token, this.#to[edge] ?? ROOT);
    this.#links[state] = link;
    this.#last = state;
    for (let one = state, i = 0; one > ROOT && i <= LINKS; i++, one = this.link(one))
      this.#counts[one] = this.count(one) + 1;
  }

  /** The state of the longest text of `at` with the token behind it, which until now may have been a part of `whole`. */
  #splitAt(at: number, token: number, whole: number): number {
    if (this.lengthOf(at) + 1 === this.lengthOf(whole)) return whole;
    const part = this.#addState(this.lengthOf(at) + 1, this.link(whole));
    this.#counts[part] = this.count(whole);
    for (const follower of [...this.followers(whole, Infinity)].reverse())
      this.#addEdge(part, follower.token, follower.to);
    for (let one = at; one >= 0; one = this.link(one)) {
      const edge = this.#find(one, token);
      if (this.#to[edge] !== whole) break;
      this.#to[edge] = part;
    }
    this.#links[whole] = part;
    return part;
  }

  #addState(length: number, link: number): number {
    const state = this.#states++;
    if (state === this.#lengths.length) {
      this.#lengths = doubled(this.#lengths);
      this.#links = doubled(this.#links);
      this.#counts = doubled(this.#counts);
      this.#edges = doubled(this.#edges);
    }
    this.#lengths[state] = length;
    this.#links[state] = link;
    this.#edges[state] = NONE;
    return state;
  }

  #addEdge(state: number, token: number, to: number): void {
    const edge = this.#edgeCount++;
    if (edge === this.#from.length) {
      this.#from = doubled(this.#from);
      this.#tokens = doubled(this.#tokens);
      this.#to = doubled(this.#to);
      this.#older = doubled(this.#older);
    }
    this.#from[edge] = state;
    this.#tokens[edge] = token;
    this.#to[edge] = to;
    this.#older[edge] = this.#edges[state] ?? NONE;
    this.#edges[state] = edge;
    if (2 * this.#edgeCount > this.#table.length) {
      this.#table = new Int32Array(2 * this.#table.length).fill(NONE);
      for (let one = 0; one < this.#edgeCount; one++) this.#enter(one);
    } else this.#enter(edge);
  }

  #enter(edge: number): void {
    const mask = this.#table.length - 1;
    let place = hash(this.#from[edge] ?? 0, this.#tokens[edge] ?? 0) & mask;
    while ((this.#table[place] ?? NONE) >= 0) place = (place + 1) & mask;
    this.#table[place] = edge;
  }

  /** The edge of a state with this token; −1: none. */
  #find(state: number, token: number): number {
    const mask = this.#table.length - 1;
    for (let place = hash(state, token) & mask; ; place = (place + 1) & mask) {
      const edge = this.#table[place] ?? NONE;
      if (edge < 0 || (this.#from[edge] === state && this.#tokens[edge] === token)) return edge;
    }
  }
}

function hash(state: number, token: number): number {
  const mixed = Math.imul(state, 0x9e3779b1) ^ Math.imul(token + 1, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}

function doubled(array: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * array.length);
  larger.set(array);
  return larger;
}
