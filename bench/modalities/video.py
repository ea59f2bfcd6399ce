"""A clip as latents beside pictures and video codecs: bytes and quality, in one run.

Run from the root of the repository:

    python -m bench.modalities.video DATA [--out DIR] [--visits N] [--only NAME]

DATA has ``video/bbb_320x180``. Our files stay in DIR and are not made again, so that a run that was cut short goes on;
other codecs run every time. Writes ``bench/results/modalities-video.md``, ``.csv`` and ``.png``, and
``modalities-video-frame.png``: a frame by each codec at about equal bytes.

The whole clip is compared with other codecs, as a grid at some lambdas and as a network of some sizes; ways to code a
clip are compared with each other on a part of it. Quality is PSNR over all samples of 8-bit RGB. A video codec's bytes
are those of an MP4 file, AVIF's those of one file for each frame. Our seconds are those of the processor.
"""

import argparse
import csv
import io
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, features

import sinrfmt
from bench.images import machine_name
from sinrfmt.media.video import Clip, Frames, read_clip
from sinrfmt.region import FileSource, read_region
from sinrfmt.torch.point_files import point_preset_of
from sinrfmt.torch.point_recipes import PointPreset
from sinrfmt.torch.presets import Preset, preset_of
from sinrfmt.torch.video import VIDEO_PRESETS, VideoPreset, encode_video

