/** The engine at work, as the server's frames tell it: numbers and pictures, nobody's text. Read only while it is seen. */
import { liveFrames } from "./api.ts";
import { byId, h } from "./dom.ts";
import {
  drawBlocks,
  drawHistogram,
  drawPrefixes,
  drawSteps,
  type Ink,
  secondsText,
  type Step,
  stepCapacity,
} from "./pictures.ts";

interface Histogram {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
}

/** As `live-frame.ts` of the server describes it. */
interface LiveModel {
  readonly name: string;
  readonly description: string;
  readonly running: number;
  readonly waiting: number;
  readonly max_sequences: number;
  readonly step_tokens: number;
  readonly kv_bytes: number;
  readonly steps: readonly (Step & { readonly ms: number })[];
  readonly totals: Readonly<
    Record<"steps" | "prompt_tokens" | "cached_tokens" | "generated_tokens" | "preemptions" | "answers", number>
  >;
  readonly first_token: Histogram;
  readonly inter_token: Histogram;
  readonly blocks: readonly string[];
  readonly prefixes: readonly (readonly [number, number, boolean])[];
}

interface LiveFrame {
  readonly time: number;
  readonly models: readonly LiveModel[];
}

const RETRY_MS = 2000;
/** Tokens a second are those of so long. */
const SPEED_MS = 2000;

export class LiveView {
  readonly #panel = byId("live", HTMLElement);
  readonly #values = new Map<string, HTMLElement>();
  readonly #canvases = new Map<string, HTMLCanvasElement>();
  readonly #choice = h("select", { "aria-label": "Model of the live view" });
  readonly #history = new Map<string, Step[]>();
  #speed: { readonly time: number; readonly tokens: number }[] = [];
  #frame: LiveFrame | undefined;
  #reading: AbortController | undefined;

