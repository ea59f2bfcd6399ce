"""Clause 10.6 in the reference decoder: context coding, against the code blocks of the text themselves."""

import re
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from reference_decoder import context as reference
from reference_decoder import decode
from reference_decoder.context import Context, ContextTensor, Run
from reference_decoder.entropy import frequencies, mf8
from tests.reference_writer import (
    GRID,
    HeadFields,
    bits,
    encode_lanes,
    encode_one_lane,
    int32_crc,
    last,
    pass_payload,
    pyramid,
    raw_runs,
    value_runs,
)
from tests.test_reference_pass import fails, file

INTERLACED, SERIAL = 1, 2
MODEL = (63, 0, 160, 0, 0, 0, 1)  # of the context tensors: R, p0, tb, rb, heavy, b, esc
LONG = [(2, 2), *zip(MODEL, (10, 8, 8, 8, 1, 4, 1), strict=True)]
Runs = list[list[tuple[int, int]]]


def blocks_of_the_text() -> dict[str, Any]:
    """The names that the code blocks of clause 10.6 define."""
    text = (Path(__file__).parents[1] / "spec" / "sinr-1.md").read_text()
    clause = text[text.index("### 10.6") : text.index("## 11 Packed")]
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", clause, re.S):
        exec(block, names)
    return names


TEXT = blocks_of_the_text()


# --- parts ---------------------------------------------------------------------------------------------------------


def test_tables_are_those_of_the_text() -> None:
    assert TEXT["DECAY"] == reference.DECAY
    assert TEXT["NEAR"] == reference.NEAR
    assert TEXT["CAUSAL"] == reference.CAUSAL


def test_models_are_those_of_the_text() -> None:
    table = reference.models()
    assert len(table.f) == 74622
    for scale in range(64):
        for fraction in range(-8, 8):
            A, f = TEXT["context_frequencies"](scale, fraction)
            number = 16 * scale + fraction + 8
            first, end = table.start[number : number + 2]
            assert (table.lowest[number], table.f[first:end].tolist()) == (A, f)
            assert table.c[first:end].tolist() == [16384 * number + sum(f[:i]) for i in range(len(f))]
            assert min(f) >= 1
            assert sum(f) == 1 << 14


def sites(run: Run, planes: int) -> list[tuple[int, int, int]]:
    found = run.sites(np.arange(planes * run.size))
    return list(zip(*(a.tolist() for a in found), strict=True))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (7, 16), (17, 5), (33, 34)])
@pytest.mark.parametrize("name", ["interlaced", "wavefronts"])
def test_sites_are_those_of_the_text(name: str, shape: tuple[int, int]) -> None:
    runs = list(getattr(reference, name)(*shape))
    expected = list(TEXT[name](*shape))
    assert len(runs) == len(expected)
    seen = []
    for run, (phase, kind, stride, places) in zip(runs, expected, strict=True):
        assert (run.phase, run.kind, run.stride) == (phase, kind, stride)
        assert sites(run, 2) == [(plane, y, x) for plane in (0, 1) for y, x in places]
        seen += places
    assert sorted(seen) == [(y, x) for y in range(shape[0]) for x in range(shape[1])]


def random_level(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).integers(-90, 91, shape).astype(np.int32)


def test_inputs_of_a_site_are_those_of_the_text() -> None:
    level = random_level(1, 2, 11, 14)
    below = [random_level(2, 2, 6, 7), random_level(3, 2, 3, 4), None]
    for kind, name in ((INTERLACED, "interlaced"), (SERIAL, "wavefronts")):
        for run in getattr(reference, name)(11, 14):
            places = run.sites(np.arange(2 * run.size))
            coarse = reference.coarse_inputs(below, *places)
            column, near = reference.near_inputs(level, run, kind, *places)
            for i, (plane, y, x) in enumerate(zip(*(a.tolist() for a in places), strict=True)):
                planes = [None if b is None else b[plane].tolist() for b in below]
                assert coarse[i].tolist() == TEXT["coarse_inputs"](planes, y, x)
                expected = TEXT["near_inputs"](kind, level[plane].tolist(), run.kind, run.stride, y, x)
                assert (column, near[i].tolist()) == expected


# --- the network ---------------------------------------------------------------------------------------------------


def random_net(
    kind: int, hidden: int, width: int, n_levels: int, seed: int = 1, most: int = 40
) -> list[tuple[Any, int]]:
    """The tensors (acc, context_step) in table order."""
    generator = np.random.default_rng(seed)
    c, g, o = (16, 10, 4) if kind == INTERLACED else (12, 1, 0)
    shapes = [(width, 11), (width, c), (g, width), *[(width, width), (1, width)] * hidden]
    shapes += [(2, width), (2, 11 + c), (n_levels + o, 2)]
    return [(generator.integers(-most, most + 1, shape), int(generator.integers(4, 9))) for shape in shapes]


