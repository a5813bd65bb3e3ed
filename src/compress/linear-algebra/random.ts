/** Random numbers from a seed for methods that draw them: equal on every machine, so that a run can be repeated. */

/** SplitMix32 (after Steele et al. 2014), and normal values by Box and Muller (1958). */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 32 bits. */
  bits(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** 0 ≤ x < 1. */
  uniform(): number {
    return this.bits() / 2 ** 32;
  }

  /** A whole number from 0 to limit − 1. */
  below(limit: number): number {
    return Math.floor(this.uniform() * limit);
  }

  /** −1 or 1. */
  sign(): number {
    return (this.bits() & 0x8000) === 0 ? 1 : -1;
  }

  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }
}
