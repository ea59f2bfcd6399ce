"""Clause 10.6: models and runs as the text's code makes them, and latents through every order of sites."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sinrfmt import contexts, entropy, models, rans
from sinrfmt.contexts import ContextNetwork, ContextTensor, LevelContext, Plane
from sinrfmt.grids import entry_indices
from sinrfmt.network import GridEncoding
from sinrfmt.registry import ContextId

TEXT = (Path(__file__).parents[1] / "spec" / "sinr-1.md").read_text()
CONTEXTS = [ContextId.INTERLACED, ContextId.SERIAL]
N_LEVELS = 5

Latents = NDArray[np.int32]


@pytest.fixture(scope="module")
def text() -> dict[str, Any]:
    """The ``python`` blocks of the text."""
    namespace: dict[str, Any] = {"RNE32": float}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(block, namespace)
    return namespace


def random_tensors(
    rng: np.random.Generator, context: ContextId, *, width: int = 8, hidden: int = 1, largest: int = 40
) -> dict[str, ContextTensor]:
    n_near, n_phases, n_strides = (16, 10, 4) if context is ContextId.INTERLACED else (12, 1, 0)
    shapes = {"coarse": (width, 11), "near": (width, n_near), "phase": (n_phases, width)}
    for i in range(hidden):
        shapes |= {f"hidden.{i}.weight": (width, width), f"hidden.{i}.bias": (1, width)}
    shapes |= {"output": (2, width), "linear": (2, 11 + n_near), "offset": (N_LEVELS + n_strides, 2)}
    return {
        name: ContextTensor(rng.integers(-largest, largest + 1, shape).astype(np.int32), int(rng.integers(3, 11)))
        for name, shape in shapes.items()
    }


def text_network(tensors: dict[str, ContextTensor]) -> SimpleNamespace:
    """The tensors under the names that the text's code uses."""
    plain = {name: SimpleNamespace(acc=tensor.acc.tolist(), q=tensor.q) for name, tensor in tensors.items()}
    n_hidden = sum(name.endswith(".weight") for name in plain)
    pairs = [(plain[f"hidden.{i}.weight"], plain[f"hidden.{i}.bias"]) for i in range(n_hidden)]
    return SimpleNamespace(**{name: tensor for name, tensor in plain.items() if "." not in name}, hidden=pairs)


def random_levels(rng: np.random.Generator, shape: Sequence[int], scale: float) -> list[Latents]:
    """Latents of a pyramid whose last two axes are halved, coarse to fine."""
    height, width = shape[-2:]
    sizes = [(*shape[:-2], -(-height >> k), -(-width >> k)) for k in reversed(range(N_LEVELS))]
    return [np.rint(rng.laplace(0, scale, size)).astype(np.int32) for size in sizes]


def coarser_planes(planes: Sequence[Plane]) -> list[Plane | None]:
    return [*reversed(planes), None, None, None][:3]


def encode(context: ContextId, tensors: dict[str, ContextTensor], levels: Sequence[Latents]) -> rans.StreamEncoder:
    network, stream = ContextNetwork(tensors), rans.StreamEncoder()
    planes: list[Plane] = []
    for level, latents in enumerate(levels):
        own = Plane.of(latents, latents.shape)
        runs = contexts.code_level(
            LevelContext(network, context, level, own, coarser_planes(planes)), latents.reshape(-1)
        )
        before = stream.bits
        contexts.encode_level(stream, runs)
        assert contexts.level_bits(runs) == pytest.approx(stream.bits - before)
        planes.append(own)
    return stream


def decode(
    context: ContextId, tensors: dict[str, ContextTensor], levels: Sequence[Latents], data: bytes, log2_lanes: int
) -> list[Latents]:
    network, stream = ContextNetwork(tensors), rans.open_stream(data, log2_lanes)
    planes: list[Plane] = []
    decoded = []
    for level, latents in enumerate(levels):
        own = Plane.of(np.zeros_like(latents), latents.shape)
        at = LevelContext(network, context, level, own, coarser_planes(planes))
        decoded.append(contexts.decode_level(stream, at, own).reshape(latents.shape))
        planes.append(own)
    stream.finish()
    return decoded


