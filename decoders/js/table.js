// The tensor table of a PASS chunk (clauses 7.2, 7.3, 9.5 and 9.6.3).

import { check } from "./errors.js";
import { Bits } from "./fields.js";
import { readLongForm, readShortForm, tableModel } from "./models.js";
import { CODING, CONTEXT, FORM, TOOL } from "./registry.js";

const SHORT_STEP = 680;
const MOST_ADD_BITS = 8;
const AGAIN = 3; // of the field vectors

/**
 * { entries, n_bits, end }: what the pass codes, the bits of its values if they are packed, and where the body starts.
 * An entry has its tensor and `type`; a later pass also `shift`, the bits that the integers gain. What a list is coded
 * with is parameters of a model, or null, for coding 1, and a width in bits for the others.
 */
export function readTable(state, network, chunk, coding, log2_lanes) {
  const table = new Table(state, network, new Bits(chunk.bytes, chunk.start, chunk.end), coding, log2_lanes);
  const entries = network.own.map((tensor) => table.entry(tensor)).filter(Boolean);
  const end = table.bits.finish();
  state.n_symbols += network.n_parameters + table.n_symbols;
  check(state.n_symbols <= state.head.level.symbols, "LIMIT_SYMBOLS", chunk.start);
  check(state.n_symbols <= state.most_symbols, "LIMIT_CALLER", null, "too many symbols");
  return { entries, n_bits: table.n_bits, end };
}

class Table {
  n_bits = 0;
  n_symbols = 0; // beside one for each parameter
  #values = null; // parameters given last
  #latents = null; // the form of latents given last
  #sparse = null; // the sparse code given last

  constructor(state, network, bits, coding, log2_lanes) {
    this.state = state;
    this.network = network;
    this.bits = bits;
    this.isRans = coding === CODING.RANS;
    this.hasLanes = log2_lanes > 0;
  }

  /** The entry of a tensor, or null if the pass does not code it. */
  entry(tensor) {
    const { role, tool, begins } = tensor;
    const { hasBase, n_done: pass } = this.state;
    const isLater = hasBase || pass > begins;
    if (pass < begins) return null;
    if (role === "latents") return this.#latentEntry(tensor);
    if (role === "context") return isLater ? null : this.#contextEntry(tensor);
    if (tool === TOOL.RAW) return isLater ? null : this.#rawEntry(tensor);
    const isSparse = tool === TOOL.SPARSE && (role === "weight" || hasBase);
    const entry = isLater ? this.#refinement(tensor, isSparse) : this.#beginning(tensor);
    if (!entry) return null;
    return isSparse
      ? { type: "sparse", ...entry, sparse: this.#sparseCode(tensor) }
      : { type: tool === TOOL.TRELLIS ? "trellis" : "values", ...entry, values: this.#list(tensor.size) };
  }

  #rawEntry(tensor) {
    const width = tensor.is_half ? 16 : 32;
    this.n_bits += width * tensor.size;
    return { type: "raw", tensor, width };
  }

  /** step, row_steps and prior of pass 0. */
  #beginning(tensor) {
    const { bits } = this;
    const step = this.#short(7, 10, SHORT_STEP, (s) => s < SHORT_STEP || s >= SHORT_STEP + 128);
    const entry = { tensor, step, row_steps: undefined, prior: null };
    if (tensor.has_row_steps && bits.read(1)) {
      entry.row_steps = this.#list(tensor.rows);
      this.n_symbols += tensor.rows;
    }
    if (tensor.has_prior && bits.read(1)) {
      const isLong = bits.read(1);
      const m = isLong ? bits.read(16) : (bits.read(7) + 128) * 256;
      bits.require(!isLong || (m >= 2 ** 15 && m % 256 !== 0), "BAD_TABLE");
      const prior_shift = bits.read(5);
      bits.require(prior_shift !== 31, "BAD_TABLE");
      entry.prior = { m, E: prior_shift + 8 };
    }
    return entry;
  }

