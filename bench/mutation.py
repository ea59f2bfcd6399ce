"""Mutation testing: small faults in the core clauses of the reference decoder, which the vectors must notice.

Run from the root of the repository:

    python -m bench.mutation OUT.jsonl [--modules container head ...] [--sample N] [--seed S] [--filter TEXT]
    python -m bench.mutation OUT.jsonl --report

A mutant is the decoder with one change of its source: a comparison, a constant, an operator, a condition, the name of
an error, a statement left out. It runs the cases of the conformance suite that reach the changed statement (all of them
for one that runs on import) by the contract of clause 15, in a process of its own, until one fails. Rows go to
OUT.jsonl; a mutant that stands there is not run again, so the command goes on where it was stopped, but survivors are
when the suite has changed since, and those that a vector noticed that is gone. ``--report`` writes
``bench/results/mutation.md``, with what ``bench/mutation.toml`` says of those that no vector notices. Mutants that are
said there to do what the decoder does run together first, many changes in one decoder; only a group that is noticed
is halved, down to the one that is.
"""

import argparse
import ast
import importlib
import io
import json
import os
import random
import re
import resource
import select
import signal
import sys
import tempfile
import time
import tomllib
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance.claims import Json, Result, is_passed
from conformance.coverage import DECODER, SETTINGS, SOURCE
from conformance.run import ROOT, Answer, Settings, json_line, load_manifest, run_case
from conformance.worker import CRASHED

MODULES = ("container", "errors", "head", "limits", "passes", "packed", "weights", "states", "entropy", "trellis")
REPORT = Path(__file__).parent / "results" / "mutation.md"
REASONS = Path(__file__).parent / "mutation.toml"
SECONDS, A_CASE, MEMORY = 4, 0.02, 4 << 30  # for a mutant: CPU time, and more for each case; address space
IN_MEMORY = "/dev/shm"
SURVIVED = "survived"
HARMLESS = ("equivalent", "resources")  # kinds of survivors that no vector can notice
NEAR = 16  # lines that one vector is likely to be about
EVERY = 50  # mutants between two lines of progress

Case = tuple[Json, Json]  # a vector, and one of its cases
Reached = dict[tuple[str, int], set[int]]  # module and line to the numbers of the cases that run it


@dataclass(frozen=True)
class Mutant:
    """One change of one module; ``index`` is its number there, ``statement`` the line where its statement begins."""

    module: str
    index: int
    line: int
    column: int
    text: str  # of the line
    change: str
    statement: int
    on_import: bool

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line}:{self.column} {self.change} ({self.index})"


# --- changes -------------------------------------------------------------------------------------------

COMPARISONS = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is},
}
NEGATED = (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot)  # whose change is the negation
OPERATORS = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv},
    **{ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
    **{ast.BitXor: ast.BitOr, ast.Pow: ast.Mult, ast.And: ast.Or, ast.Or: ast.And},
}
LEFT_OUT = {"annotation", "returns", "decorator_list"}  # fields of nodes that do nothing here

Change = tuple[str, Callable[[], None]]  # its words, and what makes it in the tree


