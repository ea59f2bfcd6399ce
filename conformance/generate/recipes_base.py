"""Recipes of the vectors of SHARED_BASE (clause 9.8): bases, files relative to them, faults and wrong calls."""

import hashlib
from dataclasses import replace
from typing import Any

from conformance.generate.build import TensorState, build, built_base, state_digest, step_code
from conformance.generate.describe import (
    BITMAP,
    COLUMNS,
    CORNERS,
    FLATTENED,
    PACKED,
    RANS,
    RAW,
    ROWS,
    SCALAR,
    SEEDED,
    SHARED_BASE,
    SPARSE,
    SPARSE_CODE,
    TRELLIS,
    TRELLIS_CODE,
    WIDE,
    ZLIB,
    Ancillary,
    Entry,
    File,
    Filter,
    Fourier,
    FourierSeeded,
    Head,
    Input,
    Layer,
    Model,
    Output,
    Pass,
    Record,
    Short,
    Tensor,
)
from conformance.generate.faults import Bits, Edit, Flip
from conformance.generate.recipe import Call, Invalid, Valid, base, entry_for, numbers, packed, with_entry, with_head
from conformance.generate.recipes_records import GABOR, SAME_WIDTH, SCALED
from conformance.generate.recipes_sparse import T8, code_for, repeated
from conformance.generate.recipes_valid import HASH_TYPE

STEP = step_code(-4)
SINE = Layer("SINE", 6, omega=3)
PLAIN_HEAD = Head(records=(SINE, Layer()), out_channels=2, grid=(3, 4))
PLAIN = base(PLAIN_HEAD)


def with_tools(records: tuple[Record, ...], *tools: int) -> tuple[Record, ...]:
    """The same layers with other coding tools, without priors and row steps."""
    chosen = iter(tools)
    out: list[Record] = []
    for record in records:
        if isinstance(record, Layer):
            out.append(replace(record, tool=next(chosen), prior=False, row_steps=False))
        elif isinstance(record, Output | Filter):
            out.append(type(record)(replace(record.layer, tool=next(chosen), prior=False, row_steps=False)))
        else:
            out.append(record)
    return tuple(out)


def needed(records: tuple[Record, ...]) -> int:
    """The feature bits of records of a file with a base."""
    layers = [r.layer if isinstance(r, Output | Filter) else r for r in records]
    tools = {layer.tool for layer in layers if isinstance(layer, Layer)}
    seeded = SPARSE_CODE in tools or isinstance(records[0], FourierSeeded)
    return (
        SHARED_BASE
        | (SEEDED if seeded else 0)
        | (SPARSE if SPARSE_CODE in tools else 0)
        | (TRELLIS if TRELLIS_CODE in tools else 0)
    )


def relative(source: File, *tools: int, n_passes: int = 1, **fields: Any) -> Head:
    """The head of a file relative to another."""
    records = fields.pop("records", None) or with_tools(source.head.records, *tools)
    changes = {"features_required": needed(records), "n_passes": n_passes, **fields}
    return replace(source.head, records=records, optional_blocks=(), features_optional=0, **changes)


def change(tensor: Tensor, n: int, salt: int = 0, model: Model | None = None, **chosen: Any) -> Entry:
    """A refinement by n bits with irregular values."""
    if tensor.layer.tool == RAW:
        return Entry()
    if tensor.is_sparse:
        code = code_for(tensor, **{"n_nonzero": 2, "spread": 5, **chosen})
        return Entry(sparse=code, refine=n - 1)
    return Entry(values=numbers(tensor.size, 3, salt + tensor.ordinal), refine=n, model=model or Short())


def relative_file(
    source: File, *tools: int, n: int = 2, coding: int = RANS, log2_lanes: int = 0, **chosen: Any
) -> File:
    """One pass that changes every tensor of a base."""
    fields = {name: chosen.pop(name) for name in ("records", "seed", "rng_dictionary") if name in chosen}
    head = relative(source, *tools, **fields)
    rows = tuple(change(tensor, n, **chosen) for tensor in head.tensors())
    return File(head, (Pass(rows, coding, log2_lanes),), base=source)


