/** GET and DELETE /v1/responses/:id: a response that was stored, of the key that asks. */
import type { Endpoint } from "../endpoint.ts";
import { HttpError } from "../failure.ts";
import { DeletedResponse, ResponseBody } from "../schemas/responses.ts";

export const storedResponse: Endpoint = {
  method: "GET",
  path: "/v1/responses/:id",
  summary: "A stored response",
  answer: ResponseBody,
  handle(call, service) {
    const found = service.responses.get(call.key, call.params["id"] ?? "");
    if (found === undefined) throw none();
    return Response.json(found.body);
  },
};

export const deleteResponse: Endpoint = {
  method: "DELETE",
  path: "/v1/responses/:id",
  summary: "Forgets a stored response",
  answer: DeletedResponse,
  handle(call, service) {
    const id = call.params["id"] ?? "";
    if (!service.responses.delete(call.key, id)) throw none();
    return Response.json({ id, object: "response", deleted: true });
  },
};

function none(): HttpError {
  return new HttpError(404, "there is no such response, or no longer", { code: "response_not_found" });
}
