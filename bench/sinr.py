"""SINR's experiments on trained networks: sizes at equal quality, sparse recovery, and what weights look like.

Run from the root of the repository: ``python -m bench.sinr IMAGE [IMAGE]``; pictures are reduced to 96 x 64 (the first
one also to 192 x 128, for the larger network). Writes ``bench/results/sinr.csv``, ``.md`` and ``.png``. Every size is
that of a file that was written and decoded again; every PSNR is that of the decoded samples.
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
LARGEST_DICTIONARY = 1 << 24
TORUS_SIDE = 24


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


def torus() -> Signal:
    """Occupancy of a torus on a cube of voxels."""
    coords = grid_coords((TORUS_SIDE,) * 3)
    x, y, z = coords.T
    inside = (np.hypot(x, y) - 0.6) ** 2 + z**2 < 0.25**2
    samples = np.where(inside, 255, 0).astype(np.uint8)[:, None]
    values = (samples / 127.5 - 1.0).astype(np.float32)
    return Signal(coords, values, samples, (TORUS_SIDE,) * 3, Modality.OCCUPANCY, Coords.CENTRES, Values.SIGNED)


def siren(signal: Signal, n_hidden: int, width: int) -> Network:
    """``n_hidden`` matrices between hidden layers, as the paper counts, so one more layer of sines."""
    return sine_network(signal.coords.shape[1], signal.channels, n_hidden + 1, width, OMEGA)


def plain(signal: Signal, n_hidden: int, width: int, kind: RecordKind) -> Network:
    """The same shape with another activation."""
    hidden = LayerRecord(kind, width, repeat=n_hidden + 1, prior=True)
    return Network(signal.coords.shape[1], signal.channels, (hidden, LayerRecord(RecordKind.LINEAR, signal.channels)))


def train(signal_name: str, network_name: str, signal: Signal, network: Network, n_steps: int) -> Trained:
    """Fit with the encoder's own loop."""
    module = FieldModule(network, seed=SEED)
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


def sizes(trained: Trained) -> Iterator[Row]:
    """Bytes and PSNR of every coder; for the sparse ones also the bytes of the scalar coder at their PSNR."""

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
        *((f"sparse {i + 1}", partial(quantise_sparse, shapes=[shape]), Coding.RANS) for i, shape in enumerate(SHAPES)),
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


# --- recovery --------------------------------------------------------------------------------------------------------


def recovery(trained: Trained) -> Iterator[Row]:
    """Relative error of the worst vector of the first matrix between hidden layers, against s / k1 and k2 / k1."""
    name = "layers.1.weight"
    matrix = trained.module.arrays()[name]
    for vectors in (Vectors.COLUMNS, Vectors.MATRIX):
        rows = torch.tensor(vectors_of(matrix, vectors), dtype=torch.float64)
        k1 = rows.shape[1]
        for ratio in RATIOS:
            k2 = round(ratio * k1)
            if k1 * k2 > LARGEST_DICTIONARY:
                continue
            dictionary = seeded_dictionary(LAW, k1, k2, 2, SEED, dtype=torch.float64, device=CPU)
            pursuit = orthogonal_matching_pursuit(dictionary, rows, k1)
            for share in RECOVERY_SHARES:
                s = int(share * k1)
                columns = dictionary.T[pursuit.atoms[:, :s]]
                fitted = torch.bmm(pursuit.coefficients(s).unsqueeze(1), columns).squeeze(1)
                error = ((rows - fitted).norm(dim=1) / rows.norm(dim=1)).max().item()
                key = f"{vectors.name} {ratio:g} {share:g}"
                yield Row("recovery", trained.signal_name, trained.network_name, key, "relative error", error)


# --- weights ---------------------------------------------------------------------------------------------------------


