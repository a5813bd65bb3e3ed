/** `millrace list`: the models on this machine. */
import { statSync } from "node:fs";

import { builtinModelPath } from "../../artifact/node-builtin.ts";
import { millraceHome } from "../../artifact/node-home.ts";
import { listCached } from "../../artifact/node-hub.ts";
import { ArtifactError } from "../../errors.ts";
import { defineCommand } from "../command.ts";
import { JSON_OUTPUT } from "../common-flags.ts";
import { UsageError } from "../exit.ts";
import { formatBytes } from "../progress.ts";

export const list = defineCommand({
  name: "list",
  summary: "list the models on this machine",
  words: "",
  about: "Lists the built-in model and those that were pulled into MILLRACE_HOME, as --model takes them.",
  groups: [{ title: "Input and output", flags: { json: JSON_OUTPUT } }],
  flags: { json: JSON_OUTPUT },
  examples: [],
  async run({ values, words, terminal }) {
    if (words.length > 0) throw new UsageError(`list takes no words ("${words[0]}")`);
    const models = [...builtin(), ...(await listCached())];
    if (values.json) return terminal.writeJson({ models });
    const widest = Math.max(0, ...models.map(({ reference }) => (reference ?? "(built in)").length));
    for (const { reference, bytes, path } of models) {
      terminal.write(`${(reference ?? "(built in)").padEnd(widest)}  ${formatBytes(bytes).padStart(9)}  ${path}\n`);
    }
    if (models.length === 0)
      terminal.note(`no models in ${millraceHome()}; \`millrace pull hf:owner/repo\` fetches one`);
  },
});

interface Listed {
  /** Null: what no --model means. */
  readonly reference: string | null;
  readonly path: string;
  readonly bytes: number;
}

function builtin(): Listed[] {
  try {
    const path = builtinModelPath();
    return [{ reference: null, path, bytes: statSync(path).size }];
  } catch (error) {
    if (error instanceof ArtifactError) return [];
    throw error;
  }
}
