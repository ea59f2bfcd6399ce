"""The Kaitai Struct description ``spec/sinr.ksy``, made from the construct layout and the registry.

`generate.py` writes it; ``python spec/kaitai.py`` compiles it to the parser that the tests run on every vector (needs
node with the packages kaitai-struct-compiler and js-yaml). What Kaitai cannot say stands nowhere: values are described,
not checked, and no check value is computed. A tensor table is parsed where it follows from HEAD alone.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import construct

from sinrfmt import layout, wire
from sinrfmt.layout import LAYER_KINDS, TABLE_FIELDS
from sinrfmt.registry import KINDS_WITH_OMEGA, RecordKind

KSY = Path(__file__).resolve().parent / "sinr.ksy"
PARSER = KSY.parent.parent / "tests" / "kaitai" / "sinr.py"

Node = dict[str, Any]
KINDS = {"kind": "record_kind", "encoding": "record_kind", "modality": "modality"}  # fields with an enum
ENUMS = {"chunk": "chunk_kind", "record_kind": "record_kind", "modality": "modality", "coding": "coding"}
NUMBERS = {1: "u1", 2: "u2", 3: "b24", 4: "u4", 8: "u8"}
NAMES = {"pass": "pass_number"}  # a word of most languages
CLAUSES = {
    "chunk_header": "5.2",
    "chunk_trailer": "5.2",
    "head": "6",
    "record": "6.4",
    "last_record": "6.4",
    "grid_body": "9.6.1",
    "pyramid_body": "9.6.2",
    "optional_block": "6.6",
    "box": "6.1",
    "seeded": "6.3",
    "parts": "13.1",
    "indx": "12.1",
    "meta_key": "12.2",
    "meta_value": "12.2",
    "hash_entry": "12.3",
    "prev": "12.4",
}


# --- expressions -------------------------------------------------------------------------------------


class Expression:
    """A value that is not there yet: what is done with it is written down as Kaitai's expression."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _with(self, sign: str, other: Any) -> "Expression":
        return Expression(f"({self.text} {sign} {other.text if isinstance(other, Expression) else int(other)})")

    def __and__(self, other: Any) -> "Expression":
        return self._with("&", other)

    def __sub__(self, other: Any) -> "Expression":
        return self._with("-", other)

    def __ne__(self, other: Any) -> Any:
        return self._with("!=", other)

    def __eq__(self, other: Any) -> Any:
        return self._with("==", other)

    __hash__ = None  # type: ignore[assignment]


class Fields(dict[str, Any]):
    """What a condition of the layout sees of the fields before it; `_` are those of the parent."""

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        self.prefix = prefix

    def __missing__(self, name: str) -> Any:
        if name == "_":
            return Fields(f"{self.prefix}_parent.")
        number = ".to_i" if name in KINDS else ""
        return Expression(f"{self.prefix}{name}{number}")


def _one_of(field: str, kinds: frozenset[RecordKind]) -> str:
    return " or ".join(f"{field} == record_kind::{kind.name.lower()}" for kind in sorted(kinds))


def _is_layer(field: str) -> str:
    """Of the groups layer and lattice_filter."""
    return f"{field}.to_i <= {max(LAYER_KINDS)}"


# What the layout says in Python.
CONDITIONS = {
    ("layer_body", "omega"): _one_of("_parent.kind", KINDS_WITH_OMEGA),
    ("last_layer_body", "omega"): _one_of("_parent.kind", KINDS_WITH_OMEGA),
    ("layer_body", "scale"): "_parent.kind == record_kind::gabor",
    ("output_body", "omega"): _one_of("kind", KINDS_WITH_OMEGA),
}
COUNTS = {
    ("grid_body", "resolutions"): f"n_levels * ((flags & {layout.ISOTROPIC}) != 0 ? 1 : n_axes)",
    ("head", "active_width"): "n_records > 1 ? (n_passes - 1) * records.last.n_layer_records : 0",
    ("head", "optional_blocks"): " + ".join(f"(features_optional >> {bit} & 1)" for bit in range(8)),
}


