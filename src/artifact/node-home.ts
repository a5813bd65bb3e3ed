/**
 * MILLRACE_HOME: where everything lies that Millrace keeps between runs (pulled models, the compiled addon, the chat's
 * history). It is a cache: deleting it loses nothing that can't be fetched or built again.
 */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";

/** `$MILLRACE_HOME`, else `$XDG_CACHE_HOME/millrace`, else `~/.cache/millrace`. The folder may not exist yet. */
export function millraceHome(): string {
  const home = process.env["MILLRACE_HOME"];
  if (home !== undefined && home !== "") return resolve(home);
  const cache = process.env["XDG_CACHE_HOME"];
  return join(cache !== undefined && cache !== "" ? cache : join(homedir(), ".cache"), "millrace");
}
