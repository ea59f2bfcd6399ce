"""Coders of given weights against each other: bytes at equal quality, on networks of others and on two trained here.

Run from the root of the repository:
``python -m bench.weights DATA --nnc-python PYTHON [--networks NAME,...] [--methods NAME,...] [--middle] [--quick]``.
DATA has the folders ``checkpoints``, ``kodak``, ``mesh`` and ``nerf``; PYTHON is one with nncodec (docs/weights.md says
how to make it). Writes ``bench/results/weights.csv``, ``.md`` and ``.png``; with ``--networks``, ``--methods`` or
``--middle`` only those rows are made again. ``--quick``: one small network, less than two minutes, without DATA; writes
nothing.

Every size is that of a file that was written. Ours are decoded by the reference decoder, NNC's by nncodec, and quality
is that of the outputs of the decoded networks. docs/weights.md says what is measured.
"""

import argparse
import csv
import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import brotli
import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

import reference_decoder
from bench.sinr import MESH_REACH, picture, triangles, winding_numbers
from sinrfmt.evaluate import to_uint8
from sinrfmt.head import Header, lowest_level
from sinrfmt.metrics import psnr
from sinrfmt.network import Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding, Coords, Modality, Values
from sinrfmt.torch.architecture import ready_architecture
from sinrfmt.torch.compress import WeightTarget, compress_weights
from sinrfmt.torch.encoder import Job, Quantiser, Target
from sinrfmt.torch.files import build, header_of
from sinrfmt.torch.fit import FitOptions, fit, outputs
from sinrfmt.torch.importing import import_checkpoint, signal_for
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import preset_of, sine_network
from sinrfmt.torch.signals import Signal
from sinrfmt.torch.sparse_codes import quantise_as_published, quantise_sparse

mpl.use("Agg")
from matplotlib import pyplot as plt

Floats = NDArray[np.float32]
Arrays = dict[str, Floats]

ROOT = Path(__file__).parent
RESULTS = ROOT / "results"
EXAMPLE = ROOT.parent / "examples" / "kodim23_192x128.png"
CPU = torch.device("cpu")
SEED = 1
PRESET = "balanced"

DROPS = (0.1, 0.3, 0.5)
"""Quality points of pictures, in dB lost against the float32 network."""
RATIOS = (40.0, 45.0, 50.0)
"""Of distance fields: signal-to-noise ratio against the float32 network, in dB."""
N_POINTS = 100_000
SPREAD = 0.01
"""Standard deviation of the points around the surface, as a share of the box."""
N_INSIDE, N_BISECTIONS = 2000, 20
MARGIN = 0.01
"""What is asked for above an SNR, in dB: our encoder looks at other points than those that count."""
N_ATTEMPTS = 4
"""Files of ours at most for a quality point; more than one only where the encoder cannot measure it."""
TOLERANCE = 0.03
"""Power of the error below what is allowed, in dB, that is not worth another file."""
MOST_QUALITY = 100.0
LEAST_NOISE = 1e-3

VIEWS = ("r_0", "r_70", "r_140")
STRIDE = 5
"""Every fifth pixel of a view's rows and columns."""
NEAR, FAR, N_COARSE, N_FINE = 2.0, 6.0, 64, 64


@dataclass(frozen=True)
class Case:
    """A trained network and how its quality is measured.

    Attributes:
        name: of the network.
        module: with its float32 weights.
        header: HEAD of its file.
        points: float32 (n, in_dims), where it is evaluated.
        view: values (n, channels) at the points to what is looked at: themselves, or pixels.
        quality: in dB, of what is looked at.
        goals: quality points, and the quality in dB that each stands for.
        noise: quality to the power of the error that comes from coding, in dB.
        signal: of a picture.
        own: other points, float32 (n, in_dims), for the encoder; None for a picture.
    """

    name: str
    module: FieldModule
    header: Header
    points: Floats
    view: Callable[[Floats], Floats]
    quality: Callable[[Floats], float]
    goals: tuple[tuple[str, float], ...]
    noise: Callable[[float], float]
    signal: Signal | None = None
    own: Floats | None = None


@dataclass(frozen=True)
class Row:
    """One file. ``goal`` is empty for coders with nothing to choose."""

    network: str
    parameters: int
    goal: str
    method: str
    n_bytes: int
    quality: float
    seconds: float


def unchanged(values: Floats) -> Floats:
    """A view of the values themselves."""
    return values


