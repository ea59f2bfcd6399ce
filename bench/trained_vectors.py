"""The trained vectors of the conformance suite: small signals, encoded, and the integers of their files as a list.

Run from the root of the repository, then write the suite again (`python -m conformance.generate`):

    python -m bench.trained_vectors

Signals are made here or taken from the photograph in `examples`, so that everything in the list is free. The list is
`conformance/generate/trained.json`; `conformance/PROVENANCE.md` explains it. What the generator of the suite writes
from it has the weights that training left, which is checked.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image

from conformance.generate.build import build
from conformance.generate.recipes_trained import TRAINED, file_of
from sinrfmt.field import Field
from sinrfmt.media.mesh import Mesh
from sinrfmt.network import GridEncoding, PyramidEncoding, TensorRole
from sinrfmt.pictures import FieldKind
from sinrfmt.registry import ContextId, Modality
from sinrfmt.torch.files import encode
from sinrfmt.torch.grid_files import encode_grid, grid_preset_of
from sinrfmt.torch.point_files import encode_signal_grid, point_preset_of
from sinrfmt.torch.shapes import ShapeOptions, encode_shape
from sinrfmt.torch.signals import array_signal, audio_signal
from sinrfmt.torch.video import clip_signal

PHOTO = Path("examples/kodim23_192x128.png")
SCALES = range(4, 100, 4)
LAWS = ("LAPLACE", "GAUSS")
RATE = 8000


def photo(columns: int, rows: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The photograph, reduced: uint8 [rows, columns, 3]."""
    with Image.open(PHOTO) as opened:
        return np.asarray(opened.convert("RGB").resize((columns, rows), Image.Resampling.LANCZOS))


def files() -> Iterator[tuple[str, str, Field]]:
    """Name, title and file of every vector."""
    picture, wide = photo(14, 10), photo(20, 12)
    network: dict[str, Any] = {"preset": "fast", "device": "cpu"}
    yield "picture", "a photograph of 14 x 10 pixels", encode(picture, max_bytes=260, **network).field
    t = np.arange(160) / RATE
    chord = sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330)) * np.exp(-40 * t) / 3
    yield "sound", "a chord of 160 samples", encode(audio_signal(chord, RATE), max_bytes=200, **network).field
    y, x = np.mgrid[0:12, 0:16] / 4.0
    heights = (280 + 9 * np.sin(x) * np.cos(y) + x * y).astype(np.float32)
    yield "field", "a map of 12 x 16 samples", encode(array_signal(heights), max_bytes=180, **network).field
    z, y, x = np.mgrid[0:5, 0:6, 0:7] / 3.0 - 1.0
    blob = np.exp(-2 * (x**2 + y**2 + z**2)).astype(np.float32)
    volume = array_signal(blob, modality=Modality.VOLUME)
    yield "volume", "a volume of 5 x 6 x 7 samples", encode(volume, max_bytes=180, **network).field
    frames = np.stack([wide[:8, i : i + 8] for i in (0, 3, 6)])
    yield "clip", "three frames of 8 x 8 pixels", encode(clip_signal(frames), max_bytes=300, **network).field
    torus = trimesh.creation.torus(0.6, 0.25, major_sections=48, minor_sections=24)
    mesh = Mesh(np.asarray(torus.vertices, dtype=np.float64), np.asarray(torus.faces, dtype=np.int64))
    for modality in (Modality.SDF, Modality.OCCUPANCY):
        options = ShapeOptions(modality, FieldKind.MLP, max_bytes=400, device="cpu")
        name = modality.name.lower()
        yield name, f"{name} of a torus", encode_shape(mesh, options).field
    recipe = replace(point_preset_of("field"), n_steps=400, n_levels=3, first_resolution=3, last_resolution=12, width=8)
    yield "grid", "the map as a grid of latents", encode_signal_grid(array_signal(heights), recipe, device="cpu").field
    pyramid = replace(grid_preset_of("pyramid"), n_steps=400, synthesis_width=6, context_width=4, rate_weight=2e-3)
    for context in (ContextId.INTERLACED, ContextId.SERIAL):
        made = encode_grid(picture, preset=pyramid, context=context, device="cpu")
        yield f"pyramid-{context.name.lower()}", f"the photograph as a pyramid, context {context.name}", made.field


