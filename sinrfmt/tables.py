"""The tensor table of a PASS chunk: one entry of bit fields for each tensor.

Specification: clauses 7.2, 7.3, 9.5 and 9.6.3. ``parse`` and ``build`` mirror each other; values and steps are not
touched here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sinrfmt.bits import BitReader, BitWriter
from sinrfmt.layout import TABLE_FIELDS
from sinrfmt.models import (
    TABLE_CODE_LIMIT,
    ContextForm,
    LatentParameters,
    LongModel,
    ModelParameters,
    ShortModel,
    StreamFault,
    TableModel,
    ZeroModel,
)
from sinrfmt.network import LEVEL_ORDINAL, Tensor, TensorRole
from sinrfmt.registry import Coding, LatentForm, ModelForm, Tool
from sinrfmt.sparse import vectors_shape
from sinrfmt.wire import Fault

SIZES = {name: n_bits for name, n_bits, _ in TABLE_FIELDS}
STEP_LAST = (1 << SIZES["step_long"]) - 1
SHORT_STEP_FIRST = 680
SHORT_STEP_LAST = SHORT_STEP_FIRST + (1 << SIZES["step_short"]) - 1
PRIOR_SHIFT_FIRST = 8
PRIOR_SHIFT_LAST = 38
ADD_BITS_LAST = 8
SAME_VECTORS = 3
"""In the place of ``vectors``: the fields of the sparse code before."""
UNIT_STEP = 800
"""Step code of 1: that of latents, and of a context tensor with context_step 0."""
DIFFERENCE_CENTRE = 7
DIFFERENCE_ESCAPE = 15


@dataclass(frozen=True)
class Width:
    """Parameters of packed values: bits of each (codings 0 and 2 to 4)."""

    n_bits: int


ValueParameters = ModelParameters | Width


@dataclass(frozen=True)
class Prior:
    """P = (U * multiplier + 2^(shift-1)) >> shift, clause 9.7; 2^15 <= multiplier < 2^16, shift 8 to 38."""

    multiplier: int
    shift: int


@dataclass(frozen=True)
class SparseTable:
    """Fields of a sparse code (clause 9.5): k2, s, and how the atoms are coded.

    ``indices`` has the parameters of the gaps (coding 1) or of the indices; None: bitmaps (support 0).
    """

    vectors: int
    n_atoms: int
    n_nonzero: int
    indices: ValueParameters | None


@dataclass(frozen=True)
class Entry:
    """What a PASS chunk says of one tensor that it codes.

    ``step`` is None in a later pass; ``values`` is None for tool RAW and of the coefficients for tool SPARSE;
    ``refine_bits`` is 0 in pass 0, 1 to 8 later, 0 to 8 later for tool SPARSE (its field add_bits). ``latents`` has the
    parameters of every list of latents, for coding RANS; for other codings they are in ``values``.
    """

    tensor: Tensor
    values: ValueParameters | None = None
    step: int | None = None
    row_steps: ValueParameters | None = None
    prior: Prior | None = None
    refine_bits: int = 0
    sparse: SparseTable | None = None
    latents: tuple[LatentParameters, ...] = ()

    @property
    def n_rows(self) -> int:
        """Row step differences that it codes."""
        return 0 if self.row_steps is None else self.tensor.shape[0]

    @property
    def n_pairs(self) -> int:
        """Coefficients of a sparse code: atoms of all vectors."""
        return 0 if self.sparse is None else self.n_vectors * self.sparse.n_nonzero

    @property
    def n_vectors(self) -> int:
        """Vectors of a sparse code."""
        return 0 if self.sparse is None else vectors_shape(self.sparse.vectors, self.tensor.matrix_shape)[0]

    @property
    def n_own_symbols(self) -> int:
        """Symbols beside those of the network's parameters (TAB-5, SPA-3)."""
        if self.sparse is None:
            return self.n_rows
        n_support = self.n_pairs if self.sparse.indices is not None else self.n_vectors * self.sparse.n_atoms
        length = vectors_shape(self.sparse.vectors, self.tensor.matrix_shape)[1]
        return self.n_rows + self.n_pairs + n_support + (self.n_pairs * length + 63) // 64


