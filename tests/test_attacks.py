"""SECURITY.md: small hostile files have one answer, given in little memory and time, whatever decoder reads them."""

import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from conformance.calls import Answer, Call, calling
from conformance.claims import Settings
from conformance.run import load_manifest
from tests.attacks import make

MEMORY = 640  # MiB of address space, of which the interpreter and NumPy take most
SECONDS = 60.0  # a hang, on however loaded a machine
LARGEST_FILE = 1 << 15
SETTINGS = Settings(worker=True, memory=MEMORY, timeout=SECONDS)
DECODERS = {"reference_decoder": ["reference_decoder"], "sinrfmt": ["sinrfmt", "decode", "--json", "--force"]}
ANSWERS = json.loads((make.FOLDER / "attacks.json").read_text("utf-8"))
NAMES = [answer["name"] for answer in ANSWERS]
LIBRARIES = {"bomb-brotli": "brotli", "bomb-zstandard": "zstandard"}


@pytest.fixture(scope="module", params=DECODERS)
def decoder(request: pytest.FixtureRequest) -> Iterator[Call]:
    """A worker in a process under a limit of memory; a new one after a crash or a hang."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLAS_NUM_THREADS", "1")  # each thread of the library reserves memory
        command = [sys.executable, "-m", "conformance.worker", *DECODERS[request.param]]
        with calling(command, SETTINGS) as call:
            yield call


def attacked(call: Call, name: str, out: Path) -> Answer:
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    return call([str(make.FOLDER / f"{name}.sinr"), str(out)], SETTINGS)


@pytest.mark.parametrize("expected", [a for a in ANSWERS if a["error"]], ids=lambda answer: answer["name"])
def test_an_attack_is_refused_with_its_code_and_writes_nothing(decoder: Call, expected: dict, tmp_path: Path) -> None:
    answer = attacked(decoder, expected["name"], tmp_path / "out.npy")
    reply = answer.reply or {}
    assert (reply.get("name"), reply.get("offset")) == (expected["error"], expected["offset"]), answer.stderr
    assert answer.status == exit_statuses()[expected["error"]]
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize("name", [a["name"] for a in ANSWERS if not a["error"]])
def test_an_odd_file_that_is_valid_decodes_as_without_its_oddity(decoder: Call, name: str, tmp_path: Path) -> None:
    answer = attacked(decoder, name, tmp_path / "out.npy")
    weights = struct.pack("<3f", *(acc * make.STEP_SIZE for acc in make.ACC))
    assert answer.reply is not None, answer.stderr
    assert answer.reply["weights_sha256"] == hashlib.sha256(weights).hexdigest()


def test_the_files_are_those_of_the_script() -> None:
    attacks = make.attacks()
    assert [attack.name for attack in attacks] == NAMES
    assert sorted(NAMES) == sorted(path.stem for path in make.FOLDER.glob("*.sinr"))
    for attack, answer in zip(attacks, ANSWERS, strict=True):
        assert (make.FOLDER / f"{attack.name}.sinr").read_bytes() == attack.data, attack.name
        assert len(attack.data) <= LARGEST_FILE
        assert (attack.title, attack.error, attack.offset) == (answer["title"], answer["error"], answer["offset"])


@cache
def exit_statuses() -> dict[str, int]:
    """Of clause 15, as the vectors of each error say; no vector has the caller's limit."""
    found = {"LIMIT_CALLER": 5}
    for vector in load_manifest()["vectors"]:
        for case in vector["cases"]:
            if "exit" in case["expect"]:
                found[case["expect"]["name"]] = case["expect"]["exit"]
    return found
