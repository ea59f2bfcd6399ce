"""Recipes of the invalid vectors of tool 3: one fault each (clauses 6.5, 7.2, 7.5, 8.3 and 9.5)."""

from dataclasses import replace
from typing import Any

from conformance.generate.build import build
from conformance.generate.describe import (
    BITMAP,
    FLATTENED,
    PACKED,
    RANS,
    ROWS,
    SEEDED,
    SPARSE,
    SPARSE_CODE,
    ZLIB,
    Entry,
    File,
    Layer,
    Long,
    Pass,
    SparseCode,
    Zero,
)
from conformance.generate.faults import Bits, Edit, Flip
from conformance.generate.recipe import Invalid, Valid, with_entry, with_head, with_pass
from conformance.generate.recipes_sparse import (
    CODED,
    HIDDEN,
    LARGE,
    LARGEST_SUM,
    MATRIX,
    MOST_ATOMS,
    NETWORK,
    SINGLE,
    T8,
    coded,
    repeated,
    rows_above,
    shifted,
    single,
    sparse_valid,
    symbols_file,
    two_pass_symbols,
)

PARENTS: dict[str, Valid] = {recipe.name: recipe for recipe in sparse_valid()}
GAPS, BITMAPS, PLAIN = "valid-sparse-gaps-laplace", "valid-sparse-columns-rademacher-bitmap", "valid-sparse-packed"
LONE, MOST, LATER = "valid-sparse-k2-most", "valid-sparse-coefficients-most", "valid-sparse-pass-bits"
TABLE, BODY, END = "PASS0.tensor0.step_form", "PASS0.body", "PASS0.crc32"
NEAR = ((0, 1, 2),) * 4
SMALL = ((1, -2, 3),) * 4
ESCAPES = Long(1, 0, 100, 0, 0, 14, 1)


def parent(name: str) -> File:
    """The description of a valid vector."""
    return PARENTS[name].file


def edit(name: str, title: str, clause: str, source: str, error: str, at: str, *edits: Any, **more: Any) -> Invalid:
    """A patched parent."""
    return Invalid(f"invalid-{name}", title, tuple(clause.split()), source, error, at, edits, **more)


def built(name: str, title: str, clause: str, source: str, error: str, at: str, file: File, **more: Any) -> Invalid:
    """A description with a fault."""
    return Invalid(f"invalid-{name}", title, tuple(clause.split()), source, error, at, (), file, **more)


def bits(name: str, title: str, clause: str, source: str, error: str, at: str, value: int, **more: Any) -> Invalid:
    """A parent with one other table field, which is at fault."""
    return edit(f"sparse-{name}", title, clause, source, error, at, Bits(at, value), **more)


def heads() -> list[Invalid]:
    """Features and flags of HEAD."""
    mismatch, required = "FEATURE_MISMATCH", "HEAD.features_required"
    flags = "HEAD.record1.tool_flags"

    def head(name: str, title: str, clause: str, error: str, at: str, **changes: Any) -> Invalid:
        file = replace(with_head(parent(GAPS), **changes), passes=(), order=("HEAD",))
        return built(f"{name}", title, clause, GAPS, error, at, file)

    plain = (HIDDEN, Layer())
    prior = (replace(HIDDEN, prior=True), Layer())
    last = (HIDDEN, Layer(tool=SPARSE_CODE))
    half = replace(CODED, half=True)
    return [
        head("sparse-unused", "SPARSE, a prior, and no tool 3", "HED-10", mismatch, required, records=prior),
        head(
            "sparse-unused-both",
            "SPARSE and SEEDED, and nothing uses them",
            "HED-10",
            mismatch,
            required,
            records=plain,
        ),
        head(
            "sparse-unused-law",
            "SPARSE for a law alone",
            "HED-10",
            mismatch,
            required,
            records=prior,
            rng_dictionary=T8,
        ),
        head("sparse-unset", "tool 3 with SEEDED alone", "HED-9", mismatch, flags, features_required=SEEDED),
        head("sparse-unseeded", "tool 3 with SPARSE alone", "HED-9", mismatch, flags, features_required=SPARSE),
        head(
            "sparse-unseeded-last",
            "tool 3 in the last record with SPARSE alone",
            "HED-9",
            mismatch,
            flags,
            records=last,
            features_required=SPARSE,
        ),
        head("sparse-bit-6", "bit 6 with tool 3", "HED-6", "BAD_RECORD", flags, records=(HIDDEN, half, Layer())),
        edit(
            "sparse-law-2",
            "dictionary law 2",
            "6.3",
            GAPS,
            "UNKNOWN_ID",
            "HEAD.rng_dictionary",
            Edit("HEAD.rng_dictionary", b"\x12"),
        ),
        head(
            "order-sparse-record-law",
            "HED-9: tool 3 without SPARSE before law 1 without SPARSE",
            "HED-9",
            mismatch,
            flags,
            features_required=SEEDED,
            rng_dictionary=T8,
        ),
    ]


