/**
 * JSON that is still being written, as a value: what has come is there, a string up to its last whole character, a number or
 * word once it is over. Each piece of text costs what it holds; the values given are snapshots, which share what is finished.
 */

interface Open {
  readonly kind: "object" | "array";
  readonly items: [key: string, value: unknown][];
  key: string | undefined;
}

const NOTHING = Symbol("no value yet");

export class PartialJson {
  readonly #open: Open[] = [];
  #root: unknown = NOTHING;
  /** The text of a string, number or word that is not over. */
  #scalar = "";
  #isEscaped = false;
  #hasChanged = false;

  /** Takes more of the text; gives the value so far, or undefined where that is the same as before. */
  push(text: string): { readonly value: unknown } | undefined {
    for (const char of text) this.#take(char);
    if (!this.#hasChanged) return undefined;
    this.#hasChanged = false;
    const value = this.#snapshot();
    return value === NOTHING ? undefined : { value };
  }

  /** A string that begins or goes on here is a key. */
  get #isKey(): boolean {
    const top = this.#open.at(-1);
    return top?.kind === "object" && top.key === undefined;
  }

  #take(char: string): void {
    if (this.#scalar.startsWith('"')) {
      const isOver = char === '"' && !this.#isEscaped;
      this.#isEscaped = char === "\\" && !this.#isEscaped;
      this.#scalar += char;
      if (isOver) this.#endScalar();
      else if (!this.#isKey) this.#hasChanged = true;
      return;
    }
    if (!/[\s[\]{},:"]/.test(char)) {
      this.#scalar += char;
      return;
    }
    if (this.#scalar !== "") this.#endScalar();
    if (char === '"') {
      this.#scalar = char;
      this.#hasChanged ||= !this.#isKey;
    } else if (char === "{" || char === "[") {
      this.#open.push({ kind: char === "{" ? "object" : "array", items: [], key: undefined });
      this.#hasChanged = true;
    } else if (char === "}" || char === "]") {
      const closed = this.#open.pop();
      if (closed !== undefined) this.#put(valueOf(closed));
    }
  }

  #endScalar(): void {
    const text = this.#scalar;
    this.#scalar = "";
    const value = read(text);
    const top = this.#open.at(-1);
    if (top?.kind === "object" && top.key === undefined) top.key = String(value);
    else if (value !== NOTHING) this.#put(value);
  }

  #put(value: unknown): void {
    this.#hasChanged = true;
    const top = this.#open.at(-1);
    if (top === undefined) this.#root = value;
    else {
      top.items.push([top.key ?? "", value]);
      top.key = undefined;
    }
  }

  /** Objects and lists that are not closed are made anew, the others stay. */
  #snapshot(): unknown {
    let inner: unknown = this.#scalar.startsWith('"') ? read(closed(this.#scalar)) : NOTHING;
    if (this.#isKey) inner = NOTHING;
    for (const open of this.#open.toReversed()) inner = valueOf(open, inner);
    return inner === NOTHING ? this.#root : inner;
  }
}

function valueOf({ kind, items, key }: Open, last: unknown = NOTHING): unknown {
  const all: [string, unknown][] = last === NOTHING ? items : [...items, [key ?? "", last]];
  return kind === "array" ? all.map(([, value]) => value) : Object.fromEntries(all);
}

/** A string without an escape or half a character at its end, closed. */
function closed(text: string): string {
  const whole = text.replace(/(?:\\u[dD][89abAB][0-9a-fA-F]{2})?(?:\\(?:u[0-9a-fA-F]{0,3})?)?$/, (tail, at: number) => {
    const backslashes = /\\*$/.exec(text.slice(0, at))?.[0].length ?? 0;
    return backslashes % 2 === 1 ? tail : "";
  });
  return `${whole.replace(/[\uD800-\uDBFF]$/, "")}"`;
}

function read(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return NOTHING;
  }
}
