"""Runs any SINR decoder on the conformance vectors and judges what it answers (clause 15).

Usage: python conformance/run.py [options] -- COMMAND...

The command is called as `COMMAND IN.sinr OUT.npy [--coords C.npy] [--size WxH] [--passes N] [--partial]
[--base BASE.sinr]` (level A).
With `--worker` it is started once and gets the arguments of each call as a line of JSON (level B, see worker.py). Needs
the standard library and NumPy; imports no decoder. Standard error is kept for the report and never judged.
Exit status: 0 when every claim holds, 1 otherwise.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from xml.etree import ElementTree

import numpy as np

ROOT = Path(__file__).resolve().parent
HARNESS_VERSION = 3
CONTRACT_EXITS = {0, 2, 3, 4, 5}
UNSUPPORTED_EXIT = 4
CRASHED = 1  # an exit status outside the contract
PROFILES = ("CORE", "MAIN")
STDERR_KEPT = 2000
KIBIBYTES = 1 << 10  # of a MiB

PASS, NOT_RUN, CRASH, TIMEOUT, OVER_MEMORY = "pass", "not_run", "crash", "timeout", "over_memory"
WRONG_OUTPUT, ACCEPTED_INVALID, REJECTED_VALID = "wrong_output", "accepted_invalid", "rejected_valid"
WRONG_CLASS, WRONG_CODE, WRONG_OFFSET, UNSUPPORTED = "wrong_class", "wrong_code", "wrong_offset", "unsupported"

# What each grade forgives. R: rejects every invalid file. C: with the right class. X: with the right code and offset.
GRADES = {
    "R": frozenset({PASS, WRONG_CLASS, WRONG_CODE, WRONG_OFFSET}),
    "C": frozenset({PASS, WRONG_CODE, WRONG_OFFSET}),
    "X": frozenset({PASS}),
}

Json = dict[str, Any]

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


@dataclass(frozen=True)
class Result:
    """The verdict of one case."""

    vector: str
    case: str
    kind: str
    profile: str
    verdict: str
    detail: str
    seconds: float
    stderr: str = ""


@dataclass(frozen=True)
class Settings:
    """How to run: claimed profile, seconds a case, address space in MiB (0: no limit), processes at a time, level B."""

    profile: str = "CORE"
    grade: str = "X"
    timeout: float = 60.0
    memory: int = 0
    jobs: int = 1
    worker: bool = False


@dataclass(frozen=True)
class Answer:
    """What the command did: exit status (None: it was stopped), its JSON line, its standard error."""

    status: int | None
    reply: Json | None
    stderr: str


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


# --- calls -----------------------------------------------------------------------------------------

Call = Callable[[Sequence[str], Settings], Answer]  # of a decoder with the arguments of a case


def process_for_each(command: Sequence[str]) -> Call:
    """Level A: every call starts the command."""

    def call(arguments: Sequence[str], settings: Settings) -> Answer:
        try:
            done = subprocess.run(
                _limited([*command, *arguments], settings.memory),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=settings.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(None, None, "")
        return Answer(done.returncode, json_line(done.stdout), done.stderr[-STDERR_KEPT:].decode("utf-8", "replace"))

    return call


def _limited(command: Sequence[str], memory: int) -> list[str]:
    """The command under a limit of its address space in MiB; as it is without one."""
    if not memory:
        return list(command)
    return ["/bin/sh", "-c", f'ulimit -v {memory * KIBIBYTES} && exec "$0" "$@"', *command]


def json_line(stdout: bytes) -> Json | None:
    """The reply, if standard output is exactly one line that holds one JSON object."""
    lines = stdout.splitlines()
    if len(lines) != 1:
        return None
    try:
        reply = json.loads(lines[0])
    except ValueError:
        return None
    return reply if isinstance(reply, dict) else None


class Worker:
    """Level B: a process that answers call after call; started again after it crashed or hung."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._memory = 0
        self._n_calls = 0

    def __call__(self, arguments: Sequence[str], settings: Settings) -> Answer:
        """One answer. Where a worker breaks off, an earlier call may be to blame: a new one is asked once more."""
        was_running = self._process is not None
        answer = self._ask(arguments, settings)
        if answer is None and was_running:
            answer = self._ask(arguments, settings)
        return answer or Answer(CRASHED, None, "the worker gave no answer")

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, arguments: Sequence[str], settings: Settings) -> Answer | None:
        """The answer, or None if the worker gave none that is one."""
        process = self._running(settings)
        self._n_calls += 1
        request = json.dumps({"id": self._n_calls, "args": list(arguments)}).encode() + b"\n"
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            process.kill()

        timer = threading.Timer(settings.timeout, give_up)
        timer.start()
        reply = _exchange(process, request) or {}
        timer.cancel()
        if reply.get("id") == self._n_calls and isinstance(reply.get("status"), int):
            stderr = str(reply.get("stderr", ""))[-STDERR_KEPT:]
            return Answer(reply["status"], json_line(str(reply.get("stdout", "")).encode()), stderr)
        self.stop()
        return Answer(None, None, "") if is_late.is_set() else None

    def _running(self, settings: Settings) -> subprocess.Popen[bytes]:
        """The process, started if there is none under this limit of memory."""
        if self._process is None or self._memory != settings.memory:
            self.stop()
            self._memory = settings.memory
            self._process = subprocess.Popen(
                _limited(self._command, settings.memory),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> Json | None:
    """Write a line, read a line; None if the other side has gone."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(request)
        process.stdin.flush()
    except BrokenPipeError:
        return None
    return json_line(process.stdout.readline())


@contextmanager
def calling(command: Sequence[str], settings: Settings) -> Iterator[Call]:
    """How to call a decoder; the workers of level B, one for each job, end with the context."""
    if not settings.worker:
        yield process_for_each(command)
        return
    workers = [Worker(command) for _ in range(settings.jobs)]
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def call(arguments: Sequence[str], settings: Settings) -> Answer:
        worker = idle.get()
        try:
            return worker(arguments, settings)
        finally:
            idle.put(worker)

    try:
        yield call
    finally:
        for worker in workers:
            worker.stop()


# --- one case --------------------------------------------------------------------------------------


def run_case(call: Call, root: Path, vector: Json, case: Json, settings: Settings) -> Result:
    """Call the decoder once and judge its answer."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        source = root / vector["file"]["path"]
        if case["cut"] is not None:
            cut = Path(folder) / "in.sinr"
            cut.write_bytes(source.read_bytes()[: case["cut"]])
            source = cut
        out = Path(folder) / "out.npy"
        arguments = [str(source), str(out), *case["args"]]
        for option in FILE_OPTIONS:
            if case[option]:
                arguments += [f"--{option}", str(root / case[option]["path"])]
        answer = call(arguments, settings)
        verdict, detail = _judge(answer, case["expect"], out, root)
        if settings.memory and verdict == CRASH:
            verdict, detail = _crash_or_memory(call, arguments, settings, detail)
    if answer.status == UNSUPPORTED_EXIT and verdict != PASS and not _is_claimed(vector, settings):
        verdict = UNSUPPORTED
    seconds = round(time.monotonic() - start, 3)
    return Result(
        vector["name"], case["name"], vector["kind"], vector["profile"], verdict, detail, seconds, answer.stderr
    )


def _is_claimed(vector: Json, settings: Settings) -> bool:
    return PROFILES.index(vector["profile"]) <= PROFILES.index(settings.profile)


def _crash_or_memory(call: Call, arguments: Sequence[str], settings: Settings, detail: str) -> tuple[str, str]:
    """A crash under the memory limit counts as over_memory if there is none without the limit."""
    free = call(arguments, replace(settings, memory=0))
    if free.status in CONTRACT_EXITS:
        return OVER_MEMORY, f"needs more than {settings.memory} MiB"
    return CRASH, detail


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


# --- the whole suite -------------------------------------------------------------------------------


def run_suite(
    command: Sequence[str], settings: Settings, *, root: Path = ROOT, name_filter: str = ""
) -> tuple[Json, list[Result]]:
    """Run every case whose vector's name contains `name_filter`; raises SuiteError if there is none."""
    manifest = load_manifest(root)
    vectors = [vector for vector in manifest["vectors"] if name_filter in vector["name"]]
    if not vectors:
        raise SuiteError(f"no vector's name contains {name_filter!r}")
    damaged = {vector["name"]: damaged_files(root, vector) for vector in vectors}

    def run(job: tuple[Json, Json]) -> Result:
        vector, case = job
        if damaged[vector["name"]]:
            detail = f"missing or damaged: {', '.join(damaged[vector['name']])}"
            return Result(vector["name"], case["name"], vector["kind"], vector["profile"], NOT_RUN, detail, 0.0)
        return run_case(call, root, vector, case, settings)

    jobs = [(vector, case) for vector in vectors for case in vector["cases"]]
    with calling(command, settings) as call, ThreadPoolExecutor(settings.jobs) as pool:
        return manifest, list(pool.map(run, jobs))


def is_passed(results: Sequence[Result], settings: Settings) -> bool:
    """Whether the claim (profile and grade) holds: something ran, and nothing outside what the grade forgives."""
    allowed = GRADES[settings.grade]
    return bool(results) and all(
        result.verdict in allowed
        or (result.verdict == UNSUPPORTED and PROFILES.index(result.profile) > PROFILES.index(settings.profile))
        for result in results
    )


def grade_of(results: Sequence[Result], settings: Settings) -> str:
    """The best grade that holds, or an empty string."""
    claims = (Settings(profile=settings.profile, grade=grade) for grade in ("X", "C", "R"))
    return next((claim.grade for claim in claims if is_passed(results, claim)), "")


def report(manifest: Json, results: Sequence[Result], settings: Settings, command: Sequence[str], root: Path) -> Json:
    """The report as JSON."""
    return {
        "suite_version": manifest["suite_version"],
        "harness_version": HARNESS_VERSION,
        "manifest_sha256": hashlib.sha256((root / "manifest.json").read_bytes()).hexdigest(),
        "command": list(command),
        "profile": settings.profile,
        "claimed_grade": settings.grade,
        "passed": is_passed(results, settings),
        "grade": grade_of(results, settings),
        "verdicts": dict(Counter(result.verdict for result in results)),
        "results": [asdict(result) for result in results],
    }


def junit(results: Sequence[Result], settings: Settings) -> bytes:
    """The report as JUnit XML."""
    bad = [result for result in results if not is_passed([result], settings)]
    suite = ElementTree.Element("testsuite", name="sinr-conformance", tests=str(len(results)), failures=str(len(bad)))
    for result in results:
        item = ElementTree.SubElement(
            suite, "testcase", classname=result.vector, name=result.case, time=str(result.seconds)
        )
        if result in bad:
            ElementTree.SubElement(item, "failure", type=result.verdict, message=result.detail).text = result.stderr
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def print_summary(results: Sequence[Result], settings: Settings) -> None:
    """What a person reads: each case that did not pass, then the counts and the grade."""
    for result in results:
        if result.verdict != PASS:
            print(f"{result.verdict:16} {result.vector} [{result.case}]  {result.detail}")
    counts = Counter(result.verdict for result in results)
    print("  ".join(f"{verdict} {count}" for verdict, count in counts.most_common()))
    held = "holds" if is_passed(results, settings) else "DOES NOT HOLD"
    best = grade_of(results, settings) or "none"
    print(f"profile {settings.profile}, grade {settings.grade}: {held}; best grade: {best}; {len(results)} cases")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, default="CORE", help="profile that the decoder claims")
    parser.add_argument(
        "--grade", choices=GRADES, default="X", help="R rejects, C right class, X right code and offset"
    )
    parser.add_argument("--worker", action="store_true", help="the command is a worker, see worker.py")
    parser.add_argument("--filter", default="", help="only vectors whose name contains this")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds a case")
    parser.add_argument("--memory", type=int, default=0, help="MiB of address space a process; 0: no limit")
    parser.add_argument("--json", type=Path, help="write the report as JSON")
    parser.add_argument("--junit", type=Path, help="write the report as JUnit XML")
    parser.add_argument("command", nargs="+", help="the decoder, behind --")
    given = parser.parse_args(argv)
    settings = Settings(given.profile, given.grade, given.timeout, given.memory, given.jobs, given.worker)
    try:
        manifest, results = run_suite(given.command, settings, name_filter=given.filter)
    except (SuiteError, OSError) as error:
        print(f"harness: {error}", file=sys.stderr)
        return 1
    print_summary(results, settings)
    if given.json:
        content = report(manifest, results, settings, given.command, ROOT)
        given.json.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    if given.junit:
        given.junit.write_bytes(junit(results, settings))
    return 0 if is_passed(results, settings) else 1


if __name__ == "__main__":
    sys.exit(main())
