// The layers and tensors that a HEAD lists (clauses 6.7 and 9.6).

import { CONTEXT, KIND, TOOL, isLattice } from "./registry.js";

const ENCODING_ORDINAL = 65536; // grid.decoder.weight, pyramid.filter
const CONTEXT_ORDINAL = 65552;
const LEVEL_ORDINAL = 65792;

/**
 * { steps, tensors, n_layers, n_parameters, width }. A step is what happens to the current values: { op, record,
 * inputs, outputs }, for layers also kind, weight and bias (tensors, or null). Tensors stand in table order. Sizes are
 * numbers that no limit has been checked for; nothing of their size is allocated.
 */
export function listNetwork(head) {
  const last = head.records.at(-1);
  const others = head.records.filter(({ kind }) => kind === KIND.OUTPUT).reduce((sum, { width }) => sum + width, 0);
  const walk = { head, steps: [], tensors: [], current: head.in_dims, gabor: 0, n_layers: 0, width: 0 };
  for (const record of head.records) {
    const width = record === last ? head.out_channels - others : record.width;
    for (let i = 0; i < record.repeat; i++) (STEPS[record.kind] ?? addLayer)(walk, record, width);
  }
  const [first] = head.records;
  if (first.kind === KIND.GRID) addGridTensors(walk, first);
  if (first.kind === KIND.PYRAMID) addPyramidTensors(walk, first);
  const n_parameters = walk.tensors.reduce((sum, { size }) => sum + size, 0);
  return { steps: walk.steps, tensors: walk.tensors, n_layers: walk.n_layers, width: walk.width, n_parameters };
}

const STEPS = {
  [KIND.FOURIER]: (walk, record) => addEncoding(walk, record, fourierOutputs(record, walk.head.in_dims)),
  [KIND.FOURIER_SEEDED]: (walk, record) => addEncoding(walk, record, 2 * record.n_features),
  [KIND.GRID]: (walk, record) => addEncoding(walk, record, gridOutputs(record, walk.head.in_dims)),
  [KIND.PYRAMID]: (walk, record) => addEncoding(walk, record, record.n_levels),
  [KIND.INPUT]: addInput,
  [KIND.OUTPUT]: addOutput,
  [KIND.FILTER]: addFilter,
};

const fourierOutputs = (record, n) => n * ((record.flags & 1) + 2 * record.octaves);

const gridOutputs = ({ flags, feature_dim, n_levels, n_axes }, in_dims) =>
  feature_dim * (flags & 1 ? 1 : n_levels) + (flags & 2 ? in_dims : in_dims - n_axes);

function addStep(walk, step, { gabor = 0, outputs = step.outputs } = {}) {
  walk.steps.push(step);
  walk.width = Math.max(walk.width, step.inputs, step.outputs);
  walk.current = outputs;
  walk.gabor = gabor; // width of the GABOR layer whose outputs are the current values, or 0
}

function addEncoding(walk, record, outputs) {
  addStep(walk, { op: "encode", record, inputs: walk.current, outputs });
}

function addInput(walk, record) {
  const inputs = walk.steps.length ? walk.current : 0;
  const appended = record.encoding ? fourierOutputs(record, record.count) : record.count;
  addStep(walk, { op: "input", record, inputs, outputs: inputs + appended });
}

function addLayer(walk, record, width) {
  const { kind } = record;
  const isGabor = kind === KIND.GABOR;
  const isComplex = isGabor && walk.gabor > 0;
  const n_halved = pyramidAxes(walk).length;
  const columns = isLattice(kind) ? walk.current * 3 ** n_halved : isComplex ? walk.gabor : walk.current;
  const tensors = addTensors(walk, record, isComplex ? 2 * width : width, columns);
  const step = { op: isLattice(kind) ? "lattice" : "layer", record, kind, isComplex, ...tensors, inputs: walk.current };
  addStep(walk, { ...step, outputs: isGabor ? 2 * width : width }, { gabor: isGabor ? width : 0 });
}

function addOutput(walk, record) {
  const { output_kind: kind, width: outputs } = record;
  const tensors = addTensors(walk, record, outputs, walk.current);
  const kept = { gabor: walk.gabor, outputs: walk.current };
  addStep(walk, { op: "output", record, kind, ...tensors, inputs: walk.current, outputs }, kept);
}

function addFilter(walk, record) {
  const tensors = addTensors(walk, record, walk.current, walk.head.in_dims);
  const sizes = { inputs: walk.head.in_dims, outputs: walk.current };
  addStep(walk, { op: "filter", record, kind: KIND.FILTER, ...tensors, ...sizes });
}

