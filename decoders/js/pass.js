// PASS: sub-header, table, body, and the integers and steps that follow (clauses 7 and 9).

import { SinrError, check } from "./errors.js";
import { decodeContextLevel } from "./context.js";
import { Sha256, bytesOf, crc32 } from "./digests.js";
import { Fields } from "./fields.js";
import { priorOf } from "./generator.js";
import { openPackedBody } from "./packed.js";
import { RansBody } from "./rans.js";
import { CODING, FEATURE, FORM, PROFILE, TOOL } from "./registry.js";
import { expand, isWithinSum, readSparse } from "./sparse.js";
import { readTable } from "./table.js";

const MOST_ACC = 2 ** 31;
const MOST_CONTEXT_ACC = 2 ** 11;
const MOST_STEP = 1023;

/** What passes build on: the HEAD, its tensors as they are, and counts. */
export const newState = (head) => ({
  head, network: head.network, hasBase: head.has(FEATURE.SHARED_BASE), isLater: head.has(FEATURE.SHARED_BASE),
  n_symbols: 0, n_done: 0,
});

/** Decodes the PASS chunk with its payload at start … end into the tensors of `state`; gives acc_crc. */
export async function decodePass(state, bytes, { start, end }, inflate) {
  const header = readSubHeader(state, bytes, start, end, inflate);
  const { coding, log2_lanes } = header;
  const table = readTable(state, { bytes, start: header.next, end }, coding, log2_lanes);
  const pass = { state, coding, body: null, start: table.end };
  pass.body =
    coding === CODING.RANS
      ? new RansBody(bytes, table.end, end, log2_lanes)
      : await openPackedBody(bytes, table.end, end, table.n_bits, coding, inflate);
  for (const entry of table.entries) READERS[entry.type](pass, entry);
  pass.body.finish();
  let crc = 0;
  for (const entry of table.entries) {
    APPLY[entry.type](pass, entry);
    crc = crc32(bytesOf(entry.tensor.acc), crc);
  }
  check(crc === header.acc_crc, "ACC_CRC_MISMATCH", header.at.acc_crc);
  state.isLater = true;
  state.n_done++;
  return crc;
}

/** Clause 7.1. */
function readSubHeader(state, bytes, start, end, inflate) {
  const f = new Fields(bytes, start, end);
  const header = { at: {} };
  f.read(header, "flags", "u8");
  const coding = header.flags & 7;
  const log2_lanes = header.flags >> 4;
  f.require(coding <= CODING.ZSTANDARD, "UNKNOWN_ID");
  f.read(header, "pass", "u8");
  f.read(header, "acc_crc", "u32");
  const isMain = coding === CODING.BROTLI || coding === CODING.ZSTANDARD;
  check(!isMain || state.head.profile === PROFILE.MAIN, "PROFILE_FORBIDS", header.at.flags);
  check(!isMain && (coding !== CODING.ZLIB || inflate), "CODEC_MISSING", header.at.flags);
  const isLanes = log2_lanes === 0 || (coding === CODING.RANS && log2_lanes >= 6 && log2_lanes <= 12);
  check(isLanes, "BAD_LANES", header.at.flags);
  check(header.flags & 8, "PASS_ORDER", header.at.flags);
  check(header.pass === state.n_done, "PASS_ORDER", header.at.pass);
  return { ...header, coding, log2_lanes, next: f.next };
}

// --- values of the body, entry by entry (clause 7.4) -----------------------------------------------

const READERS = {
  raw({ body }, entry) {
    entry.acc = body.patterns(entry.width, entry.tensor.size);
  },

  values(pass, entry) {
    readRowSteps(pass, entry);
    entry.r = pass.body.list(entry.values, entry.tensor.size);
  },

  trellis(pass, entry) {
    readRowSteps(pass, entry);
    const read = pass.body.trellis(entry.values, entry.tensor.size);
    entry.r = read && read.values;
    entry.isTooLarge = read !== null && read.isTooLarge;
  },

  sparse(pass, entry) {
    readRowSteps(pass, entry);
    entry.code = readSparse(pass.body, entry.sparse, pass.coding, pass.start) ?? {};
  },

  context({ body, start }, entry) {
    const { tensor, context_step, values } = entry;
    tensor.acc = body.list(values, tensor.size) ?? new Int32Array(tensor.size);
    check(tensor.acc.every((a) => Math.abs(a) < MOST_CONTEXT_ACC), "ACC_OVERFLOW", start);
    tensor.q = context_step;
    tensor.step = 800 - 8 * context_step;
  },

  latents({ state, body }, { tensor, values, forms }) {
    if (values) tensor.acc = body.list(values, tensor.size);
    else readLatents(state, body, tensor, forms);
  },
};

function readRowSteps({ body }, entry) {
  if (entry.row_steps !== undefined) {
    entry.row_steps = body.list(entry.row_steps, entry.tensor.rows) ?? new Int32Array(entry.tensor.rows);
  }
}

