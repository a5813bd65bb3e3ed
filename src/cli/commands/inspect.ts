/** `millrace inspect`: what a model's files say, and the network that Millrace makes of them. Weights are read by --check. */
import type { MetaValue, ModelArtifact, Tensor } from "../../artifact/artifact.ts";
import { printGraph } from "../../graph/printer.ts";
import { adapterFacts, adapterText } from "../adapter-facts.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT, MODEL } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { switchFlag } from "../flags.ts";
import { checkLayers, checkWeights } from "../check-model.ts";
import { formatBytes } from "../progress.ts";
import { lowerModel, numericProfile, openFiles, openIfAdapter } from "../session.ts";
import { printable } from "../terminal.ts";

const { model, offline, context, kv, backend } = MODEL.flags;
const SHOW = {
  title: "Show",
  flags: {
    graph: switchFlag("the graph of one step, as the family builds it and as the backend runs it"),
    tensors: switchFlag("every tensor: format, shape, bytes"),
    check: switchFlag("read all weights and compute a token: is everything a finite number?"),
    json: JSON_OUTPUT,
  },
};

export const inspect = defineCommand({
  name: "inspect",
  summary: "show what a model, or an adapter, is made of",
  words: "[MODEL]",
  about:
    "Shows a model's architecture, size, formats, tokenizer and metadata; with --graph the network, one line an op, as " +
    "its family builds it and as the backend runs it (fused, and with what it rounds). Of the files only headers are " +
    "read, but with --check, which fails where a weight or a result is not a finite number. The profile names what " +
    "tokens depend on beside a request: backend, instruction set, KV type, kernel version.",
  groups: [SHOW, { title: "Model", flags: { model, offline, context, kv, backend } }],
  flags: { ...SHOW.flags, model, offline, context, kv, backend },
  examples: ["millrace inspect model.gguf", "millrace inspect model.gguf --graph"],
  async run({ values, words, terminal }) {
    const [word, ...more] = words;
    if (more.length > 0 || (word !== undefined && values.model !== undefined)) {
      throw new UsageError("one model is expected: a word, or --model");
    }
    const reference = { ...values, model: word ?? values.model };
    const adapter = await openIfAdapter(reference, terminal);
    if (adapter !== undefined) {
      await adapter.close();
      if (values.graph || values.check)
        throw new UsageError("an adapter has no graph, and nothing to compute, of its own");
      const facts = adapterFacts(adapter);
      if (values.json) terminal.writeJson(facts);
      else terminal.write(printable(adapterText(facts)));
      return;
    }
    const artifact = await openFiles(reference, terminal);
    try {
      if (values.check) {
        await checkWeights(artifact, terminal);
        await checkLayers(artifact, values, terminal);
      }
      const facts = {
        ...describe(artifact),
        ...(values.graph ? {} : await numericProfile(values, terminal)),
      };
      if (values.graph) {
        const { plain, graph } = await lowerModel(artifact, values, terminal);
        const [before, after] = [printGraph(plain), printGraph(graph)];
        if (values.json) terminal.writeJson({ ...facts, graph: { before, after } });
        else terminal.write(printable(`# as the family builds it\n${before}\n\n# as the backend runs it\n${after}\n`));
      } else if (values.json) {
        terminal.writeJson({ ...facts, tensors: [...artifact.tensors.values()].map(tensorFacts) });
      } else {
        const lines = [facts.name, ...rows(facts).map(([name, value]) => `${name.padEnd(16)}${value}`), "", "metadata"];
        for (const [key, value] of Object.entries(artifact.metadata)) lines.push(`  ${key} = ${shorten(value)}`);
        if (values.tensors) lines.push("", "tensors");
        if (values.tensors) for (const tensor of artifact.tensors.values()) lines.push(`  ${tensorLine(tensor)}`);
        terminal.write(printable(`${lines.join("\n")}\n`));
      }
    } finally {
      await artifact.close();
    }
  },
});

interface Facts {
  readonly name: string;
  readonly format: string;
  readonly architecture: string;
  readonly parameters: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  /** Weights by storage format. */
  readonly formats: Readonly<Record<string, number>>;
  readonly tensorCount: number;
  readonly tokenizer: string;
  readonly chatTemplate: boolean;
  readonly generation: ModelArtifact["generation"];
  readonly profile?: string | undefined;
  readonly made?: string | undefined;
}