def _expression(function: Any, where: tuple[str, str], written: dict[tuple[str, str], str]) -> str:
    """As the table says it, else as the layout's `this` does."""
    if where in written:
        return written[where]
    found = function(Fields())
    assert isinstance(found, Expression), f"{where} has a condition that stands in no table"
    return found.text.removeprefix("(").removesuffix(")") if found.text.startswith("(") else found.text


# --- fields and types --------------------------------------------------------------------------------

TYPE_NAMES = {id(value): name.lower() for name, value in vars(layout).items() if isinstance(value, construct.Struct)}


class Types:
    """The types of the description, by name, as they are met."""

    def __init__(self) -> None:
        self.found: Node = {}

    def of_struct(self, struct: construct.Struct, name: str) -> str:
        """The name of its type; that of the field for a struct without one."""
        name = TYPE_NAMES.get(id(struct), name)
        if name not in self.found:
            self.found[name] = {}  # its place, before those inside
            fields = [self.field(inner.name, inner, name) for inner in struct.subcons]
            self.found[name] = _documented(name) | {"seq": [field for field in fields if field]}
        return name

    def field(self, name: str, subcon: Any, owner: str) -> Node:  # noqa: PLR0911 - one for each class
        """One attribute; nothing for what takes no bytes."""
        where = (owner, name)
        if isinstance(subcon, construct.Renamed):
            return self.field(name, subcon.subcon, owner)
        if isinstance(subcon, wire.Ended) or subcon is construct.Tell:
            return {}
        if isinstance(subcon, wire.Field):
            return {"id": NAMES.get(name, name)} | self._value(name, subcon) | {"doc": _meaning(subcon)}
        if isinstance(subcon, construct.Struct):
            return {"id": name, "type": self.of_struct(subcon, name)}
        if isinstance(subcon, construct.IfThenElse):
            return self._choice(where, subcon)
        if isinstance(subcon, construct.Array):
            inner = self.field(name, subcon.subcon, owner)
            return inner | {"repeat": "expr", "repeat-expr": _expression(subcon.count, where, COUNTS)}
        assert isinstance(subcon, construct.Switch), f"{where} is not of the strict subset"
        cases = {f"record_kind::{key.name.lower()}": self.of_struct(s, "") for key, s in subcon.cases.items()}
        cases["_"] = self.of_struct(subcon.default, "")
        return {"id": name, "type": {"switch-on": "kind", "cases": cases}}

    def _choice(self, where: tuple[str, str], subcon: Any) -> Node:
        owner, name = where
        then, condition = self.field(name, subcon.thensubcon, owner), _expression(subcon.condfunc, where, CONDITIONS)
        if isinstance(subcon.elsesubcon, construct.core.Pass.__class__):
            return then | {"if": condition}
        other = self.field(name, subcon.elsesubcon, owner)
        return then | {"type": {"switch-on": condition, "cases": {"true": then["type"], "false": other["type"]}}}

    def _value(self, name: str, field: wire.Field) -> Node:
        if isinstance(field.subcon, construct.Bytes):
            length = field.subcon.length
            return {"size": length if isinstance(length, int) else length(Fields()).text}
        if field.subcon is construct.Float32l:
            return {"type": "f4"}
        return {"type": NUMBERS[field.subcon.sizeof()]} | ({"enum": KINDS[name]} if name in KINDS else {})


def _meaning(field: wire.Field) -> str:
    return ". ".join([field.meaning, *(f"{rule.text}: else {rule.error}" for rule in field.rules)])


def _documented(name: str) -> Node:
    return {"doc": f"Clause {CLAUSES[name]}."} if name in CLAUSES else {}


# --- what stands around the structs of the layout ------------------------------------------------------

_BITS = {name: (f"b{n}", meaning) for name, n, meaning in TABLE_FIELDS}
_NO_TABLE = "(_root.head.payload.features_required & 0x{:x}) == 0"


def _bit_fields(*names: str, **conditions: str) -> list[Node]:
    """Fields of the tensor table; those of `conditions` are there if it holds."""
    return [
        {"id": name, "type": _BITS[name][0], "doc": _BITS[name][1]}
        | ({"if": conditions[name]} if name in conditions else {})
        for name in (*names, *conditions)
    ]


def _all_if(condition: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, condition)


_CODING = {"id": "coding", "type": "u1"}
_LONG = ("max_symbol", "zero_probability", "tail", "tail_change", "heavy", "low_bits", "escape")
_EARLIER = "_root.head.payload.features_required & 0x80 != 0"


