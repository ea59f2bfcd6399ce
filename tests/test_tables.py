"""Clauses 7.2 and 7.3: entries of the tensor table bit by bit; TAB-1 to TAB-5 and the model forms."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinrfmt import tables
from sinrfmt.models import LongModel, ShortModel, ZeroModel
from sinrfmt.network import LayerRecord, Network, Tensor
from sinrfmt.registry import Coding, RecordKind, Tool
from sinrfmt.tables import Entry, LowestSteps, Prior, ValueParameters, Width
from tests.strategies import assert_fault, bit_string, fixed

Field = tuple[int, int]
START = 6


def one_layer(**options: object) -> tuple[Tensor, ...]:
    """A weight matrix (2, 3) and a bias (2)."""
    return Network(3, 2, (LayerRecord(RecordKind.LINEAR, 2, **options),)).tensors  # type: ignore[arg-type]


def parse(
    fields: Sequence[Field],
    tensors: Sequence[Tensor],
    coding: Coding = Coding.PACKED,
    lowest_steps: LowestSteps | None = None,
    tail: bytes = b"",
) -> tuple[list[Entry], int]:
    return tables.parse(bytes(START) + bit_string(*fields) + tail, START, tensors, coding, lowest_steps or {})


def short_step(code: int) -> list[Field]:
    return [(0, 1), (code - 680, 7)]


def long_step(code: int) -> list[Field]:
    return [(1, 1), (code, 10)]


BIAS = [*short_step(700), (4, 5)]
(WEIGHT,) = one_layer(bias=False)


@pytest.mark.parametrize(
    ("fields", "step"),
    [(short_step(680), 680), (short_step(807), 807), (long_step(0), 0), (long_step(679), 679), (long_step(808), 808),
     (long_step(1023), 1023)],
)  # fmt: skip
def test_both_forms_of_a_step(fields: list[Field], step: int) -> None:
    entries, body = parse([*fields, (6, 5)], [WEIGHT])
    assert entries == [Entry(WEIGHT, Width(7), step)]
    assert body == START + len(bit_string(*fields, (6, 5)))


@pytest.mark.parametrize("step", [680, 700, 807])
def test_tab_1_a_short_step_has_no_long_form(step: int) -> None:
    assert_fault("BAD_TABLE", START, parse, [*long_step(step), (6, 5)], [WEIGHT])


def prior_fields(*fields: Field) -> list[Field]:
    return [*short_step(700), (1, 1), *fields, (6, 5)]


@pytest.mark.parametrize(
    ("fields", "prior"),
    [
        ([(0, 1), (0, 7), (0, 5)], Prior(1 << 15, 8)),
        ([(0, 1), (127, 7), (30, 5)], Prior(255 << 8, 38)),
        ([(1, 1), (0x8001, 16), (22, 5)], Prior(0x8001, 30)),
        ([(1, 1), (0xFFFF, 16), (1, 5)], Prior(0xFFFF, 9)),
    ],
)
def test_both_forms_of_a_prior(fields: list[Field], prior: Prior) -> None:
    (tensor,) = one_layer(prior=True, bias=False)
    assert parse(prior_fields(*fields), [tensor])[0] == [Entry(tensor, Width(7), 700, None, prior)]


@pytest.mark.parametrize(
    ("fields", "byte"),
    [([(1, 1), (0x7FFF, 16), (0, 5)], 1), ([(1, 1), (1, 16), (0, 5)], 1), ([(1, 1), (0x8100, 16), (0, 5)], 1),
     ([(0, 1), (0, 7), (31, 5)], 2), ([(1, 1), (0x8001, 16), (31, 5)], 3)],
)  # fmt: skip
def test_tab_2_forms_of_a_prior(fields: list[Field], byte: int) -> None:
    """The error is at the byte that holds the first bit of prior_long or prior_shift."""
    (tensor,) = one_layer(prior=True, bias=False)
    assert_fault("BAD_TABLE", START + byte, parse, prior_fields(*fields), [tensor])


def test_a_tensor_may_have_no_prior_and_no_row_steps() -> None:
    (tensor,) = one_layer(prior=True, row_steps=True, bias=False)
    assert parse([*short_step(700), (0, 1), (0, 1), (6, 5)], [tensor])[0] == [Entry(tensor, Width(7), 700)]


def test_row_steps_stand_before_the_prior_and_only_at_matrices() -> None:
    weight, bias = one_layer(prior=True, row_steps=True)
    fields = [*short_step(700), (1, 1), (3, 5), (1, 1), (0, 1), (1, 7), (2, 5), (6, 5)]
    bias_fields = [*short_step(680), (0, 1), (31, 5)]
    assert parse([*fields, *bias_fields], [weight, bias])[0] == [
        Entry(weight, Width(7), 700, Width(4), Prior(129 << 8, 10)),
        Entry(bias, Width(32), 680),
    ]


def test_tool_raw_has_no_entry() -> None:
    tensors = one_layer(tool=Tool.RAW)
    assert parse([], tensors) == ([Entry(tensor) for tensor in tensors], START)
    later = tables.checked_steps([tensor.ordinal for tensor in tensors])
    assert parse([], tensors, lowest_steps=later) == ([], START)


# --- model forms -----------------------------------------------------------------------------------------------------

SHORT = [(1, 2), (3, 2), (50, 8)]
LONG = [(2, 2), (1023, 10), (255, 8), (168, 8), (9, 8), (1, 1), (14, 4), (1, 1)]
SHORT_MODEL = ShortModel(3, 50)
LONG_MODEL = LongModel(1023, 255, 168, 9, True, 14, True)


@pytest.mark.parametrize(
    ("first", "second", "models"),
    [
        ([(0, 2)], [(0, 2)], (ZeroModel(), ZeroModel())),
        (SHORT, LONG, (SHORT_MODEL, LONG_MODEL)),
        (LONG, [(3, 2)], (LONG_MODEL, LONG_MODEL)),
        (SHORT, [(3, 2)], (SHORT_MODEL, SHORT_MODEL)),
        (SHORT, [(0, 2)], (SHORT_MODEL, ZeroModel())),
    ],
)
def test_model_forms(first: list[Field], second: list[Field], models: tuple[ValueParameters, ...]) -> None:
    entries, _ = parse([*short_step(700), *first, *short_step(700), *second], one_layer(), Coding.RANS)
    assert tuple(entry.values for entry in entries) == models


def test_form_same_repeats_the_last_model_over_forms_zero_and_row_steps() -> None:
    """TAB-3: the values parameters last given by form 1 or 2, which may be those of row steps."""
    weight, bias = one_layer(row_steps=True)
    fields = [*short_step(700), (1, 1), *SHORT, (0, 2), *short_step(700), (3, 2)]
    entries, _ = parse(fields, [weight, bias], Coding.RANS)
    assert [(e.row_steps, e.values) for e in entries] == [(SHORT_MODEL, ZeroModel()), (None, SHORT_MODEL)]


@pytest.mark.parametrize("first", [[(3, 2)], [(0, 2), *short_step(700), (3, 2)]])
def test_tab_3_nothing_to_repeat(first: list[Field]) -> None:
    offset = START + 1 if len(first) == 1 else START + 2  # the byte of form
    assert_fault("BAD_MODEL", offset, parse, [*short_step(700), *first], one_layer(), Coding.RANS)


@pytest.mark.parametrize(("law", "last"), [(0, 143), (1, 151), (2, 151), (3, 143)])
def test_ent_3_scale_of_a_short_form(law: int, last: int) -> None:
    """b above 14 is invalid, at scale (TAB-3)."""
    parse([*short_step(700), (1, 2), (law, 2), (last, 8)], [WEIGHT], Coding.RANS)
    for q in (last + 1, 255):
        fields = [*short_step(700), (1, 2), (law, 2), (q, 8)]
        assert_fault("BAD_MODEL", START + 1, parse, fields, [WEIGHT], Coding.RANS)


@pytest.mark.parametrize(("field", "value", "byte"), [(3, 169, 3), (3, 255, 3), (4, 169, 4), (4, 255, 4), (6, 15, 5)])
def test_ent_2_fields_of_a_long_form(field: int, value: int, byte: int) -> None:
    """tb or rb above 168, b = 15, at the field's first bit: bits 28, 36 and 45 of this table."""
    fields = [*LONG]
    fields[field] = (value, fields[field][1])
    assert_fault("BAD_MODEL", START + byte, parse, [*short_step(700), *fields], [WEIGHT], Coding.RANS)


