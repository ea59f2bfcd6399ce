// The rANS stream of coding 1: the coder of clause 10.4, and lists of values, escapes and raw fields (10.1 and 10.5).

import { check } from "./errors.js";
import { PREFIX_MODEL, gapModel, shiftedModel, valueModel } from "./models.js";
import { Quantiser, contributions } from "./trellis.js";

const LONG_LIST = 2048; // symbols from which on a table pays

const isStream = (condition, start) => check(condition, "BAD_STREAM", start);

/** One state and its words; a symbol is taken with `slot` and `advance`. */
class OneLane {
  n_lanes = 1;
  lane = 0;

  constructor(bytes, start, end) {
    isStream(end - start >= 4 && (end - start) % 2 === 0, start);
    this.view = new DataView(bytes.buffer, bytes.byteOffset);
    this.start = start;
    this.next = start + 4;
    this.end = end;
    this.x = this.view.getUint32(start, true);
    isStream(this.next === end || this.x >= 65536, start);
  }

  slot() {
    return this.x & 16383;
  }

  advance(frequency, cumulative) {
    const x = this.x;
    this.x = (Math.imul(frequency, x >>> 14) + (x & 16383) - cumulative) >>> 0;
    if (this.x < 65536 && this.next < this.end) {
      this.x = ((this.x << 16) | this.view.getUint16(this.next, true)) >>> 0;
      this.next += 2;
    }
  }

  endRun() {}

  finish() {
    isStream(this.x === 0 && this.next === this.end, this.start);
  }
}

/** N states that share their words. */
class Lanes {
  lane = 0; // of the next symbol

  constructor(bytes, start, end, log2_lanes) {
    const n = 2 ** log2_lanes;
    isStream(end - start >= 4 * n && (end - start) % 2 === 0, start);
    this.view = new DataView(bytes.buffer, bytes.byteOffset);
    this.n_lanes = n;
    this.start = start;
    this.next = start + 4 * n;
    this.end = end;
    this.states = Uint32Array.from({ length: n }, (_, i) => this.view.getUint32(start + 4 * i, true));
    isStream(this.states.every((x) => x >= 65536), start);
  }

  slot() {
    return this.states[this.lane] & 16383;
  }

  advance(frequency, cumulative) {
    const x = this.states[this.lane];
    this.states[this.lane] = Math.imul(frequency, x >>> 14) + (x & 16383) - cumulative;
    if (++this.lane === this.n_lanes) this.endRun();
  }

  /** The end of a row: lanes with a small state take their words. */
  endRun() {
    for (let i = 0; i < this.lane; i++) {
      if (this.states[i] >= 65536) continue;
      isStream(this.next < this.end, this.start);
      this.states[i] = (this.states[i] << 16) | this.view.getUint16(this.next, true);
      this.next += 2;
    }
    this.lane = 0;
  }

  finish() {
    isStream(this.next === this.end && this.states.every((x) => x === 65536), this.start);
  }
}

/** The body of a PASS chunk with coding 1. Lists are Int32Arrays; null stands for a list of form 0. */
export class RansBody {
  constructor(bytes, start, end, log2_lanes) {
    this.start = start;
    this.coder = log2_lanes ? new Lanes(bytes, start, end, log2_lanes) : new OneLane(bytes, start, end);
  }

  /** Takes the next symbol of a run; its index in the model. */
  symbol(model) {
    const { coder } = this;
    const i = model.find(coder.slot());
    const cumulative = model.start[i];
    coder.advance(model.start[i + 1] - cumulative, cumulative);
    return i;
  }

