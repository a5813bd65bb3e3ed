/**
 * Model references to the Hugging Face hub, `hf:owner/repo[@revision][:file-or-quant]`, and which of a repository's
 * files a reference means. Pure; `node-hub.ts` lists and fetches.
 */
import { ArtifactError } from "../errors.ts";
import { splitNames } from "./gguf-writer.ts";

export interface HubReference {
  /** "owner/name". */
  readonly repo: string;
  /** A branch, tag or commit; "main" where none is named. */
  readonly revision: string;
  /** A file of the repository, or a part of a GGUF file's name such as "Q8_0". */
  readonly selection?: string;
}

/** A file as the hub lists it. */
export interface HubFile {
  /** In the repository, with "/". */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Of the content, where the hub keeps the file in its large-file store. */
  readonly sha256?: string;
  /** Else git's object id: SHA-1 of "blob SIZE\0" and the content. */
  readonly gitSha1?: string;
}

export interface HubChoice {
  readonly files: readonly HubFile[];
  /** What to open, relative to the repository: a GGUF file, or "" for the folder. */
  readonly open: string;
}

/**
 * Parses a reference that begins with "hf:"; gives undefined for anything else (a path).
 * @throws ArtifactError where what follows isn't of the form.
 */
export function parseHubReference(reference: string): HubReference | undefined {
  if (!reference.startsWith("hf:")) return undefined;
  const match = /^hf:([\w.-]+\/[\w.-]+)(?:@([^:]+))?(?::(.+))?$/.exec(reference);
  const [, repo, revision = "main", selection] = match ?? [];
  if (repo === undefined || repo.split("/").some((part) => /^\.+$/.test(part)) || !isSafePath(revision)) {
    throw new ArtifactError(
      `"${reference}" is no model reference; expected hf:owner/repo, hf:owner/repo:Q8_0 or hf:owner/repo:file.gguf`,
    );
  }
  return { repo, revision, ...(selection !== undefined && { selection }) };
}

export function formatHubReference({ repo, revision, selection }: HubReference): string {
  return `hf:${repo}${revision === "main" ? "" : `@${revision}`}${selection === undefined ? "" : `:${selection}`}`;
}

/** Whether a path from a server stays inside the folder it is put in, and is one that a terminal may show. */
export function isSafePath(path: string): boolean {
  if (path.length > 1000 || /[\p{Cc}\p{Bidi_Control}\u2028\u2029\\:]/u.test(path)) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

/**
 * The files that a reference means.
 * @throws ArtifactError listing what is there, where nothing fits or several do.
 */
export function chooseFiles(reference: HubReference, files: readonly HubFile[]): HubChoice {
  const models = ggufModels(files);
  const { selection } = reference;
  if (selection === undefined) {
    const safetensors = safetensorsModel(files) ?? peftAdapter(files);
    if (safetensors !== undefined) return { files: safetensors, open: "" };
    return only(
      reference,
      models,
      models,
      "it holds no GGUF model, and no safetensors model with config.json and tokenizer.json",
    );
  }
  const exact = models.filter(
    ({ open, files: parts }) => open === selection || parts.some((part) => part.path === selection),
  );
  if (exact.length > 0) return only(reference, exact, models, "");
  const named = models.filter(({ open }) => baseName(open).toLowerCase() === selection.toLowerCase());
  if (named.length > 0) return only(reference, named, models, "");
  // "Q4_0" as a word of its own first, so that it doesn't mean Q4_0_4_4 or IQ4_0 as well; then anywhere.
  const escaped = selection.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const word = new RegExp(`(?<![A-Za-z0-9])${escaped}(?![A-Za-z0-9_])`, "i");
  const words = models.filter(({ open }) => word.test(baseName(open)));
  const anywhere = models.filter(({ open }) => baseName(open).toLowerCase().includes(selection.toLowerCase()));
  return only(reference, words.length > 0 ? words : anywhere, models, `no GGUF file's name holds "${selection}"`);
}

function only(
  reference: HubReference,
  found: readonly HubChoice[],
  all: readonly HubChoice[],
  none: string,
): HubChoice {
  const [choice, ...others] = found;
  if (choice !== undefined && others.length === 0) return choice;
  const names = (choices: readonly HubChoice[]) => choices.map(({ open }) => open).join(", ");
  const what = formatHubReference(reference);
  if (choice !== undefined) throw new ArtifactError(`${what} could be any of ${names(found)}; name one after a colon`);
  throw new ArtifactError(`${what}: ${none}${all.length > 0 ? `; there are ${names(all)}` : ""}`);
}

/** The GGUF models of a repository, the parts of a split one together; no vision projectors, no incomplete ones. */
function ggufModels(files: readonly HubFile[]): HubChoice[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const models: HubChoice[] = [];
  for (const file of files) {
    if (!/\.gguf$/i.test(file.path) || /^mmproj/i.test(baseName(file.path))) continue;
    const parts = splitNames(file.path);
    if (parts.length === 0) {
      models.push({ files: [file], open: file.path });
    } else if (parts[0] === file.path) {
      const present = parts.map((part) => byPath.get(part)).filter((part) => part !== undefined);
      if (present.length === parts.length) models.push({ files: present, open: file.path });
    }
  }
  return models;
}

const sideFiles = [
  "generation_config.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  "model.safetensors.index.json",
  "modules.json",
];
/** sentence-transformers keeps them a folder down. */
const POOLING = "1_Pooling/config.json";
const DENSE = /^\d_Dense\/(?:config\.json|model\.safetensors)$/;

/** config.json, tokenizer.json or tekken.json, what else of the JSON is there, and the weights: one file, or the shards. */
function safetensorsModel(files: readonly HubFile[]): HubFile[] | undefined {
  const top = new Map(files.filter(({ path }) => !path.includes("/")).map((file) => [file.path, file]));
  const config = top.get("config.json");
  const tokenizer = top.get("tokenizer.json") ?? top.get("tekken.json");
  const whole = top.get("model.safetensors");
  const shards = [...top.values()].filter(({ path }) => /^model-\d+-of-\d+\.safetensors$/.test(path));
  const weights = whole === undefined ? shards : [whole];
  if (config === undefined || tokenizer === undefined || weights.length === 0) return undefined;
  const sides = sideFiles.map((name) =>
    whole !== undefined && name.endsWith("index.json") ? undefined : top.get(name),
  );
  const pooling = files.find(({ path }) => path === POOLING);
  const dense = files.filter(({ path }) => DENSE.test(path));
  return [config, tokenizer, ...[...sides, pooling, ...dense].filter((file) => file !== undefined), ...weights];
}

/** An adapter as PEFT saves it. */
function peftAdapter(files: readonly HubFile[]): HubFile[] | undefined {
  const found = ["adapter_config.json", "adapter_model.safetensors"].map((name) =>
    files.find(({ path }) => path === name),
  );
  const [config, weights] = found;
  return config === undefined || weights === undefined ? undefined : [config, weights];
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
