"""Recipes of the vectors of WIDTHS (clause 13.2): networks that grow from pass to pass."""

import hashlib
import struct
from dataclasses import replace
from typing import Any

from conformance.generate.build import acc_crc, build, step_code
from conformance.generate.describe import (
    BITMAP,
    BROTLI,
    CORNERS,
    FLATTENED,
    PACKED,
    RANS,
    RAW,
    ROWS,
    SEEDED,
    SHARED_BASE,
    SPARSE,
    SPARSE_CODE,
    TRELLIS,
    TRELLIS_CODE,
    WIDTHS,
    ZLIB,
    ZSTANDARD,
    Ancillary,
    Entry,
    File,
    Filter,
    Fourier,
    FourierSeeded,
    Grid,
    Head,
    Input,
    Layer,
    Multiply,
    Output,
    Pass,
    Pyramid,
    Record,
    Same,
    Short,
    SparseCode,
    Tensor,
    Zero,
)
from conformance.generate.faults import Bits, Edit, Flip
from conformance.generate.recipe import Invalid, Valid, numbers, patterns, points, with_entry, with_head, with_pass
from conformance.generate.recipes_sparse import T8, code_for, repeated
from conformance.generate.recipes_valid import HASH_TYPE, INDX_TYPE

SINE, RELU = Layer("SINE", 4, omega=2), Layer("RELU", 5)
SMALL_STEP = step_code(-4)
SEEDED_TOOLS = SEEDED | SPARSE | TRELLIS
PRIOR = (200 << 8, 33)
Widths = tuple[tuple[int, ...], ...]


def head(*records: Record, widths: Widths, features: int = 0, **fields: Any) -> Head:
    """A head of a network that grows; `widths`: of every pass but the last. The last layer is linear."""
    given = {"grid": (2, 3), "modality": 8, "values": 2, "seed": 77, "n_passes": len(widths) + 1, **fields}
    return Head(
        records=(*records, given.pop("last", Layer())),
        features_required=WIDTHS | features,
        active_widths=widths,
        **given,
    )


def begun(described: Head, number: int) -> list[Tensor]:
    """The tensors that have an entry in a pass."""
    return [tensor for tensor in described.tensors() if tensor.begins <= number]


def new(tensor: Tensor, spread: int = 12, **fields: Any) -> Entry:
    """An entry of a block in the pass in which it begins, without zeros, which would hide what they meet."""
    if tensor.layer.tool == RAW:
        return Entry(values=patterns(tensor.size, tensor.layer.half, tensor.ordinal))
    if tensor.is_sparse:
        return Entry(sparse=code_for(tensor, spread=3), step=step_code(-11))
    values = tuple(v or 7 for v in numbers(tensor.size, spread, tensor.ordinal))
    return Entry(values=values, **{"step": SMALL_STEP, **fields})


def kept(tensor: Tensor) -> Entry:
    """An entry that says that a pass leaves a tensor as it is."""
    return Entry()


def refined(tensor: Tensor) -> Entry:
    """An entry of a later pass that changes every integer a little."""
    if tensor.layer.tool == RAW:
        return Entry()
    if tensor.is_sparse:
        return Entry(sparse=code_for(tensor, n_nonzero=2, spread=2), refine=1)
    return Entry(values=numbers(tensor.size, 2, tensor.ordinal + 5), refine=2)


def grown(described: Head, *codings: int, old: Any = kept, lanes: int = 0, **fields: Any) -> File:
    """A file in which every pass codes the blocks that begin in it; codings by pass, or one for all."""
    passes = []
    for number in range(described.n_passes):
        rows = tuple(new(t, **fields) if t.begins == number else old(t) for t in begun(described, number))
        coding = (codings or (RANS,))[min(number, max(len(codings) - 1, 0))]
        passes.append(Pass(rows, coding, lanes))
    return File(described, tuple(passes))


def at(described: Head, ordinal: int, number: int) -> int:
    """Place of a tensor in the table of a pass."""
    return [tensor.ordinal for tensor in begun(described, number)].index(ordinal)


def with_block(source: File, ordinal: int, number: int, **changes: Any) -> File:
    """The same file with other fields in the entry of a block."""
    return with_entry(source, at(source.head, ordinal, number), number, **changes)


