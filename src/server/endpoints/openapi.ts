/** GET /openapi.json: the description of the API that follows from the endpoints and their schemas. */
import type { Endpoint } from "../endpoint.ts";
import { describeApi } from "../describe-api.ts";

/** `others`: the endpoints beside this one. */
export function openapi(others: readonly Endpoint[]): Endpoint {
  const self: Endpoint = {
    method: "GET",
    path: "/openapi.json",
    summary: "This description",
    answer: "application/json",
    handle: () => {
      document ??= JSON.stringify(describeApi([...others, self]));
      return new Response(document, { headers: { "content-type": "application/json" } });
    },
  };
  let document: string | undefined;
  return self;
}
