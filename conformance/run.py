"""Runs any SINR decoder on the conformance vectors and judges what it answers (clause 15).

Usage: python conformance/run.py [options] -- COMMAND...
       python conformance/run.py --self-test

The command is called as `COMMAND IN.sinr OUT.npy [--coords C.npy] [--size WxH] [--passes N] [--partial]
[--base BASE.sinr]` (level A).
With `--worker` it is started once and gets the arguments of each call as a line of JSON (level B, see worker.py). With
`--http` IN.sinr is the address of a server on loopback that gives ranges (level C, see remote.py). Needs the standard
library and NumPy; imports no decoder. Standard error is kept for the report and never judged.
Exit status: 0 when every claim holds, 1 when not, 2 for wrong arguments.
"""

import argparse
import hashlib
import json
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script finds its own folder alone

from conformance import reports
from conformance.calls import Answer, Call, Worker, borrowing, calling, json_line, process_for_each
from conformance.claims import (
    ACCEPTED_INVALID,
    CRASH,
    GRADES,
    LEVELS,
    NOT_INCREMENTAL,
    NOT_RUN,
    OVER_MEMORY,
    PASS,
    PROFILES,
    REJECTED_VALID,
    TIMEOUT,
    UNSUPPORTED,
    WRONG_CLASS,
    WRONG_CODE,
    WRONG_OFFSET,
    WRONG_OUTPUT,
    Json,
    Result,
    Settings,
    grade_of,
    grades_by_claim,
    is_claimed,
    is_passed,
)
from conformance.framing import PARTS, SPARSE, features_of, level_of, pass_ends, whole_chunks
from conformance.fresh import fresh_vectors, padded_vectors
from conformance.stream import judge_vector

__all__ = [
    "ACCEPTED_INVALID",
    "CRASH",
    "GRADES",
    "HARNESS_VERSION",
    "NOT_INCREMENTAL",
    "NOT_RUN",
    "OVER_MEMORY",
    "PASS",
    "REJECTED_VALID",
    "ROOT",
    "TIMEOUT",
    "UNSUPPORTED",
    "WRONG_CLASS",
    "WRONG_CODE",
    "WRONG_OFFSET",
    "WRONG_OUTPUT",
    "Answer",
    "Call",
    "Json",
    "Result",
    "Settings",
    "SuiteError",
    "Worker",
    "bounded",
    "calling",
    "damaged_files",
    "grade_of",
    "is_passed",
    "json_line",
    "load_manifest",
    "main",
    "process_for_each",
    "program_memory",
    "run_case",
    "run_fresh",
    "run_streams",
    "run_suite",
]

ROOT = Path(__file__).resolve().parent
HARNESS_VERSION = 3
CONTRACT_EXITS = {0, 2, 3, 4, 5}
UNSUPPORTED_EXIT, LIMIT_EXIT = 4, 5
N_FRESH = 30  # files made for this run alone

# LIM-2, level by level: 16 bytes a parameter + 8 bytes an atom and coefficient, of which no file has more than symbols,
# + 16 KiB a part + 4 times the largest chunk + 4 MiB. Evaluation and a library for decompression are apart from it: an
# allowance. Level 5 allows 2^32 parameters and 2^34 symbols; 2^28 are more than any vector has that is decoded, and a
# bound that nothing reaches would say nothing.
PARAMETERS = dict(zip(LEVELS, (16_384, 131_072, 1_048_576, 16_777_216, 268_435_456), strict=True))
SYMBOLS = dict(zip(LEVELS, (4_194_304, 16_777_216, 67_108_864, 268_435_456, 268_435_456), strict=True))
N_PARTS = dict(zip(LEVELS, (64, 512, 4096, 16_384, 65_534), strict=True))
PARAMETER_BYTES, SYMBOL_BYTES, PART_BYTES = 16, 8, 16 << 10
MIB = 1 << 20
FIXED_BYTES, ALLOWANCE_BYTES = 4 * MIB, 32 * MIB
SMALLEST_PROGRAM, LARGEST_PROGRAM, PROGRAM_STEP = 8, 65_536, 8  # MiB

FIRST_REQUEST = 16_384  # bytes that a reader of a remote file may always fetch (CON-9)

