"""Networks and latents trained on small signals: integers as training leaves them, not as a recipe draws them.

`trained.json` has them; PROVENANCE.md says of which signals they are and how the list is made. Here they are written as
a file again: by tool 1, or by the tool that a layer names, and by tool 4 for latents.
"""

import json
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from conformance.generate.describe import (
    LATENTS,
    PACKED,
    RANS,
    RAW,
    SEEDED,
    SPARSE,
    SPARSE_CODE,
    TRELLIS,
    TRELLIS_CODE,
    Context,
    Entry,
    File,
    Fourier,
    Grid,
    Head,
    Input,
    Layer,
    Output,
    Pass,
    Pyramid,
    Record,
    Short,
    SparseCode,
    Tensor,
)
from conformance.generate.recipe import Valid, points

TRAINED = Path(__file__).with_name("trained.json")
RECORDS: dict[str, type[Layer] | type[Grid] | type[Pyramid]] = {"layer": Layer, "grid": Grid, "pyramid": Pyramid}
CLAUSES_OF_TOOL = {RAW: "9.2", TRELLIS_CODE: "9.4", SPARSE_CODE: "9.5"}
FEATURES_OF_TOOL = {TRELLIS_CODE: TRELLIS, SPARSE_CODE: SPARSE | SEEDED}
UNIT_STEP = 800
N_POINTS = 9


def trained_valid() -> list[Valid]:
    """A vector for every entry of `trained.json`."""
    return [_vector(described) for described in json.loads(TRAINED.read_text(encoding="utf-8"))]


def file_of(described: dict[str, Any]) -> File:
    """The description of a file."""
    head = dict(described["head"])
    records = tuple(_record(record) for record in head.pop("records"))
    head["features_required"] = reduce(or_, map(_features, records))
    head["grid"] = tuple(head["grid"])
    head["box"] = tuple(tuple(side) for side in head.get("box", ((), ())))
    full = Head(records=records, **head)
    tensors = full.tensors()
    entries = tuple(_entry(tensor, given) for tensor, given in zip(tensors, described["tensors"], strict=True))
    is_raw = all(tensor.layer.tool == RAW for tensor in tensors)
    return File(full, (Pass(entries, PACKED if is_raw else RANS),))


def _features(record: Record) -> int:
    """What a record needs."""
    if isinstance(record, Grid | Pyramid):
        return LATENTS
    return FEATURES_OF_TOOL.get(record.tool, 0) | SEEDED * record.prior if isinstance(record, Layer) else 0


def _record(given: dict[str, Any]) -> Record:
    name = given["record"]
    fields = {key: value for key, value in given.items() if key != "record"}
    if name == "output":
        return Output(Layer(**fields))
    if name == "input":
        encoding = fields.pop("encoding")
        return Input(**fields, encoding=Fourier(**encoding) if encoding else None)
    if "resolutions" in fields:
        fields["resolutions"] = tuple(tuple(level) for level in fields["resolutions"])
    record: Record = RECORDS[name](**fields)
    return record


def _entry(tensor: Tensor, given: dict[str, Any]) -> Entry:
    values, model = tuple(given["values"]), _model(given)
    if tensor.layer.tool == RAW:
        return Entry(tuple(value & 0xFFFFFFFF for value in values))
    if tensor.is_latent:
        return Entry(values, latent_models=(Context() if given["law"] == "CONTEXT" else model,))
    if tensor.is_context:
        return Entry(values, context_step=(UNIT_STEP - given["step"]) // 8, model=model)
    prior = tuple(given["prior"]) if "prior" in given else None
    sparse = _code(given["sparse"]) if "sparse" in given else None
    return Entry(values, given["step"], prior=prior, model=model, sparse=sparse)


def _model(given: dict[str, Any]) -> Short:
    return Short(given["law"], given["scale"])


def _code(given: dict[str, Any]) -> SparseCode:
    atoms, coefficients = (tuple(tuple(row) for row in given[name]) for name in ("atoms", "coefficients"))
    return SparseCode(given["n_atoms"], atoms, coefficients, given["vectors"], gap_model=_model(given))


def _vector(described: dict[str, Any]) -> Valid:
    file = file_of(described)
    has_grid = any(file.head.grid)
    tools = {record.tool for record in file.head.records if isinstance(record, Layer)}
    return Valid(
        f"valid-trained-{described['name']}",
        described["title"],
        ("16", *(clause for tool, clause in CLAUSES_OF_TOOL.items() if tool in tools)),
        file,
        coords=None if has_grid else points(file.head.in_dims, N_POINTS),
    )