def ordinal(number: int, tensor: int) -> int:
    """The ordinal of the block of a pass; `tensor`: 2l, or 2l + 1 for a bias."""
    return (number << 20) + tensor


TWO = head(SINE, RELU, widths=((1, 2), (3, 2)))
EQUAL = head(replace(SINE, width=3), replace(SINE, width=3), widths=((1, 2),))
ONE = head(replace(SINE, width=2), widths=((1,),), in_dims=1, grid=(3,))


def networks() -> list[Valid]:
    """Numbers of passes and layers, repeats, biases, encodings, kinds."""
    wide = replace(SINE, width=6)
    found: dict[str, tuple[str, File]] = {
        "min": ("one unit, then two", grown(ONE)),
        "two-passes": ("two layers grow", grown(head(SINE, RELU, widths=((2, 3),)))),
        "three-passes": ("three passes; a layer does not grow in the second", grown(TWO)),
        "four-passes": ("four passes; nothing begins in the second", grown(head(SINE, widths=((1,), (1,), (3,))))),
        "late": ("nothing begins in the last two passes but the first one's blocks are refined", grown(
            head(SINE, RELU, widths=((2, 5), (4, 5), (4, 5))), old=refined)),
        "one-grows": ("the first layer grows, the second one is whole from the start", grown(
            head(SINE, RELU, widths=((2, 5),)))),
        "other-grows": ("the second layer grows, the first one is whole from the start", grown(
            head(SINE, RELU, widths=((4, 1),)))),
        "shrinking-shape": ("a layer is wider than the one before it, then narrower", grown(
            head(wide, replace(RELU, width=7), widths=((1, 6), (5, 6))))),
        "three-records": ("three records of layers", grown(
            head(SINE, replace(RELU, width=3), Layer("TANH", 2), widths=((2, 1, 1), (3, 3, 1))))),
        "repeat": ("a record of three layers, which grow alike", grown(
            head(replace(wide, repeat=3), widths=((1,), (4,))))),
        "repeat-records": ("repeats in two records", grown(
            head(replace(SINE, repeat=2), replace(RELU, repeat=2), widths=((2, 3),)))),
        "equal-but-widths": ("two records that differ in an active width only", grown(EQUAL)),
        "no-bias": ("no layer has a bias", grown(
            head(replace(SINE, bias=False), replace(RELU, bias=False), widths=((1, 2), (3, 4)),
                 last=Layer(bias=False)))),
        "no-bias-hidden": ("the last layer alone has a bias", grown(
            head(replace(SINE, bias=False), widths=((3,),)))),
        "no-bias-last": ("the last layer alone has no bias", grown(
            head(SINE, widths=((3,),), last=Layer(bias=False)))),
        "fourier": ("FOURIER", grown(head(Fourier(2), SINE, RELU, widths=((2, 1),)))),
        "fourier-seeded": ("FOURIER_SEEDED", grown(
            head(FourierSeeded(3), SINE, RELU, widths=((2, 1),), features=SEEDED))),
        "sigmoid": ("a sigmoid of 0 is not 0: units that are not there yet add nothing", grown(
            head(Layer("SIGMOID", 3), Layer("GAUSSIAN", 3, omega=2), widths=((1, 1), (1, 2))))),
        "kinds": ("FINER and ELU, and a last layer of sines with three outputs", grown(
            head(Layer("FINER", 3, omega=1.5), Layer("ELU", 3), widths=((2, 2),), last=Layer("SINE", omega=3),
                 out_channels=3))),
        "refined": ("blocks are refined in the passes after their own", grown(TWO, old=refined)),
    }  # fmt: skip
    return [
        Valid(f"valid-widths-{name}", title, ("13.2", "WID-2"), file, each_pass=True, prefixes=name == "three-passes")
        for name, (title, file) in found.items()
    ]


