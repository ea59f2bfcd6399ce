"""One PASS chunk: its payload to tensor states, and integers to its payload.

Specification: clauses 7.2 to 7.5, 9.5, 9.6.3, 10.1, 10.6 and 11. ``unpack`` checks in the order of clause 7; ``pack``
mirrors it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sinrfmt import bits, codecs, tables
from sinrfmt.container import PassHeader, build_pass_header
from sinrfmt.contexts import ACC_LIMIT as CONTEXT_ACC_LIMIT
from sinrfmt.contexts import (
    CodedRun,
    ContextNetwork,
    ContextTensor,
    LevelContext,
    Plane,
    code_level,
    decode_level,
    encode_level,
    level_bits,
)
from sinrfmt.entropy import decode_values, encode_values
from sinrfmt.faults import error
from sinrfmt.head import Header
from sinrfmt.model_fit import (
    fit_model,
    fit_one_sided,
    fit_table,
    fit_trellis_model,
    table_cost_bits,
    trellis_cost_bits,
    values_cost_bits,
)
from sinrfmt.models import (
    PROBABILITY_BITS,
    ContextForm,
    LatentParameters,
    Model,
    ModelParameters,
    StreamFault,
    TableModel,
    ZeroModel,
    bitmap_symbols,
)
from sinrfmt.network import LEVEL_ORDINAL, PyramidEncoding, Tensor, TensorRole
from sinrfmt.rans import OneLaneDecoder, StreamDecoder, StreamEncoder, open_stream
from sinrfmt.registry import Coding, ContextId, Tool
from sinrfmt.sparse import SparseCode, accumulate, atoms_of_gaps, check_atoms, gaps_of
from sinrfmt.tables import STEP_LAST, UNIT_STEP, Entry, LowestSteps, Prior, SparseTable, ValueParameters, Width
from sinrfmt.trellis import low_bits, reconstruct, states_of
from sinrfmt.weights import ACC_LIMIT, Acc, TensorState, acc_crc, add_prior, refine
from sinrfmt.wire import Fault

PARAMETERS_LIMIT = 1 << 28  # LIMIT_CALLER: 4 GiB of tensors and what is made of them

States = tuple[TensorState, ...]
BLOCK = 1 << 16


# --- decoding --------------------------------------------------------------------------------------------------------


def unpack(
    payload: bytes, pass_header: PassHeader, header: Header, before: States | None, n_symbols: int
) -> tuple[States, int]:
    """Apply one PASS chunk.

    Args:
        payload: of the chunk, sub-header included.
        pass_header: its sub-header, parsed.
        header: of the file; with parts, of the chunk (:meth:`Header.of_chunk`).
        before: the tensors after the pass before it, those of the base for pass 0 of a file that has one, or None; with
            parts, of a part, the shared ones first.
        n_symbols: symbols of the file before it (TAB-5).

    Returns:
        The tensors after it in table order, and the symbols so far.

    Raises:
        Fault: the offset is in the payload.
    """
    entries, body = _parse_table(payload, pass_header, header, _lowest_steps(before))
    known = _Known(header, before or ())
    n_symbols += header.n_parameters + sum(entry.n_own_symbols for entry in entries)
    if n_symbols > header.level.symbols:
        message = f"{n_symbols} symbols, level {header.level.id} allows {header.level.symbols}"
        raise Fault("LIMIT_SYMBOLS", message, offset=pass_header.n_bytes, path="table")
    check_parameters(header)
    try:
        lists = list(_values(payload, body, entries, pass_header, known))
        lists.reverse()
        # Lists go as their integers come: of a sparse code both are large.
        states = [_apply(entry, lists.pop(), header, before, pass_header.log2_lanes) for entry in entries]
    except StreamFault as fault:
        raise Fault(fault.name, str(fault), offset=body, path="body") from None
    except Fault as fault:
        raise Fault(fault.name, fault.message, offset=max(fault.offset, body), path="body") from None
    crc = acc_crc(state.acc for state in states)
    if crc != pass_header.acc_crc:
        raise Fault("ACC_CRC_MISMATCH", f"found {pass_header.acc_crc:08x}, weights give {crc:08x}", offset=2)
    return _merged(states, header, before), n_symbols


def check_parameters(header: Header) -> None:
    """LIM-3, before anything of the network's size is made.

    Raises:
        LimitError: LIMIT_CALLER.
    """
    if header.n_parameters > PARAMETERS_LIMIT:
        raise error("LIMIT_CALLER", f"{header.n_parameters} parameters, over {PARAMETERS_LIMIT}")


def uncoded(header: Header) -> States:
    """The tensors before any pass."""
    return tuple(map(_uncoded, header.tensors))


def _merged(states: Sequence[TensorState], header: Header, before: States | None) -> States:
    """All tensors after a pass that gives ``states``: what it does not code stays, or is all zeros."""
    changed = {state.tensor.ordinal: state for state in states}
    if before is not None:
        return tuple(changed.get(state.tensor.ordinal, state) for state in before)
    return tuple(changed.get(tensor.ordinal) or _uncoded(tensor) for tensor in header.tensors)


def _uncoded(tensor: Tensor) -> TensorState:
    return TensorState(tensor, np.zeros(tensor.size, dtype=np.int32), UNIT_STEP, is_coded=False)


def _parse_table(
    payload: bytes, pass_header: PassHeader, header: Header, lowest_steps: LowestSteps
) -> tuple[list[Entry], int]:
    return tables.parse(
        payload,
        pass_header.n_bytes,
        header.tensors_of(pass_header.index),
        pass_header.coding,
        lowest_steps,
        log2_lanes=pass_header.log2_lanes,
    )


def coded_bits(
    payload: bytes, pass_header: PassHeader, header: Header, states: States, coded: Collection[int]
) -> Iterator[tuple[Entry, float]]:
    """(entry, bits of the coded values) of every tensor of a PASS chunk that was decoded before.

    For coding RANS the cost under the models, for the others the width times the number of values.

    Args:
        payload: of the chunk.
        pass_header: its sub-header.
        header: of the file.
        states: the tensors after this pass or a later one.
        coded: ordinals of the tensors that earlier passes coded, or the base.
    """
    entries, body = _parse_table(payload, pass_header, header, tables.checked_steps(coded))
    known = _Known(header, states)
    for entry, (rows, values) in zip(entries, _values(payload, body, entries, pass_header, known), strict=True):
        row_bits = 0.0 if rows is None or entry.row_steps is None else _list_bits(entry.row_steps, rows)
        if entry.latents and not isinstance(values, SparseCode):
            yield entry, _latent_bits(entry, values, known)
        else:
            yield entry, row_bits + _value_bits(entry, values, pass_header.log2_lanes)


def _latent_bits(entry: Entry, values: Acc, known: "_Known") -> float:
    if isinstance(entry.latents[0], ContextForm):
        return level_bits(known.code(entry.tensor, values))
    columns = values.reshape(-1, entry.tensor.n_lists).T
    return sum(_column_bits(parameters, column) for parameters, column in zip(entry.latents, columns, strict=True))


def _column_bits(parameters: LatentParameters, values: Acc) -> float:
    assert not isinstance(parameters, ContextForm)
    if isinstance(parameters, TableModel):
        return table_cost_bits(values, parameters)
    return values_cost_bits(values, parameters.model())


class _Known:
    """What context coding needs of a file: its context tensors, and the latents known so far."""

    def __init__(self, header: Header, states: Sequence[TensorState]) -> None:
        self._tensors = {tensor.ordinal: tensor for tensor in (*(s.tensor for s in states), *header.tensors)}
        encoding = header.network.input_encoding
        self._context = encoding.context if isinstance(encoding, PyramidEncoding) else ContextId.FACTORISED
        self._accs: dict[int, tuple[Acc, int]] = {}
        self._network: ContextNetwork | None = None
        for state in states:
            self.add(state.tensor, state.acc, state.step)

    def add(self, tensor: Tensor, acc: Acc, step: int | None) -> None:
        """A tensor was read.

        Raises:
            StreamFault: ACC_OVERFLOW (GRD-8).
        """
        if self._context is ContextId.FACTORISED or tensor.role is TensorRole.LAYER:
            return
        assert step is not None
        if tensor.role is TensorRole.CONTEXT and np.abs(acc).max(initial=0) >= CONTEXT_ACC_LIMIT:
            raise StreamFault("ACC_OVERFLOW", "an integer of the context network is not below 2^11 in magnitude")
        self._accs[tensor.ordinal] = (acc, step)

    def decode(self, stream: StreamDecoder, tensor: Tensor) -> Acc:
        """The latents of a level with form CONTEXT."""
        own = Plane.of(np.zeros(tensor.size, dtype=np.int32), tensor.shape)
        return decode_level(stream, self._level(tensor, own), own)

    def code(self, tensor: Tensor, latents: Acc) -> list[CodedRun]:
        """What form CONTEXT codes for the latents of a level."""
        return code_level(self._level(tensor, Plane.of(latents, tensor.shape)), latents)

    def _level(self, tensor: Tensor, own: Plane) -> LevelContext:
        coarser = [self._plane(tensor.ordinal - generations) for generations in (1, 2, 3)]
        return LevelContext(self._context_network(), self._context, tensor.ordinal - LEVEL_ORDINAL, own, coarser)

    def _plane(self, ordinal: int) -> Plane | None:
        if ordinal < LEVEL_ORDINAL:
            return None
        return Plane.of(self._accs[ordinal][0], self._tensors[ordinal].shape)

    def _context_network(self) -> ContextNetwork:
        if self._network is None:
            chosen = {
                t.name.removeprefix("context."): t for t in self._tensors.values() if t.role is TensorRole.CONTEXT
            }
            self._network = ContextNetwork({name: self._context_tensor(tensor) for name, tensor in chosen.items()})
        return self._network

    def _context_tensor(self, tensor: Tensor) -> ContextTensor:
        acc, step = self._accs[tensor.ordinal]
        return ContextTensor(acc.reshape(tensor.shape), (UNIT_STEP - step) // 8)


def _value_bits(entry: Entry, values: "Acc | SparseCode", log2_lanes: int) -> float:
    if entry.values is None:
        return float(entry.tensor.size * _raw_bits(entry.tensor))
    if not isinstance(values, SparseCode):
        if entry.tensor.is_trellis and not isinstance(entry.values, Width):
            return trellis_cost_bits(values, _trellis_states(entry, values, log2_lanes), entry.values.model())
        return _list_bits(entry.values, values)
    assert entry.sparse is not None
    return _atom_bits(entry.sparse, values) + _list_bits(entry.values, values.coefficients)


def _atom_bits(table: SparseTable, code: SparseCode) -> float:
    """Bits of the supports of a sparse code."""
    if table.indices is None:
        return _bitmap_bits(code)
    if isinstance(table.indices, Width):
        return _list_bits(table.indices, code.atoms)
    return values_cost_bits(gaps_of(code.atoms), _gap_model(table.indices))


def _bitmap_bits(code: SparseCode) -> float:
    frequencies = (bitmap_symbols(row, code.n_atoms)[0] for row in code.atoms)
    return sum(float(np.sum(PROBABILITY_BITS - np.log2(f))) for f in frequencies)


def _gap_model(parameters: ValueParameters) -> Model:
    assert not isinstance(parameters, Width)
    return replace(parameters.model(), one_sided=True)


def _list_bits(parameters: ValueParameters, values: Acc) -> float:
    if isinstance(parameters, Width):
        return float(values.size * parameters.n_bits)
    return values_cost_bits(values, parameters.model())


def _lowest_steps(before: States | None) -> LowestSteps:
    return {state.tensor.ordinal: state.lowest_step for state in before or () if state.is_coded}


Lists = tuple[Acc | None, Acc | SparseCode]  # row step differences, values as they are coded


def _integers(entry: Entry, values: Acc | SparseCode, header: Header, log2_lanes: int) -> Acc:
    """What the tool makes of the values (clauses 9.2 to 9.5)."""
    if not isinstance(values, SparseCode):
        return _trellis_integers(entry, values, log2_lanes) if entry.tensor.is_trellis else values
    assert header.seed is not None
    tensor = entry.tensor
    return accumulate(values, tensor.matrix_shape, header.dictionary, tensor.ordinal, header.seed)


def _trellis_states(entry: Entry, values: Acc, log2_lanes: int) -> NDArray[np.uint8]:
    assert entry.values is not None
    model = None if isinstance(entry.values, Width) else entry.values.model()
    return states_of(low_bits(values, model), 1 << log2_lanes)


def _trellis_integers(entry: Entry, values: Acc, log2_lanes: int) -> Acc:
    """r of clause 9.4, written over ``values``."""
    states = _trellis_states(entry, values, log2_lanes)
    for start in range(0, values.size, BLOCK):
        block = slice(start, start + BLOCK)
        r = reconstruct(values[block], states[block])
        if np.abs(r).max() >= ACC_LIMIT:
            raise Fault("ACC_OVERFLOW", "a value of the trellis is not below 2^31 in magnitude")
        values[block] = r
    return values


def _values(payload: bytes, body: int, entries: list[Entry], pass_header: PassHeader, known: _Known) -> Iterator[Lists]:
    if pass_header.coding is Coding.RANS:
        return _rans_values(payload[body:], entries, pass_header.log2_lanes, known)
    return _packed_values(payload, body, entries, pass_header.coding, known)


def _rans_values(data: bytes, entries: list[Entry], log2_lanes: int, known: _Known) -> Iterator[Lists]:
    stream = open_stream(data, log2_lanes)
    for entry in entries:
        rows = None
        if entry.row_steps is not None:
            rows = _rans_list(stream, entry.row_steps, entry.tensor.shape[0])
        if entry.latents:
            values: Acc | SparseCode = _rans_latents(stream, entry, known)
        else:
            values = _rans_tensor(stream, entry)
        if not isinstance(values, SparseCode):
            known.add(entry.tensor, values, entry.step)
        yield rows, values
    stream.finish()


def _rans_latents(stream: StreamDecoder, entry: Entry, known: _Known) -> Acc:
    tensor = entry.tensor
    if isinstance(entry.latents[0], ContextForm):
        return known.decode(stream, tensor)
    latents = np.zeros((tensor.size // tensor.n_lists, tensor.n_lists), dtype=np.int32)
    for column, parameters in zip(latents.T, entry.latents, strict=True):
        if not isinstance(parameters, ZeroModel | ContextForm):
            column[:] = decode_values(stream, column.size, parameters.model())
    return latents.reshape(-1)


def _rans_tensor(stream: StreamDecoder, entry: Entry) -> Acc | SparseCode:
    if entry.sparse is not None:
        return _rans_sparse(stream, entry, entry.sparse)
    if entry.values is None:
        raw = stream.raw(_raw_bits(entry.tensor), entry.tensor.size)
        return raw.astype(np.uint32).view(np.int32)
    return _rans_list(stream, entry.values, entry.tensor.size, trellis=entry.tensor.is_trellis)


def _rans_sparse(stream: StreamDecoder, entry: Entry, table: SparseTable) -> SparseCode:
    assert entry.values is not None
    shape = (entry.n_vectors, table.n_nonzero)
    if table.indices is None:
        assert isinstance(stream, OneLaneDecoder)
        atoms = np.empty(shape, dtype=np.int32)
        for row in atoms:
            row[:] = stream.bitmap(table.n_atoms, table.n_nonzero)
        coefficients = _rans_list(stream, entry.values, entry.n_pairs)
    else:
        gaps = decode_values(stream, entry.n_pairs, _gap_model(table.indices))
        coefficients = _rans_list(stream, entry.values, entry.n_pairs)
        atoms = atoms_of_gaps(gaps.reshape(shape), table.n_atoms)
    return SparseCode(table.vectors, table.n_atoms, atoms, coefficients.reshape(shape))


def _rans_list(stream: StreamDecoder, parameters: ValueParameters, n: int, *, trellis: bool = False) -> Acc:
    assert not isinstance(parameters, Width)
    if isinstance(parameters, ZeroModel):
        return np.zeros(n, dtype=np.int32)
    return decode_values(stream, n, parameters.model(), trellis=trellis)


def _raw_bits(tensor: Tensor) -> int:
    return 16 if tensor.record.half else 32


def _packed_lists(entry: Entry) -> list[tuple[int, int]]:
    """(number of values, bits of each) of every list of an entry."""
    rows = [] if entry.row_steps is None else [(entry.tensor.shape[0], _width(entry.row_steps))]
    if entry.values is None:
        return [(entry.tensor.size, _raw_bits(entry.tensor))]
    if entry.sparse is None:
        return [*rows, (entry.tensor.size, _width(entry.values))]
    return [*rows, (entry.n_pairs, _width(entry.sparse.indices)), (entry.n_pairs, _width(entry.values))]


def _width(parameters: ValueParameters | None) -> int:
    assert isinstance(parameters, Width)
    return parameters.n_bits


def _packed_values(payload: bytes, body: int, entries: list[Entry], coding: Coding, known: _Known) -> Iterator[Lists]:
    n_bits = sum(n * width for entry in entries for n, width in _packed_lists(entry))
    data = _packed_body(payload, body, (n_bits + 7) >> 3, coding)
    if n_bits & 7 and data[-1] >> (n_bits & 7):
        offset = len(payload) - 1 if coding is Coding.PACKED else body
        raise Fault("PADDING_NOT_ZERO", "padding bits of the body must be zero", offset=offset)
    position = 0
    for entry in entries:
        lists = []
        unsigned = _unsigned_list(entry)
        for index, (n, width) in enumerate(_packed_lists(entry)):
            lists.append(bits.unpack_values(data, position, width, n, signed=index != unsigned))
            position += n * width
        rows = lists.pop(0) if entry.row_steps is not None else None
        known.add(entry.tensor, lists[0], entry.step)
        yield rows, lists[0] if entry.sparse is None else _packed_sparse(entry, entry.sparse, *lists)


def _unsigned_list(entry: Entry) -> int | None:
    """Which of its packed lists has no sign: raw numbers, or the indices of a sparse code, after the row steps."""
    has_unsigned = entry.values is None or entry.sparse is not None
    return int(entry.row_steps is not None) if has_unsigned else None


def _packed_sparse(entry: Entry, table: SparseTable, atoms: Acc, coefficients: Acc) -> SparseCode:
    shape = (entry.n_vectors, table.n_nonzero)
    code = SparseCode(table.vectors, table.n_atoms, atoms.reshape(shape), coefficients.reshape(shape))
    check_atoms(code.atoms, table.n_atoms)
    return code


def _packed_body(payload: bytes, body: int, size: int, coding: Coding) -> bytes:
    if coding is not Coding.PACKED:
        return codecs.decompress(coding, payload[body:], size)
    if len(payload) - body < size:
        raise Fault("PAYLOAD_TOO_SHORT", f"the body has {size} bytes", offset=len(payload))
    if len(payload) - body > size:
        raise Fault("SURPLUS_BYTES", f"the body has {size} bytes", offset=body + size)
    return payload[body:]


def _apply(entry: Entry, lists: Lists, header: Header, before: States | None, log2_lanes: int) -> TensorState:
    rows, coded = lists
    row_steps = None if rows is None else _row_codes(entry, rows)
    values = _integers(entry, coded, header, log2_lanes)
    if entry.tensor.role is TensorRole.LATENT:
        return TensorState(entry.tensor, _in_range(values), UNIT_STEP)
    state = next((s for s in before or () if s.tensor.ordinal == entry.tensor.ordinal), None)
    if state is not None and state.is_coded:
        acc = refine(state.acc, entry.refine_bits, values)
        return replace(state, acc=acc, step=state.step - 8 * entry.refine_bits)
    if entry.tensor.record.tool is Tool.RAW:
        return TensorState(entry.tensor, _finite(values, entry.tensor), step=0)
    assert entry.step is not None
    if entry.prior is not None:
        assert header.seed is not None
        values = add_prior(values, entry.prior, entry.tensor.ordinal, header.seed)
    return TensorState(entry.tensor, _in_range(values), entry.step, row_steps)


def _in_range(values: Acc) -> Acc:
    if values.min(initial=0) == np.iinfo(np.int32).min:
        raise Fault("ACC_OVERFLOW", "an integer weight is not below 2^31 in magnitude")
    return values


def _finite(patterns: Acc, tensor: Tensor) -> Acc:
    exponent = 0x7C00 if tensor.record.half else 0x7F800000
    if ((patterns & exponent) == exponent).any():
        raise Fault("NON_FINITE_WEIGHT", f"{tensor.name} has an infinity or a NaN")
    return patterns


def _row_codes(entry: Entry, rows: Acc) -> NDArray[np.int16]:
    assert entry.step is not None
    if int(rows.min()) + entry.step < 0 or int(rows.max()) + entry.step > STEP_LAST:
        raise Fault("STEP_OUT_OF_RANGE", f"row steps around {entry.step} leave 0 to {STEP_LAST}")
    return rows.astype(np.int16)


# --- encoding --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TensorCode:
    """Integers of one tensor to write: ``values`` is int32, flat, C order; bit patterns for tool RAW.

    In the pass in which the tensor begins ``step`` is its step code and ``prior`` what ``values`` is the difference
    from; in a later pass ``refine_bits`` is 1 to 8 and the rest is not used. A weight matrix with tool SPARSE has
    ``sparse`` in place of ``values``, and ``refine_bits`` 0 to 8. Packed values, indices and coefficients have at least
    ``least_width`` bits. With tool TRELLIS ``values`` are the k of clause 9.4; in coding RANS their weights depend on
    the range of the model, so whoever chose the path gives its model as ``parameters``; without, a model is taken in
    which escapes are even. Other tools take ``parameters`` where several lists are to share a model; else it is fitted
    to the values.
    """

    tensor: Tensor
    values: Acc = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    step: int = 0
    row_steps: NDArray[np.int16] | None = None
    prior: Prior | None = None
    refine_bits: int = 0
    sparse: SparseCode | None = None
    least_width: int = 1
    parameters: ModelParameters | None = None

    @property
    def coded_values(self) -> Acc:
        """The values or, of a sparse code, the coefficients."""
        return self.values if self.sparse is None else self.sparse.coefficients.reshape(-1)


def pack(
    codes: Sequence[TensorCode],
    header: Header,
    *,
    coding: Coding = Coding.RANS,
    log2_lanes: int = 0,
    index: int = 0,
    before: States | None = None,
) -> tuple[bytes, States]:
    """The payload of one PASS chunk, and the tensors after it.

    Args:
        codes: in table order; all tensors that begin in the pass, but for a file that has a base, and of the latents
            only those to be coded.
        index: number of the pass.
        before: as for ``unpack``.

    Raises:
        Fault: the integers cannot be written (ACC_OVERFLOW, STEP_OUT_OF_RANGE, BAD_TABLE).
    """
    known = _Known(header, before or ())
    entries, levels = _entries(codes, coding, log2_lanes, known)
    table = tables.build(entries, header.tensors_of(index), _lowest_steps(before))
    if coding is Coding.RANS:
        body = _rans_body(codes, entries, log2_lanes, levels)
    else:
        body = _bits_body(codes, entries, coding)
    states = [
        _apply(
            entry,
            (
                None if code.row_steps is None else code.row_steps.astype(np.int32),
                code.sparse or code.values.copy(),
            ),
            header,
            before,
            log2_lanes,
        )
        for entry, code in zip(entries, codes, strict=True)
    ]
    ends_pass = header.parts is None or header.coded_part == header.parts.count - 1
    crc = acc_crc(state.acc for state in states)
    pass_header = PassHeader(coding, log2_lanes, ends_pass, index, crc, header.coded_part)
    return build_pass_header(pass_header) + table + body, _merged(states, header, before)


def codes(payload: bytes, pass_header: PassHeader, header: Header, before: States) -> tuple[TensorCode, ...]:
    """What a PASS chunk codes, in the form in which :func:`pack` writes it again.

    Args:
        payload: of the chunk.
        pass_header: its sub-header.
        header: as for :func:`unpack`.
        before: as for :func:`unpack`; () for None.

    Raises:
        Fault: the offset is in the payload.
    """
    entries, body = _parse_table(payload, pass_header, header, _lowest_steps(before))
    lists = _values(payload, body, entries, pass_header, _Known(header, before))
    return tuple(_code(entry, rows, values) for entry, (rows, values) in zip(entries, lists, strict=True))


def _code(entry: Entry, rows: Acc | None, values: Acc | SparseCode) -> TensorCode:
    given = entry.values
    code = TensorCode(
        entry.tensor,
        step=entry.step or 0,
        row_steps=None if rows is None else rows.astype(np.int16),
        prior=entry.prior,
        refine_bits=entry.refine_bits,
        least_width=given.n_bits if isinstance(given, Width) else 1,
        parameters=None if isinstance(given, Width) else given,
    )
    return replace(code, sparse=values) if isinstance(values, SparseCode) else replace(code, values=values)


CodedLevels = dict[int, list[CodedRun]]
"""Ordinal to the runs of every level that gets form CONTEXT."""


def _entries(
    codes: Sequence[TensorCode], coding: Coding, log2_lanes: int, known: _Known
) -> tuple[list[Entry], CodedLevels]:
    entries: list[Entry] = []
    levels: CodedLevels = {}
    for code in codes:
        tensor = code.tensor
        if tensor.role is TensorRole.LATENT and coding is Coding.RANS:
            parameters, runs = _latent_parameters(code, known)
            entries.append(Entry(tensor, step=UNIT_STEP, latents=parameters))
            if runs is not None:
                levels[tensor.ordinal] = runs
        else:
            entries.append(_entry(code, coding, log2_lanes))
        if code.sparse is None:
            try:
                known.add(tensor, code.values, code.step)
            except StreamFault as fault:
                raise Fault(fault.name, str(fault)) from None
    return entries, levels


def _latent_parameters(code: TensorCode, known: _Known) -> tuple[tuple[LatentParameters, ...], list[CodedRun] | None]:
    """The cheapest forms of a level's lists, and its runs where that is CONTEXT."""
    columns = code.values.reshape(-1, code.tensor.n_lists).T
    fitted = [fit_latents(column) for column in columns]
    bits = sum(cost for _, cost in fitted)
    if bits > 0 and code.tensor.has_context:
        runs = known.code(code.tensor, code.values)
        if level_bits(runs) < bits:
            return (ContextForm(),), runs
    return tuple(parameters for parameters, _ in fitted), None


