"""Both decoders of the project give the right answer on every vector, by the contract of clause 15."""

import importlib.util
import os
import sys

import pytest

from conformance import run

COMMANDS = {
    "reference_decoder": [sys.executable, "-m", "reference_decoder"],
    "sinrfmt": [sys.executable, "-m", "sinrfmt", "conformance-decode"],
}
SETTINGS = run.Settings(profile="CORE", jobs=os.cpu_count() or 1, timeout=120.0)


def is_there(module: str) -> bool:
    """Whether `python -m module` can run."""
    return all(importlib.util.find_spec(name) is not None for name in (module, f"{module}.__main__"))


@pytest.mark.parametrize("module", COMMANDS)
def test_decoder_passes_every_vector(module):
    if not is_there(module):
        pytest.skip(f"{module} has no command yet")
    _, results = run.run_suite(COMMANDS[module], SETTINGS)
    wrong = [
        f"{result.verdict} {result.vector} [{result.case}] {result.detail}"
        for result in results
        if not run.is_passed([result], SETTINGS)
    ]
    assert wrong == []
