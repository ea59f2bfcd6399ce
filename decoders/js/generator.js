// The generator and what is drawn from it: priors, dictionaries, the Fourier matrix (clauses 8 and 9.7).

import { DICTIONARY } from "./registry.js";

const TAG = { DICTIONARY: 0, PRIOR: 1, FOURIER: 2 };

const T8_HALF = `
0 1 1 1 2 2 3 3 3 4 4 5 5 6 6 6 7 7 8 8 8 9 9 10 10 11 11 11 12 12 13 13
14 14 14 15 15 16 16 17 17 18 18 18 19 19 20 20 21 21 22 22 23 23 24 24 25 25 26 26 27 27 28 28
29 29 30 30 31 31 32 32 33 33 34 35 35 36 36 37 38 38 39 39 40 41 41 42 43 43 44 45 46 46 47 48
49 50 50 51 52 53 54 55 56 57 58 59 60 61 63 64 65 67 68 70 71 73 75 77 79 82 85 89 93 98 106 125`;
const HALF = T8_HALF.trim().split(/\s+/).map(Number);
const T8 = Int8Array.from({ length: 256 }, (_, i) => (i >= 128 ? HALF[i - 128] : -HALF[127 - i]));

/** The high word of a * b, all unsigned 32-bit words. */
function mulhi(a, b) {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const middle = ah * bl + ((al * bl) >>> 16); // below 2^32, as is the next
  const other = al * bh + (middle & 0xffff);
  return ah * bh + (middle >>> 16) + (other >>> 16);
}

/** Philox4x32-10; the four words into `out`, a Uint32Array. */
function philox(c0, c1, c2, c3, k0, k1, out) {
  for (let round = 0; round < 10; round++) {
    const h0 = mulhi(0xd2511f53, c0);
    const l0 = Math.imul(0xd2511f53, c0);
    const h1 = mulhi(0xcd9e8d57, c2);
    const l1 = Math.imul(0xcd9e8d57, c2);
    c0 = h1 ^ c1 ^ k0;
    c1 = l1;
    c2 = h0 ^ c3 ^ k1;
    c3 = l0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** The function that gives word n of a tensor under a tag (RNG-4); it is called for n = 0, 1, … in order. */
function numbers([k0, k1], ordinal, tag) {
  const block = new Uint32Array(4);
  return (n) => {
    if (n % 4 === 0) philox(n / 4, 0, ordinal, tag, k0, k1, block);
    return block[n & 3];
  };
}

/** The function that gives entry n of the prior of a tensor (clause 9.7), for n = 0, 1, … in order. */
export function priorOf(key, { ordinal }, { m, E }) {
  const word = numbers(key, ordinal, TAG.PRIOR);
  return (n) => Math.floor(((word(n) >> 8) * m + 2 ** (E - 1)) / 2 ** E);
}

/** The integers S of the matrix of FOURIER_SEEDED (RNG-6), as (n_features, in_dims). */
export function fourierMatrix(key, size) {
  const word = numbers(key, 0, TAG.FOURIER);
  return Int32Array.from({ length: size }, (_, n) => {
    const w = word(n);
    return T8[w & 255] + T8[(w >>> 8) & 255] + T8[(w >>> 16) & 255] + T8[w >>> 24];
  });
}

const words = new Uint32Array(4);
const LAWS = {
  [DICTIONARY.RADEMACHER]: { rows: 128, entry: (row) => 2 * ((words[row >> 5] >>> (row & 31)) & 1) - 1 },
  [DICTIONARY.T8]: { rows: 16, entry: (row) => T8[(words[row >> 2] >>> (8 * (row & 3))) & 255] },
};

/** Fills `column` (Int8Array) with the entries of one atom of the dictionary of a tensor (clause 8.3). */
export function fillAtom(column, key, law, ordinal, atom) {
  const { rows, entry } = LAWS[law];
  for (let first = 0; first < column.length; first += rows) {
    philox(first / rows, atom, ordinal, TAG.DICTIONARY, ...key, words);
    const n = Math.min(rows, column.length - first);
    for (let row = 0; row < n; row++) column[first + row] = entry(row);
  }
}
