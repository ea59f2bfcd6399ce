"""Both decoders say the same of files that nobody wrote by hand: predicted ones, changed ones, and old findings."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import decoders, fuzz, soak
from conformance.decoders import Answers, Given, Verdict
from conformance.generate.describe import RANS, Context
from conformance.run import ROOT, Answer

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
    kept = [path.stem for path in tmp_path.glob("*.sinr")]
    assert sorted(result.vector for result in wrong) == sorted(name for name in kept if not name.endswith("-base"))
    assert len(wrong) == 3


def test_predicted_files_have_latents_of_both_contexts_and_bases():
    files = [soak.random_file(random.Random(number)) for number in range(300)]
    coded = [
        f for f in files for p in f.passes if p.coding == RANS if any(Context() in e.latent_models for e in p.entries)
    ]
    assert {getattr(file.head.records[0], "context_id", 0) for file in coded} == {1, 2}
    relative = [file for file in files if file.base]
    assert any(entry.sparse for file in relative for p in file.passes for entry in p.entries)


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_changed_vectors_are_judged_alike(kind, tmp_path):
    report = fuzz.run(kind, 5, range(400), fuzz.corpus(), seconds=300, folder=tmp_path)
    assert report.findings == {}
    assert report.inputs == 400
    assert len(report.verdicts) > 9


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(100, 104))
@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_many_changed_vectors_are_judged_alike(kind, seed):
    report = fuzz.run_blocks(kind, seed, inputs=20_000, seconds=500, folder=fuzz.FINDINGS, log=None)
    assert report.findings == {}


def test_a_made_right_acc_crc_decodes():
    """A changed body gets through to the digests: the comparison is not one of refusals alone."""
    report = fuzz.run("structured", 5, range(400), fuzz.corpus(), seconds=300)
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


# --- blocks of inputs --------------------------------------------------------------------------------


def test_an_input_is_made_by_its_number():
    source = fuzz.corpus()
    for kind in fuzz.KINDS:
        whole = list(fuzz.made(kind, 3, range(250), source))
        assert list(fuzz.made(kind, 3, range(130, 205), source)) == whole[130:205]
        assert list(fuzz.made(kind, 4, range(9), source)) != whole[:9]


def test_small_files_are_drawn_more_often_and_large_ones_too():
    seeds = [fuzz.Seed(str(size), bytes(size), None) for size in (40, 400)]
    rng, source = random.Random(1), fuzz.Seeds(seeds)
    drawn = [source.draw(rng).name for _ in range(1100)]
    assert 60 < drawn.count("400") < 140


def test_a_log_is_continued_where_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "BLOCK", 30)
    log = tmp_path / "log"
    whole = fuzz.run_blocks("raw", 1, inputs=100, seconds=300, folder=tmp_path, log=None)
    for inputs in (50, 100):
        found = fuzz.run_blocks("raw", 1, inputs=inputs, seconds=300, folder=tmp_path, log=log)
    assert (found.inputs, found.verdicts) == (100, whole.verdicts)
    blocks = [json.loads(line)["inputs"] for line in log.read_text("utf-8").splitlines()]
    assert blocks == [30, 20, 30, 20]
    assert fuzz.logged(log, "raw", 2).inputs == fuzz.logged(log, "structured", 1).inputs == 0


def test_the_input_that_ends_its_process_is_found(tmp_path, monkeypatch):
    source = fuzz.corpus()
    (deadly,) = fuzz.made("raw", 1, range(37, 38), source)

    def ask(given: Given) -> Answers:
        if given == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return Answers(Verdict("A"), Verdict("A"))

    monkeypatch.setattr(fuzz, "ask_both", ask)
    report = fuzz.run_apart("raw", 1, range(60), source, seconds=300, folder=tmp_path)
    assert (report.inputs, report.verdicts) == (60, {"A": 59, "killed": 1})
    (path,) = tmp_path.glob("killed-*.sinr")
    assert fuzz.read_finding(path) == deadly


def test_what_a_head_that_was_remembered_gives_is_what_one_read_anew_gives():
    for seed in fuzz.corpus().seeds.all[::8]:
        given = Given(seed.data, base=seed.base)
        with decoders.heads(remembered=True):
            found = [decoders.ask_both(given) for _ in range(2)]
        assert [decoders.ask_both(given)] * 2 == found


def test_a_finding_is_judged_again_with_heads_read_anew(monkeypatch):
    """What only the memory does is no fault of a decoder."""
    answers = iter([Answers(Verdict("A"), Verdict("B")), Answers(Verdict("A"), Verdict("A"))])
    monkeypatch.setattr(fuzz, "ask_both", lambda given: next(answers))
    assert fuzz.judge(Given(b""))[0] == ""


NO_ROOM = """
import importlib, resource, sys
decoder = importlib.import_module(sys.argv[1])
data = open(sys.argv[2], "rb").read()
decode = getattr(decoder, "decode", None) or decoder.loads
decode(data)
(size,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize")]
resource.setrlimit(resource.RLIMIT_AS, ((int(size) << 10) + (4 << 20),) * 2)
try:
    decode(data)
except MemoryError:
    print("no room")
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the size of a process is read from /proc")
@pytest.mark.parametrize("name", decoders.NAMES)
def test_a_window_that_finds_no_room_is_not_called_bad_data(name):
    """Found by grade M: the library of Zstandard says so by the error that it has for bad data."""
    file = ROOT / "vectors" / "valid-main-zstandard-window.sinr"
    done = subprocess.run([sys.executable, "-c", NO_ROOM, name, file], capture_output=True, text=True, check=False)
    assert done.stdout == "no room\n", done.stderr


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.stem)
def test_old_findings_stay_mended(path: Path):
    assert fuzz.judge(fuzz.read_finding(path))[0] == ""
