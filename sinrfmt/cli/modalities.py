"""The table of all modalities of the command line: which handler an input, or a file's HEAD, belongs to."""

from pathlib import Path

from sinrfmt.cli import audio, fields, images, radiance, shapes, video
from sinrfmt.cli.handlers import Handler, Plan, Writer, scaled
from sinrfmt.cli.options import sizes_of
from sinrfmt.cli.parts import region_of
from sinrfmt.cli.requests import COMMON_ENCODE, DecodeRequest, EncodeRequest, check_options, flag
from sinrfmt.cli.writers import WRITERS
from sinrfmt.faults import error
from sinrfmt.head import Header
from sinrfmt.media.arrays import read_array
from sinrfmt.region import RegionOf
from sinrfmt.registry import Modality

HANDLERS: tuple[Handler, ...] = (
    radiance.HANDLER,
    audio.HANDLER,
    video.HANDLER,
    fields.HANDLER,
    shapes.SDF,
    shapes.OCCUPANCY,
    images.HANDLER,
)
"""In the order in which an input is shown to them."""
DEFAULT = images.HANDLER
"""Of an input that none of them knows: Pillow reads many kinds of file, and says so of the others."""

WHERE = ("size", "scale", "coords")
"""Options of which one at most says where the values are wanted; a region excludes them all."""


def handler_of_input(source: Path, name: str | None = None) -> Handler:
    """Who encodes an input: the handler of that name; else of the input's suffix, names or shape.

    Raises:
        UsageError: there is no handler of that name; or a folder that is no handler's.
    """
    if name is not None:
        return _handler_named(name)
    for handler in HANDLERS:
        if handler.takes(source):
            return handler
    suffix = source.suffix.lower()
    for handler in HANDLERS:
        if suffix in handler.suffixes:
            return handler
    if source.is_dir():
        raise error("USAGE", f"{source}: a folder of no kind that is known; --modality says which it is")
    return DEFAULT


def _handler_named(name: str) -> Handler:
    for handler in HANDLERS:
        if handler.name == name:
            return handler
    raise error("USAGE", f"--modality {name}: expected one of {', '.join(handler.name for handler in HANDLERS)}")


def check_encode(handler: Handler, request: EncodeRequest) -> None:
    """
    Raises:
        UsageError: an option that is not one of this modality.
    """
    check_options(request.given, COMMON_ENCODE | handler.options, f"--modality {handler.name}")


def handler_of_header(header: Header) -> Handler | None:
    """Whose writers a file is for; None where no handler is for its modality."""
    return next((handler for handler in HANDLERS if header.modality in handler.modalities), None)


def writer_of(header: Header, output: Path) -> Writer:
    """How an output of this name is written.

    Raises:
        UsageError: it is not for this modality.
    """
    own = handler_of_header(header)
    writers = {**WRITERS, **({} if own is None else own.writers)}
    if output.suffix.lower() not in writers:
        known = " or ".join("a folder" if suffix == "" else suffix for suffix in sorted(writers, key=_last_if_empty))
        raise error("USAGE", f"{output}: {_named(header.modality)} is written as {known}")
    return writers[output.suffix.lower()]


def shown_as(header: Header) -> tuple[str, Writer]:
    """How ``view`` writes a file: suffix and writer.

    Raises:
        UsageError: its modality has no such writer.
    """
    own = handler_of_header(header)
    suffix, writer = DEFAULT.shown if own is None else own.shown
    return suffix, writer_of(header, Path(f"view{suffix}")) if writer is None else writer


def _last_if_empty(suffix: str) -> tuple[bool, str]:
    return suffix == "", suffix


def _named(modality: Modality) -> str:
    return f"a file of modality {modality.name}"


def check_unread(request: DecodeRequest) -> None:
    """What can be said of a request before the file is read.

    Raises:
        UsageError: options that exclude each other, or a size that is none.
    """
    sizes_of(request.size)
    where = [name for name in WHERE if name in request.given]
    if len(where) > 1:
        raise error("USAGE", f"{' and '.join(map(flag, where))} exclude each other")
    if (request.region or request.frames) and (where or request.partial or request.base is not None):
        raise error("USAGE", "--region and --frames go with --passes only")
    if (request.region or request.frames) and (request.preview is not None or request.step is not None):
        raise error("USAGE", "--preview and --step go without --region and --frames")


def check_decode(header: Header, writer: Writer, request: DecodeRequest, output: Path) -> None:
    """
    Raises:
        UsageError: an option that the writer does not take.
    """
    check_options(request.given, writer.options, output.suffix or "a folder")
    writer.check(header, request)


def plan_of(header: Header, writer: Writer, request: DecodeRequest) -> Plan:
    """Where the values are wanted, checked against HEAD before any weight is decoded (DEC-3, DEC-4).

    Raises:
        UsageError: it does not fit.
    """
    if writer.draws:
        return Plan()
    if request.region is not None or request.frames is not None:
        return Plan(ranges=_checked(region_of(request.region, request.frames), header))
    in_dims = header.network.in_dims
    if request.coords is not None:
        coords = read_array(request.coords)
        if coords.ndim != 2 or coords.shape[1] != in_dims:
            raise error("USAGE", f"--coords is {coords.shape}, expected (n, {in_dims}): the field has {in_dims} axes")
        return Plan(coords=coords.astype("float32"))
    sizes = sizes_of(request.size)
    if sizes is not None and len(sizes) == 1 and writer.is_cubic:
        sizes *= in_dims
    if sizes is not None and len(sizes) != in_dims:
        raise error("USAGE", f"--size has {len(sizes)} entries, the field has {in_dims} axes")
    if not header.grid and (request.scale is not None or (sizes is None and writer.needs_grid)):
        raise error("USAGE", "this field has no native grid: give --size or --coords")
    if request.scale is not None:
        own = handler_of_header(header)
        return Plan(size=scaled(header.grid, request.scale, 0 if own is None else own.fixed_axes))
    return Plan(size=sizes)


def _checked(ranges: RegionOf, header: Header) -> RegionOf:
    ranges(header)
    return ranges
