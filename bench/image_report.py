"""Tables and plots of rate and distortion: the second half of ``bench.images``.

Every one of our files is decoded here by a decoder that is given as a command; classic codecs run on the same pictures
in the same run. BD-rate: G. Bjontegaard, VCEG-M33, "Calculation of average PSNR differences between RD-curves" (2001),
with piecewise cubic (PCHIP) curves of log(bits per pixel) over PSNR on the range that both curves have.
"""

import csv
import io
import json
import math
import shlex
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, features
from scipy.interpolate import PchipInterpolator  # type: ignore[import-untyped]

import sinrfmt
from bench.images import Record, load_picture, machine_name, psnr_of, read_jobs

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

RESULTS = Path(__file__).parent / "results"
CLASSIC_FILE = "classic.jsonl"
DECODER_SECONDS = 300
JPEG, JPEG_2000, WEBP, AVIF = "JPEG", "JPEG 2000", "WebP", "AVIF"
COOL_CHIC = "Cool-chic 5.0"
PUBLISHED = "published figures"
"""What stands for the decoder of points that were not measured here."""
CLAIM_BPP = 0.26
"""Rate at which SHACIRA's authors state their distance from JPEG."""
REFERENCES = (JPEG, JPEG_2000, AVIF, COOL_CHIC, "pyramid/serial", "pyramid/factorised", "shacira")
"""Columns of the table of BD-rates, where they are among the curves."""
COOL_CHIC_CROPS = {"kodim05": (1666, 26.21), "kodim23": (1221, 35.57)}
"""Bytes and PSNR of Cool-chic 5.0.1 on the crops after 2000 iterations: measured once, for this project."""
PEERS = ("JPEG2000 [c3repo]", "COIN [c3repo]", "RECOMBINER [c3repo]", "C3 [c3repo]", "Cool-chic v5.0", "VTM [c3repo]")
"""Rows of ``kodak_bdrate_computed.csv`` that the report repeats."""
SECONDS = ("encode_seconds", "encode_cpu_seconds", "decode_seconds", "here_decode_seconds")
"""Fields of a point that may not have been measured."""
FEW_POINTS = 2
SAME_PSNR = 1e-6

Options = dict[str, Any]
Curve = list[tuple[float, float]]
"""(bits per pixel, PSNR) in rising order, both strictly."""


@dataclass(frozen=True)
class Point:
    """One file.

    Attributes:
        place: ``full`` or ``crop``.
        image, codec: names.
        setting: lambda, bits per pixel, or a codec's own options.
        bytes, bpp, psnr: of the file and of its 8-bit picture, in dB.
        encode_seconds, encode_cpu_seconds, decode_seconds: on ``machine``; None where not measured.
        here_decode_seconds: of ``decoder`` on the machine of the report.
        n_steps: of the training; None for a preset's own.
        machine, n_processes: where it was encoded, and how many jobs ran beside each other.
        decoder: what the PSNR was measured with.
        weights_sha256: digest of the decoded weights.
    """

    place: str
    image: str
    codec: str
    setting: str
    bytes: int
    bpp: float
    psnr: float
    encode_seconds: float | None = None
    encode_cpu_seconds: float | None = None
    decode_seconds: float | None = None
    here_decode_seconds: float | None = None
    n_steps: int | None = None
    machine: str = ""
    n_processes: int = 1
    decoder: str = ""
    weights_sha256: str = ""


# --- classic codecs --------------------------------------------------------------------------------------------------