LowestSteps = Mapping[int, int]
"""Ordinal of each tensor that an earlier pass or the base coded to the lowest step code of its rows."""


def checked_steps(coded: Collection[int]) -> LowestSteps:
    """For a table that was checked before: the highest code for all tensors ``coded`` earlier, so that TAB-4 holds."""
    return dict.fromkeys(coded, STEP_LAST)


def _lacks_octaves(lowest_step: int, refine_bits: int) -> str | None:
    """What is wrong with a refinement by TAB-4, or None."""
    lacks = lowest_step < 8 * refine_bits
    return f"step code {lowest_step} cannot lose {refine_bits} octaves" if lacks else None


def _too_many_atoms(tensor: Tensor, vectors: int, n_atoms: int, n_nonzero: int) -> str | None:
    """What is wrong with n_nonzero by SPA-1, or None."""
    limit = min(n_atoms, vectors_shape(vectors, tensor.matrix_shape)[1])
    return f"n_nonzero = {n_nonzero} is above {limit}" if n_nonzero > limit else None


class _Parser:
    def __init__(self, reader: BitReader, coding: Coding, log2_lanes: int, lowest_steps: LowestSteps) -> None:
        self._reader = reader
        self._coding = coding
        self._log2_lanes = log2_lanes
        self._lowest_steps = lowest_steps
        self._last: ModelParameters | None = None
        self._last_sparse: SparseTable | None = None
        self._last_latents: LatentParameters | None = None
        self._coded = set(lowest_steps)

    def _fail(self, name: str, message: str, path: str) -> Fault:
        return Fault(name, message, offset=self._reader.field_offset, path=path)

    def entry(self, tensor: Tensor) -> Entry | None:
        if tensor.ordinal in self._coded:
            is_refinable = tensor.role is TensorRole.LAYER and tensor.record.tool is not Tool.RAW
            return self._refinement(tensor, self._lowest_steps[tensor.ordinal]) if is_refinable else None
        if tensor.role is TensorRole.LATENT:
            return self._level(tensor)
        if tensor.role is TensorRole.CONTEXT:
            return self._context_tensor(tensor)
        return Entry(tensor) if tensor.record.tool is Tool.RAW else self._base(tensor)

    def _context_tensor(self, tensor: Tensor) -> Entry:
        step = UNIT_STEP - 8 * self._reader.read("context_step")
        return Entry(tensor, self._values(), step)

    def _level(self, tensor: Tensor) -> Entry | None:
        if not self._reader.read("refined"):
            return None
        if tensor.ordinal > LEVEL_ORDINAL and tensor.ordinal - 1 not in self._coded:
            raise self._fail("BAD_TABLE", "the level below is not coded", "refined")
        self._coded.add(tensor.ordinal)
        if self._coding is not Coding.RANS:
            return Entry(tensor, self._values(), UNIT_STEP)
        return Entry(tensor, None, UNIT_STEP, latents=tuple(self._latents(tensor) for _ in range(tensor.n_lists)))

    def _latents(self, tensor: Tensor) -> LatentParameters:
        form = self._reader.read("latent_form")
        is_same_first = form == LatentForm.SAME and self._last_latents is None
        is_foreign = form == LatentForm.CONTEXT and not tensor.has_context
        if form > max(LatentForm) or is_same_first or is_foreign:
            raise self._fail("BAD_MODEL", f"latent form {form} cannot stand here", "latent_form")
        if form == LatentForm.ZERO:
            return ZeroModel()
        if form == LatentForm.CONTEXT:
            return ContextForm()
        if form != LatentForm.SAME:
            readers: dict[int, Callable[[], LatentParameters]] = {
                LatentForm.SHORT: self._short,
                LatentForm.LONG: self._long,
                LatentForm.TABLE: self._table,
            }
            self._last_latents = readers[form]()
        assert self._last_latents is not None
        return self._last_latents

    def _table(self) -> TableModel:
        below = self._reader.read("table_below")
        n = below + self._reader.read("table_above") + 1
        if n < 2:
            raise self._fail("BAD_MODEL", "a table of one symbol", "table_above")
        escape = bool(self._reader.read("table_escape"))
        codes = [self._reader.read("table_code")]
        for _ in range(n - 1):
            codes.append(self._table_code(codes[-1]))
        return TableModel(tuple(codes), below, escape)

    def _table_code(self, before: int) -> int:
        difference = self._reader.read("table_difference")
        if difference == DIFFERENCE_ESCAPE:
            return self._reader.read("table_code")
        code = before + difference - DIFFERENCE_CENTRE
        if not 0 <= code <= TABLE_CODE_LIMIT:
            raise self._fail("BAD_MODEL", f"code {code} is outside 0 to {TABLE_CODE_LIMIT}", "table_difference")
        return code

    def _base(self, tensor: Tensor) -> Entry:
        step = self._step()
        row_steps = self._row_steps() if tensor.record.row_steps and not tensor.is_bias else None
        prior = self._prior() if tensor.record.prior else None
        sparse = self._sparse(tensor) if tensor.is_sparse else None
        return Entry(tensor, self._values(), step, row_steps, prior, sparse=sparse)

    def _refinement(self, tensor: Tensor, lowest_step: int) -> Entry | None:
        if not self._reader.read("refined"):
            return None
        name = "add_bits" if tensor.is_sparse else "refine_bits"
        refine_bits = self._reader.read(name) + (0 if tensor.is_sparse else 1)
        if tensor.is_sparse and refine_bits > ADD_BITS_LAST:
            raise self._fail("BAD_TABLE", f"{refine_bits} is above {ADD_BITS_LAST}", name)
        if wrong := _lacks_octaves(lowest_step, refine_bits):
            raise self._fail("STEP_OUT_OF_RANGE", wrong, name)
        sparse = self._sparse(tensor) if tensor.is_sparse else None
        return Entry(tensor, self._values(), refine_bits=refine_bits, sparse=sparse)

    def _sparse(self, tensor: Tensor) -> SparseTable:
        """Everything of a sparse code but the parameters of its coefficients."""
        vectors = self._reader.read("vectors")
        if vectors == SAME_VECTORS:
            self._last_sparse = self._same_sparse(tensor)
        else:
            n_atoms = self._reader.read("n_atoms") + 1
            n_nonzero = self._reader.read("n_nonzero")
            if wrong := _too_many_atoms(tensor, vectors, n_atoms, n_nonzero):
                raise self._fail("BAD_TABLE", wrong, "n_nonzero")
            self._last_sparse = SparseTable(vectors, n_atoms, n_nonzero, self._indices())
        return self._last_sparse

    def _same_sparse(self, tensor: Tensor) -> SparseTable:
        last = self._last_sparse
        if last is None:
            raise self._fail("BAD_TABLE", "no sparse code was given before", "vectors")
        if wrong := _too_many_atoms(tensor, last.vectors, last.n_atoms, last.n_nonzero):
            raise self._fail("BAD_TABLE", wrong, "vectors")
        return last if last.indices is None else replace(last, indices=self._index_values())

    def _indices(self) -> ValueParameters | None:
        if self._coding is Coding.RANS and not self._reader.read("support"):
            if self._log2_lanes:
                raise self._fail("BAD_TABLE", "a bitmap needs a stream of one lane", "support")
            return None
        return self._index_values()

    def _index_values(self) -> ValueParameters:
        """Parameters of the gaps (coding 1) or of the indices."""
        gaps = self._values()
        if isinstance(gaps, ZeroModel):
            raise self._fail("BAD_MODEL", "gaps have no form 0", "form")
        return gaps

    def _step(self) -> int:
        if not self._reader.read("step_form"):
            return SHORT_STEP_FIRST + self._reader.read("step_short")
        step = self._reader.read("step_long")
        if SHORT_STEP_FIRST <= step <= SHORT_STEP_LAST:
            raise self._fail("BAD_TABLE", f"step code {step} has a short form", "step_long")
        return step

    def _row_steps(self) -> ValueParameters | None:
        return self._values() if self._reader.read("has_row_steps") else None

    def _prior(self) -> Prior | None:
        if not self._reader.read("has_prior"):
            return None
        multiplier = self._prior_multiplier()
        shift = PRIOR_SHIFT_FIRST + self._reader.read("prior_shift")
        if shift > PRIOR_SHIFT_LAST:
            raise self._fail("BAD_TABLE", f"shift {shift} is above {PRIOR_SHIFT_LAST}", "prior_shift")
        return Prior(multiplier, shift)

    def _prior_multiplier(self) -> int:
        if not self._reader.read("prior_form"):
            return (128 + self._reader.read("prior_short")) << 8
        multiplier = self._reader.read("prior_long")
        if multiplier < 1 << 15 or multiplier & 0xFF == 0:
            raise self._fail("BAD_TABLE", f"m = {multiplier} is below 2^15 or has a short form", "prior_long")
        return multiplier

    def _values(self) -> ValueParameters:
        if self._coding is not Coding.RANS:
            return Width(self._reader.read("width") + 1)
        form = ModelForm(self._reader.read("form"))
        if form is ModelForm.SAME:
            if self._last is None:
                raise self._fail("BAD_MODEL", "no model was given before", "form")
            return self._last
        if form is ModelForm.ZERO:
            return ZeroModel()
        self._last = self._short() if form is ModelForm.SHORT else self._long()
        return self._last

    def _short(self) -> ShortModel:
        law = self._reader.read("law")
        parameters = ShortModel(law, self._reader.read("scale"))
        try:
            parameters.model()
        except StreamFault as fault:
            raise self._fail(fault.name, str(fault), "scale") from None
        return parameters

    def _long(self) -> LongModel:
        reader = self._reader
        R = reader.read("max_symbol")
        p0 = reader.read("zero_probability")
        tb = self._tail("tail")
        rb = self._tail("tail_change")
        heavy = bool(reader.read("heavy"))
        b = reader.read("low_bits")
        if b > 14:
            raise self._fail("BAD_MODEL", f"b = {b} is above 14", "low_bits")
        esc = bool(reader.read("escape"))
        if esc and R == 0:
            raise self._fail("BAD_MODEL", "esc needs R > 0", "escape")
        return LongModel(R, p0, tb, rb, heavy, b, esc)

    def _tail(self, name: str) -> int:
        value = self._reader.read(name)
        if value > 168:
            raise self._fail("BAD_MODEL", f"{value} is above 168", name)
        return value


