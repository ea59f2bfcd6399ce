// Context coding of latents (clause 10.6).

import { Model } from "./models.js";
import { CONTEXT } from "./registry.js";

const MOST = 63; // of an input, in magnitude
const MARGINS = { [CONTEXT.INTERLACED]: [4, 1, 0, 0], [CONTEXT.SERIAL]: [2, 1, 0, 0] }; // of views; see below
const N_COARSE = 11; // inputs from the levels below
const LINEAR_ROWS = 4; // two of context.linear, and two of zeros
const NEAR = [ // context id 1: first column of context.near and neighbours, by kind
  [0, []],
  [0, [[-1, -1], [-1, 1], [1, -1], [1, 1]]],
  [4, [[-1, 0], [0, -1], [0, 1], [1, 0]]],
  [8, [[-1, 0], [0, -1], [0, 1], [1, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]]],
];
const CAUSAL = [
  [-2, -2], [-2, -1], [-2, 0], [-2, 1], [-2, 2], [-1, -2], [-1, -1], [-1, 0], [-1, 1], [-1, 2], [0, -2], [0, -1],
];
const DECAY = [
  553019, 825805, 1176394, 1607575, 2117648, 2700681, 3347205, 4045189, 4781124, 5541043, 6311398, 7079731, 7835118,
  8568421, 9272363, 9941478, 10571966, 11161502, 11709016, 12214461, 12678609, 13102846, 13489011, 13839243, 14155867,
  14441299, 14697968, 14928265, 15134497, 15318861, 15483426, 15630123, 15760736, 15876908, 15980140, 16071800,
  16153126, 16225238, 16289144, 16345750, 16395867, 16440224, 16479468, 16514178, 16544871, 16572005, 16595987,
  16617180, 16635905, 16652448, 16667060, 16679966, 16691364, 16701429, 16710317, 16718164, 16725092, 16731208,
  16736608, 16741374, 16745582, 16749296, 16752574, 16755468,
];

/** Decodes the latents of `level`, whose acc is all zeros, from a RansBody; `levels` are those of the pyramid. */
export function decodeContextLevel(body, network, record, levels, level) {
  const tensor = levels[level];
  const net = new ContextNetwork(network, record, level);
  const [H, W] = tensor.shape.slice(-2);
  const n_planes = tensor.size / (H * W);
  const { acc } = tensor;
  const views = MARGINS[record.context_id].map((margin, below) => {
    const [rows, columns] = [H, W].map((n) => Math.ceil(n / 2 ** below));
    return new View(levels[level - below], n_planes, rows, columns, margin);
  });
  for (const run of record.context_id === CONTEXT.INTERLACED ? interlaced(H, W) : wavefronts(H, W)) {
    const places = [];
    const signs = [];
    for (let plane = 0; plane < n_planes; plane++) {
      const first = plane * H * W;
      net.start(run, views, plane);
      for (const site of run.sites) {
        const y = Math.floor(site / W);
        const model = net.modelAt(y, site - y * W);
        const u = model.lowest + body.symbol(model);
        acc[first + site] = net.centre + u;
        if (u !== model.lowest && u !== model.highest) continue;
        places.push(first + site);
        signs.push(u === model.lowest ? -1 : 1);
      }
    }
    body.coder.endRun();
    body.enlarge(acc, places, (_, i) => signs[i]);
    for (let plane = 0; plane < n_planes; plane++) {
      for (const site of run.sites) views[0].set(plane, site, acc[plane * H * W + site]);
    }
  }
}

// --- order of sites --------------------------------------------------------------------------------

function* interlaced(H, W) {
  const sites = (y0, x0, step) => {
    const list = [];
    for (let y = y0; y < H; y += step) for (let x = x0; x < W; x += step) list.push(y * W + x);
    return list;
  };
  yield { phase: 0, stride: 8, column: 0, near: [], sites: sites(0, 0, 8) };
  for (const [n, s] of [4, 2, 1].entries()) {
    for (const [kind, y0, x0] of [[1, s, s], [2, 0, s], [3, s, 0]]) {
      const [column, near] = NEAR[kind];
      yield { phase: 3 * n + kind, stride: s, column, near, sites: sites(y0, x0, 2 * s) };
    }
  }
}

function* wavefronts(H, W) {
  const buffer = new Int32Array(H);
  for (let t = 0; t < W + 3 * (H - 1); t++) {
    let n = 0;
    for (let y = Math.max(0, Math.ceil((t - W + 1) / 3)); y < H && t - 3 * y >= 0; y++) buffer[n++] = y * W + t - 3 * y;
    yield { phase: 0, stride: 1, column: 0, near: CAUSAL, sites: buffer.subarray(0, n) };
  }
}

/**
 * The planes of a level as the context network sees them: latents clipped, and zeros around each plane, so many that no
 * neighbour needs a check. A row and the next one have their zeros in common, and so have two planes. All zeros where
 * there is no level, or none of it yet.
 */
