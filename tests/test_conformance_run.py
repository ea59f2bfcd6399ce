"""The harness judges rightly: it fails what it must fail, and never passes by accident."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from conformance import framing, fresh, reports, run, self_test, stream
from conformance.stream_mutants import STREAMS

SUITE = Path(run.__file__).parent
ORACLE = [sys.executable, str(SUITE / "mutants.py"), "oracle"]


TABLE = (SUITE / "mutants.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(self_test.TRIALS))
def test_exactly_the_mutants_are_caught_as_the_table_says(name):
    caught = self_test.caught_by(name)
    assert bool(caught) == (name not in self_test.HARMLESS)
    assert self_test.row(name, caught) in TABLE


def test_the_table_has_no_other_mutants():
    assert re.findall(r"^\| `(.+?)`", TABLE, re.MULTILINE) == list(self_test.TRIALS)


def test_the_self_test_fails_when_a_mutant_survives(monkeypatch, capsys):
    few = {"oracle": self_test.TRIALS["oracle"], "wrong-code": ("an answer", lambda name: [])}
    monkeypatch.setattr(self_test, "TRIALS", few)
    assert run.main(["--self-test"]) == 1
    assert "wrong-code: survives" in capsys.readouterr().out


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
    files = {kind: tmp_path / f"report.{kind}" for kind in reports.WRITERS}
    asked = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    assert run.main(["--filter", "call-coords", "--fresh", "0", *asked, "--", *ORACLE]) == 0
    report = json.loads(files["json"].read_text("utf-8"))
    assert report["passed"] is True
    assert report["grade"] == report["grades"]["CORE"]["1"] == "X"
    assert ElementTree.parse(files["junit"]).getroot().get("failures") == "0"
    assert "CORE@5 X (part)" in "".join(ElementTree.parse(files["badge"]).getroot().itertext())
    jsonschema.validate(report, json.loads((SUITE / "report.schema.json").read_text("utf-8")))


def test_the_matrix_has_a_square_for_every_vector_clause_and_decoder():
    vectors = [vector for vector in run.load_manifest()["vectors"] if vector["name"].startswith("valid-min")]
    results = [replace(result(run.PASS), vector=vector["name"], clauses=tuple(vector["clauses"])) for vector in vectors]
    wrong = [replace(one, verdict=run.CRASH, detail="<b>") for one in results]
    page = reports.matrix(made_report("right", results), made_report("wrong", wrong)).decode()
    n_cited = sum(len(vector["clauses"]) for vector in vectors)
    assert page.count('<i class="pass" title') == page.count('<i class="crash" title') == n_cited
    assert "<b>" not in page.split("what did not pass")[1]


def made_report(name: str, results: list[run.Result]) -> run.Json:
    settings = run.Settings()
    return {
        **{"decoder": name, "command": [name], "filter": "", "suite_version": "0", "manifest_sha256": "0" * 64},
        **{"profile": "CORE", "level": 5, "claimed_grade": "X", "grade": "X", "grades": {"CORE": {"1": "X"}}},
        **{"passed": run.is_passed(results, settings), "verdicts": reports.counts(results)},
        "results": [reports.result_object(one, settings) for one in results],
    }


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
        (run.NOT_INCREMENTAL, ""),
        (run.UNSUPPORTED, ""),
    ],
)
def test_what_each_grade_forgives(verdict, grades):
    holding = [grade for grade in "RCX" if run.is_passed([result(verdict)], run.Settings(grade=grade))]
    assert holding == list(grades)


@pytest.mark.parametrize(("claimed", "holds"), [("CORE", True), ("MAIN", False)])
def test_unsupported_is_allowed_outside_the_claimed_profile(claimed, holds):
    assert run.is_passed([result(run.UNSUPPORTED, "MAIN")], run.Settings(profile=claimed)) is holds


@pytest.mark.parametrize(("level", "holds"), [(2, True), (3, False)])
def test_unsupported_is_allowed_above_the_claimed_level(level, holds):
    one = replace(result(run.UNSUPPORTED), level=3)
    assert run.is_passed([one], run.Settings(level=level)) is holds


def test_limits_of_the_caller_are_unsupported_above_the_claimed_level():
    vector = next(v for v in run.load_manifest()["vectors"] if v["name"] == "valid-real-image")
    data = (SUITE / vector["file"]["path"]).read_bytes()
    answer = run.Answer(5, {"code": 407, "name": "LIMIT_CALLER", "class": "limit", "offset": None}, "")
    found = run.run_case(lambda *_: answer, SUITE, vector, vector["cases"][0], run.Settings(level=1))
    assert (framing.level_of(data), found.verdict) in {(1, run.REJECTED_VALID), (2, run.UNSUPPORTED)}


@pytest.mark.parametrize(
    ("stream_verdict", "grade", "best"),
    [(run.PASS, "XPM", "XPM"), (run.PASS, "X", "XP"), (run.NOT_INCREMENTAL, "XPM", "XM"), (None, "XM", "XM")],
)
def test_letters_behind_the_grade(stream_verdict, grade, best):
    results = [result(run.PASS)]
    if stream_verdict:
        results.append(replace(result(stream_verdict), operation="stream"))
    assert run.grade_of(results, run.Settings(grade=grade)) == best


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


# --- files made for the run --------------------------------------------------------------------------


def made_files(tmp_path: Path, seed: int = 1) -> list[bytes]:
    vectors = [vector for vector in run.load_manifest()["vectors"] if "real" in vector["name"]]
    made = fresh.fresh_vectors(vectors, SUITE, tmp_path, seed, 12)
    return [Path(vector["file"]["path"]).read_bytes() for vector in made]


def test_fresh_files_are_in_no_list_and_follow_from_the_seed(tmp_path):
    known = {hash(path.read_bytes()) for path in SUITE.glob("vectors/*.sinr")}
    files = made_files(tmp_path)
    assert files == made_files(tmp_path)
    assert files != made_files(tmp_path, seed=2)
    assert not known & {hash(data) for data in files}


def test_a_cache_of_digests_fails_the_suite(capsys):
    cache = [sys.executable, str(SUITE / "mutants.py"), "cache-of-digests"]
    assert run.main(["--filter", "valid-min", "--fresh", "0", "--", *cache]) == 0
    assert run.main(["--filter", "valid-min", "--fresh", "3", "--seed", "1", "--", *cache]) == 1
    assert "fresh-0-insert" in capsys.readouterr().out


RESEALING = """import runpy, sys
from pathlib import Path
from conformance.framing import resealed
source = Path(sys.argv[1])
copy = Path(sys.argv[2]).with_name("resealed.sinr")
copy.write_bytes(resealed(source.read_bytes()))
sys.argv[1] = str(copy)
runpy.run_module("reference_decoder", run_name="__main__")
"""


def test_a_right_decoder_that_reseals_before_it_reads_fails_the_suite(monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(SUITE.parent))
    command = [sys.executable, "-c", RESEALING]
    assert run.main(["--filter", "valid-min", "--fresh", "0", "--", *command]) == 0
    assert run.main(["--filter", "invalid-crc-head", "--fresh", "0", "--", *command]) == 1
    assert run.ACCEPTED_INVALID in capsys.readouterr().out


# --- files in pieces (grade P) -----------------------------------------------------------------------


@pytest.mark.parametrize("name", stream.PARTITIONS)
def test_a_partition_is_the_whole_file(name):
    data = (SUITE / "vectors" / "valid-pass-ancillary.sinr").read_bytes()
    ends = stream.PARTITIONS[name](data)
    assert ends[-1] == len(data)
    assert all(a < b for a, b in zip([0, *ends], ends, strict=False))


@pytest.mark.parametrize(
    "command",
    [
        ["reference_decoder"],
        ["--stream", "conformance.adapters.push:Push", "sinrfmt", "decode", "--json", "--force"],
    ],
    ids=["reference_decoder", "sinrfmt"],
)
@pytest.mark.parametrize(
    "name",
    [
        *("valid-pass-some", "valid-hash-two", "valid-shared-scalar", "valid-parts-lanes"),
        *("invalid-crc-second-pass", "invalid-parts-pass-early", "invalid-signature-first", "invalid-widths-hash"),
    ],
)
def test_both_decoders_read_files_in_pieces(command, name):
    worker = [sys.executable, "-m", "conformance.worker", *command]
    results = run.run_streams(worker, run.Settings(worker=True, grade="XP"), name_filter=name)
    assert {one.verdict for one in results} == {run.PASS}
    assert {one.case for one in results} == {f"stream-{name}" for name in stream.PARTITIONS}


def test_a_worker_that_cannot_be_fed_has_not_grade_p():
    echo = "import json, sys\nfor line in sys.stdin: print(json.dumps({'id': json.loads(line)['id']}), flush=True)"
    results = run.run_streams([sys.executable, "-c", echo], run.Settings(worker=True), name_filter="valid-min")
    assert {one.verdict for one in results} == {run.CRASH}
    assert run.grade_of([result(run.PASS), *results], run.Settings(grade="XP")) == "X"


def test_a_stream_that_hangs_is_told_from_a_crash():
    hangs = [sys.executable, "-c", "import time; time.sleep(60)"]
    results = run.run_streams(hangs, run.Settings(worker=True, timeout=0.1), name_filter="valid-min-raw")
    assert {one.verdict for one in results} == {run.TIMEOUT}


def test_streams_of_mutants_answer_rightly_for_the_whole_file():
    """They are wrong in their events alone: the verdict is about these."""
    vector = next(v for v in run.load_manifest()["vectors"] if v["name"] == "valid-hash-two")
    data, expect = (SUITE / vector["file"]["path"]).read_bytes(), vector["cases"][0]["expect"]
    late = STREAMS["stream-needs-whole-file"](data, expect)
    found = {name: verdict for name, verdict, _ in stream.judge_vector(late, data, expect, [])}
    assert found == dict.fromkeys(stream.PARTITIONS, run.NOT_INCREMENTAL) | {"whole": run.PASS}


# --- from a server (level C) --------------------------------------------------------------------------

EAGER = """import sys
from conformance import fetch
fetch.asked_passes = lambda _: None
sys.exit(fetch.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("reader", "worst"), [(["-m", "conformance.fetch"], run.PASS), (["-c", EAGER], run.NOT_INCREMENTAL)]
)
def test_a_reader_of_ranges_fetches_what_a_prefix_needs(reader, worst, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(SUITE.parent))
    command = [sys.executable, *reader, sys.executable, "-m", "reference_decoder", "--"]
    settings = run.Settings(http=True)
    results = run.run_fresh(command, settings, seed=0, count=0, name_filter="valid-pass-2")
    results += run.run_fresh(command, settings, seed=0, count=0, name_filter="valid-real-image")
    assert len(results) >= 2
    assert worst in {one.verdict for one in results} <= {run.PASS, worst}


