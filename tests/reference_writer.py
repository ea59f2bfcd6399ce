"""A small writer for the tests of the reference decoder: plain functions over struct, by the text of spec/sinr-1.md.

It shares no code with the decoder, and writes wrong files as readily as right ones.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

SIGNATURE = b"SIN\xd2"
HEAD, PASS, INDX, META, HASH = 0x01, 0x02, 0x83, 0xA4, 0x85
LAST = 0x10
CORE1, MAIN1 = 0x11, 0x21
WIDE, SEEDED, TRELLIS, SPARSE, GRID, PARTS, WIDTHS, SHARED_BASE = 1, 2, 4, 8, 16, 32, 64, 128


def crc8(data: bytes) -> int:
    """Long division by x^8 + x^2 + x + 1, bit by bit on one integer."""
    value = int.from_bytes(data, "big") << 8
    for bit in range(value.bit_length() - 1, 7, -1):
        if value >> bit & 1:
            value ^= 0x107 << (bit - 8)
    return value


def chunk(type_: int, payload: bytes, start: int = 0) -> bytes:
    head = struct.pack("<I", type_ | len(payload) << 8)
    whole = head + bytes([crc8(head)]) + payload
    return whole + struct.pack("<I", zlib.crc32(whole, start))


def build(chunks: list[tuple[int, bytes]], *, mark_last: bool = True) -> bytes:
    """A file from (type, payload) pairs; the last one gets bit 4."""
    out, start = SIGNATURE, 0
    for index, (type_, payload) in enumerate(chunks):
        is_last = mark_last and index == len(chunks) - 1
        made = chunk(type_ | LAST * is_last, payload, start)
        if index == 0:
            start = struct.unpack("<I", made[-4:])[0]
        out += made
    return out


def chunk_offsets(data: bytes) -> list[int]:
    """Offsets of the chunks of a whole file, and its end."""
    offsets = [4]
    while offsets[-1] < len(data):
        at = offsets[-1]
        offsets.append(at + 9 + int.from_bytes(data[at + 1 : at + 4], "little"))
    return offsets


def layer(kind: int = 1, flags: int = 1, width: int = 3, repeat: int = 1, omega: bytes = b"") -> bytes:
    return struct.pack("<BBHB", kind, flags, width, repeat) + omega


def gabor(width: int, omega: int = 3, scale: float = 0.5, flags: int = 0, repeat: int = 1) -> bytes:
    return layer(8, flags, width, repeat, bytes([omega])) + struct.pack("<f", scale)


def input_(first: int, count: int, fourier: bytes = b"") -> bytes:
    """`fourier`: flags, octaves and base, if the coordinates are encoded."""
    return bytes([64, first, count, 33 if fourier else 0]) + fourier


def output(width: int, kind: int = 1, flags: int = 1, omega: bytes = b"") -> bytes:
    return bytes([65, kind, flags, width]) + omega


def filter_(flags: int = 1, omega: bytes = b"\3") -> bytes:
    return bytes([66, flags]) + omega


def multiply(number: int) -> bytes:
    return bytes([67, number])


def grid_record(
    resolutions: list[int], n_axes: int = 2, latents: int = 1, features: int = 1, size: int = 8, flags: int = 0
) -> bytes:
    """A GRID record of tool 0; `resolutions` as they stand in the record."""
    n_levels = len(resolutions) // (1 if flags & 4 else n_axes)
    fields = bytes([35, 0x20, n_axes, n_levels, latents, features, size, flags])
    return fields + struct.pack(f"<{len(resolutions)}H", *resolutions)


def pyramid(n_levels: int, axes: int = 3, filter_: int = 4, context: int = 0, flags: int = 0) -> bytes:
    return bytes([36, flags, n_levels, axes, filter_, context])


def last(kind: int = 1, flags: int = 1, omega: bytes = b"") -> bytes:
    return bytes([kind, flags]) + omega


@dataclass
class HeadFields:
    """HEAD field by field; the defaults are a picture of 2 x 3 pixels from a network 2 -> 3 (ReLU) -> 1."""

    version: int = 0x10
    profile_level: int = CORE1
    features: int = 0
    features_optional: int = 0
    modality: int = 1
    in_dims: int = 2
    out_channels: int = 1
    coords_values: int = 0
    n_passes: int = 1
    grid: tuple[int, ...] = (2, 3)
    box: tuple[float, ...] = ()
    rng_dictionary: int = 0x10
    seed: int = 7
    records: tuple[bytes, ...] = field(default_factory=lambda: (layer(3), last()))
    n_records: int | None = None
    split: tuple[int, ...] = ()
    overlap: tuple[int, ...] = ()
    shared: int = 0
    active_width: tuple[int, ...] = ()
    base_digest: bytes = b""
    tail: bytes = b""

    def payload(self) -> bytes:
        wide = bool(self.features & WIDE)
        out = struct.pack("<BBHB", self.version, self.profile_level, self.features, self.features_optional)
        out += bytes([self.modality, self.in_dims, self.out_channels, self.coords_values, self.n_passes])
        out += struct.pack(f"<{len(self.grid)}{'I' if wide else 'H'}", *self.grid)
        out += struct.pack(f"<{len(self.box)}f", *self.box)
        if self.features & SEEDED:
            out += bytes([self.rng_dictionary]) + struct.pack("<Q" if wide else "<I", self.seed)
        out += bytes([len(self.records) if self.n_records is None else self.n_records])
        out += b"".join(self.records)
        if self.features & PARTS:
            out += struct.pack(f"<{len(self.split)}H{len(self.overlap)}HB", *self.split, *self.overlap, self.shared)
        return out + struct.pack(f"<{len(self.active_width)}H", *self.active_width) + self.base_digest + self.tail


def bits(*fields: tuple[int, int]) -> bytes:
    """A bit string, LSB first, from (value, bits) pairs, padded with zeros."""
    total, at = 0, 0
    for value, n in fields:
        total |= (value & ((1 << n) - 1)) << at
        at += n
    return total.to_bytes((at + 7) // 8, "little")


def pass_payload(
    table: bytes, body: bytes, crc: int, *, flags: int = 8, number: int = 0, part: int | None = None
) -> bytes:
    head = bytes([flags, number]) + struct.pack("<I", crc)
    return head + (b"" if part is None else struct.pack("<H", part)) + table + body


def int32_crc(values: list[int]) -> int:
    return zlib.crc32(struct.pack(f"<{len(values)}i", *values))


# --- rANS: runs are lists of (f, c); a symbol of a run is one pair -------------------------------------------------


def encode_one_lane(runs: list[list[tuple[int, int]]]) -> bytes:
    x, words = 0, []
    for f, c in reversed([s for run in runs for s in run]):
        if x >= f << 18:
            words.append(x & 0xFFFF)
            x >>= 16
        x = ((x // f) << 14) + x % f + c
    return struct.pack(f"<I{len(words)}H", x, *reversed(words))


def encode_lanes(runs: list[list[tuple[int, int]]], log2_lanes: int) -> bytes:
    n = 1 << log2_lanes
    states, words = [1 << 16] * n, []
    for run in reversed(runs):
        for i in range(len(run) - 1, -1, -1):
            f, c = run[i]
            x = states[i % n]
            if x >= f << 18:
                words.append(x & 0xFFFF)
                x >>= 16
            states[i % n] = ((x // f) << 14) + x % f + c
    return struct.pack(f"<{n}I{len(words)}H", *states, *reversed(words))


def raw_runs(fields: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Runs of raw fields from (value, bits) pairs."""
    runs = []
    for done in (0, 14, 28):
        run = []
        for value, q in fields:
            if q > done:
                n = min(q - done, 14)
                piece = value >> (q - done - n) & ((1 << n) - 1)
                run.append((1 << (14 - n), piece << (14 - n)))
        runs.append(run)
    return runs


