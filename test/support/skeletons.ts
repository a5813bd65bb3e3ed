/**
 * Fixed skeletons: random schemas of objects whose keys are all required, in one order and without others, as applications write
 * them for extraction and classification. Whatever a model answers, most of the text is forced.
 */
import type { JsonValue } from "../../src/decode/grammar/spec.ts";
import type { Random } from "./random.ts";

const NAMES = [
  "name",
  "title",
  "category",
  "description",
  "created_at",
  "is_active",
  "priority",
  "address",
  "phone_number",
  "confidence",
  "reason",
  "quantity",
  "unit_price",
  "currency",
  "shipping_method",
  "lastModified",
] as const;
const LABELS = [
  ["positive", "negative", "neutral"],
  ["low", "medium", "high", "critical"],
  ["invoice", "receipt", "contract", "letter"],
  ["EUR", "USD", "GBP"],
] as const satisfies readonly (readonly string[])[];

export function randomSkeleton(random: Random): JsonValue {
  return object(random, 2);
}

function object(random: Random, depth: number): JsonValue {
  const count = random.between(3, 6);
  const names = new Set<string>();
  while (names.size < count) names.add(random.pick(NAMES));
  const properties = Object.fromEntries([...names].map((name) => [name, value(random, depth - 1)]));
  return { type: "object", properties, required: [...names], additionalProperties: false };
}

function value(random: Random, depth: number): JsonValue {
  switch (random.below(depth > 0 ? 8 : 6)) {
    case 0:
    case 1:
      return { type: "string", enum: random.pick<readonly string[]>(LABELS) };
    case 2:
      return { type: "boolean" };
    case 3:
      return { type: "integer", minimum: 0, maximum: random.pick([9, 100, 10_000]) };
    case 4:
      return { type: "string", format: "date" };
    case 5:
      return { type: "string", maxLength: random.pick([8, 16, 32]) };
    case 6:
      return { type: "array", items: object(random, 0), minItems: 2, maxItems: 2 };
    default:
      return object(random, depth);
  }
}
