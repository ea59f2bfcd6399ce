"""Recipes of the valid vectors of tool 3: sparse codes in the seeded dictionary (clauses 8.3 and 9.5)."""

from dataclasses import replace
from typing import Any

from conformance.generate.build import build, step_code
from conformance.generate.describe import (
    BITMAP,
    BROTLI,
    COLUMNS,
    FLATTENED,
    GAPS,
    PACKED,
    RANS,
    ROWS,
    SEEDED,
    SPARSE,
    SPARSE_CODE,
    ZLIB,
    Entry,
    File,
    FourierSeeded,
    Head,
    Layer,
    Long,
    Model,
    Pass,
    Same,
    Short,
    SparseCode,
    Tensor,
    Zero,
)
from conformance.generate.primitives import brotli_stored
from conformance.generate.recipe import Valid, entry_for, numbers, with_entry, with_pass

FEATURES = SEEDED | SPARSE
T8 = 0x11  # rng_dictionary: Philox, law 1
HIDDEN = Layer("SINE", 9, omega=3)
CODED = Layer("SINE", 7, omega=2, tool=SPARSE_CODE)
# Tensors 2 (7, 9) and 3 are of the layer with tool 3; tensors 0, 1, 4 and 5 of its neighbours.
NETWORK = Head(records=(HIDDEN, CODED, Layer()), features_required=FEATURES, seed=0xC0FFEE)
MATRIX = 2  # place of the entry of the sparse matrix
# One matrix (5, 4) and nothing else.
SINGLE = Head(
    records=(Layer(tool=SPARSE_CODE, bias=False),),
    features_required=FEATURES,
    seed=99,
    in_dims=4,
    out_channels=5,
    grid=(1, 2, 1, 2),
    modality=8,
    values=2,
)
# A matrix (255, 64): as many integers as level 1 has parameters, almost.
LARGE = replace(
    SINGLE, records=(FourierSeeded(32), *SINGLE.records), in_dims=1, out_channels=255, grid=(1,), modality=8
)
MOST_ATOMS = 1 << 20
LARGEST_SUM = (2**31 - 1) // 127  # of the magnitudes of a vector's coefficients (SPA-5)
LEVEL_1_SYMBOLS = 4194304
STEP = step_code(-9)


def shape(tensor: Tensor, vectors: int) -> tuple[int, int]:
    """n_vectors and k1 of a matrix."""
    columns = max(tensor.columns, 1)
    shapes = {COLUMNS: (columns, tensor.rows), ROWS: (tensor.rows, columns)}
    return shapes.get(vectors, (1, tensor.size))


def some_atoms(count: int, n_atoms: int, salt: int) -> tuple[int, ...]:
    """Ascending atoms that look irregular."""
    found: set[int] = set()
    while len(found) < count:
        found.add(numbers(1, n_atoms, salt)[0] % n_atoms)
        salt += 1
    return tuple(sorted(found))


def code_for(
    tensor: Tensor, *, vectors: int = COLUMNS, n_atoms: int = 24, n_nonzero: int = 3, spread: int = 6, **fields: Any
) -> SparseCode:
    """A sparse code with irregular atoms and coefficients; fewer atoms for short vectors."""
    n_vectors, length = shape(tensor, vectors)
    s = min(n_nonzero, n_atoms, length)
    atoms = tuple(some_atoms(s, n_atoms, 1000 * j + tensor.ordinal) for j in range(n_vectors))
    coefficients = tuple(numbers(s, spread, 31 * j + tensor.ordinal) for j in range(n_vectors))
    return SparseCode(n_atoms, atoms, coefficients, vectors, **fields)


def rows_of(head: Head, chosen: dict[str, Any], fields: dict[str, Any]) -> tuple[Entry, ...]:
    """One entry for each tensor of pass 0; `fields` are those of the entries of sparse matrices."""
    rows = (
        Entry(sparse=code_for(t, **chosen), **{"step": STEP, **fields}) if t.is_sparse else entry_for(t, 12)
        for t in head.tensors()
    )
    return tuple(rows)


