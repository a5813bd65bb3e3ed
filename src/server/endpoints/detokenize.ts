/** POST /detokenize: the text of token ids, control tokens included. */
import { withBody } from "../endpoint.ts";
import { Detokenized, DetokenizeRequest } from "../schemas/tokens.ts";

export const detokenize = withBody({
  method: "POST",
  path: "/detokenize",
  summary: "The text of token ids",
  body: DetokenizeRequest,
  answer: Detokenized,
  async handle(_call, service, { model, tokens }) {
    const { llm } = await service.model(model);
    return Response.json({ prompt: llm.detokenize(tokens) });
  },
});
