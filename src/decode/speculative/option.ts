/**
 * The option `speculation`, as users give it in load() and in a request, on the command line and over HTTP: its words are
 * checked here and nowhere else.
 */
import { RequestError } from "../../errors.ts";
import { nearest } from "../../nearest.ts";
import { checkNumber, checkType, shown } from "../limits.ts";
import { AUTOMATIC, METHOD_NAMES, type MethodName } from "./methods.ts";

/**
 * "auto": drafts from the text itself, where that pays. "off": none. Else a method's name, or several joined by "+", of
 * `docs/speculation.md`.
 */
export type SpeculationOption = string | SpeculationOptions;

export interface SpeculationOptions {
  /** A method's name, or several joined by "+". */
  readonly drafter: string;
  /** The model of "draft", whose tokens must be the model's, or the head of "eagle3" and its kin: a reference, as load() takes. Only in load(). */
  readonly model?: string | undefined;
  /** What the method "rest" searches: a file that `millrace datastore build` has made. Only in load(). */
  readonly datastore?: string | undefined;
  /** Layers that "skip" leaves out, the first being 0. Default: every second one of the middle. Only in load(). */
  readonly skip?: readonly number[] | undefined;
  /** Draft always, so many tokens ahead, whether it pays or not. Default: as far as it pays, by what was measured. */
  readonly depth?: number | undefined;
  /** The most nodes of a draft. Default 16. */
  readonly tree?: number | undefined;
}

/** How a sequence is drafted, as plain data. */
export interface SpeculationPlan {
  /** None: not at all. */
  readonly methods: readonly MethodName[];
  /** Always so deep; undefined: where and as deep as it pays. */
  readonly depth?: number;
  readonly nodes: number;
}

export const DEFAULT_NODES = 16;

const RESERVED = ["swift", "medusa", "dflash", "pass", "kangaroo"] as const;

/** @throws RequestError that names what there is. */
export function parseSpeculation(option: unknown): SpeculationPlan {
  if (typeof option === "string") return { ...methodsOf(option), nodes: DEFAULT_NODES };
  if (typeof option !== "object" || option === null || Array.isArray(option))
    throw new RequestError(`speculation must be a name or an object, not ${shown(option)}; ${there()}`);
  const { drafter, model, datastore, skip, depth, tree, ...others } = option as Partial<Record<string, unknown>>;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new RequestError(
      `speculation has no ${shown(unknown)}; it has drafter, model, datastore, skip, depth and tree`,
    );
  checkType("speculation.model", model, "string");
  checkType("speculation.datastore", datastore, "string");
  if (skip !== undefined && !(Array.isArray(skip) && skip.every((layer) => Number.isInteger(layer) && layer >= 0)))
    throw new RequestError(`speculation.skip must be a list of layers, not ${shown(skip)}`);
  if (typeof drafter !== "string")
    throw new RequestError(`speculation's drafter must be a name, not ${shown(drafter)}; ${there()}`);
  const nodes = tree === undefined ? undefined : checkNumber("speculation.tree", tree);
  if (depth === undefined) return { ...methodsOf(drafter), nodes: nodes ?? DEFAULT_NODES };
  const deep = checkNumber("speculation.depth", depth);
  return { ...methodsOf(drafter), depth: deep, nodes: nodes ?? Math.max(DEFAULT_NODES, deep) };
}

function methodsOf(names: string): Pick<SpeculationPlan, "methods"> {
  if (names === "off") return { methods: [] };
  const methods = new Set<MethodName>();
  for (const name of names.split("+")) {
    const found = METHOD_NAMES.find((known) => known === name);
    if (name === "auto") for (const one of AUTOMATIC) methods.add(one);
    else if (found !== undefined) methods.add(found);
    else if (name === "off") throw new RequestError('speculation "off" stands alone');
    else if (RESERVED.some((word) => word === name))
      throw new RequestError(`speculation ${shown(name)} isn't built yet; ${there()}`);
    else {
      const close = nearest(name, ["auto", "off", ...METHOD_NAMES]);
      const hint = close === undefined ? "" : ` (did you mean ${close}?)`;
      throw new RequestError(`there is no speculation ${shown(name)}${hint}; ${there()}`);
    }
  }
  return { methods: [...methods] };
}

function there(): string {
  return `there is auto, off, ${METHOD_NAMES.join(", ")}, and several joined by "+"`;
}
