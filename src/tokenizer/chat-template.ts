/**
 * Chat templates: messages → the prompt's text, by the model's own Jinja source.
 */
import { Template } from "@huggingface/jinja";

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

/** Compiles a template. What it does wrong, at compile time or later, is a RequestError or an ArtifactError. */
export function createChatTemplate(source: string, tokens: TemplateTokens = {}): ChatTemplate {
  const template = new Template(source);
  return {
    render: (messages, options = {}) =>
      template.render({
        messages: messages.map(({ reasoning, ...message }) =>
          reasoning === undefined ? message : { ...message, reasoning_content: reasoning },
        ),
        add_generation_prompt: options.addGenerationPrompt ?? true,
        bos_token: tokens.bos ?? "",
        eos_token: tokens.eos ?? "",
        unk_token: tokens.unk ?? "",
        pad_token: tokens.pad ?? "",
        ...options.variables,
      }),
  };
}
