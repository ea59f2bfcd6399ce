// Ids and limits of registry.toml that a decoder needs.

// Those that this decoder has; the reserved one is refused.
export const FEATURE = {
  WIDE: 1 << 0, SEEDED: 1 << 1, TRELLIS: 1 << 2, SPARSE: 1 << 3, GRID: 1 << 4, PARTS: 1 << 5, WIDTHS: 1 << 6,
  SHARED_BASE: 1 << 7,
};
export const KNOWN_FEATURES = Object.values(FEATURE).reduce((all, bit) => all | bit, 0);
export const QUALITY = 0;
export const SHARED_PART = 65535; // `part` of the shared tensors

export const CHUNK = { HEAD: 1, PASS: 2, INDX: 3, META: 4, HASH: 5, PREV: 7 };
export const MODALITIES = 8; // 1 to 8
export const COORDS = { CENTRES: 0, CORNERS: 1, CORNERS_PROPORTIONAL: 2, CENTRES_UNIT: 3, BOX: 15 };
export const VALUES = { UNIT: 0, SIGNED: 1, RAW: 2 };
export const RNG = { PHILOX4X32_10: 1 };
export const DICTIONARY = { RADEMACHER: 0, T8: 1 };
export const PROFILE = { CORE: 1, MAIN: 2 };

export const TOOL = { RAW: 0, SCALAR: 1, TRELLIS: 2, SPARSE: 3, LATENT: 4 };
export const CODING = { PACKED: 0, RANS: 1, ZLIB: 2, BROTLI: 3, ZSTANDARD: 4 };
export const FORM = { ZERO: 0, SHORT: 1, LONG: 2, SAME: 3, TABLE: 4, CONTEXT: 5 };
export const CONTEXT = { FACTORISED: 0, INTERLACED: 1, SERIAL: 2 };

export const KIND = {
  LINEAR: 1, SINE: 2, RELU: 3, GAUSSIAN: 4, TANH: 5, SIGMOID: 6, ELU: 7, GABOR: 8, FINER: 9, CONV: 11, CONV_RELU: 12,
  FOURIER: 33, FOURIER_SEEDED: 34, GRID: 35, PYRAMID: 36, INPUT: 64, OUTPUT: 65, FILTER: 66, MULTIPLY: 67,
};
export const KINDS = new Set(Object.values(KIND));
export const HAS_OMEGA = new Set([KIND.SINE, KIND.GAUSSIAN, KIND.GABOR, KIND.FINER, KIND.FILTER]);
export const isLattice = (kind) => kind === KIND.CONV || kind === KIND.CONV_RELU;
export const isLayer = (kind) => kind <= KIND.CONV_RELU; // of the groups layer and lattice_filter
export const isEncoding = (kind) => kind >= KIND.FOURIER && kind <= KIND.PYRAMID;

const level = (file_bytes, layers, parameters, width, grid_samples, symbols, parts) => ({
  file_bytes, layers, parameters, width, grid_samples, symbols, parts,
});
export const LEVELS = {
  1: level(2 ** 16, 8, 2 ** 14, 4096, 2 ** 22, 2 ** 22, 64),
  2: level(2 ** 19, 16, 2 ** 17, 8192, 2 ** 26, 2 ** 24, 512),
  3: level(2 ** 22, 32, 2 ** 20, 16384, 2 ** 30, 2 ** 26, 4096),
  4: level(2 ** 26, 64, 2 ** 24, 32768, 2 ** 34, 2 ** 28, 16384),
  5: level(2 ** 31, 256, 2 ** 32, 65535, 2 ** 38, 2 ** 34, 65534),
};
