// Pyramids of latents and filters over the lattice (clause 16.6). A plane holds one number a lattice point, in C order.

import { halvedAxes } from "./network.js";
import { KIND } from "./registry.js";
import { layerWeights, weightsOf } from "./weights.js";

const OFFSETS = [0, 1, -1, 2, -2, 3, -3, 4];
const LINEAR = [3 / 4, 1 / 4, 0];
const CUBIC = [111 / 128, 29 / 128, -9 / 128, -3 / 128, 0, 0, 0, 0];
const defaults = (t) => (t === 1 ? [1] : t <= 3 ? LINEAR.slice(0, t) : CUBIC.slice(0, t));

const product = (sizes) => sizes.reduce((all, n) => all * n, 1);

/** The features of the native lattice: n_levels planes as Float32Array. */
export function pyramidFeatures({ network }, record) {
  const t = record.filter & 15;
  const filters = network.tensors.filter(({ ordinal }) => ordinal === 65536).map(weightsOf)[0];
  const levels = network.tensors.filter(({ role }) => role === "latents");
  const coefficients = (f) => defaults(t).map((value, j) => value + filters[f * t + j]);
  return levels.map((tensor, level) => {
    let plane = Float32Array.from(tensor.acc ?? new Float32Array(tensor.size));
    let shape = tensor.shape;
    for (let next = level + 1; next < levels.length; next++) {
      const a = coefficients(record.filter & 16 ? 0 : next - 1);
      for (const axis of halvedAxes(record)) {
        const after = shape.map((n, i) => (i === axis ? levels[next].shape[axis] : n));
        plane = upSample(plane, shape, after, axis, a);
        shape = after;
      }
    }
    return plane;
  });
}

/** Up-samples a plane along one axis. */
function upSample(plane, shape, after, axis, a) {
  const m = shape[axis];
  const n = after[axis];
  const inner = product(shape.slice(axis + 1));
  const outer = product(shape.slice(0, axis));
  const result = new Float32Array(outer * n * inner);
  const starts = new Int32Array(a.length); // in the plane, of the terms of a sum
  for (let row = 0, to = 0; row < outer * n; row++) {
    const i = row % n;
    const o = (row - i) / n;
    for (let j = 0; j < a.length; j++) {
      const at = (i >> 1) + (i & 1 ? OFFSETS[j] : -OFFSETS[j]);
      starts[j] = (o * m + Math.min(Math.max(at, 0), m - 1)) * inner;
    }
    for (let k = 0; k < inner; k++, to++) {
      let sum = 0;
      for (let j = 0; j < a.length; j++) sum += a[j] * plane[starts[j] + k];
      result[to] = sum;
    }
  }
  return result;
}

/** The planes after a CONV or CONV_RELU step. */
export function filterLattice(step, planes, { grid, records: [record], network }) {
  const { W: weights, b: bias } = layerWeights(network.tensors, step);
  const taps = neighbours(grid, halvedAxes(record));
  return planes.map((plane, o) => {
    const sum = Float64Array.from(plane, (x) => x + bias[o]);
    planes.forEach((input, i) => {
      taps.forEach((tap, k) => tap(input, weights[(o * planes.length + i) * taps.length + k], sum));
    });
    return Float32Array.from(sum, (t) => (step.kind === KIND.CONV_RELU ? Math.max(t, 0) : t));
  });
}

/** For each k of a filter, in C order, what adds a plane, moved by k - 1 on the halved axes and times w, to sums. */
function neighbours(grid, halved) {
  return Array.from({ length: 3 ** halved.length }, (_, k) => {
    const shifts = grid.map(() => 0);
    halved.forEach((axis, i) => (shifts[axis] = (Math.floor(k / 3 ** (halved.length - 1 - i)) % 3) - 1));
    const strides = grid.map((_, axis) => product(grid.slice(axis + 1)));
    // Where index i of an axis takes its number from, times the stride of the axis.
    const from = grid.map((n, axis) =>
      Int32Array.from({ length: n }, (_, i) => Math.min(Math.max(i + shifts[axis], 0), n - 1) * strides[axis]),
    );
    return (plane, w, sum) => {
      let at = 0;
      const go = (axis, start) => {
        if (axis < grid.length - 1) {
          for (const offset of from[axis]) go(axis + 1, start + offset);
          return;
        }
        const last = from[axis];
        for (let i = 0; i < last.length; i++) sum[at++] += w * plane[start + last[i]];
      };
      go(0, 0);
    };
  });
}