def rich_base() -> File:
    """Row steps, priors, tools 0 to 3, two passes."""
    head = Head(
        records=(
            replace(SINE, row_steps=True, prior=True),
            replace(SINE, width=4, tool=SPARSE_CODE),
            replace(SINE, width=5, tool=RAW, half=True),
            replace(SINE, width=3, tool=TRELLIS_CODE),
            Layer(row_steps=True),
        ),
        features_required=SEEDED | SPARSE | TRELLIS,
        seed=4711,
        n_passes=2,
        grid=(3, 4),
    )
    first = tuple(
        Entry(sparse=code_for(t), step=step_code(-9)) if t.is_sparse else entry_for(t, 12) for t in head.tensors()
    )
    second = tuple(Entry() if t.layer.tool == RAW else change(t, 2, 40) for t in head.tensors())
    file = with_entry(File(head, (Pass(first), Pass(second))), 0, row_steps=(0, 3, -8, 8, 1, 2), prior=(200 << 8, 33))
    return with_entry(file, 8, row_steps=(0,))


RICH = rich_base()
RECORDS = base(
    Head(
        records=(
            Input(0, 1),
            SINE,
            Input(1, 2, Fourier(2)),
            replace(GABOR, repeat=2),
            Output(Layer("SIGMOID", 2)),
            SAME_WIDTH,
            SCALED,
            Layer(),
        ),
        in_dims=3,
        out_channels=3,
        grid=(2, 2, 3),
        modality=8,
    )
)
ENCODED = base(Head(records=(Fourier(3), SINE, Layer()), grid=(3, 4)))
SEEDED_BASE = base(Head(records=(FourierSeeded(4), SINE, Layer()), features_required=SEEDED, seed=99, grid=(3, 4)))
REPEATED = base(Head(records=(replace(SINE, width=4, repeat=3), Layer()), level=3, grid=(3, 4)))
COARSE = with_entry(packed(Head(records=(Layer(),)), step=71), 0, values=((1 << 23) - 1, 5))
BASES = {
    "plain": ("a base: tool 1", PLAIN),
    "rich": ("a base: row steps, a prior, all tools, two passes", RICH),
    "records": ("a base: INPUT, OUTPUT, FILTER, GABOR", RECORDS),
    "encoded": ("a base: FOURIER", ENCODED),
    "seeded": ("a base: seeded features", SEEDED_BASE),
    "repeated": ("a base: a record of three layers, level 3", REPEATED),
    "coarse": ("a base: an integer of 2^23 - 1, step codes 71", COARSE),
}


def plain() -> list[Valid]:
    """Tools and codings over the plain base."""
    some = relative_file(PLAIN, SCALAR, SCALAR)
    some = with_entry(with_entry(some, 1, refine=None, values=()), 2, refine=None, values=())
    nothing = File(some.head, (Pass((Entry(),) * 4),), base=PLAIN)
    both = (SPARSE_CODE, SPARSE_CODE)
    again = relative_file(PLAIN, *both, vectors=COLUMNS)
    found = {
        "scalar": ("tool 1 over a base", some_all()),
        "some": ("two tensors of four change", some),
        "nothing": ("no tensor changes: the weights of the base", nothing),
        "nothing-packed": ("no tensor changes, packed: no body", replace_coding(nothing, PACKED)),
        "packed": ("packed", relative_file(PLAIN, SCALAR, SCALAR, coding=PACKED)),
        "zlib": ("zlib", relative_file(PLAIN, SCALAR, SCALAR, coding=ZLIB)),
        "lanes": ("64 lanes", relative_file(PLAIN, SCALAR, SCALAR, log2_lanes=6)),
        "trellis": ("tool 2 over a base of tool 1", relative_file(PLAIN, TRELLIS_CODE, TRELLIS_CODE)),
        "trellis-lanes": (
            "tool 2 with 64 lanes",
            relative_file(PLAIN, TRELLIS_CODE, TRELLIS_CODE, log2_lanes=6),
        ),
        "sparse": ("tool 3 over a base of tool 1: biases are sparse codes of one column", relative_file(PLAIN, *both)),
        "sparse-rows": ("tool 3 by rows: a bias is one atom for each", relative_file(PLAIN, *both, vectors=ROWS)),
        "sparse-flat": ("tool 3, flattened, law 1", relative_file(PLAIN, *both, vectors=FLATTENED, rng_dictionary=T8)),
        "sparse-bitmap": ("tool 3 with bitmaps", relative_file(PLAIN, *both, support=BITMAP)),
        "sparse-packed": ("tool 3, packed", relative_file(PLAIN, *both, coding=PACKED)),
        "sparse-bits": ("tool 3 that gains two bits", relative_file(PLAIN, *both, n=3)),
        "sparse-lanes": ("tool 3, 64 lanes", relative_file(PLAIN, *both, log2_lanes=6)),
        "sparse-again": ("vectors = 3 for all tensors but the first", repeated(again)),
        "sparse-again-packed": ("vectors = 3, packed", repeated(replace_coding(again, PACKED))),
        "mixed": ("tool 3, then tool 2", relative_file(PLAIN, SPARSE_CODE, TRELLIS_CODE)),
    }
    return [
        Valid(f"valid-shared-{name}", title, ("9.8",), file, base="valid-base-plain")
        for name, (title, file) in found.items()
    ]


