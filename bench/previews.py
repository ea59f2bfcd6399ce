"""What ladders of previews cost and what their prefixes are worth, beside networks that grow: table, points and plot.

Run from the root of the repository:

    python -m bench.previews OUT [--images coffee kodim23] [--bytes 4000 8000] [--files DIR] [--pictures kodim15 ...]

Networks: files of ``--images``, 192 x 128, at the sizes of ``SIZES``; those of ``--bytes`` get the previews that
``encode --previews 3`` gives them, and stand beside networks that grow to the same size in four passes. Latents: with
``--files``, the largest one-pass file of each of ``--pictures`` that ``bench.images encode`` left in DIR, with the PSNR
that ``bench/results/images.csv`` has for it, gets previews of the full picture too. What is not in OUT is made, by one
torch thread; ``--report`` makes nothing.

A prefix is cut from the file and decoded by the reference decoder. It is compared with files that were made for their
size alone, with equal effort: PSNR at its bytes and bytes at its PSNR are read off the curve through all files of one
step, previews too, in which PSNR is linear between logarithms of bytes. Written to ``bench/results/previews.md``,
``.csv`` and ``.png``.
"""

import argparse
import csv
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

import reference_decoder
from bench.grid_passes import Curve, at
from bench.images import DATA, load_picture
from sinrfmt import edit
from sinrfmt.media.image import read_image
from sinrfmt.metrics import Samples, psnr
from sinrfmt.pictures import QUALITY_BLOCK_BYTES, FieldKind, PictureOptions
from sinrfmt.previews import read_preview
from sinrfmt.stream import PassComplete, PreviewRead, events
from sinrfmt.torch import encode, encode_passes
from sinrfmt.torch.pictures import encode_preview

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
SMALL = {
    "coffee": ROOT / "bench" / "data" / "coffee_192x128.png",
    "kodim23": ROOT / "examples" / "kodim23_192x128.png",
}
SIZES = (110, 130, 160, 200, 250, 300, 350, 450, 700, 1000, 1500, 2200, 3000, 4000, 6000, 8000)
"""Bytes at most of the files of one step."""
PRESET = "balanced"
SETTING = "pyramid/serial"
N_PREVIEWS = 3
ALONE = "alone"


@dataclass(frozen=True)
class Point:
    """A file of one step, or a prefix.

    Attributes:
        picture: and how large it is.
        ladder: ``alone`` for a file of one step.
        of: bytes of the whole file.
        step: from 1 on.
        bytes, share: up to the end of the step.
        psnr: of what is shown there, in dB.
        behind: dB below a file of one step of as many bytes; None for such a file.
        above: bytes beyond those of one of this PSNR, as a share of them.
    """

    picture: str
    ladder: str
    of: int
    step: int
    bytes: int
    share: float
    psnr: float
    behind: float | None = None
    above: float | None = None


class Files:
    """Encodings by name, made once."""

    def __init__(self, out: Path, *, may_encode: bool) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._out, self._may_encode = out, may_encode

    def alone(self, name: str, picture: Samples, size: int) -> bytes | None:
        """A network in so many bytes."""
        path = self._out / f"{name}_{PRESET}_{size}.sinr"
        if not path.exists() and self._may_encode:
            path.write_bytes(encode(picture, preset=PRESET, max_bytes=size, device="cpu").field.data)
        return path.read_bytes() if path.exists() else None

    def growing(self, name: str, picture: Samples, size: int) -> bytes | None:
        """A network that grows in four passes to so many bytes."""
        path = self._out / f"{name}_growth_{size}.sinr"
        if not path.exists() and self._may_encode:
            found = encode_passes(picture, N_PREVIEWS + 1, preset=PRESET, max_bytes=size, device="cpu")
            path.write_bytes(found.field.data)
        return path.read_bytes() if path.exists() else None

    def previews(
        self, name: str, picture: Samples, n_whole: int, field: FieldKind, latents: Collection[bytes] = ()
    ) -> list[bytes] | None:
        """Those that ``encode --previews 3`` puts in front of a file of so many bytes.

        Where it would make latents, the largest of those that are there and fit is taken, if there is one.
        """
        asked = PictureOptions(previews=N_PREVIEWS, field=field, device="cpu")
        found = []
        for size in asked.preview_sizes(n_whole):
            fitting = [data for data in latents if len(data) + QUALITY_BLOCK_BYTES <= size]
            if fitting and asked.of_preview(size, picture.shape[:2]).is_grid:
                data = max(fitting, key=len)
                found.append(edit.with_quality(data, (shown(data, picture),)))
                continue
            path = self._out / f"{name}_preview_{size}.sinr"
            if not path.exists() and self._may_encode:
                path.write_bytes(encode_preview(picture, asked.of_preview(size, picture.shape[:2]))[0])
            if not path.exists():
                return None
            found.append(path.read_bytes())
        return found


