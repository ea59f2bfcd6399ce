"""Level C for a decoder of local files: gets only the pieces that it needs, then calls the command on them.

Usage: `python -m conformance.fetch COMMAND... -- URL OUT.npy [options]`; with the harness:
`python conformance/run.py --http -- python -m conformance.fetch COMMAND... --`.
"""

import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path

from conformance.framing import pass_ends

FIRST_REQUEST = 16_384  # HEAD and INDX end before (CON-9, clause 12.1)


class Remote:
    """A file at an address, read from its start on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.data = b""
        self.is_whole = False

    def read(self, n_bytes: int) -> None:
        """Get the next bytes, or, from a server without ranges, all of them. A file that is not there is empty."""
        start = len(self.data)
        asked = urllib.request.Request(self._url, headers={"Range": f"bytes={start}-{start + n_bytes - 1}"})
        try:
            with urllib.request.urlopen(asked) as response:
                has_ranges = response.status == HTTPStatus.PARTIAL_CONTENT
                got = response.read()
        except urllib.error.HTTPError:
            self.is_whole = True
            return
        self.data = self.data + got if has_ranges else got
        self.is_whole = not has_ranges or len(got) < n_bytes


def fetched(url: str, n_passes: int | None) -> bytes:
    """The file up to the end of a pass, and what came with it; the whole file without a number."""
    remote = Remote(url)
    while not remote.is_whole:
        remote.read(FIRST_REQUEST)
        if n_passes is not None and len(pass_ends(remote.data)) >= n_passes:
            break
    return remote.data


def asked_passes(options: Sequence[str]) -> int | None:
    """N of `--passes N`; None where it is no number above 0, which is for the command to judge."""
    for option, value in pairwise(options):
        if option == "--passes" and value.isdecimal() and int(value) > 0:
            return int(value)
    return None


def main(argv: Sequence[str]) -> int:
    """Fetch, decode; the exit status of the command."""
    at = argv.index("--")
    command, (url, *rest) = argv[:at], argv[at + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.sinr"
        source.write_bytes(fetched(url, asked_passes(rest)))
        return subprocess.run([*command, str(source), *rest], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
