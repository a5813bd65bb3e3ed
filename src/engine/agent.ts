/**
 * An agent: answers and the runs of the tools that they call, by turns, until an answer calls none. Each answer is an
 * ordinary one, so a conversation that grows is found in the prefix cache. What a tool throws is told to the model, which
 * may do better; the loop itself ends where there is no function to run, or at `maxSteps`.
 */
import type { ChatMessage } from "../chat/chat-template.ts";
import { readSchema } from "../chat/standard-schema.ts";
import type { Tool, ToolCall, Tools } from "../chat/tools.ts";
import { shown } from "../decode/limits.ts";
import { MillraceError, RequestError } from "../errors.ts";
import type { Answer, AnswerPart, Generation } from "./answer.ts";
import { EventQueue } from "./event-queue.ts";
import { follow } from "./follow.ts";
import type { ChatOptions } from "./input.ts";

export interface AgentOptions<Schema = unknown> extends ChatOptions<Schema> {
  readonly messages: readonly ChatMessage[];
  readonly tools: Tools;
  /** Answers, at most. Default 8. */
  readonly maxSteps?: number;
}

export interface AgentStep<Value = unknown> {
  readonly answer: Generation<Value>;
  readonly results: readonly ToolResult[];
}

/** What became of a call. */
export interface ToolResult {
  readonly call: ToolCall;
  /** What the model is told. */
  readonly content: string;
  /** The tool threw, or there was none. */
  readonly isError: boolean;
}

export interface AgentResult<Value = unknown> extends AgentStep<Value> {
  readonly text: string;
  /** Every answer; the last one's fields stand at the top. */
  readonly steps: readonly AgentStep<Value>[];
  /** The conversation, all that was said and called included: hand it in again to go on. */
  readonly messages: readonly ChatMessage[];
  /** "answer": the model has answered; "steps": `maxSteps` ended it; "call": it calls a tool that has no `run`. */
  readonly endedBy: "answer" | "steps" | "call";
}

export type AgentPart =
  | AnswerPart
  /** Behind an answer that called tools. */
  | ({ readonly type: "tool-result" } & ToolResult);

type Chat<Value> = (messages: readonly ChatMessage[], options: ChatOptions<never>) => Answer<Value>;

const DEFAULT_STEPS = 8;

/**
 * @example
 * const { text } = await llm.agent({ tools: { weather }, messages: [{ role: "user", content: "Is it raining in Paris?" }] });
 */
export class AgentRun<Value = unknown> implements AsyncIterable<AgentPart>, Promise<AgentResult<Value>> {
  readonly [Symbol.toStringTag] = "AgentRun";
  readonly #parts: EventQueue<AgentPart>;
  readonly #result: Promise<AgentResult<Value>>;
  readonly #leave = new AbortController();

  constructor(chat: Chat<Value>, options: AgentOptions) {
    this.#parts = new EventQueue(() => this.#leave.abort(new MillraceError("ERR_LEFT", "the iteration was left")));
    this.#result = this.#run(chat, options);
    this.#result.then(
      () => this.#parts.end(),
      (error: unknown) => this.#parts.end({ error }),
    );
  }

  // oxlint-disable-next-line unicorn/no-thenable -- awaited for its result, as an answer is
  then<A = AgentResult<Value>, B = never>(
    onFulfilled?: ((value: AgentResult<Value>) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(onFulfilled, onRejected);
  }

  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<AgentResult<Value> | B> {
    return this.#result.catch(onRejected);
  }

  finally(onFinally?: (() => void) | null): Promise<AgentResult<Value>> {
    return this.#result.finally(onFinally);
  }

  /** Parts come once. Leaving the iteration early ends the work. */
  [Symbol.asyncIterator](): AsyncIterator<AgentPart> {
    return this.#parts;
  }

  async #run(
    chat: Chat<Value>,
    { messages, maxSteps = DEFAULT_STEPS, ...options }: AgentOptions,
  ): Promise<AgentResult<Value>> {
    if (!Number.isInteger(maxSteps) || maxSteps < 1)
      throw new RequestError(`maxSteps must be a whole number from 1 on, not ${shown(maxSteps)}`);
    if (options.n !== undefined && options.n !== 1)
      throw new RequestError("an agent goes on from one answer: n must be 1");
    const unfollow = follow(this.#leave, options.signal);
    try {
      return await this.#loop(chat, messages, maxSteps, options);
    } finally {
      unfollow();
    }
  }

  async #loop(
    chat: Chat<Value>,
    messages: readonly ChatMessage[],
    maxSteps: number,
    options: Omit<AgentOptions, "messages" | "maxSteps">,
  ): Promise<AgentResult<Value>> {
    const { signal } = this.#leave;
    const steps: AgentStep<Value>[] = [];
    let said = messages;
    for (;;) {
      const answering = chat(said, { ...(options as ChatOptions<never>), signal });
      for await (const part of answering) this.#parts.push(part);
      const answer = await answering;
      const { text, reasoning, toolCalls = [] } = answer;
      const turn = { role: "assistant", content: text, ...(reasoning !== undefined && { reasoning }) } as const;
      said = [...said, toolCalls.length > 0 ? { ...turn, toolCalls } : turn];
      const isStuck = toolCalls.some(({ name }) => options.tools[name]?.run === undefined);
      const results = isStuck
        ? []
        : await Promise.all(toolCalls.map((call) => perform(options.tools[call.name], call, signal)));
      signal.throwIfAborted();
      for (const result of results) this.#parts.push({ type: "tool-result", ...result });
      const step = { answer, results };
      steps.push(step);
      said = [...said, ...results.map(resultMessage)];
      const endedBy = toolCalls.length === 0 ? "answer" : isStuck ? "call" : "steps";
      if (endedBy !== "steps" || steps.length === maxSteps) return { ...step, text, steps, messages: said, endedBy };
    }
  }
}

function resultMessage({ call: { id, name }, content }: ToolResult): ChatMessage {
  return { role: "tool", toolCallId: id, name, content };
}

async function perform(tool: Tool | undefined, call: ToolCall, signal: AbortSignal): Promise<ToolResult> {
  try {
    if (tool?.run === undefined) throw new RequestError(`there is no tool ${call.name}`);
    const args = await readSchema(tool.parameters, `the arguments of ${call.name}`).parse(call.arguments);
    // What the schema of a tool makes is what its function takes.
    const value: unknown = await tool.run(args as never, { id: call.id, signal });
    return { call, content: typeof value === "string" ? value : (JSON.stringify(value) ?? "null"), isError: false };
  } catch (error) {
    return { call, content: `Error: ${error instanceof Error ? error.message : String(error)}`, isError: true };
  }
}
