"""Unlimited valid files with predicted digests and values, and invalid ones with predicted code and offset.

`python -m conformance.soak [--seed S] [--n N] [--keep FOLDER] [-- COMMAND...]` writes the files N by N from a seed and
calls a decoder on each by the contract of clause 15: the command, or both decoders of the project in this process. The
descriptions are random; bytes and predictions come from the writer of the vectors, which shares no code with a decoder.
Exit status 0 when every answer is as predicted; a file with a wrong one is kept.
"""

import argparse
import random
import shutil
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from conformance import worker
from conformance.chunks import KINDS as CHUNK_KINDS
from conformance.generate import faults
from conformance.generate.build import Built, build, step_code
from conformance.generate.describe import (
    BITMAP,
    COLUMNS,
    FLATTENED,
    GAPS,
    LATENTS,
    PACKED,
    PARTS,
    RANS,
    RAW,
    ROWS,
    SCALAR,
    SEEDED,
    SHARED_BASE,
    SPARSE,
    SPARSE_CODE,
    TRELLIS,
    TRELLIS_CODE,
    WIDTHS,
    ZLIB,
    Ancillary,
    Context,
    Entry,
    File,
    Fourier,
    FourierSeeded,
    Grid,
    Head,
    Layer,
    Pass,
    Pyramid,
    Record,
    Short,
    SparseCode,
    Tensor,
)
from conformance.generate.faults import Change, Edit, Flip
from conformance.generate.primitives import npy_bytes
from conformance.generate.recipe import EVERY_CHECK, Valid, patterns
from conformance.generate.suite import EXIT_STATUS, REGISTRY, samples
from conformance.run import Answer, Call, Json, Result, Settings, calling, is_passed, json_line, run_case

IN_PROCESS = {"reference_decoder": ["reference_decoder"], "sinrfmt": ["sinrfmt", "decode", "--json", "--force"]}
KINDS = ("SINE", "RELU", "TANH", "SIGMOID", "ELU", "GAUSSIAN", "FINER", "LINEAR")
WITH_OMEGA = ("SINE", "GAUSSIAN", "FINER")
LAWS = ("LAPLACE", "GAUSS", "FLAT", "HEAVY")
TOOLS = (SCALAR, SCALAR, SCALAR, TRELLIS_CODE, RAW)
SEEDED_TOOLS = (*TOOLS, SPARSE_CODE, SPARSE_CODE)
PHILOX, LAWS_OF_DICTIONARY = 0x10, 2  # of rng_dictionary: its upper bits, and how many laws its lower bits name
CODINGS = ((RANS, 0), (RANS, 0), (RANS, 6), (PACKED, 0), (ZLIB, 0))
UNKNOWN_KINDS = sorted({*range(1, 15)} - {*CHUNK_KINDS})
INVALID_SHARE, BASE_SHARE = 1 / 3, 1 / 4
MOST_TRIES = 9  # of tools for the layers of a file with a base


# --- random descriptions -----------------------------------------------------------------------------------------


def random_layer(rng: random.Random, *, seeded: bool) -> Layer:
    """A layer of any kind and tool."""
    kind, tool = rng.choice(KINDS), rng.choice(SEEDED_TOOLS if seeded else TOOLS)
    return Layer(
        kind,
        rng.randint(1, 6),
        omega=rng.choice((1, 2, 30)) if kind in WITH_OMEGA else 1,
        tool=tool,
        prior=seeded and tool != RAW and rng.random() < 1 / 2,
        row_steps=tool != RAW and rng.random() < 1 / 4,
        bias=rng.random() < 3 / 4,
        half=tool == RAW and rng.random() < 1 / 2,
    )


def random_head(rng: random.Random) -> Head:
    """A head with an encoding or none, layers that differ from their neighbours, and up to three passes."""
    in_dims, seeded = rng.randint(1, 3), rng.random() < 1 / 3
    grid = tuple(rng.randint(1, 4) for _ in range(in_dims))
    records: list[Record] = [random_layer(rng, seeded=seeded) for _ in range(rng.randint(0, 3))]
    records = [r for i, r in enumerate(records) if i == 0 or r != records[i - 1]]
    encoding = random_encoding(rng, in_dims, seeded=seeded)
    last = replace(random_layer(rng, seeded=seeded), repeat=1)
    head = Head(
        records=(*encoding, *records, last),
        modality=8,
        values=2,
        in_dims=in_dims,
        out_channels=rng.randint(1, 4),
        grid=grid,
        n_passes=rng.choice((1, 1, 2, 3)),
        seed=rng.getrandbits(32),
    )
    return with_features(rng, head)