def _put(node: Any, field: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(node, field, value)


def _put_at(items: list[Any], index: int, value: Any) -> Callable[[], None]:
    def put() -> None:
        items[index] = value

    return put


def _words(old: Any, new: Any) -> str:
    return f"{type(old).__name__} to {new.__name__}"


def _of_compare(node: ast.Compare, errors: Sequence[str]) -> Iterator[Change]:
    for index, old in enumerate(node.ops):
        new = COMPARISONS[type(old)]
        yield _words(old, new), _put_at(node.ops, index, new())


def _of_operator(node: Any, errors: Sequence[str]) -> Iterator[Change]:
    if new := OPERATORS.get(type(node.op)):
        yield _words(node.op, new), _put(node, "op", new())


def _of_constant(node: ast.Constant, errors: Sequence[str]) -> Iterator[Change]:
    if isinstance(node.value, bool):
        yield f"{node.value} to {not node.value}", _put(node, "value", not node.value)
    elif isinstance(node.value, int):
        for new in (node.value - 1, node.value + 1):
            yield f"{node.value} to {new}", _put(node, "value", new)
    elif node.value in errors:
        other = errors[(errors.index(node.value) + 1) % len(errors)]
        yield f"{node.value} to {other}", _put(node, "value", other)


def _of_condition(node: Any, errors: Sequence[str]) -> Iterator[Change]:
    """The test of `if`, `while` and a conditional expression."""
    is_told = isinstance(node.test, ast.Compare) and len(node.test.ops) == 1 and isinstance(node.test.ops[0], NEGATED)
    if not is_told:
        yield "negated condition", _put(node, "test", ast.UnaryOp(ast.Not(), node.test))


def _of_body(node: Any, errors: Sequence[str]) -> Iterator[Change]:
    """A raise or a call that is left out."""
    for field in ("body", "orelse", "finalbody"):
        items = getattr(node, field, None)
        for index, item in enumerate(items if isinstance(items, list) else []):
            is_call = isinstance(item, ast.Expr) and isinstance(item.value, ast.Call)
            if is_call or isinstance(item, ast.Raise):
                yield f"without {type(item).__name__.lower()} at {item.lineno}", _put_at(items, index, ast.Pass())


CHANGES: dict[type, Callable[..., Iterator[Change]]] = {
    ast.Compare: _of_compare,
    ast.BinOp: _of_operator,
    ast.AugAssign: _of_operator,
    ast.BoolOp: _of_operator,
    ast.Constant: _of_constant,
}


def _inside(node: ast.AST, statement: Any, depth: int) -> Iterator[tuple[ast.AST, Any, int]]:
    """The nodes that do something, each with its statement and the number of functions around it."""
    yield node, statement, depth
    for field, value in ast.iter_fields(node):
        if field in LEFT_OUT:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                own = child if isinstance(child, ast.stmt) else statement
                in_body = isinstance(node, ast.FunctionDef | ast.Lambda) and field == "body"
                yield from _inside(child, own, depth + in_body)


def changes(tree: ast.Module, errors: Sequence[str]) -> Iterator[tuple[Any, Any, int, Change]]:
    """Every change of a tree: the node, its statement, the functions around it, and the change."""
    for node, statement, depth in _inside(tree, None, 0):
        found = [*(CHANGES[type(node)](node, errors) if type(node) in CHANGES else ()), *_of_body(node, errors)]
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            found += _of_condition(node, errors)
        for change in found:
            yield node, statement, depth, change


def error_names() -> list[str]:
    """Those of clause 15."""
    return list(load_manifest()["errors"])


def mutants(module: str, errors: Sequence[str]) -> list[Mutant]:
    """All of a module."""
    lines = (SOURCE / f"{module}.py").read_text("utf-8").splitlines()
    found = []
    for index, (node, statement, depth, (words, _)) in enumerate(prepared(module, tuple(errors))[1]):
        begins, line, column = statement.lineno if statement else 0, getattr(node, "lineno", 0), 0
        if words.startswith("without"):  # the statement is inside the node
            begins = line = int(words.rsplit(" ", 1)[1])
        else:
            column = node.col_offset
        on_import = depth + isinstance(node, ast.FunctionDef) == 0
        text, change = lines[line - 1].strip(), words.split(" at ")[0]
        found.append(Mutant(module, index, line, column, text, change, begins, on_import=on_import))
    return found


class Changed(MetaPathFinder, Loader):
    """Gives modules of the decoder from changed trees."""

    def __init__(self, trees: dict[str, ast.Module], **names: object) -> None:
        self._trees = {f"{DECODER}.{module}": ast.fix_missing_locations(tree) for module, tree in trees.items()}
        self._names = names  # that the trees may use

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in self._trees else None

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self._names)
        exec(compile(self._trees[module.__name__], module.__name__, "exec"), vars(module))


def parsed(module: str) -> ast.Module:
    return ast.parse((SOURCE / f"{module}.py").read_text("utf-8"))


def mutated(chosen: Sequence[Mutant], errors: Sequence[str]) -> Changed:
    """The decoder with these changes, once for each process: they stay in the trees that `prepared` gives."""
    for mutant in chosen:
        *_, (_, change) = prepared(mutant.module, tuple(errors))[1][mutant.index]
        change()
    return Changed({mutant.module: prepared(mutant.module, tuple(errors))[0] for mutant in chosen})


