"""Tries the harness on sabotaged decoders: each must fail, the oracle must pass.

Usage: `python -m conformance.self_test`.
"""

import sys
from pathlib import Path

from conformance.mutants import MUTANTS
from conformance.run import ROOT, Settings, is_passed, load_manifest, process_for_each, run_case

# Vectors of every kind of answer: values, several passes, a prefix, each class of refusal, a wrong call.
SAMPLE = (
    "valid-real-image",
    "valid-pass-some",
    "invalid-crc-second-pass",
    "invalid-cut-pass-body",
    "invalid-type-pass0-1e",
    "invalid-head-grid-limit",
    "call-passes-above",
)
SETTINGS = Settings(timeout=20.0)
HANGING = Settings(timeout=0.5)
HARMLESS = {"oracle"}


def survives(name: str) -> bool:
    """Whether a mutant passes the sample."""
    settings = HANGING if name == "hangs" else SETTINGS
    command = [sys.executable, str(Path(__file__).with_name("mutants.py")), name]
    vectors = [vector for vector in load_manifest()["vectors"] if vector["name"] in SAMPLE]
    cases = ((vector, case) for vector in vectors for case in vector["cases"])
    call = process_for_each(command)
    return all(is_passed([run_case(call, ROOT, vector, case, settings)], settings) for vector, case in cases)


def main() -> int:
    """Exit status 0 when exactly the oracle survives."""
    wrong = [name for name in MUTANTS if survives(name) != (name in HARMLESS)]
    for name in wrong:
        print(f"{name}: {'is refused' if name in HARMLESS else 'survives'}")
    print(f"{len(MUTANTS) - len(HARMLESS)} mutants, {len(set(wrong) - HARMLESS)} survive")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
