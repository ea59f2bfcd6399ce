"""Both decoders say the same of files that nobody wrote by hand: predicted ones, changed ones, and old findings."""

import random
from pathlib import Path

import pytest

from conformance import fuzz, soak
from conformance.decoders import Answers, Given, Verdict
from conformance.run import Answer

FINDINGS = sorted(fuzz.FINDINGS.glob("*.sinr"))


def both() -> dict:
    return {name: soak.in_process(module) for name, module in soak.IN_PROCESS.items()}


def test_predicted_files_are_answered_as_predicted(tmp_path):
    expected, wrong = soak.soak(both(), seed=11, n=40, keep=tmp_path)
    assert wrong == []
    assert expected["decoded"] > 10
    assert len(expected) > 4


def test_a_seed_makes_the_same_files(tmp_path):
    errors = {row["name"]: row for row in soak.registry_errors()}
    made = []
    for number in (1, 2, 1):
        vector, case = soak.make(random.Random(number), "file", tmp_path, errors)
        made.append(((tmp_path / vector["file"]["path"]).read_bytes(), case))
    assert made[0] == made[2] != made[1]


def test_a_wrong_answer_is_kept(tmp_path):
    says_nothing = {"mute": lambda arguments, settings: Answer(0, None, "")}
    _, wrong = soak.soak(says_nothing, seed=1, n=3, keep=tmp_path)
    assert len(wrong) == len(list(tmp_path.glob("*.sinr"))) == 3


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_changed_vectors_are_judged_alike(kind, tmp_path):
    report = fuzz.run(kind, seed=5, inputs=400, seconds=300, folder=tmp_path)
    assert report.findings == {}
    assert report.inputs == 400
    assert len(report.verdicts) > 9


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(100, 104))
@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_many_changed_vectors_are_judged_alike(kind, seed):
    report = fuzz.run(kind, seed=seed, inputs=20_000, seconds=500, folder=fuzz.FINDINGS)
    assert report.findings == {}


def test_a_made_right_acc_crc_decodes():
    """A changed body gets through to the digests: the comparison is not one of refusals alone."""
    report = fuzz.run("structured", seed=5, inputs=400, seconds=300)
    assert report.verdicts.total() > report.inputs
    assert report.verdicts["decoded"] > 0


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (lambda given: Answers(Verdict("A", 1, "x", 0), Verdict("A", 1, "x", 1)), "disagreement"),
        (lambda given: {}[given], "crash-KeyError"),
        (lambda given: bytearray(1 << 62), "memory"),
    ],
)
def test_what_is_wrong_becomes_a_file(answer, wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "ask_both", answer)
    given = Given(b"SIN", passes=2, partial=True, base=b"base")
    report = fuzz.Report()
    fuzz.try_one(given, report, tmp_path)
    assert [name.startswith(wrong) for name in report.findings] == [True]
    (path,) = tmp_path.glob("*.sinr")
    assert fuzz.read_finding(path) == given


def test_a_hang_is_found(monkeypatch):
    monkeypatch.setattr(fuzz, "CPU_SECONDS", 0.05)
    monkeypatch.setattr(fuzz, "ask_both", lambda given: [None for _ in iter(int, 1)])
    assert fuzz.judge(Given(b"")) == ("hang", None)


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.stem)
def test_old_findings_stay_mended(path: Path):
    assert fuzz.judge(fuzz.read_finding(path))[0] == ""
