"""SINR's experiments on trained networks: sizes at equal quality, sparse recovery, and what weights look like.

Run from the root of the repository: ``python -m bench.sinr IMAGE [IMAGE] [--mesh OBJ] [--radiance-field CKPT]``;
pictures are reduced to 96 x 64 (the first one also to 192 x 128, for the larger networks). Writes
``bench/results/sinr.csv``, ``.md`` and ``.png``; with ``--quick``, less than two minutes of one small network, and
nothing is written. Every size is that of a file that was written and decoded again; every PSNR is that of the decoded
samples.
"""

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image
from scipy import stats

import sinrfmt
from sinrfmt.bits import signed_width
from sinrfmt.network import LayerRecord, Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding, Coords, Modality, RecordKind, Tool, Values
from sinrfmt.sparse import Vectors, vectors_of
from sinrfmt.torch.encoder import DEFAULT_DROP, EncodedField, Job, Target, quantise_module
from sinrfmt.torch.files import build, device_of, header_of
from sinrfmt.torch.fit import FitOptions, fit
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import preset_of, sine_network
from sinrfmt.torch.rate import LAW
from sinrfmt.torch.signals import Signal, grid_coords, image_signal, psnr_of
from sinrfmt.torch.sparse import orthogonal_matching_pursuit, seeded_dictionary
from sinrfmt.torch.sparse_codes import SHAPES, quantise_as_published, quantise_sparse
from sinrfmt.weights import nearest_step_code, step_value

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

RESULTS = Path(__file__).parent / "results"
SEED = 1
CPU = torch.device("cpu")
OMEGA = 20.0
SMALL_GRID, LARGE_GRID = (96, 64), (192, 128)
LEARNING_RATE, BATCH_SIZE = 4e-3, 2048
STEPS, SHORT_STEPS = 4000, 1500
BLOCK_LIMIT = 2400
"""Most weights whose rounding errors are spread over one another: a whole (2, 32) network, rows of a (3, 64) one."""
RATIOS = (1.25, 2.0, 4.0, 8.0, 16.0)
RECOVERY_SHARES = tuple(i / 16 for i in range(1, 17))
EXACT = 1e-6
LONG = 2048
"""Vectors longer than this are pursued in ``LONG_RATIOS`` only, up to 2 s = k1."""
LONG_RATIOS = (4.0,)
LONGEST = 4096
MIN_WEIGHTS = 150
"""Fewer weights of a matrix make no histogram."""
ATOMS_RATIOS = (4, 16, 64)
VOXELS = 24
MESH_REACH = 0.9
"""Largest coordinate of a mesh in the cube of [-1, 1]."""
POINTS_PER_CHUNK = 256
QUICK_WIDTH = 24
MARKS = "os^vD*Xp"


@dataclass(frozen=True)
class Trained:
    """A network, its signal, and what both are called."""

    signal_name: str
    network_name: str
    signal: Signal
    module: FieldModule


@dataclass(frozen=True)
class Row:
    """One line of the results: ``key`` says what was varied."""

    experiment: str
    signal: str
    network: str
    key: str
    measure: str
    value: float


# --- networks --------------------------------------------------------------------------------------------------------


def picture(path: Path, grid: tuple[int, int]) -> Signal:
    """A picture, reduced to (width, height)."""
    with Image.open(path) as image:
        return image_signal(np.asarray(image.convert("RGB").resize(grid, Image.Resampling.LANCZOS)))


