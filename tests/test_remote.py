"""Clause 17: files over HTTP from a server that answers as asked, and from one that misbehaves on purpose."""

import http.server
import json
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sinrfmt
from sinrfmt import edit, region, remote
from sinrfmt.errors import UsageError
from sinrfmt.registry import Coding
from sinrfmt.remote import HttpSource, RemoteFile
from sinrfmt.stream import Parser
from tests.strategies import INDX, assert_error, header_of, make_file, seal, siren, split
from tests.test_region import mosaic

ROOT = Path(__file__).parents[1]
REAL = (ROOT / "tests" / "files" / "kodim23_48x32_4_passes.sinr").read_bytes()
BIG = make_file(header_of(siren(3, 90)), [(Coding.PACKED, 0)] * 4, scale=900.0, n_bits=6).data
"""Four passes, the first of them longer than the first request."""
BIG_ENDS = sinrfmt.loads(BIG).pass_ends
OTHER = bytes(byte ^ 0x55 for byte in BIG)


@dataclass
class Asked:
    """A request as the server saw it."""

    start: int
    end: int
    if_range: str | None


@dataclass
class Site:
    """What the server has and how it behaves; ``answer`` takes the place of the good answer for a request."""

    data: bytes = BIG
    etag: str | None = '"one"'
    answer: Callable[["Handler", Asked], bool] | None = None
    asked: list[Asked] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert found is not None
        asked = Asked(int(found[1]), int(found[2]) + 1, self.headers["If-Range"])
        self.site.asked.append(asked)
        self.close_connection = True
        if self.site.answer is None or not self.site.answer(self, asked):
            self.good(asked)

    def good(self, asked: Asked) -> None:
        """RFC 9110."""
        data, etag = self.site.data, self.site.etag
        if asked.if_range is not None and asked.if_range != etag:
            self.reply(200, data, length=len(data))
        elif asked.start >= len(data):
            self.reply(416, b"", content_range=f"bytes */{len(data)}", length=0)
        else:
            self.part(asked.start, min(asked.end, len(data)))

    def part(self, start: int, end: int, *, body: bytes | None = None, total: object = None) -> None:
        total = len(self.site.data) if total is None else total
        body = self.site.data[start:end] if body is None else body
        self.reply(206, body, content_range=f"bytes {start}-{end - 1}/{total}", length=end - start)

    def reply(
        self, status: int, body: bytes, *, length: int | None, content_range: str | None = None, **headers: str
    ) -> None:
        self.send_response(status)
        names = {"ETag": self.site.etag, "Content-Range": content_range, "Content-Length": length}
        for name, value in (names | {key.replace("_", "-"): text for key, text in headers.items()}).items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    made = Site()
    handler = type("SiteHandler", (Handler,), {"site": made})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/field.sinr"  # type: ignore[attr-defined]
    yield made
    made.stop.set()
    server.shutdown()
    server.server_close()
    thread.join()


def decode(site: Any, **options: Any) -> tuple[sinrfmt.Field, int, int]:
    """The field, the bytes fetched, the requests."""
    with sinrfmt.open(site.url, **options) as opened:
        decoded = opened.field
        assert opened.fetched_bytes is not None and opened.n_requests is not None
        return decoded, opened.fetched_bytes, opened.n_requests


def assert_right(decoded: sinrfmt.Field, data: bytes, passes: int | None = None) -> None:
    assert decoded == sinrfmt.loads(data, passes=passes)
    assert decoded.weights_sha256 == sinrfmt.loads(data, passes=passes).weights_sha256


# --- a good server ---------------------------------------------------------------------------------------------------


def test_a_small_file_takes_one_request(site: Site) -> None:
    site.data = REAL
    decoded, n_bytes, n_requests = decode(site)
    assert_right(decoded, REAL)
    assert (n_bytes, n_requests) == (len(REAL), 1)


