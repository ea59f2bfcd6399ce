// Values of the field (clause 16): grids, points and samples; of a file with parts, their weighted sums (clause 13.1).

import { axisCoordinates } from "./encodings.js";
import { check } from "./errors.js";
import { evaluate } from "./evaluate.js";
import { fillFromGrid, placesOf, product } from "./grids.js";
import { partsAlong } from "./parts.js";
import { FEATURE, VALUES } from "./registry.js";

const MOST_VALUES = 2 ** 29; // LIM-3: of the output

/**
 * The field on a grid of `sizes` (the native one without): { shape, values }, values as Float32Array in C order. More
 * than `most_products` products of weights and values are LIMIT_CALLER.
 */
export function evaluateGrid(file, sizes = file.head.grid, { most_products = Infinity } = {}) {
  const { head } = file;
  const n = product(sizes);
  const values = outputFor(head, n, most_products);
  const isNative = sizes.every((size, axis) => size === head.grid[axis]);
  if (head.has(FEATURE.PARTS)) addPartsOfGrid(file, sizes, isNative, values);
  else {
    const axes = sizes.map((_, axis) => axisCoordinates(head, sizes, axis));
    evaluate(head, file.passes, { n, fill: fillFromGrid(axes), isNative }, interleaver(head, values));
  }
  return { shape: [...sizes, head.out_channels], values };
}

/** The field at n points, `points` being (n, in_dims) as Float32Array. */
export function evaluatePoints(file, points, { most_products = Infinity } = {}) {
  const { head } = file;
  const { in_dims } = head;
  const n = points.length / in_dims;
  const values = outputFor(head, n, most_products);
  const fill = (first, count, coordinates) => {
    for (let i = 0; i < count; i++) {
      for (let axis = 0; axis < in_dims; axis++) coordinates[axis * count + i] = points[(first + i) * in_dims + axis];
    }
  };
  if (head.has(FEATURE.PARTS)) addPartsOfPoints(file, points, values);
  else evaluate(head, file.passes, { n, fill, isNative: false }, interleaver(head, values));
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

/** Room for n samples, within the limits of LIM-3. */
function outputFor({ out_channels, steps, grid }, n, most_products) {
  check(n * out_channels <= MOST_VALUES, "LIMIT_CALLER", null, "too many output samples");
  const ofSample = steps.reduce((sum, { rows = 0, columns = 0 }) => sum + rows * columns, 0);
  const ofLattice = steps.some(({ op }) => op === "lattice") ? product(grid) : 0;
  check((n + ofLattice) * ofSample <= most_products, "LIMIT_CALLER", null, "too many products");
  return new Float32Array(n * out_channels);
}

/** What puts rows of values as samples, the values of a sample together. */
const interleaver = ({ out_channels }, values) => (rows, first, n) => {
  for (let channel = 0; channel < out_channels; channel++) {
    for (let i = 0; i < n; i++) values[(first + i) * out_channels + channel] = rows[channel * n + i];
  }
};

// --- parts (clause 13.1) ---------------------------------------------------------------------------

/** Evaluates a part at samples and adds its values times `weights` to the samples of the whole at `places`. */
function addPart({ head, passes }, part, { places, weights, fill, isNative }, values) {
  if (places.length === 0) return;
  const { out_channels } = head;
  evaluate(part, passes, { n: places.length, fill, isNative }, (rows, first, n) => {
    for (let i = 0; i < n; i++) {
      const at = places[first + i] * out_channels;
      const weight = weights[first + i];
      for (let channel = 0; channel < out_channels; channel++) values[at + channel] += weight * rows[channel * n + i];
    }
  });
}

/** The coordinate in a part of a position on an axis of the whole grid. */
const coordinateIn = ({ first, grid }, axis, p) => Math.fround((2 * (p - first[axis]) + 1) / grid[axis] - 1);

function addPartsOfGrid(file, sizes, isNative, values) {
  const { head, parts } = file;
  const axes = sizes.map((n, axis) => shareAxis(head, n, axis));
  parts.forEach((part, number) => {
    const along = placesOf(number, head.split).map((k, axis) => axes[axis][k]);
    const fill = fillFromGrid(
      along.map(({ positions }, axis) => Float32Array.from(positions, (p) => coordinateIn(part, axis, p))),
    );
    const { places, weights } = along.reduce((lines, one, axis) => crossed(lines, one, sizes[axis]), {
      places: [0],
      weights: [1],
    });
    addPart(file, part, { places, weights, fill, isNative }, values);
  });
}

/** For each part along an axis of n samples: the samples where it has a weight, their positions and weights. */
function shareAxis(head, n, axis) {
  const shares = partsAlong(head, axis);
  const parts = Array.from({ length: head.split[axis] }, () => ({ indices: [], positions: [], weights: [] }));
  for (let i = 0; i < n; i++) {
    const p = (((2 * i + 1) * head.grid[axis]) / n - 1) / 2;
    for (const [k, weight] of shares(p)) {
      parts[k].indices.push(i);
      parts[k].positions.push(p);
      parts[k].weights.push(weight);
    }
  }
  return parts;
}

/** Places and weights of samples on one axis more, which has `size` samples in the whole. */
function crossed(lines, along, size) {
  const n = along.indices.length;
  const places = new Float64Array(lines.places.length * n);
  const weights = new Float64Array(places.length);
  for (let line = 0, at = 0; line < lines.places.length; line++) {
    for (let i = 0; i < n; i++, at++) {
      places[at] = lines.places[line] * size + along.indices[i];
      weights[at] = lines.weights[line] * along.weights[i];
    }
  }
  return { places, weights };
}

function addPartsOfPoints(file, points, values) {
  const { head, parts } = file;
  const { in_dims } = head;
  const taken = parts.map(() => ({ places: [], weights: [] }));
  const positions = Float64Array.from(points, (x, i) => positionOf(head, x, i % in_dims));
  const shares = head.split.map((_, axis) => partsAlong(head, axis));
  for (let place = 0; place * in_dims < points.length; place++) {
    for (const [number, weight] of sharesAt(head, shares, positions.subarray(place * in_dims))) {
      taken[number].places.push(place);
      taken[number].weights.push(weight);
    }
  }
  parts.forEach((part, number) => {
    const { places, weights } = taken[number];
    const fill = (first, count, coordinates) => {
      for (let i = 0; i < count; i++) {
        for (let axis = 0; axis < in_dims; axis++) {
          const p = positions[places[first + i] * in_dims + axis];
          coordinates[axis * count + i] = coordinateIn(part, axis, p);
        }
      }
    };
    addPart(file, part, { places, weights, fill, isNative: false }, values);
  });
}

const positionOf = ({ grid }, x, axis) => (Number.isNaN(x) ? 0 : ((x + 1) * grid[axis] - 1) / 2);

/** The parts that have a weight at positions, one an axis, as [number, weight]. */
function sharesAt(head, shares, positions) {
  return shares.reduce(
    (all, share, axis) => {
      const along = share(positions[axis]);
      return all.flatMap(([number, w]) => along.map(([k, weight]) => [number * head.split[axis] + k, w * weight]));
    },
    [[0, 1]],
  );
}