def tools() -> list[Valid]:
    """Coding tools, priors, row steps, codings, lanes."""
    all_tools = head(
        replace(SINE, tool=RAW, half=True),
        replace(RELU, tool=TRELLIS_CODE),
        replace(SINE, width=5, tool=SPARSE_CODE),
        Layer("TANH", 3, prior=True, row_steps=True),
        widths=((2, 3, 2, 1), (2, 5, 4, 2)),
        features=SEEDED_TOOLS,
        last=Layer(row_steps=True, tool=TRELLIS_CODE),
    )
    mixed = grown(all_tools, old=refined)
    mixed = with_block(mixed, ordinal(0, 6), 0, row_steps=(3,), prior=PRIOR)
    mixed = with_block(mixed, ordinal(1, 6), 1, row_steps=(-5,), prior=PRIOR)
    mixed = with_block(mixed, ordinal(1, 8), 1, row_steps=(2,))
    seeded = head(replace(SINE, prior=True), RELU, widths=((2, 2),), features=SEEDED)
    prior = grown(seeded)
    for block in (ordinal(0, 0), ordinal(0, 1), ordinal(1, 0), ordinal(1, 1)):
        prior = with_block(prior, block, block >> 20, prior=PRIOR)
    atoms = head(replace(SINE, tool=SPARSE_CODE), replace(RELU, tool=SPARSE_CODE), widths=((2, 2),),
                 features=SEEDED | SPARSE)  # fmt: skip
    laws = replace(atoms, rng_dictionary=T8)
    packed = grown(head(SINE, RELU, widths=((2, 3),)), PACKED)
    by_rows = grown(laws, PACKED)
    for number in (0, 1):
        for tensor in begun(laws, number):
            if tensor.is_sparse and tensor.begins == number:
                vectors = ROWS if tensor.ordinal & 2 else FLATTENED
                by_rows = with_block(by_rows, tensor.ordinal, number, sparse=code_for(tensor, vectors=vectors))
    same = grown(head(SINE, RELU, widths=((2, 3),)), old=kept, model=Same())
    for number in (0, 1):
        first = at(same.head, ordinal(number, 0), number)
        same = with_entry(same, first, number, model=Short("GAUSS", 14))
    rows = grown(head(replace(SINE, row_steps=True), widths=((2,), (3,)), last=Layer(row_steps=True)))
    rows = with_block(rows, ordinal(0, 0), 0, row_steps=(4, -4))
    rows = with_block(rows, ordinal(1, 2), 1, row_steps=(6,))
    rows = with_block(rows, ordinal(2, 0), 2, row_steps=(-7,))
    frozen = head(SINE, widths=((2,), (3,)), profile=2)
    frozen_file = grown(frozen, PACKED, BROTLI, ZSTANDARD)
    for number, how in ((1, brotli_of), (2, zstandard_of)):
        frozen_file = with_pass(frozen_file, number, body_hex=how(packed_body(frozen_file, number)).hex())
    found: dict[str, tuple[str, File]] = {
        "tools": ("tools 0 to 3, a prior and row steps of blocks; all are refined", mixed),
        "prior": ("priors of blocks, by their ordinals", prior),
        "raw": ("tool 0 in binary32: patterns where a block begins", grown(
            head(replace(SINE, tool=RAW), widths=((1,), (3,)), last=Layer(tool=RAW)))),
        "trellis": ("tool 2: a state for each block", grown(
            head(replace(SINE, tool=TRELLIS_CODE), widths=((2,), (3,)), features=TRELLIS), old=refined)),
        "sparse": ("tool 3: dictionaries of blocks by their ordinals", grown(atoms)),
        "sparse-packed": ("tool 3, packed, law 1, by rows and flattened", by_rows),
        "sparse-again": ("vectors = 3 for all sparse codes of a pass but the first", repeated(
            repeated(two_atoms(grown(atoms))), 1)),
        "row-steps": ("row steps of some blocks", rows),
        "same-model": ("SAME for all blocks of a pass but the first that begins", same),
        "long-step": ("a step code of ten bits in a block of the second pass", with_block(
            grown(TWO), ordinal(1, 0), 1, step=900)),
        "zero": ("form ZERO for all blocks of the second pass", zero_pass(grown(head(SINE, widths=((2,),))))),
        "packed": ("packed values", packed),
        "codings": ("packed, rANS, zlib", grown(TWO, PACKED, RANS, ZLIB, old=refined)),
        "frozen": ("packed, Brotli, Zstandard", frozen_file),
        "lanes": ("64 lanes", grown(TWO, RANS, lanes=6)),
        "trellis-lanes": ("tool 2, 64 lanes", grown(
            head(replace(SINE, tool=TRELLIS_CODE, width=8), replace(RELU, tool=TRELLIS_CODE, width=17),
                 widths=((3, 8),), features=TRELLIS), lanes=6)),
    }  # fmt: skip
    return [
        Valid(f"valid-widths-{name}", title, ("13.2", "7.3"), file, each_pass=True)
        for name, (title, file) in found.items()
    ]


