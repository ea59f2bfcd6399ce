"""Speed of the generator, the entropy coder and the choice of a model (clauses 8 and 10), best of several runs.

Run from the root of the repository: ``python bench/bench_entropy.py [--symbols N]``.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np

from sinrfmt.entropy import decode_values, encode_values
from sinrfmt.model_fit import fit_model
from sinrfmt.models import Model, short_model
from sinrfmt.philox import Tag, dictionary_columns, words
from sinrfmt.rans import LANES_LOG2, StreamEncoder, open_stream
from sinrfmt.registry import Dictionary, Law

RUNS = 3
GOALS = {0: "1", 12: "50"}
FIT_SYMBOLS = 2000


def best_seconds(call: Callable[..., object], *arguments: object) -> float:
    """Shortest of several runs of a call."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call(*arguments)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def decode_stream(data: bytes, log2_lanes: int, n: int, model: Model) -> None:
    """Decode a stream that holds one list."""
    decoder = open_stream(data, log2_lanes)
    decode_values(decoder, n, model)
    decoder.finish()


def coder_rows(n: int) -> Iterator[str]:
    """One row for each number of lanes: n Gauss values of standard deviation 4."""
    values = np.rint(np.random.default_rng(0).normal(0, 4, n)).astype(np.int64)
    model = short_model(Law.GAUSS, 20)
    encoder = StreamEncoder()
    encode_values(encoder, values, model)
    for log2_lanes in (0, *LANES_LOG2):
        data = encoder.encode(log2_lanes)
        encoding = best_seconds(encoder.encode, log2_lanes)
        decoding = best_seconds(decode_stream, data, log2_lanes, n, model)
        overhead = 100 * (8 * len(data) / encoder.bits - 1)
        yield (
            f"{1 << log2_lanes:>6} {overhead:>10.3f} {n / encoding / 1e6:>10.1f} {n / decoding / 1e6:>10.1f}"
            f" {GOALS.get(log2_lanes, ''):>6}"
        )


def fit_rows() -> Iterator[str]:
    """One row for each kind of list."""
    rng = np.random.default_rng(1)
    lists = {
        "Gauss 4": rng.normal(0, 4, FIT_SYMBOLS),
        "Laplace 4": rng.laplace(0, 4, FIT_SYMBOLS),
        "uniform 20": rng.uniform(-35, 35, FIT_SYMBOLS),
        "Student 2, 4": 4 * rng.standard_t(2, FIT_SYMBOLS),
        "Gauss 300": rng.normal(0, 300, FIT_SYMBOLS),
        "Gauss 20, 80 % zeros": rng.normal(0, 20, FIT_SYMBOLS) * (rng.random(FIT_SYMBOLS) < 0.2),
    }
    fit_model([1, 2])  # builds the tables of the laws
    for name, reals in lists.items():
        values = np.rint(reals).astype(np.int64)
        parameters, bits = fit_model(values)
        milliseconds = 1e3 * best_seconds(fit_model, values)
        yield f"{name:<22} {milliseconds:>6.2f} {bits / FIT_SYMBOLS:>8.3f}  {parameters}"


def generator_rows() -> Iterator[str]:
    """One row for each use of the generator."""
    n = 1 << 22
    yield f"{'words':<22} {n / best_seconds(words, n, 0, Tag.PRIOR, 5) / 1e6:>8.0f}"
    for law in Dictionary:
        entries = 1024 * 1000
        seconds = best_seconds(dictionary_columns, law, 1024, np.arange(1000), 0, 5)
        yield f"{law.name:<22} {entries / seconds / 1e6:>8.0f}"


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=1_000_000, help="symbols of a stream (default: %(default)s)")
    n = parser.parse_args().symbols
    print(f"{n} Gauss values, standard deviation 4\n")
    print(f"{'lanes':>6} {'overhead %':>10} {'enc Msym/s':>10} {'dec Msym/s':>10} {'goal':>6}")
    print(*coder_rows(n), sep="\n")
    print(f"\n{FIT_SYMBOLS} values, goal 2 ms\n\n{'fit_model':<22} {'ms':>6} {'bits/v':>8}  form")
    print(*fit_rows(), sep="\n")
    print(f"\n{'generator':<22} {'M/s':>8}")
    print(*generator_rows(), sep="\n")


if __name__ == "__main__":
    main()
