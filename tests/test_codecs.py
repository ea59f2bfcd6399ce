"""Clause 11: compressed bodies give exactly the size asked for, or an error, in little memory."""

import builtins
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
import zstandard

import sinrfmt
from sinrfmt import codecs
from sinrfmt.registry import Coding
from tests.strategies import assert_error, assert_fault, payload_offset, small_file

CONTENT = bytes(range(256)) * 300 + b"end"
CODINGS = [Coding.ZLIB, Coding.BROTLI, Coding.ZSTANDARD]


def zstandard_of_unknown_size(data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return bytes(compressor.compress(data) + compressor.flush())


COMPRESS: dict[str, tuple[Coding, Callable[[bytes], bytes]]] = {
    "zlib": (Coding.ZLIB, zlib.compress),
    "brotli": (Coding.BROTLI, brotli.compress),
    "zstandard": (Coding.ZSTANDARD, zstandard.ZstdCompressor().compress),
    "zstandard with checksum": (Coding.ZSTANDARD, zstandard.ZstdCompressor(write_checksum=True).compress),
    "zstandard of unknown size": (Coding.ZSTANDARD, zstandard_of_unknown_size),
}


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("content", [b"", b"x", CONTENT, bytes(1 << 20)], ids=["empty", "one byte", "text", "zeros"])
def test_streams_of_the_libraries_are_read(codec: str, content: bytes) -> None:
    coding, compress = COMPRESS[codec]
    assert codecs.decompress(coding, compress(content), len(content)) == content


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_what_is_written_is_read(coding: Coding, content: bytes) -> None:
    assert codecs.decompress(coding, codecs.compress(coding, content), len(content)) == content


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "one byte", "text"])
def test_another_size_is_bad_data(codec: str, content: bytes) -> None:
    coding, compress = COMPRESS[codec]
    data = compress(content)
    for size in {0, 1, 2, len(content) - 1, len(content) + 1, 2 * len(content)} - {-1, len(content)}:
        assert_fault("BAD_COMPRESSED_DATA", 0, codecs.decompress, coding, data, size)


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "one byte", "text"])
def test_nothing_may_follow_the_stream(codec: str, content: bytes) -> None:
    coding, compress = COMPRESS[codec]
    data = compress(content)
    for tail in (b"\x00", b"junk", data, compress(b""), bytes(100)):
        assert_fault("BAD_COMPRESSED_DATA", 0, codecs.decompress, coding, data + tail, len(content))


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("content", [b"", b"x", b"a few bytes"])
def test_a_stream_that_is_cut_is_bad_data(codec: str, content: bytes) -> None:
    coding, compress = COMPRESS[codec]
    data = compress(content)
    for n in range(len(data)):
        assert_fault("BAD_COMPRESSED_DATA", 0, codecs.decompress, coding, data[:n], len(content))


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("data", [b"", b"\x00", b"no stream at all", bytes(50), b"\xff" * 50])
def test_other_bytes_are_bad_data(coding: Coding, data: bytes) -> None:
    assert_fault("BAD_COMPRESSED_DATA", 0, codecs.decompress, coding, data, 16)


@pytest.mark.parametrize("size", [0, 5])
def test_a_skippable_frame_is_not_a_frame(size: int) -> None:
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
    frame = zstandard.compress(bytes(size))
    for data in (skippable, skippable + frame, frame + skippable):
        assert_fault("BAD_COMPRESSED_DATA", 0, codecs.decompress, Coding.ZSTANDARD, data, size)


def rle_frame(announced: int | None, n_blocks: int) -> bytes:
    """A Zstandard frame by RFC 8878: blocks that each repeat one byte 128 KiB times."""
    magic = bytes.fromhex("28b52ffd")
    header = b"\x00\x38" if announced is None else b"\xa0" + announced.to_bytes(4, "little")
    blocks = [(i == n_blocks - 1) | 1 << 1 | (1 << 17) << 3 for i in range(n_blocks)]
    return magic + header + b"".join(block.to_bytes(3, "little") + b"\x00" for block in blocks)


