"""Mutation testing: small faults in the core clauses of the reference decoder, which the vectors must notice.

Run from the root of the repository:

    python -m bench.mutation OUT.jsonl [--modules container head ...] [--sample N] [--seed S] [--filter TEXT]
    python -m bench.mutation OUT.jsonl --report

A mutant is the decoder with one change of its source: a comparison, a constant, an operator, a condition, the name of
an error, a statement left out. It runs the cases of the conformance suite that reach the changed statement (all of them
for one that runs on import) by the contract of clause 15, in a process of its own, until one fails. Rows go to
OUT.jsonl; a mutant that stands there is not run again, so the command goes on where it was stopped. ``--report`` writes
``bench/results/mutation.md``, with what ``bench/mutation.toml`` says of those that no vector notices.
"""

import argparse
import ast
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance.claims import Json, Result, is_passed
from conformance.coverage import DECODER, SETTINGS, SOURCE, answer
from conformance.run import ROOT, load_manifest, run_case

MODULES = ("container", "errors", "head", "limits", "passes", "packed", "weights", "states", "entropy", "trellis")
REPORT = Path(__file__).parent / "results" / "mutation.md"
REASONS = Path(__file__).parent / "mutation.toml"
SECONDS, MEMORY = 20, 4 << 30  # for a mutant: CPU time of all its cases, and address space
IN_MEMORY = "/dev/shm"
SURVIVED = "survived"
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
    for index, (node, statement, depth, (words, _)) in enumerate(changes(parsed(module), errors)):
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


def mutated(mutant: Mutant, errors: Sequence[str]) -> Changed:
    """The decoder with this change."""
    tree = parsed(mutant.module)
    *_, (_, change) = list(changes(tree, errors))[mutant.index]
    change()
    return Changed({mutant.module: tree})


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


def judge(mutant: Mutant, errors: Sequence[str], cases: Sequence[Case], numbers: Sequence[int]) -> tuple[str, str]:
    """The verdict of the first case that fails and its vector; `survived` if there is none."""

    def decode() -> tuple[str, str]:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        install(mutated(mutant, errors))
        for number in numbers:
            result = run(number, cases)
            if not is_passed([result], SETTINGS):
                return result.verdict, result.vector
        return SURVIVED, ""

    verdict = in_process(decode, 10 * SECONDS)
    return tuple(verdict) if verdict else ("stopped", "")


# --- the run -------------------------------------------------------------------------------------------


def load(out: Path) -> dict[str, Json]:
    """The rows so far, by the mutant's name."""
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []
    return {row["name"]: row for row in rows}


def relevant(mutant: Mutant, lines: Reached, n_cases: int) -> set[int]:
    """The cases that can notice it."""
    if mutant.on_import:
        return set(range(n_cases))
    return lines.get((mutant.module, mutant.statement), set())


def run_all(chosen: Sequence[Mutant], out: Path) -> None:
    """Run those that have no row yet. Cases that noticed a mutant come first for the next ones: most often first."""
    errors = error_names()
    cases = [(vector, case) for vector in load_manifest()["vectors"] for case in vector["cases"]]
    done = load(out)
    tempfile.tempdir = IN_MEMORY if os.path.isdir(IN_MEMORY) else None  # a disk takes longer than most cases
    lines = reached(cases)
    spread = random.Random(0).sample(range(len(cases)), len(cases))
    killers = Counter(row["by"] for row in done.values() if row["by"])
    start, counts = time.monotonic(), Counter(row["verdict"] == SURVIVED for row in done.values())
    waiting = [mutant for mutant in chosen if mutant.name not in done]
    with out.open("a", encoding="utf-8") as file:
        for at, mutant in enumerate(waiting, 1):
            numbers = relevant(mutant, lines, len(cases))
            order = sorted((n for n in spread if n in numbers), key=lambda n: -killers[cases[n][0]["name"]])
            verdict, by = judge(mutant, errors, cases, order)
            killers[by] += 1
            counts[verdict == SURVIVED] += 1
            row = asdict(mutant) | {"name": mutant.name, "n_cases": len(order), "verdict": verdict, "by": by}
            print(json.dumps(row), file=file, flush=True)
            if at % EVERY == 0 or at == len(waiting):
                print(f"{at} of {len(waiting)}, {counts[True]} survive, {time.monotonic() - start:.0f} s", flush=True)


# --- the report ----------------------------------------------------------------------------------------


def reasons() -> dict[tuple[str, str, str], Json]:
    """What is known of survivors, by module, line of text and change."""
    table = tomllib.loads(REASONS.read_text("utf-8")) if REASONS.exists() else {}
    return {(row["module"], row["text"], change): row for row in table.get("survivor", []) for change in row["changes"]}


def report(rows: Sequence[Json], known: dict[tuple[str, str, str], Json]) -> str:
    """The page: mutants by module, then every survivor with its reason."""
    survivors = [row for row in rows if row["verdict"] == SURVIVED]
    kinds = {row["name"]: known.get((row["module"], row["text"], row["change"]), {}) for row in survivors}
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
    for row in sorted(survivors, key=lambda row: (row["module"], row["line"], row["column"])):
        kind = kinds[row["name"]]
        cells = (row["module"], f"`{row['text']}`", row["change"], kind.get("kind", ""), kind.get("why", ""))
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
    if not given.report:
        errors = error_names()
        every = [m for name in given.modules for m in mutants(name, errors) if given.filter in m.name]
        n = len(every) if given.sample is None else min(given.sample, len(every))
        run_all(random.Random(given.seed).sample(every, n), given.out)
    rows, known = list(load(given.out).values()), reasons()
    if given.report:
        REPORT.write_text(report(rows, known), "utf-8")
    return int(any(r["verdict"] == SURVIVED and (r["module"], r["text"], r["change"]) not in known for r in rows))


if __name__ == "__main__":
    sys.exit(main())