def random_encoding(rng: random.Random, in_dims: int, *, seeded: bool) -> tuple[Record, ...]:
    """At most one record."""
    axes = rng.randint(1, (1 << in_dims) - 1)
    sizes = tuple(tuple(rng.randint(1, 5) for _ in range(in_dims)) for _ in range(rng.randint(1, 3)))
    choices: list[tuple[Record, ...]] = [
        (),
        (),
        (Fourier(rng.randint(1, 4), include_input=rng.random() < 1 / 2, times_pi=rng.random() < 1 / 2),),
        (Grid(n_axes=in_dims, latent_dim=rng.randint(1, 2), feature_dim=rng.randint(1, 3), resolutions=sizes),),
        (Pyramid(n_levels=rng.randint(1, 3), halved=axes, n_taps=rng.randint(1, 8)),),
    ]
    if seeded:
        choices.append((FourierSeeded(rng.randint(1, 4)),))
    if in_dims > 1:
        choices.append((random_contexts(rng, in_dims),))
    return rng.choice(choices)


def random_contexts(rng: random.Random, in_dims: int) -> Pyramid:
    """A pyramid with a context network over the last two axes (GRD-2)."""
    return Pyramid(
        n_levels=rng.randint(1, 3),
        halved=3 << in_dims - 2,
        n_taps=rng.randint(1, 8),
        context_id=rng.randint(1, 2),
        n_hidden=rng.randint(0, 2),
        width=rng.choice((4, 8)),
    )


def with_needed(rng: random.Random, head: Head) -> Head:
    """The features that the records need, and a law for the dictionaries, if there are any."""
    layers = [r for r in head.records if isinstance(r, Layer)]
    first = head.records[0]
    sparse = any(r.tool == SPARSE_CODE for r in layers)
    seeded = sparse or any(r.prior for r in layers) or isinstance(first, FourierSeeded)
    found = TRELLIS * any(r.tool == TRELLIS_CODE for r in layers) | LATENTS * isinstance(first, (Grid, Pyramid))
    law = rng.randrange(LAWS_OF_DICTIONARY) if sparse else 0
    return replace(head, features_required=found | SPARSE * sparse | SEEDED * seeded, rng_dictionary=PHILOX + law)


