// HEAD: its fields and the rules of clause 6. Fields have the names of the text; `at` holds their offsets.

import { check } from "./errors.js";
import { Fields } from "./fields.js";
import { listNetwork } from "./network.js";
import {
  CONTEXT, COORDS, DICTIONARY, FEATURE, HAS_OMEGA, KIND, KINDS, KNOWN_FEATURES, LEVELS, MODALITIES, PROFILE, QUALITY,
  RNG, TOOL, VALUES, isEncoding, isLattice, isLayer,
} from "./registry.js";

const isIn = (ids, id) => Object.values(ids).includes(id);

/** Reads and checks the payload of HEAD; gives its fields, with `level`, `has(feature)` and `network`. */
export function readHead(bytes, start, end) {
  const f = new Fields(bytes, start, end);
  const head = readFixed(f);
  head.has = (feature) => (head.features_required & feature) !== 0;
  readGridAndSeed(f, head);
  f.read(head, "n_records", "u8");
  f.require(head.n_records >= 1, "BAD_RECORD");
  head.records = Array.from({ length: head.n_records }, (_, i) => readRecord(f, i === head.n_records - 1));
  if (head.has(FEATURE.SHARED_BASE)) {
    head.base_digest = f.bytes(16);
    head.at.base_digest = f.at;
  }
  head.blocks = readBlocks(f, head.features_optional);
  f.finish();
  head.network = listNetwork(head);
  for (const rule of RULES) rule(head);
  return head;
}

function readFixed(f) {
  const head = { at: {} };
  f.read(head, "version", "u8");
  f.require(head.version >> 4 === 1, "UNSUPPORTED_VERSION");
  f.read(head, "profile_level", "u8");
  head.profile = head.profile_level >> 4;
  head.level = LEVELS[head.profile_level & 15];
  f.require(isIn(PROFILE, head.profile), "UNSUPPORTED_PROFILE");
  f.require(head.level, "UNSUPPORTED_LEVEL");
  f.read(head, "features_required", "u16");
  f.require((head.features_required & ~KNOWN_FEATURES) === 0, "UNSUPPORTED_FEATURE");
  f.read(head, "features_optional", "u8");
  f.read(head, "modality", "u8");
  f.require(head.modality >= 1 && head.modality <= MODALITIES, "UNKNOWN_ID");
  f.read(head, "in_dims", "u8");
  f.require(head.in_dims >= 1 && head.in_dims <= 8, "BAD_DIMENSIONS");
  f.read(head, "out_channels", "u8");
  f.require(head.out_channels >= 1, "BAD_DIMENSIONS");
  f.read(head, "coords_values", "u8");
  head.coords = head.coords_values & 15;
  head.values = head.coords_values >> 4;
  f.require(isIn(COORDS, head.coords) && isIn(VALUES, head.values), "UNKNOWN_ID");
  f.read(head, "n_passes", "u8");
  f.require(head.n_passes >= 1, "BAD_DIMENSIONS");
  return head;
}

function readGridAndSeed(f, head) {
  const isWide = head.has(FEATURE.WIDE);
  const axes = (name, type) => {
    head[name] = Array.from({ length: head.in_dims }, (_, i) => {
      const value = f[type]();
      if (i === 0) head.at[name] = f.at;
      return value;
    });
  };
  axes("grid", isWide ? "u32" : "u16");
  if (head.coords === COORDS.BOX) {
    axes("low", "f32");
    axes("high", "f32");
  }
  if (!head.has(FEATURE.SEEDED)) return;
  f.read(head, "rng_dictionary", "u8");
  f.require(isIn(RNG, head.rng_dictionary >> 4) && isIn(DICTIONARY, head.rng_dictionary & 15), "UNKNOWN_ID");
  head.key = [f.u32(), isWide ? f.u32() : 0]; // RNG-1
}

function readBlocks(f, features_optional) {
  const blocks = [];
  for (let feature = 0; feature < 8; feature++) {
    if (!(features_optional & (1 << feature))) continue;
    const length = f.u8();
    blocks.push({ feature, length, at: f.at });
    f.bytes(length);
  }
  return blocks;
}

// --- records (clause 6.4) --------------------------------------------------------------------------

const BODIES = {
  [KIND.FOURIER]: readFourier,
  [KIND.FOURIER_SEEDED]: readFourierSeeded,
  [KIND.GRID]: readGrid,
  [KIND.PYRAMID]: readPyramid,
  [KIND.INPUT]: readInput,
  [KIND.OUTPUT]: readOutput,
  [KIND.FILTER]: readFilter,
};