const LATENT_LISTS = {
  [FORM.SHORT]: (body, { parameters }, n) => body.list(parameters, n),
  [FORM.LONG]: (body, { parameters }, n) => body.list(parameters, n),
  [FORM.TABLE]: (body, form, n) => body.tableList(form, n),
};

/** The latents of a level, one list for each dimension. */
function readLatents({ network, head }, body, tensor, forms) {
  const { rows, columns, size } = tensor;
  tensor.acc = new Int32Array(size);
  forms.forEach((one, d) => {
    if (one.form === FORM.ZERO) return;
    if (one.form === FORM.CONTEXT) {
      const levels = network.tensors.filter(({ role }) => role === "latents");
      decodeContextLevel(body, network, head.records[0], levels, tensor.level);
      return;
    }
    const list = LATENT_LISTS[one.form](body, one, rows);
    for (let i = 0; i < rows; i++) tensor.acc[i * columns + d] = list[i];
  });
}

// --- what follows from them (clause 9) -------------------------------------------------------------

const APPLY = {
  raw({ start }, { tensor, acc }) {
    const infinity = tensor.is_half ? 0x7c00 : 0x7f800000;
    check(acc.every((pattern) => (pattern & infinity) !== infinity), "NON_FINITE_WEIGHT", start);
    tensor.acc = acc;
    tensor.is_coded = true;
  },

  values(pass, entry) {
    applySteps(pass, entry);
    applyValues(pass, entry);
  },

  trellis(pass, entry) {
    applySteps(pass, entry);
    check(!entry.isTooLarge, "ACC_OVERFLOW", pass.start);
    applyValues(pass, entry);
  },

  sparse(pass, entry) {
    const { key, rng_dictionary } = pass.state.head;
    applySteps(pass, entry);
    check(isWithinSum(entry.sparse, entry.code), "ACC_OVERFLOW", pass.start);
    entry.r = expand(entry.tensor, entry.sparse, entry.code, key, rng_dictionary & 15);
    applyValues(pass, entry);
  },

  context() {},

  latents({ start }, { tensor }) {
    check(tensor.acc.every((y) => y > -MOST_ACC), "ACC_OVERFLOW", start);
  },
};

/** The step codes after the entry. */
function applySteps({ start }, { tensor, step, row_steps, shift }) {
  if (shift !== undefined) {
    tensor.step -= 8 * shift;
    return;
  }
  const isInRange = (d) => step + d >= 0 && step + d <= MOST_STEP;
  check(!row_steps || row_steps.every(isInRange), "STEP_OUT_OF_RANGE", start);
  tensor.step = step;
  tensor.row_steps = row_steps ?? null;
}

/** acc from r: with the prior in pass 0, as a refinement later. */
function applyValues({ start, state }, { tensor, r, prior, shift }) {
  const { size } = tensor;
  const factor = shift === undefined ? 0 : 2 ** shift;
  const priorAt = prior ? priorOf(state.head.key, tensor, prior) : () => 0;
  if (!tensor.acc) tensor.acc = new Int32Array(size);
  const { acc } = tensor;
  for (let i = 0; i < size; i++) {
    const value = (factor ? acc[i] * factor : priorAt(i)) + (r ? r[i] : 0);
    if (!(Math.abs(value) < MOST_ACC)) throw new SinrError("ACC_OVERFLOW", start);
    acc[i] = value;
  }
}

// --- weights (clause 9.1) --------------------------------------------------------------------------

const MANTISSAS = [8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775];
const stepOf = (s) => MANTISSAS[s & 7] * 2 ** ((s >> 3) - 123);

function halfToNumber(pattern) {
  const exponent = (pattern >> 10) & 31;
  const fraction = pattern & 1023;
  const magnitude = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
  return pattern & 0x8000 ? -magnitude : magnitude;
}

/** The weights of a tensor as Float32Array, in C order; zeros if no pass has coded it. */
export function weightsOf({ tool, acc, size, columns, step, row_steps, is_half }) {
  if (!acc) return new Float32Array(size);
  if (tool === TOOL.RAW && !is_half) return new Float32Array(acc.buffer, acc.byteOffset, size);
  const weights = new Float32Array(size);
  if (tool === TOOL.RAW) {
    for (let i = 0; i < size; i++) weights[i] = halfToNumber(acc[i]);
    return weights;
  }
  const one = stepOf(step);
  for (let i = 0; i < size; i++) {
    const factor = row_steps ? stepOf(step + row_steps[Math.floor(i / columns)]) : one;
    weights[i] = Math.fround(acc[i]) * factor; // exact in binary64, rounded once when it is stored
  }
  return weights;
}

/** weights_sha256, as 32 bytes. */
export function weightsDigest(network) {
  const sha = new Sha256();
  for (const tensor of network.tensors) sha.update(bytesOf(weightsOf(tensor)));
  return sha.digest();
}

/** The step codes of a tensor as clause 9.8 lists them. */
export const stepCodes = ({ tool, step, row_steps }) =>
  tool === TOOL.RAW ? [] : row_steps ? Array.from(row_steps, (d) => step + d) : [step];