class View {
  constructor(tensor, n_planes, rows, columns, margin) {
    this.columns = columns;
    this.stride = columns + margin;
    this.ofPlane = (rows + margin) * this.stride;
    this.origin = margin * this.stride + margin;
    this.values = new Int8Array(this.origin + n_planes * this.ofPlane + margin);
    const size = rows * columns;
    if (!tensor?.is_coded) return;
    for (let plane = 0; plane < n_planes; plane++) {
      for (let place = 0; place < size; place++) this.set(plane, place, tensor.acc[plane * size + place]);
    }
  }

  /** Where the first latent of a plane stands. */
  originOf(plane) {
    return this.origin + plane * this.ofPlane;
  }

  set(plane, place, value) {
    const y = Math.floor(place / this.columns);
    const at = this.originOf(plane) + y * this.stride + place - y * this.columns;
    this.values[at] = value < -MOST ? -MOST : value > MOST ? MOST : value;
  }
}

// --- the context network ---------------------------------------------------------------------------

const clip = (value, least, most) => (value < least ? least : value > most ? most : value);
const scaled = (total, { q }) => (total << 8) >> q;

/**
 * The context network for the sites of one level; all arithmetic is on int32. Most inputs are zero, so matrices are
 * kept by columns and only those of inputs that are not zero are added. The rows of context.linear go with the first
 * layer.
 */
class ContextNetwork {
  centre = 0; // of the site asked for last
  #run = null;
  #views = null;
  #origins = null; // of the plane in the views
  #offsets = null; // of the near neighbours in the plane
  #inputs = new Int32Array(N_COARSE + CAUSAL.length); // the coarse ones, then the near ones
  #zero = new Map(); // { model, centre } by phase of sites whose inputs are all zero

  constructor(network, { context_id, context_hidden, context_width: w, n_levels }, level) {
    const named = new Map(network.tensors.filter(({ role }) => role === "context").map((t) => [t.name, t]));
    const get = (name) => named.get(name);
    const linear = get("linear");
    this.width = w;
    this.level = level;
    this.tensors = { coarse: get("coarse"), near: get("near"), phase: get("phase"), linear, output: get("output") };
    this.coarse = byColumns(this.tensors.coarse, N_COARSE, linear, 0);
    this.near = byColumns(this.tensors.near, this.tensors.near.columns, linear, N_COARSE);
    this.hidden = Array.from({ length: context_hidden }, (_, i) => {
      const [weight, bias] = [get(`hidden.${i}.weight`), get(`hidden.${i}.bias`)];
      return { columns: byColumns(weight, w), q: weight.q, bias: bias.acc.map((b) => scaled(b, bias)) };
    });
    this.offset = get("offset");
    this.phaseOffset = context_id === CONTEXT.INTERLACED ? n_levels : null; // row of the first offset of a phase
    this.fromCoarse = new Int32Array(w + LINEAR_ROWS);
    this.fromNear = new Int32Array(w + LINEAR_ROWS);
    this.h = new Int32Array(w);
    this.next = new Int32Array(w);
  }

  /** Makes ready for the sites of a run in one plane; `views` are those of the level and of the three below. */
  start(run, views, plane) {
    this.#run = run;
    this.#views = views;
    this.#origins = views.map((view) => view.originOf(plane));
    this.#offsets = run.near.map(([y, x]) => run.stride * (y * views[0].stride + x));
  }

