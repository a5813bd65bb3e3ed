import assert from "node:assert/strict";
import { test } from "node:test";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { answerFormat } from "../chat/answer-format.ts";
import { type OutputPart, OutputProcessor } from "./output.ts";

/** A tokenizer whose ids are UTF-16 code units. */
const letters = {
  stream: () => ({ push: (id: number) => String.fromCharCode(id), end: () => "" }),
} as unknown as Tokenizer;

const THINK = { open: "<think>", close: "</think>" };
const shown = (part: OutputPart): string => `${part.type[0]}:${part.type === "tool-call" ? part.name : part.text}`;

function run(text: string, stop: string[], marks: "none" | "tagged" | "open"): { parts: string; stopped: boolean } {
  const { parser } = answerFormat({
    template: "",
    reasoning: marks === "none" ? undefined : { ...THINK, isOpen: marks === "open", isClosed: false },
    tools: undefined,
    grammar: undefined,
    controls: [],
  });
  const output = new OutputProcessor(letters, { stop, parser, callId: String });
  const parts: string[] = [];
  for (const letter of text) {
    if (output.stopped) break;
    for (const part of output.push(letter.charCodeAt(0))) parts.push(shown(part));
  }
  for (const part of output.end()) parts.push(shown(part));
  const joined = parts.reduce((all, part) => {
    const [type, piece] = [part.slice(0, 2), part.slice(2)];
    return all.endsWith(`|${type}`) || !all.includes(type) ? `${all}|${type}${piece}` : all + piece;
  }, "");
  return { parts: joined, stopped: output.stopped };
}

test("text passes through, letter by letter", () => {
  assert.deepEqual(run("hello", [], "none"), { parts: "|t:hello", stopped: false });
});

test("a stop string ends the answer before it, the earliest wins, and half of one is no stop", () => {
  assert.deepEqual(run("one STOP two", ["STOP"], "none"), { parts: "|t:one ", stopped: true });
  assert.deepEqual(run("abcabd!", ["abd", "!"], "none"), { parts: "|t:abc", stopped: true });
  assert.deepEqual(run("one STO", ["STOP"], "none"), { parts: "|t:one STO", stopped: false });
  assert.deepEqual(run("aaab", ["aab"], "none"), { parts: "|t:a", stopped: true });
});

test("reasoning is told from text, tagged or opened by the prompt", () => {
  assert.deepEqual(run("<think>\nhm</think>\n\nyes", [], "tagged").parts, "|r:hm|t:yes");
  assert.deepEqual(run("hm</think>yes", [], "open").parts, "|r:hm|t:yes");
  assert.deepEqual(run("<thin ice>", [], "tagged").parts, "|t:<thin ice>");
  assert.deepEqual(run("<think>", [], "none").parts, "|t:<think>");
  assert.deepEqual(run("<think>STOP</think>a STOP b", ["STOP"], "tagged").parts, "|r:STOP|t:a ");
});