def coded(head: Head = NETWORK, coding: int = RANS, log2_lanes: int = 0, **chosen: Any) -> File:
    """A file of one pass; what is chosen beyond the fields of an entry is of the sparse codes."""
    own = ("step", "model", "width", "row_steps", "prior")
    fields = {name: chosen.pop(name) for name in own if name in chosen}
    return File(head, (Pass(rows_of(head, chosen, fields), coding, log2_lanes),))


def single(atoms: tuple[tuple[int, ...], ...], coefficients: tuple[tuple[int, ...], ...], **chosen: Any) -> File:
    """The one matrix with these atoms and coefficients, by columns."""
    n_atoms = chosen.pop("n_atoms", 24)
    fields = {name: chosen.pop(name) for name in ("step", "model", "width") if name in chosen}
    head, coding = chosen.pop("head", SINGLE), chosen.pop("coding", RANS)
    code = SparseCode(n_atoms, atoms, coefficients, **chosen)
    return File(head, (Pass((Entry(sparse=code, **{"step": STEP, **fields}),), coding),))


def layouts() -> list[Valid]:
    """Vectors of a matrix, laws of the dictionary, supports, codings."""
    t8 = replace(NETWORK, rng_dictionary=T8)
    out = []
    for name, vectors in (("columns", COLUMNS), ("rows", ROWS), ("flat", FLATTENED)):
        for law, head in (("rademacher", NETWORK), ("t8", t8)):
            for support, number in (("bitmap", BITMAP), ("gaps", GAPS)):
                if (name, law, support) in (("rows", "t8", "bitmap"), ("flat", "rademacher", "gaps")):
                    continue
                file = coded(head, vectors=vectors, support=number)
                title = f"sparse code by {name}, dictionary {law}, {support}"
                clauses = ("9.5", "RNG-8" if law == "t8" else "RNG-7")
                out.append(Valid(f"valid-sparse-{name}-{law}-{support}", title, clauses, file))
    tall = Head(
        records=(Layer("SINE", 131, omega=2, tool=SPARSE_CODE), Layer(bias=False)),
        features_required=FEATURES,
        seed=0xFFFFFFFF,
        grid=(2, 2),
    )
    rising = {"atoms": ((0, 5, 15), (2, 9, 11), (0, 1, 15), (3, 4, 5)), "coefficients": ((1, -2, 3),) * 4}
    out += [
        Valid("valid-sparse-blocks", "columns of 131 rows: a second block of law 0", ("RNG-7",), coded(tall)),
        Valid(
            "valid-sparse-blocks-t8",
            "columns of 131 rows: nine blocks of law 1",
            ("RNG-8",),
            coded(replace(tall, rng_dictionary=T8)),
        ),
        Valid(
            "valid-sparse-everywhere",
            "every layer of tool 3, seed of 64 bits",
            ("9.5", "RNG-1", "RNG-2"),
            coded(
                replace(
                    NETWORK,
                    features_required=FEATURES | 1,
                    seed=0xA4093822299F31D0,
                    records=(replace(CODED, repeat=2), Layer(tool=SPARSE_CODE)),
                ),
                vectors=FLATTENED,
            ),
        ),
        Valid("valid-sparse-lanes", "gaps and coefficients with 64 lanes", ("9.5", "ENT-6"), coded(log2_lanes=6)),
        Valid(
            "valid-sparse-lanes-many",
            "128 lanes, one vector of 40 atoms of 300",
            ("9.5", "ENT-6"),
            coded(log2_lanes=7, vectors=FLATTENED, n_nonzero=40, n_atoms=300),
        ),
        Valid("valid-sparse-packed", "packed indices and coefficients", ("9.5", "11"), coded(coding=PACKED)),
        Valid(
            "valid-sparse-packed-wide",
            "indices of 32 bits, coefficients of 17",
            ("9.5", "11"),
            coded(coding=PACKED, index_width=32, width=17),
        ),
        Valid(
            "valid-sparse-packed-edge",
            "indices that use the top bit of their width: they have no sign",
            ("11",),
            single(**rising, n_atoms=16, index_width=4, coding=PACKED),
        ),
        Valid("valid-sparse-zlib", "zlib of indices and coefficients", ("CMP-1",), coded(coding=ZLIB)),
        *brotli(),
    ]
    return out


