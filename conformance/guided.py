"""Fuzzing of both decoders guided by coverage, with atheris (which has to be installed; `constraints.txt` has it not).

`python -m conformance.guided CORPUS [libFuzzer options, as -max_total_time=600]`. An input is a file; a change is made
in one payload and the chunks are sealed again. The folder is filled with the vectors of `conformance.fuzz` where it is
empty. What is wrong is kept as by `conformance.fuzz`, and ends the run.
"""

import random
import sys
from importlib import import_module
from pathlib import Path

import atheris

from conformance.chunks import Chunk, seal, split
from conformance.decoders import NAMES, Given
from conformance.fuzz import FINDINGS, Report, corpus, try_one


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """A change that libFuzzer makes in a payload, in chunks that are right."""
    chunks = split(data)
    if not chunks:
        return bytes(atheris.Mutate(data, max_size))
    at = random.Random(seed).randrange(len(chunks))
    room = max(max_size - len(data) + len(chunks[at].payload), 1)
    chunks[at] = Chunk(chunks[at].type, bytes(atheris.Mutate(chunks[at].payload, room)))
    return seal(chunks)


def judge(data: bytes) -> None:
    """One input; raises RuntimeError for what is wrong."""
    report = Report()
    try_one(Given(data), report, FINDINGS)
    if report.findings:
        raise RuntimeError(str(report))


def main() -> None:
    """Fill the corpus, and fuzz."""
    with atheris.instrument_imports(include=list(NAMES)):
        for name in NAMES:
            import_module(name)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        for seed in corpus().seeds.all:
            if seed.base is None:
                (folder / seed.name).write_bytes(seed.data)
    atheris.Setup(sys.argv, judge, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