# --- networks --------------------------------------------------------------------------------------------------------


def picture_case(name: str, module: FieldModule, header: Header, signal: Signal) -> Case:
    """Quality is the PSNR of 8-bit samples against the picture."""

    def quality(values: Floats) -> float:
        return psnr(signal.samples, to_uint8(signal.value_range, values))

    best = quality(outputs(module, signal.coords, device=CPU))
    goals = tuple((f"-{drop:g} dB", best - drop) for drop in DROPS)
    return Case(name, module, header, signal.coords, unchanged, quality, goals, partial(added_noise, best), signal)


def added_noise(best: float, quality: float) -> float:
    """Power of the error that takes a PSNR from ``best`` to ``quality``, in dB relative to that at ``best``."""
    return 10 * math.log10(max(10 ** ((best - quality) / 10) - 1, LEAST_NOISE))


def distance_case(name: str, module: FieldModule, header: Header) -> Case:
    """Quality is the ratio to the float32 network's own distances near the surface."""
    points = surface_points(module, header, SEED)
    own = outputs(module, points, device=CPU).astype(np.float64)

    def quality(values: Floats) -> float:
        noise = float(np.sum((own - values) ** 2))
        return math.inf if noise == 0 else 10 * math.log10(float(np.sum(own**2)) / noise)

    goals = tuple((f"{ratio:g} dB SNR", ratio) for ratio in RATIOS)
    others = surface_points(module, header, SEED + 1)
    return Case(name, module, header, points, unchanged, quality, goals, lambda ratio: -ratio, own=others)


def surface_points(module: FieldModule, header: Header, seed: int) -> Floats:
    """Points near the zero of a distance field: bisected on segments from inside to outside, then moved a little."""
    rng = np.random.default_rng(seed)
    low, high = np.array(header.box or ((-1.0, 1.0),) * 3).T
    inside, outside = np.empty((0, 3)), np.empty((0, 3))
    while len(inside) < N_INSIDE:
        points = rng.uniform(low, high, (N_POINTS, 3))
        is_inside = outputs(module, points.astype(np.float32), device=CPU)[:, 0] < 0
        inside, outside = np.concatenate([inside, points[is_inside]]), points[~is_inside]
    a, b = inside[rng.integers(len(inside), size=N_POINTS)], outside[rng.integers(len(outside), size=N_POINTS)]
    for _ in range(N_BISECTIONS):
        middle = (a + b) / 2
        is_inside = outputs(module, middle.astype(np.float32), device=CPU) < 0
        a, b = np.where(is_inside, middle, a), np.where(is_inside, b, middle)
    return (a + rng.normal(0, SPREAD * (high - low).max(), a.shape)).astype(np.float32)


def radiance_case(name: str, path: Path, views: Path) -> Case:
    """Quality is the PSNR of views that are rendered from the fine network, against the pictures of the test set."""
    architecture = ready_architecture("nerf")
    coarse = import_checkpoint(path, architecture, submodule="model_coarse_state_dict").module
    fine = import_checkpoint(path, architecture, submodule="model_fine_state_dict")
    origins, directions, wanted = rays(views)
    depths = sample_depths(coarse, origins, directions)
    points = ray_points(origins, directions, depths)

    def quality(pixels: Floats) -> float:
        return psnr(wanted, to_uint8(Values.UNIT, pixels))

    view = partial(composite, depths)
    best = quality(view(outputs(fine.module, points, device=CPU)))
    goals = tuple((f"-{drop:g} dB", best - drop) for drop in DROPS)
    noise = partial(added_noise, best)
    return Case(name, fine.module, fine.header, points, view, quality, goals, noise)


def rays(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
    """Origins and unit directions (n, 3) of the pixels of some test views, and the pixels on white (n, 3)."""
    scene = json.loads((folder / "transforms_test.json").read_text(encoding="utf-8"))
    frames = {Path(frame["file_path"]).name: np.array(frame["transform_matrix"]) for frame in scene["frames"]}
    origins, directions, pixels = [], [], []
    for view in VIEWS:
        with Image.open(folder / "test" / f"{view}.png") as image:
            rgba = np.asarray(image.convert("RGBA"), dtype=np.float64)[::STRIDE, ::STRIDE] / 255
            width, height = image.size
        focal = 0.5 * width / math.tan(0.5 * scene["camera_angle_x"])
        y, x = np.mgrid[0:height:STRIDE, 0:width:STRIDE]
        local = np.stack([(x - width / 2) / focal, -(y - height / 2) / focal, -np.ones_like(x)], axis=-1)
        turned = (local @ frames[view][:3, :3].T).reshape(-1, 3)
        directions.append(turned)
        origins.append(np.broadcast_to(frames[view][:3, 3], turned.shape))
        pixels.append((rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]).reshape(-1, 3))
    wanted = np.floor(255 * np.concatenate(pixels) + 0.5).astype(np.uint8)
    return np.concatenate(origins), np.concatenate(directions), wanted