def test_ent_2_an_escape_needs_symbols() -> None:
    fields = [(2, 2), (0, 10), *LONG[2:]]
    assert_fault("BAD_MODEL", START + 6, parse, [*short_step(700), *fields], [WEIGHT], Coding.RANS)
    parse([*short_step(700), *fields[:-1], (0, 1)], [WEIGHT], Coding.RANS)


# --- later passes ----------------------------------------------------------------------------------------------------


def test_a_later_pass_codes_the_refined_tensors() -> None:
    weight, bias = one_layer(prior=True, row_steps=True)
    fields = [(0, 1), (1, 1), (7, 3), (9, 5)]
    entries, body = parse(fields, [weight, bias], lowest_steps={0: 0, 1: 64})
    assert entries == [Entry(bias, Width(10), refine_bits=8)]
    assert body == START + 2


@pytest.mark.parametrize("n", range(1, 9))
def test_tab_4_a_step_keeps_its_octaves(n: int) -> None:
    fields = [(1, 1), (n - 1, 3), (0, 5), (0, 1)]
    parse(fields, one_layer(), lowest_steps={0: 8 * n, 1: 0})
    assert_fault("STEP_OUT_OF_RANGE", START, parse, fields, one_layer(), lowest_steps={0: 8 * n - 1, 1: 0})


