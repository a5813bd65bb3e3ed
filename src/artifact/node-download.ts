/**
 * Fetches one file so that it is whole or not there: into a part file, from where an earlier try broke off (Range with
 * If-Range), hashed on the way, renamed when its hash is right. A lock lets two processes ask for the same file at once:
 * one fetches, the other waits and finds it.
 */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { NetworkError } from "../errors.ts";
import type { HubFile } from "./hub-reference.ts";
import { readNote } from "./node-file.ts";
import { diskError, makeFolder } from "./node-home.ts";
import { pause, request, withTimeout, type HttpOptions } from "./node-http.ts";
import { withLock } from "./node-lock.ts";

export interface Progress {
  /** As the repository names it. */
  readonly file: string;
  /** Bytes so far, those of earlier tries included. */
  readonly loaded: number;
  readonly total: number;
}

export interface DownloadOptions extends HttpOptions {
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Called when another process (its id) fetches the same file and we wait for it. */
  readonly onWait?: ((file: string, holder: string) => void) | undefined;
}

export interface DownloadJob {
  readonly file: HubFile;
  /** Where the file appears when it is whole. */
  readonly target: string;
  /** Beginning of the names of our own files for this one: .part, .part.json, .json, .lock. */
  readonly work: string;
  /** Finds the address, when it turns out to be needed. */
  readonly url: () => Promise<string>;
}

/** Makes sure that the file is there, whole and right. */
export async function download(job: DownloadJob, options: DownloadOptions): Promise<void> {
  if (await isComplete(job)) return;
  await makeFolder(dirname(job.target));
  const { onWait } = options;
  await withLock(
    `${job.work}.lock`,
    async () => {
      if (await isComplete(job)) return;
      await fetchWhole(job, options);
    },
    { signal: options.signal, ...(onWait && { onWait: (holder: string) => onWait(job.file.path, holder) }) },
  );
}

/** Whether the file is there as this listing has it. */
export async function isComplete({ file, target, work }: Omit<DownloadJob, "url">): Promise<boolean> {
  const [size, identity] = await Promise.all([sizeOf(target), readNote(`${work}.json`)]);
  return size === file.size && identity === identityOf(file);
}

/** What tells this content from another under the same name. */
function identityOf({ size, sha256, gitSha1 }: HubFile): string {
  return JSON.stringify({ size, sha256: sha256 ?? null, gitSha1: gitSha1 ?? null });
}

interface Part {
  readonly path: string;
  /** Bytes in the part file. */
  size: number;
  /** Of those bytes. */
  hash: Hash;
  /** The server's mark of the content they belong to. */
  etag: string | null;
}

async function fetchWhole(job: DownloadJob, options: DownloadOptions): Promise<void> {
  const { file, target, work } = job;
  const url = await job.url();
  const part = await openPart(job);
  if (file.size === 0) await onDisk(part.path, writeFile(part.path, ""));
  let wrong = 0;
  let idle = 0;
  /** Only bytes that no try had before are progress: a server may send the beginning again and again. */
  let furthest = part.size;
  while (true) {
    const fault = part.size === file.size ? undefined : await fetchRest(url, part, job, options);
    options.signal?.throwIfAborted();
    if (part.size === file.size) {
      if (isRight(part, file)) break;
      await restart(part, job);
      // Once may be a part left by something else; twice is the server.
      if (++wrong > 1)
        throw new NetworkError(
          `${file.path}: ${new URL(url).host} sends wrong bytes (their hash isn't the one it lists)`,
        );
      continue;
    }
    idle = part.size > furthest ? 0 : idle + 1;
    furthest = Math.max(furthest, part.size);
    if (idle > (options.retries ?? 5)) {
      throw new NetworkError(
        `${file.path}: the transfer from ${new URL(url).host} breaks off at ${part.size} of ${file.size} bytes` +
          `${fault === undefined ? "" : ` (${fault})`}; what is there is kept, pull again to go on`,
      );
    }
    await pause(idle, options);
  }
  const finish = async (): Promise<void> => {
    const handle = await open(part.path, "r+");
    await handle.sync();
    await handle.close();
    await rename(part.path, target);
    await writeFile(`${work}.json`, identityOf(file));
    await rm(`${work}.part.json`, { force: true });
  };
  await onDisk(target, finish());
}

