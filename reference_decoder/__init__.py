"""A decoder of the SINR bitstream, written from the text of spec/sinr-1.md to be read beside it.

NumPy and the standard library only. Modules stand in clause order; every function quotes the sentence it implements.
"""

from array import array

from reference_decoder.ancillary import Digest, check_hashes, read_hash
from reference_decoder.base import rebase
from reference_decoder.container import HASH, HEAD, PASS, Chunk, Payload, Progress, check_signature, read_chunk
from reference_decoder.errors import DecodeError
from reference_decoder.field import Field
from reference_decoder.head import SHARED_BASE, Head, read_head
from reference_decoder.passes import Decoded, decode_pass
from reference_decoder.states import States
from reference_decoder.weights import weights_sha256

__all__ = ["DecodeError", "Field", "decode"]


def decode(
    data: bytes | memoryview,
    *,
    passes: int | None = None,
    partial: bool = False,
    base: bytes | memoryview | None = None,
) -> Field:
    """Decode a file to its field; `base` is the file that clause 9.8 calls so.

    DEC-5 §15: "`--passes N` reads only the chunks up to the end of pass N-1, and needs no more of the file";
    "`--partial` takes the last whole pass of a file that ends early (one that does not is read as without it); if there
    is none, `TRUNCATED`. Damage is an error in any case."

    "In both cases CON-7 and CON-8 are not checked where reading stops, not even for N = n_passes; clause 12.3 is."

    Raises DecodeError, and no other exception, whatever the bytes are.
    """
    check_passes(passes)
    file = File(memoryview(data), passes, base)
    try:
        file.read()
    except DecodeError as error:
        if not (partial and error.name == "TRUNCATED" and file.digests):
            raise
    check_hashes(file.hashes, file.digests)
    if file.progress.groups:
        # §17: "A chunk that is cut is not used, nor are the parts of a pass of which a part is missing." They have
        # changed the state, and LIM-2 has no room for a copy of it.
        passes = file.progress.passes
        file = File(memoryview(data), passes, base)
        file.read()
    return file.field()


def check_passes(passes: int | None) -> None:
    """DEC-5 §15: "N below 1: `USAGE` before anything is read"."""
    if passes is not None and passes < 1:
        raise DecodeError("USAGE", None, "passes is at least 1")


def head_of(data: bytes | memoryview) -> Head:
    """What HEAD says, without reading on. Raises DecodeError."""
    view = memoryview(data)
    check_signature(view)
    chunk = read_chunk(view, 4, Progress())
    return read_head(Payload(view, chunk.start, chunk.end))


class File:
    """The loop over the chunks (clauses 5.4 and 17), and what it has found."""

    def __init__(self, data: memoryview, passes: int | None = None, base: bytes | memoryview | None = None) -> None:
        self.data = data
        self.passes = passes
        self.base = base
        self.progress = Progress()
        self.head = Head()
        self.decoded: Decoded
        self.acc_crcs = array("L")  # of every PASS chunk, in 4 or 8 bytes each
        self.digests: list[bytes] = []  # weights_sha256 after each pass
        self.hashes: list[Digest] = []

    def read(self) -> None:
        """Read up to the last chunk, or to the end of the last pass that is asked for.

        §5.4: "After the last chunk: CON-8, then TRAILING_DATA, then clause 12.3."
        """
        check_signature(self.data)
        offset = 4
        while True:
            chunk = read_chunk(self.data, offset, self.progress)
            if chunk.kind == HEAD:
                self.read_head(chunk.start, chunk.end, chunk.crc32)
            elif chunk.kind == PASS:
                self.read_pass(chunk)
                if self.progress.passes == self.passes:
                    return
            elif chunk.kind == HASH:
                self.hashes += read_hash(self.data, chunk)
            offset = chunk.next
            if chunk.last:
                break
        # CON-8: "When the last chunk ends, all `n_passes` passes are complete (`MISSING_PASS`, at the type of that last
        # chunk)."
        if self.progress.passes < self.head.n_passes:
            raise DecodeError("MISSING_PASS", chunk.offset)
        # CON-7: "Bytes after it: `TRAILING_DATA`, at the first of them."
        if offset < len(self.data):
            raise DecodeError("TRAILING_DATA", offset)

    def read_head(self, start: int, end: int, crc32: int) -> None:
        self.head = read_head(Payload(self.data, start, end))
        self.progress = Progress(crc32, self.head.level.file_bytes, self.head.n_passes)
        # DEC-5: "N above n_passes: `USAGE` when HEAD is read"
        if self.passes is not None and self.passes > self.head.n_passes:
            raise DecodeError("USAGE", None, f"the file has {self.head.n_passes} passes")
        # HED-15 §6.6: "The base is compared last (BAS-1, BAS-2)."
        if self.head.features & SHARED_BASE:
            self.decoded = Decoded(self.read_base())
        else:
            self.decoded = Decoded(States(self.head))

    def read_base(self) -> States:
        """The state of the base. The two decodings follow each other: §9.8: "A decoder keeps LIM-2 for each of the two
        files."
        """
        at = self.head.base_digest_at
        if self.base is None:
            # BAS-1 §9.8: "A decoder that is not given the base answers `BASE_REQUIRED`, at base_digest."
            raise DecodeError("BASE_REQUIRED", at)
        base = File(memoryview(self.base))
        try:
            base.read()
            check_hashes(base.hashes, base.digests)
        except DecodeError as error:
            # BAS-2 §9.8: "`BASE_MISMATCH`, at base_digest: the base does not decode, for whatever reason"
            raise DecodeError("BASE_MISMATCH", at, str(error)) from None
        rebase(self.head, base.decoded.states)
        return base.decoded.states

    def read_pass(self, chunk: Chunk) -> None:
        progress, decoded = self.progress, self.decoded
        self.acc_crcs.append(decode_pass(self.data, chunk, decoded, progress.passes, progress.groups))
        progress.groups += 1
        if progress.groups < self.head.n_groups:
            return
        progress.passes, progress.groups = progress.passes + 1, 0
        changed = decoded.changed or not self.digests
        digest = weights_sha256(decoded.states.all(), progress.passes) if changed else self.digests[-1]
        self.digests.append(digest)
        decoded.changed = False

    def field(self) -> Field:
        """The field of the passes decoded."""
        values = self.decoded.states.to_weights()
        return Field(self.head, values, self.digests[-1].hex(), self.progress.passes, self.acc_crcs.tolist())
