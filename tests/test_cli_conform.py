"""`sinrfmt conform` hands its words to the harness and gives its exit status back."""

from pathlib import Path

import pytest

from conformance.run import ROOT
from tests.test_cli import run

FIRST = ("--filter", "valid-min", "--fresh", 3, "--seed", 1)
TEMPLATE = ("python3", ROOT / "templates" / "python" / "decoder.py")


@pytest.mark.parametrize("suite", [(), ("--suite", ROOT)])
def test_a_right_decoder_ends_with_status_0(suite: tuple[str, ...]) -> None:
    result = run("conform", *FIRST, *suite, "--", *TEMPLATE)
    assert result.returncode == 0, result.stderr
    assert "grade X: holds" in result.stdout


def test_a_wrong_decoder_ends_with_status_1() -> None:
    result = run("conform", *FIRST, "--", "/bin/true", "--", "--filter")
    assert result.returncode == 1
    assert "DOES NOT HOLD" in result.stdout


def test_without_the_suite_it_says_what_to_do(tmp_path: Path) -> None:
    result = run("conform", "--suite", tmp_path, "--", "/bin/true")
    assert result.returncode == 2
    assert "get the source tree" in result.stderr and "--suite" in result.stderr


def test_without_a_decoder_it_is_a_wrong_call() -> None:
    result = run("conform")
    assert result.returncode == 2
    assert "the decoder is missing" in result.stderr
