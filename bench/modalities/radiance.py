"""A scene as a radiance field: PSNR of its test views against bytes, beside the same grid uncompressed.

Run from the root of the repository:

    python -m bench.modalities.radiance DATA [--out DIR] [--nnc-python PYTHON] [--steps N] [--views N] [--device D]
        [--rate-weights L ...] [--network-bytes N ...] [--set NAME=VALUE ...] [--only ours|floats|networks]

DATA has ``nerf/lego_200``. In one run: the grid of preset ``radiance`` trained without a rate, kept as binary16; that
grid by Brotli and by NNC (docs/weights.md says how to make a PYTHON that has it) at several steps; our grids, each
trained anew with its lambda; networks without latents of some sizes, preset ``balanced``. What was trained stays in DIR
and is not trained again, so that a run that was cut short goes on; DIR is for one recipe. ``--set`` changes figures of
the grid's recipe (``sinrfmt/torch/grid_presets.toml``); ``--only`` prints some of the files and writes no report.
Writes ``bench/results/modalities-radiance.csv``, ``.md`` and ``.png``, and ``modalities-radiance-views.png``. Seconds
are those of the processor.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import brotli
import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray

import sinrfmt
from bench.modalities.tables import RESULTS, Row, draw, write
from sinrfmt.evaluate import to_uint8
from sinrfmt.media.scene import Scene, Views, read_scene
from sinrfmt.registry import Values
from sinrfmt.render import box_of, on_background
from sinrfmt.torch import GridModule, PointPreset, Preset, preset_of
from sinrfmt.torch.files import device_of
from sinrfmt.torch.point_files import frame_of, point_preset_of, uncompressed_grid
from sinrfmt.torch.radiance import (
    Prepared,
    See,
    encode_scene,
    field_renderer,
    prepare,
    renderer_of,
    views_psnr,
)

mpl.use("Agg")
from matplotlib import pyplot as plt

Arrays = Mapping[str, NDArray[np.float32]]

WORKER = Path(__file__).parents[1] / "nnc_worker.py"
SCENE = Path("nerf") / "lego_200"
SEED = 0
RATE_WEIGHTS = (2e-2, 3.5e-3)
NETWORK_BYTES = (8000, 15_000, 30_000)
NETWORK_PRESET = "balanced"
NNC_STEPS = (-30, -24, -18)
"""qp of NNC, for all tensors."""
LATENTS = "latents"
FLOATS, OURS, NETWORKS = "binary16", "sinrfmt, grid", "sinrfmt, network"
QUALITY = "PSNR dB"
SHOWN = 2
"""Views of the picture."""


def row_of(method: str, setting: str, n_bytes: int, quality: float, seconds: float) -> Row:
    """One way to keep the scene."""
    return Row("lego 200x200", method, setting, n_bytes, seconds, {QUALITY: quality})


@dataclass(frozen=True)
class Bench:
    """What all rows share. ``scene`` has the test views that are measured."""

    scene: Scene
    recipe: PointPreset
    prepared: Prepared
    folder: Path
    device: str

    @property
    def views(self) -> Views:
        return self.scene.test or self.scene.train

    def module(self, arrays: Arrays) -> GridModule:
        """The module of arrays by their names, latents among them."""
        header = self.prepared.header
        module = GridModule(header.network, frame_of(header), seed=SEED)
        with torch.no_grad():
            module.latents.copy_(torch.tensor(arrays[LATENTS]))
            for name, parameter in module.arrays().items():
                parameter.copy_(torch.tensor(arrays[name]))
        return module

    def see(self, arrays: Arrays) -> See:
        """Renders arrays."""
        device = device_of(self.device)
        module = self.module(arrays).to(device)

        def evaluate(coords: torch.Tensor) -> torch.Tensor:
            values: torch.Tensor = module(module.latents, coords)
            return values

        return renderer_of(evaluate, box_of(self.prepared.header), self.prepared.stage.sight, device)

    def psnr(self, see: See) -> float:
        return views_psnr(see, self.prepared.stage.sight, self.views)


def bench_of(data: Path, folder: Path, recipe: PointPreset, n_views: int, device: str) -> Bench:
    scene = read_scene(data / SCENE)
    test = scene.test or scene.train
    chosen = np.linspace(0, len(test) - 1, min(n_views, len(test))).astype(int)
    views = Views(*(tuple(part[i] for i in chosen) for part in (test.names, test.cameras, test.pictures)))
    scene = replace(scene, test=views)
    return Bench(scene, recipe, prepare(scene, recipe, seed=SEED), folder, device)


def recipe_of(n_steps: int | None, changes: Sequence[str]) -> PointPreset:
    """Preset ``radiance`` with other figures, each as NAME=VALUE."""
    figures: dict[str, Any] = {name: json.loads(value) for name, _, value in (text.partition("=") for text in changes)}
    figures = {name: tuple(value) if isinstance(value, list) else value for name, value in figures.items()}
    recipe = replace(point_preset_of("radiance"), **figures)
    return recipe if n_steps is None else replace(recipe, n_steps=n_steps)


# --- ways to keep it -------------------------------------------------------------------------------------------------


def uncompressed(bench: Bench) -> tuple[Arrays, float]:
    """The grid trained without a rate, every number that of binary16; and the seconds that it took."""
    path = bench.folder / f"floats-{bench.recipe.n_steps}.npz"
    if not path.exists():
        started = time.process_time()
        found = uncompressed_grid(
            bench.prepared.header,
            bench.prepared.objective,
            bench.recipe,
            seed=SEED,
            device=bench.device,
            on_progress=say,
        )
        module = found.module.cpu()
        arrays = {name: array.detach().numpy() for name, array in module.arrays().items()}
        arrays[LATENTS] = module.latents.detach().numpy()
        np.savez(path, seconds=time.process_time() - started, **arrays)  # type: ignore[arg-type]
    with np.load(path) as file:
        return {name: file[name] for name in file.files if name != "seconds"}, float(file["seconds"])


def brotli_bytes(arrays: Arrays) -> int:
    """Of all numbers as binary16, tensor after tensor."""
    return len(brotli.compress(b"".join(array.astype("<f2").tobytes() for array in arrays.values()), quality=11))


def by_nnc(python: Path, arrays: Arrays, qp: int) -> tuple[int, Arrays]:
    """Bytes of a file of NNC, and what it is decoded to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "tensors.npz", **dict(arrays))  # type: ignore[arg-type]
        (folder / "job.json").write_text(json.dumps({"qp": qp}), encoding="utf-8")
        subprocess.run([python, WORKER, folder], check=True, stdout=subprocess.DEVNULL, env={"OMP_NUM_THREADS": "1"})
        with np.load(folder / "decoded.npz") as file:
            return (folder / "file.nnc").stat().st_size, {name: file[name] for name in file.files}


