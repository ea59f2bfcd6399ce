// Values of the field (clause 16): evaluation in binary64, results rounded to binary32.

import {
  axisCoordinates, eachVertex, fourier, latticePosition, makeFourierSeeded, makeGrid, placeOf,
} from "./encodings.js";
import { check } from "./errors.js";
import { weightsOf } from "./pass.js";
import { filterLattice, pyramidFeatures } from "./pyramid.js";
import { KIND, VALUES } from "./registry.js";

const BLOCK = 256; // samples evaluated at a time
const BLOCK_VALUES = 2 ** 20; // fewer where a layer has many values
const MOST_VALUES = 2 ** 29; // LIM-3: of the output

const product = (sizes) => sizes.reduce((all, n) => all * n, 1);

/**
 * The field on a grid of `sizes` (the native one without): { shape, values }, values as Float32Array in C order.
 */
export function evaluateGrid({ head }, sizes = head.grid) {
  const n = product(sizes);
  const values = outputFor(head, n);
  const axes = sizes.map((_, axis) => axisCoordinates(head, sizes, axis));
  const fill = (first, count, coordinates) => fillFromGrid(axes, first, count, coordinates);
  const isNative = sizes.every((size, axis) => size === head.grid[axis]);
  evaluate(head, n, fill, isNative, values);
  return { shape: [...sizes, head.out_channels], values };
}

/** The field at n points, `points` being (n, in_dims) as Float32Array. */
export function evaluatePoints({ head }, points) {
  const { in_dims } = head;
  const n = points.length / in_dims;
  const values = outputFor(head, n);
  const fill = (first, count, coordinates) => {
    for (let i = 0; i < count; i++) {
      for (let axis = 0; axis < in_dims; axis++) coordinates[axis * count + i] = points[(first + i) * in_dims + axis];
    }
  };
  evaluate(head, n, fill, false, values);
  return { shape: [n, head.out_channels], values };
}

/** 8-bit samples of values (clause 16.4). */
export function samplesOf({ head }, values) {
  const { fround } = Math;
  const unit = (v) => (head.values === VALUES.SIGNED ? fround(fround(v + 1) / 2) : v);
  const samples = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const one = Math.min(Math.max(unit(values[i]), 0), 1); // NaN stays NaN, which is stored as 0
    samples[i] = Math.floor(fround(fround(255 * one) + 0.5));
  }
  return samples;
}

function outputFor({ out_channels }, n) {
  check(n * out_channels <= MOST_VALUES, "LIMIT_CALLER", null, "too many output samples");
  return new Float32Array(n * out_channels);
}

/** Rows of coordinates of the samples first … first + count - 1 of a grid. */
function fillFromGrid(axes, first, count, coordinates) {
  for (let i = 0; i < count; i++) {
    let rest = first + i;
    for (let axis = axes.length - 1; axis >= 0; axis--) {
      const n = axes[axis].length;
      coordinates[axis * count + i] = axes[axis][rest % n];
      rest = Math.floor(rest / n);
    }
  }
}

/** Evaluates n samples, whose coordinates `fill` gives, into `values`; isNative: they are the native lattice. */
function evaluate(head, n, fill, isNative, values) {
  const { steps } = head.network;
  const pointwise = steps.filter(({ op }) => op !== "lattice").map((step) => prepare(head, step));
  const widest = Math.max(head.in_dims, ...steps.map(({ inputs, outputs }) => Math.max(inputs, outputs)));
  const size = Math.max(1, Math.min(BLOCK, Math.floor(BLOCK_VALUES / widest)));
  const lattice = head.records[0].kind === KIND.PYRAMID ? pyramidFeatures(head, head.records[0]) : null;
  const filters = steps.filter(({ op }) => op === "lattice");
  if (filters.length === 0) {
    const features = lattice && (isNative ? nativeRows(lattice) : interpolatedRows(head, lattice));
    const use = (rows, first, count) => interleave(rows, count, first, head.out_channels, values);
    evaluateBlocks(head, n, size, fill, pointwise, features, use);
    return;
  }
  const planes = filteredPlanes(head, size, pointwise, lattice, filters);
  const rowsOf = isNative ? nativeRows(planes) : interpolatedRows(head, planes);
  eachBlock(n, size, (first, count) => {
    const coordinates = new Float64Array(head.in_dims * count);
    fill(first, count, coordinates);
    interleave(rowsOf(first, coordinates, count), count, first, head.out_channels, values);
  });
}