def fit_latents(values: Acc) -> tuple[ModelParameters | TableModel, float]:
    """The cheapest form for a list of latents, and the bits of the list together with those of its parameters."""
    parameters, bits = fit_model(values)
    if isinstance(parameters, ZeroModel):
        return parameters, bits
    table = fit_table(values)
    table_total = table_cost_bits(values, table) + tables.table_bits(table)
    return (table, table_total) if table_total < bits else (parameters, bits)


def _entry(code: TensorCode, coding: Coding, log2_lanes: int) -> Entry:
    is_raw = code.tensor.record.tool is Tool.RAW
    return Entry(
        tensor=code.tensor,
        values=None if is_raw else _value_parameters(code, coding, log2_lanes),
        step=code.step,
        row_steps=None if code.row_steps is None else _parameters(code.row_steps, coding),
        prior=code.prior,
        refine_bits=code.refine_bits,
        sparse=None if code.sparse is None else _sparse_table(code.sparse, coding, log2_lanes, code.least_width),
    )


def _value_parameters(code: TensorCode, coding: Coding, log2_lanes: int) -> ValueParameters:
    if coding is not Coding.RANS or not (code.tensor.is_trellis or code.parameters):
        return _parameters(code.coded_values, coding, code.least_width)
    if code.parameters is not None:
        return code.parameters
    return fit_trellis_model(code.values, low_bits(code.values, None), 1 << log2_lanes)[0]


