/**
 * A draft from a grammar alone: where it leaves few tokens, they and what follows them, the likeliest first, as far as they are
 * likely at all. So text that is forced is proposed in the tokens in which the model may write it, a label or a
 * truth value in full, and what is forced behind each. The model still chooses, token by token and under its mask: a wrong
 * guess costs a row and never changes an answer.
 */
import type { DraftTree } from "../speculative/draft-tree.ts";
import type { AnswerGrammar } from "./answer-grammar.ts";
import type { Choices } from "./choices.ts";

/** Nodes that are likelier to be missed than this are not proposed. */
const LEAST_CHANCE = 0.03;
/** Nodes of a draft. */
export const MOST_LIKELY = 32;

interface Candidate<State> {
  readonly token: number;
  readonly parent: number;
  readonly chance: number;
  /** Of the whole path. */
  readonly reached: number;
  /** Before the token, and the token before it. */
  readonly state: State;
  readonly last: number;
}

/** What is likely behind a state, the likeliest nodes first; `earlier` and `last` came before it. */
export function likelyTokens<State>(
  grammar: AnswerGrammar<State>,
  start: State,
  [earlier, last]: readonly [number, number],
  choices: Choices,
): DraftTree | undefined {
  const [tokens, parents, chances]: [number[], number[], number[]] = [[], [], []];
  const candidates: Candidate<State>[] = [];
  const expand = (state: State, before: number, token: number, parent: number, reached: number): void => {
    const among = grammar.few(state);
    for (const [i, chance] of choices.chances(before, token, among).entries()) {
      const next = among[i] ?? -1;
      // Behind a token that ends the answer nothing is wanted.
      if (chance * reached < LEAST_CHANCE || grammar.stopIds.has(next)) continue;
      candidates.push({ token: next, parent, chance, reached: chance * reached, state, last: token });
    }
  };
  expand(start, earlier, last, -1, 1);
  while (tokens.length < MOST_LIKELY) {
    const best = takeLikeliest(candidates);
    if (best === undefined) break;
    const node = tokens.push(best.token) - 1;
    parents.push(best.parent);
    chances.push(best.chance);
    const state = grammar.advance(best.state, best.token);
    if (state !== undefined) expand(state, best.last, best.token, node, best.reached);
  }
  return tokens.length === 0 ? undefined : { tokens, parents, chances };
}

function takeLikeliest<State>(candidates: Candidate<State>[]): Candidate<State> | undefined {
  let best = 0;
  for (let i = 1; i < candidates.length; i++)
    if ((candidates[i]?.reached ?? 0) > (candidates[best]?.reached ?? 0)) best = i;
  return candidates.splice(best, 1)[0];
}
