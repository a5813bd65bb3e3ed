/**
 * Requests by the server's own description: for every endpoint, bodies made from its schema, some of them damaged. Each must
 * get a 2xx of the described shape, streams event by event, or a 4xx in the API's form; never a 5xx. `fuzz.ts` sends 20,000, a
 * test some hundreds.
 */
import { z } from "zod";

import type { Llm } from "../src/engine/llm.ts";
import { MessagesError } from "../src/server/anthropic-error.ts";
import type { Endpoint } from "../src/server/endpoint.ts";
import { ENDPOINTS } from "../src/server/endpoints.ts";
import { OpenAiError } from "../src/server/openai-error.ts";
import { createServer } from "../src/server/server.ts";
import { Random } from "../test/support/random.ts";
import { NAME, tinyLlm } from "../test/support/served.ts";

export interface RequestsReport {
  answered: number;
  refused: number;
  /** By path: how many were answered. */
  readonly paths: Map<string, number>;
  readonly faults: string[];
}

interface Schema {
  readonly [keyword: string]: unknown;
}

/** Fields that say how much is computed, and what they are at most here. */
const MOST: Readonly<Record<string, number>> = {
  max_tokens: 8,
  max_completion_tokens: 8,
  max_output_tokens: 8,
  min_tokens: 4,
  n: 3,
  thinking_token_budget: 8,
};