def with_features(rng: random.Random, head: Head) -> Head:
    """The features that the records need, and now and then parts or widths."""
    head = with_needed(rng, head)
    features, what = head.features_required, rng.randrange(4)
    widths = [r.width for r in head.records if isinstance(r, Layer)][:-1]
    if what == 0:  # clause 13.1
        split = tuple(rng.randint(1, min(2, n)) for n in head.grid)
        overlap = tuple(rng.randint(0, n // k // 2) if k > 1 else 0 for n, k in zip(head.grid, split, strict=True))
        if max(split) > 1:
            return replace(head, features_required=features | PARTS, split=split, overlap=overlap)
    if what == 1 and head.n_passes > 1 and any(w > 1 for w in widths) and not features & LATENTS:
        rows = [tuple(max(1, w - 1) for w in widths)] * (head.n_passes - 1)
        return replace(head, features_required=features | WIDTHS, active_widths=tuple(rows))
    return head


def random_file(rng: random.Random) -> File:
    """A whole file, or one relative to such a file."""
    file = file_of(rng, random_head(rng))
    can_be_base = not file.head.features_required & (LATENTS | PARTS | WIDTHS) and file.head.n_passes == 1  # BAS-2
    return relative_file(rng, file) if can_be_base and rng.random() < BASE_SHARE else file


def relative_file(rng: random.Random, base: File) -> File:
    """A file of the layers of another, with tools of its own; that file itself where no tools are found."""
    for _ in range(MOST_TRIES):
        records = tuple(
            _with_tool(rng, record) if isinstance(record, Layer) else record for record in base.head.records
        )
        if all(a != b for a, b in pairwise(records)):
            break
    else:
        return base
    head = with_needed(rng, replace(base.head, records=records, n_passes=rng.randint(1, 2)))
    return file_of(rng, replace(head, features_required=head.features_required | SHARED_BASE), base)


def _with_tool(rng: random.Random, layer: Layer) -> Layer:
    tool = RAW if layer.tool == RAW else rng.choice((SCALAR, TRELLIS_CODE, SPARSE_CODE))
    return replace(layer, tool=tool, prior=False, row_steps=False)


def file_of(rng: random.Random, head: Head, base: File | None = None) -> File:
    """Every tensor coded in the pass in which it begins, and refined or left later; with a base always later."""
    passes = []
    for number in range(head.n_passes):
        for part in head.chunk_parts():
            coding, lanes = rng.choice(CODINGS)
            begun = [tensor for tensor in head.tensors_of(part) if tensor.begins <= number]
            supports = (GAPS,) if lanes else (GAPS, BITMAP)
            rows = tuple(random_entry(rng, tensor, head, number, supports) for tensor in begun)
            passes.append(Pass(rows, coding, lanes))
    return File(head, tuple(passes), *random_ancillary(rng, head, len(passes)), base=base)


def random_code(rng: random.Random, tensor: Tensor, spread: int, supports: Sequence[int]) -> SparseCode:
    """A sparse code of a matrix: any vectors, up to four atoms each."""
    columns = max(tensor.columns, 1)  # of a bias where there is a base
    shapes = {COLUMNS: (columns, tensor.rows), ROWS: (tensor.rows, columns), FLATTENED: (1, tensor.size)}
    vectors = rng.choice(list(shapes))
    n_vectors, length = shapes[vectors]
    n_atoms = rng.choice((1, 2, 24, 24, 300))
    s = rng.randint(0, min(4, n_atoms, length))
    atoms = tuple(tuple(sorted(rng.sample(range(n_atoms), s))) for _ in range(n_vectors))
    coefficients = tuple(tuple(rng.randint(-spread, spread) for _ in range(s)) for _ in range(n_vectors))
    gaps = Short(rng.choice(LAWS), rng.randint(0, 80))
    return SparseCode(n_atoms, atoms, coefficients, vectors, rng.choice(supports), gaps)


def random_entry(rng: random.Random, tensor: Tensor, head: Head, number: int, supports: Sequence[int]) -> Entry:
    """What a pass says of a tensor; `supports`: those that its coding knows for sparse codes."""
    model = Short(rng.choice(LAWS), rng.randint(0, 80))
    spread = rng.choice((0, 1, 12, 12, 300))
    code = random_code(rng, tensor, spread, supports) if tensor.is_sparse else None
    values = () if code else tuple(rng.randint(-spread, spread) for _ in range(tensor.size))
    if tensor.is_latent:
        first = head.records[0]
        by_context = isinstance(first, Pyramid) and first.context_id and rng.random() < 3 / 4
        return Entry(values=values, latent_models=(Context() if by_context else model,)) if number == 0 else Entry()
    if tensor.is_context:
        return Entry(values=values, model=model, context_step=rng.randrange(16)) if number == 0 else Entry()
    if tensor.begins < number or head.has_base:
        kept = tensor.layer.tool == RAW or rng.random() < 1 / 3
        return Entry() if kept else Entry(values=values, sparse=code, model=model, refine=rng.randint(1, 4))
    if tensor.layer.tool == RAW:
        return Entry(values=patterns(tensor.size, tensor.layer.half, rng.randrange(1000)))
    rows = tuple(rng.randint(-8, 8) for _ in range(tensor.rows))
    has_rows = tensor.layer.row_steps and tensor.columns > 0 and rng.random() < 1 / 2
    prior = (rng.randint(128, 255) << 8, rng.randint(30, 38)) if tensor.layer.prior and rng.random() < 1 / 2 else None
    step = step_code(rng.randint(-9, -4)) + rng.randint(0, 7)
    steps = rows if has_rows else None
    return Entry(values=values, sparse=code, model=model, step=step, row_steps=steps, prior=prior)


def random_ancillary(rng: random.Random, head: Head, n_chunks: int) -> tuple[tuple[Ancillary, ...], tuple[str, ...]]:
    """Chunks beside HEAD and PASS, and the order of all."""
    order = ["HEAD", *(f"PASS{i}" for i in range(n_chunks))]
    found = []
    for label, kind in (("META", 0xA4), ("HASH", 0x85), ("X", 0x86), ("Y", 0xC9)):
        if rng.random() < 1 / 6:
            passes = tuple(range(head.n_passes)) if label == "HASH" else None
            payload = b"\x01k\x02\x00vw" if label == "META" else rng.randbytes(rng.randint(0, 9))
            found.append(Ancillary(label, kind, payload, passes))
            order.insert(rng.randint(1, len(order)), label)
    return tuple(found), tuple(order)


# --- one fault each --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """An error at a mark of the file before the edits that make it, and the checks made right after them."""

    error: str
    at: str
    edits: tuple[Change, ...]
    reseal: tuple[str, ...] = EVERY_CHECK


def random_fault(rng: random.Random, file: File, built: Built) -> Fault:
    """A fault of a whole valid file."""
    chunk = rng.choice([name.removesuffix(".type") for name in built.marks if name.endswith(".type")])
    number = rng.randrange(len(file.passes))
    one_pass, wrong_pass = f"PASS{number}", number // built.n_parts + rng.choice((1, 7, 200))
    chunk_crc = Fault("CHUNK_CRC_MISMATCH", f"{chunk}.crc32", (Flip(f"{chunk}.crc32", 1 << rng.randrange(8)),), ())
    bad_header = Flip(f"{chunk}.hcheck", 1 << rng.randrange(8))

    def edit(error: str, at: str, value: int, n_bytes: int = 1) -> Fault:
        return Fault(error, at, (Edit(at, value.to_bytes(n_bytes, "little")),))

    return rng.choice(
        (
            Fault("BAD_SIGNATURE", "signature", (Flip("signature", 1 << rng.randrange(8), rng.randrange(4)),), ()),
            chunk_crc,
            Fault("HEADER_CHECK_MISMATCH", f"{chunk}.hcheck", (bad_header,), ()),
            Fault("TRAILING_DATA", "end", (Edit("end", rng.randbytes(rng.randint(1, 9)), 0, 0),), ()),
            edit("BAD_CHUNK_TYPE", f"{chunk}.type", 0x0F),
            edit("UNKNOWN_CRITICAL_CHUNK", f"{chunk}.type", rng.choice(UNKNOWN_KINDS)),
            edit("UNSUPPORTED_VERSION", "HEAD.version", rng.choice((0, 0x20, 0xF0))),
            edit("UNSUPPORTED_PROFILE", "HEAD.profile_level", rng.choice((0x01, 0x31, 0xF1))),
            edit("UNSUPPORTED_LEVEL", "HEAD.profile_level", rng.choice((0x10, 0x16, 0x1F))),
            edit("UNSUPPORTED_FEATURE", "HEAD.features_required", 1 << rng.randint(8, 15), 2),
            edit("UNKNOWN_ID", "HEAD.modality", rng.randint(100, 255)),
            edit("BAD_DIMENSIONS", "HEAD.in_dims", rng.choice((0, 9, 255))),
            edit("BAD_DIMENSIONS", "HEAD.out_channels", 0),
            edit("UNKNOWN_ID", "HEAD.record0.kind", rng.choice((0, 10, 68, 255))),
            Fault("SURPLUS_BYTES", "HEAD.crc32", (Edit("HEAD.crc32", b"\0", 0, 0),)),
            edit("PASS_ORDER", f"{one_pass}.pass", wrong_pass),
            Fault("ACC_CRC_MISMATCH", f"{one_pass}.acc_crc", (Flip(f"{one_pass}.acc_crc", 1, rng.randrange(4)),)),
        )
    )


# --- cases of the harness ------------------------------------------------------------------------------------------


def valid_case(name: str, file: File, built: Built, folder: Path) -> Json:
    """What is expected of a valid file; its values lie in the folder."""
    n = file.n_passes
    crcs = [f"{crc:08x}" for crc in built.acc_crcs]
    expect: Json = {"passes": n, "weights_sha256": built.weights_sha256[n - 1], "acc_crc": crcs, "output": None}
    try:
        found = samples(Valid(name, "", (), file), built, n)
    except OverflowError:  # of weights that no fit has: the writer's formulas do not reach so far
        return expect
    (folder / f"{name}.npy").write_bytes(npy_bytes(found.values, found.shape))
    return expect | {"output": {"file": {"path": f"{name}.npy"}, "peak": found.peak, "rms": found.rms}}


def failure(error: str, offset: int, errors: Json) -> Json:
    """What is expected of an invalid file."""
    row = errors[error]
    code = {"exit": EXIT_STATUS[row["class"]], "code": row["code"], "name": error, "class": row["class"]}
    return code | {"offset": offset}


def make(rng: random.Random, name: str, folder: Path, errors: Json) -> tuple[Json, Json]:
    """Write one file and say what is expected of it: a vector with its case."""
    file = random_file(rng)
    built = build(file)
    kind = "valid" if rng.random() > INVALID_SHARE else "invalid"
    if kind == "valid":
        expect = valid_case(name, file, built, folder)
    elif rng.random() < 1 / 8:
        cut = rng.randrange(len(built.data))
        built = replace(built, data=built.data[:cut])
        expect = failure("TRUNCATED", cut, errors)
    else:
        fault = random_fault(rng, file, built)
        expect = failure(fault.error, built.marks[fault.at].offset, errors)
        built = faults.apply(built, [faults.resolve(edit, built) for edit in fault.edits], fault.reseal)
    (folder / f"{name}.sinr").write_bytes(built.data)
    vector = {"name": name, "kind": kind, "clauses": [], "profile": "CORE", "file": {"path": f"{name}.sinr"}}
    base = None
    if file.base is not None:
        base = {"path": f"{name}-base.sinr"}
        (folder / base["path"]).write_bytes(build(file.base).data)
    return vector, {"name": "whole", "args": [], "cut": None, "coords": None, "base": base, "expect": expect}


def in_process(module: Sequence[str]) -> Call:
    """A decoder of the project, called in this process."""

    def call(arguments: Sequence[str], settings: Settings) -> Answer:
        status, out, err = worker.call(module[0], [*module[1:], *arguments])
        return Answer(status, json_line(out.encode()), err)

    return call


def soak(calls: dict[str, Call], seed: int, n: int, keep: Path | None = None) -> tuple[Counter[str], list[Result]]:
    """Try so many files on every decoder: what was expected how often, and the wrong answers."""
    errors = {row["name"]: row for row in registry_errors()}
    expected: Counter[str] = Counter()
    wrong, settings = [], Settings(profile="MAIN")
    for number in range(n):
        with tempfile.TemporaryDirectory() as place:
            folder, name = Path(place), f"soak-{seed}-{number}"
            vector, case = make(random.Random(name), name, folder, errors)
            expected[case["expect"].get("name", "decoded")] += 1
            for decoder, call in calls.items():
                result = run_case(call, folder, vector, case, settings)
                if not is_passed([result], settings):
                    wrong.append(replace(result, case=decoder))
                    if keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        for path in folder.glob("*.sinr"):
                            shutil.copy(path, keep)
    return expected, wrong


def registry_errors() -> list[Json]:
    """The errors of the registry."""
    rows: list[Json] = tomllib.loads(REGISTRY.read_text("utf-8"))["error"]
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m conformance.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed and number make the same file")
    parser.add_argument("--n", type=int, default=100, help="how many files")
    parser.add_argument("--worker", action="store_true", help="the command is a worker, see worker.py")
    parser.add_argument("--keep", type=Path, default=Path("soak"), help="folder for files with a wrong answer")
    parser.add_argument("command", nargs="*", help="the decoder, behind --; both of the project, if left out")
    given = parser.parse_args(argv)
    if given.command:
        with calling(given.command, Settings(worker=given.worker)) as call:
            expected, wrong = soak({given.command[0]: call}, given.seed, given.n, given.keep)
    else:
        both = {name: in_process(module) for name, module in IN_PROCESS.items()}
        expected, wrong = soak(both, given.seed, given.n, given.keep)
    for result in wrong:
        print(f"{result.verdict} {result.vector} [{result.case}] {result.detail} {result.stderr[-300:]}")
    met = "  ".join(f"{name} {n}" for name, n in expected.most_common())
    print(f"{expected.total()} files, {len(wrong)} wrong answers\n  {met}")
    return 1 if wrong or not expected else 0


if __name__ == "__main__":
    sys.exit(main())