def some_all() -> File:
    """Every tensor of the plain base changes, by different numbers of bits."""
    file = relative_file(PLAIN, SCALAR, SCALAR)
    return with_entry(with_entry(file, 0, refine=1), 3, refine=8)


def replace_coding(file: File, coding: int) -> File:
    """The same pass under another coding."""
    return replace(file, passes=(replace(file.passes[0], coding=coding),))


def others() -> list[Valid]:
    """Other bases, later passes, heads that differ from their base's where they may."""
    three = relative(PLAIN, SCALAR, TRELLIS_CODE, n_passes=3)
    later = [
        Pass(tuple(change(t, n, 10 * n) for t in three.tensors()), coding)
        for n, coding in ((2, RANS), (1, PACKED), (3, RANS))
    ]
    keep = Pass((Entry(),) * 4)
    progressive = File(three, tuple(later), base=PLAIN)
    two = relative(PLAIN, SCALAR, SCALAR, n_passes=2)
    changed_late = File(two, (keep, Pass(tuple(change(t, 2) for t in two.tensors()))), base=PLAIN)
    rich_tools = (SCALAR, TRELLIS_CODE, RAW, SPARSE_CODE, SPARSE_CODE)
    other_signal = relative(
        PLAIN,
        SCALAR,
        SCALAR,
        modality=8,
        coords=CORNERS,
        values=2,
        grid=(2, 5),
        level=2,
    )
    wide = relative(PLAIN, SCALAR, SCALAR, grid=(1, 65536))
    wide = replace(wide, features_required=wide.features_required | WIDE)
    quality = replace(relative(PLAIN, SCALAR, SCALAR), features_optional=1, optional_blocks=(b"\xb8\x0b",))
    hashed = replace(
        some_all(),
        ancillary=(Ancillary("HASH", HASH_TYPE, hash_passes=(0,)),),
        order=("HEAD", "PASS0", "HASH"),
    )

    def one(head: Head) -> File:
        return File(head, (Pass(tuple(change(t, 2) for t in head.tensors())),), base=PLAIN)

    split = (
        replace(SINE, width=4, tool=SCALAR),
        replace(SINE, width=4, tool=TRELLIS_CODE, repeat=2),
        Layer(tool=SPARSE_CODE),
    )
    shift = File(relative(COARSE, SCALAR), (Pass((Entry(values=(255, 0), refine=8), Entry()), PACKED),), base=COARSE)
    B = "valid-base-"
    return [
        Valid(
            "valid-shared-passes",
            "three passes over a base, cut everywhere",
            ("9.8", "DEC-5", "17"),
            progressive,
            each_pass=True,
            prefixes=True,
            base=B + "plain",
        ),
        Valid(
            "valid-shared-pass-late",
            "the first pass changes nothing",
            ("9.8", "DEC-5"),
            changed_late,
            each_pass=True,
            base=B + "plain",
        ),
        Valid(
            "valid-shared-rich",
            "a base of two passes with row steps, a prior and all tools; its tool 0 stays",
            ("9.8", "9.2"),
            relative_file(RICH, *rich_tools),
            each_pass=True,
            base=B + "rich",
        ),
        Valid(
            "valid-shared-rich-packed",
            "the same, packed: no patterns in the body",
            ("9.8", "9.2"),
            relative_file(RICH, *rich_tools, coding=PACKED),
            base=B + "rich",
        ),
        Valid(
            "valid-shared-rich-sparse",
            "tool 3 over row steps",
            ("9.8", "SPA-4"),
            relative_file(RICH, SPARSE_CODE, SPARSE_CODE, RAW, SCALAR, SPARSE_CODE, n=3),
            base=B + "rich",
        ),
        Valid(
            "valid-shared-records",
            "INPUT, OUTPUT, FILTER and complex layers, tools 1, 2 and 3",
            ("9.8", "6.7"),
            relative_file(RECORDS, SCALAR, TRELLIS_CODE, SPARSE_CODE, SPARSE_CODE, TRELLIS_CODE, SCALAR),
            base=B + "records",
        ),
        Valid(
            "valid-shared-encoded",
            "an input encoding",
            ("9.8", "BAS-2"),
            relative_file(ENCODED, SCALAR, SCALAR),
            base=B + "encoded",
        ),
        Valid(
            "valid-shared-seeded",
            "seeded features: the seed of the base",
            ("9.8", "BAS-2"),
            relative_file(SEEDED_BASE, SCALAR, SPARSE_CODE),
            base=B + "seeded",
        ),
        Valid(
            "valid-shared-other-seed",
            "a sparse code under another seed than that of the base's prior",
            ("9.8", "BAS-2"),
            relative_file(RICH, *rich_tools, seed=12),
            base=B + "rich",
        ),
        Valid(
            "valid-shared-split",
            "three layers are one record of the base and two of the file, which has a lower level",
            ("9.8", "BAS-2"),
            split_file(split),
            base=B + "repeated",
        ),
        Valid(
            "valid-shared-signal",
            "another modality, grid, level, coordinates and values than the base",
            ("9.8", "BAS-2"),
            one(other_signal),
            base=B + "plain",
        ),
        Valid(
            "valid-shared-wide",
            "WIDE in the file alone, values at given coordinates",
            ("9.8", "HED-10"),
            one(wide),
            coords=((0.5, -0.25), (0.0, 1.0)),
            base=B + "plain",
        ),
        Valid("valid-shared-quality", "QUALITY behind base_digest", ("9.8", "6.6"), one(quality), base=B + "plain"),
        Valid("valid-shared-hash", "HASH of the weights over a base", ("9.8", "ANC-1"), hashed, base=B + "plain"),
        Valid(
            "valid-shared-8-bits",
            "8 bits take 2^23 - 1 to 2^31 - 1; a step code falls from 71 to 7",
            ("9.8", "WGT-4", "TAB-4"),
            shift,
            base=B + "coarse",
        ),
        Valid(
            "valid-shared-not-read",
            "--base names no file, and the file has no SHARED_BASE",
            ("DEC-6",),
            PLAIN,
            options="--base no-such-file.sinr",
        ),
        Valid(
            "valid-shared-not-used",
            "--base of a file that has no SHARED_BASE",
            ("DEC-6",),
            with_entry(PLAIN, 1, values=(1, 2, 3, 4, 5, 6)),
            base=B + "rich",
        ),
    ]


