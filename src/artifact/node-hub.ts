/**
 * Models of the Hugging Face hub on this machine: which files a reference means, fetched into MILLRACE_HOME where they
 * aren't there yet, and what is there. The hub's listing and addresses come from @huggingface/hub; the transfer is ours
 * (`node-download.ts`). What was pulled once is used without asking the hub again, until `refresh`.
 *
 * Layout: MILLRACE_HOME/models/OWNER/NAME/REVISION/ holds the files under their own names, and in .millrace/ the listing
 * and, for each file, what it is and what is left of a broken transfer.
 */
import { randomUUID } from "node:crypto";
import { readdir, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { ArtifactError, NetworkError } from "../errors.ts";
import {
  chooseFiles,
  formatHubReference,
  isSafePath,
  type HubChoice,
  type HubFile,
  type HubReference,
} from "./hub-reference.ts";
import { download, isComplete, type DownloadOptions } from "./node-download.ts";
import { readNote } from "./node-file.ts";
import { diskError, makeFolder, millraceHome } from "./node-home.ts";
import { readBody, request } from "./node-http.ts";

/** Of a repository's listing, far above any that holds a model. */
const MAX_LISTING_BYTES = 32 * 2 ** 20;
const MAX_PAGES = 200;

export interface HubOptions extends Omit<DownloadOptions, "tokenOrigin"> {
  /** Default: MILLRACE_HOME. */
  readonly home?: string | undefined;
  /** Default: HF_ENDPOINT, else https://huggingface.co. */
  readonly endpoint?: string | undefined;
  /** Default: HF_TOKEN. */
  readonly token?: string | undefined;
  /** Use what is there and never the network; default: whether MILLRACE_OFFLINE is set (and not 0). */
  readonly offline?: boolean | undefined;
  /** Ask the hub for news even where everything is there. */
  readonly refresh?: boolean | undefined;
}

/**
 * Makes sure that a model of the hub is on this machine.
 * @returns the path to open: a GGUF file, or a folder with safetensors.
 * @throws NetworkError where it can't be fetched; ArtifactError where the reference fits nothing, or several models.
 */
export async function pullModel(reference: HubReference, options: HubOptions = {}): Promise<string> {
  const folder = folderOf(reference, options);
  const offline = options.offline ?? isSet(process.env["MILLRACE_OFFLINE"]);
  const known = await readListing(folder);
  if (known !== undefined && (offline || options.refresh !== true)) {
    const choice = tryChoose(reference, known);
    if (choice !== undefined && (await allComplete(folder, choice))) return join(folder, choice.open);
  }
  const name = formatHubReference(reference);
  if (offline) {
    const there = (await listCached(options)).map((model) => model.reference);
    const list = there.length > 0 ? `here are: ${there.join(", ")}` : "nothing was pulled yet";
    throw new NetworkError(`${name} isn't on this machine, and Millrace is offline; ${list}`);
  }

  const hub = await connect(reference, options);
  const files = await hub.list();
  const choice = chooseFiles(reference, files);
  await writeListing(folder, files);
  for (const file of choice.files) {
    await download({ file, ...placeOf(folder, file), url: () => hub.address(file) }, hub.http);
  }
  return join(folder, choice.open);
}

export interface CachedModel {
  /** As `load()` and `--model` take it. */
  readonly reference: string;
  readonly path: string;
  /** Of all its files. */
  readonly bytes: number;
}

/** The models of the hub that are whole on this machine. */
export async function listCached(options: Pick<HubOptions, "home"> = {}): Promise<CachedModel[]> {
  const models: CachedModel[] = [];
  const root = join(options.home ?? millraceHome(), "models");
  for (const owner of await folders(root)) {
    for (const name of await folders(join(root, owner))) {
      for (const encoded of await folders(join(root, owner, name))) {
        const reference = { repo: `${owner}/${name}`, revision: decodeURIComponent(encoded) };
        models.push(...(await cachedOf(join(root, owner, name, encoded), reference)));
      }
    }
  }
  return models;
}

async function cachedOf(folder: string, reference: HubReference): Promise<CachedModel[]> {
  const listing = (await readListing(folder)) ?? [];
  const whole = tryChoose(reference, listing);
  const choices: [HubReference, HubChoice][] = whole?.open === "" ? [[reference, whole]] : [];
  for (const { path } of listing) {
    const named = { ...reference, selection: path };
    const choice = path.endsWith(".gguf") ? tryChoose(named, listing) : undefined;
    // Of a split model the first part stands for all.
    if (choice?.open === path) choices.push([named, choice]);
  }
  const models: CachedModel[] = [];
  for (const [named, choice] of choices) {
    if (!(await allComplete(folder, choice))) continue;
    const bytes = choice.files.reduce((sum, { size }) => sum + size, 0);
    models.push({ reference: formatHubReference(named), path: join(folder, choice.open), bytes });
  }
  return models;
}

/** The hub's side: listing and addresses, by @huggingface/hub over our own requests. */
async function connect(reference: HubReference, options: HubOptions) {
  const endpoint = (options.endpoint ?? nonEmpty(process.env["HF_ENDPOINT"]) ?? "https://huggingface.co").replace(
    /\/+$/,
    "",
  );
  if (!URL.canParse(endpoint))
    throw new NetworkError(`HF_ENDPOINT is "${endpoint}", expected an address such as https://huggingface.co`);
  const token = options.token ?? nonEmpty(process.env["HF_TOKEN"]);
  const http: DownloadOptions = { ...options, token, tokenOrigin: new URL(endpoint).origin };
  const { fileDownloadInfo, listFiles, InvalidApiResponseFormatError } = await import("@huggingface/hub");
  const { repo, revision } = reference;
  const what = formatHubReference(reference);

  let pages = 0;
  let left = MAX_LISTING_BYTES;
  // The token is added by `request` (the library would send its own to wherever it is redirected).
  const fetchHub: typeof fetch = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const headers = Object.fromEntries(new Headers(init?.headers));
    const response = await request(url, what, headers, http);
    if (headers["range"] !== undefined) {
      // The library asks for a file's first byte and never reads it.
      await response.body?.cancel();
      return response;
    }
    if (++pages > MAX_PAGES) throw new NetworkError(`${what}: the listing has more than ${MAX_PAGES} pages`);
    const body = await readBody(response, left, what, http);
    left -= body.byteLength;
    return new Response(body, { status: response.status, headers: response.headers });
  };
  // The library encodes neither a listing's revision nor a file's path.
  const common = { repo: { type: "model", name: repo } as const, hubUrl: endpoint, fetch: fetchHub };
  const encodedRevision = encodeURIComponent(revision);

  return {
    http,
    async list(): Promise<HubFile[]> {
      const files: HubFile[] = [];
      try {
        for await (const { type, path, size, oid, lfs } of listFiles({
          ...common,
          revision: encodedRevision,
          recursive: true,
        })) {
          if (type !== "file" || !isSafePath(path)) continue;
          const file = { path, size: lfs?.size ?? size, ...identityOf(oid, lfs?.oid) };
          const given = JSON.stringify(file.size);
          if (!isHubFile(file)) throw new NetworkError(`${what}: ${endpoint} lists ${path} with the size ${given}`);
          files.push(file);
        }
      } catch (error) {
        http.signal?.throwIfAborted();
        if (error instanceof NetworkError) throw error;
        throw new NetworkError(
          `${what}: ${endpoint} gives no listing: ${error instanceof Error ? error.message : String(error)}`,
          { cause: error },
        );
      }
      return files;
    },
    async address({ path }: HubFile): Promise<string> {
      const encodedPath = path.split("/").map(encodeURIComponent).join("/");
      const plain = `${endpoint}/${repo}/resolve/${encodedRevision}/${encodedPath}`;
      try {
        const info = await fileDownloadInfo({ ...common, revision, path: encodedPath });
        return info?.url ?? plain;
      } catch (error) {
        // Mirrors that don't know Range don't tell a file's size; we know it from the listing.
        if (error instanceof InvalidApiResponseFormatError) return plain;
        throw error;
      }
    },
  };
}

