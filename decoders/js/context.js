// Context coding of latents (clause 10.6).

import { Model } from "./models.js";
import { CONTEXT } from "./registry.js";

const MOST = 63; // of an input, in magnitude
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
  for (const run of record.context_id === CONTEXT.INTERLACED ? interlaced(H, W) : wavefronts(H, W)) {
    const places = [];
    const signs = [];
    for (let plane = 0; plane < n_planes; plane++) {
      const views = [0, 1, 2, 3].map((below) => new Plane(levels[level - below], plane));
      for (const site of run.sites) {
        const { model, centre } = net.at(run, views, Math.floor(site / W), site % W);
        const u = model.lowest + body.symbol(model);
        const place = plane * H * W + site;
        acc[place] = centre + u;
        if (u !== model.lowest && u !== model.highest) continue;
        places.push(place);
        signs.push(u === model.lowest ? -1 : 1);
      }
    }
    body.coder.endRun();
    body.enlarge(acc, places, (_, i) => signs[i]);
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
  for (let t = 0; t < W + 3 * (H - 1); t++) {
    const sites = [];
    for (let y = Math.max(0, Math.ceil((t - W + 1) / 3)); y < H && t - 3 * y >= 0; y++) sites.push(y * W + t - 3 * y);
    yield { phase: 0, stride: 1, column: 0, near: CAUSAL, sites };
  }
}

/** A plane of the latents of a level; all zeros where there is no level. */
class Plane {
  constructor(tensor, plane) {
    [this.H, this.W] = tensor ? tensor.shape.slice(-2) : [0, 0];
    this.acc = tensor?.acc;
    this.start = plane * this.H * this.W;
  }

  at(y, x) {
    if (y < 0 || y >= this.H || x < 0 || x >= this.W) return 0;
    const value = this.acc[this.start + y * this.W + x];
    return value < -MOST ? -MOST : value > MOST ? MOST : value;
  }
}

// --- the context network ---------------------------------------------------------------------------

const clip = (value, least, most) => Math.min(Math.max(value, least), most);

/** The context network for the sites of one level; all arithmetic is on int32. */
class ContextNetwork {
  #inputs = new Int32Array(11 + 12); // the coarse ones, then the near ones

  constructor(network, { context_id, context_hidden, context_width, n_levels }, level) {
    const named = new Map(network.tensors.filter(({ role }) => role === "context").map((t) => [t.name, t]));
    const get = (name) => named.get(name);
    [this.coarse, this.near, this.phase] = ["coarse", "near", "phase"].map(get);
    [this.output, this.linear, this.offset] = ["output", "linear", "offset"].map(get);
    const pair = (_, i) => [get(`hidden.${i}.weight`), get(`hidden.${i}.bias`)];
    this.hidden = Array.from({ length: context_hidden }, pair);
    this.width = context_width;
    this.level = level;
    this.phaseOffset = context_id === CONTEXT.INTERLACED ? n_levels : null; // row of the first offset of a phase
    this.h = new Int32Array(context_width);
    this.next = new Int32Array(context_width);
  }

  /** { model, centre } of the latent at y, x; `views` are planes of its level and of the three below. */
  at(run, views, y, x) {
    this.#gather(run, views, y, x);
    const n_near = run.near.length;
    this.#first(run, n_near);
    for (const [weight, bias] of this.hidden) this.#layer(weight, bias);
    const mean = (clip(this.#out(0, run, n_near), -16384, 16383) + 8) >> 4;
    const scale = clip(((this.#out(1, run, n_near) + 16) >> 5) + 32, 0, 63);
    const centre = (mean + 8) >> 4;
    return { model: contextModel(scale, mean - 16 * centre), centre };
  }

  #gather({ near, stride }, [own, parent, second, third], y, x) {
    const inputs = this.#inputs;
    const sy = 2 * (y & 1) - 1;
    const sx = 2 * (x & 1) - 1;
    for (let i = 0; i < 9; i++) {
      inputs[i] = parent.at((y >> 1) + sy * (Math.floor(i / 3) - 1), (x >> 1) + sx * ((i % 3) - 1));
    }
    inputs[9] = second.at(y >> 2, x >> 2);
    inputs[10] = third.at(y >> 3, x >> 3);
    for (let i = 0; i < near.length; i++) inputs[11 + i] = own.at(y + stride * near[i][0], x + stride * near[i][1]);
  }

  #first({ phase, column }, n_near) {
    const { coarse, near } = this;
    for (let i = 0; i < this.width; i++) {
      const a = scaled(dot(coarse, i, 0, this.#inputs, 0, 11), coarse);
      const b = scaled(dot(near, i, column, this.#inputs, 11, n_near), near);
      const c = scaled(this.phase.acc[phase * this.width + i], this.phase);
      this.h[i] = clip(a + b + c, 0, 16383);
    }
  }

  #layer(weight, bias) {
    for (let i = 0; i < this.width; i++) {
      const r = dot(weight, i, 0, this.h, 0, this.width) >> weight.q;
      this.next[i] = clip(this.h[i] + r + scaled(bias.acc[i], bias), 0, 16383);
    }
    [this.h, this.next] = [this.next, this.h];
  }

  #out(k, { phase, column }, n_near) {
    const { output, linear, offset } = this;
    const direct = dot(linear, k, 0, this.#inputs, 0, 11) + dot(linear, k, 11 + column, this.#inputs, 11, n_near);
    let a = dot(output, k, 0, this.h, 0, this.width) >> output.q;
    a += scaled(direct, linear) + scaled(offset.acc[2 * this.level + k], offset);
    if (this.phaseOffset === null) return a;
    return a + scaled(offset.acc[2 * (this.phaseOffset + Math.floor((phase + 2) / 3)) + k], offset);
  }
}

/** The sum of acc[row][column + j] * values[from + j], j = 0 … n - 1. */
function dot({ acc, columns }, row, column, values, from, n) {
  let sum = 0;
  for (let j = 0, at = row * columns + column; j < n; j++) sum = (sum + Math.imul(acc[at + j], values[from + j])) | 0;
  return sum;
}

const scaled = (total, { q }) => (256 * total) >> q;

// --- models ----------------------------------------------------------------------------------------

const cache = new Map();

/** The model of a latent by scale (0 to 63) and fraction (-8 to 7). */
function contextModel(scale, fraction) {
  const id = 16 * scale + fraction + 8;
  if (!cache.has(id)) cache.set(id, makeContextModel(scale, fraction));
  return cache.get(id);
}

function makeContextModel(scale, fraction) {
  const t = [2 ** 28];
  for (let i = 0; i < 16 * 127; i++) t.push(Math.floor((t[i] * DECAY[scale]) / 2 ** 24));
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
