"""Clause 9.8 in the reference decoder: weights relative to another file, and the option --base."""

import hashlib
import json
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference_decoder.__main__ as command
from reference_decoder import DecodeError, decode
from reference_decoder.container import Payload
from reference_decoder.generator import dictionary
from reference_decoder.head import read_head
from tests.reference_writer import (
    HASH,
    HEAD,
    PASS,
    SEEDED,
    SHARED_BASE,
    SPARSE,
    TRELLIS,
    HeadFields,
    bits,
    build,
    encode_lanes,
    filter_,
    gabor,
    input_,
    int32_crc,
    last,
    layer,
    output,
    pass_payload,
    trellis_r,
)
from tests.test_reference_pass import ACC, CODE, SIZES, STEP, file, packed_pass

DIGEST_AT = 4 + 5 + len(HeadFields().payload())  # offset of base_digest in a file of the default records
Steps = list[list[int]]
Tensors = list[list[int]]


def digest(steps: Steps, accs: Tensors) -> bytes:
    """The state digest, as the text has it."""
    data = b""
    for codes, acc in zip(steps, accs, strict=True):
        data += struct.pack(f"<{len(codes)}H", *codes) + struct.pack(f"<{len(acc)}i", *acc)
    return hashlib.sha256(data).digest()[:16]


def split(acc: list[int], sizes: tuple[int, ...] = SIZES) -> Tensors:
    ends = np.cumsum(sizes).tolist()
    return [acc[end - size : end] for end, size in zip(ends, sizes, strict=True)]


BASE = file([packed_pass(ACC)])
BASE_DIGEST = digest([[CODE]] * 4, split(ACC))


def head_of(base_digest: bytes = BASE_DIGEST, features: int = 0, **fields: Any) -> HeadFields:
    return HeadFields(**{"features": SHARED_BASE | features, "base_digest": base_digest, **fields})


def failure(data: bytes, base: bytes | None = BASE, **options: Any) -> tuple[str, int | None]:
    with pytest.raises(DecodeError) as caught:
        decode(data, base=base, **options)
    return caught.value.name, caught.value.offset


def nothing(tensors: int = 4) -> bytes:
    return pass_payload(bits((0, tensors)), b"", 0)


def weights_of(acc: list[int], code: int = CODE) -> list[float]:
    M = [8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775]
    step = np.float32(M[code & 7] * 2.0 ** ((code >> 3) - 123))
    return [float(np.float32(a) * step) for a in acc]


# --- what the passes make of the base ------------------------------------------------------------------------------


def test_pass_0_that_codes_nothing_leaves_the_weights_of_the_base() -> None:
    field = decode(file([nothing()], head_of()), base=BASE)
    assert field.weights_sha256 == decode(BASE).weights_sha256
    assert (field.passes, field.acc_crc) == (1, [0])


def test_every_pass_is_coded_as_a_later_one() -> None:
    r = [1, -1, 2]
    first = [4 * a + x for a, x in zip(ACC[6:9], r, strict=True)]
    passes = [
        pass_payload(bits((0, 1), (1, 1), (1, 3), (3, 5), (0, 2)), bits(*[(x, 4) for x in r]), int32_crc(first)),
        pass_payload(bits((0, 3), (1, 1), (0, 3), (0, 5)), bits((-1, 1)), int32_crc([2 * ACC[12] - 1]), number=1),
    ]
    field = decode(file(passes, head_of()), base=BASE)
    assert [w.ravel().tolist() for w in field.weights] == [
        weights_of(ACC[:6]),
        weights_of(first, CODE - 16),
        weights_of(ACC[9:12]),
        weights_of([2 * ACC[12] - 1], CODE - 8),
    ]
    assert decode(file(passes, head_of()), base=BASE, passes=1).weights[3].tolist() == weights_of(ACC[12:])


