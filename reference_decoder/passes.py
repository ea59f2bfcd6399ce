"""PASS: sub-header, tensor table, body, check (clause 7)."""

from dataclasses import dataclass

import numpy as np

from reference_decoder.container import Chunk, Payload
from reference_decoder.entropy import (
    Integers,
    Model,
    RansBody,
    Table,
    TableModel,
    Values,
    long_model,
    short_model,
    table_frequencies,
)
from reference_decoder.errors import DecodeError
from reference_decoder.head import CONTEXT, CORE, FACTORISED, GRID, LATENTS, PARTS, RAW, TRELLIS, Head, Tensor
from reference_decoder.latents import LATENT_STEP, Known, LatentCode, check_context, read_latents
from reference_decoder.limits import PARAMETERS
from reference_decoder.packed import Decompress, Packed, load_codec, open_compressed, open_packed
from reference_decoder.sparse import (
    BITMAP,
    GAPS,
    Codes,
    SparseCode,
    check_coefficients,
    read_codes,
    synthesise,
    vectors_of,
)
from reference_decoder.states import States
from reference_decoder.trellis import Trellis
from reference_decoder.weights import State, acc_crc, begin, check_finite, check_row_steps, least_step, refine

PACKED, RANS = 0, 1
CODINGS = range(5)
CORE_CODINGS = range(3)
ZERO, SHORT, LONG, SAME, TABLE, NETWORK = range(6)  # the last two for latents only
REPEATED = 3  # of `vectors`


@dataclass
class Decoded:
    """The file so far: what the passes up to now have made of the tensors."""

    states: States
    symbols: int = 0  # of all passes, TAB-5
    changed: bool = True  # whether a tensor was coded since this was cleared


@dataclass(frozen=True)
class SubHeader:
    """The fields of clause 7.1."""

    coding: int
    log2_lanes: int
    acc_crc: int
    acc_crc_at: int
    decompress: Decompress | None


@dataclass
class Entry:
    """An entry of the tensor table of a tensor that the pass codes."""

    state: State  # before the pass
    values: Values | SparseCode | LatentCode
    step: int = 0
    row_steps: Values | None = None
    prior: tuple[int, int] | None = None  # m and E of clause 9.7
    refine: int = 0  # n, the bits that the integers gain

    @property
    def tensor(self) -> Tensor:
        return self.state.tensor


def decode_pass(data: memoryview, chunk: Chunk, decoded: Decoded, number: int, group: int) -> int:
    """Decode the PASS chunk of a group of tensors, change `decoded`, return its acc_crc.

    §13.1: "Everything that clauses 7 to 11 say of a table, a body, a check or of what stands "in this table" is said of
    one chunk."

    §7.5: "The order of checks in a PASS chunk: 7.1; the table, entry by entry; padding; TAB-5 with SPA-3; the body's
    values, entry by entry, with ACC_OVERFLOW of ENT-1 and, after the last list of an entry, SPA-6; the end of the body
    (ENT-4 to ENT-6 as they arise, or clause 11); then for each entry in table order STEP_OUT_OF_RANGE of its rows,
    SPA-5 or TRE-3, NON_FINITE_WEIGHT, ACC_OVERFLOW of clause 9.1; then PAS-5."
    """
    p, head = Payload(data, chunk.start, chunk.end), decoded.states.head
    sub = read_sub_header(p, head, number, group)
    bits = Bits(data, p.at, p.end)
    reader = EntryReader(bits, sub.coding, sub.log2_lanes)
    states = decoded.states.load(group)
    entries = reader.entries(states, number)
    body_at = bits.finish()
    # TAB-5 §7.3: "A PASS chunk counts all parameters of the network (with WIDTHS: also those that have not begun;
    # with PARTS: of the tensors of the chunk), whatever it codes, and one symbol for each row of an entry with
    # has_row_steps = 1."
    decoded.symbols += sum(state.tensor.size for state in states)
    decoded.symbols += sum(entry.row_steps.count for entry in entries if entry.row_steps)
    # SPA-3 §9.5: "Symbols, beside those of TAB-5"
    decoded.symbols += sum(entry.values.symbols for entry in entries if isinstance(entry.values, SparseCode))
    if decoded.symbols > head.level.symbols:
        raise DecodeError("LIMIT_SYMBOLS", bits.start)
    # LIM-3 §14: "limits of its caller on memory": nothing of the network's size was made before
    if head.group_ends[-1] > PARAMETERS:
        raise DecodeError("LIMIT_CALLER", None, "too many parameters")
    body = open_body(data[body_at : p.end], body_at, sub, entries)
    # §13.1: "The contexts of clause 10.6 are those of the part and use the context tensors of the part, or the shared
    # ones."
    shared = decoded.states.load(0) if head.shared and group else []
    lists = read_body(body, entries, head, shared + states, body_at)
    body.finish()
    lists.reverse()  # those of an entry go when it is finished
    decoded.states.place(group, states)
    for entry in entries:
        finish_entry(entry, *lists.pop(), head, 1 << sub.log2_lanes, body_at)
    # PAS-5: "of the tensors that begin in this pass all, of the others those with refined = 1"; §9.6.3: "`acc_crc`
    # covers the latents of the levels that the chunk codes."
    if acc_crc([entry.state for entry in entries]) != sub.acc_crc:
        raise DecodeError("ACC_CRC_MISMATCH", sub.acc_crc_at)
    decoded.states.save(group, states)
    decoded.changed = decoded.changed or bool(entries)
    return sub.acc_crc


