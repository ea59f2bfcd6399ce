"""What previews cost, and what the prefixes of a file with previews are worth: a table.

Run from the root of the repository, after ``bench.images encode`` made the one-pass files of full pictures:

    python -m bench.previews --files DIR --out DIR [--data KODAK] [--images kodim23 ...] [--number 3] [--preset fast]

The whole is the largest of the one-pass files of a picture, with the PSNR that ``bench/results/images.csv`` has for it;
the previews are those of ``encode --previews``, each written to OUT once, by one torch thread. With ``--number 0`` no
preview is made: the one-pass file of at most 15 % of the bytes is the only one. A prefix is compared with files of its
size: PSNR at its bytes and bytes at its PSNR are read off the curve through all one-pass files, previews too; see
``bench.grid_passes``.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

import reference_decoder
from bench.grid_passes import Curve, compared
from bench.images import DATA, load_picture
from sinrfmt import edit
from sinrfmt.container import FRAMING_BYTES, TRAILER_BYTES
from sinrfmt.metrics import Samples, psnr
from sinrfmt.pictures import PictureOptions
from sinrfmt.torch.pictures import encode_preview

RESULTS = Path(__file__).with_name("results") / "images.csv"
SETTING = "pyramid/serial"
LARGEST_SHARE = 0.15


def one_pass(files: Path, image: str) -> dict[bytes, float]:
    """The one-pass files of a full picture by size, and their PSNR."""
    with RESULTS.open(encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row[:3] == ["full", image, SETTING]]
    found = {}
    for row in sorted(rows, key=lambda row: int(row[4])):
        (path,) = files.glob(f"{image}_full_{SETTING.replace('/', '-')}_{float(row[3]):g}_*.sinr")
        data = path.read_bytes()
        assert len(data) == int(row[4]), path
        found[data] = float(row[6])
    return found


def made(options: argparse.Namespace, image: str, n_whole: int) -> Iterator[tuple[bytes, float]]:
    """The previews of a file of so many bytes, and their PSNR; those that are not there are made."""
    picture = load_picture(options.data, image, is_crop=False)
    asked = PictureOptions(previews=options.number, preset=options.preset, device="cpu")
    for size in asked.preview_sizes(n_whole):
        path = options.out / f"{image}_{size}_{options.preset}.sinr"
        if not path.exists():
            path.write_bytes(encode_preview(picture, replace(asked, previews=0).of_preview(size))[0])
        data = path.read_bytes()
        yield data, quality_of(data, picture)


def quality_of(data: bytes, picture: Samples) -> float:
    """PSNR in dB on the grid of the picture, by the reference decoder."""
    decoded = reference_decoder.decode(data).samples_8bit(picture.shape[:2])
    return psnr(picture, decoded.reshape(picture.shape))


def rows_of(image: str, options: argparse.Namespace) -> Iterator[str]:
    """Lines of the table for a picture."""
    plain = one_pass(options.files, image)
    *smaller, last = plain
    if options.number:
        previews = dict(made(options, image, len(last)))
    else:
        largest = max(data for data in smaller if len(data) <= LARGEST_SHARE * len(last))
        previews = {largest: plain[largest]}
    qualities = previews | plain
    curve: Curve = sorted((float(np.log(len(data))), quality) for data, quality in qualities.items())
    yield from (f"| {image} | alone | {len(data)} | | {quality:.2f} | | |" for data, quality in qualities.items())
    files = list(previews)
    whole = edit.with_previews(edit.with_quality(last, (plain[last],)), files)
    start = whole.index(files[0]) + TRAILER_BYTES - FRAMING_BYTES
    ends = accumulate((len(data) + FRAMING_BYTES for data in files), initial=start)
    prefixes = [*zip(list(ends)[1:], files, strict=True), (len(whole), last)]
    for number, (n_bytes, shown) in enumerate(prefixes):
        what, share, quality = f"{number + 1} of {len(prefixes)}", n_bytes / len(whole), qualities[shown]
        cells = compared(curve, n_bytes, quality)
        yield f"| {image} | {what} | {n_bytes} | {share:.1%} | {quality:.2f} | {cells} |"


def main() -> None:
    """Make what is not there and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--images", nargs="+", default=("kodim05", "kodim15", "kodim23"))
    parser.add_argument("--number", type=int, default=3)
    parser.add_argument("--preset", default="fast")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    print("| picture | prefix | bytes | of all | dB | dB behind one of its size | bytes above one of its PSNR |")
    print("|---|---|---|---|---|---|---|")
    for image in options.images:
        for row in rows_of(image, options):
            print(row, flush=True)


if __name__ == "__main__":
    main()