def test_base_is_the_other_file_after_its_last_pass() -> None:
    refined = [2 * a for a in ACC[6:9]]
    second = pass_payload(bits((0, 1), (1, 1), (0, 3), (0, 5), (0, 2)), b"\0", int32_crc(refined), number=1)
    base = file([packed_pass(ACC), second])
    tensors = split(ACC)
    tensors[1] = refined
    data = file([nothing()], head_of(digest([[CODE], [CODE - 8], [CODE], [CODE]], tensors)))
    assert decode(data, base=base).weights_sha256 == decode(base).weights_sha256
    assert failure(file([nothing()], head_of()), base) == ("BASE_MISMATCH", DIGEST_AT)


@pytest.mark.parametrize("has_steps", [False, True])
def test_row_steps_of_the_base_stay(has_steps: bool) -> None:
    d, acc = [3, -5], [1, 2, 3, 4, 9, 9]
    rows = [(1, 1), (3, 5)] if has_steps else [(0, 1)]
    table = bits((0, 1), STEP, *rows, (7, 5), (0, 1), STEP, (7, 5))
    body = bits(*[(v, 4) for v in d if has_steps], *[(v, 8) for v in acc])
    base = file([pass_payload(table, body, int32_crc(acc))], HeadFields(records=(last(1, 0x11),), out_channels=2))
    codes = [CODE + x for x in d] if has_steps else [CODE]
    head = head_of(digest([codes, [CODE]], [acc[:4], acc[4:]]), records=(last(),), out_channels=2)
    coded = pass_payload(bits((1, 1), (0, 3), (0, 5), (0, 1)), b"\0", int32_crc([2, 4, 6, 8]))
    field = decode(file([coded], head), base=base)
    rows_of = codes if has_steps else [CODE, CODE]
    assert field.weights[0].tolist() == [weights_of([2, 4], rows_of[0] - 8), weights_of([6, 8], rows_of[1] - 8)]


@pytest.mark.parametrize("half", [False, True])
def test_raw_layers_are_those_of_the_base(half: bool) -> None:
    numbers = [1.5, -2.25]
    body = struct.pack("<2e" if half else "<2f", *numbers)
    patterns = struct.unpack("<2H" if half else "<2I", body)
    content = struct.pack("<2I", *patterns)
    records = (last(1, 0x60 if half else 0x20),)
    base = file([pass_payload(b"", body, zlib.crc32(content))], HeadFields(records=records))
    head = head_of(hashlib.sha256(content).digest()[:16], records=records)
    # no entry in the table and no value in the body
    assert decode(file([pass_payload(b"", b"", 0)], head), base=base).weights[0].tolist() == [numbers]
    assert failure(file([pass_payload(b"", body, 0)], head), base)[0] == "SURPLUS_BYTES"


def test_tools_are_the_files_own() -> None:
    """A matrix of tool 2 on one of tool 1."""
    values = [3, -1, 1, 1, 0, -3]
    acc = [2 * a + r for a, r in zip(ACC[:6], trellis_r(values), strict=True)]
    coded = pass_payload(bits((1, 1), (0, 3), (2, 5), (0, 3)), bits(*[(v, 3) for v in values]), int32_crc(acc))
    head = head_of(features=TRELLIS, records=(layer(3, 2), last()))
    assert decode(file([coded], head), base=BASE).weights[0].ravel().tolist() == weights_of(acc, CODE - 8)


