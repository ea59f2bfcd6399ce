"""Properties of all files: they come back, and whatever is done to their bytes ends in a coded error."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sinrfmt
from sinrfmt.errors import EXIT_STATUS, SinrError
from sinrfmt.registry import ERRORS, Coding
from tests.strategies import LAST, SIGNATURE, Made, assert_decodes, assert_error, files, fixed, seal, small_file, split

SMALL = [
    small_file(),
    small_file((Coding.RANS, 0), (Coding.RANS, 0)),
    small_file((Coding.ZLIB, 0)),
    small_file((Coding.BROTLI, 0), (Coding.ZSTANDARD, 0)),
]
SMALL_IDS = ["packed", "rans, two passes", "zlib", "brotli and zstandard"]
small_files = pytest.mark.parametrize("made", SMALL, ids=SMALL_IDS)


def outcome(data: bytes, **options: Any) -> str:
    """Name of the error, or "decoded". Anything but a coded error passes through."""
    try:
        sinrfmt.loads(data, **options)
    except SinrError as caught:
        failure = caught
    else:
        return "decoded"
    assert (failure.code, failure.error_class) == ERRORS[failure.name]
    assert failure.error_class in EXIT_STATUS
    assert failure.offset is not None
    assert 0 <= failure.offset <= len(data)
    assert len(str(failure).splitlines()) == 1
    return failure.name


@fixed(80)
@given(files())
def test_fields_come_back(made: Made) -> None:
    field = assert_decodes(made)
    assert sinrfmt.dumps(field) == made.data
    assert sinrfmt.loads(sinrfmt.dumps(field)) == field
    assert field.header.n_passes == field.n_passes == len(made.states)


@fixed(40)
@given(files(), st.integers(1, 3))
def test_every_pass_comes_back(made: Made, n: int) -> None:
    n = min(n, len(made.states))
    field = sinrfmt.loads(made.data, passes=n)
    again = sinrfmt.loads(sinrfmt.dumps(field), partial=True)
    for one in (field, again):
        for found, expected in zip(one.states, made.states[n - 1], strict=True):
            np.testing.assert_array_equal(found.acc, expected.acc)
    assert again.weights_sha256 == field.weights_sha256


@small_files
def test_every_truncation_is_truncated(made: Made) -> None:
    for n in range(len(made.data)):
        assert_error("TRUNCATED", n, sinrfmt.loads, made.data[:n])


@small_files
def test_every_single_bit_error_is_found(made: Made) -> None:
    """The signature, or one of the two checks: no error of one bit reaches the content."""
    data = made.data
    names: Counter[str] = Counter()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        names[outcome(bytes(damaged))] += 1
    n_chunks = len(split(data))
    assert names == {
        "BAD_SIGNATURE": 32,
        "HEADER_CHECK_MISMATCH": 40 * n_chunks,
        "CHUNK_CRC_MISMATCH": 8 * (len(data) - 4 - 5 * n_chunks),
    }


@small_files
def test_every_trailing_byte_is_found(made: Made) -> None:
    for value in range(256):
        assert_error("TRAILING_DATA", len(made.data), sinrfmt.loads, made.data + bytes([value]))


@small_files
def test_every_removed_byte_is_found(made: Made) -> None:
    for at in range(len(made.data)):
        assert outcome(made.data[:at] + made.data[at + 1 :]) != "decoded"


@small_files
def test_every_single_bit_error_under_new_checks_is_coded(made: Made) -> None:
    """Chunk checks made anew: what is left is a coded error, or the same kind of file with other numbers."""
    chunks = split(made.data)
    names: Counter[str] = Counter()
    for position, (kind, payload) in enumerate(chunks):
        for bit in range(8 * len(payload)):
            changed = bytearray(payload)
            changed[bit >> 3] ^= 1 << (bit & 7)
            names[outcome(seal([*chunks[:position], (kind, bytes(changed)), *chunks[position + 1 :]]))] += 1
        bodies = range(8 * len(payload)) if position else ()
        assert not bodies or names["ACC_CRC_MISMATCH"] or names["BAD_COMPRESSED_DATA"]
    assert names.keys() >= {"UNSUPPORTED_VERSION", "UNKNOWN_ID", "BAD_DIMENSIONS", "PASS_ORDER", "ACC_CRC_MISMATCH"}


ARBITRARY = st.binary(max_size=300)


@fixed(200)
@given(ARBITRARY, st.booleans())
def test_arbitrary_bytes_end_in_a_coded_error(data: bytes, partial: bool) -> None:
    assert outcome(data, partial=partial) == ("TRUNCATED" if SIGNATURE.startswith(data) else "BAD_SIGNATURE")


@fixed(200)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=60)), max_size=4), ARBITRARY)
def test_arbitrary_chunks_end_in_a_coded_error(chunks: list[tuple[int, bytes]], tail: bytes) -> None:
    assert outcome(SIGNATURE + tail) != "decoded"
    assert outcome(seal(chunks) + tail) != "decoded"


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A file whose chunks are valid and whose payloads are not: spliced, overwritten, moved; all checks made anew."""
    chunks = split(draw(files()).data)
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(chunks) - 1))
        kind, payload = chunks[position]
        at = draw(st.integers(0, len(payload)))
        n = draw(st.integers(0, 8))
        piece = draw(st.binary(max_size=8))
        what = draw(st.sampled_from(["overwrite", "splice", "cut", "move", "retype"]))
        if what == "overwrite":
            payload = payload[:at] + piece + payload[at + len(piece) :]
        elif what == "splice":
            payload = payload[:at] + piece + payload[at + n :]
        elif what == "cut":
            payload = payload[:at]
        elif what == "retype":
            kind = draw(st.integers(0, 255))
        chunks[position] = (kind, payload)
        if what == "move":
            chunks.insert(draw(st.integers(0, len(chunks))), chunks.pop(position))
    return seal(chunks, mark_last=draw(st.booleans()))


