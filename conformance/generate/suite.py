"""Every vector with its cases: bytes of the files and the records of the manifest."""

import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from conformance.generate import faults
from conformance.generate.build import Built, build
from conformance.generate.field import Samples, coordinates, evaluate
from conformance.generate.parts import evaluate_parts, positions, positions_of
from conformance.generate.primitives import Mark, npy_bytes
from conformance.generate.recipe import EVERY_CHECK, Call, Invalid, Valid
from conformance.generate.recipes_base import base_calls, base_invalid, base_valid
from conformance.generate.recipes_corners import corners_invalid, corners_valid
from conformance.generate.recipes_extremes import extremes_invalid, extremes_valid
from conformance.generate.recipes_invalid import calls, invalid
from conformance.generate.recipes_latents import latents_valid
from conformance.generate.recipes_latents_invalid import latents_invalid
from conformance.generate.recipes_levels import levels_invalid
from conformance.generate.recipes_parts import parts_valid
from conformance.generate.recipes_parts_invalid import parts_calls, parts_invalid
from conformance.generate.recipes_previews import previews_valid
from conformance.generate.recipes_records import records_invalid, records_valid
from conformance.generate.recipes_sparse import sparse_valid
from conformance.generate.recipes_sparse_invalid import sparse_invalid
from conformance.generate.recipes_trained import trained_valid
from conformance.generate.recipes_trellis import trellis_invalid, trellis_valid
from conformance.generate.recipes_valid import valid
from conformance.generate.recipes_widths import widths_invalid, widths_valid

SUITE_VERSION = "0.1.0"
HARNESS_VERSION = 3
FORMAT_VERSION = "1.0-draft"
PROFILES = {1: "CORE", 2: "MAIN"}
EXIT_STATUS = {"malformed": 3, "integrity": 3, "truncated": 3, "unsupported": 4, "limit": 5, "usage": 2}
MOST_PASSES_WITH_STATES = 16  # above, only the state after the last pass is computed
REGISTRY = Path(__file__).resolve().parents[2] / "spec" / "registry.toml"

Record = dict[str, Any]
Files = dict[str, bytes]


def make() -> tuple[Files, Record]:
    """All files by their path below `conformance/`, and the manifest."""
    errors = {row["name"]: row for row in tomllib.loads(REGISTRY.read_text("utf-8"))["error"]}
    files: Files = {}
    vectors: list[Record] = []
    parents: dict[str, tuple[Valid, Built]] = {}
    for recipe in every_valid():
        parents[recipe.name] = recipe, build(recipe.file, weights_from=_first_state(recipe))
        vectors.append(_valid_vector(recipe, parents[recipe.name][1], files, errors))
    for fault in every_invalid():
        vectors.append(_invalid_vector(fault, parents[fault.parent], files, errors))
    by_name = {vector["name"]: vector for vector in vectors}
    for call in (*calls(), *base_calls(), *parts_calls()):
        marks = parents[call.parent][1].marks if call.at else {}
        vectors.append(_call_vector(call, by_name[call.parent], marks, files, errors))
    names = [vector["name"] for vector in vectors]
    if len(set(names)) != len(names):
        raise ValueError(f"two vectors of one name: {sorted(n for n in names if names.count(n) > 1)}")
    manifest = {
        "suite_version": SUITE_VERSION,
        "harness_version": HARNESS_VERSION,
        "format_version": FORMAT_VERSION,
        "n_vectors": len(vectors),
        "n_cases": sum(len(vector["cases"]) for vector in vectors),
        "errors": _errors_used(vectors, errors),
        "vectors": vectors,
    }
    return files, manifest


def every_valid() -> list[Valid]:
    """Every valid vector in the order of the ladder."""
    made = [*valid(), *sparse_valid(), *trellis_valid(), *records_valid(), *base_valid(), *latents_valid()]
    more = [*widths_valid(), *parts_valid(), *previews_valid(), *extremes_valid(), *corners_valid()]
    return [*made, *more, *trained_valid()]


def every_invalid() -> list[Invalid]:
    """Every invalid vector."""
    made = [*invalid(), *sparse_invalid(), *trellis_invalid(), *records_invalid(), *base_invalid(), *latents_invalid()]
    return [*made, *widths_invalid(), *parts_invalid(), *extremes_invalid(), *levels_invalid(), *corners_invalid()]


def _first_state(recipe: Valid) -> int:
    n_passes = recipe.file.n_passes
    return 0 if n_passes <= MOST_PASSES_WITH_STATES else n_passes - 1


def _add(files: Files, path: str, data: bytes) -> Record:
    if path in files:
        raise ValueError(f"two files {path}")
    files[path] = data
    return _described(path, data)


