// Models: frequencies of symbols that sum to 2^14 (clauses 7.3, 9.6.3 and 10.2). Every number is an exact integer in a
// double: products stay below 2^53.

const ONE = 2 ** 24;
const TOTAL = 2 ** 14;
const scaled = (a, b) => Math.floor((a * b) / ONE);

const mf8 = (c) => (c > 0 ? Math.min((8 + (c & 7)) * 2 ** (c >> 3), ONE) : 0);

/** Frequencies of neighbouring symbols, the lowest of them first. */
export class Model {
  #symbolAt = null;

  constructor(lowest, frequencies) {
    this.lowest = lowest;
    this.highest = lowest + frequencies.length - 1;
    this.start = new Uint16Array(frequencies.length + 1); // cumulative frequencies
    frequencies.forEach((f, i) => (this.start[i + 1] = this.start[i] + f));
  }

  /** For long lists: finds symbols by table instead of by bisection. */
  prepare() {
    this.#symbolAt ??= new Uint16Array(TOTAL);
    for (let i = 0; i + 1 < this.start.length; i++) this.#symbolAt.fill(i, this.start[i], this.start[i + 1]);
  }

  /** Index of the symbol whose range holds `slot`. */
  find(slot) {
    if (this.#symbolAt) return this.#symbolAt[slot];
    const { start } = this;
    let low = 0;
    let high = start.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (start[middle] <= slot) low = middle;
      else high = middle;
    }
    return low;
  }
}

/** g[0 .. R] of clause 10.2. */
function geometric({ theta, rho, heavy }, R) {
  const g = [];
  for (let k = 0, t = 2 ** 28; k <= R; k++) {
    g.push(t);
    t = scaled(t, theta);
    theta = heavy ? ONE - scaled(ONE - theta, rho) : scaled(theta, rho);
  }
  return g;
}

/** Shares 2^14 by the weights u; symbol `centre` gets p0 and what is left. */
function share(u, centre, p0) {
  let avail = TOTAL - u.length;
  const z = Math.floor((avail * p0) / 256);
  avail -= z;
  const T = Math.max(1, u.reduce((sum, w) => sum + w, 0));
  const f = u.map((w) => 1 + Math.floor((w * avail) / T));
  f[centre] += z;
  f[centre] += TOTAL - f.reduce((sum, x) => sum + x, 0);
  return f;
}

const mirrored = (half) => [...half.slice(1).reverse(), ...half];

/** The model of values, of quantiser 0. */
export function valueModel(parameters) {
  const { R, p0 } = parameters;
  const half = geometric(parameters, R);
  if (p0 > 0) half[0] = 0;
  return new Model(-R, share(mirrored(half), R, p0));
}

/** The model of quantiser 1 (TRE-1). */
export function shiftedModel(parameters) {
  const { R, p0 } = parameters;
  const g = geometric(parameters, R);
  const half = g.map((value, k) => Math.floor((k ? g[k - 1] + value : p0 > 0 ? 0 : value) / 2));
  return new Model(-R, share(mirrored(half), R, p0));
}

/** The one-sided model of gaps (clause 9.5). */
export function gapModel(parameters) {
  const { R, p0 } = parameters;
  const u = geometric(parameters, R);
  if (p0 > 0) u[0] = 0;
  return new Model(0, share(u, 0, p0));
}

/** A model from a table of codes (GRD-7). */
export function tableModel(lowest, codes) {
  const w = codes.map((c) => (8 + (c & 7)) * 2 ** (c >> 3));
  const avail = TOTAL - w.length;
  const sum = w.reduce((total, x) => total + x, 0);
  const f = w.map((x) => 1 + Math.floor((x * avail) / sum));
  f[f.indexOf(Math.max(...f))] += TOTAL - f.reduce((total, x) => total + x, 0);
  return new Model(lowest, f);
}

/** The model of escape prefixes (clause 10.3). */
const PREFIXES = Array.from({ length: 21 }, (_, p) => Math.max(1, Math.floor(2 ** (13 - p))));
PREFIXES[0] = 0;
PREFIXES[0] = TOTAL - PREFIXES.reduce((sum, f) => sum + f, 0);
export const PREFIX_MODEL = new Model(0, PREFIXES);

// --- parameters in the table -----------------------------------------------------------------------

/** The fields of the short form (ENT-3). */
export function readShortForm(bits) {
  const law = bits.read(2);
  const q = bits.read(8);
  const isGauss = law === 1 || law === 2;
  const b0 = isGauss ? 40 : 32;
  const d = isGauss ? 2 : 1;
  const over = q - b0;
  const b = over < 0 ? 0 : 1 + (over >> 3);
  bits.require(b <= 14, "BAD_MODEL");
  const tb = over < 0 ? 168 - d * q : (isGauss ? 104 : 144) - d * (over & 7);
  const theta = ONE - mf8(tb);
  const rho = law === 0 ? ONE : isGauss ? scaled(theta, theta) : ONE - ((ONE - theta) >> 3);
  const parameters = { R: 255, p0: 0, theta, rho, heavy: law === 3, b, esc: 1 };
  const small = law === 2 ? 2 ** 27 : 2 ** 17;
  const k = geometric(parameters, 254).findIndex((g, i) => i >= 1 && g < small);
  return k < 0 ? parameters : { ...parameters, R: k };
}

/** The fields of the long form (ENT-2). */
export function readLongForm(bits) {
  const R = bits.read(10);
  const p0 = bits.read(8);
  const tb = bits.read(8);
  bits.require(tb <= 168, "BAD_MODEL");
  const rb = bits.read(8);
  bits.require(rb <= 168, "BAD_MODEL");
  const heavy = bits.read(1) === 1;
  const b = bits.read(4);
  bits.require(b <= 14, "BAD_MODEL");
  const esc = bits.read(1);
  bits.require(!(esc && R === 0), "BAD_MODEL");
  return { R, p0, theta: ONE - mf8(tb), rho: ONE - mf8(rb), heavy, b, esc };
}
