"""Encoding: signals and torch modules to fields, and fields back to torch modules.

    import sinrfmt.torch

    encoding = sinrfmt.torch.encode(picture, preset="fast", max_bytes=2000)   # uint8[rows, columns, channels]
    sinrfmt.save(encoding.field, "photo.sinr")
    module = sinrfmt.torch.to_module(encoding.field)                          # torch.nn.Module

The only package that imports torch. Nothing here is normative.
"""

from sinrfmt.torch.architecture import Architecture, read_architecture, ready_architecture, ready_names
from sinrfmt.torch.compress import Compressed, WeightTarget, compress_weights
from sinrfmt.torch.convert import from_module, to_module
from sinrfmt.torch.exporting import EXPORT_SUFFIXES, export_field, export_into
from sinrfmt.torch.files import Encoding, encode
from sinrfmt.torch.grid_files import GridPreset, encode_grid, encode_grids, grid_preset_of, grid_presets
from sinrfmt.torch.grid_module import GridModule, Points
from sinrfmt.torch.importing import Imported, import_checkpoint, lossless, signal_for
from sinrfmt.torch.modulations import EncodedSet, Modulation, encode_on_base, encode_set
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.pictures import encode_picture, encode_preview
from sinrfmt.torch.point_files import Uncompressed, encode_objective, encode_signal_grid, uncompressed_grid
from sinrfmt.torch.point_fit import Objective, PointFitOptions, fit_objective, sampled_objective
from sinrfmt.torch.point_recipes import PointPreset, point_network
from sinrfmt.torch.presets import Preset, preset_of, presets
from sinrfmt.torch.progressive import encode_passes
from sinrfmt.torch.radiance import SceneEncoding, encode_scene, field_renderer, scene_psnr, uncompressed_scene
from sinrfmt.torch.sampled import Sampled, encode_sampled
from sinrfmt.torch.shapes import ShapeOptions, ShapePreset, ShapeSamples, encode_shape, shape_samples
from sinrfmt.torch.signals import Signal, array_signal, audio_signal, image_signal
from sinrfmt.torch.tiles import TileWork, encode_tiles
from sinrfmt.torch.video import VideoPreset, encode_video, video_preset_of

__all__ = [
    "EXPORT_SUFFIXES",
    "Architecture",
    "Compressed",
    "EncodedSet",
    "Encoding",
    "FieldModule",
    "GridModule",
    "GridPreset",
    "Imported",
    "Modulation",
    "Objective",
    "PointFitOptions",
    "PointPreset",
    "Points",
    "Preset",
    "Sampled",
    "SceneEncoding",
    "ShapeOptions",
    "ShapePreset",
    "ShapeSamples",
    "Signal",
    "TileWork",
    "Uncompressed",
    "VideoPreset",
    "WeightTarget",
    "array_signal",
    "audio_signal",
    "compress_weights",
    "encode",
    "encode_grid",
    "encode_grids",
    "encode_objective",
    "encode_on_base",
    "encode_passes",
    "encode_picture",
    "encode_preview",
    "encode_sampled",
    "encode_scene",
    "encode_set",
    "encode_shape",
    "encode_signal_grid",
    "encode_tiles",
    "encode_video",
    "export_field",
    "export_into",
    "field_renderer",
    "fit_objective",
    "from_module",
    "grid_preset_of",
    "grid_presets",
    "image_signal",
    "import_checkpoint",
    "lossless",
    "point_network",
    "preset_of",
    "presets",
    "read_architecture",
    "ready_architecture",
    "ready_names",
    "sampled_objective",
    "scene_psnr",
    "shape_samples",
    "signal_for",
    "to_module",
    "uncompressed_grid",
    "uncompressed_scene",
    "video_preset_of",
]
