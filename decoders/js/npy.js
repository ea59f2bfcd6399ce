// Arrays in the .npy format of NumPy.

import { check } from "./errors.js";
import { bytesOf } from "./digests.js";

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/** A .npy file of binary32 numbers in C order. */
export function writeNpy({ shape, values }) {
  const dimensions = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${dimensions}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64;
  const file = new Uint8Array(length + values.byteLength).fill(0x20, 0, length);
  file.set([...MAGIC, 1, 0, (length - 10) & 255, (length - 10) >> 8]);
  file.set(Array.from(text, (letter) => letter.charCodeAt(0)), 10);
  file[length - 1] = 0x0a;
  file.set(bytesOf(values), length);
  return file;
}

const half = (view, at, isLittle) => {
  const pattern = view.getUint16(at, isLittle);
  const exponent = (pattern >> 10) & 31;
  const fraction = pattern & 1023;
  const finite = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
  const magnitude = exponent < 31 ? finite : fraction ? NaN : Infinity;
  return pattern & 0x8000 ? -magnitude : magnitude;
};

/** An integer of 64 bits so that its rounding to binary32 is the only one: bits that are lost leave a trace. */
function rounded(n) {
  const number = Number(n);
  if (Number.isSafeInteger(number)) return number;
  return Number((n >> 11n) | (n & 0x7ffn ? 1n : 0n)) * 2 ** 11;
}

const READERS = {
  f2: half,
  f4: (view, at, isLittle) => view.getFloat32(at, isLittle),
  f8: (view, at, isLittle) => view.getFloat64(at, isLittle),
  i1: (view, at) => view.getInt8(at),
  i2: (view, at, isLittle) => view.getInt16(at, isLittle),
  i4: (view, at, isLittle) => view.getInt32(at, isLittle),
  i8: (view, at, isLittle) => rounded(view.getBigInt64(at, isLittle)),
  u1: (view, at) => view.getUint8(at),
  u2: (view, at, isLittle) => view.getUint16(at, isLittle),
  u4: (view, at, isLittle) => view.getUint32(at, isLittle),
  u8: (view, at, isLittle) => rounded(view.getBigUint64(at, isLittle)),
};

/** Reads a .npy file of two dimensions and real numbers: { shape, values } as Float32Array; else USAGE. */
export function readNpyMatrix(bytes) {
  const isFine = (condition) => check(condition, "USAGE", null, "not a .npy file of a real matrix");
  isFine(bytes.length >= 12 && MAGIC.every((byte, i) => bytes[i] === byte));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isFirst = bytes[6] === 1;
  const start = isFirst ? 10 : 12;
  const end = start + (isFirst ? view.getUint16(8, true) : view.getUint32(8, true));
  isFine(end <= bytes.length);
  const text = Array.from(bytes.subarray(start, end), (byte) => String.fromCharCode(byte)).join("");
  const [, order, type] = /'descr': *'([<>|=])(\w+)'/.exec(text) ?? [];
  const [, isFortran] = /'fortran_order': *(True|False)/.exec(text) ?? [];
  const [, rows, columns] = /'shape': *\((\d+), *(\d+),? *\)/.exec(text) ?? [];
  isFine(type in READERS && isFortran && columns !== undefined);
  const shape = [Number(rows), Number(columns)];
  const width = Number(type[1]);
  isFine(end + shape[0] * shape[1] * width <= bytes.length);
  const [rowStride, stride] = isFortran === "True" ? [1, shape[0]] : [shape[1], 1];
  const values = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => {
    const place = Math.floor(i / shape[1]) * rowStride + (i % shape[1]) * stride;
    return READERS[type](view, end + place * width, order !== ">");
  });
  return { shape, values };
}
