// Sparse codes of tool 3 (clause 9.5).

import { check } from "./errors.js";
import { fillAtom } from "./generator.js";
import { CODING } from "./registry.js";

/** Reads supports and coefficients of an entry: { atoms, coefficients }, vector by vector; null for s = 0. */
export function readSparse(body, sparse, coding, start) {
  const { n_vectors, s, k2, support, gaps, indices } = sparse;
  const n = n_vectors * s;
  if (n === 0) return null;
  const isRans = coding === CODING.RANS;
  const rans = () => (support ? body.gaps(gaps, n) : body.bitmaps(n_vectors, k2, s));
  const atoms = isRans ? rans() : body.patterns(indices, n);
  const coefficients = body.list(sparse.coefficients, n);
  for (let i = 0; i < n; i++) {
    const before = i % s ? atoms[i - 1] : -1;
    const atom = isRans && support ? before + 1 + atoms[i] : atoms[i];
    check(atom > before && atom < k2, isRans ? "BAD_STREAM" : "BAD_TABLE", start);
    atoms[i] = atom;
  }
  return { atoms, coefficients };
}

/** Whether SPA-5 holds. */
export function isWithinSum({ s }, { coefficients }) {
  if (!coefficients) return true;
  for (let i = 0, sum = 0; i < coefficients.length; i++) {
    sum = (i % s ? sum : 0) + Math.abs(coefficients[i]);
    if (127 * sum >= 2 ** 31) return false;
  }
  return true;
}

/** r of the tensor, as Int32Array in C order, or null if all are 0. Each atom in use is generated once. */
export function expand(tensor, { vectors, n_vectors, k1, k2, s }, { atoms, coefficients }, key, law) {
  if (!coefficients) return null;
  const r = new Int32Array(tensor.size);
  const column = new Int8Array(k1);
  const { start, order } = sortedByAtom(atoms, k2);
  const [vectorStride, stride] = vectors === 0 ? [1, n_vectors] : [k1, 1];
  for (let atom = 0; atom < k2; atom++) {
    if (start[atom] === start[atom + 1]) continue;
    fillAtom(column, key, law, tensor.ordinal, atom);
    for (let at = start[atom]; at < start[atom + 1]; at++) {
      const x = coefficients[order[at]];
      const first = Math.floor(order[at] / s) * vectorStride;
      for (let row = 0; row < k1; row++) r[first + row * stride] += column[row] * x;
    }
  }
  return r;
}

/** The places of atom a in `atoms` are order[start[a]] … order[start[a + 1] - 1]. */
function sortedByAtom(atoms, k2) {
  const start = new Uint32Array(k2 + 2);
  const order = new Uint32Array(atoms.length);
  for (const atom of atoms) start[atom + 2]++;
  for (let i = 2; i < start.length; i++) start[i] += start[i - 1];
  atoms.forEach((atom, i) => (order[start[atom + 1]++] = i));
  return { start, order };
}