/** The planes of the field's values on the native lattice, for networks with lattice filters. */
function filteredPlanes(head, size, pointwise, lattice, filters) {
  const n = product(head.grid);
  const axes = head.grid.map((_, axis) => axisCoordinates(head, head.grid, axis));
  const fill = (first, count, coordinates) => fillFromGrid(axes, first, count, coordinates);
  let planes = null;
  evaluateBlocks(head, n, size, fill, pointwise, nativeRows(lattice), (rows, first, count) => {
    planes ??= Array.from({ length: rows.length / count }, () => new Float32Array(n));
    planes.forEach((plane, i) => plane.set(rows.subarray(i * count, (i + 1) * count), first));
  });
  const n_filtered = filters[0].inputs;
  let filtered = planes.slice(0, n_filtered);
  for (const step of filters) filtered = filterLattice(step, filtered, head);
  return [...filtered, ...planes.slice(n_filtered)];
}

function eachBlock(n, size, use) {
  for (let first = 0; first < n; first += size) use(first, Math.min(size, n - first));
}

/** Calls `use(rows, first, count)` with the values of each block: the last layer's, then those of OUTPUT records. */
function evaluateBlocks(head, n, size, fill, pointwise, features, use) {
  eachBlock(n, size, (first, count) => {
    const x = new Float64Array(head.in_dims * count);
    fill(first, count, x);
    const block = { x, n: count, current: x, outputs: [], features: features && features(first, x, count) };
    for (const step of pointwise) step(block);
    const rows = [block.current, ...block.outputs];
    const all = new Float64Array(rows.reduce((sum, { length }) => sum + length, 0));
    rows.reduce((at, row) => (all.set(row, at), at + row.length), 0);
    use(all, first, count);
  });
}

const nativeRows = (planes) => (first, _, n) => {
  const rows = new Float64Array(planes.length * n);
  planes.forEach((plane, i) => rows.set(plane.subarray(first, first + n), i * n));
  return rows;
};

/** Rows of the planes at coordinates, by multilinear interpolation on the native lattice. */
function interpolatedRows(head, planes) {
  const positionOn = head.grid.map((_, axis) => latticePosition(head, axis));
  return (_, coordinates, n) => {
    const rows = new Float64Array(planes.length * n);
    for (let i = 0; i < n; i++) {
      const positions = positionOn.map((position, axis) => position(coordinates[axis * n + i]));
      eachVertex(positions, head.grid, (vertex, weight) => {
        const place = placeOf(vertex, head.grid);
        for (let k = 0; k < planes.length; k++) rows[k * n + i] += weight * planes[k][place];
      });
    }
    return rows;
  };
}

/** Rows of values as samples, the values of a sample together. */
function interleave(rows, n, first, channels, values) {
  for (let channel = 0; channel < channels; channel++) {
    for (let i = 0; i < n; i++) values[(first + i) * channels + channel] = rows[channel * n + i];
  }
}

// --- steps (clause 16.3) ---------------------------------------------------------------------------

const prepare = (head, step) => PREPARE[step.op](head, step);

const PREPARE = {
  encode(head, { record, outputs }) {
    const make = {
      [KIND.FOURIER]: () => (x, n, out) => fourier(record, x, head.in_dims, n, out),
      [KIND.FOURIER_SEEDED]: () => makeFourierSeeded(head, record),
      [KIND.GRID]: () => makeGrid(head, record),
    }[record.kind];
    if (!make) return (block) => (block.current = block.features); // PYRAMID
    const encode = make();
    return (block) => {
      block.current = new Float64Array(outputs * block.n);
      encode(block.x, block.n, block.current);
    };
  },

  input(_, { record, inputs, outputs }) {
    return (block) => {
      const { x, n, current } = block;
      const axes = x.subarray(record.first * n, (record.first + record.count) * n);
      block.current = new Float64Array(outputs * n);
      if (inputs) block.current.set(current);
      const appended = block.current.subarray(inputs * n);
      if (record.encoding) fourier(record, axes, record.count, n, appended);
      else appended.set(axes);
    };
  },

  layer(_, step) {
    const apply = makeLayer(step);
    return (block) => (block.current = apply(block.current, block.n));
  },

  output(_, step) {
    const apply = makeLayer(step);
    return (block) => block.outputs.push(apply(block.current, block.n));
  },

  filter(_, step) {
    const linear = makeLinear(step);
    const { omega } = step.record;
    return (block) => {
      const t = linear(block.x, block.n);
      block.current = block.current.map((value, i) => value * Math.sin(omega * t[i]));
    };
  },
};

