// Layers and the other steps of a network, on blocks of samples (clause 16.3).

import { fourier, makeFourierSeeded, makeGrid } from "./encodings.js";
import { KIND } from "./registry.js";
import { layerWeights } from "./weights.js";

/** The function that does a step to a block: { x, n, features, current, layers, outputs }, rows of n values. */
export const prepare = (head, step) => PREPARE[step.op](head, step);

const PREPARE = {
  encode(head, { record, outputs }) {
    const make = {
      [KIND.FOURIER]: () => (x, n, out) => fourier(record, x, head.in_dims, n, out),
      [KIND.FOURIER_SEEDED]: () => makeFourierSeeded(head, record),
      [KIND.GRID]: () => makeGrid(head, record),
    }[record.kind];
    if (!make) return (block) => (block.current = block.features); // PYRAMID
    const encode = make();
    const roomFor = makeRoom(outputs);
    return (block) => {
      block.current = roomFor(block.n);
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

  layer(head, step) {
    const apply = makeLayer(head, step);
    return (block) => (block.current = block.layers[step.layer] = apply(block.current, block.n));
  },

  output(head, step) {
    const apply = makeLayer(head, step);
    return (block) => block.outputs.push((block.layers[step.layer] = apply(block.current, block.n)));
  },

  filter(head, step) {
    const linear = makeLinear(head, step);
    const { omega } = step.record;
    return (block) => {
      const sines = linear(block.x, block.n);
      for (let i = 0; i < sines.length; i++) sines[i] = Math.sin(omega * sines[i]);
      block.layers[step.layer] = sines;
      block.current = multiplied(block.current, sines);
    };
  },

  multiply(_, { record }) {
    return (block) => (block.current = multiplied(block.current, block.layers[record.layer]));
  },
};

const multiplied = (values, factors) => values.map((value, i) => value * factors[i]);

const ACTIVATIONS = {
  [KIND.SINE]: (t, omega) => Math.sin(omega * t),
  [KIND.RELU]: (t) => (t > 0 ? t : 0 * t),
  [KIND.GAUSSIAN]: (t, omega) => Math.exp(-((omega * t) ** 2)),
  [KIND.TANH]: (t) => Math.tanh(t),
  [KIND.SIGMOID]: (t) => 1 / (1 + Math.exp(-t)),
  [KIND.ELU]: (t) => (t > 0 ? t : Math.exp(t) - 1),
  [KIND.FINER]: (t, omega) => Math.sin(omega * ((Math.abs(t) + 1) * t)),
};

function makeLayer(head, step) {
  const linear = makeLinear(head, step);
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

/** What gives room for rows of n values; the same room for each block, so that blocks leave nothing to collect. */
export function makeRoom(n_rows) {
  let room = new Float64Array(0);
  return (n) => {
    if (room.length < n_rows * n) room = new Float64Array(n_rows * n);
    return room.subarray(0, n_rows * n);
  };
}

/** W x + b of a block; of a complex layer the real parts, then the imaginary ones. */
function makeLinear({ network }, step) {
  const { rows, isComplex } = step;
  const { W: coded, b } = layerWeights(network.tensors, step);
  const W = isComplex ? realMatrix(coded, rows / 2, step.columns) : coded;
  const columns = isComplex ? 2 * step.columns : step.columns;
  const roomFor = makeRoom(rows);
  return (x, n) => {
    const out = roomFor(n);
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

/** The matrix of a complex layer, W' over W'' (m, n each), as the real one that maps (z', z'') to (t', t''). */
function realMatrix(W, m, n) {
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
