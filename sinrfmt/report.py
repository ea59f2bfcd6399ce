"""What a file holds, as one plain dictionary: the object behind ``--json``.

Keys are the words of the specification. Bits per weight are those of the coded values; framing, HEAD and sub-headers
are ``overhead_bytes``.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from sinrfmt import payload
from sinrfmt.container import (
    PASS_HEADER_BYTES,
    Chunk,
    ChunkReader,
    parse_pass_header,
)
from sinrfmt.errors import SinrError
from sinrfmt.field import Field, part_states
from sinrfmt.head import Header
from sinrfmt.network import (
    GROWTH_ORDINAL,
    FourierEncoding,
    GridEncoding,
    InputEncoding,
    InputRecord,
    Layer,
    MultiplyRecord,
    Network,
    PyramidEncoding,
    SeededFourierEncoding,
    Step,
    TensorRole,
)
from sinrfmt.parts import SHARED_PART, Parts
from sinrfmt.payload import States
from sinrfmt.previews import Preview
from sinrfmt.registry import KINDS_WITH_OMEGA, VERSION_MAJOR, ChunkKind, RecordKind
from sinrfmt.sparse import Vectors
from sinrfmt.tables import Entry, SparseTable
from sinrfmt.weights import TensorState

SCHEMA = 1
GRID_FIELDS = (
    *("n_levels", "n_axes", "latent_dim", "feature_dim", "log2_table_size"),
    *("summed", "append_input", "decoder_per_level"),
)
PYRAMID_FIELDS = ("n_levels", "axes", "filter_numbers", "shared_filter", "context_width", "context_hidden")


def overhead_bytes(data: bytes) -> int:
    """Bytes of a valid file that are not table or body of a PASS chunk (format overhead), by walking its chunks."""
    passes = (chunk for chunk in _chunks(data) if chunk.kind is ChunkKind.PASS)
    return len(data) - sum(len(chunk.payload) - PASS_HEADER_BYTES for chunk in passes)


def summary(field: Field) -> dict[str, Any]:
    """The short form: what ``encode`` and ``verify`` report."""
    coded = _Coded.of(field)
    return {
        "schema": SCHEMA,
        "modality": field.header.modality.name,
        "file_bytes": len(field.data),
        "overhead_bytes": overhead_bytes(field.data),
        "weights_sha256": field.weights_sha256,
        "acc_crc": [f"{crc:08x}" for crc in field.acc_crc],
        "passes": field.n_passes,
        "pass_ends": list(field.pass_ends),
        "n_passes": field.header.n_passes,
        "parameters": field.header.n_parameters,
        "layers": _layers(field, coded),
        "levels": _levels(field, coded),
        "notes": list(field.notes),
    }


def describe(field: Field) -> dict[str, Any]:
    """The long form: what ``inspect`` reports."""
    header = field.header
    network = header.network
    return summary(field) | {
        "version": f"{VERSION_MAJOR}.{header.version_minor}",
        "profile": header.profile.name,
        "level": header.level.id,
        "modality": header.modality.name,
        "grid": list(header.grid),
        "coords": header.coords.name,
        "values": header.values.name,
        "box": None if header.box is None else [list(axis) for axis in header.box],
        "in_dims": network.in_dims,
        "out_channels": network.out_channels,
        "seed": header.seed,
        "parts": None if header.parts is None else _parts(header.parts),
        "base_digest": None if header.base_digest is None else header.base_digest.hex(),
        "state_digest": field.state_digest.hex(),
        "input_encoding": _input_encoding(network.input_encoding),
        "inputs": _inputs(network),
        "multiplies": _multiplies(network),
        "quality": None if header.quality is None else list(header.quality),
        "tensors": [{"name": c.name, "pass": c.index, "bits": round(c.bits, 1)} for c in coded_tensors(field)],
        "chunks": [_chunk(chunk, header) for chunk in _chunks(field.data)],
        "meta": field.meta,
        "previews": [_preview(preview) for preview in field.previews.files],
    }


def _preview(preview: Preview) -> dict[str, Any]:
    return {
        "payload_bytes": len(preview.payload),
        "grid": list(preview.header.grid),
        "parameters": preview.header.n_parameters,
        "quality": None if preview.header.quality is None else list(preview.header.quality),
    }


def _parts(parts: Parts) -> dict[str, Any]:
    return {
        "count": parts.count,
        "split": list(parts.split),
        "overlap": list(parts.overlap),
        "shared": parts.shared,
    }


def _of_chunk(field: Field, part: int | None) -> tuple[Header, States]:
    """By what a PASS chunk is coded, and the tensors that it needs."""
    if part is None:
        return field.header, field.states
    own = field.header.of_chunk(part)
    if part == SHARED_PART:
        return own, field.states[: len(own.tensors)]
    return own, part_states(field.header, field.states, part)


def error_object(failure: BaseException) -> dict[str, Any]:
    """The JSON object of a failure (DEC-2); of one that is not ours the class is ``internal`` and the code null."""
    if not isinstance(failure, SinrError):
        failure_class = type(failure).__name__
        return {"code": None, "name": failure_class, "class": SinrError.error_class, "offset": None, "path": ""} | {
            "message": str(failure)
        }
    return {
        "code": failure.code,
        "name": failure.name,
        "class": failure.error_class,
        "offset": failure.offset,
        "path": failure.path,
        "message": failure.message,
    }


def _chunks(data: bytes) -> Iterator[Chunk]:
    """Chunks of bytes that were decoded before."""
    reader = ChunkReader()
    reader.feed(data)
    while (chunk := reader.next_chunk(passes_complete=False)) is not None:
        yield chunk


def _chunk(chunk: Chunk, header: Header) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": chunk.type,
        "name": chunk.kind.name if chunk.kind is not None else "unknown",
        "offset": chunk.offset,
        "length": len(chunk.payload),
    }
    if chunk.kind is ChunkKind.PASS:
        pass_header = parse_pass_header(chunk, header)
        entry |= {"pass": pass_header.index, "coding": pass_header.coding.name, "log2_lanes": pass_header.log2_lanes}
    return entry


def _input_encoding(encoding: InputEncoding | None) -> dict[str, Any] | None:
    if isinstance(encoding, FourierEncoding):
        return {"kind": "FOURIER", "octaves": encoding.octaves, "base": encoding.base} | {
            "include_input": encoding.include_input,
            "times_pi": encoding.times_pi,
        }
    if isinstance(encoding, SeededFourierEncoding):
        return {"kind": "FOURIER_SEEDED", "n_features": encoding.n_features, "scale": encoding.scale}
    if isinstance(encoding, GridEncoding):
        return {"kind": "GRID"} | {name: getattr(encoding, name) for name in GRID_FIELDS}
    if isinstance(encoding, PyramidEncoding):
        fields = PYRAMID_FIELDS if encoding.has_context else PYRAMID_FIELDS[:-2]
        return {"kind": "PYRAMID", "context": encoding.context.name} | {n: getattr(encoding, n) for n in fields}
    return None


def _inputs(network: Network) -> list[dict[str, Any]]:
    """The INPUT records, each with the index of the layer that follows it."""
    return [
        {"before_layer": index, "first": step.first, "count": step.count, "encoding": _input_encoding(step.encoding)}
        for index, step in _before_layers(network)
        if isinstance(step, InputRecord)
    ]


def _multiplies(network: Network) -> list[dict[str, Any]]:
    """The MULTIPLY records, each with the index of the layer that follows it and that of the layer it multiplies by."""
    steps = _before_layers(network)
    return [{"before_layer": index, "layer": step.layer} for index, step in steps if isinstance(step, MultiplyRecord)]


def _before_layers(network: Network) -> Iterator[tuple[int, Step]]:
    """Every step with the number of layers before it."""
    index = 0
    for step in network.steps:
        yield index, step
        index += isinstance(step, Layer)


def _layers(field: Field, coded: "_Coded") -> list[dict[str, Any]]:
    """The layers as they are after the last pass, over all blocks of a network that grows, and over all parts."""
    sizes: Counter[int] = Counter()
    for state in field.states:
        sizes[state.tensor.ordinal % GROWTH_ORDINAL] += state.tensor.size
    bits = dict.fromkeys(sizes, 0.0)
    for ordinal, n_bits in coded.bits.items():
        bits[ordinal % GROWTH_ORDINAL] += n_bits
    return [_layer(layer, sizes, replace(coded, bits=bits)) for layer in field.header.network.layers]


def _layer(layer: Layer, sizes: Counter[int], coded: "_Coded") -> dict[str, Any]:
    weight, bias = 2 * layer.index, 2 * layer.index + 1
    entry: dict[str, Any] = {
        "kind": layer.kind.name,
        "inputs": layer.n_in,
        "outputs": layer.n_out,
        "omega": layer.omega if layer.kind in KINDS_WITH_OMEGA else None,
        "scale": layer.record.scale if layer.kind is RecordKind.GABOR else None,
        "is_output": layer.record.is_output,
        "tool": layer.record.tool.name,
        "prior": layer.record.prior,
        "bits_per_weight": round(coded.bits[weight] / sizes[weight], 3),
        "bits_per_bias": round(coded.bits[bias] / sizes[bias], 3) if bias in sizes else None,
    }
    if weight in coded.sparse:
        entry |= _sparse(coded.sparse[weight])
    if bias in coded.sparse:
        entry["bias"] = _sparse(coded.sparse[bias])
    return entry


def _levels(field: Field, coded: "_Coded") -> list[dict[str, Any]]:
    """The levels of a latent grid, coarse to fine, over all parts; the shape is that of the first."""
    levels: dict[int, list[TensorState]] = {}
    for state in field.states:
        if state.tensor.role is TensorRole.LATENT:
            levels.setdefault(state.tensor.ordinal, []).append(state)
    return [_level(index, states, coded) for index, states in enumerate(levels.values())]


def _level(index: int, states: list[TensorState], coded: "_Coded") -> dict[str, Any]:
    ordinal = states[0].tensor.ordinal
    return {
        "level": index,
        "shape": list(states[0].tensor.shape),
        "nonzero": sum(int(np.count_nonzero(state.acc)) for state in states),
        "pass": coded.passes.get(ordinal),
        "form": coded.forms.get(ordinal),
        "bits": round(coded.bits[ordinal], 1),
        "bits_per_latent": round(coded.bits[ordinal] / sum(state.tensor.size for state in states), 4),
    }


def _sparse(table: SparseTable) -> dict[str, Any]:
    return {
        "vectors": Vectors(table.vectors).name,
        "n_atoms": table.n_atoms,
        "n_nonzero": table.n_nonzero,
        "numbers_per_vector": 2 * table.n_nonzero,
    }


@dataclass(frozen=True)
class CodedTensor:
    """Bits that a pass codes a tensor with: its name, the number of the pass, and the bits of the coded values."""

    name: str
    index: int
    bits: float


def coded_tensors(field: Field) -> list[CodedTensor]:
    """Where the bits of the passes decoded go, pass by pass and in table order."""
    return [CodedTensor(entry.tensor.name, index, n_bits) for entry, n_bits, index in _coded_entries(field)]


def _coded_entries(field: Field) -> Iterator[tuple[Entry, float, int]]:
    """(entry, bits of the coded values, pass) of all that the passes decoded code."""
    header = field.header
    known: dict[int | None, set[int]] = {}  # ordinals of the tensors that earlier passes coded, by part
    if header.base_digest is not None:
        known[None] = {tensor.ordinal for tensor in header.tensors}
    chunks = (chunk for chunk in _chunks(field.data) if chunk.kind is ChunkKind.PASS)
    for chunk in islice(chunks, len(field.acc_crc)):
        pass_header = parse_pass_header(chunk, header)
        before = known.setdefault(pass_header.part, set())
        own, states = _of_chunk(field, pass_header.part)
        entries = list(payload.coded_bits(chunk.payload, pass_header, own, states, before))
        before.update(entry.tensor.ordinal for entry, _ in entries)
        yield from ((entry, n_bits, pass_header.index) for entry, n_bits in entries)


@dataclass(frozen=True)
class _Coded:
    """What the passes decoded so far code, by tensor ordinal.

    ``bits`` over all of them; ``sparse`` of the pass in which a tensor begins; ``passes``: the first to code a tensor,
    0 for those of a base; ``forms`` of the levels of latents.
    """

    bits: dict[int, float]
    sparse: dict[int, SparseTable]
    passes: dict[int, int]
    forms: dict[int, str]

    @classmethod
    def of(cls, field: Field) -> "_Coded":
        """With parts, those of equal ordinals in all parts together."""
        ordinals = [tensor.ordinal for tensor in field.header.network.tensors]
        begun = ordinals if field.header.base_digest is not None else []
        coded = cls(dict.fromkeys(ordinals, 0.0), {}, dict.fromkeys(begun, 0), {})
        for entry, n_bits, index in _coded_entries(field):
            coded._add(entry, n_bits, index)
        return coded

    def _add(self, entry: Entry, n_bits: float, index: int) -> None:
        ordinal = entry.tensor.ordinal
        self.bits[ordinal] += n_bits
        if index == entry.tensor.begins and entry.sparse is not None:
            self.sparse[ordinal] = entry.sparse
        self.passes.setdefault(ordinal, index)
        if entry.tensor.role is TensorRole.LATENT:
            self.forms[ordinal] = " ".join(parameters.form.name for parameters in entry.latents) or "packed"