function readRecord(f, isLast) {
  const record = { at: {}, repeat: 1, omega: 1, scale: 1 };
  f.read(record, "kind", "u8");
  f.require(KINDS.has(record.kind), "UNKNOWN_ID");
  if (isLast) {
    f.require(isLayer(record.kind) && record.kind !== KIND.GABOR, "BAD_RECORD");
    readToolFlags(f, record);
    readOmega(f, record, record.kind);
  } else {
    (BODIES[record.kind] ?? readLayer)(f, record);
  }
  return record;
}

function readToolFlags(f, record, reserved = 0x80) {
  const flags = f.read(record, "tool_flags", "u8");
  f.require((flags & reserved) === 0, "RESERVED_NOT_ZERO");
  f.require((flags & 7) <= TOOL.LATENT, "UNKNOWN_ID");
  record.tool = flags & 7;
}

const isFactor = (x) => x > 0 && x < 2 ** 64;

/** A number written as an integer of 1 to 255, or as 0 and a binary32. */
function readShortOrFloat(f, record, name) {
  if (record[name] !== 0) return;
  record[name] = f.f32();
  f.require(isFactor(record[name]), "BAD_FLOAT");
  f.require(!(Number.isInteger(record[name]) && record[name] <= 255), "BAD_FLOAT");
}

function readOmega(f, record, kind) {
  if (!HAS_OMEGA.has(kind)) return;
  f.read(record, "omega", "u8");
  readShortOrFloat(f, record, "omega");
}

function readLayer(f, record) {
  readToolFlags(f, record);
  f.read(record, "width", "u16");
  f.require(record.width >= 1, "BAD_RECORD");
  f.read(record, "repeat", "u8");
  f.require(record.repeat >= 1, "BAD_RECORD");
  readOmega(f, record, record.kind);
  if (record.kind !== KIND.GABOR) return;
  f.read(record, "scale", "f32");
  f.require(isFactor(record.scale), "BAD_FLOAT");
}

function readFourier(f, record) {
  f.read(record, "flags", "u8");
  f.require((record.flags & 0xfc) === 0, "RESERVED_NOT_ZERO");
  f.read(record, "octaves", "u8");
  f.require(record.octaves >= 1 && record.octaves <= 32, "BAD_RECORD");
  f.read(record, "base", "u8");
  f.require(record.base !== 1, "BAD_RECORD");
  readShortOrFloat(f, record, "base");
}

function readFourierSeeded(f, record) {
  f.read(record, "n_features", "u16");
  f.require(record.n_features >= 1, "BAD_RECORD");
  f.read(record, "scale", "f32");
  f.require(isFactor(record.scale), "BAD_FLOAT");
}

function readInput(f, record) {
  f.read(record, "first", "u8");
  f.read(record, "count", "u8");
  f.require(record.count >= 1 && record.count <= 8, "BAD_RECORD");
  f.read(record, "encoding", "u8");
  f.require(record.encoding === 0 || record.encoding === KIND.FOURIER, "UNKNOWN_ID");
  if (record.encoding) readFourier(f, record);
}

function readOutput(f, record) {
  f.read(record, "output_kind", "u8");
  f.require(KINDS.has(record.output_kind), "UNKNOWN_ID");
  const isPlain = isLayer(record.output_kind) && !isLattice(record.output_kind);
  f.require(isPlain && record.output_kind !== KIND.GABOR, "BAD_RECORD");
  readToolFlags(f, record);
  f.read(record, "width", "u8");
  f.require(record.width >= 1, "BAD_RECORD");
  readOmega(f, record, record.output_kind);
}

function readFilter(f, record) {
  readToolFlags(f, record);
  readOmega(f, record, KIND.FILTER);
}

function readGrid(f, record) {
  const bounded = (name, least, most) => {
    f.read(record, name, "u8");
    f.require(record[name] >= least && record[name] <= most, "BAD_RECORD");
  };
  readToolFlags(f, record);
  bounded("n_axes", 1, 4);
  bounded("n_levels", 1, 64);
  bounded("latent_dim", 1, 255);
  bounded("feature_dim", 1, 255);
  bounded("log2_table_size", 0, 30);
  f.read(record, "flags", "u8");
  f.require((record.flags & 0xf0) === 0, "RESERVED_NOT_ZERO");
  const resolution = () => {
    const value = f.u16();
    f.require(value >= 1, "BAD_RECORD");
    return value;
  };
  record.resolutions = Array.from({ length: record.n_levels }, () =>
    record.flags & 4
      ? Array(record.n_axes).fill(resolution())
      : Array.from({ length: record.n_axes }, resolution),
  );
}

