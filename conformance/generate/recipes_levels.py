"""Vectors at the limits of the levels 2 to 5 and one above them (clause 14), for which small files are enough.

A file at a limit is refused for another reason that comes later in the order of checks, so that it needs no more than
what is counted: a chunk HEAD alone, a chunk that is not there, a body that is none.
"""

from collections.abc import Callable
from dataclasses import replace

from conformance.generate.build import build
from conformance.generate.describe import (
    BITMAP,
    PARTS,
    ROWS,
    SEEDED,
    SPARSE,
    SPARSE_CODE,
    TRELLIS,
    WIDE,
    Entry,
    File,
    Head,
    Layer,
    Pass,
    SparseCode,
    Zero,
)
from conformance.generate.faults import Edit
from conformance.generate.recipe import Invalid
from conformance.generate.recipes_extremes import extremes_valid

PARENT = "valid-extreme-level-4"
SOURCE = next(recipe.file for recipe in extremes_valid() if recipe.name == PARENT)
LAYERS = {2: 16, 3: 32, 4: 64, 5: 256}
WIDTH = {2: 8192, 3: 16384, 4: 32768, 5: 65535}
PARAMETERS = {2: 131072, 3: 1048576, 4: 16777216, 5: 4294967296}
SYMBOLS = {2: 1 << 24, 3: 1 << 26, 4: 1 << 28, 5: 1 << 34}
N_PARTS = {2: 512, 3: 4096, 4: 16384, 5: 65534}
FILE_BYTES = {2: 524288, 3: 4194304}  # those of the others need chunks that are there
# Grids of as many samples as the level has; and of one more.
GRID = {2: (65536, 1024), 3: (65536, 16384), 4: (65536, 262144), 5: (524288, 524288)}
GRID_ABOVE = {2: (1613, 41605), 3: (25 * 13 * 41, 61 * 1321), 4: (5 * 137 * 953, 26317), 5: (5 * 229 * 457, 525313)}
# Widths and repeats behind the broadest layer that make layers and parameters those of the level.
FULL: dict[int, tuple[tuple[int, int], ...]] = {
    2: ((13, 1), (1, 12), (4084, 1)),
    3: ((61, 1), (1, 28), (8148, 1)),
    4: ((509, 1), (1, 60), (16100, 1)),
    5: ((65530, 1), (2, 252), (65204, 1)),
}
UNUSED = TRELLIS  # a feature that no record uses, which is found after the limits


def head_only(name: str, title: str, clause: str, error: str, at: str, head: Head) -> Invalid:
    """A file of HEAD alone."""
    file = File(head, (), order=("HEAD",))
    return Invalid(f"invalid-level-{name}", title, tuple(clause.split()), PARENT, error, f"HEAD.{at}", (), file)


def chain(level: int, *, bias: bool) -> tuple[Layer, ...]:
    """As many layers, inputs, outputs and parameters as the level has; a parameter more with a bias."""
    widths = ((WIDTH[level], 1), *FULL[level])
    records = (*(Layer(width=width, repeat=n, bias=False) for width, n in widths), Layer(bias=bias))
    n_layers, n_parameters, before = 1, int(bias), 2
    for width, n in widths:
        n_layers, n_parameters, before = n_layers + n, n_parameters + (before + (n - 1) * width) * width, width
    if (n_layers, n_parameters + before) != (LAYERS[level], PARAMETERS[level] + bias):
        raise ValueError(f"level {level}: {n_layers} layers, {n_parameters + before} parameters")
    return records


