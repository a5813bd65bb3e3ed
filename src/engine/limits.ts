/** How large a step and a sequence may be, and what that means for a request: whether it can run at all, and in how much memory. */
import { RequestError } from "../errors.ts";
import type { GroupMemory } from "../state/block-pool.ts";
import { blocksNeeded } from "../state/sequence-state.ts";
import type { EngineRequest } from "./request.ts";

export interface StepLimits {
  /** Rows of a step: the largest prefill chunk. */
  readonly stepTokens: number;
  readonly maxSequences: number;
  /** Output rows of a step. More than maxSequences: the rest is for scores and drafts. */
  readonly maxOutputs: number;
  /** Listed slots of a step's drafted rows together. */
  readonly maxListed: number;
  /** Nodes of a draft; 0: none. */
  readonly maxDraft: number;
  /** Slots that a drafted tree may take beyond a sequence's last position; a chain takes none. */
  readonly treeSlots: number;
  /** Positions of a sequence. */
  readonly context: number;
  /** Steps in flight. */
  readonly depth: number;
}

/** The most blocks of each group that a request may need; throws RequestError where it could not even run alone. */
export function needOf(request: EngineRequest, limits: StepLimits, groups: readonly GroupMemory[]): readonly number[] {
  const { stepTokens, maxSequences, context, depth, treeSlots } = limits;
  const answers = request.sequences.length;
  if (answers > maxSequences) {
    throw new RequestError(
      `${answers} answers were asked for, and the engine runs ${maxSequences} sequences at once; ` +
        "ask for fewer (n) or raise maxSequences",
    );
  }
  if (request.capacity > context) {
    throw new RequestError(
      `the request needs ${request.capacity} positions (prompt and answer), the context has ${context}`,
    );
  }
  for (const { begin, end } of request.work.spans ?? []) {
    if (end - begin <= stepTokens) continue;
    throw new RequestError(
      `${end - begin} tokens see each other and must be computed in one step, which holds ${stepTokens}; ` +
        "shorten the text or raise stepTokens",
    );
  }
  return groups.map(({ pool, group }) => {
    const most = request.capacity + treeSlots;
    const prompt = request.work.prompt.length;
    const need = blocksNeeded(group, prompt, most, answers, depth * stepTokens + treeSlots);
    if (need <= pool.size) return need;
    const what = group.kind === "recurrent" ? "states" : "KV blocks of 16 positions";
    throw new RequestError(
      `the request needs ${need} ${what} (${group.kind}), the whole cache has ${pool.size}; ` +
        "lower maxTokens or n, or raise kvBytes",
    );
  });
}