@pytest.mark.parametrize("lanes", [None, 6])
def test_biases_of_tool_3_are_sparse_codes_of_a_matrix_with_one_column(lanes: int | None) -> None:
    """Columns: one vector of three numbers; rows: three vectors of one."""
    head = head_of(features=SHARED_BASE | SEEDED | SPARSE, records=(layer(3, 3), last()), rng_dictionary=0x11, seed=5)
    entries = dictionary(np.arange(2), 0, 3, 1, 1, 5).astype(np.int64)
    for vectors, n_vectors in ((0, 1), (1, 3), (2, 1)):
        x = [7, -2, 3][:n_vectors]
        values = (entries[0] * 7).tolist() if n_vectors == 1 else [int(entries[0, 0]) * c for c in x]
        acc = [2 * a + r for a, r in zip(ACC[6:9], values, strict=True)]
        fields = [(vectors, 2), (1, 20), (1, 16)]
        if lanes is None:
            code, body, flags = [*fields, (0, 5), (4, 5)], bits(*[(0, 1)] * n_vectors, *[(c, 5) for c in x]), 8
        else:
            # gaps under a model of one symbol; coefficients as 5 low bits of another
            one = [(2, 2), (0, 10), (0, 8), (0, 8), (0, 8), (0, 1), (0, 4), (0, 1)]
            low = [(2, 2), (0, 10), (0, 8), (0, 8), (0, 8), (0, 1), (5, 4), (0, 1)]
            run = [(16384 >> 5, (c + 16) * (16384 >> 5)) for c in x]
            code = [*fields, (1, 1), *one, *low]
            body, flags = encode_lanes([[(16384, 0)] * n_vectors, [(16384, 0)] * n_vectors, run], lanes), 0x69
        table = bits((0, 1), (1, 1), (1, 4), *code, (0, 2))
        field = decode(file([pass_payload(table, body, int32_crc(acc), flags=flags)], head), base=BASE)
        assert field.weights[1].tolist() == weights_of(acc, CODE - 8)


def test_step_of_the_base_bounds_the_refinement_at_refine_bits() -> None:
    table = bits((1, 1), (7, 10), (7, 5))
    base_head = HeadFields(records=(last(1, 0x21),))
    base = file([pass_payload(table, bits((1, 8), (2, 8)), int32_crc([1, 2]))], base_head)
    head = head_of(digest([[7]], [[1, 2]]), records=(last(1, 0x21),))
    data = file([pass_payload(bits((1, 1), (0, 3), (0, 5)), b"\0", 0)], head)
    assert failure(data, base) == ("STEP_OUT_OF_RANGE", len(data) - 4 - 3)


def test_acc_of_the_base_may_overflow_at_the_body() -> None:
    table = bits((0, 1), STEP, (31, 5))
    base_head = HeadFields(records=(last(1, 0x21),))
    base = file([pass_payload(table, bits((2**30, 32), (0, 32)), int32_crc([2**30, 0]))], base_head)
    head = head_of(digest([[CODE]], [[2**30, 0]]), records=(last(1, 0x21),))
    data = file([pass_payload(bits((1, 1), (0, 3), (0, 5)), b"\0", 0)], head)
    assert failure(data, base) == ("ACC_OVERFLOW", len(data) - 4 - 1)


# --- BAS-1 and BAS-2 -----------------------------------------------------------------------------------------------


def test_base_that_is_not_given_is_required_at_base_digest() -> None:
    data = file([nothing()], head_of())
    assert failure(data, None) == ("BASE_REQUIRED", DIGEST_AT)
    assert failure(data[:-1], None) == ("BASE_REQUIRED", DIGEST_AT)  # before the passes are read
    assert failure(data, None, passes=2) == ("USAGE", None)
    spoiled = head_of(grid=(0, 3))
    assert failure(file([nothing()], spoiled), None)[0] == "BAD_DIMENSIONS"


def test_base_is_not_looked_at_without_the_feature() -> None:
    assert decode(BASE, base=b"nothing of the kind").passes == 1


@pytest.mark.parametrize(
    "base",
    [
        b"",
        b"X",
        BASE[:-1],
        BASE + b"\0",
        BASE[:-1] + bytes([BASE[-1] ^ 1]),
        file([packed_pass(ACC[::-1])]),
        build([(HEAD, HeadFields().payload()), (PASS, packed_pass(ACC)), (HASH, bytes(33))]),
        build([(HEAD, HeadFields(n_passes=2).payload()), (PASS, packed_pass(ACC))]),
        file([nothing()], head_of()),
    ],
)
def test_base_that_does_not_decode_or_is_another_is_a_mismatch(base: bytes) -> None:
    assert failure(file([nothing()], head_of()), base) == ("BASE_MISMATCH", DIGEST_AT)