@fixed(400)
@given(mutated(), st.booleans())
def test_mutated_files_end_in_a_coded_error_or_decode(data: bytes, partial: bool) -> None:
    outcome(data, partial=partial)


def test_mutations_reach_the_content() -> None:
    """The mutations above are worth something: they meet errors of every part of a file."""
    met: Counter[str] = Counter()

    @fixed(400)
    @given(mutated())
    def collect(data: bytes) -> None:
        met[outcome(data)] += 1

    collect()
    parts = {ERRORS[name][0] // 100 for name in met if name != "decoded"}
    assert parts >= {1, 2, 3}
    assert len(met) >= 15


def random_files(n: int, seed: int) -> Counter[str]:
    """Random bytes with valid signature, HEAD or whole framing, in equal shares."""
    rng = np.random.default_rng(seed)
    names: Counter[str] = Counter()
    sources = [split(made.data) for made in SMALL]
    for i in range(n):
        noise = rng.integers(0, 256, int(rng.integers(0, 80)), dtype=np.uint8).tobytes()
        (head_kind, head), *passes = sources[i // 4 % len(sources)]
        if i % 4 == 0:
            data = SIGNATURE + noise
        elif i % 4 == 1:
            data = seal([(head_kind, noise)])
        elif i % 4 == 2:
            at = int(rng.integers(0, len(head) + 1))
            data = seal([(head_kind, head[:at] + noise[: int(rng.integers(0, 4))] + head[at + 1 :]), *passes])
        else:
            kind, payload = passes[0]
            at = int(rng.integers(0, len(payload) + 1))
            data = seal([(head_kind, head), (kind & ~LAST, payload[:at] + noise), *passes[1:]])
        names[outcome(data)] += 1
    return names


def test_random_bytes_end_in_a_coded_error() -> None:
    names = random_files(5000, seed=1)
    assert names.total() == 5000
    assert len(names) > 15


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(10))
def test_100000_random_files_end_in_a_coded_error(seed: int) -> None:
    assert random_files(10_000, seed=100 + seed).total() == 10_000
