"""Makes everything that follows from ``spec/registry.toml`` and the construct layout.

    python spec/generate.py           write sinrfmt/registry.py and the tables of spec/sinr-1.md
    python spec/generate.py --check   change nothing; exit 1 if one of them differs

A table in the text stands between ``<!-- gen:NAME ARGUMENT -->`` and ``<!-- /gen -->``.
"""

import sys
import tomllib
from pathlib import Path
from typing import Any

SPEC = Path(__file__).resolve().parent
ROOT = SPEC.parent
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
    reserved = {
        name: [row["name"] for row in registry[table] if row.get("status") == "reserved"]
        for table, name in (("feature_required", "Feature"), ("record_kind", "RecordKind"), ("tool", "Tool"))
    }
    lines += ["", "", "# Reserved ids: their fields are fixed, a decoder of this version may refuse them as unsupported."]
    for name, members in reserved.items():
        constant = {"Feature": "RESERVED_FEATURES", "RecordKind": "RESERVED_RECORD_KINDS", "Tool": "RESERVED_TOOLS"}
        lines += [f"{constant[name]} = frozenset(", "    {"]
        lines += [f"        {name}.{member}," for member in members]
        lines += ["    }", ")"]
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


if __name__ == "__main__":
    REGISTRY_PY.write_text(registry_module(load_registry()))
