"""Sets of signals: one base that they share, and for each a file that only shifts the biases of the base.

Specification: clause 9.8; nothing here is normative. Method: Dupont et al., "COIN++: neural compression across
modalities" (2022), with auto-decoding in the place of meta-learning: the shared network and the shifts of all signals
are trained together. A shift is linear in the *numbers* of its signal: they are the shifts themselves (``scalar``,
coding tool 1), or the coefficients of the first atoms of the seeded dictionary of each bias (``sparse``, tool 3), so
that few numbers move many biases. All atoms in use are used by every signal, so supports cost nothing.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor as Values

import sinrfmt
from sinrfmt.base import Base, states_from
from sinrfmt.evaluate import to_uint8
from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.head import Header
from sinrfmt.metrics import Samples
from sinrfmt.model_fit import fit_model
from sinrfmt.network import LayerRecord, Network, Tensor
from sinrfmt.payload import TensorCode
from sinrfmt.registry import Coding, Tool
from sinrfmt.sparse import SparseCode, Vectors
from sinrfmt.torch.encoder import (
    DEFAULT_BITS_PER_SAMPLE,
    DEFAULT_DROP,
    Job,
    StageProgress,
    Target,
    quantise_module,
)
from sinrfmt.torch.files import Encoding, build, device_of, header_of, one_thread_if_small
from sinrfmt.torch.fit import ADAM_BETAS, PROGRESS_INTERVAL, cosine_share, outputs, tensor_rates
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import Preset, network_for_bytes, preset_of
from sinrfmt.torch.rate import LAW, start_knob
from sinrfmt.torch.search import without_unused_prior
from sinrfmt.torch.sensitivity import curvature_of
from sinrfmt.torch.signals import VALUE_RANGES, Signal, image_signal, psnr_of
from sinrfmt.torch.sparse import seeded_dictionary
from sinrfmt.weights import nearest_step_code, step_value

TOOLS = {"scalar": Tool.SCALAR, "sparse": Tool.SPARSE}
DEFAULT_ATOMS = 8
"""Numbers of a layer with ``sparse``."""
BATCH_SAMPLES = 1024
"""Samples of a signal in one step."""
NUMBERS_RATE = 1e-2
"""Learning rate of a shift; a number of several biases has less."""
FIT_SHARE, ROUND_SHARE = 0.25, 0.08
"""Steps of the fit of one signal, and of the training with rounding in the loop, as shares of the preset's."""
BASE_PSNR = 45.0
"""Of the quantised base against the base itself, in dB: the numbers are fitted to it afterwards."""
START_BITS = 2
"""Bits by which the steps of a base are coarser than a signal is expected to need: files may have more or fewer."""
REFINE_BITS = {Tool.SCALAR: range(1, 9), Tool.SPARSE: range(9)}
CURVATURE_SAMPLES = 1024


@dataclass(frozen=True)
class Modulation:
    """How the file of a signal is to be made.

    Attributes:
        weight_coding: ``scalar`` or ``sparse``.
        n_atoms: numbers of each layer with ``sparse``; all files of a base best have the same.
        max_bytes, min_psnr: of the file of a signal; at most one of the two. With none it loses 0.3 dB to rounding.
        preset: how much work to do.
        device: as for ``encode``.
    """

    weight_coding: str = "scalar"
    n_atoms: int = DEFAULT_ATOMS
    max_bytes: int | None = None
    min_psnr: float | None = None
    preset: str | Preset = "fast"
    device: str = "auto"

    @property
    def tool(self) -> Tool:
        """The coding tool of the numbers.

        Raises:
            UsageError: there is none.
        """
        if self.weight_coding not in TOOLS:
            raise error("USAGE", f"shifts have the codings {' and '.join(TOOLS)}, not {self.weight_coding!r}")
        return TOOLS[self.weight_coding]

    @property
    def recipe(self) -> Preset:
        return preset_of(self.preset) if isinstance(self.preset, str) else self.preset


@dataclass(frozen=True)
class EncodedSet:
    """A base, decoded, and the files of the signals in order."""

    base: Field
    encodings: tuple[Encoding, ...]


