/**
 * Calibration: the token sequences whose activations tell passes what matters. They come from texts of the user, from the
 * built-in sample, or from the model itself; all are cut to sequences of one length. How activations are had from them
 * stands in `layer-walk.ts`.
 */
import type { Llm } from "../engine/llm.ts";
import { RequestError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

export interface Calibration {
  /** For reports: "wiki.txt, 16,384 tokens in 32 sequences". */
  readonly name: string;
  /** Token ids, each sequence of the same length but perhaps the last. */
  readonly sequences: readonly Int32Array[];
}

/** How much an error in a column of a matrix counts: the mean square of the activations that meet it. */
export interface Importance {
  /** For reports: where it is from. */
  readonly name: string;
  /** By tensor: a value a column; of a stack of experts, for each expert. */
  readonly columns: ReadonlyMap<string, Float32Array>;
}

export interface CalibrationOptions {
  /** Default 16,384. */
  readonly tokens?: number;
  /** Of a sequence. Default 512. */
  readonly length?: number;
}

export const CALIBRATION_TOKENS = 16_384;
export const SEQUENCE_TOKENS = 512;

/**
 * The first tokens of texts, in order. A text that is longer than its share of the tokens is read from its beginning.
 * @throws RequestError where the texts have fewer than two tokens
 */
export function calibrateWith(
  tokenizer: Tokenizer,
  texts: readonly { readonly name: string; readonly text: string }[],
  { tokens = CALIBRATION_TOKENS, length = SEQUENCE_TOKENS }: CalibrationOptions = {},
): Calibration {
  const share = Math.ceil(tokens / Math.max(1, texts.length));
  const ids = texts.flatMap(({ text }) => [
    // A token has four bytes of text or so; more than what is wanted needn't be read.
    ...tokenizer.encode(text.slice(0, share * 16), { addSpecial: false, parseSpecial: false }).subarray(0, share),
  ]);
  const names = texts.map(({ name }) => name).join(", ");
  if (ids.length < 2) throw new RequestError(`${names || "no text"}: calibration needs two tokens at least`);
  return calibrationOf(names, Int32Array.from(ids.slice(0, tokens)), length);
}

/** Text that the model writes at temperature 1, from nothing but its beginning: for where no data may be used. */
export async function calibrateWithModel(
  llm: Llm,
  { tokens: wanted = CALIBRATION_TOKENS, length = SEQUENCE_TOKENS }: CalibrationOptions = {},
): Promise<Calibration> {
  const count = Math.ceil(wanted / length);
  const sequences = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const prompt = llm.tokenize("", { addSpecial: true });
      const begin = prompt.length > 0 ? prompt : llm.tokenize("The");
      const options = { maxTokens: length - begin.length, minTokens: length - begin.length, temperature: 1, topK: 0 };
      const { tokens } = await llm.generate(begin, { ...options, topP: 1, seed: i });
      return Int32Array.from([...begin, ...tokens]);
    }),
  );
  return { name: describe("written by the model", sequences), sequences };
}

function calibrationOf(name: string, ids: Int32Array, length: number): Calibration {
  const sequences = Array.from({ length: Math.ceil(ids.length / length) }, (_, i) =>
    ids.slice(i * length, (i + 1) * length),
  ).filter((sequence) => sequence.length > 1);
  return { name: describe(name, sequences), sequences };
}

function describe(name: string, sequences: readonly Int32Array[]): string {
  const tokens = sequences.reduce((sum, { length }) => sum + length, 0);
  return `${name}: ${tokens.toLocaleString("en")} tokens in ${sequences.length} sequences`;
}
