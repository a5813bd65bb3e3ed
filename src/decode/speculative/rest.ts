/**
 * Retrieval drafting (REST, He et al. 2024): the longest ending of a sequence that a datastore of texts has, and what
 * followed it there, as a tree by how often it did.
 */
import type { Datastore } from "./datastore.ts";
import type { DraftTree } from "./draft-tree.ts";
import type { Drafter, DraftMethod } from "./drafter.ts";
import { type Follower, likelyTree } from "./likely-tree.ts";

/** An ending is looked for up to so many tokens, and followed from so many. */
const LONGEST = 16;
const SHORTEST = 2;
/** Of all places, so many are looked at, spread evenly; each so far ahead. */
const PLACES = 48;
const AHEAD = 10;

/** What followed, as a trie. */
class Followed {
  count = 0;
  readonly next = new Map<number, Followed>();

  add([token, ...rest]: readonly number[]): void {
    this.count += 1;
    if (token === undefined) return;
    const next = this.next.get(token) ?? new Followed();
    this.next.set(token, next);
    next.add(rest);
  }

  *followers(): Generator<Follower<Followed>> {
    let rest = this.count;
    for (const [token, to] of this.next) {
      rest -= to.count;
      yield { token, to, count: to.count };
    }
    if (rest > 0) yield { token: -1, to: this, count: rest };
  }
}

class RestDrafter implements Drafter {
  readonly #datastore: Datastore;

  constructor(datastore: Datastore) {
    this.#datastore = datastore;
  }

  propose(tokens: Int32Array, room: number): DraftTree | undefined {
    const { length, from, to } = this.#datastore.find(tokens, LONGEST);
    if (length < SHORTEST) return undefined;
    const followed = new Followed();
    const places = Math.min(PLACES, to - from);
    for (let i = 0; i < places; i++) {
      const entry = from + Math.floor((i * (to - from)) / places);
      followed.add([...this.#datastore.after(entry, length, Math.min(AHEAD, room))]);
    }
    return likelyTree(followed, length, room, (state) => state.followers());
  }
}

export function rest(datastore: Datastore): DraftMethod {
  const drafter = new RestDrafter(datastore);
  return { follow: () => drafter };
}