def shown(data: bytes, picture: Samples) -> float:
    """PSNR in dB of a file on the grid of the picture, by the reference decoder."""
    decoded = reference_decoder.decode(data).samples_8bit(picture.shape[:2])
    return psnr(picture, decoded.reshape(picture.shape))


def steps_of(data: bytes, picture: Samples) -> Iterator[tuple[int, float]]:
    """Bytes up to the end of every preview and every pass, and PSNR of what a reader of so many shows."""
    for event in events([data]):
        if isinstance(event, PreviewRead):
            prefix = data[: event.end]
            yield event.end, shown(read_preview(io.BytesIO(prefix).read, event.index).data, picture)
        elif isinstance(event, PassComplete):
            decoded = reference_decoder.decode(data[: event.end], passes=event.index + 1)
            yield event.end, psnr(picture, decoded.samples_8bit().reshape(picture.shape))


def points_of(name: str, ladder: str, data: bytes, picture: Samples, curve: Curve | None) -> Iterator[Point]:
    """Of every step of a file; compared with the curve where there is one."""
    for number, (n_bytes, quality) in enumerate(steps_of(data, picture), 1):
        compared = (None, None) if curve is None else _compared(curve, n_bytes, quality)
        yield Point(name, ladder, len(data), number, n_bytes, n_bytes / len(data), quality, *compared)


def _compared(curve: Curve, n_bytes: int, quality: float) -> tuple[float, float]:
    behind = at(float(np.log(n_bytes)), curve) - quality
    return behind, float(n_bytes / np.exp(at(quality, [(y, x) for x, y in curve])) - 1.0)


def curve_of(points: Sequence[Point]) -> Curve:
    """Through files of one step; one that is worse than a smaller one is left out."""
    curve: Curve = []
    for point in sorted(points, key=lambda point: point.bytes):
        if not curve or point.psnr > curve[-1][1]:
            curve.append((float(np.log(point.bytes)), point.psnr))
    return curve


def network_points(image: str, sizes: Sequence[int], files: Files) -> Iterator[Point]:
    """Of a small picture."""
    picture, name = read_image(SMALL[image]), f"{image}, 192 x 128"
    alone = {size: files.alone(image, picture, size) for size in sorted({*SIZES, *sizes})}
    wholes = {size: data for size in sizes if (data := alone[size]) is not None}
    ladders = {
        size: previews
        for size, data in wholes.items()
        if (previews := files.previews(image, picture, len(data), FieldKind.MLP)) is not None
    }
    singles = [*filter(None, alone.values()), *(preview for previews in ladders.values() for preview in previews)]
    points = [point for data in singles for point in points_of(name, ALONE, data, picture, None)]
    yield from points
    curve = curve_of(points)
    for size, previews in ladders.items():
        data = with_previews(wholes[size], previews, picture)
        yield from points_of(name, "previews", data, picture, curve)
        growing = files.growing(image, picture, size)
        if growing is not None:
            yield from points_of(name, "growth", growing, picture, curve)


def latent_points(image: str, folder: Path, data_folder: Path, files: Files) -> Iterator[Point]:
    """Of a full picture, whose latents are there."""
    picture = load_picture(data_folder, image, is_crop=False)
    name = f"{image}, {picture.shape[1]} x {picture.shape[0]}"
    plain = one_pass(folder, image)
    whole = max(plain, key=len)
    previews = files.previews(f"{image}-full", picture, len(whole), FieldKind.GRID, plain)
    if previews is None:
        return
    alone = [
        Point(name, ALONE, len(data), 1, len(data), 1.0, quality)
        for data, quality in [*plain.items(), *((preview, shown(preview, picture)) for preview in previews)]
    ]
    yield from alone
    yield from points_of(name, "previews", with_previews(whole, previews, picture), picture, curve_of(alone))


