"""What the vectors cover: requirements, errors, ids of the registry, fields at both ends, chunks out of place.

`python -m conformance.matrix` writes `matrix.json`; `--check` compares. Every row names vectors, and a row without one
stands in `EXCUSED` with its reason: the table is empty nowhere by accident. Fields are read at the places where the
generator put them, chunks in the bytes of the files.
"""

import argparse
import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from conformance.chunks import HASH, HEAD, INDX, KINDS, LAST, META, PASS, PREV, Chunk, split
from conformance.generate.build import build
from conformance.generate.describe import File
from conformance.generate.suite import every_valid
from conformance.run import ROOT, Json, load_manifest

SPEC = ROOT.parent / "spec"
MATRIX = ROOT / "matrix.json"
NAMED = 3  # vectors that a row names; it counts all
COUNTED = re.compile(
    r"(PASS|tensor|block|grid|dim|table_code|table_difference|resolution|active_width|low|high|split|overlap)\d+(_\d+)?"
)
RECORD = re.compile(r"HEAD\.record(\d+)\.")
Rows = dict[str, list[str]]

# --- ids of the registry: the fields that hold them, as functions of a byte of HEAD, a record or a table -------------

Reader = Callable[[int], Iterable[int]]


def low(n_bits: int) -> Reader:
    """The lowest bits as one number."""
    return lambda byte: [byte & ((1 << n_bits) - 1)]


def from_bit(first: int) -> Reader:
    """All bits from one on as one number."""
    return lambda byte: [byte >> first]


def bits(number: int) -> Iterator[int]:
    """The bits that are set."""
    return (i for i in range(number.bit_length()) if number >> i & 1)


IDS: dict[str, tuple[tuple[str, Reader], ...]] = {
    "modality": (("HEAD.modality", low(8)),),
    "profile": (("HEAD.profile_level", from_bit(4)),),
    "level": (("HEAD.profile_level", low(4)),),
    "coords": (("HEAD.coords_values", low(4)),),
    "values": (("HEAD.coords_values", from_bit(4)),),
    "feature_required": (("HEAD.features_required", bits),),
    "feature_optional": (("HEAD.features_optional", bits),),
    "rng": (("HEAD.rng_dictionary", from_bit(4)),),
    "dictionary": (("HEAD.rng_dictionary", low(4)),),
    "record_kind": (("record.kind", low(8)), ("Output.layer_kind", low(8))),
    "tool": (("tool_flags", low(3)),),
    "context": (("Pyramid.context", low(2)),),
    "coding": (("PASS.flags", low(3)),),
    "model_form": (("form", low(2)),),
    "latent_form": (("latent_form", low(3)),),
    "law": (("law", low(2)),),
}

# --- fields with their least and greatest value by the text ------------------------------------------------

EXTREMES: dict[str, tuple[int, int]] = {
    "HEAD.in_dims": (1, 8),
    "HEAD.out_channels": (1, 255),
    "HEAD.n_passes": (1, 255),
    "HEAD.n_records": (1, 255),
    "HEAD.grid": (0, 65535),
    "HEAD.seed": (0, (1 << 64) - 1),
    "HEAD.block": (0, 255),
    "HEAD.shared": (0, 1),
    "Layer.repeat": (1, 255),
    "Layer.width": (1, 65535),
    "Layer.omega": (0, 255),
    "Output.width": (1, 254),  # HED-14 leaves one channel to the last layer
    "Fourier.octaves": (1, 32),
    "Fourier.base": (0, 255),
    "FourierSeeded.n_features": (1, 65535),
    "Input.first": (0, 7),
    "Input.count": (1, 8),
    "Input.octaves": (1, 32),
    "Multiply.layer": (0, 254),  # HED-16 and HED-8: one of the 256 layers is behind it
    "Grid.n_axes": (1, 4),
    "Grid.n_levels": (1, 64),
    "Grid.latent_dim": (1, 255),
    "Grid.feature_dim": (1, 255),
    "Grid.log2_table_size": (0, 30),
    "Grid.resolution": (1, 65535),
    "Pyramid.n_levels": (1, 16),
    "Pyramid.axes": (1, 15),
    "PASS.pass": (0, 254),
    "prior_long": (32769, 65535),
    "prior_shift": (0, 30),
    "add_bits": (0, 8),
    "latent_form": (0, 5),
    "scale": (0, 151),
    "tail": (0, 168),
    "tail_change": (0, 168),
    "low_bits": (0, 14),
}
# Fields of the tensor table that take every number of their bits.
FULL = {
    "refined": 1, "refine_bits": 3, "step_form": 1, "step_short": 7, "step_long": 10, "has_row_steps": 1,
    "has_prior": 1, "prior_form": 1, "prior_short": 7, "vectors": 2, "n_atoms": 20, "n_nonzero": 16, "support": 1,
    "context_step": 4, "table_below": 8, "table_above": 8, "table_escape": 1, "table_difference": 4, "table_code": 7,
    "width": 5, "form": 2, "law": 2, "max_symbol": 10, "zero_probability": 8, "heavy": 1, "escape": 1,
}  # fmt: skip
EXTREMES |= {name: (0, (1 << n) - 1) for name, n in FULL.items()}