def brotli() -> list[Valid]:
    """16-bit indices and 16-bit coefficients under Brotli: the code of the SINR paper."""
    head = replace(PAPER, profile=2)
    file = coded(head, n_atoms=600, n_nonzero=8, spread=3000, index_width=16, width=16, step=step_code(-17))
    packed = with_pass(file, 0, coding=PACKED)
    data = build(packed)
    body = data.data[data.marks["PASS0.body"].offset : data.marks["PASS0.crc32"].offset]
    return [
        Valid(
            f"valid-sparse-brotli{name}",
            f"profile MAIN: Brotli of 16-bit indices and coefficients{title}",
            ("CMP-1", "9.5"),
            with_pass(file, 0, coding=BROTLI, body_hex=stream),
            optional=True,
        )
        for name, title, stream in (("", "", FROZEN_BROTLI), ("-stored", ", stored", brotli_stored(body).hex()))
    ]


PAPER = Head(
    records=(Layer("SINE", 24, omega=30), Layer("SINE", 24, omega=30, tool=SPARSE_CODE), Layer()),
    features_required=FEATURES,
    rng_dictionary=T8,
    seed=17,
    grid=(3, 4),
)
FROZEN_BROTLI = (
    "1b4b0308be0ec871b4dc4ae05f385556cd8aa5a4e969c1621fabb8ed98f0be0c895e60707f6dd5010024b93de0ceb4409d10"
    "b7f464a5fd2919a1118acd084d880c8cd3414d7c9312e42481febf73f8b92f2d0fd1f1f1683caa3922bb59223ba1803fa325"
    "3a1ef52f2769c3c3e7ededc30603d9edd2aabbc4bb000393c08a0792508e71a083e884d7380feb09e1a19e3e5cc14923a5d5"
    "039bd1f64ae2b8610ec7db2506a3f2bae300237fec2dfbb2ecbb05181d72f8a9ad2d88f4428163b029f37ba0180a515fff78"
    "de874bcd16b8abf4767f2e56eea673f8a7838be8f6f598c166bcbee6e73de7244fbd0e31830c69300f39f67107ac500bb16e"
    "230b7344631e4f60511781273e02294b603dafcfe8255ae6cc4499f319a5d6a21aea20d2c568f5d37f421339101b5e78231f"
    "fd38069641ec5c0c02121b71b2e28338063c1692a707dac9d3a7e11922c7006ec59d79d8cb77c432430e31f015dd0a711823"
    "10f4c616b168c40b1a084a05eb14afe80d03a469c55af4cd1a1b311a3c637243dc10313ad8e306b652a0053f0ce10c5c8091"
    "f1b28543f5373633291181353f83de823b5f4057cc880dfb34fa6755796a3afae697f9cb3b0acb5def24cf32761fd377ca3f"
    "7e8d23b115a9c5bade3397f65e86c8eef0477b8fa9d7d064aec8505489e81f35da076104fdb8479a3813fbb949b21591e30f"
    "ec56b0aa49be9ee66325a64174d86b0a17f742117fc4994b6ac34ebda3c6747f1ecb239d481b74b1696842349c034d349435"
    "7b5d704a0c611932a81f6e8f902c62533fe1c299f2d664376b93326e378fcac3cd050a75477956b6a162453acb2a71beaf71"
    "e5a5886dbbdb2ce6e9d68e72d11571d256c6a906abcac9326dc4a611a9ecad1ebbc7edf5247ce328260cce816259aa47fa51"
    "829ab61ba56f01316fd724754a54cc61ba31ddf5a557ee20ede39cb82bcf8f1c595d560cb5dfa0545235a523ca1a2262450b"
    "a9026c76ffdf1a277153294e352a946a8cb69a627dbe927aa3c82e9548ed62e49a86c2de3f1f968fbf7b4c6d1a6da39ea3f0"
    "cc841f3400"
)


