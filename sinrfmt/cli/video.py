"""Clips on the command line: a folder of frames or a video file in, frames or a video file out."""

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from sinrfmt import evaluate, metrics, report
from sinrfmt.cli.batch import engine
from sinrfmt.cli.handlers import Decoding, Encoded, Handler, Writer, held_by
from sinrfmt.cli.options import torch_api
from sinrfmt.cli.progress import OnProgress
from sinrfmt.cli.requests import DecodeRequest, EncodeRequest
from sinrfmt.cli.sampled import PRESETS, check_request
from sinrfmt.faults import error
from sinrfmt.head import Header
from sinrfmt.media import video
from sinrfmt.pictures import FieldKind
from sinrfmt.registry import Modality, Values

SUFFIXES = frozenset(video.VIDEO_SUFFIXES) - {".gif"}
"""A GIF is a picture unless --modality says video."""
GRID_BYTES = 10_000
"""Size of a file from which on ``auto`` takes a grid (docs/video.md)."""


def encode(source: Path, request: EncodeRequest, on_progress: OnProgress | None) -> Encoded:
    """Fit a clip."""
    if request.workers is not None and request.group is None:
        raise error("USAGE", "--workers goes with --group")
    library = torch_api()
    name = "balanced" if request.preset is None else request.preset.value
    field, reason = request.field_by_size(GRID_BYTES, needs_grid=not _suits_network(request))
    preset = _network_preset(name, request) if field is FieldKind.MLP else _grid_preset(name, request)
    clip = video.read_clip(source)
    with _executor(request) as executor:
        encoding = library.encode_video(
            clip,
            group=request.group,
            preset=preset,
            max_bytes=request.n_bytes,
            min_psnr=request.psnr,
            executor=executor,
            seed=request.seed,
            device=request.device.value,
            on_progress=on_progress,
        )
    parts = encoding.field.header.parts
    summary = report.summary(encoding.field) | {
        "psnr": round(encoding.psnr, 4),
        "fp32_psnr": round(encoding.float_psnr, 4),
        "bpp": round(metrics.bits_per_sample(len(encoding.field.data), clip.frames.shape[:3]), 5),
        "n_frames": len(clip.frames),
        "n_groups": 1 if parts is None else parts.count,
        "frame_rate": None if clip.rate is None else str(clip.rate),
        "field": field.value,
        "reason": reason,
        "preset": name,
    }
    return Encoded(encoding.field.data, summary, _line(summary), encoding.float_arrays)


def _suits_network(request: EncodeRequest) -> bool:
    return request.group is None and request.rate_weight is None and request.preset in (None, *PRESETS)


def _grid_preset(name: str, request: EncodeRequest) -> Any:
    if request.keep_network is not None:
        raise error("USAGE", "--keep-network goes with --field mlp")
    preset = torch_api().video_preset_of(name)
    return preset if request.rate_weight is None else replace(preset, rate_weight=request.rate_weight)


def _network_preset(name: str, request: EncodeRequest) -> Any:
    if request.group is not None:
        raise error("USAGE", "--group does not go with --field mlp: a network holds the whole clip")
    check_request(request)
    return torch_api().preset_of(name)


@contextlib.contextmanager
def _executor(request: EncodeRequest) -> Iterator[Executor | None]:
    """Processes for the groups, where they are asked for."""
    if request.workers is None:
        yield None
        return
    with engine(request.workers) as (executor, _):
        yield executor


def _line(summary: Mapping[str, Any]) -> str:
    return (
        f"{summary['file_bytes']} bytes, {summary['bpp']:.3f} bpp, {summary['psnr']:.2f} dB, "
        f"{summary['n_frames']} frames in {summary['n_groups']} part{'s'[: summary['n_groups'] > 1]}, "
        f"{held_by(summary)}"
    )


def _check_frames(header: Header, request: DecodeRequest) -> None:
    network = header.network
    if request.coords is not None:
        raise error("USAGE", "--coords does not go with frames")
    if network.in_dims != 3 or network.out_channels not in (1, 3) or header.values is Values.RAW:
        raise error("USAGE", "only fields of three axes and 1 or 3 channels in [0, 1] or [-1, 1] are frames")


def _write_video(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    samples = evaluate.to_uint8(decoding.header.values, decoding.values)
    rate = video.rate_of(decoding.meta) or video.DEFAULT_RATE
    video.write_clip(path, samples, rate)
    return {"n_frames": len(samples), "frame_rate": str(rate)}


def _write_folder(path: Path, decoding: Decoding) -> Mapping[str, Any]:
    samples = evaluate.to_uint8(decoding.header.values, decoding.values)
    video.write_frames(path, samples)
    return {"n_frames": len(samples)}


HANDLER = Handler(
    "video",
    frozenset({Modality.VIDEO}),
    SUFFIXES,
    encode,
    options=frozenset({"group", "workers", "keep_network"}),
    writers={".mp4": Writer(_write_video, _check_frames), "": Writer(_write_folder, _check_frames)},
    shown=(".mp4", None),
    takes=video.is_folder_of_frames,
    fixed_axes=1,
)