# --- chunks -------------------------------------------------------------------------------------------------------


def _kinds(chunks: Sequence[Chunk]) -> list[int]:
    """The kinds of the chunks of the text; 0 for a private one."""
    return [0 if chunk.is_private else chunk.kind for chunk in chunks]


def _after(chunks: Sequence[Chunk], first: int, second: int) -> bool:
    kinds = _kinds(chunks)
    return first in kinds and second in kinds[kinds.index(first) + 1 :]


def _any_type(test: Callable[[int], bool]) -> Callable[[Sequence[Chunk]], bool]:
    return lambda chunks: any(test(chunk.type & ~LAST) for chunk in chunks)


def _twice(kind: int) -> Callable[[Sequence[Chunk]], bool]:
    return lambda chunks: _kinds(chunks).count(kind) > 1


def _is_unknown(chunk_type: int) -> bool:
    return chunk_type & 15 not in (0, *KINDS, 15)


SITUATIONS: dict[str, Callable[[Sequence[Chunk]], bool]] = {
    "unknown, ancillary": _any_type(lambda t: t & 0xC0 == 0x80 and _is_unknown(t) and not t & 0x20),
    "unknown, ancillary, safe to copy": _any_type(lambda t: t & 0xC0 == 0x80 and _is_unknown(t) and t & 0x20 > 0),
    "unknown, critical": _any_type(lambda t: not t & 0xE0 and 2 < t & 15 < 15),
    "private, ancillary": _any_type(lambda t: t & 0xC0 == 0xC0),
    "private, critical": _any_type(lambda t: t & 0xE0 == 0x40),
    "critical, safe to copy": _any_type(lambda t: t & 0xA0 == 0x20),
    "kind 0": _any_type(lambda t: t & 15 == 0),
    "kind 15": _any_type(lambda t: t & 15 == 15),
    "known, of other properties": _any_type(lambda t: t in (0x81, 0x82, 0xA3, 0x84, 0xA5)),
    "no chunk": lambda chunks: not chunks,
    "HEAD missing": lambda chunks: bool(chunks) and HEAD not in _kinds(chunks),
    "HEAD twice": _twice(HEAD),
    "HEAD not first": lambda chunks: HEAD in _kinds(chunks)[1:] and _kinds(chunks)[0] != HEAD,
    "PASS missing": lambda chunks: HEAD in _kinds(chunks) and PASS not in _kinds(chunks),
    "INDX twice": _twice(INDX),
    "INDX after PASS": lambda chunks: _after(chunks, PASS, INDX),
    "META twice": _twice(META),
    "META after PASS": lambda chunks: _after(chunks, PASS, META),
    "HASH twice": _twice(HASH),
    "HASH before PASS": lambda chunks: _after(chunks, HASH, PASS),
    "PREV twice": _twice(PREV),
    "PREV after PASS": lambda chunks: _after(chunks, PASS, PREV),
    "no last chunk": lambda chunks: bool(chunks) and not any(chunk.type & LAST for chunk in chunks),
    "last chunk, and more": lambda chunks: any(chunk.type & LAST for chunk in chunks[:-1]),
}

# Rows without a vector, and why.
EXCUSED = {
    "requirement LIM-3": "the limits are those of a caller",
    "error LIMIT_CALLER": "the limits are those of a caller",
    "error CODEC_MISSING": "depends on the libraries that are installed",
    "error SOURCE_CHANGED": "a file that changes while it is read in ranges",
    "field Layer.width max": "65535 needs level 5: the limits of all levels stand in vectors (LIMIT_WIDTH)",
    "field FourierSeeded.n_features max": "twice as many values as a level's width allows",
    "id feature_required 8 EXACT": "reserved, not specified yet: refused as any unknown feature",
    "id tool 4 LATENT": "HED-6: it stands in no tool_flags; levels of latents have it",
    "field n_nonzero max": "65535 atoms need a matrix and a body of some 10 kB",
}