def test_tab_4_is_at_refine_bits_and_before_later_fields() -> None:
    """7.5: entry by entry, so the first tensor's step counts before the second one's missing model."""
    zero, same = [(1, 1), (0, 3), (0, 2)], [(1, 1), (0, 3), (3, 2)]
    tensors = one_layer()
    assert_fault("BAD_MODEL", START + 1, parse, [*zero, *same], tensors, Coding.RANS, {0: 8, 1: 8})
    assert_fault("STEP_OUT_OF_RANGE", START, parse, [*zero, *same], tensors, Coding.RANS, {0: 7, 1: 8})
    assert_fault("STEP_OUT_OF_RANGE", START, parse, [*zero, *same], tensors, Coding.RANS, {0: 8, 1: 7})
    nine_bits = [(0, 1)] * 7 + [(1, 1), (0, 3)]  # refine_bits of the eighth tensor is in the second byte
    eight = Network(3, 1, (LayerRecord(RecordKind.SINE, 2, 3, 30.0), LayerRecord(RecordKind.LINEAR, 1))).tensors
    assert_fault("STEP_OUT_OF_RANGE", START + 1, parse, nine_bits, eight, lowest_steps=dict.fromkeys(range(8), 0))


# --- TAB-5 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row_steps", "n"), [(None, 0), (Width(1), 2), (ZeroModel(), 2), (SHORT_MODEL, 2)])
def test_tab_5_rows_of_an_entry(row_steps: ValueParameters | None, n: int) -> None:
    """One symbol for each row with has_row_steps = 1, in whatever form."""
    assert Entry(WEIGHT, Width(1), 700, row_steps).n_rows == n


# --- padding, ends, both directions ----------------------------------------------------------------------------------


