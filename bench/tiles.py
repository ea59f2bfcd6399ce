"""A large picture as tiles: bytes and quality, what a region of it takes over HTTP, seams, and what steps are worth.

Run from the root of the repository:

    python -m bench.tiles OUT PICTURE [--tile N] [--steps N] [--tile-steps N] [--rate-weight L] [--workers N]

    python -m bench.tiles --estimate FILE

Encodes PICTURE into the folder OUT (tiles that are there are not fitted again), reads regions of it from a server on
loopback, and writes ``bench/results/tiles.md`` and ``tiles.png``. The crops are of ``examples/kodim23_192x128.png``.
``--estimate`` says what regions of a file with tiles would take were its tiles of other sizes, by the bytes of those it
has; nothing is encoded.
"""

import argparse
import http.server
import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray

import sinrfmt
from bench.images import THREAD_VARIABLES, machine_name
from sinrfmt import report
from sinrfmt.batch import JOURNAL, ProcessWorkers
from sinrfmt.container import FRAMING_BYTES
from sinrfmt.field import Field
from sinrfmt.head import over_lattice
from sinrfmt.index import fewest_bytes
from sinrfmt.media.image import read_image
from sinrfmt.metrics import Samples, psnr
from sinrfmt.parts import Axis, Parts, Range, grid_positions, stretches
from sinrfmt.region import FIRST_BYTES, read_region
from sinrfmt.remote import HttpSource
from sinrfmt.torch.grid_files import PyramidPreset, encode_grid, grid_preset_of, unit_values
from sinrfmt.torch.grid_fit import new_pyramid
from sinrfmt.torch.latent_fit import ZERO_LEVELS, LatentFitOptions, fit_latents, start_latents
from sinrfmt.torch.tiles import TILE, TileWork, encode_tiles, mosaic_of, networks_path, read_networks

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PHOTO = ROOT / "examples" / "kodim23_192x128.png"
SIDE = 256
"""Rows and columns of a region."""
STRIDE = 32
"""Between the regions of which the bytes are counted."""
N_FETCHED = 3
"""Regions along an axis that are fetched over HTTP."""
SIDES = (136, 128, 112, 96, 88, 80, 72, 64, 56, 48)
"""Of the tiles that are estimated."""
CHUNK_BYTES = 25
"""Of a tile's chunk beside its latents: framing, sub-header, models, the state of the coder."""
ENTRY_BYTES = 12
"""Of a directory, for each row of tiles."""
AWAY = 12
"""Samples from a border from which on an error counts as one of elsewhere."""
STEPS = ((0, True), (25, True), (50, True), (100, True), (200, True), (100, False), (200, False))
"""Steps of a tile, and whether they start from the linear estimate."""
SMALL_TILE, SMALL_OVERLAPS = 48, (0, 4)
SMALL_PRESET: dict[str, Any] = {"n_steps": 500, "tile_steps": 100, "rate_weight": 2e-3}
CROP = ((16, 80), (0, 112))
"""Rows and columns of the photograph that are shown."""
GAIN = 4
"""Of the errors that are shown."""


# --- regions over HTTP ------------------------------------------------------------------------------------------------


@contextmanager
def served(data: bytes) -> Iterator[str]:
    """The URL of a file on loopback that is sent in ranges."""

    def do_get(self: http.server.BaseHTTPRequestHandler) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert found is not None
        start, end = int(found[1]), min(int(found[2]) + 1, len(data))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", '"one"')
        self.end_headers()
        self.wfile.write(data[start:end])

    methods = {"do_GET": do_get, "log_message": lambda *_: None}
    handler = type("Handler", (http.server.BaseHTTPRequestHandler,), methods)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/picture.sinr"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Fetched:
    """A region that was read: its first row and column, its parts, bytes and requests."""

    place: tuple[int, int]
    n_parts: int
    n_bytes: int
    n_requests: int


def square(place: tuple[int, int]) -> list[Range]:
    return [(start, start + SIDE) for start in place]


def fetch(url: str, place: tuple[int, int], whole: NDArray[np.float32]) -> Fetched:
    """Read a region and compare it with the whole picture."""
    source = HttpSource(url)
    found = read_region(source, lambda _: square(place))
    source.close()
    (top, bottom), (left, right) = square(place)
    assert np.array_equal(found.values, whole[top:bottom, left:right])
    return Fetched(place, len(found.parts), source.n_fetched, source.n_requests)


