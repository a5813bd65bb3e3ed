/**
 * A conversation that grows and may outgrow the context: then its oldest whole turns (a question and its answer) are
 * dropped; the system line and the newest question stay.
 */
import type { ChatMessage } from "../chat/chat-template.ts";

export interface Fitted {
  readonly messages: readonly ChatMessage[];
  /** Turns that were dropped from the front. */
  readonly dropped: number;
}

/** `count` gives a prompt's tokens. Where even the last question alone doesn't fit, it is left for the model to refuse. */
export function fitConversation(
  messages: readonly ChatMessage[],
  limit: number,
  count: (messages: readonly ChatMessage[]) => number,
): Fitted {
  let kept = messages;
  let dropped = 0;
  while (count(kept) > limit) {
    const shorter = withoutOldestTurn(kept);
    if (shorter === undefined) break;
    kept = shorter;
    dropped++;
  }
  return { messages: kept, dropped };
}

function withoutOldestTurn(messages: readonly ChatMessage[]): readonly ChatMessage[] | undefined {
  const first = messages.findIndex((message) => message.role === "user");
  const next = messages.findIndex((message, i) => i > first && message.role === "user");
  if (first < 0 || next < 0) return undefined;
  return [...messages.slice(0, first), ...messages.slice(next)];
}
