"""Which lines and branches of the reference decoder the vectors reach by themselves.

A rule of the text that no vector reaches is one that a decoder may break unseen. `python -m conformance.coverage` has
exit status 0 when every line and branch is reached or stands in `unreached.toml` with its reason, and nothing stands
there in vain.
"""

import ast
import json
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coverage

from conformance import worker
from conformance.run import ROOT, Answer, Json, Settings, is_passed, json_line, load_manifest, run_case

DECODER = "reference_decoder"
SOURCE = ROOT.parent / DECODER
SETTINGS = Settings(profile="MAIN")


@dataclass(frozen=True)
class Unreached:
    """A line of a module, by its text; a `def` stands for all lines of the function. `why`: no vector can reach it."""

    module: str
    text: str
    why: str

    def lines(self) -> set[int]:
        """Its line numbers; raises ValueError unless the text is that of exactly one line."""
        source = (SOURCE / self.module).read_text("utf-8")
        (at,) = (number for number, line in enumerate(source.splitlines(), 1) if line.strip() == self.text)
        functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
        ends = [node.end_lineno or at for node in functions if node.lineno == at]
        return set(range(at, max([at, *ends]) + 1))


def unreached() -> list[Unreached]:
    """The table of what no vector reaches."""
    table = tomllib.loads((ROOT / "unreached.toml").read_text("utf-8"))
    return [Unreached(**row) for row in table["line"]]


def answer(arguments: Sequence[str], settings: Settings) -> Answer:
    """What the reference decoder says, in this process."""
    status, out, err = worker.call(DECODER, arguments)
    return Answer(status, json_line(out.encode()), err)


def measure(vectors: Sequence[Json]) -> tuple[dict[str, Any], list[str]]:
    """The report of the tool, and the cases that did not pass."""
    tool = coverage.Coverage(branch=True, source=[DECODER], data_file=None)
    cases = [(vector, case) for vector in vectors for case in vector["cases"]]
    tool.start()
    results = [run_case(answer, ROOT, vector, case, SETTINGS) for vector, case in cases]
    tool.stop()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        tool.json_report(outfile=str(path))
        report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return report, [f"{r.verdict} {r.vector} [{r.case}]" for r in results if not is_passed([r], SETTINGS)]


def missing_lines(module: Json) -> set[int]:
    """Lines that were not reached; a branch that was not taken counts as the line that it leads to, or leaves from."""
    return set(module["missing_lines"]) | {to if to > 0 else at for at, to in module["missing_branches"]}


def judge(report: Json) -> list[str]:
    """What is unreached and not excused, and what is excused in vain."""
    modules = {Path(name).name: module for name, module in report["files"].items()}
    missing = {(name, line) for name, module in modules.items() for line in missing_lines(module)}
    excused = {row: {(row.module, line) for line in row.lines()} for row in unreached()}
    wrong = [f"{row.module}: is reached: {row.text}" for row, lines in excused.items() if not lines & missing]
    return wrong + [f"{name}:{line}: is not reached" for name, line in sorted(missing - set().union(*excused.values()))]


def main() -> int:
    """Exit status 0 when nothing is unreached unexcused."""
    report, failed = measure(load_manifest()["vectors"])
    wrong = failed + judge(report)
    for line in wrong:
        print(line)
    totals = report["totals"]
    print(f"lines {totals['covered_lines']} of {totals['num_statements']}", end=", ")
    print(f"branches {totals['covered_branches']} of {totals['num_branches']}", end="; ")
    print(f"{len(unreached())} rows of unreached.toml, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
