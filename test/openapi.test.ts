/** /openapi.json: complete, and every schema in it is one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";

import { describeApi } from "../src/server/describe-api.ts";
import { ENDPOINTS } from "../src/server/endpoints.ts";

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content: Content }>>;
}
type Content = Readonly<Record<string, { readonly schema: object }>>;
interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

const document = JSON.parse(JSON.stringify(describeApi(ENDPOINTS))) as Document;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

test("every endpoint is described once, with its parameters", () => {
  assert.equal(operations.length, ENDPOINTS.length);
  for (const { method, path } of ENDPOINTS) {
    const place = path.replaceAll(/:(\w+)/g, "{$1}");
    const operation = document.paths[place]?.[method.toLowerCase()];
    assert.ok(operation !== undefined, `${method} ${path}`);
    const named = [...place.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
    assert.deepEqual(
      (operation.parameters ?? []).map(({ name }) => name),
      named,
    );
  }
  const ids = operations.map(({ operation }) => operation.operationId);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[a-z][A-Za-z]+$/);
});

test("every schema compiles, and every reference leads somewhere", () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema(document, "doc");
  const schemas = operations.flatMap(({ path, method, operation }) => {
    const contents = [operation.requestBody, ...Object.values(operation.responses)].flatMap((one) =>
      Object.values(one?.content ?? {}),
    );
    return contents.map(({ schema }, i) => [`${method} ${path} ${i}`, schema] as const);
  });
  assert.ok(schemas.length > 40);
  for (const [name, schema] of [...schemas, ...Object.entries(document.components.schemas)]) {
    const text = JSON.stringify(schema).replaceAll('"#/', '"doc#/');
    assert.doesNotThrow(() => ajv.compile(JSON.parse(text) as object), name);
  }
});
