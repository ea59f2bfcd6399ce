"""The trained vectors of the conformance suite: small signals, encoded, and the integers of their files as a list.

Run from the root of the repository, then write the suite again (`python -m conformance.generate`):

    python -m bench.trained_vectors [NAME ...]

With names only these are trained, and the others stay as they are in the list. Signals are made here or taken from the
photograph in `examples`, so that everything in the list is free. The list is `conformance/generate/trained.json`;
`conformance/PROVENANCE.md` explains it. What the generator of the suite writes from it has the weights that training
left, which is checked.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image

import sinrfmt
from conformance.generate.build import build
from conformance.generate.recipes_trained import TRAINED, file_of
from sinrfmt.field import Field
from sinrfmt.media.mesh import Mesh
from sinrfmt.media.scene import Camera, Scene, Views, orbit
from sinrfmt.network import FourierEncoding, GridEncoding, InputRecord, LayerRecord, PyramidEncoding, TensorRole
from sinrfmt.payload import TensorCode
from sinrfmt.pictures import FieldKind
from sinrfmt.registry import Coding, ContextId, Modality, Tool
from sinrfmt.render import render, scenery
from sinrfmt.torch import files
from sinrfmt.torch.architecture import ready_architecture
from sinrfmt.torch.encoder import Target, encode_signal
from sinrfmt.torch.grid_files import encode_grid, grid_preset_of
from sinrfmt.torch.importing import import_checkpoint, lossless
from sinrfmt.torch.point_files import encode_signal_grid, point_preset_of
from sinrfmt.torch.presets import preset_of
from sinrfmt.torch.radiance import encode_scene
from sinrfmt.torch.shapes import ShapeOptions, encode_shape
from sinrfmt.torch.signals import Signal, array_signal, audio_signal, image_signal
from sinrfmt.torch.video import clip_signal

PHOTO = Path("examples/kodim23_192x128.png")
SCALES = range(4, 124, 4)
LAWS = ("LAPLACE", "GAUSS")
RATE = 8000
CPU = torch.device("cpu")

Codes = Sequence[TensorCode | None]
Made = tuple[Field, Codes]
"""A file, and the codes of its tensors where the integers of the weights do not say what was coded."""


# --- signals and what they are encoded with ----------------------------------------------------------------------


def photo(columns: int, rows: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The photograph, reduced: uint8 [rows, columns, 3]."""
    with Image.open(PHOTO) as opened:
        return np.asarray(opened.convert("RGB").resize((columns, rows), Image.Resampling.LANCZOS))


def heights() -> np.ndarray[Any, np.dtype[np.float32]]:
    """A map of 12 x 16 samples."""
    y, x = np.mgrid[0:12, 0:16] / 4.0
    return (280 + 9 * np.sin(x) * np.cos(y) + x * y).astype(np.float32)


def of_field(field: Field) -> Made:
    """The integers of its weights are what is coded."""
    return field, [None] * len(field.states)


def network(signal: Callable[[], Any], max_bytes: int) -> Made:
    """A network of sines for a size."""
    return of_field(files.encode(signal(), max_bytes=max_bytes, preset="fast", device="cpu").field)


def network_codes(signal: Signal, max_bytes: int, weight_coding: str) -> Made:
    """The same, with the codes of a weight coding."""
    chosen = encode_signal(
        signal,
        preset_of("fast"),
        Target(max_bytes),
        weight_coding=files.WEIGHT_CODINGS[weight_coding],
        seed=0,
        device=CPU,
        size_of=lambda network, codes, seed: len(
            files.build(files.header_of(network, signal, seed), codes, Coding.RANS)
        ),
    )
    data = files.build(files.header_of(chosen.network, signal, chosen.seed), chosen.codes, Coding.RANS)
    return sinrfmt.loads(data), chosen.codes


def sound() -> Signal:
    t = np.arange(160) / RATE
    chord = sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330)) * np.exp(-40 * t) / 3
    return audio_signal(chord, RATE)


def volume() -> Signal:
    z, y, x = np.mgrid[0:5, 0:6, 0:7] / 3.0 - 1.0
    return array_signal(np.exp(-2 * (x**2 + y**2 + z**2)).astype(np.float32), modality=Modality.VOLUME)


def clip() -> Signal:
    wide = photo(20, 12)
    return clip_signal(np.stack([wide[:8, i : i + 8] for i in (0, 3, 6)]))


def shape(modality: Modality) -> Made:
    """A network of a torus."""
    torus = trimesh.creation.torus(0.6, 0.25, major_sections=48, minor_sections=24)
    mesh = Mesh(np.asarray(torus.vertices, dtype=np.float64), np.asarray(torus.faces, dtype=np.int64))
    return of_field(encode_shape(mesh, ShapeOptions(modality, FieldKind.MLP, max_bytes=400, device="cpu")).field)


def grid() -> Made:
    """The map as a grid of latents."""
    recipe = replace(point_preset_of("field"), n_steps=400, n_levels=3, first_resolution=3, last_resolution=12, width=8)
    return of_field(encode_signal_grid(array_signal(heights()), recipe, device="cpu").field)