def read_sub_header(p: Payload, head: Head, number: int, group: int) -> SubHeader:
    """§7.1: the fields, "Then, in this order:" PAS-1 to PAS-4 and PAS-6."""
    flags = p.unsigned(1)
    flags_at = p.field
    coding, log2_lanes = flags & 7, flags >> 4
    p.require(coding in CODINGS, "UNKNOWN_ID")
    pass_ = p.unsigned(1)
    pass_at = p.field
    crc = p.unsigned(4)
    crc_at = p.field
    # "With the feature PARTS one more field belongs to the sub-header:"
    part = p.unsigned(2) if head.features & PARTS else 0
    # PAS-1: "The profile has the coding (`PROFILE_FORBIDS`, at flags)."
    if head.profile == CORE and coding not in CORE_CODINGS:
        raise DecodeError("PROFILE_FORBIDS", flags_at)
    decompress = None if coding in (PACKED, RANS) else load_codec(coding, flags_at)
    # PAS-2: "log2_lanes is 0 or 6 to 12 for coding 1, and 0 for the others"
    if log2_lanes not in ((0, 6, 7, 8, 9, 10, 11, 12) if coding == RANS else (0,)):
        raise DecodeError("BAD_LANES", flags_at)
    # PAS-3: "Without the feature PARTS every PASS chunk is a whole pass: bit 3 is set. With it, bit 3 is set in the
    # chunk that is the last of its pass by the order of clause 13.1, whatever its `part`, and in no other"
    if bool(flags & 8) != (head.part_of(group) == head.n_parts - 1):
        raise DecodeError("PASS_ORDER", flags_at)
    # PAS-4: "`pass` is the number of the first pass that is not whole yet"
    if pass_ != number:
        raise DecodeError("PASS_ORDER", pass_at)
    # PAS-6: "`part` is that of the next chunk of the pass by clause 13.1"
    if part != head.part_of(group):
        raise DecodeError("PASS_ORDER", p.field)
    return SubHeader(coding, log2_lanes, crc, crc_at, decompress)


# --- 7.2, 7.3 Tensor table ---------------------------------------------------------------------------------------