export async function fuzzRequests(count: number, { seed }: { readonly seed: number }): Promise<RequestsReport> {
  const report: RequestsReport = { answered: 0, refused: 0, paths: new Map(), faults: [] };
  const llm = await tinyLlm({ maxSequences: 8 });
  const server = createServer({ models: new Map([[NAME, llm]]) });
  // The live view's stream has no end.
  const plain = ENDPOINTS.filter(({ path, body }) => path !== "/live" && body === undefined);
  const withBody = ENDPOINTS.filter(({ body }) => body !== undefined);
  try {
    for (let i = 0; i < count; i++) {
      const random = new Random(seed + i);
      const endpoint = chosen(random.below(8) === 0 ? plain : withBody, random);
      const body = endpoint.body === undefined ? undefined : randomBody(endpoint.body, random);
      const path = endpoint.path.replaceAll(/:\w+/g, () => random.pick([NAME, "x", "__proto__", "%00", "resp_x"]));
      const { method } = endpoint;
      const headers = { host: "localhost", "content-type": "application/json" };
      const request = new Request(`http://localhost${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const response = await server.fetch(request);
      const complaint = await complain(endpoint, response);
      if (complaint !== undefined)
        report.faults.push(`seed ${seed + i}, ${method} ${path} ${JSON.stringify(body)?.slice(0, 400)}: ${complaint}`);
      if (response.status < 300) {
        report.answered++;
        report.paths.set(endpoint.path, (report.paths.get(endpoint.path) ?? 0) + 1);
      } else report.refused++;
    }
    if (!(await isIdle(llm))) report.faults.push("requests are under way that nobody owns");
  } finally {
    await server.close();
    await llm.close();
  }
  return report;
}

async function isIdle(llm: Llm): Promise<boolean> {
  for (let i = 0; i < 100; i++) {
    const { running, waiting } = llm.stats();
    if (running + waiting === 0) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

async function complain({ answer, events, errors }: Endpoint, response: Response): Promise<string | undefined> {
  const text = await response.text();
  const { status } = response;
  // Requests come one after another: no queue is full, unless a refused one still has its place in it.
  if (status >= 500 || status === 429 || (status >= 300 && status < 400)) return `${status} ${text.slice(0, 300)}`;
  const failure = errors === "anthropic" ? MessagesError : OpenAiError;
  if (status >= 400) return shapeFault(failure, text);
  if (response.headers.get("content-type")?.startsWith("text/event-stream") !== true)
    return typeof answer === "string" ? undefined : shapeFault(answer, text);
  if (events === undefined) return "a stream where none is described";
  // A failure in mid-stream is an event of its own.
  const either = z.union([events, failure]);
  for (const block of text.split("\n\n").filter((part) => part !== "" && !part.startsWith(":"))) {
    const data = /^data: (.*)$/m.exec(block)?.[1] ?? "";
    const fault = data === "[DONE]" ? undefined : shapeFault(either, data);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function shapeFault(type: z.ZodType, text: string): string | undefined {
  try {
    const result = type.safeParse(JSON.parse(text));
    return result.success ? undefined : `${text.slice(0, 300)}: ${z.prettifyError(result.error).slice(0, 300)}`;
  } catch (error) {
    return `${text.slice(0, 200)}: ${String(error)}`;
  }
}

const schemas = new Map<z.ZodType, Schema>();

function randomBody(type: z.ZodType, random: Random): unknown {
  let schema = schemas.get(type);
  if (schema === undefined) schemas.set(type, (schema = z.toJSONSchema(type, { io: "input" }) as Schema));
  const root = schema;
  const value = make(root, root, random, 0, "");
  if (typeof value !== "object" || value === null || random.below(20) === 0) return value;
  return { ...value, ...(random.below(30) > 0 && { model: NAME }) };
}

/** A value of a schema; now and then, something else. */
function make(schema: Schema, root: Schema, random: Random, depth: number, name: string): unknown {
  if (random.below(60) === 0) return odd(random);
  const {
    $ref,
    anyOf,
    oneOf,
    allOf,
    enum: choices,
  } = schema as {
    $ref?: string;
    anyOf?: Schema[];
    oneOf?: Schema[];
    allOf?: Schema[];
    enum?: unknown[];
  };
  const types = schema["type"];
  const type = Array.isArray(types) ? chosen(types as unknown[], random) : types;
  if ("const" in schema) return schema["const"];
  if (choices !== undefined) return chosen(choices, random);
  if ($ref !== undefined) {
    const target = $ref
      .split("/")
      .slice(1)
      .reduce((at, key) => (at as Schema)[key], root as unknown) as Schema;
    return make(target, root, random, depth + 1, name);
  }
  // A message without text is refused too often to leave the rest to chance.
  if (name === "content" && random.below(4) > 0) return "Hi";
  const options = anyOf ?? oneOf;
  if (options !== undefined) return make(chosen(options, random), root, random, depth + 1, name);
  if (allOf !== undefined) return Object.assign({}, ...allOf.map((one) => make(one, root, random, depth + 1, name)));
  if (type === "object") return makeObject(schema, root, random, depth);
  if (type === "array") {
    const { items = {}, minItems = 0 } = schema as { items?: Schema; minItems?: number };
    return Array.from({ length: minItems + random.below(depth > 6 ? 1 : 3) }, () =>
      make(items, root, random, depth + 1, name),
    );
  }
  if (type === "string") return random.pick(["", "a", "Hi there", "ü€😀", "x".repeat(300), '{"a":1}', "resp_1"]);
  if (type === "boolean") return random.below(2) === 0;
  if (type === "null") return null;
  if (type === "integer" || type === "number") return makeNumber(schema, random, name);
  return random.pick<unknown>([{}, { type: "object" }, { enum: ["a"] }, true, "text", 3, null]);
}

function makeObject(schema: Schema, root: Schema, random: Random, depth: number): unknown {
  const {
    properties = {},
    required = [],
    additionalProperties,
  } = schema as {
    properties?: Readonly<Record<string, Schema>>;
    required?: readonly string[];
    additionalProperties?: unknown;
  };
  const made: Record<string, unknown> = {};
  const share = random.pick(depth === 0 ? [5, 30, 60] : [3, 12]);
  for (const [key, property] of Object.entries(properties)) {
    if (required.includes(key) ? random.below(80) === 0 : random.below(share) > 0) continue;
    made[key] = make(property, root, random, depth + 1, key);
  }
  if (additionalProperties !== false && random.below(3) === 0) {
    const value = typeof additionalProperties === "object" ? (additionalProperties as Schema) : {};
    made[random.pick(["7", "65", "extra", "__proto__x"])] = make(value, root, random, depth + 1, "");
  }
  return made;
}

function makeNumber(schema: Schema, random: Random, name: string): number {
  const { minimum = -5, maximum = 5, type } = schema as { minimum?: number; maximum?: number; type: string };
  const high = Math.min(maximum, MOST[name] ?? 400);
  if (random.below(40) === 0) return random.pick([minimum - 1, maximum + 1, 1e18, -1e18, 0.5]);
  const value = minimum + (Math.max(minimum, high) - minimum) * (random.below(1000) / 1000);
  return type === "integer" ? Math.round(Math.min(value, Math.max(minimum, high))) : value;
}

function chosen<T>(list: readonly T[], random: Random): T {
  const [first, ...rest] = list;
  if (first === undefined) throw new Error("nothing to choose from");
  return random.pick([first, ...rest]);
}

function odd(random: Random): unknown {
  return random.pick<unknown>([
    null,
    true,
    -1,
    1e300,
    "",
    "\ud800",
    [],
    {},
    [[[]]],
    { __proto__: 1, a: [null] },
    "x".repeat(5000),
    [null, 1, "a"],
  ]);
}
