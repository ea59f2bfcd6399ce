"""Bytes of a described file, and what a decoder must find in it (clauses 5 to 12)."""

import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import pairwise

from conformance.generate import latents, philox, rans
from conformance.generate.describe import (
    BOX,
    COLUMNS,
    FILTER,
    FOURIER,
    FOURIER_SEEDED,
    GAPS,
    GRID,
    INPUT,
    KINDS,
    LEVEL_ORDINAL,
    MULTIPLY,
    OUTPUT,
    PACKED,
    PARTS,
    PYRAMID,
    RANS,
    RAW,
    ROWS,
    SEEDED,
    SHARED_PART,
    TRELLIS_CODE,
    WIDE,
    WIDTHS,
    WITH_OMEGA,
    ZLIB,
    Ancillary,
    Context,
    Entry,
    File,
    Filter,
    Fourier,
    FourierSeeded,
    Grid,
    Head,
    Input,
    LatentModel,
    Layer,
    Long,
    Model,
    Multiply,
    Output,
    Pass,
    Pyramid,
    Record,
    Same,
    Short,
    SparseCode,
    Table,
    Tensor,
    Zero,
)
from conformance.generate.primitives import (
    BitWriter,
    Mark,
    Section,
    binary16_of,
    binary32_of,
    crc8,
    pack_signed,
    rne32,
    signed_width,
    zlib_fixed,
    zlib_stored,
)

SIGNATURE = b"SIN\xd2"
HEADER_BYTES = 5
TRAILER_BYTES = 4
FRAMING_BYTES = HEADER_BYTES + TRAILER_BYTES
HEAD_TYPE, PASS_TYPE, LAST_CHUNK = 1, 2, 0x10
STEP_MANTISSAS = (8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775)
STEP_EXPONENT = -123
SHORT_STEPS = range(680, 808)
LONG_DIFFERENCE = 15  # table_difference: the code follows
UNIT_STEP = 800  # the step code of latents
DIGEST_BYTES = 16  # of base_digest
AS_BEFORE = 3  # the field vectors of a sparse code that repeats the fields of the one before

Places = dict[str, tuple[int, int]]  # label of a chunk to its offset and its bytes with framing