# --- memory (grade M) ---------------------------------------------------------------------------------


def test_the_bound_grows_with_level_and_chunk():
    vectors = {vector["name"]: vector for vector in run.load_manifest()["vectors"]}
    small, large = (
        run.bounded(run.Settings(), 100, SUITE, vector, vector["cases"][0]).memory
        for vector in (vectors["valid-min-raw"], vectors["invalid-record-limit-parameters-most"])
    )
    assert 100 + 36 < small < 100 + 40
    assert large > 4096


@pytest.mark.parametrize(
    ("feature", "n_bytes"),
    [
        (framing.SPARSE, 8 * 4_194_304),
        (framing.PARTS, 64 << 14),
        (framing.SPARSE | framing.PARTS, (32 << 20) + (1 << 20)),
    ],
)
def test_the_bound_grows_with_sparse_codes_and_parts(tmp_path, feature, n_bytes):
    data = bytearray((SUITE / "vectors" / "valid-min-raw.sinr").read_bytes())
    sizes = []
    for features in (0, feature):
        data[framing.FEATURES_OFFSET] = features
        (tmp_path / "in.sinr").write_bytes(data)
        vector, case = {"file": {"path": "in.sinr"}}, {"expect": {}}
        sizes.append(run.bounded(run.Settings(), 100, tmp_path, vector, case).memory)
    assert sizes[1] - sizes[0] == n_bytes >> 20