def spread_places(grid: Sequence[int]) -> list[tuple[int, int]]:
    """Regions from all over the picture, none of them aligned with the tiles."""
    along = [[(2 * i + 1) * (n - SIDE) // (2 * N_FETCHED) for i in range(N_FETCHED)] for n in grid]
    return [(row, column) for row, column in product(*along)]


def all_shares(field: Field) -> NDArray[np.float64]:
    """Share of the file that a region takes, for regions at every place of a lattice: by the lengths of the chunks."""
    parts = field.header.parts
    assert parts is not None
    chunks = report.describe(field)["chunks"]
    passes = [chunk for chunk in chunks if chunk["name"] == "PASS"]
    front = max(FIRST_BYTES, passes[1]["offset"])
    lengths = [chunk["length"] + 9 for chunk in passes[1:]]
    needed = [[_along(axis, start) for start in range(0, axis.n_samples - SIDE + 1, STRIDE)] for axis in parts.axes]
    shares = [
        front + sum(lengths[parts.number((row, column))] for row, column in product(rows, columns))
        for rows, columns in product(*needed)
    ]
    return np.array(shares) / len(field.data)


def _along(axis: Axis, start: int) -> list[int]:
    positions = grid_positions(axis.n_samples, axis.n_samples, (start, start + SIDE))
    return [share.part for share in stretches(axis, positions)]


# --- tiles of other sizes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A file with tiles of another size: its bytes, and the mean and largest share that a region takes of it.

    ``partial_mean`` and ``partial_largest`` are those of a reader that had to fetch no more of the index than the rows
    of tiles that it needs.
    """

    side: int
    n_bytes: float
    mean: float
    largest: float
    partial_mean: float
    partial_largest: float


def estimates(field: Field) -> Iterator[Estimate]:
    """From the bytes that each tile has for a sample of its lattice, beside ``CHUNK_BYTES`` that any tile has."""
    parts = field.header.parts
    assert parts is not None
    passes = [chunk for chunk in report.describe(field)["chunks"] if chunk["name"] == "PASS"]
    lengths = np.array([chunk["length"] + FRAMING_BYTES for chunk in passes[1:]], np.float64).reshape(parts.split)
    densities = (lengths - CHUNK_BYTES) / np.multiply.outer(*(_lattice_sides(axis) for axis in parts.axes))
    front = passes[1]["offset"] - fewest_bytes([chunk["length"] for chunk in passes]) * len(passes)
    for side in SIDES:
        axes = [Axis(axis.n_samples, round(axis.n_samples / side), axis.overlap) for axis in parts.axes]
        rows, columns = (_mixing(axis, own) for axis, own in zip(axes, parts.axes, strict=True))
        tiles = CHUNK_BYTES + rows @ densities @ columns.T * np.multiply.outer(*(_lattice_sides(a) for a in axes))
        length_bytes = fewest_bytes([passes[0]["length"], int(tiles.max()) - FRAMING_BYTES])
        index = length_bytes * tiles.size
        total = front + index + tiles.sum()
        needed = [[_along(axis, at) for at in range(0, axis.n_samples - SIDE + 1, STRIDE)] for axis in axes]
        taken = np.array([(tiles[np.ix_(*place)].sum(), len(place[0])) for place in product(*needed)])
        whole = (front + index + taken[:, 0]) / total
        partial = (front + ENTRY_BYTES * len(tiles) + length_bytes * taken[:, 1] * tiles.shape[1] + taken[:, 0]) / total
        yield Estimate(side, total, whole.mean(), whole.max(), partial.mean(), partial.max())


def _lattice_sides(axis: Axis) -> NDArray[np.int64]:
    return np.array([stop - start for start, stop in map(axis.lattice, range(axis.n_parts))])


def _mixing(axis: Axis, own: Axis) -> NDArray[np.float64]:
    """Share of each old tile in each new one, along an axis: float64 [new, old]; rows sum to 1."""
    edges, old = ([a.edge(k) for k in range(a.n_parts + 1)] for a in (axis, own))
    overlap = np.minimum(np.array(edges)[1:, None], old[1:]) - np.maximum(np.array(edges)[:-1, None], old[:-1])
    shares = np.clip(overlap, 0, None).astype(np.float64)
    mixing: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return mixing


def estimates_text(found: Sequence[Estimate]) -> str:
    rows = [
        (e.side, round(e.n_bytes), *(f"{100 * x:.2f}" for x in (e.mean, e.largest, e.partial_mean, e.partial_largest)))
        for e in found
    ]
    return table(("tiles of", "bytes", "mean, %", "largest, %", "mean, index in part", "largest, index in part"), rows)


# --- seams ------------------------------------------------------------------------------------------------------------


def seam_ratio(original: Samples, decoded: Samples, parts: Parts) -> float:
    """Step of the error from sample to sample across borders of tiles, against that elsewhere: 1 where no seam is.

    Root mean squares over both axes; elsewhere is what is at least ``AWAY`` samples from every border of the axis.
    """
    error = decoded.astype(np.float64) - original
    across, elsewhere = [], []
    for number, axis in enumerate(parts.axes):
        borders = np.array([axis.edge(k) for k in range(1, axis.n_parts)])
        steps = np.moveaxis(np.diff(error, axis=number), number, 0) ** 2
        line = np.arange(1, axis.n_samples)
        distance = np.abs(line[:, None] - borders).min(axis=1)
        across.append(steps[distance == 0].mean(axis=(1, 2)))
        elsewhere.append(steps[distance >= AWAY].mean(axis=(1, 2)))
    return float(np.sqrt(np.concatenate(across).mean() / np.concatenate(elsewhere).mean()))


@dataclass(frozen=True)
class Small:
    """The photograph in one way."""

    name: str
    n_bytes: int
    psnr: float
    ratio: float | None
    samples: Samples


def small_pictures(out: Path) -> list[Small]:
    """The photograph whole, and in tiles with and without an overlap, with equal recipes; what is there is taken."""
    photo = read_image(PHOTO)
    preset = replace(pyramid_preset(), **SMALL_PRESET)
    if not (out / "whole.sinr").exists():
        sinrfmt.save(encode_grid(photo, preset=preset).field, out / "whole.sinr")
    made = [small("whole", photo, sinrfmt.load(out / "whole.sinr"))]
    for overlap in SMALL_OVERLAPS:
        work = TileWork(out / f"overlap{overlap}")
        encoding = encode_tiles(photo, tile=SMALL_TILE, overlap=overlap, preset=preset, work=work)
        made.append(small(f"overlap {overlap}", photo, encoding.field))
    return made


def small(name: str, photo: Samples, field: Field) -> Small:
    samples, parts = field.to_uint8(), field.header.parts
    ratio = None if parts is None else seam_ratio(photo, samples, parts)
    made = Small(name, len(field.data), psnr(photo, samples), ratio, samples)
    print(f"{name}: {made.n_bytes} B, {made.psnr:.2f} dB, seams {ratio}", flush=True)
    return made


def draw(pictures: Sequence[Small], path: Path) -> None:
    """Crops, and their errors below them, amplified."""
    rows, columns = (slice(*ends) for ends in CROP)
    photo = read_image(PHOTO)
    figure, axes = plt.subplots(2, len(pictures), figsize=(4 * len(pictures), 5), layout="constrained")
    for column, picture in enumerate(pictures):
        error = (picture.samples.astype(np.float64) - photo)[rows, columns].mean(axis=2)
        top, bottom = axes[:, column]
        top.imshow(picture.samples[rows, columns], interpolation="nearest")
        top.set_title(f"{picture.name}: {picture.n_bytes} B, {picture.psnr:.2f} dB", fontsize=9)
        bottom.imshow(error, cmap="gray", vmin=-128 / GAIN, vmax=128 / GAIN, interpolation="nearest")
        bottom.set_title("its error", fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.savefig(path, dpi=90)
    plt.close(figure)


# --- what steps are worth ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """Mean over some tiles: dB of the mean error, bits per pixel, and the two as one cost."""

    psnr: float
    bpp: float
    cost: float


def fit_some(samples: Samples, parts: Parts, folder: Path, preset: PyramidPreset, steps: int, start: bool) -> Fit:
    """Tiles from all over the picture, none of them one of the mosaic."""
    networks = read_networks(networks_path(folder), mosaic_of(samples, parts))
    arrays = {name: torch.from_numpy(array) for name, array in networks.arrays().items()}
    coefficients = [torch.from_numpy(weights) for weights in networks.start]
    options = LatentFitOptions(steps, preset.rate_weight)
    error = bits = n_samples = 0.0
    for part in (parts.number([n * share // 8 for n in parts.split]) for share in (2, 3, 5, 7)):
        (top, bottom), (left, right) = parts.lattice(part)
        tile = samples[top:bottom, left:right]
        values = torch.from_numpy(unit_values(tile))
        network = over_lattice(networks.network, (tile.shape[0], tile.shape[1]))
        module = new_pyramid(network, values, preset.rate_weight)
        if start:
            with torch.no_grad():
                module.latents.copy_(start_latents(module.encoding, values, coefficients, n_zero=ZERO_LEVELS))
        fitted = fit_latents(module, values, arrays, options, seed=0)
        error += fitted.mse * values.shape[1]
        bits += fitted.latent_bits
        n_samples += values.shape[1]
    error, bits = error / n_samples, bits / n_samples
    return Fit(-10.0 * float(np.log10(error)), bits, error + preset.rate_weight * bits)


# --- the report -------------------------------------------------------------------------------------------------------


def pyramid_preset() -> PyramidPreset:
    preset = grid_preset_of("pyramid")
    assert isinstance(preset, PyramidPreset)
    return preset


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def tile_seconds(folder: Path) -> float:
    """Of all tiles, by the journal."""
    lines = [json.loads(line) for line in (folder / JOURNAL).read_text(encoding="utf-8").splitlines()]
    return float(
        sum(line["seconds"] for line in lines if line["status"] == "done" and line["input"].startswith("tile"))
    )


def encoded(samples: Samples, tile: int, preset: PyramidPreset, folder: Path, n_workers: int) -> Field:
    """The picture in tiles; what is there of it is taken."""
    executor = ProcessWorkers(n_workers)

    def on_progress(stage: str, done: int, total: int, psnr: float) -> None:
        if done % 10 == 0:
            print(f"{stage} {done}/{total} {psnr:.2f} dB", flush=True)

    try:
        work = TileWork(folder, executor, n_workers)
        return encode_tiles(samples, tile=tile, preset=preset, work=work, on_progress=on_progress).field
    finally:
        executor.shutdown()


@dataclass(frozen=True)
class Large:
    """What was measured of the large picture; ``shares`` as :func:`all_shares` gives them."""

    parts: Parts
    n_bytes: int
    psnr: float
    seams: float
    seconds: float
    fetched: list[Fetched]
    shares: NDArray[np.float64]


def measure_large(samples: Samples, tile: int, preset: PyramidPreset, out: Path, n_workers: int) -> Large:
    """Encode the picture, and read regions of it."""
    field = encoded(samples, tile, preset, out / "tiles", n_workers)
    sinrfmt.save(field, out / "tiles.sinr")
    parts = field.header.parts
    assert parts is not None
    values = field.grid()
    decoded = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    with served(field.data) as url:
        fetched = [fetch(url, place, values) for place in spread_places(parts.grid)]
    return Large(
        parts,
        len(field.data),
        psnr(samples, decoded),
        seam_ratio(samples, decoded, parts),
        tile_seconds(out / "tiles"),
        fetched,
        all_shares(field),
    )


def large_text(name: str, large: Large) -> str:
    rows, columns = large.parts.grid
    head = ("picture", "tiles", "bytes", "bits per pixel", "dB", "seconds of tiles", "seams")
    row = (
        f"{name}, {columns} x {rows}",
        f"{large.parts.split[1]} x {large.parts.split[0]}, overlap {large.parts.overlap[0]}",
        large.n_bytes,
        f"{8 * large.n_bytes / rows / columns:.3f}",
        f"{large.psnr:.2f}",
        f"{large.seconds:.0f}",
        f"{large.seams:.3f}",
    )
    note = (
        "\nSeconds are those of all tiles together, with what the workers waited for the machine. Seams: step of the\n"
        "error from sample to sample across borders of tiles against that elsewhere, root mean squares; 1 where there\n"
        "is none.\n\n"
    )
    return table(head, [row]) + note


def regions_text(large: Large) -> str:
    rows = [
        (f"{f.place[0]}, {f.place[1]}", f.n_parts, f.n_requests, f.n_bytes, f"{100 * f.n_bytes / large.n_bytes:.2f}")
        for f in large.fetched
    ]
    shares = 100 * large.shares
    return (
        f"## Regions of {SIDE} x {SIDE} over HTTP\n\n"
        + table(("first row, column", "parts", "requests", "bytes fetched", "% of the file"), rows)
        + f"\nAt every {STRIDE}th row and column, by the lengths of the chunks ({shares.size} regions): mean "
        f"{shares.mean():.2f} %, median {np.median(shares):.2f} %,\nlargest {shares.max():.2f} %; "
        f"{100 * (shares < 3).mean():.1f} % of them take less than 3 % of the file.\n\n"
    )


def seams_text(pictures: Sequence[Small]) -> str:
    rows = [(p.name, p.n_bytes, f"{p.psnr:.2f}", "" if p.ratio is None else f"{p.ratio:.3f}") for p in pictures]
    return (
        f"## Seams\n\nThe photograph of `examples` in tiles of {SMALL_TILE}: {preset_text()}.\n\n"
        f"![Crops and their errors](tiles.png)\n\n{table(('', 'bytes', 'dB', 'seams'), rows)}"
    )


def steps_text(fits: Sequence[tuple[int, bool, Fit]]) -> str:
    rows = [
        (steps, "the linear estimate" if start else "zeros", f"{f.psnr:.2f}", f"{f.bpp:.4f}", f"{f.cost:.3e}")
        for steps, start, f in fits
    ]
    return (
        "\n## What steps are worth\n\nFour tiles of the large picture, none of them in the mosaic, with its networks.\n"
        "The cost is squared error + lambda * bits per pixel.\n\n"
        + table(("steps", "from", "dB", "bits per pixel", "cost"), rows)
    )


def write_report(
    arguments: argparse.Namespace, large: Large, pictures: Sequence[Small], fits: Sequence[tuple[int, bool, Fit]]
) -> None:
    name = arguments.picture.name
    options = f"--tile {arguments.tile} --steps {arguments.steps} --tile-steps {arguments.tile_steps}"
    options += f" --rate-weight {arguments.rate_weight:g}"
    text = [
        "<!-- made by bench/tiles.py -->\n# A large picture as tiles\n\n",
        f"Made by `python -m bench.tiles OUT {name} {options} --workers {arguments.workers}`\n",
        f"on {machine_name('cpu')}, one thread a process; other work ran beside it.\n\n",
        large_text(name, large),
        regions_text(large),
        seams_text(pictures),
        steps_text(fits),
    ]
    draw(pictures, RESULTS / "tiles.png")
    (RESULTS / "tiles.md").write_text("".join(text), encoding="utf-8")


def preset_text() -> str:
    return (
        f"{SMALL_PRESET['n_steps']} steps for the networks or the whole, {SMALL_PRESET['tile_steps']} for a tile, "
        f"lambda {SMALL_PRESET['rate_weight']:g}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--estimate", type=Path, metavar="FILE", help="what tiles of other sizes would take")
    parser.add_argument("--tile", type=int, default=TILE, help="samples on an axis that a part owns at most")
    parser.add_argument("--steps", type=int, default=pyramid_preset().n_steps)
    parser.add_argument("--tile-steps", type=int, default=pyramid_preset().tile_steps)
    parser.add_argument("--rate-weight", type=float, default=pyramid_preset().rate_weight)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.estimate is not None:
        print(estimates_text(list(estimates(sinrfmt.load(arguments.estimate)))))
        return
    if arguments.picture is None:
        parser.error("OUT and PICTURE, or --estimate")
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
    preset = replace(
        pyramid_preset(),
        n_steps=arguments.steps,
        tile_steps=arguments.tile_steps,
        rate_weight=arguments.rate_weight,
    )
    samples = read_image(arguments.picture)
    large = measure_large(samples, arguments.tile, preset, arguments.out, arguments.workers)
    pictures = small_pictures(arguments.out)
    fits = [
        (steps, start, fit_some(samples, large.parts, arguments.out / "tiles", preset, steps, start))
        for steps, start in STEPS
    ]
    write_report(arguments, large, pictures, fits)


if __name__ == "__main__":
    main()
