// The layers and tensors that a HEAD lists (clauses 6.7, 9.6 and 13).

import { lattices } from "./parts.js";
import { CONTEXT, FEATURE, KIND, TOOL, isLattice } from "./registry.js";

const ENCODING_ORDINAL = 65536; // grid.decoder.weight, pyramid.filter
const CONTEXT_ORDINAL = 65552;
const LEVEL_ORDINAL = 65792;
const PASS_ORDINAL = 2 ** 20; // of the first block that begins in pass 1 (clause 13.2)

const sum = (numbers) => numbers.reduce((total, n) => total + n, 0);

/**
 * { steps, n_layers, width }. A step is what happens to the current values: { op, record, inputs, outputs }, for layers
 * also kind, layer (its number), rows and columns. Sizes are numbers that no limit has been checked for.
 */
export function listSteps(head) {
  const last = head.records.at(-1);
  const others = sum(head.records.filter(({ kind }) => kind === KIND.OUTPUT).map(({ width }) => width));
  const walk = { head, steps: [], current: head.in_dims, gabor: 0, n_layers: 0, width: 0, units: null };
  for (const record of head.records) {
    const width = record === last ? head.out_channels - others : record.width;
    for (let i = 0; i < record.repeat; i++) (STEPS[record.kind] ?? addLayer)(walk, record, width);
  }
  return { steps: walk.steps, n_layers: walk.n_layers, width: walk.width };
}

/**
 * The network of a file, or of the part whose lattice `grid` is: { tensors, own, n_parameters }, all of them in table
 * order, `own` those that its chunks code: all but `shared`, the tensors that are there already.
 */
export function listNetwork(head, grid = head.grid, shared = null) {
  const all = listTensors(head, grid);
  const own = shared ? all.filter(isOfPart) : all;
  return { tensors: shared ? [...shared, ...own] : own, own, n_parameters: countIn(own) };
}

/** The network of the tensors that all parts share, if they do (clause 13.1); else null. */
export function listSharedNetwork(head) {
  if (!head.shared) return null;
  const own = listTensors(head, head.grid).filter((one) => !isOfPart(one));
  return { tensors: own, own, n_parameters: countIn(own) };
}

/** Parameters of all tensors of all parts; nothing of their size is allocated. */
export function countParameters(head) {
  if (!head.has(FEATURE.PARTS)) return listNetwork(head).n_parameters;
  const counts = new Map(); // by the sizes of the lattice: only few differ
  let n = listSharedNetwork(head)?.n_parameters ?? 0;
  for (const { sizes } of lattices(head)) {
    const id = sizes.join();
    if (!counts.has(id)) counts.set(id, listNetwork(head, sizes, head.shared ? [] : null).n_parameters);
    n += counts.get(id);
  }
  return n;
}

const isOfPart = ({ role }) => role === "latents"; // where tensors are shared
const countIn = (tensors) => sum(tensors.map(({ size }) => size));

// --- steps -----------------------------------------------------------------------------------------

const STEPS = {
  [KIND.FOURIER]: (walk, record) => addEncoding(walk, record, fourierOutputs(record, walk.head.in_dims)),
  [KIND.FOURIER_SEEDED]: (walk, record) => addEncoding(walk, record, 2 * record.n_features),
  [KIND.GRID]: (walk, record) => addEncoding(walk, record, gridOutputs(record, walk.head.in_dims)),
  [KIND.PYRAMID]: (walk, record) => addEncoding(walk, record, record.n_levels),
  [KIND.INPUT]: addInput,
  [KIND.OUTPUT]: addOutput,
  [KIND.FILTER]: addFilter,
  [KIND.MULTIPLY]: addMultiply,
};

const fourierOutputs = (record, n) => n * ((record.flags & 1) + 2 * record.octaves);

const gridOutputs = ({ flags, feature_dim, n_levels, n_axes }, in_dims) =>
  feature_dim * (flags & 1 ? 1 : n_levels) + (flags & 2 ? in_dims : in_dims - n_axes);

function addStep(walk, step, { gabor = 0, outputs = step.outputs } = {}) {
  walk.steps.push(walk.head.has(FEATURE.WIDTHS) ? withGrowth(walk, step) : step);
  walk.width = Math.max(walk.width, step.inputs, step.outputs);
  walk.current = outputs;
  walk.gabor = gabor; // width of the GABOR layer whose outputs are the current values, or 0
}

/** A step with its outputs and inputs that are there after each pass (clause 13.2). */
function withGrowth(walk, step) {
  const { n_passes } = walk.head;
  const active_columns = walk.units ?? Array(n_passes).fill(step.inputs);
  walk.units = step.record.active_width ?? Array(n_passes).fill(step.outputs);
  return { ...step, active_rows: walk.units, active_columns };
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
  const matrix = { layer: walk.n_layers++, rows: isComplex ? 2 * width : width, columns };
  const step = { op: isLattice(kind) ? "lattice" : "layer", record, kind, isComplex, ...matrix, inputs: walk.current };
  addStep(walk, { ...step, outputs: isGabor ? 2 * width : width }, { gabor: isGabor ? width : 0 });
}

function addOutput(walk, record) {
  const { output_kind: kind, width: outputs } = record;
  const matrix = { layer: walk.n_layers++, rows: outputs, columns: walk.current };
  const kept = { gabor: walk.gabor, outputs: walk.current };
  addStep(walk, { op: "output", record, kind, ...matrix, inputs: walk.current, outputs }, kept);
}

function addFilter(walk, record) {
  const { in_dims } = walk.head;
  const matrix = { layer: walk.n_layers++, rows: walk.current, columns: in_dims };
  addStep(walk, { op: "filter", record, kind: KIND.FILTER, ...matrix, inputs: in_dims, outputs: walk.current });
}