def classic_settings() -> Iterator[tuple[str, str, str, Options]]:
    """(codec, setting, format of Pillow, its options); of several settings of one codec the best at a rate counts."""
    for subsampling in ("4:4:4", "4:2:0"):
        for quality in (1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 33, 41, 50, 60, 70, 78, 85, 90, 94, 97):
            jpeg = {"quality": quality, "subsampling": subsampling, "optimize": True, "progressive": True}
            yield JPEG, f"{subsampling} {quality}", "JPEG", jpeg
    for quality in (0, 1, 3, 6, 10, 15, 22, 30, 40, 50, 60, 70, 80, 88, 94):
        yield WEBP, f"{quality}", "WEBP", {"quality": quality, "method": 6}
    for ratio in (8, 12, 18, 27, 40, 60, 80, 110, 150, 200, 270, 400):
        yield JPEG_2000, f"{ratio}:1", "JPEG2000", jpeg_2000_options(ratio)
    if features.check("avif"):
        # Tuned for PSNR, since that is what is measured; the default is tuned for the eye.
        tune = {"speed": 4, "advanced": {"tune": "psnr"}, "max_threads": 1}
        for subsampling in ("4:4:4", "4:2:0"):
            for quality in (3, 8, 15, 23, 32, 42, 53, 65, 78):
                avif = {"quality": quality, "subsampling": subsampling, **tune}
                yield AVIF, f"{subsampling} {quality}", "AVIF", avif


def jpeg_2000_options(ratio: float) -> Options:
    """Of Pillow, which leaves the colour transform out unless it is told: 9/7 wavelet, one layer, bare codestream."""
    return {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True, "mct": 1, "no_jp2": True}


def classic_points(picture: NDArray[np.uint8], place: str, image: str) -> Iterator[Point]:
    """Every setting of every codec."""
    source = Image.fromarray(picture)
    n_pixels = picture.shape[0] * picture.shape[1]
    machine = machine_name("cpu")
    for codec, setting, kind, options in classic_settings():
        stream = io.BytesIO()
        start, start_cpu = time.perf_counter(), time.process_time()
        source.save(stream, kind, **options)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
        n_bytes = stream.tell()
        stream.seek(0)
        start = time.perf_counter()
        decoded = np.asarray(Image.open(stream).convert("RGB"))
        decode_seconds = time.perf_counter() - start
        psnr = psnr_of(picture, decoded)
        yield Point(
            place, image, codec, setting, n_bytes, 8 * n_bytes / n_pixels, psnr,
            seconds, cpu_seconds, decode_seconds, machine=machine, decoder="Pillow",
        )  # fmt: skip


def all_classic(encoded: Path, data: Path, pictures: Iterable[tuple[str, str]]) -> list[Point]:
    """Points of classic codecs; those of an earlier report on this folder are read instead of measured."""
    path = encoded / CLASSIC_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    points = [Point(**json.loads(line)) for line in lines]
    known = {(point.place, point.image) for point in points}
    with path.open("a", encoding="utf-8") as file:
        for place, image in pictures:
            if (place, image) in known:
                continue
            picture = load_picture(data, image, is_crop=place == "crop")
            found = list(classic_points(picture, place, image))
            file.write("".join(json.dumps(asdict(point)) + "\n" for point in found))
            points += found
    return [point for point in points if (point.place, point.image) in set(pictures)]


# --- our files -------------------------------------------------------------------------------------------------------


def our_point(record: Record, encoded: Path, data: Path, decoder: str) -> Point:
    """A line of ``jobs.jsonl``; where its file is still there, it is decoded.

    Raises:
        ValueError: the decoder finds other weights than the encoder wrote.
    """
    path = encoded / f"{record['name']}.sinr"
    psnr, seconds, by = record["psnr"], None, "sinrfmt, when encoded"
    if path.exists():
        picture = load_picture(data, record["image"], is_crop=record["is_crop"])
        decode = _run_decoder if decoder else _run_library
        start = time.perf_counter()
        decoded, digest = decode(path.resolve(), decoder)
        seconds = time.perf_counter() - start
        if digest != record["weights_sha256"]:
            raise ValueError(f"{path.name}: digest of the weights {digest}, written {record['weights_sha256']}")
        psnr, by = psnr_of(picture, decoded), decoder.rpartition(" ")[2] or "sinrfmt"
    place = "crop" if record["is_crop"] else "full"
    names = ("bytes", "bpp", "encode_seconds", "encode_cpu_seconds", "decode_seconds")
    return Point(
        place=place, image=record["image"], codec=record["preset"], setting=f"{record['target']:g}", psnr=psnr,
        here_decode_seconds=seconds, n_steps=record["n_steps"], machine=record["machine"],
        n_processes=record["n_processes"], decoder=by, weights_sha256=record["weights_sha256"],
        **{name: record[name] for name in names},
    )  # fmt: skip


