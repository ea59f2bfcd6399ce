// Reading fields: whole bytes of a payload (clause 5.5), bits of a table (clause 7.2).

import { SinrError } from "./errors.js";

/** The fields of a payload, one after the other. */
export class Fields {
  constructor(bytes, start, end) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset);
    this.at = start; // of the field read last
    this.next = start;
    this.end = end;
  }

  /** Reads a field into `target[name]`; its offset into `target.at[name]`. */
  read(target, name, type) {
    target[name] = this[type]();
    target.at[name] = this.at;
    return target[name];
  }

  /** Throws the error `name`, at the field read last, unless `condition` holds. */
  require(condition, name) {
    if (!condition) throw new SinrError(name, this.at);
  }

  u8() {
    return this.view.getUint8(this.#take(1));
  }

  u16() {
    return this.view.getUint16(this.#take(2), true);
  }

  u32() {
    return this.view.getUint32(this.#take(4), true);
  }

  f32() {
    return this.view.getFloat32(this.#take(4), true);
  }

  bytes(n) {
    return new Uint8Array(this.view.buffer, this.view.byteOffset + this.#take(n), n);
  }

  /** CON-10: nothing follows the last field. */
  finish() {
    if (this.next < this.end) throw new SinrError("SURPLUS_BYTES", this.next);
  }

  #take(n) {
    if (this.next + n > this.end) throw new SinrError("PAYLOAD_TOO_SHORT", this.end);
    this.at = this.next;
    this.next += n;
    return this.at;
  }
}

/** n <= 32 bits from bit `position` of a bit string that starts at byte `start`, LSB first (CNV-3). */
export function bitsAt(bytes, start, position, n) {
  let byte = start + Math.floor(position / 8);
  let got = 8 - (position % 8);
  let value = bytes[byte] >>> (8 - got);
  for (; got < n; got += 8) value += bytes[++byte] * 2 ** got;
  return n < 32 ? (value % 2 ** n) : (value % 2 ** 32);
}

/** The bit fields of a tensor table. */
export class Bits {
  #position = 0;
  #field = 0; // first bit of the field read last

  constructor(bytes, start, end) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  read(n) {
    this.#field = this.#position;
    this.#position += n;
    if (this.#position > 8 * (this.end - this.start)) throw new SinrError("PAYLOAD_TOO_SHORT", this.end);
    return bitsAt(this.bytes, this.start, this.#field, n);
  }

  /** Throws the error `name`, at the byte of the first bit of the field read last, unless `condition` holds. */
  require(condition, name) {
    if (!condition) throw new SinrError(name, this.start + (this.#field >> 3));
  }

  /** Checks the padding; the offset of the first byte after the table. */
  finish() {
    const n = -this.#position & 7;
    const last = this.start + (this.#position >> 3);
    if (n && bitsAt(this.bytes, this.start, this.#position, n)) throw new SinrError("PADDING_NOT_ZERO", last);
    return n ? last + 1 : last;
  }
}
