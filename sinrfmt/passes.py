"""The tensors of a file, PASS chunk by PASS chunk: one in a pass, or with parts one for each part.

Specification: clauses 7.1 (PAS-3, PAS-4, PAS-6) and 13.1.
"""

from sinrfmt import payload
from sinrfmt.container import PASS_HEADER_BYTES, Chunk, PassHeader, parse_pass_header
from sinrfmt.head import Header
from sinrfmt.parts import SHARED_PART
from sinrfmt.payload import States
from sinrfmt.wire import Fault


class PassStates:
    """What the chunks read so far give.

    Attributes:
        header: of the file.
        states: the tensors, or None before the first chunk; with parts the shared ones, then those of every part.
        index: the pass that the next chunk belongs to.
        n_symbols: of the chunks read (TAB-5).
    """

    def __init__(self, header: Header, base: States | None = None) -> None:
        self.header = header
        self.index = 0
        self.n_symbols = 0
        self._position = 0  # in its pass, of the next chunk
        self._by_chunk: list[States | None] = [base]
        if header.parts is not None:
            self._by_chunk = [None] * header.parts.chunks_per_pass

    @property
    def states(self) -> States:
        """All tensors, in the order of weights_sha256; only after a whole pass."""
        return tuple(state for states in self._by_chunk for state in states or ())

    def read(self, chunk: Chunk) -> PassHeader:
        """Apply the next chunk.

        Raises:
            Fault: the offset is in its payload.
        """
        pass_header = parse_pass_header(chunk, self.header)
        part = None if self.header.parts is None else self.header.parts.chunk(self._position)
        is_last = self._position == len(self._by_chunk) - 1
        if pass_header.ends_pass != is_last:
            raise Fault("PASS_ORDER", f"the chunk is{' not' * is_last} marked as the end of its pass", path="flags")
        if pass_header.index != self.index:
            message = f"found pass {pass_header.index}, expected {self.index}"
            raise Fault("PASS_ORDER", message, offset=1, path="pass")
        if pass_header.part != part:
            message = f"found part {pass_header.part}, expected {part}"
            raise Fault("PASS_ORDER", message, offset=PASS_HEADER_BYTES, path="part")
        self._apply(chunk, pass_header)
        self._position = 0 if is_last else self._position + 1
        self.index += is_last
        return pass_header

    @property
    def is_complete(self) -> bool:
        """Whether all passes of the file were read."""
        return self.index == self.header.n_passes

    def codes(self, chunk: Chunk, pass_header: PassHeader) -> tuple[payload.TensorCode, ...]:
        """What the next chunk codes, in the form in which it can be written again.

        Raises:
            Fault: the offset is in its payload.
        """
        part = pass_header.part
        own = self.header if part is None else self.header.of_chunk(part)
        before = self._by_chunk[self._position]
        return payload.codes(chunk.payload, pass_header, own, (*self._shared(part), *(before or ())))

    def _apply(self, chunk: Chunk, pass_header: PassHeader) -> None:
        before = self._by_chunk[self._position]
        states, self.n_symbols = apply_chunk(
            chunk.payload, pass_header, self.header, before, self._shared(pass_header.part), self.n_symbols
        )
        payload.check_parameters(self.header)  # a part may be small, and there may be many
        self._by_chunk[self._position] = states

    def _shared(self, part: int | None) -> States:
        is_using = part not in (None, SHARED_PART) and self.header.parts is not None and self.header.parts.shared
        return self._by_chunk[0] or () if is_using else ()


def apply_chunk(
    data: bytes, pass_header: PassHeader, header: Header, before: States | None, shared: States, n_symbols: int
) -> tuple[States, int]:
    """One PASS chunk of a file with parts or without.

    Args:
        data: the payload of the chunk.
        pass_header: its sub-header.
        header: of the file.
        before: the tensors that the chunk belongs to after the pass before it, or None.
        shared: the shared tensors after the chunk of this pass that codes them; () where there are none.
        n_symbols: of the file before it.

    Returns:
        The tensors after it, without the shared ones, and the symbols so far.

    Raises:
        Fault: the offset is in the payload.
    """
    if pass_header.part is None:
        return payload.unpack(data, pass_header, header, before, n_symbols)
    own = header.of_chunk(pass_header.part)
    known = (*shared, *(payload.uncoded(own) if before is None else before))
    states, n_symbols = payload.unpack(data, pass_header, own, known, n_symbols)
    return states[len(shared) :], n_symbols
