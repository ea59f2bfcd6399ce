// The rules of HEAD that span fields (clauses 6, 9.6 and 13), in their order (clause 5.5).

import { frequencyPowers } from "./encodings.js";
import { check } from "./errors.js";
import { countParameters } from "./network.js";
import {
  CONTEXT, COORDS, DICTIONARY, FEATURE, KIND, QUALITY, TOOL, isEncoding, isLattice, isLayer,
} from "./registry.js";

const RULES = [
  checkGrid, checkBox, checkEncodingFirst, checkTools, checkRepeats, checkInputs, checkOutputs, checkGridAxes,
  checkPyramid, checkLattice, checkParts, checkGrowth, checkActiveWidths, checkLimits, checkFeaturesSet,
  checkFeaturesUsed, checkQuality, checkFrequencies, checkGridFeature, checkBaseTools, checkProducts,
];

/** Throws the error of the first rule that `head`, whose fields are all read, breaks. */
export function checkRules(head) {
  for (const rule of RULES) rule(head);
}

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
  const names = ["kind", "tool_flags", "width", "omega", "scale", "active_width"];
  const same = (a, b) => names.every((name) => String(a[name]) === String(b[name]));
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
    const [step] = head.steps.filter((one) => one.record === record);
    check(head.records[0].kind === KIND.PYRAMID, "BAD_RECORD", record.at.kind);
    check(head.records.slice(i).every(({ kind }) => isLattice(kind)), "BAD_RECORD", record.at.kind);
    check(step.inputs === step.outputs, "BAD_RECORD", record.at.kind);
  });
}

/** PRT-1 to PRT-5. */
function checkParts(head) {
  if (!head.has(FEATURE.PARTS)) return;
  const { grid, split, overlap, at } = head;
  const isAlone = !head.has(FEATURE.SHARED_BASE) && !head.has(FEATURE.WIDTHS);
  check(isAlone, "FEATURE_MISMATCH", at.features_required);
  const isSplit = split.every((n, axis) => n >= 1 && n <= grid[axis]) && head.n_parts >= 2;
  check(head.has_grid && head.coords === COORDS.CENTRES && isSplit, "BAD_DIMENSIONS", at.split);
  const most = (axis) => (split[axis] > 1 ? Math.floor(grid[axis] / split[axis]) : 0);
  check(overlap.every((n, axis) => 2 * n <= most(axis)), "BAD_DIMENSIONS", at.overlap);
  check(!head.shared || isLatents(head.records[0]), "BAD_RECORD", at.shared);
  check(head.n_parts <= head.level.parts, "LIMIT_PARTS", at.split);
}

/** WID-1. */
function checkGrowth(head) {
  if (!head.has(FEATURE.WIDTHS)) return;
  const { records, n_passes, at } = head;
  const isPlain = ({ kind }) => isEncoding(kind) || (isLayer(kind) && !isLattice(kind) && kind !== KIND.GABOR);
  const grows = ({ active_width = [], width }) => active_width.some((n) => n < width);
  const isFine =
    n_passes > 1 && !head.has(FEATURE.SHARED_BASE) && !records.some(isLatents) && records.every(isPlain) &&
    records.some(grows);
  check(isFine, "FEATURE_MISMATCH", at.features_required);
}

/** WID-2, entry by entry as they stand in the file. */
function checkActiveWidths(head) {
  const growing = head.records.filter(({ active_width }) => active_width);
  for (let pass = 0; pass < head.n_passes - 1; pass++) {
    for (const { active_width, width, at } of growing) {
      const isFine = active_width[pass] >= (active_width[pass - 1] ?? 1) && active_width[pass] <= width;
      check(isFine, "BAD_RECORD", at.active_width[pass]);
    }
  }
}

/** HED-8. */
function checkLimits(head) {
  const { level, at } = head;
  check(head.n_layers <= level.layers, "LIMIT_LAYERS", at.n_records);
  check(head.width <= level.width, "LIMIT_WIDTH", at.n_records);
  check(countParameters(head) <= level.parameters, "LIMIT_PARAMETERS", at.n_records);
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
  for (const record of head.records.filter(({ octaves }) => octaves)) {
    check(frequencyPowers(record).at(-1) < 2 ** 64, "BAD_FLOAT", record.at.base);
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

/** HED-16. */
function checkProducts(head) {
  const outputs = []; // of the layers so far
  for (const step of head.steps) {
    const { op, record } = step;
    check(op !== "multiply" || outputs[record.layer] === step.inputs, "BAD_RECORD", record.at.layer);
    if (step.layer !== undefined) outputs.push(step.outputs);
  }
}
