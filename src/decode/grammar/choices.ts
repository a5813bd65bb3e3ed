/**
 * Which of a few allowed tokens a model takes, learnt from what it took: a model of its own, of one weight a token, a pair and a
 * triple of tokens, by the logistic rule. Where a grammar forces a text it tells how the model cuts it into tokens, which
 * is seldom the tokenizer's way; else it tells what comes often. It is only ever used to propose drafts.
 */

/** Weights; those of different tokens may fall upon one, which makes a guess worse and nothing else. */
const SIZE = 2 ** 16;
const RATE = 0.5;
/** What is believed of the longest token before anything was seen: models that were told the text write it so. */
const LONGEST = 0.7;

export class Choices {
  readonly #weights = new Float32Array(SIZE);

  /** How likely each of `among` is behind `earlier` and `last`. The first one is the longest. */
  chances(earlier: number, last: number, among: readonly number[]): number[] {
    const chances: number[] = [];
    let sum = 0;
    for (const [i, token] of among.entries()) {
      const [one, pair, triple] = places(earlier, last, token);
      const score = this.#at(one) + this.#at(pair) + this.#at(triple) + (i === 0 ? LONGEST : 0);
      sum += chances[i] = Math.exp(Math.min(score, 50));
    }
    return chances.map((chance) => chance / sum);
  }

  /** `among[taken]` came. */
  learn(earlier: number, last: number, among: readonly number[], taken: number): void {
    for (const [i, chance] of this.chances(earlier, last, among).entries()) {
      const step = RATE * ((i === taken ? 1 : 0) - chance);
      for (const place of places(earlier, last, among[i] ?? -1)) this.#weights[place] = this.#at(place) + step;
    }
  }

  #at(place: number): number {
    return this.#weights[place] ?? 0;
  }
}

function places(earlier: number, last: number, token: number): readonly [number, number, number] {
  const pair = Math.imul(last + 1, 40_503) + token;
  return [mix(token), mix(pair), mix(Math.imul(earlier + 1, 7919) + pair)];
}

/** Multiplicative hashing (Knuth 1973). */
function mix(key: number): number {
  return Math.imul(key, 2_654_435_761) >>> 16;
}