def models() -> list[Valid]:
    """The one-sided model of gaps."""
    gaps: dict[str, tuple[Model, dict[str, Any]]] = {
        "laplace": (Short("LAPLACE", 20), {}),
        "gauss": (Short("GAUSS", 25), {}),
        "flat": (Short("FLAT", 20), {}),
        "heavy": (Short("HEAVY", 10), {}),
        "escapes": (Short("LAPLACE", 0), {"n_atoms": 3000}),
        "low-bits": (Short("LAPLACE", 60), {"n_atoms": 3000}),
        "gauss-low-bits": (Short("GAUSS", 66), {"n_atoms": 3000}),
        "flat-14-bits": (Short("FLAT", 151), {"n_atoms": MOST_ATOMS}),
        "long": (Long(40, 0, 150), {}),
        "p0": (Long(40, 160, 150), {}),
        "p0-255": (Long(30, 255, 120), {}),
        "heavy-p0": (Long(40, 90, 150, 100, 1), {}),
        "long-all": (Long(9, 60, 150, 90, 1, 5, 1), {"n_atoms": 3000}),
        "r-0": (Long(0, 0, 0, 0, 0, 7, 0), {"n_atoms": 100}),
        "r-0-p0": (Long(0, 200, 168, 0, 0, 7, 0), {"n_atoms": 100}),
        "r-1023": (Long(1023, 0, 100), {"n_atoms": 1000}),
    }
    out = [
        Valid(
            f"valid-sparse-gaps-{name}",
            f"gaps under the model {name}",
            ("9.5", "10.2"),
            coded(gap_model=model, **chosen),
        )
        for name, (model, chosen) in gaps.items()
    ]
    shared = Long(30, 40, 150, 0, 0, 0, 1)
    before = with_entry(coded(gap_model=Same()), 1, model=Short("FLAT", 12))
    out += [
        Valid(
            "valid-sparse-same",
            "form SAME repeats the model of the gaps for coefficients, with p0",
            ("SPA-2", "TAB-3"),
            coded(gap_model=shared, model=Same()),
        ),
        Valid(
            "valid-sparse-same-short",
            "form SAME repeats the model of a bias for gaps, then for coefficients and the next bias",
            ("SPA-2", "TAB-3"),
            with_entry(with_entry(before, MATRIX, model=Same()), 3, model=Same()),
        ),
        Valid(
            "valid-sparse-same-low-bits",
            "form SAME: low bits without offset for gaps, with it for coefficients",
            ("SPA-2", "10.1"),
            coded(gap_model=Short("LAPLACE", 50), model=Same(), n_atoms=2000, spread=500, step=step_code(-14)),
        ),
        Valid(
            "valid-sparse-zero",
            "coefficients by form ZERO: gaps are coded and every weight is 0",
            ("SPA-2",),
            without_coefficients(coded()),
        ),
        Valid(
            "valid-sparse-zero-bitmap",
            "coefficients by form ZERO behind a bitmap",
            ("SPA-2",),
            without_coefficients(coded(support=BITMAP)),
        ),
    ]
    return out


def without_coefficients(file: File) -> File:
    """The coefficients of the sparse matrix by form ZERO."""
    code = file.passes[0].entries[MATRIX].sparse
    if code is None:
        raise ValueError("no sparse matrix")
    zeros = tuple((0,) * len(row) for row in code.coefficients)
    return with_entry(file, MATRIX, model=Zero(), sparse=replace(code, coefficients=zeros))


