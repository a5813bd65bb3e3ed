/**
 * MILLRACE_HOME: where everything lies that Millrace keeps between runs (pulled models, the compiled addon, the chat's
 * history). It is a cache: deleting it loses nothing that can't be fetched or built again.
 */
import { mkdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve, sep } from "node:path";
import process from "node:process";
import { MillraceError } from "../errors.ts";
import { reason } from "./node-file.ts";

/** `$MILLRACE_HOME`, else `$XDG_CACHE_HOME/millrace`, else `~/.cache/millrace`. The folder may not exist yet. */
export function millraceHome(): string {
  const home = process.env["MILLRACE_HOME"];
  if (home !== undefined && home !== "") return resolve(home);
  const cache = process.env["XDG_CACHE_HOME"];
  return join(cache !== undefined && cache !== "" ? resolve(cache) : join(userFolder(), ".cache"), "millrace");
}

function userFolder(): string {
  try {
    return homedir();
  } catch (cause) {
    throw new MillraceError("ERR_DISK", "this user has no home folder; set MILLRACE_HOME to a folder for models", {
      cause,
    });
  }
}

/**
 * Makes a folder and those above it. Not by mkdir's own `recursive`, which never ends where a folder above can't hold any
 * (in /proc).
 */
export async function makeFolder(path: string): Promise<void> {
  const missing: string[] = [];
  for (let at = resolve(path); !(await exists(at)); at = dirname(at)) missing.push(at);
  for (const folder of missing.reverse()) {
    await mkdir(folder).catch((cause: unknown) => {
      // Another process may have been faster.
      if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw diskError(folder, cause);
    });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (cause: unknown) => {
      if (cause instanceof Error && "code" in cause && cause.code === "ENOENT" && dirname(path) !== path) return false;
      throw diskError(path, cause);
    },
  );
}

/** For a file or folder that can't be written: below MILLRACE_HOME it says what to do. */
export function diskError(path: string, cause: unknown): MillraceError {
  const home = millraceHome();
  const hint =
    `${path}${sep}`.startsWith(`${home}${sep}`) || home.startsWith(`${path}${sep}`)
      ? `; MILLRACE_HOME is ${home}: set it to a folder that can be written`
      : "";
  return new MillraceError("ERR_DISK", `can't write ${path}: ${reason(cause)}${hint}`, { cause });
}