def test_padding_and_end_of_the_table() -> None:
    fields = [*short_step(700), (6, 5)]  # 13 bits
    for bit in range(3):
        assert_fault("PADDING_NOT_ZERO", START + 1, parse, [*fields, (1 << bit, 3)], [WEIGHT])
    data = bytes(START) + bit_string(*fields)
    for n in range(START, len(data)):
        assert_fault("PAYLOAD_TOO_SHORT", n, tables.parse, data[:n], START, [WEIGHT], Coding.PACKED, {})


MODELS = st.one_of(
    st.just(ZeroModel()),
    st.builds(ShortModel, law=st.integers(0, 3), q=st.integers(0, 143)),
    st.builds(
        LongModel,
        R=st.integers(1, 1023),
        p0=st.integers(0, 255),
        tb=st.integers(0, 168),
        rb=st.integers(0, 168),
        heavy=st.booleans(),
        b=st.integers(0, 14),
        esc=st.booleans(),
    ),
)
PRIORS = st.builds(
    Prior,
    multiplier=st.integers(1 << 15, (1 << 16) - 1) | st.integers(128, 255).map(lambda m: m << 8),
    shift=st.integers(8, 38),
)


@st.composite
def entry_lists(draw: st.DrawFn) -> tuple[list[Entry], Sequence[Tensor], Coding, LowestSteps]:
    coding = draw(st.sampled_from([Coding.PACKED, Coding.RANS]))
    parameters = MODELS if coding is Coding.RANS else st.integers(1, 32).map(Width)
    records = tuple(
        LayerRecord(RecordKind.LINEAR, 2, tool=tool, prior=bool(tool) and prior, row_steps=bool(tool) and rows)
        for tool, prior, rows in draw(
            st.lists(st.tuples(st.sampled_from([Tool.RAW, Tool.SCALAR]), st.booleans(), st.booleans()), min_size=1,
                     max_size=4)
        )
    )  # fmt: skip
    tensors = Network(3, 2, records).tensors
    if draw(st.booleans()):
        lowest = {tensor.ordinal: draw(st.integers(64, 1023)) for tensor in tensors}
        chosen = [t for t in tensors if t.record.tool is Tool.SCALAR and draw(st.booleans())]
        return (
            [Entry(t, draw(parameters), refine_bits=draw(st.integers(1, 8))) for t in chosen],
            tensors,
            coding,
            lowest,
        )
    entries = [Entry(t) for t in tensors]
    for i, tensor in enumerate(tensors):
        record = tensor.record
        if record.tool is Tool.SCALAR:
            rows = draw(st.none() | parameters) if record.row_steps and not tensor.is_bias else None
            prior = draw(st.none() | PRIORS) if record.prior else None
            entries[i] = Entry(tensor, draw(parameters), draw(st.integers(0, 1023)), rows, prior)
    return entries, tensors, coding, {}


@fixed(150)
@given(entry_lists())
def test_parsing_gives_back_the_entries_that_were_built(
    made: tuple[list[Entry], Sequence[Tensor], Coding, LowestSteps],
) -> None:
    entries, tensors, coding, lowest_steps = made
    table = tables.build(entries, tensors, lowest_steps)
    assert tables.parse(table + b"\xff", 0, tensors, coding, lowest_steps) == (entries, len(table))


@pytest.mark.parametrize("step", [-1, 1024])
def test_a_step_out_of_range_is_not_built(step: int) -> None:
    assert_fault("STEP_OUT_OF_RANGE", 0, tables.build, [Entry(WEIGHT, Width(1), step)], [WEIGHT], {})


def test_a_refinement_that_a_decoder_refuses_is_not_built() -> None:
    entry = Entry(WEIGHT, Width(1), refine_bits=2)
    tables.build([entry], [WEIGHT], {0: 16})
    assert_fault("STEP_OUT_OF_RANGE", 0, tables.build, [entry], [WEIGHT], {0: 15})
    tables.build([replace(entry, refine_bits=1)], [WEIGHT], {0: 15})
