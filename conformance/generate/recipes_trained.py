"""Networks and latents trained on small signals: integers as training leaves them, not as a recipe draws them.

`trained.json` has them; PROVENANCE.md says of which signals they are and how the list is made. Here they are written as
a file again: tool 1 for every network, tool 4 for latents.
"""

import json
from pathlib import Path
from typing import Any

from conformance.generate.describe import (
    LATENTS,
    Context,
    Entry,
    File,
    Grid,
    Head,
    Layer,
    Pass,
    Pyramid,
    Record,
    Short,
    Tensor,
)
from conformance.generate.recipe import Valid, points

TRAINED = Path(__file__).with_name("trained.json")
RECORDS: dict[str, type[Layer] | type[Grid] | type[Pyramid]] = {"layer": Layer, "grid": Grid, "pyramid": Pyramid}
UNIT_STEP = 800
N_POINTS = 9


def trained_valid() -> list[Valid]:
    """A vector for every entry of `trained.json`."""
    return [_vector(described) for described in json.loads(TRAINED.read_text(encoding="utf-8"))]


def file_of(described: dict[str, Any]) -> File:
    """The description of a file."""
    head = dict(described["head"])
    records = tuple(_record(record) for record in head.pop("records"))
    if any(not isinstance(record, Layer) for record in records):
        head["features_required"] = LATENTS
    head["grid"] = tuple(head["grid"])
    head["box"] = tuple(tuple(side) for side in head.get("box", ((), ())))
    full = Head(records=records, **head)
    pairs = zip(full.tensors(), described["tensors"], strict=True)
    return File(full, (Pass(tuple(_entry(tensor, given) for tensor, given in pairs)),))


def _record(given: dict[str, Any]) -> Record:
    fields = {key: value for key, value in given.items() if key != "record"}
    if "resolutions" in fields:
        fields["resolutions"] = tuple(tuple(level) for level in fields["resolutions"])
    record: Record = RECORDS[given["record"]](**fields)
    return record


def _entry(tensor: Tensor, given: dict[str, Any]) -> Entry:
    values, model = tuple(given["acc"]), Short(given["law"], given["scale"])
    if tensor.is_latent:
        return Entry(values, latent_models=(Context() if given["law"] == "CONTEXT" else model,))
    if tensor.is_context:
        return Entry(values, context_step=(UNIT_STEP - given["step"]) // 8, model=model)
    return Entry(values, given["step"], model=model)


def _vector(described: dict[str, Any]) -> Valid:
    file = file_of(described)
    has_grid = any(file.head.grid)
    return Valid(
        f"valid-trained-{described['name']}",
        described["title"],
        ("16",),
        file,
        coords=None if has_grid else points(file.head.in_dims, N_POINTS),
    )
