/** Both halves of a model in this thread: the engine over an open artifact and a backend, and its front. */
import type { ModelArtifact } from "../artifact/artifact.ts";
import type { Backend } from "../backend/contract.ts";
import { createLlm } from "./front.ts";
import type { Llm } from "./llm.ts";
import { assembleEngine, type LoadedEngine, type LoadEngineOptions } from "./loaded-engine.ts";
export type { AssembleOptions, EngineOptions } from "./options.ts";

/** Takes ownership of artifact and backend: they are closed with the Llm, or when assembling fails. */
export async function assemble(
  artifact: ModelArtifact,
  backend: Backend,
  options: LoadEngineOptions = {},
): Promise<Llm> {
  return withFront(await assembleEngine(artifact, backend, options));
}

/** Takes ownership of the engine, also where its front can't be made. */
export async function withFront(engine: LoadedEngine): Promise<Llm> {
  try {
    return createLlm(engine);
  } catch (error) {
    await engine.client.close();
    await engine.release();
    throw error;
  }
}