@cache
def prepared(module: str, errors: tuple[str, ...]) -> tuple[ast.Module, list[tuple[Any, Any, int, Change]]]:
    """A module and its changes, read once for all mutants."""
    tree = parsed(module)
    return tree, list(changes(tree, errors))


def marked(lines: set[tuple[str, int]]) -> Changed:
    """The decoder that notes the lines at which the statements begin that it runs."""
    trees = {module: parsed(module) for module in MODULES}
    for module, tree in trees.items():
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for node in {inner for function in functions for inner in ast.walk(function)}:
            for field in ("body", "orelse", "finalbody"):
                items = getattr(node, field, None)
                if isinstance(items, list) and items:
                    setattr(node, field, [new for item in items for new in (_mark(module, item), item)])
    return Changed(trees, _reach=lines.add)


def _mark(module: str, statement: ast.stmt) -> ast.stmt:
    mark = ast.parse(f"_reach(({module!r}, {statement.lineno}))").body[0]
    return ast.copy_location(mark, statement)


# --- processes -----------------------------------------------------------------------------------------


def in_process(task: Callable[[], Any], seconds: float) -> Any:
    """What the task gives, as JSON, from a copy of this process; None where it died, or took longer on the clock."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            with os.fdopen(writing, "w") as file:
                json.dump(task(), file)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as file:
        ready, _, _ = select.select([file], [], [], seconds)
        if not ready:
            os.kill(child, signal.SIGKILL)
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def install(finder: Changed) -> None:
    """From now on the decoder is that of the finder."""
    for name in [name for name in sys.modules if name.split(".")[0] == DECODER]:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)


def answer(arguments: Sequence[str], settings: Settings) -> Answer:
    """What the command says. Its module is imported once: a run of it for each call takes longer than the decoder."""
    out = io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            status = importlib.import_module(f"{DECODER}.__main__").main(arguments)
    except Exception:  # noqa: BLE001  the verdict on it is the harness's
        status = CRASHED
    return Answer(status, json_line(out.getvalue().encode()), "")


def run(number: int, cases: Sequence[Case]) -> Result:
    vector, case = cases[number]
    return run_case(answer, ROOT, vector, case, SETTINGS)


def reached(cases: Sequence[Case]) -> Reached:
    """Which cases run which lines; in a process of its own, for the decoder must not be imported here.

    No function of these modules keeps what it found from file to file.
    """

    def measure() -> list[list[tuple[str, int]]]:
        lines: set[tuple[str, int]] = set()
        install(marked(lines))
        found = []
        for number in range(len(cases)):
            lines.clear()
            assert is_passed([run(number, cases)], SETTINGS), cases[number][0]["name"]
            found.append(sorted(lines))
        return found

    found = in_process(measure, 3600)
    assert found, "the decoder must pass before it is changed"
    lines: Reached = {}
    for number, own in enumerate(found):
        for module, line in own:
            lines.setdefault((module, line), set()).add(number)
    return lines


def judge(
    chosen: Sequence[Mutant], errors: Sequence[str], cases: Sequence[Case], numbers: Sequence[int]
) -> tuple[str, str]:
    """The verdict of the first case that fails with these changes and its vector; `survived` if there is none."""

    seconds = int(SECONDS + A_CASE * len(numbers))
    for mutant in chosen:
        prepared(mutant.module, tuple(errors))

    def decode() -> tuple[str, str]:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        install(mutated(chosen, errors))
        for number in numbers:
            result = run(number, cases)
            if not is_passed([result], SETTINGS):
                return result.verdict, result.vector
        return SURVIVED, ""

    verdict = in_process(decode, 20 * seconds)
    return tuple(verdict) if verdict else ("stopped", "")


# --- the run -------------------------------------------------------------------------------------------


def load(out: Path) -> dict[str, Json]:
    """The rows so far, by the mutant's name; the last one of a name counts."""
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []
    return {row["name"]: row for row in rows}


def suite_crc(manifest: Json) -> str:
    """Names the vectors."""
    return f"{zlib.crc32(json.dumps(manifest['vectors']).encode()):08x}"


def holds(row: Json, suite: str, vectors: set[str]) -> bool:
    """Whether the verdict of a row is still known: the suite is the same, or the vector that noticed is there."""
    return row.get("suite") == suite or (row["verdict"] != SURVIVED and (not row["by"] or row["by"] in vectors))


