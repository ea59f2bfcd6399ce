// The decompressor of coding 2 in a browser, which refuses bytes behind the stream, as the Compression standard says.

/** The content of the one zlib stream that `bytes` are; rejects if it is none, or longer than `most`. */
export async function inflate(bytes, most) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader();
  const pieces = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    size += value.length;
    if (size > most) {
      await reader.cancel();
      throw new Error("the zlib stream is too long");
    }
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}
