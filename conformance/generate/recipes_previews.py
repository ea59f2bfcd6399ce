"""The recipe of a file with previews (clause 12.4), and with such as are none."""

from dataclasses import replace

from conformance.generate.build import build
from conformance.generate.describe import Ancillary, File
from conformance.generate.recipe import Valid, packed
from conformance.generate.recipes_valid import TEXT_HEAD

PREV_TYPE = 0xA7


def previews_valid() -> list[Valid]:
    """Two previews that are right, and one for every rule that one can break: the file is valid all the same."""
    whole = packed(TEXT_HEAD)
    small, large = packed(replace(TEXT_HEAD, grid=(1, 1)), 1), packed(TEXT_HEAD, 90)
    two_values, nested = packed(replace(TEXT_HEAD, out_channels=2)), with_previews(whole, build(small).data)
    payloads = [b"SIN", *(build(file).data for file in (small, large, two_values, nested, small, whole))]
    file = with_previews(whole, *payloads)
    *before, last, end = file.chunk_order()
    return [
        Valid(
            "valid-prev",
            "two previews; and none: no file, of two values, with previews, not in order, behind the pass",
            ("12.4", "PRV-1", "PRV-2", "PRV-3"),
            replace(file, order=(*before, end, last)),
        ),
    ]


def with_previews(file: File, *payloads: bytes) -> File:
    """The same file with PREV chunks in front of its passes."""
    chunks = tuple(Ancillary(f"PREV{i}", PREV_TYPE, payload) for i, payload in enumerate(payloads))
    labels = tuple(chunk.label for chunk in chunks)
    return replace(file, ancillary=chunks, order=("HEAD", *labels, "PASS0"))