def split_file(records: tuple[Record, ...]) -> File:
    """Other records for the layers of the repeated base."""
    head = replace(relative(REPEATED, records=records), level=1)
    return File(head, (Pass(tuple(change(t, 2) for t in head.tensors())),), base=REPEATED)


def base_valid() -> list[Valid]:
    """Every valid vector in the order of the ladder; the bases come first."""
    bases = [Valid(f"valid-base-{name}", title, ("9.8",), file) for name, (title, file) in BASES.items()]
    return [*bases, *plain(), *others()]


# --- one fault each ----------------------------------------------------------------------------------

PARENTS: dict[str, Valid] = {recipe.name: recipe for recipe in base_valid()}
SCALARS, SPARSES, AT = "valid-shared-scalar", "valid-shared-sparse", "HEAD.base_digest"


def mismatches() -> list[Invalid]:
    """BAS-2: digests, and networks that differ from the base's."""
    bad = "BASE_MISMATCH"

    def digest(name: str, title: str, data: bytes) -> Invalid:
        file = with_head(some_all(), base_digest=data)
        return Invalid(f"invalid-base-{name}", title, ("BAS-2",), SCALARS, bad, AT, (), file)

    def network(name: str, title: str, source: str, **fields: Any) -> Invalid:
        """A head that differs from its base's, with the right digest."""
        parent = PARENTS[source].file
        if parent.base is None:
            raise ValueError(f"{source} has no base")
        head = replace(parent.head, base_digest=state_digest(built_base(parent.base).states), **fields)
        head = replace(head, features_required=fields.get("features_required", needed(head.records)))
        file = File(head, (), order=("HEAD",))
        return Invalid(f"invalid-base-{name}", title, ("BAS-2",), source, bad, AT, (), file)

    states = built_base(PLAIN).states
    rich = built_base(RICH).states
    whole = whole_digest(states)
    seeded = "valid-shared-seeded"
    encoded, records = "valid-shared-encoded", PARENTS["valid-shared-records"].file.head.records
    layer = Layer(tool=SCALAR)
    first, second, rest = records[:2], records[2], records[3:]
    swapped = (*records[:4], records[5], records[4], *records[6:])
    rich_records = PARENTS["valid-shared-rich"].file.head.records
    chain = shared_chain()
    return [
        Invalid("invalid-base-digest-bit", "a bit of base_digest", ("BAS-2",), SCALARS, bad, AT, (Flip(AT, 1, 15),)),
        digest("digest-end", "the last 16 bytes of the SHA-256", whole[16:]),
        digest("digest-zero", "base_digest is 0", bytes(16)),
        digest("digest-acc", "the digest without step codes", whole_digest(states, with_steps=False)[:16]),
        digest("digest-file", "the digest of the base's bytes", hashlib.sha256(build(PLAIN).data).digest()[:16]),
        Invalid(
            "invalid-base-digest-first-pass",
            "the digest of the base after its first pass",
            ("BAS-2",),
            "valid-shared-rich",
            bad,
            AT,
            (),
            with_head(PARENTS["valid-shared-rich"].file, base_digest=first_pass_digest()),
        ),
        Invalid(
            "invalid-base-digest-steps",
            "the digest with one step code in place of one for each row",
            ("BAS-2",),
            "valid-shared-rich",
            bad,
            AT,
            (),
            with_head(
                PARENTS["valid-shared-rich"].file,
                base_digest=state_digest([replace(state, row_steps=None) for state in rich]),
            ),
        ),
        Invalid(
            "invalid-base-of-base",
            "the base has a base itself",
            ("BAS-2",),
            SCALARS,
            bad,
            AT,
            (),
            chain,
            base=SCALARS,
        ),
        network("in-dims", "3 coordinates for 2", SCALARS, in_dims=3, grid=(1, 1, 1)),
        network("out-channels", "3 values for 2", SCALARS, out_channels=3),
        network("width", "5 outputs for 6", SCALARS, records=(replace(SINE, width=5), layer)),
        network("layers", "a layer more", SCALARS, records=(replace(SINE, repeat=2), layer)),
        network("layers-less", "a layer less", SCALARS, records=(layer,)),
        network("kind", "TANH in place of SINE", SCALARS, records=(Layer("TANH", 6), layer)),
        network("kind-last", "another kind of the last layer", SCALARS, records=(SINE, Layer("TANH"))),
        network("omega", "omega 4 in place of 3", SCALARS, records=(replace(SINE, omega=4), layer)),
        network("omega-binary32", "omega 3.5 in place of 3", SCALARS, records=(replace(SINE, omega=3.5), layer)),
        network("bias", "no bias", SCALARS, records=(replace(SINE, bias=False), layer)),
        network("raw", "tool 0 in the file alone", SCALARS, records=(replace(SINE, tool=RAW), layer)),
        network(
            "raw-base",
            "tool 0 in the base alone",
            "valid-shared-rich",
            records=(*rich_records[:2], replace(SINE, width=5), *rich_records[3:]),
        ),
        network(
            "half",
            "binary32 in place of binary16",
            "valid-shared-rich",
            records=(*rich_records[:2], replace(SINE, width=5, tool=RAW), *rich_records[3:]),
        ),
        network("encoding", "an input encoding that the base does not have", SCALARS, records=(Fourier(), SINE, layer)),
        network("encoding-none", "no input encoding", encoded, records=(SINE, layer)),
        network("encoding-octaves", "4 octaves for 3", encoded, records=(Fourier(4), SINE, layer)),
        network("encoding-base", "base 3 for 2", encoded, records=(Fourier(3, base=3), SINE, layer)),
        network("encoding-pi", "frequencies times pi", encoded, records=(Fourier(3, times_pi=True), SINE, layer)),
        network("seed", "another seed of FOURIER_SEEDED", seeded, seed=98),
        network("features-scale", "another scale of FOURIER_SEEDED", seeded, records=other_features()),
        network("scale", "another scale of GABOR", "valid-shared-records", records=other_scale(records)),
        network("output-order", "OUTPUT behind another layer", "valid-shared-records", records=swapped),
        network("no-output", "a layer in place of OUTPUT", "valid-shared-records", records=without_output(records)),
        network(
            "filter",
            "a linear layer in place of FILTER",
            "valid-shared-records",
            records=(*records[:-2], replace(SAME_WIDTH, tool=TRELLIS_CODE), records[-1]),
        ),
        network("input-less", "an INPUT less", "valid-shared-records", records=(*first, *rest)),
        network(
            "input-place",
            "an INPUT behind another layer",
            "valid-shared-records",
            records=(*first, rest[0], second, *rest[1:]),
        ),
        network(
            "input-count",
            "an INPUT of other axes",
            "valid-shared-records",
            records=(*first, Input(2, 1, Fourier(2)), *rest),
        ),
        network(
            "input-first",
            "an INPUT of other axes, as many",
            "valid-shared-records",
            records=(*first, Input(0, 2, Fourier(2)), *rest),
        ),
        network(
            "input-pi",
            "an INPUT with frequencies times pi",
            "valid-shared-records",
            records=(*first, Input(1, 2, Fourier(2, times_pi=True)), *rest),
        ),
        network(
            "input-base",
            "an INPUT with base 3 for 2",
            "valid-shared-records",
            records=(*first, Input(1, 2, Fourier(2, base=3)), *rest),
        ),
    ]


