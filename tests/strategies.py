"""Random networks, headers and files, and an independent writer of framing and bit strings, for the core tests.

The writers here follow the text and share no code with the library: what they make is what the text says.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import reference_decoder
import sinrfmt
from sinrfmt.base import Base, state_digest, states_from
from sinrfmt.container import build_file
from sinrfmt.errors import SinrError
from sinrfmt.head import Header, build_head, lowest_level
from sinrfmt.network import (
    LEVEL_ORDINAL,
    FourierEncoding,
    GridEncoding,
    InputRecord,
    Layer,
    LayerRecord,
    MultiplyRecord,
    Network,
    PyramidEncoding,
    Record,
    SeededFourierEncoding,
    Tensor,
    TensorRole,
)
from sinrfmt.payload import States, TensorCode, fit_latents, pack
from sinrfmt.registry import (
    KINDS_WITH_OMEGA,
    LEVELS,
    ChunkKind,
    Coding,
    ContextId,
    Coords,
    Dictionary,
    Modality,
    Profile,
    RecordKind,
    Tool,
    Values,
)
from sinrfmt.sparse import SparseCode, Vectors, vectors_shape
from sinrfmt.tables import UNIT_STEP, Prior
from sinrfmt.wire import Fault

SIGNATURE = b"SIN\xd2"
HEAD, PASS, INDX, META, HASH = 0x01, 0x02, 0x83, 0xA4, 0x85
LAST = 0x10
STEP = [(0, 1), (20, 7)]
"""A step by itself: code 700."""
LAYER_KINDS = [RecordKind(kind) for kind in range(1, 8)]
"""Kinds with h = act(omega * (W x + b))."""
LAST_KINDS = [*LAYER_KINDS, RecordKind.FINER]


def fixed(max_examples: int) -> settings:
    """The one hypothesis profile of these tests: the same examples in every run."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(derandomize=True, deadline=None, max_examples=max_examples, suppress_health_check=checks)


# --- bytes by the text -----------------------------------------------------------------------------------------------


def crc8(data: bytes) -> int:
    """CNV-5 as polynomial division: the remainder of data * x^8."""
    remainder = int.from_bytes(data, "big") << 8
    for shift in reversed(range(8 * len(data))):
        if remainder >> (shift + 8) & 1:
            remainder ^= 0x107 << shift
    return remainder


def chunk(kind: int, payload: bytes, start_crc: int = 0) -> bytes:
    """Clause 5.2."""
    header = bytes([kind]) + len(payload).to_bytes(3, "little")
    header += bytes([crc8(header)])
    return header + payload + zlib.crc32(header + payload, start_crc).to_bytes(4, "little")


def seal(chunks: Sequence[tuple[int, bytes]], *, mark_last: bool = True) -> bytes:
    """A file of (type, payload); bit 4 is set in the last type only."""
    data, start = SIGNATURE, 0
    for position, (kind, payload) in enumerate(chunks):
        is_last = mark_last and position == len(chunks) - 1
        framed = chunk(kind & ~LAST | (LAST if is_last else 0), payload, start)
        start = start or int.from_bytes(framed[-4:], "little")
        data += framed
    return data


def split(data: bytes) -> list[tuple[int, bytes]]:
    """(type, payload) of every chunk of a valid file."""
    at, chunks = 4, []
    while at < len(data):
        length = int.from_bytes(data[at + 1 : at + 4], "little")
        chunks.append((data[at], data[at + 5 : at + 5 + length]))
        at += length + 9
    return chunks


def payload_offset(data: bytes, position: int) -> int:
    """Offset in the file of the payload of chunk ``position``."""
    return 4 + sum(len(payload) + 9 for _, payload in split(data)[:position]) + 5


