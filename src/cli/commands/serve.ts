/** `millrace serve`: models behind HTTP, until it is told to stop. */
import { readFileSync } from "node:fs";
import process from "node:process";

import { LIMITS } from "../../decode/limits.ts";
import type { Llm } from "../../engine/llm.ts";
import { type ApiKey, parseKeyFile } from "../../server/api-keys.ts";
import { createLog } from "../../server/log.ts";
import type { Server } from "../../server/server.ts";
import { namedReference } from "../adapter-flags.ts";
import { defineCommand } from "../command.ts";
import { DRAFTS, MODEL } from "../common-flags.ts";
import { EXIT, UsageError } from "../exit.ts";
import { choiceFlag, limitFlag, listFlag, switchFlag, textFlag, wholeFlag } from "../flags.ts";
import { loadModel, speculationOf } from "../session.ts";
import type { Terminal } from "../terminal.ts";

const MODELS = {
  title: "Models",
  flags: {
    ...MODEL.flags,
    model: listFlag(
      "[NAME=]REF",
      "a model and the name that requests use; may be repeated; default: the built-in model",
    ),
    "max-sequences": limitFlag("maxSequences", "answers that are computed at once; default 32"),
    lazy: switchFlag("load each model when it is first asked for"),
    "idle-minutes": wholeFlag(1, "with --lazy: close a model that nobody has asked for so long", 100_000),
    "memory-mib": wholeFlag(
      1,
      "with --lazy: weights and KV memory of all loaded models, in MiB",
      LIMITS.kvBytes.high / 2 ** 20,
    ),
    "step-tokens": limitFlag("stepTokens", "tokens that one step computes at most; default 512"),
    "chunk-tokens": limitFlag("chunkTokens", "tokens of prompts in a step in which answers go on; default 64"),
    admission: choiceFlag(
      ["peak", "reserve", "optimistic"],
      "who starts beside others: whom memory suffices for at their peak (default), to the last token of all, or for now",
    ),
    "one-thread": switchFlag(
      "compute in the thread that speaks HTTP: less memory, but a long text or a slow client of much work holds answers up",
    ),
    "kv-mib": wholeFlag(1, "memory for keys and values of each model, in MiB", LIMITS.kvBytes.high / 2 ** 20),
    "swap-mib": wholeFlag(
      0,
      "memory for keys and values that gave way and may come back, of each model, in MiB; default 0",
      LIMITS.swapBytes.high / 2 ** 20,
    ),
    adapter: listFlag(
      "[MODEL:]NAME=REF",
      "a LoRA adapter, which requests name as the model MODEL:NAME; may be repeated; MODEL may be left out where there is one",
    ),
    "adapter-mib": wholeFlag(
      1,
      "memory for the adapters of each model, in MiB; default 1024",
      LIMITS.adapterBytes.high / 2 ** 20,
    ),
    ...DRAFTS.flags,
  },
};

const SERVER = {
  title: "Server",
  flags: {
    host: textFlag("ADDRESS", "where to listen; default 127.0.0.1: this machine alone"),
    port: wholeFlag(0, "default 8080; 0 draws one", 65_535),
    "api-key": listFlag("KEY", "who may use it; may be repeated; MILLRACE_API_KEY does the same unseen"),
    "api-keys": textFlag("FILE", "a file of keys, one a line: NAME:KEY or KEY"),
    cors: listFlag("ORIGIN", 'pages of this origin may call it; "*": all'),
    "allowed-host": listFlag("NAME", "a host name beside localhost, while there are no keys"),
    "max-queue": wholeFlag(0, "answers that may wait for each model; default 256"),
    "max-body-mib": wholeFlag(1, "the largest request, in MiB; default 8", 1024),
  },
};