  /** A run of n symbols of one model. */
  #run(model, n) {
    if (n >= LONG_LIST) model.prepare();
    const symbols = new Int32Array(n);
    for (let i = 0; i < n; i++) symbols[i] = model.lowest + this.symbol(model);
    this.coder.endRun();
    return symbols;
  }

  /** n values, or null (clause 10.1). */
  list(parameters, n) {
    return parameters && this.#finished(this.#run(valueModel(parameters), n), parameters, 2 ** parameters.b / 2);
  }

  /** n gaps: values that are not negative. */
  gaps(parameters, n) {
    return this.#finished(this.#run(gapModel(parameters), n), parameters, 0);
  }

  /** Latents under a table of frequencies (GRD-7). */
  tableList({ model, esc }, n) {
    const u = this.#run(model, n);
    if (esc) {
      const places = ends(u, model);
      this.enlarge(u, places, (at) => (u[at] === model.lowest ? -1 : 1));
    }
    return u;
  }

  /** n values of a tensor with tool 2, as `contributions` gives them; null for form 0. */
  trellis(parameters, n) {
    if (!parameters) return null;
    const { coder } = this;
    const quantiser = new Quantiser(coder.n_lanes);
    if (parameters.b > 0) {
      const k = this.list(parameters, n);
      return contributions(k, (i) => quantiser.advance(i % coder.n_lanes, k[i] & 1));
    }
    const models = [valueModel(parameters), shiftedModel(parameters)];
    if (n >= LONG_LIST) models.forEach((model) => model.prepare());
    const u = new Int32Array(n);
    const used = new Uint8Array(n); // quantisers
    for (let i = 0; i < n; i++) {
      const { lane } = coder;
      const symbol = this.symbol(models[quantiser.of(lane)]);
      u[i] = symbol - parameters.R;
      used[i] = quantiser.advance(lane, u[i] & 1);
    }
    coder.endRun();
    return contributions(this.#finished(u, parameters, 0), (i) => used[i]);
  }

  /** Steps 2 and 3 of clause 10.1 after the run of model symbols u: v = u 2^b + low - middle. */
  #finished(u, { R, b, esc }, middle) {
    const n = u.length;
    const low = b > 0 ? this.raw(n, () => b, new Uint16Array(n)) : null;
    if (esc) {
      const places = ends(u, { lowest: -R, highest: R });
      this.enlarge(u, places, (at) => Math.sign(u[at]));
    }
    if (!low) return u;
    const scale = 2 ** b;
    for (let i = 0; i < n; i++) {
      const v = u[i] * scale + low[i] - middle;
      check(Math.abs(v) < 2 ** 31, "ACC_OVERFLOW", this.start);
      u[i] = v;
    }
    return u;
  }

  /** Reads an escape for each place of `places` and adds it to u there, with the sign that `sign(place, i)` gives. */
  enlarge(u, places, sign) {
    const prefixes = Uint8Array.from(this.#run(PREFIX_MODEL, places.length));
    const fields = this.raw(prefixes.length, (i) => prefixes[i], new Uint32Array(prefixes.length));
    places.forEach((at, i) => (u[at] += sign(at, i) * (2 ** prefixes[i] - 1 + fields[i])));
  }

  /** n raw fields, field i of `width(i)` bits (clause 10.5), into `fields`, which holds zeros. */
  raw(n, width, fields) {
    const { coder } = this;
    for (const done of [0, 14, 28]) {
      let isRun = false;
      for (let i = 0; i < n; i++) {
        const q = Math.min(width(i) - done, 14);
        if (q <= 0) continue;
        const x = coder.slot() >> (14 - q);
        coder.advance(2 ** (14 - q), x << (14 - q));
        fields[i] = (fields[i] << q) | x;
        isRun = true;
      }
      if (!isRun) break;
      coder.endRun();
    }
    return fields;
  }

  /** The bit patterns of a tensor with tool 0. */
  patterns(width, n) {
    return this.raw(n, () => width, new Uint32Array(n));
  }

  /** The bitmaps of all vectors of a sparse code (clause 9.5): their atoms. */
  bitmaps(n_vectors, k2, s) {
    const { coder } = this;
    const atoms = new Uint32Array(n_vectors * s);
    for (let vector = 0, at = 0; vector < n_vectors; vector++) {
      for (let slot = 0, rem = s; rem > 0; slot++) {
        const left = k2 - slot;
        let isOne = rem === left;
        if (!isOne) {
          const f1 = Math.min(Math.max(Math.floor((rem * 16384 + (left >> 1)) / left), 1), 16383);
          isOne = coder.slot() >= 16384 - f1;
          coder.advance(isOne ? f1 : 16384 - f1, isOne ? 16384 - f1 : 0);
        }
        if (!isOne) continue;
        atoms[at++] = slot;
        rem--;
      }
    }
    coder.endRun();
    return atoms;
  }

  finish() {
    this.coder.finish();
  }
}

/** Places of the symbols that are the lowest or the highest of their model. */
function ends(u, { lowest, highest }) {
  const isEnd = (x) => x === lowest || x === highest;
  let count = 0;
  for (let i = 0; i < u.length; i++) if (isEnd(u[i])) count++;
  const places = new Uint32Array(count);
  for (let i = 0, at = 0; i < u.length; i++) if (isEnd(u[i])) places[at++] = i;
  return places;
}
