"""Reports of a run: lines for a person, JSON (report.schema.json), JUnit, a matrix in HTML, a badge.

`python -m conformance.reports -o MATRIX.html REPORT.json…` puts several decoders side by side in one matrix.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from html import escape
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

from conformance.claims import PASS, UNSUPPORTED, VERDICTS, Json, Result, Settings, is_passed

# Colours of a cell: right, beside the claim, wrong in a detail, wrong.
COLOURS = {PASS: "#2e9e5b", UNSUPPORTED: "#a9b1ba", "wrong_offset": "#e8b83a", "wrong_code": "#e2942b"}
COLOURS |= {"wrong_class": "#dd7723", "not_incremental": "#8661c1", "not_run": "#5b6570"}
WRONG = "#cb3434"
SEVERITY = {verdict: i for i, verdict in enumerate([PASS, UNSUPPORTED])}  # every other verdict is worse


def result_object(result: Result, settings: Settings) -> Json:
    """A result as JSON; `allowed`: the claim stands in spite of it."""
    return asdict(result) | {"clauses": list(result.clauses), "allowed": is_passed([result], settings)}


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How often each verdict was given."""
    return dict(Counter(result.verdict for result in results).most_common())


def print_summary(report: Json) -> None:
    """What a person reads: each case that did not pass, then the counts, the claim and the grades."""
    for result in report["results"]:
        if result["verdict"] != PASS:
            print(f"{result['verdict']:16} {result['vector']} [{result['case']}]  {result['detail']}")
    print("  ".join(f"{verdict} {count}" for verdict, count in report["verdicts"].items()))
    held = "holds" if report["passed"] else "DOES NOT HOLD"
    best = report["grade"] or "none"
    claim = f"profile {report['profile']}, level {report['level']}, grade {report['claimed_grade']}"
    print(f"{claim}: {held}; best grade: {best}; {len(report['results'])} cases; seed {report['seed']}")


def as_json(report: Json) -> bytes:
    """The report as it is."""
    return (json.dumps(report, indent=1) + "\n").encode()


def junit(report: Json) -> bytes:
    """The report as JUnit XML."""
    results = report["results"]
    n_bad = sum(not result["allowed"] for result in results)
    suite = ElementTree.Element("testsuite", name="sinr-conformance", tests=str(len(results)), failures=str(n_bad))
    for result in results:
        item = ElementTree.SubElement(
            suite, "testcase", classname=result["vector"], name=result["case"], time=str(result["seconds"])
        )
        if not result["allowed"]:
            failure = ElementTree.SubElement(item, "failure", type=result["verdict"], message=result["detail"])
            failure.text = result["stderr"]
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def claim_text(report: Json) -> str:
    """The claim as it is quoted: profile@level and grade, and whether only a part of the suite was run."""
    grade = report["grade"] if report["passed"] else "failed"
    return f"{report['profile']}@{report['level']} {grade}" + (" (part)" if report["filter"] else "")


def badge(report: Json) -> bytes:
    """A picture for a project's page: the claim if it holds, else `failed`."""
    label, text = "SINR", claim_text(report)
    left, right = 7 * len(label) + 12, 7 * len(text) + 12
    colour = COLOURS[PASS] if report["passed"] else WRONG
    style = 'font-family="Verdana,sans-serif" font-size="11" fill="#fff" text-anchor="middle"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img">