def ends() -> list[Valid]:
    """Numbers of atoms at their ends, large coefficients."""
    most = ((0, 1, MOST_ATOMS - 1), (7, 8, 9), (MOST_ATOMS - 3, MOST_ATOMS - 2, MOST_ATOMS - 1), (5, 70000, 900000))
    some = ((1, -2, 3), (-4, 5, -6), (7, 0, -8), (9, 1, 2))
    one = ((0,),) * 4
    out = []
    for name, support in (("bitmap", BITMAP), ("gaps", GAPS)):
        out += [
            Valid(
                f"valid-sparse-none-{name}",
                f"s = 0, {name}: no list is coded, the model fields are there",
                ("SPA-1", "SPA-2"),
                coded(n_nonzero=0, support=support, model=Short("HEAVY", 3)),
            ),
            Valid(f"valid-sparse-one-{name}", f"s = 1, {name}", ("9.5",), coded(n_nonzero=1, support=support)),
            Valid(
                f"valid-sparse-full-{name}",
                f"s = k1 = 7, {name}",
                ("SPA-1",),
                coded(n_nonzero=7, n_atoms=12, support=support),
            ),
            Valid(
                f"valid-sparse-all-{name}",
                f"s = k2 = 4, {name}: every atom of the dictionary",
                ("SPA-1", "SPA-6"),
                coded(n_nonzero=4, n_atoms=4, support=support),
            ),
            Valid(
                f"valid-sparse-k2-1-{name}",
                f"s = k2 = 1, {name}: the atom is known",
                ("9.5",),
                single(one, ((3,), (-2,), (0,), (1,)), n_atoms=1, support=support),
            ),
        ]
    large = ((LARGEST_SUM - 3, -1, 2), (-LARGEST_SUM, 0, 0), (0, 1, 2), (1 - LARGEST_SUM, 0, -1))
    near = ((0, 1, 2),) * 4
    out += [
        Valid(
            "valid-sparse-k2-1-packed",
            "s = k2 = 1, packed: an index of one bit",
            ("9.5",),
            single(one, ((3,), (-2,), (0,), (1,)), n_atoms=1, coding=PACKED),
        ),
        Valid(
            "valid-sparse-none-packed",
            "s = 0, packed: the widths are there",
            ("SPA-2",),
            coded(coding=PACKED, n_nonzero=0, index_width=9, width=3),
        ),
        Valid(
            "valid-sparse-k2-most",
            "k2 = 2^20, gaps up to the last atom",
            ("9.5", "SPA-6"),
            single(most, some, n_atoms=MOST_ATOMS, gap_model=Short("FLAT", 140)),
        ),
        Valid(
            "valid-sparse-k2-most-packed",
            "k2 = 2^20, indices of 20 bits up to the last atom",
            ("9.5", "SPA-6"),
            single(most, some, n_atoms=MOST_ATOMS, coding=PACKED),
        ),
        Valid(
            "valid-sparse-bitmap-rare",
            "3 of 100000 slots: the frequency of one is clamped to 1, and the bitmap ends at the last one",
            ("9.5",),
            single(((1, 2, 9000), (0, 3, 4), (5, 6, 7), (0, 1, 2)), some, n_atoms=100000, support=BITMAP),
        ),
        Valid(
            "valid-sparse-bitmap-dense",
            "19 of 20 slots, k1 = 20",
            ("9.5",),
            coded(SINGLE, vectors=FLATTENED, n_nonzero=19, n_atoms=20, support=BITMAP),
        ),
        Valid(
            "valid-sparse-coefficients-most",
            "magnitudes that add up to 16909320, in packed coefficients",
            ("SPA-5",),
            single(near, large, coding=PACKED, step=step_code(-31)),
        ),
        Valid(
            "valid-sparse-coefficients-most-t8",
            "magnitudes that add up to 16909320, coded by escapes, law 1",
            ("SPA-5",),
            single(
                near,
                large,
                head=replace(SINGLE, rng_dictionary=T8),
                step=step_code(-31),
                model=Long(1, 0, 100, 0, 0, 14, 1),
            ),
        ),
        Valid(
            "valid-sparse-large-none",
            "16320 integers and 2^15 atoms, of which none is used",
            ("SPA-2", "SPA-3"),
            coded(LARGE, vectors=FLATTENED, n_nonzero=0, n_atoms=1 << 15),
        ),
        *(
            Valid(
                f"valid-sparse-limit-symbols-{name}",
                f"exactly 4194304 symbols at level 1 in two passes, the second with {name}",
                ("SPA-3", "LIM-1"),
                two_pass_symbols(coding, 0),
            )
            for name, coding in (("gaps", RANS), ("packed", PACKED))
        ),
        Valid(
            "valid-sparse-limit-symbols",
            "exactly 4194304 symbols at level 1: parameters, coefficients, bitmaps, and products rounded up",
            ("SPA-3",),
            symbols_file(49, 0),
        ),
    ]
    return out


