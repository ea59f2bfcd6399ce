// PASS: sub-header, table, body, and the integers and steps that follow (clauses 7 and 9).

import { SinrError, check } from "./errors.js";
import { decodeContextLevel } from "./context.js";
import { bytesOf, crc32 } from "./digests.js";
import { Fields } from "./fields.js";
import { priorOf } from "./generator.js";
import { listNetwork, listSharedNetwork } from "./network.js";
import { openPackedBody } from "./packed.js";
import { lattices } from "./parts.js";
import { RansBody } from "./rans.js";
import { CODING, FEATURE, FORM, PROFILE, SHARED_PART } from "./registry.js";
import { expand, isWithinSum, readSparse } from "./sparse.js";
import { readTable } from "./table.js";

const MOST_ACC = 2 ** 31;
const MOST_CONTEXT_ACC = 2 ** 11;
const MOST_STEP = 1023;

/**
 * What passes build on: the HEAD, the networks of its chunks (one a pass, or one for each part), and how far they are:
 * `n_done` passes and `n_chunks` chunks of the next one. Networks of parts are listed when their first chunk comes.
 */
export function newState(head, most_symbols) {
  const hasBase = head.has(FEATURE.SHARED_BASE);
  const state = { head, hasBase, most_symbols, n_symbols: 0, n_done: 0, n_chunks: 0, undo: [] };
  if (!head.has(FEATURE.PARTS)) return { ...state, networks: [head.network], parts: [head] };
  const shared = listSharedNetwork(head);
  return { ...state, networks: shared ? [shared] : [], parts: [], shared, lattices: lattices(head) };
}

/** Whether one chunk more makes the pass whole. */
const isLastNext = ({ n_chunks, head: { n_parts = 1 }, shared }) => n_chunks + 1 === n_parts + (shared ? 1 : 0);

/** Decodes the PASS chunk with its payload at start … end into the tensors of its network; gives acc_crc. */
export async function decodePass(state, bytes, { start, end }, inflate) {
  const header = readSubHeader(state, bytes, start, end, inflate);
  const { coding, log2_lanes } = header;
  const network = networkOf(state);
  remember(state, network);
  const table = readTable(state, network, { bytes, start: header.next, end }, coding, log2_lanes);
  const pass = { state, network, coding, body: null, start: table.end };
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
  advance(state);
  return crc;
}

function advance(state) {
  if (isLastNext(state)) Object.assign(state, { n_done: state.n_done + 1, n_chunks: 0, undo: [] });
  else state.n_chunks++;
}

/** The network of the next chunk. */
function networkOf(state) {
  const { networks, n_chunks, head, shared, parts } = state;
  if (n_chunks < networks.length) return networks[n_chunks];
  const { sizes, first } = state.lattices.next().value;
  const network = listNetwork(head, sizes, shared && shared.own);
  networks.push(network);
  parts.push({ ...head, grid: sizes, first, network });
  return network;
}

/** Keeps what the tensors of a part are, for a file that ends before the other parts of the pass come. */
function remember({ head, undo }, { own }) {
  if (!head.has(FEATURE.PARTS)) return;
  for (const tensor of own) {
    const { acc, step, row_steps, is_coded } = tensor;
    undo.push({ tensor, before: { acc, step, row_steps, is_coded } });
  }
}

/** Undoes the chunks of a pass that is not whole (clause 17). */
export function dropIncomplete(state) {
  for (const { tensor, before } of state.undo.reverse()) Object.assign(tensor, before);
  Object.assign(state, { n_chunks: 0, undo: [] });
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
  if (state.head.has(FEATURE.PARTS)) f.read(header, "part", "u16");
  const isMain = coding === CODING.BROTLI || coding === CODING.ZSTANDARD;
  check(!isMain || state.head.profile === PROFILE.MAIN, "PROFILE_FORBIDS", header.at.flags);
  check(!isMain && (coding !== CODING.ZLIB || inflate), "CODEC_MISSING", header.at.flags);
  const isLanes = log2_lanes === 0 || (coding === CODING.RANS && log2_lanes >= 6 && log2_lanes <= 12);
  check(isLanes, "BAD_LANES", header.at.flags);
  checkPlace(state, header);
  return { ...header, coding, log2_lanes, next: f.next };
}

/** PAS-3, PAS-4 and PAS-6. */
function checkPlace(state, { flags, pass, part, at }) {
  const { n_done, n_chunks, shared } = state;
  check(((flags & 8) !== 0) === isLastNext(state), "PASS_ORDER", at.flags);
  check(pass === n_done, "PASS_ORDER", at.pass);
  if (part === undefined) return;
  const next = shared && n_chunks === 0 ? SHARED_PART : n_chunks - (shared ? 1 : 0);
  check(part === next, "PASS_ORDER", at.part);
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

  latents({ state, network, body }, { tensor, values, forms }) {
    if (values) tensor.acc = body.list(values, tensor.size);
    else readLatents(state, network, body, tensor, forms);
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
function readLatents({ head }, network, body, tensor, forms) {
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
  const before = tensor.acc;
  const acc = new Int32Array(size); // never in place: a pass that is not whole is undone
  for (let i = 0; i < size; i++) {
    const value = (factor ? before[i] * factor : priorAt(i)) + (r ? r[i] : 0);
    if (!(Math.abs(value) < MOST_ACC)) throw new SinrError("ACC_OVERFLOW", start);
    acc[i] = value;
  }
  tensor.acc = acc;
}
