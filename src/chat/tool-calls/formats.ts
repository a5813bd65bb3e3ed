/** The formats in which published models call tools, and which of them a chat template stands for. */
import { ARGUMENTS, ID, NAME, NUMBER, type Part, type ToolFormat } from "./format.ts";

const json = { notation: "json" } as const;

/** An object with the name and the arguments, under these keys. */
function object(name: string, args: string): ToolFormat["call"] {
  return [`{"${name}": "`, NAME, `", "${args}": `, ARGUMENTS, "}"];
}

const CALL = object("name", "arguments");
/** The same, perhaps with an identifier behind it. */
const CALL_WITH_ID: ToolFormat["call"] = [...CALL.slice(0, -1), { optional: [', "id": "', ID, '"'] }, "}"];

/** Hermes 2 and 3, Qwen 2.5 and 3, and many after them: an object a section. */
export const HERMES: ToolFormat = {
  name: "hermes",
  begin: "<tool_call>\n",
  call: CALL,
  end: "\n</tool_call>",
  repeats: true,
  ...json,
};

function tags(open: string, middle: string, close: string): ToolFormat["notation"] {
  return { kind: "tags", open, beforeText: middle, beforeJson: middle, close };
}

const DSML = "｜DSML｜";

function dsml(section: string): ToolFormat {
  return {
    name: "dsml",
    begin: `<${DSML}${section}>\n`,
    call: [`<${DSML}invoke name="`, NAME, '">\n', ARGUMENTS, `</${DSML}invoke>`],
    between: "\n",
    end: `\n</${DSML}${section}>`,
    notation: {
      kind: "tags",
      open: `<${DSML}parameter name="`,
      beforeText: '" string="true">',
      beforeJson: '" string="false">',
      close: `</${DSML}parameter>\n`,
    },
  };
}

/** Mistral's since version 11 of its tokenizer. */
const MISTRAL: ToolFormat = {
  name: "mistral",
  begin: "[TOOL_CALLS]",
  call: [NAME, "[ARGS]", ARGUMENTS],
  end: "",
  repeats: true,
  ...json,
};

const DEEPSEEK: Pick<ToolFormat, "begin" | "end" | "notation"> = {
  begin: "<｜tool▁calls▁begin｜>",
  end: "<｜tool▁calls▁end｜>",
  ...json,
};

