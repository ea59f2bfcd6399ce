"""Encoding: signals and torch modules to fields, and fields back to torch modules.

    import sinrfmt.torch

    encoding = sinrfmt.torch.encode(picture, preset="fast", max_bytes=2000)   # uint8[rows, columns, channels]
    sinrfmt.save(encoding.field, "photo.sinr")
    module = sinrfmt.torch.to_module(encoding.field)                          # torch.nn.Module

The only package that imports torch. Nothing here is normative.
"""

from sinrfmt.torch.convert import from_module, to_module
from sinrfmt.torch.files import Encoding, encode
from sinrfmt.torch.grid_files import GridPreset, encode_grid, grid_preset_of, grid_presets
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.presets import Preset, preset_of, presets
from sinrfmt.torch.signals import Signal, image_signal

__all__ = [
    "Encoding",
    "FieldModule",
    "GridPreset",
    "Preset",
    "Signal",
    "encode",
    "encode_grid",
    "from_module",
    "grid_preset_of",
    "grid_presets",
    "image_signal",
    "preset_of",
    "presets",
    "to_module",
]
