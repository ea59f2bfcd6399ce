// Coordinates and input encodings (clauses 16.1, 16.2 and 16.5). Values of a block of n samples stand in a
// Float64Array, one row of n for each value.

import { fourierMatrix } from "./generator.js";
import { COORDS } from "./registry.js";
import { weightsOf } from "./weights.js";

const PRIMES = [1, 2654435761, 805459861, 3674653429];

/** The coordinates of index 0 … n - 1 on an axis of a grid of the sizes given, as Float32Array. */
export function axisCoordinates({ coords, low, high }, sizes, axis) {
  const n = sizes[axis];
  const of = {
    [COORDS.CENTRES]: (i) => (2 * i + 1) / n - 1,
    [COORDS.CORNERS]: (i) => (2 * i) / Math.max(n - 1, 1) - 1,
    [COORDS.CORNERS_PROPORTIONAL]: (i) => (2 * i) / Math.max(sizes[0] - 1, 1) - 1,
    [COORDS.CENTRES_UNIT]: (i) => (i + 0.5) / n,
    [COORDS.BOX]: (i) => low[axis] + ((high[axis] - low[axis]) * (i + 0.5)) / n,
  }[coords];
  return Float32Array.from({ length: n }, (_, i) => of(i));
}

/** The function that gives the position of a coordinate on an axis of the native lattice (clause 16.6). */
export function latticePosition({ coords, low, high, grid }, axis) {
  const n = grid[axis];
  const of = {
    [COORDS.CENTRES]: (x) => ((x + 1) * n - 1) / 2,
    [COORDS.CORNERS]: (x) => ((x + 1) * Math.max(n - 1, 1)) / 2,
    [COORDS.CORNERS_PROPORTIONAL]: (x) => ((x + 1) * Math.max(grid[0] - 1, 1)) / 2,
    [COORDS.CENTRES_UNIT]: (x) => x * n - 0.5,
    [COORDS.BOX]: (x) => ((x - low[axis]) / (high[axis] - low[axis])) * n - 0.5,
  }[coords];
  return (x) => clipped(of(x), n - 1);
}

/** The function that gives the unit coordinate on an axis of a GRID (clause 16.5). */
function unitCoordinate({ coords, low, high, grid, has_grid }, axis) {
  const stretch = has_grid ? Math.max(grid[0] - 1, 1) / Math.max(grid[axis] - 1, 1) : 1;
  const of = {
    [COORDS.CENTRES]: (x) => (x + 1) / 2,
    [COORDS.CORNERS]: (x) => (x + 1) / 2,
    [COORDS.CORNERS_PROPORTIONAL]: (x) => ((x + 1) / 2) * stretch,
    [COORDS.CENTRES_UNIT]: (x) => x,
    [COORDS.BOX]: (x) => (x - low[axis]) / (high[axis] - low[axis]),
  }[coords];
  return (x) => clipped(of(x), 1);
}

/** x clipped to 0 … most; 0 where it is not a number (VAL-2). */
const clipped = (x, most) => (x > 0 ? Math.min(x, most) : 0);

/**
 * Multilinear interpolation: calls `use(vertex, weight)` for the vertices around the positions, one an axis, on a
 * lattice of the sizes given; `vertex` is reused.
 */
export function eachVertex(positions, sizes, use) {
  const n_axes = sizes.length;
  const floors = positions.map((p, axis) => Math.min(Math.floor(p), Math.max(sizes[axis] - 2, 0)));
  const vertex = new Array(n_axes);
  for (let corner = 0; corner < 2 ** n_axes; corner++) {
    let weight = 1;
    for (let axis = 0; axis < n_axes; axis++) {
      const upper = (corner >> axis) & 1;
      const rest = positions[axis] - floors[axis];
      vertex[axis] = floors[axis] + upper;
      weight *= upper ? (sizes[axis] > 1 ? rest : 0) : 1 - rest;
    }
    if (weight !== 0) use(vertex, weight);
  }
}

/** The same with the four points around the position on every axis: cubic interpolation (clause 16.6). */
export function eachLatticePoint(positions, sizes, use) {
  const n_axes = sizes.length;
  const around = positions.map((p, axis) => {
    const i = Math.min(Math.floor(p), Math.max(sizes[axis] - 2, 0));
    const places = [-1, 0, 1, 2].map((k) => Math.min(Math.max(i + k, 0), sizes[axis] - 1));
    return { places, weights: cubicWeights(p - i) };
  });
  const point = new Array(n_axes);
  for (let corner = 0; corner < 4 ** n_axes; corner++) {
    let weight = 1;
    around.forEach(({ places, weights }, axis) => {
      const k = (corner >> (2 * axis)) & 3;
      point[axis] = places[k];
      weight *= weights[k];
    });
    if (weight !== 0) use(point, weight);
  }
}

