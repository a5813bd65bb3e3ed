/** What the policies promise, on the scheduler itself: a step here is whatever was planned, and every answer is of token 1. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../test/support/random.ts";
import { Simulation, textOf } from "../../../test/support/simulation.ts";
import { optimistic, peak, reserve } from "./admission.ts";
import { Balanced } from "./balanced.ts";
import { FirstCome } from "./first-come.ts";

test("tenants that ask for more than there is are given equal shares, whoever floods", () => {
  const simulation = new Simulation({ policy: new Balanced(), sequences: 4, blocks: 100 });
  const random = new Random(1);
  const ask = (tenant: string): unknown => simulation.submit({ prompt: textOf(random, 20), answer: 20, tenant });
  // The flood is there before the other one comes.
  for (let i = 0; i < 200; i++) ask("flood");
  for (let step = 0; step < 200; step++) simulation.step();
  for (let i = 0; i < 40; i++) ask("modest");
  const before = simulation.given("flood");
  let most = 0;
  while (simulation.waiting("modest") > 0) {
    simulation.step();
    most = Math.max(most, Math.abs(simulation.given("flood") - before - simulation.given("modest")));
  }
  // Sheng et al.: 2 · max(a prompt's cost, the cost of all that fits in memory), here of 4 sequences of 20 + 2 · 20.
  assert.ok(most <= 2 * 4 * 60, `${most} virtual tokens apart`);
  assert.ok(simulation.given("modest") >= 40 * 50);
});

test("a request with much of its prompt in memory overtakes, but none waits for ever", () => {
  const simulation = new Simulation({ policy: new Balanced(), sequences: 1, blocks: 300 });
  const random = new Random(2);
  const common = textOf(random, 200);
  simulation.submit({ prompt: common, answer: 2 });
  while (simulation.ended.length === 0) simulation.step();
  const stranger = simulation.submit({ prompt: textOf(random, 200), answer: 2 });
  const friends = Array.from({ length: 40 }, () => simulation.submit({ prompt: [...common, 1], answer: 2 }));
  simulation.run();
  const order = simulation.ended.slice(1);
  const place = order.indexOf(stranger);
  assert.ok(place > 0 && place <= 16, `the stranger was number ${place}`);
  assert.deepEqual(new Set(order), new Set([stranger, ...friends]));
});

test("what several prompts begin with is computed once, also when they come together", () => {
  for (const [policy, least] of [
    [new Balanced(), 7 * 320],
    [new FirstCome(), 0],
  ] as const) {
    const simulation = new Simulation({ policy, sequences: 8, blocks: 400, stepTokens: 64 });
    const random = new Random(3);
    const common = textOf(random, 320);
    for (let i = 0; i < 8; i++) simulation.submit({ prompt: [...common, i], answer: 4 });
    simulation.run();
    assert.ok(simulation.cachedTokens >= least, `${simulation.cachedTokens} tokens were in memory`);
    if (policy instanceof FirstCome) assert.ok(simulation.cachedTokens < 2 * 320);
  }
});

test("a high priority goes first, whatever its tenant was given", () => {
  const simulation = new Simulation({ policy: new Balanced(), sequences: 1, blocks: 50 });
  const random = new Random(4);
  const plain = Array.from({ length: 5 }, () =>
    simulation.submit({ prompt: textOf(random, 9), answer: 3, tenant: "a" }),
  );
  simulation.step();
  const urgent = simulation.submit({ prompt: textOf(random, 9), answer: 3, tenant: "a", priority: 1 });
  simulation.run();
  assert.equal(simulation.ended[1], urgent);
  assert.equal(simulation.ended[0], plain[0]);
});

test("admission: peak runs more at once than reserve and preempts nobody; optimistic more still, and all end", () => {
  const found = [reserve, peak, optimistic].map((admission) => {
    const simulation = new Simulation({ policy: new Balanced({ admission }), sequences: 64, blocks: 120 });
    const random = new Random(5);
    for (let i = 0; i < 120; i++) {
      const answer = 1 + random.below(200);
      // Half of them say no more than they will write.
      simulation.submit({
        prompt: textOf(random, 1 + random.below(60)),
        answer,
        maxTokens: random.below(2) ? answer : 200,
      });
    }
    simulation.run();
    assert.equal(simulation.ended.length, 120);
    return simulation;
  });
  const [reserved, peaks, hopeful] = found;
  assert.ok(reserved && peaks && hopeful);
  assert.equal(reserved.preempted + peaks.preempted, 0);
  assert.ok(hopeful.preempted > 0);
  assert.ok(peaks.steps < reserved.steps, `${peaks.steps} against ${reserved.steps} steps`);
  assert.ok(hopeful.steps < peaks.steps, `${hopeful.steps} against ${peaks.steps} steps`);
});

test("a prompt is computed in chunks beside answers, and whole where nobody waits for a token", () => {
  const simulation = new Simulation({
    policy: new Balanced({ chunkTokens: 8 }),
    sequences: 4,
    blocks: 200,
    stepTokens: 128,
  });
  const random = new Random(6);
  simulation.submit({ prompt: textOf(random, 100), answer: 30 });
  assert.equal(simulation.step().rows, 100);
  simulation.submit({ prompt: textOf(random, 100), answer: 2 });
  for (let i = 0; i < 5; i++) assert.equal(simulation.step().rows, 1 + 8);
});

test("whoever fits alone starts, to the last block", () => {
  for (const admission of [reserve, peak, optimistic]) {
    const simulation = new Simulation({ policy: new Balanced({ admission }), sequences: 4, blocks: 4 });
    const random = new Random(7);
    // 17 tokens and 47 more: four blocks, though the prompt fills two of them and the rest as many as three by itself.
    for (let i = 0; i < 3; i++) simulation.submit({ prompt: textOf(random, 17), answer: 47 });
    simulation.run();
    assert.equal(simulation.ended.length, 3);
  }
});