def matrix() -> Json:
    """All rows, by their group and name: the number of vectors, and some of them."""
    manifest = load_manifest()
    rows: dict[str, Rows] = {
        "requirement": requirements(manifest),
        "error": errors(manifest),
        "chunk": chunks(manifest),
        **held(),
    }
    return {group: {name: _row(names) for name, names in found.items()} for group, found in rows.items()}


def _row(names: Sequence[str]) -> Json:
    chosen = sorted(set(names), key=lambda name: (len(name), name))
    return {"n": len(chosen), "vectors": chosen[:NAMED]}


def requirements(manifest: Json) -> Rows:
    """Vectors that cite each requirement of the text."""
    known = re.findall(r"\*\*\[([A-Z]{3}-\d+)\]", (SPEC / "sinr-1.md").read_text("utf-8"))
    return {name: [v["name"] for v in manifest["vectors"] if name in v["clauses"]] for name in known}


def errors(manifest: Json) -> Rows:
    """Vectors of which a case expects each error."""
    found = defaultdict(list)
    for vector in manifest["vectors"]:
        for case in vector["cases"]:
            found[case["expect"].get("name", "")].append(vector["name"])
    return {row["name"]: found[row["name"]] for row in _registry()["error"]}


def _registry() -> Json:
    return tomllib.loads((SPEC / "registry.toml").read_text("utf-8"))


def chunks(manifest: Json) -> Rows:
    """Vectors whose file has chunks in each situation."""
    files = {v["name"]: split((ROOT / v["file"]["path"]).read_bytes()) for v in manifest["vectors"]}
    return {name: [v for v, found in files.items() if test(found)] for name, test in SITUATIONS.items()}


def held() -> dict[str, Rows]:
    """Vectors that hold each id of the registry, and each field's least and greatest value."""
    ids: dict[tuple[str, int], list[str]] = defaultdict(list)
    ends: dict[tuple[str, int], list[str]] = defaultdict(list)
    for recipe in every_valid():
        for name, value in fields(recipe.file):
            last = name.rpartition(".")[2]
            for group, sources in IDS.items():
                for source, read in sources:
                    if source in (name, last) or (source == "record.kind" and last == "kind"):
                        for number in read(value):
                            ids[group, number].append(recipe.name)
            for key in (name, last):
                if value in EXTREMES.get(key, ()):
                    ends[key, value].append(recipe.name)
    registry = _registry()
    rows = {
        f"{group} {row['id']} {row.get('name', '')}".rstrip(): ids[group, row["id"]]
        for group in IDS
        for row in registry[group]
    }
    return {
        "id": rows,
        "field": {f"{name} {end}": ends[name, value] for name, pair in EXTREMES.items()
                  for end, value in zip(("min", "max"), pair, strict=True)},
    }  # fmt: skip


def fields(file: File) -> Iterator[tuple[str, int]]:
    """The fields of a described file and their values: of HEAD, `Kind.field` of a record, of a chunk, of a table."""
    built = build(file, weights_from=file.n_passes)
    for name, mark in built.marks.items():
        if mark.n_bits:
            size = (mark.bit + mark.n_bits + 7) // 8
            number = int.from_bytes(built.data[mark.offset : mark.offset + size], "little")
            yield _plain(name, file), number >> mark.bit & ((1 << mark.n_bits) - 1)


def _plain(name: str, file: File) -> str:
    record = RECORD.match(name)
    if record:
        kind = type(file.head.records[int(record[1])]).__name__
        return COUNTED.sub(r"\1", f"{kind}.{name[record.end() :]}")
    return COUNTED.sub(r"\1", name)


def gaps(found: Json) -> list[str]:
    """Rows without a vector and without an excuse, and excuses in vain."""
    empty = {f"{group} {name}" for group, rows in found.items() for name, row in rows.items() if not row["n"]}
    return sorted(empty ^ set(EXCUSED))


def text(found: Json) -> str:
    """The matrix as JSON with one row a line."""
    groups = []
    for group, rows in found.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
        groups.append(f" {json.dumps(group)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(groups) + "\n}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 when no row is empty by accident and, with `--check`, the file is up to date."""
    parser = argparse.ArgumentParser(prog="python -m conformance.matrix", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with matrix.json, write nothing")
    given = parser.parse_args(argv)
    found = matrix()
    wrong = gaps(found)
    if not given.check:
        MATRIX.write_text(text(found), "utf-8")
    elif not MATRIX.is_file() or MATRIX.read_text("utf-8") != text(found):
        wrong.append("matrix.json is out of date")
    for line in wrong:
        print(line)
    print(f"{sum(map(len, found.values()))} rows, {len(EXCUSED)} excused, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
