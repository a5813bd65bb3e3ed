/** A tiny model behind HTTP, for tests of the server. On the cpu backend: the reference would not let requests overlap. */
import type { ModelArtifact } from "../../src/artifact/artifact.ts";
import { createCpuBackend } from "../../src/backend/cpu/backend.ts";
import { assemble, type AssembleOptions } from "../../src/engine/assemble.ts";
import type { Llm } from "../../src/engine/llm.ts";
import { createServer, type Server, type ServerOptions } from "../../src/server/server.ts";
import { tinyModel } from "./tiny-models.ts";

export const NAME = "tiny";

const SIZE = { layers: 1, width: 64, heads: 2, kvHeads: 1, headDim: 32, hidden: 64, vocab: 257, context: 512 };
const TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: ";

/** Every byte is a token; 256 ends an answer. */
export function tinyChatModel(seed = 7): ModelArtifact {
  return { ...tinyModel("llama", "F32", seed, SIZE), chatTemplate: TEMPLATE };
}

export async function tinyLlm(options: AssembleOptions = {}): Promise<Llm> {
  return assemble(tinyChatModel(), await createCpuBackend({ threads: 1 }), { context: 512, ...options });
}

export interface Served extends AsyncDisposable {
  readonly llm: Llm;
  readonly server: Server;
  /** "http://127.0.0.1:PORT" */
  readonly url: string;
}

export async function serveTiny(options: Partial<ServerOptions> = {}, engine: AssembleOptions = {}): Promise<Served> {
  const llm = await tinyLlm(engine);
  const server = createServer({ models: new Map([[NAME, llm]]), ...options });
  const port = await server.listen(0, "127.0.0.1");
  return {
    llm,
    server,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      await server.close();
      await llm.close();
    },
  };
}

/** A request to it, as JSON. */
export function post(url: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  const headers = { "content-type": "application/json", ...(init.headers as Record<string, string> | undefined) };
  return fetch(url, { ...init, method: "POST", headers, body: typeof body === "string" ? body : JSON.stringify(body) });
}

/** Resolves when the engine has nothing to do and no request holds memory; fails after some seconds. */
export async function idle(llm: Llm): Promise<void> {
  for (let i = 0; i < 500; i++) {
    const { running, waiting, blocks } = llm.stats();
    if (running + waiting === 0 && blocks.every(({ used }) => used === 0)) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("the engine isn't idle");
}