class Bits:
    """§7.2: "The table is one bit string, LSB first, with one entry for each tensor (with PARTS: of the chunk, clause
    13.1) in table order"."""

    def __init__(self, data: memoryview, start: int, end: int) -> None:
        self.data, self.start, self.end = data, start, end
        self.bit = 0  # of the next field
        self.field = start  # "An error in a field is at the byte that holds the field's first bit."

    def take(self, n: int) -> int:
        """A field of n bits. "Bits that are not there: `PAYLOAD_TOO_SHORT`, at the payload's end." """
        if self.bit + n > 8 * (self.end - self.start):
            raise DecodeError("PAYLOAD_TOO_SHORT", self.end)
        self.field = self.start + (self.bit >> 3)
        value = int.from_bytes(self.data[self.field : self.field + 4], "little") >> (self.bit & 7)
        self.bit += n
        return value & ((1 << n) - 1)

    def require(self, condition: bool, name: str) -> None:
        """The field read last is at fault if `condition` is false."""
        if not condition:
            raise DecodeError(name, self.field)

    def finish(self) -> int:
        """Offset of the body. §7.2: "padded with zero bits to a whole byte"."""
        self.require(self.take(-self.bit % 8) == 0, "PADDING_NOT_ZERO")
        return self.start + (self.bit >> 3)


