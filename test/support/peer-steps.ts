/** The margins that llama.cpp (node-llama-cpp, installed in bench/) computes on recorded paths. */
import { existsSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { type GreedyPath, type Step, teacherForced } from "./greedy-paths.ts";

const ENTRY = path.join(import.meta.dirname, "../../bench/node_modules/node-llama-cpp/dist/index.js");

/** Why the peer can't be asked, or false. */
export const peerMissing: string | false = existsSync(ENTRY) ? false : "needs node-llama-cpp: run npm ci in bench/";

interface PeerSequence {
  clearHistory(): Promise<void>;
  controlledEvaluate(
    input: readonly unknown[],
  ): Promise<readonly ({ next: { logits?: Map<number, number> } } | undefined)[]>;
}
interface Peer {
  getLlama(options: object): Promise<{
    loadModel(options: { modelPath: string }): Promise<{
      createContext(options: object): Promise<{ getSequence(): PeerSequence }>;
    }>;
    dispose(): Promise<void>;
  }>;
}

export async function peerSteps(modelPath: string, paths: readonly GreedyPath[]): Promise<Step[]> {
  const peer = (await import(pathToFileURL(ENTRY).href)) as Peer;
  const llama = await peer.getLlama({ gpu: false, build: "never", logLevel: "error" });
  const model = await llama.loadModel({ modelPath });
  const context = await model.createContext({ contextSize: 2048, batchSize: 512 });
  const sequence = context.getSequence();
  const steps: Step[] = [];
  for (const path of paths) {
    await sequence.clearHistory();
    const first = path.prompt_ids.length - 1;
    const input = teacherForced(path).map((token, i) => {
      const step = path.steps[i - first];
      if (!step) return token;
      const filter = { tokens: [step[0], step[2]], includeMax: true };
      return [token, { generateNext: { logits: { filter } } }];
    });
    const output = await sequence.controlledEvaluate(input);
    for (const [step, [id, logit, runnerUp, second]] of path.steps.entries()) {
      const logits = output[first + step]?.next.logits ?? new Map<number, number>();
      const own = logits.get(id) ?? Number.NaN;
      const computed = own - (logits.get(runnerUp) ?? Number.NaN);
      const agrees = [...logits.values()].every((value) => value <= own);
      steps.push({ path: path.id, step, gap: logit - second, computed, agrees });
    }
  }
  await llama.dispose();
  return steps;
}