  /** The model of the latent at y, x; its centre is `centre` then. */
  modelAt(y, x) {
    const { phase } = this.#run;
    if (this.#gather(y, x)) return this.#evaluate(phase);
    if (!this.#zero.has(phase)) this.#zero.set(phase, { model: this.#evaluate(phase), centre: this.centre });
    const { model, centre } = this.#zero.get(phase);
    this.centre = centre;
    return model;
  }

  /** Adds up what comes of the inputs; whether one is not zero. */
  #gather(y, x) {
    const [own, parent, second, third] = this.#views;
    const [ownOrigin, parentOrigin, secondOrigin, thirdOrigin] = this.#origins;
    const inputs = this.#inputs;
    const sy = (y & 1 ? 1 : -1) * parent.stride;
    const sx = x & 1 ? 1 : -1;
    const middle = parentOrigin + (y >> 1) * parent.stride + (x >> 1);
    const { values } = parent;
    for (let j = 0, at = middle - sy; j < 9; j += 3, at += sy) {
      inputs[j] = values[at - sx];
      inputs[j + 1] = values[at];
      inputs[j + 2] = values[at + sx];
    }
    inputs[9] = second.values[secondOrigin + (y >> 2) * second.stride + (x >> 2)];
    inputs[10] = third.values[thirdOrigin + (y >> 3) * third.stride + (x >> 3)];
    const here = ownOrigin + y * own.stride + x;
    const offsets = this.#offsets;
    for (let i = 0; i < offsets.length; i++) inputs[N_COARSE + i] = own.values[here + offsets[i]];
    const isCoarse = addColumns(this.fromCoarse, this.coarse, 0, inputs, 0, N_COARSE);
    const isNear = addColumns(this.fromNear, this.near, this.#run.column, inputs, N_COARSE, offsets.length);
    return isCoarse || isNear;
  }

  #evaluate(phase) {
    this.#first(phase);
    for (const layer of this.hidden) this.#layer(layer);
    const mean = (clip(this.#out(0, phase), -16384, 16383) + 8) >> 4;
    const scale = clip(((this.#out(1, phase) + 16) >> 5) + 32, 0, 63);
    this.centre = (mean + 8) >> 4;
    return contextModel(scale, mean - 16 * this.centre);
  }

  #first(index) {
    const { h, width, fromCoarse, fromNear, tensors } = this;
    const { coarse, near, phase } = tensors;
    for (let i = 0; i < width; i++) {
      const c = scaled(phase.acc[index * width + i], phase);
      h[i] = clip(scaled(fromCoarse[i], coarse) + scaled(fromNear[i], near) + c, 0, 16383);
    }
  }

  #layer({ columns, q, bias }) {
    const { h, next, width } = this;
    addColumns(next, columns, 0, h, 0, width);
    for (let i = 0; i < width; i++) next[i] = clip(h[i] + (next[i] >> q) + bias[i], 0, 16383);
    [this.h, this.next] = [next, h];
  }

  #out(k, phase) {
    const { h, width, offset, tensors } = this;
    const { output, linear } = tensors;
    let a = 0;
    for (let j = 0; j < width; j++) a += Math.imul(output.acc[k * width + j], h[j]);
    a >>= output.q;
    a += scaled(this.fromCoarse[width + k] + this.fromNear[width + k], linear);
    a += scaled(offset.acc[2 * this.level + k], offset);
    if (this.phaseOffset === null) return a;
    return a + scaled(offset.acc[2 * (this.phaseOffset + Math.floor((phase + 2) / 3)) + k], offset);
  }
}

/** n columns of a tensor, one after the other, each with the entries of context.linear from column `from` on below. */
function byColumns({ acc, rows, columns }, n, linear = null, from = 0) {
  const height = linear ? rows + LINEAR_ROWS : rows;
  const matrix = new Int32Array(n * height);
  for (let j = 0; j < n; j++) {
    for (let row = 0; row < rows; row++) matrix[j * height + row] = acc[row * columns + j];
    if (!linear) continue;
    for (let k = 0; k < 2; k++) matrix[j * height + rows + k] = linear.acc[k * linear.columns + from + j];
  }
  return matrix;
}

const MOST_COLUMNS = 32;
const terms = new Int32Array(MOST_COLUMNS); // values that are not zero
const starts = new Int32Array(MOST_COLUMNS); // of their columns

/**
 * Makes sums the columns from `first` on times n values from `from` on; whether one of the values is not zero. Values
 * that are zero are left out, as they are many; four rows at a time stay in registers.
 */
function addColumns(sums, matrix, first, values, from, n) {
  const { length } = sums;
  let count = 0;
  for (let j = 0; j < n; j++) {
    const value = values[from + j];
    if (value === 0) continue;
    terms[count] = value;
    starts[count++] = (first + j) * length;
  }
  for (let i = 0; i < length; i += 4) {
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let k = 0; k < count; k++) {
      const at = starts[k] + i;
      const value = terms[k];
      s0 = (s0 + Math.imul(matrix[at], value)) | 0;
      s1 = (s1 + Math.imul(matrix[at + 1], value)) | 0;
      s2 = (s2 + Math.imul(matrix[at + 2], value)) | 0;
      s3 = (s3 + Math.imul(matrix[at + 3], value)) | 0;
    }
    sums[i] = s0;
    sums[i + 1] = s1;
    sums[i + 2] = s2;
    sums[i + 3] = s3;
  }
  return count > 0;
}

// --- models ----------------------------------------------------------------------------------------

const cache = new Array(64 * 16).fill(null);
const powers = new Array(64).fill(null); // of DECAY, by scale

/** The model of a latent by scale (0 to 63) and fraction (-8 to 7). */
function contextModel(scale, fraction) {
  const id = 16 * scale + fraction + 8;
  return (cache[id] ??= makeContextModel(scale, fraction));
}

function decayPowers(decay) {
  const t = Int32Array.of(2 ** 28, ...new Array(16 * 127).fill(0));
  for (let i = 1; i < t.length; i++) t[i] = Math.floor((t[i - 1] * decay) / 2 ** 24);
  return t;
}

function makeContextModel(scale, fraction) {
  const t = (powers[scale] ??= decayPowers(DECAY[scale]));
  const tails = [1, -1].map((s) => {
    const at = (i) => t[16 * i - 8 + s * fraction];
    const tail = [];
    for (let k = 1; k < 127 && at(k) >= 2 ** 16; k++) tail.push(at(k) - at(k + 1));
    tail.push(at(tail.length + 1));
    return tail;
  });
  const sum = (list) => list.reduce((total, x) => total + x, 0);
  const w = [...tails[0].reverse(), 2 ** 29 - sum(tails[0]) - sum(tails[1]), ...tails[1]];
  const A = tails[0].length;
  const f = w.map((x) => 1 + Math.floor((x * (2 ** 14 - w.length)) / 2 ** 29));
  f[A] += 2 ** 14 - sum(f);
  return new Model(-A, f);
}
