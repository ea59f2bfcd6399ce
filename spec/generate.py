"""Makes everything that follows from ``spec/registry.toml`` and the construct layout.

    python spec/generate.py           write sinrfmt/registry.py, the tables of spec/sinr-1.md, and spec/sinr.ksy
    python spec/generate.py --check   change nothing; exit 1 if one of them differs

A table in the text stands between ``<!-- gen:NAME ARGUMENT -->`` and ``<!-- /gen -->``.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import annotate
import construct
import kaitai

import sinrfmt
from sinrfmt import layout, wire

SPEC = Path(__file__).resolve().parent
ROOT = SPEC.parent
TEXT = SPEC / "sinr-1.md"
REGISTRY_PY = ROOT / "sinrfmt" / "registry.py"
ENUMS = {  # registry table -> (class, docstring)
    "chunk": ("ChunkKind", "Bits 0-3 of a chunk's type byte."),
    "feature_required": ("Feature", "Bit numbers of ``features_required``."),
    "feature_optional": ("OptionalFeature", "Bit numbers of ``features_optional``."),
    "profile": ("Profile", "Which tools a file uses."),
    "modality": ("Modality", "What the signal is."),
    "coords": ("Coords", "How grid indices become coordinates."),
    "values": ("Values", "Range of the field's values."),
    "rng": ("Rng", "Random generators."),
    "dictionary": ("Dictionary", "Laws of a seeded dictionary's entries."),
    "record_kind": ("RecordKind", "Kinds of layer records."),
    "tool": ("Tool", "Coding tools of a tensor."),
    "coding": ("Coding", "Payload codings of a PASS chunk."),
    "model_form": ("ModelForm", "How a model's parameters are given."),
    "latent_form": ("LatentForm", "How the model of a level's latents is given."),
    "context": ("ContextId", "How latents of a pyramid are predicted from others."),
    "law": ("Law", "Laws of a short-form model."),
}


def load_registry() -> dict[str, Any]:
    return tomllib.loads((SPEC / "registry.toml").read_text())


def registry_module(registry: dict[str, Any]) -> str:
    """Text of ``sinrfmt/registry.py``."""
    head = registry["format"]
    lines = [
        '"""Ids, limits and error codes of the bitstream. Made by ``spec/generate.py`` from ``spec/registry.toml``."""',
        "",
        "from dataclasses import dataclass",
        "from enum import IntEnum",
        "",
        f'SIGNATURE = bytes.fromhex("{head["signature"]}")',
        f"VERSION_MAJOR = {head['version_major']}",
        f"VERSION_MINOR = {head['version_minor']}",
        f'MEDIA_TYPE = "{head["media_type"]}"',
        f'EXTENSION = "{head["extension"]}"',
    ]
    for table, (name, doc) in ENUMS.items():
        lines += ["", "", f"class {name}(IntEnum):", f'    """{doc}"""', ""]
        lines += [f"    {row['name']} = {row['id']}" for row in registry[table]]
    reserved = [row["name"] for row in registry["feature_required"] if row["status"] == "reserved"]
    lines += [
        "",
        "",
        "# Reserved ids: their fields are fixed, a decoder of this version may refuse them as unsupported.",
        f"RESERVED_FEATURES = frozenset({{{', '.join('Feature.' + name for name in reserved)}}})",
    ]
    with_omega = [row["name"] for row in registry["record_kind"] if row["has_omega"]]
    lines += [f"KINDS_WITH_OMEGA = frozenset({{{', '.join('RecordKind.' + name for name in with_omega)}}})"]
    fields = [key for key in registry["level"][0] if key != "id"]
    lines += ["", "", "@dataclass(frozen=True)", "class Level:", '    """Limits of one level."""', "", "    id: int"]
    lines += [f"    {field}: int" for field in fields]
    lines += ["", "", "LEVELS: dict[int, Level] = {"]
    for row in registry["level"]:
        arguments = ", ".join(f"{field}={row[field]}" for field in fields)
        lines += [f"    {row['id']}: Level(", f"        id={row['id']}, {arguments}", "    ),"]
    lines += ["}"]
    lines += [f"{key.upper()}_LIMIT = {value}" for key, value in registry["limit"].items()]
    lines += ["", "ERRORS: dict[str, tuple[int, str]] = {"]
    lines += [f'    "{row["name"]}": ({row["code"]}, "{row["class"]}"),' for row in registry["error"]]
    lines += ["}", ""]
    return "\n".join(lines)


# --- tables of the text --------------------------------------------------------------------------

# Why a field is there, for the constructs whose condition is an expression. A condition without an entry is an error.
PRESENCE = {
    "grid": "for each axis",
    "box": "coords 15",
    "low": "coords 15: for each axis",
    "high": "coords 15: for each axis",
    "seeded": "SEEDED",
    "seed": "SEEDED",
    "omega": "kind has omega",
    "omega_binary32": "omega = 0",
    "base_binary32": "base = 0",
    "scale": "GABOR",
    "fourier": "encoding = 33",
    "base_digest": "SHARED_BASE",
    "parts": "PARTS",
    "split": "PARTS: for each axis",
    "overlap": "PARTS: for each axis",
    "active_width": "WIDTHS: for each pass but the last: for each layer record but the last (clause 13.2)",
    "records": "n_records - 1 times",
    "resolutions": "for each level: for each axis (flags bit 2: once)",
    "last_record": "",
    "optional_blocks": "for each optional feature",
    "body": "",
}
INTEGER_NAMES = {1: "u8", 2: "u16", 3: "u24", 4: "u32", 8: "u64"}
REGISTRY_COLUMNS = {  # table -> columns beside id and name
    "chunk": ("ancillary", "safe_to_copy", "text"),
    "feature_required": ("status", "text"),
    "record_kind": ("group", "status", "has_omega", "text"),
    "tool": ("status", "text"),
    "coding": ("profile", "text"),
    "error": ("class", "clause", "text"),
}


def markdown_table(columns: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def type_name(subcon: Any) -> str:
    if isinstance(subcon, construct.Bytes):
        return "bytes"
    if subcon is construct.Float32l:
        return "f32"
    return INTEGER_NAMES[subcon.sizeof()]


def field_rows(name: str, subcon: Any, presence: str = "") -> list[list[str]]:  # noqa: PLR0911 - one for each class
    """Rows (field, type, present, meaning, checks) of one construct, nested ones inlined."""
    if isinstance(subcon, construct.Renamed):
        return field_rows(subcon.name, subcon.subcon, presence)
    if isinstance(subcon, wire.Field):
        checks = "; ".join(f"{rule.text}: {rule.error}" for rule in subcon.rules)
        return [[name, type_name(subcon.subcon), presence, subcon.meaning, checks]]
    if isinstance(subcon, construct.Struct):
        return [row for inner in subcon.subcons for row in field_rows(name, inner, presence)]
    if isinstance(subcon, construct.IfThenElse):
        presence = PRESENCE[name] or presence
        if isinstance(subcon.elsesubcon, construct.core.Pass.__class__):
            return field_rows(name, subcon.thensubcon, presence)
        wide, narrow = (field_rows(name, branch, presence)[0] for branch in (subcon.thensubcon, subcon.elsesubcon))
        return [[name, f"{narrow[1]}, WIDE: {wide[1]}", narrow[2], narrow[3], narrow[4]]]
    if isinstance(subcon, construct.Array):
        if name in ("records", "optional_blocks"):
            clause = {"records": "6.4", "optional_blocks": "6.6"}[name]
            return [[name, "", PRESENCE[name], f"clause {clause}", ""]]
        return field_rows(name, subcon.subcon, PRESENCE[name])
    if isinstance(subcon, construct.Switch):
        return [["body", "", "", "by the kind, below", ""]]
    assert isinstance(subcon, wire.Ended) or subcon is construct.Tell, f"{name} is not of the strict subset"
    return []


def head_rows() -> list[list[str]]:
    rows = []
    for inner in layout.HEAD.subcons:
        if inner.name == "last_record":
            rows.append(["last_record", "", "", "clause 6.4", ""])
        else:
            rows += field_rows(inner.name, inner)
    return rows


def fields_table(name: str) -> str:
    rows = head_rows() if name == "HEAD" else field_rows(name, getattr(layout, name))
    return markdown_table(["field", "type", "present", "meaning", "value: else error"], rows)


def bits_table(name: str) -> str:
    rows = [[field, str(bits), text] for field, bits, text in getattr(layout, name)]
    return markdown_table(["field", "bits", "meaning"], rows)


def registry_table(name: str) -> str:
    rows = load_registry()[name]
    columns = REGISTRY_COLUMNS.get(name, ("text",))
    key = "code" if name == "error" else "id"
    shown = {True: "yes", False: "no"}
    cells = [[str(row[key]), row["name"], *(str(shown.get(row[c], row[c])) for c in columns)] for row in rows]
    return markdown_table([key if key == "code" else "id", "name", *(c.replace("_", " ") for c in columns)], cells)


def levels_table(_: str) -> str:
    rows = load_registry()["level"]
    columns = list(rows[0])
    return markdown_table(["level", *columns[1:]], [[str(row[c]) for c in columns] for row in rows])


def example_table(name: str) -> str:
    """The annotated bytes of a file of ``spec/examples``, and the integers and weights that follow."""
    data = (SPEC / "examples" / f"{name}.sinr").read_bytes()
    field = sinrfmt.loads(data)
    values = " ".join(f"{v:.5f}" for v in field.grid().ravel())
    return "\n\n".join(
        (
            markdown_table(["offset", "bytes", "field", "value"], [list(row) for row in annotate.rows(data)]),
            markdown_table(["tensor", "acc", "step code", "weights"], [list(row) for row in annotate.integers(field)]),
            f"weights_sha256: `{field.weights_sha256}`",
            f"Values on the native grid: {values}",
        )
    )


TABLES = {
    "example": example_table,
    "fields": fields_table,
    "bits": bits_table,
    "registry": registry_table,
    "levels": levels_table,
}
MARKER = re.compile(r"(<!-- gen:(\w+) ?(\w*) -->\n).*?(<!-- /gen -->)", re.DOTALL)


def fill_tables(text: str) -> str:
    return MARKER.sub(lambda m: f"{m[1]}{TABLES[m[2]](m[3])}\n{m[4]}", text)


def main(arguments: list[str]) -> int:
    registry_text = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(REGISTRY_PY), "-"],
        input=registry_module(load_registry()),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    outputs = {
        REGISTRY_PY: registry_text,
        TEXT: fill_tables(TEXT.read_text()),
        kaitai.KSY: kaitai.text(load_registry()),
    }
    differing = [path for path, text in outputs.items() if path.read_text() != text]
    if arguments == ["--check"]:
        for path in differing:
            print(f"{path.relative_to(ROOT)} differs from the registry or the layout; run: python spec/generate.py")
        return int(bool(differing))
    for path in differing:
        path.write_text(outputs[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
