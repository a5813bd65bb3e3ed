import assert from "node:assert/strict";
import { test } from "node:test";
import type { MetaValue } from "../artifact/artifact.ts";
import { ArtifactError } from "../errors.ts";
import { checkComponent } from "./component-limits.ts";

const double: MetaValue = { type: "Replace", pattern: { String: "a" }, content: "aa" };

test("components as they are in use pass", () => {
  checkComponent(undefined, "normalizer");
  checkComponent({ type: "Replace", pattern: { String: " " }, content: "▁" }, "normalizer");
  checkComponent({ type: "Prepend", prepend: "▁" }, "normalizer");
  checkComponent({ type: "Sequence", normalizers: [{ type: "NFC" }, ...Array.from({ length: 6 }, () => double)] }, "n");
});

test("depth and growth have an end", () => {
  const many = { type: "Sequence", normalizers: Array.from({ length: 60 }, () => double) };
  assert.throws(() => checkComponent(many, "normalizer"), ArtifactError);
  const long = { type: "Replace", pattern: { Regex: "a" }, content: "b".repeat(1000) };
  assert.throws(() => checkComponent(long, "decoder"), ArtifactError);
  const before = { type: "Prepend", prepend: "b".repeat(1000) };
  assert.throws(() => checkComponent(before, "normalizer"), ArtifactError);
  let deep: MetaValue = { type: "NFC" };
  for (let i = 0; i < 20_000; i++) deep = { type: "Sequence", normalizers: [deep] };
  assert.throws(() => checkComponent(deep, "normalizer"), ArtifactError);
});
