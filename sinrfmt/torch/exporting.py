"""Fields to the files of other tools: state dicts, safetensors, NumPy archives, ONNX; and back into a checkpoint.

A state dict has the tensors' own names (``layers.0.weight``), complex layers as complex64; its architecture is written
as the TOML that :mod:`sinrfmt.torch.importing` takes. With a template, the weights go under the names and in the form
that the program has that wrote the template.
"""

from pathlib import Path

import numpy as np

from sinrfmt.faults import error
from sinrfmt.field import Field
from sinrfmt.head import Header
from sinrfmt.network import FourierEncoding, InputRecord, Layer, MultiplyRecord, SeededFourierEncoding
from sinrfmt.registry import KINDS_WITH_OMEGA, RecordKind
from sinrfmt.torch.architecture import Architecture
from sinrfmt.torch.checkpoints import TORCH_SUFFIXES, WRITERS, Numbers, Tensors, read_tensors, rewrite_torch
from sinrfmt.torch.equivalent import KINDS_WITH_FACTOR
from sinrfmt.torch.mapping import MappedLayer, map_tensors
from sinrfmt.torch.onnx import write_graph

ARCHITECTURE_SUFFIX, GRAPH_SUFFIX = ".toml", ".onnx"
EXPORT_SUFFIXES = (*WRITERS, GRAPH_SUFFIX, ARCHITECTURE_SUFFIX)


def export_field(field: Field, path: Path) -> None:
    """Write a field for other tools; the suffix of ``path`` says how, one of ``EXPORT_SUFFIXES``.

    Raises:
        UsageError: a library that is missing, or something that the kind of file does not have.
    """
    suffix = path.suffix.lower()
    if suffix in (GRAPH_SUFFIX, ARCHITECTURE_SUFFIX) and field.header.network.latents is not None:
        raise error("USAGE", f"latent grids have no {suffix} file; export their tensors instead")
    if suffix == GRAPH_SUFFIX:
        write_graph(path, field.header.network.whole, field.state_dict, field.header.seed)
    elif suffix == ARCHITECTURE_SUFFIX:
        path.write_text(architecture_text(field.header), encoding="utf-8")
    else:
        WRITERS[suffix](path, state_tensors(field))


def export_into(
    field: Field, path: Path, template: Path, architecture: Architecture, *, submodule: str | None = None
) -> None:
    """Write a copy of a checkpoint with the weights of a field in the place of its own.

    Hidden values of a compressed network may be larger or smaller than those of the checkpoint's: what the checkpoint
    computes from them and the field does not, such as an output at a coarser scale, is no longer what it was.

    Args:
        field: the field.
        path: the file to write. A copy of a torch checkpoint as a torch file keeps all that is not a weight.
        template, architecture, submodule: the checkpoint, as for an import.

    Raises:
        UsageError: the checkpoint cannot be read, or holds another network, or cannot be written in this way.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise error("USAGE", f"{path.name}: a template is written as one of {', '.join(WRITERS)}")
    tensors = read_tensors(template)
    filled = into_template(field, architecture, tensors, submodule=submodule)
    if suffix in TORCH_SUFFIXES and template.suffix.lower() in TORCH_SUFFIXES:
        rewrite_torch(template, path, filled)
    else:
        WRITERS[suffix](path, tensors | filled)


# --- state dict ------------------------------------------------------------------------------------------------------


def state_tensors(field: Field) -> Tensors:
    """The tensors by name, those of complex layers as complex64: what an architecture's GABOR layers are read from."""
    tensors: Tensors = dict(field.state_dict)
    follows_gabor = False
    for step in field.header.network.steps:
        if not isinstance(step, Layer):
            follows_gabor = False
            continue
        weight, bias = step.weight_name, step.bias_name
        if step.is_complex:
            tensors |= {name: _unstacked(tensors[name]) for name in (weight, bias) if name in tensors}
        elif follows_gabor and step.kind is not RecordKind.FILTER:
            tensors[weight] = _from_real_part(tensors[weight])
        if not step.record.is_output:
            follows_gabor = step.kind is RecordKind.GABOR
    return tensors


def _unstacked(array: Numbers) -> Numbers:
    """Real parts followed by imaginary ones, as complex numbers."""
    real, imaginary = np.split(array.real, 2)
    return (real + 1j * imaginary).astype(np.complex64)


def _from_real_part(weight: Numbers) -> Numbers:
    """The complex weights of which a layer takes the real part."""
    real, imaginary = np.split(weight.real, 2, axis=1)
    return (real - 1j * imaginary).astype(np.complex64)


