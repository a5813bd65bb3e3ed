/** POST /v1/rerank: documents in the order of how well they answer a query. */
import { withBody } from "../endpoint.ts";
import { RerankRequest, RerankResults } from "../schemas/embedding.ts";

export const rerank = withBody({
  method: "POST",
  path: "/v1/rerank",
  summary: "Documents in the order of how well they answer a query",
  body: RerankRequest,
  answer: RerankResults,
  async handle(call, service, { model: name, query, documents, top_n, return_documents }) {
    const model = await service.model(name);
    call.note({ model: model.name });
    const texts = documents.map((document) => (typeof document === "string" ? document : document.text));
    const options = { signal: call.signal };
    const ranked = await service.during(call, model, () => model.llm.rerank(query, texts, options));
    const results = ranked.slice(0, top_n ?? texts.length).map(({ index, score }) => ({
      index,
      relevance_score: score,
      ...(return_documents === true && { document: { text: texts[index] ?? "" } }),
    }));
    return Response.json({ model: model.name, results });
  },
});
