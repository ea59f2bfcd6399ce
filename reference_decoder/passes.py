"""PASS: sub-header, tensor table, body, check (clause 7)."""

from dataclasses import dataclass

from reference_decoder.container import Chunk, Payload
from reference_decoder.entropy import Integers, Model, RansBody, Values, long_model, short_model
from reference_decoder.errors import DecodeError
from reference_decoder.head import CORE, RAW, Head, Tensor
from reference_decoder.packed import Decompress, Packed, load_codec, open_compressed, open_packed
from reference_decoder.weights import State, acc_crc, add_prior, check_finite, check_row_steps, least_step, refine

PACKED, RANS = 0, 1
CODINGS = range(5)
CORE_CODINGS = range(3)
ZERO, SHORT, LONG, SAME = range(4)


@dataclass
class Decoded:
    """The file so far: what the passes up to now have made of the tensors."""

    states: list[State]  # in table order; empty before pass 0
    symbols: int = 0  # of all passes, TAB-5
    changed: bool = True  # whether the last pass coded a tensor


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

    tensor: Tensor
    values: Values
    step: int = 0
    row_steps: Values | None = None
    prior: tuple[int, int] | None = None  # m and E of clause 9.7
    refine: int = 0  # n, the bits that the integers gain; 0 in pass 0
    state: State | None = None  # before a later pass


def decode_pass(data: memoryview, chunk: Chunk, head: Head, decoded: Decoded, number: int) -> int:
    """Decode a PASS chunk, change `decoded`, return its acc_crc.

    §7.5: "The order of checks in a PASS chunk: 7.1; the table, entry by entry; padding; TAB-5; the body's values, entry
    by entry, with ACC_OVERFLOW of ENT-1; the end of the body (ENT-4 to ENT-6 as they arise, or clause 11); then for
    each entry in table order STEP_OUT_OF_RANGE of its rows, NON_FINITE_WEIGHT, ACC_OVERFLOW of clause 9.1; then PAS-5."
    """
    p = Payload(data, chunk.start, chunk.end)
    sub = read_sub_header(p, head, number)
    bits = Bits(data, p.at, p.end)
    reader = EntryReader(bits, sub.coding)
    entries = reader.later_pass(decoded.states) if number else reader.first_pass(head.tensors)
    body_at = bits.finish()
    # TAB-5 §7.3: "A PASS chunk counts all parameters of the network, whatever it codes, and one symbol for each row of
    # an entry with has_row_steps = 1."
    decoded.symbols += sum(tensor.size for tensor in head.tensors)
    decoded.symbols += sum(entry.row_steps.count for entry in entries if entry.row_steps)
    if decoded.symbols > head.level.symbols:
        raise DecodeError("LIMIT_SYMBOLS", bits.start)
    body = open_body(data[body_at : p.end], body_at, sub, entries)
    lists = [(body.read(entry.row_steps) if entry.row_steps else None, body.read(entry.values)) for entry in entries]
    body.finish()
    coded = [finish_entry(e, d, v, head, body_at) for e, (d, v) in zip(entries, lists, strict=True)]
    # PAS-5: "in pass 0 all tensors, later those with refined = 1"
    if acc_crc(coded) != sub.acc_crc:
        raise DecodeError("ACC_CRC_MISMATCH", sub.acc_crc_at)
    decoded.states = decoded.states or coded
    decoded.changed = bool(coded)
    return sub.acc_crc


