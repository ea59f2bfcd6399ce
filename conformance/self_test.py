"""Tries the harness and the vectors on sabotaged decoders: each must fail, the oracle must pass.

Usage: `python -m conformance.self_test`.
"""

import sys
from pathlib import Path

from conformance.mutants import MUTANTS
from conformance.rule_mutants import RULES, answering
from conformance.run import ROOT, Call, Settings, is_passed, load_manifest, process_for_each, run_case

# Vectors of every kind of answer: values, several passes, a prefix, a base, each class of refusal, a wrong call.
SAMPLE = (
    "valid-real-image",
    "valid-pass-some",
    "invalid-crc-second-pass",
    "invalid-cut-pass-body",
    "invalid-type-pass0-1e",
    "invalid-head-grid-limit",
    "call-passes-above",
    "call-base-none",
    "call-base-other",
)
# Vectors that tell wrong rules of decoding and evaluation apart from the right ones.
RULE_SAMPLE = (
    "valid-trellis-laplace",
    "valid-trellis-even-escape",
    "valid-trellis-low-bits-escape",
    "valid-trellis-lanes-low-bits",
    "valid-input-last-axis",
    "valid-output-two",
    "valid-filter-one",
    "valid-gabor-repeat",
    "valid-finer-repeat",
    "valid-grid-levels",
    "valid-grid-4-axes",
    "valid-pyramid-taps-8",
    "valid-pyramid-bicubic",
    "valid-pyramid-points-centres",
    "valid-conv-repeat",
    "valid-latents-table-tie",
    "valid-latents-table-escape",
    "valid-latents-table-above",
    "valid-context-interlaced-plain",
    "valid-context-interlaced-far",
    "valid-context-interlaced-halves",
    "valid-context-interlaced-large",
    "valid-context-serial-plain",
    "valid-widths-prior",
    "valid-widths-two-passes",
    "valid-parts-line-overlap",
    "valid-parts-image-3-2",
    "valid-parts-points-outside",
)
SETTINGS = Settings(timeout=20.0)
HANGING = Settings(timeout=0.5)
HARMLESS = {"oracle", "right-rules"}


def survives(name: str) -> bool:
    """Whether a mutant passes the sample."""
    if name in RULES:
        return _passes(answering(name), RULE_SAMPLE, SETTINGS)
    command = [sys.executable, str(Path(__file__).with_name("mutants.py")), name]
    return _passes(process_for_each(command), SAMPLE, HANGING if name == "hangs" else SETTINGS)


def _passes(call: Call, sample: tuple[str, ...], settings: Settings) -> bool:
    vectors = [vector for vector in load_manifest()["vectors"] if vector["name"] in sample]
    cases = ((vector, case) for vector in vectors for case in vector["cases"])
    return all(is_passed([run_case(call, ROOT, vector, case, settings)], settings) for vector, case in cases)


def main() -> int:
    """Exit status 0 when exactly the harmless ones survive."""
    names = [*MUTANTS, *RULES]
    wrong = [name for name in names if survives(name) != (name in HARMLESS)]
    for name in wrong:
        print(f"{name}: {'is refused' if name in HARMLESS else 'survives'}")
    print(f"{len(names) - len(HARMLESS)} mutants, {len(set(wrong) - HARMLESS)} survive")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
