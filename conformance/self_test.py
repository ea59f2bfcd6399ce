"""Tries the harness and the vectors on sabotaged decoders: each must fail, those without a fault must pass.

Usage: `python -m conformance.self_test [--table conformance/mutants.md]`, or `python conformance/run.py --self-test`.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from conformance.calls import Answer, Call, process_for_each
from conformance.claims import NOT_INCREMENTAL, PASS, Json, Settings, is_passed
from conformance.framing import pass_ends
from conformance.fresh import fresh_vectors, padded_vectors
from conformance.mutants import MUTANTS, READERS
from conformance.rule_mutants import RULES, answering
from conformance.run import ROOT, bounded, load_manifest, program_memory, run_case
from conformance.stream import judge_vector
from conformance.stream_mutants import STREAMS

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
    "valid-multiply-filter",
    "valid-multiply-twice",
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
STREAM_SAMPLE = ("valid-min-raw", "valid-pass-ancillary", "valid-hash-two")
MEMORY_SAMPLE = ("valid-min-raw", "valid-real-image")
FETCH_SAMPLE = ("valid-pass-3", "valid-real-image")
SETTINGS = Settings(timeout=20.0)
HANGING = Settings(timeout=0.5)
N_FRESH, SEED = 6, 8
HARMLESS = {"oracle", "right-rules", "right-stream", "right-reader"}
TABLE_HEAD = """# Mutants and the vectors that catch them

Written by `python -m conformance.self_test --table conformance/mutants.md`. A mutant is a decoder with one fault; the
sample of vectors that each is tried on is in `self_test.py`. Those without a fault pass.

| mutant | what it tries | caught by |
|---|---|---|
"""


def _vectors(sample: Sequence[str]) -> list[Json]:
    return [vector for vector in load_manifest()["vectors"] if vector["name"] in sample]


def _failing(call: Call, vectors: Sequence[Json], settings: Settings) -> list[str]:
    """Vectors with a case that the decoder does not pass."""
    return [
        vector["name"]
        for vector in vectors
        if not all(is_passed([run_case(call, ROOT, vector, case, settings)], settings) for case in vector["cases"])
    ]


def _process(name: str) -> Call:
    return process_for_each([sys.executable, str(Path(__file__).with_name("mutants.py")), name])


def _on_sample(name: str) -> list[str]:
    return _failing(_process(name), _vectors(SAMPLE), HANGING if name == "hangs" else SETTINGS)


def _on_rules(name: str) -> list[str]:
    return _failing(answering(name), _vectors(RULE_SAMPLE), SETTINGS)


def _on_fresh(name: str) -> list[str]:
    """The sample, and files that are in no list."""
    with tempfile.TemporaryDirectory() as folder:
        made = list(fresh_vectors(_vectors(RULE_SAMPLE), ROOT, Path(folder), SEED, N_FRESH))
        return _failing(_process(name), [*_vectors(SAMPLE), *made], SETTINGS)


def _on_memory(name: str) -> list[str]:
    """Each vector within its bound."""
    call, vectors = _process(name), _vectors(MEMORY_SAMPLE)
    program = program_memory(call, ROOT, vectors, SETTINGS)
    cases = [(vector, case) for vector in vectors for case in vector["cases"]]
    found = [
        vector["name"]
        for vector, case in cases
        if not is_passed([run_case(call, ROOT, vector, case, bounded(SETTINGS, program, ROOT, vector, case))], SETTINGS)
    ]
    return list(dict.fromkeys(found))


def _on_streams(name: str) -> list[str]:
    found = []
    for vector in _vectors(STREAM_SAMPLE):
        data, expect = (ROOT / vector["file"]["path"]).read_bytes(), vector["cases"][0]["expect"]
        verdicts = judge_vector(STREAMS[name](data, expect), data, expect, [])
        if any(verdict != PASS for _, verdict, _ in verdicts):
            found.append(vector["name"])
    return found


def _fetching(needed: Callable[[bytes, Json], int]) -> Callable[[str], list[str]]:
    """A reader of remote files that is right and fetches so many bytes."""

    def catches(name: str) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            made = list(padded_vectors(_vectors(FETCH_SAMPLE), ROOT, Path(folder)))
            return [vector["name"] for vector in made if _reads_too_much(vector, needed)]

    return catches


def _reads_too_much(vector: Json, needed: Callable[[bytes, Json], int]) -> bool:
    [case] = vector["cases"]
    expect = case["expect"]

    def call(arguments: Sequence[str], settings: Settings) -> Answer:
        source, out, *_ = arguments
        Path(out).write_bytes((ROOT / expect["output"]["file"]["path"]).read_bytes())
        return Answer(0, expect, "", fetched=needed(Path(source).read_bytes(), expect))

    return run_case(call, ROOT, vector, case, SETTINGS).verdict == NOT_INCREMENTAL


Catch = Callable[[str], list[str]]

TRIALS: dict[str, tuple[str, Catch]] = {
    **dict.fromkeys(MUTANTS, ("an answer", _on_sample)),
    **dict.fromkeys(READERS, ("files made for the run", _on_fresh)),
    "greedy": ("memory (M)", _on_memory),
    **dict.fromkeys(RULES, ("a rule", _on_rules)),
    **dict.fromkeys(STREAMS, ("files in pieces (P)", _on_streams)),
    "right-reader": ("ranges", _fetching(lambda data, expect: pass_ends(data)[expect["passes"] - 1])),
    "fetches-whole-file": ("ranges", _fetching(lambda data, expect: len(data))),
}
"""Name to what it tries and how the vectors that catch it are found."""


def caught_by(name: str) -> list[str]:
    """The vectors of its sample that a mutant fails."""
    return TRIALS[name][1](name)


def row(name: str, vectors: Sequence[str]) -> str:
    """Its line of the table."""
    return f"| `{name}` | {TRIALS[name][0]} | {' '.join(vectors) or 'nothing: it has no fault'} |\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 when exactly the harmless ones pass."""
    parser = argparse.ArgumentParser(prog="self_test.py", description=__doc__)
    parser.add_argument("--table", type=Path, help="write which vectors catch which mutant")
    given = parser.parse_args(argv)
    caught = {name: caught_by(name) for name in TRIALS}
    wrong = [name for name, vectors in caught.items() if bool(vectors) == (name in HARMLESS)]
    for name in wrong:
        print(f"{name}: {f'is refused by {caught[name]}' if name in HARMLESS else 'survives'}")
    print(f"{len(caught) - len(HARMLESS)} mutants, {len(set(wrong) - HARMLESS)} survive")
    if given.table:
        given.table.write_text(TABLE_HEAD + "".join(row(*item) for item in caught.items()), "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