def symbols_file(n_rows: int, more: int) -> File:
    """Four columns with one early atom each; k2 makes the symbols those of level 1 and `more`."""
    head = replace(SINGLE, out_channels=n_rows)
    coefficients, parameters, products = 4, 4 * n_rows, (4 * n_rows + 63) // 64
    n_atoms, rest = divmod(LEVEL_1_SYMBOLS + more - coefficients - parameters - products, 4)
    if rest:
        raise ValueError(f"{n_rows} rows do not make {more} symbols more")
    atoms, values = ((3,), (0,), (1,), (2,)), ((1,), (2,), (3,), (-4,))
    return single(atoms, values, n_atoms=n_atoms, head=head, support=BITMAP)


def two_pass_symbols(coding: int, more: int) -> File:
    """Two passes of four columns, the first by bitmaps, which k2 makes the symbols of level 1 and `more`."""
    head = replace(SINGLE, out_channels=49, n_passes=2)
    parameters, coefficients, products = 196, 4, 4
    atoms, values = ((3,), (0,), (1,), (2,)), ((1,), (2,), (3,), (-4,))
    used = 2 * (parameters + coefficients + products) + 4  # and one gap or index for each column
    first = single(atoms, values, n_atoms=(LEVEL_1_SYMBOLS + more - used) // 4, head=head, support=BITMAP)
    second = Entry(sparse=SparseCode(24, atoms, values), refine=0)
    return replace(first, passes=(*first.passes, Pass((second,), coding)))


def tools() -> list[Valid]:
    """Tool 3 with row steps, priors, no bias, and in later passes."""

    def with_flags(**flags: Any) -> Head:
        return replace(NETWORK, records=(HIDDEN, replace(CODED, **flags), Layer()))

    differences = (0, 3, -5, 8, -8, 1, 2)
    short = (200 << 8, 33)
    both = coded(with_flags(row_steps=True, prior=True), row_steps=differences, prior=short, support=BITMAP)
    two = replace(NETWORK, n_passes=2)
    first = coded(two).passes[0]
    keep = tuple(Entry() for _ in two.tensors())

    def second(n: int, *others: tuple[int, Entry], coding: int = RANS, log2_lanes: int = 0, **chosen: Any) -> Pass:
        code = code_for(two.tensors()[MATRIX], **{"n_nonzero": 2, "spread": 3, **chosen})
        rows = list(keep)
        rows[MATRIX] = Entry(sparse=code, refine=n)
        for place, entry in others:
            rows[place] = entry
        return Pass(tuple(rows), coding, log2_lanes)

    others = ((1, Entry(values=numbers(9, 2, 3), refine=2)), (3, Entry(values=numbers(7, 2, 4), refine=1)))
    return [
        Valid(
            "valid-sparse-rows", "row steps", ("9.1", "9.5"), coded(with_flags(row_steps=True), row_steps=differences)
        ),
        Valid(
            "valid-sparse-rows-packed",
            "row steps, packed, by rows",
            ("9.1", "9.5"),
            coded(with_flags(row_steps=True), PACKED, vectors=ROWS, row_steps=differences),
        ),
        Valid(
            "valid-sparse-prior",
            "a prior under a sparse code, and one of its bias",
            ("9.7", "WGT-1"),
            with_entry(coded(with_flags(prior=True), prior=short), 3, prior=(0xABCD, 32)),
        ),
        Valid("valid-sparse-prior-rows", "prior and row steps of one sparse matrix", ("9.5",), both),
        Valid("valid-sparse-no-bias", "no bias", ("6.7",), coded(with_flags(bias=False))),
        Valid(
            "valid-sparse-pass-atoms",
            "a second pass with add_bits = 0 adds atoms",
            ("SPA-4",),
            File(two, (first, second(0))),
            each_pass=True,
        ),
        Valid(
            "valid-sparse-pass-bits",
            "a second pass with add_bits = 3 by rows, tools 1 beside it",
            ("SPA-4", "WGT-2"),
            File(two, (first, second(3, *others, vectors=ROWS, support=BITMAP))),
            each_pass=True,
        ),
        Valid(
            "valid-sparse-pass-8-bits",
            "a second pass with add_bits = 8; the step code reaches 0; packed",
            ("SPA-4", "TAB-4"),
            with_entry(File(two, (first, second(8, coding=PACKED, vectors=FLATTENED))), MATRIX, step=64),
            each_pass=True,
        ),
        Valid(
            "valid-sparse-pass-none",
            "a second pass with add_bits = 2 and s = 0: every integer is shifted",
            ("SPA-4", "SPA-2"),
            File(two, (first, second(2, n_nonzero=0))),
        ),
        Valid(
            "valid-sparse-pass-lanes",
            "a second pass with 64 lanes and another number of atoms",
            ("SPA-4", "ENT-6"),
            File(two, (first, second(1, log2_lanes=6, n_atoms=500, gap_model=Short("HEAVY", 40)))),
        ),
        Valid(
            "valid-sparse-pass-stays",
            "a second pass that leaves the sparse matrix and changes its bias",
            ("9.5",),
            File(two, (first, Pass((*keep[:3], others[1][1], *keep[4:])))),
            each_pass=True,
        ),
        Valid(
            "valid-sparse-pass-wide",
            "8 bits take 2^23 - 1 to 2^31 - 256, and the second pass adds at most 1",
            ("SPA-4", "WGT-4"),
            shifted((1 << 23) - 1, 1),
        ),
        Valid(
            "valid-sparse-pass-rows",
            "the step code falls below 0 and those of the rows do not",
            ("SPA-4", "TAB-4"),
            rows_above(7),
            each_pass=True,
        ),
    ]


def rows_above(lowest: int) -> File:
    """A step code of 1 that 2 + `add_bits` = 1 bits take below 0; the rows' codes are from `lowest` + 1 on."""
    head = replace(SINGLE, n_passes=2, records=(Layer(tool=SPARSE_CODE, bias=False, row_steps=True),))
    file = coded(head, step=1, row_steps=(lowest, 900, 901, 902, 903))
    code = code_for(head.tensors()[0], n_nonzero=1)
    return replace(file, passes=(*file.passes, Pass((Entry(sparse=code, refine=1),))))


def shifted(first: int, second: int) -> File:
    """Two passes of one atom for each column, the second gains 8 bits."""
    head, atoms = replace(SINGLE, n_passes=2), ((4,), (5,), (6,), (7,))
    rest = ((1,), (1,), (1,))
    file = single(atoms, ((first,), *rest), head=head, coding=PACKED)
    code = SparseCode(24, atoms, ((second,), *rest))
    return replace(file, passes=(*file.passes, Pass((Entry(sparse=code, refine=8),), PACKED)))


def like_before() -> list[Valid]:
    """vectors = 3: the fields of the sparse code before."""
    three = replace(NETWORK, records=(HIDDEN, replace(CODED, repeat=3), Layer()))
    uneven = replace(NETWORK, records=(HIDDEN, replace(CODED, width=5), replace(CODED, width=8), Layer()))
    apart = replace(NETWORK, records=(CODED, HIDDEN, replace(CODED, width=6), Layer()))
    two = replace(three, n_passes=2)
    file = coded(two)
    later = {
        t.ordinal: Entry(sparse=code_for(t, n_nonzero=2, spread=3), refine=1) for t in two.tensors() if t.is_sparse
    }
    chosen = tuple(Entry() if t.ordinal == 2 else later.get(t.ordinal, Entry()) for t in two.tensors())
    second = replace(file, passes=(file.passes[0], Pass(chosen)))
    fresh = tuple(Entry() if t.ordinal in (2, 4) else later.get(t.ordinal, Entry()) for t in two.tensors())
    found = {
        "again-columns": ("columns, gaps", repeated(coded(three))),
        "again-bitmap": ("columns, bitmaps", repeated(coded(three, support=BITMAP))),
        "again-rows": ("rows", repeated(coded(three, vectors=ROWS))),
        "again-flat": ("flattened matrices of different sizes", repeated(coded(three, vectors=FLATTENED))),
        "again-t8": ("law 1", repeated(coded(replace(three, rng_dictionary=T8)))),
        "again-lanes": ("64 lanes", repeated(coded(three, log2_lanes=6))),
        "again-packed": ("packed: the width of the indices follows", repeated(coded(three, coding=PACKED))),
        "again-none": ("s = 0", repeated(coded(three, n_nonzero=0))),
        "again-same": (
            "gaps and coefficients by form SAME behind it",
            repeated(coded(three, gap_model=Same(), model=Same())),
        ),
        "again-uneven": ("columns of other lengths", repeated(coded(uneven, n_nonzero=5))),
        "again-full": ("s = k1 of the second, below k1 of the first", repeated(coded(grown(5, 9), n_nonzero=5))),
        "again-apart": ("a layer of tool 1 in between", repeated(coded(apart))),
        "again-first": ("the third matrix repeats the second, which has other fields than the first", last_only(three)),
    }
    out = [
        Valid(f"valid-sparse-{name}", f"vectors = 3: {title}", ("9.5", "SPA-1"), described)
        for name, (title, described) in found.items()
    ]
    return [
        *out,
        Valid(
            "valid-sparse-again-pass",
            "vectors = 3 in a later pass, which leaves the first matrix",
            ("9.5", "SPA-4"),
            repeated(repeated(second), 1),
            each_pass=True,
        ),
        Valid(
            "valid-sparse-again-pass-fields",
            "the fields are those of the table, not of the pass before",
            ("9.5", "SPA-4"),
            replace(file, passes=(file.passes[0], Pass(fresh))),
        ),
    ]


def grown(first: int, second: int) -> Head:
    """Two layers of tool 3; their columns have these lengths."""
    records = (HIDDEN, replace(CODED, width=second), replace(CODED, width=first), Layer())
    return replace(NETWORK, records=records)


def repeated(file: File, number: int = 0) -> File:
    """All sparse codes of a pass but the first as vectors = 3."""
    rows = list(file.passes[number].entries)
    places = [i for i, entry in enumerate(rows) if entry.sparse is not None]
    for i, place in enumerate(places):
        code = rows[place].sparse
        if code is None or i == 0:
            continue
        rows[place] = replace(rows[place], sparse=replace(code, repeated=True))
    return with_pass(file, number, entries=tuple(rows))


def last_only(head: Head) -> File:
    """Three sparse codes: by columns, by rows, and again as the second."""
    file = coded(head)
    places = [i for i, entry in enumerate(file.passes[0].entries) if entry.sparse is not None]
    for place in places[1:]:
        tensor = head.tensors()[place]
        code = code_for(tensor, vectors=ROWS, n_atoms=40, n_nonzero=4)
        file = with_entry(file, place, sparse=replace(code, repeated=place == places[2]))
    return file


def real() -> list[Valid]:
    """A small SIREN as an encoder would write it."""
    image = Head(
        records=(
            Layer("SINE", 16, omega=30, row_steps=True),
            Layer("SINE", 16, repeat=2, omega=30, tool=SPARSE_CODE, row_steps=True),
            Layer(),
        ),
        features_required=FEATURES,
        rng_dictionary=T8,
        seed=2026,
        out_channels=3,
        grid=(6, 8),
        n_passes=2,
    )
    first = coded(
        image, n_atoms=256, n_nonzero=5, spread=9, gap_model=Short("LAPLACE", 40), step=step_code(-14)
    ).passes[0]
    later = tuple(
        Entry(sparse=code_for(t, n_atoms=256, n_nonzero=2, spread=4), refine=2)
        if t.is_sparse
        else Entry(values=numbers(t.size, 2, 5 + t.ordinal), refine=2, model=Short("FLAT", 10))
        for t in image.tensors()
    )
    file = File(image, (first, Pass(later)))
    steps = numbers(16, 3, 8)
    for place in (0, 2, 4):
        file = with_entry(file, place, row_steps=steps)
    return [
        Valid("valid-sparse-siren", "a SIREN of 2 x 16 hidden units in two passes", ("9.5", "16"), file, each_pass=True)
    ]


def sparse_valid() -> list[Valid]:
    """Every valid vector of tool 3 in the order of the ladder."""
    return [recipe for group in (layouts, models, ends, tools, like_before, real) for recipe in group()]
