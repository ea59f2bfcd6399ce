// Parts of the native grid: their lattices and their weights (clause 13.1).

import { placesOf } from "./grids.js";

/** First samples of the parts along an axis that `n` samples have, and n at last. */
const edgesOf = (n, n_parts) => Array.from({ length: n_parts + 1 }, (_, k) => Math.floor((k * n) / n_parts));

/** The part lattices along an axis, in order: { first, size }. */
function axisLattices({ grid, split, overlap }, axis) {
  const edges = edgesOf(grid[axis], split[axis]);
  return edges.slice(1).map((end, k) => {
    const first = Math.max(edges[k] - overlap[axis], 0);
    return { first, size: Math.min(end + overlap[axis], grid[axis]) - first };
  });
}

/** The part lattices in order: { first, sizes }, the first sample and the number of samples along each axis. */
export function* lattices(head) {
  const axes = head.split.map((_, axis) => axisLattices(head, axis));
  for (let part = 0; part < head.n_parts; part++) {
    const along = placesOf(part, head.split).map((k, axis) => axes[axis][k]);
    yield { first: along.map(({ first }) => first), sizes: along.map(({ size }) => size) };
  }
}

/** The function that gives the parts along an axis with a weight at position p, one or two of them, as [k, weight]. */
export function partsAlong({ grid, split, overlap }, axis) {
  const S = split[axis];
  const o = overlap[axis];
  const edges = edgesOf(grid[axis], S);
  const u = (k, p) => {
    if (k === 0 || k === S) return k === 0 ? 1 : 0;
    if (o === 0) return p + 0.5 >= edges[k] ? 1 : 0;
    return Math.min(Math.max((p + 0.5 - (edges[k] - o)) / (2 * o), 0), 1);
  };
  return (p) => {
    const owner = ownerOf(edges, p + 0.5);
    const parts = [];
    for (let k = Math.max(owner - 1, 0); k <= Math.min(owner + 1, S - 1); k++) {
      const weight = u(k, p) * (1 - u(k + 1, p));
      if (weight !== 0) parts.push([k, weight]);
    }
    return parts;
  };
}

/** The last part that begins at or before x; part 0 where there is none. */
function ownerOf(edges, x) {
  let low = 0;
  let high = edges.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (edges[middle] <= x) low = middle;
    else high = middle;
  }
  return low;
}