export const serve = defineCommand({
  name: "serve",
  summary: "serve models over HTTP, by OpenAI's and Anthropic's APIs",
  words: "",
  about:
    "Serves models by OpenAI's and Anthropic's APIs. Requests that come at the same time share batches, and each gets what " +
    "it would have got alone. Ctrl-C lets what is under way end; a second one doesn't.",
  groups: [MODELS, SERVER],
  flags: { ...MODELS.flags, ...SERVER.flags },
  examples: [
    "millrace serve",
    "millrace serve --model small=hf:HuggingFaceTB/SmolLM2-135M-Instruct-GGUF:Q8_0 --port 8000",
    "millrace serve --model base=model.gguf --adapter support=lora/support --adapter sql=hf:owner/sql-lora",
    "millrace serve --host 0.0.0.0 --api-keys keys.txt --cors https://chat.example",
  ],
  async run({ values, terminal }) {
    const apiKeys = readKeys(values["api-key"], values["api-keys"]);
    const engine = {
      maxSequences: values["max-sequences"],
      stepTokens: values["step-tokens"],
      speculation: speculationOf(values),
      chunkTokens: values["chunk-tokens"],
      admission: values.admission,
      kvBytes: bytesOf(values["kv-mib"]),
      swapBytes: bytesOf(values["swap-mib"]),
      thread: !values["one-thread"],
    };
    const models = new Map<string, Llm>();
    const lazyModels = new Map<string, () => Promise<Llm>>();
    try {
      const named = namedModels(values.model);
      const adapters = adaptersByModel(
        values.adapter,
        named.map(([name]) => name),
      );
      for (const [name, model] of named) {
        const own = adapters.get(name);
        const room = own === undefined ? {} : { adapters: own, adapterBytes: bytesOf(values["adapter-mib"]) };
        const open = (): Promise<Llm> => loadModel({ ...values, model }, terminal, { ...engine, ...room });
        if (values.lazy) lazyModels.set(name, open);
        else models.set(name, await open());
      }
      const maxBodyMib = values["max-body-mib"];
      const maxQueue = values["max-queue"];
      // Only this command pays for loading the server.
      const { createServer } = await import("../../server/server.ts");
      const server = createServer({
        models,
        lazyModels,
        idleMs: values["idle-minutes"] === undefined ? undefined : values["idle-minutes"] * 60_000,
        memoryBytes: bytesOf(values["memory-mib"]),
        apiKeys,
        cors: values.cors,
        allowedHosts: values["allowed-host"],
        ...(maxQueue === undefined ? {} : { maxQueue }),
        ...(maxBodyMib === undefined ? {} : { maxBodyBytes: maxBodyMib * 2 ** 20 }),
        log: createLog((line) => terminal.note(line), terminal.notesAreSeen),
      });
      const host = values.host ?? "127.0.0.1";
      const port = await server.listen(values.port ?? 8080, host);
      const shown = host.includes(":") ? `[${host}]` : host;
      const names = [...models].flatMap(([name, llm]) => [name, ...llm.adapters().map((one) => `${name}:${one.name}`)]);
      terminal.note(`millrace: serving ${names.join(", ")} at http://${shown}:${port}`);
      if (apiKeys.length === 0 && !/^(127\.|localhost$|::1$)/.test(host)) {
        terminal.note("millrace: anybody who reaches this address may use it; --api-keys names who may");
      }
      await untilStopped(server, terminal);
    } finally {
      for (const llm of models.values()) await llm.close();
    }
  },
});

/** The first signal drains, the second ends everything. */
async function untilStopped(server: Server, terminal: Terminal): Promise<void> {
  let stop: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => (stop = resolve));
  let signals = 0;
  await terminal.withStop(
    () => {
      signals += 1;
      if (signals > 1) process.exit(EXIT.interrupted);
      terminal.note("millrace: no new work; what is under way ends (once more: at once)");
      stop();
    },
    async () => {
      await stopped;
      await server.drain();
    },
  );
}

function namedModels(given: readonly string[]): [string, string | undefined][] {
  if (given.length === 0) return [["brook", undefined]];
  const named = given.map((text): [string, string] => {
    const { name, reference } = namedReference(text);
    return [name, reference];
  });
  const names = new Set(named.map(([name]) => name));
  if (names.size < named.length)
    throw new UsageError("two models have the same name; give them others: --model NAME=REF");
  return named;
}

/** Each model's adapters by their names. */
function adaptersByModel(given: readonly string[], models: readonly string[]): Map<string, Record<string, string>> {
  const found = new Map<string, Record<string, string>>();
  for (const text of given) {
    const [, prefix, rest = text] = /^([\w.-]+):([\w.-]+=.+)$/.exec(text) ?? [];
    const [model, ...others] = prefix === undefined ? models : models.filter((name) => name === prefix);
    if (model === undefined) throw new UsageError(`--adapter ${text}: there is no model "${prefix}"`);
    if (others.length > 0) throw new UsageError(`--adapter ${text}: say of which model it is: MODEL:NAME=REF`);
    const { name, reference } = namedReference(rest);
    const own = found.get(model) ?? {};
    if (Object.hasOwn(own, name)) throw new UsageError(`two adapters of ${model} are called "${name}"`);
    own[name] = reference;
    found.set(model, own);
  }
  return found;
}

function bytesOf(mib: number | undefined): number | undefined {
  return mib === undefined ? undefined : mib * 2 ** 20;
}

function readKeys(given: readonly string[], file: string | undefined): ApiKey[] {
  const fromEnvironment = process.env["MILLRACE_API_KEY"];
  const words = fromEnvironment === undefined || fromEnvironment === "" ? given : [...given, fromEnvironment];
  const keys = words.map((key, i) => ({ name: words.length === 1 ? "default" : `key ${i + 1}`, key }));
  return file === undefined ? keys : [...keys, ...parseKeyFile(readFileSync(file, "utf8"))];
}
