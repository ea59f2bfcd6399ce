"""Differential fuzzing: changed vectors, and what both decoders say of them (verdict, code, offset, digests).

`python -m conformance.fuzz [--kind KIND] [--inputs N] [--seconds S] [--seed K] [--findings FOLDER] [--log FILE]`.
Structure-aware changes work on chunks, which are sealed again, `acc_crc` too, so that they come to the content; raw
ones work on the bytes of the file. A disagreement, any exception but a coded error, more than `CPU_SECONDS` or
`ADDRESS_SPACE` is a finding: a file in the folder, named after what happened and its SHA-256. Kind, seed and number
make an input, whatever was tried before it, so a run with a log goes on where that ends. Inputs are tried in blocks,
each in a process of its own; a block that ends its process is halved down to the input that does. A HEAD that was read
is remembered, and what goes wrong is judged again by decoders that remember nothing. Exit status 0 when there is no
finding.
"""

import argparse
import hashlib
import json
import multiprocessing
import random
import re
import resource
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from multiprocessing.connection import Connection
from pathlib import Path

from conformance.chunks import HASH, HEAD, LAST, Chunk, seal, split
from conformance.decoders import Answers, Given, ask_both, heads
from conformance.run import ROOT, Json, load_manifest

FINDINGS = ROOT.parent / "tests" / "findings"
CPU_SECONDS = 20.0  # a file of some kB that takes both decoders longer hangs, whatever the machine does meanwhile
ADDRESS_SPACE = 4 << 30  # bytes; NumPy and the libraries reserve most of it without use
MOST_BYTES = 1500  # of a vector that is changed: small files make many inputs
LEAST_BYTES = 32  # a smaller vector is drawn no more often than one of this size
WEIGHTS_GIVE = re.compile(r"weights give ([0-9a-f]{8})")  # of the library's words on ACC_CRC_MISMATCH
RESEALS = 4  # passes whose acc_crc is made right, one at a time
BLOCK = 20_000  # inputs of one process
GROUP = 100  # inputs from one source of chance, which takes as long to begin as some inputs take to judge
# A library that hangs is deaf to the timer of an input: the process ends by these CPU seconds, twenty times the need.
BLOCK_SECONDS, BLOCK_SECONDS_PER_INPUT = 60, 0.02
EDGES = (0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 129, 254, 255)

Chunks = list[Chunk]
Mutation = Callable[[random.Random, Chunks, "Corpus"], None]


class TooSlowError(Exception):
    """The CPU time for one input is over."""


@dataclass(frozen=True)
class Seed:
    """A vector's file with the base it needs."""

    name: str
    data: bytes
    base: bytes | None

    @cached_property
    def chunks(self) -> Chunks:
        """The chunks of the file."""
        return split(self.data)


class Seeds:
    """Files to draw from, a small one more often: in inverse proportion to its size, near enough to what it costs."""

    def __init__(self, seeds: Sequence[Seed]) -> None:
        self.all = tuple(seeds)
        self._weights = tuple(accumulate(1 / max(len(seed.data), LEAST_BYTES) for seed in seeds))

    def draw(self, rng: random.Random) -> Seed:
        """One of them."""
        return rng.choices(self.all, cum_weights=self._weights)[0]


@dataclass(frozen=True)
class Corpus:
    """Files to change, and the payloads of each kind of chunk to take pieces from."""

    seeds: Seeds
    valid: Seeds
    payloads: dict[int, list[bytes]]


def corpus(root: Path = ROOT) -> Corpus:
    """Every small vector of one whole file, valid or not."""
    seeds = []
    for vector in load_manifest(root)["vectors"]:
        case = vector["cases"][0]
        if vector["kind"] != "call" and vector["file"]["bytes"] <= MOST_BYTES:
            base = (root / case["base"]["path"]).read_bytes() if case["base"] else None
            seeds.append(Seed(vector["name"], (root / vector["file"]["path"]).read_bytes(), base))
    payloads: dict[int, list[bytes]] = {}
    for seed in seeds:
        for chunk in seed.chunks:
            payloads.setdefault(chunk.kind, []).append(chunk.payload)
    return Corpus(Seeds(seeds), Seeds([seed for seed in seeds if seed.name.startswith("valid-")]), payloads)


# --- changes of chunks -----------------------------------------------------------------------------


def _some(rng: random.Random, chunks: Chunks) -> int:
    return rng.randrange(len(chunks))


def _change(rng: random.Random, chunks: Chunks, new: Callable[[bytes, int], bytes]) -> None:
    """One payload becomes `new` of it and of a place in it."""
    at = _some(rng, chunks)
    payload = chunks[at].payload
    if payload:
        chunks[at] = replace(chunks[at], payload=new(payload, rng.randrange(len(payload))))