def parse(
    payload: bytes,
    start: int,
    tensors: Sequence[Tensor],
    coding: Coding,
    lowest_steps: LowestSteps,
    *,
    log2_lanes: int = 0,
) -> tuple[list[Entry], int]:
    """The entries of the tensors that the chunk codes, and the offset of the body.

    Args:
        payload: of the PASS chunk.
        start: where the table starts in it.
        tensors: that begin in this pass or before it, in table order.
        coding: of the chunk.
        lowest_steps: of the tensors coded before.
        log2_lanes: of the chunk.

    Raises:
        Fault: with the offset in ``payload``.
    """
    reader = BitReader(payload, start, SIZES)
    parser = _Parser(reader, coding, log2_lanes, lowest_steps)
    entries = [parser.entry(tensor) for tensor in tensors]
    return [entry for entry in entries if entry is not None], reader.align()


class _Builder:
    def __init__(self, writer: BitWriter) -> None:
        self._writer = writer
        self._last: ModelParameters | None = None
        self._last_sparse: SparseTable | None = None
        self._last_latents: LatentParameters | None = None

    def context_tensor(self, entry: Entry) -> None:
        assert entry.step is not None
        q, rest = divmod(UNIT_STEP - entry.step, 8)
        if rest or not 0 <= q < 1 << SIZES["context_step"]:
            raise Fault("BAD_TABLE", f"step code {entry.step} is not that of a context tensor", path="context_step")
        self._writer.write("context_step", q)
        self._values(entry.values)

    def level(self, entry: Entry | None) -> None:
        self._writer.write("refined", int(entry is not None))
        if entry is None:
            return
        if entry.values is not None:
            self._values(entry.values)
        for parameters in entry.latents:
            self._latents(parameters)

    def _latents(self, parameters: LatentParameters) -> None:
        if isinstance(parameters, ContextForm):
            self._writer.write("latent_form", LatentForm.CONTEXT)
        elif isinstance(parameters, ZeroModel):
            self._writer.write("latent_form", LatentForm.ZERO)
        elif parameters == self._last_latents:
            self._writer.write("latent_form", LatentForm.SAME)
        else:
            self._last_latents = parameters
            self._writer.write("latent_form", _LATENT_FORMS[type(parameters)])
            fields = _table_fields(parameters) if isinstance(parameters, TableModel) else _model_fields(parameters)
            for name, value in fields:
                self._writer.write(name, value)

    def base(self, entry: Entry) -> None:
        record = entry.tensor.record
        if record.tool is Tool.RAW:
            return
        assert entry.step is not None
        self._step(entry.step)
        if record.row_steps and not entry.tensor.is_bias:
            self._writer.write("has_row_steps", int(entry.row_steps is not None))
            if entry.row_steps is not None:
                self._values(entry.row_steps)
        if record.prior:
            self._prior(entry.prior)
        self._sparse(entry)
        self._values(entry.values)

    def refinement(self, entry: Entry | None, lowest_step: int) -> None:
        self._writer.write("refined", int(entry is not None))
        if entry is None:
            return
        is_sparse = entry.sparse is not None
        name = "add_bits" if is_sparse else "refine_bits"
        if wrong := _lacks_octaves(lowest_step, entry.refine_bits):
            raise Fault("STEP_OUT_OF_RANGE", wrong, path=name)
        self._writer.write(name, entry.refine_bits - (0 if is_sparse else 1))
        self._sparse(entry)
        self._values(entry.values)

    def _sparse(self, entry: Entry) -> None:
        sparse = entry.sparse
        if sparse is None:
            return
        if wrong := _too_many_atoms(entry.tensor, sparse.vectors, sparse.n_atoms, sparse.n_nonzero):
            raise Fault("BAD_TABLE", wrong, path="n_nonzero")
        if self._last_sparse is not None and _sparse_fields(sparse) == _sparse_fields(self._last_sparse):
            self._writer.write("vectors", SAME_VECTORS)
        else:
            self._writer.write("vectors", sparse.vectors)
            self._writer.write("n_atoms", sparse.n_atoms - 1)
            self._writer.write("n_nonzero", sparse.n_nonzero)
            if not isinstance(entry.values, Width):
                self._writer.write("support", int(sparse.indices is not None))
        self._last_sparse = sparse
        if sparse.indices is not None:
            self._values(sparse.indices)

    def _step(self, step: int) -> None:
        if not 0 <= step <= STEP_LAST:
            raise Fault("STEP_OUT_OF_RANGE", f"step code {step}", path="step_long")
        is_long = not SHORT_STEP_FIRST <= step <= SHORT_STEP_LAST
        self._writer.write("step_form", int(is_long))
        if is_long:
            self._writer.write("step_long", step)
        else:
            self._writer.write("step_short", step - SHORT_STEP_FIRST)

    def _prior(self, prior: Prior | None) -> None:
        self._writer.write("has_prior", int(prior is not None))
        if prior is None:
            return
        is_long = prior.multiplier & 0xFF != 0
        self._writer.write("prior_form", int(is_long))
        if is_long:
            self._writer.write("prior_long", prior.multiplier)
        else:
            self._writer.write("prior_short", (prior.multiplier >> 8) - 128)
        self._writer.write("prior_shift", prior.shift - PRIOR_SHIFT_FIRST)

    def _values(self, parameters: ValueParameters | None) -> None:
        assert parameters is not None
        if isinstance(parameters, Width):
            self._writer.write("width", parameters.n_bits - 1)
            return
        if parameters == self._last:
            self._writer.write("form", ModelForm.SAME)
            return
        self._writer.write("form", parameters.form)
        if isinstance(parameters, ZeroModel):
            return
        self._last = parameters
        for name, value in _model_fields(parameters):
            self._writer.write(name, value)