def relevant(mutant: Mutant, lines: Reached, n_cases: int) -> set[int]:
    """The cases that can notice it."""
    if mutant.on_import:
        return set(range(n_cases))
    return lines.get((mutant.module, mutant.statement), set())


def groups(chosen: Sequence[Mutant], known: Sequence[Json]) -> list[list[Mutant]]:
    """The mutants that run together: the n-th of each place that nothing can notice; every other one alone.

    Those that run on import come last, then the groups: they take all cases.
    """
    together: dict[int, list[Mutant]] = {}
    alone: list[list[Mutant]] = []
    places: Counter[tuple[str, int, int]] = Counter()
    for mutant in chosen:
        if reason(known, asdict(mutant)).get("kind") in HARMLESS:
            place = mutant.module, mutant.line, mutant.column
            together.setdefault(places[place], []).append(mutant)
            places[place] += 1
        else:
            alone.append([mutant])
    return [*sorted(alone, key=lambda group: group[0].on_import), *together.values()]


class Run:
    """Mutants against the suite. Cases that noticed a mutant come first for the next ones: most often first."""

    def __init__(self, out: Path) -> None:
        manifest = load_manifest()
        self.out = out
        self.errors = error_names()
        self.suite = suite_crc(manifest)
        self.cases: list[Case] = [(vector, case) for vector in manifest["vectors"] for case in vector["cases"]]
        names, rows = {vector["name"] for vector in manifest["vectors"]}, load(out)
        self.done = {name: row for name, row in rows.items() if holds(row, self.suite, names)}
        self.again = set(rows) - set(self.done)
        self.killers: Counter[tuple[str, int, str]] = Counter()  # vectors, by module and place; place -1: everywhere
        for row in self.done.values():
            self.note(row["module"], row["line"], row["by"])
        tempfile.tempdir = IN_MEMORY if os.path.isdir(IN_MEMORY) else None  # a disk takes longer than most cases
        self.lines = reached(self.cases)
        self.spread = random.Random(0).sample(range(len(self.cases)), len(self.cases))
        self.n_run = self.n_survived = 0

    def note(self, module: str, line: int, by: str) -> None:
        """A vector has noticed a mutant of a line."""
        self.killers.update([("", -1, by), (module, line // NEAR, by)])

    def order(self, group: Sequence[Mutant]) -> list[int]:
        """The cases that can notice one of them; first those of the errors that the changed lines name, then those
        that noticed mutants near the first.
        """
        numbers = set[int]().union(*(relevant(mutant, self.lines, len(self.cases)) for mutant in group))
        text, place = group[0].text, (group[0].module, group[0].line // NEAR)

        def key(number: int) -> tuple[bool, int, int]:
            vector, case = self.cases[number]
            by = vector["name"]
            is_other = f'"{case["expect"].get("name")}"' not in text
            return is_other, -self.killers[*place, by], -self.killers["", -1, by]

        return sorted((number for number in self.spread if number in numbers), key=key)

    def settle(self, group: list[Mutant]) -> None:
        """Write the rows of a group; one that is noticed is halved."""
        order = self.order(group)
        verdict, by = judge(group, self.errors, self.cases, order)
        if verdict != SURVIVED and len(group) > 1:
            half = len(group) // 2
            self.settle(group[:half])
            self.settle(group[half:])
            return
        self.note(group[0].module, group[0].line, by)
        found = {"n_cases": len(order), "together": len(group), "suite": self.suite, "verdict": verdict, "by": by}
        with self.out.open("a", encoding="utf-8") as file:
            for mutant in group:
                print(json.dumps(asdict(mutant) | {"name": mutant.name} | found), file=file)
        self.n_run += len(group)
        self.n_survived += len(group) * (verdict == SURVIVED)

    def all(self, chosen: Sequence[Mutant], known: Sequence[Json]) -> None:
        """Run those that have no row that holds, and first those that have one which does not."""
        start, told = time.monotonic(), 0
        waiting = [mutant for mutant in chosen if mutant.name not in self.done]
        again = [mutant for mutant in waiting if mutant.name in self.again]
        new = [mutant for mutant in waiting if mutant.name not in self.again]
        for group in [*groups(again, known), *groups(new, known)]:
            self.settle(group)
            if self.n_run - told >= EVERY or self.n_run == len(waiting):
                told = self.n_run
                seconds = time.monotonic() - start
                print(f"{told} of {len(waiting)}, {self.n_survived} survive, {seconds:.0f} s", flush=True)


# --- the report ----------------------------------------------------------------------------------------


def reasons() -> list[Json]:
    """What is known of survivors. A row of the file is for one line, `text`, or for all lines that match `pattern`."""
    table = tomllib.loads(REASONS.read_text("utf-8")) if REASONS.exists() else {}
    return [row | {"pattern": row.get("pattern") or re.escape(row["text"])} for row in table.get("survivor", [])]


def reason(known: Sequence[Json], row: Json) -> Json:
    """The first that is for a mutant's module, line of text and change; empty if there is none."""
    for found in known:
        is_there = found["module"] == row["module"] and row["change"] in found.get("changes", [row["change"]])
        if is_there and re.fullmatch(found["pattern"], row["text"]):
            return found
    return {}


def report(rows: Sequence[Json], known: Sequence[Json]) -> str:
    """The page: mutants by module, then every survivor with its reason."""
    survivors = [row for row in rows if row["verdict"] == SURVIVED]
    kinds = {row["name"]: reason(known, row) for row in survivors}
    lines = [
        "<!-- made by bench/mutation.py -->",
        "# Mutants of the reference decoder",
        "",
        "Made by `python -m bench.mutation OUT.jsonl` and `--report`: small faults in the core clauses, and whether",
        "the vectors notice them. *Stopped*: out of time or memory, which is noticed too. Reasons of the others are in",
        "`bench/mutation.toml`: *equivalent* mutants do what the decoder does, of *resources* only time or memory",
        "differ, and for a *hole* a vector is missing.",
        "",
        "| module | of all | run | noticed | stopped | equivalent | resources | hole | unexplained |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    errors = error_names()
    for module in (*MODULES, "all"):
        own = [row for row in rows if module in (row["module"], "all")]
        left = Counter(kinds[row["name"]].get("kind", "") for row in own if row["verdict"] == SURVIVED)
        stopped = sum(row["verdict"] == "stopped" for row in own)
        total = sum(len(mutants(name, errors)) for name in MODULES if module in (name, "all"))
        noticed = len(own) - left.total() - stopped
        cells = (total, len(own), noticed, stopped, left["equivalent"], left["resources"], left["hole"], left[""])
        lines.append(f"| {module} | " + " | ".join(map(str, cells)) + " |")
    lines += ["", "## Survivors", "", "| module | line | change | kind | why |", "|---|---|---|---|---|"]
    merged: dict[tuple[str, ...], list[str]] = {}
    for row in sorted(survivors, key=lambda row: (row["module"], row["line"], row["column"])):
        kind = kinds[row["name"]]
        key = row["module"], f"`{row['text']}`", kind.get("kind", ""), kind.get("why", "")
        merged.setdefault(key, []).append(row["change"])
    for (module, text, kind_name, why), changed in merged.items():
        cells = module, text, ", ".join(dict.fromkeys(changed)), kind_name, why
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 1 where a survivor has no reason."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutation", description=__doc__)
    parser.add_argument("out", type=Path, help="rows of the mutants, one JSON object a line")
    parser.add_argument("--modules", nargs="+", choices=MODULES, default=MODULES)
    parser.add_argument("--sample", type=int, help="so many of them, drawn with the seed; all when not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--filter", default="", help="only mutants whose name contains this")
    parser.add_argument("--report", action="store_true", help="run nothing, write the page")
    given = parser.parse_args(argv)
    errors, known = error_names(), reasons()
    every = [mutant for name in MODULES for mutant in mutants(name, errors)]
    if not given.report:
        chosen = [mutant for mutant in every if mutant.module in given.modules and given.filter in mutant.name]
        n = len(chosen) if given.sample is None else min(given.sample, len(chosen))
        Run(given.out).all(random.Random(given.seed).sample(chosen, n), known)
    names = {mutant.name for mutant in every}  # those of the decoder as it is
    rows = [row for name, row in load(given.out).items() if name in names]
    if given.report:
        REPORT.write_text(report(rows, known), "utf-8")
    return int(any(row["verdict"] == SURVIVED and not reason(known, row) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