def kept_points(table: Path) -> list[Point]:
    """Files of an earlier report, from its table: neither decoded nor measured again. Without published figures."""
    with table.open(encoding="utf-8", newline="") as file:
        return [_point_of(row) for row in csv.DictReader(file) if row["decoder"] != PUBLISHED]


def _point_of(row: Mapping[str, str]) -> Point:
    """A line that ``write_csv`` wrote."""
    seconds = {name: float(row[name]) if row[name] else None for name in SECONDS}
    return Point(
        place=row["place"], image=row["image"], codec=row["codec"], setting=row["setting"], bytes=int(row["bytes"]),
        bpp=float(row["bpp"]), psnr=float(row["psnr"]), n_steps=int(row["n_steps"]) if row["n_steps"] else None,
        machine=row["machine"], n_processes=int(row["n_processes"]), decoder=row["decoder"],
        weights_sha256=row["weights_sha256"], **seconds,
    )  # fmt: skip


def _run_decoder(path: Path, decoder: str) -> tuple[NDArray[np.uint8], str]:
    """Picture and digest from a command."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.png"
        command = [*shlex.split(decoder), str(path), str(out)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=DECODER_SECONDS, check=True)
        with Image.open(out) as opened:
            return np.asarray(opened.convert("RGB")), json.loads(result.stdout)["weights_sha256"]


def _run_library(path: Path, decoder: str) -> tuple[NDArray[np.uint8], str]:
    """Picture and digest from sinrfmt; ``decoder`` is empty."""
    field = sinrfmt.load(path)
    return field.to_uint8(), field.weights_sha256


def cool_chic_points(anchors: Path, images: Sequence[str]) -> list[Point]:
    """Cool-chic's own figures for full pictures, and ours for the crops; [] without the file."""
    path = anchors / "kodak_per_image_coolchic.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["version"] == "5.0" and row["image"] in images]
    return [
        Point(
            "full",
            row["image"],
            COOL_CHIC,
            row["lmbda"],
            round(float(row["bpp"]) * 768 * 512 / 8),
            float(row["bpp"]),
            float(row["psnr_db"]),
            decode_seconds=float(row["dec_time_all_sec"]) if row["dec_time_all_sec"] else None,
            decoder=PUBLISHED,
        )
        for row in rows
    ]


# --- curves ----------------------------------------------------------------------------------------------------------


def curve_of(points: Sequence[Point]) -> Curve:
    """The upper envelope of a codec's variants (the word before the last of a setting)."""
    variants: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        variants[point.setting.rpartition(" ")[0]].append(point)
    curves = [_rising((point.bpp, point.psnr) for point in variant) for variant in variants.values()]

    def is_above(bpp: float, psnr: float) -> bool:
        return all((rival := psnr_at(curve, bpp)) is None or psnr >= rival - SAME_PSNR for curve in curves)

    return _rising(point for curve in curves for point in curve if is_above(*point))


def _rising(points: Iterable[tuple[float, float]]) -> Curve:
    """The points that no other one beats in both bytes and PSNR."""
    curve: Curve = []
    for bpp, psnr in sorted(points):
        if not curve or psnr > curve[-1][1]:
            if curve and bpp == curve[-1][0]:
                curve.pop()
            curve.append((bpp, psnr))
    return curve


def bd_rate(curve: Curve, reference: Curve) -> float | None:
    """Mean difference of bytes at equal PSNR, as a share of the reference's; None without a common range."""
    if min(len(curve), len(reference)) < FEW_POINTS:
        return None
    low = max(curve[0][1], reference[0][1])
    high = min(curve[-1][1], reference[-1][1])
    if high <= low:
        return None
    means = [PchipInterpolator(*_columns(c, by=1)).integrate(low, high) / (high - low) for c in (curve, reference)]
    return math.exp(means[0] - means[1]) - 1.0


