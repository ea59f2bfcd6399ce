"""A clip as latents beside pictures and video codecs: bytes and quality, in one run.

Run from the root of the repository:

    python -m bench.modalities.video DATA [--out DIR] [--frames N] [--visits N] [--only NAME]

DATA has ``video/bbb_320x180``. Our files stay in DIR and are not made again, so that a run that was cut short goes on;
other codecs run every time. Writes ``bench/results/modalities-video.md``, ``.csv`` and ``.png``, and
``modalities-video-frame.png``: a frame by each codec at about equal bytes.

Quality is PSNR over all samples of 8-bit RGB. A video codec's bytes are those of an MP4 file, AVIF's those of one file
for each frame. Our seconds are those of the processor.
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
from sinrfmt.media.video import Frames, read_clip
from sinrfmt.region import FileSource, read_region
from sinrfmt.torch.grid_files import sample_psnr
from sinrfmt.torch.point_files import encode_signal_grid, point_preset_of
from sinrfmt.torch.video import VideoPreset, clip_signal, encode_video, video_preset_of

mpl.use("Agg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).parents[1] / "results"
CLIP = Path("video") / "bbb_320x180"
RATE = 24
AVIF_QUALITIES = (8, 20, 40, 60)
VIDEO_CODECS = {"libx265": "hevc", "libx264": "h264"}
RATE_FACTORS = (22, 26, 30, 34, 38)
SHOWN = 12
"""Frame of the picture."""
LABELS = {"libx265": "x265, slow", "libx264": "x264, slow", "avif": "AVIF, frame by frame"}


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
    """One file of ours. ``steps`` is for the published hashed grid."""

    codec: str
    rate_weight: float
    group: int | None = None
    preset: str = "fast"
    steps: int | None = None

    def name(self, n_frames: int, n_visits: int) -> str:
        group = "all" if self.group is None else self.group
        return f"{self.preset}-{group}-{self.rate_weight:g}-{n_frames}-{self.steps or n_visits}"


JOBS = (
    Job("grid", 3e-3),
    Job("grid", 1e-2),
    Job("grid, groups of 8", 3e-3, 8),
    Job("pictures", 3e-3, 1),
    Job("hashed grid as published", 1e-4, None, "shacira", 1200),
)


def psnr_of(frames: Frames, decoded: Frames) -> float:
    """In dB."""
    return float(10 * np.log10(255**2 / np.mean((frames.astype(np.float64) - decoded) ** 2)))


# --- ours -------------------------------------------------------------------------------------------------------------


def our_point(job: Job, frames: Frames, out: Path, n_visits: int) -> tuple[Point, Frames]:
    """The file of a job, made if need be, and what it decodes to."""
    path = out / f"{job.name(len(frames), n_visits)}.sinr"
    times = path.with_suffix(".json")
    if not path.exists():
        started = time.process_time()
        data = _encode(job, frames, n_visits)
        times.write_text(json.dumps(time.process_time() - started))
        path.write_bytes(data)
    field = sinrfmt.load(path)
    values = field.grid()
    psnr = sample_psnr(frames.reshape(-1, 1, 3), values)
    frame_bytes = 0
    if field.header.parts is not None:
        with path.open("rb") as file:
            source = FileSource(file)
            at = min(SHOWN, len(frames) - 1)
            read_region(source, lambda header: [(at, at + 1), *((0, n) for n in header.grid[1:])])
            frame_bytes = source.n_fetched
    point = Point(job.codec, f"{job.rate_weight:g}", len(field.data), psnr, json.loads(times.read_text()), frame_bytes)
    return point, np.floor(255 * np.clip(values, 0, 1) + 0.5).astype(np.uint8)


def _encode(job: Job, frames: Frames, n_visits: int) -> bytes:
    if job.steps is not None:
        recipe = replace(point_preset_of("video"), n_steps=job.steps, rate_weight=job.rate_weight)
        return encode_signal_grid(clip_signal(frames), recipe).field.data
    preset: VideoPreset = replace(video_preset_of(job.preset), n_visits=n_visits, rate_weight=job.rate_weight)
    return encode_video(frames, group=job.group, preset=preset).field.data


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

    options = {"crf": str(factor), "preset": "slow"}
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
        Image.fromarray(frame).save(file, "AVIF", quality=quality, speed=4, subsampling="4:4:4")
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


def write_report(points: Sequence[Point], frames: Frames, decoded: dict[Point, Frames], n_visits: int) -> None:
    """All files of the report."""
    n_frames, rows, columns = frames.shape[:3]
    head = (
        f"# Video\n\nBy `python -m bench.modalities.video` on {machine_name('cpu')}, torch {torch.__version__}, one "
        f"thread: {n_frames} frames of {columns} x {rows}, Big Buck Bunny. Grids see every frame {n_visits} times; "
        f"preset `balanced` sees them {video_preset_of('balanced').n_visits} times.\n\n"
    )
    pictures = "\n\n![quality over bytes](modalities-video.png)\n\n![a frame](modalities-video-frame.png)\n"
    (RESULTS / "modalities-video.md").write_text(head + table(points) + pictures, encoding="utf-8")
    with (RESULTS / "modalities-video.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            asdict(point) | {"psnr": round(point.psnr, 3), "seconds": round(point.seconds)} for point in points
        )
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
    parser.add_argument("--frames", type=int)
    parser.add_argument("--visits", type=int, default=video_preset_of("fast").n_visits)
    parser.add_argument("--only", help="make the files of one codec and write no report")
    options = parser.parse_args()
    torch.set_num_threads(1)
    frames = read_clip(options.data / CLIP).frames[: options.frames]
    options.out.mkdir(parents=True, exist_ok=True)
    decoded: dict[Point, Frames] = {}
    for job in JOBS:
        if options.only in (None, job.codec):
            point, values = our_point(job, frames, options.out, options.visits)
            print(point, flush=True)
            decoded[point] = values
    if options.only is None:
        decoded |= dict(other_points(frames))
        write_report(list(decoded), frames, decoded, options.visits)


if __name__ == "__main__":
    main()