def heads(level: int) -> list[Invalid]:
    """The limits of HEAD: all at once, and one of each above."""
    tag, title, last = f"{level}", f"more than level {level} has", Layer(bias=False)
    full = Head(chain(level, bias=False), level=level, features_required=WIDE | UNUSED, grid=GRID[level])
    above = replace(full, features_required=WIDE)
    deep = Layer("TANH", repeat=min(LAYERS[level], 255)), *(Layer("RELU") for _ in range(LAYERS[level] // 256)), last
    broad = Layer("GABOR", 32768, bias=False) if level == 5 else Layer(width=WIDTH[level] + 1, bias=False)
    records, limit, small = "n_records", "HED-8 LIM-1", Head(level=level)
    parts = Head(
        (last,), level=level, features_required=PARTS, in_dims=1, grid=(65535,), split=(N_PARTS[level],), overlap=(0,)
    )
    split = replace(parts, split=(N_PARTS[level] + 1,))
    return [
        head_only(f"{tag}-full", f"all layers, values, parameters and samples of level {level}; a feature is unused",
                  "HED-3 HED-8 HED-10 LIM-1", "FEATURE_MISMATCH", "features_required", full),
        head_only(f"{tag}-grid", f"a sample {title}", "HED-3 LIM-1", "LIMIT_GRID", "grid",
                  replace(small, features_required=WIDE, grid=GRID_ABOVE[level])),
        head_only(f"{tag}-layers", f"a layer {title}", limit, "LIMIT_LAYERS", records, replace(small, records=deep)),
        head_only(f"{tag}-width", f"a value between layers {title}", limit, "LIMIT_WIDTH", records,
                  replace(small, records=(broad, last), in_dims=1, grid=(1,))),
        head_only(f"{tag}-parameters", f"a parameter {title}", limit, "LIMIT_PARAMETERS", records,
                  replace(above, records=chain(level, bias=True))),
        head_only(f"{tag}-parts-full", f"all parts of level {level}; a feature is unused",
                  "PRT-5 HED-10 LIM-1", "FEATURE_MISMATCH", "features_required",
                  replace(parts, features_required=PARTS | UNUSED)),
        head_only(f"{tag}-parts", f"a part {title}", "PRT-5 LIM-1", "LIMIT_PARTS", "split", split),
    ]  # fmt: skip


def symbols(level: int) -> list[Invalid]:
    """TAB-5 and SPA-3: bitmaps of no atoms, which are counted slot by slot; above: a bias, or a row's step, more."""
    n_rows = SYMBOLS[level] >> 20  # n_rows * (k2 and 2 parameters) symbols
    code = SparseCode((1 << 20) - 2, ((),) * n_rows, ((),) * n_rows, ROWS, BITMAP)
    entries = Entry(sparse=code, model=Zero()), Entry((0,) * n_rows, model=Zero())
    matrix = Layer(width=n_rows, bias=False, tool=SPARSE_CODE)
    head = Head((matrix, Layer(bias=False)), level=level, features_required=SPARSE | SEEDED, in_dims=1, grid=(1,))
    full = File(head, (Pass(entries, body_hex="00"),))
    above = File(replace(head, records=(matrix, Layer())), (Pass((*entries, Entry((0,), model=Zero()))),))
    stepped = Layer(bias=False, row_steps=True)
    rows = Entry((0,) * n_rows, model=Zero(), row_steps=(0,), row_model=Zero())
    steps = File(replace(head, records=(matrix, stepped)), (Pass((entries[0], rows)),))
    counted = Invalid(f"invalid-level-{level}-symbols-row", f"a row more than the symbols of level {level}",
                      ("TAB-5", "LIM-1"), PARENT, "LIMIT_SYMBOLS", "PASS0.tensor0.step_form", (), steps)  # fmt: skip
    every = Invalid(f"invalid-level-{level}-symbols-full", f"all symbols of level {level}; the body is no stream",
                    ("TAB-5", "SPA-3", "LIM-1", "ENT-4"), PARENT, "BAD_STREAM", "PASS0.body", (), full)  # fmt: skip
    return [
        *([counted] if level == 2 else []),
        *([every] if level < 5 else []),  # LIM-3: so many may be too many for a decoder's caller
        Invalid(f"invalid-level-{level}-symbols", f"a symbol more than level {level} has", ("TAB-5", "SPA-3", "LIM-1"),
                PARENT, "LIMIT_SYMBOLS", "PASS0.tensor0.step_form", (), above),
    ]  # fmt: skip


def file_bytes(level: int) -> list[Invalid]:
    """CON-9: a chunk that would end where the level does, and a byte behind it."""
    start = build(SOURCE).chunk_end("HEAD")

    def longer(name: str, title: str, error: str, at: str, end: int) -> Invalid:
        edits = (
            Edit("HEAD.profile_level", bytes([0x10 | level])),
            Edit("PASS0.length", (end - 9 - start).to_bytes(3, "little")),
        )
        return Invalid(f"invalid-level-{level}-{name}", title, ("CON-9", "LIM-1"), PARENT, error, at, edits,
                       reseal=("HEAD.crc32", "hcheck"))  # fmt: skip

    most = FILE_BYTES[level]
    return [
        longer("bytes-full", f"PASS would end at byte {most} of level {level}", "TRUNCATED", "end", most),
        longer("bytes", f"PASS would end at byte {most + 1} of level {level}", "LIMIT_FILE_BYTES", "PASS0.length",
               most + 1),
    ]  # fmt: skip


def levels_invalid() -> list[Invalid]:
    """Every vector at a limit and above."""
    groups: list[tuple[Callable[[int], list[Invalid]], dict[int, int]]] = [
        (heads, LAYERS),
        (symbols, SYMBOLS),
        (file_bytes, FILE_BYTES),
    ]
    return [vector for make, table in groups for level in table for vector in make(level)]