def _described(path: str, data: bytes) -> Record:
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _vector(recipe: Valid | Invalid, kind: str, profile: int, file: Record, cases: list[Record]) -> Record:
    return {
        "name": recipe.name,
        "title": recipe.title,
        "kind": kind,
        "clauses": list(recipe.clauses),
        "profile": PROFILES[profile],
        "file": file,
        "cases": cases,
    }


# --- cases -----------------------------------------------------------------------------------------


def _success(built: Built, n_passes: int, output: Record | None) -> Record:
    record = {
        "passes": n_passes,
        "weights_sha256": built.weights_sha256[n_passes - 1],
        "acc_crc": [f"{crc:08x}" for crc in built.acc_crcs[: n_passes * built.n_parts]],
    }
    return record | {"output": output} if output else record


def _failure(errors: Record, name: str, offset: int | None) -> Record:
    if name not in errors:
        raise ValueError(f"no error {name}")
    return {"name": name, "offset": offset}


def _errors_used(vectors: list[Record], errors: Record) -> Record:
    """Exit status, code and class of every error that a case expects."""
    used = {case["expect"].get("name") for vector in vectors for case in vector["cases"]}
    rows = {name: row for name, row in errors.items() if name in used}
    return {
        name: {"exit": EXIT_STATUS[row["class"]], "code": row["code"], "class": row["class"]}
        for name, row in rows.items()
    }


@dataclass(frozen=True)
class Inputs:
    """What all cases of a vector share: arguments that choose the samples, files for `--coords` and `--base`."""

    args: tuple[str, ...] = ()
    coords: Record | None = None
    base: Record | None = None

    def case(self, name: str, expect: Record, options: str = "", *, cut: int | None = None) -> Record:
        """One call of the decoder with `cut` bytes of the file and options beside the shared arguments."""
        chosen = {"args": [*self.args, *options.split()], "coords": self.coords, "base": self.base}
        given: Record = {key: value for key, value in chosen.items() if value}
        return {"name": name} | given | ({} if cut is None else {"cut": cut}) | {"expect": expect}


def _valid_vector(recipe: Valid, built: Built, files: Files, errors: Record) -> Record:
    head = recipe.file.head
    file = _add(files, f"vectors/{recipe.name}.sinr", built.data)
    inputs = _inputs(recipe, files)
    n_passes = recipe.file.n_passes
    cases = [inputs.case("whole", _success(built, n_passes, _output(recipe, built, n_passes, files)))]
    if recipe.each_pass:
        for k in range(1, n_passes + 1):
            output = _output(recipe, built, k, files) if k < n_passes else None
            cases.append(inputs.case(f"passes-{k}", _success(built, k, output), f"--passes {k}"))
    if recipe.prefixes:
        cases += _prefix_cases(built, n_passes, inputs, errors)
    return _vector(recipe, "valid", head.profile, file, cases)


def _inputs(recipe: Valid, files: Files) -> Inputs:
    """The arguments and files of every case."""
    base = _record(files, recipe.base) if recipe.base else None
    options = tuple(recipe.options.split())
    if recipe.coords is not None:
        flat = [x for point in recipe.coords for x in point]
        data = npy_bytes(flat, (len(recipe.coords), recipe.file.head.in_dims))
        return Inputs(options, _add(files, f"vectors/{recipe.name}.coords.npy", data), base)
    if recipe.size is not None:
        return Inputs(("--size", "x".join(str(n) for n in reversed(recipe.size)), *options), None, base)
    return Inputs(options, None, base)


def _record(files: Files, name: str) -> Record:
    """The record of the file of a vector that is there already."""
    path = f"vectors/{name}.sinr"
    return _described(path, files[path])


def samples(recipe: Valid, built: Built, n_passes: int) -> Samples:
    """The values of the field after so many passes."""
    head = recipe.file.head
    grid = recipe.size or head.grid
    weights = built.weights[n_passes - 1]
    shape = (len(recipe.coords), head.out_channels) if recipe.coords is not None else (*grid, head.out_channels)
    if head.split:
        places = positions(head, grid) if recipe.coords is None else positions_of(head, recipe.coords)
        return evaluate_parts(head, weights, places, shape)
    points = list(recipe.coords) if recipe.coords is not None else coordinates(head, grid)
    return evaluate(head, weights, points, shape)


def _output(recipe: Valid, built: Built, n_passes: int, files: Files) -> Record:
    output = samples(recipe, built, n_passes)
    label = "" if n_passes == recipe.file.n_passes else f".pass{n_passes}"
    record = _add(files, f"vectors/{recipe.name}{label}.npy", npy_bytes(output.values, output.shape))
    return {"file": record, "shape": list(output.shape), "peak": output.peak, "rms": output.rms}