def test_base_has_no_base_itself() -> None:
    middle = file([nothing()], head_of())
    assert failure(file([nothing()], head_of()), middle) == ("BASE_MISMATCH", DIGEST_AT)


TWO = (gabor(3, flags=1), input_(1, 1), filter_(), output(1), last())
FOURIER = bytes([33, 1, 2, 3])


def base_of(seed: int = 7, features: int = 0, tool: int = 1, **fields: Any) -> tuple[bytes, bytes]:
    """A base whose integers are all zero, of any network, and its state digest."""
    head = HeadFields(**{"records": TWO, "out_channels": 2, "features": features, "seed": seed, **fields})
    payload = head.payload()
    sizes = [t.size for t in read_head(Payload(memoryview(payload), 0, len(payload))).tensors]
    acc = [[0] * size for size in sizes]
    raw = tool == 0
    table = b"" if raw else bits(*[f for _ in sizes for f in ((0, 1), STEP, (0, 5))])
    content = bytes(4 * sum(sizes)) if raw else bits(*[(0, 1)] * sum(sizes))
    data = file([pass_payload(table, content, int32_crc([0] * sum(sizes)))], head)
    return data, digest([[] if raw else [CODE] for _ in sizes], acc)


@pytest.mark.parametrize(
    ("change", "is_right"),
    [
        ({}, True),
        ({"profile_level": 0x15, "modality": 8, "coords_values": 0x21, "grid": (0, 0)}, True),
        ({"features_optional": 1, "tail": b"\2ab"}, True),
        ({"records": (gabor(3, omega=2, flags=1), *TWO[1:])}, False),
        ({"records": (gabor(3, scale=1, flags=1), *TWO[1:])}, False),
        ({"records": (gabor(3, flags=0x21), *TWO[1:])}, False),
        ({"records": (gabor(3), *TWO[1:])}, False),
        ({"records": (gabor(4, flags=1), *TWO[1:])}, False),
        ({"records": (TWO[0], input_(0, 1), *TWO[2:])}, False),
        ({"records": (TWO[0], TWO[2], TWO[1], *TWO[3:])}, False),
        ({"records": (*TWO[:2], TWO[3], TWO[2], TWO[4])}, False),
        ({"records": (*TWO[:2], filter_(omega=b"\4"), *TWO[3:])}, False),
        ({"records": (*TWO[:3], output(1, 3), TWO[4])}, False),
        ({"records": (*TWO[:4], last(3))}, False),
        ({"records": (FOURIER, *TWO)}, False),
        ({"in_dims": 3, "grid": (1, 1, 1)}, False),
        ({"out_channels": 3}, False),
    ],
)
def test_base_has_the_same_network(change: dict[str, Any], is_right: bool) -> None:
    base, name = base_of()
    data = file([nothing(8)], head_of(name, **{"records": TWO, "out_channels": 2, **change}))
    if is_right:
        assert decode(data, base=base).passes == 1
    else:
        assert failure(data, base)[0] == "BASE_MISMATCH"


def test_layers_are_compared_and_not_records() -> None:
    base, name = base_of(records=(layer(repeat=2), last()), out_channels=1)
    other = (layer(flags=1), layer(flags=2), last())
    head = head_of(name, records=other, features=TRELLIS)
    assert decode(file([nothing(6)], head), base=base).passes == 1


