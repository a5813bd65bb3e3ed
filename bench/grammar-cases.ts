/** Schemas as applications write them, each with answers as a model gives them. Made for this benchmark. */
import type { JsonValue } from "../src/decode/grammar/spec.ts";

export interface GrammarCase {
  readonly name: string;
  readonly schema: Readonly<Record<string, JsonValue>>;
  readonly answers: readonly JsonValue[];
}

const closed = (
  properties: Readonly<Record<string, JsonValue>>,
  required = Object.keys(properties),
): Readonly<Record<string, JsonValue>> => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});
const list = (items: JsonValue, more: Readonly<Record<string, JsonValue>> = {}): JsonValue => ({
  type: "array",
  items,
  ...more,
});
const string: JsonValue = { type: "string" };
const integer: JsonValue = { type: "integer" };

export const CASES: readonly GrammarCase[] = [
  {
    name: "weather call",
    schema: closed({
      location: string,
      unit: { enum: ["celsius", "fahrenheit"] },
      days: { type: "integer", minimum: 1, maximum: 14 },
    }),
    answers: [
      { location: "San Francisco, California", unit: "celsius", days: 5 },
      { location: "Reykjavík", unit: "fahrenheit", days: 14 },
    ],
  },
  {
    name: "person",
    schema: {
      type: "object",
      properties: {
        name: string,
        age: { type: "integer", minimum: 0, maximum: 150 },
        email: { type: "string", format: "email" },
        tags: list({ type: "string", maxLength: 20 }, { maxItems: 5 }),
        address: {
          type: "object",
          properties: { street: string, zip: { type: "string", pattern: "^[0-9]{5}$" } },
          required: ["street"],
        },
        born: { type: "string", format: "date" },
      },
      required: ["name", "age"],
    },
    answers: [
      {
        name: "Ada Lovelace, whom some call the first programmer",
        age: 36,
        email: "ada.lovelace@example.com",
        tags: ["mathematics", "engines", "poetry"],
        address: { street: "12 St. James's Square", zip: "12345" },
        born: "1815-12-10",
        note: "She published the first algorithm that was meant for a machine.",
      },
    ],
  },
  {
    name: "invoice",
    schema: closed({
      number: { type: "string", pattern: "^INV-[0-9]{6}$" },
      issued: { type: "string", format: "date" },
      customer: closed({ name: string, vat: { type: ["string", "null"] } }),
      lines: list(
        closed({
          description: string,
          quantity: { type: "integer", minimum: 1 },
          price: { type: "number", minimum: 0 },
        }),
        { minItems: 1 },
      ),
      total: { type: "number", minimum: 0, multipleOf: 0.01 },
      paid: { type: "boolean" },
    }),
    answers: [
      {
        number: "INV-004217",
        issued: "2026-03-31",
        customer: { name: "Müller & Söhne GmbH", vat: null },
        lines: [
          { description: "Consulting, second quarter", quantity: 12, price: 145.5 },
          { description: "Travel (train, Berlin to Hamburg)", quantity: 1, price: 89.9 },
        ],
        total: 1835.9,
        paid: false,
      },
    ],
  },
  {
    name: "classification",
    schema: closed({
      label: { enum: ["positive", "negative", "neutral", "mixed"] },
      confidence: { type: "number", minimum: 0, maximum: 1 },
    }),
    answers: [
      { label: "positive", confidence: 0.93 },
      { label: "mixed", confidence: 1 },
    ],
  },
  {
    name: "entities",
    schema: closed({
      entities: list(
        closed({
          text: string,
          type: { enum: ["person", "place", "organisation", "date"] },
          start: { type: "integer", minimum: 0 },
        }),
      ),
    }),
    answers: [
      {
        entities: [
          { text: "Marie Curie", type: "person", start: 0 },
          { text: "the Sorbonne", type: "organisation", start: 27 },
          { text: "Paris", type: "place", start: 43 },
          { text: "1906", type: "date", start: 52 },
        ],
      },
    ],
  },
  {
    name: "tree",
    schema: {
      $defs: { node: closed({ task: string, children: list({ $ref: "#/$defs/node" }) }) },
      $ref: "#/$defs/node",
    },
    answers: [
      {
        task: "Plan the move",
        children: [
          { task: "Find a flat", children: [{ task: "Write to landlords", children: [] }] },
          { task: "Pack", children: [] },
        ],
      },
    ],
  },
  {
    name: "one of three calls",
    schema: {
      anyOf: [
        closed({ tool: { const: "search" }, query: string, limit: { type: "integer", maximum: 50, minimum: 1 } }),
        closed({ tool: { const: "open" }, url: { type: "string", format: "uri" } }),
        closed({ tool: { const: "answer" }, text: string, sources: list({ type: "string", format: "uri" }) }),
      ],
    },
    answers: [
      { tool: "search", query: "tallest wooden building in Norway", limit: 10 },
      { tool: "open", url: "https://en.wikipedia.org/wiki/Mj%C3%B8st%C3%A5rnet" },
      {
        tool: "answer",
        text: "Mjøstårnet, at 85.4 metres.",
        sources: ["https://www.example.org/buildings?id=7#height"],
      },
    ],
  },
  {
    name: "event",
    schema: closed(
      {
        id: { type: "string", format: "uuid" },
        at: { type: "string", format: "date-time" },
        level: { enum: ["debug", "info", "warning", "error"] },
        message: { type: "string", minLength: 1, maxLength: 200 },
        host: { type: "string", format: "ipv4" },
        context: { type: "object", additionalProperties: { type: ["string", "number", "boolean"] } },
      },
      ["id", "at", "level", "message"],
    ),
    answers: [
      {
        id: "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        at: "2026-11-24T05:30:38Z",
        level: "warning",
        message: "The queue has grown beyond 10,000 entries; new requests wait for more than a second.",
        host: "192.168.17.4",
        context: { queue: "default", length: 10482, draining: false },
      },
    ],
  },
  {
    name: "any JSON",
    schema: {},
    answers: [
      {
        title: "Soup",
        servings: 4,
        ingredients: [
          { name: "leek", grams: 300 },
          { name: "potato", grams: 450.5 },
        ],
        vegan: true,
        notes: null,
      },
    ],
  },
  {
    name: "quiz",
    schema: closed({
      questions: list(
        closed({
          question: string,
          options: list(string, { minItems: 4, maxItems: 4 }),
          correct: { type: "integer", minimum: 0, maximum: 3 },
        }),
        {
          minItems: 1,
          maxItems: 10,
        },
      ),
    }),
    answers: [
      {
        questions: [
          { question: "Which planet has the most moons?", options: ["Mars", "Jupiter", "Saturn", "Venus"], correct: 2 },
          { question: "What is the square root of 144?", options: ["10", "11", "12", "14"], correct: 2 },
        ],
      },
    ],
  },
  {
    name: "configuration",
    schema: {
      type: "object",
      properties: {
        server: {
          type: "object",
          properties: { host: string, port: { type: "integer", minimum: 1, maximum: 65535 } },
          required: ["port"],
        },
        retries: integer,
        mode: { oneOf: [{ const: "fast" }, { const: "safe" }] },
      },
      patternProperties: { "^x-": true },
      additionalProperties: false,
      required: ["server"],
    },
    answers: [
      {
        server: { host: "localhost", port: 8080, backlog: 128 },
        retries: 3,
        mode: "safe",
        "x-comment": "left as it was",
      },
    ],
  },
  {
    name: "review",
    schema: closed({
      summary: { type: "string", minLength: 10, maxLength: 300 },
      score: { type: "integer", minimum: 1, maximum: 5 },
      issues: list(
        closed({
          file: string,
          line: { type: "integer", minimum: 1 },
          severity: { enum: ["low", "medium", "high"] },
          text: string,
        }),
      ),
    }),
    answers: [
      {
        summary: "Good work overall; two places read beyond the end of the buffer when the header is cut short.",
        score: 4,
        issues: [
          { file: "src/reader.ts", line: 118, severity: "high", text: 'The loop tests "<=" where "<" is meant.' },
          {
            file: "src/reader.test.ts",
            line: 12,
            severity: "low",
            text: "This case can't fail: nothing is asserted.\nAdd the length.",
          },
        ],
      },
    ],
  },
];
