"""Level C: a server on loopback that gives files by ranges (RFC 9110, clause 14) and counts the bytes that it sent.

A quarter of the files, chosen by name, comes from a server that knows no ranges: it answers 200 with the whole file.
"""

import hashlib
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

RANGE = re.compile(r"bytes=(\d*)-(\d*)")
PIECE = 1 << 12  # bytes written at a time: what a client that hangs up does not get is hardly counted


class Served:
    """A file under an address of its own."""

    def __init__(self, path: Path, url: str) -> None:
        self.data = path.read_bytes() if path.is_file() else None
        self.has_ranges = zlib.crc32(path.name.encode()) % 4 != 0
        self.url = url
        self.n_bytes = 0


class Server:
    """A server for the time of a `with` block."""

    def __init__(self) -> None:
        self._served: dict[str, Served] = {}
        self._n_served = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._served))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @contextmanager
    def serving(self, path: Path) -> Iterator[Served]:
        """Give the file; where there is none the address is 404."""
        with self._lock:
            self._n_served += 1
            key = f"/{self._n_served}/{path.name}"
        served = Served(path, f"http://127.0.0.1:{self._http.server_address[1]}{key}")
        self._served[key] = served
        try:
            yield served
        finally:
            del self._served[key]


def _handler(files: dict[str, Served]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served = files.get(self.path)
            if served is None or served.data is None:
                self._empty(HTTPStatus.NOT_FOUND)
                return
            etag = f'"{hashlib.sha256(served.data).hexdigest()}"'
            asked = RANGE.fullmatch(self.headers.get("Range", "")) if served.has_ranges else None
            if self.headers.get("If-Range", etag) != etag:
                asked = None
            size = len(served.data)
            start, end = _bounds(asked, size)
            if start >= end and asked:
                self._empty(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, ("Content-Range", f"bytes */{size}"))
                return
            self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
            self.send_header("ETag", etag)
            self.send_header("Content-Length", str(end - start))
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.end_headers()
            self._send(served, start, end)

        def _send(self, served: Served, start: int, end: int) -> None:
            assert served.data is not None
            try:
                for at in range(start, end, PIECE):
                    piece = served.data[at : min(at + PIECE, end)]
                    self.wfile.write(piece)
                    served.n_bytes += len(piece)
            except OSError:  # the client has read enough
                self.close_connection = True

        def _empty(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", "0")):
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the verdicts say it."""

    return Handler


def _bounds(asked: re.Match[str] | None, size: int) -> tuple[int, int]:
    """First byte and the one after the last of a range; the whole file without one."""
    if asked is None or not any(asked.groups()):
        return 0, size
    first, last = asked.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