def _parameters(values: NDArray[np.int32] | NDArray[np.int16], coding: Coding, least_width: int = 1) -> ValueParameters:
    if coding is Coding.RANS:
        return fit_model(values)[0]
    return Width(max(bits.signed_width(values.astype(np.int32)), least_width))


def _sparse_table(code: SparseCode, coding: Coding, log2_lanes: int, least_width: int) -> SparseTable:
    check_atoms(code.atoms, code.n_atoms)
    indices: ValueParameters | None = None
    if coding is not Coding.RANS:
        indices = Width(max((code.n_atoms - 1).bit_length(), least_width))
    elif log2_lanes:
        indices = fit_one_sided(gaps_of(code.atoms))[0]
    else:
        gaps, gap_bits = fit_one_sided(gaps_of(code.atoms))
        indices = gaps if gap_bits < _bitmap_bits(code) else None
    return SparseTable(code.vectors, code.n_atoms, code.n_nonzero, indices)


def _rans_body(codes: Sequence[TensorCode], entries: list[Entry], log2_lanes: int, levels: CodedLevels) -> bytes:
    stream = StreamEncoder()
    for code, entry in zip(codes, entries, strict=True):
        if entry.latents:
            _encode_latents(stream, code, entry, levels)
            continue
        if code.row_steps is not None:
            _encode_list(stream, code.row_steps.astype(np.int32), entry.row_steps)
        if entry.values is None:
            stream.raw(code.values.view(np.uint32), _raw_bits(code.tensor))
            continue
        if code.sparse is not None and entry.sparse is not None:
            _encode_atoms(stream, code.sparse, entry.sparse)
        states = _trellis_states(entry, code.values, log2_lanes) if code.tensor.is_trellis else None
        _encode_list(stream, code.coded_values, entry.values, states)
    return stream.encode(log2_lanes)


