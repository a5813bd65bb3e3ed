/**
 * A lock between processes, as a file: whoever creates it holds it, touches it every second, and removes it. Used where
 * two processes may do the same lasting work at once (pull a model, compile the addon). A holder that died (its process
 * is gone, or it hasn't touched the file for half a minute) is robbed of it.
 */
import { randomUUID } from "node:crypto";
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

const TOUCH_MS = 1_000;
const POLL_MS = 100;
const STALE_MS = 30_000;

export interface LockOptions {
  /** Gives up waiting (rejects with the signal's reason); work that has begun isn't touched. */
  readonly signal?: AbortSignal | undefined;
  /** Called once, when another process holds the lock and we begin to wait; `holder` is its process id as written. */
  readonly onWait?: ((holder: string) => void) | undefined;
}

/** Runs `work` while holding the lock file `path`; makes its folder where missing. */
export async function withLock<T>(path: string, work: () => Promise<T>, options: LockOptions = {}): Promise<T> {
  const token = `${process.pid} ${hostname()} ${randomUUID()}`;
  await mkdir(dirname(path), { recursive: true });
  await acquire(path, token, options);
  const touch = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, TOUCH_MS);
  touch.unref();
  try {
    return await work();
  } finally {
    clearInterval(touch);
    if ((await contents(path)) === token) await rm(path, { force: true });
  }
}

async function acquire(path: string, token: string, options: LockOptions): Promise<void> {
  let told = false;
  for (;;) {
    options.signal?.throwIfAborted();
    try {
      await writeFile(path, token, { flag: "wx" });
      return;
    } catch (error) {
      if (!isCode(error, "EEXIST")) throw error;
    }
    const holder = await contents(path);
    if (holder === undefined) continue; // released between the two calls
    if (await isStale(path, holder)) {
      await rob(path, holder);
      continue;
    }
    if (!told) options.onWait?.(holder.split(" ")[0] ?? "");
    told = true;
    await sleep(POLL_MS, undefined, { signal: options.signal });
  }
}

async function isStale(path: string, holder: string): Promise<boolean> {
  const [pid, host] = holder.split(" ");
  if (host === hostname() && !isAlive(Number(pid))) return true;
  const age = await stat(path).then(
    (s) => Date.now() - s.mtimeMs,
    () => 0,
  );
  return age > STALE_MS;
}

/** Two waiters may see the same stale lock; the rename lets one have it, and a fresh lock caught by it is put back. */
async function rob(path: string, holder: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (isCode(error, "ENOENT")) return;
    throw error;
  }
  if ((await contents(aside)) !== holder) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isCode(error, "EPERM");
  }
}

async function contents(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