def occupancy(path: Path) -> Signal:
    """Inside or outside of a closed mesh on a cube of voxels, by winding number."""
    corners = triangles(path)
    low, high = corners.min((0, 1)), corners.max((0, 1))
    corners = (corners - (low + high) / 2) * (2 * MESH_REACH / (high - low).max())
    coords = grid_coords((VOXELS,) * 3)
    chunks = np.array_split(coords.astype(np.float64), max(1, len(coords) // POINTS_PER_CHUNK))
    inside = np.concatenate([winding_numbers(corners, chunk) for chunk in chunks]) > 0.5
    samples = np.where(inside, 255, 0).astype(np.uint8)[:, None]
    values = (samples / 127.5 - 1.0).astype(np.float32)
    return Signal(coords, values, samples, (VOXELS,) * 3, Modality.OCCUPANCY, Coords.CENTRES, Values.SIGNED)


def triangles(path: Path) -> np.ndarray:
    """The corners of a mesh's triangles (n, 3, 3), of a Wavefront OBJ file."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    vertices = np.array([line[1:4] for line in lines if line[:1] == ["v"]], dtype=np.float64)
    faces = [[int(corner.split("/")[0]) - 1 for corner in line[1:4]] for line in lines if line[:1] == ["f"]]
    return vertices[np.array(faces)]


def winding_numbers(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How often a mesh goes round each point: the solid angles of its triangles (van Oosterom, Strackee, 1983)."""
    a, b, c = (corners[None, :, k] - points[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(side, axis=2) for side in (a, b, c))
    volume = np.einsum("pti,pti->pt", a, np.cross(b, c))
    dots = [np.einsum("pti,pti->pt", *sides) for sides in ((a, b), (b, c), (c, a))]
    below = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
    return np.abs(np.arctan2(volume, below).sum(1)) / (2 * np.pi)


def siren(signal: Signal, n_hidden: int, width: int) -> Network:
    """``n_hidden`` matrices between hidden layers, as the paper counts, so one more layer of sines."""
    return sine_network(signal.coords.shape[1], signal.channels, n_hidden + 1, width, OMEGA)


def plain(signal: Signal, n_hidden: int, width: int, kind: RecordKind) -> Network:
    """The same shape with another activation."""
    hidden = LayerRecord(kind, width, repeat=n_hidden + 1, prior=True)
    return Network(signal.coords.shape[1], signal.channels, (hidden, LayerRecord(RecordKind.LINEAR, signal.channels)))


def leaky(module: FieldModule) -> None:
    """Leaky ReLU in the place of every ReLU: the format has no such layer, but its weights can be looked at."""
    for layer in module.layers[:-1]:
        layer.activation = torch.nn.functional.leaky_relu


def train(
    signal_name: str,
    network_name: str,
    signal: Signal,
    network: Network,
    n_steps: int,
    change: Callable[[FieldModule], None] | None = None,
) -> Trained:
    """Fit with the encoder's own loop."""
    module = FieldModule(network, seed=SEED)
    if change:
        change(module)
    fit(module, signal, FitOptions(n_steps, LEARNING_RATE, BATCH_SIZE), seed=SEED, device=device_of("cpu"))
    return Trained(signal_name, network_name, signal, module)


# --- sizes -----------------------------------------------------------------------------------------------------------

Codes = tuple[Network, Sequence[TensorCode]]


def as_half(module: FieldModule) -> Codes:
    """binary16, not compressed."""
    network = _with_tool(module.network, tool=Tool.RAW, half=True)
    arrays = module.arrays()
    patterns = [arrays[t.name].astype(np.float16).ravel().view(np.uint16).astype(np.int32) for t in network.tensors]
    return network, [TensorCode(tensor, p) for tensor, p in zip(network.tensors, patterns, strict=True)]


def uniform(module: FieldModule, n_bits: int) -> Codes:
    """One step for each tensor, so that the largest weight just has ``n_bits``."""
    network = _with_tool(module.network, tool=Tool.SCALAR, half=False)
    arrays, codes = module.arrays(), []
    for tensor in network.tensors:
        values = arrays[tensor.name].astype(np.float64).ravel()
        step = nearest_step_code(float(np.abs(values).max()) / (1 << (n_bits - 1))) - 1
        while signed_width(levels := np.rint(values / float(step_value(step))).astype(np.int32)) > n_bits:
            step += 1
        codes.append(TensorCode(tensor, levels, step, least_width=n_bits))
    return network, codes


def _with_tool(network: Network, *, tool: Tool, half: bool) -> Network:
    return network.with_layer_records(lambda record: replace(record, tool=tool, half=half, prior=False))


def written(trained: Trained, network: Network, codes: Sequence[TensorCode], coding: Coding) -> tuple[int, float]:
    """Bytes and PSNR of a file, decoded from its bytes."""
    data = build(header_of(network, trained.signal, trained.module.seed), codes, coding)
    field = sinrfmt.loads(data)
    return len(data), psnr_of(trained.signal, field.sample(trained.signal.coords))


def job_of(trained: Trained, coding: Coding) -> Job:
    """The quantisers' view of a trained network: preset ``fast`` with blocks of ``BLOCK_LIMIT``."""
    preset = replace(preset_of("fast"), feedback_limit=BLOCK_LIMIT, n_trials=9)

    def size_of(network: Network, codes: Sequence[TensorCode], seed: int) -> int:
        return len(build(header_of(network, trained.signal, seed), codes, coding))

    return Job(trained.signal, preset, SEED, CPU, size_of, None)


def sizes(trained: Trained, shapes: Sequence[tuple[float, float]] = SHAPES) -> Iterator[Row]:
    """Bytes and PSNR of every coder; for the sparse ones also the bytes of the scalar coder at their PSNR.

    ``shapes``: those of the coding ``sparse`` that are measured.
    """

    def rows(key: str, n_bytes: int, psnr: float) -> Iterator[Row]:
        for measure, value in (("bytes", n_bytes), ("psnr", psnr)):
            yield Row("sizes", trained.signal_name, trained.network_name, key, measure, value)

    module = trained.module
    float_psnr = psnr_of(trained.signal, outputs_of(module, trained.signal))
    yield from rows("float32 network", 4 * module.network.n_parameters, float_psnr)
    for key, codes, coding in (
        ("fp16", as_half(module), Coding.PACKED),
        ("16-bit + Brotli", uniform(module, 16), Coding.BROTLI),
        ("8-bit + rANS", uniform(module, 8), Coding.RANS),
    ):
        yield from rows(key, *written(trained, *codes, coding))
    half_bytes, _ = written(trained, *as_half(module), Coding.PACKED)
    for key, quantise, coding in (
        ("scalar", quantise_module, Coding.RANS),
        ("sinr-paper", quantise_as_published, Coding.BROTLI),
        *((shape_name(*shape), partial(quantise_sparse, shapes=[shape]), Coding.RANS) for shape in shapes),
    ):
        job = job_of(trained, coding)
        # A shape that cannot keep the quality at any step shows the best it does in the bytes of fp16.
        chosen = quantise(job, module, Target()) or quantise(job, module, Target(max_bytes=half_bytes))
        assert chosen is not None
        yield from rows(key, *written(trained, chosen.network, chosen.codes, coding))
        if key != "scalar":
            yield from _shape_rows(trained, key, chosen)
        if chosen.psnr < float_psnr - DEFAULT_DROP:
            rival = quantise_module(job_of(trained, Coding.RANS), module, Target(min_psnr=chosen.psnr))
            if rival is not None:
                n_bytes, _ = written(trained, rival.network, rival.codes, Coding.RANS)
                yield Row("sizes", trained.signal_name, trained.network_name, key, "scalar bytes there", n_bytes)


def outputs_of(module: FieldModule, signal: Signal) -> np.ndarray:
    """float32 outputs of a module."""
    with torch.no_grad():
        outputs: np.ndarray = module(torch.tensor(signal.coords)).numpy()
    return outputs


def _shape_rows(trained: Trained, key: str, chosen: EncodedField) -> Iterator[Row]:
    """k2 / k1 and s / k1 of the first matrix between hidden layers."""
    code = next(c for c in chosen.codes if c.sparse is not None and c.tensor.ordinal >= 2)
    assert code.sparse is not None
    k1 = code.tensor.size // code.sparse.atoms.shape[0]
    for measure, value in (("k2/k1", code.sparse.n_atoms / k1), ("s/k1", code.sparse.n_nonzero / k1)):
        yield Row("sizes", trained.signal_name, trained.network_name, key, measure, value)


def shape_name(ratio: float, share: float) -> str:
    """Of a shape of the coding ``sparse``."""
    return f"sparse ({ratio:g}, {share:g})"


def atoms(trained: Trained) -> Iterator[Row]:
    """Bytes and PSNR of ``sinr-paper`` at 2 s = k1 against k2 / k1 of the longest vector."""
    longest = max(record.width for record in trained.module.network.records[:-1]) ** 2
    for ratio in ATOMS_RATIOS:
        job = job_of(trained, Coding.BROTLI)
        # A file without a bound on its bytes has the largest s there is.
        chosen = quantise_as_published(job, trained.module, Target(max_bytes=1 << 30), most_atoms=ratio * longest)
        assert chosen is not None
        for measure, value in (("bytes", chosen.n_bytes), ("psnr", chosen.psnr)):
            yield Row("atoms", trained.signal_name, trained.network_name, f"{ratio}", measure, value)


# --- recovery --------------------------------------------------------------------------------------------------------


def recovery(trained: Trained) -> Iterator[Row]:
    """Relative error of the worst vector of the first matrix between hidden layers, against s / k1 and k2 / k1."""
    matrix = trained.module.arrays()["layers.1.weight"]
    for vectors in (Vectors.COLUMNS, Vectors.MATRIX):
        k1 = vectors_of(matrix, vectors).shape[1]
        if k1 > LONGEST:
            continue
        is_long = k1 > LONG
        rows = torch.tensor(vectors_of(matrix, vectors), dtype=torch.float32 if is_long else torch.float64)
        shares = [share for share in RECOVERY_SHARES if not is_long or share <= 0.5]
        for ratio in LONG_RATIOS if is_long else RATIOS:
            dictionary = seeded_dictionary(LAW, k1, round(ratio * k1), 2, SEED, dtype=rows.dtype, device=CPU)
            pursuit = orthogonal_matching_pursuit(dictionary, rows, int(max(shares) * k1))
            for share in shares:
                s = int(share * k1)
                fitted = torch.stack(
                    [dictionary[:, a] @ x for a, x in zip(pursuit.atoms[:, :s], pursuit.coefficients(s), strict=True)]
                )
                error = ((rows - fitted).norm(dim=1) / rows.norm(dim=1)).max().item()
                key = f"{vectors.name} {ratio:g} {share:g}"
                yield Row("recovery", trained.signal_name, trained.network_name, key, "relative error", error)


# --- weights ---------------------------------------------------------------------------------------------------------


def distributions(trained: Trained) -> Iterator[Row]:
    """Skewness, excess kurtosis and the Shapiro-Wilk p value of each layer's weights."""
    layers = trained.module.network.layers
    for index, layer in enumerate(layers):
        place = "first" if index == 0 else "last" if index == len(layers) - 1 else "hidden"
        key = f"{place} {index} ({layer.n_in}x{layer.n_out})"
        weights = trained.module.arrays()[f"layers.{index}.weight"]
        yield from distribution(trained.signal_name, trained.network_name, key, weights)


def distribution(signal: str, network: str, key: str, weights: np.ndarray) -> Iterator[Row]:
    """Of one matrix."""
    weights = weights.ravel().astype(np.float64)
    for measure, value in (
        ("skewness", stats.skew(weights)),
        ("excess kurtosis", stats.kurtosis(weights)),
        ("Shapiro p", stats.shapiro(weights[:5000]).pvalue),
    ):
        yield Row("weights", signal, network, key, measure, float(value))


def radiance_field(path: Path) -> Iterator[Row]:
    """The matrices of the fine network of a NeRF checkpoint."""
    state = torch.load(path, weights_only=True, map_location=CPU)["model_fine_state_dict"]
    for name, values in state.items():
        if name.endswith(".weight") and values.numel() >= MIN_WEIGHTS:
            key = f"{name.removesuffix('.weight')} ({values.shape[1]}x{values.shape[0]})"
            yield from distribution(path.stem, "ReLU, NeRF", key, values.numpy())


# --- output ----------------------------------------------------------------------------------------------------------


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """All rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("experiment", "signal", "network", "key", "measure", "value"))
        for row in rows:
            writer.writerow((row.experiment, row.signal, row.network, row.key, row.measure, f"{row.value:.6g}"))


def _select(rows: Sequence[Row], experiment: str) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """{(signal, network): {key: {measure: value}}}."""
    table: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in rows:
        if row.experiment == experiment:
            table.setdefault((row.signal, row.network), {}).setdefault(row.key, {})[row.measure] = row.value
    return table


def _cell(measures: dict[str, float], name: str, form: str) -> str:
    return format(measures[name], form) if name in measures else ""


def markdown(rows: Sequence[Row], seconds: float) -> str:
    """All tables."""
    lines = [
        "<!-- made by bench/sinr.py -->",
        "# SINR on trained networks",
        "",
        f"One thread, {seconds:.0f} s in all. Bytes are whole files; targets are a loss of 0.3 dB.",
        "",
        "## Sizes",
        "",
        "| signal | network | coder | bytes | PSNR | k2/k1 | s/k1 | scalar coder at that PSNR |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (signal, network), keys in _select(rows, "sizes").items():
        for key, m in keys.items():
            lines.append(
                f"| {signal} | {network} | {key} | {m['bytes']:.0f} | {m['psnr']:.2f} | {_cell(m, 'k2/k1', 'g')} | "
                f"{_cell(m, 's/k1', '.3g')} | {_cell(m, 'scalar bytes there', '.0f')} |"
            )
    lines += [
        "",
        "## Atoms",
        "",
        "`sinr-paper` at 2 s = k1, against k2 / k1 of a whole matrix.",
        "",
        "| signal | network | k2/k1 | bytes | PSNR |",
        "|---|---|---|---|---|",
    ]
    for (signal, network), keys in _select(rows, "atoms").items():
        for key, m in keys.items():
            lines.append(f"| {signal} | {network} | {key} | {m['bytes']:.0f} | {m['psnr']:.2f} |")
    lines += [
        "",
        "## Recovery",
        "",
        "Relative error of the worst vector with s atoms, and the smallest s/k1, in sixteenths, with less than 1e-6.",
        "",
        "| signal | network | vectors | k2/k1 | s/k1 = 1/4 | 7/16 | 1/2 | 3/4 | 15/16 | below 1e-6 at |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (signal, network), keys in _select(rows, "recovery").items():
        curves = _curves(keys)
        for (vectors, ratio), curve in curves.items():
            exact = next((f"{share:g}" for share, error in curve if error < EXACT), f"not up to {curve[-1][0]:g}")
            at = dict(curve)
            shown = " | ".join(f"{at[s]:.1e}" if s in at else "" for s in (0.25, 0.4375, 0.5, 0.75, 0.9375))
            lines.append(f"| {signal} | {network} | {vectors} | {ratio:g} | {shown} | {exact} |")
    lines += [
        "",
        "## Weights",
        "",
        "| signal | network | layer | skewness | excess kurtosis | Shapiro-Wilk p |",
        "|---|---|---|---|---|---|",
    ]
    for (signal, network), keys in _select(rows, "weights").items():
        for key, m in keys.items():
            lines.append(
                f"| {signal} | {network} | {key} | {m['skewness']:.2f} | {m['excess kurtosis']:.2f} | "
                f"{m['Shapiro p']:.2g} |"
            )
    return "\n".join(lines) + "\n"


def _curves(keys: dict[str, dict[str, float]]) -> dict[tuple[str, float], list[tuple[float, float]]]:
    curves: dict[tuple[str, float], list[tuple[float, float]]] = {}
    for key, measures in keys.items():
        vectors, ratio, share = key.split()
        curves.setdefault((vectors, float(ratio)), []).append((float(share), measures["relative error"]))
    return curves


def plot(rows: Sequence[Row], networks: Sequence[Trained], path: Path) -> None:
    """Recovery curves, sizes, and histograms of the hidden weights."""
    figure, axes = plt.subplots(1, 3, figsize=(20, 7.5))
    plot_recovery(rows, axes[0])
    plot_sizes(rows, axes[1])
    plot_weights(networks, axes[2])
    figure.tight_layout()
    figure.savefig(path, dpi=90, metadata={"Software": None})


def plot_recovery(rows: Sequence[Row], axes: Axes) -> None:
    """Of the first network."""
    (signal, network), keys = next(iter(_select(rows, "recovery").items()))
    for (vectors, ratio), curve in _curves(keys).items():
        shares, errors = zip(*curve, strict=True)
        style, colour = "-" if vectors == "MATRIX" else "--", f"C{RATIOS.index(ratio)}"
        label = f"{vectors.lower()}, k2/k1 = {ratio:g}"
        axes.semilogy(shares, np.maximum(errors, 1e-16), style, color=colour, label=label)
    axes.axvline(0.5, color="grey", lw=0.8)
    axes.axhline(EXACT, color="grey", lw=0.8)
    axes.set(xlabel="s / k1", ylabel="relative error, worst vector", title=f"Recovery ({signal}, {network})")
    axes.legend(fontsize=8, loc="lower left")


def plot_sizes(rows: Sequence[Row], axes: Axes) -> None:
    """Networks by colour, coders by mark."""
    table = _select(rows, "sizes")
    coders = list(dict.fromkeys(key for keys in table.values() for key in keys if key != "float32 network"))
    for i, keys in enumerate(table.values()):
        for coder in coders:
            if coder in keys:
                axes.plot(keys[coder]["bytes"], keys[coder]["psnr"], MARKS[coders.index(coder)], color=f"C{i}", ms=7)
    handles = [Line2D([], [], ls="", marker="s", color=f"C{i}", label=" ".join(name)) for i, name in enumerate(table)]
    handles += [Line2D([], [], ls="", marker=m, color="k", label=c) for m, c in zip(MARKS, coders, strict=False)]
    axes.set(xscale="log", xlabel="bytes of the file", ylabel="PSNR (dB)", title="Sizes")
    axes.legend(handles=handles, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.1))


def plot_weights(networks: Sequence[Trained], axes: Axes) -> None:
    """Of the first matrix between hidden layers."""
    for trained in networks:
        weights = trained.module.arrays()["layers.1.weight"].ravel()
        label = f"{trained.signal_name} {trained.network_name}"
        axes.hist(weights / weights.std(), bins=40, range=(-5, 5), density=True, histtype="step", label=label)
    x = np.linspace(-5, 5, 200)
    axes.plot(x, stats.norm.pdf(x), "k:", label="Gaussian")
    axes.set(xlabel="weight / standard deviation", title="First matrix between hidden layers", yscale="log")
    axes.set_ylim(1e-3, 3)
    axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.1))


# --- the run ---------------------------------------------------------------------------------------------------------

Experiment = Callable[[Trained], Iterator[Row]]
Plan = tuple[Callable[[], Trained], tuple[Experiment, ...]]
BEST_SHAPE = [SHAPES[1]]


def quick_plans(name: str, path: Path) -> list[Plan]:
    """One small network."""
    small = picture(path, SMALL_GRID)
    network = siren(small, 2, QUICK_WIDTH)
    make = partial(train, name, f"sine (2, {QUICK_WIDTH})", small, network, SHORT_STEPS)
    return [(make, (partial(sizes, shapes=BEST_SHAPE), distributions))]


def plans(paths: Sequence[Path], mesh: Path | None) -> Iterator[Plan]:
    """All networks, and what is done with each."""
    name = paths[0].stem
    small, large = picture(paths[0], SMALL_GRID), picture(paths[0], LARGE_GRID)
    yield (
        partial(train, name, "sine (2, 32)", small, siren(small, 2, 32), STEPS),
        (sizes, atoms, recovery, distributions),
    )
    best = partial(sizes, shapes=BEST_SHAPE)
    for path in paths[1:]:
        other = picture(path, SMALL_GRID)
        yield partial(train, path.stem, "sine (2, 32)", other, siren(other, 2, 32), STEPS), (best, distributions)
    if mesh:
        solid = occupancy(mesh)
        make = partial(train, mesh.stem, "sine (2, 32)", solid, siren(solid, 2, 32), SHORT_STEPS)
        yield make, (sizes, distributions)
    for kind, title, change in (
        (RecordKind.RELU, "ReLU", None),
        (RecordKind.RELU, "leaky ReLU", leaky),
        (RecordKind.TANH, "tanh", None),
    ):
        make = partial(train, name, f"{title} (2, 32)", small, plain(small, 2, 32, kind), STEPS, change)
        yield make, (distributions,)
    for width, shapes in ((64, BEST_SHAPE), (128, [])):
        make = partial(train, f"{name} 192x128", f"sine (3, {width})", large, siren(large, 3, width), SHORT_STEPS)
        yield make, (partial(sizes, shapes=shapes), recovery, distributions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--mesh", type=Path, help="closed triangle mesh (OBJ) for the occupancy network")
    parser.add_argument("--radiance-field", type=Path, help="NeRF checkpoint whose weights are looked at")
    parser.add_argument("--quick", action="store_true", help="one small network; writes no results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    rows: list[Row] = []
    networks = []
    for option, path in (("--mesh", arguments.mesh), ("--radiance-field", arguments.radiance_field)):
        if path is None and not arguments.quick:
            print(f"skipped: no {option} was given")
    if arguments.radiance_field and not arguments.quick:
        rows += radiance_field(arguments.radiance_field)
    first = arguments.images[0]
    chosen = quick_plans(first.stem, first) if arguments.quick else plans(arguments.images, arguments.mesh)
    for make, experiments in chosen:
        trained = make()
        networks.append(trained)
        for experiment in experiments:
            rows += experiment(trained)
            print(f"{time.monotonic() - started:6.0f} s {trained.signal_name} {trained.network_name}", flush=True)
        if not arguments.quick:
            write_results(rows, networks, time.monotonic() - started)
    print(markdown(rows, time.monotonic() - started))


def write_results(rows: Sequence[Row], networks: Sequence[Trained], seconds: float) -> None:
    """All three files, with what there is so far."""
    RESULTS.mkdir(exist_ok=True)
    write_csv(rows, RESULTS / "sinr.csv")
    (RESULTS / "sinr.md").write_text(markdown(rows, seconds), encoding="utf-8")
    plot(rows, networks, RESULTS / "sinr.png")


if __name__ == "__main__":
    main()
