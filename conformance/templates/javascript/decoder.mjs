// The first step of a SINR decoder: container, the smallest HEAD, one linear layer, packed values. Make it yours.
//
// Usage: node decoder.mjs IN.sinr OUT.npy. Node 18 or newer, nothing else. What it cannot do yet ends with exit status
// 4, never with a guess. Clauses are those of spec/sinr-1.md; conformance/FIRST.md says how to go on.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const EXIT_STATUS = { malformed: 3, integrity: 3, truncated: 3, unsupported: 4, limit: 5, usage: 2 };
const [HEAD, PASS, LAST, ANCILLARY] = [1, 2, 0x10, 0x80];
const [LINEAR, RAW, SCALAR] = [1, 0, 1];
const [NO_BIAS, BINARY16] = [0x20, 0x40];

class DecodeError extends Error {
  constructor(code, name, errorClass, offset) {
    super(name);
    this.line = { code, name, class: errorClass, offset };
    this.status = EXIT_STATUS[errorClass];
  }
}

const notYet = (offset) => new DecodeError(204, "UNSUPPORTED_FEATURE", "unsupported", offset);

// --- clause 5: container ------------------------------------------------------------------------

function crc8(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = ((crc << 1) & 0xff) ^ (crc & 0x80 ? 0x07 : 0);
  }
  return crc;
}

