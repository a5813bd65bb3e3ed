/** The kinds of heads by method: one line each. To add one, write its file and enter it here. */
import type { HeadKind } from "./head.ts";
import { recurrent } from "./recurrent.ts";

export const HEADS = {
  eagle: recurrent("eagle"),
  eagle2: recurrent("eagle"),
  eagle3: recurrent("eagle3"),
  mtp: recurrent("mtp"),
} as const satisfies Record<string, HeadKind>;

export type HeadMethod = keyof typeof HEADS;
