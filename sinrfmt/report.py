"""What a file holds, as one plain dictionary: the object behind ``--json``.

Keys are the words of the specification. Bits per weight are those of the coded values; framing, HEAD and sub-headers
are ``overhead_bytes``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
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
from sinrfmt.field import Field
from sinrfmt.head import Header
from sinrfmt.network import (
    FourierEncoding,
    GridEncoding,
    InputEncoding,
    InputRecord,
    Layer,
    Network,
    PyramidEncoding,
    SeededFourierEncoding,
    TensorRole,
)
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
        "file_bytes": len(field.data),
        "overhead_bytes": overhead_bytes(field.data),
        "weights_sha256": field.weights_sha256,
        "acc_crc": [f"{crc:08x}" for crc in field.acc_crc],
        "passes": field.n_passes,
        "pass_ends": list(field.pass_ends),
        "n_passes": field.header.n_passes,
        "parameters": field.header.network.n_parameters,
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
        "base_digest": None if header.base_digest is None else header.base_digest.hex(),
        "state_digest": field.state_digest.hex(),
        "input_encoding": _input_encoding(network.input_encoding),
        "inputs": _inputs(network),
        "quality": None if header.quality is None else list(header.quality),
        "tensors": [{"name": c.name, "pass": c.index, "bits": round(c.bits, 1)} for c in coded_tensors(field)],
        "chunks": [_chunk(chunk, header) for chunk in _chunks(field.data)],
        "meta": field.meta,
    }


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
    found: list[dict[str, Any]] = []
    index = 0
    for step in network.steps:
        if isinstance(step, InputRecord):
            encoding = _input_encoding(step.encoding)
            found.append({"before_layer": index, "first": step.first, "count": step.count, "encoding": encoding})
        else:
            index += 1
    return found


def _layers(field: Field, coded: "_Coded") -> list[dict[str, Any]]:
    sizes = {tensor.ordinal: tensor.size for tensor in field.header.tensors}
    return [_layer(layer, sizes, coded) for layer in field.header.network.layers]


def _layer(layer: Layer, sizes: dict[int, int], coded: "_Coded") -> dict[str, Any]:
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
    """The levels of a latent grid, coarse to fine."""
    latents = [state for state in field.states if state.tensor.role is TensorRole.LATENT]
    return [_level(index, state, coded) for index, state in enumerate(latents)]


def _level(index: int, state: TensorState, coded: "_Coded") -> dict[str, Any]:
    ordinal = state.tensor.ordinal
    return {
        "level": index,
        "shape": list(state.tensor.shape),
        "nonzero": int(np.count_nonzero(state.acc)),
        "pass": coded.passes.get(ordinal),
        "form": coded.forms.get(ordinal),
        "bits": round(coded.bits[ordinal], 1),
        "bits_per_latent": round(coded.bits[ordinal] / state.tensor.size, 4),
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
    latents: set[int] = set()
    chunks = (chunk for chunk in _chunks(field.data) if chunk.kind is ChunkKind.PASS)
    for index, chunk in zip(range(field.n_passes), chunks, strict=False):
        pass_header = parse_pass_header(chunk, field.header)
        known = None if index == 0 and field.header.base_digest is None else latents
        entries = list(payload.coded_bits(chunk.payload, pass_header, field.header, field.states, known))
        latents |= {entry.tensor.ordinal for entry, _ in entries if entry.tensor.role is TensorRole.LATENT}
        yield from ((entry, n_bits, index) for entry, n_bits in entries)


@dataclass(frozen=True)
class _Coded:
    """What the passes decoded so far code, by tensor ordinal.

    ``bits`` over all of them; ``sparse`` of pass 0; ``passes`` and ``forms`` of the levels of latents.
    """

    bits: dict[int, float]
    sparse: dict[int, SparseTable]
    passes: dict[int, int]
    forms: dict[int, str]

    @classmethod
    def of(cls, field: Field) -> "_Coded":
        coded = cls({tensor.ordinal: 0.0 for tensor in field.header.tensors}, {}, {}, {})
        for entry, n_bits, index in _coded_entries(field):
            coded._add(entry, n_bits, index)
        return coded

    def _add(self, entry: Entry, n_bits: float, index: int) -> None:
        ordinal = entry.tensor.ordinal
        self.bits[ordinal] += n_bits
        if index == 0 and entry.sparse is not None:
            self.sparse[ordinal] = entry.sparse
        if entry.tensor.role is TensorRole.LATENT:
            self.passes[ordinal] = index
            self.forms[ordinal] = " ".join(parameters.form.name for parameters in entry.latents) or "packed"
