/** Log-probabilities of tokens in the forms of OpenAI's two APIs. */
import type { z } from "zod";

import type { Choice, TokenLogprob } from "../engine/llm.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ChatLogprobs } from "./schemas/chat.ts";
import type { CompletionLogprobs } from "./schemas/completion.ts";

/** JSON knows no −Infinity. */
const LEAST = -9999;

export function tokenText(tokenizer: Tokenizer, id: number): string {
  return new TextDecoder().decode(tokenizer.tokenBytes(id, true));
}

export function finite(logprob: number): number {
  return Math.max(logprob, LEAST);
}

export function chatLogprobs(tokenizer: Tokenizer, tokens: readonly TokenLogprob[]): z.infer<typeof ChatLogprobs> {
  const one = ({ id, logprob }: { readonly id: number; readonly logprob: number }) => ({
    token: tokenText(tokenizer, id),
    logprob: finite(logprob),
    bytes: [...tokenizer.tokenBytes(id, true)],
  });
  return { content: tokens.map((token) => ({ ...one(token), top_logprobs: token.top.map(one) })), refusal: null };
}

/** A token of a text; of a prompt's first one nothing is known. */
export type MaybeScored = Omit<TokenLogprob, "logprob" | "top"> & Partial<Pick<TokenLogprob, "logprob" | "top">>;

/** `offset`: where the first token begins in the text. */
export function completionLogprobs(
  tokenizer: Tokenizer,
  tokens: readonly MaybeScored[],
  offset: number,
): z.infer<typeof CompletionLogprobs> {
  const texts = tokens.map(({ id }) => tokenText(tokenizer, id));
  const offsets: number[] = [];
  let at = offset;
  for (const text of texts) {
    offsets.push(at);
    at += text.length;
  }
  return {
    tokens: texts,
    token_logprobs: tokens.map(({ logprob }) => (logprob === undefined ? null : finite(logprob))),
    top_logprobs: tokens
      .map(
        ({ top }) =>
          top && Object.fromEntries(top.map(({ id, logprob }) => [tokenText(tokenizer, id), finite(logprob)])),
      )
      .map((top) => top ?? null),
    text_offset: offsets,
  };
}

/** Tokens of an answer that are text: the one that ended it is none. */
export function textTokens(
  { finishReason, stopText }: Choice,
  tokens: readonly TokenLogprob[],
): readonly TokenLogprob[] {
  return finishReason === "stop" && stopText === undefined ? tokens.slice(0, -1) : tokens;
}