def ours(bench: Bench, name: str, preset: PointPreset | Preset, **target: float) -> tuple[bytes, float]:
    """A file, and the seconds that it took."""
    path = bench.folder / f"{name}.sinr"
    seconds = path.with_suffix(".seconds")
    if not seconds.exists():
        started = time.process_time()
        encoded = encode_scene(bench.scene, preset=preset, seed=SEED, device=bench.device, on_progress=say, **target)  # type: ignore[arg-type]
        path.write_bytes(encoded.field.data)
        seconds.write_text(f"{time.process_time() - started:.1f}", encoding="utf-8")
    return path.read_bytes(), float(seconds.read_text(encoding="utf-8"))


def say(stage: str, done: int, total: int, psnr: float) -> None:
    print(f"  {stage} {done} of {total}: {psnr:.2f} dB, {time.process_time():.0f} s", flush=True)


def float_row(bench: Bench) -> tuple[Row, See]:
    """The uncompressed grid, with what renders it."""
    arrays, seconds = uncompressed(bench)
    see = bench.see(arrays)
    return row_of(FLOATS, "", 2 * sum(array.size for array in arrays.values()), bench.psnr(see), seconds), see


def our_rows(bench: Bench, rate_weights: Sequence[float]) -> Iterator[tuple[Row, See]]:
    """Our grids, each with what renders it."""
    for rate_weight in rate_weights:
        name = f"scene-{bench.recipe.n_steps}-{rate_weight:g}"
        found = ours(bench, name, bench.recipe, rate_weight=rate_weight)
        yield decoded(bench, OURS, f"lambda {rate_weight:g}", *found)


def network_rows(bench: Bench, sizes: Sequence[int]) -> Iterator[tuple[Row, See]]:
    """Our networks, each with what renders it."""
    for n_bytes in sizes:
        name = f"network-{NETWORK_PRESET}-{n_bytes}"
        found = ours(bench, name, preset_of(NETWORK_PRESET), max_bytes=n_bytes)
        yield decoded(bench, NETWORKS, f"{n_bytes} bytes asked for", *found)


def decoded(bench: Bench, codec: str, setting: str, data: bytes, seconds: float) -> tuple[Row, See]:
    """The row of a file, and what renders it."""
    see = field_renderer(sinrfmt.loads(data), device=bench.device)
    return row_of(codec, setting, len(data), bench.psnr(see), seconds), see


