"""Recipes of the vectors of PARTS with one fault (clause 13.1), of bases with PARTS or WIDTHS, and of wrong calls."""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from conformance.generate.build import acc_crc, build, built_base, state_digest
from conformance.generate.describe import (
    BOX,
    CENTRES_UNIT,
    CORNERS,
    LATENTS,
    PARTS,
    SHARED_BASE,
    WIDTHS,
    Ancillary,
    Entry,
    File,
    Head,
    Layer,
    Record,
    Same,
)
from conformance.generate.faults import Edit, Flip
from conformance.generate.recipe import Call, Invalid, Valid, with_entry, with_pass
from conformance.generate.recipes_parts import (
    QUARTERS,
    SINE,
    TWO_LEVELS,
    head,
    levels_as_passes,
    parameters_file,
    parts_valid,
    symbols_file,
)
from conformance.generate.recipes_sparse import code_for
from conformance.generate.recipes_valid import HASH_TYPE
from conformance.generate.recipes_widths import ONE, grown

VALID: dict[str, Valid] = {recipe.name: recipe for recipe in parts_valid()}
LINE, TILES, SHARED, PASSES, THIRDS = (
    f"valid-parts-{name}" for name in ("line-overlap", "image", "grid-shared", "passes", "passes-line")
)
REQUIRED, MISMATCH, BAD = "HEAD.features_required", "FEATURE_MISMATCH", "BAD_RECORD"
DIMENSIONS, ORDER = "BAD_DIMENSIONS", "PASS_ORDER"
SPLIT, OVERLAP, SHARED_FIELD = "HEAD.split", "HEAD.overlap", "HEAD.shared"


def u16(value: int) -> bytes:
    return struct.pack("<H", value)


def head_only(name: str, title: str, clause: str, error: str, at: str, described: Head, parent: str = LINE) -> Invalid:
    """A file of nothing but a head with one fault."""
    alone = File(described, (), order=("HEAD",))
    return Invalid(f"invalid-{name}", title, (clause,), parent, error, at, (), alone)


def rules() -> list[Invalid]:
    """PRT-1 to PRT-5, HED-8."""

    def beside(name: str, title: str, clause: str, error: str, at: str, *records: Record, **fields: Any) -> Invalid:
        return head_only(f"parts-{name}", title, clause, error, at, head(*records, **fields))

    def edit(name: str, title: str, parent: str, clause: str, error: str, at: str, value: int) -> Invalid:
        first = at.rstrip("0123456789")
        return Invalid(f"invalid-parts-{name}", title, (clause,), parent, error, first, (Edit(at, u16(value)),))

    line: dict[str, Any] = {"split": (4,)}
    boxed = {"coords": BOX, "box": ((-1.0,), (1.0,))}
    both = replace(ONE, split=(3,), overlap=(0,), features_required=WIDTHS | PARTS)
    shared = Edit(SHARED_FIELD, b"\x01")
    return [
        beside("base", "PARTS with SHARED_BASE", "PRT-1", MISMATCH, REQUIRED, SINE, **line, features=SHARED_BASE,
               base_digest=bytes(16)),
        head_only("parts-widths", "PARTS with WIDTHS", "PRT-1", MISMATCH, REQUIRED, both),
        beside("no-grid", "no native grid", "PRT-2", DIMENSIONS, SPLIT, SINE, **line, grid=(0,)),
        beside("corners", "coords 1", "PRT-2", DIMENSIONS, SPLIT, SINE, **line, coords=CORNERS),
        beside("unit", "coords 3", "PRT-2", DIMENSIONS, SPLIT, SINE, **line, coords=CENTRES_UNIT),
        beside("box", "coords 15", "PRT-2", DIMENSIONS, SPLIT, SINE, **line, **boxed),
        edit("split-zero", "no part along an axis", "valid-parts-line", "PRT-2", DIMENSIONS, SPLIT, 0),
        edit("split-zero-second", "no part along the second axis", TILES, "PRT-2", DIMENSIONS, f"{SPLIT}1", 0),
        edit("split-above", "10 parts of 9 samples", "valid-parts-line", "PRT-2", DIMENSIONS, SPLIT, 10),
        edit("split-above-second", "6 parts of 5 samples along the second axis", "valid-parts-image-columns", "PRT-2",
             DIMENSIONS, f"{SPLIT}1", 6),
        edit("split-one", "one part", "valid-parts-line", "PRT-2", DIMENSIONS, SPLIT, 1),
        edit("overlap-above", "an overlap of 2 in parts of 2 samples", LINE, "PRT-3", DIMENSIONS, OVERLAP, 2),
        edit("overlap-above-half", "an overlap of 3 in parts of 4 and 5 samples", "valid-parts-line-half", "PRT-3",
             DIMENSIONS, OVERLAP, 3),
        edit("overlap-second", "an overlap of 2 in parts of 3 samples on the second axis", TILES, "PRT-3", DIMENSIONS,
             f"{OVERLAP}1", 2),
        edit("overlap-uncut", "an overlap on an axis that is not cut", "valid-parts-image-columns", "PRT-3", DIMENSIONS,
             OVERLAP, 1),
        edit("overlap-most", "an overlap of 65535", LINE, "PRT-3", DIMENSIONS, OVERLAP, 65535),
        Invalid("invalid-parts-shared", "shared without latents", ("PRT-4",), LINE, BAD, SHARED_FIELD, (shared,)),
        Invalid("invalid-parts-shared-fourier", "shared, and FOURIER has no latents", ("PRT-4",), "valid-parts-fourier",
                BAD, SHARED_FIELD, (shared,)),
        beside("65", "65 parts at level 1", "PRT-5", "LIMIT_PARTS", SPLIT, split=(13, 5), grid=(13, 5)),
        beside("many", "65535 x 65535 parts", "PRT-5", "LIMIT_PARTS", SPLIT, split=(65535, 65535),
               grid=(65535, 65535), level=5),
        head_only("parts-parameters", "16386 parameters of two parts", "HED-8", "LIMIT_PARAMETERS", "HEAD.n_records",
                  parameters_file(bias=True).head, "valid-parts-parameters"),
    ]  # fmt: skip


