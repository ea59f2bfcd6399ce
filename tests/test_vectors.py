"""Both decoders of the project give the right answer on every vector, by the contract of clause 15."""

import importlib.util
import json
import os
import sys

import numpy as np
import pytest

from conformance import run, self_test
from sinrfmt import philox

DECODERS = {"reference_decoder": ["reference_decoder"], "sinrfmt": ["sinrfmt", "decode", "--json", "--force"]}
# Files that announce far more than they hold: their vectors cite the clause on memory.
GREEDY = "LIM-2"
ADDRESS_SPACE = 4096  # MiB; an interpreter with NumPy reserves some hundreds for each thread of its library
PROFILE = {"reference_decoder": "CORE", "sinrfmt": "MAIN"}


def claim(decoder: str, **settings: object) -> run.Settings:
    """Grade X in the decoder's profile."""
    return run.Settings(profile=PROFILE[decoder], jobs=min(2, os.cpu_count() or 1), **settings)


def failures(results: list[run.Result], settings: run.Settings) -> list[str]:
    """What does not hold, as text."""
    return [
        f"{result.verdict} {result.vector} [{result.case}] {result.detail} {result.stderr[-200:]}"
        for result in results
        if not run.is_passed([result], settings)
    ]


@pytest.fixture(autouse=True)
def libraries_of_profile(request):
    """Profile MAIN needs two optional libraries."""
    decoder = request.node.callspec.params.get("decoder") if hasattr(request.node, "callspec") else None
    if PROFILE.get(decoder) == "MAIN" and not all(importlib.util.find_spec(name) for name in ("brotli", "zstandard")):
        pytest.skip("brotli and zstandard are not installed")


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_vector_in_one_process(decoder):
    settings = claim(decoder, worker=True)
    command = [sys.executable, "-m", "conformance.worker", *DECODERS[decoder]]
    manifest, results = run.run_suite(command, settings)
    assert failures(results, settings) == []
    assert len(results) == manifest["n_cases"]


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_kind_of_answer_in_a_process_of_its_own(decoder):
    settings = claim(decoder)
    call = run.process_for_each([sys.executable, "-m", *DECODERS[decoder]])
    vectors = [vector for vector in run.load_manifest()["vectors"] if vector["name"] in self_test.SAMPLE]
    results = [run.run_case(call, run.ROOT, vector, case, settings) for vector in vectors for case in vector["cases"]]
    assert failures(results, settings) == []
    assert {result.vector for result in results} == set(self_test.SAMPLE)


@pytest.mark.parametrize("decoder", DECODERS)
def test_greedy_files_are_refused_in_little_memory(decoder, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    settings = claim(decoder, memory=ADDRESS_SPACE)
    call = run.process_for_each([sys.executable, "-m", *DECODERS[decoder]])
    vectors = [vector for vector in run.load_manifest()["vectors"] if GREEDY in vector["clauses"]]
    results = [run.run_case(call, run.ROOT, vector, case, settings) for vector in vectors for case in vector["cases"]]
    assert results
    assert failures(results, settings) == []


@pytest.mark.parametrize(
    "table",
    json.loads((run.ROOT / "known-answers.json").read_text("utf-8"))["dictionary"],
    ids=lambda table: f"{table['clause']}-seed-{table['seed']}",
)
def test_dictionary_has_the_known_entries(table):
    expected = np.array([[int(word) for word in entries.split()] for entries in table["entries"]]).T
    found = philox.dictionary_columns(
        table["law"], len(expected), table["atoms"], table["ordinal"], int(table["seed"], 16)
    )
    assert np.array_equal(found, expected)
