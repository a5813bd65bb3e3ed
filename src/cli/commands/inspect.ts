/** `millrace inspect`: what a model's files say, and the network that Millrace makes of them. No weights are read. */
import type { MetaValue, ModelArtifact, Tensor } from "../../artifact/artifact.ts";
import { optimize } from "../../graph/passes.ts";
import { printGraph } from "../../graph/printer.ts";
import { modelContext, modelGraph } from "../../models/models.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT, MODEL } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { switchFlag } from "../flags.ts";
import { formatBytes } from "../progress.ts";
import { numericProfile, openModelFiles } from "../session.ts";
import { printable } from "../terminal.ts";

const { model, offline, context, kv, backend } = MODEL.flags;
const SHOW = {
  title: "Show",
  flags: {
    graph: switchFlag("the graph of one step, before and after the passes"),
    tensors: switchFlag("every tensor: format, shape, bytes"),
    json: JSON_OUTPUT,
  },
};

export const inspect = defineCommand({
  name: "inspect",
  summary: "show what a model is made of",
  words: "[MODEL]",
  about:
    "Shows a model's architecture, size, formats, tokenizer and metadata; with --graph the network, one line an op, as " +
    "its family builds it and as the passes leave it to a backend. Of the files only headers are read. The profile names " +
    "what tokens depend on beside a request: backend, instruction set, KV type, kernel version.",
  groups: [SHOW, { title: "Model", flags: { model, offline, context, kv, backend } }],
  flags: { ...SHOW.flags, model, offline, context, kv, backend },
  examples: ["millrace inspect model.gguf", "millrace inspect model.gguf --graph"],
  async run({ values, words, terminal }) {
    const [word, ...more] = words;
    if (more.length > 0 || (word !== undefined && values.model !== undefined)) {
      throw new UsageError("one model is expected: a word, or --model");
    }
    const artifact = await openModelFiles({ ...values, model: word ?? values.model }, terminal);
    try {
      const facts = {
        ...describe(artifact),
        profile: values.graph ? undefined : await numericProfile(values, terminal),
      };
      if (values.graph) {
        const { graph, dtypeOf } = await modelGraph(artifact, { context: values.context ?? modelContext(artifact) });
        const before = printGraph(graph);
        const after = printGraph(optimize(graph, dtypeOf));
        if (values.json) terminal.writeJson({ ...facts, graph: { before, after } });
        else terminal.write(printable(`# as the family builds it\n${before}\n\n# after the passes\n${after}\n`));
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
  if (tokenizer.format === "hf") return "tokenizer.json";
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

/** Metadata on one line: long lists and texts are cut and say how long they are. */
function shorten(value: MetaValue | undefined): string {
  if (typeof value === "string") {
    const line = JSON.stringify(value);
    return line.length <= LONGEST ? line : `${line.slice(0, LONGEST)}… (${value.length} characters)`;
  }
  if (typeof value === "object" && value !== null && "length" in value && typeof value.length === "number") {
    const first = Array.prototype.slice.call(value, 0, 8) as MetaValue[];
    return `[${first.map(shorten).join(", ")}${value.length > 8 ? `, … (${value.length} values)` : ""}]`;
  }
  if (typeof value === "object" && value !== null) {
    const text = JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? String(v) : v));
    return text.length <= LONGEST ? text : `${text.slice(0, LONGEST)}… (${text.length} characters)`;
  }
  return String(value);
}