function readPyramid(f, record) {
  readToolFlags(f, record, 0xa0);
  f.read(record, "n_levels", "u8");
  f.require(record.n_levels >= 1 && record.n_levels <= 16, "BAD_RECORD");
  f.read(record, "axes", "u8");
  f.require(record.axes >= 1 && record.axes <= 15, "BAD_RECORD");
  f.read(record, "filter", "u8");
  f.require((record.filter & 0xe0) === 0, "RESERVED_NOT_ZERO");
  f.require((record.filter & 15) >= 1 && (record.filter & 15) <= 8, "BAD_RECORD");
  const context = f.read(record, "context", "u8");
  f.require((context & 0x80) === 0, "RESERVED_NOT_ZERO");
  f.require((context & 3) <= CONTEXT.SERIAL, "UNKNOWN_ID");
  f.require((context & 3) !== CONTEXT.FACTORISED || context === 0, "RESERVED_NOT_ZERO");
  record.context_id = context & 3;
  record.context_hidden = (context >> 2) & 3;
  record.context_width = 4 * ((context >> 4) + 1);
}

// --- rules that span fields, in their order (clause 5.5) -------------------------------------------

const RULES = [
  checkGrid, checkBox, checkEncodingFirst, checkTools, checkRepeats, checkInputs, checkOutputs, checkGridAxes,
  checkPyramid, checkLattice, checkLimits, checkFeaturesSet, checkFeaturesUsed, checkQuality, checkFrequencies,
  checkGridFeature, checkBaseTools,
];

const hasTools = (record) => record.tool_flags !== undefined;
const isLatents = (record) => record.kind === KIND.GRID || record.kind === KIND.PYRAMID;

/** HED-2 and HED-3. */
function checkGrid(head) {
  const n_zero = head.grid.filter((n) => n === 0).length;
  check(n_zero === 0 || n_zero === head.in_dims, "BAD_DIMENSIONS", head.at.grid);
  head.has_grid = n_zero === 0;
  const n_samples = head.grid.reduce((product, n) => product * n, 1);
  check(n_samples <= head.level.grid_samples, "LIMIT_GRID", head.at.grid);
}

/** HED-4. */
function checkBox(head) {
  if (head.coords !== COORDS.BOX) return;
  const isBox = head.low.every((low, i) => Number.isFinite(low) && Number.isFinite(head.high[i]) && low < head.high[i]);
  check(isBox, "BAD_FLOAT", head.at.low);
}

/** HED-5. */
function checkEncodingFirst(head) {
  head.records.forEach((record, i) => check(i === 0 || !isEncoding(record.kind), "BAD_RECORD", record.at.kind));
}

/** HED-6. */
function checkTools(head) {
  for (const { tool, tool_flags, at } of head.records.filter(hasTools)) {
    const allowed = tool === TOOL.RAW ? 0x60 : 0x38;
    check(tool !== TOOL.LATENT && (tool_flags & 0x78 & ~allowed) === 0, "BAD_RECORD", at.tool_flags);
  }
}

/** HED-7. */
function checkRepeats(head) {
  const same = (a, b) => ["kind", "tool_flags", "width", "omega", "scale"].every((name) => a[name] === b[name]);
  for (let i = 1; i < head.n_records - 1; i++) {
    const [before, record] = head.records.slice(i - 1, i + 1);
    check(!isLayer(record.kind) || !same(before, record), "BAD_RECORD", record.at.kind);
  }
}

/** HED-13. */
function checkInputs(head) {
  head.records.forEach((record, i) => {
    if (record.kind !== KIND.INPUT) return;
    check(record.first + record.count <= head.in_dims, "BAD_RECORD", record.at.first);
    check(i > 0 || record.count < head.in_dims, "BAD_RECORD", record.at.kind);
  });
}

/** HED-14. */
function checkOutputs(head) {
  let total = 0;
  for (const record of head.records.filter(({ kind }) => kind === KIND.OUTPUT)) {
    total += record.width;
    check(total < head.out_channels, "BAD_RECORD", record.at.width);
  }
}

