import assert from "node:assert/strict";
import { test } from "node:test";

import { TINY_FAMILIES, tinyModel } from "../../test/support/tiny-models.ts";
import { withLayerOutputs } from "./layer-outputs.ts";
import { modelGraph } from "./models.ts";

test("every family's layers are told by its tensors' names, and each gives a row as wide as the model", async () => {
  for (const family of TINY_FAMILIES) {
    const { graph } = await modelGraph(tinyModel(family, "F32", 1, { layers: 3 }), { context: 32 });
    const { outputs, widths } = withLayerOutputs(graph);
    const names = [...outputs.keys()].filter((name) => name.startsWith("hidden:"));
    assert.deepEqual(names, ["hidden:0", "hidden:1", "hidden:2", "hidden:3"], family);
    const own = names.map((name) => widths[outputs.get(name) ?? -1]);
    assert.equal(new Set(own).size, 1, family);
    // Each value is a later node's than the one before.
    const values = names.map((name) => outputs.get(name) ?? -1);
    assert.deepEqual(
      values,
      values.toSorted((a, b) => a - b),
    );
    assert.equal(new Set(values).size, 4);
  }
});