def value_runs(
    values: list[int], frequencies: list[int], b: int, esc: bool, *, one_sided: bool = False
) -> list[list[tuple[int, int]]]:
    """Runs of a list of values under a model with these frequencies of -R … R, or of 0 … R if it is one-sided."""
    R = len(frequencies) - 1 if one_sided else len(frequencies) // 2
    first, half = (0, 0) if one_sided else (R, 1 << b >> 1)
    cumulative = [sum(frequencies[:k]) for k in range(len(frequencies))]
    us, lows, prefixes, extras = [], [], [], []
    for v in values:
        full = (v + half) >> b
        lows.append((v + half - (full << b), b))
        u = max(-R, min(R, full))
        if esc and abs(u) == R:
            e = abs(full) - R
            p = (e + 1).bit_length() - 1
            prefixes.append(p)
            extras.append((e - (2**p - 1), p))
        us.append((frequencies[u + first], cumulative[u + first]))
    fixed = [8186] + [max(1, 2**13 >> p) for p in range(1, 21)]
    prefix_run = [(fixed[p], sum(fixed[:p])) for p in prefixes]
    return [us, *raw_runs(lows), prefix_run, *raw_runs(extras)]


# --- tool 2 --------------------------------------------------------------------------------------------------------

NEXT = ((0, 2), (7, 5), (1, 3), (6, 4), (2, 0), (5, 7), (3, 1), (4, 6))


def quantisers(parities: list[int], lanes: int) -> list[int]:
    """The quantiser of each value, lane by lane."""
    states = [0] * lanes
    found = []
    for i, p in enumerate(parities):
        found.append(states[i % lanes] & 1)
        states[i % lanes] = NEXT[states[i % lanes]][p]
    return found


def trellis_parities(values: list[int], R: int | None) -> list[int]:
    """R: that of a model with b = 0, whose symbols count; else the values do."""
    return [(v if R is None else max(-R, min(R, v))) % 2 for v in values]


def trellis_r(values: list[int], R: int | None = None, lanes: int = 1) -> list[int]:
    """What the values contribute."""
    q = quantisers(trellis_parities(values, R), lanes)
    return [2 * k - at * ((k > 0) - (k < 0)) for k, at in zip(values, q, strict=True)]


def trellis_runs(
    values: list[int], frequencies: tuple[list[int], list[int]], esc: bool, lanes: int = 1
) -> list[list[tuple[int, int]]]:
    """Runs of a list of values of tool 2 under a model with b = 0 and these frequencies for its quantisers."""
    R = len(frequencies[0]) // 2
    run = []
    for v, q in zip(values, quantisers(trellis_parities(values, R), lanes), strict=True):
        u = max(-R, min(R, v))
        run.append((frequencies[q][u + R], sum(frequencies[q][: u + R])))
    return [run, *value_runs(values, frequencies[0], 0, esc)[1:]]


def bitmap_run(atoms: list[int], k2: int) -> list[tuple[int, int]]:
    """The binary symbols of a bitmap of k2 slots."""
    run, rem = [], len(atoms)
    for a in range(k2):
        left = k2 - a
        if rem in (0, left):
            break
        f1 = min(max((rem * 2**14 + left // 2) // left, 1), 2**14 - 1)
        is_one = a in atoms
        run.append((f1, 2**14 - f1) if is_one else (2**14 - f1, 0))
        rem -= is_one
    return run