def tables() -> list[Invalid]:
    """Fields of a sparse code in the table."""
    bad, model = "BAD_TABLE", "BAD_MODEL"
    s, form = "PASS0.tensor2.n_nonzero", "PASS0.tensor2.atoms.form"
    later = "PASS1.tensor2.add_bits"
    eight = "valid-sparse-pass-8-bits"
    return [
        bits("vectors-3", "vectors 3", "SPA-1", GAPS, bad, "PASS0.tensor2.vectors", 3),
        bits("vectors-3-packed", "vectors 3, packed", "SPA-1", PLAIN, bad, "PASS0.tensor2.vectors", 3),
        bits(
            "vectors-3-later",
            "vectors 3 in a later pass",
            "SPA-1",
            LATER,
            bad,
            "PASS1.tensor2.vectors",
            3,
            whole_passes=1,
        ),
        bits("s-above-k1", "8 atoms for columns of 7", "SPA-1", GAPS, bad, s, 8),
        bits("s-above-k1-rows", "10 atoms for rows of 9", "SPA-1", "valid-sparse-rows-t8-gaps", bad, s, 10),
        bits("s-above-k1-flat", "64 atoms for 63 integers", "SPA-1", "valid-sparse-lanes-many", bad, s, 64),
        bits("s-above-k2", "5 atoms of 4", "SPA-1", "valid-sparse-all-gaps", bad, s, 5),
        bits(
            "s-above-k2-packed",
            "2 atoms of 1, packed",
            "SPA-1",
            "valid-sparse-k2-1-packed",
            bad,
            "PASS0.tensor0.n_nonzero",
            2,
        ),
        bits("s-most", "65535 atoms", "SPA-1 LIM-2", GAPS, bad, s, 65535),
        bits(
            "bitmap-lanes",
            "a bitmap with 64 lanes",
            "SPA-1",
            "valid-sparse-lanes",
            bad,
            "PASS0.tensor2.support",
            BITMAP,
        ),
        bits("add-bits-9", "add_bits 9", "SPA-1", LATER, bad, later, 9, whole_passes=1),
        bits("add-bits-15", "add_bits 15", "SPA-1", LATER, bad, later, 15, whole_passes=1),
        bits("gaps-zero", "gaps by form ZERO", "SPA-2", GAPS, model, form, 0),
        bits("gaps-zero-none", "gaps by form ZERO, s = 0", "SPA-2", "valid-sparse-none-gaps", model, form, 0),
        bits(
            "gaps-same-first",
            "gaps by form SAME and no model before them",
            "SPA-2 TAB-3",
            LONE,
            model,
            "PASS0.tensor0.atoms.form",
            3,
        ),
        bits(
            "coefficients-same-first",
            "coefficients by form SAME behind a bitmap and no model",
            "TAB-3",
            "valid-sparse-k2-1-bitmap",
            model,
            "PASS0.tensor0.form",
            3,
        ),
        bits("gaps-scale", "a scale of gaps: b above 14", "ENT-3", GAPS, model, "PASS0.tensor2.atoms.scale", 144),
        bits(
            "gaps-low-bits",
            "low_bits 15 for gaps",
            "ENT-2",
            "valid-sparse-gaps-long-all",
            model,
            "PASS0.tensor2.atoms.low_bits",
            15,
        ),
        bits(
            "gaps-escape-r-0",
            "esc = 1 with R = 0 for gaps",
            "ENT-2",
            "valid-sparse-gaps-r-0",
            model,
            "PASS0.tensor2.atoms.escape",
            1,
        ),
        built(
            "sparse-step-below-0",
            "8 bits gained from step code 63",
            "SPA-4 TAB-4",
            eight,
            "STEP_OUT_OF_RANGE",
            later,
            with_entry(parent(eight), MATRIX, step=63),
            whole_passes=1,
        ),
        built(
            "sparse-step-below-0-row",
            "a row's step code falls from 7 to -1",
            "SPA-4 TAB-4",
            "valid-sparse-pass-rows",
            "STEP_OUT_OF_RANGE",
            "PASS1.tensor0.add_bits",
            rows_above(6),
            whole_passes=1,
        ),
        *(
            edit(
                f"sparse-short-{name}",
                f"the table ends inside {field}",
                "7.2",
                LONE,
                "PAYLOAD_TOO_SHORT",
                END,
                Edit(f"PASS0.tensor0.{field}", b"", 1, bytes_to_end(LONE, f"PASS0.tensor0.{field}") - 1),
            )
            for name, field in (("n-atoms", "n_atoms"), ("n-nonzero", "n_nonzero"), ("gaps", "atoms.scale"))
        ),
        *limits(),
    ]