@dataclass(frozen=True)
class Shifts:
    """How numbers move biases: bias of tensor t = that of the base + columns of t times the numbers of t.

    Attributes:
        tensors: the biases, in table order.
        columns: float32 (length of the bias, numbers), one for each.
    """

    tensors: tuple[Tensor, ...]
    columns: tuple[Values, ...]

    @property
    def n_numbers(self) -> int:
        return sum(columns.shape[1] for columns in self.columns)

    def split(self, numbers: Values) -> tuple[Values, ...]:
        """Numbers (n_numbers,) as one array for each tensor."""
        return torch.split(numbers, [columns.shape[1] for columns in self.columns])

    def biases(self, module: FieldModule, numbers: Values) -> dict[str, Values]:
        """The shifted biases by tensor name, for numbers (n_numbers,)."""
        parts = zip(self.tensors, self.columns, self.split(numbers), strict=True)
        return {t.name: module.get_parameter(t.name) + columns @ part for t, columns, part in parts}

    def rates(self, network: Network) -> Values:
        """The learning rate of every number: float32 (n_numbers,)."""
        rates = tensor_rates(network, NUMBERS_RATE)
        parts = zip(self.tensors, self.columns, strict=True)
        return torch.cat([torch.full((c.shape[1],), rates[t.name] / _reach(c)) for t, c in parts])


def _reach(columns: Values) -> float:
    """How far a bias moves when all its numbers move by 1, in random directions."""
    return math.sqrt(float((columns**2).sum(1).mean()))


def shifts_of(network: Network, tool: Tool, n_atoms: int, seed: int, device: torch.device) -> Shifts:
    """The shifts of all biases but those of the last layer and of layers with tool RAW.

    Raises:
        UsageError: there are none.
    """
    last = len(network.layers) - 1
    tensors = tuple(
        t for t in network.tensors if t.is_bias and t.ordinal // 2 != last and t.record.tool is not Tool.RAW
    )
    if not tensors:
        raise error("USAGE", "the base has no biases that could be shifted")
    columns = [
        torch.eye(t.size, device=device) if tool is Tool.SCALAR else _atoms(t, min(n_atoms, t.size), seed, device)
        for t in tensors
    ]
    return Shifts(tensors, tuple(columns))


def _atoms(tensor: Tensor, n_atoms: int, seed: int, device: torch.device) -> Values:
    return seeded_dictionary(LAW, tensor.size, n_atoms, tensor.ordinal, seed, dtype=torch.float32, device=device)


def encode_set(
    pictures: Sequence[Samples | Signal],
    way: Modulation = Modulation(),
    *,
    base_bytes: int | None = None,
    seed: int = 0,
    on_progress: StageProgress | None = None,
) -> EncodedSet:
    """Train a base for several signals and write each of them as a small file that names it.

    Args:
        pictures: as for ``encode``, at least one; all with the same number of channels.
        way: how the files are made.
        base_bytes: about the size of the base; None for the size at which one file of all signals would be good.
        seed: of everything random.
        on_progress: called with (stage, done, in all, PSNR in dB).

    Raises:
        UsageError: the arguments do not fit, or a target cannot be reached.
    """
    signals = [_signal(picture) for picture in pictures]
    if len({(signal.coords.shape[1], signal.channels, signal.value_range) for signal in signals}) != 1:
        raise error("USAGE", "a set needs signals with the same number of axes and channels")
    recipe, device = way.recipe, device_of(way.device)
    n_samples = sum(signal.n_samples for signal in signals)
    size = base_bytes or int(DEFAULT_BITS_PER_SAMPLE * n_samples / 8)
    with one_thread_if_small(n_samples):
        network = network_for_bytes(signals[0].coords.shape[1], signals[0].channels, size, n_samples, recipe.omegas[0])
        module = FieldModule(network, seed=seed).to(device)
        shifts = shifts_of(network, way.tool, way.n_atoms, seed, device)
        numbers = _trained(module, shifts, signals, recipe, on_progress)
        _centre(module, shifts, numbers)
        base = _write_base(module, shifts, signals, numbers, recipe)
        encodings = []
        for index, (signal, own) in enumerate(zip(signals, numbers, strict=True)):
            encodings.append(_encode_on(base, signal, own, way))
            if on_progress:
                on_progress("quantise", index + 1, len(signals), encodings[-1].psnr)
    return EncodedSet(base, tuple(encodings))


