"""Fields written for other tools: what is read back is the same field, and other evaluators give the same values."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import sinrfmt
from sinrfmt.head import Header
from sinrfmt.network import FourierEncoding, InputRecord, LayerRecord, Network, SeededFourierEncoding
from sinrfmt.registry import Coords, Modality, RecordKind, Values
from sinrfmt.torch.architecture import parse_architecture, read_architecture, ready_architecture
from sinrfmt.torch.exporting import export_field, export_into
from sinrfmt.torch.importing import import_checkpoint, lossless
from sinrfmt.torch.modules import FieldModule
from tests.strategies import PUBLISHED

ACTIVATIONS = (
    RecordKind.SINE,
    RecordKind.RELU,
    RecordKind.GAUSSIAN,
    RecordKind.TANH,
    RecordKind.SIGMOID,
    RecordKind.ELU,
    RecordKind.FINER,
)


def activations() -> Network:
    records = [
        LayerRecord(kind, 5, omega=1.5 if kind in (RecordKind.SINE, RecordKind.FINER) else 1.0) for kind in ACTIVATIONS
    ]
    return Network(2, 2, (*records, LayerRecord(RecordKind.LINEAR, 2, bias=False)), FourierEncoding(3, times_pi=False))


def radiance() -> Network:
    position = FourierEncoding(2, include_input=True, times_pi=False)
    return Network(
        6,
        4,
        (
            InputRecord(0, 3, position),
            LayerRecord(RecordKind.RELU, 8),
            InputRecord(0, 3, position),
            LayerRecord(RecordKind.RELU, 7),
            LayerRecord(RecordKind.RELU, 1, is_output=True),
            InputRecord(3, 3),
            LayerRecord(RecordKind.SIGMOID, 3),
        ),
    )


def filtered() -> Network:
    turns = [LayerRecord(RecordKind.LINEAR, 6), LayerRecord(RecordKind.FILTER, 0, omega=4.0)]
    return Network(3, 1, (LayerRecord(RecordKind.SINE, 6), *turns, *turns, LayerRecord(RecordKind.LINEAR, 1)))


def wavelets() -> Network:
    gabor = LayerRecord(RecordKind.GABOR, 4, omega=3.0, scale=1.5)
    return Network(
        2,
        3,
        (gabor, gabor, LayerRecord(RecordKind.TANH, 1, is_output=True), gabor, LayerRecord(RecordKind.LINEAR, 2)),
    )


NETWORKS: dict[str, Callable[[], Network]] = {
    "products": PUBLISHED["products"],
    "activations": activations,
    "radiance": radiance,
    "filtered": filtered,
    "wavelets": wavelets,
}


def field_of(network: Network, seed: int = 0) -> sinrfmt.Field:
    box = tuple((-1.0 - axis, 2.0) for axis in range(network.in_dims))
    header = Header(network, Modality.FIELD, coords=Coords.BOX, box=box, values=Values.RAW, seed=seed)
    rng = np.random.default_rng(6)
    arrays = {tensor.name: rng.normal(size=tensor.shape).astype(np.float32) * 0.5 for tensor in network.tensors}
    return lossless(FieldModule(network, arrays, seed=seed), header)


def points(n_axes: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(-1, 1, (40, n_axes)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
@pytest.mark.parametrize("name", NETWORKS)
def test_tensors_and_architecture_bring_back_the_same_file(name: str, suffix: str, tmp_path: Path) -> None:
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    field = field_of(NETWORKS[name]())
    export_field(field, tmp_path / f"net{suffix}")
    export_field(field, tmp_path / "net.toml")
    imported = import_checkpoint(tmp_path / f"net{suffix}", read_architecture(tmp_path / "net.toml"))
    assert lossless(imported.module, imported.header) == field


def onnx_values(path: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values by the evaluator of the onnx package."""
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator(str(path))
    values: NDArray[np.float32] = evaluator.run(None, {"coords": x})[0]
    return values