def test_a_whole_file_takes_two_requests_and_no_byte_twice(site: Site) -> None:
    decoded, n_bytes, n_requests = decode(site)
    assert_right(decoded, BIG)
    assert (n_bytes, n_requests) == (len(BIG), 2)
    assert [asked.if_range for asked in site.asked] == [None, '"one"']
    assert site.asked[0].end == 16384


def test_a_region_takes_less_than_three_per_cent_of_a_file_of_many_parts(site: Site) -> None:
    site.data = edit.reindex(mosaic(24, 120))
    source = HttpSource(site.url)  # type: ignore[attr-defined]
    found = region.read_region(source, lambda _: [(64, 72), (64, 72)])
    source.close()
    assert len(found.parts) == 9
    assert np.array_equal(found.values, sinrfmt.loads(site.data).region([(64, 72), (64, 72)]))
    assert source.n_requests == 4  # what comes first, and three rows of three parts
    assert source.n_fetched < 0.03 * len(site.data)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_with_an_index_passes_take_two_requests_and_no_byte_more(site: Site, n: int) -> None:
    site.data = edit.reindex(BIG)
    decoded, n_bytes, n_requests = decode(site, passes=n)
    assert_right(decoded, site.data, n)
    assert n_requests == 2
    # The header of the next chunk comes with every chunk.
    assert decoded.pass_ends[-1] <= n_bytes <= decoded.pass_ends[-1] + 5


@pytest.mark.parametrize("n", [1, 2, 3])
def test_without_an_index_every_pass_takes_a_request(site: Site, n: int) -> None:
    decoded, n_bytes, n_requests = decode(site, passes=n)
    assert_right(decoded, BIG, n)
    assert n_requests == 1 + n
    assert n_bytes == BIG_ENDS[n - 1] + 5


def test_only_the_first_16_kib_are_fetched_for_the_header(site: Site) -> None:
    with sinrfmt.open(site.url) as opened:  # type: ignore[attr-defined]
        assert opened.header == sinrfmt.loads(BIG).header
        assert (opened.fetched_bytes, opened.n_requests) == (16384, 1)
    assert sinrfmt.read_header(site.url) == sinrfmt.loads(BIG).header  # type: ignore[attr-defined]


def test_load_takes_a_url(site: Any) -> None:
    assert_right(sinrfmt.load(site.url, passes=1), BIG, 1)
    assert_right(sinrfmt.load(site.url), BIG)


def test_a_base_can_be_a_url(site: Any) -> None:
    base = make_file(header_of(siren()), [(Coding.RANS, 0)])
    made = make_file(header_of(siren()), [(Coding.RANS, 0)], base=base)
    site.data = base.data
    assert (
        sinrfmt.loads(made.data, base=site.url).weights_sha256
        == sinrfmt.loads(made.data, base=base.data).weights_sha256
    )


@pytest.mark.parametrize("cut", [0, 3, 100, 16384, BIG_ENDS[0], BIG_ENDS[1] + 7, len(BIG) - 1])
def test_a_file_that_ends_early_is_truncated_there(site: Any, cut: int) -> None:
    site.data = BIG[:cut]
    assert_error("TRUNCATED", cut, sinrfmt.load, site.url)
    n = sum(end <= cut for end in BIG_ENDS)
    if n:
        assert_right(sinrfmt.load(site.url, partial=True), BIG[:cut], n)
    else:
        assert_error("TRUNCATED", cut, sinrfmt.load, site.url, partial=True)


def test_surplus_bytes_are_found(site: Any) -> None:
    site.data = BIG + b"\0"
    assert_error("TRAILING_DATA", len(BIG), sinrfmt.load, site.url)


