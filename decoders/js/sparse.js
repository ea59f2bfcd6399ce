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
  const read = isRans ? (support ? () => body.gaps(gaps, n) : () => body.bitmaps(n_vectors, k2, s)) : () => body.patterns(indices, n);
  const atoms = read();
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
export function expand(tensor, { vectors, n_vectors, k1, s }, { atoms, coefficients }, key, law) {
  if (!coefficients) return null;
  const r = new Int32Array(tensor.size);
  const column = new Int8Array(k1);
  const order = Uint32Array.from(atoms, (_, i) => i).sort((a, b) => atoms[a] - atoms[b]);
  const [vectorStride, stride] = vectors === 0 ? [1, n_vectors] : [k1, 1];
  let filled = -1;
  for (const i of order) {
    const x = coefficients[i];
    if (x === 0) continue;
    if (atoms[i] !== filled) fillAtom(column, key, law, tensor.ordinal, atoms[i]);
    filled = atoms[i];
    const first = Math.floor(i / s) * vectorStride;
    for (let row = 0; row < k1; row++) r[first + row * stride] += column[row] * x;
  }
  return r;
}
