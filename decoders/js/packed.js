// Packed values: the body of codings 0 and 2 (clause 11).

import { SinrError, check } from "./errors.js";
import { bitsAt } from "./fields.js";
import { CODING } from "./registry.js";
import { Quantiser, contributions } from "./trellis.js";

const MOST_SURPLUS = 65536; // CMP-1: bytes that a decompressor may give beyond the size

/** Lists of values of fixed widths, one after the other; the interface of RansBody. */
class PackedBody {
  #position = 0;

  constructor(bytes) {
    this.bytes = bytes;
  }

  list(width, n) {
    const values = new Int32Array(this.patterns(width, n).buffer);
    const unused = 32 - width;
    for (let i = 0; i < n; i++) values[i] = (values[i] << unused) >> unused;
    return values;
  }

  trellis(width, n) {
    const k = this.list(width, n);
    const quantiser = new Quantiser(1);
    return contributions(k, (i) => quantiser.advance(0, k[i] & 1));
  }

  /** n values without sign. */
  patterns(width, n) {
    const values = new Uint32Array(n);
    for (let i = 0; i < n; i++) values[i] = bitsAt(this.bytes, 0, this.#position + i * width, width);
    this.#position += n * width;
    return values;
  }

  finish() {}
}

/**
 * The body at bytes start … end, of n_bits bits by its table. `inflate(bytes, most)` gives the bytes of the one zlib
 * stream that `bytes` are, at most `most` of them; it throws, or rejects, if they are none or too many.
 */
export async function openPackedBody(bytes, start, end, n_bits, coding, inflate) {
  const size = Math.ceil(n_bits / 8);
  let packed = bytes.subarray(start, end);
  let padding = start + size - 1; // its place in the file
  if (coding === CODING.PACKED) {
    check(packed.length >= size, "PAYLOAD_TOO_SHORT", end);
    check(packed.length === size, "SURPLUS_BYTES", start + size);
  } else {
    packed = await inflated(packed, size + MOST_SURPLUS, inflate).catch(() => null);
    check(packed?.length === size, "BAD_COMPRESSED_DATA", start);
    padding = start;
  }
  const n_padding = 8 * size - n_bits;
  if (n_padding && packed[size - 1] >> (8 - n_padding)) throw new SinrError("PADDING_NOT_ZERO", padding);
  return new PackedBody(packed);
}

async function inflated(bytes, most, inflate) {
  return inflate(bytes, most);
}