/** What stands in a template, and the format it shows; the first that fits is the one. */
const FORMATS: readonly (readonly [mark: RegExp, format: ToolFormat])[] = [
  [/(?:DSML｜|dsml_token \+ ')tool_calls>/, dsml("tool_calls")],
  [/DSML/, dsml("function_calls")],
  [
    /<\|tool_call>call:/,
    {
      name: "gemma",
      begin: "<|tool_call>call:",
      call: [NAME, ARGUMENTS],
      end: "<tool_call|>",
      repeats: true,
      notation: { kind: "bare", quote: '<|"|>' },
    },
  ],
  [
    /<start_function_call>/,
    {
      name: "function-gemma",
      begin: "<start_function_call>call:",
      call: [NAME, ARGUMENTS],
      end: "<end_function_call>",
      repeats: true,
      notation: { kind: "bare", quote: "<escape>" },
    },
  ],
  [
    /<\|tool_calls_section_begin\|>/,
    {
      name: "kimi",
      begin: "<|tool_calls_section_begin|>",
      call: [
        "<|tool_call_begin|>functions.",
        NAME,
        ":",
        NUMBER,
        "<|tool_call_argument_begin|>",
        ARGUMENTS,
        "<|tool_call_end|>",
      ],
      between: "",
      end: "<|tool_calls_section_end|>",
      idOf: (name, number) => `functions.${name}:${number}`,
      ...json,
    },
  ],
  [
    /<｜tool▁calls▁begin｜>[^]*```json/,
    {
      name: "deepseek-r1",
      ...DEEPSEEK,
      call: ["<｜tool▁call▁begin｜>function<｜tool▁sep｜>", NAME, "\n```json\n", ARGUMENTS, "\n```<｜tool▁call▁end｜>"],
      between: "\n",
    },
  ],
  [
    /<｜tool▁calls▁begin｜>/,
    {
      name: "deepseek",
      ...DEEPSEEK,
      call: ["<｜tool▁call▁begin｜>", NAME, "<｜tool▁sep｜>", ARGUMENTS, "<｜tool▁call▁end｜>"],
      between: "",
    },
  ],
  [
    /<\|START_ACTION\|>/,
    {
      name: "cohere",
      begin: "<|START_ACTION|>[\n    ",
      call: ['{"tool_call_id": "', NUMBER, '", "tool_name": "', NAME, '", "parameters": ', ARGUMENTS, "}"],
      between: ",\n    ",
      end: "\n]<|END_ACTION|>",
      ...json,
    },
  ],
  [
    /<\|tools_prefix\|>/,
    {
      name: "apertus",
      begin: "<|tools_prefix|>[",
      call: ['{"', NAME, '": ', ARGUMENTS, "}"],
      between: ", ",
      end: "]<|tools_suffix|>",
      ...json,
    },
  ],
  [
    /<\|tool_list_start\|>|List of tools: \[/,
    {
      name: "lfm",
      begin: "<|tool_call_start|>[",
      call: [NAME, "(", ARGUMENTS, ")"],
      between: ", ",
      end: "]<|tool_call_end|>",
      notation: { kind: "keywords" },
    },
  ],
  [
    /<seed:tool_call>/,
    {
      name: "seed",
      begin: "<seed:tool_call>\n<function=",
      call: [NAME, ">\n", ARGUMENTS, "</function>"],
      end: "\n</seed:tool_call>",
      repeats: true,
      notation: tags("<parameter=", ">", "</parameter>\n"),
    },
  ],
  [
    /<parameter=/,
    {
      name: "qwen-xml",
      begin: "<tool_call>\n<function=",
      call: [NAME, ">\n", ARGUMENTS, "</function>"],
      end: "\n</tool_call>",
      repeats: true,
      notation: tags("<parameter=", ">\n", "\n</parameter>\n"),
    },
  ],
  [
    /<\/arg_key>(?:\\n|\n)<arg_value>/,
    {
      name: "glm",
      begin: "<tool_call>",
      call: [NAME, "\n", ARGUMENTS],
      end: "</tool_call>",
      repeats: true,
      notation: tags("<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n"),
    },
  ],
  [
    /<arg_key>/,
    {
      name: "glm",
      begin: "<tool_call>",
      call: [NAME, ARGUMENTS],
      end: "</tool_call>",
      repeats: true,
      notation: tags("<arg_key>", "</arg_key><arg_value>", "</arg_value>"),
    },
  ],
  [
    /<function=/,
    {
      name: "functionary",
      begin: "<function=",
      call: [NAME, ">", ARGUMENTS],
      end: "</function>",
      repeats: true,
      ...json,
    },
  ],
  [/\[CALL_ID\]/, { ...MISTRAL, call: [NAME, "[CALL_ID]", ID, "[ARGS]", ARGUMENTS] }],
  [/\[ARGS\]/, MISTRAL],
  [
    /\[TOOL_CALLS\]/,
    { name: "mistral-list", begin: "[TOOL_CALLS][", call: CALL_WITH_ID, between: ", ", end: "]", ...json },
  ],
  [
    /<tool_calls>\[/,
    { name: "apriel", begin: "<tool_calls>[", call: CALL_WITH_ID, between: ", ", end: "]</tool_calls>", ...json },
  ],
  [
    /'function call'/,
    {
      name: "gigachat",
      begin: "<|message_sep|>\n\nfunction call<|role_sep|>\n",
      call: CALL,
      end: "",
      ...json,
    },
  ],
  [/<\|function_call\|>/, { name: "gigachat", begin: "<|function_call|>", call: CALL, end: "", ...json }],
  [
    /<\|\/tool_call\|>/,
    { name: "phi", begin: "<|tool_call|>[", call: CALL, between: ", ", end: "]<|/tool_call|>", ...json },
  ],
  [/<\|tool_call\|>/, { name: "granite", begin: "<|tool_call|>[", call: CALL, between: ", ", end: "]", ...json }],
  [/functools\[/, { name: "functools", begin: " functools[", call: CALL, between: ", ", end: "]", ...json }],
  [/<tool_call>/, HERMES],
  [
    /Action:(?:\\n|\n)```json/,
    {
      name: "command-r",
      begin: "Action:\n```json\n[\n    {\n        ",
      call: ['"tool_name": "', NAME, '",\n        "parameters": ', ARGUMENTS, "\n    }"],
      between: ",\n    {\n        ",
      end: "\n]```",
      ...json,
    },
  ],
  [
    /\[func_name1\(/,
    {
      name: "llama-pythonic",
      begin: "[",
      call: [NAME, "(", ARGUMENTS, ")"],
      between: ", ",
      end: "]",
      isWhole: true,
      notation: { kind: "keywords" },
    },
  ],
  [
    /<\|python_tag\|>|"parameters": dictionary/,
    { name: "llama", begin: "", call: object("name", "parameters"), end: "", isWhole: true, ...json },
  ],
];

/** How the model of a template calls tools; Hermes' way where the template shows none. */
export function toolFormat(template: string): ToolFormat {
  return FORMATS.find(([mark]) => mark.test(template))?.[1] ?? HERMES;
}

/** Whether a template describes tools to the model. */
export function takesTools(template: string): boolean {
  return /\btools\b|\+ functions\b/.test(template);
}

/** A call as a model is to write it, for its instructions. */
export function exampleOf({ begin, call, end, notation }: ToolFormat): string {
  const write = (part: Part): string => {
    if (typeof part === "string") return part;
    if ("optional" in part) return "";
    if (part.hole === "name") return "FUNCTION";
    if (part.hole === "id") return "123456789";
    if (part.hole === "number") return "0";
    if (notation === "json") return '{"ARGUMENT": VALUE}';
    if (notation.kind === "keywords") return "ARGUMENT=VALUE";
    if (notation.kind === "bare") return "{ARGUMENT:VALUE}";
    return `${notation.open}ARGUMENT${notation.beforeText}VALUE${notation.close}`;
  };
  return [begin, ...call.map(write), end].join("");
}
