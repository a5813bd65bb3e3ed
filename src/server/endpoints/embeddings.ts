/** POST /v1/embeddings: texts as vectors. */
import { withBody } from "../endpoint.ts";
import { given } from "../given.ts";
import { EmbeddingList, EmbeddingRequest } from "../schemas/embedding.ts";

export const embeddings = withBody({
  method: "POST",
  path: "/v1/embeddings",
  summary: "Texts as vectors",
  body: EmbeddingRequest,
  answer: EmbeddingList,
  async handle(call, service, { model: name, input, encoding_format, dimensions, pooling, normalize }) {
    const model = await service.model(name);
    call.note({ model: model.name });
    const texts = typeof input === "string" ? [input] : input;
    const options = { ...given({ dimensions, pooling, normalize }), signal: call.signal };
    const rows = await service.during(call, model, () => model.llm.embedCounted(texts, options));
    const tokens = rows.reduce((sum, row) => sum + row.tokens, 0);
    call.note({ promptTokens: tokens });
    const data = rows.map(({ vector }, index) => ({
      object: "embedding",
      index,
      embedding: encoding_format === "base64" ? base64(vector) : [...vector],
    }));
    const usage = { prompt_tokens: tokens, total_tokens: tokens };
    return Response.json({ object: "list", data, model: model.name, usage });
  },
});

/** The bytes of the values, little-endian on any machine. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(4 * vector.length);
  for (const [i, x] of vector.entries()) bytes.writeFloatLE(x, 4 * i);
  return bytes.toString("base64");
}