def whole_digest(states: list[TensorState], *, with_steps: bool = True) -> bytes:
    """All 32 bytes of the SHA-256 of a state of small integers; without its step codes on demand."""
    data = b""
    for state in states:
        steps = state.step_codes() if with_steps else []
        data += b"".join(step.to_bytes(2, "little") for step in steps)
        data += b"".join(a.to_bytes(4, "little", signed=True) for a in state.acc)
    return hashlib.sha256(data).digest()


def first_pass_digest() -> bytes:
    """The state digest of the rich base after its first pass."""
    return state_digest(built_base(replace(RICH, passes=RICH.passes[:1])).states)


def shared_chain() -> File:
    """A file whose base is relative to another base; the digest is that of the base's state."""
    parent = some_all()
    head = replace(parent.head, base_digest=state_digest(built_base(parent).states))
    return File(head, (), order=("HEAD",))


def other_features() -> tuple[Record, ...]:
    """The records of the file with seeded features, at another scale."""
    return (FourierSeeded(4, 0.03125), *PARENTS["valid-shared-seeded"].file.head.records[1:])


def other_scale(records: tuple[Record, ...]) -> tuple[Record, ...]:
    """The records with another scale of their GABOR layers."""
    return tuple(replace(r, scale=0.5) if isinstance(r, Layer) and r.kind == "GABOR" else r for r in records)


