"""LIM-2: memory stays within the announced bound, for valid files of many parameters and for small hostile ones."""

import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import sinrfmt
from sinrfmt import payload, registry
from sinrfmt.container import build_file, crc8
from sinrfmt.errors import SinrError
from sinrfmt.head import build_head
from sinrfmt.models import LongModel
from sinrfmt.network import LayerRecord, Network
from sinrfmt.registry import LEVELS, ChunkKind, Coding, RecordKind, Tool
from tests.strategies import (
    HASH,
    HEAD,
    META,
    PASS,
    STEP,
    Made,
    bit_string,
    header_of,
    make_file,
    meta_payload,
    pass_payload,
    seal,
    small_file,
    split,
)


def traced_peak(data: bytes, **options: Any) -> tuple[int, str]:
    """Most bytes allocated while decoding, the input apart, and the error or "decoded"."""
    tracemalloc.start()
    try:
        sinrfmt.loads(data, **options)
        name = "decoded"
    except SinrError as failure:
        name = failure.name
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak, name


def bound(data: bytes, n_parameters: int) -> int:
    """LIM-2 of a file that is read whole."""
    largest = max(len(content) + 9 for _, content in split(data))
    return (
        registry.MEMORY_BYTES_PER_PARAMETER_LIMIT * n_parameters
        + registry.MEMORY_CHUNKS_LIMIT * largest
        + registry.MEMORY_BYTES_FIXED_LIMIT
    )


def square(width: int, depth: int = 1, **options: Any) -> Network:
    hidden = LayerRecord(RecordKind.SINE, width, depth, 30.0, **options)
    return Network(2, 3, (hidden, LayerRecord(RecordKind.LINEAR, 3, **options)))


def wide_values(network: Network) -> Made:
    """One pass packed at 32 bits."""
    header = header_of(network)
    n = network.n_parameters
    rng = np.random.default_rng(0)
    body = rng.integers(1 - (1 << 31), 1 << 31, n).astype("<i4")
    table = [((0, 1), (0, 7), (31, 5)) for _ in network.tensors]
    one_pass = pass_payload(
        [field for entry in table for field in entry], body.tobytes(), acc_crc=zlib.crc32(body.tobytes())
    )
    return Made(build_file(build_head(header), [(ChunkKind.PASS, one_pass)]), header, ())


