// The container of clause 5: signature, chunks, their checks and their order.

import { check } from "./errors.js";
import { crc32, crc8 } from "./digests.js";
import { CHUNK } from "./registry.js";

const SIGNATURE = [0x53, 0x49, 0x4e, 0xd2];
const HEADER = 5;
const TRAILER = 4;
const HEAD_MOST = 16384; // CON-9: where the chunk HEAD ends at the latest
const ANCILLARY = 0x80;
const PRIVATE = 0x40;
const SAFE_TO_COPY = 0x20;
const LAST = 0x10;
const PROPERTIES = {
  [CHUNK.HEAD]: 0,
  [CHUNK.PASS]: 0,
  [CHUNK.INDX]: ANCILLARY,
  [CHUNK.META]: ANCILLARY | SAFE_TO_COPY,
  [CHUNK.HASH]: ANCILLARY,
  [CHUNK.PREV]: ANCILLARY | SAFE_TO_COPY,
};

/** How far reading has come; the caller of `chunks` keeps it between two chunks. */
export const newProgress = () => ({ file_bytes: HEAD_MOST, n_passes: 1, n_done: 0, has_head: false, has_pass: false });

/**
 * The chunks of a file in order, each checked up to CON-3 before it is given: { kind, start, end } with `start` and
 * `end` of its payload and `kind` 0 for a chunk to skip. After the last one: CON-8 and TRAILING_DATA.
 */
export function* chunks(bytes, progress) {
  const size = bytes.length;
  const isPrefix = SIGNATURE.slice(0, size).every((byte, i) => bytes[i] === byte);
  check(isPrefix, "BAD_SIGNATURE", 0);
  check(size >= SIGNATURE.length, "TRUNCATED", size);
  const view = new DataView(bytes.buffer, bytes.byteOffset, size);
  let start = 0; // of the CRCs: the one of HEAD
  for (let at = SIGNATURE.length; ; ) {
    check(size - at >= HEADER, "TRUNCATED", size);
    check(crc8(bytes.subarray(at, at + 4)) === bytes[at + 4], "HEADER_CHECK_MISMATCH", at + 4);
    const type = bytes[at];
    const kind = checkType(type, at);
    checkOrder(kind, at, progress);
    const payload = at + HEADER;
    const trailer = payload + (view.getUint32(at, true) >>> 8);
    const end = trailer + TRAILER;
    check(end <= progress.file_bytes, "LIMIT_FILE_BYTES", at + 1);
    check(end <= size, "TRUNCATED", size);
    const crc = view.getUint32(trailer, true);
    check(crc32(bytes.subarray(at, trailer), start) === crc, "CHUNK_CRC_MISMATCH", trailer);
    if (kind === CHUNK.HEAD) start = crc;
    yield { kind, start: payload, end: trailer };
    if (type & LAST) {
      check(progress.n_done === progress.n_passes, "MISSING_PASS", at);
      check(end === size, "TRAILING_DATA", end);
      return;
    }
    at = end;
  }
}

/** Whether a HASH chunk may stand in the file: a look at the types, before anything is checked. */
export function mayHaveHash(bytes) {
  for (let at = SIGNATURE.length; at + HEADER <= bytes.length; ) {
    if ((bytes[at] & 15) === CHUNK.HASH) return true;
    at += HEADER + bytes[at + 1] + 256 * bytes[at + 2] + 65536 * bytes[at + 3] + TRAILER;
  }
  return false;
}

/** CON-4 and CON-5; the kind, or 0 for a chunk that is skipped. */
function checkType(type, at) {
  const kind = type & 15;
  const isKnown = kind in PROPERTIES && !(type & PRIVATE);
  const properties = type & (ANCILLARY | SAFE_TO_COPY);
  check(kind !== 0 && kind !== 15 && properties !== SAFE_TO_COPY, "BAD_CHUNK_TYPE", at);
  check(!isKnown || properties === PROPERTIES[kind], "BAD_CHUNK_TYPE", at);
  check(isKnown || properties & ANCILLARY, "UNKNOWN_CRITICAL_CHUNK", at);
  return isKnown ? kind : 0;
}

/** CON-6. */
function checkOrder(kind, at, progress) {
  check((kind === CHUNK.HEAD) === !progress.has_head, "CHUNK_ORDER", at);
  check(kind !== CHUNK.PASS || progress.n_done < progress.n_passes, "CHUNK_ORDER", at);
  check(kind !== CHUNK.INDX || !progress.has_pass, "CHUNK_ORDER", at);
  progress.has_head = true;
  progress.has_pass ||= kind === CHUNK.PASS;
}