# Keys of each object of the manifest; an unknown or missing one is refused, for it might change what a case means. The
# members with a default may be left out.
MANIFEST_KEYS = {"suite_version", "harness_version", "format_version", "n_vectors", "n_cases", "errors", "vectors"}
VECTOR_KEYS = {"name", "title", "kind", "clauses", "profile", "file", "cases"}
CASE_DEFAULTS: Json = {"args": [], "cut": None, "coords": None, "base": None}
CASE_KEYS = {"name", "expect", *CASE_DEFAULTS}
FILE_OPTIONS = ("coords", "base")  # members of a case that are files for the option of that name
SUCCESS_DEFAULTS: Json = {"output": None}
SUCCESS_KEYS = {"passes", "weights_sha256", "acc_crc", *SUCCESS_DEFAULTS}
FAILURE_KEYS = {"exit", "code", "name", "class", "offset"}


class SuiteError(Exception):
    """The suite itself is not as its manifest says."""


# --- the suite -------------------------------------------------------------------------------------


def load_manifest(root: Path = ROOT) -> Json:
    """Read the manifest; raises SuiteError where it is not one of this harness, or a count is wrong."""
    try:
        manifest: Json = json.loads((root / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SuiteError(f"manifest.json: {error}") from error
    _same_keys(manifest, MANIFEST_KEYS, "manifest")
    if manifest["harness_version"] != HARNESS_VERSION:
        raise SuiteError(f"harness version {manifest['harness_version']}, not {HARNESS_VERSION}")
    vectors = manifest["vectors"]
    if not vectors or len(vectors) != manifest["n_vectors"]:
        raise SuiteError(f"{len(vectors)} vectors, the manifest says {manifest['n_vectors']}")
    for vector in vectors:
        _same_keys(vector, VECTOR_KEYS | ({"derivation"} if "derivation" in vector else set()), vector.get("name", "?"))
        vector["cases"] = [_whole_case(case, manifest["errors"], vector["name"]) for case in vector["cases"]]
    n_cases = sum(len(vector["cases"]) for vector in vectors)
    if n_cases != manifest["n_cases"]:
        raise SuiteError(f"{n_cases} cases, the manifest says {manifest['n_cases']}")
    return manifest


def _whole_case(case: Json, errors: Json, where: str) -> Json:
    """A case with the members that were left out, and those of the error that it expects."""
    case = CASE_DEFAULTS | case
    _same_keys(case, CASE_KEYS, where)
    name = case["expect"].get("name")
    expect = (errors.get(name, {}) if name else SUCCESS_DEFAULTS) | case["expect"]
    _same_keys(expect, FAILURE_KEYS if name else SUCCESS_KEYS, where)
    return case | {"expect": expect}


def _same_keys(item: Json, keys: set[str], where: str) -> None:
    if set(item) != keys:
        raise SuiteError(f"{where}: keys {sorted(set(item) ^ keys)}")


def damaged_files(root: Path, vector: Json) -> list[str]:
    """Files of a vector that are missing or have another SHA-256 than the manifest says."""
    records = [vector["file"]]
    for case in vector["cases"]:
        output = case["expect"].get("output")
        records += [record for record in (case["coords"], case["base"], output and output["file"]) if record]
    return sorted({record["path"] for record in records if not _is_intact(root, record)})


def _is_intact(root: Path, record: Json) -> bool:
    path = root / record["path"]
    if not path.is_file():
        return False
    data = path.read_bytes()
    return bool(len(data) == record["bytes"] and hashlib.sha256(data).hexdigest() == record["sha256"])


# --- one case --------------------------------------------------------------------------------------


def run_case(call: Call, root: Path, vector: Json, case: Json, settings: Settings) -> Result:
    """Call the decoder once and judge its answer."""
    start = time.monotonic()
    case = CASE_DEFAULTS | case
    data = (root / vector["file"]["path"]).read_bytes()[: case["cut"]]
    with tempfile.TemporaryDirectory() as folder:
        source = root / vector["file"]["path"]
        if case["cut"] is not None:
            source = Path(folder) / "in.sinr"
            source.write_bytes(data)
        out = Path(folder) / "out.npy"
        arguments = [str(source), str(out), *case["args"], *_file_options(case, root)]

        def ask(settings: Settings) -> tuple[Answer, str, str]:
            out.unlink(missing_ok=True)
            answer = call(arguments, settings)
            return answer, *_judge(answer, case["expect"], out, root)

        answer, verdict, detail = _asked_alone(ask, settings) if settings.memory else ask(settings)
        if verdict == PASS:
            verdict, detail = _judge_fetched(answer, case, data)
    if _refuses_as_unsupported(answer) and verdict != PASS and not is_claimed(*_claim_of(vector, data), settings):
        verdict = UNSUPPORTED
    return _result(vector, data, case["name"], (verdict, detail), time.monotonic() - start, answer.stderr)


def _file_options(case: Json, root: Path) -> list[str]:
    return [
        word for option in FILE_OPTIONS if case[option] for word in (f"--{option}", str(root / case[option]["path"]))
    ]


def _claim_of(vector: Json, data: bytes) -> tuple[str, int]:
    return vector["profile"], level_of(data)


def _refuses_as_unsupported(answer: Answer) -> bool:
    """Exit status 4, or LIMIT_CALLER: what a decoder answers to a file outside its profile and level."""
    is_limit = answer.status == LIMIT_EXIT and (answer.reply or {}).get("name") == "LIMIT_CALLER"
    return answer.status == UNSUPPORTED_EXIT or is_limit


def _result(
    vector: Json,
    data: bytes,
    case: str,
    verdict: tuple[str, str],
    seconds: float,
    stderr: str = "",
    operation: str = "",
) -> Result:
    operation = operation or ("fresh" if vector["name"].startswith("fresh-") else "call")
    return Result(
        *(vector["name"], case, vector["kind"], vector["profile"], *verdict, round(seconds, 3), stderr),
        level=level_of(data),
        clauses=tuple(vector["clauses"]),
        operation=operation,
    )


def _asked_alone(ask: Callable[[Settings], tuple[Answer, str, str]], settings: Settings) -> tuple[Answer, str, str]:
    """Under a limit of memory only a process that has done nothing before can fail: what a worker keeps of earlier
    calls is no need of this one. What goes better without the limit is over_memory.
    """
    answer, verdict, detail = ask(settings)
    if verdict != PASS and not settings.is_alone:
        answer, verdict, detail = ask(replace(settings, is_alone=True))
    if verdict != PASS:
        _, free, _ = ask(replace(settings, memory=0, is_alone=True))
        if free == PASS or verdict == CRASH != free:
            return answer, OVER_MEMORY, f"needs more than {settings.memory} MiB"
    return answer, verdict, detail


def _judge_fetched(answer: Answer, case: Json, data: bytes) -> tuple[str, str]:
    """Level C: with `--passes N` no more is fetched than the first request and as much again behind pass N-1."""
    if answer.fetched is None or "--passes" not in case["args"] or "exit" in case["expect"]:
        return PASS, ""
    need = max(FIRST_REQUEST, pass_ends(data)[case["expect"]["passes"] - 1])
    if answer.fetched > need + FIRST_REQUEST:
        return NOT_INCREMENTAL, f"fetched {answer.fetched} bytes, {need} are needed"
    return PASS, ""


# --- verdicts --------------------------------------------------------------------------------------


def _judge(answer: Answer, expect: Json, out: Path, root: Path) -> tuple[str, str]:
    """Verdict and detail of one answer."""
    if answer.status is None:
        return TIMEOUT, "no answer in time"
    if answer.status not in CONTRACT_EXITS:
        return CRASH, f"exit status {answer.status}"
    if "exit" in expect:
        return _judge_failure(answer, expect, out)
    if answer.status != 0:
        reply = answer.reply or {}
        return REJECTED_VALID, f"{reply.get('name')} at {reply.get('offset')}"
    return _judge_success(answer.reply, expect, out, root)


def _judge_failure(answer: Answer, expect: Json, out: Path) -> tuple[str, str]:
    wanted = f"{expect['name']} at {expect['offset']}"
    if answer.status == 0:
        return ACCEPTED_INVALID, f"expected {wanted}"
    if answer.reply is None:
        return CRASH, f"exit status {answer.status} without one line of JSON"
    reply = answer.reply
    found = f"{reply.get('name')} at {reply.get('offset')}, expected {wanted}"
    if out.exists():
        return WRONG_OUTPUT, "wrote the output and failed"
    if answer.status != expect["exit"] or reply.get("class") != expect["class"]:
        return WRONG_CLASS, f"exit status {answer.status}, {reply.get('class')}: {found}"
    if not _is_equal(reply.get("code"), expect["code"]) or reply.get("name") != expect["name"]:
        return WRONG_CODE, found
    if "offset" not in reply or not _is_equal(reply["offset"], expect["offset"]):
        return WRONG_OFFSET, found
    return PASS, ""


def _is_equal(found: object, expected: int | None) -> bool:
    """Equal as JSON integers: true is not 1, 1.0 is not 1."""
    return type(found) is type(expected) and found == expected


def _judge_success(reply: Json | None, expect: Json, out: Path, root: Path) -> tuple[str, str]:
    if reply is None:
        return WRONG_OUTPUT, "no line of JSON on standard output"
    if not _is_equal(reply.get("passes"), expect["passes"]):
        return WRONG_OUTPUT, f"passes {reply.get('passes')}, expected {expect['passes']}"
    other = [key for key in ("weights_sha256", "acc_crc") if reply.get(key) != expect[key]]
    if other:
        return WRONG_OUTPUT, "; ".join(f"{key} {reply.get(key)}, expected {expect[key]}" for key in other)
    try:
        values = np.load(out, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        return WRONG_OUTPUT, f"output: {error}"
    if values.dtype != np.dtype("<f4"):
        return WRONG_OUTPUT, f"output of type {values.dtype}, not binary32"
    return _judge_values(values, expect["output"], root) if expect["output"] else (PASS, "")


def _judge_values(values: Any, output: Json, root: Path) -> tuple[str, str]:
    """Compare with the expected values: same shape, peak and root-mean-square error within the tolerance."""
    expected = np.load(root / output["file"]["path"], allow_pickle=False)
    if values.shape != expected.shape:
        return WRONG_OUTPUT, f"shape {values.shape}, expected {expected.shape}"
    error = np.abs(values.astype(np.float64) - expected.astype(np.float64))
    peak, rms = float(error.max()), float(np.sqrt(np.mean(error**2)))
    if not (peak <= output["peak"] and rms <= output["rms"]):  # written so that NaN fails
        return WRONG_OUTPUT, f"peak {peak:.3g} of {output['peak']:.3g}, rms {rms:.3g} of {output['rms']:.3g}"
    return PASS, ""


# --- memory (grade M) ------------------------------------------------------------------------------


def program_memory(call: Call, root: Path, vectors: Sequence[Json], settings: Settings) -> int:
    """MiB of address space that the program itself needs, to PROGRAM_STEP: the least in which the first valid vector
    passes. Raises SuiteError if it passes in none.
    """
    vector = next((vector for vector in vectors if vector["kind"] == "valid"), None)
    if vector is None:
        raise SuiteError("grade M needs a valid vector to measure the program by")

    def passes(memory: int) -> bool:
        limited = replace(settings, memory=memory, is_alone=True)
        return run_case(call, root, vector, vector["cases"][0], limited).verdict == PASS

    enough = SMALLEST_PROGRAM
    while not passes(enough):
        enough *= 2
        if enough > LARGEST_PROGRAM:
            raise SuiteError(f"{vector['name']} does not pass in any memory")
    little = enough // 2
    while enough - little > PROGRAM_STEP:
        middle = (enough + little) // 2
        little, enough = (little, middle) if passes(middle) else (middle, enough)
    return enough


def bounded(settings: Settings, program: int, root: Path, vector: Json, case: Json) -> Settings:
    """The settings with the limit of LIM-2 for this file over the program's own memory."""
    data = (root / vector["file"]["path"]).read_bytes()
    largest = max((chunk.end - chunk.offset for chunk in whole_chunks(data)), default=len(data))
    output = (case["expect"].get("output") or {}).get("file", {}).get("bytes", 0)
    n_bytes = _state_bytes(data) + 4 * largest + FIXED_BYTES + len(data) + output + ALLOWANCE_BYTES
    return replace(settings, memory=program + -(-n_bytes // MIB))


def _state_bytes(data: bytes) -> int:
    """What LIM-2 gives to the parameters of the level, and to sparse codes and parts where HEAD names their feature."""
    level, features = level_of(data) or LEVELS[0], features_of(data)
    sparse = SYMBOL_BYTES * SYMBOLS[level] if features & SPARSE else 0
    parts = PART_BYTES * N_PARTS[level] if features & PARTS else 0
    return PARAMETER_BYTES * PARAMETERS[level] + sparse + parts


# --- the whole suite -------------------------------------------------------------------------------


def run_suite(
    command: Sequence[str], settings: Settings, *, root: Path = ROOT, name_filter: str = ""
) -> tuple[Json, list[Result]]:
    """Run every case whose vector's name contains `name_filter`; raises SuiteError if there is none."""
    manifest, vectors = _chosen(root, name_filter)
    with calling(command, settings) as call:
        return manifest, _run_vectors(call, vectors, root, settings)


def _chosen(root: Path, name_filter: str) -> tuple[Json, list[Json]]:
    manifest = load_manifest(root)
    vectors = [vector for vector in manifest["vectors"] if name_filter in vector["name"]]
    if not vectors:
        raise SuiteError(f"no vector's name contains {name_filter!r}")
    return manifest, vectors


def _run_vectors(call: Call, vectors: Sequence[Json], root: Path, settings: Settings) -> list[Result]:
    damaged = {vector["name"]: damaged_files(root, vector) for vector in vectors}
    program = program_memory(call, root, vectors, settings) if settings.is_bounded else 0

    def run(job: tuple[Json, Json, Settings]) -> Result:
        vector, case, limits = job
        if damaged[vector["name"]]:
            detail = f"missing or damaged: {', '.join(damaged[vector['name']])}"
            return _result(vector, b"", case["name"], (NOT_RUN, detail), 0.0)
        return run_case(call, root, vector, case, limits)

    def limited(vector: Json, case: Json) -> Settings:
        is_bounded = settings.is_bounded and not damaged[vector["name"]]
        return bounded(settings, program, root, vector, case) if is_bounded else settings

    jobs = [(vector, case, limited(vector, case)) for vector in vectors for case in vector["cases"]]
    # by their limits: another limit needs another worker
    order = sorted(range(len(jobs)), key=lambda i: jobs[i][2].memory)
    with ThreadPoolExecutor(settings.jobs) as pool:
        results = dict(zip(order, pool.map(run, [jobs[i] for i in order]), strict=True))
    return [results[i] for i in range(len(jobs))]


def run_fresh(
    command: Sequence[str], settings: Settings, *, seed: int, count: int, root: Path = ROOT, name_filter: str = ""
) -> list[Result]:
    """Run files made for this run from the vectors that are claimed; level C adds files with more than is asked for."""
    _, vectors = _chosen(root, name_filter)
    vectors = [
        vector
        for vector in vectors
        if not damaged_files(root, vector) and is_claimed(*_claim_of(vector, _read(root, vector)), settings)
    ]
    with tempfile.TemporaryDirectory() as folder, calling(command, settings) as call:
        made = list(fresh_vectors(vectors, root, Path(folder), seed, count))
        if settings.http:
            made += padded_vectors(vectors, root, Path(folder))
        with ThreadPoolExecutor(settings.jobs) as pool:
            return list(pool.map(lambda vector: run_case(call, root, vector, vector["cases"][0], settings), made))


def _read(root: Path, vector: Json) -> bytes:
    return Path(root / vector["file"]["path"]).read_bytes()


def run_streams(
    command: Sequence[str], settings: Settings, *, root: Path = ROOT, name_filter: str = ""
) -> list[Result]:
    """Feed every file in pieces (grade P); the vectors of wrong calls have no file of their own to feed."""
    _, vectors = _chosen(root, name_filter)
    jobs = [vector for vector in vectors if vector["kind"] != "call" and not damaged_files(root, vector)]
    with borrowing(command, settings.jobs) as borrow:

        def run(vector: Json) -> list[Result]:
            with borrow() as worker:
                return list(_stream_results(worker, root, vector, settings))

        with ThreadPoolExecutor(settings.jobs) as pool:
            return [result for results in pool.map(run, jobs) for result in results]


def _stream_results(worker: Worker, root: Path, vector: Json, settings: Settings) -> Iterator[Result]:
    data, start = _read(root, vector), time.monotonic()
    case = next((case for case in vector["cases"] if case["args"] == [] and case["cut"] is None), None)
    if case is None:
        return
    options = ["--base", str(root / case["base"]["path"])] if case["base"] else []

    def exchange(message: Json) -> Json | None:
        return worker.request(message, settings)

    claimed = is_claimed(*_claim_of(vector, data), settings)
    for partition, *found in judge_vector(exchange, data, case["expect"], options):
        verdict, detail = (TIMEOUT, "no answer in time") if found[0] == CRASH and worker.was_late else found
        held = verdict if claimed or verdict in (PASS, CRASH, TIMEOUT) else UNSUPPORTED
        yield _result(vector, data, f"stream-{partition}", (held, detail), time.monotonic() - start, operation="stream")
        start = time.monotonic()


# --- the command -----------------------------------------------------------------------------------


def _grade(text: str) -> str:
    if not re.fullmatch(r"[RCX]P?M?", text):
        raise argparse.ArgumentTypeError("R, C or X, then P and M where they are claimed: XPM")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--profile", choices=PROFILES, default="CORE", help="profile that the decoder claims")
    parser.add_argument("--level", type=int, choices=LEVELS, default=LEVELS[-1], help="highest level that it claims")
    parser.add_argument(
        *("--grade",),
        type=_grade,
        default="X",
        help="R rejects, C right class, X right code and offset;\nP behind it: files in pieces; M: memory within LIM-2",
    )
    parser.add_argument("--worker", action="store_true", help="the command is a worker, see worker.py")
    parser.add_argument("--http", action="store_true", help="the command reads from an address, see remote.py")
    parser.add_argument("--filter", default="", help="only vectors whose name contains this")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds a case")
    parser.add_argument("--memory", type=int, default=0, help="MiB of address space a process; 0: no limit")
    parser.add_argument("--fresh", type=int, default=N_FRESH, help="files made for this run alone")
    parser.add_argument("--seed", type=int, help="of those files; drawn when not given")
    parser.add_argument("--name", default="", help="of the decoder, in reports")
    for kind in reports.WRITERS:
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE", help=f"write the report as {kind}")
    parser.add_argument("--self-test", action="store_true", help="run the sabotaged decoders: all must be caught")
    parser.add_argument("command", nargs="*", help="the decoder, behind --")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; see the module's text."""
    parser = _parser()
    given = parser.parse_args(argv)
    if given.self_test:
        from conformance import self_test

        return self_test.main([])
    if not given.command:
        parser.error("the decoder is missing: run.py [options] -- COMMAND...")
    settings = Settings(
        *(given.profile, given.grade, given.timeout, given.memory, given.jobs),
        worker=given.worker,
        level=given.level,
        http=given.http,
    )
    if settings.is_progressive and not settings.worker:
        parser.error("grade P is tried on a worker: --worker")
    seed = secrets.randbits(32) if given.seed is None else given.seed
    try:
        content = _run_all(given, settings, seed)
    except (SuiteError, OSError) as error:
        print(f"harness: {error}", file=sys.stderr)
        return 1
    reports.print_summary(content)
    for kind, write in reports.WRITERS.items():
        if getattr(given, kind):
            getattr(given, kind).write_bytes(write(content))
    return 0 if content["passed"] else 1


def _run_all(given: argparse.Namespace, settings: Settings, seed: int) -> Json:
    """The report of everything that the claim asks for."""
    manifest, results = run_suite(given.command, settings, name_filter=given.filter)
    if settings.is_progressive:
        results += run_streams(given.command, settings, name_filter=given.filter)
    results += run_fresh(given.command, settings, seed=seed, count=given.fresh, name_filter=given.filter)
    streams = [result for result in results if result.operation == "stream"]
    passed = is_passed(results, settings) and (not settings.is_progressive or is_passed(streams, settings))
    return {
        "suite_version": manifest["suite_version"],
        "harness_version": HARNESS_VERSION,
        "manifest_sha256": hashlib.sha256((ROOT / "manifest.json").read_bytes()).hexdigest(),
        "decoder": given.name or Path(given.command[-1]).name,
        "command": list(given.command),
        "filter": given.filter,
        "seed": seed,
        "profile": settings.profile,
        "level": settings.level,
        "claimed_grade": settings.grade,
        "passed": passed,
        "grade": grade_of(results, settings),
        "grades": grades_by_claim(results, settings),
        "verdicts": reports.counts(results),
        "results": [reports.result_object(result, settings) for result in results],
    }


if __name__ == "__main__":
    sys.exit(main())
