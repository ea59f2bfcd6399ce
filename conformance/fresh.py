"""Files that no list holds: made from the vectors at each run by a seed, with answers that follow from the framing.

A decoder that knows the published files by their digests has no answer to these. `insert`: an unknown ancillary chunk
between two others, which changes nothing (clause 5.3). `flip`: one bit inverted, which CON-2 or CON-3 finds. `cut`: the
file ends early (CON-7). `pad`: a long chunk after a pass, for readers that fetch no more than they need (clause 17).
"""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from conformance.claims import Json
from conformance.framing import HEADER_BYTES, INDX, KIND, SIGNATURE_BYTES, TRAILER_BYTES, inserted, whole_chunks

PRIVATE, ANCILLARY, SAFE = 0x40, 0x80, 0x20
LARGEST_PARENT = 8192  # bytes; every level allows what is added to that
PADDING = 40_000  # bytes, well above the first 16 384 that a reader may always fetch

Made = tuple[bytes, Json, str]  # the file, what is expected, the clause that says so
Recipe = Callable[[random.Random, bytes, Json], Made]


def _insert(rng: random.Random, data: bytes, expect: Json) -> Made:
    chunk_type = ANCILLARY | PRIVATE | SAFE * rng.randrange(2) | rng.randrange(1, 15)
    before = rng.choice(whole_chunks(data)[1:])
    return inserted(data, before, chunk_type, rng.randbytes(rng.randrange(200))), expect, "5.3"


def _flip(rng: random.Random, data: bytes, expect: Json) -> Made:
    at = rng.randrange(SIGNATURE_BYTES, len(data))
    chunk = next(chunk for chunk in whole_chunks(data) if at < chunk.end)
    damaged = bytearray(data)
    damaged[at] ^= 1 << rng.randrange(8)
    if at < chunk.offset + HEADER_BYTES:
        fault = _failure(102, "HEADER_CHECK_MISMATCH", "integrity", chunk.offset + HEADER_BYTES - 1)
        return bytes(damaged), fault, "CON-2"
    fault = _failure(103, "CHUNK_CRC_MISMATCH", "integrity", chunk.end - TRAILER_BYTES)
    return bytes(damaged), fault, "CON-3"


def _cut(rng: random.Random, data: bytes, expect: Json) -> Made:
    size = rng.randrange(SIGNATURE_BYTES, len(data))
    return data[:size], _failure(108, "TRUNCATED", "truncated", size), "CON-7"


def _failure(code: int, name: str, error_class: str, offset: int) -> Json:
    return {"exit": 3, "code": code, "name": name, "class": error_class, "offset": offset}


RECIPES: dict[str, Recipe] = {"insert": _insert, "flip": _flip, "cut": _cut}


def fresh_vectors(vectors: Sequence[Json], root: Path, folder: Path, seed: int, count: int) -> Iterator[Json]:
    """`count` vectors with files in `folder`, whose parents are plain cases of valid vectors; none without a parent."""
    rng = random.Random(seed)
    parents = list(_parents(vectors, root))
    for i in range(count if parents else 0):
        vector, case, data = rng.choice(parents)
        recipe = list(RECIPES)[i % len(RECIPES)]
        made, expect, clause = RECIPES[recipe](rng, data, case["expect"])
        yield _vector(folder, vector, f"fresh-{i}-{recipe}-{vector['name']}", case | {"expect": expect}, made, clause)


def padded_vectors(vectors: Sequence[Json], root: Path, folder: Path) -> Iterator[Json]:
    """A vector for every case with `--passes` alone of a file that goes on: a long chunk follows what is asked for."""
    for vector in vectors:
        data = (root / vector["file"]["path"]).read_bytes()
        chunks = whole_chunks(data)
        passes = [i for i, chunk in enumerate(chunks) if chunk.is_pass]
        if any(chunk.type & KIND == INDX for chunk in chunks):  # its places would be wrong
            continue
        for case in vector["cases"]:
            n = int(case["args"][1]) if len(case["args"]) == 2 and case["args"][0] == "--passes" else 0
            if case["cut"] is None and "exit" not in case["expect"] and 0 < n < len(passes):
                made = inserted(data, chunks[passes[n]], ANCILLARY | PRIVATE | 1, bytes(PADDING))
                yield _vector(folder, vector, f"fresh-pad-{n}-{vector['name']}", case, made, "17")


def _parents(vectors: Sequence[Json], root: Path) -> Iterator[tuple[Json, Json, bytes]]:
    for vector in vectors:
        if vector["kind"] != "valid" or vector["file"]["bytes"] > LARGEST_PARENT:
            continue
        case = vector["cases"][0]
        if case["args"] == [] and case["cut"] is None and "exit" not in case["expect"]:
            yield vector, case, (root / vector["file"]["path"]).read_bytes()


def _vector(folder: Path, parent: Json, name: str, case: Json, data: bytes, clause: str) -> Json:
    path = (folder / f"{name}.sinr").resolve()
    path.write_bytes(data)
    kind = "invalid" if "exit" in case["expect"] else "valid"
    return parent | {"name": name, "kind": kind, "clauses": [clause], "file": {"path": str(path)}, "cases": [case]}
