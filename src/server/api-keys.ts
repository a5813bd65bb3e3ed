/**
 * API keys: who may use the server. Keys are kept and compared as digests, every one at every request, so that the time of
 * an answer tells nothing about them. A key's name stands in logs, and parts what is cached and stored.
 */
import { createHash, timingSafeEqual } from "node:crypto";

import { RequestError } from "../errors.ts";

export interface ApiKey {
  readonly name: string;
  readonly key: string;
}

const SHORTEST = 8;

export class ApiKeys {
  readonly #digests: readonly { readonly name: string; readonly digest: Buffer }[];

  /** Without keys everybody is let in, under the name "". */
  constructor(keys: readonly ApiKey[]) {
    for (const { name, key } of keys) {
      if (key.length < SHORTEST) throw new RequestError(`the API key "${name}" has fewer than ${SHORTEST} characters`);
    }
    const names = new Set(keys.map(({ name }) => name));
    if (names.size < keys.length) throw new RequestError("two API keys have the same name");
    this.#digests = keys.map(({ name, key }) => ({ name, digest: digest(key) }));
  }

  get isOpen(): boolean {
    return this.#digests.length === 0;
  }

  /** The name of the key that a request shows, by `Authorization: Bearer` or `x-api-key`; undefined: none that is valid. */
  nameOf(headers: Headers): string | undefined {
    if (this.isOpen) return "";
    const bearer = /^Bearer +(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];
    const shown = digest(bearer ?? headers.get("x-api-key") ?? "");
    let found: string | undefined;
    for (const { name, digest } of this.#digests) if (timingSafeEqual(shown, digest)) found = name;
    return found;
  }
}

/** A file of keys: one a line, `NAME:KEY` or `KEY`; empty lines and lines that begin with # mean nothing. */
export function parseKeyFile(text: string): ApiKey[] {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const keys: ApiKey[] = [];
  for (const [i, line] of lines.entries()) {
    if (line === "" || line.startsWith("#")) continue;
    const [, name = `line ${i + 1}`, key = ""] = /^(?:([^:\s]+):)?\s*(\S+)$/.exec(line) ?? [];
    if (key === "") throw new RequestError(`line ${i + 1} of the API keys isn't "NAME:KEY" or "KEY"`);
    keys.push({ name, key });
  }
  if (keys.length === 0) throw new RequestError("the file of API keys has no key");
  return keys;
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