def encode_on_base(picture: Samples | Signal, base: Field, way: Modulation = Modulation()) -> Encoding:
    """Write one more signal as a small file on a base that is there.

    Args:
        picture: as for ``encode``.
        base: the field, with all its passes.
        way: how the file is made.

    Raises:
        UsageError: the signal does not fit the base, or the target cannot be reached.
    """
    signal, network = _signal(picture), base.header.network
    if (signal.coords.shape[1], signal.channels) != (network.in_dims, network.out_channels):
        raise error("USAGE", f"the base has {network.in_dims} axes and {network.out_channels} channels")
    if base.header.base_digest is not None or base.n_passes < base.header.n_passes:
        raise error("USAGE", "a base has all its passes and no base itself")
    if network.latents is not None:
        raise error("USAGE", "a base has no latent grid")
    with one_thread_if_small(signal.n_samples):
        return _encode_on(base, signal, None, way)


def _signal(picture: Samples | Signal) -> Signal:
    return picture if isinstance(picture, Signal) else image_signal(picture)


# --- training --------------------------------------------------------------------------------------------------------


def _trained(
    module: FieldModule,
    shifts: Shifts,
    signals: Sequence[Signal],
    preset: Preset,
    on_progress: StageProgress | None,
) -> Values:
    """Train the network, in place, and the numbers of all signals together: (signals, n_numbers)."""
    numbers = torch.zeros(len(signals), shifts.n_numbers, device=shifts.columns[0].device)
    rates = tensor_rates(module.network, preset.learning_rate)
    groups = [{"params": [module.get_parameter(name)], "lr": rate} for name, rate in rates.items()]

    def report(step: int, loss: float) -> None:
        if on_progress:
            scale = VALUE_RANGES[signals[0].value_range][0]
            on_progress("fit", step, preset.n_steps, -10.0 * math.log10(max(loss, 1e-12) / scale**2))

    return _descend(module, shifts, numbers, signals, preset.n_steps, groups=groups, report=report)


def _fitted(
    module: FieldModule, shifts: Shifts, start: Values, signal: Signal, n_steps: int, steps: Values | None = None
) -> Values:
    """The numbers of one signal for a network that stays; with ``steps``, of rounding in the loop."""
    return _descend(module, shifts, start[None], [signal], n_steps, steps=steps)[0]


def _descend(
    module: FieldModule,
    shifts: Shifts,
    numbers: Values,
    signals: Sequence[Signal],
    n_steps: int,
    *,
    groups: Sequence[dict[str, object]] = (),
    steps: Values | None = None,
    report: Callable[[int, float], None] | None = None,
) -> Values:
    """Adam on the numbers (signals, n_numbers), each with its own rate, and on further parameter groups."""
    # Numbers in units of their rates: one rate for all of them.
    unit = shifts.rates(module.network).to(numbers.device) / NUMBERS_RATE
    free = (numbers / unit).requires_grad_()
    optimizer = torch.optim.Adam([*groups, {"params": [free], "lr": NUMBERS_RATE}], betas=ADAM_BETAS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine_share(step, n_steps))

    def run(own: Values, coords: Values) -> Values:
        values: Values = torch.func.functional_call(module, shifts.biases(module, own), (coords,))
        return values

    for step, (coords, values) in zip(range(n_steps), _batches(signals, module.seed, numbers.device), strict=False):
        optimizer.zero_grad(set_to_none=True)
        own = free * unit
        if steps is not None:  # the gradient passes straight through the rounding
            own = own + (torch.round(own / steps) * steps - own).detach()
        loss = torch.nn.functional.mse_loss(torch.vmap(run)(own, coords), values)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if report and (step + 1) % PROGRESS_INTERVAL == 0:
            report(step + 1, loss.item())
    return (free * unit).detach()


def _batches(signals: Sequence[Signal], seed: int, device: torch.device) -> Iterator[tuple[Values, Values]]:
    """Random samples of every signal without end: (signals, n, in_dims) and (signals, n, channels)."""
    n = min(BATCH_SAMPLES, *(signal.n_samples for signal in signals))
    coords = [torch.tensor(signal.coords, device=device) for signal in signals]
    values = [torch.tensor(signal.values, device=device) for signal in signals]
    generator = torch.Generator().manual_seed(seed & (2**63 - 1))
    while True:
        chosen = [torch.randint(len(c), (n,), generator=generator).to(device) for c in coords]
        yield (
            torch.stack([c[i] for c, i in zip(coords, chosen, strict=True)]),
            torch.stack([v[i] for v, i in zip(values, chosen, strict=True)]),
        )


