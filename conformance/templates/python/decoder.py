"""The first step of a SINR decoder: container, the smallest HEAD, one linear layer, packed values. Make it yours.

Usage: python decoder.py IN.sinr OUT.npy. Standard library only. What it cannot do yet ends with exit status 4, never
with a guess. Clauses are those of spec/sinr-1.md; conformance/FIRST.md says how to go on.
"""

import hashlib
import itertools
import json
import struct
import sys
import zlib

EXIT_STATUS = {"malformed": 3, "integrity": 3, "truncated": 3, "unsupported": 4, "limit": 5, "usage": 2}
HEAD, PASS, LAST, ANCILLARY = 1, 2, 0x10, 0x80
LINEAR, RAW, SCALAR = 1, 0, 1
NO_BIAS, BINARY16 = 0x20, 0x40


class DecodeError(Exception):
    """An error of clause 15."""

    def __init__(self, code, name, error_class, offset):
        super().__init__(name)
        self.line = {"code": code, "name": name, "class": error_class, "offset": offset}
        self.status = EXIT_STATUS[error_class]


def not_yet(offset):
    """What this decoder has to learn."""
    return DecodeError(204, "UNSUPPORTED_FEATURE", "unsupported", offset)


# --- clause 5: container -----------------------------------------------------------------------------


def crc8(data):
    """CNV-5."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) & 0xFF ^ (0x07 if crc & 0x80 else 0)
    return crc


def chunks(data):
    """Type, payload and the payload's offset of each chunk, checked by CON-1, CON-2, CON-3 and CON-7."""
    if len(data) < 4 and b"SIN\xd2".startswith(data):
        raise DecodeError(108, "TRUNCATED", "truncated", len(data))
    if data[:4] != b"SIN\xd2":
        raise DecodeError(101, "BAD_SIGNATURE", "malformed", 0)
    at, start, is_last = 4, 0, False
    while not is_last:
        header = data[at : at + 5]
        if len(header) < 5:
            raise DecodeError(108, "TRUNCATED", "truncated", len(data))
        if crc8(header[:4]) != header[4]:
            raise DecodeError(102, "HEADER_CHECK_MISMATCH", "integrity", at + 4)
        end = at + 5 + int.from_bytes(header[1:4], "little")
        if end + 4 > len(data):
            raise DecodeError(108, "TRUNCATED", "truncated", len(data))
        crc = int.from_bytes(data[end : end + 4], "little")
        if zlib.crc32(data[at:end], start) != crc:
            raise DecodeError(103, "CHUNK_CRC_MISMATCH", "integrity", end)
        start = start or crc  # HEAD's crc32 is the start for all later chunks
        is_last = bool(header[0] & LAST)
        yield header[0] & ~LAST, data[at + 5 : end], at + 5
        at = end + 4
    if at < len(data):
        raise DecodeError(107, "TRAILING_DATA", "malformed", at)


# --- clauses 6 and 7: HEAD and PASS ------------------------------------------------------------------


def read_head(payload, offset):
    """Clause 6.1 for files without features, with one linear record and coordinates 0."""
    if payload[0] >> 4 != 1 or payload[2:5] != bytes(3):
        raise not_yet(offset)
    in_dims, out_channels, coords_values, n_passes = payload[6:10]
    grid = struct.unpack_from(f"<{in_dims}H", payload, 10)
    n_records, kind, tool_flags = payload[10 + 2 * in_dims :][:3]
    if (n_records, kind, n_passes, coords_values & 15) != (1, LINEAR, 1, 0) or 0 in grid:
        raise not_yet(offset)
    if tool_flags & ~(NO_BIAS | BINARY16) not in (RAW, SCALAR):
        raise not_yet(offset)
    return {"grid": grid, "in_dims": in_dims, "out_channels": out_channels, "tool_flags": tool_flags}


class Bits:
    """A bit string, least significant bit first (CNV-3)."""

    def __init__(self, data):
        self.number, self.at = int.from_bytes(data, "little"), 0

    def take(self, n):
        value = self.number >> self.at & ((1 << n) - 1)
        self.at += n
        return value

    def take_signed(self, n):
        value = self.take(n)
        return value - (1 << n) if value >> (n - 1) else value


