"""Files at a distance: bytes by offset and length, over HTTP or whatever fsspec knows.

Specification: clause 17. ``get_bytes(offset, length)`` of a source is the only I/O; :class:`RemoteFile` makes a file
of it that is read in order, in few requests.

HTTP is read with the standard library and not through fsspec, whose HTTP file system hands over the body alone: status,
ETag and Content-Range stay inside. An answer 200 to a request for a range would pass for the range, an If-Range that
failed for one that held, and a short body for the file's end. fsspec reads all other schemes.
"""

import re
from typing import TYPE_CHECKING, Any, Protocol

from sinrfmt.container import HEADER_BYTES, PREFIX_BYTES
from sinrfmt.errors import SinrError
from sinrfmt.faults import error

if TYPE_CHECKING:  # HTTP is loaded when it is used: most files are local
    from http.client import HTTPResponse

HTTP_SCHEMES = frozenset({"http", "https"})
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 3
"""Requests in a row that may end without a byte before the source counts as unreachable."""
READ_BYTES = 1 << 16
FETCH_BYTES = 1 << 22
"""Read ahead at once at most: a file that proves broken is not fetched to its end."""
UNBOUNDED = 1 << 63


def is_url(source: object) -> bool:
    """Whether a source is a URL: a text with a scheme and ``://``."""
    return isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.:-]*://", source) is not None


class Source(Protocol):
    """Bytes of a file at a distance.

    Attributes:
        n_fetched: bytes of the file that came so far, those that came twice too.
        n_requests: requests so far.
    """

    n_fetched: int
    n_requests: int

    def get_bytes(self, offset: int, length: int) -> bytes:
        """The bytes from ``offset`` on: ``length`` of them, fewer only where the file ends.

        Raises:
            ChecksumError: SOURCE_CHANGED, the file is not the one of the first request.
            UsageError: it cannot be read; the cause is the exception of the transport.
        """

    def close(self) -> None:
        """Let go of the connection."""


def open_source(url: str) -> Source:
    """The source that reads a URL.

    Raises:
        UsageError: there is none, or it cannot be reached.
    """
    return HttpSource(url) if url.split("://", maxsplit=1)[0].lower() in HTTP_SCHEMES else FsspecSource(url)


class HttpSource:
    """A file on an HTTP server, read in ranges; of a server without ranges, in order from one answer.

    Attributes:
        etag: of the first answer, or what was given; None before there is one, and where the server gives none.
    """

    def __init__(self, url: str, *, etag: str | None = None, timeout: float = TIMEOUT_SECONDS) -> None:
        """Nothing is requested yet.

        Args:
            url: of the file.
            etag: of an earlier download that goes on here; another file is SOURCE_CHANGED from the first answer on.
            timeout: seconds for each wait for the server.
        """
        self._url = url
        self._timeout = timeout
        self.etag = etag
        self._is_known = etag is not None
        self._size: int | None = None
        self._reply: HTTPResponse | None = None
        self._at = 0  # offset in the file of the next byte of the reply
        self._end = 0  # of the reply's bytes; UNBOUNDED where it does not say
        self.n_fetched = 0
        self.n_requests = 0

    def get_bytes(self, offset: int, length: int) -> bytes:
        """See :meth:`Source.get_bytes`."""
        from http.client import HTTPException

        data = bytearray()
        n_failures = 0
        while len(data) < length and not self._ends_at(offset + len(data)):
            try:
                piece = self._next(offset + len(data), length - len(data))
                failure: Exception = EOFError("the answer ends early")
            except (OSError, HTTPException) as caught:
                piece, failure = b"", caught
            data += piece
            n_failures = 0 if piece else n_failures + 1
            if not piece:
                self.close()
            if n_failures == ATTEMPTS and not self._ends_at(offset + len(data)):
                raise error("USAGE", f"{self._url}: {failure}") from failure
        return bytes(data)

    def _ends_at(self, offset: int) -> bool:
        return self._size is not None and offset >= self._size

    def _next(self, offset: int, length: int) -> bytes:
        """Some bytes from ``offset`` on; none where the answer ends."""
        # What a whole file has before the offset is skipped; to ask again would bring the same.
        is_ahead = self._reply is not None and self._at <= offset < self._end
        if not is_ahead:
            self.close()
            self._request(offset, length)
        while self._reply is not None and self._at < offset:
            if not self._read(offset - self._at):
                return b""
        return self._read(length)

    def _read(self, length: int) -> bytes:
        if self._reply is None:
            return b""
        piece = self._reply.read1(min(length, READ_BYTES, self._end - self._at))
        if not piece and self._end == UNBOUNDED:
            self._size = self._at  # without a length, the end of the answer is the end of the file
        self._at += len(piece)
        self.n_fetched += len(piece)
        return piece

    def _request(self, offset: int, length: int) -> None:
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        headers = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
        if self.etag is not None and not self.etag.startswith("W/"):
            headers["If-Range"] = self.etag
        self.n_requests += 1
        try:
            reply = urlopen(Request(self._url, headers=headers), timeout=self._timeout)
        except HTTPError as failure:
            with failure:
                if failure.code != 416:
                    raise error("USAGE", f"{self._url}: HTTP status {failure.code} {failure.reason}") from failure
                self._note_end(offset, failure.headers.get("Content-Range", ""))
            return
        try:
            self._accept(reply, offset)
        except SinrError:
            reply.close()
            raise

    def _note_end(self, offset: int, content_range: str) -> None:
        """Status 416: the file ends at ``offset`` or before."""
        found = re.fullmatch(r"bytes \*/(\d+)", content_range)
        size = int(found[1]) if found else offset
        self._check_size(offset, size)
        if size > offset:
            raise error("USAGE", f"{self._url}: the server refuses byte {offset} of {size}")
        self._size = size

    def _accept(self, reply: "HTTPResponse", offset: int) -> None:
        if reply.headers.get("Content-Encoding", "identity") != "identity":
            raise error("USAGE", f"{self._url}: the server sends {reply.headers['Content-Encoding']} unasked")
        self._at, self._end, size = self._extent(reply)
        etag = reply.headers.get("ETag")
        if self._is_known and etag != self.etag:
            raise error("SOURCE_CHANGED", f"{self._url} has ETag {etag} now and had {self.etag}", offset=offset)
        self._check_size(offset, size)
        if not self._at <= offset < self._end and size != offset:
            raise error("USAGE", f"{self._url}: bytes {self._at} to {self._end} came, {offset} was asked for")
        self.etag, self._is_known = etag, True
        self._size = self._size if size is None else size
        self._reply = reply

    def _check_size(self, offset: int, size: int | None) -> None:
        if None not in (size, self._size) and size != self._size:
            raise error("SOURCE_CHANGED", f"{self._url} has {size} bytes now and had {self._size}", offset=offset)

    def _extent(self, reply: "HTTPResponse") -> tuple[int, int, int | None]:
        """Where the bytes of an answer begin and end in the file, and the size of the file if it is known."""
        if reply.status == 200:
            size = reply.length  # of the body; None where it is chunked or ends with the connection
            return 0, UNBOUNDED if size is None else size, size
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", reply.headers.get("Content-Range", ""))
        if reply.status != 206 or found is None:
            raise error("USAGE", f"{self._url}: HTTP status {reply.status} without a range of bytes")
        return int(found[1]), int(found[2]) + 1, None if found[3] == "*" else int(found[3])

    def close(self) -> None:
        """Let go of the connection; the next request makes another."""
        if self._reply is not None:
            self._reply.close()
            self._reply = None


