/**
 * Packed weights on disk: what an upload made of a model's files, so that the next one maps it instead of reading and
 * packing again, and processes share its memory. A file is MILLRACE_HOME/packed/KEY.packed; the key names all that the bytes
 * depend on (weights.ts makes it). It appears whole, by renaming, and is never written to again; two that write the same
 * one do no harm. Nothing here may make a load fail: a file that isn't what was written is removed, and a cache that can't
 * be written is none.
 *
 * Layout: magic, length and SHA-256 of the header (JSON), the header; from 64 KiB on the weights as they lie in memory; then
 * eight bytes of checksum for every 4 MiB of them, which the threads compare when the file is mapped (native/cpu/checksum.h).
 */
import { createHash, randomUUID } from "node:crypto";
import { type FileHandle, open, readdir, rename, rm, stat, statfs, utimes } from "node:fs/promises";
import { join } from "node:path";

import { makeFolder, millraceHome } from "../../artifact/node-home.ts";

/** Smaller ones are packed as fast as they are mapped. */
export const LEAST_PACKED = 16 * 2 ** 20;
/** The cache's share of the disk that would be free without it. */
const DISK_SHARE = 0.1;
const STALE_MS = 3_600_000;
const MAGIC = "MLRPACK1";
const HEADER_BYTES = 65_536;
const HEADER_START = 8 + 4 + 32;
const PIECE = 4 * 2 ** 20;

interface Header {
  readonly key: string;
  /** Of the weights. */
  readonly bytes: number;
  /** SHA-256 of the checksums. */
  readonly sums: string;
  /** For people. */
  readonly model: string;
}

/** Packed weights to be mapped from `offset` on. */
export interface PackedFile {
  readonly fd: number;
  readonly offset: number;
  readonly sums: Uint8Array;
  close(): Promise<void>;
}

export interface PackedEntry {
  readonly path: string;
  /** Undefined: the file is damaged. */
  readonly model: string | undefined;
  readonly bytes: number;
  readonly lastUsed: Date;
}

export function packedFolder(): string {
  return join(millraceHome(), "packed");
}

function pathOf(key: string): string {
  return join(packedFolder(), `${key}.packed`);
}

/** The file of these weights, whole as far as its header and length tell; a damaged one is removed. */
export async function openPacked(key: string, bytes: number): Promise<PackedFile | undefined> {
  const path = pathOf(key);
  const file = await open(path, "r").catch(() => undefined);
  if (file === undefined) return undefined;
  try {
    const header = await readHeader(file);
    const end = sumsStart(bytes);
    const sums = new Uint8Array(8 * Math.ceil(bytes / PIECE));
    const { size } = await file.stat();
    const isWhole = header?.key === key && header.bytes === bytes && size === end + sums.byteLength;
    if (isWhole && (await file.read(sums, 0, sums.byteLength, end)).bytesRead === sums.byteLength) {
      if (sha256(sums).toString("hex") === header.sums) {
        const now = new Date();
        await utimes(path, now, now).catch(() => undefined);
        return { fd: file.fd, offset: HEADER_BYTES, sums, close: () => file.close() };
      }
    }
  } catch {
    // A disk that can't be read: as if the file were damaged.
  }
  await file.close();
  await removePacked(key);
  return undefined;
}

export async function removePacked(key: string): Promise<void> {
  await rm(pathOf(key), { force: true }).catch(() => undefined);
}

/**
 * Writes weights by `writePiece`, which gives a piece's checksum (undefined: there is no such piece any more), unless the disk
 * has no room. True: they are there now.
 */