class TextStream:
    """One lane or many, symbol by symbol, by the code of clause 10.4."""

    def __init__(self, text: dict[str, Any], data: bytes, log2_lanes: int) -> None:
        n = 1 << log2_lanes if log2_lanes else 1
        self._text = text
        self._lanes = log2_lanes > 0
        self._states = np.frombuffer(data, "<u4", n).tolist()
        self._words = np.frombuffer(data, "<u2", offset=4 * n).tolist()

    def run(self, models_of: Sequence[Sequence[int]]) -> list[int]:
        """Symbols from 0, one for each list of frequencies."""
        n = len(self._states)
        symbols = []
        for start in range(0, len(models_of), n):
            row = models_of[start : start + n]
            for lane, frequencies in enumerate(row):
                words = [] if self._lanes else self._words
                self._states[lane], symbol = self._text["decode"](self._states[lane], frequencies, words)
                symbols.append(symbol)
            for lane in range(len(row) if self._lanes else 0):
                if self._states[lane] < 1 << 16:
                    self._states[lane] = self._states[lane] << 16 | self._words.pop(0)
        return symbols

    def escapes(self, n: int) -> list[int]:
        prefixes = self.run([entropy.ESCAPE_FREQUENCIES.tolist()] * n)
        fields = dict.fromkeys(range(n), 0)
        for done in (0, 14):
            wide = [i for i in range(n) if prefixes[i] > done]
            bits = [min(prefixes[i] - done, 14) for i in wide]
            for i, q, x in zip(wide, bits, self.run([[1 << 14 - q] * (1 << q) for q in bits]), strict=True):
                fields[i] = fields[i] << q | x
        return [2**p - 1 + fields[i] for i, p in enumerate(prefixes)]


def text_decode(
    text: dict[str, Any], context: ContextId, net: SimpleNamespace, shapes: Sequence[tuple[int, ...]],
    stream: TextStream
) -> Iterator[list[Any]]:  # fmt: skip
    """Latents of every level as nested lists (planes, rows, columns), one symbol at a time."""
    frequencies = lru_cache(maxsize=None)(text["context_frequencies"])
    order = text["interlaced"] if context is ContextId.INTERLACED else text["wavefronts"]
    done: list[list[Any]] = []
    for level, shape in enumerate(shapes):
        height, width = shape[-2:]
        planes = [[[0] * width for _ in range(height)] for _ in range(int(np.prod(shape[:-2], dtype=int)))]
        for phase, kind, stride, sites in order(height, width):
            where = [(p, y, x) for p in range(len(planes)) for y, x in sites]
            modelled = []
            for p, y, x in where:
                below = [*(known[p] for known in reversed(done)), None, None, None][:3]
                column, near = text["near_inputs"](context, planes[p], kind, stride, y, x)
                coarse = text["coarse_inputs"](below, y, x)
                out = text["context_network"](net, level, phase, coarse, near, column, N_LEVELS)
                modelled.append(text["context_model"](out))
            rows = [frequencies(scale, fraction) for _, scale, fraction in modelled]
            symbols = stream.run([f for _, f in rows])
            values = [c + s - a for (c, _, _), (a, _), s in zip(modelled, rows, symbols, strict=True)]
            far = [i for i, (s, (_, f)) in enumerate(zip(symbols, rows, strict=True)) if s in (0, len(f) - 1)]
            for i, escape in zip(far, stream.escapes(len(far)), strict=True):
                values[i] += escape if symbols[i] else -escape
            for (p, y, x), value in zip(where, values, strict=True):
                planes[p][y][x] = value
        done.append(planes)
        yield planes


@pytest.mark.parametrize("log2_lanes", [0, 6])
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(("shape", "hidden"), [((13, 10), 1), ((2, 9, 5), 0), ((1, 6), 3), ((17, 1), 2)])
def test_latents_are_those_of_the_text_symbol_by_symbol(
    text: dict[str, Any], context: ContextId, log2_lanes: int, shape: tuple[int, ...], hidden: int
) -> None:
    rng = np.random.default_rng(hidden)
    tensors = random_tensors(rng, context, hidden=hidden)
    levels = random_levels(rng, shape, 3.0)
    levels[-1].flat[[0, -1]] = 70000, -900
    data = encode(context, tensors, levels).encode(log2_lanes)
    stream = TextStream(text, data, log2_lanes)
    shapes = [latents.shape for latents in levels]
    found = list(text_decode(text, context, text_network(tensors), shapes, stream))
    for planes, latents in zip(found, levels, strict=True):
        assert np.array(planes).reshape(latents.shape).tolist() == latents.tolist()
    for mine, latents in zip(decode(context, tensors, levels, data, log2_lanes), levels, strict=True):
        np.testing.assert_array_equal(mine, latents)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (70, 1), (3, 5, 7), (2, 2, 33, 20), (150, 131), (3000, 2, 3)])