def psnr_at(curve: Curve, bpp: float) -> float | None:
    """PSNR on the curve; None outside."""
    if len(curve) < FEW_POINTS or not curve[0][0] <= bpp <= curve[-1][0]:
        return None
    return float(PchipInterpolator(*_columns(curve, by=0))(math.log(bpp)))


def bpp_at(curve: Curve, psnr: float) -> float | None:
    """Bits per pixel on the curve; None outside."""
    if len(curve) < FEW_POINTS or not curve[0][1] <= psnr <= curve[-1][1]:
        return None
    return math.exp(float(PchipInterpolator(*_columns(curve, by=1))(psnr)))


def _columns(curve: Curve, *, by: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(abscissa, ordinate); log(bpp) stands for bpp; ``by`` is the column that is the abscissa."""
    table = np.array(curve)
    table[:, 0] = np.log(table[:, 0])
    return table[:, by], table[:, 1 - by]


Curves = dict[str, dict[str, Curve]]
"""{codec: {image: curve}} of one place."""


def curves_of(points: Sequence[Point], place: str) -> Curves:
    """All curves of a place."""
    groups: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        if point.place == place:
            groups[point.codec, point.image].append(point)
    curves: Curves = defaultdict(dict)
    for (codec, image), group in groups.items():
        curves[codec][image] = curve_of(group)
    return curves


# --- output ----------------------------------------------------------------------------------------------------------


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f} %"


def _mean_percent(values: Sequence[float | None]) -> str:
    """Mean of those that are known, and how many they are where not all."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    return _percent(sum(known) / len(known)) + (f" ({len(known)} of {len(values)})" if len(known) < len(values) else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows), ""]


def write_csv(points: Sequence[Point], path: Path) -> None:
    """All points."""
    names = [field.name for field in fields(Point)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for point in points:
            values = asdict(point)
            writer.writerow(f"{v:.6g}" if isinstance(v := values[n], float) else "" if v is None else v for n in names)


def bd_table(curves: Curves) -> list[str]:
    """BD-rates: against JPEG for every picture, against the others on average."""
    images = sorted({image for by_image in curves.values() for image in by_image})
    references = [name for name in REFERENCES if name in curves]
    head = ["codec", *(f"{image}, JPEG" for image in images), *(f"mean, {name}" for name in references)]
    rows = []
    for codec, by_image in curves.items():

        def rate(reference: str, image: str, by_image: dict[str, Curve] = by_image) -> float | None:
            return bd_rate(by_image.get(image, []), curves[reference].get(image, []))

        if codec == JPEG:
            continue
        means = ["" if name == codec else _mean_percent([rate(name, image) for image in images]) for name in references]
        rows.append([codec, *(_percent(rate(JPEG, image)) for image in images), *means])
    return _table(head, rows)


def claim_table(curves: Curves) -> list[str]:
    """PSNR at one rate, and the distance from JPEG."""
    images = sorted({image for by_image in curves.values() for image in by_image})
    rows = []
    for codec, by_image in curves.items():
        cells = []
        for image in images:
            psnr = psnr_at(by_image.get(image, []), CLAIM_BPP)
            jpeg = psnr_at(curves[JPEG].get(image, []), CLAIM_BPP)
            gain = f" ({psnr - jpeg:+.2f})" if psnr is not None and jpeg is not None else ""
            cells.append(_cell(psnr, ".2f") + gain)
        rows.append([codec, *cells])
    return _table(["codec", *images], rows)


def crop_table(curves: Curves) -> list[str]:
    """Bytes at the PSNR of Cool-chic."""
    rows = []
    for image, (n_bytes, psnr) in COOL_CHIC_CROPS.items():
        for codec, by_image in curves.items():
            bpp = bpp_at(by_image.get(image, []), psnr)
            if bpp is not None:
                found = bpp * 192 * 128 / 8
                rows.append([image, f"{psnr:.2f}", f"{n_bytes}", codec, f"{found:.0f}", _percent(found / n_bytes - 1)])
    return _table(["picture", "PSNR", "Cool-chic 5, bytes", "codec", "bytes at that PSNR", "difference"], rows)


def points_table(points: Sequence[Point]) -> list[str]:
    """Our files."""
    head = ["picture", "preset", "lambda or bpp", "bytes", "bpp", "PSNR", "encode s", "CPU s", "decode s", "here"]
    rows = []
    for p in points:
        if p.weights_sha256:
            seconds = (p.encode_seconds, ".0f"), (p.encode_cpu_seconds, ".0f"), (p.decode_seconds, ".2f")
            cells = [_cell(value, form) for value, form in (*seconds, (p.here_decode_seconds, ".2f"))]
            rows.append([p.image, p.codec, p.setting, f"{p.bytes}", f"{p.bpp:.4f}", f"{p.psnr:.2f}", *cells])
    return _table(head, rows)


def time_table(points: Sequence[Point]) -> list[str]:
    """Seconds of every codec and machine, least and most."""
    groups: dict[tuple[str, str, str], list[Point]] = defaultdict(list)
    for p in points:
        if p.encode_seconds is not None:
            steps = "" if not p.weights_sha256 else "preset's" if p.n_steps is None else f"{p.n_steps}"
            beside = f", {p.n_processes} jobs at once" if p.n_processes > 1 else ""
            groups[p.codec, steps, p.machine + beside].append(p)

    def span(group: list[Point], name: str) -> str:
        values = [value for p in group if (value := getattr(p, name)) is not None]
        return f"{min(values):.3g} to {max(values):.3g}" if values else ""

    rows = [[*key, *(span(group, name) for name in SECONDS)] for key, group in groups.items()]
    return _table(["codec", "steps", "encoded on", "encode s", "CPU s", "decode s there", "decode s here"], rows)


def peers_table(anchors: Path) -> list[str]:
    """Published means over all 24 pictures; [] without the file."""
    path = anchors / "kodak_bdrate_computed.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        rows = {row["codec"]: row for row in csv.DictReader(file)}
    cells = [[name, f"{rows[name]['bdrate_vs_jpeg_pct']} %", rows[name]["psnr_at_0.3bpp"]] for name in PEERS]
    text = "Means over all 24 pictures from the peers' own tables, against the JPEG of one of them:"
    return [text, *_table(["codec", "BD-rate", "PSNR at 0.3 bpp"], cells)]


PLACES: dict[str, tuple[str, Callable[[Curves], list[str]], str]] = {
    "full": ("Full pictures", claim_table, f"PSNR at {CLAIM_BPP} bits per pixel, and in brackets the gain over JPEG:"),
    "crop": ("Crops, the centre 192 x 128", crop_table, "At the PSNR of Cool-chic 5.0.1 after 2000 iterations:"),
}


def markdown(points: Sequence[Point], anchors: Path, name: str, errors: Sequence[Record]) -> str:
    """The whole report."""
    lines = [
        "<!-- made by bench/image_report.py -->",
        "# Rate and distortion of pictures",
        "",
        f"Made by `python -m bench.images report DIR --name {name}` on {machine_name('cpu')}.",
        f"Bytes are whole files; PSNR is that of 8-bit pictures, all samples. Points: [{name}.csv]({name}.csv).",
        "BD-rate: mean difference of bytes at equal PSNR; means are those of the pictures' BD-rates. JPEG: 4:4:4 or",
        "4:2:0, whichever is better at a rate, progressive, optimised. WebP: method 6. AVIF: 4:4:4 or 4:2:0 likewise,",
        "speed 4, tuned for PSNR. JPEG 2000: 9/7 wavelet, one layer, bare codestream. `here`: seconds of the decoder",
        "that gave the PSNR, with the start of its process.",
    ]
    for place, (title, second, caption) in PLACES.items():
        curves = curves_of(points, place)
        if not curves:
            continue
        lines += ["", f"## {title}", "", f"![{title}]({name}-{place}.png)", "", "BD-rates:", *bd_table(curves)]
        lines += [caption, *second(curves)]
        lines += peers_table(anchors) if place == "full" else []
        lines += ["Our files:", *points_table([point for point in points if point.place == place])]
        lines += ["Seconds, least to most:", *time_table([point for point in points if point.place == place])]
    lines += [f"- failed: {record['name']}: {record['error']}" for record in errors]
    return "\n".join(lines).rstrip() + "\n"


def plot(curves: Curves, path: Path) -> None:
    """One panel a picture."""
    images = sorted({image for by_image in curves.values() for image in by_image})
    figure, panels = plt.subplots(1, len(images), figsize=(5.5 * len(images), 5.5), squeeze=False, layout="constrained")
    for panel, image in zip(panels[0], images, strict=True):
        _panel(panel, curves, image)
    panels[0][0].set_ylabel("PSNR, dB")
    named = {label: line for panel in panels[0] for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=2 + len(images))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(panel: Axes, curves: Curves, image: str) -> None:
    ours = [by_image[image] for codec, by_image in curves.items() if image in by_image and codec not in CLASSIC_STYLES]
    low, high = (pick(bpp for curve in ours for bpp, _ in curve) for pick in (min, max))
    bottom, top = (pick(psnr for curve in ours for _, psnr in curve) for pick in (min, max))
    colors = {codec: f"C{i}" for i, codec in enumerate(codec for codec in curves if codec not in CLASSIC_STYLES)}
    for codec, by_image in curves.items():
        if by_image.get(image):
            style = CLASSIC_STYLES.get(codec, {"color": colors.get(codec), "marker": "o", "linewidth": 1.8})
            panel.plot(*zip(*by_image[image], strict=True), label=codec, markersize=4, **style)
    panel.set_xscale("log")
    panel.set_xlim(low / 1.5, high * 1.5)
    panel.set_ylim(bottom - 4, top + 2)
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    panel.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlabel("bits per pixel")
    panel.set_title(image)
    panel.grid(visible=True, which="both", alpha=0.25)


CLASSIC_STYLES: dict[str, Options] = {
    JPEG: {"color": "0.2", "linestyle": "--"},
    JPEG_2000: {"color": "0.45", "linestyle": "-."},
    WEBP: {"color": "0.6", "linestyle": "--"},
    AVIF: {"color": "0.6", "linestyle": ":"},
    COOL_CHIC: {"color": "black", "marker": "x"},
}


def write_report(encoded: Sequence[Path], data: Path, anchors: Path, decoder: str, name: str) -> None:
    """Decode, measure, write ``bench/results/NAME.csv``, ``.md`` and one plot a place.

    Args:
        encoded: folders, the first of which keeps what the classic codecs gave, and tables of earlier reports; a file
            that is in both is decoded again.
        data, anchors: folders of pictures and of other codecs' figures.
        decoder: command that decodes a file.
        name: of the results.
    """
    folders = [path for path in encoded if path.suffix != ".csv"]
    kept = [point for path in encoded if path.suffix == ".csv" for point in kept_points(path)]
    records = {record["name"]: (folder, record) for folder in folders for record in read_jobs(folder)}
    errors = [record for _, record in records.values() if "error" in record]
    good = [(folder, record) for folder, record in records.values() if "error" not in record]
    made = [our_point(record, folder, data, decoder) for folder, record in good]
    again = {(point.image, point.weights_sha256) for point in made}
    ours = [point for point in kept if point.weights_sha256 and (point.image, point.weights_sha256) not in again]
    ours += made
    ours.sort(key=lambda point: (point.codec, point.image, -point.bpp))
    pictures = sorted({(point.place, point.image) for point in ours})
    images = [image for place, image in pictures if place == "full"]
    classic = [point for point in kept if not point.weights_sha256]
    known = {(point.place, point.image) for point in classic}
    classic += all_classic(folders[0], data, [place for place in pictures if place not in known]) if folders else []
    points = [*classic, *cool_chic_points(anchors, images), *ours]
    write_csv(points, RESULTS / f"{name}.csv")
    (RESULTS / f"{name}.md").write_text(markdown(points, anchors, name, errors), encoding="utf-8")
    for place in PLACES:
        curves = curves_of(points, place)
        if curves:
            plot(curves, RESULTS / f"{name}-{place}.png")
