/** The page's beginning: puts the parts together, keeps the list of conversations, the theme, and who is shown. */
import { KeyError, listModels, type Model } from "./api.ts";
import { ChatView } from "./chat-view.ts";
import { byId, h } from "./dom.ts";
import { LiveView } from "./live-view.ts";
import { SettingsView } from "./settings-view.ts";
import {
  type Conversation,
  keepSetting,
  load,
  loadAll,
  newConversation,
  remove,
  save,
  setting,
  watchOthers,
} from "./store.ts";

let models: readonly Model[] = [];
const picker = byId("model", HTMLSelectElement);
const list = byId("conversations", HTMLElement);
const rail = byId("rail", HTMLElement);
const openRail = byId("open-rail", HTMLButtonElement);
const settings = new SettingsView();
const live = new LiveView();

const view = new ChatView(
  {
    model: () => models.find(({ id }) => id === picker.value),
    sampling: () => settings.sampling,
    changed: (conversation) => {
      if (conversation.id === view.shown.id) showPlace();
      drawList();
    },
    askKey: (why) => openSettings(why),
  },
  loadAll().find(({ id }) => id === location.hash.slice(1)) ?? newConversation(),
);

function drawList(): void {
  const items = loadAll().map((conversation) => {
    const { id, title } = conversation;
    const name = title === "" ? "Untitled" : title;
    const isHere = id === view.shown.id;
    const open = h(
      "button",
      { type: "button", class: "open", "aria-current": isHere ? "true" : undefined, onclick: () => show(conversation) },
      name,
    );
    const drop = h(
      "button",
      { type: "button", class: "drop", "aria-label": `Delete “${name}”`, onclick: () => forget(id) },
      "×",
    );
    return h("li", { class: isHere ? "here" : "" }, open, drop);
  });
  list.replaceChildren(...items);
}

function show(conversation: Conversation): void {
  // One that an answer is being written into is shown as it is in memory, not as it was kept.
  if (conversation.id !== view.shown.id) view.show(written.get(conversation.id) ?? conversation);
  written.set(view.shown.id, view.shown);
  showPlace();
  showRail(false);
  drawList();
  view.focus();
}

/** The address says which conversation is shown: a reload shows it again. */
function showPlace(): void {
  history.replaceState(null, "", `#${view.shown.id}`);
}

/** Conversations that were shown in this tab. */
const written = new Map<string, Conversation>([[view.shown.id, view.shown]]);

function forget(id: string): void {
  view.forget(id);
  remove(id);
  written.delete(id);
  if (id === view.shown.id) show(newConversation(view.shown.system));
  else drawList();
}

function openSettings(why?: string): void {
  settings.open(
    view.shown.system,
    (system) => {
      view.shown.system = system;
      if (view.shown.turns.length > 0) save(view.shown);
      view.show(view.shown);
      void loadModels();
    },
    why,
  );
}

function showRail(open: boolean): void {
  rail.classList.toggle("open", open);
  openRail.setAttribute("aria-expanded", String(open));
}

async function loadModels(): Promise<void> {
  try {
    models = await listModels();
  } catch (error) {
    if (error instanceof KeyError) openSettings(error.message);
    else byId("status", HTMLElement).textContent = error instanceof Error ? error.message : String(error);
    return;
  }
  const chosen = setting("model");
  picker.replaceChildren(...models.map(({ id, chat }) => h("option", { value: id, disabled: chat === false }, id)));
  picker.value = models.some(({ id, chat }) => id === chosen && chat !== false)
    ? chosen
    : (models.find(({ chat }) => chat !== false)?.id ?? "");
}

const THEMES = [
  { name: "", sign: "◐", words: "as the system" },
  { name: "light", sign: "☀", words: "light" },
  { name: "dark", sign: "☾", words: "dark" },
] as const;

function setTheme(name: string): void {
  const { sign, words } = THEMES.find((theme) => theme.name === name) ?? THEMES[0];
  document.documentElement.dataset["theme"] = name;
  const button = byId("theme", HTMLButtonElement);
  button.textContent = sign;
  button.setAttribute("aria-label", `Colours: ${words}`);
  button.title = `Colours: ${words}`;
  keepSetting("theme", name);
  live.redraw();
}

function toggleLive(): void {
  const open = !live.isOpen;
  byId("open-live", HTMLButtonElement).setAttribute("aria-pressed", String(open));
  live.setOpen(open);
  keepSetting("live", open ? "open" : "");
}

byId("new-chat", HTMLButtonElement).addEventListener("click", () => show(newConversation()));
byId("open-settings", HTMLButtonElement).addEventListener("click", () => openSettings());
byId("open-live", HTMLButtonElement).addEventListener("click", toggleLive);
byId("theme", HTMLButtonElement).addEventListener("click", () => {
  const at = THEMES.findIndex(({ name }) => name === (document.documentElement.dataset["theme"] ?? ""));
  setTheme(THEMES[(at + 1) % THEMES.length]?.name ?? "");
});
openRail.addEventListener("click", () => showRail(!rail.classList.contains("open")));
picker.addEventListener("change", () => keepSetting("model", picker.value));
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.querySelector("dialog[open]") === null) {
    view.stop();
    showRail(false);
  }
});
watchOthers((id) => {
  if (id === view.shown.id && !view.isUnderWay(id)) view.show(load(id) ?? newConversation());
  written.delete(id);
  drawList();
});

setTheme(setting("theme"));
drawList();
if (setting("live") === "open" && innerWidth > 1240) toggleLive();
await loadModels();