def text_net(net: list[tuple[Any, int]]) -> Any:
    t = [SimpleNamespace(acc=acc.tolist(), q=q) for acc, q in net]
    hidden = list(zip(t[3:-3:2], t[4:-3:2], strict=True))
    return SimpleNamespace(coarse=t[0], near=t[1], phase=t[2], hidden=hidden, output=t[-3], linear=t[-2], offset=t[-1])


@pytest.mark.parametrize("most", [40, 2047])
@pytest.mark.parametrize("hidden", [0, 1, 3])
@pytest.mark.parametrize("kind", [INTERLACED, SERIAL])
def test_network_is_that_of_the_text(kind: int, hidden: int, most: int) -> None:
    net = random_net(kind, hidden, 8, 5, most=most)
    ours = Context(kind, 5, [ContextTensor(acc.astype(np.float64), q) for acc, q in net])
    generator = np.random.default_rng(hidden)
    seen = set()
    runs = [(p, n) for p, n in zip(range(10), [0, 1, 2, 3] + [1, 2, 3] * 2, strict=True)] if kind == 1 else [(0, 0)]
    for phase, site in runs:
        column, offsets = TEXT["NEAR"][site] if kind == INTERLACED else (0, TEXT["CAUSAL"])
        coarse = generator.integers(-63, 64, (6, 11))
        near = generator.integers(-63, 64, (6, len(offsets)))
        for level in (0, 4):
            out = ours.network(level, phase, coarse, near, column)
            centre, model = reference.context_model(*out)
            for i in range(6):
                expected = TEXT["context_network"](
                    text_net(net), level, phase, coarse[i].tolist(), near[i].tolist(), column, 5
                )
                assert [int(o[i]) for o in out] == expected
                c, scale, fraction = TEXT["context_model"](expected)
                assert (int(centre[i]), int(model[i])) == (c, 16 * scale + fraction + 8)
                seen.add((c, scale))
    assert len(seen) > 1


# --- whole levels --------------------------------------------------------------------------------------------------


