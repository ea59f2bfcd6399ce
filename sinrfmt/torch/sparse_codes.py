"""Trained networks as sparse codes: ``sinr-paper``, as the paper has it, and ``sparse``, as good as we can make it.

Specification: clause 9.5. Paper: "SINR: Sparsity driven compressed implicit neural representations" (arXiv 2503.19576);
``docs/sinr.md`` lists what it leaves open and what is chosen here. Both are ``Quantiser`` functions of the encoder.
"""

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray

from sinrfmt.bits import signed_width
from sinrfmt.network import LayerRecord, Network, Record, Tensor
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Tool
from sinrfmt.sparse import LARGEST_ENTRY, SUM_LIMIT, SparseCode, Vectors, vectors_of
from sinrfmt.torch.encoder import (
    DEFAULT_DROP,
    EncodedField,
    Job,
    Target,
    curvature_for,
)
from sinrfmt.torch.expansion import (
    Expansion,
    Support,
    expansion_of,
    number_blocks,
    number_curvature,
    refitted,
)
from sinrfmt.torch.fit import measure
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import bits_per_parameter
from sinrfmt.torch.rate import (
    ACC_PEAK,
    LAW,
    Steps,
    Trial,
    dequantise,
    round_with_feedback,
    search_bytes,
    search_psnr,
    start_knob,
    with_cheaper_prior,
)
from sinrfmt.torch.search import parameter_vector, without_unused_prior
from sinrfmt.torch.sensitivity import Curvature
from sinrfmt.torch.signals import VALUE_RANGES
from sinrfmt.torch.sparse import Pursuit, orthogonal_matching_pursuit, seeded_dictionary
from sinrfmt.torch.tune import tuned
from sinrfmt.weights import nearest_step_code, step_value

Floats = NDArray[np.float64]

TINY_WIDTH = 50
"""Networks with narrower hidden layers have one vector for each matrix (paper, section 4)."""
PAPER_BITS = 16
"""Bits of a coefficient and of an index (paper, section 4)."""
PAPER_ATOMS = 1 << PAPER_BITS
"""k2: as many atoms as an index can name. The paper gives none; fewer atoms save few bytes and lose much quality."""
PAPER_ENTRIES = 1 << 26
"""Most entries of a dictionary, so that a pursuit takes less than a minute and half a gigabyte."""
PAPER_WEIGHT_BITS = 13.0
"""Bits of a weight at which a network is right for a budget: s = 0.4 k1, up to 2 s = k1 where no width fits it."""
PAPER_DROP = DEFAULT_DROP


def published_bits(_: float) -> float:
    """Bits of a weight at a rate: always the same."""
    return PAPER_WEIGHT_BITS


# --- sinr-paper ------------------------------------------------------------------------------------------------------