def flip_bit(rng: random.Random, chunks: Chunks, _: Corpus) -> None:
    """One bit of a payload."""
    _change(rng, chunks, lambda p, i: p[:i] + bytes([p[i] ^ 1 << rng.randrange(8)]) + p[i + 1 :])


def set_byte(rng: random.Random, chunks: Chunks, _: Corpus) -> None:
    """One byte of a payload to a number at an edge."""
    _change(rng, chunks, lambda p, i: p[:i] + bytes([rng.choice(EDGES)]) + p[i + 1 :])


def set_word(rng: random.Random, chunks: Chunks, _: Corpus) -> None:
    """Two bytes of a payload to a power of two, or one less."""
    word = struct.pack("<H", max((1 << rng.randrange(17)) - rng.randrange(2), 0) & 0xFFFF)
    _change(rng, chunks, lambda p, i: p[:i] + word + p[i + 2 :])


def random_bytes(rng: random.Random, chunks: Chunks, _: Corpus) -> None:
    """Up to eight bytes of a payload, overwritten."""
    noise = rng.randbytes(rng.randint(1, 8))
    _change(rng, chunks, lambda p, i: p[:i] + noise + p[i + len(noise) :])


def insert(rng: random.Random, chunks: Chunks, _: Corpus) -> None:
    """Up to four bytes more."""
    _change(rng, chunks, lambda p, i: p[:i] + rng.randbytes(rng.randint(1, 4)) + p[i:])


def delete(rng: random.Random, chunks: Chunks, _: Corpus) -> None:
    """Up to four bytes less."""
    _change(rng, chunks, lambda p, i: p[:i] + p[i + rng.randint(1, 4) :])


def cut_payload(rng: random.Random, chunks: Chunks, _: Corpus) -> None:
    """The payload ends early."""
    _change(rng, chunks, lambda p, i: p[:i])


def splice(rng: random.Random, chunks: Chunks, source: Corpus) -> None:
    """The end of another payload of the same kind."""
    at = _some(rng, chunks)
    others = source.payloads.get(chunks[at].kind, [b""])
    mine, other = chunks[at].payload, rng.choice(others)
    i = rng.randrange(min(len(mine), len(other)) + 1)
    chunks[at] = replace(chunks[at], payload=mine[:i] + other[i:])


def other_payload(rng: random.Random, chunks: Chunks, source: Corpus) -> None:
    """A payload of another file in place of this one."""
    at = _some(rng, chunks)
    chunks[at] = replace(chunks[at], payload=rng.choice(source.payloads.get(chunks[at].kind, [b""])))


def retype(rng: random.Random, chunks: Chunks, _: Corpus) -> None:
    """A bit of a chunk's type."""
    at = _some(rng, chunks)
    chunks[at] = replace(chunks[at], type=chunks[at].type ^ 1 << rng.randrange(8))


def duplicate(rng: random.Random, chunks: Chunks, _: Corpus) -> None:
    """A chunk once more, anywhere."""
    chunks.insert(rng.randint(0, len(chunks)), rng.choice(chunks))


def swap(rng: random.Random, chunks: Chunks, _: Corpus) -> None:
    """Two chunks change places."""
    a, b = _some(rng, chunks), _some(rng, chunks)
    chunks[a], chunks[b] = chunks[b], chunks[a]


def drop(rng: random.Random, chunks: Chunks, _: Corpus) -> None:
    """A chunk less."""
    if len(chunks) > 1:
        chunks.pop(_some(rng, chunks))


# Changes of the content count for more: those of the container are soon all known.
MUTATIONS: tuple[Mutation, ...] = (
    *(flip_bit, set_byte, random_bytes) * 4,
    *(set_word, splice, insert, delete) * 2,
    *(cut_payload, other_payload, retype, duplicate, swap, drop),
)


def structured(rng: random.Random, source: Corpus) -> Given:
    """A file of right chunks with wrong content; made of a valid one mostly, for the others end at their fault."""
    seed = (source.valid if rng.random() < 3 / 4 else source.seeds).draw(rng)
    chunks = [*seed.chunks] or [Chunk(HEAD | LAST, b"")]
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        rng.choice(MUTATIONS)(rng, chunks, source)
    if rng.random() < 0.8:  # else the mark of the last chunk stays where the changes put it
        chunks = [replace(c, type=c.type & ~LAST | (LAST if c is chunks[-1] else 0)) for c in chunks]
    return asked(rng, seal(chunks), seed.base)


