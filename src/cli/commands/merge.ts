/** `millrace merge`: a model with an adapter in its weights, as a file of its own. */
import { mergeAdapter } from "../../artifact/merge-adapter.ts";
import { writeGguf } from "../../artifact/node-gguf.ts";
import { openAdapterReference } from "../../engine/load.ts";
import { resolveAdapter } from "../../models/adapters.ts";
import { defineCommand } from "../command.ts";
import { MODEL } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { textFlag } from "../flags.ts";
import { formatBytes } from "../progress.ts";
import { openFiles } from "../session.ts";

const FLAGS = {
  model: MODEL.flags.model,
  adapter: textFlag("REF", 'the adapter: a folder as PEFT saves it, a GGUF file, or "hf:owner/repo"'),
  offline: MODEL.flags.offline,
};

export const merge = defineCommand({
  name: "merge",
  summary: "write a model with an adapter merged into its weights",
  words: "OUT.gguf",
  about:
    "Writes the model in GGUF with the adapter's changes in its weights: a model like any other, for one adapter alone. " +
    "Changed matrices keep the base's type where that is F32, F16 or BF16, and become F16 where it is quantised.",
  groups: [{ title: "Merge", flags: FLAGS }],
  flags: FLAGS,
  examples: ["millrace merge --model model.gguf --adapter lora/support merged.gguf"],
  async run({ values, words, terminal }) {
    const [out, ...more] = words;
    if (out === undefined || more.length > 0) throw new UsageError("one file to write is expected");
    if (values.adapter === undefined) throw new UsageError("--adapter is missing");
    const base = await openFiles(values, terminal);
    try {
      const network = { signal: terminal.signal, ...(values.offline && { offline: true }) };
      const opened = await openAdapterReference(values.adapter, network);
      try {
        const adapter = await resolveAdapter(opened, base);
        const merged = mergeAdapter(base, adapter);
        await writeGguf(out, merged);
        const bytes = merged.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
        terminal.note(`${out}: ${formatBytes(bytes)}, ${adapter.pairs.size} matrices changed`);
      } finally {
        await opened.close();
      }
    } finally {
      await base.close();
    }
  },
});
