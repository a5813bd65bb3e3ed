/** The slopes of ALiBi (Press et al. 2022): what distance takes from a head's scores. */

/**
 * 2^(−max·i/n) for the n heads i = 1 … n of a power of two; where there are other numbers of heads, every second one of twice
 * as many fills up the rest.
 */
export function alibiSlopes(heads: number, max = 8): Float32Array {
  const power = 2 ** Math.floor(Math.log2(heads));
  return Float32Array.from({ length: heads }, (_, head) =>
    head < power ? 2 ** ((-max * (head + 1)) / power) : 2 ** ((-max * (2 * (head - power) + 1)) / (2 * power)),
  );
}