function crc32(bytes, start = 0) {
  let crc = ~start;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

// Type, payload and the payload's offset of each chunk, checked by CON-1, CON-2, CON-3 and CON-7.
function* chunks(data) {
  const signature = Buffer.from([0x53, 0x49, 0x4e, 0xd2]);
  if (data.length < 4 && data.equals(signature.subarray(0, data.length))) {
    throw new DecodeError(108, "TRUNCATED", "truncated", data.length);
  }
  if (!data.subarray(0, 4).equals(signature)) throw new DecodeError(101, "BAD_SIGNATURE", "malformed", 0);
  let at = 4;
  let start = 0;
  let isLast = false;
  while (!isLast) {
    const header = data.subarray(at, at + 5);
    if (header.length < 5) throw new DecodeError(108, "TRUNCATED", "truncated", data.length);
    if (crc8(header.subarray(0, 4)) !== header[4]) {
      throw new DecodeError(102, "HEADER_CHECK_MISMATCH", "integrity", at + 4);
    }
    const end = at + 5 + header.readUIntLE(1, 3);
    if (end + 4 > data.length) throw new DecodeError(108, "TRUNCATED", "truncated", data.length);
    const crc = data.readUInt32LE(end);
    if (crc32(data.subarray(at, end), start) !== crc) {
      throw new DecodeError(103, "CHUNK_CRC_MISMATCH", "integrity", end);
    }
    start = start || crc; // HEAD's crc32 is the start for all later chunks
    isLast = Boolean(header[0] & LAST);
    yield { kind: header[0] & ~LAST, payload: data.subarray(at + 5, end), offset: at + 5 };
    at = end + 4;
  }
  if (at < data.length) throw new DecodeError(107, "TRAILING_DATA", "malformed", at);
}

// --- clauses 6 and 7: HEAD and PASS -------------------------------------------------------------

// Clause 6.1 for files without features, with one linear record and coordinates 0.
function readHead(payload, offset) {
  if (payload[0] >> 4 !== 1 || payload[2] || payload[3] || payload[4]) throw notYet(offset);
  const [inDims, outChannels, coordsValues, nPasses] = payload.subarray(6, 10);
  const grid = Array.from({ length: inDims }, (_, i) => payload.readUInt16LE(10 + 2 * i));
  const [nRecords, kind, toolFlags] = payload.subarray(10 + 2 * inDims);
  if (nRecords !== 1 || kind !== LINEAR || nPasses !== 1 || coordsValues & 15 || grid.includes(0)) throw notYet(offset);
  if (![RAW, SCALAR].includes(toolFlags & ~(NO_BIAS | BINARY16))) throw notYet(offset);
  return { grid, inDims, outChannels, toolFlags };
}

// A bit string, least significant bit first (CNV-3).
class Bits {
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  take(n) {
    let value = 0;
    for (let i = 0; i < n; i++, this.at++) value += ((this.data[this.at >> 3] >> (this.at & 7)) & 1) * 2 ** i;
    return value;
  }

  takeSigned(n) {
    const value = this.take(n);
    return value >= 2 ** (n - 1) ? value - 2 ** n : value;
  }
}

const STEPS = [8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775]; // of clause 9.1

const weight = (acc, code) => Math.fround(Math.fround(acc) * (STEPS[code & 7] * 2 ** ((code >> 3) - 123)));

function fromBinary16(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}

const fromBinary32 = (bits) => new Float32Array(Uint32Array.of(bits).buffer)[0];

// Clauses 7, 9.1 to 9.3 and 11: weights of all tensors, in table order, and the stored acc_crc.
function readPass(payload, offset, { toolFlags, outChannels, inDims }) {
  if (payload[0] !== 0x08 || payload[1] !== 0) throw notYet(offset); // coding 0, last chunk of its pass, pass 0
  const sizes = [outChannels * inDims, ...(toolFlags & NO_BIAS ? [] : [outChannels])];
  const isScalar = (toolFlags & 7) === SCALAR;
  const table = new Bits(payload.subarray(6));
  const entries = isScalar
    ? sizes.map(() => {
        const code = table.take(1) ? table.take(10) : 680 + table.take(7);
        return { code, bits: table.take(5) + 1 };
      })
    : [];
  const body = new Bits(payload.subarray(6 + Math.ceil(table.at / 8)));
  const rawBits = toolFlags & BINARY16 ? 16 : 32;
  const fromRaw = toolFlags & BINARY16 ? fromBinary16 : fromBinary32;
  const patterns = [];
  const weights = sizes.map((n, tensor) =>
    Array.from({ length: n }, () => {
      const acc = isScalar ? body.takeSigned(entries[tensor].bits) : body.take(rawBits);
      patterns.push(acc);
      return isScalar ? weight(acc, entries[tensor].code) : fromRaw(acc);
    }),
  );
  const accCrc = payload.readUInt32LE(2);
  if (crc32(new Uint8Array(Uint32Array.from(patterns).buffer)) !== accCrc) {
    throw new DecodeError(310, "ACC_CRC_MISMATCH", "integrity", offset + 2);
  }
  return { weights, accCrc };
}

// --- clause 16 and the command of clause 15 -----------------------------------------------------

// Clauses 16.1 and 16.3: W x + b at every sample, in C order.
function valuesOnGrid({ grid, inDims, outChannels }, [matrix, bias]) {
  const values = new Float32Array(grid.reduce((a, b) => a * b) * outChannels);
  for (let sample = 0; sample < values.length / outChannels; sample++) {
    const x = [];
    for (let axis = inDims - 1, rest = sample; axis >= 0; axis--) {
      x[axis] = Math.fround((2 * (rest % grid[axis]) + 1) / grid[axis] - 1);
      rest = Math.floor(rest / grid[axis]);
    }
    for (let row = 0; row < outChannels; row++) {
      const sum = x.reduce((total, c, i) => total + c * matrix[row * inDims + i], 0);
      values[sample * outChannels + row] = sum + (bias ? bias[row] : 0);
    }
  }
  return values;
}

function npy(values, shape) {
  let text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`;
  text = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`;
  const start = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, text.length & 0xff, text.length >> 8]);
  return Buffer.concat([start, Buffer.from(text), new Uint8Array(values.buffer)]);
}

function decode(data) {
  let head;
  let read;
  for (const { kind, payload, offset } of chunks(data)) {
    if (kind === HEAD && !head) head = readHead(payload, offset);
    else if (kind === PASS && head) read = readPass(payload, offset, head);
    else if (!(kind & ANCILLARY)) throw notYet(offset - 5);
  }
  if (!read) throw notYet(data.length);
  return { head, ...read };
}

function main(args) {
  try {
    if (args.length !== 2) throw notYet(null); // options of clause 15 come later
    const { head, weights, accCrc } = decode(readFileSync(args[0]));
    writeFileSync(args[1], npy(valuesOnGrid(head, weights), [...head.grid, head.outChannels]));
    const digest = createHash("sha256").update(new Uint8Array(Float32Array.from(weights.flat()).buffer)).digest("hex");
    console.log(JSON.stringify({ weights_sha256: digest, acc_crc: [accCrc.toString(16).padStart(8, "0")], passes: 1 }));
    return 0;
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    console.log(JSON.stringify(error.line));
    return error.status;
  }
}

process.exitCode = main(process.argv.slice(2));
