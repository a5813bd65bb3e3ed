/**
 * The suffix array of token ids: every place of a text, in order of what stands from there on (Manber and Myers 1990). Sorted by
 * three-way radix quicksort (Bentley and Sedgewick 1997) down to DEPTH tokens; places that agree so far keep any order.
 */

/** Nobody looks further. */
const DEPTH = 32;
/** Fewer places are sorted by insertion. */
const FEW = 12;

/** `tokens` are 0 or more. */
export function suffixArray(tokens: Int32Array): Int32Array {
  const places = Int32Array.from(tokens, (_, i) => i);
  const at = (place: number, depth: number): number => tokens[place + depth] ?? -1;
  const swap = (i: number, j: number): void => {
    const kept = places[i] ?? 0;
    places[i] = places[j] ?? 0;
    places[j] = kept;
  };
  const isBefore = (a: number, b: number, depth: number): boolean => {
    for (let d = depth; d < DEPTH; d++) {
      const difference = at(a, d) - at(b, d);
      if (difference !== 0) return difference < 0;
    }
    return false;
  };
  const open: [from: number, to: number, depth: number][] = [[0, places.length, 0]];
  for (let part = open.pop(); part !== undefined; part = open.pop()) {
    const [from, to, depth] = part;
    if (to - from <= FEW || depth >= DEPTH) {
      if (depth >= DEPTH) continue;
      for (let i = from + 1; i < to; i++)
        for (let j = i; j > from && isBefore(places[j] ?? 0, places[j - 1] ?? 0, depth); j--) swap(j, j - 1);
      continue;
    }
    const pivot = middle(
      at(places[from] ?? 0, depth),
      at(places[(from + to) >> 1] ?? 0, depth),
      at(places[to - 1] ?? 0, depth),
    );
    let [less, i, more] = [from, from, to];
    while (i < more) {
      const token = at(places[i] ?? 0, depth);
      if (token < pivot) swap(less++, i++);
      else if (token > pivot) swap(i, --more);
      else i += 1;
    }
    open.push([from, less, depth], [more, to, depth]);
    if (pivot >= 0) open.push([less, more, depth + 1]);
  }
  return places;
}

function middle(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}
