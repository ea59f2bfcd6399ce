"""The Kaitai description parses every file of the suite as the layout does (`spec/sinr.ksy`)."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import annotate
import kaitai
import kaitaistruct
import pytest
from construct import Container, ListContainer

from conformance.run import ROOT, load_manifest
from sinrfmt import layout
from sinrfmt.ancillary import parse_meta
from sinrfmt.container import Chunk, ChunkReader, parse_pass_header
from sinrfmt.head import parse_head
from sinrfmt.index import parse_index
from sinrfmt.registry import ChunkKind
from sinrfmt.wire import Fault
from tests.kaitai.sinr import Sinr

TABLES_LEFT_OUT = 0x78  # SPARSE, GRID, PARTS, WIDTHS


@cache
def vectors(*, valid: bool) -> dict[str, tuple[bytes, str]]:
    """Name of the vector to its file and the name of its error."""
    found = {}
    for vector in load_manifest()["vectors"]:
        wholes = [case["expect"] for case in vector["cases"] if not case["args"] and case["cut"] is None]
        error = wholes[0].get("name", "") if wholes else "none"
        if vector["kind"] != "call" and (not error) == valid:
            found[vector["name"]] = ((ROOT / vector["file"]["path"]).read_bytes(), error)
    return found


def plain(value: Any) -> Any:
    """What was read, of either parser, as plain values; places and marks of the end of a payload are no fields."""
    if isinstance(value, kaitaistruct.KaitaiStruct):
        return {name: plain(v) for name, v in vars(value).items() if not re.match("_|n_before$|coding$", name)}
    if isinstance(value, Container):
        named = {kaitai.NAMES.get(name, name): plain(v) for name, v in value.items() if v is not None}
        return {name: v for name, v in named.items() if not re.fullmatch("_.*|end", name)}
    return [plain(v) for v in value] if isinstance(value, list | ListContainer) else value


def without_places(head: Any) -> Any:
    """Of HEAD: there `offset` is where the parser was."""
    if isinstance(head, dict):
        return {name: without_places(v) for name, v in head.items() if not name.endswith("offset")}
    return [without_places(v) for v in head] if isinstance(head, list) else head


def chunks(data: bytes) -> Iterator[Chunk]:
    reader = ChunkReader()
    reader.feed(data)
    while (chunk := reader.next_chunk(passes_complete=False)) is not None:
        yield chunk


def leaves(node: Any) -> Iterator[str]:
    """The bit fields of a table in the order in which they were read, as `annotate` writes them."""
    parameters = {"coding", "tool_flags", "is_later", "is_weights", "record"}
    for name, value in vars(node).items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, kaitaistruct.KaitaiStruct):
                yield from () if name.startswith("_") or name in parameters else leaves(item)
            elif not name.startswith("_") and name not in parameters:
                yield f"{name}({annotate.SIZES[name]})={int(item)}"


def differing(compare: Any) -> list[str]:
    """Valid vectors of which a comparison is not true."""
    return [name for name, (data, _) in vectors(valid=True).items() if not compare(Sinr.from_bytes(data), data)]


def test_chunks_are_those_of_the_layout():
    def compare(parsed: Sinr, data: bytes) -> bool:
        framing = [plain(chunk.header) | plain(chunk.trailer) for chunk in (parsed.head, *parsed.chunks)]
        found = []
        for chunk in chunks(data):
            end = chunk.payload_offset + len(chunk.payload)
            header, trailer = layout.CHUNK_HEADER.parse(data[chunk.offset :]), layout.CHUNK_TRAILER.parse(data[end:])
            found.append(plain(header) | plain(trailer))
        return framing == found

    assert len(vectors(valid=True)) > 500
    assert differing(compare) == []


def test_every_head_is_that_of_the_layout():
    def compare(parsed: Sinr, data: bytes) -> bool:
        return plain(parsed.head.payload) == without_places(plain(layout.HEAD.parse(next(chunks(data)).payload)))

    assert differing(compare) == []


def test_every_sub_header_of_a_pass_is_that_of_the_layout():
    n_parts = 0

    def compare(parsed: Sinr, data: bytes) -> bool:
        nonlocal n_parts
        passes = [chunk.payload for chunk in parsed.chunks if isinstance(chunk.payload, Sinr.PassPayload)]
        expected = [chunk.payload for chunk in chunks(data) if chunk.kind is ChunkKind.PASS]
        for found, payload in zip(passes, expected, strict=True):
            header = plain(layout.PASS_HEADER.parse(payload))
            if parsed.head.payload.features_required & 0x20:
                header |= plain(layout.PASS_PART.parse(payload[layout.PASS_HEADER.sizeof() :]))
                n_parts += 1
            if {name: v for name, v in plain(found).items() if name not in ("table", "body")} != header:
                return False
        return True

    assert differing(compare) == []
    assert n_parts


def test_every_tensor_table_that_follows_from_head_is_that_of_the_parser():
    n_tables = n_left_out = 0

    def compare(parsed: Sinr, data: bytes) -> bool:
        nonlocal n_tables, n_left_out
        head, *others = chunks(data)
        header = parse_head(head.payload)
        coded = set() if header.base_digest is None else {tensor.ordinal for tensor in header.tensors}
        passes = [chunk.payload for chunk in parsed.chunks if isinstance(chunk.payload, Sinr.PassPayload)]
        for found, chunk in zip(passes, [chunk for chunk in others if chunk.kind is ChunkKind.PASS], strict=True):
            if found.has_table == bool(parsed.head.payload.features_required & TABLES_LEFT_OUT):
                return False
            if not found.has_table:
                n_left_out += 1
                continue
            n_tables += 1
            expected, body = annotate._table_bits(chunk.payload, header, parse_pass_header(chunk, header), coded)
            if list(leaves(found.table)) != expected or found.body != chunk.payload[body:]:
                return False
        return True

    assert differing(compare) == []
    assert n_tables > 400 and n_left_out


def test_ancillary_chunks_are_those_of_the_layout():
    seen = set()

    def compare(parsed: Sinr, data: bytes) -> bool:
        known = [pair for pair in zip(parsed.chunks, list(chunks(data))[1:], strict=True) if pair[1].kind in READERS]
        seen.update(chunk.kind for _, chunk in known)
        return all(READERS[chunk.kind](found.payload, chunk.payload) for found, chunk in known)

    assert differing(compare) == []
    assert seen >= set(READERS)


def is_same_index(found: Any, payload: bytes) -> bool:
    if parse_index(payload) is None:  # not well formed: ignored
        return True
    if payload[0]:
        entries = [layout.INDX_ENTRY.parse(payload[at:]) for at in range(1, len(payload), 12)]
        return bool(plain(found.indx.entries) == plain(entries))
    places = layout.INDX_PLACES.parse(payload[1:])
    rows = [payload[at : at + places.length_bytes] for at in range(10, len(payload), places.length_bytes)]
    lengths = [int.from_bytes(row, "little") for row in rows]
    return bool(plain(found.indx.places) == plain(places) and found.indx.lengths == lengths)


def is_same_meta(found: Any, payload: bytes) -> bool:
    if parse_meta(payload, 1 << 16) is None:
        return True
    return [(plain(pair.key), plain(pair.value)) for pair in found.meta.pairs] == list(meta_pairs(payload))


def meta_pairs(payload: bytes) -> Iterator[tuple[Any, Any]]:
    while payload:
        key = layout.META_KEY.parse(payload)
        value = layout.META_VALUE.parse(payload[1 + key.length :])
        yield plain(key), plain(value)
        payload = payload[3 + key.length + value.length :]


def is_same_hash(found: Any, payload: bytes) -> bool:
    size = layout.HASH_ENTRY.sizeof()
    if len(payload) % size:
        return True
    entries = [layout.HASH_ENTRY.parse(payload[at : at + size]) for at in range(0, len(payload), size)]
    return bool(plain(found.hash.entries) == plain(entries))


def is_same_preview(found: Any, payload: bytes) -> bool:
    try:
        prev = layout.PREV.parse(payload)
        head = layout.HEAD.parse(prev.head)
    except Fault:
        return True
    same_head = plain(found.prev.head) == without_places(plain(head))
    return bool(same_head and found.prev.pass_payload == payload[2 + prev.head_length :])


READERS = {
    ChunkKind.INDX: is_same_index,
    ChunkKind.META: is_same_meta,
    ChunkKind.HASH: is_same_hash,
    ChunkKind.PREV: is_same_preview,
}


def test_no_file_makes_the_parser_fail_but_with_its_own_errors():
    refused = {}
    for name, (data, error) in vectors(valid=False).items():
        try:
            Sinr.from_bytes(data)
        except (EOFError, kaitaistruct.KaitaiStructError):
            refused[name] = error
    assert {"BAD_SIGNATURE", "TRUNCATED", "PAYLOAD_TOO_SHORT"} <= set(refused.values())


def test_the_parser_was_compiled_from_the_description():
    first, _ = kaitai.PARSER.read_text("utf-8").split("\n", 1)
    assert first + "\n" == kaitai.stamp(kaitai.KSY.read_text("utf-8")), "run: python spec/kaitai.py"


def test_the_compiler_makes_the_same_parser():
    try:
        text = kaitai.compiled(kaitai.KSY.read_text("utf-8"))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs node, and NODE_PATH with the packages kaitai-struct-compiler 0.11 and js-yaml")
    assert text == kaitai.PARSER.read_text("utf-8")
