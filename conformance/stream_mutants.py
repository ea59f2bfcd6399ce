"""Sabotaged streams and readers of remote files, on which grade P is tried (`python -m conformance.self_test`).

A stream knows its vector and tells the right events; each mutant tells them wrongly in one way.
"""

import base64
import json
from collections.abc import Callable

from conformance.calls import Exchange
from conformance.claims import Json
from conformance.framing import HEADER_BYTES, whole_chunks
from conformance.stream import expected_events

Events = list[Json]


class Oracle:
    """A worker that is fed one vector and tells its events when they are due."""

    def __init__(self, data: bytes, expect: Json) -> None:
        self.data, self.expect = data, expect
        self.fed = 0
        self.due = expected_events(data, expect)
        self.kept: Events = []

    def __call__(self, message: Json) -> Json:
        if message["op"] == "feed":
            start, self.fed = self.fed, self.fed + len(base64.b64decode(message["data"]))
            return {"events": self.events(start, self.fed)}
        if message["op"] == "open":
            self.__init__(self.data, self.expect)  # type: ignore[misc]  # a worker goes on to the next session
            return {"events": []}
        line = {key: self.expect[key] for key in ("passes", "weights_sha256", "acc_crc")}
        return {"status": 0, "stdout": json.dumps(line)}

    def events(self, start: int, end: int) -> Events:
        """The events of the bytes from start to end."""
        return [event for need, event in self.due if start < need <= end]


class NeedsWholeFile(Oracle):
    """Reads at the end."""

    def events(self, start: int, end: int) -> Events:
        return super().events(0, end) if end == len(self.data) else []


class LateByAPiece(Oracle):
    """Tells an event when the next piece comes."""

    def events(self, start: int, end: int) -> Events:
        told, self.kept = self.kept, super().events(start, end)
        return told + (self.kept if end == len(self.data) else [])


class OneEventAPiece(Oracle):
    """Reads one chunk for each piece."""

    def events(self, start: int, end: int) -> Events:
        self.kept += super().events(start, end)
        told, self.kept = self.kept[:1], self.kept[1:]
        return told


class ForgetsSplitHeader(Oracle):
    """Loses a chunk whose header comes in two pieces."""

    def events(self, start: int, end: int) -> Events:
        split = {c.end for c in whole_chunks(self.data) if c.offset < end < c.offset + HEADER_BYTES}
        self.due = [(need, event) for need, event in self.due if need not in split]
        return super().events(start, end)


class TooEarly(Oracle):
    """Takes a chunk for read when its check value is not there yet."""

    def events(self, start: int, end: int) -> Events:
        return [event for need, event in self.due if start < need - 4 <= end]


class TellsTwice(Oracle):
    """Tells every event of a piece twice."""

    def events(self, start: int, end: int) -> Events:
        return [event for event in super().events(start, end) for _ in range(2)]


class WrongPass(Oracle):
    """Counts passes from 1."""

    def events(self, start: int, end: int) -> Events:
        return [
            event | ({"pass": event["pass"] + 1} if "pass" in event else {}) for event in super().events(start, end)
        ]


class NoReplyToSmallPieces(Oracle):
    """Has no answer to a piece of one byte."""

    def __call__(self, message: Json) -> Json:
        if message["op"] == "feed" and len(base64.b64decode(message["data"])) == 1:
            return {}
        return super().__call__(message)


STREAMS: dict[str, Callable[[bytes, Json], Exchange]] = {
    "right-stream": Oracle,
    "stream-needs-whole-file": NeedsWholeFile,
    "stream-late-by-a-piece": LateByAPiece,
    "stream-one-event-a-piece": OneEventAPiece,
    "stream-forgets-split-header": ForgetsSplitHeader,
    "stream-too-early": TooEarly,
    "stream-tells-twice": TellsTwice,
    "stream-passes-from-1": WrongPass,
    "stream-no-reply-to-a-byte": NoReplyToSmallPieces,
}
"""Name to a worker for one vector. `right-stream` is no mutant."""