N_BLOCKS = 800  # 100 MiB
BOMBS: dict[str, tuple[Coding, bytes]] = {
    "zlib": (Coding.ZLIB, zlib.compress(bytes(100 << 20), 9)),
    "brotli": (Coding.BROTLI, brotli.compress(bytes(100 << 20), quality=5)),
    "zstandard that says so": (Coding.ZSTANDARD, rle_frame(N_BLOCKS << 17, N_BLOCKS)),
    "zstandard that says nothing": (Coding.ZSTANDARD, rle_frame(None, N_BLOCKS)),
    "zstandard that says 0": (Coding.ZSTANDARD, rle_frame(0, N_BLOCKS)),
    "zstandard that says 1000": (Coding.ZSTANDARD, rle_frame(1000, N_BLOCKS)),
}


@pytest.mark.parametrize(("exponent", "is_valid"), [(13, True), (14, False), (17, False)])
def test_the_window_of_a_frame_is_at_most_8_mib(exponent: int, is_valid: bool) -> None:
    """CMP-1; RFC 8878, 3.1.1.1.2: 2^(10 + exponent) bytes."""
    data = bytearray(rle_frame(None, 1))
    data[5] = exponent << 3
    if is_valid:
        assert codecs.decompress(Coding.ZSTANDARD, bytes(data), 1 << 17) == bytes(1 << 17)
    else:
        assert_fault("BAD_COMPRESSED_DATA", 0, codecs.decompress, Coding.ZSTANDARD, bytes(data), 1 << 17)


def test_a_frame_of_a_dictionary_and_a_stream_of_a_preset_one_are_refused() -> None:
    """CMP-1; id 0 names none."""
    content = b"some words of a dictionary " * 9
    named = zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    frames = {"raw": zstandard.ZstdCompressor(dict_data=named).compress(content)}
    preset = zlib.compressobj(zdict=content)
    streams = [(Coding.ZSTANDARD, frames["raw"]), (Coding.ZLIB, preset.compress(content) + preset.flush())]
    for coding, data in streams:
        assert_fault("BAD_COMPRESSED_DATA", 0, codecs.decompress, coding, data, len(content))


def test_the_checksum_of_a_frame_is_verified() -> None:
    data = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT))
    data[-1] ^= 1
    assert_fault("BAD_COMPRESSED_DATA", 0, codecs.decompress, Coding.ZSTANDARD, bytes(data), len(CONTENT))


def test_the_hand_made_frame_is_one() -> None:
    assert codecs.decompress(Coding.ZSTANDARD, rle_frame(3 << 17, 3), 3 << 17) == bytes(3 << 17)
    assert codecs.decompress(Coding.ZSTANDARD, rle_frame(None, 3), 3 << 17) == bytes(3 << 17)


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_bomb_is_refused_in_little_memory(bomb: str, size: int) -> None:
    """CMP-1: it must not grow beyond the size that follows from the table."""
    coding, data = BOMBS[bomb]
    tracemalloc.start()
    try:
        assert_fault("BAD_COMPRESSED_DATA", 0, codecs.decompress, coding, data, size)
        assert tracemalloc.get_traced_memory()[1] < 1 << 18  # 64 KiB more than the size, at most twice
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("coding", "library"), [(Coding.BROTLI, "brotli"), (Coding.ZSTANDARD, "zstandard")])
def test_a_missing_library_is_named(coding: Coding, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PAS-1: CODEC_MISSING, at flags, and before the rules that follow it."""
    made = small_file((coding, 0))
    original = builtins.__import__

    def blocked(name: str, *arguments: Any, **options: Any) -> Any:
        if name == library:
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", blocked)
    flags_at = payload_offset(made.data, 1)
    assert_error("CODEC_MISSING", flags_at, sinrfmt.loads, made.data)
    with pytest.raises(sinrfmt.UnsupportedError, match=r"sinrfmt\[codecs\]"):
        sinrfmt.loads(made.data)


def test_no_library_is_needed_for_the_core_codings(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_import(library: str) -> Any:
        raise AssertionError(library)

    monkeypatch.setattr(codecs, "_import", no_import)
    for coding in (Coding.PACKED, Coding.RANS, Coding.ZLIB):
        sinrfmt.loads(small_file((coding, 0)).data)
