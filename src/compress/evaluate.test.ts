import assert from "node:assert/strict";
import { test } from "node:test";

import { builtinModelPath } from "../artifact/node-builtin.ts";
import { load } from "../engine/load.ts";
import { evaluate, paretoFront } from "./evaluate.ts";
import { evaluationChart } from "./evaluation-chart.ts";

test("a model beside itself loses nothing, and its perplexity is the engine's", async () => {
  await using base = await load(builtinModelPath("rill"), { threads: 1 });
  await using same = await load(builtinModelPath("rill"), { threads: 1 });
  const ids = base.tokenizer.encode("Once upon a time there was a small river that ran down to the sea.".repeat(3));
  const [own, other] = await evaluate([base, same], { ids, window: 32 });
  const { perplexity } = await base.perplexity(ids, { window: 32 });
  assert.ok(own !== undefined && other !== undefined);
  assert.ok(Math.abs(own.perplexity - perplexity) < 1e-4 * perplexity);
  assert.equal(own.meanKl, 0);
  assert.deepEqual(other, { ...own, meanKl: 0, p99Kl: 0, agreement: 1 });
});

test("another model's divergence is positive; another vocabulary is refused", async () => {
  await using base = await load(builtinModelPath("brook"), { threads: 1 });
  await using other = await load(builtinModelPath("rill"), { threads: 1 });
  const ids = base.tokenizer.encode("The river runs down to the sea.");
  const [, small] = await evaluate([base, other], { ids });
  assert.ok(small !== undefined && small.meanKl > 0.01 && small.p99Kl >= small.meanKl && small.agreement < 1);
});

test("the Pareto front leaves out what another beats in both", () => {
  const points = [
    { bytes: 10, loss: 0 },
    { bytes: 5, loss: 0.1 },
    { bytes: 6, loss: 0.2 },
    { bytes: 5, loss: 0.3 },
    { bytes: 2, loss: 1 },
  ];
  assert.deepEqual(paretoFront(points), [4, 1, 0]);
  const svg = evaluationChart(points.map((point, i) => ({ ...point, name: `model <${i}>` })));
  assert.match(svg, /^<svg [^>]*>/);
  assert.match(svg, /model &lt;4&gt;/);
  assert.equal(svg.match(/#c2410c"\/>/g)?.length, 3, "three marked points");
});