def raw(rng: random.Random, source: Corpus) -> Given:
    """A file with any bytes changed, checks and lengths among them."""
    seed = source.seeds.draw(rng)
    data = bytearray(seed.data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(4)
        if what == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            data[at : at + 1] = bytes([rng.choice(EDGES)])
        elif what == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 9))
        else:
            del data[at : at + rng.choice((1, 2, 9, 1 << 16))]
    return asked(rng, bytes(data), seed.base)


def asked(rng: random.Random, data: bytes, base: bytes | None) -> Given:
    """The same file with options, now and then, and now and then without its base."""
    passes = rng.choice((None,) * 6 + (1, 2))
    return Given(data, passes, rng.random() < 1 / 8, base if rng.random() < 31 / 32 else None)


# --- judging ---------------------------------------------------------------------------------------


@dataclass
class Report:
    """What a run met: verdicts by name, findings by the name of their file, the slowest input."""

    inputs: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0  # CPU seconds for both decoders
    seconds: float = 0.0  # CPU seconds of everything

    def add(self, other: "Report") -> None:
        """Count what another run met."""
        self.inputs += other.inputs
        self.verdicts.update(other.verdicts)
        self.findings |= other.findings
        self.slowest = max(self.slowest, other.slowest)
        self.seconds += other.seconds

    def __str__(self) -> str:
        head = f"{self.inputs} inputs, {self.verdicts.total()} files, {len(self.findings)} findings"
        lines = [f"  {name}: {text}" for name, text in self.findings.items()]
        met = "  ".join(f"{name} {n}" for name, n in self.verdicts.most_common())
        took = f"{self.seconds:.0f} s of CPU time, slowest {self.slowest:.2f} s"
        return "\n".join([f"{head}, {took}", *lines, f"  {met}"])


def resealed(given: Given, found: Answers) -> Given | None:
    """The same file with the acc_crc that its integers have, if that was what both missed."""
    number = WEIGHTS_GIVE.search(found.words)
    at = found.library.offset
    if found.library.name != "ACC_CRC_MISMATCH" or not found.agree or number is None or at is None:
        return None
    data = bytearray(given.data)
    data[at : at + 4] = struct.pack("<I", int(number[1], 16))
    chunks = split(bytes(data))
    # a digest of the weights would be the next thing to miss
    return replace(given, data=seal([c for c in chunks if c.kind != HASH or c.type & LAST]))


def judge(given: Given) -> tuple[str, Answers | None]:
    """What is wrong with the answers to a file, or an empty string; raises nothing."""
    signal.signal(signal.SIGPROF, _give_up)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        found = ask_both(given)
        if not found.agree:
            with heads(remembered=False):
                found = ask_both(given)
    except TooSlowError:
        return "hang", None
    except MemoryError:
        return "memory", None
    except Exception as error:  # noqa: BLE001  that is what is looked for
        return f"crash-{type(error).__name__}", None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return ("" if found.agree else "disagreement"), found


def _give_up(_number: int, _frame: object) -> None:
    raise TooSlowError


def try_one(given: Given, report: Report, folder: Path | None) -> None:
    """Judge a file, and what becomes of it when its acc_crc is made right."""
    for _ in range(RESEALS):
        start = time.process_time()
        wrong, found = judge(given)
        report.slowest = max(report.slowest, time.process_time() - start)
        report.verdicts[found.reference.name or "decoded" if found else wrong] += 1
        if wrong:
            report.findings[keep(given, wrong, folder)] = str(found or wrong)
        following = found and resealed(given, found)
        if not following:
            return
        given = following


def keep(given: Given, wrong: str, folder: Path | None) -> str:
    """Write a finding with what is needed to replay it; its name."""
    name = f"{wrong}-{hashlib.sha256(given.data).hexdigest()[:12]}"
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        options = f"{f'.passes{given.passes}' if given.passes else ''}{'.partial' if given.partial else ''}"
        (folder / f"{name}{options}.sinr").write_bytes(given.data)
        if given.base is not None:
            (folder / f"{name}{options}.base").write_bytes(given.base)
    return name


def read_finding(path: Path) -> Given:
    """A file that `keep` wrote."""
    words = path.name.split(".")[1:-1]
    passes = next((int(word.removeprefix("passes")) for word in words if word.startswith("passes")), None)
    base = path.with_suffix(".base")
    return Given(path.read_bytes(), passes, "partial" in words, base.read_bytes() if base.is_file() else None)


KINDS: dict[str, Callable[[random.Random, Corpus], Given]] = {"structured": structured, "raw": raw}