/** The halved axes of the PYRAMID; none where there is another encoding. */
const pyramidAxes = ({ head }) => halvedAxes(head.records[0]);
export const halvedAxes = (record) => [0, 1, 2, 3].filter((axis) => (record.axes >> axis) & 1);

/** Weights and bias of the next layer. */
function addTensors(walk, record, rows, columns) {
  const ordinal = 2 * walk.n_layers++;
  const weight = tensor("weight", ordinal, rows, columns, record);
  const bias = record.tool_flags & 0x20 ? null : tensor("bias", ordinal + 1, rows, 1, record);
  walk.tensors.push(weight, ...(bias ? [bias] : []));
  return { weight, bias };
}

/**
 * A tensor: role weight, bias, context or latents; `step` is its step code, `row_steps` the differences of its rows;
 * `acc` (Int32Array, or Uint32Array patterns for tool 0) is null until a pass codes it.
 */
function tensor(role, ordinal, rows, columns, { tool_flags }, more = {}) {
  return {
    role, ordinal, rows, columns, size: rows * columns, tool: tool_flags & 7,
    has_prior: (tool_flags & 8) !== 0, has_row_steps: role === "weight" && (tool_flags & 16) !== 0,
    is_half: (tool_flags & 64) !== 0, step: 0, row_steps: null, acc: null, is_coded: false, ...more,
  };
}

const WRITTEN_AS_IS = { tool_flags: TOOL.LATENT }; // context tensors and latents have no tool_flags of their own

// --- latents (clause 9.6) ----------------------------------------------------------------------------

function addGridTensors(walk, record) {
  const { n_levels, latent_dim, feature_dim, tool_flags, log2_table_size } = record;
  const rows = feature_dim * (record.flags & 8 ? n_levels : 1);
  walk.tensors.push(tensor("weight", ENCODING_ORDINAL, rows, latent_dim, record));
  if (!(tool_flags & 0x20)) walk.tensors.push(tensor("bias", ENCODING_ORDINAL + 1, rows, 1, record));
  record.resolutions.forEach((shape, level) => {
    const n_vertices = shape.reduce((product, n) => product * n, 1);
    const entries = Math.min(n_vertices, 2 ** log2_table_size);
    const more = { level, shape, is_hashed: entries < n_vertices, step: 800 };
    walk.tensors.push(tensor("latents", LEVEL_ORDINAL + level, entries, latent_dim, WRITTEN_AS_IS, more));
  });
}

function addPyramidTensors(walk, record) {
  const { n_levels, filter, context_id } = record;
  const rows = filter & 16 ? 1 : n_levels - 1;
  if (n_levels > 1) walk.tensors.push(tensor("weight", ENCODING_ORDINAL, rows, filter & 15, record));
  if (context_id !== CONTEXT.FACTORISED) addContextTensors(walk, record);
  for (let level = 0; level < n_levels; level++) {
    const shape = levelShape(walk.head, record, level);
    const size = shape.reduce((product, n) => product * n, 1);
    walk.tensors.push(tensor("latents", LEVEL_ORDINAL + level, size, 1, WRITTEN_AS_IS, { level, shape, step: 800 }));
  }
}

/** Samples of a level of a pyramid along each axis. */
const levelShape = (head, record, level) => {
  const shrink = 2 ** (record.n_levels - 1 - level);
  return head.grid.map((n, axis) => ((record.axes >> axis) & 1 ? Math.ceil(n / shrink) : n));
};

function addContextTensors(walk, { n_levels, context_id, context_hidden, context_width: w }) {
  const isInterlaced = context_id === CONTEXT.INTERLACED;
  const near = isInterlaced ? 16 : 12;
  const add = (name, ordinal, rows, columns) =>
    walk.tensors.push(tensor("context", ordinal, rows, columns, WRITTEN_AS_IS, { name }));
  add("coarse", CONTEXT_ORDINAL, w, 11);
  add("near", CONTEXT_ORDINAL + 1, w, near);
  add("phase", CONTEXT_ORDINAL + 2, isInterlaced ? 10 : 1, w);
  for (let i = 0; i < context_hidden; i++) {
    add(`hidden.${i}.weight`, CONTEXT_ORDINAL + 3 + 2 * i, w, w);
    add(`hidden.${i}.bias`, CONTEXT_ORDINAL + 4 + 2 * i, 1, w);
  }
  add("output", CONTEXT_ORDINAL + 32, 2, w);
  add("linear", CONTEXT_ORDINAL + 33, 2, 11 + near);
  add("offset", CONTEXT_ORDINAL + 34, n_levels + (isInterlaced ? 4 : 0), 2);
}
