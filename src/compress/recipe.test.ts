import assert from "node:assert/strict";
import { test } from "node:test";

import { PASSES } from "./passes.ts";
import { PRESETS } from "./presets.ts";
import { checkRecipe, parseRecipe, presetRecipe } from "./recipe.ts";

test("every preset is a recipe of known passes", () => {
  for (const name of PRESETS.keys()) {
    const { steps } = presetRecipe(name);
    assert.ok(steps.length > 0, name);
    for (const { pass } of steps) assert.equal(PASSES.get(pass.name), pass);
  }
});

test("a recipe is JSON or YAML, and keeps what was given", () => {
  const json = parseRecipe('{"name": "mine", "passes": [{"pass": "quantize", "type": "Q4_K_M"}]}', "r.json");
  const yaml = parseRecipe("name: mine\npasses:\n  - pass: quantize\n    type: Q4_K_M\n", "r.yaml");
  assert.deepEqual(json.source, yaml.source);
  assert.equal(json.name, "mine");
  assert.deepEqual(json.steps[0]?.options, { type: "Q4_K_M", pure: false, importance: "measured", tensors: [] });
});

const WRONG: readonly [name: string, recipe: unknown, complaint: RegExp][] = [
  ["no passes", { passes: [] }, /recipe mine: passes: /],
  ["an unknown pass", { passes: [{ pass: "quantise" }] }, /no pass "quantise"; did you mean quantize\?/],
  ["an unknown option", { passes: [{ pass: "quantize", type: "Q4_0", bits: 4 }] }, /pass 1 \(quantize\): .*"bits"/],
  ["an unknown type", { passes: [{ pass: "quantize", type: "Q9" }] }, /pass 1 \(quantize\): type: /],
  ["another field", { passes: [{ pass: "quantize", type: "Q4_0" }], after: 1 }, /"after"/],
];
for (const [name, recipe, complaint] of WRONG) {
  test(`${name} is refused by name`, () => {
    assert.throws(() => checkRecipe(recipe, "mine"), complaint);
  });
}

test("a preset that isn't there, and text that isn't YAML", () => {
  assert.throws(() => presetRecipe("q4_k_n"), /no recipe "q4_k_n"; did you mean q4_k_[ms]\?/);
  assert.throws(() => parseRecipe("passes: [", "broken.yaml"), /broken\.yaml: no valid YAML or JSON/);
  assert.throws(() => parseRecipe("a: &a [1]\nb: *a\n", "alias.yaml"), /alias\.yaml/);
});
