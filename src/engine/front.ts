/**
 * The front half of a model: everything that knows text. Tokenizer, chat template and defaults from its card; what they make
 * of a request is work for an engine client, which may be the engine itself or stand for one elsewhere.
 */
import { createChatTemplate } from "../chat/chat-template.ts";
import { createTokenizer, type Tokenizer } from "../tokenizer/tokenizer.ts";
import type { EngineClient } from "./client.ts";
import { Embedder } from "./embedder.ts";
import { InputProcessor, type LongTexts } from "./input.ts";
import { Llm } from "./llm.ts";
import type { ModelCard } from "./model-card.ts";

export interface FrontParts {
  readonly card: ModelCard;
  readonly client: EngineClient;
  /** Default: made of the card. */
  readonly tokenizer?: Tokenizer;
  /** Encodes long texts. Default: this thread does. */
  readonly longTexts?: LongTexts;
  /** Frees what lies under the client, once that is closed. */
  readonly release: () => Promise<void>;
}

/** @throws ArtifactError, UnsupportedError where the card's tokenizer or template is malformed, or of an unknown kind. */
export function createLlm(parts: FrontParts): Llm {
  const { card, client, release, longTexts, tokenizer = createTokenizer(card.tokenizer) } = parts;
  const { info, chatTemplate, generation, methods } = card;
  const { context, vocabSize } = info;
  const template = chatTemplate === undefined ? undefined : createChatTemplate(chatTemplate, special(tokenizer));
  return new Llm({
    info,
    tokenizer,
    input: new InputProcessor({
      tokenizer,
      template,
      templateSource: chatTemplate ?? "",
      defaults: generation,
      vocabSize,
      context,
      methods,
      longTexts,
    }),
    client,
    embedder: new Embedder({ tokenizer, client, card }),
    release,
  });
}

function special(tokenizer: Tokenizer): { bos?: string; eos?: string } {
  const { bosId, eosId } = tokenizer;
  return {
    ...(bosId === undefined ? {} : { bos: tokenizer.tokenText(bosId) }),
    ...(eosId === undefined ? {} : { eos: tokenizer.tokenText(eosId) }),
  };
}
