/**
 * How a token is chosen from a row of logits: the definition, which every backend's sampler follows bit for bit
 * in its integers and within rounding in its floats.
 *
 * 1. Adjust, in f32: logit + bias; tokens of prompt or answer: logit / r where positive, logit · r where not
 *    (repetition penalty r, Keskar et al. 2019); tokens of the answer: − presence − frequency · count. Stop tokens
 *    become −∞ while the answer is shorter than minTokens.
 * 2. Temperature 0: the largest adjusted logit. Else z = (adjusted − the largest adjusted) / T.
 * 3. Keep the topK largest adjusted logits (the lower id first among equals); of those, by the softmax of z, the
 *    shortest prefix in that order whose mass reaches topP; of those, the ones with e^z ≥ minP.
 * 4. The largest z + g over the kept ids, g = −log(−log u), u = ((x₀ >>> 8) + 0.5) · 2⁻²⁴, where x₀ is the first
 *    word of Philox4x32-10 (Salmon et al. 2011) with the key (low, high 32 bits of the seed) and the counter
 *    (token id, position of the token to be chosen, sample index, 0).
 *
 * A mask makes what it forbids −∞ before step 2; where it leaves nothing but banned stop tokens, their ban is lifted.
 * Where nothing is left there is no sample, and none either of logits that aren't finite. Ties go to the lowest id.
 * Reported log-probabilities are of the raw logits.
 */
import { NO_SAMPLE, NOT_FINITE, type SamplerParams } from "../contract.ts";

/** What a sampler has seen: how often the answer has a token; 0 where only the prompt has it. */
export type SeenTokens = ReadonlyMap<number, number>;

const ROUNDS = 10;
const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;

/** The upper 32 bits of a · b; every partial product stays below 2⁵³. */
function multiplyHigh(a: number, b: number): number {
  const low = a * (b & 0xffff);
  const high = a * (b >>> 16);
  return Math.floor((high + Math.floor(low / 0x10000)) / 0x10000) >>> 0;
}

/** Philox4x32-10: four words from a counter of four words and a key of two. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter.map((c) => c >>> 0) as [number, number, number, number];
  let [k0, k1] = [key[0] >>> 0, key[1] >>> 0];
  for (let round = 0; round < ROUNDS; round++) {
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0;
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0;
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** Standard Gumbel noise of a token: a function of the seed, the sample, the position and the id alone. */
export function gumbel(seed: bigint, sampleIndex: number, position: number, id: number): number {
  const key = [Number(seed & 0xffffffffn), Number((seed >> 32n) & 0xffffffffn)] as const;
  const [x0] = philox([id, position, sampleIndex, 0], key);
  return -Math.log(-Math.log(((x0 >>> 8) + 0.5) * 2 ** -24));
}

/** The index of the largest value, the lowest among equals. */
export function argmax(values: Float32Array): number {
  let best = 0;
  let most = -Infinity;
  values.forEach((value, id) => {
    if (value > most) [best, most] = [id, value];
  });
  return best;
}

export function logSumExp(logits: Float32Array): number {
  const most = logits[argmax(logits)] ?? -Infinity;
  if (!Number.isFinite(most)) return NaN;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  return most + Math.log(sum);
}

/** Bias, penalties and forbidden stop tokens (step 1 above). `generated` counts the answer's tokens so far. */
export function adjustLogits(
  logits: Float32Array,
  params: SamplerParams,
  seen: SeenTokens,
  generated: number,
): Float32Array {
  const adjusted = logits.slice();
  const update = (id: number, change: (logit: number) => number): void => {
    const logit = adjusted[id];
    if (logit !== undefined) adjusted[id] = change(logit);
  };
  params.biasIds.forEach((id, i) => update(id, (logit) => logit + (params.biasValues[i] ?? 0)));
  const repetition = Math.fround(params.repetitionPenalty);
  const presence = Math.fround(params.presencePenalty);
  const frequency = Math.fround(params.frequencyPenalty);
  for (const [id, count] of seen) {
    update(id, (logit) => {
      const repeated = Math.fround(logit > 0 ? logit / repetition : logit * repetition);
      const present = count > 0 ? Math.fround(repeated - presence) : repeated;
      return present - Math.fround(frequency * count);
    });
  }
  if (generated < params.minTokens) for (const id of params.stopIds) update(id, () => -Infinity);
  return adjusted;
}

function applyMask(adjusted: Float32Array, mask: Uint32Array): Float32Array {
  return adjusted.map((logit, id) => (((mask[id >> 5] ?? 0) >>> (id & 31)) & 1 ? logit : -Infinity));
}

function nothingLeft(adjusted: Float32Array): boolean {
  return adjusted.every((logit) => logit === -Infinity);
}

/** Ids in order of falling value, the lower id first among equals. */
function descending(values: Float32Array): number[] {
  const value = (id: number): number => values[id] ?? -Infinity;
  return Array.from(values.keys()).sort((a, b) => (value(a) === value(b) ? a - b : value(a) > value(b) ? -1 : 1));
}

/** The ids that top-k, top-p and min-p keep (step 3 above), in descending order. `z` is a function of an id. */
export function keptTokens(
  adjusted: Float32Array,
  z: (id: number) => number,
  params: Pick<SamplerParams, "topK" | "topP" | "minP">,
): number[] {
  let kept = descending(adjusted);
  if (params.topK > 0) kept = kept.slice(0, params.topK);
  if (params.topP < 1) {
    const mass = kept.map((id) => Math.exp(z(id)));
    const goal = params.topP * mass.reduce((sum, m) => sum + m, 0);
    let reached = mass[0] ?? 0;
    let count = 1;
    while (count < kept.length && reached < goal) reached += mass[count++] ?? 0;
    kept = kept.slice(0, count);
  }
  return params.minP > 0 ? kept.filter((id) => Math.exp(z(id)) >= params.minP) : kept;
}

/** The chosen id (steps 1 to 4), NO_SAMPLE or NOT_FINITE. `position` is the chosen token's own. */
export function sampleToken(
  logits: Float32Array,
  position: number,
  params: SamplerParams,
  seen: SeenTokens,
  generated: number,
  mask?: Uint32Array,
): number {
  if (!logits.every(Number.isFinite)) return NOT_FINITE;
  let adjusted = adjustLogits(logits, params, seen, generated);
  if (mask !== undefined) {
    adjusted = applyMask(adjusted, mask);
    if (nothingLeft(adjusted)) adjusted = applyMask(adjustLogits(logits, params, seen, params.minTokens), mask);
  }
  if (nothingLeft(adjusted)) return NO_SAMPLE;
  const likeliest = argmax(adjusted);
  const top = adjusted[likeliest] ?? -Infinity;
  if (params.temperature === 0) return likeliest;
  const temperature = Math.fround(params.temperature);
  const z = (id: number): number => Math.fround(Math.fround((adjusted[id] ?? -Infinity) - top) / temperature);
  let best = likeliest;
  let most = -Infinity;
  for (const id of keptTokens(adjusted, z, params)) {
    const noisy = z(id) + gumbel(params.seed, params.sampleIndex, position, id);
    if (noisy > most || (noisy === most && id < best)) [best, most] = [id, noisy];
  }
  return best;
}

/** The `count` most likely ids, most likely first. */
export function topIds(logits: Float32Array, count: number): number[] {
  return count === 0 ? [] : descending(logits).slice(0, count);
}
