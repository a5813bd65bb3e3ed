/**
 * The list of merges ("Ġ t", or ["Ġ", "t"]) as ids: left, right and result of each, in order of rank.
 */
import type { MetaValue } from "../artifact/artifact.ts";
import { ArtifactError } from "../errors.ts";
import { isList, shown } from "./json-fields.ts";

export function parseMerges(
  list: readonly MetaValue[],
  where: string,
  idOf: (text: string) => number | undefined,
): Int32Array {
  const triples = new Int32Array(list.length * 3);
  const id = (text: string, i: number): number => {
    const found = idOf(text);
    if (found === undefined)
      throw new ArtifactError(`${where}[${i}] names ${shown(text)}, which is not in the vocabulary`);
    return found;
  };
  list.forEach((merge, i) => {
    const [left, right] = pair(merge, where, i);
    triples[i * 3] = id(left, i);
    triples[i * 3 + 1] = id(right, i);
    triples[i * 3 + 2] = id(left + right, i);
  });
  return triples;
}

function pair(merge: MetaValue, where: string, i: number): [string, string] {
  if (typeof merge === "string") {
    // A symbol may begin with a space, never hold one further on.
    const space = merge.indexOf(" ", 1);
    if (space > 0 && space < merge.length - 1) return [merge.slice(0, space), merge.slice(space + 1)];
  } else if (isList(merge)) {
    const [left, right] = merge;
    if (merge.length === 2 && typeof left === "string" && typeof right === "string") return [left, right];
  }
  throw new ArtifactError(`${where}[${i}] should be two symbols, found ${shown(merge)}`);
}
