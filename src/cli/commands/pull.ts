/** `millrace pull`: fetches a model of the hub, so that later commands find it on this machine. */
import { parseHubReference } from "../../artifact/hub-reference.ts";
import { pullModel } from "../../artifact/node-hub.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT, MODEL } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { ProgressLine } from "../progress.ts";

const { model, offline } = MODEL.flags;

export const pull = defineCommand({
  name: "pull",
  summary: "fetch a model of the hub",
  words: "REF",
  about:
    "Fetches hf:owner/repo[:file-or-quant] into MILLRACE_HOME (~/.cache/millrace), goes on where an earlier try broke " +
    "off, checks it against the hub's checksum, and prints its path. Commands with --model do the same when they need " +
    "it. HF_ENDPOINT names another hub, HF_TOKEN opens gated models.",
  groups: [
    { title: "Model", flags: { model, offline } },
    { title: "Input and output", flags: { json: JSON_OUTPUT } },
  ],
  flags: { model, offline, json: JSON_OUTPUT },
  examples: ["millrace pull hf:HuggingFaceTB/SmolLM2-135M-Instruct-GGUF:Q8_0"],
  async run({ values, words, terminal }) {
    const [word, ...more] = words;
    const name = word ?? values.model;
    if (name === undefined || more.length > 0 || (word !== undefined && values.model !== undefined)) {
      throw new UsageError("one model reference is expected: hf:owner/repo[:file-or-quant]");
    }
    const reference = parseHubReference(name);
    if (reference === undefined)
      throw new UsageError(`"${name}" is no model of the hub; expected hf:owner/repo[:file-or-quant]`);
    const line = new ProgressLine(terminal);
    try {
      const path = await pullModel(reference, {
        ...(values.offline ? { offline: true } : {}),
        refresh: true,
        signal: terminal.signal,
        onProgress: ({ file, loaded, total }) => line.update(`download ${file}`, loaded, total, "bytes"),
        onWait: (file, holder) => terminal.note(`process ${holder} fetches ${file}; waiting for it`),
      });
      line.clear();
      if (values.json) terminal.writeJson({ reference: name, path });
      else terminal.write(`${path}\n`);
    } finally {
      line.clear();
    }
  },
});
