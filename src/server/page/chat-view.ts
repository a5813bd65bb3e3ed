/**
 * The conversation in the middle of the page: its turns, the composer, and the answer under way. One conversation is shown at
 * a time, and an answer goes on being written into its own when another is shown.
 */
import { chat, type ChatMessage, KeyError, type Model, type Sampling } from "./api.ts";
import { byId, h } from "./dom.ts";
import { type Conversation, save, type Turn } from "./store.ts";
import { TurnView } from "./turn-view.ts";

export interface ChatHost {
  readonly model: () => Model | undefined;
  readonly sampling: () => Sampling;
  /** A conversation was written to. */
  readonly changed: (conversation: Conversation) => void;
  /** The server wants another key. */
  readonly askKey: (why: string) => void;
}

const STARTS = ["Name three rivers.", "Explain what a mill race is.", "Write a short poem about water."];

interface UnderWay {
  readonly conversation: Conversation;
  readonly stop: AbortController;
}

export class ChatView {
  readonly #host: ChatHost;
  readonly #scroll = byId("scroll", HTMLElement);
  readonly #turns = byId("turns", HTMLElement);
  readonly #composer = byId("composer", HTMLTextAreaElement);
  readonly #send = byId("send", HTMLButtonElement);
  readonly #status = byId("status", HTMLElement);
  readonly #title = byId("title", HTMLElement);
  #shown: Conversation;
  #views: TurnView[] = [];
  readonly #underWay = new Map<string, UnderWay>();

