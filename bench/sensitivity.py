"""SHACIRA's sensitivity studies (section 3 of its appendix), from files on disk: one setting at a time is changed.

Run from the root of the repository:

    python -m bench.sensitivity --out DIR [--data KODAK] [--image kodim15] [--steps N] [--full]

Every file is written to DIR once, by one torch thread; files that are there are not made again. PSNR is that of the
reference decoder's picture. Without ``--full`` the picture is the crop of ``bench.images``. The table and the plot are
``bench/results/sensitivity.md`` and ``.png``.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch

import reference_decoder
from bench.images import DATA, load_picture, machine_name
from sinrfmt.metrics import Samples, psnr
from sinrfmt.torch.grid_files import encode_grid, grid_preset_of
from sinrfmt.torch.point_recipes import PointPreset

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

RESULTS = Path(__file__).parent / "results"
RATE_WEIGHTS = (1e-3, 4e-3, 1.6e-2)
N_STEPS = 1500
STUDIES: dict[str, tuple[dict[str, Any], ...]] = {
    "latent dimension": ({}, {"latent_dim": 2}, {"latent_dim": 4}),
    "feature dimension": ({}, {"feature_dim": 2}, {"feature_dim": 4}),
    "levels": ({"n_levels": 8}, {"n_levels": 16}, {}),
    "width of the network": ({}, {"width": 32}, {"width": 64}),
    "depth of the network": ({"depth": 1}, {}, {"depth": 3}),
}
"""Changes to the preset by study; {} is the preset itself."""


@dataclass(frozen=True)
class Point:
    """One file: what was studied, the changed setting, lambda, bytes and PSNR in dB."""

    study: str
    setting: str
    rate_weight: float
    n_bytes: int
    psnr: float


def setting_of(study_changes: dict[str, Any], study: str) -> str:
    """The value of what a study changes."""
    names = {key for changes in STUDIES[study] for key in changes}
    return ", ".join(str(study_changes.get(name, getattr(grid_preset_of("shacira"), name))) for name in sorted(names))


def file_of(out: Path, name: str, picture: Samples, preset: PointPreset) -> bytes:
    """The bytes of one encoding, which is made if it is not there."""
    path = out / f"{name}.sinr"
    if not path.exists():
        path.write_bytes(encode_grid(picture, preset=preset, device="cpu").field.data)
    return path.read_bytes()


def points(options: argparse.Namespace) -> Iterator[Point]:
    """All files of all studies."""
    picture = load_picture(options.data, options.image, is_crop=not options.full)
    base = grid_preset_of("shacira")
    assert isinstance(base, PointPreset)
    for study, settings in STUDIES.items():
        for changes in settings:
            for rate_weight in options.rate_weights:
                preset = replace(base, n_steps=options.steps, rate_weight=rate_weight, **changes)
                changed = "_".join(f"{key}{value}" for key, value in changes.items()) or "preset"
                name = f"{options.image}_{'full' if options.full else 'crop'}_{changed}_{rate_weight:g}_{options.steps}"
                data = file_of(options.out, name, picture, preset)
                decoded = reference_decoder.decode(data).samples_8bit().reshape(picture.shape)
                quality = float(psnr(picture, decoded))
                print(f"{name}: {len(data)} B, {quality:.2f} dB", flush=True)
                yield Point(study, setting_of(changes, study), rate_weight, len(data), quality)


def markdown(found: Sequence[Point], options: argparse.Namespace) -> str:
    """The table of all files."""
    place = "whole" if options.full else "the crop of bench.images"
    flag = " --full" * options.full
    lines = [
        "<!-- made by bench/sensitivity.py -->",
        "# SHACIRA's settings, one at a time",
        "",
        f"Made by `python -m bench.sensitivity --out DIR --image {options.image} --steps {options.steps}{flag}",
        f"--rate-weights {' '.join(f'{weight:g}' for weight in options.rate_weights)}` on",
        f"{machine_name('cpu')}: {options.image}, {place}; {options.steps} steps a file, one seed.",
        "",
        "| study | setting | lambda | bytes | PSNR |",
        "|---|---|---|---|---|",
        *(f"| {p.study} | {p.setting} | {p.rate_weight:g} | {p.n_bytes} | {p.psnr:.2f} |" for p in found),
        "",
        "![SHACIRA's settings](sensitivity.png)",
        "",
    ]
    return "\n".join(lines)


def plot(found: Sequence[Point], path: Path) -> None:
    """A panel for each study, a line for each setting."""
    figure, axes = plt.subplots(1, len(STUDIES), figsize=(3.2 * len(STUDIES), 3.2), sharey=True, layout="constrained")
    for axis, study in zip(axes, STUDIES, strict=True):
        for setting in dict.fromkeys(p.setting for p in found if p.study == study):
            line = sorted((p.n_bytes, p.psnr) for p in found if (p.study, p.setting) == (study, setting))
            axis.plot(*zip(*line, strict=True), marker="o", markersize=3, label=setting)
        axis.set(title=study, xlabel="bytes")
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.legend(fontsize=8)
    axes[0].set_ylabel("PSNR, dB")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="bench.sensitivity", description="SHACIRA's settings, one at a time.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the PNG files")
    parser.add_argument("--image", default="kodim15")
    parser.add_argument("--steps", type=int, default=N_STEPS)
    parser.add_argument("--rate-weights", nargs="+", type=float, default=RATE_WEIGHTS)
    parser.add_argument("--full", action="store_true", help="the whole picture, not a crop")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    found = list(points(options))
    plot(found, RESULTS / "sensitivity.png")
    (RESULTS / "sensitivity.md").write_text(markdown(found, options), encoding="utf-8")


if __name__ == "__main__":
    main()