def _table_types() -> Node:
    """Clause 7.3. A field of bits and a type do not stand side by side: Kaitai would go on at a whole byte."""
    packed, models = _all_if("coding != 1", "width"), _all_if("coding == 1", "form")
    short, long = _all_if("coding == 1 and form == 1", "law", "scale"), _all_if("coding == 1 and form == 2", *_LONG)
    steps = {"step_short": "not step_form", "step_long": "step_form"}
    prior = {
        "prior_form": "has_prior",
        "prior_short": "has_prior and not prior_form",
        "prior_long": "has_prior and prior_form",
        "prior_shift": "has_prior",
    }
    return {
        "table": {
            "doc": "Clause 7.3: the tensors of all layers, the weights and then the bias of each.",
            "params": [_CODING, {"id": "is_later", "type": "bool"}],
            "seq": [
                {
                    "id": "records",
                    "type": "record_table(_root.head.payload.records[_index], coding, is_later)",
                    "repeat": "expr",
                    "repeat-expr": "_root.head.payload.n_records - 1",
                },
                {
                    "id": "last_layer",
                    "type": "layer_table(_root.head.payload.last_record.body.tool_flags, coding, is_later)",
                },
            ],
        },
        "record_table": {
            "params": [{"id": "record", "type": "record"}, _CODING, {"id": "is_later", "type": "bool"}],
            "seq": [
                {
                    "id": "layers",
                    "type": "layer_table(tool_flags, coding, is_later)",
                    "repeat": "expr",
                    "repeat-expr": "n_layers",
                }
            ],
            "instances": {
                "is_group": {"value": _is_layer("record.kind")},
                "n_layers": {
                    "value": "is_group ? record.body.as<layer_body>.repeat : "
                    "(record.kind == record_kind::output or record.kind == record_kind::filter) ? 1 : 0"
                },
                "tool_flags": {
                    "value": "is_group ? record.body.as<layer_body>.tool_flags : "
                    "record.kind == record_kind::output ? record.body.as<output_body>.tool_flags : "
                    "record.body.as<filter_body>.tool_flags"
                },
            },
        },
        "layer_table": {
            "params": [{"id": "tool_flags", "type": "u1"}, _CODING, {"id": "is_later", "type": "bool"}],
            "seq": [
                {"id": "weights", "type": "entry(tool_flags, coding, is_later, true)", "if": "tool_flags & 7 != 0"},
                {
                    "id": "bias",
                    "type": "entry(tool_flags, coding, is_later, false)",
                    "if": "tool_flags & 7 != 0 and tool_flags & 0x20 == 0",
                },
            ],
        },
        "entry": {
            "params": [
                {"id": "tool_flags", "type": "u1"},
                _CODING,
                {"id": "is_later", "type": "bool"},
                {"id": "is_weights", "type": "bool"},
            ],
            "seq": [
                {"id": "change", "type": "change", "if": "is_later"},
                {"id": "step", "type": "step", "if": "not is_later"},
                {
                    "id": "row_steps",
                    "type": "row_steps(coding)",
                    "if": "not is_later and is_weights and tool_flags & 16 != 0",
                },
                {"id": "prior", "type": "prior", "if": "not is_later and tool_flags & 8 != 0"},
                {"id": "values", "type": "values(coding)", "if": "not is_later or change.refined"},
            ],
        },
        "change": {"seq": _bit_fields("refined", **_all_if("refined", "refine_bits"))},
        "step": {"seq": _bit_fields("step_form", **steps)},
        "row_steps": {
            "params": [_CODING],
            "seq": [
                {"id": "has", "type": "has_row_steps"},
                {"id": "values", "type": "values(coding)", "if": "has.has_row_steps"},
            ],
        },
        "has_row_steps": {"seq": _bit_fields("has_row_steps")},
        "prior": {"seq": _bit_fields("has_prior", **prior)},
        "values": {"params": [_CODING], "seq": _bit_fields(**packed, **models, **short, **long)},
    }