def binary32(number):
    """RNE32 of clause 9.1."""
    return struct.unpack("<f", struct.pack("<f", number))[0]


STEPS = (8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775)  # of clause 9.1


def weight(acc, code):
    """Clause 9.1."""
    return binary32(binary32(acc) * (STEPS[code & 7] * 2.0 ** ((code >> 3) - 123)))


def read_pass(payload, offset, head):
    """Clauses 7, 9.1 to 9.3 and 11: weights of all tensors, in table order, and the stored acc_crc."""
    if payload[0] != 0x08 or payload[1] != 0:  # coding 0, last chunk of its pass, pass 0
        raise not_yet(offset)
    flags, n_out = head["tool_flags"], head["out_channels"]
    sizes = [n_out * head["in_dims"]] + ([] if flags & NO_BIAS else [n_out])
    table = Bits(payload[6:])
    entries = []  # step code and bits of a value for each tensor
    for _ in sizes if flags & 7 == SCALAR else []:
        code = table.take(10) if table.take(1) else 680 + table.take(7)
        entries.append((code, table.take(5) + 1))
    body = Bits(payload[6 + (table.at + 7) // 8 :])
    if flags & 7 == SCALAR:
        acc = [[body.take_signed(bits) for _ in range(n)] for n, (_, bits) in zip(sizes, entries, strict=True)]
        found = [[weight(v, code) for v in values] for values, (code, _) in zip(acc, entries, strict=True)]
        patterns = [v & 0xFFFFFFFF for values in acc for v in values]
    else:
        bits, form = (16, "<e") if flags & BINARY16 else (32, "<f")
        acc = [[body.take(bits) for _ in range(n)] for n in sizes]
        found = [[struct.unpack(form, v.to_bytes(bits // 8, "little"))[0] for v in values] for values in acc]
        patterns = [v for values in acc for v in values]
    acc_crc = int.from_bytes(payload[2:6], "little")
    if zlib.crc32(struct.pack(f"<{len(patterns)}I", *patterns)) != acc_crc:
        raise DecodeError(310, "ACC_CRC_MISMATCH", "integrity", offset + 2)
    return found, acc_crc


# --- clause 16 and the command of clause 15 ----------------------------------------------------------


def values_on_grid(head, weights):
    """Clauses 16.1 and 16.3: W x + b at every sample, in C order."""
    axes = [[binary32((2 * i + 1) / n - 1) for i in range(n)] for n in head["grid"]]
    n_in, matrix = head["in_dims"], weights[0]
    bias = weights[1] if len(weights) > 1 else [0.0] * head["out_channels"]
    for x in itertools.product(*axes):
        for row, b in enumerate(bias):
            yield sum(w * c for w, c in zip(matrix[row * n_in :], x, strict=False)) + b


def npy(values, shape):
    """An .npy file of binary32."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + struct.pack(f"<{len(values)}f", *values)


def decode(data):
    """HEAD, weights and acc_crc of a file."""
    head = weights = acc_crc = None
    for kind, payload, offset in chunks(data):
        if kind == HEAD and head is None:
            head = read_head(payload, offset)
        elif kind == PASS and head is not None:
            weights, acc_crc = read_pass(payload, offset, head)
        elif not kind & ANCILLARY:
            raise not_yet(offset - 5)
    if weights is None:
        raise not_yet(len(data))
    return head, weights, acc_crc


def main(arguments):
    try:
        if len(arguments) != 2:  # options of clause 15 come later
            raise not_yet(None)
        with open(arguments[0], "rb") as file:
            head, weights, acc_crc = decode(file.read())
    except DecodeError as error:
        print(json.dumps(error.line))
        return error.status
    with open(arguments[1], "wb") as file:
        file.write(npy(list(values_on_grid(head, weights)), (*head["grid"], head["out_channels"])))
    flat = [w for tensor in weights for w in tensor]
    digest = hashlib.sha256(struct.pack(f"<{len(flat)}f", *flat)).hexdigest()
    print(json.dumps({"weights_sha256": digest, "acc_crc": [f"{acc_crc:08x}"], "passes": 1}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
