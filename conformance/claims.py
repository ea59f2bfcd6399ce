"""Verdicts, and the claims that they bear out: profile, level and grade (clauses 14 and 15)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

PROFILES = ("CORE", "MAIN")
LEVELS = (1, 2, 3, 4, 5)

PASS, NOT_RUN, CRASH, TIMEOUT, OVER_MEMORY = "pass", "not_run", "crash", "timeout", "over_memory"
WRONG_OUTPUT, ACCEPTED_INVALID, REJECTED_VALID = "wrong_output", "accepted_invalid", "rejected_valid"
WRONG_CLASS, WRONG_CODE, WRONG_OFFSET, UNSUPPORTED = "wrong_class", "wrong_code", "wrong_offset", "unsupported"
NOT_INCREMENTAL = "not_incremental"
VERDICTS = (
    *(PASS, NOT_RUN, CRASH, TIMEOUT, OVER_MEMORY, WRONG_OUTPUT, ACCEPTED_INVALID, REJECTED_VALID),
    *(WRONG_CLASS, WRONG_CODE, WRONG_OFFSET, NOT_INCREMENTAL, UNSUPPORTED),
)

# What each grade forgives. R: rejects every invalid file. C: with the right class. X: with the right code and offset.
GRADES = {
    "R": frozenset({PASS, WRONG_CLASS, WRONG_CODE, WRONG_OFFSET}),
    "C": frozenset({PASS, WRONG_CODE, WRONG_OFFSET}),
    "X": frozenset({PASS}),
}
PROGRESSIVE, BOUNDED = "P", "M"  # letters behind the grade: files in pieces, memory within the bound of LIM-2

Json = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """The verdict of one case. level 0: the file names none. operation: call, stream or fresh."""

    vector: str
    case: str
    kind: str
    profile: str
    verdict: str
    detail: str
    seconds: float
    stderr: str = ""
    level: int = 0
    clauses: tuple[str, ...] = ()
    operation: str = "call"


@dataclass(frozen=True)
class Settings:
    """How to run: the claim (profile, grade, level), seconds a case, address space in MiB (0: no limit), processes at a
    time, level B, level C; is_alone: a worker is started anew for the call.
    """

    profile: str = "CORE"
    grade: str = "X"
    timeout: float = 60.0
    memory: int = 0
    jobs: int = 1
    worker: bool = False
    level: int = LEVELS[-1]
    http: bool = False
    is_alone: bool = False

    @property
    def is_progressive(self) -> bool:
        return PROGRESSIVE in self.grade

    @property
    def is_bounded(self) -> bool:
        return BOUNDED in self.grade


def is_claimed(profile: str, level: int, settings: Settings) -> bool:
    """Whether a decoder with this claim has to decode the vectors of a profile and level."""
    return PROFILES.index(profile) <= PROFILES.index(settings.profile) and level <= settings.level


def is_passed(results: Sequence[Result], settings: Settings) -> bool:
    """Whether the claim holds: something ran, nothing outside what the grade forgives, and what P and M ask for."""
    allowed = GRADES[settings.grade[0]]
    return bool(results) and all(
        result.verdict in allowed
        or (result.verdict == UNSUPPORTED and not is_claimed(result.profile, result.level, settings))
        for result in results
    )


def grade_of(results: Sequence[Result], settings: Settings) -> str:
    """The best grade that holds with the letters that were tried, or an empty string.

    P needs streams and M a run under the bound; a stream that fails takes P away and leaves the rest.
    """
    streams = [result for result in results if result.operation == "stream"]
    others = [result for result in results if result.operation != "stream"]
    best = next((grade for grade in reversed(GRADES) if is_passed(others, replace(settings, grade=grade))), "")
    if not best:
        return ""
    progressive = PROGRESSIVE if is_passed(streams, replace(settings, grade=best)) else ""
    return best + progressive + (BOUNDED if settings.is_bounded else "")


def grades_by_claim(results: Sequence[Result], settings: Settings) -> dict[str, dict[str, str]]:
    """The best grade of every profile and level, from the results of the vectors in it."""
    return {
        profile: {
            str(level): _grade_within(results, replace(settings, profile=profile, level=level)) for level in LEVELS
        }
        for profile in PROFILES
    }


def _grade_within(results: Sequence[Result], settings: Settings) -> str:
    return grade_of([r for r in results if is_claimed(r.profile, r.level, settings)], settings)
