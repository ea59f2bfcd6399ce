"""What other programs read of the format: the magic of `file`, the entry for MIME types."""

import re
import shutil
import subprocess
import tomllib
from xml.etree import ElementTree

import pytest

from conformance.run import ROOT as SUITE

SPEC = SUITE.parent / "spec"
MIME = "{http://www.freedesktop.org/standards/shared-mime-info}"
FORMAT = tomllib.loads((SPEC / "registry.toml").read_text("utf-8"))["format"]


def described(name: str, *options: str) -> str:
    command = ["file", "--brief", *options, "-m", str(SPEC / "sinr.magic"), str(SUITE / "vectors" / f"{name}.sinr")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def raw(text: str) -> str:
    """Hexadecimal of a text with escapes."""
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1").hex()


def test_the_mime_entry_is_that_of_the_registry():
    (entry,) = ElementTree.parse(SPEC / "sinr.xml").getroot().findall(f"{MIME}mime-type")
    (match,) = entry.iter(f"{MIME}match")
    (glob,) = entry.iter(f"{MIME}glob")
    assert entry.get("type") == FORMAT["media_type"]
    assert glob.get("pattern") == f"*{FORMAT['extension']}"
    assert (raw(match.get("value", "")), match.get("offset")) == (FORMAT["signature"], "0")


def test_the_magic_is_that_of_the_registry():
    text = (SPEC / "sinr.magic").read_text("utf-8")
    assert raw(re.search(r"^0\tstring\t(\S+)", text, re.MULTILINE)[1]) == FORMAT["signature"]
    assert f"!:mime\t{FORMAT['media_type']}" in text
    assert f"!:ext\t{FORMAT['extension'].removeprefix('.')}" in text


@pytest.mark.skipif(not shutil.which("file"), reason="file(1) is not installed")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("valid-min-packed", "SINR implicit neural representation, version 1.0, profile CORE level 1"),
        ("valid-main-zstandard", "SINR implicit neural representation, version 1.0, profile MAIN level 1"),
        ("valid-head-minor-version", "SINR implicit neural representation, version 1.15, profile CORE level 1"),
    ],
)
def test_file_says_what_a_file_is(name, expected):
    assert described(name).startswith(expected)
    assert described(name, "--mime-type") == FORMAT["media_type"]


@pytest.mark.skipif(not shutil.which("file"), reason="file(1) is not installed")
def test_file_does_not_say_it_of_another_signature():
    assert "SINR" not in described("invalid-signature-first")


def test_permissiveness_names_every_liberty_of_the_text():
    text = (SPEC / "sinr-1.md").read_text("utf-8").split("## 1 ")[1]
    lines = [line for line in text.splitlines() if re.search(r"\bMAY\b", line)]
    page = (SPEC / "permissiveness.md").read_text("utf-8")
    named = re.findall(r"\*\*\[([A-Z]{3}-\d+)\]", "\n".join(lines))
    assert named
    assert [name for name in named if f"| {name} |" not in page] == []
