"""What previews cost, and what the prefixes of a file with previews are worth: a table.

Run from the root of the repository, after ``bench.images encode`` made the one-pass files of full pictures:

    python -m bench.previews --files DIR --out DIR [--data KODAK] [--images kodim23 ...] [--preset fast]

The whole is the largest of the one-pass files of a picture; the previews are those of ``encode --previews 3``, each
written to OUT once, by one torch thread. A prefix is compared with files of its size: PSNR at its bytes and bytes at
its PSNR are read off the curve through the previews, which are one-pass files too, and the one-pass files; see
``bench.grid_passes``. Every PSNR is that of the reference decoder's samples.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

import reference_decoder
import sinrfmt
from bench.grid_passes import Curve, at
from bench.images import DATA, load_picture
from sinrfmt import edit
from sinrfmt.container import FRAMING_BYTES
from sinrfmt.metrics import Samples, psnr
from sinrfmt.pictures import PictureOptions
from sinrfmt.torch.pictures import encode_preview

NUMBER = 3


def quality_of(data: bytes, picture: Samples) -> float:
    """PSNR in dB on the grid of the picture."""
    decoded = reference_decoder.decode(data).samples_8bit(picture.shape[:2])
    return psnr(picture, decoded.reshape(picture.shape))


def previews_of(out: Path, image: str, picture: Samples, n_whole: int, preset: str) -> Iterator[bytes]:
    """The previews of a file of so many bytes; those that are not there are made."""
    options = PictureOptions(previews=NUMBER, preset=preset, device="cpu")
    for size in options.preview_sizes(n_whole):
        path = out / f"{image}_{size}_{preset}.sinr"
        if not path.exists():
            path.write_bytes(encode_preview(picture, replace(options, previews=0).of_preview(size))[0])
        yield path.read_bytes()


def rows_of(image: str, options: argparse.Namespace) -> Iterator[str]:
    """Lines of the table for a picture."""
    picture = load_picture(options.data, image, is_crop=False)
    plain = sorted((path.read_bytes() for path in options.files.glob(f"{image}_full_pyramid-serial_*.sinr")), key=len)
    previews = list(previews_of(options.out, image, picture, len(plain[-1]), options.preset))
    qualities = {data: quality_of(data, picture) for data in (*previews, *plain)}
    curve: Curve = sorted((float(np.log(len(data))), quality) for data, quality in qualities.items())
    yield from (f"| {image} | alone | {len(data)} | | {quality:.2f} | | |" for data, quality in qualities.items())
    whole = edit.with_previews(edit.with_quality(plain[-1], (qualities[plain[-1]],)), previews)
    assert sinrfmt.loads(whole).weights_sha256 == sinrfmt.loads(plain[-1]).weights_sha256
    start = whole.index(previews[0]) - FRAMING_BYTES + 4
    ends = accumulate((len(data) + FRAMING_BYTES for data in previews), initial=start)
    prefixes = [*zip(list(ends)[1:], previews, strict=True), (len(whole), plain[-1])]
    for number, (n_bytes, shown) in enumerate(prefixes):
        behind = at(float(np.log(n_bytes)), curve) - qualities[shown]
        more = n_bytes / np.exp(at(qualities[shown], [(y, x) for x, y in curve])) - 1.0
        share = n_bytes / len(whole)
        what = f"{number + 1} of {len(prefixes)}"
        yield f"| {image} | {what} | {n_bytes} | {share:.1%} | {qualities[shown]:.2f} | {behind:+.2f} | {more:+.1%} |"


def main() -> None:
    """Make what is not there and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--images", nargs="+", default=("kodim23", "kodim15"))
    parser.add_argument("--preset", default="fast")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    print("| picture | prefix | bytes | of all | dB | dB behind one of its size | bytes above one of its PSNR |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for image in options.images:
        for row in rows_of(image, options):
            print(row, flush=True)


if __name__ == "__main__":
    main()