def measured(
    bench: Bench, rate_weights: Sequence[float], network_bytes: Sequence[int], python: Path | None
) -> Iterator[tuple[Row, See]]:
    """All rows, each with what renders it."""
    arrays, _ = uncompressed(bench)
    floats = float_row(bench)
    quality = floats[0].figures[QUALITY]
    yield floats
    yield from our_rows(bench, rate_weights)
    yield from network_rows(bench, network_bytes)
    yield row_of("binary16 + Brotli", "", brotli_bytes(arrays), quality, 0.0), floats[1]
    for qp in () if python is None else NNC_STEPS:
        started = time.monotonic()
        n_bytes, decoded = by_nnc(python, arrays, qp)  # type: ignore[arg-type]
        seconds = time.monotonic() - started
        see = bench.see(decoded)
        yield row_of("NNC", f"qp {qp}", n_bytes, bench.psnr(see), seconds), see


# --- results ---------------------------------------------------------------------------------------------------------


def write_results(bench: Bench, rows: Sequence[Row], options: str) -> None:
    floats = rows[0]
    rows = [
        replace(
            row,
            figures={
                **row.figures,
                "difference dB": row.figures[QUALITY] - floats.figures[QUALITY],
                "share of binary16": row.n_bytes / floats.n_bytes,
            },
        )
        for row in rows
    ]
    notes = [
        f"{len(bench.scene.train)} train views; mean PSNR of {len(bench.views)} test views in front of white. Preset "
        f"radiance with {bench.recipe.n_steps} steps, seed {SEED}; seconds of the processor. NNC's and Brotli's are of "
        f"the grid in the first line. Networks have preset {NETWORK_PRESET}.",
    ]
    command = f"python -m bench.modalities.radiance DATA --nnc-python PYTHON{options}"
    write("radiance", "Radiance fields", rows, notes, command)
    draw("radiance", rows, "bytes", QUALITY, ("bytes", "PSNR of test views, dB"))


def options_of(arguments: argparse.Namespace) -> str:
    """The options that change figures."""
    weights = " ".join(f"{weight:g}" for weight in arguments.rate_weights)
    options = f" --views {arguments.views} --rate-weights {weights}"
    options += f" --network-bytes {' '.join(map(str, arguments.network_bytes))}"
    options += "" if arguments.steps is None else f" --steps {arguments.steps}"
    return options + (f" --set {' '.join(arguments.set)}" if arguments.set else "")


def picture(bench: Bench, shown: Sequence[tuple[Row, See]], path: Path) -> None:
    """Test views beside what was rendered of them."""
    background = bench.prepared.stage.sight.background
    figure, grid = plt.subplots(SHOWN, 1 + len(shown), figsize=(3 * (1 + len(shown)), 3.2 * SHOWN), squeeze=False)
    for line, view in zip(grid, np.linspace(0, len(bench.views) - 1, SHOWN).astype(int), strict=True):
        rgba = bench.views.pictures[view] / 255
        pictures = [("test view", rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:])]
        for row, see in shown:
            seen = to_uint8(Values.UNIT, on_background(see(bench.views.cameras[view]), background))
            pictures.append(
                (f"{row.codec} {row.setting}\n{row.n_bytes:,} bytes, {row.figures[QUALITY]:.2f} dB", seen / 255)
            )
        for axes, (title, pixels) in zip(line, pictures, strict=True):
            axes.imshow(pixels)
            axes.set_title(title, fontsize=9)
            axes.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with nerf/lego_200")
    parser.add_argument("--out", type=Path, help="where what was trained stays; a new folder when not given")
    parser.add_argument("--nnc-python", type=Path, metavar="PYTHON", help="a Python that has nncodec 2.1.3")
    parser.add_argument("--steps", type=int, help="optimiser steps in place of the preset's")
    parser.add_argument("--views", type=int, default=20, help="test views that are measured")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--rate-weights", type=float, nargs="+", default=RATE_WEIGHTS, metavar="L")
    parser.add_argument("--network-bytes", type=int, nargs="*", default=NETWORK_BYTES, metavar="N")
    parser.add_argument("--set", nargs="+", default=(), metavar="NAME=VALUE", help="figures of the recipe")
    parser.add_argument("--only", choices=("floats", "ours", "networks"), help="print these files and write no report")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.out or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    recipe = recipe_of(arguments.steps, arguments.set)
    bench = bench_of(arguments.data, folder, recipe, arguments.views, arguments.device)
    if arguments.only is not None:
        ways = {
            "floats": lambda: iter([float_row(bench)]),
            "ours": lambda: our_rows(bench, arguments.rate_weights),
            "networks": lambda: network_rows(bench, arguments.network_bytes),
        }
        for row, _ in ways[arguments.only]():
            print(row, flush=True)
        return
    rows: list[Row] = []
    shown: list[tuple[Row, See]] = []
    for row, see in measured(bench, arguments.rate_weights, arguments.network_bytes, arguments.nnc_python):
        print(row, flush=True)
        rows.append(row)
        if len(shown) < 2:
            shown.append((row, see))
        write_results(bench, rows, options_of(arguments))
        if len(shown) == len(rows) == 2:
            picture(bench, shown, RESULTS / "modalities-radiance-views.png")


if __name__ == "__main__":
    main()