def _encode_atoms(stream: StreamEncoder, code: SparseCode, table: SparseTable) -> None:
    if table.indices is not None:
        encode_values(stream, gaps_of(code.atoms), _gap_model(table.indices))
        return
    for row in code.atoms:
        stream.bitmap(row, code.n_atoms)


def _encode_latents(stream: StreamEncoder, code: TensorCode, entry: Entry, levels: CodedLevels) -> None:
    if code.tensor.ordinal in levels:
        encode_level(stream, levels[code.tensor.ordinal])
        return
    columns = code.values.reshape(-1, code.tensor.n_lists).T
    for column, parameters in zip(columns, entry.latents, strict=True):
        _encode_list(stream, column, parameters)


def _encode_list(
    stream: StreamEncoder,
    values: Acc,
    parameters: ValueParameters | LatentParameters | None,
    states: NDArray[np.uint8] | None = None,
) -> None:
    assert parameters is not None
    assert not isinstance(parameters, Width | ContextForm)
    if isinstance(parameters, ZeroModel):
        return
    try:
        encode_values(stream, values, parameters.model(), states)
    except ValueError as failure:
        raise Fault("ACC_OVERFLOW", str(failure)) from None


def _bits_body(codes: Sequence[TensorCode], entries: list[Entry], coding: Coding) -> bytes:
    lists = [np.empty(0, np.uint8)]  # a later pass may refine nothing
    for code, entry in zip(codes, entries, strict=True):
        if code.row_steps is not None and entry.row_steps is not None:
            lists.append(bits.value_bits(code.row_steps.astype(np.int32), _width(entry.row_steps)))
        if code.sparse is not None and entry.sparse is not None:
            lists.append(bits.value_bits(code.sparse.atoms, _width(entry.sparse.indices)))
        width = _raw_bits(code.tensor) if entry.values is None else _width(entry.values)
        lists.append(bits.value_bits(code.coded_values, width))
    packed = np.packbits(np.concatenate(lists), bitorder="little").tobytes()
    return packed if coding is Coding.PACKED else codecs.compress(coding, packed)
