"""Solvers for sparse codes, networks as expansions, and the two codings that use them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

import sinrfmt
import sinrfmt.torch
from sinrfmt.metrics import psnr
from sinrfmt.network import Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Dictionary, Profile, Tool
from sinrfmt.sparse import Vectors
from sinrfmt.torch.encoder import EncodedField, Job, Target, encode_signal
from sinrfmt.torch.expansion import Support, expansion_of, number_blocks, number_curvature, refitted
from sinrfmt.torch.files import WEIGHT_CODINGS, build, header_of
from sinrfmt.torch.fit import measure
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import preset_of, sine_network
from sinrfmt.torch.rate import LAW
from sinrfmt.torch.sensitivity import curvature_of
from sinrfmt.torch.signals import image_signal
from sinrfmt.torch.sparse import fista, least_squares, orthogonal_matching_pursuit, seeded_dictionary
from sinrfmt.torch.sparse_codes import in_order, quantise_as_published
from sinrfmt.torch.tune import tuned

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
PICTURE = np.stack(
    [np.add.outer(np.arange(24) * 5, np.arange(32) * 4), np.add.outer(np.arange(24) * 9, np.zeros(32))], axis=-1
).astype(np.uint8)
DIGITS = {torch.float64: 1e-9, torch.float32: 1e-3}


def dictionary(k1: int, k2: int, dtype: torch.dtype = torch.float64, law: Dictionary = Dictionary.T8) -> torch.Tensor:
    return seeded_dictionary(law, k1, k2, 2, 7, dtype=dtype, device=CPU)


def gaussian(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def slow_pursuit(atoms: np.ndarray, vector: np.ndarray, n_nonzero: int) -> tuple[list[int], np.ndarray]:
    """The textbook: choose, solve least squares anew, repeat."""
    chosen: list[int] = []
    residual, solution = vector, np.zeros(0)
    for _ in range(n_nonzero):
        scores = np.abs(residual @ atoms) / np.linalg.norm(atoms, axis=0)
        scores[chosen] = -1
        chosen.append(int(scores.argmax()))
        solution = np.linalg.lstsq(atoms[:, chosen], vector)[0]
        residual = vector - atoms[:, chosen] @ solution
    return chosen, solution


# --- pursuit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", list(Dictionary))
def test_a_pursuit_chooses_what_the_textbook_chooses(law: Dictionary) -> None:
    atoms, vectors = dictionary(24, 90, law=law), gaussian(7, 24)
    pursuit = orthogonal_matching_pursuit(atoms, vectors, 12)
    found = pursuit.coefficients(12)
    for j in range(7):
        chosen, solution = slow_pursuit(atoms.numpy(), vectors[j].numpy(), 12)
        assert pursuit.atoms[j].tolist() == chosen
        np.testing.assert_allclose(found[j].numpy(), solution, rtol=1e-9, atol=1e-12)


def test_a_pursuit_agrees_with_scikit_learn_on_unit_atoms() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    atoms = torch.nn.functional.normalize(dictionary(64, 256), dim=0)
    vectors = gaussian(20, 64)
    theirs = linear_model.orthogonal_mp(atoms.numpy(), vectors.numpy().T, n_nonzero_coefs=16).T
    pursuit = orthogonal_matching_pursuit(atoms, vectors, 16)
    ours = torch.zeros(20, 256, dtype=torch.float64).scatter_(1, pursuit.atoms, pursuit.coefficients(16))
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-9)


@pytest.mark.parametrize("dtype", DIGITS)
def test_every_prefix_of_a_pursuit_is_the_least_squares_fit_of_its_atoms(dtype: torch.dtype) -> None:
    atoms, vectors = dictionary(20, 60, dtype), gaussian(5, 20).to(dtype)
    pursuit = orthogonal_matching_pursuit(atoms, vectors, 16)
    for s in (1, 5, 16):
        columns = atoms.T[pursuit.atoms[:, :s]]
        expected = least_squares(columns, vectors)
        np.testing.assert_allclose(pursuit.coefficients(s), expected, rtol=DIGITS[dtype], atol=DIGITS[dtype])


def test_a_sparse_vector_is_recovered() -> None:
    atoms = dictionary(64, 128)
    truth = torch.zeros(6, 128, dtype=torch.float64)
    truth[torch.arange(6)[:, None], torch.arange(30).reshape(6, 5) * 4] = gaussian(6, 5).sign() + gaussian(6, 5) / 9
    vectors = truth @ atoms.T
    pursuit = orthogonal_matching_pursuit(atoms, vectors, 5)
    found = torch.zeros_like(truth).scatter_(1, pursuit.atoms, pursuit.coefficients(5))
    np.testing.assert_allclose(found.numpy(), truth.numpy(), atol=1e-10)


def test_a_vector_that_is_used_up_gets_no_more_coefficients() -> None:
    atoms = dictionary(8, 30)
    vectors = torch.stack([3.0 * atoms[:, 4], torch.zeros(8, dtype=torch.float64)])
    pursuit = orthogonal_matching_pursuit(atoms, vectors, 8)
    coefficients = pursuit.coefficients(8)
    assert pursuit.atoms[0, 0] == 4 and coefficients[0, 0] == pytest.approx(3.0)
    np.testing.assert_allclose(coefficients.numpy().ravel()[1:], 0.0, atol=1e-12)
    assert all(len(set(row)) == 8 for row in pursuit.atoms.tolist())


def test_a_repeated_atom_is_not_counted_twice() -> None:
    atoms = torch.cat([dictionary(6, 4), dictionary(6, 4)], dim=1)
    vectors = gaussian(3, 6)
    pursuit = orthogonal_matching_pursuit(atoms, vectors, 6)
    columns = atoms.T[pursuit.atoms]
    rebuilt = torch.bmm(pursuit.coefficients(6).unsqueeze(1), columns).squeeze(1)
    best = vectors - least_squares(dictionary(6, 4).T.expand(3, 4, 6), vectors)[:, None, :].bmm(
        dictionary(6, 4).T.expand(3, 4, 6)
    ).squeeze(1)
    np.testing.assert_allclose((vectors - rebuilt).numpy(), best.numpy(), atol=1e-9)


def test_ascending_atoms_keep_their_coefficients() -> None:
    pursuit = orthogonal_matching_pursuit(dictionary(16, 40), gaussian(3, 16), 6)
    atoms, coefficients = in_order(pursuit, 4)
    assert (np.diff(atoms, axis=1) > 0).all()
    for j in range(3):
        pairs = dict(zip(pursuit.atoms[j, :4].tolist(), pursuit.coefficients(4)[j].tolist(), strict=True))
        assert [pairs[a] for a in atoms[j].tolist()] == coefficients[j].tolist()


# --- L1 --------------------------------------------------------------------------------------------------------------


def test_fista_meets_the_conditions_of_the_minimum() -> None:
    atoms, vectors = torch.nn.functional.normalize(dictionary(20, 50), dim=0), gaussian(4, 20)
    penalties = torch.tensor([0.1, 0.3, 0.5, 1.0], dtype=torch.float64)
    x = fista(atoms, vectors, penalties, 4000)
    gradient = ((vectors - x @ atoms.T) @ atoms).numpy()
    bound = penalties.numpy()[:, None]
    assert (np.abs(gradient) <= bound * (1 + 1e-4)).all()
    is_used = x.numpy() != 0
    np.testing.assert_allclose(gradient[is_used], (np.sign(x.numpy()) * bound)[is_used], rtol=1e-4)
    assert is_used.any() and not is_used.all()


def test_fista_is_zero_under_a_large_penalty() -> None:
    atoms, vectors = dictionary(10, 20), gaussian(2, 10)
    penalty = (vectors @ atoms).abs().amax(dim=1)
    assert not fista(atoms, vectors, penalty * 1.001, 20).any()
    assert fista(atoms, vectors, penalty * 0.9, 20).any(dim=1).all()


# --- expansions ------------------------------------------------------------------------------------------------------

NETWORK = sine_network(2, 2, 3, 6, 10.0)


def supports(vectors: Vectors) -> dict[int, Support]:
    n, k1 = {Vectors.COLUMNS: (6, 6), Vectors.ROWS: (6, 6), Vectors.MATRIX: (1, 36)}[vectors]
    rng = np.random.default_rng(vectors)
    atoms = np.sort(np.stack([rng.permutation(3 * k1)[: k1 // 2] for _ in range(n)]), axis=1)
    return {2: Support(vectors, 3 * k1, atoms), 4: Support(vectors, 3 * k1, atoms)}


@pytest.mark.parametrize("vectors", list(Vectors))
def test_an_expansion_gives_the_weights_of_the_decoder(vectors: Vectors) -> None:
    expansion = expansion_of(NETWORK, supports(vectors), seed=9)
    numbers = np.arange(expansion.n_numbers) - 40.0
    weights = expansion.weights(numbers)
    start = 0
    for part, piece in zip(expansion.parts, expansion.split(numbers), strict=True):
        own = weights[start : start + part.tensor.size]
        start += part.tensor.size
        if part.support is None:
            np.testing.assert_array_equal(own, piece.ravel())
            continue
        code = sinrfmt.sparse.SparseCode(
            vectors, part.support.n_atoms, part.support.atoms.astype(np.int32), piece.astype(np.int32)
        )
        decoded = sinrfmt.sparse.accumulate(code, part.tensor.shape, LAW, part.tensor.ordinal, 9)
        np.testing.assert_array_equal(own, decoded)


@pytest.mark.parametrize("vectors", list(Vectors))
def test_a_gradient_is_pulled_back_as_the_weights_are_made(vectors: Vectors) -> None:
    expansion = expansion_of(NETWORK, supports(vectors), seed=9)
    numbers, gradient = gaussian(expansion.n_numbers).numpy(), gaussian(NETWORK.n_parameters).numpy()
    assert expansion.pull_back(gradient) @ numbers == pytest.approx(gradient @ expansion.weights(numbers))


@pytest.mark.parametrize(
    ("vectors", "block_limit"), [(Vectors.MATRIX, 1000), (Vectors.COLUMNS, 1000), (Vectors.ROWS, 30)]
)
def test_curvature_and_refit_of_numbers_are_those_of_the_weights(vectors: Vectors, block_limit: int) -> None:
    signal = image_signal(PICTURE)
    module = FieldModule(NETWORK, seed=3)
    curvature = curvature_of(module, signal.coords, n_samples=300, block_limit=block_limit, seed=1, device=CPU)
    expansion = expansion_of(NETWORK, supports(vectors), seed=3)
    blocks = number_blocks(expansion, curvature)
    assert sorted(np.concatenate([block.indices for block in blocks]).tolist()) == list(range(expansion.n_numbers))
    numbers = gaussian(expansion.n_numbers).numpy() / 100
    change = expansion.weights(numbers)

    def cost(factors: list[tuple[np.ndarray, np.ndarray]], x: np.ndarray) -> float:
        return sum(float(((factor @ x[indices]) ** 2).sum()) for indices, factor in factors)

    by_weights = cost([(b.weight_indices, b.weight_root) for b in blocks], change)
    assert cost([(b.indices, b.root) for b in blocks], numbers) == pytest.approx(by_weights)
    found = refitted(blocks, change, expansion.n_numbers)
    assert cost([(b.indices, b.root) for b in blocks], found - numbers) < 1e-12 * by_weights
    effective = number_curvature(blocks, expansion.n_numbers).effective
    assert (effective > 0).all()


def test_tuning_improves_the_picture_and_keeps_to_the_grid() -> None:
    signal = image_signal(PICTURE)
    module = FieldModule(NETWORK, seed=3)
    expansion = expansion_of(NETWORK, supports(Vectors.MATRIX), seed=3)
    start = gaussian(expansion.n_numbers).numpy() / 1000

    def quality(numbers: np.ndarray) -> float:
        arrays, weights, at = {}, expansion.weights(numbers), 0
        for tensor in NETWORK.tensors:
            arrays[tensor.name] = weights[at : at + tensor.size].reshape(tensor.shape).astype(np.float32)
            at += tensor.size
        return measure(FieldModule(NETWORK, arrays, seed=3), signal, device=CPU)

    free = tuned(module, expansion, start, signal, learning_rate=1e-2, n_steps=60)
    assert quality(free) > quality(start) + 3
    steps = np.full(expansion.n_numbers, 0.02)
    rounded = np.rint(free / steps) * steps
    looped = tuned(module, expansion, free, signal, learning_rate=3e-3, n_steps=60, steps=steps)
    assert quality(np.rint(looped / steps) * steps) > quality(rounded)


# --- files -----------------------------------------------------------------------------------------------------------

SMALL = replace(preset_of("fast"), n_seeds=1, n_steps=100, screening_share=0.2, n_trials=5, curvature_samples=400)


def encoded(weight_coding: str, target: Target) -> tuple[EncodedField, sinrfmt.Field]:
    signal, way = image_signal(PICTURE), WEIGHT_CODINGS[weight_coding]

    def size_of(network: Network, codes: Sequence[TensorCode], seed: int) -> int:
        return len(build(header_of(network, signal, seed), codes, way.payload))

    chosen = encode_signal(signal, SMALL, target, weight_coding=way, seed=5, device=CPU, size_of=size_of)
    data = build(header_of(chosen.network, signal, chosen.seed), chosen.codes, way.payload)
    assert len(data) == chosen.n_bytes
    return chosen, sinrfmt.loads(data)


@pytest.mark.parametrize(
    ("weight_coding", "target"),
    [
        ("sparse", Target(max_bytes=400)),
        ("sparse", Target()),
        ("sinr-paper", Target(max_bytes=1500)),
        ("sinr-paper", Target(min_psnr=18.0)),
        ("sinr-paper", Target()),
    ],
)
def test_a_sparse_file_has_the_announced_quality(weight_coding: str, target: Target) -> None:
    if weight_coding == "sinr-paper":
        pytest.importorskip("brotli")
    chosen, field = encoded(weight_coding, target)
    header = field.header
    assert Tool.SPARSE in {record.tool for record in header.network.records}
    assert header.dictionary is LAW
    assert header.profile is (Profile.MAIN if weight_coding == "sinr-paper" else Profile.CORE)
    assert psnr(PICTURE, field.to_uint8()) == pytest.approx(chosen.psnr, abs=0.01)
    if target.max_bytes:
        assert 0.93 * target.max_bytes < len(field.data) <= target.max_bytes
    if target.min_psnr:
        assert chosen.psnr >= target.min_psnr


def test_published_files_have_the_numbers_of_the_paper() -> None:
    pytest.importorskip("brotli")
    chosen, _ = encoded("sinr-paper", Target(max_bytes=500))
    for code in chosen.codes:
        assert code.least_width == 16
        if code.sparse is None:
            assert code.tensor.is_bias and np.abs(code.values).max() < 1 << 15
            continue
        assert code.sparse.vectors == Vectors.MATRIX
        assert code.sparse.n_atoms == 1 << 16
        assert 2 * code.sparse.n_nonzero <= code.tensor.size
        assert 1 << 13 <= np.abs(code.sparse.coefficients).max() < 1 << 15


def test_no_quality_that_the_published_code_misses_is_announced() -> None:
    signal = image_signal(PICTURE)
    job = Job(signal, SMALL, 5, CPU, lambda network, codes, seed: 1000, None)
    module = FieldModule(sine_network(2, 2, 2, 8, 15.0), seed=5)
    assert quantise_as_published(job, module, Target(min_psnr=70.0)) is None
    assert quantise_as_published(job, module, Target(max_bytes=999)) is None
    unbounded = quantise_as_published(job, module, Target())
    assert unbounded is not None and unbounded.n_bytes == 1000


def test_an_unknown_weight_coding_is_refused() -> None:
    with pytest.raises(sinrfmt.UsageError, match="sinr-paper"):
        sinrfmt.torch.encode(PICTURE, weight_coding="dense")
