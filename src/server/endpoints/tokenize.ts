/** POST /tokenize: the token ids of a text or a conversation, as a model reads it. */
import { withBody } from "../endpoint.ts";
import { chatMessages } from "../schemas/chat.ts";
import { given } from "../given.ts";
import { Tokenized, TokenizeRequest } from "../schemas/tokens.ts";

export const tokenize = withBody({
  method: "POST",
  path: "/tokenize",
  summary: "Token ids of a text or a conversation",
  body: TokenizeRequest,
  answer: Tokenized,
  async handle(_call, service, { model, prompt, messages, add_special_tokens }) {
    const { llm } = await service.model(model);
    const ids =
      messages === undefined
        ? llm.tokenize(prompt ?? "", given({ addSpecial: add_special_tokens }))
        : llm.tokenizeChat(chatMessages(messages));
    return Response.json({ count: ids.length, max_model_len: llm.info.context, tokens: [...ids] });
  },
});
