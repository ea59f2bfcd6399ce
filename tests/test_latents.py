"""Clause 9.6: entries, forms and passes of latents, bit by bit and through whole files; GRD-5 to GRD-8."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import sinrfmt
from sinrfmt import payload, report, tables
from sinrfmt.container import build_file, parse_pass_header
from sinrfmt.evaluate import grid_axes
from sinrfmt.head import Header, build_head
from sinrfmt.model_fit import fit_table, table_cost_bits
from sinrfmt.models import ContextForm, LongModel, ShortModel, TableModel, ZeroModel
from sinrfmt.network import (
    LEVEL_ORDINAL,
    GridEncoding,
    InputEncoding,
    LayerRecord,
    Network,
    PyramidEncoding,
    Tensor,
    TensorRole,
)
from sinrfmt.payload import States, TensorCode, pack
from sinrfmt.registry import ChunkKind, Coding, ContextId, Coords, RecordKind
from sinrfmt.stream import Parser
from sinrfmt.tables import UNIT_STEP, Entry, Width
from tests.strategies import assert_error, assert_fault, bit_string, header_of, pass_payload, random_codes
from tests.test_hostile import bound, traced_peak

START = 6
SHORT = ShortModel(0, 20)
LONG = LongModel(9, 200, 150, 0, False, 0, True)
TABLE = TableModel((3, 10, 127, 126), 1, True)


def pyramid_network(context: ContextId = ContextId.INTERLACED, **options: Any) -> Network:
    encoding = PyramidEncoding(**({"grid": (21, 18), "n_levels": 4, "context": context} | options))
    return Network(2, 3, (LayerRecord(RecordKind.RELU, 4), LayerRecord(RecordKind.LINEAR, 3)), encoding)


def levels_of(encoding: InputEncoding) -> tuple[Tensor, ...]:
    network = Network(2, 1, (LayerRecord(RecordKind.LINEAR, 1),), encoding)
    return tuple(tensor for tensor in network.tensors if tensor.role is TensorRole.LATENT)


LEVELS = levels_of(PyramidEncoding((6, 5), 3))
PLAIN_LEVELS = levels_of(PyramidEncoding((6, 5), 3, context=ContextId.FACTORISED))
COLUMNS = levels_of(GridEncoding(((2, 2), (3, 3)), latent_dim=3))

SHORT_FIELDS = [(1, 3), (0, 2), (20, 8)]
LONG_FIELDS = [(2, 3), (9, 10), (200, 8), (150, 8), (0, 8), (0, 1), (0, 4), (1, 1)]
TABLE_FIELDS = [(4, 3), (1, 8), (2, 8), (1, 1), (3, 7), (14, 4), (15, 4), (127, 7), (6, 4)]


def parse(
    fields: Sequence[tuple[int, int]], tensors: Sequence[Tensor], coding: Coding = Coding.RANS, **options: Any
) -> list[Entry]:
    steps = options.pop("lowest_steps", {})
    return tables.parse(bytes(START) + bit_string(*fields), START, tensors, coding, steps, **options)[0]


def test_forms_of_latents_bit_by_bit() -> None:
    fields = [(1, 1), *SHORT_FIELDS, (3, 3), (0, 3), (1, 1), *LONG_FIELDS, *TABLE_FIELDS, (3, 3)]
    expected = [
        Entry(COLUMNS[0], None, UNIT_STEP, latents=(SHORT, SHORT, ZeroModel())),
        Entry(COLUMNS[1], None, UNIT_STEP, latents=(LONG, TABLE, TABLE)),
    ]
    assert parse(fields, COLUMNS) == expected
    assert tables.build(expected, COLUMNS, {}) == bit_string(*fields)


def test_a_context_is_a_form_and_levels_may_wait() -> None:
    fields = [(1, 1), (0, 3), (1, 1), (5, 3), (0, 1)]
    expected = [
        Entry(LEVELS[0], None, UNIT_STEP, latents=(ZeroModel(),)),
        Entry(LEVELS[1], None, UNIT_STEP, latents=(ContextForm(),)),
    ]
    assert parse(fields, LEVELS) == expected
    assert tables.build(expected, LEVELS, {}) == bit_string(*fields)


def test_a_coded_level_has_no_entry_in_a_later_pass() -> None:
    steps = {LEVELS[0].ordinal: UNIT_STEP, LEVELS[1].ordinal: UNIT_STEP}
    assert parse([(1, 1), (5, 3)], LEVELS, lowest_steps=steps) == [
        Entry(LEVELS[2], None, UNIT_STEP, latents=(ContextForm(),))
    ]
    assert parse([], LEVELS, lowest_steps=dict.fromkeys((t.ordinal for t in LEVELS), UNIT_STEP)) == []


def test_packed_latents_have_a_width() -> None:
    assert parse([(1, 1), (6, 5), (0, 1), (0, 1)], LEVELS, Coding.ZLIB) == [Entry(LEVELS[0], Width(7), UNIT_STEP)]


def test_context_tensors_have_a_step_of_their_own_in_pass_0_only() -> None:
    tensors = [t for t in pyramid_network().tensors if t.role is TensorRole.CONTEXT][:1]
    assert parse([(9, 4), (0, 2)], tensors) == [Entry(tensors[0], ZeroModel(), UNIT_STEP - 72)]
    assert parse([], tensors, lowest_steps={tensors[0].ordinal: 728}) == []


SKIP = [(0, 1), (0, 1)]


@pytest.mark.parametrize(
    ("tensors", "fields", "name", "byte"),
    [
        (LEVELS, [(0, 1), (1, 1)], "BAD_TABLE", 0),  # GRD-5
        (LEVELS, [(1, 1), (0, 3), (0, 1), (1, 1)], "BAD_TABLE", 0),
        (LEVELS, [(1, 1), (6, 3)], "BAD_MODEL", 0),  # GRD-6
        (LEVELS, [(1, 1), (7, 3)], "BAD_MODEL", 0),
        (LEVELS, [(1, 1), (3, 3)], "BAD_MODEL", 0),
        (LEVELS, [(1, 1), (5, 3), (1, 1), (3, 3)], "BAD_MODEL", 0),
        (PLAIN_LEVELS, [(1, 1), (5, 3)], "BAD_MODEL", 0),
        (COLUMNS, [(1, 1), *SHORT_FIELDS, (5, 3)], "BAD_MODEL", 1),
        (LEVELS, [(1, 1), (1, 3), (0, 2), (255, 8)], "BAD_MODEL", 0),  # ENT-3
        (LEVELS, [(1, 1), (4, 3), (0, 8), (0, 8)], "BAD_MODEL", 1),  # GRD-7
        (LEVELS, [(1, 1), (4, 3), (0, 8), (1, 8), (0, 1), (3, 7), (3, 4)], "BAD_MODEL", 3),
        (LEVELS, [(1, 1), (4, 3), (0, 8), (1, 8), (0, 1), (121, 7), (14, 4)], "BAD_MODEL", 3),
    ],
)
def test_broken_rules_of_entries(
    tensors: Sequence[Tensor], fields: list[tuple[int, int]], name: str, byte: int
) -> None:
    assert_fault(name, START + byte, parse, [*fields, *SKIP, (0, 30)], tensors)


def test_a_table_reaches_its_borders() -> None:
    fields = [(1, 1), (4, 3), (0, 8), (2, 8), (0, 1), (7, 7), (0, 4), (15, 4), (127, 7), *SKIP]
    assert parse(fields, LEVELS)[0].latents == (TableModel((7, 0, 127), 0, False),)


# --- whole files -----------------------------------------------------------------------------------------------------


def make_file(
    network: Network, passes: Sequence[Sequence[TensorCode]], codings: Sequence[tuple[Coding, int]]
) -> tuple[bytes, States]:
    header = header_of(network, n_passes=len(passes))
    chunks, states = [], None
    for index, (codes, (coding, log2_lanes)) in enumerate(zip(passes, codings, strict=True)):
        one, states = pack(codes, header, coding=coding, log2_lanes=log2_lanes, index=index, before=states)
        chunks.append((ChunkKind.PASS, one))
    assert states is not None
    return build_file(build_head(header), chunks), states


def base_codes(network: Network, rng: np.random.Generator) -> list[TensorCode]:
    """Codes of everything but latents."""
    codes = random_codes(network.tensors, rng, 1.0, 1, None)
    return [code for code in codes if code.tensor.role is not TensorRole.LATENT]


def level_codes(network: Network, latents: Sequence[NDArray[np.int32]], first: int = 0) -> list[TensorCode]:
    tensors = {tensor.ordinal: tensor for tensor in network.tensors}
    return [TensorCode(tensors[LEVEL_ORDINAL + first + i], values) for i, values in enumerate(latents)]


def predictable(network: Network, rng: np.random.Generator) -> tuple[list[TensorCode], list[NDArray[np.int32]]]:
    """A context network that takes the mean of a latent from its parent, and latents like that."""
    encoding = network.input_encoding
    assert isinstance(encoding, PyramidEncoding)
    codes = []
    for code in base_codes(network, rng):
        values = np.zeros_like(code.values)
        if code.tensor.name == "context.linear":
            values[4] = 64  # the middle one of the parents
        is_context = code.tensor.role is TensorRole.CONTEXT
        codes.append(replace(code, values=values, step=UNIT_STEP - 48) if is_context else code)
    levels = [rng.integers(-40, 41, encoding.level_shape(0))]
    for level in range(1, encoding.n_levels):
        height, width = encoding.level_shape(level)[-2:]
        parents = levels[-1].repeat(2, axis=-2)[..., :height, :].repeat(2, axis=-1)[..., :width]
        levels.append(parents + rng.integers(-1, 2, parents.shape))
    return codes, [level.astype(np.int32).reshape(-1) for level in levels]


@pytest.mark.parametrize("context", [ContextId.INTERLACED, ContextId.SERIAL])
@pytest.mark.parametrize(
    "codings",
    [
        [(Coding.RANS, 0)] * 3,
        [(Coding.RANS, 6), (Coding.RANS, 0), (Coding.RANS, 8)],
        [(Coding.PACKED, 0), (Coding.RANS, 0), (Coding.ZLIB, 0)],
        [(Coding.RANS, 0), (Coding.ZLIB, 0), (Coding.RANS, 7)],
    ],
)
def test_levels_of_several_passes_see_those_before(context: ContextId, codings: list[tuple[Coding, int]]) -> None:
    network = pyramid_network(context)
    codes, levels = predictable(network, np.random.default_rng(1))
    passes = [
        codes + level_codes(network, levels[:2]),
        level_codes(network, levels[2:3], 2),
        level_codes(network, levels[3:], 3),
    ]
    data, states = make_file(network, passes, codings)
    field = sinrfmt.loads(data)
    for found, expected in zip(field.states, states, strict=True):
        np.testing.assert_array_equal(found.acc, expected.acc)
    shown = report.describe(field)["levels"]
    assert [row["pass"] for row in shown] == [0, 0, 1, 2]
    assert [row["form"] for row in shown][2:] == [
        "CONTEXT" if coding is Coding.RANS else "packed" for coding, _ in codings[1:]
    ]
    prefix = sinrfmt.loads(data, passes=1)
    assert [state.is_coded for state in prefix.states][-4:] == [True, True, False, False]
    assert not any(state.acc.any() for state in prefix.states[-2:])
    assert [row["form"] for row in report.describe(prefix)["levels"]][2:] == [None, None]


def test_the_digest_covers_latents_as_numbers() -> None:
    network = pyramid_network(ContextId.FACTORISED)
    rng = np.random.default_rng(2)
    levels = [rng.integers(-3, 4, t.size).astype(np.int32) for t in network.tensors if t.role is TensorRole.LATENT]
    data, _ = make_file(network, [base_codes(network, rng) + level_codes(network, levels)], [(Coding.RANS, 0)])
    field = sinrfmt.loads(data)
    for weights, latents in zip(field.weights[-4:], levels, strict=True):
        np.testing.assert_array_equal(weights.reshape(-1), latents)


@pytest.mark.parametrize("log2_lanes", [0, 6])
def test_columns_of_a_grid_have_their_own_models(log2_lanes: int) -> None:
    encoding = GridEncoding(((20, 20), (60, 60)), latent_dim=2, log2_table_size=10)
    network = Network(2, 1, (LayerRecord(RecordKind.LINEAR, 1),), encoding)
    rng = np.random.default_rng(3)
    skewed = rng.choice([-1, 0, 0, 0, 2, 5], (400, 1))
    levels = [np.hstack([skewed, np.zeros((400, 1))]), rng.geometric(0.3, (1024, 2))]
    latents = [level.astype(np.int32).reshape(-1) for level in levels]
    data, states = make_file(
        network, [base_codes(network, rng) + level_codes(network, latents)], [(Coding.RANS, log2_lanes)]
    )
    field = sinrfmt.loads(data)
    for found, expected in zip(field.states, states, strict=True):
        np.testing.assert_array_equal(found.acc, expected.acc)
    assert [row["form"] for row in report.describe(field)["levels"]] == ["TABLE ZERO", "TABLE TABLE"]


def test_a_table_is_taken_where_it_is_the_shorter_one() -> None:
    rng = np.random.default_rng(6)
    values = np.append(rng.choice([-3, 0, 1, 7], 3000, p=[0.1, 0.6, 0.25, 0.05]), [400]).astype(np.int32)
    table = fit_table(values)
    assert (table.lowest, table.highest, table.esc) == (-3, 255, True)
    lonely = np.zeros(400_000, dtype=np.int32)
    lonely[7] = -1
    assert np.isfinite(table_cost_bits(lonely, fit_table(lonely)))
    found, n_bits = payload.fit_latents(values[:-1])
    assert isinstance(found, TableModel)
    p = np.array([0.1, 0.6, 0.25, 0.05])
    assert n_bits < 1.02 * 3000 * -(p @ np.log2(p)) + 100
    assert payload.fit_latents(np.zeros(9, dtype=np.int32)) == (ZeroModel(), 0.0)
    assert payload.fit_latents(values[-1:])[0] != table


def test_the_cost_of_a_table_counts_its_escapes() -> None:
    table = TableModel((100, 100), 0, True)  # two symbols of one bit
    assert table_cost_bits([0, 1], table) == pytest.approx(4.0, abs=0.01)
    assert table_cost_bits([0, 1], replace(table, esc=False)) == pytest.approx(2.0, abs=0.01)
    assert table_cost_bits([2], replace(table, esc=False)) == np.inf


def test_grd_8_integers_of_a_context_tensor_are_below_2_to_the_11() -> None:
    network = pyramid_network()
    rng = np.random.default_rng(1)
    for value, fails in ((2047, False), (-2047, False), (2048, True), (-2048, True)):
        codes = [
            replace(code, values=np.full_like(code.values, value)) if code.tensor.name == "context.phase" else code
            for code in base_codes(network, rng)
        ]
        if fails:
            assert_fault("ACC_OVERFLOW", 0, pack, codes, header_of(network))
        else:
            pack(codes, header_of(network))


@pytest.mark.parametrize("coding", [Coding.RANS, Coding.PACKED])
def test_grd_8_holds_for_decoders(coding: Coding, monkeypatch: pytest.MonkeyPatch) -> None:
    network = pyramid_network()
    codes = base_codes(network, np.random.default_rng(1))
    codes = [
        replace(code, values=np.full_like(code.values, 2048)) if code.tensor.name == "context.phase" else code
        for code in codes
    ]
    header = header_of(network)
    with monkeypatch.context() as patch:
        patch.setattr(payload, "CONTEXT_ACC_LIMIT", 1 << 31)
        one, _ = pack(codes, header, coding=coding)
    data = build_file(build_head(header), [(ChunkKind.PASS, one)])
    offset = error_offset(data, header)
    assert_error("ACC_OVERFLOW", offset, sinrfmt.loads, data)


def error_offset(data: bytes, header: Header) -> int:
    """Where the body of the first PASS chunk starts."""
    parser = Parser()
    reader = parser._reader
    reader.feed(data)
    reader.next_chunk(passes_complete=False)
    chunk = reader.next_chunk(passes_complete=False)
    assert chunk is not None
    coding = parse_pass_header(chunk, header).coding
    return chunk.payload_offset + tables.parse(chunk.payload, START, header.network.tensors, coding, {})[1]


@pytest.mark.parametrize("context", [ContextId.INTERLACED, ContextId.SERIAL])
@pytest.mark.parametrize("grid", [(200, 200), (1, 1500), (3000, 2, 2)])
def test_memory_of_context_coding(context: ContextId, grid: tuple[int, ...]) -> None:
    """LIM-2, also where planes are small."""
    axes = (len(grid) - 2, len(grid) - 1)
    encoding = PyramidEncoding(grid, 5, axes=axes, context=context)
    network = Network(len(grid), 1, (LayerRecord(RecordKind.LINEAR, 1),), encoding)
    codes, levels = predictable(network, np.random.default_rng(0))
    data, _ = make_file(network, [codes + level_codes(network, levels)], [(Coding.RANS, 0)])
    peak, name = traced_peak(data)
    assert name == "decoded"
    assert peak <= bound(data, network.n_parameters)


def test_a_level_that_no_pass_codes_is_not_in_the_crc() -> None:
    network = pyramid_network(ContextId.FACTORISED, n_levels=1, filter_numbers=1)
    network = replace(network, records=(LayerRecord(RecordKind.LINEAR, 3, bias=False),))
    table = [(0, 1), (20, 7), (0, 2), (0, 1)]  # step, ZERO; refined = 0
    one = pass_payload(table, bytes(4), acc=[0] * 3, flags=0x09)
    field = sinrfmt.loads(build_file(build_head(header_of(network)), [(ChunkKind.PASS, one)]))
    assert not field.states[-1].is_coded
    expected = zlib.crc32(bytes(12))
    assert field.acc_crc == (expected,)


@pytest.mark.parametrize("coords", [Coords.CENTRES, Coords.CORNERS_PROPORTIONAL])
@pytest.mark.parametrize(
    "encoding",
    [
        PyramidEncoding((21, 18), 4, context=ContextId.FACTORISED),
        GridEncoding(((5, 4), (30, 30)), log2_table_size=7, append_input=True),
    ],
)
def test_a_field_of_latents_has_values_everywhere(coords: Coords, encoding: InputEncoding) -> None:
    network = Network(2, 3, (LayerRecord(RecordKind.RELU, 4), LayerRecord(RecordKind.LINEAR, 3)), encoding)
    header = header_of(network, grid=(21, 18), coords=coords)
    rng = np.random.default_rng(8)
    codes = [TensorCode(t, rng.integers(-9, 10, t.size).astype(np.int32), UNIT_STEP - 32) for t in network.tensors]
    one, _ = pack(codes, header)
    field = sinrfmt.loads(build_file(build_head(header), [(ChunkKind.PASS, one)]))
    native = field.grid()
    axes = grid_axes(coords, (21, 18), None)
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    np.testing.assert_allclose(field.sample(x), native, atol=1e-3)
    assert np.ptp(native) > 0.1
    other = field.grid((5, 40))
    axes = grid_axes(coords, (5, 40), None)
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    np.testing.assert_array_equal(other, field.sample(x))
