/**
 * A request's body as JSON, within bounds: so many bytes, so deeply nested. Depth is measured on the text, before anything
 * is built of it.
 */
import { HttpError } from "./failure.ts";

export const MAX_DEPTH = 64;

export async function readJson(request: Request, maxBytes: number): Promise<unknown> {
  const type = request.headers.get("content-type") ?? "";
  // A page of another site can send plain text without asking first; JSON it can't.
  if (!/^application\/([\w.-]+\+)?json\b/i.test(type)) {
    throw new HttpError(415, `content-type is "${type}"; it must be application/json`);
  }
  const text = await readText(request, maxBytes);
  if (depthOf(text) > MAX_DEPTH) throw new HttpError(400, `the body is nested deeper than ${MAX_DEPTH} levels`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new HttpError(400, `the body isn't JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function readText(request: Request, maxBytes: number): Promise<string> {
  const tooLarge = (): HttpError => new HttpError(413, `the body is larger than ${maxBytes} bytes`);
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw tooLarge();
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of request.body ?? []) {
    size += part.length;
    if (size > maxBytes) throw tooLarge();
    parts.push(part);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(parts));
  } catch {
    throw new HttpError(400, "the body isn't UTF-8 text");
  }
}

/** The deepest nesting of brackets outside strings. */
export function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (inString) {
      if (c === "\\") i += 1;
      else if (c === '"') inString = false;
    } else if (c === '"') inString = true;
    else if (c === "{" || c === "[") deepest = Math.max(deepest, ++depth);
    else if (c === "}" || c === "]") depth -= 1;
  }
  return deepest;
}
