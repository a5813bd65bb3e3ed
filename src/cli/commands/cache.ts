/** `millrace cache`: packed weights that later loads map, and removing them. */
import { clearPacked, listPacked, packedFolder } from "../../backend/cpu/packed-cache.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { switchFlag } from "../flags.ts";
import { formatBytes } from "../progress.ts";

const CLEAR = switchFlag("remove all of it");

export const cache = defineCommand({
  name: "cache",
  summary: "list or remove the packed weights that make a second load fast",
  words: "",
  about:
    "A model's weights are kept on disk as the kernels read them (in MILLRACE_HOME/packed, at most a tenth of what is free " +
    "there), so that a later load maps them. Lists these files, the latest used first. MILLRACE_PACKED_CACHE=off keeps none.",
  groups: [{ title: "Input and output", flags: { clear: CLEAR, json: JSON_OUTPUT } }],
  flags: { clear: CLEAR, json: JSON_OUTPUT },
  examples: ["millrace cache", "millrace cache --clear"],
  async run({ values, words, terminal }) {
    if (words.length > 0) throw new UsageError(`cache takes no words ("${words[0]}")`);
    if (values.clear) {
      const bytes = await clearPacked();
      if (values.json) return terminal.writeJson({ removed: bytes });
      return terminal.note(`removed ${formatBytes(bytes)} from ${packedFolder()}`);
    }
    const entries = await listPacked();
    if (values.json) return terminal.writeJson({ folder: packedFolder(), entries });
    for (const { bytes, lastUsed, model } of entries) {
      const day = lastUsed.toISOString().slice(0, 16).replace("T", " ");
      terminal.write(`${formatBytes(bytes).padStart(9)}  used ${day}  ${model ?? "(damaged)"}\n`);
    }
    if (entries.length === 0) terminal.note(`no packed weights in ${packedFolder()}`);
  },
});