class EntryReader:
    """§7.3: "Fields are read in the order given here"; one method for each line of that list."""

    def __init__(self, bits: Bits, coding: int, log2_lanes: int) -> None:
        self.bits = bits
        self.coding = coding
        self.log2_lanes = log2_lanes
        self.last_model: Model | None = None  # given by form 1 or 2 in this table
        self.last_code: SparseCode | None = None  # in this table
        self.last_latent_model: Model | TableModel | None = None  # given for latents in this table
        self.is_level_coded = False  # the level of latents before

    def entries(self, states: list[State], number: int) -> list[Entry]:
        """The entries of the tensors that this pass codes.

        §7.3: "In passes before that it has no entry, not even `refined`"; §9.8: "every pass of this file, pass 0 too,
        is coded as a later pass", for the base has coded every tensor.
        """
        found: list[Entry] = []
        for state in states:
            if state.tensor.role == LATENTS:
                found += self.latents(state)
            elif state.is_coded:
                found += self.later(state)
            elif state.tensor.begins <= number:
                found.append(self.first(state))
        return found

    def first(self, state: State) -> Entry:
        """`entry in pass 0`, and `entry of a tensor with tool 0: nothing`.

        §7.3: ""Pass 0" in clauses 7.3 to 7.5 and 9.1 to 9.7 means, for each tensor, the pass in which it begins."
        """
        tensor = state.tensor
        if tensor.role == CONTEXT:
            # §9.6.3: "Its step code is s = 800 - 8·context_step"
            step = LATENT_STEP - 8 * self.bits.take(4)
            return Entry(state, self.values(tensor.size), step)
        if tensor.tool == RAW:
            return Entry(state, Values(tensor.size, 16 if tensor.is_half else 32, raw=True))
        step = self.step()
        row_steps = self.row_steps(tensor.shape[0]) if tensor.has_row_steps else None
        prior = self.prior() if tensor.has_prior else None
        return Entry(state, self.tool_values(tensor), step, row_steps, prior)

    def later(self, state: State) -> list[Entry]:
        """`entry in a later pass: refined [refined = 1: refine_bits values]`; none where it is 0 or not there.

        Of a matrix with tool 3, §9.5: "refined [refined = 1: add_bits, then a sparse code]".
        """
        tensor = state.tensor
        if tensor.role == CONTEXT or tensor.tool == RAW or not self.bits.take(1):
            return []
        n = self.add_bits() if tensor.is_sparse else self.bits.take(3) + 1
        # TAB-4: "In a later pass the step code, or that of every row where there are row steps, stays at 0 or above";
        # WGT-2 §9.1: "and s by s - 8n"; SPA-4 §9.5: "TAB-4 applies, at add_bits."
        self.bits.require(least_step(state) - 8 * n >= 0, "STEP_OUT_OF_RANGE")
        return [Entry(state, self.tool_values(tensor), state.step - 8 * n, refine=n)]

    def tool_values(self, tensor: Tensor) -> Values | SparseCode:
        """`values`, or §9.5: "where other tools have `values`, the fields of a sparse code"."""
        if tensor.is_sparse:
            self.last_code = self.sparse_code(tensor)
            return self.last_code
        return self.values(tensor.size, trellis=tensor.tool == TRELLIS)

    def latents(self, state: State) -> list[Entry]:
        """§9.6.3: "entry of latents that an earlier pass coded: nothing entry of other latents: refined [refined = 1:
        latents]".
        """
        tensor = state.tensor
        if state.is_coded:
            self.is_level_coded = True
            return []
        is_coded = bool(self.bits.take(1))
        # GRD-5: "refined = 1 for level l > 0: level l - 1 is coded, in this chunk or an earlier pass (`BAD_TABLE`, at
        # refined)."
        self.bits.require(not is_coded or tensor.level == 0 or self.is_level_coded, "BAD_TABLE")
        self.is_level_coded = is_coded
        return [Entry(state, self.latent_code(tensor), LATENT_STEP)] if is_coded else []

    def latent_code(self, tensor: Tensor) -> LatentCode:
        """§9.6.3: "for each of the latent_dim dimensions (PYRAMID: once): latent_form"; the other codings: width."""
        if self.coding != RANS:
            return LatentCode([self.values(tensor.size)])
        dimensions = tensor.record.latent_dim if tensor.record.kind == GRID else 1
        lists = []
        for _ in range(dimensions):
            form = self.bits.take(3)
            if form == NETWORK:
                self.bits.require(tensor.record.context != FACTORISED, "BAD_MODEL")
                return LatentCode(None)
            lists.append(Values(tensor.size // dimensions, model=self.latent_model(form)))
        return LatentCode(lists)

    def latent_model(self, form: int) -> Model | TableModel | None:
        """GRD-6 §9.6.3: "`BAD_MODEL`, at latent_form: 6 or 7; 3 before a form 1, 2 or 4 of latents in this table (forms
        of other values do not count); 5 with GRID or context id 0."
        """
        self.bits.require(form <= NETWORK and (form != SAME or self.last_latent_model is not None), "BAD_MODEL")
        if form == ZERO:
            return None
        if form != SAME:
            self.last_latent_model = {SHORT: self.short, LONG: self.long, TABLE: self.table_model}[form]()
        return self.last_latent_model

    def table_model(self) -> TableModel:
        """GRD-7 §9.6.3: "Latent form 4 has the symbols u = -table_below … table_above, at least two (`BAD_MODEL`, at
        table_above)."
        """
        below, above = self.bits.take(8), self.bits.take(8)
        self.bits.require(below + above >= 1, "BAD_MODEL")
        esc = bool(self.bits.take(1))
        codes = [self.bits.take(7)]
        for _ in range(below + above):
            # "code of every other symbol: table_difference [table_difference = 15: table_code]"
            difference = self.bits.take(4)
            code = codes[-1] + difference - 7
            self.bits.require(difference == 15 or 0 <= code <= 127, "BAD_MODEL")
            codes.append(self.bits.take(7) if difference == 15 else code)
        return TableModel(below, Table(table_frequencies(codes)), esc)

    def step(self) -> int:
        """`step: step_form, then step_short or step_long`."""
        if not self.bits.take(1):
            return self.bits.take(7) + 680
        step = self.bits.take(10)
        # TAB-1: "step_long is not in 680 … 807, which step_short says"
        self.bits.require(not 680 <= step <= 807, "BAD_TABLE")
        return step

    def row_steps(self, rows: int) -> Values | None:
        """`row_steps: has_row_steps [has_row_steps = 1: values]`."""
        return self.values(rows) if self.bits.take(1) else None

    def prior(self) -> tuple[int, int] | None:
        """`prior: has_prior [has_prior = 1: prior_form, then prior_short or prior_long, then prior_shift]`."""
        if not self.bits.take(1):
            return None
        if not self.bits.take(1):
            m = (self.bits.take(7) + 128) << 8  # §9.7: "m = (128 + prior_short)·2^8 or prior_long."
        else:
            m = self.bits.take(16)
            # TAB-2: "prior_long is at least 2^15 and its low 8 bits are not all zero"
            self.bits.require(m >= 1 << 15 and m & 0xFF != 0, "BAD_TABLE")
        shift = self.bits.take(5)
        self.bits.require(shift != 31, "BAD_TABLE")
        return m, shift + 8

    def add_bits(self) -> int:
        """SPA-1 §9.5: "add_bits is at most 8 (`BAD_TABLE`, at the field)"."""
        n = self.bits.take(4)
        self.bits.require(n <= 8, "BAD_TABLE")
        return n

    def sparse_code(self, tensor: Tensor) -> SparseCode:
        """§9.5: "vectors n_atoms n_nonzero support [support = 1: values of the gaps] values of the coefficients", and
        for the other codings, §9.5: "vectors n_atoms n_nonzero width of the indices, values of the coefficients".
        """
        vectors = self.bits.take(2)
        if vectors == REPEATED:
            return self.repeated_code(tensor)
        # SPA-1: "n_nonzero is at most k1 and at most k2 (where the fields are repeated, at vectors); support is 1 when
        # log2_lanes is not 0"
        n_vectors, k1 = vectors_of(vectors, tensor.matrix_shape)
        k2 = self.bits.take(20) + 1
        s = self.bits.take(16)
        self.bits.require(s <= min(k1, k2), "BAD_TABLE")
        support = self.support(n_vectors * s)
        return SparseCode(vectors, n_vectors, k1, k2, s, support, self.values(n_vectors * s))

    def repeated_code(self, tensor: Tensor) -> SparseCode:
        """§9.5: "With vectors = 3 the fields vectors, n_atoms, n_nonzero and support are those of the last sparse code
        in this table, and do not follow; the rest of the fields does."
        """
        # SPA-1: "vectors is 3 only after a sparse code in this table"
        if self.last_code is None:
            raise DecodeError("BAD_TABLE", self.bits.field)
        vectors, k2, s = self.last_code.vectors, self.last_code.k2, self.last_code.s
        n_vectors, k1 = vectors_of(vectors, tensor.matrix_shape)
        self.bits.require(s <= k1, "BAD_TABLE")
        support = None
        if self.last_code.support is not None:
            support = self.positions(n_vectors * s)
        return SparseCode(vectors, n_vectors, k1, k2, s, support, self.values(n_vectors * s))

    def support(self, count: int) -> Values | None:
        """The field support, and how the gaps or indices stand in the body; None for a bitmap."""
        if self.coding == RANS:
            support = self.bits.take(1)
            self.bits.require(support == GAPS or self.log2_lanes == 0, "BAD_TABLE")
            if support == BITMAP:
                return None
        return self.positions(count)

    def positions(self, count: int) -> Values:
        """The values of gaps, or §9.5: "each atom as an unsigned number of as many bits as the width says"."""
        if self.coding != RANS:
            return Values(count, self.bits.take(5) + 1, raw=True)
        return self.values(count, one_sided=True)

    def values(self, count: int, one_sided: bool = False, trellis: bool = False) -> Values:
        """`values, coding 1: form …` or `values, other codings: width`; those of gaps are one-sided."""
        if self.coding != RANS:
            return Values(count, self.bits.take(5) + 1, trellis=trellis)
        form = self.bits.take(2)
        if form == ZERO:
            # SPA-2 §9.5: "The gaps have no form 0 (`BAD_MODEL`, at form)."
            self.bits.require(not one_sided, "BAD_MODEL")
            return Values(count)
        if form == SAME:
            # TAB-3: "form 3 repeats the values parameters last given by form 1 or 2 in this table"
            self.bits.require(self.last_model is not None, "BAD_MODEL")
        else:
            self.last_model = self.short() if form == SHORT else self.long()
        return Values(count, model=self.last_model, one_sided=one_sided, trellis=trellis)

    def short(self) -> Model | None:
        """`[form = 1: law scale]`."""
        law = self.bits.take(2)
        model = short_model(law, self.bits.take(8))
        self.bits.require(model is not None, "BAD_MODEL")
        return model

    def long(self) -> Model:
        """`[form = 2: max_symbol zero_probability tail tail_change heavy low_bits escape]`.

        ENT-2 §10.2: "tb or rb above 168, b = 15, and esc = 1 with R = 0 are invalid (`BAD_MODEL`)."
        """
        R = self.bits.take(10)
        p0 = self.bits.take(8)
        tb = self.bits.take(8)
        self.bits.require(tb <= 168, "BAD_MODEL")
        rb = self.bits.take(8)
        self.bits.require(rb <= 168, "BAD_MODEL")
        heavy = bool(self.bits.take(1))
        b = self.bits.take(4)
        self.bits.require(b != 15, "BAD_MODEL")
        esc = bool(self.bits.take(1))
        self.bits.require(not esc or R > 0, "BAD_MODEL")
        return long_model(R, p0, tb, rb, heavy, b, esc)


# --- 7.4 Body ----------------------------------------------------------------------------------------------------


def open_body(body: memoryview, at: int, sub: SubHeader, entries: list[Entry]) -> RansBody | Packed:
    """§7.4: "The body is the rest of the payload: the values of the entries, in table order, by clause 10 (coding 1) or
    clause 11." "Any error inside the body, unless said otherwise, is at the body's first byte."
    """
    if sub.coding == RANS:
        return RansBody(body, sub.log2_lanes, at)
    bits = sum(values.bits for entry in entries for values in (entry.row_steps, entry.values) if values)
    if sub.decompress is None:
        return open_packed(body, at, bits)
    return open_compressed(body, at, bits, sub.decompress)


def read_body(
    body: RansBody | Packed, entries: list[Entry], head: Head, states: list[State], at: int
) -> list[tuple[Integers | None, Integers | Codes]]:
    """The lists of all entries. §10.6: "levels are decoded in table order, so that the levels below are known whichever
    form or pass they have."
    """
    known = Known(head.records[0])
    coded = {entry.tensor.ordinal: entry for entry in entries}
    lists = []
    for state in states:
        entry = coded.get(state.tensor.ordinal)
        if entry is not None:
            lists.append(read_lists(body, entry, known, at))
            found = lists[-1][1]
            if isinstance(found, np.ndarray):
                known.add(entry.tensor, found, entry.step)
        elif state.is_coded:
            known.add(state.tensor, state.acc, state.step)
    return lists


def read_lists(
    body: RansBody | Packed, entry: Entry, known: Known, at: int
) -> tuple[Integers | None, Integers | Codes]:
    """§7.4: "For each entry: first its row step differences, one for each row, if it has them; then its values in C
    order."
    """
    differences = body.read(entry.row_steps) if entry.row_steps else None
    if isinstance(entry.values, SparseCode):
        return differences, read_codes(body, entry.values, at)
    if isinstance(entry.values, LatentCode):
        return differences, read_latents(body, entry.tensor, entry.values, known)
    found = body.read(entry.values)
    if entry.tensor.role == CONTEXT:
        check_context(found, at)
    return differences, found


def finish_entry(
    entry: Entry, differences: Integers | None, found: Integers | Codes, head: Head, lanes: int, at: int
) -> None:
    """Change the tensor's state by what was read for an entry.

    SPA-5 §9.5: "checked before the prior is added or acc is formed".
    """
    state = entry.state
    if differences is not None:
        state.row_steps = check_row_steps(entry.step, differences, at)
    values = found if isinstance(found, np.ndarray) else expand(entry, found, head, at)
    trellis = trellis_of(entry.values, lanes)
    if entry.tensor.tool == RAW:
        check_finite(entry.tensor, values, at)
        state.acc[:] = values
    elif state.is_coded:
        refine(state.acc, values, trellis, entry.refine, at)
    else:
        # latents too: §9.6.3: "WGT-2 does not concern latents: r = y, acc = r."
        begin(state.acc, values, trellis, entry.tensor.ordinal, head.seed, entry.prior, at)
    state.step, state.is_coded = entry.step, True


def trellis_of(values: Values | SparseCode | LatentCode, lanes: int) -> Trellis | None:
    """The trellis of a list of tool 2 (clause 9.4)."""
    if not isinstance(values, Values) or not values.trellis:
        return None
    R = values.model.R if isinstance(values.model, Model) and values.symbols_drive else None
    return Trellis(lanes, R)


def expand(entry: Entry, codes: Codes, head: Head, at: int) -> Integers:
    """The integers r of a sparse code."""
    assert isinstance(entry.values, SparseCode)
    check_coefficients(entry.values, codes, at)
    return synthesise(entry.tensor, entry.values, codes, head)