def test_cases_run_in_the_order_of_their_limits_and_are_reported_in_that_of_the_suite(monkeypatch):
    asked = []

    def call(arguments, settings):
        asked.append(settings.memory)
        return run.Answer(0, None, "")

    limits = iter((7, 9, 7, 8))
    monkeypatch.setattr(run, "program_memory", lambda *_: 0)
    monkeypatch.setattr(run, "bounded", lambda settings, *_: replace(settings, memory=next(limits)))
    monkeypatch.setattr(run, "_judge", lambda *_: (run.PASS, ""))
    vectors = run.load_manifest()["vectors"][:4]
    chosen = [vector | {"cases": vector["cases"][:1]} for vector in vectors]
    results = run._run_vectors(call, chosen, SUITE, run.Settings(grade="XM"))
    assert asked == [7, 7, 8, 9]
    assert [result.vector for result in results] == [vector["name"] for vector in vectors]


AGED = """
import json, sys
status = 0
for line in sys.stdin:
    print(json.dumps({"id": json.loads(line)["id"], "status": status, "stdout": "{}", "stderr": ""}), flush=True)
    status = 3
"""


def test_a_worker_is_asked_once_more_in_a_process_that_has_done_nothing_else(monkeypatch):
    """AGED refuses every call but its first."""
    monkeypatch.setattr(run, "_judge", lambda answer, *_: (run.REJECTED_VALID if answer.status else run.PASS, ""))
    command = [sys.executable, "-c", AGED]
    assert run.PASS not in verdicts(command, "valid-min")[1:]
    assert set(verdicts(command, "valid-min", memory=4096)) == {run.PASS}


