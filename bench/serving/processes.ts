/** The processes of a benchmark of serving: servers by setting, and the one that plays their clients. */
import { type ChildProcess, execFileSync, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { LlmInfo } from "../../src/engine/llm.ts";
import type { Outcome, Planned } from "./load.ts";
import type { HostSetting } from "./millrace-host.ts";

const HERE = import.meta.dirname;

export interface Host {
  readonly url: string;
  readonly pid: number;
  /** Of ours. */
  readonly info: LlmInfo | undefined;
  stop(): Promise<void>;
}

export async function startMillrace(setting: HostSetting): Promise<Host> {
  return start(path.join(HERE, "millrace-host.ts"), setting);
}

export async function startNodeLlamaCpp(setting: HostSetting): Promise<Host> {
  const bench = path.dirname(HERE);
  if (!existsSync(path.join(bench, "node_modules"))) execFileSync("npm", ["ci"], { cwd: bench, stdio: "inherit" });
  return start(path.join(HERE, "node-llama-cpp-host.ts"), setting);
}

/** llama.cpp's own server, by its binary. */
export async function startLlamaServer(
  binary: string,
  { model, threads = 2, context, maxSequences }: HostSetting,
): Promise<Host> {
  const port = 18_000 + (process.pid % 2000);
  const sizes = ["-c", String(context), "-np", String(maxSequences), "-t", String(threads)];
  const child = spawn(binary, ["-m", model, "--port", String(port), ...sizes, "--no-webui"], { stdio: "ignore" });
  const url = `http://127.0.0.1:${port}`;
  for (let i = 0; i < 300; i++) {
    if (
      await fetch(`${url}/health`).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      return hostOf(child, url, undefined);
    if (child.exitCode !== null) break;
    await sleep(200);
  }
  child.kill();
  throw new Error(`${binary} doesn't serve`);
}

async function start(file: string, setting: HostSetting): Promise<Host> {
  const child = fork(file, [JSON.stringify(setting)], { execArgv: ["--no-warnings"] });
  const [told] = (await Promise.race([
    once(child, "message"),
    once(child, "exit").then(([code]) =>
      Promise.reject(new Error(`${path.basename(file)} ended with ${String(code)}`)),
    ),
  ])) as [{ port: number; info?: LlmInfo }];
  return hostOf(child, `http://127.0.0.1:${told.port}`, told.info);
}

function hostOf(child: ChildProcess, url: string, info: LlmInfo | undefined): Host {
  return {
    url,
    pid: child.pid ?? 0,
    info,
    async stop() {
      if (child.exitCode !== null) return;
      const exit = once(child, "exit");
      if (child.connected) child.disconnect();
      else child.kill();
      await exit;
    },
  };
}

export interface Clients {
  run(url: string, requests: readonly Planned[]): Promise<readonly Outcome[]>;
  stop(): void;
}

export function startClients(): Clients {
  const child = fork(path.join(HERE, "client.ts"), { execArgv: ["--no-warnings"] });
  return {
    async run(url, requests) {
      child.send({ url, model: "model", requests });
      const [outcomes] = (await once(child, "message")) as [readonly Outcome[]];
      return outcomes;
    },
    stop: () => child.disconnect(),
  };
}
