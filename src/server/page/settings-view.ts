/** The settings: how tokens are drawn, what the model is told first, and the key where the server wants one. */
import { apiKey, type Sampling, setApiKey } from "./api.ts";
import { byId, h } from "./dom.ts";
import { keepSetting, setting } from "./store.ts";

const FIELDS = [
  { name: "temperature", label: "Temperature", min: 0, max: 100, step: "any" },
  { name: "top_p", label: "Top p", min: 0, max: 1, step: "any" },
  { name: "top_k", label: "Top k", min: 0, max: 1_000_000, step: 1 },
  { name: "min_p", label: "Min p", min: 0, max: 1, step: "any" },
  { name: "repetition_penalty", label: "Repetition penalty", min: 0.01, max: 100, step: "any" },
  { name: "max_completion_tokens", label: "Tokens at most", min: 1, max: 1_000_000, step: 1 },
  { name: "seed", label: "Seed", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 },
] as const;

const SAMPLING = "sampling";

export class SettingsView {
  readonly #dialog = byId("settings", HTMLDialogElement);

  get sampling(): Sampling {
    try {
      return JSON.parse(setting(SAMPLING) || "{}") as Sampling;
    } catch {
      return {};
    }
  }

  /** `done` is told what the model shall be told first. */
  open(system: string, done: (system: string) => void, why?: string): void {
    const sampling: Readonly<Record<string, number | undefined>> = { ...this.sampling };
    const told = h("textarea", { id: "set-system", rows: 4, placeholder: "You are …" });
    told.value = system;
    const key = h("input", {
      id: "set-key",
      type: "password",
      autocomplete: "off",
      placeholder: "only where the server has keys",
    });
    key.value = apiKey();
    const inputs = FIELDS.map(({ name, label, min, max, step }) => {
      const input = h("input", { id: `set-${name}`, type: "number", min, max, step, placeholder: "default" });
      input.value = sampling[name] === undefined ? "" : String(sampling[name]);
      return { name, input, label: h("label", { for: `set-${name}` }, label, input) };
    });
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: "settings-title" }, "Settings"),
      why === undefined ? undefined : h("p", { class: "problem", role: "alert" }, why),
      h("label", { for: "set-system" }, "What the model is told first, in this conversation", told),
      h("div", { class: "fields" }, ...inputs.map(({ label }) => label)),
      h("label", { for: "set-key" }, "API key", key),
      h(
        "div",
        { class: "ends" },
        h("p", {}, "Empty: as the model's makers advise."),
        h("button", { type: "button", class: "quiet", onclick: () => this.#dialog.close() }, "Cancel"),
        h("button", { type: "submit", class: "main" }, "Keep"),
      ),
    );
    form.addEventListener("submit", () => {
      const given = inputs
        .filter(({ input }) => input.value !== "")
        .map(({ name, input }) => [name, Number(input.value)]);
      keepSetting(SAMPLING, JSON.stringify(Object.fromEntries(given)));
      setApiKey(key.value.trim());
      done(told.value.trim());
    });
    this.#dialog.replaceChildren(form);
    this.#dialog.showModal();
    if (why !== undefined) key.focus();
  }
}