function folderOf({ repo, revision }: HubReference, options: HubOptions): string {
  return join(options.home ?? millraceHome(), "models", repo, encodeURIComponent(revision));
}

function placeOf(folder: string, { path }: HubFile): { target: string; work: string } {
  return { target: join(folder, path), work: join(folder, ".millrace", encodeURIComponent(path)) };
}

async function allComplete(folder: string, { files }: HubChoice): Promise<boolean> {
  for (const file of files) if (!(await isComplete({ file, ...placeOf(folder, file) }))) return false;
  return true;
}

function tryChoose(reference: HubReference, files: readonly HubFile[]): HubChoice | undefined {
  try {
    return chooseFiles(reference, files);
  } catch (error) {
    if (error instanceof ArtifactError) return undefined;
    throw error;
  }
}

async function readListing(folder: string): Promise<HubFile[] | undefined> {
  const text = await readNote(join(folder, ".millrace", "listing.json"), 2 * MAX_LISTING_BYTES);
  if (text === undefined) return undefined;
  try {
    const listing: unknown = JSON.parse(text);
    return Array.isArray(listing) && listing.every(isHubFile) ? listing : undefined;
  } catch {
    return undefined; // a listing is a cache: without it we ask again
  }
}

function isHubFile(value: unknown): value is HubFile {
  const { path, size } = Object(value) as Partial<HubFile>;
  return typeof path === "string" && isSafePath(path) && Number.isSafeInteger(size) && Number(size) >= 0;
}

/** What a listing says of a file's content, where it is of the form that we can check. */
function identityOf(oid: unknown, lfsOid: unknown): Pick<HubFile, "sha256" | "gitSha1"> {
  if (typeof lfsOid === "string" && /^[0-9a-f]{64}$/.test(lfsOid)) return { sha256: lfsOid };
  if (lfsOid === undefined && typeof oid === "string" && /^[0-9a-f]{40}$/.test(oid)) return { gitSha1: oid };
  return {};
}

async function writeListing(folder: string, files: readonly HubFile[]): Promise<void> {
  const path = join(folder, ".millrace", "listing.json");
  await makeFolder(join(folder, ".millrace"));
  const unfinished = `${path}.${randomUUID()}`;
  try {
    await writeFile(unfinished, JSON.stringify(files));
    await rename(unfinished, path);
  } catch (error) {
    throw diskError(path, error);
  }
}

async function folders(path: string): Promise<string[]> {
  const names = await readdir(path).catch(() => []);
  const found = await Promise.all(
    names.map((name) =>
      stat(join(path, name)).then(
        (s) => s.isDirectory(),
        () => false,
      ),
    ),
  );
  return names.filter((name, i) => found[i] === true && !name.startsWith(".") && isEncoded(name)).sort();
}

function isEncoded(name: string): boolean {
  try {
    return encodeURIComponent(decodeURIComponent(name)) === name;
  } catch {
    return false;
  }
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== "" && value !== "0" && value.toLowerCase() !== "false";
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}
