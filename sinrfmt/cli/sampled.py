"""What the handlers of sampled signals have in common: options, fitting, figures, and samples from decoded values."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinrfmt import metrics, report
from sinrfmt.cli.handlers import Decoding, Encoded, held_by
from sinrfmt.cli.options import PicturePreset, torch_api
from sinrfmt.cli.progress import OnProgress
from sinrfmt.cli.requests import EncodeRequest
from sinrfmt.faults import error
from sinrfmt.pictures import FieldKind
from sinrfmt.quantity import quantity_from

PRESETS = (PicturePreset.FAST, PicturePreset.BALANCED, PicturePreset.BEST)


def check_request(request: EncodeRequest) -> None:
    """
    Raises:
        UsageError: options that do not go together.
    """
    if sum(target is not None for target in (request.n_bytes, request.psnr, request.rate_weight)) > 1:
        raise error("USAGE", "--bytes, --psnr and --rate-weight exclude each other")
    if request.rate_weight is not None and request.field is FieldKind.MLP:
        raise error("USAGE", "--rate-weight goes with --field grid")
    if request.preset not in (None, *PRESETS):
        raise error("USAGE", f"--preset {request.preset} is for pictures: expected fast, balanced or best")


def encode_signal(
    signal: Any,
    request: EncodeRequest,
    units: str,
    on_progress: OnProgress | None,
    present: NDArray[np.bool_] | None = None,
) -> Encoded:
    """Fit a :class:`sinrfmt.torch.Signal`, and say how far the decoded samples are from it.

    Args:
        signal: what to fit.
        request: the options.
        units: of the samples.
        on_progress: called with (stage, done, in all, PSNR in dB).
        present: bool, as many as samples: those that figures are over; None for all.

    Raises:
        UsageError: the target cannot be reached.
    """
    preset = (request.preset or PicturePreset.BALANCED).value
    made = torch_api().encode_sampled(
        signal,
        field=request.field,
        preset=preset,
        max_bytes=request.n_bytes,
        min_psnr=request.psnr,
        rate_weight=request.rate_weight,
        seed=request.seed,
        device=request.device.value,
        on_progress=on_progress,
    )
    found = made.encoding.field
    shape = signal.samples.shape
    counted = np.ones(shape, dtype=np.bool_) if present is None else present.reshape(shape)
    decoded = signal.decoded(found.grid().reshape(shape))[counted]
    samples = signal.samples[counted]
    summary = report.summary(found) | {
        "psnr": _rounded(metrics.psnr(samples, decoded, signal.peak)),
        "snr": _rounded(metrics.snr(samples, decoded)),
        "max_error": metrics.max_error(samples, decoded),
        "peak": signal.peak,
        "units": units,
        "fp32_psnr": _rounded(made.encoding.float_psnr),
        "bits_per_sample": round(metrics.bits_per_sample(len(found.data), signal.grid), 5),
        "field": made.field.value,
        "reason": made.reason,
        "preset": preset,
    }
    return Encoded(found.data, summary, _line(summary), made.encoding.float_arrays)


def _rounded(decibels: float) -> float | None:
    """For JSON, which has no infinity: None where samples are equal, or all zero."""
    return round(decibels, 4) if math.isfinite(decibels) else None


def _line(summary: dict[str, Any]) -> str:
    unit = f" {summary['units']}" if summary["units"] else ""
    return (
        f"{summary['file_bytes']} bytes, {summary['bits_per_sample']:.3f} bits/sample, {_decibels(summary['psnr'])} of "
        f"peak {summary['peak']:g}, SNR {_decibels(summary['snr'])}, largest error {summary['max_error']:.4g}{unit}, "
        f"{held_by(summary)}"
    )


def _decibels(number: float | None) -> str:
    return "no error" if number is None else f"{number:.2f} dB"


def decoded_samples(decoding: Decoding) -> NDArray[Any]:
    """Values in the range and type that META says; where it says none, the values themselves."""
    quantity = quantity_from(decoding.meta)
    values: NDArray[np.float32] = decoding.values
    return values if quantity is None else quantity.samples(values, decoding.header.values)