def test_damage_stops_the_fetching(site: Any) -> None:
    damaged = bytearray(edit.reindex(BIG))
    damaged[BIG_ENDS[0] // 2] ^= 1
    site.data = bytes(damaged)
    with pytest.raises(sinrfmt.ChecksumError):
        sinrfmt.load(site.url, passes=1)
    assert max(asked.end for asked in site.asked) < BIG_ENDS[1]


# --- an index that lies ----------------------------------------------------------------------------------------------


def with_index(payload: bytes) -> bytes:
    head, *passes = split(BIG)
    return seal([head, (INDX, payload), *passes])


LIES = {
    "too little": (0, 0, 100),
    "too much": (0, 0, 0xFFFFFF),
    "more than a chunk can have": (0, 0, 0xFFFFFFFF),
    "beyond the end": (0, 0xFFFFFFF0, 50),
    "other chunks": (7, 200, 50),
    "a later pass": (0, BIG_ENDS[1], 1000),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_index_that_lies_costs_bytes_and_never_weights(site: Any, lie: str) -> None:
    first, offset, length = LIES[lie]
    payload = struct.pack("<BIIB4I", 0, first, offset, 4, *[length] * 4)
    site.data = with_index(payload)
    for n in (1, 2, 4):
        assert_right(sinrfmt.load(site.url, passes=n), site.data, n)


# --- a server that misbehaves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_length", [True, False])
@pytest.mark.parametrize("passes", [None, 2])
def test_a_server_without_ranges_is_read_in_order_from_one_answer(
    site: Any, with_length: bool, passes: int | None
) -> None:
    """200 instead of 206."""

    def answer(handler: Handler, asked: Asked) -> bool:
        handler.reply(200, site.data, length=len(site.data) if with_length else None)
        return True

    site.answer = answer
    decoded, n_bytes, n_requests = decode(site, passes=passes)
    assert_right(decoded, BIG, passes)
    assert n_requests == 1
    assert n_bytes <= (len(BIG) if passes is None else BIG_ENDS[1] + 5)


def test_a_server_that_gives_up_ranges_is_skipped_through(site: Any) -> None:
    """The second answer is 200 with the same ETag: its first bytes are passed over."""

    def answer(handler: Handler, asked: Asked) -> bool:
        if asked.start:
            handler.reply(200, site.data, length=len(site.data))
        return bool(asked.start)

    site.answer = answer
    decoded, n_bytes, n_requests = decode(site)
    assert_right(decoded, BIG)
    assert (n_bytes, n_requests) == (len(BIG) + 16384, 2)


@pytest.mark.parametrize("n", [1, 1000])
def test_answers_shorter_than_the_range_are_gone_on_with(site: Any, n: int) -> None:
    """A 206 may hold less than was asked for, and say so."""
    site.data = REAL

    def answer(handler: Handler, asked: Asked) -> bool:
        handler.part(asked.start, min(asked.start + n, asked.end, len(site.data)))
        return True

    site.answer = answer
    decoded, n_bytes, n_requests = decode(site)
    assert_right(decoded, REAL)
    assert (n_bytes, n_requests) == (len(REAL), -(-len(REAL) // n))


def test_connections_that_break_are_gone_on_with(site: Any) -> None:
    """The body is shorter than its length says, again and again."""

    def answer(handler: Handler, asked: Asked) -> bool:
        end = min(asked.end, len(site.data))
        handler.part(asked.start, end, body=site.data[asked.start : min(asked.start + 3000, end)])
        return True

    site.answer = answer
    decoded, n_bytes, n_requests = decode(site)
    assert_right(decoded, BIG)
    assert n_bytes == len(BIG)
    assert n_requests >= len(BIG) // 3000
    assert {asked.if_range for asked in site.asked[1:]} == {'"one"'}


def test_a_connection_that_gives_nothing_is_given_up(site: Any) -> None:
    def answer(handler: Handler, asked: Asked) -> bool:
        if asked.start:
            handler.part(asked.start, min(asked.end, len(site.data)), body=b"")
        return bool(asked.start)

    site.answer = answer
    with pytest.raises(UsageError, match="ends early"):
        sinrfmt.load(site.url)
    assert len(site.asked) == 1 + remote.ATTEMPTS


def test_a_connection_that_is_closed_without_an_answer_is_given_up(site: Any) -> None:
    site.answer = lambda handler, asked: True
    with pytest.raises(UsageError) as caught:
        sinrfmt.load(site.url)
    assert isinstance(caught.value.__cause__, OSError)
    assert len(site.asked) == remote.ATTEMPTS


def test_a_first_request_that_fails_is_asked_again(site: Any) -> None:
    site.answer = lambda handler, asked: len(site.asked) == 1
    assert_right(sinrfmt.load(site.url), BIG)
    assert len(site.asked) == 3


RESUME = """
import sys
from pathlib import Path
from sinrfmt.errors import SinrError
from sinrfmt.remote import HttpSource
from sinrfmt.stream import Parser, PassComplete
url, etag, state, kept = sys.argv[1], sys.argv[2], *(Path(name).read_bytes() for name in sys.argv[3:])
parser, source = Parser.restore(state, kept), HttpSource(url, etag=etag)
try:
    while piece := source.get_bytes(parser.n_bytes, 5000):
        for event in parser.feed(piece):
            if isinstance(event, PassComplete):
                print(event.index, event.sha256.hex())
    parser.close()
except SinrError as failure:
    print(failure.name, failure.offset)
"""


@pytest.mark.parametrize("has_changed", [False, True])
def test_a_download_goes_on_in_another_process(site: Any, tmp_path: Path, has_changed: bool) -> None:
    source, parser = HttpSource(site.url), Parser()
    kept = source.get_bytes(0, BIG_ENDS[0] + 1000)
    for _ in parser.feed(kept):
        pass
    (tmp_path / "state").write_bytes(parser.save())
    (tmp_path / "kept").write_bytes(kept)
    if has_changed:
        site.data, site.etag = OTHER, '"two"'
    command = [sys.executable, "-c", RESUME, site.url, source.etag, tmp_path / "state", tmp_path / "kept"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    digests = [sinrfmt.loads(BIG, passes=n + 1).weights_sha256 for n in range(4)]
    whole = [f"{n} {digests[n]}" for n in range(1, 4)]
    assert result.stdout.splitlines() == ([f"SOURCE_CHANGED {len(kept)}"] if has_changed else whole)


def test_a_server_that_hangs_times_out(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(handler: Handler, asked: Asked) -> bool:
        handler.part(asked.start, asked.end, body=site.data[200:300] if asked.start == 200 else b"")
        site.stop.wait(60)
        return True

    site.answer = answer
    source = HttpSource(site.url, timeout=0.05)
    with pytest.raises(UsageError, match="timed out") as caught:
        source.get_bytes(200, 1000)
    assert (source.n_fetched, source.n_requests) == (100, remote.ATTEMPTS)
    assert isinstance(caught.value.__cause__, TimeoutError)
    source.close()


CHANGES = {
    "If-Range fails": (lambda site: (OTHER, '"two"'), None),
    "If-Range is not heeded": (lambda site: (OTHER, '"two"'), "part"),
    "weak ETag": (lambda site: (OTHER, 'W/"two"'), "part"),
    "no ETag any more": (lambda site: (OTHER, None), "part"),
    "another size": (lambda site: (site.data[:-1], site.etag), "part"),
    "shorter than the range": (lambda site: (site.data[:9000], site.etag), None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_between_requests_is_detected(site: Any, change: str) -> None:
    after, manner = CHANGES[change]

    def answer(handler: Handler, asked: Asked) -> bool:
        if asked.start == 0:
            return False
        site.data, site.etag = after(site)
        if manner == "part":
            handler.part(asked.start, min(asked.end, len(site.data)))
        return manner == "part"

    site.answer = answer
    site.etag = 'W/"one"' if change == "weak ETag" else site.etag
    assert_error("SOURCE_CHANGED", 16384, sinrfmt.load, site.url)


def test_a_file_without_any_sign_of_a_change_fails_its_own_checks(site: Any) -> None:
    """No ETag, the same size: the CRC of a chunk that is half of each file."""
    site.etag = None

    def answer(handler: Handler, asked: Asked) -> bool:
        site.data = OTHER if asked.start else BIG
        return False

    site.answer = answer
    with pytest.raises(sinrfmt.ChecksumError) as caught:
        sinrfmt.load(site.url)
    assert caught.value.name == "CHUNK_CRC_MISMATCH"


def test_a_weak_etag_is_not_named_in_if_range(site: Any) -> None:
    site.etag = 'W/"one"'
    assert_right(sinrfmt.load(site.url), BIG)
    assert {asked.if_range for asked in site.asked} == {None}


def redirecting(hops: int) -> Callable[[Handler, Asked], bool]:
    def answer(handler: Handler, asked: Asked) -> bool:
        at = int(handler.path.rpartition("?")[2] or 0) if "?" in handler.path else 0
        if at < hops:
            handler.reply((301, 302, 307, 308)[at % 4], b"", length=0, Location=f"/moved?{at + 1}")
        return at < hops

    return answer


def test_redirects_are_followed_with_the_range(site: Any) -> None:
    site.answer = redirecting(4)
    decoded, n_bytes, _ = decode(site, passes=1)
    assert_right(decoded, BIG, 1)
    assert n_bytes == BIG_ENDS[0] + 5
    assert {(asked.start, asked.end) for asked in site.asked[:5]} == {(0, 16384)}


def test_redirects_without_an_end_are_given_up(site: Any) -> None:
    site.answer = redirecting(10**6)
    assert_error("USAGE", None, sinrfmt.load, site.url)
    assert len(site.asked) < 50


def test_a_redirect_to_a_local_file_is_refused(site: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(BIG)

    def answer(handler: Handler, asked: Asked) -> bool:
        handler.reply(302, b"", length=0, Location=f"file://{tmp_path}/secret")
        return True

    site.answer = answer
    assert_error("USAGE", None, sinrfmt.load, site.url)


@pytest.mark.parametrize("status", [204, 403, 404, 500, 503])
def test_other_statuses_are_the_callers_error_and_asked_once(site: Any, status: int) -> None:
    def answer(handler: Handler, asked: Asked) -> bool:
        handler.reply(status, b"", length=0)
        return True

    site.answer = answer
    with pytest.raises(UsageError, match=str(status)):
        sinrfmt.load(site.url)
    assert len(site.asked) == 1


WRONG_RANGES = ["bytes 5-99/200", "bytes 1-2", "pages 1-2/3", "", "bytes 0-/5", "bytes 9-3/200"]


@pytest.mark.parametrize("text", WRONG_RANGES)
def test_a_range_that_was_not_asked_for_is_refused(site: Any, text: str) -> None:
    def answer(handler: Handler, asked: Asked) -> bool:
        handler.reply(206, bytes(95), content_range=text, length=95)
        return True

    site.answer = answer
    assert_error("USAGE", None, sinrfmt.load, site.url)


def test_a_range_refused_inside_the_file_is_the_servers_fault(site: Any) -> None:
    def answer(handler: Handler, asked: Asked) -> bool:
        if asked.start:
            handler.reply(416, b"", content_range=f"bytes */{len(site.data)}", length=0)
        return bool(asked.start)

    site.answer = answer
    with pytest.raises(UsageError, match="refuses byte 16384"):
        sinrfmt.load(site.url)


def test_a_compressed_answer_is_refused(site: Any) -> None:
    """Ranges would be those of other bytes."""

    def answer(handler: Handler, asked: Asked) -> bool:
        handler.reply(200, b"gzip", length=4, Content_Encoding="gzip")
        return True

    site.answer = answer
    with pytest.raises(UsageError, match="gzip"):
        sinrfmt.load(site.url)


def test_a_total_that_is_not_known_needs_one_request_more(site: Any) -> None:
    def answer(handler: Handler, asked: Asked) -> bool:
        if asked.start < len(site.data):
            handler.part(asked.start, min(asked.end, len(site.data)), total="*")
        return asked.start < len(site.data)

    site.answer = answer
    decoded, n_bytes, n_requests = decode(site)
    assert_right(decoded, BIG)
    assert (n_bytes, n_requests) == (len(BIG), 3)


def test_an_answer_in_chunks_without_a_length_is_read(site: Any) -> None:
    def answer(handler: Handler, asked: Asked) -> bool:
        handler.reply(200, b"", length=None, Transfer_Encoding="chunked")
        for at in range(0, len(BIG), 5000):
            piece = BIG[at : at + 5000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")
        return True

    site.answer = answer
    decoded, _, n_requests = decode(site)
    assert_right(decoded, BIG)
    assert n_requests == 1


def test_a_server_that_is_not_there(site: Any) -> None:
    with pytest.raises(UsageError) as caught:
        sinrfmt.load("http://127.0.0.1:9/field.sinr")
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("kind", ["random", "one by one"])
def test_any_pieces_give_the_same_bytes(site: Any, kind: str) -> None:
    """``get_bytes`` in any order, with steps back."""
    site.data = REAL
    rng = np.random.default_rng(4)
    source = HttpSource(site.url)
    starts = rng.integers(0, len(REAL) + 20, 60).tolist() if kind == "random" else list(range(40))
    for start in starts:
        length = int(rng.integers(1, 400)) if kind == "random" else 1
        assert source.get_bytes(start, length) == REAL[start : start + length]


def test_the_file_is_kept_and_read_again(site: Any) -> None:
    file = RemoteFile(HttpSource(site.url))
    assert file.read(10) == BIG[:10]
    file.seek(3)
    assert (file.read(4), file.tell(), file.n_requests) == (BIG[3:7], 7, 1)


# --- other schemes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.pipe_file("/field.sinr", edit.reindex(BIG))
    yield system
    system.rm("/field.sinr")


def test_fsspec_reads_other_schemes(memory: Any, tmp_path: Path) -> None:
    for n in (1, None):
        with sinrfmt.open("memory://field.sinr", passes=n) as opened:
            assert_right(opened.field, edit.reindex(BIG), n)
            assert (opened.n_requests, opened.fetched_bytes) == (2, len(opened.field.data) + 5 * (n == 1))
    (tmp_path / "field.sinr").write_bytes(REAL)
    assert_right(sinrfmt.load(f"file://{tmp_path}/field.sinr"), REAL)


def test_fsspec_sources_that_change_are_detected(memory: Any) -> None:
    source = remote.open_source("memory://field.sinr")
    source.get_bytes(0, 10)
    memory.pipe_file("/field.sinr", OTHER)
    assert_error("SOURCE_CHANGED", 10, source.get_bytes, 10, 10)


@pytest.mark.parametrize("url", ["memory://nothing.sinr", "nosuch://x/y.sinr", "file:///nowhere/x.sinr"])
def test_sources_that_fsspec_cannot_read(url: str) -> None:
    pytest.importorskip("fsspec")
    assert_error("USAGE", None, sinrfmt.load, url)


def test_without_fsspec_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(UsageError, match=r"sinrfmt\[remote\]"):
        sinrfmt.load("memory://field.sinr")


# --- the command line ------------------------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sinrfmt", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_decode_of_a_url_reports_the_bytes_fetched(site: Any, tmp_path: Path) -> None:
    site.data = edit.reindex(BIG)
    result = run("decode", site.url, tmp_path / "out.npy", "--passes", 1, "--json")
    summary = json.loads(result.stdout)
    expected = sinrfmt.loads(site.data, passes=1)
    assert summary["weights_sha256"] == expected.weights_sha256
    assert summary["n_requests"] == 2
    assert expected.pass_ends[0] <= summary["fetched_bytes"] <= expected.pass_ends[0] + 5
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected.grid())
    plain = run("decode", site.url, tmp_path / "out.npy", "--passes", 1, "--force")
    assert f"fetched {summary['fetched_bytes']} bytes in 2 requests" in plain.stdout


def test_decode_of_a_url_that_fails_is_one_line(site: Any, tmp_path: Path) -> None:
    site.data = REAL[:-1]
    result = run("decode", site.url, tmp_path / "out.png", "--json")
    assert result.returncode == 3
    assert json.loads(result.stdout)["name"] == "TRUNCATED"
    assert not (tmp_path / "out.png").exists()


def test_cut_and_reindex_write_files(tmp_path: Path) -> None:
    source, cut = tmp_path / "in.sinr", tmp_path / "cut.sinr"
    source.write_bytes(REAL)
    summary = json.loads(run("cut", source, "--passes", 2, "-o", cut, "--json").stdout)
    assert cut.read_bytes() == edit.cut(REAL, 2)
    assert summary == {"schema": 1, "file_bytes": cut.stat().st_size, "source_bytes": len(REAL)}
    assert run("cut", source, "--passes", 2, "-o", cut).returncode == 2
    assert run("cut", source, "--passes", 5, "-o", cut, "--force").returncode == 2
    assert run("reindex", source).returncode == 0
    assert source.read_bytes() == edit.reindex(REAL)
    assert run("reindex", source, "-o", cut).returncode == 2
    assert run("reindex", tmp_path / "nothing").returncode == 2
    assert run("verify", source).returncode == 0


# --- the page on streaming -------------------------------------------------------------------------------------------


def test_the_code_of_the_page_runs(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site.data = REAL
    text = (ROOT / "docs" / "streaming.md").read_text().replace("https://example.org/photo.sinr", site.url)
    (tmp_path / "photo.sinr").write_bytes(REAL)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, namespace)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [["pass", str(n)] for n in range(4)]
    assert lines[4:] == ["(32, 48)", f"{len(REAL)} 1"]
    assert namespace["parser"].snapshot().n_passes == 4
    assert namespace["field"].n_passes == 1


@pytest.mark.parametrize("number", [0, 1])
def test_a_preview_of_a_url_takes_no_byte_of_the_passes(site: Any, number: int, tmp_path: Path) -> None:
    small, large = (make_file(header_of(siren(3, width)), [(Coding.PACKED, 0)]).data for width in (3, 90))
    site.data = edit.with_previews(BIG, [small, large])
    payload = edit.previews(site.data)[1].payload
    end = site.data.index(payload) + len(payload) + 4
    with sinrfmt.open(site.url, preview=number) as opened:
        assert opened.field == sinrfmt.loads((small, large)[number])
        assert opened.fetched_bytes == (1024, end + 5)[number] and opened.n_requests == 1 + number
    result = run("decode", site.url, tmp_path / "out.npy", "--preview", number, "--json")
    assert json.loads(result.stdout)["fetched_bytes"] == (1024, end + 5)[number]


def test_a_step_of_a_url_takes_no_byte_behind_it(site: Any) -> None:
    small = make_file(header_of(siren(1, 3)), [(Coding.PACKED, 0)]).data
    site.data = edit.with_previews(BIG, [small])
    ends = sinrfmt.loads(site.data).pass_ends
    for step, n_bytes in enumerate((1024, ends[0] + 5, ends[1] + 5), 1):
        with sinrfmt.open(site.url, step=step) as opened:
            assert opened.field.n_passes == max(1, step - 1)
            assert opened.fetched_bytes == min(max(n_bytes, 1024 if step == 1 else 16384), len(site.data))
