"""Mutants of the reference decoder: which changes there are, and that the vectors' verdict on them is right."""

import ast

import pytest

from bench import mutation
from conformance.run import load_manifest

ERRORS = ["BAD_MODEL", "BAD_TABLE"]
SOURCE = """
LIMIT = 3
def f(x: int = 1) -> int:
    '''Not 5.'''
    if x < LIMIT and True:
        raise E("BAD_TABLE", f"{x + 1}")
    check(x)
    return x << 2
"""


@pytest.fixture(scope="module")
def cases() -> list[mutation.Case]:
    return [(vector, vector["cases"][0]) for vector in load_manifest()["vectors"] if vector["name"] == "valid-min-raw"]


def mutant_of(module: str, text: str, change: str) -> mutation.Mutant:
    (found,) = [m for m in mutation.mutants(module, mutation.error_names()) if (m.text, m.change) == (text, change)]
    return found


def test_changes_are_those_of_code_that_runs() -> None:
    found = [words for *_, (words, _) in mutation.changes(ast.parse(SOURCE), ERRORS)]
    assert sorted(found) == sorted(
        [
            *("3 to 2", "3 to 4", "1 to 0", "1 to 2", "negated condition", "And to Or", "Lt to LtE", "True to False"),
            *(
                "without raise at 6",
                "BAD_TABLE to BAD_MODEL",
                "without expr at 7",
                "LShift to RShift",
                "2 to 1",
                "2 to 3",
            ),
        ]
    )


def test_every_mutant_has_its_own_name() -> None:
    names = [m.name for module in mutation.MODULES for m in mutation.mutants(module, ERRORS)]
    assert len(set(names)) == len(names) > 2500


def test_a_fault_that_a_vector_reaches_is_noticed(cases: list[mutation.Case]) -> None:
    mutant = mutant_of("container", "if zlib.crc32(data[offset:end], start_value) != stored:", "NotEq to Eq")
    assert mutation.judge([mutant], mutation.error_names(), cases, [0]) == ("rejected_valid", "valid-min-raw")


def test_a_change_without_effect_survives(cases: list[mutation.Case]) -> None:
    mutant = mutant_of("passes", "step: int = 0", "0 to -1")
    assert mutation.judge([mutant], mutation.error_names(), cases, [0]) == ("survived", "")


def test_cases_that_reach_a_statement_are_found(cases: list[mutation.Case]) -> None:
    lines = mutation.reached(cases)
    reached = mutant_of("container", "if zlib.crc32(data[offset:end], start_value) != stored:", "NotEq to Eq")
    not_reached = mutant_of("entropy", "return min((8 + (c & 7)) << (c >> 3), 1 << 24) if c > 0 else 0", "7 to 6")
    assert mutation.relevant(reached, lines, 1) == {0}
    assert mutation.relevant(not_reached, lines, 1) == set()
    assert mutation.relevant(mutant_of("passes", "step: int = 0", "0 to 1"), lines, 1) == {0}


def test_a_report_counts_survivors_by_their_reason() -> None:
    row = {"module": "passes", "text": "a | b", "line": 1, "column": 0, "by": ""}
    rows = [
        row | {"name": "1", "change": "x", "verdict": "survived"},
        row | {"name": "2", "change": "y", "verdict": "survived"},
        row | {"name": "3", "change": "y", "verdict": "stopped"},
        row | {"name": "4", "change": "y", "verdict": "wrong_code"},
    ]
    page = mutation.report(
        rows, [{"module": "passes", "pattern": "a .*", "changes": ["x"], "kind": "hole", "why": "no vector"}]
    )
    (line,) = [line for line in page.splitlines() if line.startswith("| passes | ") and "`" not in line]
    assert line.split(" | ")[2:] == ["4", "1", "1", "0", "0", "1", "1 |"]
    assert "| passes | `a \\| b` | x | hole | no vector |" in page