def _chunk_types(types: Types) -> Node:
    header = {"id": "header", "type": types.of_struct(layout.CHUNK_HEADER, "")}
    trailer = {"id": "trailer", "type": types.of_struct(layout.CHUNK_TRAILER, "")}
    size = {"size": "header.length"}
    fields = types.found["chunk_header"]
    fields["instances"] = {
        "kind": {"value": "type & 0xf", "enum": "chunk_kind", "doc": "Clause 5.3."},
        "is_last": {"value": "type & 0x10 != 0", "doc": "Last chunk of the file."},
        "is_private": {"value": "type & 0x40 != 0", "doc": "Its meaning is not in the text."},
    }
    kind = "header.is_private ? 0 : header.kind.to_i"
    return {
        "head_chunk": {"seq": [header, {"id": "payload", "type": types.of_struct(layout.HEAD, "")} | size, trailer]},
        "chunk": {
            "seq": [
                header,
                {"id": "payload", "type": {"switch-on": kind, "cases": {"2": "pass_payload", "_": "ancillary"}}} | size,
                trailer,
            ]
        },
    }


def _pass_type(types: Types) -> Node:
    """Clause 7. The table of the features SPARSE, GRID, PARTS and WIDTHS depends on more than HEAD."""
    fields = types.found[types.of_struct(layout.PASS_HEADER, "")]["seq"]
    (part,) = types.found.pop(types.of_struct(layout.PASS_PART, ""))["seq"]
    del types.found["pass_header"]
    fields += [
        part | {"if": "_root.head.payload.features_required & 0x20 != 0"},
        {"id": "table", "type": "table(flags & 7, is_later)", "if": "has_table"},
        {
            "id": "body",
            "size-eos": True,
            "doc": "Clauses 10 and 11: coded values, behind the table if it is not there.",
        },
    ]
    return {
        "pass_payload": {
            "doc": "Clause 7.",
            "seq": fields,
            "instances": {
                "coding": {"value": "flags & 7", "enum": "coding"},
                "log2_lanes": {"value": "flags >> 4"},
                "is_later": {"value": f"pass_number > 0 or {_EARLIER}"},
                "has_table": {"value": _NO_TABLE.format(0x78), "doc": "Not with SPARSE, GRID, PARTS or WIDTHS."},
            },
        }
    }


def _ancillary_types(types: Types) -> Node:
    """Clause 12. Instances, for content that is not well formed is ignored."""
    places, entry = (types.of_struct(s, "") for s in (layout.INDX_PLACES, layout.INDX_ENTRY))
    widths = {str(n): NUMBERS[n] for n in range(1, 5)}
    key, value, digest = (types.of_struct(s, "") for s in (layout.META_KEY, layout.META_VALUE, layout.HASH_ENTRY))
    (kind,) = types.found.pop(types.of_struct(layout.INDX, ""))["seq"]
    head_length, head = types.found.pop(types.of_struct(layout.PREV, ""))["seq"]
    to_end = {"repeat": "eos"}
    return {
        "ancillary": {
            "instances": {
                name: {"pos": 0, "type": name, "if": f"_parent.header.kind == chunk_kind::{name}_chunk"}
                for name in ("indx", "meta", "hash", "prev")
            },
        },
        "indx": _documented("indx")
        | {
            "seq": [
                kind | {"enum": "indx_kind"},
                {"id": "places", "type": places, "if": "kind == indx_kind::places"},
                {
                    "id": "lengths",
                    "type": {"switch-on": "places.length_bytes", "cases": widths},
                    "if": "kind == indx_kind::places and places.length_bytes >= 1 and places.length_bytes <= 4",
                    "doc": "bytes of each chunk's payload",
                }
                | to_end,
                {"id": "entries", "type": entry, "if": "kind == indx_kind::directory"} | to_end,
            ]
        },
        "meta": {"seq": [{"id": "pairs", "type": "meta_pair"} | to_end]},
        "meta_pair": {"seq": [{"id": "key", "type": key}, {"id": "value", "type": value}]},
        "hash": {"seq": [{"id": "entries", "type": digest} | to_end]},
        "prev": _documented("prev")
        | {
            "seq": [
                head_length,
                head | {"type": "head"},
                {"id": "pass_payload", "size-eos": True, "doc": "Of the preview's PASS chunk, by its HEAD."},
            ]
        },
    }