def made(kind: str, seed: int, numbers: range, source: Corpus) -> Iterator[Given]:
    """The inputs of these numbers, the same ones in every run."""
    for first in range(numbers.start // GROUP * GROUP, numbers.stop, GROUP):
        rng = random.Random(f"{kind} {seed} {first}")
        for number in range(first, min(first + GROUP, numbers.stop)):
            given = KINDS[kind](rng, source)
            if number in numbers:
                yield given


def run(kind: str, seed: int, numbers: range, source: Corpus, *, seconds: float, folder: Path | None = None) -> Report:
    """Inputs of one kind from one seed in this process, until all are tried or the time is over."""
    report, start = Report(), time.process_time()
    end = time.monotonic() + seconds
    for given in made(kind, seed, numbers, source):
        if time.monotonic() >= end:
            break
        report.inputs += 1
        try_one(given, report, folder)
    report.seconds = time.process_time() - start
    return report


def run_apart(
    kind: str, seed: int, numbers: range, source: Corpus, *, seconds: float, folder: Path | None = None
) -> Report:
    """The same in a process of its own. Where that is ended, by what a library does, the inputs are halved."""

    def try_block(sender: Connection) -> None:
        limit = int(BLOCK_SECONDS + BLOCK_SECONDS_PER_INPUT * len(numbers))
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        with heads(remembered=True):
            sender.send(run(kind, seed, numbers, source, seconds=seconds, folder=folder))

    context = multiprocessing.get_context("fork")  # the corpus and the decoders are there already
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=try_block, args=(sender,))
    process.start()
    sender.close()
    try:
        report: Report = receiver.recv()
    except EOFError:
        process.join()
        return _halved(kind, seed, numbers, source, seconds=seconds, folder=folder)
    process.join()
    return report


def _halved(kind: str, seed: int, numbers: range, source: Corpus, *, seconds: float, folder: Path | None) -> Report:
    """What a block met that ended its process: a finding for each input that does so alone."""
    report = Report()
    if len(numbers) == 1:
        report.inputs, report.verdicts["killed"] = 1, 1
        (given,) = made(kind, seed, numbers, source)
        report.findings[keep(given, "killed", folder)] = f"input {numbers.start}"
        return report
    half = len(numbers) // 2
    for part in (numbers[:half], numbers[half:]):
        report.add(run_apart(kind, seed, part, source, seconds=seconds, folder=folder))
    return report


def run_blocks(kind: str, seed: int, *, inputs: int, seconds: float, folder: Path, log: Path | None) -> Report:
    """Blocks of inputs, behind those that the log has; the report is of all. The log gets a line for each block."""
    source, report = corpus(), logged(log, kind, seed)
    with heads(remembered=True):
        for file in source.seeds.all:  # here once, not in each process
            ask_both(Given(file.data, base=file.base))
    end = time.monotonic() + seconds
    while report.inputs < inputs and (left := end - time.monotonic()) > 0:
        numbers = range(report.inputs, min(report.inputs + BLOCK, inputs))
        block = run_apart(kind, seed, numbers, source, seconds=left, folder=folder)
        report.add(block)
        if log is not None:
            with log.open("a", encoding="utf-8") as lines:
                print(json.dumps({"kind": kind, "seed": seed} | vars(block)), file=lines)
    return report


def logged(log: Path | None, kind: str, seed: int) -> Report:
    """The sum of the blocks of a kind and seed in a log; of none where there is no such file."""
    report = Report()
    lines = log.read_text("utf-8").splitlines() if log is not None and log.is_file() else []
    for line in lines:
        block: Json = json.loads(line)
        if (block.pop("kind"), block.pop("seed")) == (kind, seed):
            report.add(Report(**block | {"verdicts": Counter(block["verdicts"])}))
    return report


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m conformance.fuzz", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append", help="kind of changes; both, if left out")
    parser.add_argument("--inputs", type=int, default=1 << 62, help="inputs of each kind, with those of the log")
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds for each kind")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same inputs")
    parser.add_argument("--findings", type=Path, default=FINDINGS, help="folder for what goes wrong")
    parser.add_argument("--log", type=Path, help="file that says what was tried; a run goes on behind it")
    given = parser.parse_args(argv)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    n_findings = 0
    for kind in given.kind or KINDS:
        report = run_blocks(
            *(kind, given.seed), inputs=given.inputs, seconds=given.seconds, folder=given.findings, log=given.log
        )
        n_findings += len(report.findings)
        print(f"{kind}, seed {given.seed}: {report}")
    return 1 if n_findings else 0


if __name__ == "__main__":
    sys.exit(main())
