"""Networks that grow from pass to pass: shapes for given sizes, the module, a training of all prefixes at once.

Specification: clause 13.2. Method: Cho, Nam, Kim, Oh, "Streamable neural fields" (2022): units that came early never
see later ones, so that one run of the network gives the values after every pass. All prefixes are trained together:
units that were trained alone and then held are poor inputs of those that follow.
"""

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

from sinrfmt.network import GROWTH_ORDINAL, Network, Tensor
from sinrfmt.torch.fit import (
    EVALUATION_BATCH,
    PROGRESS_INTERVAL,
    FitOptions,
    Progress,
    batches,
    descend,
)
from sinrfmt.torch.modules import DenseLayer, FieldModule, initial_arrays
from sinrfmt.torch.presets import DEPTH, MAX_WIDTH, OVERHEAD_BYTES, TENSOR_BYTES, sine_network
from sinrfmt.torch.sensitivity import split_vector
from sinrfmt.torch.signals import Signal, psnr_of

Widths = tuple[int, int]
"""Units of each layer of the trunk, and of the tail."""
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CHUNK_BYTES = 19
"""Of a PASS chunk without table and values: 9 around it, 6 in its sub-header, 4 to start the stream."""
HEAD_BYTES = 4
"""In HEAD for each pass: a width and a quality."""
LEAST_WIDTH = 3
TAIL = 1
"""Hidden layers at the end that may go on growing when the others, the trunk, are whole. Growth of all layers is dear:
prefixes then want other weights than the whole does, and every layer of a pass has steps and models of its own."""
TAIL_RATIO = 4 / 3
MAX_TRUNK = int(MAX_WIDTH / TAIL_RATIO)
TINY = 1e-12
"""Mean squared error below which a prefix gets no better by being closer."""


@dataclass(frozen=True)
class Gain(Network):
    """What a network that grows gains in one pass: only the tensors that begin in pass ``index`` are listed."""

    index: int = 0

    def _list_tensors(self) -> Iterator[Tensor]:
        return (tensor for tensor in super()._list_tensors() if tensor.begins == self.index)


def gains_of(network: Network) -> tuple[Gain, ...]:
    """What the network gains in every pass."""
    n_passes = len(network.active_widths) + 1
    fields = (network.in_dims, network.out_channels, network.records, network.input_encoding, network.active_widths)
    return tuple(Gain(*fields, index) for index in range(n_passes))


def growing_network(in_dims: int, out_channels: int, widths: Sequence[Widths], omega: float) -> Network:
    """A SIREN whose trunk and tail have ``widths[g]`` units in each layer after pass g; at last the tail has more."""
    records = sine_network(in_dims, out_channels, DEPTH, 1, omega).layer_records
    trunk, tail = (
        replace(records[0], width=width, repeat=n) for width, n in zip(widths[-1], (DEPTH - TAIL, TAIL), strict=True)
    )
    return Network(in_dims, out_channels, (trunk, tail, records[-1]), active_widths=tuple(widths[:-1]))


def expected_size(network: Network, bits: float, n_passes: int) -> float:
    """Bytes up to the last pass of this network, in a file of ``n_passes`` passes, with so many bits a parameter."""
    chunks = CHUNK_BYTES * len(network.active_widths) + HEAD_BYTES * n_passes
    return OVERHEAD_BYTES + chunks + TENSOR_BYTES * len(network.tensors) + network.n_parameters * bits / 8.0


def widths_for_sizes(in_dims: int, out_channels: int, sizes: Sequence[int], bits: float) -> list[Widths] | None:
    """The widest network of which every pass is expected to end in time; None where there is none.

    Args:
        in_dims, out_channels: of the signal.
        sizes: bytes up to the end of every pass.
        bits: of a weight.
    """

    def fits(widths: Sequence[Widths]) -> bool:
        network = growing_network(in_dims, out_channels, widths, 1.0)
        return expected_size(network, bits, len(sizes)) <= sizes[len(widths) - 1]

    best = None
    for trunk in range(LEAST_WIDTH, MAX_TRUNK + 1):
        last = (trunk, tail_of(trunk))
        before = _widths_before(last, len(sizes) - 1, fits)
        if before is None:
            continue
        if not fits([*before, last]):
            break
        best = [*before, last]
    return best


def tail_of(trunk: int) -> int:
    """Width of the whole tail behind a whole trunk."""
    return math.ceil(TAIL_RATIO * trunk)