mpl.use("Agg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).parents[1] / "results"
CLIP = Path("video") / "bbb_320x180"
RATE = 24
CROP = (slice(-12, None), slice(40, 130), slice(20, 180))
"""Frames, rows and columns on which ways are compared."""
AVIF_QUALITIES = (10, 25, 45)
VIDEO_CODECS = {"libx265": "hevc", "libx264": "h264"}
RATE_FACTORS = (22, 28, 34, 40)
SHOWN = 12
"""Frame of the picture."""
LABELS = {"libx265": "x265", "libx264": "x264", "avif": "AVIF, frame by frame"}


@dataclass(frozen=True)
class Point:
    """One file, or one set of files of frames.

    Attributes:
        codec: what made it.
        setting: its quality.
        n_bytes: of all files.
        psnr: in dB.
        seconds: of the processor, that encoding took; 0 for other codecs.
        frame_bytes: read for frame 12 alone; 0 where all files, or no one knows.
    """

    codec: str
    setting: str
    n_bytes: int
    psnr: float
    seconds: float = 0.0
    frame_bytes: int = 0


@dataclass(frozen=True)
class Job:
    """One file of ours.

    Attributes:
        codec: as tables name it.
        preset: the recipe; ``n_visits`` is of the command line.
        group: frames of a part.
        is_cropped: whether it is of the part of the clip on which ways are compared.
        max_bytes: of a network, which has no lambda.
    """

    codec: str
    preset: VideoPreset | PointPreset | Preset
    group: int | None = None
    is_cropped: bool = False
    max_bytes: int | None = None

    @property
    def setting(self) -> str:
        """As tables name it."""
        return f"{self.max_bytes} bytes" if isinstance(self.preset, Preset) else f"{self.preset.rate_weight:g}"

    def name(self, n_visits: int) -> str:
        """Stem of its file."""
        words = f"{self.codec} {self.setting}".replace(" ", "-").replace(",", "")
        return f"{words}-{n_visits}{'-crop' * self.is_cropped}"


FAST = VIDEO_PRESETS["fast"]
NETWORK = preset_of("fast")
HASHED = replace(point_preset_of("video"), n_steps=500)
JOBS = (
    Job("grid", FAST),
    Job("grid", replace(FAST, rate_weight=1e-2)),
    Job("grid", replace(FAST, rate_weight=3e-2)),
    Job("network", NETWORK, max_bytes=4000),
    Job("network", NETWORK, max_bytes=8000),
    Job("network", NETWORK, max_bytes=16_000),
    Job("grid", FAST, is_cropped=True),
    Job("grid, groups of 6", FAST, 6, is_cropped=True),
    Job("pictures", FAST, 1, is_cropped=True),
    Job("hashed grid", HASHED, is_cropped=True),
)


def psnr_of(frames: Frames, decoded: Frames) -> float:
    """In dB."""
    return float(10 * np.log10(255**2 / np.mean((frames.astype(np.float64) - decoded) ** 2)))


# --- ours -------------------------------------------------------------------------------------------------------------


def our_point(job: Job, frames: Frames, out: Path, n_visits: int) -> tuple[Point, Frames]:
    """The file of a job, made if need be, and what it decodes to."""
    path = out / f"{job.name(n_visits)}.sinr"
    times = path.with_suffix(".json")
    if not path.exists():
        preset = job.preset
        if isinstance(preset, VideoPreset):
            preset = replace(preset, n_visits=n_visits)
        started = time.process_time()
        encoding = encode_video(Clip(frames), group=job.group, preset=preset, max_bytes=job.max_bytes)
        times.write_text(json.dumps(time.process_time() - started))
        path.write_bytes(encoding.field.data)
    field = sinrfmt.load(path)
    decoded = field.to_uint8()
    frame_bytes = 0 if field.header.parts is None else _bytes_of_a_frame(path, min(SHOWN, len(frames) - 1))
    seconds = json.loads(times.read_text())
    return Point(job.codec, job.setting, len(field.data), psnr_of(frames, decoded), seconds, frame_bytes), decoded


def _bytes_of_a_frame(path: Path, frame: int) -> int:
    with path.open("rb") as file:
        source = FileSource(file)
        read_region(source, lambda header: [(frame, frame + 1), *((0, n) for n in header.grid[1:])])
        return source.n_fetched


# --- other codecs -----------------------------------------------------------------------------------------------------


def other_points(frames: Frames) -> Iterator[tuple[Point, Frames]]:
    """Of the codecs that this machine's Pillow and PyAV have."""
    import av

    for codec, container_format in VIDEO_CODECS.items():
        if codec not in av.codecs_available:
            print(f"{codec}: not in this build of PyAV")
            continue
        for factor in RATE_FACTORS:
            n_bytes, decoded = _as_video(frames, codec, container_format, factor)
            yield Point(LABELS[codec], f"crf {factor}", n_bytes, psnr_of(frames, decoded)), decoded
    if not features.check("avif"):
        print("AVIF: not in this build of Pillow")
        return
    for quality in AVIF_QUALITIES:
        n_bytes, decoded = _as_avif(frames, quality)
        yield Point(LABELS["avif"], f"quality {quality}", n_bytes, psnr_of(frames, decoded)), decoded


def _as_video(frames: Frames, codec: str, container_format: str, factor: int) -> tuple[int, Frames]:
    import av

    options = {"crf": str(factor), "preset": "medium"}
    if codec == "libx265":
        options["x265-params"] = "log-level=none:info=0:pools=1:frame-threads=1"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=RATE, options=options)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv444p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        return path.stat().st_size, read_clip(path).frames


def _as_avif(frames: Frames, quality: int) -> tuple[int, Frames]:
    n_bytes, decoded = 0, []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "AVIF", quality=quality, speed=6, subsampling="4:4:4")
        n_bytes += len(file.getvalue())
        decoded.append(np.asarray(Image.open(file).convert("RGB")))
    return n_bytes, np.stack(decoded)


# --- the report -------------------------------------------------------------------------------------------------------