@dataclass
class TensorState:
    """Integers of one tensor between passes: acc, step code, row differences; bit patterns for tool 0."""

    tensor: Tensor
    acc: list[int]
    step: int = 0
    row_steps: tuple[int, ...] | None = None
    is_coded: bool = False  # latents that a pass has coded

    def weights(self) -> list[float]:
        """All weights as binary32 numbers (clauses 9.1 and 9.2)."""
        if self.tensor.layer.tool == RAW:
            read = binary16_of if self.tensor.layer.half else binary32_of
            return [read(pattern) for pattern in self.acc]
        columns = max(self.tensor.columns, 1)
        steps = [step_of(self.step + d) for d in self.row_steps or (0,) * self.tensor.rows]
        return [rne32(rne32(a) * steps[i // columns]) for i, a in enumerate(self.acc)]

    def begins_in(self, number: int, head: Head) -> bool:
        """Whether this pass codes the tensor as pass 0 codes one (clauses 7.3 and 9.8)."""
        return self.tensor.begins == number and not head.has_base

    def step_codes(self) -> list[int]:
        """One step code, or one for each row; none for tool 0 (clause 9.8)."""
        if self.tensor.layer.tool == RAW:
            return []
        return [self.step] if self.row_steps is None else [self.step + d for d in self.row_steps]


@dataclass
class Built:
    """A file's bytes, the places of its fields, and the state after each pass."""

    data: bytes
    marks: dict[str, Mark]
    acc_crcs: list[int]
    weights: list[list[list[float]]] = field(default_factory=list)  # [pass][tensor][entry]
    weights_sha256: list[str] = field(default_factory=list)
    states: list[TensorState] = field(default_factory=list)  # after the last pass
    n_parts: int = 1  # PASS chunks of a pass

    def chunk_end(self, label: str) -> int:
        """Offset after a chunk's trailer."""
        return self.marks[f"{label}.crc32"].offset + TRAILER_BYTES


def step_of(code: int) -> float:
    """The step of a step code, exact in binary32 (clause 9.1)."""
    return STEP_MANTISSAS[code & 7] * 2.0 ** ((code >> 3) + STEP_EXPONENT)


def step_code(exponent: int) -> int:
    """The code of the step 2^exponent."""
    return 8 * (exponent - STEP_EXPONENT - 23)


# --- HEAD (clause 6) -------------------------------------------------------------------------------


def head_section(head: Head) -> Section:
    """The payload of HEAD."""
    out = Section()
    wide = bool(head.features_required & WIDE)

    def put(name: str, fmt: str, value: float) -> None:
        out.put(name, fmt, head.force.get(name, value))

    put("version", "B", head.version)
    put("profile_level", "B", head.profile << 4 | head.level)
    put("features_required", "H", head.features_required)
    put("features_optional", "B", head.features_optional)
    put("modality", "B", head.modality)
    put("in_dims", "B", head.in_dims)
    put("out_channels", "B", head.out_channels)
    put("coords_values", "B", head.coords | head.values << 4)
    put("n_passes", "B", head.n_passes)
    for axis, size in enumerate(head.grid):
        put("grid" if axis == 0 else f"grid{axis}", "I" if wide else "H", size)
    if head.coords == BOX:
        for name, edges in zip(("low", "high"), head.box, strict=True):
            for axis, edge in enumerate(edges):
                put(name if axis == 0 else f"{name}{axis}", "f", edge)
    if head.features_required & SEEDED:
        put("rng_dictionary", "B", head.rng_dictionary)
        put("seed", "Q" if wide else "I", head.seed)
    put("n_records", "B", len(head.records))
    for i, record in enumerate(head.records):
        out.put_section(f"record{i}.", record_section(record, last=i == len(head.records) - 1))
    _put_parts_and_widths(out, head)
    if head.has_base:
        out.put_bytes("base_digest", head.base_digest or b"")
    for i, block in enumerate(head.optional_blocks):
        out.put(f"block{i}", "B", len(block))
        out.put_bytes(f"block{i}.data", block)
    return out


def _put_parts_and_widths(out: Section, head: Head) -> None:
    """The fields of PARTS and WIDTHS (clause 13)."""
    if head.features_required & PARTS:
        for name, numbers in (("split", head.split), ("overlap", head.overlap)):
            for axis, number in enumerate(numbers):
                out.put(name if axis == 0 else f"{name}{axis}", "H", number)
        out.put("shared", "B", head.force.get("shared", head.shared))
    if head.features_required & WIDTHS:
        for g, widths in enumerate(head.active_widths):
            for i, width in enumerate(widths):
                out.put(f"active_width{g}_{i}", "H", width)


def record_section(record: Record, *, last: bool) -> Section:
    """One layer record (clause 6.4)."""
    out = Section()
    if isinstance(record, Fourier):
        out.put("kind", "B", FOURIER)
        _put_fourier(out, record)
    elif isinstance(record, FourierSeeded):
        out.put("kind", "B", FOURIER_SEEDED)
        out.put("n_features", "H", record.force.get("n_features", record.n_features))
        out.put("scale", "f", record.scale)
    elif isinstance(record, Grid):
        _put_grid(out, record)
    elif isinstance(record, Pyramid):
        _put_pyramid(out, record)
    elif isinstance(record, Input):
        out.put("kind", "B", INPUT)
        out.put("first", "B", record.first)
        out.put("count", "B", record.count)
        out.put("encoding", "B", record.force.get("encoding", FOURIER if record.encoding else 0))
        if record.encoding is not None:
            _put_fourier(out, record.encoding)
    elif isinstance(record, Filter):
        out.put("kind", "B", FILTER)
        _put_tool_flags(out, record.layer)
        _put_ratio(out, "omega", record.layer.omega, 1, record.layer.force)
    elif isinstance(record, Multiply):
        out.put("kind", "B", MULTIPLY)
        out.put("layer", "B", record.layer)
    else:
        layer = record.layer if isinstance(record, Output) else record
        if isinstance(record, Output):
            out.put("kind", "B", OUTPUT)
        out.put("layer_kind" if isinstance(record, Output) else "kind", "B", KINDS[layer.kind])
        _put_tool_flags(out, layer)
        _put_layer(out, layer, "B" if isinstance(record, Output) else "" if last else "H")
    return out


def _put_grid(out: Section, record: Grid) -> None:
    out.put("kind", "B", GRID)
    _put_tool_flags(out, record.layer)
    for name in ("n_axes", "n_levels", "latent_dim", "feature_dim", "log2_table_size", "flags"):
        out.put(name, "B", record.force.get(name, getattr(record, name)))
    for level, sizes in enumerate(record.resolutions):
        for axis, n in enumerate(sizes):
            out.put(f"resolution{level}_{axis}", "H", n)


def _put_pyramid(out: Section, record: Pyramid) -> None:
    out.put("kind", "B", PYRAMID)
    _put_tool_flags(out, record.layer)
    fields = {
        "n_levels": record.n_levels,
        "axes": record.halved,
        "filter": record.n_taps | record.one_filter << 4,
        "context": record.context,
    }
    for name, value in fields.items():
        out.put(name, "B", record.force.get(name, value))


def _put_tool_flags(out: Section, layer: Layer) -> None:
    out.put("tool_flags", "B", layer.force.get("tool_flags", layer.tool_flags))


def _put_layer(out: Section, layer: Layer, width: str) -> None:
    """Width (its `struct` type, none for the last record), repeat, omega and scale of a layer."""
    if width:
        out.put("width", width, layer.force.get("width", layer.width))
    if width == "H":
        out.put("repeat", "B", layer.force.get("repeat", layer.repeat))
    if layer.kind in WITH_OMEGA:
        _put_ratio(out, "omega", layer.omega, 1, layer.force)
    if layer.kind == "GABOR":
        out.put("scale", "f", layer.scale)


def _put_fourier(out: Section, encoding: Fourier) -> None:
    """The fields of a FOURIER record after its kind."""
    out.put("flags", "B", encoding.include_input | encoding.times_pi << 1)
    out.put("octaves", "B", encoding.force.get("octaves", encoding.octaves))
    _put_ratio(out, "base", encoding.base, 2, encoding.force)


def _put_ratio(out: Section, name: str, value: float, smallest: int, force: Mapping[str, int]) -> None:
    """A number as an integer of one byte, or as 0 and a binary32."""
    short = value == int(value) and smallest <= value <= 255
    out.put(name, "B", force.get(name, value if short else 0))
    if not short or f"{name}_binary32" in force:
        out.put(f"{name}_binary32", "f", force.get(f"{name}_binary32", value))


# --- the tensor table (clauses 7.2 and 7.3) --------------------------------------------------------


RunsOf = Callable[[Sequence[int], rans.Parameters], list[rans.Run]]


class TableWriter:
    """Bits of the tensor table with the place of every field."""

    def __init__(self) -> None:
        self.bits = BitWriter()
        self.marks: dict[str, Mark] = {}
        self._last_model: Model = Zero()

    def put(self, entry: Entry, prefix: str, name: str, value: int, n_bits: int) -> None:
        """Append a field; a forced value takes the place of the right one."""
        at = self.bits.length
        self.marks[prefix + name] = Mark(at >> 3, at & 7, n_bits)
        self.bits.put(entry.force.get(name, value), n_bits)

    def put_model(self, entry: Entry, prefix: str, model: Model) -> None:
        """Values parameters of coding 1."""
        forms = {Zero: 0, Short: 1, Long: 2, Same: 3}
        self.put(entry, prefix, "form", forms[type(model)], 2)
        self.put_parameters(entry, prefix, model)

    def put_parameters(self, entry: Entry, prefix: str, model: LatentModel) -> None:
        """The fields of a short or a long form."""
        if isinstance(model, Short):
            self.put(entry, prefix, "law", rans.LAWS.index(model.law), 2)
            self.put(entry, prefix, "scale", model.scale, 8)
        if isinstance(model, Long):
            self.put(entry, prefix, "max_symbol", model.max_symbol, 10)
            self.put(entry, prefix, "zero_probability", model.zero_probability, 8)
            self.put(entry, prefix, "tail", model.tail, 8)
            self.put(entry, prefix, "tail_change", model.tail_change, 8)
            self.put(entry, prefix, "heavy", model.heavy, 1)
            self.put(entry, prefix, "low_bits", model.low_bits, 4)
            self.put(entry, prefix, "escape", model.escape, 1)

    def put_latent_model(self, entry: Entry, prefix: str, model: LatentModel) -> None:
        """A latent form and its fields (clause 9.6.3)."""
        forms = {Zero: 0, Short: 1, Long: 2, Same: 3, Table: 4, Context: 5}
        self.put(entry, prefix, "latent_form", forms[type(model)], 3)
        self.put_parameters(entry, prefix, model)
        if isinstance(model, Table):
            self.put_table(entry, prefix, model)

    def put_table(self, entry: Entry, prefix: str, model: Table) -> None:
        """The fields of a table of frequencies (GRD-7)."""
        self.put(entry, prefix, "table_below", model.below, 8)
        self.put(entry, prefix, "table_above", len(model.codes) - 1 - model.below, 8)
        self.put(entry, prefix, "table_escape", model.escape, 1)
        self.put(entry, prefix, "table_code0", model.codes[0], 7)
        for i, (before, code) in enumerate(pairwise(model.codes), 1):
            difference = code - before + 7
            is_long = i in model.long or not 0 <= difference < LONG_DIFFERENCE
            self.put(entry, prefix, f"table_difference{i}", LONG_DIFFERENCE if is_long else difference, 4)
            if is_long:
                self.put(entry, prefix, f"table_code{i}", code, 7)

    def put_step(self, entry: Entry, prefix: str) -> None:
        """Step code, short where it can be."""
        form = int(entry.step not in SHORT_STEPS) if entry.step_form is None else entry.step_form
        self.put(entry, prefix, "step_form", form, 1)
        if form:
            self.put(entry, prefix, "step_long", entry.step, 10)
        else:
            self.put(entry, prefix, "step_short", entry.step - SHORT_STEPS.start, 7)

    def put_prior(self, entry: Entry, prefix: str) -> None:
        """Prior multiplier and shift (clause 9.7)."""
        self.put(entry, prefix, "has_prior", int(entry.prior is not None), 1)
        if entry.prior is None:
            return
        m, exponent = entry.prior
        form = int(m & 255 != 0) if entry.prior_form is None else entry.prior_form
        self.put(entry, prefix, "prior_form", form, 1)
        if form:
            self.put(entry, prefix, "prior_long", m, 16)
        else:
            self.put(entry, prefix, "prior_short", (m >> 8) - 128, 7)
        self.put(entry, prefix, "prior_shift", exponent - 8, 5)


@dataclass
class ValueList:
    """Values of one part of an entry, ready for either kind of coding."""

    values: tuple[int, ...]
    n_bits: int
    runs: list[rans.Run]  # for coding 1


class PassWriter:
    """The tensor table of a pass and the values of its body in order, entry by entry."""

    def __init__(self, coding: int, log2_lanes: int) -> None:
        self.coding = coding
        self.n_lanes = 1 << log2_lanes
        self.table = TableWriter()
        self.lists: list[ValueList] = []
        self.states: dict[int, list[int]] = {}  # of the values of tool 2, by tensor ordinal
        self._models: list[rans.Parameters] = []
        self._latent_model: LatentModel | None = None  # the last of the forms 1, 2 and 4

    def put_values(
        self,
        entry: Entry,
        prefix: str,
        values: tuple[int, ...],
        model: Model,
        width: int | None,
        runs_of: RunsOf = rans.value_runs,
    ) -> None:
        """Parameters of a list of values, and the list."""
        if self.coding != RANS:
            n_bits = width or signed_width(values)
            self.table.put(entry, prefix, "width", n_bits - 1, 5)
            self.lists.append(ValueList(values, n_bits, []))
            return
        self.table.put_model(entry, prefix, model)
        if isinstance(model, Zero):
            return
        if isinstance(model, (Short, Long)) and "scale" not in entry.force:
            self._models.append(parameters_of(model))
        self.lists.append(ValueList(values, 0, runs_of(values, self._models[-1]) if self._models else []))

    def put_trellis(self, tensor: Tensor, entry: Entry, prefix: str) -> None:
        """Values k of tool 2, and their states (clause 9.4)."""

        def runs_of(values: Sequence[int], model: rans.Parameters) -> list[rans.Run]:
            return rans.trellis_runs(values, model, walk(values, model))

        def walk(values: Sequence[int], model: rans.Parameters | None) -> list[int]:
            states = rans.trellis_states([rans.parity(k, model) for k in values], self.n_lanes)
            self.states[tensor.ordinal] = states
            return states

        self.put_values(entry, prefix, entry.values, entry.model, entry.width, runs_of)
        if self.coding != RANS:
            walk(entry.values, None)

    def put_sparse(self, entry: Entry, prefix: str, code: SparseCode) -> None:
        """A sparse code (clause 9.5)."""
        self.table.put(entry, prefix, "vectors", AS_BEFORE if code.repeated else code.vectors, 2)
        if not code.repeated:
            self.table.put(entry, prefix, "n_atoms", code.n_atoms - 1, 20)
            self.table.put(entry, prefix, "n_nonzero", code.n_nonzero, 16)
            if self.coding == RANS:
                self.table.put(entry, prefix, "support", code.support, 1)
        indices = tuple(a for atoms in code.atoms for a in atoms)
        if self.coding != RANS:
            width = code.index_width or max(1, *(a.bit_length() for a in (0, *indices)))
            self.put_values(entry, prefix + "atoms.", indices, Zero(), width)
        elif code.support == GAPS:
            self.put_values(entry, prefix + "atoms.", gaps_of(code), code.gap_model, None, rans.gap_runs)
        else:
            bitmaps = [symbol for atoms in code.atoms for symbol in rans.bitmap_run(atoms, code.n_atoms)]
            self.lists.append(ValueList(indices, 0, [bitmaps]))
        coefficients = tuple(x for row in code.coefficients for x in row)
        self.put_values(entry, prefix, coefficients, entry.model, entry.width)

    def put_latents(self, tensor: Tensor, entry: Entry, prefix: str, context: Callable[[], list[rans.Run]]) -> None:
        """Latents of a level; `context` gives the runs of form 5."""
        if self.coding != RANS:
            self.put_values(entry, prefix, entry.values, Zero(), entry.width)
            return
        n_dims = tensor.columns
        models = entry.latent_models if len(entry.latent_models) == n_dims else entry.latent_models * n_dims
        for d, model in enumerate(models):
            values = entry.values[d::n_dims]
            self.table.put_latent_model(entry, f"{prefix}dim{d}." if n_dims > 1 else prefix, model)
            if isinstance(model, (Short, Long, Table)):
                self._latent_model = model
            if isinstance(model, Context):
                self.lists.append(ValueList(values, 0, context()))
            elif not isinstance(model, Zero):
                self.lists.append(ValueList(values, 0, self._latent_runs(values)))

    def _latent_runs(self, values: Sequence[int]) -> list[rans.Run]:
        model = self._latent_model
        if isinstance(model, Table):
            return latents.table_runs(values, model.below, model.codes, model.escape)
        return rans.value_runs(values, parameters_of(model)) if isinstance(model, (Short, Long)) else []

    def put_raw(self, tensor: Tensor, entry: Entry) -> None:
        """Bit patterns of tool 0, which has no entry in the table."""
        n_bits = 16 if tensor.layer.half else 32
        self.lists.append(ValueList(entry.values, n_bits, rans.raw_runs([(v, n_bits) for v in entry.values])))

    def put_first(self, tensor: Tensor, entry: Entry, prefix: str) -> None:
        """The fields of pass 0 before the values."""
        self.table.put_step(entry, prefix)
        if tensor.layer.row_steps and tensor.columns:
            self.table.put(entry, prefix, "has_row_steps", int(entry.row_steps is not None), 1)
            if entry.row_steps is not None:
                self.put_values(entry, prefix + "row.", entry.row_steps, entry.row_model, entry.row_width)
        if tensor.layer.prior:
            self.table.put_prior(entry, prefix)

    def put_later(self, tensor: Tensor, entry: Entry, prefix: str) -> None:
        """The fields of a later pass before the values."""
        self.table.put(entry, prefix, "refined", int(entry.refine is not None), 1)
        if entry.refine is not None and tensor.is_sparse:
            self.table.put(entry, prefix, "add_bits", entry.refine, 4)
        elif entry.refine is not None:
            self.table.put(entry, prefix, "refine_bits", entry.refine - 1, 3)


def parameters_of(model: Short | Long) -> rans.Parameters:
    """Parameters of model GL."""
    if isinstance(model, Short):
        return rans.short_parameters(model.law, model.scale)
    fields = (model.max_symbol, model.zero_probability, model.tail, model.tail_change, model.heavy)
    return rans.long_parameters((*fields, model.low_bits, model.escape))


@dataclass
class Pyramids:
    """What the context network needs of the tensors before a level: their integers by ordinal, and their steps."""

    head: Head
    accs: dict[int, tuple[int, ...]]
    steps: dict[int, int]

    def runs(self, tensor: Tensor) -> list[rans.Run]:
        """Runs of a level of latent form 5."""
        record = self.head.records[0]
        if not isinstance(record, Pyramid) or not record.context_id:
            return []
        level = tensor.ordinal - LEVEL_ORDINAL
        planes = []
        for n in range(level + 1):
            sizes = record.sizes(n, self.head.grid)
            planes.append(latents.planes_of(self.accs[LEVEL_ORDINAL + n], sizes))
        return latents.context_runs(planes, level, self._network(record))

    def _network(self, record: Pyramid) -> latents.Network:
        def tensor(name: str) -> latents.ContextTensor:
            ordinal, rows, columns = record.context_shapes()[name]
            flat = self.accs[ordinal]
            cut = tuple(flat[r * columns : (r + 1) * columns] for r in range(rows))
            return latents.ContextTensor(cut, self.steps[ordinal])

        hidden = tuple((tensor(f"weight{i}"), tensor(f"bias{i}")) for i in range(record.n_hidden))
        first = tensor("coarse"), tensor("near"), tensor("phase")
        last = tensor("output"), tensor("linear"), tensor("offset")
        return latents.Network(record.context_id, record.n_levels, *first, hidden, *last)


def context_step(state: TensorState) -> int:
    """q of a context tensor."""
    return (UNIT_STEP - state.step) // 8


def written_pass(
    coded: Pass, states: list[TensorState], shared: list[TensorState], head: Head, number: int
) -> PassWriter:
    """The tensor table of a pass and the values of its body in order; `states`: those of the chunk that have begun.

    `shared`: those of other chunks that a part uses.
    """
    out = PassWriter(coded.coding, coded.log2_lanes)
    before = {state.tensor.ordinal for state in states if state.is_coded}
    pyramids = Pyramids(
        head,
        {state.tensor.ordinal: tuple(state.acc) for state in [*shared, *states]},
        {state.tensor.ordinal: context_step(state) for state in [*shared, *states]},
    )
    for state, entry in zip(states, coded.entries, strict=True):
        tensor, is_first = state.tensor, state.begins_in(number, head)
        prefix = f"tensor{tensor.ordinal}."
        if tensor.layer.tool == RAW:
            if is_first:
                out.put_raw(tensor, entry)
            continue
        if tensor.is_context:
            if is_first:
                out.table.put(entry, prefix, "context_step", entry.context_step, 4)
                out.put_values(entry, prefix, entry.values, entry.model, entry.width)
                pyramids.accs[tensor.ordinal] = entry.values
                pyramids.steps[tensor.ordinal] = entry.context_step
            continue
        if tensor.is_latent:
            if tensor.ordinal not in before:
                out.table.put(entry, prefix, "refined", int(bool(entry.values)), 1)
            if entry.values:
                pyramids.accs[tensor.ordinal] = entry.values
                out.put_latents(tensor, entry, prefix, partial(pyramids.runs, tensor))
            continue
        put_fields = out.put_first if is_first else out.put_later
        put_fields(tensor, entry, prefix)
        if not is_first and entry.refine is None:
            continue
        if entry.sparse is not None:
            out.put_sparse(entry, prefix, entry.sparse)
        elif tensor.layer.tool == TRELLIS_CODE:
            out.put_trellis(tensor, entry, prefix)
        else:
            out.put_values(entry, prefix, entry.values, entry.model, entry.width)
    return out


def gaps_of(code: SparseCode) -> tuple[int, ...]:
    """Gaps of the atoms of all vectors (clause 9.5)."""
    pairs = ((a, before) for atoms in code.atoms for a, before in zip(atoms, (-1, *atoms), strict=False))
    return tuple(a - before - 1 for a, before in pairs)


def packed_bits(lists: list[ValueList]) -> BitWriter:
    """The bit string of coding 0 (clause 11)."""
    out = BitWriter()
    for item in lists:
        pack_signed(item.values, item.n_bits, out)
    return out


def rans_bytes(lists: list[ValueList], log2_lanes: int) -> bytes:
    """The stream of coding 1 (clause 10)."""
    return rans.encode([run for item in lists for run in item.runs], log2_lanes)


@cache
def _deflated(how: str, packed: bytes) -> bytes:
    return {"fixed": zlib_fixed, "stored": zlib_stored}[how](packed)


def body_bytes(coded: Pass, lists: list[ValueList]) -> bytes:
    """The body of a PASS chunk."""
    if coded.body_hex is not None:
        return bytes.fromhex(coded.body_hex)
    if coded.coding == RANS:
        return rans_bytes(lists, coded.log2_lanes)
    packed = packed_bits(lists).to_bytes()
    if coded.coding == PACKED:
        return packed
    if coded.coding == ZLIB:
        return _deflated(coded.deflate, packed)
    raise ValueError("this coding needs frozen bytes: give body_hex")


# --- weights (clauses 9 and 7.5) -------------------------------------------------------------------


def sparse_sums(tensor: Tensor, code: SparseCode, head: Head) -> tuple[int, ...]:
    """The integers r of a matrix of tool 3 in C order (clause 9.5)."""
    columns = max(tensor.columns, 1)
    shapes = {COLUMNS: (columns, tensor.rows), ROWS: (tensor.rows, columns)}
    n_vectors, length = shapes.get(code.vectors, (1, tensor.size))
    vectors = []
    for atoms, coefficients in zip(code.atoms, code.coefficients, strict=True):
        total = [0] * length
        for atom, x in zip(atoms, coefficients, strict=True):
            if x != 0:
                column = philox.dictionary_column(head.rng_dictionary & 15, length, atom, tensor.ordinal, head.seed)
                total = [r + d * x for r, d in zip(total, column, strict=True)]
        vectors.append(total)
    if len(vectors) != n_vectors:
        raise ValueError(f"tensor {tensor.ordinal}: {len(vectors)} vectors, not {n_vectors}")
    if code.vectors == COLUMNS:
        return tuple(r for row in zip(*vectors, strict=True) for r in row)
    return tuple(r for vector in vectors for r in vector)


def apply_pass(written: PassWriter, coded: Pass, states: list[TensorState], head: Head, number: int) -> list[int]:
    """Update the integers by one pass; returns the acc that acc_crc covers, in table order."""
    covered: list[int] = []
    for state, entry in zip(states, coded.entries, strict=True):
        values, is_first = entry.values, state.begins_in(number, head)
        if state.tensor.is_latent:
            state.step = UNIT_STEP
            state.acc = list(values) or state.acc or [0] * state.tensor.size
            state.is_coded |= bool(values)
            covered += values
            continue
        if state.tensor.is_context:
            if is_first:
                state.acc, state.step = list(values), UNIT_STEP - 8 * entry.context_step
                covered += values
            continue
        if entry.sparse is not None:
            values = sparse_sums(state.tensor, entry.sparse, head)
        elif state.tensor.ordinal in written.states:
            trellis = written.states[state.tensor.ordinal]
            values = tuple(rans.contribution(k, at) for k, at in zip(values, trellis, strict=True))
        if is_first:
            state.acc = list(values) or [0] * state.tensor.size
            state.step, state.row_steps = entry.step, entry.row_steps
            if len(state.acc) != state.tensor.size:
                raise ValueError(f"tensor {state.tensor.ordinal}: {len(state.acc)} values, not {state.tensor.size}")
            if entry.prior is not None:
                m, exponent = entry.prior
                for n in range(len(state.acc)):
                    state.acc[n] += philox.prior(n, state.tensor.ordinal, head.seed, m, exponent)
        elif entry.refine is None:
            continue
        else:
            added = values or (0,) * len(state.acc)
            state.acc = [(a << entry.refine) + r for a, r in zip(state.acc, added, strict=True)]
            state.step -= 8 * entry.refine
        covered += state.acc
    return covered


def state_digest(states: Sequence[TensorState]) -> bytes:
    """The 16 bytes that name a base (clause 9.8)."""
    digest = hashlib.sha256()
    for state in states:
        steps = state.step_codes()
        digest.update(struct.pack(f"<{len(steps)}H", *steps))
        digest.update(struct.pack(f"<{len(state.acc)}I", *(a & 0xFFFFFFFF for a in state.acc)))
    return digest.digest()[:DIGEST_BYTES]


def acc_crc(acc: list[int]) -> int:
    """CRC-32 of integers as little-endian int32 (PAS-5)."""
    return zlib.crc32(struct.pack(f"<{len(acc)}I", *(a & 0xFFFFFFFF for a in acc)))


def weights_sha256(weights: list[list[float]]) -> str:
    """SHA-256 of all weights as little-endian binary32, in table order (clause 9.1)."""
    digest = hashlib.sha256()
    for tensor in weights:
        digest.update(struct.pack(f"<{len(tensor)}f", *tensor))
    return digest.hexdigest()


# --- the container (clause 5) ----------------------------------------------------------------------


def _bit_section(bits: BitWriter, marks: dict[str, Mark], padding: str) -> Section:
    """Whole bytes of a bit string; the padding bits have a mark only where there are any."""
    used = bits.length & 7
    extra = {padding: Mark(bits.length >> 3, used, 8 - used)} if used else {}
    return Section(bytearray(bits.to_bytes()), marks | extra)


def _body_section(coded: Pass, lists: list[ValueList]) -> Section:
    out = Section()
    out.put_bytes("body", body_bytes(coded, lists))
    if coded.coding == PACKED:
        out.marks |= _bit_section(packed_bits(lists), {}, "body_padding").marks
    return out


def pass_section(number: int, part: int | None, coded: Pass, written: PassWriter, crc: int, *, last: bool) -> Section:
    """The payload of a PASS chunk; `last`: of its pass."""
    out = Section()
    flags = coded.coding | last << 3 | coded.log2_lanes << 4
    out.put("flags", "B", coded.force.get("flags", flags))
    out.put("pass", "B", coded.force.get("pass", number))
    out.put("acc_crc", "I", coded.force.get("acc_crc", crc))
    if part is not None:
        out.put("part", "H", coded.force.get("part", part))
    table, lists = written.table, written.lists
    if "table_padding" in coded.force:
        table.bits.put(coded.force["table_padding"], -table.bits.length % 8)
    out.put_section("", _bit_section(table.bits, table.marks, "table_padding"))
    out.put_section("", _body_section(coded, lists))
    return out


def chunk_section(chunk_type: int, payload: Section, start: int) -> Section:
    """Header, payload and trailer of a chunk; `start` is the value that its CRC-32 continues from."""
    out = Section()
    out.put("type", "B", chunk_type)
    out.put_bytes("length", struct.pack("<I", len(payload.data))[:3])
    out.put("hcheck", "B", crc8(bytes(out.data)))
    out.put_section("", payload)
    out.put("crc32", "I", zlib.crc32(out.data, start))
    return out


def hash_payload(passes: tuple[int, ...], digests: list[str]) -> bytes:
    """Entries of HASH (clause 12.3)."""
    return b"".join(bytes([p]) + bytes.fromhex(digests[p]) for p in passes)


def places_payload(item: Ancillary, places: Places) -> bytes:
    """INDX of kind 0 (clause 12.1); offsets that are not known yet are zero."""
    labels = item.places_of
    first = int(labels[0].removeprefix("PASS"))
    lengths = [places[label][1] - FRAMING_BYTES for label in labels]
    fewest = next(n for n in range(1, 4) if max(lengths) < 1 << 8 * n)
    length_bytes = item.length_bytes or fewest
    rows = b"".join(length.to_bytes(length_bytes, "little") for length in lengths)
    return struct.pack("<BIIB", 0, first, places[labels[0]][0], length_bytes) + rows


def directory_payload(items: list[Ancillary], places: Places) -> bytes:
    """INDX of kind 1 (clause 12.1) of further INDX chunks of kind 0."""
    rows = [(int(item.places_of[0].removeprefix("PASS")), *places.get(item.label, (0, 0))) for item in items]
    return b"\x01" + b"".join(struct.pack("<III", *row) for row in rows)


def ancillary_payload(item: Ancillary, others: dict[str, Ancillary], digests: list[str], places: Places) -> Section:
    """Payload of an ancillary chunk."""
    data = item.payload
    if item.hash_passes is not None:
        data = hash_payload(item.hash_passes, digests)
    if item.places_of:
        data = places_payload(item, places)
    if item.directory_of:
        data = directory_payload([others[label] for label in item.directory_of], places)
    out = Section()
    out.put_bytes("payload", data)
    return out


def build(file: File, *, weights_from: int = 0) -> Built:
    """Write a described file; weights are computed for the passes from `weights_from` on, empty before."""
    head = file.head
    parts = head.chunk_parts() if file.passes else (None,)
    groups = {part: [TensorState(tensor, []) for tensor in head.tensors_of(part)] for part in parts if file.passes}
    if file.base is not None:
        before = built_base(file.base).states
        groups = {None: [replace(s, tensor=t) for s, t in zip(before, head.tensors(), strict=True)]}
        head = replace(head, base_digest=head.base_digest or state_digest(before))
    built = Built(b"", {}, [], n_parts=len(parts))
    payloads = {"HEAD": head_section(head)}
    for i, coded in enumerate(file.passes):
        number, part = i // len(parts), parts[i % len(parts)]
        begun = [state for state in groups[part] if state.tensor.begins <= number]
        shared = [] if part == SHARED_PART else groups.get(SHARED_PART, [])
        written = written_pass(coded, begun, shared, head.of_part(part), number)
        crc = acc_crc(apply_pass(written, coded, begun, head, number))
        built.acc_crcs.append(crc)
        is_last = part == parts[-1]
        payloads[f"PASS{i}"] = pass_section(number, part, coded, written, crc, last=is_last)
        if is_last:
            states = [state for group in groups.values() for state in group if state.tensor.begins <= number]
            built.weights.append([state.weights() for state in states] if number >= weights_from else [])
            built.weights_sha256.append(weights_sha256(built.weights[-1]))
    sizes = {label: (0, FRAMING_BYTES + len(payload.data)) for label, payload in payloads.items()}
    out = _assemble(file, payloads, built.weights_sha256, sizes)
    places = {label: (out.marks[f"{label}.type"].offset, _size_of(out, label)) for label in file.chunk_order()}
    if any(item.places_of for item in file.ancillary):
        out = _assemble(file, payloads, built.weights_sha256, places)
    states = [state for group in groups.values() for state in group]
    return replace(built, data=bytes(out.data), marks=out.marks, states=states)


def built_base(file: File) -> Built:
    """A base; its weights are not needed."""
    return build(file, weights_from=len(file.passes))


def _size_of(out: Section, label: str) -> int:
    return out.marks[f"{label}.crc32"].offset + TRAILER_BYTES - out.marks[f"{label}.type"].offset


def _assemble(file: File, payloads: dict[str, Section], digests: list[str], places: Places) -> Section:
    extra = {item.label: item for item in file.ancillary}
    out = Section()
    out.put_bytes("signature", SIGNATURE)
    order = file.chunk_order()
    start = 0
    for i, label in enumerate(order):
        if label in extra:
            chunk_type, payload = extra[label].chunk_type, ancillary_payload(extra[label], extra, digests, places)
        else:
            chunk_type, payload = (HEAD_TYPE if label == "HEAD" else PASS_TYPE), payloads[label]
        chunk = chunk_section(chunk_type | (LAST_CHUNK if i == len(order) - 1 else 0), payload, start)
        if i == 0:
            start = struct.unpack("<I", chunk.data[-TRAILER_BYTES:])[0]
        out.put_section(f"{label}.", chunk)
    out.marks["end"] = Mark(len(out.data))
    return out