/** GRD-1. */
function checkGridAxes(head) {
  const [record] = head.records;
  check(record.kind !== KIND.GRID || record.n_axes <= head.in_dims, "BAD_RECORD", record.at.n_axes);
}

/** GRD-2. */
function checkPyramid(head) {
  const [record] = head.records;
  if (record.kind !== KIND.PYRAMID) return;
  check(head.has_grid && head.in_dims <= 4, "BAD_RECORD", record.at.kind);
  check(record.axes >> head.in_dims === 0, "BAD_RECORD", record.at.axes);
  const lastTwo = head.in_dims >= 2 && record.axes === 3 << (head.in_dims - 2);
  check(record.context_id === CONTEXT.FACTORISED || lastTwo, "BAD_RECORD", record.at.context);
}

/** GRD-3. */
function checkLattice(head) {
  head.records.forEach((record, i) => {
    if (!isLattice(record.kind)) return;
    const [step] = head.network.steps.filter((one) => one.record === record);
    check(head.records[0].kind === KIND.PYRAMID, "BAD_RECORD", record.at.kind);
    check(head.records.slice(i).every(({ kind }) => isLattice(kind)), "BAD_RECORD", record.at.kind);
    check(step.inputs === step.outputs, "BAD_RECORD", record.at.kind);
  });
}

/** HED-8. */
function checkLimits(head) {
  const { level, network, at } = head;
  check(network.n_layers <= level.layers, "LIMIT_LAYERS", at.n_records);
  check(network.width <= level.width, "LIMIT_WIDTH", at.n_records);
  check(network.n_parameters <= level.parameters, "LIMIT_PARAMETERS", at.n_records);
}

/** HED-9. */
function checkFeaturesSet(head) {
  const isSeeded = head.has(FEATURE.SEEDED);
  const isSparse = head.has(FEATURE.SPARSE);
  for (const record of head.records) {
    check(record.kind !== KIND.FOURIER_SEEDED || isSeeded, "FEATURE_MISMATCH", record.at.kind);
    const isFine =
      (record.tool !== TOOL.TRELLIS || head.has(FEATURE.TRELLIS)) &&
      (record.tool !== TOOL.SPARSE || (isSparse && isSeeded)) &&
      (!(record.tool_flags & 8) || isSeeded);
    check(isFine, "FEATURE_MISMATCH", record.at.tool_flags);
  }
  const law = isSeeded ? head.rng_dictionary & 15 : DICTIONARY.RADEMACHER;
  check(law === DICTIONARY.RADEMACHER || isSparse, "FEATURE_MISMATCH", head.at.rng_dictionary);
}

/** HED-10. */
function checkFeaturesUsed(head) {
  const isWide = head.grid.some((n) => n >= 2 ** 16) || (head.key && head.key[1] > 0);
  const uses = {
    TRELLIS: head.records.some(({ tool }) => tool === TOOL.TRELLIS),
    SPARSE: head.records.some(({ tool }) => tool === TOOL.SPARSE),
    SEEDED: head.records.some(
      ({ kind, tool, tool_flags }) => tool_flags & 8 || tool === TOOL.SPARSE || kind === KIND.FOURIER_SEEDED,
    ),
    WIDE: isWide,
  };
  for (const [name, isUsed] of Object.entries(uses)) {
    check(isUsed || !head.has(FEATURE[name]), "FEATURE_MISMATCH", head.at.features_required);
  }
}

/** HED-11. */
function checkQuality(head) {
  for (const { feature, length, at } of head.blocks) {
    check(feature !== QUALITY || length === 2 * head.n_passes, "BAD_OPTIONAL_BLOCK", at);
  }
}

/** HED-12. */
function checkFrequencies(head) {
  for (const { base, octaves, at } of head.records.filter((record) => record.octaves)) {
    check(base ** (octaves - 1) < 2 ** 64, "BAD_FLOAT", at.base);
  }
}

/** GRD-4. */
function checkGridFeature(head) {
  for (const record of head.records.filter(isLatents)) {
    check(head.has(FEATURE.GRID), "FEATURE_MISMATCH", record.at.kind);
  }
  check(head.records.some(isLatents) || !head.has(FEATURE.GRID), "FEATURE_MISMATCH", head.at.features_required);
}

/** HED-15. */
function checkBaseTools(head) {
  if (!head.has(FEATURE.SHARED_BASE)) return;
  for (const { tool_flags, at } of head.records.filter(hasTools)) {
    check((tool_flags & 0x18) === 0, "BAD_RECORD", at.tool_flags);
  }
}
