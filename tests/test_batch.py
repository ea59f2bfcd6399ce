"""Batches: every input gets its right file or its coded error, whatever dies, and finished work is not done again."""

import hashlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import sinrfmt.torch
from sinrfmt.batch import (
    JOURNAL,
    N_ATTEMPTS,
    Journal,
    Output,
    ProcessWorkers,
    Result,
    Status,
    file_jobs,
    key_of,
    run_batch,
)
from sinrfmt.errors import CLASSES
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import sine_network
from tests import batch_jobs

ROOT = Path(__file__).parents[1]
N_INPUTS = 40
VICTIM = "in17.txt"
OPTIONS: dict[str, object] = {"loud": True}


class Refusing(Executor):
    """For batches that have nothing to do."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise AssertionError("work was begun")


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "in"
    folder.mkdir()
    paths = [folder / f"in{i}.txt" for i in range(N_INPUTS)]
    for path in paths:
        path.write_text(f"the text of {path.name}")
    return paths


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def workers() -> Iterator[Executor]:
    with ProcessWorkers(2) as executor:
        yield executor


def run(
    inputs: list[Path],
    out: Path,
    executor: Executor,
    call: Callable[[Path], Output] = batch_jobs.shout,
    options: dict[str, object] = OPTIONS,
    **more: Any,
) -> list[Result]:
    return run_batch(file_jobs(inputs, out, call, options), executor, Journal(out / JOURNAL), n_pending=2, **more)


def by_name(results: list[Result]) -> dict[str, Result]:
    named = {Path(result.job.name).name: result for result in results}
    assert len(named) == len(results)
    return named


def journal_lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]


def assert_right(inputs: list[Path], out: Path) -> None:
    files = {path.stem: path.read_bytes() for path in out.glob("*.sinr")}
    assert files == {path.stem: path.read_bytes().upper() for path in inputs}
    assert {path.name for path in out.iterdir()} == {f"{path.stem}.sinr" for path in inputs} | {JOURNAL}


# --- workers that die ------------------------------------------------------------------------------------------------


def test_forty_inputs_survive_a_killed_worker_and_are_not_done_twice(
    inputs: list[Path], out: Path, tmp_path: Path, workers: Executor
) -> None:
    results = by_name(run(inputs, out, workers, partial(batch_jobs.die_once, marker=tmp_path / "m", victim=VICTIM)))
    assert {result.status for result in results.values()} == {Status.DONE}
    assert {name: result.n_attempts for name, result in results.items() if result.n_attempts != 1} == {VICTIM: 2}
    assert_right(inputs, out)
    assert [line["status"] for line in journal_lines(out)] == ["done"] * N_INPUTS
    before = (out / JOURNAL).read_bytes()
    again = run(inputs, out, Refusing())
    assert [(result.status, result.report["length"]) for result in again] == [
        (Status.SKIPPED, path.stat().st_size) for path in inputs
    ]
    assert (out / JOURNAL).read_bytes() == before


def test_an_input_that_kills_every_worker_fails_alone(inputs: list[Path], out: Path, workers: Executor) -> None:
    some = inputs[14:20]
    results = by_name(run(some, out, workers, partial(batch_jobs.die_always, victim=VICTIM)))
    killer = results.pop(VICTIM)
    assert (killer.status, killer.n_attempts, killer.sha256) == (Status.FAILED, N_ATTEMPTS, None)
    assert killer.error is not None and (killer.error["class"], killer.error["code"]) == ("internal", None)
    assert {(result.status, result.n_attempts) for result in results.values()} == {(Status.DONE, 1)}
    assert_right([path for path in some if path.name != VICTIM], out)


def test_an_executor_that_breaks_for_good_fails_the_rest_and_another_goes_on(inputs: list[Path], out: Path) -> None:
    some = inputs[16:22]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        results = by_name(run(some, out, pool, partial(batch_jobs.die_always, victim=VICTIM)))
    assert results["in16.txt"].status is Status.DONE
    assert {results[path.name].status for path in some[1:]} == {Status.FAILED}
    with ThreadPoolExecutor(1) as pool:
        again = by_name(run(some, out, pool))
    assert again.pop("in16.txt").status is Status.SKIPPED
    assert {result.status for result in again.values()} == {Status.DONE}
    assert_right(some, out)


def test_workers_end_when_their_parent_is_killed() -> None:
    script = (
        "import os, threading\nfrom sinrfmt.batch import ProcessWorkers\n"
        "if __name__ == '__main__':\n"
        "    workers = ProcessWorkers(1)\n"
        "    print(workers.submit(os.getpid).result(), flush=True)\n"
        "    threading.Event().wait()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([worker], [], [], 120)  # readable once it has ended
    os.close(worker)
    assert ended


def test_workers_can_be_ended_in_the_middle_of_their_jobs() -> None:
    with ProcessWorkers(1) as workers:
        assert workers.submit(os.getpid).result() != os.getpid()
        jobs = [workers.submit(batch_jobs.never_end) for _ in range(3)]
        workers.kill()
    assert all(job.cancelled() or isinstance(job.exception(), BrokenExecutor) for job in jobs)


# --- dask ------------------------------------------------------------------------------------------------------------


def test_a_cluster_gives_the_task_of_a_killed_worker_to_another(inputs: list[Path], out: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    call = partial(batch_jobs.die_once, marker=tmp_path / "marker", victim=VICTIM)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs="CRITICAL"
    )
    with cluster, distributed.Client(cluster) as client:
        results = run(inputs, out, client.get_executor(pure=False), call)
        assert (tmp_path / "marker").exists()  # one was killed
        assert {result.status for result in results} == {Status.DONE}
        assert_right(inputs, out)
        found = cli(*inputs[:1], "--out", tmp_path / "cli", "--dask", cluster.scheduler_address, "--json")
    line = json.loads(found.stdout)
    assert (found.returncode, line["status"], line["error"]["name"]) == (1, "failed", "USAGE")  # not a picture


# --- inputs that fail ------------------------------------------------------------------------------------------------


def test_a_failing_input_stops_nothing_and_says_why(inputs: list[Path], out: Path, threads: Executor) -> None:
    missing = inputs[0].with_name("none.txt")
    some = [*inputs[15:17], missing, inputs[0].parent, *inputs[17:20]]
    results = by_name(run(some, out, threads, partial(batch_jobs.refuse, victim=VICTIM)))
    errors = {name: result.error for name, result in results.items() if result.error is not None}
    assert errors.keys() == {missing.name, inputs[0].parent.name, VICTIM}
    assert (errors[missing.name]["code"], errors[missing.name]["name"]) == (601, "USAGE")
    assert "No such file" in str(errors[missing.name]["message"])
    assert (errors[VICTIM]["code"], errors[VICTIM]["name"]) == (None, "ZeroDivisionError")
    assert_right([*inputs[15:17], *inputs[18:20]], out)
    assert {line["status"] for line in journal_lines(out)} == {"done", "failed"}


def test_an_input_that_changes_under_way_is_not_journalled_as_it_was(
    inputs: list[Path], out: Path, threads: Executor
) -> None:
    jobs = file_jobs(inputs[:1], out, batch_jobs.shout, OPTIONS)
    inputs[0].write_text("another text")
    (result,) = run_batch(jobs, threads, Journal(out / JOURNAL), n_pending=1)
    assert result.error is not None and "changed" in str(result.error["message"])
    assert not jobs[0].output.exists()


def test_an_output_that_cannot_be_written_fails_alone(inputs: list[Path], out: Path, threads: Executor) -> None:
    (out / "in0.sinr").mkdir()
    results = by_name(run(inputs[:3], out, threads, force=True))
    assert [results[path.name].status for path in inputs[:3]] == [Status.FAILED, Status.DONE, Status.DONE]


def test_errors_of_every_class_travel_between_processes() -> None:
    for cls in CLASSES.values():
        original = cls(123, "NAME", "what is wrong", offset=7, path="head.level")
        copy = pickle.loads(pickle.dumps(original))
        assert type(copy) is cls
        assert (copy.code, copy.name, copy.offset, copy.path, str(copy)) == (
            123,
            "NAME",
            7,
            "head.level",
            str(original),
        )


# --- what is finished ------------------------------------------------------------------------------------------------


def test_only_what_changed_is_done_again(inputs: list[Path], out: Path, threads: Executor) -> None:
    some = inputs[:4]
    run(some, out, threads)
    some[1].write_text("another text")
    (out / "in2.sinr").unlink()
    results = by_name(run(some, out, threads))
    assert [results[path.name].status.value for path in some] == ["skipped", "done", "done", "skipped"]
    assert_right(some, out)
    assert {result.status for result in run(some, out, threads, options={"loud": False})} == {Status.DONE}


def test_a_key_depends_on_content_options_and_format() -> None:
    key = key_of("00", {"a": 1, "b": None})
    assert key == key_of("00", {"b": None, "a": 1})
    others = {key_of("01", {"a": 1, "b": None}), key_of("00", {"a": 2, "b": None}), key_of("00", {"a": 1})}
    assert len(others | {key}) == 4
    parts = '{"format": "1.0", "input": "00", "options": {"a": 1, "b": null}}'
    assert key == hashlib.sha256(parts.encode()).hexdigest()


def test_a_file_that_no_batch_wrote_is_kept_unless_forced(inputs: list[Path], out: Path, threads: Executor) -> None:
    (out / "in0.sinr").write_text("somebody's work")
    refused = by_name(run(inputs[:2], out, threads))["in0.txt"]
    assert refused.error is not None and "--force" in str(refused.error["message"])
    assert (out / "in0.sinr").read_text() == "somebody's work"
    forced = by_name(run(inputs[:2], out, threads, force=True))
    assert [forced[path.name].status for path in inputs[:2]] == [Status.DONE, Status.SKIPPED]
    assert_right(inputs[:2], out)


@pytest.mark.parametrize("n_cut", [1, 30, 150])
def test_a_line_cut_short_is_no_line(inputs: list[Path], out: Path, threads: Executor, n_cut: int) -> None:
    run(inputs[:3], out, threads)
    journal = out / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-n_cut])
    (out / json.loads(whole.splitlines()[-1])["output"]).unlink()
    is_line = n_cut == 1  # only its end of line is missing
    run(inputs[:3], out, threads)
    texts = journal.read_bytes().splitlines()
    assert len(texts) == 4
    assert json.loads(texts[3])["status"] == "done"
    assert (texts[2] == whole.splitlines()[2]) == is_line
    assert all(result.status is Status.SKIPPED for result in run(inputs[:3], out, Refusing()))


def test_a_stop_lets_what_is_under_way_finish_and_begins_nothing(inputs: list[Path], out: Path) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        results = run(inputs, out, executor, stop=stop, on_result=lambda _: stop.set())
    assert 1 <= len(results) <= 2  # two were pending
    assert {result.status for result in results} == {Status.DONE}
    rest = run(inputs, out, Refusing(), stop=stop)
    assert [result.status for result in rest] == [Status.SKIPPED] * len(results)


# --- names -----------------------------------------------------------------------------------------------------------


def test_names_are_stems_and_those_that_collide_get_digests_whatever_the_order(inputs: list[Path], out: Path) -> None:
    folder = inputs[0].parent
    texts = {"a/x.png": "1", "b/x.png": "2", "b/X.jpg": "3", "a/y.png": "4", "b/y.webp": "4", "z.tar.png": "5"}
    paths = [folder / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def names(sources: list[Path]) -> set[tuple[str, str]]:
        return {(job.key, job.output.name) for job in file_jobs(sources, out, batch_jobs.shout, OPTIONS)}

    digest = {text: hashlib.sha256(text.encode()).hexdigest()[:8] for text in "123"}
    found = names(paths)
    assert {name for _, name in found} == {
        *(f"{stem}-{digest[text]}.sinr" for stem, text in (("x", "1"), ("x", "2"), ("X", "3"))),
        "y.sinr",  # equal bytes are one job
        "z.tar.sinr",
    }
    assert names([*reversed(paths), paths[0]]) == found


# --- the command -----------------------------------------------------------------------------------------------------


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "sinrfmt", "batch", *map(str, arguments)]


def cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


def test_batch_takes_every_option_of_encode_for_pictures() -> None:
    import inspect

    from sinrfmt.cli.batch import batch
    from sinrfmt.cli.commands import encode

    one, many = inspect.signature(encode).parameters, inspect.signature(batch).parameters
    own = {"source", "output", "keep_network", "json_output", "modality", "variable", "fill", "channel_axis", "group"}
    assert {name: one[name] for name in one.keys() - own} == {name: many[name] for name in one.keys() - own}


USAGE_ERRORS = {
    "two engines": ("x.png", "--out", "{tmp}/out", "--workers", 2, "--dask", "tcp://127.0.0.1:1"),
    "no folder": ("x.png",),
    "folder that cannot be": ("x.png", "--out", "{tmp}/file/out"),
    "two targets": ("x.png", "--out", "{tmp}/out", "--bytes", 9, "--psnr", 9),
    "missing base": ("x.png", "--out", "{tmp}/out", "--base", "{tmp}/none.sinr"),
    "no cluster": ("x.png", "--out", "{tmp}/out", "--dask", "nonsense://"),
}


@pytest.mark.parametrize("arguments", USAGE_ERRORS.values(), ids=USAGE_ERRORS.keys())
def test_wrong_use_is_one_line(arguments: tuple[object, ...], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = cli(*(str(argument).replace("{tmp}", str(tmp_path)) for argument in arguments))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("sinrfmt: USAGE [601]: ") and result.stderr.count("\n") == 1


def spawned_by(parent: int) -> list[int]:
    """The workers of a process."""
    children = Path(f"/proc/{parent}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker in /proc")
@pytest.mark.usefixtures("one_thread")
def test_a_command_survives_ctrl_c_and_a_killed_worker(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    for name in names:
        Image.new("RGB", (8, 8), (60, 90, 200)).save(tmp_path / f"{name}.png")
    # A file on a base of one layer takes the least training.
    module = FieldModule(sine_network(2, 3, depth=1, width=6, omega=15.0), seed=0)
    base = sinrfmt.torch.from_module(module, grid=(8, 8), device="cpu")
    sinrfmt.save(base, tmp_path / "base.sinr")
    sources = [tmp_path / f"{name}.png" for name in names]
    out = tmp_path / "out"
    options = ("--base", tmp_path / "base.sinr", "--preset", "fast", "--psnr", 1, "--device", "cpu")
    arguments = (*sources, "--out", out, "--workers", 1, *options, "--json")
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}

    with subprocess.Popen(command(*arguments), start_new_session=True, **pipes) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        rest, messages = process.communicate()
    lines = [first, *map(json.loads, rest.splitlines())]
    n_done = len(lines)
    assert process.returncode == 130
    assert n_done <= 2 and {line["status"] for line in lines} == {"done"}  # what was under way is finished
    assert "Ctrl-C again" in messages.splitlines()[0]
    assert messages.splitlines()[1:] == [f"{n_done} done, 0 skipped, 0 failed, {3 - n_done} not begun"]

    with subprocess.Popen(command(*arguments), **pipes) as process:
        assert process.stdout is not None
        skipped = [json.loads(process.stdout.readline())["status"] for _ in range(n_done)]
        while not (found := spawned_by(process.pid)):
            os.sched_yield()
        os.kill(found[0], signal.SIGKILL)
        rest, messages = process.communicate()
    assert (process.returncode, skipped) == (0, ["skipped"] * n_done)
    assert messages == f"{3 - n_done} done, {n_done} skipped, 0 failed\n"
    lines = [json.loads(line) for line in rest.splitlines()]
    assert [line["attempts"] for line in lines] == [2, 1][: 3 - n_done]
    assert lines[-1]["input"] == str(sources[2])
    assert lines[-1]["report"]["file_bytes"] == (out / "c.sinr").stat().st_size

    # One picture under three names: whatever happened to its worker, the file is the same.
    assert sinrfmt.load(out / "a.sinr", base=base).shape == (8, 8, 3)
    assert len({(out / f"{name}.sinr").read_bytes() for name in names}) == 1

    text = cli(*arguments[:-1])
    assert (text.returncode, text.stderr) == (0, "0 done, 3 skipped, 0 failed\n")
    assert [line.endswith("(skipped)") for line in text.stdout.splitlines()] == [True] * 3


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of its own")
def test_progress_goes_to_the_terminal_and_results_to_the_pipe(tmp_path: Path) -> None:
    import pty

    terminal, end = pty.openpty()
    arguments = (tmp_path / "none.png", "--out", tmp_path, "--workers", 1, "--json")
    result = subprocess.run(command(*arguments), stdout=subprocess.PIPE, stderr=end, check=False, cwd=ROOT)
    os.close(end)
    shown = os.read(terminal, 1 << 16)
    os.close(terminal)
    assert result.returncode == 1
    assert json.loads(result.stdout)["error"]["name"] == "USAGE"
    assert b"1/1" in shown and b"1 failed" in shown
