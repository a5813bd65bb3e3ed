/**
 * Chat templates: messages → the prompt's text, by the model's own Jinja source.
 */
import { UnsupportedError } from "../errors.ts";

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
  readonly name?: string;
  /** What the model thought before this answer; templates see it as `reasoning_content`. */
  readonly reasoning?: string;
}

export interface ChatTemplateOptions {
  /** End with what opens the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** More variables for the template (`enable_thinking`, …). */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** The texts of the special tokens that templates name: `bos_token`, `eos_token`, … */
export interface TemplateTokens {
  readonly bos?: string;
  readonly eos?: string;
  readonly unk?: string;
  readonly pad?: string;
}

export interface ChatTemplate {
  render(messages: readonly ChatMessage[], options?: ChatTemplateOptions): string;
}

export function createChatTemplate(source: string, _tokens: TemplateTokens = {}): ChatTemplate {
  throw new UnsupportedError(`chat templates are not supported yet (${source.length} characters)`);
}
