// The decompressor of coding 2 under Node.

import { inflateSync } from "node:zlib";

/** The content of the one zlib stream that `bytes` are; throws if it is none, or longer than `most`. */
export function inflate(bytes, most) {
  const { buffer, engine } = inflateSync(bytes, { info: true, maxOutputLength: most });
  if (engine.bytesWritten !== bytes.length) throw new Error("bytes follow the zlib stream");
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}