def fields() -> list[Invalid]:
    """The fields of HEAD, and their order with the rules."""

    def byte(value: int) -> Invalid:
        return Invalid(f"invalid-parts-shared-{value:02x}", f"the byte shared is {value}", ("CON-11",), SHARED,
                       "RESERVED_NOT_ZERO", SHARED_FIELD, (Edit(SHARED_FIELD, bytes([value])),))  # fmt: skip

    def two(name: str, title: str, error: str, at: str, *records: Record, **more: Any) -> Invalid:
        return head_only(f"order-parts-{name}", title, "5.5", error, at, head(*records, **more))

    reserved, deep = replace(SINE, force={"tool_flags": 4}), Layer("SINE", 1, repeat=9)
    unseeded = replace(SINE, prior=True)
    axes = replace(TWO_LEVELS, n_axes=2, resolutions=((2, 2),))
    digest = {"features": SHARED_BASE, "base_digest": bytes(16)}
    short, surplus = "PAYLOAD_TOO_SHORT", "SURPLUS_BYTES"
    return [
        *map(byte, (2, 3, 0x80)),
        Invalid("invalid-parts-short", "HEAD ends before shared", ("CON-10",), LINE, short, "HEAD.crc32",
                (Edit(SHARED_FIELD, b""),)),
        Invalid("invalid-parts-short-split", "HEAD ends inside the split of the second axis", ("CON-10",), TILES, short,
                "HEAD.crc32", (Edit(f"{SPLIT}1", b"", 1, 6),)),
        Invalid("invalid-parts-surplus", "a byte behind shared", ("CON-10",), LINE, surplus, SHARED_FIELD,
                (Edit(SHARED_FIELD, b"\0\0"),), plus=1),
        Invalid("invalid-parts-unset", "the fields of PARTS without PARTS", ("CON-10", "6.1"), LINE, surplus, SPLIT,
                (Edit(REQUIRED, u16(0)),)),
        two("reserved", "a reserved bit before PRT-2", "RESERVED_NOT_ZERO", SHARED_FIELD, SINE, split=(0,), shared=2),
        two("flags", "HED-6 before PRT-2", BAD, "HEAD.record0.tool_flags", reserved, split=(1,)),
        two("axes", "GRD-1 before PRT-2", BAD, "HEAD.record0.n_axes", axes, SINE, split=(1,)),
        two("base", "PRT-1 before PRT-2", MISMATCH, REQUIRED, SINE, split=(1,), **digest),
        two("split", "PRT-2 before PRT-3", DIMENSIONS, SPLIT, SINE, split=(1,), overlap=(1,)),
        two("overlap", "PRT-3 before PRT-4", DIMENSIONS, OVERLAP, SINE, split=(2,), overlap=(3,), shared=1),
        two("shared", "PRT-4 before PRT-5", BAD, SHARED_FIELD, SINE, split=(65,), grid=(65,), shared=1),
        two("split-parts", "PRT-2 before PRT-5", DIMENSIONS, SPLIT, SINE, split=(65, 6), grid=(65, 5)),
        two("layers", "PRT-5 before HED-8", "LIMIT_PARTS", SPLIT, deep, split=(65,), grid=(65,)),
        two("tools", "PRT-3 before HED-9", DIMENSIONS, OVERLAP, unseeded, split=(2,), overlap=(3,)),
        two("grid-feature", "PRT-2 before GRD-4", DIMENSIONS, SPLIT, SINE, split=(1,), features=LATENTS),
    ]  # fmt: skip