def read_sub_header(p: Payload, head: Head, number: int) -> SubHeader:
    """§7.1: the fields, "Then, in this order:" PAS-1 to PAS-4."""
    flags = p.unsigned(1)
    flags_at = p.field
    coding, log2_lanes = flags & 7, flags >> 4
    p.require(coding in CODINGS, "UNKNOWN_ID")
    pass_ = p.unsigned(1)
    pass_at = p.field
    crc = p.unsigned(4)
    # PAS-1: "The profile has the coding (`PROFILE_FORBIDS`, at flags)."
    if head.profile == CORE and coding not in CORE_CODINGS:
        raise DecodeError("PROFILE_FORBIDS", flags_at)
    decompress = None if coding in (PACKED, RANS) else load_codec(coding, flags_at)
    # PAS-2: "log2_lanes is 0 or 6 to 12 for coding 1, and 0 for the others"
    if log2_lanes not in ((0, 6, 7, 8, 9, 10, 11, 12) if coding == RANS else (0,)):
        raise DecodeError("BAD_LANES", flags_at)
    # PAS-3: "Without the feature PARTS every PASS chunk is a whole pass: bit 3 is set"
    if not flags & 8:
        raise DecodeError("PASS_ORDER", flags_at)
    # PAS-4: "`pass` is the number of the next pass"
    if pass_ != number:
        raise DecodeError("PASS_ORDER", pass_at)
    return SubHeader(coding, log2_lanes, crc, p.field, decompress)


# --- 7.2, 7.3 Tensor table ---------------------------------------------------------------------------------------


class Bits:
    """§7.2: "The table is one bit string, LSB first, with one entry for each tensor in table order"."""

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

    def __init__(self, bits: Bits, coding: int) -> None:
        self.bits = bits
        self.coding = coding
        self.last_model: Model | None = None  # given by form 1 or 2 in this table

    def first_pass(self, tensors: list[Tensor]) -> list[Entry]:
        """`entry in pass 0`, and `entry of a tensor with tool 0: nothing`."""
        entries = []
        for tensor in tensors:
            if tensor.record.tool == RAW:
                width = 16 if tensor.record.is_half else 32
                entries.append(Entry(tensor, Values(tensor.size, width, raw=True)))
                continue
            step = self.step()
            row_steps = self.row_steps(tensor.shape[0]) if tensor.has_row_steps else None
            prior = self.prior() if tensor.record.has_prior else None
            entries.append(Entry(tensor, self.values(tensor.size), step, row_steps, prior))
        return entries

    def later_pass(self, states: list[State]) -> list[Entry]:
        """`entry in a later pass: refined [refined = 1: refine_bits values]`."""
        entries = []
        for state in states:
            if state.tensor.record.tool == RAW or not self.bits.take(1):
                continue
            n = self.bits.take(3) + 1
            # TAB-4: "In a later pass the step code, or that of every row where there are row steps, stays at 0 or
            # above"; WGT-2 §9.1: "and s by s - 8n"
            self.bits.require(least_step(state) - 8 * n >= 0, "STEP_OUT_OF_RANGE")
            values = self.values(state.tensor.size)
            entries.append(Entry(state.tensor, values, state.step - 8 * n, refine=n, state=state))
        return entries

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

    def values(self, count: int) -> Values:
        """`values, coding 1: form …` or `values, other codings: width`."""
        if self.coding != RANS:
            return Values(count, self.bits.take(5) + 1)
        form = self.bits.take(2)
        if form == ZERO:
            return Values(count)
        if form == SAME:
            # TAB-3: "form 3 repeats the values parameters last given by form 1 or 2 in this table"
            self.bits.require(self.last_model is not None, "BAD_MODEL")
        else:
            self.last_model = self.short() if form == SHORT else self.long()
        return Values(count, model=self.last_model)

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
    lists = [values for entry in entries for values in (entry.row_steps, entry.values) if values]
    bits = sum(values.count * values.width for values in lists)
    if sub.decompress is None:
        return open_packed(body, at, bits)
    return open_compressed(body, at, bits, sub.decompress)


def finish_entry(entry: Entry, differences: Integers | None, values: Integers, head: Head, at: int) -> State:
    """Turn the values of an entry into the tensor's new state; `values` becomes its acc."""
    if entry.state is not None:
        refine(values, entry.state.acc, entry.refine, at)
        entry.state.acc, entry.state.step = values, entry.step
        return entry.state
    row_steps = None if differences is None else check_row_steps(entry.step, differences, at)
    if entry.values.raw:
        check_finite(entry.tensor, values, at)
    else:
        add_prior(values, entry.tensor.ordinal, head.seed, entry.prior, at)
    return State(entry.tensor, values, entry.step, row_steps)