def like_before() -> list[Invalid]:
    """SPA-1 where the fields are those of the sparse code before."""
    bad = "BAD_TABLE"
    full, later = "valid-sparse-again-full", "valid-sparse-again-pass"
    place = "PASS0.tensor4.vectors"

    def longer(**chosen: Any) -> File:
        """Six atoms for columns of 9, then for columns of 5."""
        return repeated(coded(parent(full).head, n_nonzero=6, **chosen))

    first = parent(later).passes[1].entries
    codes = [i for i, entry in enumerate(first) if entry.sparse is not None]
    code = first[codes[0]].sparse
    if code is None:
        raise ValueError("no sparse code")
    return [
        built("sparse-again-k1", "the repeated s = 6 is above k1 = 5", "SPA-1", full, bad, place, longer()),
        built(
            "sparse-again-k1-packed",
            "the repeated s = 6 is above k1 = 5, packed",
            "SPA-1",
            full,
            bad,
            place,
            longer(coding=PACKED),
        ),
        built(
            "sparse-again-k1-rows",
            "the repeated s = 9 is above k1 = 7",
            "SPA-1",
            "valid-sparse-again-rows",
            bad,
            place,
            repeated(coded(parent("valid-sparse-again-rows").head, vectors=ROWS, n_nonzero=9)),
        ),
        built(
            "sparse-again-first-later",
            "vectors = 3 in a later pass whose first matrix stays",
            "SPA-1",
            later,
            bad,
            "PASS1.tensor4.vectors",
            with_entry(parent(later), codes[0], 1, sparse=replace(code, repeated=True)),
            whole_passes=1,
        ),
        built(
            "sparse-again-gaps-zero",
            "gaps by form ZERO behind vectors = 3",
            "SPA-2",
            "valid-sparse-again-columns",
            "BAD_MODEL",
            "PASS0.tensor4.atoms.form",
            zero_gaps(),
        ),
        built(
            "sparse-again-atoms",
            "an atom that is not there under the repeated n_atoms",
            "SPA-6",
            "valid-sparse-again-columns",
            "BAD_STREAM",
            BODY,
            beyond_before(),
        ),
    ]


def zero_gaps() -> File:
    """The second of three sparse codes with gaps by form ZERO."""
    file = parent("valid-sparse-again-columns")
    place, code = second_code(file)
    return with_entry(file, place, sparse=replace(code, gap_model=Zero()))


def beyond_before() -> File:
    """The second of three sparse codes with the atom n_atoms."""
    file = parent("valid-sparse-again-columns")
    place, code = second_code(file)
    atoms = ((*code.atoms[0][:-1], code.n_atoms), *code.atoms[1:])
    return with_entry(file, place, sparse=replace(code, atoms=atoms, gap_model=ESCAPES))


def second_code(file: File) -> tuple[int, SparseCode]:
    """The place and the code of the second sparse matrix."""
    found = [(i, entry.sparse) for i, entry in enumerate(file.passes[0].entries) if entry.sparse is not None]
    return found[1]