def order_of(source: File, labels: Iterable[str]) -> File:
    """The same chunks in another order."""
    return replace(source, order=("HEAD", *labels))


def chunks(*numbers: int) -> list[str]:
    """Labels of PASS chunks."""
    return [f"PASS{number}" for number in numbers]


def orders() -> list[Invalid]:
    """PAS-3, PAS-4, PAS-6, CON-6 and CON-8: chunks of parts out of order, missing, too many."""
    out: list[Invalid] = []

    def order(
        name: str, title: str, clause: str, parent: str, error: str, at: str, numbers: Iterable[int], whole: int = 0
    ) -> None:
        changed = order_of(VALID[parent].file, chunks(*numbers))
        out.append(Invalid(f"invalid-parts-{name}", title, (clause,), parent, error, at, (), changed,
                           whole_passes=whole))  # fmt: skip

    def edit(name: str, title: str, clause: str, parent: str, at: str, data: bytes, whole: int = 0) -> None:
        out.append(Invalid(f"invalid-parts-{name}", title, (clause,), parent, ORDER, at, (Edit(at, data),),
                           whole_passes=whole))  # fmt: skip

    order("swapped", "the second and the third part are swapped", "PAS-6", LINE, ORDER, "PASS2.part", (0, 2, 1, 3))
    order("skipped", "the second of four parts is missing", "PAS-6", LINE, ORDER, "PASS2.part", (0, 2, 3))
    order("first-skipped", "the first part is missing", "PAS-6", LINE, ORDER, "PASS1.part", (1, 2, 3))
    order(
        "shared-behind",
        "the shared tensors come behind the first part",
        "PAS-6",
        SHARED,
        ORDER,
        "PASS1.part",
        (1, 0, 2, 3, 4),
    )
    order("shared-missing", "the shared tensors are missing", "PAS-6", SHARED, ORDER, "PASS1.part", (1, 2, 3, 4))
    order(
        "shared-missing-later",
        "the shared tensors of the second pass are missing",
        "PAS-6",
        PASSES,
        ORDER,
        "PASS4.part",
        (0, 1, 2, 4, 5),
        1,
    )
    order(
        "skipped-later",
        "the first part of the second pass is missing",
        "PAS-6",
        THIRDS,
        ORDER,
        "PASS4.part",
        (0, 1, 2, 4, 5, 6, 7, 8),
        1,
    )
    order(
        "interleaved",
        "the chunks of a part one after the other",
        "PAS-4",
        THIRDS,
        ORDER,
        "PASS3.pass",
        (0, 3, 6, 1, 4, 7, 2, 5, 8),
    )
    order("missing-last", "the last part is missing", "CON-8", LINE, "MISSING_PASS", "PASS2.type", (0, 1, 2))
    order(
        "missing-last-later",
        "the last part of the last pass is missing",
        "CON-8",
        PASSES,
        "MISSING_PASS",
        "PASS4.type",
        (0, 1, 2, 3, 4),
        1,
    )
    order("missing-pass", "the last pass is missing", "CON-8", PASSES, "MISSING_PASS", "PASS2.type", (0, 1, 2), 1)
    order("missing-all", "nothing but the shared tensors", "CON-8", SHARED, "MISSING_PASS", "PASS0.type", (0,))
    edit("repeated", "the first part twice", "PAS-6", LINE, "PASS1.part", u16(0))
    edit("above", "part 4 of four parts", "PAS-6", LINE, "PASS3.part", u16(4))
    edit("not-shared", "part 65535 without shared tensors", "PAS-6", LINE, "PASS0.part", u16(65535))
    edit("shared-as-first", "part 0 where the shared tensors stand", "PAS-6", SHARED, "PASS0.part", u16(0))
    edit("shared-again", "part 65535 in the place of the first part", "PAS-6", SHARED, "PASS1.part", u16(65535))
    edit("high-byte", "part 256 in the place of part 0", "PAS-6", LINE, "PASS0.part", u16(256))
    edit("pass-early", "the second part says that it is of the second pass", "PAS-4", THIRDS, "PASS1.pass", b"\1")
    edit(
        "pass-late",
        "the second part of the second pass says that it is of the first",
        "PAS-4",
        THIRDS,
        "PASS4.pass",
        b"\0",
        1,
    )
    edit(
        "pass-again",
        "the first part of the second pass says that it is of the first",
        "PAS-4",
        THIRDS,
        "PASS3.pass",
        b"\0",
        1,
    )
    edit("last-early", "the first part is marked as the last", "PAS-3", LINE, "PASS0.flags", b"\x09")
    edit("last-shared", "the shared tensors are marked as the last chunk", "PAS-3", SHARED, "PASS0.flags", b"\x09")
    edit("last-unmarked", "the last part is not marked", "PAS-3", LINE, "PASS3.flags", b"\x01")
    edit(
        "last-unmarked-later",
        "the last part of the second pass is not marked",
        "PAS-3",
        THIRDS,
        "PASS5.flags",
        b"\x01",
        1,
    )
    surplus = File(VALID[LINE].file.head, (*VALID[LINE].file.passes, VALID[LINE].file.passes[0]))
    out.append(Invalid("invalid-parts-surplus-part", "a part behind the last one", ("CON-6",), LINE, "CHUNK_ORDER",
                       "PASS4.type", (), surplus, also=("--partial",)))  # fmt: skip
    return [*out, *two_orders()]


