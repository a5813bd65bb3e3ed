/**
 * A request's body as JSON, within bounds: so many bytes and values, so deeply nested. Both are measured on the text,
 * before anything is built of it.
 */
import { HttpError } from "./failure.ts";

export const MAX_DEPTH = 64;
/** What a body may be large by is text: checking many small values takes others' time. 131,072 values in 8 MiB. */
const BYTES_PER_VALUE = 64;

export async function readJson(request: Request, maxBytes: number): Promise<unknown> {
  const type = request.headers.get("content-type") ?? "";
  // A page of another site can send plain text without asking first; JSON it can't.
  if (!/^application\/([\w.-]+\+)?json\b/i.test(type)) {
    throw new HttpError(415, `content-type is "${type}"; it must be application/json`);
  }
  const text = await readText(request, maxBytes);
  const { depth, values } = measureJson(text);
  if (depth > MAX_DEPTH) throw new HttpError(400, `the body is nested deeper than ${MAX_DEPTH} levels`);
  const most = Math.ceil(maxBytes / BYTES_PER_VALUE);
  if (values > most) throw new HttpError(400, `the body has about ${values} values, expected ${most} at most`);
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

/** How deeply brackets are nested, and about how many values there are: what stands outside strings tells both. */
export function measureJson(text: string): { readonly depth: number; readonly values: number } {
  let [depth, deepest, values] = [0, 0, 1];
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case QUOTE:
        i = endOfString(text, i);
        break;
      case LIST:
      case OBJECT:
        values += 1;
        deepest = Math.max(deepest, ++depth);
        break;
      case COMMA:
        values += 1;
        break;
      case LIST_END:
      case OBJECT_END:
        depth -= 1;
        break;
    }
  }
  return { depth: deepest, values };
}

const [QUOTE, COMMA, LIST, OBJECT, LIST_END, OBJECT_END] = [34, 44, 91, 123, 93, 125] as const;

/** Of a string that begins at `start`: its closing quote, or the end of a text that lacks one. */
function endOfString(text: string, start: number): number {
  for (let i = start; ;) {
    i = text.indexOf('"', i + 1);
    if (i < 0) return text.length;
    let slashes = 0;
    while (text.charAt(i - 1 - slashes) === "\\") slashes += 1;
    if (slashes % 2 === 0) return i;
  }
}