# --- architecture ----------------------------------------------------------------------------------------------------


def architecture_text(header: Header) -> str:
    """The TOML with which an exported state dict is imported again.

    Raises:
        UsageError: seeded Fourier features, which no checkpoint of others has.
    """
    network = header.network
    if isinstance(network.input_encoding, SeededFourierEncoding):
        raise error("USAGE", "seeded Fourier features have no architecture file; export to .onnx instead")
    lines = [f'modality = "{header.modality.name}"', f'coords = "{header.coords.name}"']
    lines.append(f'values = "{header.values.name}"')
    if header.box is not None:
        lines.append(f"box = {[list(axis) for axis in header.box]}")
    if network.input_encoding is not None:
        assert isinstance(network.input_encoding, FourierEncoding)
        lines += _input_lines(InputRecord(0, network.in_dims, network.input_encoding))
    for step in network.steps:
        if isinstance(step, InputRecord):
            lines += _input_lines(step)
        elif isinstance(step, MultiplyRecord):
            lines += ["", "[[records]]", 'kind = "MULTIPLY"', f'layer = "layers.{step.layer}"']
        else:
            lines += _layer_lines(step)
    return "\n".join(lines) + "\n"


def _input_lines(record: InputRecord) -> list[str]:
    lines = ["", "[[records]]", 'kind = "INPUT"', f"axes = {list(range(record.first, record.first + record.count))}"]
    if record.encoding is None:
        return [*lines, "encoded = false"]
    encoding = record.encoding
    flags = (("include_input", encoding.include_input), ("times_pi", encoding.times_pi))
    return [*lines, f"base = {encoding.base}", *(f"{name} = {str(value).lower()}" for name, value in flags)]


def _layer_lines(layer: Layer) -> list[str]:
    lines = ["", "[[records]]", f'kind = "{"OUTPUT" if layer.record.is_output else layer.kind.name}"']
    if layer.record.is_output:
        lines.append(f'activation = "{layer.kind.name}"')
    if layer.kind in KINDS_WITH_OMEGA:
        lines.append(f"omega = {layer.omega}")
    if layer.kind is RecordKind.GABOR:
        lines.append(f"scale = {layer.record.scale}")
    return [*lines, f'layer = "layers.{layer.index}"']


# --- template --------------------------------------------------------------------------------------------------------


def into_template(field: Field, architecture: Architecture, tensors: Tensors, *, submodule: str | None) -> Tensors:
    """The weights of a field by the names and in the form of a checkpoint.

    Args:
        field: the field.
        architecture, tensors, submodule: of the checkpoint, as for an import.

    Returns:
        What takes the place of the checkpoint's weights, without the tensors that the architecture does not use.

    Raises:
        UsageError: the checkpoint holds another network than the field.
    """
    mapped = map_tensors(architecture, tensors, submodule=submodule)
    arrays = field.state_dict
    ours = {name: array.shape for name, array in arrays.items()}
    theirs = {name: array.shape for name, array in mapped.arrays.items()}
    if ours != theirs:
        different = next(name for name in (*ours, *theirs) if ours.get(name) != theirs.get(name))
        found = f"{ours.get(different)}, the template has {theirs.get(different)}"
        raise error("USAGE", f"the template holds another network: {different} is {found}")
    filled: Tensors = {}
    own = state_tensors(field)
    for index, layer in enumerate(mapped.layers):
        factor = _omega_ratio(field.header.network.layers[index], mapped.network.layers[index])
        weight = _in_their_order(own[f"layers.{index}.weight"] * factor, layer)
        filled[mapped.prefix + layer.source.weight] = weight.T if architecture.transpose else weight
        if layer.source.bias is not None:
            bias = own[f"layers.{index}.bias"] * factor
            scaled = bias if layer.source.step.bias_in_omega else bias * np.float32(layer.source.omega)
            filled[mapped.prefix + layer.source.bias] = scaled.astype(tensors[mapped.prefix + layer.source.bias].dtype)
    return filled


def _omega_ratio(ours: Layer, theirs: Layer) -> np.float32:
    """What weights get that move from one omega to another: of a field whose weights were made whole numbers."""
    return np.float32(ours.omega / theirs.omega) if ours.kind in KINDS_WITH_FACTOR else np.float32(1.0)


def _in_their_order(weight: Numbers, layer: MappedLayer) -> Numbers:
    theirs = np.empty_like(weight)
    theirs[:, layer.columns] = weight
    return theirs