def bit_string(*fields: tuple[int, int]) -> bytes:
    """(value, bits) LSB first, padded with zero bits (CNV-3)."""
    digits = "".join(f"{value & (1 << n) - 1:0{n}b}"[::-1] for value, n in fields if n)
    return int(digits[::-1] or "0", 2).to_bytes((len(digits) + 7) // 8, "little")


def meta_payload(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(bytes([len(k)]) + k + len(v).to_bytes(2, "little") + v for k, v in pairs)


def pass_payload(
    table: Sequence[tuple[int, int]],
    body: bytes = b"",
    acc: Sequence[int] = (),
    *,
    flags: int = 0x08,
    index: int = 0,
    acc_crc: int | None = None,
) -> bytes:
    """A PASS payload by clause 7, of (value, bits) of the table's fields; ``acc_crc`` is by default that of ``acc``."""
    crc = zlib.crc32(b"".join((a & 0xFFFFFFFF).to_bytes(4, "little") for a in acc)) if acc_crc is None else acc_crc
    return bytes([flags, index]) + crc.to_bytes(4, "little") + bit_string(*table) + body


def assert_error(name: str, offset: int | None, call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """``call`` raises the coded error ``name`` at ``offset``."""
    with pytest.raises(SinrError) as caught:
        call(*arguments, **options)
    assert (caught.value.name, caught.value.offset) == (name, offset), str(caught.value)


def assert_fault(name: str, offset: int, call: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """``call`` raises the fault ``name`` at ``offset`` of a payload."""
    with pytest.raises(Fault) as caught:
        call(*arguments, **options)
    assert (caught.value.name, caught.value.offset) == (name, offset), str(caught.value)


# --- files by the library --------------------------------------------------------------------------------------------


def file_of(network: Network, *passes: bytes, **fields: Any) -> bytes:
    """A file of passes by the text, under a header by the library."""
    header = header_of(network, n_passes=len(passes), **fields)
    return seal([(HEAD, build_head(header)), *((PASS, one) for one in passes)])


def assert_pass_error(name: str, after: int, network: Network, *passes: bytes, **fields: Any) -> None:
    """Decoding fails with ``name``, ``after`` bytes into the payload of the last pass."""
    data = file_of(network, *passes, **fields)
    assert_error(name, payload_offset(data, len(passes)) + after, sinrfmt.loads, data)


@dataclass(frozen=True)
class Made:
    """A file and what it was made of: the tensors after every pass."""

    data: bytes
    header: Header
    states: tuple[States, ...]


def siren(depth: int = 2, width: int = 5, in_dims: int = 2, out_channels: int = 3, **options: Any) -> Network:
    """``depth`` equal sine layers and a linear one."""
    hidden = LayerRecord(RecordKind.SINE, width, depth, 30.0, **options)
    return Network(in_dims, out_channels, (hidden, LayerRecord(RecordKind.LINEAR, out_channels, **options)))


def nerf(**options: Any) -> Network:
    """A small NeRF: position and direction to density and colour, with a skip (Mildenhall et al., 2020)."""
    position = InputRecord(0, 3, FourierEncoding(3, include_input=True))
    direction = InputRecord(3, 3, FourierEncoding(2, include_input=True, times_pi=False))
    relu = LayerRecord(RecordKind.RELU, 7, **options)
    density = LayerRecord(RecordKind.RELU, 1, is_output=True, **options)
    feature, last = LayerRecord(RecordKind.LINEAR, 7, **options), LayerRecord(RecordKind.SIGMOID, 3, **options)
    records = (position, replace(relu, repeat=2), position, relu, density, feature, direction, relu, last)
    return Network(6, 4, records)


def bacon(**options: Any) -> Network:
    """A small BACON: filters, and outputs of two resolutions (Lindell et al., 2022)."""
    first = LayerRecord(RecordKind.SINE, 6, omega=2.0, **options)
    linear = LayerRecord(RecordKind.LINEAR, 6, **options)
    filters = [LayerRecord(RecordKind.FILTER, 0, omega=omega, **options) for omega in (3.0, 7.5)]
    coarse = LayerRecord(RecordKind.LINEAR, 2, is_output=True, **options)
    records = (first, linear, filters[0], coarse, linear, filters[1], LayerRecord(RecordKind.LINEAR, 2, **options))
    return Network(2, 4, records)


def wire(**options: Any) -> Network:
    """A small WIRE: the second layer is complex, the third is not (Saragadam et al., 2023)."""
    gabor = LayerRecord(RecordKind.GABOR, 4, omega=1.5, scale=0.75, **options)
    coarse = LayerRecord(RecordKind.LINEAR, 1, is_output=True, **options)
    axis = InputRecord(1, 1)
    last = LayerRecord(RecordKind.LINEAR, 3, **options)
    return Network(2, 4, (gabor, coarse, replace(gabor, width=5, omega=2.0), axis, gabor, last))


def finer(**options: Any) -> Network:
    """A small FINER (Liu et al., 2024)."""
    records = (LayerRecord(RecordKind.FINER, 6, 2, 3.0, **options), LayerRecord(RecordKind.LINEAR, 3, **options))
    return Network(2, 3, records)


def products(**options: Any) -> Network:
    """Products with the outputs of earlier layers: of one of equal layers, of a filter, of an OUTPUT, of the first."""
    waves, linear = (LayerRecord(kind, 6, **options) for kind in (RecordKind.SINE, RecordKind.LINEAR))
    filter_ = LayerRecord(RecordKind.FILTER, 0, omega=3.0, **options)
    aside = LayerRecord(RecordKind.TANH, 6, is_output=True, **options)
    records = (
        waves,
        replace(linear, repeat=2),
        MultiplyRecord(1),
        filter_,
        MultiplyRecord(3),
        aside,
        MultiplyRecord(4),
    )
    again = (MultiplyRecord(0), linear, MultiplyRecord(0), LayerRecord(RecordKind.LINEAR, 2, **options))
    return Network(2, 8, (*records, *again))


PUBLISHED = {"nerf": nerf, "bacon": bacon, "wire": wire, "finer": finer, "products": products}
"""Networks that need more than a chain of layers, most of them by the names of their papers."""


def header_of(network: Network, **fields: Any) -> Header:
    """A header of the lowest level, with a seed if the network needs one."""
    encoding = network.input_encoding
    default_grid = (4, 6)[: network.in_dims] if network.in_dims <= 2 else ()
    grid = fields.pop("grid", encoding.grid if isinstance(encoding, PyramidEncoding) else default_grid)
    seeded = any(r.prior or r.tool is Tool.SPARSE for r in network.coded_records)
    needs_seed = seeded or isinstance(network.input_encoding, SeededFourierEncoding)
    defaults: dict[str, Any] = {
        "modality": Modality.FIELD,
        "seed": 7 if needs_seed else None,
        "level": lowest_level(network, grid),
        "profile": Profile.MAIN,
    }
    return Header(network, grid=grid, **(defaults | fields))


def costly_forms(values: NDArray[np.int32]) -> tuple[Any, float]:
    """As ``payload.fit_latents``, but whatever the form is, a context is cheaper."""
    parameters, bits = fit_latents(values)
    return parameters, np.inf if bits else 0.0


def make_file(
    header: Header,
    codings: Sequence[tuple[Coding, int]],
    *,
    seed: int = 0,
    scale: float = 20.0,
    n_bits: int = 2,
    base: Made | None = None,
    favours_context: bool = False,
) -> Made:
    """A file of random integers with one pass for each (coding, log2_lanes), relative to ``base`` if there is one."""
    rng = np.random.default_rng(seed)
    header = replace(header, n_passes=len(codings))
    chunks: list[tuple[ChunkKind, bytes]] = []
    before: States | None = None
    if base is not None:
        header = replace(header, base_digest=state_digest(base.states[-1]))
        before = states_from(Base(base.header, base.states[-1]), header)
    states: list[States] = []
    for index, (coding, log2_lanes) in enumerate(codings):
        before = states[-1] if states else before
        codes = random_codes(header.tensors, rng, scale, n_bits, before)
        with patch("sinrfmt.payload.fit_latents", costly_forms if favours_context else fit_latents):
            payload, after = pack(codes, header, coding=coding, log2_lanes=log2_lanes, index=index, before=before)
        chunks.append((ChunkKind.PASS, payload))
        states.append(after)
    data = build_file(build_head(header), chunks)
    level = next(level for level in LEVELS.values() if level.file_bytes >= len(data) and level.id >= header.level.id)
    if level != header.level:
        header = replace(header, level=level)
        data = build_file(build_head(header), chunks)
    return Made(data, header, tuple(states))


def random_codes(
    tensors: Sequence[Tensor], rng: np.random.Generator, scale: float, n_bits: int, before: States | None
) -> list[TensorCode]:
    """Codes of one pass: of latents the next few levels, of other tensors what the pass may code."""
    coded = {state.tensor.ordinal for state in before or () if state.is_coded}
    n_coded = sum(ordinal >= LEVEL_ORDINAL for ordinal in coded)
    next_levels = range(LEVEL_ORDINAL + n_coded, LEVEL_ORDINAL + n_coded + int(rng.integers(1, 5)))
    codes = []
    for tensor in tensors:
        if tensor.role is TensorRole.LATENT:
            if tensor.ordinal in next_levels:
                codes.append(TensorCode(tensor, laplace(rng, scale, tensor.size)))
        elif tensor.role is TensorRole.CONTEXT:
            if before is None:
                codes.append(context_code(tensor, rng))
        else:
            code = (base_code if before is None else refined_code)(tensor, rng, scale, n_bits)
            codes += [] if code is None else [code]
    return codes


def context_code(tensor: Tensor, rng: np.random.Generator) -> TensorCode:
    """Weights of a random context network; its scales are about those of the latents that :func:`laplace` makes."""
    values = rng.integers(-40, 41, tensor.size).astype(np.int32)
    return TensorCode(tensor, values, UNIT_STEP - 8 * int(rng.integers(5, 12)))


def base_code(tensor: Tensor, rng: np.random.Generator, scale: float, _: int = 0) -> TensorCode:
    record = tensor.record
    if record.tool is Tool.RAW:
        numbers = rng.normal(0, 1, tensor.size)
        patterns = numbers.astype(np.float16).view(np.uint16) if record.half else numbers.astype(np.float32)
        return TensorCode(tensor, patterns.view(np.int32) if not record.half else patterns.astype(np.int32))
    # A sum of many atoms has to stay below 2^31 through all refinements.
    sparse = sparse_code(tensor.matrix_shape, rng, min(scale, 1000.0)) if tensor.is_sparse else None
    values = laplace(rng, scale, 0 if tensor.is_sparse else tensor.size)
    rows = None
    if record.row_steps and not tensor.is_bias and rng.integers(4):
        rows = rng.integers(-20, 21, tensor.shape[0]).astype(np.int16)
    prior = None
    if record.prior and rng.integers(4):
        multiplier = int(rng.integers(1 << 15, 1 << 16)) & (-1 if rng.integers(2) else ~0xFF)
        prior = Prior(multiplier, int(rng.integers(20, 39)))
    return TensorCode(tensor, values, int(rng.integers(200, 1000)), rows, prior, sparse=sparse)


def laplace(rng: np.random.Generator, scale: float, *shape: int) -> NDArray[np.int32]:
    return np.rint(rng.laplace(0, scale, shape) if scale else np.zeros(shape)).astype(np.int32)


def sparse_code(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    scale: float = 20.0,
    *,
    vectors: int | None = None,
    n_atoms: int | None = None,
    n_nonzero: int | None = None,
) -> SparseCode:
    """A random sparse code of a matrix (out, in); what is not given is random too."""
    vectors = int(rng.integers(len(Vectors))) if vectors is None else vectors
    n_vectors, k1 = vectors_shape(vectors, shape)
    n_atoms = int(rng.integers(1, 200)) if n_atoms is None else n_atoms
    n_nonzero = int(rng.integers(min(k1, n_atoms, 20) + 1)) if n_nonzero is None else n_nonzero
    atoms = np.array([sorted(rng.choice(n_atoms, n_nonzero, replace=False)) for _ in range(n_vectors)], np.int32)
    return SparseCode(vectors, n_atoms, atoms.reshape(n_vectors, n_nonzero), laplace(rng, scale, n_vectors, n_nonzero))


def refined_code(tensor: Tensor, rng: np.random.Generator, _: float, n_bits: int) -> TensorCode | None:
    """None for tensors that this pass leaves alone."""
    if tensor.record.tool is Tool.RAW or not rng.integers(4):
        return None
    if tensor.is_sparse:
        return TensorCode(
            tensor, refine_bits=int(rng.integers(n_bits + 1)), sparse=sparse_code(tensor.matrix_shape, rng, 1.0)
        )
    values = rng.integers(-(1 << n_bits - 1), (1 << n_bits - 1) + 1, tensor.size).astype(np.int32)
    return TensorCode(tensor, values, refine_bits=n_bits)


def small_file(*codings: tuple[Coding, int], **options: Any) -> Made:
    """A file of 33 parameters, one pass for each coding (one packed pass if there is none)."""
    return make_file(header_of(siren(1)), codings or [(Coding.PACKED, 0)], **options)


def assert_passes_are_announced(field: sinrfmt.Field, n: int, quality: Callable[[sinrfmt.Field], float]) -> None:
    """Every prefix of a file of n passes is better than the one before, and as good as HEAD says."""
    prefixes = [sinrfmt.loads(field.data[:end], partial=True) for end in field.pass_ends]
    found = [quality(prefix) for prefix in prefixes]
    assert len(found) == n and found == sorted(set(found))
    assert field.header.quality == pytest.approx(found, abs=0.0051)


def assert_passes_decode_in_both(data: bytes, n: int) -> None:
    """After each of n passes both decoders have the same weights and values."""
    for index in range(n):
        ours = sinrfmt.loads(data, passes=index + 1)
        theirs = reference_decoder.decode(data, passes=index + 1)
        assert theirs.weights_sha256 == ours.weights_sha256
        np.testing.assert_allclose(theirs.grid(), ours.grid(), atol=1e-4)


def assert_decodes(made: Made, **options: Any) -> sinrfmt.Field:
    """The file gives the integers and steps it was made of."""
    field = sinrfmt.loads(made.data, **options)
    for found, expected in zip(field.states, made.states[-1], strict=True):
        np.testing.assert_array_equal(found.acc, expected.acc)
        assert (found.step, found.tensor.ordinal) == (expected.step, expected.tensor.ordinal)
        assert (found.row_steps is None) == (expected.row_steps is None)
        assert found.row_steps is None or found.row_steps.tolist() == expected.row_steps.tolist()  # type: ignore[union-attr]
    return field


# --- hypothesis ------------------------------------------------------------------------------------------------------

BINARY32 = st.floats(2.0**-20, 2.0**20, width=32).filter(lambda v: not v.is_integer() or v > 255)
OMEGAS = st.one_of(st.integers(1, 255).map(float), BINARY32)
BASES = st.one_of(st.integers(2, 255).map(float), BINARY32)
ALL_CODINGS = st.one_of(
    st.sampled_from([(coding, 0) for coding in Coding]), st.sampled_from([(Coding.RANS, n) for n in range(6, 13)])
)


@st.composite
def records(
    draw: st.DrawFn, width: int | None = None, *, is_output: bool = False, is_filter: bool = False
) -> LayerRecord:
    """A layer; one of the last record where there is a width, of OUTPUT or of FILTER if it is said so."""
    can_repeat = width is None and not is_output and not is_filter
    kinds = [*LAST_KINDS, RecordKind.GABOR] if can_repeat else LAST_KINDS
    kind = RecordKind.FILTER if is_filter else draw(st.sampled_from(kinds))
    tool = draw(st.sampled_from([Tool.SCALAR, Tool.SCALAR, Tool.TRELLIS, Tool.SPARSE, Tool.RAW]))
    widths = st.just(0) if is_filter else st.integers(1, 12) if width is None else st.just(width)
    return LayerRecord(
        kind=kind,
        width=draw(widths),
        repeat=draw(st.integers(1, 3)) if can_repeat else 1,
        omega=draw(OMEGAS) if kind in KINDS_WITH_OMEGA else 1.0,
        tool=tool,
        prior=tool is not Tool.RAW and draw(st.booleans()),
        row_steps=tool is not Tool.RAW and draw(st.booleans()),
        bias=draw(st.booleans()),
        half=tool is Tool.RAW and draw(st.booleans()),
        scale=draw(SCALES) if kind is RecordKind.GABOR else 1.0,
        is_output=is_output,
    )


SCALES = st.floats(2.0**-10, 8, width=32)
FOURIERS = st.builds(
    FourierEncoding,
    octaves=st.integers(1, 32),
    base=BASES,
    include_input=st.booleans(),
    times_pi=st.booleans(),
).filter(lambda encoding: encoding.base ** (encoding.octaves - 1) < 2.0**64)  # HED-12
ENCODINGS = st.one_of(
    st.none(), FOURIERS, st.builds(SeededFourierEncoding, n_features=st.integers(1, 20), scale=SCALES)
)


@st.composite
def inputs(draw: st.DrawFn, in_dims: int) -> InputRecord:
    first = draw(st.integers(0, in_dims - 1))
    return InputRecord(first, draw(st.integers(1, in_dims - first)), draw(st.none() | FOURIERS))


@st.composite
def coding_records(draw: st.DrawFn, kind: RecordKind) -> LayerRecord:
    """How the weights of a grid record are coded."""
    record = draw(records(width=1))
    has_bias = record.bias or kind is RecordKind.PYRAMID
    return replace(record, kind=kind, omega=1.0, bias=has_bias)


@st.composite
def grids(draw: st.DrawFn, in_dims: int) -> GridEncoding:
    n_axes = draw(st.integers(1, min(in_dims, 4)))
    return GridEncoding(
        resolutions=tuple(draw(st.lists(st.tuples(*[st.integers(1, 5)] * n_axes), min_size=1, max_size=4))),
        latent_dim=draw(st.integers(1, 3)),
        feature_dim=draw(st.integers(1, 3)),
        log2_table_size=draw(st.integers(0, 5)),
        summed=draw(st.booleans()),
        append_input=draw(st.booleans()),
        decoder_per_level=draw(st.booleans()),
        record=draw(coding_records(RecordKind.GRID)),
    )


@st.composite
def pyramids(draw: st.DrawFn, in_dims: int) -> PyramidEncoding:
    axes = tuple(sorted(draw(st.sets(st.integers(0, in_dims - 1), min_size=1))))
    context = draw(st.sampled_from(ContextId))
    if context is not ContextId.FACTORISED:
        axes = (in_dims - 2, in_dims - 1)
    return PyramidEncoding(
        grid=draw(st.tuples(*[st.integers(1, 9)] * in_dims)),
        n_levels=draw(st.integers(1, 5)),
        axes=axes,
        filter_numbers=draw(st.integers(1, 8)),
        shared_filter=draw(st.booleans()),
        context=context,
        context_width=draw(st.integers(1, 8)) * 4 if context else 4,
        context_hidden=draw(st.integers(0, 3)) if context else 0,
        record=draw(coding_records(RecordKind.PYRAMID)),
    )


@st.composite
def networks(draw: st.DrawFn) -> Network:
    in_dims = draw(st.integers(1, 8))
    any_record: st.SearchStrategy[Record] = st.one_of(
        records(), records(), inputs(in_dims), records(is_output=True), records(is_filter=True)
    )
    hidden = draw(st.lists(any_record, max_size=4))
    encodings = [ENCODINGS, grids(in_dims)] + ([pyramids(in_dims)] if 2 <= in_dims <= 4 else [])
    encoding = draw(st.one_of(encodings))
    if encoding is None and hidden and isinstance(hidden[0], InputRecord) and hidden[0].count == in_dims:
        del hidden[0]  # HED-13
        hidden = [] if hidden and isinstance(hidden[0], InputRecord) else hidden
    out_channels = draw(st.integers(1, 6))
    n_outputs = sum(record.width for record in hidden if isinstance(record, LayerRecord) and record.is_output)
    last = [draw(records(width=out_channels))]
    if isinstance(encoding, PyramidEncoding):
        kinds = draw(st.lists(st.sampled_from([RecordKind.CONV, RecordKind.CONV_RELU]), max_size=2))
        last += [replace(draw(records(width=out_channels)), kind=kind, omega=1.0) for kind in kinds]
    network = Network(in_dims, out_channels + n_outputs, (*hidden, *last), encoding)
    products = draw(multiplies(replace(network, records=tuple(hidden)))) if hidden else []
    return replace(network, records=(*hidden, *products, *last))


@st.composite
def multiplies(draw: st.DrawFn, before: Network) -> list[MultiplyRecord]:
    """None, or some by layers with as many outputs as there are current values behind the records of a network."""
    width = before.input_width
    for step in before.steps:
        if isinstance(step, InputRecord):
            width += step.n_out
        elif isinstance(step, Layer) and not step.record.is_output:
            width = step.n_out
    fitting = [layer.index for layer in before.layers if layer.n_out == width]
    numbers = draw(st.lists(st.sampled_from(fitting), max_size=2)) if fitting else []
    return [MultiplyRecord(number) for number in numbers]


@st.composite
def dictionaries(draw: st.DrawFn, network: Network) -> Dictionary:
    """Any law where a layer uses tool SPARSE, else law 0 (HED-9)."""
    is_sparse = any(record.tool is Tool.SPARSE for record in network.coded_records)
    return draw(st.sampled_from(Dictionary)) if is_sparse else Dictionary.RADEMACHER


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float]:
    low = draw(st.floats(-100, 100, width=32))
    return low, draw(st.floats(101, 1000, width=32))


@st.composite
def headers(draw: st.DrawFn) -> Header:
    network = draw(networks())
    n, n_passes = network.in_dims, draw(st.integers(1, 255))
    coords = draw(st.sampled_from(Coords))
    is_pyramid = isinstance(network.input_encoding, PyramidEncoding)
    sides = st.integers(1, 70000) if n == 1 else st.integers(1, 5)
    header = header_of(
        network,
        **({} if is_pyramid else {"grid": draw(st.one_of(st.just(()), st.tuples(*[sides] * n)))}),
        modality=draw(st.sampled_from(Modality)),
        coords=coords,
        values=draw(st.sampled_from(Values)),
        n_passes=n_passes,
        box=draw(st.tuples(*[boxes()] * n)) if coords is Coords.BOX else None,
        quality=draw(st.none() | st.lists(st.integers(0, 65535), min_size=n_passes, max_size=n_passes)),
        profile=draw(st.sampled_from(Profile)),
        version_minor=draw(st.integers(0, 15)),
        dictionary=draw(dictionaries(network)),
    )
    if header.quality is not None and 2 * n_passes > 255:
        header = replace(header, quality=None)
    if header.quality is not None:
        header = replace(header, quality=tuple(q / 100 for q in header.quality))
    if header.seed is not None:
        header = replace(header, seed=draw(st.integers(0, (1 << 64) - 1) | st.integers(0, (1 << 32) - 1)))
    return header


@st.composite
def files(draw: st.DrawFn, max_passes: int = 3) -> Made:
    """Files of one to three passes in all codings, lanes, tools and forms."""
    network = draw(networks())
    return make_file(
        header_of(network, dictionary=draw(dictionaries(network))),
        draw(st.lists(ALL_CODINGS, min_size=1, max_size=max_passes)),
        seed=draw(st.integers(0, 1 << 32)),
        scale=draw(st.sampled_from([0.0, 0.3, 20.0, 3000.0, 1e5])),
        n_bits=draw(st.integers(1, 3)),
        favours_context=draw(st.booleans()),
    )
