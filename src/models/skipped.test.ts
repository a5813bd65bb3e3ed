import assert from "node:assert/strict";
import { test } from "node:test";
import { tinyModel } from "../../test/support/tiny-models.ts";
import { modelGraph } from "./models.ts";
import { layerCount, skippedByDefault, withoutLayers } from "./skipped.ts";

const tiny = async (layers: number) =>
  (await modelGraph(tinyModel("llama", "F32", 1, { layers }), { context: 64 })).graph;

test("what is left computes the other layers over their own states", async () => {
  const graph = await tiny(4);
  const without = withoutLayers(graph, [1, 2]);
  const layers = without.nodes.flatMap((node) => (node.op === "attention" ? [graph.states[node.state]?.name] : []));
  assert.deepEqual(layers, ["layer 0", "layer 3"]);
  assert.deepEqual(without.states, graph.states);
  assert.equal(
    without.nodes.length,
    graph.nodes.length - 2 * ((graph.nodes.length - (await tiny(2)).nodes.length) / 2),
  );
});

test("without skipped layers the graph is the model's", async () => {
  const graph = await tiny(2);
  const nodes = withoutLayers(graph, [])
    .nodes.map(({ op }) => op)
    .sort();
  assert.deepEqual(nodes, graph.nodes.map(({ op }) => op).sort());
});

test("by default every second layer of the middle; the first and the last stay", async () => {
  assert.equal(layerCount(await tiny(8)), 8);
  assert.deepEqual(skippedByDefault(await tiny(8)), [2, 4, 6]);
  assert.deepEqual(skippedByDefault(await tiny(4)), [1]);
});

test("a layer that isn't there is refused by number", async () => {
  const graph = await tiny(2);
  assert.throws(() => withoutLayers(graph, [2]), /2 layers.*no layer 3/);
});
