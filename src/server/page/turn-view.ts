/** One turn of a conversation as elements, and what can be done with it. It knows nothing of the server. */
import { h } from "./dom.ts";
import { renderMarkdown } from "./markdown-view.ts";
import type { Turn } from "./store.ts";

export interface TurnActions {
  /** Asks for this answer anew. */
  readonly regenerate: () => void;
  /** Sends this message with another text; what came after it goes. */
  readonly edit: (text: string) => void;
}

/** A turn on the page; `update` shows what it has become. */
export class TurnView {
  readonly element: HTMLElement;
  readonly #turn: Turn;
  readonly #actions: TurnActions;
  #growing = false;
  #thoughtOpen = false;

  constructor(turn: Turn, actions: TurnActions) {
    this.#turn = turn;
    this.#actions = actions;
    this.element = h("article", { class: `turn ${turn.role}` });
    this.update(false);
  }

  /** `growing`: more of it is to come. */
  update(growing: boolean): void {
    this.#growing = growing;
    const who = h("h2", { class: "unseen" }, this.#turn.role === "user" ? "You" : "Answer");
    const parts = this.#turn.role === "user" ? this.#said() : this.#answered();
    this.element.replaceChildren(who, ...parts.filter((part) => part !== undefined));
  }

  #said(): HTMLElement[] {
    return [h("div", { class: "said" }, this.#turn.text), this.#tools(["Edit", () => this.#beginEdit()])];
  }

  #answered(): (HTMLElement | undefined)[] {
    const { text, problem, note } = this.#turn;
    const prose = h("div", { class: this.#growing ? "prose growing" : "prose" }, ...renderMarkdown(text));
    const waits = this.#growing && text === "" ? h("span", { class: "waiting" }) : undefined;
    return [
      this.#thought(),
      prose,
      waits,
      problem === undefined ? undefined : h("p", { class: "problem", role: "alert" }, problem),
      this.#growing ? h("div", { class: "tools" }) : this.#tools(["Again", this.#actions.regenerate], note),
    ];
  }

  #thought(): HTMLElement | undefined {
    const { reasoning = "", text } = this.#turn;
    if (reasoning === "") return undefined;
    const title = this.#growing && text === "" ? "Thinking…" : "Thoughts";
    const details = h(
      "details",
      { class: "thought", open: this.#thoughtOpen },
      h("summary", {}, title),
      h("div", { class: "said" }, reasoning),
    );
    details.addEventListener("toggle", () => (this.#thoughtOpen = details.open));
    return details;
  }

  #tools([name, act]: readonly [string, () => void], note?: string): HTMLElement {
    const { text, numbers } = this.#turn;
    const copy = h("button", { type: "button", class: "quiet" }, "Copy");
    copy.addEventListener("click", () => {
      void navigator.clipboard.writeText(text).then(
        () => (copy.textContent = "Copied"),
        () => (copy.textContent = "Can't copy"),
      );
    });
    const buttons = h(
      "span",
      { class: "buttons" },
      copy,
      h("button", { type: "button", class: "quiet", onclick: act }, name),
    );
    const said = [numbers, note].filter((part) => part !== undefined).join(" · ");
    return h("div", { class: "tools" }, said === "" ? undefined : h("span", { class: "numbers" }, said), buttons);
  }

  #beginEdit(): void {
    const field = h("textarea", {
      rows: Math.min(12, this.#turn.text.split("\n").length + 1),
      "aria-label": "The message",
    });
    field.value = this.#turn.text;
    const cancel = (): void => this.update(false);
    const send = (): void => {
      if (field.value.trim() !== "") this.#actions.edit(field.value);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") cancel();
      else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      } else return;
      event.stopPropagation();
    });
    const buttons = h(
      "div",
      { class: "tools" },
      h("button", { type: "button", class: "quiet", onclick: cancel }, "Cancel"),
      h("button", { type: "button", class: "quiet", onclick: send }, "Send"),
    );
    this.element.replaceChildren(h("h2", { class: "unseen" }, "You"), field, buttons);
    field.focus();
  }
}
