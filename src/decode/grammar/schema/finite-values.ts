/** The values that a normal form allows, one by one, where they are few: for `uniqueItems`. */
import { toText, utf8Bytes } from "../byte-string.ts";
import type { GrammarBuilder } from "../builder.ts";
import type { NumberPiece, NumberWriter } from "./numbers.ts";
import { FALSE, type Forms, NULL, TRUE } from "./shapes.ts";

/** As JSON texts, where they are at most `limit` and none is a container. */
export function finiteValues(
  builder: GrammarBuilder,
  writer: NumberWriter,
  { literals, numbers, strings, arrays, objects }: Forms,
  limit: number,
): readonly string[] | undefined {
  if (arrays.length + objects.length > 0) return undefined;
  const values = new Set<string>();
  if ((literals & NULL) !== 0) values.add("null");
  if ((literals & TRUE) !== 0) values.add("true");
  if ((literals & FALSE) !== 0) values.add("false");
  for (const piece of numbers) {
    const points = pointsOf(builder, writer, piece, limit);
    if (points === undefined) return undefined;
    for (const point of points) values.add(point);
  }
  const words = strings === builder.pool.none ? [] : builder.derivatives.enumerate(strings, limit);
  if (words === undefined) return undefined;
  for (const word of words) values.add(JSON.stringify(toText(word)));
  return values.size > limit ? undefined : [...values];
}

function pointsOf(
  { pool, derivatives }: GrammarBuilder,
  writer: NumberWriter,
  piece: NumberPiece,
  limit: number,
): readonly string[] | undefined {
  if (piece.min === piece.max) return writer.write(piece) === pool.none ? [] : [JSON.stringify(piece.min || 0)];
  if (!piece.multipleOf.some(Number.isInteger) || !(piece.max - piece.min <= limit)) return undefined;
  const expression = writer.write(piece);
  const points: string[] = [];
  for (let value = Math.ceil(piece.min); value <= piece.max; value++) {
    const text = String(value || 0);
    if (derivatives.matches(expression, utf8Bytes(text))) points.push(text);
  }
  return points;
}