def limits() -> list[Invalid]:
    """SPA-3."""
    error = "LIMIT_SYMBOLS"
    source, large = "valid-sparse-limit-symbols", "valid-sparse-large-none"
    none = single(((),) * 4, ((),) * 4, n_atoms=MOST_ATOMS, support=BITMAP)
    zeros = coded(LARGE, vectors=FLATTENED, n_nonzero=0, n_atoms=1 << 15, model=Zero())
    return [
        built(
            "sparse-limit-products",
            "4194305 symbols at level 1, one of them a part of 64 products",
            "SPA-3",
            source,
            error,
            TABLE,
            symbols_file(65, 1),
        ),
        built("sparse-limit-bitmap", "bitmaps of 2^22 slots, s = 0", "SPA-3 LIM-2", source, error, TABLE, none),
        edit(
            "sparse-limit-large",
            "16320 atoms of 16320 integers: the products alone exceed level 1",
            "SPA-3 LIM-2",
            large,
            error,
            TABLE,
            Bits("PASS0.tensor0.n_nonzero", 16320),
        ),
        built(
            "sparse-limit-large-zero",
            "the same with coefficients by form ZERO",
            "SPA-3",
            large,
            error,
            TABLE,
            with_entry(zeros, 0, force={"n_nonzero": 16320}),
        ),
        *(
            built(
                f"sparse-limit-{name}",
                f"4 symbols more than level 1 has, in the second pass, with {name}",
                "SPA-3 LIM-1",
                f"valid-sparse-limit-symbols-{name}",
                error,
                "PASS1.tensor0.refined",
                two_pass_symbols(coding, 4),
                whole_passes=1,
            )
            for name, coding in (("gaps", RANS), ("packed", PACKED))
        ),
        edit(
            "order-sparse-table-symbols",
            "SPA-1 of 16321 atoms before SPA-3",
            "7.5",
            large,
            "BAD_TABLE",
            "PASS0.tensor0.n_nonzero",
            Bits("PASS0.tensor0.n_nonzero", 16321),
        ),
    ]


def bytes_to_end(name: str, mark: str) -> int:
    """Bytes from a table field of PASS 0 to the end of the payload."""
    marks = build(parent(name)).marks
    return marks[END].offset - marks[mark].offset


def supports() -> list[Invalid]:
    """SPA-6: atoms that do not ascend or are not there."""
    stream, table, over = "BAD_STREAM", "BAD_TABLE", "ACC_OVERFLOW"
    packed = "valid-sparse-k2-most-packed"

    def atoms(
        name: str, title: str, error: str, rows: tuple[tuple[int, ...], ...], clause: str = "SPA-6", **more: Any
    ) -> Invalid:
        plain = more.get("coding", RANS) != RANS
        values = more.pop("values", SMALL)
        file = single(rows, values, **({} if plain else {"gap_model": ESCAPES}), **more)
        return built(f"sparse-{name}", title, clause, packed if plain else LONE, error, BODY, file)

    good = ((0, 1, 2),) * 3
    largest, beyond = 2**31 - 1, 2**31
    return [
        atoms("gaps-k2", "the last atom of a vector is k2", stream, (*good, (3, 4, 24))),
        atoms("gaps-k2-first", "the first atom of the first vector is k2", stream, ((24, 25, 26), *good)),
        atoms("gaps-most", "gaps of 2^31 - 1", stream, ((largest, 2 * largest + 1, 3 * largest + 2), *good)),
        atoms(
            "gaps-wrap",
            "gaps that add up to 2^32 + 20",
            stream,
            ((1, largest, 2**32 - 2, 2**32 + 20), *((0, 1, 2, 3),) * 3),
            values=((1, 2, 3, 4),) * 4,
        ),
        atoms("gaps-2-31", "a gap of 2^31", over, ((1, 2, 3 + beyond), *good), "ENT-1"),
        atoms("gaps-k2-most", "atom 2^20 of 2^20", stream, ((0, 1, MOST_ATOMS), *good), n_atoms=MOST_ATOMS),
        atoms(
            "gaps-k2-zero",
            "an atom k2 whose coefficient is 0",
            stream,
            ((0, 1, 24), *good),
            values=((1, 1, 0),) * 4,
        ),
        atoms(
            "gaps-k2-form-zero",
            "an atom k2, coefficients by form ZERO",
            stream,
            ((0, 1, 24), *good),
            model=Zero(),
            values=((0, 0, 0),) * 4,
        ),
        atoms("indices-k2", "index 24 of 24 atoms", table, (*good, (3, 4, 24)), coding=PACKED),
        atoms("indices-equal", "an index twice", table, (*good, (3, 7, 7)), coding=PACKED),
        atoms("indices-fall", "indices that fall", table, ((5, 4, 6), *good), coding=PACKED),
        atoms(
            "indices-most",
            "index 2^32 - 1 in 32 bits",
            table,
            (*good, (3, 4, 2**32 - 1)),
            coding=PACKED,
            index_width=32,
        ),
        atoms(
            "indices-most-first",
            "index 2^32 - 1 in 32 bits before 0: -1 if it had a sign",
            table,
            (*good, (2**32 - 1, 0, 1)),
            coding=PACKED,
            index_width=32,
        ),
        atoms("indices-zlib", "an index twice, zlib", table, (*good, (3, 7, 7)), coding=ZLIB),
        built(
            "sparse-indices-later",
            "an index twice in a later pass",
            "SPA-6",
            "valid-sparse-pass-8-bits",
            table,
            "PASS1.body",
            with_pass(parent("valid-sparse-pass-8-bits"), 1, entries=twice()),
            whole_passes=1,
        ),
    ]


