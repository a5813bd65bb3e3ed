/**
 * Which added tokens a text of a given origin may name. A control token ("<|im_end|>") comes from the template alone:
 * not one of its characters may be from a message, else a user could forge a system turn. Other markers ("<think>",
 * "<tool_call>") may also come from an assistant's message, which is the model's own writing.
 */
import type { AddedToken } from "./added-tokens.ts";
import type { MarkedText } from "./marked-text.ts";

const WORDS = /^[\p{L}\p{M}\p{N}\s▁]*$/u;

/**
 * Added tokens that are words rather than marks (runs of white space, letters that a vocabulary lacked, one character
 * repeated) have nothing to forge: they are found in any text, so that its ids stay what they were in training.
 */
export function isMarker({ content }: Pick<AddedToken, "content">): boolean {
  const [first, ...others] = content;
  return !WORDS.test(content) && others.some((character) => character !== first);
}

/** `isControl`: of control tokens and those that end a turn. */
export function mayName(token: AddedToken, isControl: boolean, text: MarkedText, from: number, to: number): boolean {
  const worst = text.worst(from, to);
  if (worst === "template") return true;
  if (isControl) return false;
  if (isMarker(token)) return worst === "assistant";
  // A word may lie across a border; "<<" there would take a piece out of the template's own mark.
  return text.isUniform(from, to) || WORDS.test(token.content);
}
