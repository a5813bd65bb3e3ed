/** The public models and data beside the repository (`../shared`): tests that need them skip where they are missing. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

export const SHARED = path.join(import.meta.dirname, "../../../shared");

/** The path of a shared file, or undefined where this checkout has none. */
export function sharedFile(name: string): string | undefined {
  const file = path.join(SHARED, name);
  return existsSync(file) ? file : undefined;
}

/** For `test(name, { skip: missing(...) }, …)`: the reason to skip, or false. */
export function missing(...names: readonly string[]): string | false {
  const absent = names.filter((name) => sharedFile(name) === undefined);
  return absent.length === 0 ? false : `needs ../shared/${absent.join(", ../shared/")}`;
}

export function readJsonLines<T>(file: string): T[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as T);
}