class FsspecSource:
    """A file of any file system that fsspec knows: ``s3://``, ``hf://``, ``ftp://``, ``memory://``, …"""

    def __init__(self, url: str) -> None:
        """
        Raises:
            UsageError: fsspec or what it needs for the scheme is not installed, or there is no such file.
        """
        try:
            from fsspec.core import url_to_fs
        except ImportError as failure:
            raise error("USAGE", "fsspec is not installed: pip install 'sinrfmt[remote]'") from failure
        self._url = url
        self.n_fetched = 0
        self.n_requests = 0
        try:
            self._system, self._path = url_to_fs(url)
        except (ImportError, ValueError) as failure:
            raise error("USAGE", f"{url}: {failure}") from failure
        self._size, self._key = self._identity()

    def _identity(self) -> tuple[int, str]:
        """Size and what fsspec makes of the ETag, version or time of the file."""
        try:
            self._system.invalidate_cache(self._path)
            return int(self._system.size(self._path)), str(self._system.ukey(self._path))
        except (OSError, TypeError) as failure:  # a folder has no size
            raise error("USAGE", f"{self._url}: {failure}") from failure

    def get_bytes(self, offset: int, length: int) -> bytes:
        """See :meth:`Source.get_bytes`."""
        end = min(offset + length, self._size)
        if end <= offset:
            return b""
        self.n_requests += 1
        try:
            data = bytes(self._system.cat_file(self._path, start=offset, end=end))
        except OSError as failure:
            raise error("USAGE", f"{self._url}: {failure}") from failure
        self.n_fetched += len(data)
        # Asked for after the bytes: a change that comes later does not matter to them.
        if (self._size, self._key) != self._identity() or len(data) != end - offset:
            raise error("SOURCE_CHANGED", f"{self._url} changed while it was read", offset=offset)
        return data

    def close(self) -> None:
        """File systems of fsspec are shared and stay."""


class RemoteFile:
    """A file at a distance, read in order.

    The first request is for the first 16384 bytes; each later one for what is read, with the header of the next chunk,
    or up to :attr:`until` where that is more. What came is kept, so that it can be read again.

    Attributes:
        until: offset in the file up to which reading ahead is worth it.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept = bytearray()  # the file from its start
        self._at = 0
        self.until = PREFIX_BYTES

    @property
    def fetched_bytes(self) -> int:
        return self._source.n_fetched

    @property
    def n_requests(self) -> int:
        return self._source.n_requests

    def read(self, size: int, /) -> bytes:
        """The next bytes: ``size``, fewer only where the file ends.

        Raises:
            SinrError: as :meth:`Source.get_bytes`.
        """
        start, end = len(self._kept), self._at + size
        if end > start:
            ahead = max(end + HEADER_BYTES, min(self.until, start + FETCH_BYTES))
            self._kept += self._source.get_bytes(start, ahead - start)
        piece = bytes(self._kept[self._at : end])
        self._at += len(piece)
        return piece

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, /) -> Any:
        self._at = offset

    def close(self) -> None:
        self._source.close()