@torch.no_grad()
def _centre(module: FieldModule, shifts: Shifts, numbers: Values) -> None:
    """Move the mean of the shifts into the base, in place."""
    mean = numbers.mean(0)
    for name, bias in shifts.biases(module, mean).items():
        module.get_parameter(name).copy_(bias)
    numbers -= mean


# --- base ------------------------------------------------------------------------------------------------------------


def _write_base(
    module: FieldModule,
    shifts: Shifts,
    signals: Sequence[Signal],
    numbers: Values,
    preset: Preset,
) -> Field:
    """The base as a file: a field of its own, the middle of the set, with steps for biases that files refine."""
    device = numbers.device
    own = outputs(module, signals[0].coords, device=device)
    signal = replace(signals[0], values=own, samples=to_uint8(signals[0].value_range, own))

    def size_of(network: Network, codes: Sequence[TensorCode], seed: int) -> int:
        return len(build(header_of(network, signal, seed), codes, Coding.RANS))

    quick = replace(preset, n_refits=0, n_refit_trials=0)
    chosen = quantise_module(Job(signal, quick, module.seed, device, size_of, None), module, Target(None, BASE_PSNR))
    if chosen is None:
        raise error("USAGE", f"the base did not keep {BASE_PSNR:g} dB of itself")
    psnrs = [_psnr(module, shifts, own, signal) for own, signal in zip(numbers, signals, strict=True)]
    steps = _bias_steps(module, shifts, signals[0], float(np.mean(psnrs)), device)
    arrays = module.arrays()
    codes = [
        _coarse(code, arrays[code.tensor.name], steps[code.tensor.ordinal]) if code.tensor.ordinal in steps else code
        for code in chosen.codes
    ]
    network, written = without_unused_prior(chosen.network, codes)
    return sinrfmt.loads(build(header_of(network, signal, module.seed), written, Coding.RANS))


def _coarse(code: TensorCode, array: NDArray[np.float32], step: int) -> TensorCode:
    values = np.rint(array.astype(np.float64) / float(step_value(step))).astype(np.int32)
    return TensorCode(code.tensor, values, step)


def _bias_steps(
    module: FieldModule, shifts: Shifts, signal: Signal, psnr: float, device: torch.device
) -> dict[int, int]:
    """The step code of every shifted bias, by ordinal: coarser by START_BITS than its numbers are expected to need."""
    diagonal = curvature_of(
        module, signal.coords, n_samples=CURVATURE_SAMPLES, block_limit=0, seed=module.seed, device=device
    ).diagonal
    starts = dict(zip((t.ordinal for t in module.network.tensors), _starts(module.network), strict=True))
    knob = start_knob(psnr, DEFAULT_DROP, VALUE_RANGES[signal.value_range][0], shifts.n_numbers)
    steps = {}
    for tensor, columns in zip(shifts.tensors, shifts.columns, strict=True):
        own = diagonal[starts[tensor.ordinal] : starts[tensor.ordinal] + tensor.size]
        curvature = float((columns.cpu().numpy().astype(np.float64) ** 2 * own[:, None]).sum(0).mean())
        steps[tensor.ordinal] = nearest_step_code(knob / math.sqrt(curvature)) + 8 * START_BITS
    return steps


def _starts(network: Network) -> list[int]:
    """Where every tensor starts in the parameter vector."""
    return [0, *np.cumsum([tensor.size for tensor in network.tensors]).tolist()[:-1]]


# --- files of signals ------------------------------------------------------------------------------------------------


