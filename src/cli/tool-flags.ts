/** The flags by which a command is given tools that the model may call, and what they mean; nobody runs them here. */
import { z } from "zod";

import type { ChatOptions } from "../engine/llm.ts";
import { ToolBody, toolsOf } from "../server/schemas/chat-tools.ts";
import { UsageError } from "./exit.ts";
import { textFlag, type Values } from "./flags.ts";
import { readJson } from "./grammar-flags.ts";

export const TOOLS = {
  title: "Tools",
  flags: {
    tools: textFlag("FILE", "functions that the model may call: a JSON list, each as OpenAI's API takes it"),
    "tool-choice": textFlag("auto|none|required|NAME", "whether it calls them, or which (default auto)"),
  },
} as const;

/** Nothing where no flag gives tools. */
export async function readTools(
  values: Values<(typeof TOOLS)["flags"]>,
): Promise<Pick<ChatOptions, "tools" | "toolChoice">> {
  const { tools: file, "tool-choice": choice } = values;
  if (file === undefined) {
    if (choice !== undefined) throw new UsageError("--tool-choice needs --tools");
    return {};
  }
  const list = z.array(ToolBody).safeParse(await readJson(file));
  if (!list.success) {
    const [issue] = list.error.issues;
    throw new UsageError(`${file} is no list of tools: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? ""}`);
  }
  const tools = toolsOf(list.data);
  if (choice === undefined || choice === "auto" || choice === "none" || choice === "required")
    return { tools, ...(choice !== undefined && { toolChoice: choice }) };
  if (!Object.hasOwn(tools, choice))
    throw new UsageError(
      `--tool-choice is "${choice}"; it must be auto, none, required or one of ${Object.keys(tools).join(", ")}`,
    );
  return { tools, toolChoice: { name: choice } };
}
