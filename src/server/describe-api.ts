/** Endpoints → OpenAPI 3.1. Every schema comes from zod; those with an id stand once, under components. */
import { z } from "zod";

import { MessagesError } from "./anthropic-error.ts";
import type { Endpoint } from "./endpoint.ts";
import { OpenAiError } from "./openai-error.ts";

interface JsonObject {
  readonly [key: string]: unknown;
}

export function describeApi(endpoints: readonly Endpoint[]): JsonObject {
  const components: Record<string, unknown> = {};
  const schema = (type: z.ZodType, io: "input" | "output"): JsonObject => {
    const { $schema: _, $defs, ...root } = z.toJSONSchema(type, { io, target: "draft-2020-12" }) as JsonObject;
    for (const [name, definition] of Object.entries(($defs as JsonObject | undefined) ?? {}))
      components[name] = rewired(definition);
    const { id, ...rest } = root;
    if (typeof id !== "string") return rewired(rest) as JsonObject;
    components[id] = rewired(rest);
    return { $ref: `#/components/schemas/${id}` };
  };
  const json = (type: z.ZodType, io: "input" | "output"): JsonObject => ({
    "application/json": { schema: schema(type, io) },
  });

  const paths: Record<string, Record<string, unknown>> = {};
  for (const endpoint of endpoints) {
    const { method, path, summary, body, answer, events, errors, open } = endpoint;
    const names = path.split("/").filter((part) => part.startsWith(":"));
    const content = {
      ...(typeof answer === "string" ? { [answer]: { schema: {} } } : json(answer, "output")),
      ...(events === undefined ? {} : { "text/event-stream": { schema: schema(events, "output") } }),
    };
    const place = path.replaceAll(/:(\w+)/g, "{$1}");
    (paths[place] ??= {})[method.toLowerCase()] = {
      summary,
      operationId: `${method.toLowerCase()}${place.replaceAll(/[^A-Za-z]+(\w?)/g, (_, letter: string) => letter.toUpperCase())}`,
      ...(open === true ? { security: [] } : {}),
      ...(names.length === 0 ? {} : { parameters: names.map(pathParameter) }),
      ...(body === undefined ? {} : { requestBody: { required: true, content: json(body, "input") } }),
      responses: {
        "200": { description: "The answer", content },
        "4XX": {
          description: "The request is refused",
          content: json(errors === "anthropic" ? MessagesError : OpenAiError, "output"),
        },
        "5XX": {
          description: "The server can't answer",
          content: json(errors === "anthropic" ? MessagesError : OpenAiError, "output"),
        },
      },
    };
  }
  return {
    openapi: "3.1.0",
    info: { title: "Millrace", version: "1", license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    servers: [{ url: "/" }],
    security: [{ bearer: [] }, { header: [] }],
    paths,
    components: {
      schemas: components,
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        header: { type: "apiKey", in: "header", name: "x-api-key" },
      },
    },
  };
}

function pathParameter(part: string): JsonObject {
  return { name: part.slice(1), in: "path", required: true, schema: { type: "string" } };
}

/** References to zod's definitions become references to components. */
function rewired(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(rewired);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(
    ([key]) => key !== "id" || typeof (value as JsonObject)["id"] !== "string",
  );
  return Object.fromEntries(
    entries.map(([key, inner]) => [
      key,
      key === "$ref" && typeof inner === "string" ? inner.replace("#/$defs/", "#/components/schemas/") : rewired(inner),
    ]),
  );
}