def test_what_fails_under_the_limit_alone_needs_too_much_memory():
    vector = next(v for v in run.load_manifest()["vectors"] if v["name"] == "valid-min-raw")

    def call(arguments, settings):
        return run.Answer(3, {"name": "BAD_COMPRESSED_DATA", "offset": 1}, "") if settings.memory else right(arguments)

    right = lambda arguments: run.process_for_each(ORACLE)(arguments, run.Settings())  # noqa: E731
    case = vector["cases"][0]
    assert run.run_case(call, SUITE, vector, case, run.Settings(memory=1)).verdict == run.OVER_MEMORY
    assert run.run_case(call, SUITE, vector, case, run.Settings()).verdict == run.PASS


# --- the first step ----------------------------------------------------------------------------------

TEMPLATES = SUITE / "templates"
COMPILER = shutil.which("cc") or shutil.which("gcc")


def template_command(language: str, folder: Path) -> list[str]:
    if language == "python":
        return [sys.executable, str(TEMPLATES / "python" / "decoder.py")]
    if language == "javascript":
        return [shutil.which("node") or "", str(TEMPLATES / "javascript" / "decoder.mjs")]
    built = folder / "decoder"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-o", str(built)]
    subprocess.run([COMPILER, *flags, str(TEMPLATES / "c" / "decoder.c"), "-lm"], check=True, capture_output=True)
    return [str(built)]


@pytest.mark.parametrize(
    "language",
    [
        "python",
        pytest.param("javascript", marks=pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")),
        pytest.param("c", marks=pytest.mark.skipif(not COMPILER, reason="no C compiler is installed")),
    ],
)
def test_a_template_passes_the_first_vectors(language, tmp_path):
    command = template_command(language, tmp_path)
    assert run.main(["--filter", "valid-min", "--fresh", "9", "--seed", "4", "--", *command]) == 0