def two_orders() -> list[Invalid]:
    """Clause 7.1: two faults in a sub-header, the first in the order of the rules counts."""

    def two(name: str, title: str, at: str, *edits: Edit, error: str = ORDER) -> Invalid:
        return Invalid(f"invalid-order-parts-{name}", title, ("7.1",), LINE, error, at, edits)

    part, flags, number = Edit("PASS1.part", u16(3)), Edit("PASS1.flags", b"\x09"), Edit("PASS1.pass", b"\1")
    return [
        two("flags-pass", "PAS-3 before PAS-4", "PASS1.flags", flags, number),
        two("pass-part", "PAS-4 before PAS-6", "PASS1.pass", number, part),
        two("part-crc", "PAS-6 before PAS-5", "PASS1.part", part, Edit("PASS1.acc_crc", bytes(4))),
        two("lanes-part", "PAS-2 before PAS-6", "PASS1.flags", part, Edit("PASS1.flags", b"\x11"), error="BAD_LANES"),
    ]


def tables() -> list[Invalid]:
    """What stands in a table is said of one chunk; checks of a chunk."""

    def described(name: str, title: str, clause: str, parent: str, error: str, at: str, changed: File,
                  whole: int = 0) -> Invalid:  # fmt: skip
        return Invalid(f"invalid-parts-{name}", title, (clause,), parent, error, at, (), changed, whole_passes=whole)

    line, tiles, passes = VALID[LINE].file, VALID["valid-parts-grid-shared"].file, VALID[PASSES].file
    sparse = VALID["valid-parts-sparse"].file
    tensor = sparse.head.tensors_of(1)[0]
    again = with_entry(sparse, 0, 1, sparse=replace(code_for(tensor, n_nonzero=1, spread=3), repeated=True))
    crc = [number for part in (0, 1) for state in states_of(line, part) for number in state]
    second = passes.passes[5].entries
    early = levels_as_passes(replace(passes.head, n_passes=2))
    early = with_pass(with_pass(early, 2, entries=(Entry(), second[1])), 5, entries=(Entry(), Entry()))
    return [
        described("same-other-part", "SAME for the first tensor of the second part", "TAB-3", LINE, "BAD_MODEL",
                  "PASS1.tensor0.form", with_entry(line, 0, 1, model=Same())),
        described("same-latents", "SAME for the first level of a part, behind the forms of the part before", "GRD-6",
                  SHARED, "BAD_MODEL", "PASS2.tensor65792.dim0.latent_form",
                  with_entry(tiles, 0, 2, latent_models=(Same(), Same()))),
        described("vectors-other-part", "vectors = 3 for the first sparse code of a part", "SPA-1",
                  "valid-parts-sparse", "BAD_TABLE", "PASS1.tensor0.vectors", again),
        described("level-other-part", "level 1 of the second part; its level 0 is not coded, that of the first is",
                  "GRD-5", PASSES, "BAD_TABLE", "PASS2.tensor65793.refined", early),
        Invalid("invalid-parts-acc-crc", "acc_crc of a part", ("PAS-5",), LINE, "ACC_CRC_MISMATCH", "PASS1.acc_crc",
                (Flip("PASS1.acc_crc"),)),
        Invalid("invalid-parts-acc-crc-later", "acc_crc of a part of the second pass", ("PAS-5",), PASSES,
                "ACC_CRC_MISMATCH", "PASS4.acc_crc", (Flip("PASS4.acc_crc"),), whole_passes=1),
        described("acc-crc-all", "acc_crc over the parts before, too", "PAS-5", LINE, "ACC_CRC_MISMATCH",
                  "PASS1.acc_crc", with_pass(line, 1, force={"acc_crc": acc_crc(crc)})),
        Invalid("invalid-parts-crc", "a damaged part of the second pass", ("CON-3",), PASSES, "CHUNK_CRC_MISMATCH",
                "PASS4.crc32", (Flip("PASS4.body"),), reseal=(), whole_passes=1),
        Invalid("invalid-parts-short-header", "a chunk ends inside the field part", ("CON-10", "7.1"), LINE,
                "PAYLOAD_TOO_SHORT", "PASS3.crc32", (Edit("PASS3.part", b"", 1, size_behind(line, 3) + 1),)),
        described("symbols", "2^22 + 4 symbols", "TAB-5", "valid-parts-symbols", "LIMIT_SYMBOLS",
                  "PASS1.tensor0.step_form", symbols_file(1)),
        described("hash", "HASH of a digest tensor by tensor, not part by part", "ANC-1", TILES,
                  "WEIGHTS_HASH_MISMATCH", "HASH.payload", hashed_by_tensor()),
        described("step-later", "a part is refined below step code 0", "TAB-4", THIRDS, "STEP_OUT_OF_RANGE",
                  "PASS4.tensor0.refine_bits", with_entry(VALID[THIRDS].file, 0, 1, step=8), 1),
        Invalid("invalid-parts-empty", "a part without a table", ("7.2",), LINE, "PAYLOAD_TOO_SHORT", "PASS3.crc32",
                (Edit("PASS3.tensor0.step_form", b"", 0, size_behind(line, 3)),)),
    ]  # fmt: skip


