// PNG files of 8-bit samples.

import { crc32 } from "./digests.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const COLOUR_TYPES = [undefined, 0, 4, 2, 6]; // grey, grey + alpha, RGB, RGBA
const STORED = 65535; // bytes of a stored block

function chunk(type, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(Array.from(type, (letter) => letter.charCodeAt(0)), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/** A zlib stream of stored blocks: what takes no library. */
function stored(bytes) {
  const n_blocks = Math.max(1, Math.ceil(bytes.length / STORED));
  const out = new Uint8Array(6 + 5 * n_blocks + bytes.length);
  const view = new DataView(out.buffer);
  out.set([0x78, 0x01]);
  let at = 2;
  for (let block = 0; block < n_blocks; block++) {
    const piece = bytes.subarray(block * STORED, (block + 1) * STORED);
    out[at] = block === n_blocks - 1 ? 1 : 0;
    view.setUint16(at + 1, piece.length, true);
    view.setUint16(at + 3, ~piece.length & 0xffff, true);
    out.set(piece, at + 5);
    at += 5 + piece.length;
  }
  let [a, b] = [1, 0];
  for (let i = 0; i < bytes.length; i++) {
    a = (a + bytes[i]) % 65521;
    b = (b + a) % 65521;
  }
  view.setUint32(at, b * 65536 + a);
  return out;
}

/** A PNG of `samples`, in the order row, column, channel; `deflate` makes the zlib stream. */
export function writePng(samples, [height, width], channels, deflate = stored) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, COLOUR_TYPES[channels]], 8);
  const stride = width * channels;
  const rows = new Uint8Array(height * (stride + 1)); // each behind the byte of filter type 0
  for (let y = 0; y < height; y++) rows.set(samples.subarray(y * stride, (y + 1) * stride), y * (stride + 1) + 1);
  const pieces = [SIGNATURE, chunk("IHDR", header), chunk("IDAT", deflate(rows)), chunk("IEND", [])];
  const file = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  pieces.reduce((at, piece) => (file.set(piece, at), at + piece.length), 0);
  return file;
}