def without_output(records: tuple[Record, ...]) -> tuple[Record, ...]:
    """The records with the layer of the OUTPUT among the others."""
    return tuple(r.layer if isinstance(r, Output) else r for r in records)


def heads() -> list[Invalid]:
    """HED-15, the field base_digest, orders of checks."""
    bad, none = "BAD_RECORD", ""

    def flagged(name: str, title: str, at: str, *records: Record, features: int = 0, **fields: Any) -> Invalid:
        head = replace(
            PARENTS[SCALARS].file.head,
            records=records,
            features_required=SHARED_BASE | features,
            base_digest=state_digest(built_base(PLAIN).states),
            **fields,
        )
        file = File(head, (), order=("HEAD",))
        return Invalid(f"invalid-base-{name}", title, ("HED-15",), SCALARS, bad, f"HEAD.{at}", (), file)

    rows, prior = replace(SINE, row_steps=True), replace(SINE, prior=True)
    end = "HEAD.crc32"
    return [
        flagged("row-steps", "row steps", "record0.tool_flags", rows, Layer()),
        flagged("prior", "a prior", "record0.tool_flags", prior, Layer(), features=SEEDED),
        flagged("row-steps-last", "row steps in the last record", "record1.tool_flags", SINE, Layer(row_steps=True)),
        flagged(
            "row-steps-output",
            "row steps in an OUTPUT",
            "record1.tool_flags",
            SINE,
            Output(Layer(row_steps=True)),
            Layer(),
        ),
        flagged(
            "prior-filter",
            "a prior in a FILTER",
            "record1.tool_flags",
            SINE,
            Filter(Layer(prior=True)),
            Layer(),
            features=SEEDED,
        ),
        Invalid(
            "invalid-base-short",
            "HEAD ends inside base_digest",
            ("CON-10",),
            SCALARS,
            "PAYLOAD_TOO_SHORT",
            end,
            (Edit(AT, b"", 15, 1),),
        ),
        Invalid(
            "invalid-base-no-digest",
            "SHARED_BASE without base_digest",
            ("CON-10",),
            "valid-min-packed",
            "PAYLOAD_TOO_SHORT",
            end,
            (Edit("HEAD.features_required", b"\x80\0"),),
        ),
        Invalid(
            "invalid-base-no-feature",
            "base_digest without SHARED_BASE",
            ("CON-10",),
            SCALARS,
            "SURPLUS_BYTES",
            AT,
            (Edit("HEAD.features_required", b"\0\0"),),
        ),
        Invalid(
            "invalid-order-base-record",
            "HED-15 before BAS-1",
            ("HED-15",),
            SCALARS,
            bad,
            "HEAD.record0.tool_flags",
            (Edit("HEAD.record0.tool_flags", b"\x11"),),
            base=none,
        ),
        Invalid(
            "invalid-order-base-digest-record",
            "HED-15 before BAS-2",
            ("HED-15",),
            SCALARS,
            bad,
            "HEAD.record1.tool_flags",
            (Edit("HEAD.record1.tool_flags", b"\x11"), Flip(AT)),
        ),
        Invalid(
            "invalid-order-base-block",
            "HED-11 before BAS-1",
            ("HED-15",),
            "valid-shared-quality",
            "BAD_OPTIONAL_BLOCK",
            "HEAD.block0",
            (Edit("HEAD.block0", b"\x01\0", 0, 3),),
            base=none,
        ),
        Invalid(
            "invalid-order-base-pass",
            "BAS-1 before the CRC of PASS",
            ("5.4",),
            SCALARS,
            "BASE_REQUIRED",
            AT,
            (Flip("PASS0.body"),),
            reseal=(),
            base=none,
        ),
        Invalid(
            "invalid-order-base-pass-digest",
            "BAS-2 before the CRC of PASS",
            ("5.4",),
            SCALARS,
            "BASE_MISMATCH",
            AT,
            (Flip("PASS0.body"),),
            reseal=(),
            base="valid-base-rich",
        ),
    ]


