"""Recipes of files with previews (clause 12.4), and with PREV chunks that are none and are ignored."""

import struct
from collections.abc import Sequence
from dataclasses import replace

from conformance.chunks import split
from conformance.generate.build import build
from conformance.generate.describe import CORNERS, PARTS, SHARED_BASE, Ancillary, File, Head
from conformance.generate.recipe import Valid, packed, with_pass
from conformance.generate.recipes_valid import TEXT_HEAD

PREV_TYPE = 0xA7
RAW_VALUES = 2
UNKNOWN_OPTIONAL = 0x80  # a feature that no decoder knows: its block makes a payload longer
WHOLE = packed(TEXT_HEAD)


def previews_valid() -> list[Valid]:
    """Two previews that are right, and chunks that break each rule: the file is valid all the same."""
    small, large = payload_of(packed(replace(TEXT_HEAD, grid=(1, 1)), 1)), payload_of(packed(TEXT_HEAD, 90))
    longer = longer_than(large, WHOLE)
    file = with_previews(WHOLE, small, large, small, longer)
    *before, last, end = file.chunk_order()
    return [
        Valid(
            "valid-prev",
            "two previews; and none: not in order, behind the pass",
            ("12.4", "PRV-1", "PRV-3"),
            replace(file, order=(*before, end, last)),
        ),
        Valid(
            "valid-prev-cut",
            "payloads that end inside head_length, inside head, before and inside the pass, and behind it",
            ("12.4", "CON-10", "PRV-1"),
            with_previews(WHOLE, *cuts_of(large)),
        ),
        Valid(
            "valid-prev-pass",
            "a whole file, passes that are not the only one of their preview, and one that is wrong",
            ("12.4", "PRV-1"),
            with_previews(WHOLE, build(WHOLE).data, *rising(wrong_passes())),
        ),
        Valid(
            "valid-prev-other",
            "previews of other fields, and such that have or need more than the file around them",
            ("12.4", "PRV-1", "PRV-2"),
            with_previews(WHOLE, *rising(others())),
        ),
    ]


def cuts_of(payload: bytes) -> list[bytes]:
    """Its beginnings of no byte, one, up to the last byte of head, all of head, less than the sub-header and more."""
    end = 2 + len(split(build(WHOLE).data)[0].payload)
    return [*(payload[:n] for n in (0, 1, 2, end - 1, end, end + 5, len(payload) - 1)), payload + b"\0"]


def wrong_passes() -> list[File]:
    """Previews of which HEAD or the pass says that there is another pass, or the pass is wrong."""
    forced = [{"pass": 1}, {"flags": 0}, {"acc_crc": 0}]
    return [replace(WHOLE, head=Head(n_passes=2)), *(with_pass(WHOLE, 0, force=force) for force in forced)]


def others() -> list[File]:
    """Files that are right, each of which is no preview of this one for another reason."""
    heads = [
        Head(level=2),
        Head(profile=2),
        Head(modality=2),
        Head(coords=CORNERS),
        Head(values=RAW_VALUES),
        Head(grid=(0, 0)),
        Head(grid=(3, 4)),
        Head(in_dims=1, grid=(3,)),
        Head(out_channels=2),
        Head(features_required=PARTS, split=(2, 1), overlap=(0, 0)),
    ]
    return [*map(packed, heads), replace(packed(Head(features_required=SHARED_BASE)), base=WHOLE)]


def rising(files: Sequence[File]) -> list[bytes]:
    """The payloads that stand for files, each longer than the one before, so that PRV-3 holds."""
    payloads: list[bytes] = []
    for file in files:
        payloads.append(longer_than(payloads[-1] if payloads else build(WHOLE).data, file))
    return payloads


def longer_than(before: bytes, file: File) -> bytes:
    """The payload that stands for a file, made longer than another one."""
    missing = max(0, len(before) - len(payload_of(file)))
    head = replace(file.head, features_optional=UNKNOWN_OPTIONAL, optional_blocks=(bytes(missing),))
    return payload_of(replace(file, head=head))


def payload_of(file: File) -> bytes:
    """Payload of PREV: of what a file has, HEAD with its length and the first PASS chunk, without framing."""
    head, coded, *_ = split(build(file).data)
    return struct.pack("<H", len(head.payload)) + head.payload + coded.payload


def with_previews(file: File, *payloads: bytes) -> File:
    """The same file with PREV chunks in front of its passes."""
    chunks = tuple(Ancillary(f"PREV{i}", PREV_TYPE, payload) for i, payload in enumerate(payloads))
    labels = tuple(chunk.label for chunk in chunks)
    return replace(file, ancillary=chunks, order=("HEAD", *labels, "PASS0"))