def distributions(trained: Trained) -> Iterator[Row]:
    """Skewness, excess kurtosis and the Shapiro-Wilk p value of each layer's weights."""
    for index, layer in enumerate(trained.module.network.layers):
        weights = trained.module.arrays()[f"layers.{index}.weight"].ravel().astype(np.float64)
        is_hidden = 0 < index < len(trained.module.network.layers) - 1
        place = "hidden" if is_hidden else "first" if index == 0 else "last"
        key = f"{place} {index} ({layer.n_in}x{layer.n_out})"
        for measure, value in (
            ("skewness", stats.skew(weights)),
            ("excess kurtosis", stats.kurtosis(weights)),
            ("Shapiro p", stats.shapiro(weights[:5000]).pvalue),
        ):
            yield Row("weights", trained.signal_name, trained.network_name, key, measure, float(value))


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
    """The three tables."""
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
            exact = next((f"{share:g}" for share, error in curve if error < EXACT), "never")
            at = dict(curve)
            shown = " | ".join(f"{at[share]:.1e}" for share in (0.25, 0.4375, 0.5, 0.75, 0.9375))
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
    figure, axes = plt.subplots(1, 3, figsize=(16, 4.5))
    (signal, network), keys = next(iter(_select(rows, "recovery").items()))
    for (vectors, ratio), curve in _curves(keys).items():
        shares, errors = zip(*curve, strict=True)
        style = "-" if vectors == "MATRIX" else "--"
        axes[0].semilogy(shares, np.maximum(errors, 1e-16), style, label=f"{vectors.lower()}, k2/k1 = {ratio:g}")
    axes[0].axvline(0.5, color="grey", lw=0.8)
    axes[0].axhline(EXACT, color="grey", lw=0.8)
    axes[0].set(xlabel="s / k1", ylabel="relative error, worst vector", title=f"Recovery ({signal}, {network})")
    axes[0].legend(fontsize=6)
    for (name, net), coders in _select(rows, "sizes").items():
        points = [(m["bytes"], m["psnr"], key) for key, m in coders.items() if key != "float32 network"]
        axes[1].plot([p[0] for p in points], [p[1] for p in points], "o", label=f"{name} {net}")
        for n_bytes, psnr, key in points:
            axes[1].annotate(key, (n_bytes, psnr), fontsize=6)
    axes[1].set(xscale="log", xlabel="bytes of the file", ylabel="PSNR (dB)", title="Sizes")
    axes[1].legend(fontsize=6)
    for trained in networks:
        weights = trained.module.arrays()["layers.1.weight"].ravel()
        label = f"{trained.signal_name} {trained.network_name}"
        axes[2].hist(weights / weights.std(), bins=60, range=(-5, 5), density=True, histtype="step", label=label)
    x = np.linspace(-5, 5, 200)
    axes[2].plot(x, stats.norm.pdf(x), "k:", label="Gaussian")
    axes[2].set(xlabel="weight / standard deviation", title="First matrix between hidden layers", yscale="log")
    axes[2].set_ylim(1e-3, 3)
    axes[2].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+", type=Path)
    paths = parser.parse_args().images
    torch.set_num_threads(1)
    started = time.monotonic()
    rows: list[Row] = []
    pictures = [(path.stem, picture(path, SMALL_GRID)) for path in paths]
    first_name, first = pictures[0]
    shape = torus()
    plans: list[tuple[Callable[[], Trained], tuple[Callable[[Trained], Iterator[Row]], ...]]] = [
        (
            partial(train, name, "sine (2, 32)", signal, siren(signal, 2, 32), STEPS),
            (sizes, recovery, distributions) if name == first_name else (sizes, distributions),
        )
        for name, signal in pictures
    ]
    large = picture(paths[0], LARGE_GRID)
    plans += [
        (
            partial(train, f"{first_name} 192x128", "sine (3, 64)", large, siren(large, 3, 64), STEPS),
            (sizes, recovery, distributions),
        ),
        (partial(train, "torus", "sine (2, 32)", shape, siren(shape, 2, 32), SHORT_STEPS), (sizes, distributions)),
        *(
            (
                partial(train, first_name, f"{kind.name.lower()} (2, 32)", first, plain(first, 2, 32, kind), STEPS),
                (distributions,),
            )
            for kind in (RecordKind.RELU, RecordKind.TANH)
        ),
    ]
    networks = []
    for make, experiments in plans:
        trained = make()
        networks.append(trained)
        for experiment in experiments:
            rows += experiment(trained)
            print(f"{time.monotonic() - started:6.0f} s {trained.signal_name} {trained.network_name}", flush=True)
        write_results(rows, networks, time.monotonic() - started)
    print(markdown(rows, time.monotonic() - started))


def write_results(rows: Sequence[Row], networks: Sequence[Trained], seconds: float) -> None:
    """All three files, with what there is so far."""
    RESULTS.mkdir(exist_ok=True)
    write_csv(rows, RESULTS / "sinr.csv")
    (RESULTS / "sinr.md").write_text(markdown(rows, seconds), encoding="utf-8")
    if _select(rows, "recovery"):
        plot(rows, networks, RESULTS / "sinr.png")


if __name__ == "__main__":
    main()
