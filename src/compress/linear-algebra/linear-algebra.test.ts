/** Each factorisation against the identity that defines it, on random matrices. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { cholesky, choleskyUpper, damped, solveLower, solveLowerTransposed } from "./cholesky.ts";
import { symmetricEigen } from "./eigen.ts";
import { Hadamard, hadamardShape } from "./hadamard.ts";
import {
  frobenius,
  gram,
  identity,
  type Matrix,
  matrixOf,
  mirrored,
  multiply,
  multiplyTransposed,
  transpose,
} from "./matrix.ts";
import { orthogonalRows, randomOrthogonal } from "./qr.ts";
import { SeededRandom } from "./random.ts";
import { truncatedSvd } from "./svd.ts";

function randomMatrix(rows: number, columns: number, seed: number): Matrix {
  const random = new SeededRandom(seed);
  return { rows, columns, values: Float64Array.from({ length: rows * columns }, () => random.normal()) };
}

function assertClose(a: Matrix, b: Matrix, limit: number, what: string): void {
  assert.deepEqual([a.rows, a.columns], [b.rows, b.columns], what);
  const gap = a.values.reduce((most, value, i) => Math.max(most, Math.abs(value - (b.values[i] ?? NaN))), 0);
  assert.ok(gap <= limit, `${what}: ${gap}`);
}

function diagonalOf(values: Float64Array): Matrix {
  const n = values.length;
  const result = matrixOf(n, n, new Float64Array(n * n));
  for (const [i, value] of values.entries()) result.values[i * n + i] = value;
  return result;
}

test("products agree with each other", () => {
  const [a, b] = [randomMatrix(5, 7, 1), randomMatrix(7, 4, 2)];
  assertClose(multiply(a, b), multiplyTransposed(a, transpose(b)), 1e-12, "A B");
  assertClose(gram(a), multiply(transpose(a), a), 1e-12, "AᵀA");
  assert.equal(multiply(matrixOf(1, 2, [3, 4]), matrixOf(2, 1, [5, 6])).values[0], 39);
});

test("both Cholesky factors give the matrix back, and are triangular", () => {
  const h = damped(gram(randomMatrix(40, 23, 3)), 0.01);
  const [l, u] = [cholesky(h), choleskyUpper(h)];
  assert.ok(l !== undefined && u !== undefined);
  assertClose(multiplyTransposed(l, l), h, 1e-10, "L Lᵀ");
  assertClose(multiplyTransposed(u, u), h, 1e-10, "U Uᵀ");
  for (let i = 0; i < 23; i++)
    for (let j = 0; j < i; j++) assert.deepEqual([l.values[j * 23 + i], u.values[i * 23 + j]], [0, 0]);
  assert.equal(cholesky(matrixOf(2, 2, [1, 2, 2, 1])), undefined, "not positive definite");
});

test("triangular systems are solved", () => {
  const l = cholesky(damped(gram(randomMatrix(30, 12, 4)), 0.01));
  assert.ok(l !== undefined);
  const b = randomMatrix(12, 5, 5);
  const copy = (): Matrix => ({ ...b, values: b.values.slice() });
  assertClose(multiply(l, solveLower(l, copy())), b, 1e-10, "L X");
  assertClose(multiply(transpose(l), solveLowerTransposed(l, copy())), b, 1e-10, "Lᵀ X");
});

test("rows become an orthogonal basis of themselves", () => {
  const a = randomMatrix(17, 17, 6);
  const q = orthogonalRows(a);
  assertClose(multiplyTransposed(q, q), identity(17), 1e-12, "Q Qᵀ");
  const l = multiplyTransposed(a, q);
  for (let i = 0; i < 17; i++) {
    assert.ok((l.values[i * 17 + i] ?? 0) > 0, "a positive diagonal");
    for (let j = i + 1; j < 17; j++) assert.ok(Math.abs(l.values[i * 17 + j] ?? 1) < 1e-12, "L is lower triangular");
  }
  const again = randomOrthogonal(17, new SeededRandom(7));
  assert.deepEqual(again, randomOrthogonal(17, new SeededRandom(7)));
  assertClose(multiplyTransposed(again, again), identity(17), 1e-12, "random");
});

for (const n of [1, 2, 64, 12, 20, 28, 36, 44, 96, 576, 1536, 600, 7]) {
  test(`the Hadamard matrix of ${n} columns is orthogonal, flat, and undone`, () => {
    const { blocks, core, two } = hadamardShape(n);
    assert.equal(blocks * core * two, n);
    const hadamard = new Hadamard(n, new SeededRandom(n));
    const row = randomMatrix(1, n, 8).values;
    const there = row.slice();
    hadamard.apply(there);
    const energy = (x: Float64Array): number => frobenius(matrixOf(1, n, x));
    assert.ok(Math.abs(energy(there) - energy(row)) < 1e-9);
    hadamard.undo(there);
    assertClose(matrixOf(1, n, there), matrixOf(1, n, row), 1e-11, "undone");
    if (n > 100) return;
    const matrix = hadamard.matrix();
    assertClose(multiplyTransposed(matrix, matrix), identity(n), 1e-12, "H Hᵀ");
    const size = 1 / Math.sqrt(core * two);
    for (const value of matrix.values) assert.ok(value === 0 || Math.abs(Math.abs(value) - size) < 1e-12, `${value}`);
  });
}

test("common widths are one block", () => {
  for (const n of [128, 512, 576, 896, 1152, 1280, 1536, 2048, 2304, 2560, 3072, 3584, 4096, 5120, 14336])
    assert.ok(hadamardShape(n).blocks === 1, `${n}: ${JSON.stringify(hadamardShape(n))}`);
});

for (const n of [1, 2, 3, 30, 64]) {
  test(`eigenvalues and vectors of ${n} × ${n}`, () => {
    const a = mirrored(randomMatrix(n, n, 9 + n));
    const { values, vectors } = symmetricEigen(a);
    assertClose(multiplyTransposed(vectors, vectors), identity(n), 1e-10, "orthonormal");
    assertClose(multiply(transpose(vectors), multiply(diagonalOf(values), vectors)), a, 1e-9, "V Λ Vᵀ");
    assert.deepEqual(
      [...values],
      [...values].sort((x, y) => y - x),
    );
  });
}

test("equal and vanishing eigenvalues", () => {
  const few = gram(randomMatrix(3, 10, 10));
  const { values, vectors } = symmetricEigen(few);
  assert.ok(values.slice(3).every((value) => Math.abs(value) < 1e-10));
  assertClose(multiplyTransposed(vectors, vectors), identity(10), 1e-10, "orthonormal");
  assert.deepEqual([...symmetricEigen(identity(5)).values], [1, 1, 1, 1, 1]);
});

for (const [rows, columns] of [
  [9, 6],
  [6, 9],
] as const) {
  test(`a truncated SVD of ${rows} × ${columns} misses what its singular values say`, () => {
    const a = randomMatrix(rows, columns, 11);
    for (const rank of [1, 3, 6]) {
      const { left, right, values } = truncatedSvd(a, rank);
      assertClose(multiplyTransposed(right, right), identity(rank), 1e-10, "orthonormal");
      const product = multiply(left, right);
      const missed = frobenius({ ...a, values: a.values.map((value, i) => value - (product.values[i] ?? 0)) });
      const expected = Math.sqrt(values.slice(rank).reduce((sum, value) => sum + value * value, 0));
      assert.ok(Math.abs(missed - expected) < 1e-6, `rank ${rank}: ${missed}, expected ${expected}`);
    }
  });
}