def passes() -> list[Invalid]:
    """Faults of the first PASS, which is a later pass."""
    body = "PASS0.body"
    eight = PARENTS["valid-shared-8-bits"].file
    overflow = with_entry(eight, 0, values=(256, 0))
    low = with_entry(eight, 1, refine=8, values=(1,))
    low = replace(low, head=replace(low.head, n_passes=2))
    low = replace(low, passes=(*low.passes, Pass((Entry(), Entry(values=(0,), refine=1)), PACKED)))
    return [
        Invalid(
            "invalid-base-overflow",
            "the base's 2^23 - 1 becomes 2^31",
            ("WGT-4",),
            "valid-shared-8-bits",
            "ACC_OVERFLOW",
            body,
            (),
            overflow,
        ),
        Invalid(
            "invalid-base-acc-crc",
            "the lowest bit of the first value",
            ("PAS-5",),
            "valid-shared-packed",
            "ACC_CRC_MISMATCH",
            "PASS0.acc_crc",
            (Flip(body),),
        ),
        Invalid(
            "invalid-base-not-refined",
            "the tensors end before the body does",
            ("11",),
            "valid-shared-8-bits",
            "SURPLUS_BYTES",
            body,
            (),
            File(eight.head, (Pass((Entry(), Entry()), PACKED, body_hex="00"),), base=COARSE),
        ),
        Invalid(
            "invalid-base-sparse-bias",
            "two atoms for a bias by rows",
            ("SPA-1",),
            "valid-shared-sparse-rows",
            "BAD_TABLE",
            "PASS0.tensor1.n_nonzero",
            (Bits("PASS0.tensor1.n_nonzero", 2),),
        ),
        Invalid(
            "invalid-base-sparse-again",
            "vectors = 3 in the first sparse code",
            ("SPA-1",),
            SPARSES,
            "BAD_TABLE",
            "PASS0.tensor0.vectors",
            (Bits("PASS0.tensor0.vectors", 3),),
        ),
        Invalid(
            "invalid-base-last-crc",
            "a bit of the third pass over a base",
            ("CON-3",),
            "valid-shared-passes",
            "CHUNK_CRC_MISMATCH",
            "PASS2.crc32",
            (Flip("PASS2.body"),),
            reseal=(),
            whole_passes=2,
        ),
        Invalid(
            "invalid-base-step",
            "the base's step code 71 falls by 64, then by 8",
            ("TAB-4",),
            "valid-shared-8-bits",
            "STEP_OUT_OF_RANGE",
            "PASS1.tensor1.refine_bits",
            (),
            low,
            whole_passes=1,
        ),
    ]


