"""The harness judges rightly: it fails what it must fail, and never passes by accident."""

import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conformance import run, self_test
from conformance.mutants import MUTANTS
from conformance.rule_mutants import RULES

SUITE = Path(run.__file__).parent
ORACLE = [sys.executable, str(SUITE / "mutants.py"), "oracle"]


@pytest.mark.parametrize("name", sorted([*MUTANTS, *RULES]))
def test_exactly_the_harmless_survive(name):
    assert self_test.survives(name) == (name in self_test.HARMLESS)


def test_a_base_is_passed_to_the_decoder():
    vector = next(v for v in run.load_manifest()["vectors"] if v["name"] == "valid-shared-scalar")
    seen = []

    def call(arguments, settings):
        seen.append(list(arguments))
        return run.Answer(3, None, "")

    run.run_case(call, SUITE, vector, vector["cases"][0], run.Settings())
    assert seen[0][-2:] == ["--base", str(SUITE / "vectors/valid-base-plain.sinr")]


def test_a_damaged_base_is_not_run(copied_suite):
    manifest = run.load_manifest()
    vector = next(v for v in manifest["vectors"] if v["name"] == "valid-shared-scalar")
    manifest |= {"vectors": [vector], "n_vectors": 1, "n_cases": len(vector["cases"])}
    for path in [*SUITE.glob("vectors/valid-shared-scalar.*"), *SUITE.glob("vectors/valid-base-plain.sinr")]:
        shutil.copy(path, copied_suite / "vectors")
    (copied_suite / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    base = copied_suite / "vectors" / "valid-base-plain.sinr"
    base.write_bytes(base.read_bytes()[:-1])
    _, results = run.run_suite(ORACLE, run.Settings(), root=copied_suite)
    assert [result.verdict for result in results] == [run.NOT_RUN]


@pytest.mark.parametrize("command", ["/bin/true", "/bin/false"])
def test_a_decoder_that_says_nothing_fails_everywhere(command):
    settings = run.Settings(jobs=2)
    _, results = run.run_suite([command], settings, name_filter="min")
    assert results
    assert not any(run.is_passed([result], settings) for result in results)
    assert run.grade_of(results, settings) == ""


@pytest.mark.parametrize("command", ["/bin/true", "/bin/false"])
def test_exit_status_is_one_for_a_wrong_decoder(command, capsys):
    assert run.main(["--filter", "valid-min", "--", command]) == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out


def test_exit_status_is_zero_and_reports_are_written(tmp_path):
    as_json, as_xml = tmp_path / "report.json", tmp_path / "report.xml"
    arguments = ["--filter", "call-", "--json", str(as_json), "--junit", str(as_xml), "--", *ORACLE]
    assert run.main(arguments) == 0
    report = json.loads(as_json.read_text("utf-8"))
    assert report["passed"] is True
    assert report["grade"] == "X"
    assert ElementTree.parse(as_xml).getroot().get("failures") == "0"


def test_an_empty_choice_is_a_failure():
    assert run.main(["--filter", "no-such-vector", "--", "/bin/true"]) == 1


def test_no_results_are_not_a_pass():
    assert not run.is_passed([], run.Settings(grade="R"))


@pytest.fixture
def copied_suite(tmp_path):
    """A suite of one vector in a folder of its own."""
    manifest = run.load_manifest()
    vector = manifest["vectors"][0]
    manifest |= {"vectors": [vector], "n_vectors": 1, "n_cases": len(vector["cases"])}
    (tmp_path / "vectors").mkdir()
    for path in SUITE.glob(f"vectors/{vector['name']}.*"):
        shutil.copy(path, tmp_path / "vectors")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return tmp_path


def test_a_copied_suite_passes(copied_suite):
    settings = run.Settings()
    _, results = run.run_suite(ORACLE, settings, root=copied_suite)
    assert run.is_passed(results, settings)


@pytest.mark.parametrize("suffix", [".sinr", ".npy"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_vector_is_not_run_and_fails(copied_suite, suffix, damage):
    target = next((copied_suite / "vectors").glob(f"*{suffix}"))
    if damage == "missing":
        target.unlink()
    else:
        target.write_bytes(target.read_bytes()[:-1] + b"\x55")
    settings = run.Settings(grade="R")
    _, results = run.run_suite(ORACLE, settings, root=copied_suite)
    assert [result.verdict for result in results] == [run.NOT_RUN]
    assert not run.is_passed(results, settings)


@pytest.mark.parametrize(
    "change",
    [
        {"harness_version": 2},
        {"n_vectors": 2},
        {"n_cases": 9},
        {"vectors": [], "n_vectors": 0, "n_cases": 0},
        {"surprise": 1},
    ],
)
def test_a_manifest_of_another_kind_is_refused(copied_suite, change):
    path = copied_suite / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(run.SuiteError):
        run.run_suite(ORACLE, run.Settings(), root=copied_suite)


def result(verdict: str, profile: str = "CORE") -> run.Result:
    return run.Result("v", "whole", "invalid", profile, verdict, "", 0.0)


@pytest.mark.parametrize(
    ("verdict", "grades"),
    [
        (run.PASS, "RCX"),
        (run.WRONG_OFFSET, "RC"),
        (run.WRONG_CODE, "RC"),
        (run.WRONG_CLASS, "R"),
        (run.ACCEPTED_INVALID, ""),
        (run.REJECTED_VALID, ""),
        (run.WRONG_OUTPUT, ""),
        (run.CRASH, ""),
        (run.TIMEOUT, ""),
        (run.OVER_MEMORY, ""),
        (run.NOT_RUN, ""),
        (run.UNSUPPORTED, ""),
    ],
)
def test_what_each_grade_forgives(verdict, grades):
    holding = [grade for grade in "RCX" if run.is_passed([result(verdict)], run.Settings(grade=grade))]
    assert holding == list(grades)


@pytest.mark.parametrize(("claimed", "holds"), [("CORE", True), ("MAIN", False)])
def test_unsupported_is_allowed_outside_the_claimed_profile(claimed, holds):
    assert run.is_passed([result(run.UNSUPPORTED, "MAIN")], run.Settings(profile=claimed)) is holds


def test_too_little_memory_is_told_from_a_crash():
    vector = run.load_manifest()["vectors"][0]
    settings = run.Settings(memory=8)  # MiB: no interpreter starts in that
    answer = run.run_case(run.process_for_each(ORACLE), SUITE, vector, vector["cases"][0], settings)
    assert answer.verdict == run.OVER_MEMORY


# --- workers (level B) -------------------------------------------------------------------------------

WORKER = [sys.executable, "-m", "conformance.worker", "conformance.mutants"]
ONE_ANSWER = """
import io, sys
from conformance import worker
sys.stdin = io.StringIO(sys.stdin.readline())
worker.main(["conformance.mutants", "oracle"])
"""
WRONG_ID = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"id": json.loads(line)["id"] + 1, "status": 3, "stdout": "", "stderr": ""}), flush=True)
"""


def verdicts(command: list[str], name_filter: str = "valid-min", **settings: object) -> list[str]:
    """The verdicts of a worker."""
    _, results = run.run_suite(command, run.Settings(worker=True, **settings), name_filter=name_filter)
    return [result.verdict for result in results]


def test_the_oracle_passes_as_a_worker():
    found = verdicts([*WORKER, "oracle"], "real", jobs=2)
    assert found and set(found) == {run.PASS}


def test_a_worker_is_judged_by_status_and_lines():
    assert set(verdicts([*WORKER, "two-lines"])) == {run.WRONG_OUTPUT}
    assert set(verdicts([*WORKER, "refuses-everything"])) == {run.REJECTED_VALID}


def test_a_worker_that_ends_is_started_again():
    assert set(verdicts([sys.executable, "-c", ONE_ANSWER])) == {run.PASS}


@pytest.mark.parametrize("command", [["/bin/true"], [sys.executable, "-c", WRONG_ID]])
def test_a_worker_without_an_answer_has_crashed(command):
    assert set(verdicts(command)) == {run.CRASH}


def test_a_worker_that_hangs_is_stopped():
    assert set(verdicts([*WORKER, "hangs"], timeout=0.5)) == {run.TIMEOUT}


def test_a_worker_without_memory_is_told_from_a_crash():
    assert set(verdicts([*WORKER, "oracle"], memory=8)) == {run.OVER_MEMORY}


def test_what_a_library_prints_does_not_come_between_the_replies(tmp_path, monkeypatch):
    (tmp_path / "noisy.py").write_text("import os, sys\nos.write(1, b'noise')\nprint('{}')\nsys.exit(5)\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:.")
    answer = run.Worker([sys.executable, "-m", "conformance.worker", "noisy"])
    found = answer([], run.Settings())
    answer.stop()
    assert found.status == 5 and found.reply == {}