def pyramid(context: ContextId) -> Made:
    """The photograph as a pyramid of latents."""
    recipe = replace(grid_preset_of("pyramid"), n_steps=400, synthesis_width=6, context_width=4, rate_weight=2e-3)
    return of_field(encode_grid(photo(14, 10), preset=recipe, context=context, device="cpu").field)


def ball(coords: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Red, green, blue and density of a ball, orange above and blue below: (n, 6) to (n, 4)."""
    x, _, z = coords[:, :3].T
    inside = np.linalg.norm(coords[:, :3], axis=1) < 0.5
    colour = np.where(z[:, None] > 0, (0.9, 0.5, 0.1), (0.1, 0.3, 0.8)) + 0.1 * x[:, None]
    return np.concatenate([colour, inside[:, None] * 40.0], axis=1).astype(np.float32)


def radiance() -> Made:
    """Views of the ball as a grid of latents."""
    seen = scenery(ball, np.array([(-0.6, 0.6)] * 3), 48)
    poses = [orbit((0.0, 0.0, 0.0), 3.0, 0.6 - 0.5 * (i % 3), i * np.pi / 4) for i in range(8)]
    cameras = tuple(Camera(pose, 0.5, (16, 16)) for pose in poses)
    pictures = tuple(straight(render(seen, camera)) for camera in cameras)
    views = Views(tuple(f"view{i}" for i in range(len(cameras))), cameras, pictures)
    recipe = replace(
        point_preset_of("radiance"),
        n_steps=800, rate_weight=4e-3, n_levels=2, first_resolution=3, last_resolution=7, feature_dim=2, width=6,
        latent_dim=1, batch_size=2000,
    )  # fmt: skip
    return of_field(encode_scene(Scene(views, None), preset=recipe, device="cpu").field)


def straight(seen: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture in front of black with straight alpha."""
    alpha = seen[..., 3:]
    rgba = np.concatenate([seen[..., :3] / np.maximum(alpha, 1e-6), alpha], axis=2)
    return np.rint(255 * np.clip(rgba, 0, 1)).astype(np.uint8)


def imported() -> Made:
    """A network that was trained without this library and stored under COIN's names, imported as it is."""
    rows, columns, width = 6, 8, 8
    torch.manual_seed(0)
    y, x = (2 * torch.arange(n) / (rows - 1) - 1 for n in (rows, columns))
    coords = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).reshape(-1, 2)
    colours = torch.tensor(photo(columns, rows).reshape(-1, 3) / 255.0, dtype=torch.float32)
    layers = [torch.nn.Linear(2, width), torch.nn.Linear(width, width), torch.nn.Linear(width, 3)]
    for layer, bound in zip(layers, (1 / 2, (6 / width) ** 0.5 / 30, (6 / width) ** 0.5 / 30), strict=True):
        torch.nn.init.uniform_(layer.weight, -bound, bound)
    optimiser = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=2e-3)
    for _ in range(1500):
        values = coords
        for layer in layers[:-1]:
            values = torch.sin(30 * layer(values))
        loss = torch.nn.functional.mse_loss(layers[-1](values), colours)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    names = [f"net.{i}.linear" for i in range(len(layers) - 1)] + ["last_layer.linear"]
    state = {
        f"{name}.{key}": value
        for name, layer in zip(names, layers, strict=True)
        for key, value in layer.state_dict().items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "best_model.pt"
        torch.save(state, path)
        found = import_checkpoint(path, ready_architecture("coin"), grid=(rows, columns))
    return of_field(lossless(found.module, found.header))


VECTORS: Mapping[str, tuple[str, Callable[[], Made]]] = {
    "picture": ("a photograph of 14 x 10 pixels", partial(network, partial(photo, 14, 10), 260)),
    "sound": ("a chord of 160 samples", partial(network, sound, 200)),
    "field": ("a map of 12 x 16 samples", partial(network, lambda: array_signal(heights()), 180)),
    "volume": ("a volume of 5 x 6 x 7 samples", partial(network, volume, 180)),
    "clip": ("three frames of 8 x 8 pixels", partial(network, clip, 300)),
    "sdf": ("sdf of a torus", partial(shape, Modality.SDF)),
    "occupancy": ("occupancy of a torus", partial(shape, Modality.OCCUPANCY)),
    "grid": ("the map as a grid of latents", grid),
    "pyramid-interlaced": (
        "the photograph as a pyramid, context INTERLACED",
        partial(pyramid, ContextId.INTERLACED),
    ),
    "pyramid-serial": ("the photograph as a pyramid, context SERIAL", partial(pyramid, ContextId.SERIAL)),
    "trellis": (
        "a photograph of 8 x 6 pixels, tool TRELLIS",
        lambda: network_codes(image_signal(photo(8, 6)), 190, "scalar"),
    ),
    "sparse": (
        "a photograph of 8 x 6 pixels, every matrix a sparse code as SINR has it",
        lambda: network_codes(image_signal(photo(8, 6)), 400, "sinr-paper"),
    ),
    "radiance": ("views of a ball as a radiance field with a grid of latents", radiance),
    "imported": ("a checkpoint under COIN's names, its binary32 weights kept", imported),
}


# --- files as the list has them ----------------------------------------------------------------------------------


def described(name: str, title: str, field: Field, codes: Codes) -> dict[str, Any]:
    """HEAD in the generator's words, and the integers of every tensor."""
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
        head["box"] = [[_number(edge) for edge in side] for side in zip(*header.box, strict=True)]
    if any(code is not None and (code.sparse or code.prior) for code in codes):
        head |= {"rng_dictionary": 0x10 | int(header.dictionary), "seed": header.seed}
    encoding = header.network.input_encoding
    has_context = isinstance(encoding, PyramidEncoding) and encoding.has_context
    tensors = []
    for state, code in zip(field.states, codes, strict=True):
        is_coded = has_context and state.tensor.role is TensorRole.LATENT
        tensor = {"law": "CONTEXT" if is_coded else "LAPLACE", "scale": 24, "step": int(state.step)}
        tensors.append(coded(state.acc, code) | tensor)
    return {"name": name, "title": title, "head": head, "tensors": tensors}


def coded(acc: np.ndarray[Any, np.dtype[np.int32]], code: TensorCode | None) -> dict[str, Any]:
    """What the entry of a tensor codes: the integers of the weights, where no code is given."""
    if code is None:
        return {"values": [int(a) for a in acc]}
    prior = {} if code.prior is None else {"prior": [code.prior.multiplier, code.prior.shift]}
    if code.sparse is None:
        return {"values": [int(v) for v in code.values]} | prior
    lists = {name: getattr(code.sparse, name).tolist() for name in ("atoms", "coefficients")}
    whole = {"n_atoms": code.sparse.n_atoms, "vectors": int(code.sparse.vectors)}
    return {"values": [], "sparse": whole | lists | {"law": "LAPLACE", "scale": 24}}


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
        if isinstance(record, LayerRecord):
            yield layer(record)
        elif isinstance(record, InputRecord):
            encoding = None if record.encoding is None else fourier(record.encoding)
            yield {"record": "input", "first": record.first, "count": record.count, "encoding": encoding}


def layer(record: LayerRecord) -> dict[str, Any]:
    """A record of a layer; only what the list says of all layers, and what is not usual."""
    name = "output" if record.is_output else "layer"
    found = {"record": name, "kind": record.kind.name, "repeat": record.repeat, "bias": record.bias}
    found |= {"width": record.width, "omega": _number(record.omega), "scale": _number(record.scale)}
    unusual = {"tool": int(record.tool)} if record.tool is not Tool.SCALAR else {}
    return found | unusual | {key: True for key in ("prior", "half") if getattr(record, key)}


def fourier(encoding: FourierEncoding) -> dict[str, Any]:
    """Log-spaced features."""
    flags = {"include_input": encoding.include_input, "times_pi": encoding.times_pi}
    return {"octaves": encoding.octaves, "base": _number(encoding.base)} | flags


def _number(value: float) -> float:
    """The generator tells whole numbers from others by their type."""
    return int(value) if value == int(value) else value


def with_models(entry: dict[str, Any], field: Field) -> dict[str, Any]:
    """The same with the law and scale of every list that make the shortest file.

    Of a trellis the model decides which weights values stand for: only one that leaves those of the field counts.
    """
    for index, tensor in enumerate(entry["tensors"]):
        for own in (tensor, tensor.get("sparse")):
            if own is None or own["law"] == "CONTEXT" or field.states[index].tensor.record.tool is Tool.RAW:
                continue
            trials = [(_size(entry, own, law, scale, field, index), law, scale) for law in LAWS for scale in SCALES]
            _, own["law"], own["scale"] = min(trials)
    return entry


def _size(entry: dict[str, Any], own: dict[str, Any], law: str, scale: int, field: Field, index: int) -> float:
    """Bytes of the file with a model for a list of a tensor; infinite where other weights come of it."""
    own["law"], own["scale"] = law, scale
    built = build(file_of(entry), weights_from=1)
    is_same = built.states[index].acc == [int(a) for a in field.states[index].acc]
    return len(built.data) if is_same or field.states[index].tensor.is_sparse else math.inf


def main(argv: Sequence[str] | None = None) -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(prog="python -m bench.trained_vectors", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *VECTORS], metavar="NAME", help="only these, not all")
    chosen = parser.parse_args(argv).names or list(VECTORS)
    torch.set_num_threads(1)
    entries = {entry["name"]: entry for entry in json.loads(TRAINED.read_text(encoding="utf-8"))}
    for name in chosen:
        title, make = VECTORS[name]
        field, codes = make()
        entry = with_models(described(name, title, field, codes), field)
        built = build(file_of(entry), weights_from=0)
        if built.weights_sha256[-1] != field.weights_sha256:
            raise ValueError(f"{name}: the weights written are not those that were trained")
        print(f"{name}: {len(field.data)} bytes, {len(built.data)} in the suite", flush=True)
        entries[name] = entry
    rows = [json.dumps(entries[name]) for name in VECTORS if name in entries]
    TRAINED.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