def described(name: str, title: str, field: Field) -> dict[str, Any]:
    """A file as the list has it: HEAD in the generator's words, and the integers of every tensor."""
    header = field.header
    head: dict[str, Any] = {
        "records": list(records(field)),
        "modality": int(header.modality),
        "in_dims": header.network.in_dims,
        "out_channels": header.network.out_channels,
        "coords": int(header.coords),
        "values": int(header.values),
        "grid": list(header.grid) or [0] * header.network.in_dims,
    }
    if header.box is not None:
        head["box"] = [list(side) for side in zip(*header.box, strict=True)]
    encoding = header.network.input_encoding
    has_context = isinstance(encoding, PyramidEncoding) and encoding.has_context
    tensors = []
    for state in field.states:
        is_coded = has_context and state.tensor.role is TensorRole.LATENT
        law = "CONTEXT" if is_coded else "LAPLACE"
        tensors.append({"acc": [int(a) for a in state.acc], "step": int(state.step), "law": law, "scale": 24})
    return {"name": name, "title": title, "head": head, "tensors": tensors}


def records(field: Field) -> Iterator[dict[str, Any]]:
    """Records of HEAD: the input encoding, then layers."""
    network = field.header.network
    match network.input_encoding:
        case GridEncoding() as grid:
            yield {
                "record": "grid",
                "n_axes": grid.n_axes,
                "latent_dim": grid.latent_dim,
                "feature_dim": grid.feature_dim,
                "log2_table_size": grid.log2_table_size,
                "summed": grid.summed,
                "append_input": grid.append_input,
                "decoder_each": grid.decoder_per_level,
                "resolutions": grid.resolutions,
            }
        case PyramidEncoding() as pyramid:
            yield {
                "record": "pyramid",
                "n_levels": pyramid.n_levels,
                "n_taps": pyramid.filter_numbers,
                "one_filter": pyramid.shared_filter,
                "context_id": int(pyramid.context),
                "n_hidden": pyramid.context_hidden,
                "width": pyramid.context_width,
            }
    for record in network.records:
        layer = {"record": "layer", "kind": record.kind.name, "repeat": record.repeat, "bias": record.bias}
        yield layer | {"width": record.width, "omega": _number(record.omega), "scale": _number(record.scale)}


def _number(value: float) -> float:
    """The generator tells whole numbers from others by their type."""
    return int(value) if value == int(value) else value


def with_models(entry: dict[str, Any]) -> dict[str, Any]:
    """The same with the law and scale of every tensor that make the shortest file."""
    for tensor in entry["tensors"]:
        if tensor["law"] == "CONTEXT":
            continue
        trials = [(_size(entry, tensor, law, scale), law, scale) for law in LAWS for scale in SCALES]
        _, tensor["law"], tensor["scale"] = min(trials)
    return entry


def _size(entry: dict[str, Any], tensor: dict[str, Any], law: str, scale: int) -> int:
    tensor["law"], tensor["scale"] = law, scale
    return len(build(file_of(entry)).data)


def main() -> None:
    """Write the list."""
    torch.set_num_threads(1)
    entries = []
    for name, title, field in files():
        entry = with_models(described(name, title, field))
        built = build(file_of(entry), weights_from=0)
        if built.weights_sha256[-1] != field.weights_sha256:
            raise ValueError(f"{name}: the weights written are not those that were trained")
        print(f"{name}: {len(field.data)} bytes, {len(built.data)} in the suite", flush=True)
        entries.append(entry)
    TRAINED.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
