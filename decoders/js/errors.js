// The coded errors of clause 15.

const CODES = {
  malformed: {
    BAD_SIGNATURE: 101, BAD_CHUNK_TYPE: 104, CHUNK_ORDER: 106, TRAILING_DATA: 107, MISSING_PASS: 109,
    PAYLOAD_TOO_SHORT: 205, SURPLUS_BYTES: 206, RESERVED_NOT_ZERO: 207, BAD_DIMENSIONS: 209, BAD_FLOAT: 210,
    FEATURE_MISMATCH: 211, BAD_RECORD: 212, BAD_OPTIONAL_BLOCK: 213,
    PASS_ORDER: 301, PROFILE_FORBIDS: 302, BAD_LANES: 303, PADDING_NOT_ZERO: 304, BAD_TABLE: 305, BAD_MODEL: 306,
    STEP_OUT_OF_RANGE: 307, BAD_STREAM: 308, ACC_OVERFLOW: 309, NON_FINITE_WEIGHT: 311, BAD_COMPRESSED_DATA: 312,
  },
  integrity: {
    HEADER_CHECK_MISMATCH: 102, CHUNK_CRC_MISMATCH: 103, ACC_CRC_MISMATCH: 310, WEIGHTS_HASH_MISMATCH: 501,
    BASE_MISMATCH: 502, SOURCE_CHANGED: 503,
  },
  truncated: { TRUNCATED: 108 },
  unsupported: {
    UNKNOWN_CRITICAL_CHUNK: 105, UNSUPPORTED_VERSION: 201, UNSUPPORTED_PROFILE: 202, UNSUPPORTED_LEVEL: 203,
    UNSUPPORTED_FEATURE: 204, UNKNOWN_ID: 208, BASE_REQUIRED: 214, CODEC_MISSING: 313,
  },
  limit: {
    LIMIT_FILE_BYTES: 401, LIMIT_LAYERS: 402, LIMIT_PARAMETERS: 403, LIMIT_WIDTH: 404, LIMIT_GRID: 405,
    LIMIT_SYMBOLS: 406, LIMIT_CALLER: 407, LIMIT_PARTS: 408,
  },
  usage: { USAGE: 601 },
};

export const EXIT_STATUS = { malformed: 3, integrity: 3, truncated: 3, unsupported: 4, limit: 5, usage: 2 };

const BY_NAME = new Map(
  Object.entries(CODES).flatMap(([group, codes]) =>
    Object.entries(codes).map(([name, code]) => [name, { group, code }]),
  ),
);

/** A refusal: `name` and `code` of the registry, `class`, and `offset` in the file (null where there is none). */
export class SinrError extends Error {
  constructor(name, offset = null, detail = "") {
    super(detail ? `${name}: ${detail}` : `${name} at ${offset}`);
    const { group, code } = BY_NAME.get(name);
    this.name = name;
    this.code = code;
    this.class = group;
    this.offset = offset;
  }

  /** The line of DEC-2. */
  toJSON() {
    return { code: this.code, name: this.name, class: this.class, offset: this.offset };
  }
}

/** Throws the error `name` unless `condition` holds. */
export function check(condition, name, offset, detail) {
  if (!condition) throw new SinrError(name, offset, detail);
}