function addMultiply(walk, record) {
  addStep(walk, { op: "multiply", record, inputs: walk.current, outputs: walk.current });
}

/** The halved axes of the PYRAMID; none where there is another encoding. */
const pyramidAxes = ({ head }) => halvedAxes(head.records[0]);
export const halvedAxes = (record) => [0, 1, 2, 3].filter((axis) => (record.axes >> axis) & 1);

// --- tensors ---------------------------------------------------------------------------------------

function listTensors(head, grid) {
  const [first] = head.records;
  const tensors = head.has(FEATURE.WIDTHS) ? listBlocks(head) : head.steps.flatMap(layerTensors);
  if (first.kind === KIND.GRID) addGridTensors(tensors, first);
  if (first.kind === KIND.PYRAMID) addPyramidTensors(tensors, first, grid);
  return tensors;
}

function layerTensors({ record, layer, rows, columns }) {
  if (layer === undefined) return [];
  const weight = tensor("weight", 2 * layer, rows, columns, record, { layer });
  return hasBias(record) ? [weight, tensor("bias", 2 * layer + 1, rows, 1, record, { layer })] : [weight];
}

/** The blocks of a network that grows (clause 13.2), pass by pass. */
function listBlocks({ steps, n_passes }) {
  const layers = steps.filter(({ layer }) => layer !== undefined);
  return Array.from({ length: n_passes }, (_, begins) => begins).flatMap((begins) =>
    layers.flatMap((step) => layerBlocks(step, begins)).filter(({ size }) => size > 0),
  );
}

function layerBlocks({ record, layer, active_rows, active_columns }, begins) {
  const isLast = record.active_width === undefined;
  const first = begins > 0 && !isLast ? active_rows[begins - 1] : 0;
  const left = begins > 0 && isLast ? active_columns[begins - 1] : 0;
  const n = active_rows[begins] - first;
  const place = { layer, begins, first_row: first, first_column: left };
  const ordinal = PASS_ORDINAL * begins + 2 * layer;
  const n_columns = active_columns[begins] - left;
  const weight = tensor("weight", ordinal, n, n_columns, record, place);
  const n_biases = isLast && begins > 0 ? 0 : n;
  return hasBias(record) ? [weight, tensor("bias", ordinal + 1, n_biases, 1, record, place)] : [weight];
}

const hasBias = ({ tool_flags }) => (tool_flags & 0x20) === 0;

/**
 * A tensor: role weight, bias, context or latents; `step` is its step code, `row_steps` the differences of its rows;
 * `acc` (Int32Array, or Uint32Array patterns for tool 0) is null until a pass codes it. A tensor of a layer has its
 * number `layer`, the pass in which it `begins` and its place in the matrix or bias of the layer.
 */
function tensor(role, ordinal, rows, columns, { tool_flags }, more = {}) {
  return {
    role, ordinal, rows, columns, size: rows * columns, tool: tool_flags & 7,
    has_prior: (tool_flags & 8) !== 0, has_row_steps: role === "weight" && (tool_flags & 16) !== 0,
    is_half: (tool_flags & 64) !== 0, step: 0, row_steps: null, acc: null, is_coded: false,
    begins: 0, first_row: 0, first_column: 0, ...more,
  };
}

const WRITTEN_AS_IS = { tool_flags: TOOL.LATENT }; // context tensors and latents have no tool_flags of their own

// --- latents (clause 9.6) ----------------------------------------------------------------------------

function addGridTensors(tensors, record) {
  const { n_levels, latent_dim, feature_dim, log2_table_size } = record;
  const rows = feature_dim * (record.flags & 8 ? n_levels : 1);
  tensors.push(tensor("weight", ENCODING_ORDINAL, rows, latent_dim, record));
  if (hasBias(record)) tensors.push(tensor("bias", ENCODING_ORDINAL + 1, rows, 1, record));
  record.resolutions.forEach((shape, level) => {
    const n_vertices = shape.reduce((product, n) => product * n, 1);
    const entries = Math.min(n_vertices, 2 ** log2_table_size);
    const more = { level, shape, is_hashed: entries < n_vertices, step: 800 };
    tensors.push(tensor("latents", LEVEL_ORDINAL + level, entries, latent_dim, WRITTEN_AS_IS, more));
  });
}

function addPyramidTensors(tensors, record, grid) {
  const { n_levels, filter, context_id } = record;
  const rows = filter & 16 ? 1 : n_levels - 1;
  if (n_levels > 1) tensors.push(tensor("weight", ENCODING_ORDINAL, rows, filter & 15, record));
  if (context_id !== CONTEXT.FACTORISED) addContextTensors(tensors, record);
  for (let level = 0; level < n_levels; level++) {
    const shape = levelShape(grid, record, level);
    const size = shape.reduce((product, n) => product * n, 1);
    tensors.push(tensor("latents", LEVEL_ORDINAL + level, size, 1, WRITTEN_AS_IS, { level, shape, step: 800 }));
  }
}

/** Samples of a level of a pyramid along each axis. */
const levelShape = (grid, record, level) => {
  const shrink = 2 ** (record.n_levels - 1 - level);
  return grid.map((n, axis) => ((record.axes >> axis) & 1 ? Math.ceil(n / shrink) : n));
};

function addContextTensors(tensors, { n_levels, context_id, context_hidden, context_width: w }) {
  const isInterlaced = context_id === CONTEXT.INTERLACED;
  const near = isInterlaced ? 16 : 12;
  const add = (name, ordinal, rows, columns) =>
    tensors.push(tensor("context", ordinal, rows, columns, WRITTEN_AS_IS, { name }));
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
