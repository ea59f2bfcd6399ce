"""Speed of tool 3 (clause 9.5): atoms and coefficients to the integers of a matrix, and its supports through the coder.

Run from the root of the repository: ``python bench/bench_sparse.py``. Best of several runs.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from sinrfmt.entropy import decode_values, encode_values
from sinrfmt.model_fit import fit_one_sided
from sinrfmt.rans import OneLaneDecoder, StreamEncoder, open_stream
from sinrfmt.registry import Dictionary
from sinrfmt.sparse import SparseCode, Vectors, accumulate, gaps_of, vectors_shape

RUNS = 5
GOAL_MS = 200
# Shape (out, in), vectors, n_atoms, n_nonzero.
CASES = {
    "one vector of 4096, 1000 atoms": ((64, 64), Vectors.MATRIX, 1 << 16, 1000),
    "128 vectors of 128, 48 of 2048": ((128, 128), Vectors.COLUMNS, 2048, 48),
    "1024 vectors of 1024, 64 of 2048": ((1024, 1024), Vectors.COLUMNS, 2048, 64),
}


def best_ms(call: Callable[..., object], *arguments: object) -> float:
    """Shortest of several runs of a call, in milliseconds."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call(*arguments)
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds)


def random_code(shape: tuple[int, int], vectors: Vectors, n_atoms: int, n_nonzero: int) -> SparseCode:
    """Atoms chosen evenly, Laplace coefficients."""
    rng = np.random.default_rng(0)
    n_vectors, _ = vectors_shape(vectors, shape)
    atoms = np.array([np.sort(rng.choice(n_atoms, n_nonzero, replace=False)) for _ in range(n_vectors)], np.int32)
    return SparseCode(vectors, n_atoms, atoms, np.rint(rng.laplace(0, 20, atoms.shape)).astype(np.int32))


def encode_bitmaps(code: SparseCode) -> StreamEncoder:
    """Support 0 of all vectors."""
    encoder = StreamEncoder()
    for row in code.atoms:
        encoder.bitmap(row, code.n_atoms)
    return encoder


def decode_bitmaps(data: bytes, code: SparseCode) -> None:
    """Support 0 of all vectors, from a stream that holds nothing else."""
    decoder = OneLaneDecoder(data)
    for _ in code.atoms:
        decoder.bitmap(code.n_atoms, code.n_nonzero)
    decoder.finish()


def rows() -> Iterator[str]:
    """One row for each case."""
    for name, (shape, vectors, n_atoms, n_nonzero) in CASES.items():
        code = random_code(shape, vectors, n_atoms, n_nonzero)
        sums = [best_ms(accumulate, code, shape, law, 0, 5) for law in Dictionary]
        bitmaps = encode_bitmaps(code)
        bitmap_ms = best_ms(decode_bitmaps, bitmaps.encode(), code)
        gaps = gaps_of(code.atoms)
        parameters, _ = fit_one_sided(gaps)
        model = replace(parameters.model(), one_sided=True)
        stream = StreamEncoder()
        encode_values(stream, gaps, model)
        data = stream.encode()
        gap_ms = best_ms(lambda data=data, n=gaps.size, model=model: decode_values(open_stream(data, 0), n, model))
        atoms = code.atoms.size
        yield (
            f"{name:<34} {sums[0]:>10.1f} {sums[1]:>8.1f} {bitmap_ms:>10.1f} {gap_ms:>8.1f}"
            f" {bitmaps.bits / atoms:>12.2f} {stream.bits / atoms:>10.2f}"
        )


def main() -> None:
    """Print the table."""
    print(f"milliseconds; goal of the first two cases: {GOAL_MS} from codes to integers\n")
    print(f"{'':<34} {'RADEMACHER':>10} {'T8':>8} {'bitmaps':>10} {'gaps':>8} {'bits/atom':>12} {'by gaps':>10}")
    print(*rows(), sep="\n")


if __name__ == "__main__":
    main()
