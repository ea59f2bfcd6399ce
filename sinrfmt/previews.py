"""PREV: small files of the same signal in front of the passes.

Specification: clause 12.4. A PREV chunk has of a preview the payloads of HEAD and of its one PASS chunk; signature and
framing are put back here. A preview that breaks a rule is ignored, so for readers it is only a reason to say so. Its
pass is not decoded here: HEAD is checked, the rest when somebody wants to see it.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sinrfmt import layout
from sinrfmt.container import FRAMING_BYTES, Chunk, ChunkReader, build_file
from sinrfmt.errors import SinrError
from sinrfmt.faults import error, translate
from sinrfmt.head import Header
from sinrfmt.registry import SIGNATURE, ChunkKind, Values
from sinrfmt.wire import Fault

READ_BYTES = 1 << 20
LENGTH_BYTES = 2
"""Of head_length."""
IMPLIED_BYTES = len(SIGNATURE) + 2 * FRAMING_BYTES - LENGTH_BYTES
"""What a file has more than the payload that stands for it."""
SAME = ("modality", "coords", "box")
"""What of HEAD a preview has as the file around it, beside the sizes of its network."""


@dataclass(frozen=True)
class Preview:
    """A preview whose HEAD is right.

    Attributes:
        payload: of its PREV chunk.
        header: what its HEAD says.
    """

    payload: bytes
    header: Header

    @property
    def data(self) -> bytes:
        """The file that it is: which the payload stands for."""
        return stood_for(self.payload)

    @property
    def psnr(self) -> float | None:
        """Announced after its last pass, in dB."""
        return None if self.header.quality is None else self.header.quality[-1]


class PreviewReader:
    """The PREV chunks of one file, in order."""

    def __init__(self) -> None:
        self._longest = -1
        self.n_previews = 0

    def read(self, payload: bytes, header: Header, *, seen_pass: bool) -> Preview:
        """The preview of a chunk, which becomes the next of the file.

        Args:
            payload: of the chunk.
            header: of the file around it.
            seen_pass: whether a PASS chunk came before.

        Raises:
            SinrError: it breaks a rule and is to be ignored.
        """
        is_in_order = not seen_pass and len(payload) > self._longest
        self._longest = max(self._longest, len(payload))
        if not is_in_order:
            raise error("USAGE", "it stands behind a pass or a longer one")
        preview = parse_preview(payload, header)
        self.n_previews += 1
        return preview


def parse_preview(payload: bytes, header: Header) -> Preview:
    """PRV-1 but for the pass, and PRV-2, in a file of this HEAD.

    Raises:
        SinrError: a rule is broken; its offset is in the payload where that stands for no file, else in that file.
    """
    reader = ChunkReader()
    reader.feed(stood_for(payload))
    reader.next_chunk(passes_complete=False)  # HEAD
    own = reader.header
    reader.next_chunk(passes_complete=False)  # PASS, of which only the size may be wrong here
    if own.n_passes != 1 or own.parts is not None or own.base_digest is not None:
        raise error("USAGE", "it has more than one pass, parts or a base")
    if own.profile > header.profile or own.level.id > header.level.id:
        raise error("USAGE", "it needs another profile or a higher level than the file")
    if not _is_of_same_field(own, header):
        raise error("USAGE", "it is of another modality, or has other coordinates, values, channels or a larger grid")
    return Preview(payload, own)


def stood_for(payload: bytes) -> bytes:
    """The file that a payload of PREV stands for: with signature and framing.

    Raises:
        SinrError: PAYLOAD_TOO_SHORT.
    """
    try:
        head = layout.PREV.parse(payload).head
    except Fault as fault:
        raise translate(fault, 0, "prev") from None
    return build_file(head, [(ChunkKind.PASS, payload[LENGTH_BYTES + len(head) :])])


def standing_for(head: bytes, coded: bytes) -> bytes:
    """The payload of PREV that stands for the file of these payloads of HEAD and PASS."""
    return bytes(layout.PREV.build({"head_length": len(head), "head": head})) + coded


def _is_of_same_field(own: Header, header: Header) -> bool:
    """PRV-2."""
    fits = len(own.grid) == len(header.grid) and all(a <= b for a, b in zip(own.grid, header.grid, strict=False))
    sizes = [(one.network.in_dims, one.network.out_channels, one.values is Values.RAW) for one in (own, header)]
    return fits and sizes[0] == sizes[1] and all(getattr(own, name) == getattr(header, name) for name in SAME)


def read_preview(read: Callable[[int], bytes], number: int) -> Preview:
    """One preview of a file that is read from its start, and no further than the end of that preview.

    Args:
        read: gives the next bytes of the file: as many as asked for, fewer only where it ends.
        number: of the preview, from 0 on.

    Raises:
        SinrError: what was read is not valid, or ends early; USAGE where there is no such preview.
    """
    reader, previews = ChunkReader(), PreviewReader()
    for chunk in _before_passes(reader, read):
        if chunk.kind is ChunkKind.PREV:
            with contextlib.suppress(SinrError):
                preview = previews.read(chunk.payload, reader.header, seen_pass=False)
                if previews.n_previews == number + 1:
                    return preview
    raise error("USAGE", f"there is no preview {number}: the file has {previews.n_previews}")


def find_step(read: Callable[[int], bytes], step: int) -> Preview | int:
    """One step of a file: previews come first, then passes. No more is read than ends that preview or starts a pass.

    Args:
        read: gives the next bytes of the file, as for :func:`read_preview`.
        step: from 1 on.

    Returns:
        the preview; or how many passes the step is, where it is one

    Raises:
        SinrError: what was read is not valid, or ends early; USAGE where the file has no such step.
    """
    reader, previews = ChunkReader(), PreviewReader()
    for chunk in _before_passes(reader, read):
        if chunk.kind is ChunkKind.PREV:
            with contextlib.suppress(SinrError):
                preview = previews.read(chunk.payload, reader.header, seen_pass=False)
                if previews.n_previews == step:
                    return preview
    n_previews, n_passes = previews.n_previews, reader.header.n_passes
    if not 1 <= step <= n_previews + n_passes:
        raise error("USAGE", f"step = {step}: the file has {n_previews + n_passes}, of which {n_previews} are previews")
    return step - n_previews


def _before_passes(reader: ChunkReader, read: Callable[[int], bytes]) -> Iterator[Chunk]:
    """The chunks up to the first PASS, of which no more than the header is read."""
    while True:
        chunk = reader.next_chunk(passes_complete=False)
        if chunk is not None:
            yield chunk
        elif reader.coming is ChunkKind.PASS or reader.last is not None:
            return
        else:
            piece = read(min(reader.n_wanted, READ_BYTES))
            reader.feed(piece)
            if not piece:
                reader.close(passes_complete=False)  # TRUNCATED