def _widths_before(last: Widths, n_passes: int, fits: Callable[[Sequence[Widths]], bool]) -> list[Widths] | None:
    """The widths after all passes but the last: a whole trunk as soon as a fair part of the tail fits with it."""
    widths: list[Widths] = []
    for _ in range(n_passes):
        tail = widths[-1][1] if widths else 0
        ways = [
            [(last[0], width) for width in range(max(tail + 1, last[0] // 2), last[1])],
            [(width, width) for width in range(max(tail + 1, LEAST_WIDTH), last[0])],
        ]
        has_trunk = bool(widths) and widths[-1][0] == last[0]
        fitting = [
            way[_n_fitting(way, widths, fits) - 1]
            for way in ways[: 1 if has_trunk else 2]
            if way and fits([*widths, way[0]])
        ]
        if not fitting:
            return None
        widths.append(fitting[0])
    return widths


def _n_fitting(way: Sequence[Widths], before: Sequence[Widths], fits: Callable[[Sequence[Widths]], bool]) -> int:
    """How many of widths that rise are expected to fit."""
    return bisect.bisect_left(range(len(way)), True, key=lambda index: not fits([*before, way[index]]))


class GrowingModule:
    """The module of a network that grows: all layers at their last width, with zeros where there are no weights.

    Attributes:
        network: with its blocks.
        module: of ``network.whole``; its parameters are float32, whatever is loaded.
        places: int64 (n_parameters,), where the weights of the blocks are in the parameter vector of ``module``.
        n_inputs: of the last layer, after every pass.
    """

    def __init__(self, network: Network, *, seed: int) -> None:
        """With the seeded initial values of every block."""
        self.network, self.seed = network, seed
        whole = network.whole
        self.module = FieldModule(whole, seed=seed)
        self.places = np.concatenate([places.ravel() for places in _places(network)])
        ends = {t.begins: t.origin[1] + t.shape[1] for t in network.tensors if _is_last(network, t)}
        self.n_inputs = [max(end for begins, end in ends.items() if begins <= index) for index in range(self.n_passes)]
        self.load(np.concatenate([array.ravel() for array in initial_arrays(network, seed).values()]))

    @property
    def n_passes(self) -> int:
        """How many passes the network has."""
        return len(self.network.active_widths) + 1

    @cached_property
    def ends(self) -> list[int]:
        """Of the passes, in the vector of blocks."""
        sizes = [sum(t.size for t in self.network.tensors if t.begins == index) for index in range(self.n_passes)]
        return [int(end) for end in np.cumsum(sizes)]

    def vector(self) -> Floats:
        """The weights of all blocks in table order: float64 (n_parameters,)."""
        arrays = self.module.arrays().values()
        blocks: Floats = np.concatenate([array.ravel() for array in arrays]).astype(np.float64)[self.places]
        return blocks

    def load(self, vector: NDArray[np.floating]) -> None:
        """Set the weights of all blocks."""
        whole = self.network.whole
        values = np.zeros(whole.n_parameters, dtype=np.float32)
        values[self.places] = vector
        names = [tensor.name for tensor in whole.tensors]
        self.module.load_arrays(dict(zip(names, split_vector(whole, values), strict=True)))

    def gradients(self, error: Values) -> Floats:
        """Of ``error`` with respect to the weights of all blocks: float64 (n_parameters,)."""
        parameters = [self.module.get_parameter(tensor.name) for tensor in self.network.whole.tensors]
        parts = torch.autograd.grad(error, parameters)
        whole: Floats = torch.cat([part.reshape(-1) for part in parts]).cpu().numpy().astype(np.float64)
        blocks: Floats = whole[self.places]
        return blocks

    def masks(self, device: torch.device) -> dict[str, Values]:
        """1 where a weight belongs to a block, else 0, by the name of the whole tensor."""
        whole = self.network.whole
        mask = np.zeros(whole.n_parameters, dtype=np.float32)
        mask[self.places] = 1.0
        names = [tensor.name for tensor in whole.tensors]
        return {
            name: torch.tensor(part, device=device) for name, part in zip(names, split_vector(whole, mask), strict=True)
        }

    def prefix_outputs(self, coords: Values) -> list[Values]:
        """The values after every pass, each (n, out_channels), at coords (n, in_dims)."""
        seen: list[tuple[DenseLayer, Values]] = []

        def run(layer: DenseLayer, x: Values) -> Values:
            seen[:] = [(layer, x)]
            output: Values = layer(x)
            return output

        whole = self.module(coords, run)
        layer, x = seen[0]
        factor = layer.phase_factor
        bias = None if layer.bias is None else layer.bias * factor
        before = [
            layer.activation(torch.nn.functional.linear(x[:, :n], layer.weight[:, :n] * factor, bias))
            for n in self.n_inputs[:-1]
        ]
        return [*before, whole]

    def prefix_module(self, index: int) -> FieldModule:
        """What is there after pass ``index``, as a module as wide as the whole: later units are not heard."""
        prefix = FieldModule(self.network.whole, self.module.arrays(), seed=self.seed)
        last = prefix.layers[-1]
        assert isinstance(last, DenseLayer)
        with torch.no_grad():
            last.weight[:, self.n_inputs[index] :] = 0.0
        return prefix

    @torch.no_grad()
    def measure(self, signal: Signal, device: torch.device) -> list[float]:
        """PSNR after every pass in dB, on the samples."""
        parts = [self.prefix_outputs(part) for part in torch.split(_coords(signal, device), EVALUATION_BATCH)]
        return [psnr_of(signal, torch.cat(outputs).cpu().numpy()) for outputs in zip(*parts, strict=True)]

    @torch.no_grad()
    def errors(self, signal: Signal, device: torch.device) -> list[float]:
        """Mean squared error after every pass."""
        totals = np.zeros(self.n_passes)
        values = torch.tensor(signal.values, device=device)
        for coords, wanted in zip(
            torch.split(_coords(signal, device), EVALUATION_BATCH), torch.split(values, EVALUATION_BATCH), strict=True
        ):
            totals += [((outputs - wanted) ** 2).sum().item() for outputs in self.prefix_outputs(coords)]
        return [float(total) for total in totals / signal.values.size]


def _coords(signal: Signal, device: torch.device) -> Values:
    return torch.tensor(signal.coords, device=device)


def _is_last(network: Network, tensor: Tensor) -> bool:
    return not tensor.is_bias and tensor.ordinal % GROWTH_ORDINAL // 2 == len(network.layers) - 1


def _places(network: Network) -> Iterator[Integers]:
    """For every block, in table order, the positions of its weights in the parameter vector of ``network.whole``."""
    wholes = network.whole.tensors
    positions = split_vector(network.whole, np.arange(network.whole.n_parameters))
    by_name = {tensor.name: part for tensor, part in zip(wholes, positions, strict=True)}
    for tensor in network.tensors:
        cut = tuple(slice(at, at + n) for at, n in zip(tensor.origin, tensor.shape, strict=False))
        yield by_name[tensor.whole_name][cut]


def fit_growth(
    growing: GrowingModule,
    signal: Signal,
    options: FitOptions,
    shares: Sequence[float],
    *,
    seed: int,
    device: torch.device,
    on_progress: Progress | None = None,
) -> list[float]:
    """Train all prefixes of a network that grows, in place.

    What falls is the sum of ``share * log(mean squared error)`` over the passes: a share says what a decibel of a
    prefix is worth beside a decibel of the whole, whatever their errors are.

    Args:
        growing: its module is moved to ``device``.
        signal: the target.
        options: steps, rate and batch.
        shares: one for every pass.
        seed: order of the samples.
        device: where to train.
        on_progress: as for ``fit``, with the PSNR of the whole.

    Returns:
        the PSNR after every pass, in dB
    """
    module = growing.module.to(device).train()
    source = batches(signal, options.batch_size, seed, device)

    def loss(_: int) -> Values:
        coords, values = next(source)
        return prefix_loss(growing.prefix_outputs(coords), values, shares)

    masks = growing.masks(device)
    for done, _ in descend(module, loss, options.n_steps, options.learning_rate, masks):
        if on_progress and done % PROGRESS_INTERVAL == 0 and done < options.n_steps:
            on_progress(done, options.n_steps, growing.measure(signal, device)[-1])
    psnrs = growing.measure(signal, device)
    if on_progress:
        on_progress(options.n_steps, options.n_steps, psnrs[-1])
    return psnrs


def prefix_loss(found: Sequence[Values], values: Values, shares: Sequence[float]) -> Values:
    """The sum of ``share * log(mean squared error)`` over the passes."""
    terms = [
        share * torch.log(torch.nn.functional.mse_loss(outputs, values) + TINY)
        for outputs, share in zip(found, shares, strict=True)
    ]
    return torch.stack(terms).sum()