def level_shapes(grid: tuple[int, ...], n_levels: int) -> list[tuple[int, ...]]:
    return [(*grid[:-2], *(-(-n // 2**k) for n in grid[-2:])) for k in range(n_levels - 1, -1, -1)]


def context_runs(kind: int, net: list[tuple[Any, int]], levels: list[Any], number: int) -> Runs:
    """The runs of a level, by the text."""
    level = levels[number].reshape(-1, *levels[number].shape[-2:]).tolist()
    below = [levels[number - n].reshape(len(level), *levels[number - n].shape[-2:]) for n in (1, 2, 3) if n <= number]
    runs: Runs = []
    named = text_net(net)
    for phase, near_kind, stride, places in TEXT["interlaced" if kind == INTERLACED else "wavefronts"](
        len(level[0]), len(level[0][0])
    ):
        symbols, prefixes, extras = [], [], []
        for plane, y, x in [(plane, y, x) for plane in range(len(level)) for y, x in places]:
            planes = [b[plane].tolist() for b in below]
            coarse = TEXT["coarse_inputs"](planes + [None] * (3 - len(planes)), y, x)
            column, near = TEXT["near_inputs"](kind, level[plane], near_kind, stride, y, x)
            out = TEXT["context_network"](named, number, phase, coarse, near, column, len(levels))
            centre, scale, fraction = TEXT["context_model"](out)
            A, f = TEXT["context_frequencies"](scale, fraction)
            full = level[plane][y][x] - centre
            u = max(-A, min(len(f) - 1 - A, full))
            symbols.append((f[u + A], sum(f[: u + A])))
            if u + A in (0, len(f) - 1):
                e = abs(full - u)
                p = (e + 1).bit_length() - 1
                prefixes.append(p)
                extras.append((e - (2**p - 1), p))
        fixed = [8186] + [max(1, 2**13 >> p) for p in range(1, 21)]
        runs += [symbols, [(fixed[p], sum(fixed[:p])) for p in prefixes], *raw_runs(extras)]
    return runs


def net_runs(net: list[tuple[Any, int]]) -> Runs:
    R, p0, tb, rb, heavy, b, esc = MODEL
    f = frequencies(R, p0, 2**24 - mf8(tb), 2**24 - mf8(rb), bool(heavy))
    return [run for acc, _ in net for run in value_runs(acc.ravel().tolist(), f, b, bool(esc))]


def net_fields(net: list[tuple[Any, int]]) -> list[tuple[int, int]]:
    """context_step and values of every context tensor; all but the first repeat the model."""
    fields: list[tuple[int, int]] = []
    for number, (_, q) in enumerate(net):
        fields += [(q, 4), *(LONG if number == 0 else [(3, 2)])]
    return fields


def encode(runs: Runs, lanes: int) -> bytes:
    return encode_lanes(runs, lanes) if lanes else encode_one_lane(runs)


def head_of(kind: int, grid: tuple[int, ...], n_levels: int, hidden: int, width: int, **fields: Any) -> HeadFields:
    axes = {2: 3, 3: 6, 4: 12}[len(grid)]
    record = pyramid(n_levels, axes, 1, kind | hidden << 2 | (width // 4 - 1) << 4)
    records = (record, last(1, 0x20))
    given = {"features": GRID, "records": records, "in_dims": len(grid), "grid": grid, "profile_level": 0x12}
    return HeadFields(**{**given, **fields})


def smooth_levels(grid: tuple[int, ...], n_levels: int, spread: float, seed: int = 3) -> list[Any]:
    generator = np.random.default_rng(seed)
    return [np.round(generator.laplace(0, spread, shape)).astype(np.int64) for shape in level_shapes(grid, n_levels)]


def raw(n_levels: int) -> tuple[list[int], Runs]:
    """Raw weights of the last layer and of the filter (n_levels - 1, 1), all 0."""
    n = n_levels + n_levels - 1
    return [0] * n, [run for part in (n_levels, n_levels - 1) if part for run in raw_runs([(0, 32)] * part)]


@pytest.mark.parametrize("lanes", [0, 6])
@pytest.mark.parametrize(
    ("kind", "grid", "n_levels", "hidden", "width", "spread"),
    [
        (INTERLACED, (9, 13), 4, 1, 8, 2.0),
        (SERIAL, (9, 13), 4, 1, 8, 2.0),
        (INTERLACED, (70, 40), 2, 0, 4, 40.0),
        (SERIAL, (20, 30), 2, 3, 4, 400.0),
        (INTERLACED, (2, 5, 6), 3, 2, 4, 1.0),
        (SERIAL, (3, 2, 4, 3), 2, 0, 4, 1.0),
        (INTERLACED, (1, 1), 1, 0, 32, 1.0),
        (SERIAL, (1, 7), 1, 0, 4, 1.0),
    ],
)
def test_levels_come_back(
    kind: int, grid: tuple[int, ...], n_levels: int, hidden: int, width: int, spread: float, lanes: int
) -> None:
    net, levels = random_net(kind, hidden, width, n_levels), smooth_levels(grid, n_levels, spread)
    zeros, runs = raw(n_levels)
    runs += net_runs(net)
    for number in range(n_levels):
        runs += context_runs(kind, net, levels, number)
    acc = zeros + [int(a) for t, _ in net for a in t.ravel()] + [int(v) for level in levels for v in level.ravel()]
    table = bits(*net_fields(net), *[(1, 1), (5, 3)] * n_levels)
    data = pass_payload(table, encode(runs, lanes), int32_crc(acc), flags=9 | lanes << 4)
    field = decode(file([data], head_of(kind, grid, n_levels, hidden, width)))
    for found, level in zip(field.weights[-n_levels:], levels, strict=True):
        assert found.shape == level.shape
        assert found.tolist() == level.tolist()
    steps = [acc * 2.0**-q for acc, q in net]
    start = len(field.weights) - n_levels - len(net)
    assert [w.tolist() for w in field.weights[start:-n_levels]] == [w.tolist() for w in steps]


@pytest.mark.parametrize("kind", [INTERLACED, SERIAL])
def test_levels_of_other_forms_and_passes_are_known_to_those_above(kind: int) -> None:
    grid, n = (11, 10), 4
    net, levels = random_net(kind, 1, 4, n), smooth_levels(grid, n, 2.0)
    zeros, runs = raw(n)
    packed = [f for acc, q in net for f in ((q, 4), (7, 5))]
    values = [(0, 32)] * len(zeros) + [(int(a), 8) for acc, _ in net for a in acc.ravel()]
    values += [(int(v), 8) for v in levels[0].ravel()]
    acc = zeros + [int(a) for t, _ in net for a in t.ravel()] + levels[0].ravel().tolist()
    first = pass_payload(bits(*packed, (1, 1), (7, 5), (0, 3)), bits(*values), int32_crc(acc))
    # level 1 by the network, level 2 by a model
    R, p0, tb, rb, heavy, b, esc = MODEL
    f = frequencies(R, p0, 2**24 - mf8(tb), 2**24 - mf8(rb), bool(heavy))
    runs = context_runs(kind, net, levels, 1) + value_runs(levels[2].ravel().tolist(), f, b, bool(esc))
    table = bits((1, 1), (5, 3), (1, 1), (2, 3), *LONG[1:], (0, 1))
    acc = levels[1].ravel().tolist() + levels[2].ravel().tolist()
    second = pass_payload(table, encode_one_lane(runs), int32_crc(acc), flags=9, number=1)
    body = encode_one_lane(context_runs(kind, net, levels, 3))
    third = pass_payload(bits((1, 1), (5, 3)), body, int32_crc(levels[3].ravel().tolist()), flags=9, number=2)
    data = file([first, second, third], head_of(kind, grid, n, 1, 4))
    for passes, known in ((1, 1), (2, 3), (3, 4)):
        field = decode(data, passes=passes)
        for number, found in enumerate(field.weights[-n:]):
            assert found.tolist() == (levels[number].tolist() if number < known else np.zeros_like(found).tolist())


def small(value: int, lanes: int = 0) -> tuple[bytes, HeadFields]:
    """One site, with a network that is all zero: centre 0, scale 32."""
    net = [(np.zeros_like(acc), 0) for acc, _ in random_net(SERIAL, 0, 4, 1)]
    zeros, runs = raw(1)
    runs += net_runs(net) + context_runs(SERIAL, net, [np.array([[value]])], 0)
    acc = zeros + [0] * sum(t.size for t, _ in net) + [value]
    crc = int32_crc(acc) if abs(value) < 2**31 else 0
    payload = pass_payload(bits(*net_fields(net), (1, 1), (5, 3)), encode(runs, lanes), crc, flags=9 | lanes << 4)
    return payload, head_of(SERIAL, (1, 1), 1, 0, 4)


@pytest.mark.parametrize("lanes", [0, 6])
@pytest.mark.parametrize("sign", [1, -1])
def test_latents_with_escapes_come_back(lanes: int, sign: int) -> None:
    for value in (1, 60, 1000, 2**21):
        payload, head = small(sign * value, lanes)
        assert decode(file([payload], head)).weights[-1].tolist() == [[sign * value]]


@pytest.mark.parametrize("value", [2047, -2047, 2048, -2048])
def test_context_tensor_is_below_2_to_the_11(value: int) -> None:
    net = [(np.zeros_like(acc), 0) for acc, _ in random_net(SERIAL, 0, 4, 1)]
    net[2][0][0, 1] = value
    zeros, _ = raw(1)
    acc = zeros + [int(a) for t, _ in net for a in t.ravel()]
    table = bits(*[f for _, q in net for f in ((q, 4), (12, 5))], (0, 1))
    body = bits((0, 32), *[(a, 13) for a in acc[1:]])
    data = pass_payload(table, body, int32_crc(acc))
    head = head_of(SERIAL, (1, 1), 1, 0, 4)
    if abs(value) < 2048:
        assert decode(file([data], head)).passes == 1
    else:
        fails([data], "ACC_OVERFLOW", 6 + len(table), head)


@pytest.mark.parametrize("lanes", [0, 6])
def test_level_that_no_encoder_made_is_a_bad_stream(lanes: int) -> None:
    payload, head = small(5, lanes)
    table = len(bits(*net_fields(random_net(SERIAL, 0, 4, 1)), (1, 1), (5, 3)))
    fails([payload + b"\1\0"], "BAD_STREAM", 6 + table, head)


@pytest.mark.parametrize("kind", [INTERLACED, SERIAL])
def test_memory_stays_below_the_bound(kind: int) -> None:
    """Every symbol is the lowest, with an escape of 0: the state of the coder is 0."""
    grid, n = (250, 300), 2
    head = head_of(kind, grid, n, 3, 32, profile_level=0x13)
    count = len(random_net(kind, 3, 32, n))
    table = bits(*[(0, 4), (0, 2)] * count, *[(1, 1), (5, 3)] * n)
    size = 250 * 300 + 125 * 150
    reference.models()
    tracemalloc.start()
    try:
        fails([pass_payload(table, bytes(4), 0, flags=9)], "ACC_CRC_MISMATCH", 2, head)
        assert tracemalloc.get_traced_memory()[1] <= 16 * size + (4 << 20)
    finally:
        tracemalloc.stop()