@pytest.mark.parametrize("name", NETWORKS)
def test_an_onnx_graph_has_the_values_of_the_field(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    field = field_of(NETWORKS[name]())
    export_field(field, tmp_path / "net.onnx")
    x = points(field.header.network.in_dims)
    np.testing.assert_allclose(onnx_values(tmp_path / "net.onnx", x), field.sample(x), atol=2e-5)


def test_an_onnx_graph_has_the_seeded_features_of_the_file(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    records = (LayerRecord(RecordKind.SINE, 5, omega=2.0), LayerRecord(RecordKind.LINEAR, 1))
    field = field_of(Network(2, 1, records, SeededFourierEncoding(4, 2.0**-23)), seed=9)
    export_field(field, tmp_path / "net.onnx")
    np.testing.assert_allclose(onnx_values(tmp_path / "net.onnx", points(2)), field.sample(points(2)), atol=2e-5)
    with pytest.raises(sinrfmt.UsageError, match="no architecture"):
        export_field(field, tmp_path / "net.toml")


def test_a_chain_goes_through_onnx_and_back(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    records = (
        LayerRecord(RecordKind.SINE, 5, omega=30.0),
        LayerRecord(RecordKind.ELU, 4),
        LayerRecord(RecordKind.TANH, 1),
    )
    field = field_of(Network(2, 1, records))
    export_field(field, tmp_path / "net.onnx")
    imported = import_checkpoint(tmp_path / "net.onnx")
    assert imported.module.network.n_layers == 3
    for ours, theirs in zip(field.weights, imported.module.arrays().values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


TRANSPOSED = """
modality = "FIELD"
coords = "CENTRES"
values = "RAW"
transpose = true

[[records]]
kind = "SINE"
omega = 8.0
bias_in_omega = false
columns = [2, 0, 1]
layer = "net.*"
index = ":-1"

[[records]]
kind = "LINEAR"
layer = "net.*"
index = "-1"
"""


def checkpoint() -> dict[str, Any]:
    torch.manual_seed(5)
    shapes = {"net.0.weight": (3, 3), "net.0.bias": (3,), "net.1.weight": (3, 1), "net.1.bias": (1,)}
    state = {name: torch.randn(shape) for name, shape in shapes.items()}
    return {"step": torch.tensor(123456789), "model": state, "note": "kept", "optimizer": {"state": [torch.ones(2)]}}


def test_a_template_is_filled_in_its_own_form(tmp_path: Path) -> None:
    before = checkpoint()
    torch.save(before, tmp_path / "before.pt")
    architecture = parse_architecture(TRANSPOSED, "transposed")
    imported = import_checkpoint(tmp_path / "before.pt", architecture)
    doubled = {name: 2 * array for name, array in imported.module.arrays().items()}
    field = lossless(FieldModule(imported.module.network, doubled), imported.header)
    export_into(field, tmp_path / "after.pt", tmp_path / "before.pt", architecture)
    after = torch.load(tmp_path / "after.pt", weights_only=True)
    for name, tensor in before["model"].items():
        torch.testing.assert_close(after["model"][name], 2 * tensor)
    assert (after["step"], after["note"]) == (123456789, "kept")
    assert after["optimizer"]["state"][0].tolist() == [1, 1]


def test_a_layer_that_is_multiplied_by_goes_back_into_its_one_place(tmp_path: Path) -> None:
    """BACON: the filters 2, 4, 6, 8 and the last output are filled, what the architecture leaves out is kept."""
    torch.manual_seed(5)
    shapes = {f"filters.{i}.linear": (5, 3) for i in range(9)} | {f"linear.{i}": (5, 5) for i in range(8)}
    shapes |= {f"output_linear.{i}": (1, 5) for i in range(9)}
    before = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    before |= {f"{name}.bias": torch.randn(shape[0]) for name, shape in shapes.items()}
    torch.save(before, tmp_path / "before.pt")
    imported = import_checkpoint(tmp_path / "before.pt", ready_architecture("bacon"))
    doubled = {name: 2 * array for name, array in imported.module.arrays().items()}
    field = lossless(FieldModule(imported.module.network, doubled), imported.header)
    export_into(field, tmp_path / "after.pt", tmp_path / "before.pt", ready_architecture("bacon"))
    after = torch.load(tmp_path / "after.pt", weights_only=True)
    used = {f"filters.{i}.linear" for i in (2, 4, 6, 8)} | {f"linear.{i}" for i in range(8)} | {"output_linear.8"}
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], (2 if name.rsplit(".", 1)[0] in used else 1) * tensor)


def test_a_template_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save(checkpoint(), tmp_path / "net.pt")
    architecture = parse_architecture(TRANSPOSED, "transposed")
    with pytest.raises(sinrfmt.UsageError, match=r"another network: layers\.0\.weight"):
        export_into(field_of(filtered()), tmp_path / "after.pt", tmp_path / "net.pt", architecture)
    field = field_of(Network(3, 1, (LayerRecord(RecordKind.SINE, 3, omega=8.0), LayerRecord(RecordKind.LINEAR, 1))))
    with pytest.raises(sinrfmt.UsageError, match="a template is written as one of"):
        export_into(field, tmp_path / "after.onnx", tmp_path / "net.pt", architecture)


def test_a_complex_template_is_filled_with_complex_numbers(tmp_path: Path) -> None:
    torch.manual_seed(6)
    shapes = {"net.0.linear": ((4, 2), torch.float32), "net.1.linear": ((3, 4), torch.complex64)}
    shapes["net.2"] = ((1, 3), torch.complex64)
    state = {f"{name}.weight": torch.randn(shape, dtype=dtype) for name, (shape, dtype) in shapes.items()}
    state |= {f"net.{i}.{name}": torch.tensor([2.0]) for i in (0, 1) for name in ("omega_0", "scale_0")}
    torch.save(state, tmp_path / "before.pt")
    imported = import_checkpoint(tmp_path / "before.pt", ready_architecture("wire"))
    field = lossless(imported.module, replace(imported.header, values=Values.RAW))
    export_into(field, tmp_path / "after.npz", tmp_path / "before.pt", ready_architecture("wire"))
    with np.load(tmp_path / "after.npz") as after:
        for name, tensor in state.items():
            np.testing.assert_array_equal(after[name], tensor.numpy())


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sinrfmt", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_export_writes_a_file_and_says_its_size(tmp_path: Path) -> None:
    sinrfmt.save(field_of(activations()), tmp_path / "net.sinr")
    result = run("export", tmp_path / "net.sinr", "-o", tmp_path / "net.pt", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["output_bytes"] == (tmp_path / "net.pt").stat().st_size
    state = torch.load(tmp_path / "net.pt", weights_only=True)
    assert list(state)[:2] == ["layers.0.weight", "layers.0.bias"]


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("net.gguf", [], "expected a name that ends with"),
        ("net.pt", ["--template", "x.pt"], "--like or --arch"),
        ("net.pt", ["--like", "coin"], "--template goes with"),
        ("net.pt", ["--like", "coin", "--template", "missing.pt"], "missing.pt"),
        ("missing/net.pt", [], "no such folder"),
    ],
)
def test_export_refuses_with_one_line_and_writes_nothing(
    output: str, options: list[str], message: str, tmp_path: Path
) -> None:
    sinrfmt.save(field_of(activations()), tmp_path / "net.sinr")
    result = run("export", tmp_path / "net.sinr", "-o", tmp_path / output, *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1 and message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["net.sinr"]