def ray_points(origins: NDArray[np.float64], directions: NDArray[np.float64], depths: NDArray[np.float64]) -> Floats:
    """Positions and unit directions (rays x depths, 6)."""
    positions = origins[:, None] + depths[:, :, None] * directions[:, None]
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    both = np.concatenate([positions, np.broadcast_to(unit[:, None], positions.shape)], axis=2)
    return both.reshape(-1, 6).astype(np.float32)


def shares(depths: NDArray[np.float64], density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of a pixel that comes from each sample (rays, depths): NeRF, equation 3."""
    gaps = np.append(np.diff(depths, axis=1), np.full((len(depths), 1), 1e10), axis=1)
    thickness = np.maximum(density, 0) * gaps
    before = np.cumsum(thickness, axis=1) - thickness
    found: NDArray[np.float64] = np.exp(-before) * -np.expm1(-thickness)
    return found


def sample_depths(
    coarse: FieldModule, origins: NDArray[np.float64], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where the fine network is looked at: evenly, and again where the coarse network sees something."""
    even = np.broadcast_to(np.linspace(NEAR, FAR, N_COARSE), (len(origins), N_COARSE))
    values = outputs(coarse, ray_points(origins, directions, even), device=CPU).reshape(*even.shape, 4)
    weights = shares(even, values[..., 3].astype(np.float64))[:, 1:-1] + 1e-5
    cumulated = np.cumsum(weights, axis=1)
    cumulated = np.pad(cumulated / cumulated[:, -1:], ((0, 0), (1, 0)))
    edges = (even[0, 1:] + even[0, :-1]) / 2
    drawn = np.array([np.interp(np.linspace(0, 1, N_FINE), c, edges) for c in cumulated])
    return np.sort(np.concatenate([even, drawn], axis=1), axis=1)


def composite(depths: NDArray[np.float64], values: Floats) -> Floats:
    """Pixels (rays, 3) on white, of values (rays x depths, 4)."""
    samples = values.reshape(*depths.shape, 4)
    weights = shares(depths, samples[..., 3].astype(np.float64))
    colours = np.einsum("rd,rdc->rc", weights, samples[..., :3])
    pixels: Floats = (colours + 1 - weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return pixels


# --- networks trained here -------------------------------------------------------------------------------------------

PICTURE_SHAPE, PICTURE_OMEGA = (6, 24), 20.0
QUICK_GRID, QUICK_SHAPE, QUICK_STEPS = (96, 64), (3, 16), 1500
DISTANCE_SHAPE, DISTANCE_OMEGA = (3, 32), 15.0
N_DISTANCES, N_SURFACE, TRAINING_SPREAD = 40_000, 400_000, 0.05


def trained_picture(name: str, grid: tuple[int, int], shape: tuple[int, int], n_steps: int) -> Case:
    """A SIREN on the picture of the examples."""
    signal = picture(EXAMPLE, grid)
    module = FieldModule(sine_network(2, 3, *shape, PICTURE_OMEGA), seed=SEED)
    fit(module, signal, FitOptions(n_steps, preset_of(PRESET).learning_rate), seed=SEED, device=CPU)
    return picture_case(name, module, header_of(module.network, signal, SEED), signal)


def trained_distance(name: str, mesh: Path) -> Case:
    """A small SIREN on the distances to a mesh: half of the points near its surface, half anywhere in the cube."""
    rng = np.random.default_rng(SEED)
    corners = triangles(mesh)
    low, high = corners.min((0, 1)), corners.max((0, 1))
    corners = (corners - (low + high) / 2) * (2 * MESH_REACH / (high - low).max())
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(corners), N_SURFACE, p=areas / areas.sum())]
    surface = np.einsum("nc,ncx->nx", rng.dirichlet(np.ones(3), N_SURFACE), chosen)
    near = surface[: N_DISTANCES // 2] + rng.normal(0, TRAINING_SPREAD, (N_DISTANCES // 2, 3))
    points = np.concatenate([near, rng.uniform(-1, 1, (N_DISTANCES // 2, 3))])
    chunks = np.array_split(points, N_DISTANCES // 250)
    inside = np.concatenate([winding_numbers(corners, chunk) for chunk in chunks]) > 0.5
    distances = np.where(inside, -1, 1) * cKDTree(surface).query(points)[0]
    values = distances[:, None].astype(np.float32)
    coords = points.astype(np.float32)
    samples = to_uint8(Values.SIGNED, values)
    signal = Signal(coords, values, samples, (), Modality.SDF, Coords.CENTRES, Values.SIGNED)
    network = sine_network(3, 1, *DISTANCE_SHAPE, DISTANCE_OMEGA)
    module = FieldModule(network, seed=SEED)
    fit(module, signal, FitOptions(6000, 4e-3), seed=SEED, device=CPU)
    header = Header(network, Modality.SDF, values=Values.RAW, seed=SEED, level=lowest_level(network, ()))
    return distance_case(name, module, header)


def coin_case(name: str, data: Path) -> Case:
    """COIN on kodim15."""
    with Image.open(data / "kodak" / "kodim15.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    path = data / "checkpoints" / "coin_siren_kodim15.pt"
    imported = import_checkpoint(path, ready_architecture("coin"), grid=pixels.shape[:2])
    return picture_case(name, imported.module, imported.header, signal_for(pixels, imported.header))


def imported_distance(name: str, path: Path, like: str) -> Case:
    """A distance field of others."""
    imported = import_checkpoint(path, ready_architecture(like))
    return distance_case(name, imported.module, imported.header)


def cases(data: Path) -> dict[str, Callable[[str], Case]]:
    """Every network, small ones first."""
    nets = data / "checkpoints"
    distance = lambda file, like: lambda name: imported_distance(name, nets / file, like)  # noqa: E731
    n_steps = preset_of(PRESET).n_steps
    return {
        "SIREN picture": lambda name: trained_picture(name, (192, 128), PICTURE_SHAPE, n_steps),
        "SIREN distance": lambda name: trained_distance(name, data / "mesh" / "spot.obj"),
        "COIN kodim15": lambda name: coin_case(name, data),
        "NIQ fox": distance("niq_fox_sdf.npz", "niq"),
        "Thingi10k 100340": distance("thingi10k_100340_sdf.h5", "davies"),
        "Thingi10k 101089": distance("thingi10k_101089_sdf.h5", "davies"),
        "SIREN sdf1": distance("siren_sdf1_weights.bin", "siren-sdf"),
        "NIQ bunny": distance("niq_bunny_sdf.npz", "niq"),
        "NeRF lego": lambda name: radiance_case(
            name, nets / "nerf_lego_lowres_199999.ckpt", data / "nerf" / "lego_200"
        ),
        "BACON armadillo": distance("bacon_sdf_armadillo.pth", "bacon"),
    }


# --- coders with nothing to choose -----------------------------------------------------------------------------------


def looked_at(case: Case, arrays: Arrays) -> Floats:
    """What is looked at, with other weights."""
    module = FieldModule(case.module.network, arrays, seed=case.module.seed)
    return case.view(outputs(module, case.points, device=CPU))


def distinct(arrays: Arrays) -> tuple[Arrays, dict[str, str]]:
    """Every tensor once, under a short name, and its short name for each name: shared weights are coded once."""
    once: Arrays = {}
    names: dict[str, str] = {}
    for name, array in arrays.items():
        same = next((short for short, other in once.items() if np.array_equal(other, array)), None)
        names[name] = same or f"{'w' if array.ndim == 2 else 'b'}{len(once)}"
        once.setdefault(names[name], array)
    return once, names


def whole(once: Arrays) -> tuple[bytes, Arrays]:
    """binary32."""
    return b"".join(array.tobytes() for array in once.values()), once


def half(once: Arrays) -> tuple[bytes, Arrays]:
    """binary16."""
    halves = {name: array.astype(np.float16) for name, array in once.items()}
    return b"".join(h.tobytes() for h in halves.values()), {n: h.astype(np.float32) for n, h in halves.items()}


def absmax(once: Arrays) -> tuple[bytes, Arrays]:
    """8-bit integers, with a float32 for each tensor: its largest weight is 127."""
    scales = {name: np.float32(np.abs(array).max() / 127) for name, array in once.items()}
    levels = {name: np.rint(array / scales[name]).astype(np.int8) for name, array in once.items()}
    data = b"".join(scales[name].tobytes() + levels[name].tobytes() for name in once)
    return data, {name: levels[name] * scales[name] for name in once}


def fixed(case: Case) -> Iterator[Row]:
    """One file of each simple coder."""
    once, names = distinct(case.module.arrays())
    for method, coder, packed in (
        (FLOAT, whole, False),
        ("fp16", half, False),
        ("fp16 + Brotli", half, True),
        ("8-bit + Brotli", absmax, True),
    ):
        started = time.monotonic()
        data, decoded = coder(once)
        n_bytes = len(brotli.compress(data, quality=11, lgwin=22) if packed else data)
        seconds = time.monotonic() - started
        quality = case.quality(looked_at(case, {name: decoded[short] for name, short in names.items()}))
        yield Row(case.name, case.module.network.n_parameters, "", method, n_bytes, quality, seconds)


# --- NNC -------------------------------------------------------------------------------------------------------------

DENSITY = 4
"""log2 of the steps of NNC in an octave: four times as many as it has by default, so that qualities are met closely."""
OCTAVE = 1 << DENSITY
NONWEIGHT_QP = -75
"""NNC's default for biases, at its default density of four steps an octave."""
COARSEST, FINEST = -2 * OCTAVE, -20 * OCTAVE
"""Largest and smallest step that is tried, in levels of the logarithm."""
START_LEVEL = -8 * OCTAVE
N_APPROACHES = 4
NEARBY, NEARBY_LARGE, LARGE = 10, 2, 50_000
"""Levels on either side that are tried too, and those for a network of so many weights: there quality falls evenly."""
DB_PER_OCTAVE = 20 * math.log10(2)
WORKER = ROOT / "nnc_worker.py"
NOISE = 1e-3
"""Noise added to a tensor to see how much it matters, as a share of its root mean square."""

Steps = Callable[[int], dict[str, int]]


def sensitivities(case: Case, once: Arrays, names: dict[str, str]) -> dict[str, float]:
    """By distinct tensor: squared change of what is looked at, for noise of variance 1 in each of its weights."""
    rng = np.random.default_rng(SEED)
    arrays = case.module.arrays()
    own = looked_at(case, arrays)
    found = {}
    for short, array in once.items():
        scale = NOISE * float(np.sqrt(np.mean(array.astype(np.float64) ** 2)))
        noisy = (array + rng.normal(0, scale, array.shape)).astype(np.float32)
        changed = {name: noisy if names[name] == short else value for name, value in arrays.items()}
        error = looked_at(case, changed).astype(np.float64) - own
        found[short] = float(np.mean(error**2)) / scale**2
    return found


def step_rules(case: Case, once: Arrays, names: dict[str, str]) -> dict[str, Steps]:
    """By name of the method, qp of every tensor for a level in sixteenths of an octave; the first is NNC's default."""
    found = sensitivities(case, once, names)
    per_weight = {name: -0.5 * math.log2(max(found[name], 1e-30) / array.size) for name, array in once.items()}
    middle = float(np.mean(list(per_weight.values())))
    finest = NONWEIGHT_QP * OCTAVE // 4
    return {
        "NNC default": lambda level: {n: level if once[n].ndim == 2 else finest for n in once},
        "NNC one qp": lambda level: dict.fromkeys(once, level),
        "NNC qp per tensor": lambda level: {n: level + round(OCTAVE * (per_weight[n] - middle)) for n in once},
    }


def nnc(case: Case, python: Path) -> Iterator[Row]:
    """For every rule of steps the smallest file that reaches a quality, of all that were tried."""
    once, names = distinct(case.module.arrays())
    for method, rule in step_rules(case, once, names).items():

        @cache
        def tried(level: int, rule: Steps = rule) -> tuple[int, float, float]:
            n_bytes, decoded, seconds = nnc_file(python, once, rule(level))
            arrays = {name: decoded[short] for name, short in names.items()}
            return n_bytes, case.quality(looked_at(case, arrays)), seconds

        for goal, wanted in case.goals:
            level = START_LEVEL
            for _ in range(N_APPROACHES):
                missing = case.noise(tried(level)[1]) - case.noise(wanted)
                level -= round(OCTAVE * missing / DB_PER_OCTAVE)
                level = min(max(level, FINEST), COARSEST)
            # Quality does not fall evenly: the coarsest step is not always the one next to those that miss it.
            while tried(level)[1] < wanted and level > FINEST:
                level -= 1
            nearby = NEARBY_LARGE if case.module.network.n_parameters >= LARGE else NEARBY
            good = [file for file in map(tried, range(level - nearby, level + nearby + 1)) if file[1] >= wanted]
            if good:
                yield Row(case.name, case.module.network.n_parameters, goal, method, *min(good))


def nnc_file(python: Path, once: Arrays, qps: dict[str, int]) -> tuple[int, Arrays, float]:
    """Bytes of a file, what it is decoded to, and the seconds of both with the start of the program."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "tensors.npz", **once)
        job = {"qp": 0, "qp_per_tensor": qps, "qp_density": DENSITY}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        started = time.monotonic()
        subprocess.run([python, WORKER, folder], check=True, stdout=subprocess.DEVNULL, env={"OMP_NUM_THREADS": "1"})
        seconds = time.monotonic() - started
        with np.load(folder / "decoded.npz") as file:
            return (folder / "file.nnc").stat().st_size, {name: file[name] for name in file.files}, seconds


# --- SINR ------------------------------------------------------------------------------------------------------------


def sparse(case: Case, method: str, quantise: Quantiser, coding: Coding) -> Iterator[Row]:
    """Sparse codes of given weights; only pictures: their encoder measures 8-bit samples."""
    if case.signal is None:
        return
    signal, module = case.signal, case.module

    def header_for(network: Network, seed: int) -> Header:
        dictionary = header_of(network, signal, seed).dictionary
        return replace(case.header, network=network, seed=seed, dictionary=dictionary)

    def size_of(network: Network, codes: Sequence[TensorCode], seed: int) -> int:
        return len(build(header_for(network, seed), codes, coding))

    job = Job(signal, preset_of(PRESET), SEED, CPU, size_of, None)
    for goal, wanted in case.goals:
        started = time.monotonic()
        chosen = quantise(job, module, Target(min_psnr=wanted))
        seconds = time.monotonic() - started
        if chosen is not None:
            data = build(header_for(chosen.network, chosen.seed), chosen.codes, coding)
            yield Row(case.name, module.network.n_parameters, goal, method, *decoded(case, data), seconds)


# --- ours ------------------------------------------------------------------------------------------------------------


def decoded(case: Case, data: bytes) -> tuple[int, float]:
    """Bytes of a file, and the quality of what the reference decoder makes of it."""
    return len(data), case.quality(case.view(reference_decoder.decode(data).sample(case.points)))


def ours(case: Case) -> Iterator[Row]:
    """Files of ``compress_weights``."""
    for goal, wanted in case.goals:
        started = time.monotonic()
        files = list(attempts(case, wanted))
        seconds = time.monotonic() - started
        good = [file for file in files if file[1] >= wanted]
        if good:
            yield Row(case.name, case.module.network.n_parameters, goal, OURS, *min(good), seconds)


def attempts(case: Case, wanted: float) -> Iterator[tuple[int, float]]:
    """Bytes and quality of files near a quality.

    A picture is asked for by its PSNR. Elsewhere the encoder is asked for a ratio to the network's own values, on other
    points than those that count, or for the PSNR of rays through a radiance field that lose as much as pixels may; and
    once more for what was then missing or too much.
    """
    if case.signal is not None:
        target = WeightTarget(min_psnr=wanted)
        yield decoded(case, compress_weights(case.module, case.header, target, signal=case.signal, preset=PRESET).data)
        return
    asked = own_quality(case, wanted)
    too_low, too_high = 0.0, MOST_QUALITY
    for _ in range(N_ATTEMPTS):
        is_seen = case.header.modality is Modality.RADIANCE
        target = WeightTarget(min_psnr=asked) if is_seen else WeightTarget(min_snr=asked)
        file = decoded(case, compress_weights(case.module, case.header, target, signal=case.own, preset=PRESET).data)
        yield file
        missing = case.noise(file[1]) - case.noise(wanted)
        if -TOLERANCE <= missing <= 0:
            return
        too_low, too_high = (asked, too_high) if missing > 0 else (too_low, asked)
        asked += missing + MARGIN
        if not too_low < asked < too_high:
            asked = (too_low + too_high) / 2


def own_quality(case: Case, wanted: float) -> float:
    """What to ask for first, in dB against the network itself, that should give what counts the quality wanted."""
    if case.header.modality is not Modality.RADIANCE:
        return wanted + MARGIN
    best = case.quality(looked_at(case, case.module.arrays()))
    return best - case.noise(wanted)


# --- output ----------------------------------------------------------------------------------------------------------

FIELDS = ("network", "parameters", "goal", "method", "bytes", "quality", "seconds")


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """All rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for r in rows:
            figures = (r.n_bytes, f"{r.quality:.3f}", f"{r.seconds:.1f}")
            writer.writerow((r.network, r.parameters, r.goal, r.method, *figures))


def read_csv(path: Path) -> list[Row]:
    """What an earlier run has found."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Row(r["network"], int(r["parameters"]), r["goal"], r["method"], int(r["bytes"]), *map(float, last))
            for r in csv.DictReader(file)
            for last in [(r["quality"], r["seconds"])]
        ]


def goals_of(rows: Sequence[Row]) -> dict[tuple[str, int, str], dict[str, Row]]:
    """{(network, parameters, goal): {method: row}}, with the coders that have no goal at every goal."""
    table: dict[tuple[str, int, str], dict[str, Row]] = {}
    for row in rows:
        if row.goal:
            table.setdefault((row.network, row.parameters, row.goal), {})[row.method] = row
    return table


def best_nnc(found: dict[str, Row]) -> Row | None:
    """The smallest of NNC's files."""
    return min((row for method, row in found.items() if method in NNC), key=lambda row: row.n_bytes, default=None)


def markdown(rows: Sequence[Row]) -> str:
    """Both tables."""
    lines = [
        "<!-- made by bench/weights.py -->",
        "# Coders of given weights",
        "",
        "One thread. Bytes are whole files. docs/weights.md says what is measured.",
        "",
        "## Bytes at equal quality",
        "",
        "Goals: a loss of PSNR against the float32 network, or a signal-to-noise ratio against its distances. Empty:",
        "not reached, or not possible. Last column: one encode of ours, on a machine shared with other jobs.",
        "",
        f"| network | parameters | goal | {' | '.join(CHOOSING)} | ours / best NNC | dB of ours | seconds |",
        f"|---|---|---|{'---|' * len(CHOOSING)}---|---|---|",
    ]
    for (network, parameters, goal), found in goals_of(rows).items():
        cells = [str(found[method].n_bytes) if method in found else "" for method in CHOOSING]
        rival, own = best_nnc(found), found.get(OURS)
        ratio = f"{own.n_bytes / rival.n_bytes:.3f}" if own and rival else ""
        figures = f"{own.quality:.2f} | {own.seconds:.0f}" if own else " | "
        lines.append(f"| {network} | {parameters} | {goal} | {' | '.join(cells)} | {ratio} | {figures} |")
    lines += [
        "",
        "## Coders with nothing to choose",
        "",
        "Bytes, and PSNR or signal-to-noise ratio in dB.",
        "",
        f"| network | parameters | {' | '.join(FIXED)} |",
        f"|---|---|{'---|' * len(FIXED)}",
    ]
    for network, parameters in dict.fromkeys((row.network, row.parameters) for row in rows):
        found = {row.method: row for row in rows if row.network == network and not row.goal}
        shown = [f"{found[m].n_bytes}, {found[m].quality:.2f} dB" if m in found else "" for m in FIXED]
        lines.append(f"| {network} | {parameters} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def wanted_of(goal: str, best: float) -> float:
    """Quality in dB that a quality point stands for, with the float32 network's PSNR (infinite for an SNR)."""
    value = float(goal.split(maxsplit=1)[0])
    return value + best if math.isfinite(best) else value


def plot(rows: Sequence[Row], path: Path) -> None:
    """Bytes by network and method at the middle quality point; hollow where it is missed."""
    best = {row.network: row.quality for row in rows if row.method == FLOAT}
    networks = list(best)
    figure, axes = plt.subplots(figsize=(15, 8))
    methods = (*FIXED, *CHOOSING)
    for i, method in enumerate(methods):
        colour = "black" if method == OURS else f"C{i}"
        axes.plot([], [], MARKS[i], color=colour, label=method)
        for row in rows:
            if row.network not in best or row.method != method or row.goal not in ("", *MIDDLE):
                continue
            x = networks.index(row.network) + (i - len(methods) / 2 + 0.5) * 0.8 / len(methods)
            wanted = wanted_of(MIDDLE[math.isinf(best[row.network])], best[row.network])
            face = colour if row.quality >= wanted else "none"
            axes.plot(x, row.n_bytes, MARKS[i], color=colour, markerfacecolor=face, ms=9)
            if method == OURS:
                below = {"xytext": (0, -9), "textcoords": "offset points", "ha": "center", "va": "top"}
                axes.annotate(f"{row.n_bytes}", (x, row.n_bytes), fontsize=9, **below)
    sizes = {row.network: row.parameters for row in rows}
    axes.set_xticks(range(len(networks)), [f"{n}\n{sizes[n]} weights" for n in networks], rotation=20, ha="right")
    axes.set_xticks(np.arange(len(networks) - 1) + 0.5, minor=True)
    axes.grid(axis="x", which="minor")
    axes.grid(axis="y", alpha=0.3)
    title = f"Files at {MIDDLE[0]} (pictures, rendered views) or {MIDDLE[1]} (distances); hollow: worse than that"
    axes.set(yscale="log", ylabel="bytes of the file", title=title)
    axes.legend(ncols=len(methods), fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    figure.tight_layout()
    figure.savefig(path, dpi=90, metadata={"Software": None})


# --- the run ---------------------------------------------------------------------------------------------------------

OURS = "ours"
MIDDLE = (f"-{DROPS[1]:g} dB", f"{RATIOS[1]:g} dB SNR")
FLOAT = "float32"
FIXED = (FLOAT, "fp16", "fp16 + Brotli", "8-bit + Brotli")
NNC = ("NNC default", "NNC one qp", "NNC qp per tensor")
SINR = ("sinr-paper", "sparse")
CHOOSING = (*NNC, *SINR, OURS)


def measured(case: Case, groups: Sequence[str], python: Path | None) -> Iterator[Row]:
    """All rows of a network."""
    if "fixed" in groups:
        yield from fixed(case)
    if "nnc" in groups and python is not None:
        yield from nnc(case, python)
    if "ours" in groups:
        yield from ours(case)
    if "sinr" in groups:
        yield from sparse(case, "sinr-paper", quantise_as_published, Coding.BROTLI)
        yield from sparse(case, "sparse", quantise_sparse, Coding.RANS)


MARKS = "..sD^v<XPo"
GROUPS = {"fixed": FIXED, "nnc": NNC, "ours": (OURS,), "sinr": SINR}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="folder of checkpoints and what they stand for")
    parser.add_argument("--nnc-python", type=Path, metavar="PYTHON", help="a Python that has nncodec 2.1.3")
    parser.add_argument("--networks", help="names of networks to measure again, joined by commas")
    parser.add_argument("--methods", default=",".join(GROUPS), help="of fixed, nnc, ours, sinr, joined by commas")
    parser.add_argument("--middle", action="store_true", help="only the middle one of the quality points")
    parser.add_argument("--quick", action="store_true", help="one small network; writes no results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.nnc_python is None:
        print("NNC is skipped: no --nnc-python was given")
    groups = arguments.methods.split(",")
    if arguments.quick:
        case = trained_picture("SIREN picture", QUICK_GRID, QUICK_SHAPE, QUICK_STEPS)
        print(markdown(list(measured(case, groups, arguments.nnc_python))))
        return
    if arguments.data is None:
        parser.error("DATA is needed, but for --quick")
    known = cases(arguments.data)
    names = arguments.networks.split(",") if arguments.networks else list(known)
    again = {method for group in groups for method in GROUPS[group]}
    started = time.monotonic()
    for name in names:
        case = known[name](name)
        if arguments.middle:
            case = replace(case, goals=case.goals[1:2])
        goals = {"", *(goal for goal, _ in case.goals)}
        found = []
        for row in measured(case, groups, arguments.nnc_python):
            found.append(row)
            print(f"{time.monotonic() - started:6.0f} s {row}", flush=True)
        kept = [
            r
            for r in read_csv(RESULTS / "weights.csv")
            if r.network != name or r.method not in again or r.goal not in goals
        ]
        order = list(known)
        write_results(
            sorted([*kept, *found], key=lambda r: (order.index(r.network), r.goal, (*FIXED, *CHOOSING).index(r.method)))
        )


def write_results(rows: Sequence[Row]) -> None:
    """All three files, with what there is so far."""
    RESULTS.mkdir(exist_ok=True)
    write_csv(rows, RESULTS / "weights.csv")
    (RESULTS / "weights.md").write_text(markdown(rows), encoding="utf-8")
    plot(rows, RESULTS / "weights.png")


if __name__ == "__main__":
    main()