  constructor(host: ChatHost, shown: Conversation) {
    this.#host = host;
    this.#shown = shown;
    byId("form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#current === undefined) this.#sendText(this.#composer.value);
      else this.stop();
    });
    this.#composer.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        if (this.#current === undefined) this.#sendText(this.#composer.value);
      } else if (event.key === "ArrowUp" && this.#composer.value === "") this.#editLast(event);
    });
    this.#composer.addEventListener("input", () => this.#fit());
    this.show(shown);
  }

  get shown(): Conversation {
    return this.#shown;
  }

  isUnderWay(id: string): boolean {
    return this.#underWay.has(id);
  }

  show(conversation: Conversation): void {
    this.#shown = conversation;
    this.#draw();
    this.#toEnd();
  }

  focus(): void {
    this.#composer.focus();
  }

  /** Ends the answer that is shown, and keeps what there is of it. */
  stop(): void {
    this.#current?.stop.abort();
  }

  /** A conversation is gone: nothing more is written into it. */
  forget(id: string): void {
    this.#underWay.get(id)?.stop.abort();
    this.#underWay.delete(id);
  }

  get #current(): UnderWay | undefined {
    return this.#underWay.get(this.#shown.id);
  }

  #draw(): void {
    const conversation = this.#shown;
    const { turns, system, title } = conversation;
    this.#title.textContent = title === "" ? "New conversation" : title;
    this.#views = turns.map((turn, i) => new TurnView(turn, this.#actions(conversation, i)));
    if (this.#current !== undefined) this.#views.at(-1)?.update(true);
    const told = system === "" ? [] : [h("div", { class: "turn system" }, h("div", { class: "said" }, system))];
    this.#turns.replaceChildren(
      ...(turns.length === 0 ? [...told, this.#welcome()] : [...told, ...this.#views.map((view) => view.element)]),
    );
    this.#showState();
  }

  #actions(conversation: Conversation, index: number): { regenerate: () => void; edit: (text: string) => void } {
    return {
      regenerate: () => {
        if (this.#current !== undefined) return;
        conversation.turns.length = index;
        void this.#answer(conversation);
      },
      edit: (text) => {
        if (this.#current !== undefined) return;
        conversation.turns.length = index;
        this.#sendText(text);
      },
    };
  }

  #welcome(): HTMLElement {
    const starts = STARTS.map((text) => h("button", { type: "button", onclick: () => this.#sendText(text) }, text));
    return h(
      "div",
      { class: "empty" },
      h("img", { src: "/page/wheel.svg", alt: "" }),
      h("h2", {}, "What shall the mill grind?"),
      h("p", {}, "The model runs on the machine that serves this page. Nothing leaves it."),
      h("div", { class: "starts" }, ...starts),
    );
  }

  #sendText(text: string): void {
    if (text.trim() === "" || this.#current !== undefined) return;
    this.#shown.turns.push({ role: "user", text: text.trim() });
    this.#composer.value = "";
    this.#fit();
    void this.#answer(this.#shown);
  }

  async #answer(conversation: Conversation): Promise<void> {
    const messages = messagesOf(conversation);
    const turn: Turn = { role: "assistant", text: "" };
    conversation.turns.push(turn);
    const stop = new AbortController();
    this.#underWay.set(conversation.id, { conversation, stop });
    this.#keep(conversation);
    this.#draw();
    this.#toEnd();
    this.#status.textContent = "The answer is being written.";
    try {
      await this.#read(conversation, turn, messages, stop.signal);
    } catch (error) {
      if (stop.signal.aborted) turn.note = "stopped";
      else turn.problem = error instanceof Error ? error.message : String(error);
      if (error instanceof KeyError) this.#host.askKey(error.message);
    }
    if (this.#underWay.get(conversation.id)?.stop !== stop) return;
    this.#underWay.delete(conversation.id);
    this.#keep(conversation);
    if (conversation !== this.#shown) return;
    const atEnd = this.#isAtEnd;
    this.#views.at(-1)?.update(false);
    this.#showState();
    if (atEnd) this.#toEnd();
    this.#status.textContent = turn.problem ?? "The answer is there.";
  }

  /** Takes the answer's parts in; shows them once a frame. */
  async #read(conversation: Conversation, turn: Turn, messages: ChatMessage[], signal: AbortSignal): Promise<void> {
    const model = this.#host.model();
    if (model === undefined) throw new Error("no model is served");
    const began = performance.now();
    let first: number | undefined;
    let frame = 0;
    const show = (): void => {
      frame = 0;
      if (conversation !== this.#shown || this.#current === undefined) return;
      const atEnd = this.#isAtEnd;
      this.#views.at(-1)?.update(true);
      if (atEnd) this.#toEnd();
    };
    for await (const part of chat(model.id, messages, this.#host.sampling(), signal)) {
      if (part.type === "usage") turn.numbers = numbersOf(part.tokens, began, first);
      else if (part.type === "finish") {
        if (part.reason === "length") turn.note = "cut at the limit";
      } else {
        first ??= performance.now();
        if (part.type === "text") turn.text += part.text;
        else turn.reasoning = (turn.reasoning ?? "") + part.text;
        if (frame === 0) frame = requestAnimationFrame(show);
      }
    }
    cancelAnimationFrame(frame);
  }

  #keep(conversation: Conversation): void {
    if (!save(conversation)) this.#status.textContent = "The browser has no room to keep this conversation.";
    this.#host.changed(conversation);
  }

  #showState(): void {
    const writes = this.#current !== undefined;
    this.#send.textContent = writes ? "Stop" : "Send";
    this.#send.classList.toggle("stop", writes);
  }

  #editLast(event: KeyboardEvent): void {
    const last = this.#shown.turns.findLastIndex(({ role }) => role === "user");
    const button = [...(this.#views[last]?.element.querySelectorAll("button") ?? [])].at(-1);
    if (last < 0 || button === undefined || this.#current !== undefined) return;
    event.preventDefault();
    button.click();
  }

  #fit(): void {
    this.#composer.style.height = "auto";
    this.#composer.style.height = `${this.#composer.scrollHeight + 2}px`;
  }

  get #isAtEnd(): boolean {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroll;
    return scrollTop + clientHeight > scrollHeight - 60;
  }

  #toEnd(): void {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }
}

/** What a model is told: turns that failed with nothing said are left out. */
function messagesOf({ system, turns }: Conversation): ChatMessage[] {
  const told: ChatMessage[] = system === "" ? [] : [{ role: "system", content: system }];
  for (const { role, text, reasoning } of turns) {
    if (role === "assistant" && text === "") continue;
    told.push({ role, content: text, ...(reasoning === undefined ? {} : { reasoning_content: reasoning }) });
  }
  return told;
}

/** "64 tokens · 38.2 a second · first after 0.31 s" */
function numbersOf(tokens: number, began: number, first: number | undefined): string {
  const now = performance.now();
  const parts = [`${tokens} ${tokens === 1 ? "token" : "tokens"}`];
  if (first !== undefined && tokens > 1 && now > first)
    parts.push(`${((1000 * (tokens - 1)) / (now - first)).toFixed(1)} a second`);
  if (first !== undefined) parts.push(`first after ${((first - began) / 1000).toFixed(2)} s`);
  return parts.join(" · ");
}