def two_atoms(source: File) -> File:
    """Every vector of a sparse code is two atoms, whatever its length."""
    for number in (0, 1):
        for tensor in begun(source.head, number):
            if tensor.is_sparse and tensor.begins == number:
                code = code_for(tensor, n_nonzero=2, spread=3)
                source = with_block(source, tensor.ordinal, number, sparse=code)
    return source


def zero_pass(source: File) -> File:
    """The blocks that begin in pass 1 are zeros."""
    for place, tensor in enumerate(begun(source.head, 1)):
        if tensor.begins == 1:
            source = with_entry(source, place, 1, values=(0,) * tensor.size, model=Zero())
    return source


def packed_body(source: File, number: int) -> bytes:
    """The bytes that a compressed body unpacks to."""
    built = build(replace(source, passes=tuple(replace(p, coding=PACKED) for p in source.passes)))
    mark = built.marks[f"PASS{number}.body"]
    return built.data[mark.offset : mark.offset + mark.n_bits // 8]


def brotli_of(data: bytes) -> bytes:
    """RFC 7932: a window of 16 bits, one uncompressed meta-block, an empty last one; up to 65536 bytes."""
    bits = (len(data) - 1) << 4 | 1 << 20  # WBITS 0, ISLAST 0, MNIBBLES 4, MLEN - 1, ISUNCOMPRESSED
    return bits.to_bytes(3, "little") + data + b"\x03"


def zstandard_of(data: bytes) -> bytes:
    """RFC 8878: a frame of one raw block, its content size in one byte."""
    block = len(data) << 3 | 1
    return b"\x28\xb5\x2f\xfd\x20" + bytes([len(data)]) + block.to_bytes(3, "little") + data


FULL = (69, 247)  # widths of a network with more than 16384 entries, 16384 of them in blocks


def full_file(*, bias: bool) -> File:
    """16384 parameters, or one more with a bias in the last layer."""
    records = (Layer("RELU", FULL[0], bias=False), Layer("RELU", FULL[1], bias=False))
    described = head(*records, widths=((30, 25),), in_dims=1, grid=(1,), last=Layer(bias=bias))
    return few_numbers(grown(described, model=Zero()))


def few_numbers(source: File) -> File:
    """All blocks are zeros but those with the inputs and of the last layer's first columns."""
    for number in (0, 1):
        for place, tensor in enumerate(begun(source.head, number)):
            if tensor.begins == number and tensor.size > FULL[0]:
                source = with_entry(source, place, number, values=(0,) * tensor.size)
            elif tensor.begins == number:
                source = with_entry(source, place, number, model=Short())
    return source


def symbols_file(n_more: int = 0) -> File:
    """2^22 coded symbols and `n_more` in each of four columns: bitmaps of codes without atoms, and parameters."""
    layer = Layer("RELU", 6, tool=SPARSE_CODE, bias=False)
    described = head(layer, widths=((2,),), features=SEEDED | SPARSE, in_dims=4, grid=(1,) * 4,
                     last=Layer(bias=False))  # fmt: skip
    n_parameters = sum(tensor.size for tensor in described.tensors())
    source = grown(described)
    for number, n_atoms in ((0, 24), (1, ((1 << 22) - 2 * n_parameters) // 4 - 24 + n_more)):
        code = SparseCode(n_atoms, ((),) * 4, ((),) * 4, support=BITMAP)
        source = with_block(source, ordinal(number, 0), number, sparse=code)
    return source


def files() -> list[Valid]:
    """Chunks beside the passes, other samples, limits."""
    chunks = (
        Ancillary("HASH", HASH_TYPE, hash_passes=(0, 1, 2)),
        Ancillary("INDX", INDX_TYPE, places_of=("PASS0", "PASS1", "PASS2")),
    )
    order = ("HEAD", "INDX", "PASS0", "PASS1", "PASS2", "HASH")
    hashed = replace(grown(TWO, old=refined), ancillary=chunks, order=order)
    announced = with_head(grown(ONE), features_optional=1, optional_blocks=(b"\xb8\x0b\x88\x13",))
    return [
        Valid("valid-widths-hash", "HASH after every pass, and INDX", ("13.2", "9.1", "ANC-1", "12.1"), hashed,
              each_pass=True),
        Valid("valid-widths-quality", "an optional block behind the active widths", ("13.2", "6.1", "HED-11"),
              announced, each_pass=True),
        Valid("valid-widths-size", "another size", ("13.2",), grown(with_coords(TWO)), size=(3, 2), each_pass=True),
        Valid("valid-widths-points", "points", ("13.2",), grown(TWO), coords=points(2), each_pass=True),
        Valid("valid-widths-parameters", "16384 parameters in the blocks, more entries in the matrices",
              ("HED-8", "13.2"), full_file(bias=False)),
        Valid("valid-widths-symbols", "2^22 symbols: a pass counts the blocks that begin later, too",
              ("TAB-5", "SPA-3"), symbols_file()),
    ]  # fmt: skip


def with_coords(described: Head) -> Head:
    """The same head with samples at the corners."""
    return replace(described, coords=CORNERS)


def widths_valid() -> list[Valid]:
    """Every valid vector of WIDTHS."""
    return [*networks(), *tools(), *files()]


# --- one fault -------------------------------------------------------------------------------------------

GROWS, MINIMAL = "valid-widths-three-passes", "valid-widths-min"
REQUIRED, MISMATCH, BAD = "HEAD.features_required", "FEATURE_MISMATCH", "BAD_RECORD"


def u16(value: int) -> bytes:
    return struct.pack("<H", value)


def head_only(
    name: str, title: str, clause: str, error: str, mark: str, described: Head, *, parent: str = GROWS, plus: int = 0
) -> Invalid:
    """A file of nothing but a head with one fault."""
    clauses = tuple(clause.split())
    file = File(described, (), order=("HEAD",))
    return Invalid(f"invalid-{name}", title, clauses, parent, error, mark, (), file, plus=plus)


def features() -> list[Invalid]:
    """WID-1: what WIDTHS does not go with."""
    widths: Widths = ((1, 2), (3, 2))

    def beside(name: str, title: str, *records: Record, widths: Widths = ((2,),), **fields: Any) -> Invalid:
        return head_only(f"widths-{name}", title, "WID-1", MISMATCH, REQUIRED, head(*records, widths=widths, **fields))

    pyramid = Pyramid(n_levels=2)
    return [
        beside("one-pass", "WIDTHS with one pass", SINE, widths=(), n_passes=1),
        beside("base", "WIDTHS with SHARED_BASE", SINE, RELU, widths=widths, features=SHARED_BASE,
               base_digest=bytes(16)),
        beside("grid", "WIDTHS with a GRID", Grid(), SINE, features=16),
        beside("pyramid", "WIDTHS with a PYRAMID", pyramid, SINE, features=16),
        beside("conv", "WIDTHS with a CONV", pyramid, Layer("RELU", 2), Layer("CONV", 2), widths=((2, 1),),
               features=16, last=Layer("CONV"), out_channels=2),
        beside("input", "WIDTHS with an INPUT", SINE, Input(0, 1)),
        beside("input-first", "WIDTHS with an INPUT that is first", Input(0, 1), SINE),
        beside("output", "WIDTHS with an OUTPUT", SINE, Output(Layer()), out_channels=2),
        beside("filter", "WIDTHS with a FILTER", SINE, Filter(Layer())),
        beside("multiply", "WIDTHS with a MULTIPLY", SINE, Multiply(0)),
        beside("gabor", "WIDTHS with a GABOR", SINE, Layer("GABOR", 2), widths=((2, 1),)),
        beside("none", "no layer grows", SINE, RELU, widths=((4, 5), (4, 5))),
        beside("last-alone", "no layer could grow", widths=((),), n_passes=2),
        beside("encoding-alone", "no layer could grow behind an encoding", Fourier(), widths=((), ()), n_passes=3),
    ]  # fmt: skip


def fields() -> list[Invalid]:
    """WID-2 and the fields of HEAD."""

    def width(name: str, title: str, place: str, value: int, fault: str | None = None) -> Invalid:
        mark, at_fault = (f"HEAD.active_width{where}" for where in (place, fault or place))
        return Invalid(f"invalid-widths-{name}", title, ("WID-2",), GROWS, BAD, at_fault, (Edit(mark, u16(value)),))

    equal = "HEAD.active_width0_1"
    cut = Edit("HEAD.active_width1_1", b"", 1, 1)
    return [
        width("zero", "no unit is active", "0_0", 0),
        width("zero-second", "no unit of the second record is active", "0_1", 0),
        width("above", "5 of 4 units are active", "1_0", 5),
        width("above-second", "6 of 5 units are active", "1_1", 6),
        width("falls", "4 units, then 3", "0_0", 4, "1_0"),
        width("falls-second", "2 units, then 1", "1_1", 1),
        Invalid("invalid-widths-equal", "two records with equal active widths", ("HED-7",),
                "valid-widths-equal-but-widths", BAD, "HEAD.record1.kind", (Edit(equal, u16(1)),)),
        Invalid("invalid-widths-short", "HEAD ends inside the last active width", ("CON-10",), GROWS,
                "PAYLOAD_TOO_SHORT", "HEAD.crc32", (cut,)),
        Invalid("invalid-widths-surplus", "an active width too many", ("CON-10",), GROWS, "SURPLUS_BYTES",
                "HEAD.active_width1_1", (Edit("HEAD.active_width1_1", u16(2) * 2),), plus=2),
        Invalid("invalid-widths-unset", "active widths without WIDTHS", ("CON-10", "6.1"), GROWS, "SURPLUS_BYTES",
                "HEAD.active_width0_0", (Edit(REQUIRED, u16(0)),)),
    ]  # fmt: skip


def orders() -> list[Invalid]:
    """Clause 5.5: two faults, the first in the order of the rules counts."""

    def two(name: str, title: str, error: str, mark: str, *records: Record, **more: Any) -> Invalid:
        return head_only(f"order-widths-{name}", title, "5.5", error, mark, head(*records, **more))

    reserved = replace(SINE, force={"tool_flags": 4})
    unseeded, deep = replace(SINE, prior=True), replace(SINE, repeat=9)
    zero: Widths = ((0,),)
    return [
        two("flags", "HED-6 before WID-2", BAD, "HEAD.record0.tool_flags", reserved, widths=zero),
        two("equal", "HED-7 before WID-2", BAD, "HEAD.record1.kind", SINE, SINE, widths=((0, 0),)),
        two("axes", "GRD-1 before WID-1", BAD, "HEAD.record0.n_axes", Grid(n_axes=3, resolutions=((2, 2, 2),)), SINE,
            widths=((2,),), features=16),
        two("feature", "WID-1 before WID-2", MISMATCH, REQUIRED, SINE, RELU, widths=((5, 5),)),
        two("layers", "WID-2 before HED-8", BAD, "HEAD.active_width0_0", deep, widths=zero),
        two("layers-feature", "WID-1 before HED-8", MISMATCH, REQUIRED, deep, widths=((4,),)),
        two("tools", "WID-1 before HED-9", MISMATCH, REQUIRED, unseeded, widths=((4,),)),
        two("base", "WID-1 before BAS-1", MISMATCH, REQUIRED, SINE, widths=((2,),), features=SHARED_BASE,
            base_digest=bytes(16)),
    ]  # fmt: skip


def zero_digest(source: File) -> bytes:
    """The SHA-256 of all tensors after pass 0, those that have not begun as zeros."""
    first = build(source).weights[0]
    sizes = [tensor.size for tensor in source.head.tensors()][len(first) :]
    numbers_of = [w for tensor in first for w in tensor] + [0.0] * sum(sizes)
    return hashlib.sha256(struct.pack(f"<{len(numbers_of)}f", *numbers_of)).digest()


def passes() -> list[Invalid]:
    """Faults in the tables and bodies of growing networks."""
    source = grown(TWO, old=refined)
    first_new = ordinal(1, 0)
    digest = Ancillary("HASH", HASH_TYPE, b"\x00" + zero_digest(source))
    wrong_hash = replace(source, ancillary=(digest,), order=("HEAD", "HASH", "PASS0", "PASS1", "PASS2"))
    raw = "valid-widths-raw"
    raw_mark = "PASS1.body"
    stepped = "valid-widths-row-steps"
    parents = {recipe.name: recipe.file for recipe in widths_valid()}
    low = with_block(with_block(parents[GROWS], ordinal(0, 0), 0, step=8), ordinal(0, 0), 1,
                     refine=2, values=(1, 2))  # fmt: skip
    grown_same = with_block(parents[GROWS], first_new, 1, model=Same())
    stepped_out = with_block(parents[stepped], ordinal(1, 2), 1, step=2, row_steps=(-3,))
    not_finite = with_block(parents[raw], ordinal(1, 0), 1, values=(0x7F800000,) * 4)

    def described(name: str, title: str, clause: str, parent: str, error: str, mark: str, file: File) -> Invalid:
        return Invalid(f"invalid-widths-{name}", title, (clause,), parent, error, mark, (), file, whole_passes=1)

    return [
        Invalid("invalid-widths-acc-crc", "acc_crc of a pass with new blocks", ("PAS-5",), GROWS, "ACC_CRC_MISMATCH",
                "PASS1.acc_crc", (Flip("PASS1.acc_crc"),), whole_passes=1),
        described("acc-crc-all", "acc_crc over the blocks of earlier passes, too", "PAS-5", GROWS, "ACC_CRC_MISMATCH",
                  "PASS1.acc_crc", crc_of_all(parents[GROWS])),
        described("same-first", "SAME for the first block with values in a pass", "TAB-3", GROWS, "BAD_MODEL",
                  f"PASS1.tensor{first_new}.form", grown_same),
        described("step-out", "a row step below 0 in the pass in which a block begins", "WGT-3", stepped,
                  "STEP_OUT_OF_RANGE", raw_mark, stepped_out),
        described("step-refined", "a block of the first pass is refined below step code 0", "TAB-4", GROWS,
                  "STEP_OUT_OF_RANGE", f"PASS1.tensor{ordinal(0, 0)}.refine_bits", low),
        described("infinite", "an infinity in a block of the second pass", "WGT-5", raw, "NON_FINITE_WEIGHT",
                  raw_mark, not_finite),
        Invalid("invalid-widths-step-long", "a step_long that a step_short says, in a block of the second pass",
                ("TAB-1",), "valid-widths-long-step", "BAD_TABLE", f"PASS1.tensor{first_new}.step_long",
                (Bits(f"PASS1.tensor{first_new}.step_long", 700),), whole_passes=1),
        Invalid("invalid-widths-missing-pass", "the last pass is not there", ("CON-8",), GROWS, "MISSING_PASS",
                "PASS1.type", (), replace(parents[GROWS], order=("HEAD", "PASS0", "PASS1")), whole_passes=2),
        Invalid("invalid-widths-pass-order", "the passes are swapped", ("PAS-4",), GROWS, "PASS_ORDER", "PASS1.pass",
                (), replace(parents[GROWS], order=("HEAD", "PASS1", "PASS0", "PASS2"))),
        Invalid("invalid-widths-hash", "HASH of pass 0 with blocks that have not begun as zeros", ("ANC-1", "9.1"),
                "valid-widths-hash", "WEIGHTS_HASH_MISMATCH", "HASH.payload", (), wrong_hash,
                also=("--passes 1", "--partial")),
        Invalid("invalid-widths-parameters", "16385 parameters at level 1", ("HED-8",), "valid-widths-parameters",
                "LIMIT_PARAMETERS", "HEAD.n_records", (), full_file(bias=True)),
        Invalid("invalid-widths-symbols", "2^22 + 4 symbols", ("TAB-5",), "valid-widths-symbols", "LIMIT_SYMBOLS",
                f"PASS1.tensor{ordinal(0, 0)}.refined", (), symbols_file(1), whole_passes=1),
    ]  # fmt: skip


def crc_of_all(source: File) -> File:
    """The check of pass 1 covers tensors that it leaves as they are."""
    states = build(replace(source, passes=source.passes[:2])).states
    acc = [number for state in states if state.tensor.begins <= 1 for number in state.acc]
    return with_pass(source, 1, force={"acc_crc": acc_crc(acc)})


def widths_invalid() -> list[Invalid]:
    """Every vector of WIDTHS with one fault."""
    return [*features(), *fields(), *orders(), *passes()]