def twice() -> tuple[Entry, ...]:
    """The entries of a later pass with the index 5 twice."""
    rows = list(parent("valid-sparse-pass-8-bits").passes[1].entries)
    rows[MATRIX] = Entry(sparse=SparseCode(24, ((5, 5),), ((1, 2),), FLATTENED), refine=8)
    return tuple(rows)


def sums() -> list[Invalid]:
    """SPA-5, ENT-1, WGT-3, WGT-4, PAS-5 and the coder's end."""
    over, crc = "ACC_OVERFLOW", "ACC_CRC_MISMATCH"
    most = ((LARGEST_SUM - 1, 1, -1), *SMALL[1:])
    lanes = "valid-sparse-lanes"
    return [
        built(
            "sparse-overflow",
            "magnitudes that add up to 16909321, law 0: no sum is near 2^31",
            "SPA-5",
            MOST,
            over,
            BODY,
            single(NEAR, most, coding=PACKED),
        ),
        built(
            "sparse-overflow-rans",
            "magnitudes that add up to 16909321 in the last vector, by escapes",
            "SPA-5",
            "valid-sparse-coefficients-most-t8",
            over,
            BODY,
            single(NEAR, tuple(reversed(most)), head=replace(SINGLE, rng_dictionary=T8), model=ESCAPES),
        ),
        built(
            "sparse-overflow-least",
            "a packed coefficient of -2^31",
            "SPA-5",
            MOST,
            over,
            BODY,
            single(NEAR, ((0, 0, -(2**31)), *SMALL[1:]), coding=PACKED, width=32),
        ),
        built(
            "sparse-overflow-cancels",
            "coefficients 2^31 - 1 and 1 - 2^31",
            "SPA-5",
            MOST,
            over,
            BODY,
            single(NEAR, ((2**31 - 1, 1 - 2**31, 0), *SMALL[1:]), coding=PACKED),
        ),
        built(
            "sparse-overflow-value",
            "a coefficient of 2^31",
            "ENT-1",
            "valid-sparse-coefficients-most-t8",
            over,
            BODY,
            single(NEAR, ((0, 0, 2**31), *SMALL[1:]), model=ESCAPES),
        ),
        built(
            "sparse-overflow-later",
            "SPA-5 in a later pass",
            "SPA-5",
            "valid-sparse-pass-wide",
            over,
            "PASS1.body",
            shifted(1, LARGEST_SUM + 1),
            whole_passes=1,
        ),
        built(
            "sparse-overflow-shift",
            "8 bits take 2^23 to 2^31",
            "WGT-4 SPA-4",
            "valid-sparse-pass-wide",
            over,
            "PASS1.body",
            shifted(1 << 23, 0),
            whole_passes=1,
        ),
        built(
            "sparse-step-row-above",
            "a row's step code is 1024",
            "WGT-3",
            "valid-sparse-rows",
            "STEP_OUT_OF_RANGE",
            BODY,
            with_entry(parent("valid-sparse-rows"), MATRIX, step=1021),
        ),
        built(
            "sparse-bitmap-dense",
            "32767 of 32768 slots: the frequency of one is clamped to 2^14 - 1; a row's step code is 1024",
            "9.5 WGT-3",
            "valid-sparse-bitmap-dense",
            "STEP_OUT_OF_RANGE",
            BODY,
            dense(),
        ),
        edit(
            "sparse-other-law",
            "the other dictionary law",
            "RNG-7 RNG-8",
            GAPS,
            crc,
            "PASS0.acc_crc",
            Edit("HEAD.rng_dictionary", b"\x11"),
        ),
        edit("sparse-other-seed", "another seed", "RNG-1", BITMAPS, crc, "PASS0.acc_crc", Flip("HEAD.seed", 1, 3)),
        edit(
            "sparse-word-left", "64 lanes, a word is left", "ENT-6", lanes, "BAD_STREAM", BODY, Edit(END, b"\0\0", 0, 0)
        ),
        edit(
            "sparse-bitmap-odd", "a stream of odd length", "ENT-4", BITMAPS, "BAD_STREAM", BODY, Edit(END, b"\0", 0, 0)
        ),
        edit(
            "sparse-packed-short",
            "indices and coefficients without their last byte",
            "11",
            PLAIN,
            "PAYLOAD_TOO_SHORT",
            END,
            Edit(END, b"", -1, 1),
        ),
    ]


