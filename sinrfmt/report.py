"""What a file holds, as one plain dictionary: the object behind ``--json``.

Keys are the words of the specification. Bits per weight are those of the coded values; framing, HEAD and sub-headers
are ``overhead_bytes``.
"""

from collections.abc import Iterator
from typing import Any

from sinrfmt import payload
from sinrfmt.container import (
    PASS_HEADER_BYTES,
    Chunk,
    ChunkReader,
    parse_pass_header,
)
from sinrfmt.field import Field
from sinrfmt.head import Header
from sinrfmt.network import FourierEncoding, InputEncoding, Layer, SeededFourierEncoding
from sinrfmt.registry import KINDS_WITH_OMEGA, VERSION_MAJOR, ChunkKind
from sinrfmt.sparse import Vectors
from sinrfmt.tables import SparseTable

SCHEMA = 1


def overhead_bytes(data: bytes) -> int:
    """Bytes of a valid file that are not table or body of a PASS chunk (format overhead), by walking its chunks."""
    passes = (chunk for chunk in _chunks(data) if chunk.kind is ChunkKind.PASS)
    return len(data) - sum(len(chunk.payload) - PASS_HEADER_BYTES for chunk in passes)


def summary(field: Field) -> dict[str, Any]:
    """The short form: what ``encode`` and ``verify`` report."""
    return {
        "schema": SCHEMA,
        "file_bytes": len(field.data),
        "overhead_bytes": overhead_bytes(field.data),
        "weights_sha256": field.weights_sha256,
        "acc_crc": [f"{crc:08x}" for crc in field.acc_crc],
        "passes": field.n_passes,
        "n_passes": field.header.n_passes,
        "parameters": field.header.network.n_parameters,
        "layers": _layers(field),
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
        "input_encoding": _input_encoding(network.input_encoding),
        "quality": None if header.quality is None else list(header.quality),
        "chunks": [_chunk(chunk, header) for chunk in _chunks(field.data)],
        "meta": field.meta,
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
    return None


def _layers(field: Field) -> list[dict[str, Any]]:
    bits, tables = _coded_tensors(field)
    return [_layer(index, layer, bits, tables) for index, layer in enumerate(field.header.network.layers)]


def _layer(index: int, layer: Layer, bits: dict[int, float], tables: dict[int, SparseTable]) -> dict[str, Any]:
    n_weights, n_biases = layer.n_in * layer.n_out, layer.n_out if layer.record.bias else 0
    entry = {
        "kind": layer.kind.name,
        "inputs": layer.n_in,
        "outputs": layer.n_out,
        "omega": layer.omega if layer.kind in KINDS_WITH_OMEGA else None,
        "tool": layer.record.tool.name,
        "prior": layer.record.prior,
        "bits_per_weight": round(bits[2 * index] / n_weights, 3),
        "bits_per_bias": round(bits[2 * index + 1] / n_biases, 3) if n_biases else None,
    }
    return entry | _sparse(tables[2 * index]) if 2 * index in tables else entry


def _sparse(table: SparseTable) -> dict[str, Any]:
    return {
        "vectors": Vectors(table.vectors).name,
        "n_atoms": table.n_atoms,
        "n_nonzero": table.n_nonzero,
        "numbers_per_vector": 2 * table.n_nonzero,
    }


def _coded_tensors(field: Field) -> tuple[dict[int, float], dict[int, SparseTable]]:
    """By ordinal: coded bits of every tensor over all passes decoded; fields of the sparse codes of pass 0."""
    bits = {tensor.ordinal: 0.0 for tensor in field.header.network.tensors}
    tables: dict[int, SparseTable] = {}
    coded: set[int] | None = None
    for chunk in _chunks(field.data):
        if chunk.kind is ChunkKind.PASS:
            pass_header = parse_pass_header(chunk, field.header)
            entries = list(payload.coded_bits(chunk.payload, pass_header, field.header, field.states, coded))
            for entry, n_bits in entries:
                bits[entry.tensor.ordinal] += n_bits
                if coded is None and entry.sparse is not None:
                    tables[entry.tensor.ordinal] = entry.sparse
            coded = (coded or set()) | {entry.tensor.ordinal for entry, _ in entries}
    return bits, tables