ONE = [(Coding.RANS, 0)]
LANES = [(Coding.RANS, 12)]
CASES: dict[str, tuple[Network, list[tuple[Coding, int]], dict[str, Any]]] = {
    "one lane": (square(320, 2), ONE, {}),
    "one lane, two passes": (square(320, 2), ONE * 2, {"scale": 5000.0}),
    "4096 lanes": (square(720, 2), LANES, {}),
    "4096 lanes, one tensor": (square(1000, 2), LANES, {"scale": 5000.0}),
    "4096 lanes, two passes": (square(720, 2), LANES * 2, {}),
    "4096 lanes, prior": (square(720, 2, prior=True), LANES, {}),
    "4096 lanes, row steps, three passes": (square(500, 2, row_steps=True), LANES * 3, {"n_bits": 3}),
    "4096 lanes, raw": (square(720, 2, tool=Tool.RAW), LANES, {}),
    "4096 lanes, raw binary16": (square(720, 2, tool=Tool.RAW, half=True), LANES, {}),
    "packed": (square(720, 2), [(Coding.PACKED, 0)], {}),
    "packed, raw": (square(720, 2, tool=Tool.RAW), [(Coding.PACKED, 0)], {}),
    "zlib": (square(720, 2), [(Coding.ZLIB, 0)], {}),
    "zlib, two passes": (square(720, 2), [(Coding.ZLIB, 0)] * 2, {}),
    "zlib of zeros": (square(720, 2), [(Coding.ZLIB, 0)], {"scale": 0.0}),
    "zstandard": (square(720, 2), [(Coding.ZSTANDARD, 0)] * 2, {}),
    "brotli": (square(320, 2), [(Coding.BROTLI, 0)], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_memory_for_valid_files(case: str) -> None:
    network, codings, options = CASES[case]
    made = make_file(header_of(network), codings, **options)
    peak, name = traced_peak(made.data)
    assert name == "decoded"
    assert peak <= bound(made.data, network.n_parameters)


@pytest.mark.parametrize("n_passes", [1, 2])
def test_memory_where_every_value_is_an_escape(n_passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LongModel(R=1, p0=0, tb=0, rb=0, heavy=False, b=0, esc=True)
    monkeypatch.setattr(payload, "fit_model", lambda values: (model, 0.0))
    network = square(720, 2)
    made = make_file(header_of(network), LANES * n_passes, scale=5000.0, n_bits=3)
    peak, name = traced_peak(made.data)
    assert name == "decoded"
    assert peak <= bound(made.data, network.n_parameters)


def test_memory_for_packed_values_of_32_bits() -> None:
    made = wide_values(square(720, 2))
    peak, name = traced_peak(made.data)
    assert name == "decoded"
    assert peak <= bound(made.data, made.header.network.n_parameters)


# --- small files that say much ---------------------------------------------------------------------------------------

FIXED = registry.MEMORY_BYTES_FIXED_LIMIT


def hostile(network: Network, flags: int, values: list[tuple[int, int]], body: bytes, level: int) -> bytes:
    """A base pass whose every tensor has the same values parameters."""
    header = replace(header_of(network), level=LEVELS[level])
    one_pass = pass_payload([*STEP, *values] * len(network.tensors), body, flags=flags)
    return seal([(HEAD, build_head(header)), (PASS, one_pass)])


def test_more_parameters_than_the_level_allows() -> None:
    head = bytearray(build_head(replace(header_of(square(4096)), level=LEVELS[5])))
    for level in range(1, 6):
        head[1] = 0x20 | level
        head[-8:] = bytes([2, 1, 0xFF, 0xFF, 255 if level < 5 else 3, 30, 1, 1])  # 65 535 outputs
        peak, name = traced_peak(seal([(HEAD, bytes(head))]))
        assert name in ("LIMIT_LAYERS", "LIMIT_WIDTH", "LIMIT_PARAMETERS")
        assert peak < 1 << 20


MILLIONS = Network(2, 255, (LayerRecord(RecordKind.LINEAR, 8000, 2), LayerRecord(RecordKind.LINEAR, 255)))  # 66 million


@pytest.mark.parametrize(
    ("flags", "values", "body", "name"),
    [
        (0x08, [(31, 5)], bytes(100), "PAYLOAD_TOO_SHORT"),
        (0x0A, [(31, 5)], b"\x78\x9c" + bytes(100), "BAD_COMPRESSED_DATA"),
        (0x0B, [(31, 5)], bytes(100), "BAD_COMPRESSED_DATA"),
        (0x0C, [(31, 5)], bytes(100), "BAD_COMPRESSED_DATA"),
        (0x09, [(1, 2), (0, 2), (20, 8)], b"", "BAD_STREAM"),
        (0xC9, [(1, 2), (0, 2), (20, 8)], bytes(100), "BAD_STREAM"),
    ],
)
def test_sizes_are_checked_before_memory_is_taken(
    flags: int, values: list[tuple[int, int]], body: bytes, name: str
) -> None:
    """66 million parameters announced in some 150 bytes."""
    peak, found = traced_peak(hostile(MILLIONS, flags, values, body, 5))
    assert found == name
    assert peak < FIXED


@pytest.mark.parametrize("coding", [Coding.RANS, Coding.ZLIB])
def test_small_files_of_many_zeros_stay_in_the_bound(coding: Coding) -> None:
    """A million parameters that cost nothing are allowed; so is what LIM-2 allows for them."""
    network = square(1000)
    values = [(0, 2)] if coding is Coding.RANS else [(0, 5)]
    n = network.n_parameters
    body = bytes(4) if coding is Coding.RANS else zlib.compress(bytes((n + 7) // 8), 9)
    data = hostile(network, 8 | coding, values, body, 3)
    peak, _ = traced_peak(data)
    assert peak <= bound(data, n)


def test_many_small_chunks_do_not_add_up() -> None:
    """Notes and digests take ten times the bytes of their chunks in memory: only a few are kept."""
    made = small_file()
    head = replace(made.header, level=LEVELS[3])
    digest = lambda i: b"\x00" + i.to_bytes(32, "big")  # noqa: E731
    start = [(HEAD, build_head(head))]
    for chunk in ([(0x86, b"")] * 10_000, [(HASH, digest(i)) for i in range(4000)]):
        data = seal_fast([*start, *chunk, (PASS, split(made.data)[1][1])])
        peak, name = traced_peak(data)
        assert name in ("decoded", "WEIGHTS_HASH_MISMATCH")
        assert peak <= 3 * len(data) + (1 << 18)


def seal_fast(chunks: list[tuple[int, bytes]]) -> bytes:
    """seal() with the library's framing and parts that are joined once."""
    parts, start = [b"SIN\xd2"], 0
    for position, (kind, content) in enumerate(chunks):
        header = bytes([kind | (0x10 if position == len(chunks) - 1 else 0)]) + len(content).to_bytes(3, "little")
        header += bytes([crc8(header)])
        crc = zlib.crc32(header + content, start)
        start = start or crc
        parts += [header, content, crc.to_bytes(4, "little")]
    return b"".join(parts)


def test_a_meta_chunk_of_many_pairs_takes_little() -> None:
    made = small_file()
    head = replace(made.header, level=LEVELS[3])
    pairs = [(b"%06d" % i, b"") for i in range(200_000)]
    data = seal([(HEAD, build_head(head)), (META, meta_payload(pairs)), (PASS, split(made.data)[1][1])])
    peak, name = traced_peak(data)
    assert name == "decoded"
    assert peak <= bound(data, 33)


def test_the_hand_made_table_is_one() -> None:
    """The files above fail for what they are about: with a right body the same table decodes."""
    network = square(4)
    n = network.n_parameters
    body = bit_string(*[(0, 32)] * n)
    header = header_of(network)
    one_pass = pass_payload([*STEP, (31, 5)] * len(network.tensors), body, [0] * n)
    sinrfmt.loads(seal([(HEAD, build_head(header)), (PASS, one_pass)]))