function describe(artifact: ModelArtifact): Facts {
  const formats: Record<string, number> = {};
  let parameters = 0;
  let bytes = 0;
  for (const tensor of artifact.tensors.values()) {
    const count = tensor.shape.reduce((product, n) => product * n, 1);
    formats[tensor.dtype] = (formats[tensor.dtype] ?? 0) + count;
    parameters += count;
    bytes += tensor.byteLength;
  }
  return {
    name: artifact.name,
    format: artifact.config.format,
    architecture: artifact.config.architecture,
    parameters,
    bytes,
    bitsPerWeight: parameters === 0 ? 0 : (8 * bytes) / parameters,
    formats,
    tensorCount: artifact.tensors.size,
    tokenizer: tokenizerName(artifact),
    chatTemplate: artifact.chatTemplate !== undefined,
    generation: artifact.generation,
  };
}

function tokenizerName({ tokenizer }: ModelArtifact): string {
  if (tokenizer.format !== "gguf") return tokenizer.format === "hf" ? "tokenizer.json" : "tekken.json";
  const { "tokenizer.ggml.model": kind, "tokenizer.ggml.pre": pre } = tokenizer.metadata;
  return [kind, pre].filter((part) => typeof part === "string").join(", ");
}

function rows(facts: Facts): [string, string][] {
  const formats = Object.entries(facts.formats).sort(([, a], [, b]) => b - a);
  const generation = Object.entries(facts.generation).filter(([, value]) => value !== undefined);
  return [
    ["architecture", `${facts.architecture} (${facts.format})`],
    ["parameters", facts.parameters.toLocaleString("en")],
    [
      "weights",
      `${formatBytes(facts.bytes)}, ${facts.bitsPerWeight.toFixed(2)} bits each, ${facts.tensorCount} tensors`,
    ],
    ["formats", formats.map(([name, n]) => `${name} ${((100 * n) / facts.parameters).toFixed(1)} %`).join(", ")],
    ["tokenizer", facts.tokenizer],
    ["chat template", facts.chatTemplate ? "yes" : "no"],
    ["defaults", generation.length === 0 ? "none" : generation.map(([k, v]) => `${k} ${String(v)}`).join(", ")],
    ["profile", facts.profile ?? ""],
    ...(facts.made === undefined ? [] : [["runs on", facts.made] as [string, string]]),
  ];
}

function tensorFacts({
  name,
  dtype,
  shape,
  byteLength,
}: Tensor): Pick<Tensor, "name" | "dtype" | "shape" | "byteLength"> {
  return { name, dtype, shape, byteLength };
}

function tensorLine({ name, dtype, shape, byteLength }: Tensor): string {
  return `${name.padEnd(40)} ${dtype.padEnd(7)} [${shape.join(", ")}], ${formatBytes(byteLength)}`;
}

const LONGEST = 100;
const MOST_ITEMS = 8;
const DEEPEST = 4;

/** Metadata on one line: what is long or deep is cut, and long lists and texts say how long they are. */
function shorten(value: MetaValue | undefined, depth = 0): string {
  if (typeof value === "string") {
    const line = JSON.stringify(value.slice(0, LONGEST));
    return value.length <= LONGEST ? line : `${line.slice(0, -1)}… (${value.length} characters)`;
  }
  if (typeof value !== "object" || value === null) return String(value);
  if (depth === DEEPEST) return "…";
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const first = Array.prototype.slice.call(value, 0, MOST_ITEMS) as MetaValue[];
    const more = value.length > MOST_ITEMS ? `, … (${value.length} values)` : "";
    return `[${first.map((item) => shorten(item, depth + 1)).join(", ")}${more}]`;
  }
  const entries = Object.entries(value);
  const first = entries.slice(0, MOST_ITEMS).map(([key, item]) => `${shorten(key)}: ${shorten(item, depth + 1)}`);
  return `{${first.join(", ")}${entries.length > MOST_ITEMS ? `, … (${entries.length} fields)` : ""}}`;
}
