// Evaluation of a network at samples (clauses 16.3 and 16.6), in blocks, in binary64.

import { axisCoordinates, eachLatticePoint, latticePosition, placeOf } from "./encodings.js";
import { fillFromGrid, product } from "./grids.js";
import { makeRoom, prepare } from "./layers.js";
import { filterLattice, pyramidFeatures } from "./pyramid.js";
import { KIND } from "./registry.js";

const BLOCK = 256; // samples evaluated at a time
const BLOCK_VALUES = 2 ** 20; // fewer where a layer has many values

/**
 * Evaluates the network of `head` (that of a file or of a part) after `passes` passes: calls `use(rows, first, count)`
 * with the values of each block of the n samples, a row a channel. `fill(first, count, coordinates)` gives their
 * coordinates; isNative: they are the native lattice.
 */
export function evaluate(head, passes, { n, fill, isNative }, use) {
  const steps = head.steps.map((step) => afterPasses(step, passes));
  const pointwise = steps.filter(({ op }) => op !== "lattice").map((step) => prepare(head, step));
  const widest = Math.max(head.in_dims, ...steps.map(({ inputs, outputs }) => Math.max(inputs, outputs)));
  const size = Math.max(1, Math.min(BLOCK, Math.floor(BLOCK_VALUES / widest)));
  const lattice = head.records[0].kind === KIND.PYRAMID ? pyramidFeatures(head, head.records[0]) : null;
  const filters = steps.filter(({ op }) => op === "lattice");
  if (filters.length === 0) {
    const features = lattice && (isNative ? nativeRows(lattice) : interpolatedRows(head, lattice));
    evaluateBlocks(head, n, size, fill, pointwise, features, use);
    return;
  }
  const planes = filteredPlanes(head, size, pointwise, lattice, filters);
  const rowsOf = isNative ? nativeRows(planes) : interpolatedRows(head, planes);
  eachBlock(n, size, (first, count) => {
    const coordinates = new Float64Array(head.in_dims * count);
    fill(first, count, coordinates);
    use(rowsOf(first, coordinates, count), first, count);
  });
}

/** A step of a network that grows, with the units that are there after `passes` passes (clause 13.2). */
function afterPasses(step, passes) {
  if (!step.active_rows) return step;
  const [outputs, inputs] = [step.active_rows[passes - 1], step.active_columns[passes - 1]];
  return { ...step, outputs, inputs, rows: outputs, columns: inputs };
}

/** The planes of the field's values on the native lattice, for networks with lattice filters. */
function filteredPlanes(head, size, pointwise, lattice, filters) {
  const n = product(head.grid);
  const axes = head.grid.map((_, axis) => axisCoordinates(head, head.grid, axis));
  let planes = null;
  evaluateBlocks(head, n, size, fillFromGrid(axes), pointwise, nativeRows(lattice), (rows, first, count) => {
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
    const block = { x, n: count, current: x, layers: [], outputs: [], features: features && features(first, x, count) };
    for (const step of pointwise) step(block);
    use(joined([block.current, ...block.outputs]), first, count);
  });
}

function joined(rows) {
  if (rows.length === 1) return rows[0];
  const all = new Float64Array(rows.reduce((sum, { length }) => sum + length, 0));
  rows.reduce((at, row) => (all.set(row, at), at + row.length), 0);
  return all;
}

/** Rows of the planes at samples of the native lattice. */
function nativeRows(planes) {
  const roomFor = makeRoom(planes.length);
  return (first, _, n) => {
    const rows = roomFor(n);
    planes.forEach((plane, i) => {
      for (let k = 0; k < n; k++) rows[i * n + k] = plane[first + k];
    });
    return rows;
  };
}

/** Rows of the planes at coordinates, by cubic interpolation on the native lattice. */
function interpolatedRows(head, planes) {
  const positionOn = head.grid.map((_, axis) => latticePosition(head, axis));
  return (_, coordinates, n) => {
    const rows = new Float64Array(planes.length * n);
    for (let i = 0; i < n; i++) {
      const positions = positionOn.map((position, axis) => position(coordinates[axis * n + i]));
      eachLatticePoint(positions, head.grid, (vertex, weight) => {
        const place = placeOf(vertex, head.grid);
        for (let k = 0; k < planes.length; k++) rows[k * n + i] += weight * planes[k][place];
      });
    }
    return rows;
  };
}