const ACTIVATIONS = {
  [KIND.SINE]: (t, omega) => Math.sin(omega * t),
  [KIND.RELU]: (t) => (t > 0 ? t : 0 * t),
  [KIND.GAUSSIAN]: (t, omega) => Math.exp(-((omega * t) ** 2)),
  [KIND.TANH]: (t) => Math.tanh(t),
  [KIND.SIGMOID]: (t) => 1 / (1 + Math.exp(-t)),
  [KIND.ELU]: (t) => (t > 0 ? t : Math.exp(t) - 1),
  [KIND.FINER]: (t, omega) => Math.sin(omega * ((Math.abs(t) + 1) * t)),
};

function makeLayer(step) {
  const linear = makeLinear(step);
  const { omega, scale } = step.record;
  if (step.kind === KIND.GABOR) return (x, n) => gabor(linear(x, n), step.isComplex, omega, scale);
  const act = ACTIVATIONS[step.kind];
  if (!act) return linear;
  return (x, n) => {
    const t = linear(x, n);
    for (let i = 0; i < t.length; i++) t[i] = act(t[i], omega);
    return t;
  };
}

/** Real parts of all, then imaginary parts of all. */
function gabor(t, isComplex, omega, scale) {
  const m = isComplex ? t.length / 2 : t.length;
  const out = new Float64Array(2 * m);
  for (let i = 0; i < m; i++) {
    const re = t[i];
    const im = isComplex ? t[m + i] : 0;
    const magnitude = Math.exp(-omega * im - scale * scale * (re * re + im * im));
    out[i] = magnitude * Math.cos(omega * re);
    out[m + i] = magnitude * Math.sin(omega * re);
  }
  return out;
}

/** W x + b of a block; of a complex layer the real parts, then the imaginary ones. */
function makeLinear({ weight, bias, isComplex }) {
  const W = isComplex ? realMatrix(weight) : weightsOf(weight);
  const { rows } = weight;
  const columns = isComplex ? 2 * weight.columns : weight.columns;
  const b = bias ? weightsOf(bias) : new Float32Array(rows);
  return (x, n) => {
    const out = new Float64Array(rows * n);
    for (let o = 0; o < rows; o++) {
      const row = out.subarray(o * n, (o + 1) * n).fill(b[o]);
      let j = 0;
      for (; j + 4 <= columns; j += 4) {
        const at = o * columns + j;
        const [w0, w1, w2, w3] = [W[at], W[at + 1], W[at + 2], W[at + 3]];
        const x0 = j * n;
        for (let i = 0, k = x0; i < n; i++, k++) {
          row[i] += w0 * x[k] + w1 * x[k + n] + w2 * x[k + 2 * n] + w3 * x[k + 3 * n];
        }
      }
      for (; j < columns; j++) {
        const w = W[o * columns + j];
        for (let i = 0; i < n; i++) row[i] += w * x[j * n + i];
      }
    }
    return out;
  };
}

/** The matrix of a complex layer, W' over W'', as the real one that maps (z', z'') to (t', t''). */
function realMatrix(weight) {
  const W = weightsOf(weight);
  const m = weight.rows / 2;
  const n = weight.columns;
  const all = new Float32Array(4 * m * n);
  for (let o = 0; o < m; o++) {
    const re = W.subarray(o * n, (o + 1) * n);
    const im = W.subarray((m + o) * n, (m + o + 1) * n);
    all.set(re, o * 2 * n);
    all.set(im.map((w) => -w), o * 2 * n + n);
    all.set(im, (m + o) * 2 * n);
    all.set(re, (m + o) * 2 * n + n);
  }
  return all;
}