<title>{label}: {escape(text)}</title>
<rect width="{left + right}" height="20" rx="3" fill="#444"/>
<rect x="{left}" width="{right}" height="20" rx="3" fill="{colour}"/>
<g {style}><text x="{left / 2}" y="14">{label}</text><text x="{left + right / 2}" y="14">{escape(text)}</text></g>
</svg>
""".encode()


# --- the matrix --------------------------------------------------------------------------------------

STYLE = """
body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}
table{border-collapse:collapse}
th,td{border:1px solid #ddd;padding:4px 8px;text-align:left;vertical-align:top}
thead th{position:sticky;top:0;background:#f4f5f7}
.c{line-height:0;max-width:46em}
.n{display:block;line-height:1.4;font-size:12px;color:#555}
i{display:inline-block;width:8px;height:8px;margin:1px;border-radius:1px}
.key i{margin-right:4px}.key span{margin-right:14px;white-space:nowrap}
code{font-size:12px}
""" + "".join(f".{verdict}{{background:{COLOURS.get(verdict, WRONG)}}}\n" for verdict in VERDICTS)


def matrix(*reports: Json) -> bytes:
    """One page: a row for each clause, a column for each decoder, in it a square for each vector that cites the clause.

    A square has the colour of the vector's worst verdict and its name as title.
    """
    columns = [_by_clause(report) for report in reports]
    clauses = sorted({clause for column in columns for clause in column}, key=_clause_order)
    rows = "".join(
        f"<tr><th>{escape(clause)}</th>{''.join(_cell(column.get(clause, {})) for column in columns)}</tr>\n"
        for clause in clauses
    )
    heads = "".join(f"<th>{escape(r['decoder'])}<br>{escape(claim_text(r))}</th>" for r in reports)
    key = "".join(f'<span><i class="{verdict}"></i>{verdict}</span>' for verdict in VERDICTS)
    versions = sorted({f"suite {r['suite_version']}, manifest {r['manifest_sha256'][:12]}" for r in reports})
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>SINR conformance</title><style>{STYLE}</style>
<h1>SINR conformance</h1>
<p>{"; ".join(versions)}. A row is a clause or a requirement of the text, a square a vector that cites it.</p>
{"".join(_summary(report) for report in reports)}
<p class="key">{key}</p>
<table><thead><tr><th>clause</th>{heads}</tr></thead><tbody>
{rows}</tbody></table>
{"".join(_failures(report) for report in reports)}
</html>
""".encode()


def _by_clause(report: Json) -> dict[str, dict[str, list[Json]]]:
    """Clause to vector to its results."""
    found: dict[str, dict[str, list[Json]]] = {}
    for result in report["results"]:
        for clause in result["clauses"]:
            found.setdefault(clause, {}).setdefault(result["vector"], []).append(result)
    return found


def _clause_order(clause: str) -> tuple[str, list[int]]:
    """Numbers of clauses first, then requirements by their letters and number."""
    if clause[0].isdigit():
        return "", [int(part) for part in clause.split(".")]
    letters, _, number = clause.partition("-")
    return letters, [int(number)]


def _cell(vectors: dict[str, list[Json]]) -> str:
    worst = {
        name: max((r["verdict"] for r in results), key=lambda v: SEVERITY.get(v, len(SEVERITY)))
        for name, results in vectors.items()
    }
    squares = "".join(f'<i class="{verdict}" title="{escape(name)}: {verdict}"></i>' for name, verdict in worst.items())
    n_right = sum(verdict == PASS for verdict in worst.values())
    return f'<td class="c">{squares}<span class="n">{n_right} / {len(worst)}</span></td>'


def _summary(report: Json) -> str:
    held = "holds" if report["passed"] else "does not hold"
    said = ", ".join(f"{verdict} {count}" for verdict, count in report["verdicts"].items())
    head = f"<p><b>{escape(report['decoder'])}</b> <code>{escape(' '.join(report['command']))}</code>: the claim "
    head += f"{report['profile']}@{report['level']} {report['claimed_grade']} {held}. {said}.</p>"
    none = "none"
    levels = list(next(iter(report["grades"].values())))
    lines = "".join(
        f"<tr><th>{profile}</th>{''.join(f'<td>{grades[level] or none}</td>' for level in levels)}</tr>"
        for profile, grades in report["grades"].items()
    )
    return f"{head}<table><tr><th>grade</th>{''.join(f'<th>level {n}</th>' for n in levels)}</tr>{lines}</table>"


def _failures(report: Json) -> str:
    bad = [result for result in report["results"] if result["verdict"] != PASS]
    if not bad:
        return ""
    lines = "".join(
        f"<li><code>{escape(name)}</code><ul>{''.join(_failure(result) for result in results)}</ul></li>\n"
        for name, results in groupby(bad, key=lambda result: result["vector"])
    )
    return f"<h2>{escape(report['decoder'])}: what did not pass</h2><ul>{lines}</ul>"


def _failure(result: Json) -> str:
    return f"<li>{escape(result['case'])}: {result['verdict']} {escape(result['detail'])}</li>"


WRITERS: dict[str, Callable[[Json], bytes]] = {"json": as_json, "junit": junit, "html": matrix, "badge": badge}
"""Option of the harness to what it writes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="reports.py", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MATRIX.html")
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT.json")
    given = parser.parse_args(argv)
    given.output.write_bytes(matrix(*(json.loads(path.read_text("utf-8")) for path in given.reports)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