  /** A number in a short form, or in a long one that the short one must not cover. */
  #short(shortBits, longBits, offset, isLong) {
    if (!this.bits.read(1)) return this.bits.read(shortBits) + offset;
    const value = this.bits.read(longBits);
    this.bits.require(isLong(value), "BAD_TABLE");
    return value;
  }

  /** refined and the bits that the integers gain. */
  #refinement(tensor, isSparse) {
    const { bits } = this;
    if (!bits.read(1)) return null;
    const shift = isSparse ? bits.read(4) : bits.read(3) + 1;
    bits.require(shift <= MOST_ADD_BITS, "BAD_TABLE");
    const lowest = tensor.step + (tensor.row_steps?.reduce((least, d) => Math.min(least, d)) ?? 0);
    bits.require(lowest - 8 * shift >= 0, "STEP_OUT_OF_RANGE");
    return { tensor, shift };
  }

  /** What a list of n values is coded with. */
  #list(n, { hasZero = true } = {}) {
    if (!this.isRans) return this.#width(n);
    const form = this.bits.read(2);
    if (form === FORM.ZERO) {
      this.bits.require(hasZero, "BAD_MODEL");
      return null;
    }
    if (form === FORM.SAME) this.bits.require(this.#values, "BAD_MODEL");
    else this.#values = form === FORM.SHORT ? readShortForm(this.bits) : readLongForm(this.bits);
    return this.#values;
  }

  #width(n) {
    const width = this.bits.read(5) + 1;
    this.n_bits += width * n;
    return width;
  }

  // --- sparse codes (clause 9.5) ---

  #sparseCode(tensor) {
    const fields = this.#sparseFields(tensor);
    const { n_vectors, k1, s, k2, support } = fields;
    const n = n_vectors * s;
    const gaps = this.isRans && support ? this.#list(n, { hasZero: false }) : null;
    const indices = this.isRans ? null : this.#width(n);
    const coefficients = this.#list(n);
    this.n_symbols += n + (this.isRans && !support ? n_vectors * k2 : n) + Math.floor((n * k1 + 63) / 64);
    return { ...fields, gaps, indices, coefficients };
  }

  #sparseFields({ rows, columns }) {
    const { bits } = this;
    const vectors = bits.read(2);
    if (vectors === AGAIN) {
      bits.require(this.#sparse, "BAD_TABLE");
      const again = { ...this.#sparse, ...SHAPES[this.#sparse.vectors](rows, columns) };
      bits.require(again.s <= again.k1, "BAD_TABLE");
      return again;
    }
    const shape = SHAPES[vectors](rows, columns);
    const k2 = bits.read(20) + 1;
    const s = bits.read(16);
    bits.require(s <= shape.k1 && s <= k2, "BAD_TABLE");
    const support = this.isRans ? bits.read(1) : 0;
    bits.require(support || !this.hasLanes, "BAD_TABLE");
    this.#sparse = { vectors, k2, s, support };
    return { ...this.#sparse, ...shape };
  }

  // --- latents (clause 9.6.3) ---

  #contextEntry(tensor) {
    return { type: "context", tensor, context_step: this.bits.read(4), values: this.#list(tensor.size) };
  }

  #latentEntry(tensor) {
    if (tensor.is_coded || !this.bits.read(1)) return null;
    const { own } = this.network;
    this.bits.require(tensor.level === 0 || own[own.indexOf(tensor) - 1].is_coded, "BAD_TABLE");
    tensor.is_coded = true;
    if (!this.isRans) return { type: "latents", tensor, values: this.#width(tensor.size) };
    return { type: "latents", tensor, forms: Array.from({ length: tensor.columns }, () => this.#latentForm()) };
  }

  #latentForm() {
    const { bits } = this;
    const form = bits.read(3);
    const { context_id = CONTEXT.FACTORISED } = this.state.head.records[0];
    const isKnown = form <= FORM.CONTEXT && (form !== FORM.CONTEXT || context_id !== CONTEXT.FACTORISED);
    bits.require(isKnown && (form !== FORM.SAME || this.#latents), "BAD_MODEL");
    if (form === FORM.ZERO || form === FORM.CONTEXT) return { form };
    if (form === FORM.SHORT) this.#latents = { form, parameters: readShortForm(bits) };
    if (form === FORM.LONG) this.#latents = { form, parameters: readLongForm(bits) };
    if (form === FORM.TABLE) this.#latents = { form, ...readFrequencyTable(bits) };
    return this.#latents;
  }
}

/** Vectors of a matrix and their length, by the field `vectors`. */
const SHAPES = [
  (rows, columns) => ({ n_vectors: columns, k1: rows }),
  (rows, columns) => ({ n_vectors: rows, k1: columns }),
  (rows, columns) => ({ n_vectors: 1, k1: rows * columns }),
];

function readFrequencyTable(bits) {
  const below = bits.read(8);
  const above = bits.read(8);
  bits.require(below + above >= 1, "BAD_MODEL");
  const esc = bits.read(1);
  const codes = [bits.read(7)];
  while (codes.length <= below + above) {
    const difference = bits.read(4);
    const code = codes.at(-1) + difference - 7;
    bits.require(difference === 15 || (code >= 0 && code <= 127), "BAD_MODEL");
    codes.push(difference === 15 ? bits.read(7) : code);
  }
  return { model: tableModel(-below, codes), esc };
}