def table(points: Sequence[Point]) -> str:
    """Markdown."""
    lines = [
        "| codec | setting | bytes | PSNR dB | encoding, CPU s | bytes read for one frame |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for point in points:
        seconds = f"{point.seconds:.0f}" if point.seconds else ""
        frame_bytes = str(point.frame_bytes) if point.frame_bytes else ""
        lines.append(
            f"| {point.codec} | {point.setting} | {point.n_bytes} | {point.psnr:.2f} | {seconds} | {frame_bytes} |"
        )
    return "\n".join(lines)


def nearest(points: Sequence[Point], codec: str, n_bytes: int) -> Point | None:
    """The file of a codec whose size is nearest in proportion."""
    found = [point for point in points if point.codec == codec]
    return min(found, key=lambda point: abs(np.log(point.n_bytes / n_bytes)), default=None)


def draw_curves(points: Sequence[Point], path: Path) -> None:
    """Quality over bytes."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for codec in dict.fromkeys(point.codec for point in points):
        chosen = sorted((point.n_bytes, point.psnr) for point in points if point.codec == codec)
        axes.plot(*zip(*chosen, strict=True), marker="o", label=codec)
    axes.set_xscale("log")
    axes.set_xlabel("bytes of the clip")
    axes.set_ylabel("PSNR, dB")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_frame(shown: Sequence[tuple[str, Any]], path: Path) -> None:
    """One frame by several codecs."""
    n_columns = 2
    n_rows = -(-len(shown) // n_columns)
    figure, all_axes = plt.subplots(n_rows, n_columns, figsize=(8, 2.55 * n_rows), layout="constrained", squeeze=False)
    for axes in all_axes.flat:
        axes.axis("off")
    for axes, (title, picture) in zip(all_axes.flat, shown, strict=False):
        axes.imshow(picture)
        axes.set_title(title, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write_report(
    points: Sequence[Point], ways: Sequence[Point], frames: Frames, decoded: dict[Point, Frames], n_visits: int
) -> None:
    """All files of the report."""
    n_frames, rows, columns = frames.shape[:3]
    cut = frames[CROP].shape
    text = (
        f"# Video\n\nBy `python -m bench.modalities.video` on {machine_name('cpu')}, torch {torch.__version__}, one "
        f"thread: {n_frames} frames of {columns} x {rows}, Big Buck Bunny. Grids see every frame {n_visits} times; "
        f"preset `balanced` sees them {VIDEO_PRESETS['balanced'].n_visits} times.\n\n{table(points)}\n\n"
        f"![quality over bytes](modalities-video.png)\n\n![a frame](modalities-video-frame.png)\n\n"
        f"## Ways to code a clip\n\nThe last {cut[0]} frames, {cut[2]} x {cut[1]} samples of each around what moves. "
        f"The hashed grid is SHACIRA's, with {HASHED.n_steps} steps.\n\n{table(ways)}\n"
    )
    (RESULTS / "modalities-video.md").write_text(text, encoding="utf-8")
    with (RESULTS / "modalities-video.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["clip", *(field.name for field in fields(Point))], lineterminator="\n")
        writer.writeheader()
        for clip, rows_of in (("whole", points), ("crop", ways)):
            for point in rows_of:
                row = asdict(point) | {"psnr": round(point.psnr, 3), "seconds": round(point.seconds)}
                writer.writerow({"clip": clip} | row)
    draw_curves(points, RESULTS / "modalities-video.png")
    first = points[0]
    chosen = [first, *(nearest(points, label, first.n_bytes) for label in LABELS.values())]
    at = min(SHOWN, n_frames - 1)
    shown = [(f"{p.codec}: {p.n_bytes} bytes, {p.psnr:.2f} dB", decoded[p][at]) for p in chosen if p is not None]
    draw_frame([("frame as it came", frames[at]), *shown], RESULTS / "modalities-video-frame.png")


def main() -> None:
    parser = argparse.ArgumentParser(description="A clip beside other codecs.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out") / "video")
    parser.add_argument("--visits", type=int, default=FAST.n_visits)
    parser.add_argument("--only", help="make the files of this name and write no report")
    options = parser.parse_args()
    torch.set_num_threads(1)
    frames = read_clip(options.data / CLIP).frames
    options.out.mkdir(parents=True, exist_ok=True)
    decoded: dict[Point, Frames] = {}
    ways: list[Point] = []
    for job in JOBS:
        if options.only not in (None, job.name(options.visits)):
            continue
        point, values = our_point(job, frames[CROP] if job.is_cropped else frames, options.out, options.visits)
        print(point, flush=True)
        if job.is_cropped:
            ways.append(point)
        else:
            decoded[point] = values
    if options.only is None:
        decoded |= dict(other_points(frames))
        write_report(list(decoded), ways, frames, decoded, options.visits)


if __name__ == "__main__":
    main()
