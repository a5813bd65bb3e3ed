/** What follows an answer token by token; `State` is opaque and immutable. */
export interface AnswerGrammar<State> {
  readonly start: State;
  /** These end an answer. */
  readonly stopIds: ReadonlySet<number>;
  mask(state: State): Uint32Array;
  advance(state: State, token: number): State | undefined;
  /** The tokens that may come next where they are few, the longest first; none: they are many. */
  few(state: State): readonly number[];
}
