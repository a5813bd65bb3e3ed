/**
 * A schema document: its places, and what `$ref`, `$id`, `$anchor` and JSON Pointers lead to. Nothing is fetched; a reference
 * out of the document is refused.
 */
import { UnsupportedGrammarError } from "../../../errors.ts";
import type { Fuel } from "../fuel.ts";
import type { JsonValue } from "../spec.ts";

export type SchemaObject = Readonly<Record<string, JsonValue>>;
export type Draft = "2020-12" | "7";

/** A subschema and where it stands. */
export interface Location {
  readonly schema: JsonValue;
  /** A JSON Pointer from the document's root. */
  readonly path: string;
  /** The subschema with the `$id` that is in force here. */
  readonly resource: Resource;
}

interface Resource {
  readonly uri: string;
  readonly root: JsonValue;
  readonly path: string;
}

const NO_URI = "millrace://schema/";
/** A schema nested deeper than this is refused. */
const DEPTH = 400;

const MAPS = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];
const LISTS = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const SINGLES = [
  "items",
  "additionalItems",
  "additionalProperties",
  "not",
  "if",
  "then",
  "else",
  "contains",
  "propertyNames",
  "unevaluatedItems",
  "unevaluatedProperties",
  "contentSchema",
];

export class SchemaDocument {
  readonly draft: Draft;
  readonly root: Location;
  /** Does it use `unevaluatedProperties` or `unevaluatedItems` anywhere? */
  readonly tracksEvaluation: boolean;
  #index: Map<string, Location> | undefined;

  constructor(schema: JsonValue, draft: Draft | undefined, fuel: Fuel) {
    measure(schema, fuel);
    const declared = draftOf(schema);
    this.draft = draft ?? declared;
    this.root = this.#enter({ uri: NO_URI, root: schema, path: "" }, schema, "");
    this.tracksEvaluation = this.draft !== "7" && JSON.stringify(schema).includes('"unevaluated');
  }

  /** A place below another. */
  child(at: Location, ...keys: readonly string[]): Location {
    let { schema, path } = at;
    for (const key of keys) {
      path += `/${escapePointer(key)}`;
      schema = member(schema, key) ?? null;
    }
    return this.#enter(at.resource, schema, path);
  }

  /** Where a reference leads. */
  resolve(at: Location, ref: string): Location {
    const [address, fragment] = splitFragment(ref);
    const uri = address === "" ? at.resource.uri : resolveUri(address, at.resource.uri);
    const pointer = fragment ?? "";
    const inOwn = uri === at.resource.uri;
    if (pointer === "" || pointer.startsWith("/")) {
      const resource = inOwn ? at.resource : this.#lookUp(uri)?.resource;
      const target = resource && this.#follow(resource, pointer);
      if (target !== undefined) return target;
    } else {
      const target = this.#lookUp(`${uri}#${pointer}`);
      if (target !== undefined) return target;
    }
    throw new UnsupportedGrammarError(`$ref "${ref}" leads nowhere in this schema`, "$ref", `${at.path}/$ref`);
  }

  #follow(resource: Resource, pointer: string): Location | undefined {
    let at = this.#enter(resource, resource.root, resource.path);
    if (pointer === "") return at;
    for (const raw of pointer.slice(1).split("/")) {
      const key = raw.replaceAll("~1", "/").replaceAll("~0", "~");
      if (member(at.schema, key) === undefined) return undefined;
      at = this.child(at, key);
    }
    return isSchema(at.schema) ? at : undefined;
  }

  /** A place, in the resource that begins there if one does. */
  #enter(resource: Resource, schema: JsonValue, path: string): Location {
    const id = isObject(schema) ? schema["$id"] : undefined;
    const ignored = this.draft === "7" && isObject(schema) && schema["$ref"] !== undefined;
    if (typeof id !== "string" || ignored || id.startsWith("#")) return { schema, path, resource };
    if (path === resource.path && resource.uri !== NO_URI) return { schema, path, resource };
    const uri = resolveUri(splitFragment(id)[0], resource.uri);
    return { schema, path, resource: { uri, root: schema, path } };
  }

  #lookUp(uri: string): Location | undefined {
    if (this.#index === undefined) {
      this.#index = new Map();
      this.#indexBelow(this.root, this.#index);
    }
    return this.#index.get(uri);
  }

  #indexBelow(at: Location, index: Map<string, Location>): void {
    const { schema, resource } = at;
    if (!isObject(schema)) return;
    if (resource.path === at.path && !index.has(resource.uri)) index.set(resource.uri, at);
    const anchors = this.draft === "7" ? [anchorOfId(schema["$id"])] : [schema["$anchor"], schema["$dynamicAnchor"]];
    for (const anchor of anchors) if (typeof anchor === "string") index.set(`${resource.uri}#${anchor}`, at);
    for (const key of MAPS) {
      const map = schema[key];
      if (isObject(map)) for (const name of Object.keys(map)) this.#indexBelow(this.child(at, key, name), index);
    }
    for (const key of LISTS) {
      const list = schema[key];
      if (Array.isArray(list)) list.forEach((_, i) => this.#indexBelow(this.child(at, key, String(i)), index));
    }
    for (const key of SINGLES) if (isObject(schema[key])) this.#indexBelow(this.child(at, key), index);
  }
}

export function isObject(value: JsonValue | undefined): value is SchemaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isSchema(value: JsonValue | undefined): value is boolean | SchemaObject {
  return typeof value === "boolean" || isObject(value);
}

function member(value: JsonValue, key: string): JsonValue | undefined {
  if (Array.isArray(value))
    return /^(?:0|[1-9]\d*)$/.test(key) ? (value[Number(key)] as JsonValue | undefined) : undefined;
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

export function escapePointer(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** Draft 7: `$id: "#name"` is an anchor. */
function anchorOfId(id: JsonValue | undefined): string | undefined {
  return typeof id === "string" && id.length > 1 && id.startsWith("#") ? id.slice(1) : undefined;
}

function splitFragment(uri: string): [address: string, fragment: string | undefined] {
  const at = uri.indexOf("#");
  if (at < 0) return [uri, undefined];
  const fragment = uri.slice(at + 1);
  try {
    return [uri.slice(0, at), decodeURIComponent(fragment)];
  } catch {
    return [uri.slice(0, at), fragment];
  }
}

function resolveUri(uri: string, base: string): string {
  return URL.canParse(uri, base) ? new URL(uri, base).href : uri;
}

function draftOf(schema: JsonValue): Draft {
  const declared = isObject(schema) ? schema["$schema"] : undefined;
  if (declared === undefined) return "2020-12";
  const known = /^https?:\/\/json-schema\.org\/(draft-0[67]|draft\/2019-09|draft\/2020-12)\/schema#?$/.exec(
    typeof declared === "string" ? declared : "",
  )?.[1];
  if (known === undefined || known === "draft/2019-09") {
    throw new UnsupportedGrammarError(`the dialect ${JSON.stringify(declared)} isn't supported`, "$schema", "/$schema");
  }
  return known === "draft/2020-12" ? "2020-12" : "7";
}

/** Refuses what is too deep or too large before anything recurses over it. */
function measure(schema: JsonValue, fuel: Fuel): void {
  let level: JsonValue[] = [schema];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DEPTH)
      throw new UnsupportedGrammarError(`the schema is nested more than ${DEPTH} deep`, "complexity", "");
    fuel.spend(level.length);
    const below: JsonValue[] = [];
    for (const value of level) {
      if (typeof value === "string") fuel.spend(value.length / 32);
      if (typeof value === "object" && value !== null) for (const one of Object.values(value)) below.push(one);
    }
    level = below;
  }
}
