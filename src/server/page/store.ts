/**
 * Conversations, kept in this browser: each under a key of its own, so that two tabs don't write over each other's. What
 * another tab writes is told to whoever listens.
 */
export interface Turn {
  readonly role: "user" | "assistant";
  text: string;
  reasoning?: string;
  /** Tokens, tokens per second, milliseconds to the first: what the page shows below an answer. */
  numbers?: string;
  /** Why an answer ended, where that is worth telling. */
  note?: string;
  problem?: string;
}

export interface Conversation {
  readonly id: string;
  title: string;
  /** Milliseconds since 1970. */
  changed: number;
  system: string;
  turns: Turn[];
}

const PREFIX = "millrace:chat:";

export function newConversation(system = ""): Conversation {
  return { id: crypto.randomUUID(), title: "", changed: Date.now(), system, turns: [] };
}

/** The last changed first. */
export function loadAll(): Conversation[] {
  const found: Conversation[] = [];
  for (let i = 0; i < localStorage.length; i++) {
    const key = localStorage.key(i) ?? "";
    if (!key.startsWith(PREFIX)) continue;
    const one = parse(localStorage.getItem(key));
    if (one !== undefined) found.push(one);
  }
  return found.toSorted((a, b) => b.changed - a.changed);
}

export function load(id: string): Conversation | undefined {
  return parse(localStorage.getItem(PREFIX + id));
}

/** False where the browser has no room for it. */
export function save(conversation: Conversation): boolean {
  conversation.changed = Date.now();
  conversation.title ||= titleOf(conversation);
  try {
    localStorage.setItem(PREFIX + conversation.id, JSON.stringify(conversation));
    return true;
  } catch {
    return false;
  }
}

export function remove(id: string): void {
  localStorage.removeItem(PREFIX + id);
}

/** Told of each conversation that another tab changes or removes. */
export function watchOthers(listen: (id: string) => void): void {
  addEventListener("storage", ({ key }) => {
    if (key?.startsWith(PREFIX) === true) listen(key.slice(PREFIX.length));
  });
}

/** A setting of the page that is no conversation. */
export function setting(name: string): string {
  return localStorage.getItem(`millrace:${name}`) ?? "";
}

export function keepSetting(name: string, value: string): void {
  localStorage.setItem(`millrace:${name}`, value);
}

function titleOf({ turns }: Conversation): string {
  const first =
    turns
      .find(({ role }) => role === "user")
      ?.text.trim()
      .replaceAll(/\s+/g, " ") ?? "";
  return first.length > 48 ? `${first.slice(0, 47)}…` : first;
}

function parse(text: string | null): Conversation | undefined {
  if (text === null) return undefined;
  try {
    const value = JSON.parse(text) as Partial<Conversation>;
    const { id, turns, title = "", changed = 0, system = "" } = value;
    return typeof id === "string" && Array.isArray(turns) ? { id, title, changed, system, turns } : undefined;
  } catch {
    return undefined;
  }
}
