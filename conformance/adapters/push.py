"""The push parser of sinrfmt as a stream of the worker.

Usage: `python -m conformance.worker --stream conformance.adapters.push:Push sinrfmt decode --json --force`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sinrfmt
from sinrfmt.base import Base
from sinrfmt.errors import EXIT_STATUS, SinrError
from sinrfmt.report import error_object
from sinrfmt.stream import Event, HeaderRead, Parser, PassComplete

Json = dict[str, Any]


class Push:
    """A session: what `Parser` gives, in the words of the harness."""

    def __init__(self, options: Sequence[str]) -> None:
        """`options`: none, or `--base` and a path."""
        path = Path(options[1]) if options else None
        self._parser = Parser(None if path is None else lambda: _read_base(path))
        self._passes: list[PassComplete] = []

    def feed(self, data: bytes) -> list[Json]:
        """The events of what has become whole, an error among them."""
        found: list[Json] = []
        try:
            for event in self._parser.feed(data):
                if isinstance(event, HeaderRead | PassComplete):
                    found.append(self._told(event))  # one by one: those before an error count
        except SinrError as failure:
            found.append({"event": "error"} | error_object(failure))
        return found

    def close(self) -> tuple[int, str]:
        """Exit status and line of the contract."""
        try:
            self._parser.close()
        except SinrError as failure:
            return EXIT_STATUS[failure.error_class], json.dumps(error_object(failure))
        acc_crc = [f"{crc:08x}" for one in self._passes for crc in one.acc_crc]
        last = self._passes[-1].sha256.hex()
        return 0, json.dumps({"weights_sha256": last, "acc_crc": acc_crc, "passes": len(self._passes)})

    def _told(self, event: Event) -> Json:
        if not isinstance(event, PassComplete):
            return {"event": "head"}
        self._passes.append(event)
        crc, sha256 = f"{event.acc_crc[-1]:08x}", event.sha256.hex()
        return {"event": "pass", "pass": event.index, "acc_crc": crc, "weights_sha256": sha256}


def _read_base(path: Path) -> Base:
    field = sinrfmt.load(path)
    return Base(field.header, field.states)