def quantise_as_published(
    job: Job, module: FieldModule, target: Target, most_atoms: int = PAPER_ATOMS
) -> EncodedField | None:
    """Every matrix as 2 s numbers of 16 bits a vector, s / k1 the same in all.

    With ``max_bytes`` the largest s that fits; with ``min_psnr`` the smallest that reaches it; otherwise the smallest
    that loses no more than 0.3 dB, or 2 s = k1. None if there is none. Bytes and quality are taken to rise with s, so
    s is bisected instead of raised one by one.
    """
    network = _sparse_network(module.network, lambda index: True)
    pursuits = _pursuits(network, module, job, most_atoms)
    float_psnr = measure(module, job.signal, device=job.device)
    min_psnr = float_psnr - PAPER_DROP if target.min_psnr is None else target.min_psnr
    longest = max(_length(t, pursuits[t.ordinal][0]) for t in network.tensors if t.is_sparse)
    numbers = range(1, max(1, longest // 2) + 1)
    decoded = FieldModule(network, seed=module.seed).to(job.device)
    counter, report = itertools.count(1), job.stage("quantise")

    @cache
    def trial(n_nonzero: int) -> EncodedField:
        """With this s in the longest vectors."""
        codes = _published_codes(network, module, pursuits, n_nonzero, longest)
        decoded.load_arrays(dequantise(network, codes, module.seed))
        psnr = measure(decoded, job.signal, device=job.device)
        if report:
            report(next(counter), len(numbers).bit_length() + 1, psnr)
        n_bytes = job.size_of(network, codes, module.seed)
        return EncodedField(network, module.seed, codes, psnr, float_psnr, n_bytes, module.arrays())

    if target.max_bytes is not None:
        n_fitting = bisect_right(numbers, target.max_bytes, key=lambda s: trial(s).n_bytes)
        return trial(numbers[n_fitting - 1]) if n_fitting else None
    n_missing = bisect_left(numbers, True, key=lambda s: trial(s).psnr >= min_psnr)
    if n_missing < len(numbers):
        return trial(numbers[n_missing])
    return None if target.min_psnr is not None else trial(numbers[-1])


def _sparse_network(network: Network, is_sparse: Callable[[int], bool]) -> Network:
    """The network with tool SPARSE in the layers that ``is_sparse`` chooses by index; records are one layer each."""
    index = itertools.count()
    records: list[Record] = []
    for record in network.records:
        if not isinstance(record, LayerRecord):
            records.append(record)
            continue
        single = replace(record, repeat=1)
        coded = replace(single, tool=Tool.SPARSE, prior=False)
        records += [coded if is_sparse(next(index)) else single for _ in range(record.repeat)]
    return replace(network, records=tuple(records))


def _published_vectors(network: Network, tensor: Tensor) -> Vectors:
    """One vector a matrix in tiny networks; else every vector has the hidden width as its length."""
    width = max((layer.n_out for layer in network.layers[:-1]), default=0)
    if width < TINY_WIDTH:
        return Vectors.MATRIX
    is_last = tensor.ordinal // 2 == len(network.layers) - 1
    return Vectors.ROWS if is_last else Vectors.COLUMNS


def _pursuits(
    network: Network, module: FieldModule, job: Job, most_atoms: int
) -> dict[int, tuple[Vectors, int, Pursuit]]:
    """By ordinal: the vectors, k2, and the pursuit up to 2 s = k1."""
    found = {}
    arrays = module.arrays()
    for tensor in network.tensors:
        if tensor.is_sparse:
            vectors = _published_vectors(network, tensor)
            rows = vectors_of(arrays[tensor.name], vectors)
            k1 = rows.shape[1]
            n_atoms = max(k1, min(most_atoms, PAPER_ENTRIES // k1))
            pursuit = pursue(rows, n_atoms, max(1, k1 // 2), tensor, module.seed, job.device)
            found[tensor.ordinal] = vectors, n_atoms, pursuit
    return found


def pursue(
    rows: NDArray[np.float32], n_atoms: int, n_nonzero: int, tensor: Tensor, seed: int, device: torch.device
) -> Pursuit:
    """Pursuit of vectors (n, k1) in the first atoms of the dictionary of a tensor."""
    dictionary = seeded_dictionary(
        LAW, rows.shape[1], n_atoms, tensor.ordinal, seed, dtype=torch.float32, device=device
    )
    return orthogonal_matching_pursuit(dictionary, torch.tensor(rows, device=device), n_nonzero)


def _published_codes(
    network: Network,
    module: FieldModule,
    pursuits: dict[int, tuple[Vectors, int, Pursuit]],
    n_nonzero_longest: int,
    longest: int,
) -> tuple[TensorCode, ...]:
    """With ``n_nonzero_longest`` atoms for vectors as long as ``longest``, in proportion for shorter ones."""
    arrays = module.arrays()
    codes = []
    for tensor in network.tensors:
        if tensor.ordinal not in pursuits:
            values = arrays[tensor.name].astype(np.float64).ravel()
            step = _uniform_step(values[None])
            codes.append(TensorCode(tensor, _rounded(values, step), step, least_width=PAPER_BITS))
            continue
        vectors, n_atoms, pursuit = pursuits[tensor.ordinal]
        n_nonzero = max(1, n_nonzero_longest * _length(tensor, vectors) // longest)
        atoms, coefficients = in_order(pursuit, n_nonzero)
        step = _uniform_step(coefficients)
        code = SparseCode(vectors, n_atoms, atoms.astype(np.int32), _rounded(coefficients, step))
        codes.append(TensorCode(tensor, step=step, sparse=code, least_width=PAPER_BITS))
    return tuple(codes)


def _length(tensor: Tensor, vectors: Vectors) -> int:
    """k1 of a matrix."""
    return {Vectors.COLUMNS: tensor.shape[0], Vectors.ROWS: tensor.shape[1], Vectors.MATRIX: tensor.size}[vectors]


def in_order(pursuit: Pursuit, n_nonzero: int) -> tuple[NDArray[np.int64], Floats]:
    """The first atoms of a pursuit, ascending, and their coefficients: (n, n_nonzero) each."""
    atoms = pursuit.atoms[:, :n_nonzero].cpu().numpy()
    order = np.argsort(atoms, axis=1)
    coefficients = pursuit.coefficients(n_nonzero).cpu().numpy().astype(np.float64)
    return np.take_along_axis(atoms, order, 1), np.take_along_axis(coefficients, order, 1)


def _rounded(values: Floats, step: int) -> NDArray[np.int32]:
    return np.rint(values / float(step_value(step))).astype(np.int32)


def _uniform_step(values: Floats) -> int:
    """The finest step code at which values (n, s) have 16 bits and SPA-5 holds."""
    code = nearest_step_code(max(float(np.abs(values).max()), 2.0**-60) / (1 << (PAPER_BITS - 1))) - 1
    while True:
        rounded = _rounded(values, code)
        is_short = signed_width(rounded.ravel()) <= PAPER_BITS
        if is_short and LARGEST_ENTRY * int(np.abs(rounded.astype(np.int64)).sum(axis=1).max()) < SUM_LIMIT:
            return code
        code += 1


# --- sparse ----------------------------------------------------------------------------------------------------------

SPARSE_SIZE = 1.15
"""Bytes of a file beside those of a scalar-coded one of the same network."""
SHAPES: tuple[tuple[float, float], ...] = ((4.0, 0.5), (2.0, 0.75), (1.25, 1.0))
"""(k2 / k1, s / k1) that are tried."""
MATRIX_LIMIT = 48 * 48
"""Largest matrix that is one vector; larger ones have a vector a row."""
TUNE_RATE = 1e-3
TUNE_STEPS = 300
LOOP_RATE = 1e-4
LOOP_STEPS = 200
COARSER = (0.25, 0.5)
"""Octaves by which steps are made coarser before the training with the quantiser in the loop."""
KNOB_START = 0.3
"""First knob as a share of the one that plain rounding would need."""


def sparse_bits(rate: float) -> float:
    """Bits of a weight at which a network is right, at a rate in bits per grid position."""
    return SPARSE_SIZE * bits_per_parameter(rate)


@dataclass(frozen=True)
class Candidate:
    """A sparse network before rounding.

    Attributes:
        network: records with their tools.
        expansion, numbers: which numbers there are, and their values.
        curvature: of the numbers.
    """

    network: Network
    expansion: Expansion
    numbers: Floats
    curvature: Curvature


def quantise_sparse(
    job: Job, module: FieldModule, target: Target, shapes: Sequence[tuple[float, float]] = SHAPES
) -> EncodedField | None:
    """The matrices between hidden layers as sparse codes; k2, s and steps as the target asks for.

    Every shape is pursued, refitted in the metric of the curvature, trained on the signal, and rounded
    with feedback; the best one is trained once more with its quantiser in the loop.
    """
    float_psnr = measure(module, job.signal, device=job.device)
    curvature = curvature_for(job, module)
    weights = parameter_vector(module)
    min_psnr = float_psnr - DEFAULT_DROP if target.min_psnr is None else target.min_psnr
    n_trials = job.preset.n_trials
    counter, report = itertools.count(1), job.stage("quantise")
    found: list[tuple[Trial, Candidate]] = []
    for ratio, share in shapes:
        candidate = candidate_of(job, module, curvature, weights, ratio, share)

        def run(c: float, candidate: Candidate = candidate) -> Trial:
            trial = _trial(job, module.seed, candidate, c)
            if report:
                report(next(counter), n_trials * len(shapes), trial.psnr)
            return trial

        c_start = KNOB_START * start_knob(
            float_psnr, DEFAULT_DROP, VALUE_RANGES[job.signal.value_range][0], candidate.expansion.n_numbers
        )
        search = (
            partial(search_psnr, min_psnr=min_psnr)
            if target.max_bytes is None
            else partial(search_bytes, max_bytes=target.max_bytes)
        )
        trial = search(run, c_start=c_start, n_trials=n_trials)
        if trial is not None:
            found.append((trial, candidate))
    if not found:
        return None
    trial, candidate = _best(found, target)
    looped = _looped(job, module.seed, candidate, trial, target)
    trial, _ = _best([(trial, candidate), *((t, candidate) for t in looped if _meets(t, target, min_psnr))], target)
    network, codes = without_unused_prior(candidate.network, trial.codes)
    return EncodedField(network, module.seed, codes, trial.psnr, float_psnr, trial.n_bytes, module.arrays())


def _best(found: list[tuple[Trial, Candidate]], target: Target) -> tuple[Trial, Candidate]:
    """The best quality for a budget, the fewest bytes for a quality."""
    if target.max_bytes is None:
        return min(found, key=lambda pair: pair[0].n_bytes)
    return max(found, key=lambda pair: pair[0].psnr)


def _meets(trial: Trial, target: Target, min_psnr: float) -> bool:
    if target.max_bytes is None:
        return trial.psnr >= min_psnr
    return trial.n_bytes <= target.max_bytes


def candidate_of(
    job: Job, module: FieldModule, curvature: Curvature, weights: Floats, ratio: float, share: float
) -> Candidate:
    """Supports by pursuit, numbers by refit and training."""
    n_layers = len(module.network.layers)
    network = _sparse_network(module.network, lambda index: 0 < index < n_layers - 1)
    arrays = module.arrays()
    supports = {}
    for tensor in network.tensors:
        if not tensor.is_sparse:
            continue
        vectors = Vectors.MATRIX if tensor.size <= MATRIX_LIMIT and curvature.is_whole else Vectors.ROWS
        rows = vectors_of(arrays[tensor.name], vectors)
        k1 = rows.shape[1]
        pursuit = pursue(rows, round(ratio * k1), max(1, int(share * k1)), tensor, module.seed, job.device)
        atoms = np.sort(pursuit.atoms.cpu().numpy(), axis=1)
        supports[tensor.ordinal] = Support(vectors, round(ratio * k1), atoms)
    expansion = expansion_of(network, supports, module.seed)
    blocks = number_blocks(expansion, curvature)
    numbers = refitted(blocks, weights, expansion.n_numbers)
    numbers = tuned(module, expansion, numbers, job.signal, learning_rate=TUNE_RATE, n_steps=TUNE_STEPS)
    return Candidate(network, expansion, numbers, number_curvature(blocks, expansion.n_numbers))


def _trial(job: Job, seed: int, candidate: Candidate, c: float) -> Trial:
    """Round with steps of ``c / sqrt(curvature)``, as the scalar coder does."""
    codes = _step_codes(candidate, c)
    steps = _all_steps(candidate.expansion, codes)
    levels = round_with_feedback(candidate.numbers, steps, candidate.curvature.blocks)
    return _measured(job, seed, candidate, c, codes, levels)


def _step_codes(candidate: Candidate, c: float) -> list[int]:
    expansion = candidate.expansion
    pieces = zip(expansion.split(candidate.curvature.effective), expansion.split(candidate.numbers), strict=True)
    codes = []
    for curvature, numbers in pieces:
        finest = max(
            float(np.abs(numbers).max()) / ACC_PEAK,
            2.0 * LARGEST_ENTRY * float(np.abs(numbers).sum(axis=1).max()) / SUM_LIMIT,
        )
        codes.append(nearest_step_code(max(c / math.sqrt(float(curvature.mean())), finest)))
    return codes


def _all_steps(expansion: Expansion, codes: Sequence[int]) -> Floats:
    return np.concatenate(
        [np.full(part.size, float(step_value(code))) for part, code in zip(expansion.parts, codes, strict=True)]
    )


def _measured(
    job: Job, seed: int, candidate: Candidate, c: float, steps: Sequence[int], levels: NDArray[np.int64]
) -> Trial:
    """The codes of rounded numbers, with their size and quality."""
    network = candidate.network
    codes = tuple(
        _code(network, support, tensor, step, piece, seed)
        for support, tensor, step, piece in zip(
            (part.support for part in candidate.expansion.parts),
            network.tensors,
            steps,
            candidate.expansion.split(levels),
            strict=True,
        )
    )
    decoded = FieldModule(network, dequantise(network, codes, seed), seed=seed).to(job.device)
    n_bytes = job.size_of(*without_unused_prior(network, codes), seed)
    return Trial(c, codes, n_bytes, measure(decoded, job.signal, device=job.device))


def _code(
    network: Network, support: Support | None, tensor: Tensor, step: int, levels: NDArray[np.int64], seed: int
) -> TensorCode:
    if support is None:
        return with_cheaper_prior(network, Steps(tensor, step), levels, seed)
    sparse = SparseCode(support.vectors, support.n_atoms, support.atoms.astype(np.int32), levels.astype(np.int32))
    return TensorCode(tensor, step=step, sparse=sparse)


def _looped(job: Job, seed: int, candidate: Candidate, trial: Trial, target: Target) -> list[Trial]:
    """Trials with the quantiser in the loop of the training: at the steps found and, for a quality, coarser ones."""
    module = FieldModule(candidate.network, seed=seed).to(job.device)
    results = []
    for octaves in (0.0,) if target.max_bytes is not None else COARSER:
        codes = [code.step + round(8 * octaves) for code in trial.codes]
        steps = _all_steps(candidate.expansion, codes)
        numbers = tuned(
            module,
            candidate.expansion,
            candidate.numbers,
            job.signal,
            learning_rate=LOOP_RATE,
            n_steps=LOOP_STEPS,
            steps=steps,
        )
        levels = np.rint(numbers / steps).astype(np.int64)
        results.append(_measured(job, seed, candidate, trial.c, codes, levels))
    return results
