import assert from "node:assert/strict";
import { test } from "node:test";

import type { ChatMessage } from "../chat/chat-template.ts";
import { fitConversation } from "./conversation.ts";

const say = (role: ChatMessage["role"], content: string): ChatMessage => ({ role, content });
const letters = (messages: readonly ChatMessage[]): number =>
  messages.reduce((sum, message) => sum + message.content.length, 0);
const TALK = [
  say("system", "ss"),
  say("user", "aaaa"),
  say("assistant", "bbbb"),
  say("user", "cccc"),
  say("assistant", "dddd"),
  say("user", "ee"),
];

test("what fits stays whole", () => {
  assert.deepEqual(fitConversation(TALK, 20, letters), { messages: TALK, dropped: 0 });
});

test("the oldest turns go, whole, and the system line stays", () => {
  const [system, , , ...newer] = TALK;
  assert.deepEqual(fitConversation(TALK, 19, letters), { messages: [system, ...newer], dropped: 1 });
  assert.deepEqual(fitConversation(TALK, 11, letters), { messages: [system, TALK.at(-1)], dropped: 2 });
});

test("the last question is never dropped", () => {
  const last = [say("system", "ss"), say("user", "too long")];
  assert.deepEqual(fitConversation(last, 3, letters), { messages: last, dropped: 0 });
});
