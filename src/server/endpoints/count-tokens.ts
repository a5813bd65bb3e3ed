/** POST /v1/messages/count_tokens: how long a conversation is. */
import { withBody } from "../endpoint.ts";
import { toolsOf } from "../schemas/message-blocks.ts";
import { CountTokensRequest, messagesOf, templateVariables, TokenCount } from "../schemas/messages.ts";

export const countTokens = withBody({
  method: "POST",
  path: "/v1/messages/count_tokens",
  summary: "How many tokens a conversation has (Anthropic's API)",
  errors: "anthropic",
  body: CountTokensRequest,
  answer: TokenCount,
  async handle(_call, service, body) {
    const { llm } = await service.model(body.model);
    return Response.json({
      input_tokens: llm.tokenizeChat(
        messagesOf(body),
        templateVariables(body),
        body.tools ? toolsOf(body.tools) : undefined,
      ).length,
    });
  },
});