  constructor() {
    this.#panel.append(...this.#parts());
    this.#choice.addEventListener("change", () => {
      this.#speed = [];
      this.redraw();
    });
    document.addEventListener("visibilitychange", () => this.#follow());
    new ResizeObserver(() => this.redraw()).observe(this.#panel);
  }

  get isOpen(): boolean {
    return !this.#panel.hidden;
  }

  setOpen(open: boolean): void {
    this.#panel.hidden = !open;
    this.#follow();
    this.redraw();
  }

  redraw(): void {
    const model = this.#model;
    if (this.isOpen && model !== undefined) this.#draw(model);
  }

  get #model(): LiveModel | undefined {
    return this.#frame?.models.find(({ name }) => name === this.#choice.value) ?? this.#frame?.models[0];
  }

  /** Reads frames exactly while somebody can see them. */
  #follow(): void {
    const wanted = this.isOpen && !document.hidden;
    if (wanted && this.#reading === undefined) void this.#read((this.#reading = new AbortController()));
    else if (!wanted) {
      this.#reading?.abort();
      this.#reading = undefined;
    }
  }

  async #read({ signal }: AbortController): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const frame of liveFrames(signal)) this.#take(frame as LiveFrame);
      } catch {
        // The server has gone, or wants a key: it is asked again.
      }
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  #take(frame: LiveFrame): void {
    this.#frame = frame;
    const names = frame.models.map(({ name }) => name);
    if (names.join("\n") !== [...this.#choice.options].map(({ value }) => value).join("\n")) {
      this.#choice.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
      this.#choice.hidden = names.length < 2;
    }
    for (const { name, steps } of frame.models) {
      const history = [...(this.#history.get(name) ?? []), ...steps];
      this.#history.set(name, history.slice(-400));
    }
    const model = this.#model;
    if (model === undefined) return;
    this.#speed.push({ time: frame.time, tokens: model.totals.generated_tokens });
    while (this.#speed.length > 2 && frame.time - (this.#speed[0]?.time ?? 0) > SPEED_MS) this.#speed.shift();
    this.#draw(model);
  }

  #draw(model: LiveModel): void {
    const { totals, blocks, prefixes, first_token: first, inter_token: inter } = model;
    const ink = inkOf(this.#panel);
    const say = (name: string, text: string): void => {
      const element = this.#values.get(name);
      if (element !== undefined && element.textContent !== text) element.textContent = text;
    };
    const [oldest, newest] = [this.#speed[0], this.#speed.at(-1)];
    const seconds = ((newest?.time ?? 0) - (oldest?.time ?? 0)) / 1000;
    const speed = seconds > 0 ? ((newest?.tokens ?? 0) - (oldest?.tokens ?? 0)) / seconds : 0;
    say("about", model.description);
    say("speed", speed >= 100 || speed === 0 ? speed.toFixed(0) : speed.toFixed(1));
    say("running", `${model.running} of ${model.max_sequences}`);
    say("waiting", String(model.waiting));
    say("hits", share(totals.cached_tokens, totals.prompt_tokens));
    say("budget", `up to ${number(model.step_tokens)} tokens`);
    say("memory", bytes(model.kv_bytes));
    const letters = blocks.join("");
    for (const [name, letter] of [
      ["free", "f"],
      ["private", "p"],
      ["shared", "s"],
      ["cached", "c"],
    ] as const)
      say(name, number(letters.split(letter).length - 1));
    say(
      "prefixes",
      `${number(prefixes.reduce((sum, run) => sum + run[1], 0))} blocks, ${share(totals.cached_tokens, totals.prompt_tokens)} found`,
    );
    say("first", quantiles(first));
    say("inter", quantiles(inter));
    for (const name of [
      "answers",
      "prompt_tokens",
      "cached_tokens",
      "generated_tokens",
      "steps",
      "preemptions",
    ] as const)
      say(`total ${name}`, number(totals[name]));
    const draw = (name: string, picture: (canvas: HTMLCanvasElement) => void): void => {
      const canvas = this.#canvases.get(name);
      if (canvas !== undefined) picture(canvas);
    };
    draw("steps", (canvas) => {
      const steps = (this.#history.get(model.name) ?? []).slice(-stepCapacity(canvas));
      drawSteps(canvas, steps, model.step_tokens, ink);
    });
    draw("blocks", (canvas) => drawBlocks(canvas, letters, ink));
    draw("prefixes", (canvas) => drawPrefixes(canvas, prefixes, ink));
    draw("first", (canvas) => drawHistogram(canvas, first.bounds, first.counts, ink));
    draw("inter", (canvas) => drawHistogram(canvas, inter.bounds, inter.counts, ink));
  }

  #parts(): HTMLElement[] {
    const value = (tag: keyof HTMLElementTagNameMap, name: string, className?: string): HTMLElement => {
      const element = h(tag, className === undefined ? {} : { class: className }, "–");
      element.dataset["value"] = name;
      this.#values.set(name, element);
      return element;
    };
    const canvas = (name: string, label: string): HTMLCanvasElement => {
      const element = h("canvas", { role: "img", "aria-label": label });
      this.#canvases.set(name, element);
      return element;
    };
    const pair = (label: string, name: string): HTMLElement => h("div", {}, h("dt", {}, label), value("dd", name));
    const legend = (name: string, text: string): HTMLElement =>
      h("li", { class: name }, h("i"), `${text} `, value("span", name));
    const head = (text: string, name: string): HTMLElement => h("h3", {}, text, value("small", name));
    return [
      h("div", { class: "head" }, h("h2", {}, "The engine at work"), this.#choice),
      value("p", "about", "about"),
      h(
        "section",
        { class: "speed" },
        h("div", {}, value("div", "speed", "big"), h("div", { class: "unit" }, "tokens a second")),
        h(
          "dl",
          { class: "pairs" },
          pair("running", "running"),
          pair("waiting", "waiting"),
          pair("found in memory", "hits"),
        ),
      ),
      h(
        "section",
        {},
        head("Steps", "budget"),
        canvas("steps", "Tokens of the last steps, against the most that a step computes"),
        h(
          "ul",
          { class: "legend" },
          h("li", { class: "decode" }, h("i"), "answers"),
          h("li", { class: "prefill" }, h("i"), "prompts"),
          h("li", { class: "shared" }, h("i"), "a preemption"),
        ),
      ),
      h(
        "section",
        {},
        head("KV blocks", "memory"),
        canvas("blocks", "Each block of memory, by who holds it"),
        h(
          "ul",
          { class: "legend" },
          legend("private", "one answer's"),
          legend("shared", "shared"),
          legend("cached", "kept"),
          legend("free", "free"),
        ),
      ),
      h("section", {}, head("Prefix tree", "prefixes"), canvas("prefixes", "The tree of prefixes, from the left")),
      h("section", {}, head("First token", "first"), canvas("first", "How long requests waited for their first token")),
      h("section", {}, head("Between tokens", "inter"), canvas("inter", "How long it took from a token to the next")),
      h(
        "section",
        {},
        h("h3", {}, "Since the start"),
        h(
          "dl",
          { class: "pairs" },
          pair("requests", "total answers"),
          pair("steps", "total steps"),
          pair("read", "total prompt_tokens"),
          pair("written", "total generated_tokens"),
          pair("found", "total cached_tokens"),
          pair("preempted", "total preemptions"),
        ),
      ),
    ];
  }
}

/** The style sheet's colours, as they are now. */
function inkOf(panel: HTMLElement): Ink {
  const probe = h("span");
  panel.append(probe);
  const colour = (value: string): string => {
    probe.style.color = value;
    return getComputedStyle(probe).color;
  };
  const ink = {
    river: colour("var(--river)"),
    grain: colour("var(--grain)"),
    line: colour("var(--line)"),
    soft: colour("var(--soft)"),
    pale: colour("light-dark(#b2d4d1, #2f5d60)"),
    sunken: colour("var(--sunken)"),
  };
  probe.remove();
  return ink;
}

function number(value: number): string {
  return value.toLocaleString("en");
}

function share(part: number, whole: number): string {
  return whole === 0 ? "–" : `${((100 * part) / whole).toFixed(0)} %`;
}

function bytes(value: number): string {
  return value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(1)} GiB` : `${(value / 2 ** 20).toFixed(0)} MiB`;
}

/** "half ≤ 25 ms, 99 % ≤ 100 ms" */
function quantiles({ bounds, counts }: Histogram): string {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return "–";
  const within = (part: number): string => {
    let sum = 0;
    const at = counts.findIndex((count) => (sum += count) >= part * total);
    const bound = bounds[at];
    return bound === undefined ? `> ${secondsText(bounds.at(-1) ?? 0)}` : `≤ ${secondsText(bound)}`;
  };
  return `half ${within(0.5)}, 99 % ${within(0.99)}`;
}