async function onDisk<T>(path: string, work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw diskError(path, error);
  });
}

/** The part of an earlier try, if it belongs to the same content. */
async function openPart({ file, work }: DownloadJob): Promise<Part> {
  const path = `${work}.part`;
  const note = await readNote(`${work}.part.json`);
  const [identity, etag] = note?.split("\n") ?? [];
  const size = await sizeOf(path);
  const part: Part = { path, size: 0, hash: startHash(file), etag: null };
  if (size === undefined || size > file.size || identity !== identityOf(file)) return part;
  for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) part.hash.update(chunk);
  part.size = size;
  part.etag = etag === undefined || etag === "" ? null : etag;
  return part;
}

async function restart(part: Part, { file, work }: DownloadJob): Promise<void> {
  await rm(part.path, { force: true });
  await rm(`${work}.part.json`, { force: true });
  part.size = 0;
  part.hash = startHash(file);
  part.etag = null;
}

/** One request for what is missing. Returns what broke it off, if anything did. */
async function fetchRest(
  url: string,
  part: Part,
  job: DownloadJob,
  options: DownloadOptions,
): Promise<string | undefined> {
  const { file, work } = job;
  const resumable = part.size > 0 && (part.etag !== null || file.sha256 !== undefined || file.gitSha1 !== undefined);
  if (!resumable && part.size > 0) await restart(part, job);
  const headers = {
    ...(resumable && { range: `bytes=${part.size}-` }),
    ...(resumable && part.etag !== null && { "if-range": part.etag }),
  };
  const response = await request(url, file.path, headers, options, [416]);
  if (response.status === 416 || (response.status === 206 && !continues(response, part, file))) {
    await response.body?.cancel();
    await restart(part, job);
    return "the server doesn't continue it";
  }
  // A plain 200 is the whole file: Range was ignored, or the content is another than before.
  if (response.status !== 206 && part.size > 0) await restart(part, job);

  const etag = response.headers.get("etag");
  part.etag = etag !== null && !etag.startsWith("W/") && !/[\r\n]/.test(etag) ? etag : null;
  await onDisk(part.path, writeFile(`${work}.part.json`, `${identityOf(file)}\n${part.etag ?? ""}`));
  return receive(response, part, file, options);
}

function continues(response: Response, part: Part, file: HubFile): boolean {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
  return Number(match?.[1]) === part.size && (match?.[3] === "*" || Number(match?.[3]) === file.size);
}

async function receive(
  response: Response,
  part: Part,
  file: HubFile,
  options: DownloadOptions,
): Promise<string | undefined> {
  const reader = response.body?.getReader();
  if (reader === undefined) return "an empty answer";
  const handle = await onDisk(part.path, open(part.path, part.size > 0 ? "r+" : "w"));
  const report = () => options.onProgress?.({ file: file.path, loaded: part.size, total: file.size });
  try {
    report();
    while (true) {
      const chunk = await withTimeout(reader.read(), options);
      if (chunk.done) break;
      if (part.size + chunk.value.byteLength > file.size) return `more than the ${file.size} bytes that it lists`;
      for (let done = 0; done < chunk.value.byteLength;) {
        const { bytesWritten } = await handle.write(chunk.value, done, undefined, part.size + done);
        done += bytesWritten;
      }
      part.hash.update(chunk.value);
      part.size += chunk.value.byteLength;
      report();
    }
    return undefined;
  } catch (error) {
    if (isDiskFault(error)) throw diskError(part.path, error);
    return error instanceof Error ? error.message : String(error);
  } finally {
    await reader.cancel().catch(() => undefined);
    await handle.close();
  }
}

/** Errors of our own side (no space, no permission) aren't the network's. */
function isDiskFault(error: unknown): boolean {
  return error instanceof Error && "syscall" in error && error.syscall === "write";
}

function startHash(file: HubFile): Hash {
  if (file.sha256 !== undefined || file.gitSha1 === undefined) return createHash("sha256");
  return createHash("sha1").update(`blob ${file.size}\0`);
}

function isRight(part: Part, { sha256, gitSha1 }: HubFile): boolean {
  const expected = sha256 ?? gitSha1;
  return expected === undefined || part.hash.copy().digest("hex") === expected;
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    (s) => (s.isFile() ? s.size : undefined),
    () => undefined,
  );
}