export async function writePacked(
  { key, bytes, model }: { readonly key: string; readonly bytes: number; readonly model: string },
  writePiece: (piece: number, fd: number, offset: number) => Promise<bigint> | undefined,
): Promise<boolean> {
  const temporary = join(packedFolder(), `${key}.${randomUUID()}.tmp`);
  let file: FileHandle | undefined;
  try {
    await makeFolder(packedFolder());
    if (!(await makeRoom(bytes))) return false;
    file = await open(temporary, "wx", 0o600);
    const sums = new BigUint64Array(Math.ceil(bytes / PIECE));
    for (let piece = 0; ; piece++) {
      const sum = await writePiece(piece, file.fd, HEADER_BYTES);
      if (sum === undefined) break;
      sums[piece] = sum;
    }
    const sumBytes = new Uint8Array(sums.buffer);
    await file.write(sumBytes, 0, sumBytes.byteLength, sumsStart(bytes));
    await writeHeader(file, { key, bytes, sums: sha256(sumBytes).toString("hex"), model });
    await file.close();
    file = undefined;
    await rename(temporary, pathOf(key));
    return true;
  } catch {
    await file?.close().catch(() => undefined);
    await rm(temporary, { force: true }).catch(() => undefined);
    return false;
  }
}

/** What is there, the latest used first. */
export async function listPacked(): Promise<PackedEntry[]> {
  const entries: PackedEntry[] = [];
  for (const name of await readdir(packedFolder()).catch(() => [])) {
    if (!name.endsWith(".packed")) continue;
    const path = join(packedFolder(), name);
    const info = await stat(path).catch(() => undefined);
    if (info === undefined) continue;
    const file = await open(path, "r").catch(() => undefined);
    const header = file === undefined ? undefined : await readHeader(file).catch(() => undefined);
    await file?.close();
    entries.push({ path, model: header?.model, bytes: info.size, lastUsed: info.mtime });
  }
  return entries.sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime());
}

/** Removes all of it; gives the bytes. Who has mapped a file keeps it. Rejects where one can't be removed. */
export async function clearPacked(): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(packedFolder()).catch(() => [])) {
    const path = join(packedFolder(), name);
    bytes += await stat(path).then(
      ({ size }) => size,
      () => 0,
    );
    await rm(path, { force: true });
  }
  return bytes;
}

/** Removes those that were used longest ago until `bytes` more fit into the cache's share of the disk. */
async function makeRoom(bytes: number): Promise<boolean> {
  const folder = packedFolder();
  for (const name of await readdir(folder)) {
    if (!name.endsWith(".tmp")) continue;
    // Of a process that died.
    const info = await stat(join(folder, name)).catch(() => undefined);
    if (info !== undefined && Date.now() - info.mtimeMs > STALE_MS) await rm(join(folder, name), { force: true });
  }
  const entries = await listPacked();
  let used = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  const { bavail, bsize } = await statfs(folder);
  const budget = DISK_SHARE * (bavail * bsize + used);
  if (bytes > budget) return false;
  for (const entry of entries.reverse()) {
    if (used + bytes <= budget) break;
    await rm(entry.path, { force: true });
    used -= entry.bytes;
  }
  return true;
}

function sumsStart(bytes: number): number {
  return HEADER_BYTES + Math.ceil(bytes / 8) * 8;
}

async function writeHeader(file: FileHandle, header: Header): Promise<void> {
  const text = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(HEADER_BYTES);
  head.write(MAGIC);
  head.writeUInt32LE(text.length, 8);
  sha256(text).copy(head, 12);
  text.copy(head, HEADER_START);
  await file.write(head, 0, head.length, 0);
}

async function readHeader(file: FileHandle): Promise<Header | undefined> {
  const head = Buffer.alloc(HEADER_BYTES);
  const { bytesRead } = await file.read(head, 0, head.length, 0);
  if (bytesRead < HEADER_BYTES || head.toString("latin1", 0, 8) !== MAGIC) return undefined;
  const length = head.readUInt32LE(8);
  if (length > HEADER_BYTES - HEADER_START) return undefined;
  const text = head.subarray(HEADER_START, HEADER_START + length);
  if (!sha256(text).equals(head.subarray(12, HEADER_START))) return undefined;
  const header: unknown = JSON.parse(text.toString());
  return isHeader(header) ? header : undefined;
}

function isHeader(value: unknown): value is Header {
  if (typeof value !== "object" || value === null) return false;
  const { key, bytes, sums, model } = value as Partial<Record<keyof Header, unknown>>;
  return [key, sums, model].every((text) => typeof text === "string") && typeof bytes === "number";
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
