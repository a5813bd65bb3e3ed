/**
 * A lock between processes, as a file: whoever creates it holds it, touches it every second, and removes it. Used where
 * two processes may do the same lasting work at once (pull a model, compile the addon). A holder that died (its process
 * is gone, or it hasn't touched the file for half a minute) is robbed of it.
 */
import { randomUUID } from "node:crypto";
import { lstat, rm, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { readNote } from "./node-file.ts";
import { diskError, makeFolder } from "./node-home.ts";

const TOUCH_MS = 1_000;
const POLL_MS = 200;
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
  await makeFolder(dirname(path));
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
    if ((await readNote(path)) === token) await rm(path, { force: true });
  }
}

async function acquire(path: string, token: string, options: LockOptions): Promise<void> {
  let told = false;
  for (let unread = 0; ;) {
    options.signal?.throwIfAborted();
    try {
      await writeFile(path, token, { flag: "wx" });
      return;
    } catch (error) {
      if (!isCode(error, "EEXIST")) throw diskError(path, error);
    }
    const holder = await readNote(path);
    if (holder === undefined) {
      // Released between the two calls; but what stays unreadable is no lock.
      if (++unread > 10) throw diskError(path, new Error("what stands there is no lock of Millrace's; delete it"));
    } else {
      unread = 0;
      if (await isStale(path, holder)) {
        await rob(path, holder);
        continue;
      }
      if (!told) options.onWait?.(holder.split(" ")[0] ?? "");
      told = true;
    }
    await sleep(POLL_MS, undefined, { signal: options.signal }).catch((error: unknown) => {
      options.signal?.throwIfAborted();
      throw error;
    });
  }
}

async function isStale(path: string, holder: string): Promise<boolean> {
  const [pid, host] = holder.split(" ");
  if (host === hostname() && !isAlive(Number(pid))) return true;
  return (await ageOf(path)) > STALE_MS;
}

/**
 * Removes a stale lock. Several waiters may see it: who holds the guard looks again, and nobody else removes a lock that
 * isn't his own, so that none catches a fresh one.
 */
async function rob(path: string, holder: string): Promise<void> {
  const guard = `${path}.robbed`;
  try {
    await writeFile(guard, "", { flag: "wx" });
  } catch (error) {
    if (!isCode(error, "EEXIST")) throw diskError(path, error);
    // Robbing takes no time: a guard that lasts was left by a process that died.
    if ((await ageOf(guard)) > STALE_MS) await rm(guard, { force: true });
    await sleep(POLL_MS);
    return;
  }
  try {
    if ((await readNote(path)) === holder) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

/** Milliseconds since somebody touched it; 0 where it is gone. */
async function ageOf(path: string): Promise<number> {
  return lstat(path).then(
    (s) => Date.now() - s.mtimeMs,
    () => 0,
  );
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

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