def test_every_shape_comes_back(context: ContextId, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    tensors = random_tensors(rng, context)
    levels = random_levels(rng, shape, 0.7)
    stream = encode(context, tensors, levels)
    for log2_lanes in (0, 7):
        for block in (contexts.BLOCK, 100):
            monkeypatch.setattr(contexts, "BLOCK", block)
            found = decode(context, tensors, levels, stream.encode(log2_lanes), log2_lanes)
            for mine, latents in zip(found, levels, strict=True):
                np.testing.assert_array_equal(mine, latents)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("largest", [3, 300, 2047])
def test_the_network_is_exact_at_its_limits(text: dict[str, Any], context: ContextId, largest: int) -> None:
    """The widest network, weights up to 2^11, inputs up to 63 in magnitude."""
    rng = np.random.default_rng(largest)
    tensors = random_tensors(rng, context, width=32, hidden=3, largest=largest)
    tensors["hidden.0.weight"] = ContextTensor(np.full((32, 32), largest, dtype=np.int32), 0)
    network, plain = ContextNetwork(tensors), text_network(tensors)
    n = 60
    coarse = rng.choice([-63, 63, 0, 5], (11, n))
    for kind, phase in ((0, 0), (1, 1), (2, 5), (3, 9)) if context is ContextId.INTERLACED else ((0, 0),):
        column, offsets = text["NEAR"][kind] if context is ContextId.INTERLACED else (0, text["CAUSAL"])
        near = rng.choice([-63, 63, 1, 2], (len(offsets), n))
        offset = network.offset[2] + (network.offset[N_LEVELS + (phase + 2) // 3] if len(network.offset) > 5 else 0)
        first, linear = network.from_coarse(coarse.astype(np.float64), phase)
        columns = slice(column, column + len(offsets))
        rows, centres = network.rows(first, linear, near.astype(np.float64), columns, offset[:, None])
        for i in range(n):
            out = text["context_network"](plain, 2, phase, coarse[:, i].tolist(), near[:, i].tolist(), column, N_LEVELS)
            assert max(map(abs, out)) < 1 << 31
            centre, scale, fraction = text["context_model"](out)
            assert (int(centres[i]), int(rows[i])) == (centre, 16 * scale + fraction + 8)


def test_models_are_those_of_the_text(text: dict[str, Any]) -> None:
    table = contexts.row_table()
    n_symbols = 0
    for row in range(1024):
        below, frequencies = text["context_frequencies"](row >> 4, (row & 15) - 8)
        symbols = slice(table.firsts[row], table.firsts[row + 1])
        assert table.centres[row] - table.firsts[row] == below
        assert table.frequencies[symbols].tolist() == frequencies
        assert (table.offsets[symbols] - (row << 14)).tolist() == np.cumsum([0, *frequencies[:-1]]).tolist()
        assert sum(frequencies) == 1 << 14
        assert min(frequencies) >= 1
        n_symbols += len(frequencies)
    assert n_symbols == table.ends.size == 74622
    assert text["context_frequencies"](0, 0) == (1, [1, 16382, 1])
    assert text["context_frequencies"](0, -8) == (2, [1, 8191, 8191, 1])
    assert text["context_frequencies"](16, 3) == (2, [1, 51, 15517, 814, 1])


def test_scales_of_the_text_are_those_of_their_formula(text: dict[str, Any]) -> None:
    scale = np.exp(np.arange(64) / 8 - 4)
    np.testing.assert_allclose(text["DECAY"], 2**24 * np.exp(-1 / (16 * scale)), atol=0.51)
    assert text["DECAY"] == contexts.DECAY


def test_a_latent_that_no_escape_reaches_is_not_coded() -> None:
    latents = np.array([[1 << 22]], dtype=np.int32)
    tensors = random_tensors(np.random.default_rng(0), ContextId.SERIAL)
    with pytest.raises(ValueError, match="too far"):
        encode(ContextId.SERIAL, tensors, [latents])


def test_tables_of_frequencies_are_those_of_the_text(text: dict[str, Any]) -> None:
    rng = np.random.default_rng(9)
    for n in (2, 3, 30, 511):
        codes = rng.integers(0, 128, n).tolist()
        found = models.TableModel(tuple(codes), 1, False).frequencies()
        assert found.tolist() == text["table_frequencies"](codes)
        assert found.sum() == 1 << 14
        assert found.min() >= 1


def test_hashed_entries_are_those_of_the_text(text: dict[str, Any]) -> None:
    rng = np.random.default_rng(4)
    for n_axes in (1, 2, 3, 4):
        encoding = GridEncoding(((65535,) * n_axes,), log2_table_size=11)
        vertices = rng.integers(0, 65535, (100, n_axes))
        expected = [text["hashed_entry"](vertex, 2048) for vertex in vertices.tolist()]
        assert entry_indices(encoding, 0, vertices).tolist() == expected
