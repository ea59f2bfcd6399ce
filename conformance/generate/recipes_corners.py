"""Vectors of single numbers at which a decoder with one small fault goes wrong (bench/mutation.py found them)."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from conformance.generate import rans
from conformance.generate.build import build
from conformance.generate.describe import (
    BITMAP,
    FLATTENED,
    LATENTS,
    PACKED,
    PARTS,
    ROWS,
    SEEDED,
    SPARSE,
    SPARSE_CODE,
    TRELLIS,
    TRELLIS_CODE,
    WIDE,
    Entry,
    File,
    Grid,
    Head,
    Layer,
    Long,
    Pass,
    Pyramid,
    Record,
    Short,
    SparseCode,
    Table,
    Zero,
)
from conformance.generate.faults import Edit
from conformance.generate.philox import prior
from conformance.generate.recipe import Invalid, Valid, base, packed, with_entry
from conformance.generate.recipes_levels import SOURCE
from conformance.generate.recipes_parts import parts_valid

PARENT, INDEXED = "valid-extreme-level-4", "valid-parts-indx"
STEEP = Long(1, 0, 168, 0)  # frequencies 1, 16382, 1
ONE = Head(records=(Layer(bias=False),), in_dims=1, grid=(1,))  # one weight
EXACT = tuple(low - (1 << 13) for low in (0, 7, 5, 64))  # raw fields of 14 bits that begin with the state 2^16
BLOCK = 1 << 14  # numbers that a decoder may take at once, and the text never names


def lists() -> list[Valid]:
    """Lists whose last symbol leaves the state 1, and lists longer than a block."""
    trellis = replace(ONE, records=(Layer(bias=False, tool=TRELLIS_CODE),), features_required=TRELLIS)
    low = Long(0, 0, 0, 0, 0, 14)
    table = Table(1, (60, 70, 60))
    grid = Grid(n_axes=1, latent_dim=2, resolutions=((3,),))
    latents = Head((grid, Layer(width=3), Layer()), features_required=LATENTS, in_dims=1, grid=(3,))
    rows = Head((Layer(width=2, bias=False, row_steps=True), Layer(bias=False)))
    four = Head((Layer(),), in_dims=1, out_channels=4, grid=(1,))
    exact = Entry(EXACT, model=low)
    first = rans.symbol_table(rans.long_parameters((1, 0, 168, 0, 0, 0, 0)))
    if [first[u][0] for u in (-1, 0, 1)] != [1, 16382, 1]:
        raise ValueError("the least symbol has another frequency than 1")
    return [
        Valid("valid-state-1", "the state is 1 before the last symbol", ("10.4", "ENT-5"), base(ONE, 0, model=STEEP)),
        Valid("valid-state-1-trellis", "the same with tool 2", ("9.4", "ENT-5"), base(trellis, 0, model=STEEP)),
        Valid("valid-state-1-field", "the state is 1 before the last raw field", ("10.5", "ENT-5"),
              File(ONE, (Pass((Entry((1 - (1 << 13),), model=low),)),))),
        Valid("valid-state-65536", "the state is 2^16 where words are left", ("10.4", "ENT-4"),
              File(four, (Pass((Entry((0,) * 4, model=STEEP), exact)),))),
        Valid("valid-state-65536-first", "the first state is 2^16, and words are left", ("ENT-4",),
              File(four, (Pass((Entry((0,) * 4, model=Zero()), exact)),))),
        Valid("valid-lanes-runs", "runs without escapes that end in the third lane, one after the other", ("10.4",),
              base(latents, 1, log2_lanes=6, model=Long(2, 0, 100, 0), latent_models=(table, table))),
        Valid("valid-rows-ends", "rows with the step codes 0 and 1023", ("9.1", "WGT-3"),
              with_entry(base(rows, 1), 0, step=500, row_steps=(-500, 523), row_model=Short("LAPLACE", 120))),
        *long_lists(),
    ]  # fmt: skip


def long_lists() -> Iterator[Valid]:
    """More values than a block has, nearly all the first symbol of their run."""
    n = BLOCK + 6
    grid = Grid(n_axes=1, log2_table_size=30, resolutions=((n,),))
    head = Head((grid, Layer()), level=2, features_required=LATENTS, in_dims=1, grid=(2,))
    latents = tuple(-1 - (i == 7) for i in range(n))
    table = Table(1, (127, 0), escape=1)
    rows = [
        Entry(latents, latent_models=(table,)) if tensor.is_latent else Entry((1,) * tensor.size)
        for tensor in head.tensors()
    ]
    yield Valid("valid-block-table", "16390 latents by a table, each with an escape", ("GRD-7",),
                File(head, (Pass(tuple(rows)),)))  # fmt: skip
    more = BLOCK + 70  # the second block has a row of fields
    head = replace(head, records=(replace(grid, resolutions=((more,),)), Layer()))
    spread = tuple(-1 - (i == 3 or i >= BLOCK) for i in range(more))
    rows = [
        replace(row, values=spread) if tensor.is_latent else row
        for tensor, row in zip(head.tensors(), rows, strict=True)
    ]
    yield Valid("valid-block-lanes", "fields of escapes of two blocks in lanes: the run goes on in the second lane",
                ("10.4", "10.5"), File(head, (Pass(tuple(rows), log2_lanes=6),)))  # fmt: skip
    deep = Layer(width=BLOCK // 3 + 2, bias=False, tool=TRELLIS_CODE)
    long = Head((deep, Layer(bias=False)), level=2, features_required=TRELLIS, in_dims=3, grid=(2, 1, 1))
    values = (*(0,) * (BLOCK - 1), 1, 0, 1, -1, 1, 0), (0,) * deep.width
    yield Valid("valid-block-trellis", "a state of the trellis that goes on after 2^14 values", ("9.4", "TRE-2"),
                File(long, (Pass((Entry(values[0], model=STEEP), Entry(values[1], model=Zero()))),)))  # fmt: skip
    n_rows = BLOCK // 3 + 2
    rare = Head((Layer(width=n_rows, bias=False), Layer(bias=False)), level=2, in_dims=3, grid=(2, 1, 1))
    values = tuple({5: 1, BLOCK + 2: -2}.get(i, 0) for i in range(3 * n_rows)), (0,) * n_rows
    yield Valid(
        "valid-block-escapes",
        "an escape among the first 2^14 values, and another behind them",
        ("10.1",),
        File(rare, (Pass((Entry(values[0], model=replace(STEEP, escape=1)), Entry(values[1], model=Zero()))),)),
    )
    wide = Head((Layer(width=n_rows, bias=False), Layer(bias=False)), level=2, in_dims=3, grid=(2, 1, 1))
    values = (-3,) * (3 * n_rows), (0,) * n_rows
    model = Long(1, 0, 168, 0, 0, 1, 1)
    yield Valid("valid-block-low-bits", "more than 2^14 values with low bits and escapes", ("10.1", "10.5"),
                File(wide, (Pass((Entry(values[0], model=model), Entry(values[1], model=Zero()))),)))  # fmt: skip


def tables() -> list[Valid]:
    """Frequencies that a divisor one too small or too large would change."""
    values = (-1, 0, 1, 2, 3, -2), (0, 1, -1)
    head = Head((Layer(width=3, bias=False), Layer(bias=False)))
    models = Long(8, 55, 166, 100), Long(1, 1, 167, 168, 0, 0, 1)
    flat = Head((Layer(bias=False),))
    plain = File(head, (Pass(tuple(Entry(v, model=m) for v, m in zip(values, models, strict=True))),))
    matrix = Layer(bias=False, tool=SPARSE_CODE)
    sparse = replace(
        head, records=(Layer(width=12, bias=False, tool=SPARSE_CODE), matrix),
        features_required=SPARSE | SEEDED,
    )  # fmt: skip
    codes = (
        SparseCode(24, ((0, 1, 3, 7), (2, 5, 6, 10)), ((1, -1, 2, 1),) * 2, gap_model=Long(11, 55, 152, 150)),
        SparseCode(24, ((0, 2, 3),), ((1, 2, -1),), ROWS, gap_model=Long(1, 1, 167, 168, 0, 0, 1)),
    )
    code = SparseCode(24, ((1, 2, 5, 11),), (EXACT,), ROWS, BITMAP)
    exact = Entry(sparse=code, model=Long(0, 0, 0, 0, 0, 14))
    ends = Table(1, (120, 127, 7, 0), escape=1)
    grid = replace(head, records=(Grid(n_axes=1, resolutions=((3,),)), Layer()), features_required=LATENTS, in_dims=1,
                   grid=(3,))  # fmt: skip
    latents = with_entry(base(grid), -1, values=(2, 0, -1), latent_models=(ends,))
    return [
        Valid("valid-table-ends", "differences that end at the codes 127 and 0", ("GRD-7",), latents),
        Valid("valid-model-least-tail", "theta is 2^24 - 9", ("10.2", "ENT-2"),
              File(flat, (Pass((Entry((-10, 5), model=Long(282, 0, 1, 0)),)),))),
        Valid("valid-model-no-weight", "the weights of all symbols are 0", ("10.2",),
              File(flat, (Pass((Entry((0, 1), model=Long(1, 200, 168, 0)),)),))),
        Valid("valid-model-divisor", "the sum of the weights divides nearly exactly", ("10.2",), plain),
        Valid("valid-bitmap-state-65536", "the state is 2^16 after a bitmap, and words are left", ("9.5", "10.4"),
              File(replace(sparse, records=(matrix,), in_dims=6, grid=(1,) * 6), (Pass((exact,)),))),
        Valid("valid-sparse-divisor", "the same for gaps", ("9.5",),
              File(sparse, (Pass(tuple(Entry(sparse=code) for code in codes)),))),
    ]  # fmt: skip


def bitmaps() -> list[Invalid]:
    """Bitmaps whose first binary symbol has the least frequency for "zero"; rows without a step end the decoding."""
    n = 1 << 15
    head = Head(
        (Layer(width=2, bias=False, row_steps=True), Layer(width=n // 2, tool=SPARSE_CODE), Layer(bias=False)),
        level=3, features_required=SPARSE | SEEDED, in_dims=1, grid=(1,),
    )  # fmt: skip
    rows = Entry((0, 0), step=1023, row_steps=(1, 0), model=Zero())

    def without(slot: int, bias: Entry) -> File:
        atoms = tuple(a for a in range(n) if a != slot)
        code = SparseCode(n, (atoms,), ((0,) * len(atoms),), FLATTENED, BITMAP)
        last = Entry((0,) * (n // 2), model=Zero())
        return File(head, (Pass((rows, Entry(sparse=code, model=Zero()), bias, last)),))

    zeros = Entry((0,) * (n // 2), model=Zero())
    coded = replace(zeros, values=(*(0,) * 5, 1, *(0,) * (n // 2 - 6)), model=STEEP)
    error, at, clauses = "STEP_OUT_OF_RANGE", "PASS0.body", ("9.5", "WGT-3")
    return [
        Invalid("invalid-bitmap-least-zero", "a bitmap of 2^15 slots without the first, then a step code of 1024",
                clauses, PARENT, error, at, (), without(0, coded)),
        Invalid("invalid-bitmap-least-one", "a bitmap without the last slot", clauses, PARENT, error, at, (),
                without(n - 1, zeros)),
        Invalid("invalid-bitmap-state-1", "a bitmap without the second slot: the state is 1 after the first",
                clauses, PARENT, error, at, (), without(1, zeros)),
    ]  # fmt: skip


def head_only(name: str, title: str, clause: str, error: str, at: str, head: Head) -> Invalid:
    """A file of HEAD alone."""
    return Invalid(f"invalid-{name}", title, tuple(clause.split()), PARENT, error, f"HEAD.{at}", (),
                   File(head, (), order=("HEAD",)))  # fmt: skip


def heads() -> list[Invalid]:
    """Numbers of HEAD at a border; where they are right, there is no pass."""
    missing = "MISSING_PASS", "type"
    prior_alone = Head((Layer(prior=True),), features_required=SEEDED | WIDE)
    found = [
        head_only("wide-seed", "the seed 2^32 needs WIDE; no pass", "HED-10 CON-8", *missing,
                  replace(prior_alone, seed=1 << 32)),
        head_only("wide-seed-below", "WIDE for the seed 2^32 - 1", "HED-10", "FEATURE_MISMATCH", "features_required",
                  replace(prior_alone, seed=(1 << 32) - 1)),
        head_only("wide-grid", "2^16 samples along an axis need WIDE; no pass", "HED-10 CON-8", *missing,
                  Head(features_required=WIDE, grid=(1, 1 << 16))),
        head_only("wide-grid-below", "WIDE for 2^16 - 1 samples along an axis", "HED-10", "FEATURE_MISMATCH",
                  "features_required", Head(features_required=WIDE, grid=((1 << 16) - 1, 1))),
    ]  # fmt: skip
    crooked = Pyramid(force={"axes": 16, "filter": 0x22})
    found.append(head_only("order-pyramid-axes", "axes is 16 before a reserved bit of filter", "5.5", "BAD_RECORD",
                           "record0.axes", Head((crooked, Layer()), features_required=LATENTS)))  # fmt: skip
    for shared in (0, 1):
        tag = "-shared" if shared else ""
        found += [
            head_only(f"parts-pyramid-full{tag}", "all parameters of level 1 in the pyramids of three parts; no pass",
                      "HED-8 CON-8", *missing, pyramids(16384, shared)),
            head_only(f"parts-pyramid-parameters{tag}", "a parameter more than level 1 has in three pyramids",
                      "HED-8", "LIMIT_PARAMETERS", "n_records", pyramids(16385, shared)),
        ]  # fmt: skip
    return found


def pyramids(total: int, shared: int) -> Head:
    """Three parts of a line with a pyramid each that have so many parameters."""
    records: tuple[Record, ...] = (Pyramid(halved=1), Layer())
    for overlap, n in product(range(1, 5), range(total * 2 // 3 - 40, total * 2 // 3)):
        head = Head(records, features_required=LATENTS | PARTS, in_dims=1, grid=(n,), split=(3,), overlap=(overlap,),
                    shared=shared)  # fmt: skip
        if sum(tensor.size for part in head.chunk_parts() for tensor in head.tensors_of(part)) == total:
            return head
    raise ValueError(f"no line has {total} parameters")


def bodies() -> list[Invalid]:
    """Lanes that are allowed, and the body is too short for them; TRE-3 before the prior."""
    lanes = [
        Invalid(f"invalid-lanes-{1 << log2}-short", f"{1 << log2} lanes and a body of 4 bytes", ("PAS-2", "ENT-6"),
                "valid-state-1", "BAD_STREAM", "PASS0.body", (Edit("PASS0.flags", bytes([log2 << 4 | 9])),))
        for log2 in range(8, 12)
    ]  # fmt: skip
    small = [
        Invalid("invalid-lanes-state-2", "a lane begins with the state 2, and ends with 2^16", ("ENT-6",), PARENT,
                "BAD_STREAM", "PASS0.body", (), File(ONE, (Pass((Entry((0,), model=STEEP),), log2_lanes=6,
                body_hex="02000000" + "00000100" * 63 + "0000"),))),
        Invalid("invalid-state-2", "the state is 2 and a word follows; all would end with 0", ("ENT-4",), PARENT,
                "BAD_STREAM", "PASS0.body", (), File(replace(ONE, in_dims=6, grid=(1,) * 6), (Pass((
                Entry((0, -1, 0, 0, 0, 0), model=STEEP),), body_hex="020000000000"),))),
    ]  # fmt: skip
    indexed = next(recipe.file for recipe in parts_valid() if recipe.name == INDEXED)
    labels = [label for label in indexed.chunk_order() if label.startswith("PASS")]
    between = Invalid("invalid-parts-indx-between", "INDX between two parts of the first pass", ("CON-6",), INDEXED,
                      "CHUNK_ORDER", "INDX.type", (),
                      replace(indexed, order=("HEAD", labels[0], "INDX", *labels[1:])))  # fmt: skip
    cut = Edit("HEAD.hcheck", b"\0", size=len(build(SOURCE).data) - 8)
    header = Invalid("invalid-order-hcheck-cut", "hcheck before a payload that is not there", ("CON-2", "5.4"), PARENT,
                     "HEADER_CHECK_MISMATCH", "HEAD.hcheck", (cut,), reseal=())  # fmt: skip
    nine = Head((Layer(bias=False),), in_dims=3, out_channels=3, grid=(1, 1, 1))
    padding = Invalid("invalid-body-padding-7", "the last of seven padding bits is set", ("11",), PARENT,
                      "PADDING_NOT_ZERO", "PASS0.body", (),
                      File(nine, (Pass((Entry((0,) * 9, width=1),), PACKED, body_hex="0080"),)), plus=1)  # fmt: skip
    table = next(recipe.file for recipe in tables() if recipe.name == "valid-table-ends")
    codes = [
        Invalid(f"invalid-table-code-{name}", f"a difference gives the code {code}", ("GRD-7",), "valid-table-ends",
                "BAD_MODEL", f"PASS0.tensor65792.table_difference{i}", (),
                with_entry(table, -1, force={f"table_code{i - 1}": before}))
        for name, code, i, before in (("below", -1, 3, 6), ("above", 128, 1, 121))
    ]  # fmt: skip
    layer = Layer(bias=False, tool=TRELLIS_CODE, prior=True)
    head = replace(ONE, records=(layer,), features_required=TRELLIS | SEEDED)
    seed = next(seed for seed in range(100) if prior(0, 0, seed, 1 << 15, 30) < 0)
    back = packed(replace(head, seed=seed), 0, prior=(1 << 15, 30))
    return [
        *lanes,
        *small,
        between,
        header,
        padding,
        *codes,
        Invalid("invalid-trellis-overflow-prior", "r is 2^31, and the prior would bring it back", ("TRE-3",), PARENT,
                "ACC_OVERFLOW", "PASS0.body", (), with_entry(back, 0, values=(1 << 30,))),
    ]  # fmt: skip


def corners_valid() -> list[Valid]:
    """Every valid vector of this page."""
    return [*lists(), *tables()]


def corners_invalid() -> list[Invalid]:
    """Every invalid vector of this page."""
    return [*bitmaps(), *heads(), *bodies()]
