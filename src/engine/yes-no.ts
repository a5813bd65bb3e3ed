/**
 * A document's score by a model that makes text: it is asked whether the document answers the query, and how likely "yes" is
 * beside "no" is the score (Qwen3-Reranker, Zhang et al. 2025, whose prompt this is). Two answers of one token are drawn from
 * one prompt, each held to its word by a bias, and their log-probabilities are the model's own.
 */
import type { SamplerParams } from "../backend/contract.ts";
import { GREEDY } from "../backend/program-runner.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type EngineClient, perform } from "./client.ts";

const BEFORE =
  "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. " +
  'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n';
const BEHIND = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
export const INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query";
/** More than logits differ. */
const CERTAIN = 1e9;

export class YesNo {
  readonly #tokenizer: Tokenizer;
  readonly #before: Int32Array;
  readonly #behind: Int32Array;
  readonly #samplers: readonly SamplerParams[];

  private constructor(tokenizer: Tokenizer, answers: readonly number[]) {
    this.#tokenizer = tokenizer;
    this.#before = tokenizer.encode(BEFORE, { addSpecial: false, parseSpecial: true });
    this.#behind = tokenizer.encode(BEHIND, { addSpecial: false, parseSpecial: true });
    this.#samplers = answers.map((id, sampleIndex) => ({
      ...GREEDY,
      sampleIndex,
      biasIds: Int32Array.of(id),
      biasValues: Float32Array.of(CERTAIN),
    }));
  }

  /** Undefined where the vocabulary hasn't the words or the turns of the prompt as single tokens. */
  static of(tokenizer: Tokenizer): YesNo | undefined {
    const single = (text: string, parseSpecial: boolean): number | undefined => {
      const ids = tokenizer.encode(text, { addSpecial: false, parseSpecial });
      return ids.length === 1 ? ids[0] : undefined;
    };
    const turns = ["<|im_start|>", "<|im_end|>"].map((turn) => single(turn, true));
    const [yes, no] = [single("yes", false), single("no", false)];
    if (yes === undefined || no === undefined || turns.includes(undefined)) return undefined;
    return new YesNo(tokenizer, [yes, no]);
  }

  prompt(query: string, document: string, instruction: string): Int32Array {
    const text = `<Instruct>: ${instruction}\n<Query>: ${query}\n<Document>: ${document}`;
    const ids = this.#tokenizer.encode(text, { addSpecial: false, parseSpecial: false });
    return Int32Array.from([...this.#before, ...ids, ...this.#behind]);
  }

  /** How likely "yes" is where the answer is one of the two: 0 … 1. */
  async score(client: EngineClient, prompt: Int32Array, signal: AbortSignal | undefined): Promise<number> {
    const logprobs = [NaN, NaN];
    const generate = { maxTokens: 1, samplers: this.#samplers, stopIds: new Int32Array(0), topLogprobs: 0 };
    await perform(client, { prompt, generate }, signal, (event) => {
      if (event.type === "tokens") logprobs[event.answer] = event.tokens[0]?.logprob ?? NaN;
    });
    const [yes = NaN, no = NaN] = logprobs;
    return 1 / (1 + Math.exp(no - yes));
  }
}