def _prefix_cases(built: Built, n_passes: int, inputs: Inputs, errors: Record) -> Iterator[Record]:
    """Cuts at every structural boundary and beside it: TRUNCATED, and the passes that `--partial` finds."""
    ends = [built.chunk_end(f"PASS{p * built.n_parts - 1}") for p in range(1, n_passes + 1)]
    size = len(built.data)
    places = {mark.offset + d for mark in built.marks.values() for d in (-1, 0, 1)}
    boundaries = {mark.offset for name, mark in built.marks.items() if _is_boundary(name)}
    places &= {b + d for b in boundaries for d in (-1, 0, 1)}
    for cut in sorted(p for p in places if 0 <= p < size):
        truncated = _failure(errors, "TRUNCATED", cut)
        yield inputs.case(f"cut-{cut}", truncated, cut=cut)
        n_whole = sum(end <= cut for end in ends)
        expect = _success(built, n_whole, None) if n_whole else truncated
        yield inputs.case(f"cut-{cut}-partial", expect, "--partial", cut=cut)
        if n_whole:
            yield inputs.case(f"cut-{cut}-passes", _success(built, n_whole, None), f"--passes {n_whole}", cut=cut)
    yield from _both_cases(built, ends, inputs, errors)
    yield inputs.case("whole-partial", _success(built, len(ends), None), "--partial")


def _both_cases(built: Built, ends: list[int], inputs: Inputs, errors: Record) -> Iterator[Record]:
    """`--passes N --partial` of cuts in the middle: the last whole pass of the first N."""
    edges = [built.chunk_end("HEAD"), *ends]
    for i, (start, end) in enumerate(pairwise(edges)):
        cut = (start + end) // 2  # i passes are whole
        for n in range(1, len(ends) + 1):
            expect = _success(built, min(i, n), None) if i else _failure(errors, "TRUNCATED", cut)
            yield inputs.case(f"cut-{cut}-passes-{n}-partial", expect, f"--passes {n} --partial", cut=cut)


def _is_boundary(name: str) -> bool:
    return name.endswith((".type", ".crc32")) or name == "end"


def _invalid_vector(fault: Invalid, source: tuple[Valid, Built], files: Files, errors: Record) -> Record:
    recipe, parent = source
    if fault.file is not None:
        built, patches = build(fault.file, weights_from=fault.file.n_passes), []
    else:
        patches = [faults.resolve(edit, parent) for edit in fault.edits]
        built = faults.apply(parent, patches, fault.reseal)
    offset = built.marks[fault.at].offset + fault.plus
    inputs = _inputs_again(recipe, files)
    if fault.base is not None:
        inputs = replace(inputs, base=_record(files, fault.base) if fault.base else None)
    failure = _failure(errors, fault.error, offset)
    cases = [inputs.case("whole", failure)]
    cases += [inputs.case(_case_name(options), failure, options) for options in fault.also]
    if fault.whole_passes:
        whole = _success(parent, fault.whole_passes, None)
        if fault.file is not None:
            kept = build(fault.file).weights_sha256 if fault.file.n_passes < MOST_PASSES_WITH_STATES else []
            whole = _success(_with_digests(built, kept), fault.whole_passes, None)
        partial = whole if fault.error == "TRUNCATED" else failure
        cases.append(inputs.case("passes", whole, f"--passes {fault.whole_passes}"))
        cases.append(inputs.case("partial", partial, "--partial"))
    file = _add(files, f"vectors/{fault.name}.sinr", built.data)
    vector = _vector(fault, "invalid", recipe.file.head.profile, file, cases)
    vector["derivation"] = {"parent": fault.parent}
    if patches:
        vector["derivation"]["patches"] = [
            {"offset": p.offset, "old": p.old.hex(), "new": p.new.hex()} for p in patches
        ]
    if patches and fault.reseal != EVERY_CHECK:
        vector["derivation"]["reseal"] = list(fault.reseal)
    return vector


def _case_name(options: str) -> str:
    return options.replace("--", "").replace(" ", "-")


def _with_digests(built: Built, digests: list[str]) -> Built:
    return replace(built, weights_sha256=digests)


def _inputs_again(recipe: Valid, files: Files) -> Inputs:
    """The inputs of a parent, whose file of coordinates exists already."""
    scratch = {path: data for path, data in files.items() if not path.endswith(".npy")}
    inputs = _inputs(recipe, scratch)
    if any(files[path] != data for path, data in scratch.items()):
        raise ValueError(f"{recipe.name}: other coordinates")
    return inputs


def _call_vector(call: Call, source: Record, marks: dict[str, Mark], files: Files, errors: Record) -> Record:
    """A wrong call of the file of a vector."""
    base = _record(files, call.base) if call.base else None
    offset = marks[call.at].offset if call.at else None
    coords = None if call.coords is None else _add(files, f"vectors/{call.name}.coords.npy", call.coords)
    case = Inputs(call.args, coords, base).case("whole", _failure(errors, call.error, offset))
    return {
        "name": call.name,
        "title": call.title,
        "kind": "call",
        "clauses": list(call.clauses),
        "profile": source["profile"],
        "file": source["file"],
        "cases": [case],
    }
