/**
 * Drafting from a text that the request itself predicts (OpenAI's `prediction`): the file that is to be edited, say. The
 * answer begins where the prediction does; where it leaves it, the draft goes on behind the place that the answer's last
 * tokens agree with best.
 */
import { chain, type DraftTree } from "./draft-tree.ts";
import type { Drafter } from "./drafter.ts";
import { chanceAfter, longestMatch } from "./ngram.ts";

export class PredictionDrafter implements Drafter {
  readonly #prediction: Int32Array;
  readonly #promptLength: number;

  constructor(prediction: Int32Array, promptLength: number) {
    this.#prediction = prediction;
    this.#promptLength = promptLength;
  }

  propose(tokens: Int32Array, room: number): DraftTree | undefined {
    const answer = tokens.subarray(this.#promptLength);
    const text = this.#prediction;
    // At the beginning nothing agrees yet, and the guess is the request's own. At its end a prediction says nothing.
    const match = answer.length === 0 ? { length: 8, next: 0 } : longestMatch(text, text.length + 1, answer);
    if (match === undefined || match.next === text.length) return undefined;
    const { length, next } = match;
    const ahead = [...text.subarray(next, next + room)];
    const chances = ahead.map((_, i) => chanceAfter(length + i));
    return { ...chain(ahead, chances), predicted: new Set(ahead.keys()) };
  }
}
