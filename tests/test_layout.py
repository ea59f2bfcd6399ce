"""Clauses 5 to 7 and 12 as constructs: the strict subset of construct, sizes, and both directions agree."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import construct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinrfmt import layout, report, wire
from sinrfmt.head import Header, build_head
from sinrfmt.network import LayerRecord, Network
from sinrfmt.registry import LEVELS, Coding, Profile, RecordKind
from tests.strategies import fixed, header_of, headers, make_file

ROOT = Path(__file__).parents[1]
STRUCTS = {
    name: value for name, value in vars(layout).items() if name.isupper() and isinstance(value, construct.Struct)
}
ALLOWED = {
    construct.Renamed,
    construct.Struct,
    construct.Switch,
    construct.IfThenElse,
    construct.Array,
    construct.Bytes,
    construct.FormatField,
    construct.BytesInteger,
    type(construct.Tell),
    type(construct.Pass),
    wire.Field,
    wire.Ended,
}
INTEGERS = {"Int8ul", "Int16ul", "Int24ul", "Int32ul", "Int64ul"}
IMPORTED = INTEGERS | {"Array", "Bytes", "Float32l", "If", "IfThenElse", "Struct", "Switch", "Tell", "this"}


def walk(subcon: Any) -> Iterator[Any]:
    stack = [subcon]
    while stack:
        top = stack.pop()
        yield top
        children = [getattr(top, name, None) for name in ("subcon", "thensubcon", "elsesubcon", "default")]
        children += [*getattr(top, "subcons", []), *getattr(top, "cases", {}).values()]
        stack += [child for child in children if isinstance(child, construct.Construct)]


def test_every_payload_has_a_struct() -> None:
    assert {
        "CHUNK_HEADER",
        "CHUNK_TRAILER",
        "HEAD",
        "PASS_HEADER",
        "INDX",
        "INDX_ENTRY",
        "HASH_ENTRY",
    } <= STRUCTS.keys()


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_only_the_strict_subset_of_construct_is_used(name: str) -> None:
    found = list(walk(STRUCTS[name]))
    assert {type(subcon) for subcon in found} <= ALLOWED
    assert all(callable(subcon.count) for subcon in found if isinstance(subcon, construct.Array))
    assert not any(subcon.discard for subcon in found if isinstance(subcon, construct.Array))
    assert all(subcon.fmtstr[0] == "<" for subcon in found if isinstance(subcon, construct.FormatField))


def is_plain(subcon: Any) -> bool:
    return isinstance(subcon, construct.FormatField | construct.BytesInteger | construct.Bytes)


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_every_number_is_a_checked_field(name: str) -> None:
    parents = [s for s in walk(STRUCTS[name]) if is_plain(getattr(s, "subcon", None))]
    assert parents
    assert all(isinstance(parent, wire.Field) for parent in parents)


def test_the_layout_imports_no_other_construct_and_is_never_compiled() -> None:
    source = inspect.getsource(layout)
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in imports if node.module == "construct" for alias in node.names]
    assert set(names) == IMPORTED
    calls = [
        node.func
        for path in (ROOT / "sinrfmt").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]
    compiled = {ast.unparse(call) for call in calls if isinstance(call, ast.Attribute) and call.attr == "compile"}
    assert compiled <= {"re.compile"}


@pytest.mark.parametrize(
    ("name", "size"), [("CHUNK_HEADER", 5), ("CHUNK_TRAILER", 4), ("PASS_HEADER", 6), ("INDX", 1), ("INDX_PLACES", 9),
                       ("INDX_ENTRY", 12), ("HASH_ENTRY", 33)]
)  # fmt: skip
def test_sizes_of_the_fixed_structures(name: str, size: int) -> None:
    assert STRUCTS[name].sizeof() == size


def uniform_siren(depth: int, **fields: Any) -> Header:
    """A first layer with another omega, depth - 1 equal hidden layers, a linear one; all with a seeded prior."""
    first = LayerRecord(RecordKind.SINE, 4, 1, 25.0, prior=True)
    hidden = (LayerRecord(RecordKind.SINE, 4, depth - 1, 30.0, prior=True),) if depth > 1 else ()
    network = Network(2, 3, (first, *hidden, LayerRecord(RecordKind.LINEAR, 3)))
    return header_of(network, **fields)


@pytest.mark.parametrize("depth", [2, 3, 8, 100, 255])
def test_format_overhead_of_a_siren_is_62_bytes(depth: int) -> None:
    made = make_file(uniform_siren(depth, profile=Profile.CORE), [(Coding.PACKED, 0)])
    assert report.overhead_bytes(made.data) == 62


@pytest.mark.parametrize("depth", [1, 2, 17, 254, 255])
def test_format_overhead_of_a_siren_is_at_most_64_bytes(depth: int) -> None:
    header = uniform_siren(depth, level=LEVELS[5], grid=(65535, 65535), seed=(1 << 32) - 1)
    assert 4 + 9 + len(build_head(header)) + 9 + 6 <= 64


@fixed(150)
@given(headers())
def test_parsing_and_building_head_are_inverse(header: Header) -> None:
    payload = build_head(header)
    assert layout.HEAD.build(layout.HEAD.parse(payload)) == payload


@fixed(60)
@given(st.binary(min_size=6, max_size=6))
def test_parsing_and_building_a_sub_header_are_inverse(payload: bytes) -> None:
    payload = bytes([payload[0] & 0xF8 | payload[0] % 5]) + payload[1:]
    assert layout.PASS_HEADER.build(layout.PASS_HEADER.parse(payload)) == payload


def test_a_field_checks_what_it_builds() -> None:
    with pytest.raises(wire.Fault, match="UNKNOWN_ID") as caught:
        layout.PASS_HEADER.build({"flags": 5, "pass": 0, "acc_crc": 0})
    assert (caught.value.offset, caught.value.path) == (0, "flags")


def test_a_fault_tells_field_and_offset() -> None:
    payload = bytearray(build_head(uniform_siren(2)))
    payload[6] = 9
    with pytest.raises(wire.Fault, match="1 to 8") as caught:
        layout.HEAD.parse(bytes(payload))
    assert (caught.value.name, caught.value.offset, caught.value.path) == ("BAD_DIMENSIONS", 6, "in_dims")