def _sparse_fields(sparse: SparseTable) -> tuple[int, int, int, bool]:
    """What one sparse code can take from the one before."""
    return sparse.vectors, sparse.n_atoms, sparse.n_nonzero, sparse.indices is not None


_LATENT_FORMS: dict[type, LatentForm] = {
    ShortModel: LatentForm.SHORT,
    LongModel: LatentForm.LONG,
    TableModel: LatentForm.TABLE,
}


def _table_fields(model: TableModel) -> list[tuple[str, int]]:
    names = ("table_below", "table_above", "table_escape", "table_code")
    fields = list(zip(names, (model.below, model.highest, int(model.esc), model.codes[0]), strict=True))
    for before, code in pairwise(model.codes):
        difference = code - before + DIFFERENCE_CENTRE
        if 0 <= difference < DIFFERENCE_ESCAPE:
            fields.append(("table_difference", difference))
        else:
            fields += [("table_difference", DIFFERENCE_ESCAPE), ("table_code", code)]
    return fields


def table_bits(model: TableModel) -> int:
    """Bits of the fields of a table form."""
    return sum(SIZES[name] for name, _ in _table_fields(model))


def _model_fields(parameters: ShortModel | LongModel) -> list[tuple[str, int]]:
    if isinstance(parameters, ShortModel):
        return [("law", parameters.law), ("scale", parameters.q)]
    names = ("max_symbol", "zero_probability", "tail", "tail_change", "heavy", "low_bits", "escape")
    p = parameters
    return list(zip(names, (p.R, p.p0, p.tb, p.rb, int(p.heavy), p.b, int(p.esc)), strict=True))


def build(entries: Sequence[Entry], tensors: Sequence[Tensor], lowest_steps: LowestSteps) -> bytes:
    """The table of a chunk that codes ``entries``: of ``tensors`` all that begin in it, and some of the others.

    Raises:
        Fault: STEP_OUT_OF_RANGE, BAD_TABLE (SPA-1).
    """
    writer = BitWriter(SIZES)
    builder = _Builder(writer)
    by_ordinal = {entry.tensor.ordinal: entry for entry in entries}
    for tensor in tensors:
        if tensor.ordinal in lowest_steps:
            if tensor.role is TensorRole.LAYER and tensor.record.tool is not Tool.RAW:
                builder.refinement(by_ordinal.get(tensor.ordinal), lowest_steps[tensor.ordinal])
        elif tensor.role is TensorRole.LATENT:
            builder.level(by_ordinal.get(tensor.ordinal))
        elif tensor.role is TensorRole.CONTEXT:
            builder.context_tensor(by_ordinal[tensor.ordinal])
        else:
            builder.base(by_ordinal[tensor.ordinal])
    return writer.getvalue()
