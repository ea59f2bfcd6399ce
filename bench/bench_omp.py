"""Speed of the batched orthogonal matching pursuit beside scikit-learn's with a precomputed Gram matrix.

Run from the root of the repository: ``python -m bench.bench_omp [--threads N]``. Prints one Markdown table. The Gram
matrix is made before the clock starts; ours does not use one.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from sklearn.linear_model import orthogonal_mp_gram
from threadpoolctl import threadpool_limits

from sinrfmt.registry import Dictionary
from sinrfmt.torch.sparse import orthogonal_matching_pursuit, seeded_dictionary

K1, K2, N_NONZERO = 128, 2048, 48
SIZES = (32, 128, 512)
RUNS = 5


def best_seconds(call: Callable[[], object], runs: int) -> float:
    """Shortest of several runs."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def rows() -> Iterator[str]:
    """One table row for each number of vectors."""
    cpu = torch.device("cpu")
    integers = seeded_dictionary(Dictionary.T8, K1, K2, 0, 1, dtype=torch.float64, device=cpu)
    dictionary = integers / integers.norm(dim=0)
    gram = (dictionary.T @ dictionary).numpy()
    for n in SIZES:
        vectors = torch.from_numpy(np.random.default_rng(n).normal(size=(n, K1)))
        products = (vectors @ dictionary).T.contiguous().numpy()
        narrow = dictionary.float(), vectors.float()
        theirs = best_seconds(lambda p=products: orthogonal_mp_gram(gram, p, n_nonzero_coefs=N_NONZERO), 2)
        wide = best_seconds(lambda v=vectors: orthogonal_matching_pursuit(dictionary, v, N_NONZERO), RUNS)
        single = best_seconds(lambda a=narrow: orthogonal_matching_pursuit(*a, N_NONZERO), RUNS)
        yield f"| {n} | {theirs:.3f} | {wide:.3f} | {theirs / wide:.1f} | {single:.3f} | {theirs / single:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    print(f"k1 = {K1}, k2 = {K2}, s = {N_NONZERO}, {threads} thread(s), seconds\n")
    print("| vectors | scikit-learn | float64 | times | float32 | times |")
    print("|---|---|---|---|---|---|")
    with threadpool_limits(threads):
        for row in rows():
            print(row, flush=True)


if __name__ == "__main__":
    main()
