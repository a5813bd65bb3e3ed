import assert from "node:assert/strict";
import { test } from "node:test";

import { Counter, Histogram, metric, sample } from "./prometheus.ts";

test("a histogram's buckets are cumulative in text", () => {
  const histogram = new Histogram([1, 2]);
  histogram.observe(0.5);
  histogram.observe(2, 3);
  histogram.observe(9);
  assert.deepEqual(histogram.lines("h", { m: "x" }), [
    'h_bucket{m="x",le="1"} 1',
    'h_bucket{m="x",le="2"} 4',
    'h_bucket{m="x",le="+Inf"} 5',
    'h_sum{m="x"} 15.5',
    'h_count{m="x"} 5',
  ]);
});

test("counters by label; names from outside can't break the text", () => {
  const counter = new Counter();
  counter.add({ status: "200" });
  counter.add({ status: "200" }, 2);
  counter.add({ status: "404" });
  assert.deepEqual(counter.lines("c", { a: "b" }), ['c{a="b",status="200"} 3', 'c{a="b",status="404"} 1']);
  assert.equal(sample("g", { name: 'a"\\\n' }, 1), 'g{name="a\\"\\\\\\n"} 1');
  assert.equal(metric("g", "gauge", "Help.", ["g 1"]), "# HELP g Help.\n# TYPE g gauge\ng 1\n");
});