@pytest.mark.parametrize(("raw", "is_right"), [(last(1, 0), True), (last(1, 1), False), (last(1, 0x40), False)])
def test_raw_layers_are_raw_of_the_same_width_in_both_files(raw: bytes, is_right: bool) -> None:
    base, name = base_of(tool=0, records=(last(1, 0),), out_channels=1)
    data = file([pass_payload(bits((0, 2)) if raw[1] & 7 else b"", b"", 0)], head_of(name, records=(raw,)))
    if is_right:
        assert decode(data, base=base).passes == 1
    else:
        assert failure(data, base)[0] == "BASE_MISMATCH"


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("seed", [7, 8])
def test_seeded_features_are_those_of_the_same_seed_and_scale(seed: int, scale: float) -> None:
    def records(scale: float) -> tuple[bytes, ...]:
        return (bytes([34]) + struct.pack("<Hf", 2, scale), last())

    base, name = base_of(features=SEEDED, records=records(1.0), out_channels=1)
    head = head_of(name, features=SEEDED, records=records(scale), seed=seed)
    data = file([nothing(2)], head)
    if (seed, scale) == (7, 1.0):
        assert decode(data, base=base).passes == 1
    else:
        assert failure(data, base)[0] == "BASE_MISMATCH"


def test_seed_of_a_dictionary_may_differ_from_that_of_the_base() -> None:
    plain, name = base_of(records=(last(1, 0x21),), out_channels=1)
    head = head_of(name, features=SEEDED | SPARSE, records=(last(1, 0x23),), seed=99)
    assert decode(file([nothing(1)], head), base=plain).passes == 1


# --- the command ---------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    status = command.main([str(a) for a in arguments])
    return status, json.loads(capsys.readouterr().out)


def test_command_takes_the_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "base.sinr").write_bytes(BASE)
    path, out = tmp_path / "in.sinr", tmp_path / "out.npy"
    path.write_bytes(file([nothing()], head_of()))
    status, answer = run(capsys, path, out, "--base", tmp_path / "base.sinr")
    assert (status, answer["weights_sha256"]) == (0, decode(BASE).weights_sha256)
    out.unlink()
    assert run(capsys, path, out) == (
        4,
        {"code": 214, "name": "BASE_REQUIRED", "class": "unsupported", "offset": DIGEST_AT},
    )
    assert run(capsys, path, out, "--base", path) == (
        3,
        {"code": 502, "name": "BASE_MISMATCH", "class": "integrity", "offset": DIGEST_AT},
    )
    assert run(capsys, path, out, "--base", tmp_path / "absent")[1]["name"] == "USAGE"
    assert not out.exists()


def test_command_does_not_read_a_base_that_is_not_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.sinr"
    path.write_bytes(BASE)
    assert run(capsys, path, tmp_path / "out.npy", "--base", tmp_path / "absent")[0] == 0
    path.write_bytes(file([nothing()], head_of(grid=(0, 3))))
    assert run(capsys, path, tmp_path / "out.npy", "--base", tmp_path / "absent")[1]["name"] == "BAD_DIMENSIONS"


# --- 14 ------------------------------------------------------------------------------------------------------------


def test_memory_stays_below_the_bound_of_two_files() -> None:
    n = 900_000
    records = (layer(1, 0x21, 300), layer(1, 0x21, n // 300), last(1, 0x21))
    fields: dict[str, Any] = {"records": records, "profile_level": 0x13, "in_dims": 1, "grid": (6,)}
    long = [(2, 2), (1, 10), (0, 8), (0, 8), (0, 8), (0, 1), (0, 4), (1, 1)]
    sizes = (300, n, n // 300)
    first = [np.full(s, -1, "<i4") for s in sizes]
    crc = zlib.crc32(b"".join(a.tobytes() for a in first))
    base = file([pass_payload(bits(*[(0, 1), STEP, *long] * 3), bytes(4), crc, flags=9)], HeadFields(**fields))
    name = hashlib.sha256(b"".join(struct.pack("<H", CODE) + a.tobytes() for a in first)).digest()[:16]
    crc = zlib.crc32(b"".join((2 * a - 1).tobytes() for a in first))
    coded = pass_payload(bits(*[(1, 1), (0, 3), *long] * 3), bytes(4), crc, flags=9)
    data = file([coded], head_of(name, **fields))
    tracemalloc.start()
    try:
        assert decode(data, base=base).passes == 1
        assert tracemalloc.get_traced_memory()[1] <= 16 * n + (4 << 20)
    finally:
        tracemalloc.stop()