def damaged_bases() -> list[Invalid]:
    """The plain base with one fault: files that are refused, and that are no base."""

    def damaged(name: str, title: str, clause: str, error: str, at: str, *edits: Any, **more: Any) -> Invalid:
        given = {"reseal": (), **more}
        return Invalid(f"invalid-base-file-{name}", title, (clause,), "valid-base-plain", error, at, edits, **given)

    wrong = replace(
        PLAIN,
        ancillary=(Ancillary("HASH", HASH_TYPE, bytes(33)),),
        order=("HEAD", "PASS0", "HASH"),
    )
    end = "end"
    return [
        damaged("cut", "the last byte is missing", "CON-7", "TRUNCATED", end, Edit(end, b"", -1, 1)),
        damaged("trailing", "a byte behind it", "CON-7", "TRAILING_DATA", end, Edit(end, b"\0", 0, 0), plus=-1),
        damaged("crc", "a bit of PASS", "CON-3", "CHUNK_CRC_MISMATCH", "PASS0.crc32", Flip("PASS0.body")),
        damaged("hash", "a wrong HASH", "ANC-1", "WEIGHTS_HASH_MISMATCH", "HASH.payload", file=wrong),
    ]


def base_invalid() -> list[Invalid]:
    """Every invalid vector of SHARED_BASE."""
    return mismatches() + heads() + passes() + damaged_bases()


def base_calls() -> list[Call]:
    """The same files without their base, with another, with none that can be read."""

    def mismatch(name: str, title: str, given: str, parent: str = SCALARS) -> Call:
        return Call(f"call-base-{name}", title, ("BAS-2",), parent, (), base=given, error="BASE_MISMATCH", at=AT)

    def required(name: str, title: str, parent: str, *args: str) -> Call:
        return Call(f"call-base-{name}", title, ("BAS-1",), parent, args, error="BASE_REQUIRED", at=AT)

    def usage(name: str, title: str, given: str, *args: str) -> Call:
        return Call(f"call-base-{name}", title, ("9.8", "DEC-4"), "valid-shared-passes", args, base=given or None)

    return [
        required("none", "no --base", SCALARS),
        required("none-sparse", "no --base, tool 3", SPARSES),
        required("none-passes", "no --base, --passes 1", "valid-shared-passes", "--passes", "1"),
        required("none-partial", "no --base, --partial", "valid-shared-passes", "--partial"),
        usage("none-passes-above", "no --base, and --passes above n_passes", "", "--passes", "4"),
        usage("none-size", "no --base, and a size of one axis", "", "--size", "3"),
        usage("other-passes-above", "another base, and --passes above n_passes", "valid-base-rich", "--passes", "4"),
        usage("other-size", "another base, and a size of three axes", "valid-base-rich", "--size", "3x3x3"),
        Call(
            "call-base-cut-partial",
            "--partial, and the right base without its last byte",
            ("9.8", "DEC-5"),
            SCALARS,
            ("--partial",),
            base="invalid-base-file-cut",
            error="BASE_MISMATCH",
            at=AT,
        ),
        mismatch("other", "another base", "valid-base-rich"),
        mismatch("other-network", "a base of the same network and of other integers", "valid-shared-not-used"),
        mismatch("itself", "the file itself as its base", SCALARS),
        mismatch("no-sinr", "a base without the signature", "invalid-signature-first"),
        mismatch("cut", "the right base without its last byte", "invalid-base-file-cut"),
        mismatch("empty", "an empty base", "invalid-cut-empty"),
        mismatch("crc", "the right base with a damaged PASS", "invalid-base-file-crc"),
        mismatch("trailing", "the right base and a byte behind it", "invalid-base-file-trailing"),
        mismatch("damaged", "the right base with a wrong HASH", "invalid-base-file-hash"),
        Call("call-base-folder", "--base names a folder", ("DEC-6",), SCALARS, ("--base", ".")),
        Call("call-base-missing", "--base names no file", ("DEC-6",), SCALARS, ("--base", "no-such-file.sinr")),
        Call(
            "call-base-passes-above",
            "--passes above n_passes, with the right base",
            ("DEC-5",),
            "valid-shared-passes",
            ("--passes", "4"),
            base="valid-base-plain",
        ),
    ]