function cubicWeights(f) {
  const [square, cube] = [f ** 2, f ** 3];
  return [
    -f / 2 + square - cube / 2,
    1 - (5 * square) / 2 + (3 * cube) / 2,
    f / 2 + 2 * square - (3 * cube) / 2,
    -square / 2 + cube / 2,
  ];
}

/** Place of a vertex in C order. */
export const placeOf = (vertex, sizes) => vertex.reduce((place, i, axis) => place * sizes[axis] + i, 0);

// --- FOURIER and FOURIER_SEEDED ----------------------------------------------------------------------

/** The powers of the base that the frequencies of a FOURIER are, by repeated multiplication. */
export function frequencyPowers({ octaves, base }) {
  const powers = [1];
  while (powers.length < octaves) powers.push(powers.at(-1) * base);
  return powers;
}

/** FOURIER outputs of rows of coordinates, put at `out`. */
export function fourier(record, coordinates, n_axes, n, out) {
  const { flags } = record;
  const size = n_axes * n;
  let at = 0;
  if (flags & 1) {
    out.set(coordinates.subarray(0, size));
    at = size;
  }
  for (const power of frequencyPowers(record)) {
    const frequency = Math.fround(flags & 2 ? power * Math.PI : power);
    for (let i = 0; i < size; i++) {
      const argument = Math.fround(coordinates[i] * frequency);
      out[at + i] = Math.sin(argument);
      out[at + size + i] = Math.cos(argument);
    }
    at += 2 * size;
  }
}

export function makeFourierSeeded({ key, in_dims }, { n_features, scale }) {
  const B = Float32Array.from(fourierMatrix(key, n_features * in_dims), (S) => Math.fround(S) * scale);
  return (coordinates, n, out) => {
    for (let row = 0; row < n_features; row++) {
      for (let i = 0; i < n; i++) {
        let t = 0;
        for (let j = 0; j < in_dims; j++) t += B[row * in_dims + j] * coordinates[j * n + i];
        out[row * n + i] = Math.sin(t);
        out[(n_features + row) * n + i] = Math.cos(t);
      }
    }
  };
}

// --- GRID --------------------------------------------------------------------------------------------

function hashedEntry(vertex, T) {
  let h = 0;
  vertex.forEach((i, axis) => (h ^= Math.imul(i, PRIMES[axis])));
  return (h & (T - 1)) >>> 0;
}

export function makeGrid(head, record) {
  const { n_axes, n_levels, feature_dim, latent_dim, flags } = record;
  const { tensors } = head.network;
  const levels = tensors.filter(({ role }) => role === "latents");
  const [decoder, bias] = tensors.filter(({ ordinal }) => ordinal >= 65536 && ordinal < 65792).map(weightsOf);
  const units = Array.from({ length: n_axes }, (_, axis) => unitCoordinate(head, axis));
  const isSummed = (flags & 1) !== 0;
  const n_features = feature_dim * (isSummed ? 1 : n_levels);
  const z = new Float64Array(latent_dim);

  const interpolate = ({ acc, shape, rows, is_hashed }, t) => {
    z.fill(0);
    if (!acc) return;
    const positions = t.map((unit, axis) => unit * (shape[axis] - 1));
    eachVertex(positions, shape, (vertex, weight) => {
      const entry = is_hashed ? hashedEntry(vertex, rows) : placeOf(vertex, shape);
      for (let d = 0; d < latent_dim; d++) z[d] += weight * acc[entry * latent_dim + d];
    });
  };

  return (coordinates, n, out) => {
    out.fill(0, 0, n_features * n);
    for (let i = 0; i < n; i++) {
      const t = units.map((unit, axis) => unit(coordinates[axis * n + i]));
      levels.forEach((level, l) => {
        interpolate(level, t);
        const first = flags & 8 ? l * feature_dim : 0;
        for (let k = 0; k < feature_dim; k++) {
          let sum = bias ? bias[first + k] : 0;
          for (let d = 0; d < latent_dim; d++) sum += decoder[(first + k) * latent_dim + d] * z[d];
          out[(isSummed ? k : l * feature_dim + k) * n + i] += sum;
        }
      });
    }
    const kept = coordinates.subarray((flags & 2 ? 0 : n_axes) * n, head.in_dims * n);
    out.set(kept, n_features * n);
  };
}