def states_of(source: File, part: int) -> list[list[int]]:
    """The integers of a part of a file of one pass, without shared tensors."""
    n = len(source.head.tensors_of(part))
    return [state.acc for state in build(source).states[part * n : (part + 1) * n]]


def size_behind(source: File, number: int) -> int:
    """Bytes of a chunk's table and body."""
    marks = build(source).marks
    return marks[f"PASS{number}.crc32"].offset - marks[f"PASS{number}.part"].offset - 2


def hashed_by_tensor() -> File:
    """The digest of all parts of the first tensor, then of the second, …"""
    source = QUARTERS
    n = len(source.head.tensors_of(0))
    weights = build(source).weights[0]
    flat = [w for i in range(n) for tensor in weights[i::n] for w in tensor]
    digest = hashlib.sha256(struct.pack(f"<{len(flat)}f", *flat)).digest()
    wrong = Ancillary("HASH", HASH_TYPE, b"\0" + digest)
    return replace(source, ancillary=(wrong,), order=("HEAD", "HASH", *chunks(0, 1, 2, 3)))


def bases() -> list[Invalid]:
    """BAS-2: a base with PARTS or WIDTHS."""

    def relative(name: str, title: str, base: str, source: File) -> Invalid:
        described = replace(
            source.head,
            features_required=SHARED_BASE,
            split=(),
            overlap=(),
            active_widths=(),
            n_passes=1,
            base_digest=state_digest(built_base(source).states),
        )
        changed = File(described, (), order=("HEAD",))
        return Invalid(f"invalid-base-{name}", title, ("BAS-2",), LINE, "BASE_MISMATCH", "HEAD.base_digest", (),
                       changed, base=base)  # fmt: skip

    return [
        relative("parts", "the base has PARTS", LINE, VALID[LINE].file),
        relative("widths", "the base has WIDTHS", "valid-widths-min", grown(ONE)),
    ]


def parts_invalid() -> list[Invalid]:
    """Every vector of PARTS with one fault."""
    return [*rules(), *fields(), *orders(), *tables(), *bases()]


def parts_calls() -> list[Call]:
    """Wrong calls of files with parts and of networks that grow."""
    too_many = ("--passes", "3")
    return [
        Call("call-parts-passes", "--passes counts passes, not chunks", ("DEC-5",), PASSES, too_many),
        Call("call-widths-passes", "--passes above the number of passes", ("DEC-5",), "valid-widths-min", too_many),
        Call("call-parts-size", "one size for two axes", ("DEC-4",), TILES, ("--size", "5")),
    ]
