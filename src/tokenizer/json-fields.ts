/**
 * Reading hostile JSON-like metadata: each function returns a field of the expected type or throws an ArtifactError
 * that names the field and what was expected. Names may come from the file, so only an object's own fields count.
 */
import type { MetaObject, MetaValue } from "../artifact/artifact.ts";
import { ArtifactError } from "../errors.ts";

export function isObject(value: MetaValue | undefined): value is MetaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

export function isList(value: MetaValue | undefined): value is readonly MetaValue[] {
  return Array.isArray(value);
}

function field(owner: MetaObject, name: string): MetaValue | undefined {
  return Object.hasOwn(owner, name) ? owner[name] : undefined;
}

export function objectField(owner: MetaObject, name: string, where: string): MetaObject {
  const value = field(owner, name);
  return isObject(value) ? value : wrong(where, name, "an object", value);
}

export function listField(owner: MetaObject, name: string, where: string): readonly MetaValue[] {
  const value = field(owner, name);
  return isList(value) ? value : wrong(where, name, "a list", value);
}

export function stringField(owner: MetaObject, name: string, where: string, missing?: string): string {
  const value = field(owner, name);
  if (typeof value === "string") return value;
  if (missing !== undefined && (value === undefined || value === null)) return missing;
  return wrong(where, name, "a text", value);
}

export function flag(owner: MetaObject, name: string, where: string, missing: boolean): boolean {
  const value = field(owner, name);
  if (typeof value === "boolean") return value;
  if (value === undefined || value === null) return missing;
  return wrong(where, name, "true or false", value);
}

export function wrong(where: string, name: string, expected: string, value: MetaValue | undefined): never {
  throw new ArtifactError(`${where}: ${name} should be ${expected}, found ${shown(value)}`);
}

/** A value for a message: short, whatever it is. */
export function shown(value: MetaValue | undefined): string {
  if (value === undefined) return "nothing";
  if (isList(value) || ArrayBuffer.isView(value)) return value.length === 0 ? "an empty list" : "a list";
  if (isObject(value)) return "an object";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