def description(registry: dict[str, Any]) -> Node:
    """The whole of it, as Kaitai's object."""
    types = Types()
    chunks = _chunk_types(types)
    record = types.found["record"]
    record["params"] = [{"id": "n_before", "type": "u2"}]
    record["instances"] = {
        "n_layer_records": {
            "value": f"n_before + ({_is_layer('kind')} ? 1 : 0)",
            "doc": "Records of the groups layer and lattice_filter up to this one, for active_width.",
        }
    }
    for field in types.found["head"]["seq"]:
        if field["id"] == "records":
            field["type"] = "record(_index == 0 ? 0 : records[_index - 1].n_layer_records)"
    signature = list(bytes.fromhex(registry["format"]["signature"]))
    around = chunks | _pass_type(types) | _table_types() | _ancillary_types(types)
    enums = {name: {row["id"]: row["name"].lower() for row in registry[table]} for table, name in ENUMS.items()}
    enums["chunk_kind"] = {number: f"{name}_chunk" for number, name in enums["chunk_kind"].items()}
    return {
        "meta": {
            "id": "sinr",
            "title": "SINR, a bitstream for implicit neural representations",
            "file-extension": registry["format"]["extension"].removeprefix("."),
            "license": "Apache-2.0",
            "ks-version": 0.11,
            "endian": "le",
            "bit-endian": "le",
        },
        "doc": "Made by spec/generate.py from the layout of the fields and spec/registry.toml. Clauses are those of "
        "spec/sinr-1.md. Values and check values are described, not checked.",
        "seq": [
            {"id": "signature", "contents": signature, "doc": "Clause 5.1."},
            {"id": "head", "type": "head_chunk", "doc": "Clause 6. The first chunk."},
            {
                "id": "chunks",
                "type": "chunk",
                "doc": "Clause 5.2. The last one has bit 4.",
                "repeat": "until",
                "repeat-until": "_.header.is_last",
                "if": "not head.header.is_last",
            },
        ],
        "types": around | types.found,
        "enums": enums | {"indx_kind": {0: "places", 1: "directory"}},
    }


# --- YAML --------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*(-[a-z0-9_]+)*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def _scalar(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str):
        return json.dumps(value)
    return value if _PLAIN.fullmatch(value) and value not in _WORDS else json.dumps(value)


def _key(key: Any) -> str:
    """A key of `cases` is an expression, so the words true and false are none of YAML's there."""
    return str(key) if key in ("true", "false") else _scalar(key)


def yaml_lines(node: Any) -> Iterator[str]:
    """Lines of a mapping or of a list of mappings."""
    for item in node:
        if isinstance(node, list):
            first, *rest = yaml_lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
        elif isinstance(node[item], dict) or (isinstance(node[item], list) and isinstance(node[item][0], dict)):
            yield f"{_key(item)}:"
            yield from (f"  {line}" for line in yaml_lines(node[item]))
        else:
            yield f"{_key(item)}: {_scalar(node[item])}"


def text(registry: dict[str, Any]) -> str:
    """Of ``spec/sinr.ksy``."""
    return "\n".join(yaml_lines(description(registry))) + "\n"


# --- the compiled parser -----------------------------------------------------------------------------

COMPILE = """
const compiler = require("kaitai-struct-compiler"), yaml = require("js-yaml");
const ksy = yaml.load(require("fs").readFileSync(0, "utf-8"));
(compiler.compile || compiler.default.compile)("python", ksy, null, false).then(
    files => process.stdout.write(files["sinr.py"]),
    error => { console.error(String(error)); process.exit(1); });
"""


def stamp(ksy: str) -> str:
    """The first line of the parser: which description it was compiled from."""
    return f"# Compiled from spec/sinr.ksy of SHA-256 {hashlib.sha256(ksy.encode()).hexdigest()}\n"


def compiled(ksy: str) -> str:
    """The Python parser. Raises CalledProcessError where the compiler is missing or refuses."""
    command = ["node", "-e", COMPILE]
    done = subprocess.run(command, input=ksy, capture_output=True, text=True, check=True)
    return stamp(ksy) + done.stdout


if __name__ == "__main__":
    try:
        PARSER.write_text(compiled(KSY.read_text("utf-8")), "utf-8")
    except subprocess.CalledProcessError as failure:
        sys.exit(failure.stderr)