def one_pass(folder: Path, image: str) -> dict[bytes, float]:
    """The one-pass files of a full picture and their PSNR."""
    with (RESULTS / "images.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row[:3] == ["full", image, SETTING]]
    found = {}
    for row in rows:
        (path,) = folder.glob(f"{image}_full_{SETTING.replace('/', '-')}_{float(row[3]):g}_*.sinr")
        data = path.read_bytes()
        assert len(data) == int(row[4]), path
        found[data] = float(row[6])
    return found


def with_previews(data: bytes, previews: Sequence[bytes], picture: Samples) -> bytes:
    """The file with previews, as the encoder writes it: it announces what it has."""
    return edit.with_previews(edit.with_quality(data, (shown(data, picture),)), previews)


def text_of(points: Sequence[Point], command: str) -> Iterator[str]:
    """The report, in Markdown."""
    yield f"# Ladders of previews\n\nMade by `{command}`.\n\n![](previews.png)\n"
    yield "Behind is PSNR below a file made for that size alone, above bytes beyond those of a file of that PSNR.\n"
    yield "| picture | ladder | whole, bytes | step | bytes | of all | dB | dB behind | bytes above |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|"
    for point in points:
        if point.behind is not None and point.above is not None:
            yield (
                f"| {point.picture} | {point.ladder} | {point.of} | {point.step} | {point.bytes} | {point.share:.1%} "
                f"| {point.psnr:.2f} | {point.behind:+.2f} | {point.above:+.1%} |"
            )
    yield "\n## Files of one step\n\n| picture | bytes | dB |\n|---|---:|---:|"
    for point in sorted(points, key=lambda point: (point.picture, point.bytes)):
        if point.ladder == ALONE:
            yield f"| {point.picture} | {point.bytes} | {point.psnr:.2f} |"


def plot(points: Sequence[Point], path: Path) -> None:
    """Quality against bytes, a panel for each picture."""
    pictures = list(dict.fromkeys(point.picture for point in points))
    figure, axes = plt.subplots(1, len(pictures), figsize=(4.6 * len(pictures), 3.8), squeeze=False)
    for axis, picture in zip(axes[0], pictures, strict=True):
        own = [point for point in points if point.picture == picture]
        for ladder, of in sorted({(point.ladder, 0 if point.ladder == ALONE else point.of) for point in own}):
            chosen = sorted((p.bytes, p.psnr) for p in own if p.ladder == ladder and of in (0, p.of))
            style = "o--" if ladder == ALONE else "s-" if ladder == "previews" else "^:"
            label = "made for its size" if ladder == ALONE else f"{ladder}, {of} bytes"
            axis.plot(*zip(*chosen, strict=True), style, ms=4, color="0.5" if ladder == ALONE else None, label=label)
        axis.set(title=picture, xlabel="bytes", ylabel="PSNR, dB", xscale="log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Make what is not there, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the files")
    parser.add_argument("--images", nargs="*", default=list(SMALL), choices=list(SMALL))
    parser.add_argument("--bytes", nargs="+", type=int, default=[4000, 8000], help="of networks with previews")
    parser.add_argument("--files", type=Path, help="folder of one-pass files of full pictures")
    parser.add_argument("--pictures", nargs="+", default=["kodim15", "kodim23"])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--report", action="store_true", help="measure the files that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = Files(options.out, may_encode=not options.report)
    points = [point for image in options.images for point in network_points(image, options.bytes, files)]
    if options.files is not None:
        for image in options.pictures:
            points += latent_points(image, options.files, options.data, files)
    with (RESULTS / "previews.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(Point.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(point) for point in points)
    plot(points, RESULTS / "previews.png")
    command = "python -m bench.previews OUT" + ("" if options.files is None else " --files DIR")
    command += f" --bytes {' '.join(map(str, options.bytes))}"
    (RESULTS / "previews.md").write_text("\n".join(text_of(points, command)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
