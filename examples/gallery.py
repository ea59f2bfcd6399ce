"""Every modality from a real file to a ``.sinr`` file and back, by the commands of the README, on one sheet.

    python examples/gallery.py DATA [--out FOLDER] [--preset fast|balanced|best]

DATA holds the folders ``video``, ``audio``, ``mesh``, ``field`` and ``nerf``; the photograph is the one beside this
file. ``sinrfmt`` encodes and decodes each signal in processes of their own; a file that FOLDER has is not made again.
The sheet, ``FOLDER/gallery.png``, shows what went in above what came out.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import soundfile
from PIL import Image

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

EXAMPLES = Path(__file__).resolve().parent
PHOTO = EXAMPLES / "kodim23_192x128.png"
SOUND_SAMPLES = slice(60_000, 64_000)
"""Of the wave that is drawn."""

Draw = Callable[[Axes, Path], None]


@dataclass(frozen=True)
class Exhibit:
    """One signal: its input in DATA, what ``encode`` and ``decode`` are told beside the names, and how it is drawn.

    Attributes:
        name: of its files.
        source: the input, and ``shown``, what the upper picture is drawn from.
        target: name of the decoded file or folder, and ``part``, the file in it that is drawn.
        encoding, decoding: options.
        figure: the key of the summary that says how good it is, and its text.
    """

    name: str
    source: str
    shown: str
    target: str
    draw: Draw
    encoding: tuple[str, ...] = ()
    decoding: tuple[str, ...] = ()
    part: str = ""
    figure: tuple[str, str] = ("psnr", "{:.1f} dB")


def _picture(axes: Axes, path: Path) -> None:
    axes.imshow(Image.open(path).convert("RGBA"))


def _wave(axes: Axes, path: Path) -> None:
    samples, rate = soundfile.read(path)
    part = samples[SOUND_SAMPLES]
    axes.plot(1000.0 * np.arange(len(part)) / rate, part, linewidth=0.6)
    axes.set_aspect("auto")


def _map(axes: Axes, path: Path) -> None:
    values = np.load(path)
    axes.imshow(values.reshape(values.shape[:3])[0], aspect="auto")


def _mesh(axes: Axes, path: Path) -> None:
    """The triangles as they are, without the library's renderer, which drew the lower picture."""
    import trimesh

    mesh = trimesh.load_mesh(path, process=False)
    x, y, z = mesh.vertices[:, 0], mesh.vertices[:, 1], mesh.vertices[:, 2]
    order = np.argsort(z[mesh.faces].mean(axis=1))
    light = mesh.face_normals @ np.array([0.4, 0.5, 0.77])
    axes.tripcolor(x, y, mesh.faces[order], facecolors=np.clip(light[order], 0.05, 1.0), cmap="gray", vmin=0, vmax=1)
    axes.set_aspect("equal")


EXHIBITS = (
    Exhibit("picture", str(PHOTO), str(PHOTO), "picture.png", _picture, ("--bytes", "2000")),
    Exhibit(
        *("clip", "video/bbb_320x180", "video/bbb_320x180/f00012.png", "frames", _picture),
        encoding=("--rate-weight", "3e-3"),
        part="f00012.png",
    ),
    Exhibit("sound", "audio/gt_bach.wav", "audio/gt_bach.wav", "sound.wav", _wave, figure=("snr", "SNR {:.1f} dB")),
    Exhibit(
        *("mesh", "mesh/bunny.obj", "mesh/bunny.obj", "mesh.obj", _mesh),
        encoding=("--bytes", "2500"),
        figure=("iou", "IoU {:.4f}"),
    ),
    Exhibit(
        *("field", "field/era5_temperature_5x46x90.npy", "field/era5_temperature_5x46x90.npy", "field.npy", _map),
        encoding=("--bytes", "1300"),
        decoding=("--samples",),
    ),
    Exhibit(
        *("views", "nerf/lego_200", "nerf/lego_200/test/r_50.png", "view.png", _picture),
        encoding=("--preset", "balanced"),
        decoding=("--camera", "nerf/lego_200/transforms_test.json", "--view", "5"),
    ),
)


def main() -> None:
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(2, len(EXHIBITS), figsize=(3.4 * len(EXHIBITS), 5.6), layout="constrained")
    for exhibit, (above, below) in zip(EXHIBITS, axes.T, strict=True):
        summary = made(exhibit, arguments)
        key, text = exhibit.figure
        exhibit.draw(above, arguments.data / exhibit.shown)
        exhibit.draw(below, arguments.out / exhibit.target / exhibit.part)
        above.set_title(exhibit.name)
        below.set_title(f"{summary['file_bytes']:,} bytes, {text.format(summary[key])}")
        for drawn in (above, below):
            drawn.set(xticks=[], yticks=[])
    figure.savefig(arguments.out / "gallery.png", dpi=80)
    print(arguments.out / "gallery.png")


def made(exhibit: Exhibit, arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``encode`` said of the file; decodes it too."""
    sinr, said = (arguments.out / f"{exhibit.name}{suffix}" for suffix in (".sinr", ".json"))
    if not (sinr.exists() and said.exists()):
        options = ("--preset", arguments.preset, *exhibit.encoding, "--force", "--json")
        said.write_text(
            run("encode", str(arguments.data / exhibit.source), "-o", str(sinr), *options), encoding="utf-8"
        )
    options = tuple(str(arguments.data / word) if word.endswith(".json") else word for word in exhibit.decoding)
    target = arguments.out / exhibit.target
    if target.is_dir():
        shutil.rmtree(target)
    run("decode", str(sinr), str(target), *options, "--force")
    summary: dict[str, Any] = json.loads(said.read_text(encoding="utf-8"))
    return summary


def run(*arguments: str) -> str:
    """What the command line says on stdout."""
    print("sinrfmt", *arguments, flush=True)
    return subprocess.run(
        [sys.executable, "-m", "sinrfmt", *arguments], stdout=subprocess.PIPE, encoding="utf-8", check=True
    ).stdout


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Every modality on one sheet.")
    parser.add_argument("data", type=Path, help="the folder that holds video/, audio/, mesh/, field/ and nerf/")
    parser.add_argument("--out", type=Path, default=Path("gallery"), help="folder for files and the sheet")
    parser.add_argument("--preset", default="fast", choices=("fast", "balanced", "best"))
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
