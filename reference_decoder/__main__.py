"""The command of clause 15: `python -m reference_decoder IN.sinr OUT.{npy,png} [options]`."""

import argparse
import errno
import json
import mmap
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from reference_decoder import DecodeError, Field, check_passes, decode, head_of
from reference_decoder.errors import EXIT_STATUS
from reference_decoder.field import Floats, output_shape
from reference_decoder.head import SHARED_BASE, Head
from reference_decoder.png import COLOUR_TYPE, encode_png

REAL_KINDS = "fiu"  # of NumPy's types: floating-point numbers and integers


class Parser(argparse.ArgumentParser):
    """A parser whose errors are those of the decoder."""

    def error(self, message: str) -> NoReturn:
        raise DecodeError("USAGE", None, message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Decode a file to OUT; one line of JSON on standard output; the exit status.

    §15: "Failure: nothing is written to OUT; one line of JSON on standard output with `code`, `name`, `class`, `offset`
    (null for usage and `LIMIT_CALLER`), and the exit status of the class. Any other exit status is a crash."
    """
    try:
        field = run(parser().parse_args(arguments))
    except DecodeError as error:
        return refuse(error)
    except MemoryError:
        # LIM-3 §14: "A decoder whose machine gives it no memory for a file within all limits MUST answer the same"
        return refuse(DecodeError("LIMIT_CALLER", None, "the machine gives no memory"))
    acc_crc = [f"{crc:08x}" for crc in field.acc_crc]
    print(json.dumps({"weights_sha256": field.weights_sha256, "acc_crc": acc_crc, "passes": field.passes}))
    return 0


def refuse(error: DecodeError) -> int:
    """DEC-2 §15: the line of a failure, and its exit status."""
    print(error, file=sys.stderr)
    print(json.dumps({"code": error.code, "name": error.name, "class": error.class_, "offset": error.offset}))
    return EXIT_STATUS[error.class_]


def parser() -> Parser:
    """§15: "COMMAND IN.sinr OUT.{npy,png} [--coords C.npy] [--size WxH] [--passes N] [--partial] [--base
    BASE.sinr]".
    """
    found = Parser(prog="reference_decoder", description="Decode a SINR file.", allow_abbrev=False)
    found.add_argument("input", metavar="IN.sinr", type=Path)
    found.add_argument("output", metavar="OUT.{npy,png}", type=Path)
    found.add_argument("--coords", metavar="C.npy", type=Path, help="evaluate at these coordinates (n, in_dims)")
    found.add_argument("--size", metavar="WxH", type=read_size, help="output grid, the last axis first")
    found.add_argument("--passes", metavar="N", type=int, help="decode only the first N passes")
    found.add_argument("--partial", action="store_true", help="take the last whole pass of a file that ends early")
    found.add_argument("--base", metavar="BASE.sinr", type=Path, help="the file that the weights are relative to")
    return found


def read_size(text: str) -> tuple[int, ...]:
    """DEC-4 §15: "sizes in the order of the last axis first (so WxH for images, joined by `x`)"; in axis order here."""
    found = tuple(int(part) for part in reversed(text.split("x")))
    # DEC-4 §15: "a size is one positive number for each axis"
    if min(found) < 1:
        raise argparse.ArgumentTypeError("sizes are positive")
    return found


def run(options: argparse.Namespace) -> Field:
    """Decode, evaluate, write."""
    suffix = options.output.suffix
    if suffix not in (".npy", ".png"):
        raise DecodeError("USAGE", None, "the output is an .npy or a .png file")
    # DEC-4 §15: "`--coords` goes neither with `--size` nor with PNG"
    if options.coords and (options.size or suffix == ".png"):
        raise DecodeError("USAGE", None, "coordinates have no size and no picture")
    coords = None if options.coords is None else read_coords(options.coords)
    check_passes(options.passes)
    data, base = read_file(options.input), None
    head = head_of(data)
    check_request(head, suffix, options.size, coords)
    # DEC-6 §15: "It is not read where the file has no SHARED_BASE. A base that cannot be read as a file: `USAGE`."
    if options.base and head.features & SHARED_BASE:
        base = read_file(options.base)
    field = decode(data, passes=options.passes, partial=options.partial, base=base)
    if suffix == ".png":
        content = encode_png(field.samples_8bit(options.size))
        write_file(options.output, lambda file: file.write(content))
    else:
        values = field.grid(options.size) if coords is None else field.sample(coords)
        write_file(options.output, lambda file: np.save(file, values))
    return field


def check_request(head: Head, suffix: str, size: tuple[int, ...] | None, coords: Floats | None) -> None:
    """DEC-4 §15: "before the file is read where the arguments and the array alone say so, else when HEAD is read"."""
    if coords is None:
        output_shape(head, size)
    elif coords.shape[1] != head.in_dims:
        raise DecodeError("USAGE", None, f"the field has {head.in_dims} coordinates")
    # DEC-3 §15: "OUT.png (optional for a decoder) needs in_dims = 2, 1 to 4 channels and values 0 or 1"
    if suffix == ".png" and (head.in_dims != 2 or head.out_channels not in COLOUR_TYPE or head.values not in (0, 1)):
        raise DecodeError("USAGE", None, "the field is not a picture of 8-bit samples")


def read_file(path: Path) -> memoryview:
    """The bytes of a file, mapped: DEC-5 "needs no more of the file", and LIM-2 does not allow a copy in memory."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(file.read())
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from None
        raise DecodeError("USAGE", None, str(error)) from None


def read_coords(path: Path) -> Floats:
    """DEC-3 §15: "an array (n, in_dims) of binary16, 32 or 64 or of integers of 8 to 64 bits"."""
    try:
        # mapped: a header that promises more than the file has is refused, and nothing is allocated for it
        coords = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise DecodeError("USAGE", None, f"{path}: {error}") from None
    if coords.ndim != 2 or coords.dtype.kind not in REAL_KINDS:
        raise DecodeError("USAGE", None, f"{path}: not an array (n, in_dims) of real numbers")
    with np.errstate(over="ignore"):  # what is too large is rounded to an infinity
        return coords.astype(np.float32)


def write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write to a new file in the same folder and rename it: OUT is either whole or as it was before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                write(file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DecodeError("USAGE", None, str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