def dense() -> File:
    """A matrix (4, 8192) as one vector that misses atom 0; its coefficients are 0, its last row has no step."""
    records = (Layer("RELU", 8192, bias=False), Layer(tool=SPARSE_CODE, bias=False, row_steps=True))
    head = replace(SINGLE, records=records, level=3, in_dims=1, out_channels=4, grid=(1,))
    n_atoms = 1 << 15
    atoms = tuple(range(1, n_atoms))
    code = SparseCode(n_atoms, (atoms,), ((0,) * len(atoms),), FLATTENED, BITMAP)
    first = Entry(values=(0,) * 8192, model=Zero())
    second = Entry(sparse=code, step=1020, row_steps=(0, 1, 2, 4), model=Zero())
    return File(head, (Pass((first, second)),))


def orders() -> list[Invalid]:
    """Clause 7.5: of two faults the first in the order of checks counts."""
    over = ((LARGEST_SUM, 1, 1), *SMALL[1:])
    beyond = single((*NEAR[1:], (0, 1, 24)), over, coding=PACKED)
    flags = replace(CODED, row_steps=True)
    rows = coded(replace(NETWORK, records=(HIDDEN, flags, Layer())), PACKED, row_steps=(0,) * 6 + (4,), step=1020)
    code = rows.passes[0].entries[MATRIX].sparse
    if code is None:
        raise ValueError("no sparse matrix")
    too_large = replace(code, coefficients=((2**30, 0, 0), *code.coefficients[1:]))
    later_rows = coded(replace(NETWORK, records=(HIDDEN, CODED, Layer(row_steps=True))), PACKED)
    later_rows = with_entry(later_rows, 4, step=1020, row_steps=(4,))
    later_rows = with_entry(later_rows, MATRIX, sparse=too_large)
    surplus = single(NEAR, over, coding=PACKED)
    longer = build(surplus)
    body = longer.data[longer.marks[BODY].offset : longer.marks[END].offset]
    return [
        built("order-sparse-atoms-sum", "SPA-6 before SPA-5", "7.5", MOST, "BAD_TABLE", BODY, beyond),
        built(
            "order-sparse-row-sum",
            "a row's step code before SPA-5",
            "7.5",
            "valid-sparse-rows-packed",
            "STEP_OUT_OF_RANGE",
            BODY,
            with_entry(rows, MATRIX, sparse=too_large),
        ),
        built(
            "order-sparse-sum-row",
            "SPA-5 before a row's step code of a later tensor",
            "7.5",
            PLAIN,
            "ACC_OVERFLOW",
            BODY,
            later_rows,
        ),
        built(
            "order-sparse-end-sum",
            "the end of the body before SPA-5",
            "7.5",
            MOST,
            "SURPLUS_BYTES",
            END,
            with_pass(surplus, 0, body_hex=body.hex() + "00"),
            plus=-1,
        ),
    ]


def sparse_invalid() -> list[Invalid]:
    """Every invalid vector of tool 3."""
    return heads() + tables() + like_before() + supports() + sums() + orders()