def _encode_on(base: Field, signal: Signal, start: Values | None, way: Modulation) -> Encoding:
    """Fit the numbers of a signal to a base as it decodes, and round them for the target."""
    network, seed, preset = base.header.network, base.header.seed or 0, way.recipe
    device = device_of(way.device)
    module = FieldModule(network, base.state_dict, seed=seed).to(device)
    module.requires_grad_(False)
    shifts = shifts_of(network, way.tool, way.n_atoms, seed, device)
    first = torch.zeros(shifts.n_numbers, device=device) if start is None else start
    numbers = _fitted(module, shifts, first, signal, max(1, round(FIT_SHARE * preset.n_steps)))
    float_psnr = _psnr(module, shifts, numbers, signal)
    min_psnr = float_psnr - DEFAULT_DROP if way.min_psnr is None else way.min_psnr
    header = _relative_header(base, signal, way.tool)
    n_steps = max(1, round(ROUND_SHARE * preset.n_steps))
    best: Encoding | None = None
    for n_bits in REFINE_BITS[way.tool]:
        if min(state.lowest_step for state in base.states) < 8 * n_bits:
            break
        steps = _steps(base, shifts, n_bits, device)
        tuned = _fitted(module, shifts, numbers, signal, n_steps, steps)
        rounded = max(
            (torch.round(own / steps) for own in (numbers, tuned)),
            key=lambda levels: _psnr(module, shifts, levels * steps, signal),
        )
        data = _file(base, header, shifts, rounded, n_bits)
        if way.max_bytes is not None and len(data) > way.max_bytes:
            break
        field = sinrfmt.loads(data, base=base)
        psnr = psnr_of(signal, field.sample(signal.coords))
        if best is None or psnr > best.psnr:
            best = Encoding(field, psnr, float_psnr, _arrays(module, shifts, numbers))
        if way.max_bytes is None and psnr >= min_psnr:
            return best
    if best is None:
        raise error("USAGE", f"{way.max_bytes} bytes are too few for a file on this base")
    if way.min_psnr is not None:
        raise error("USAGE", f"{way.min_psnr:g} dB were not reached: without rounding there are {float_psnr:.2f} dB")
    return best


@torch.no_grad()
def _psnr(module: FieldModule, shifts: Shifts, numbers: Values, signal: Signal) -> float:
    shifted = FieldModule(module.network, _arrays(module, shifts, numbers), seed=module.seed).to(numbers.device)
    return psnr_of(signal, outputs(shifted, signal.coords, device=numbers.device))


@torch.no_grad()
def _arrays(module: FieldModule, shifts: Shifts, numbers: Values) -> dict[str, NDArray[np.float32]]:
    """The tensors of the network of one signal, float32 by name."""
    shifted = {name: bias.cpu().numpy() for name, bias in shifts.biases(module, numbers).items()}
    return module.arrays() | shifted


def _relative_header(base: Field, signal: Signal, tool: Tool) -> Header:
    def with_tool(record: LayerRecord) -> LayerRecord:
        # Equal tools make equal layers, which are one record; what is not shifted codes nothing with its tool.
        return replace(record, tool=record.tool if record.tool is Tool.RAW else tool, prior=False, row_steps=False)

    network = base.header.network.with_layer_records(with_tool)
    return replace(header_of(network, signal, base.header.seed or 0), base_digest=base.state_digest)


def _steps(base: Field, shifts: Shifts, n_bits: int, device: torch.device) -> Values:
    """The step of every number after ``n_bits`` more bits: float32 (n_numbers,)."""
    codes = {state.tensor.ordinal: state.step for state in base.states}
    parts = zip(shifts.tensors, shifts.columns, strict=True)
    steps = [torch.full((c.shape[1],), float(step_value(codes[t.ordinal] - 8 * n_bits))) for t, c in parts]
    return torch.cat(steps).to(device)


def _file(base: Field, header: Header, shifts: Shifts, rounded: Values, n_bits: int) -> bytes:
    """The bytes of a file that adds rounded numbers to a base; all lists of numbers share one model."""
    levels = rounded.cpu().numpy().astype(np.int32)
    pieces = [piece.numpy() for piece in shifts.split(torch.from_numpy(levels))]
    model = fit_model(levels)[0]
    own = {tensor.ordinal: tensor for tensor in header.tensors}
    codes = [
        _code(own[tensor.ordinal], piece, n_bits, parameters=model)
        for tensor, piece in zip(shifts.tensors, pieces, strict=True)
        if piece.any()
    ]
    before = states_from(Base(base.header, base.states), header)
    return build(header, codes, Coding.RANS, before)


def _code(tensor: Tensor, levels: NDArray[np.int32], n_bits: int, **fields: object) -> TensorCode:
    if not tensor.is_sparse:
        return TensorCode(tensor, levels, refine_bits=n_bits, **fields)  # type: ignore[arg-type]
    atoms = np.arange(levels.size, dtype=np.int32)[None]
    code = SparseCode(Vectors.COLUMNS, levels.size, atoms, levels[None])
    return TensorCode(tensor, refine_bits=n_bits, sparse=code, **fields)  # type: ignore[arg-type]
