"""The suite reaches what it claims: lines of the reference decoder, rows of the matrix, every bit of small files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import coverage, flips, matrix
from conformance.chunks import seal, split
from conformance.run import ROOT, load_manifest

SMALLEST = "valid-min-packed"


@pytest.fixture(scope="module")
def found() -> dict:
    return matrix.matrix()


def test_vectors_alone_reach_every_line_and_branch():
    """In a process of its own: what a test has imported or run before must not count."""
    command = [sys.executable, "-m", "conformance.coverage"]
    done = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_unreached_line_is_said():
    """Of the smallest file alone nearly nothing is reached: the gate can fail."""
    script = "from conformance.coverage import *\n"
    script += "report, failed = measure([v for v in load_manifest()['vectors'] if v['name'] == sys.argv[1]])\n"
    script += "print(len(failed), *judge(report), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", script, SMALLEST], cwd=ROOT.parent, capture_output=True, text=True, check=True
    )
    n_failed, *wrong = done.stdout.splitlines()
    assert n_failed == "0"
    assert any(line.startswith("trellis.py:") for line in wrong)


def test_every_exception_is_one_line_of_the_source():
    for row in coverage.unreached():
        assert row.lines(), row
        assert row.why


def test_every_row_of_the_matrix_has_a_vector_or_a_reason(found):
    assert matrix.gaps(found) == []


def test_the_matrix_is_up_to_date(found):
    assert (ROOT / "matrix.json").read_text("utf-8") == matrix.text(found)


def test_a_row_without_a_vector_is_said(found):
    without = json.loads(json.dumps(found))
    without["error"]["BAD_TABLE"]["n"] = 0
    assert matrix.gaps(without) == ["error BAD_TABLE"]


def test_rows_name_vectors_of_the_manifest(found):
    names = {vector["name"] for vector in load_manifest()["vectors"]}
    assert {name for rows in found.values() for row in rows.values() for name in row["vectors"]} <= names


def test_sealing_restores_every_valid_file():
    paths = sorted(Path(ROOT / "vectors").glob("valid-*.sinr"))
    assert len(paths) > 500
    assert [path.name for path in paths if seal(split(path.read_bytes())) != path.read_bytes()] == []


@pytest.mark.parametrize("name", [SMALLEST, "invalid-crc-pass"])
def test_every_bit_error_of_a_small_file_is_found_or_harmless(name, capsys):
    assert flips.main(["--filter", name]) == 0
    assert "accepted" not in capsys.readouterr().out


def test_an_accepted_flip_would_be_said():
    ((_, given),) = [pair for pair in flips.small_vectors(200, SMALLEST) if pair[0]["name"] == SMALLEST]
    whole = flips.ask_both(given)
    assert flips.judge(whole, whole, is_parent=False) == "accepted"
