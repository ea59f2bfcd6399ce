// HEAD: its fields (clause 6). Fields have the names of the text; `at` holds their offsets. The rules: rules.js.

import { Fields } from "./fields.js";
import { listNetwork, listSteps } from "./network.js";
import {
  CONTEXT, COORDS, DICTIONARY, FEATURE, HAS_OMEGA, KIND, KINDS, KNOWN_FEATURES, LEVELS, MODALITIES, PROFILE, RNG, TOOL,
  VALUES, isLattice, isLayer,
} from "./registry.js";
import { checkRules } from "./rules.js";

const isIn = (ids, id) => Object.values(ids).includes(id);

/**
 * Reads and checks the payload of HEAD; gives its fields, with `level`, `has(feature)`, `steps` and, where there are no
 * parts, `network`.
 */
export function readHead(bytes, start, end) {
  const f = new Fields(bytes, start, end);
  const head = readFixed(f);
  head.has = (feature) => (head.features_required & feature) !== 0;
  readGridAndSeed(f, head);
  f.read(head, "n_records", "u8");
  f.require(head.n_records >= 1, "BAD_RECORD");
  head.records = Array.from({ length: head.n_records }, (_, i) => readRecord(f, i === head.n_records - 1));
  if (head.has(FEATURE.PARTS)) readParts(f, head);
  if (head.has(FEATURE.WIDTHS)) readWidths(f, head);
  if (head.has(FEATURE.SHARED_BASE)) {
    head.base_digest = f.bytes(16);
    head.at.base_digest = f.at;
  }
  head.blocks = readBlocks(f, head.features_optional);
  f.finish();
  Object.assign(head, listSteps(head));
  checkRules(head);
  if (!head.has(FEATURE.PARTS)) head.network = listNetwork(head);
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
  readAxes(f, head, "grid", isWide ? "u32" : "u16");
  if (head.coords === COORDS.BOX) {
    readAxes(f, head, "low", "f32");
    readAxes(f, head, "high", "f32");
  }
  if (!head.has(FEATURE.SEEDED)) return;
  f.read(head, "rng_dictionary", "u8");
  f.require(isIn(RNG, head.rng_dictionary >> 4) && isIn(DICTIONARY, head.rng_dictionary & 15), "UNKNOWN_ID");
  head.key = [f.u32(), isWide ? f.u32() : 0]; // RNG-1
}

/** A field that stands for each axis; its offset is that of the first entry. */
function readAxes(f, head, name, type) {
  head[name] = Array.from({ length: head.in_dims }, (_, i) => {
    const value = f[type]();
    if (i === 0) head.at[name] = f.at;
    return value;
  });
}

/** Clause 13.1. */
function readParts(f, head) {
  readAxes(f, head, "split", "u16");
  readAxes(f, head, "overlap", "u16");
  f.read(head, "shared", "u8");
  f.require((head.shared & 0xfe) === 0, "RESERVED_NOT_ZERO");
  head.n_parts = head.split.reduce((product, n) => product * n, 1);
}

/** Clause 13.2: the entries of a record go to the record, with its width for the last pass, and so do their offsets. */
function readWidths(f, head) {
  const growing = head.records.slice(0, -1).filter(({ kind }) => isLayer(kind));
  for (const record of growing) {
    record.active_width = [];
    record.at.active_width = [];
  }
  for (let pass = 0; pass < head.n_passes - 1; pass++) {
    for (const record of growing) {
      record.active_width.push(f.u16());
      record.at.active_width.push(f.at);
    }
  }
  for (const record of growing) record.active_width.push(record.width);
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
  [KIND.MULTIPLY]: (f, record) => f.read(record, "layer", "u8"),
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
