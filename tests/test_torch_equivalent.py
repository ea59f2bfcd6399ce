"""The same function with weights that cost less: whole numbers for omega, columns that matter alike."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import sinrfmt
from sinrfmt.head import Header
from sinrfmt.network import FourierEncoding, InputRecord, LayerRecord, MultiplyRecord, Network
from sinrfmt.registry import Coords, Modality, RecordKind, Tool, Values
from sinrfmt.torch.compress import WeightTarget, compress_weights
from sinrfmt.torch.equivalent import common_divisor, with_even_columns, with_whole_weights
from sinrfmt.torch.fit import outputs
from sinrfmt.torch.modules import FieldModule
from sinrfmt.torch.sensitivity import KroneckerBlock, kronecker_curvature_of

CPU = torch.device("cpu")
WAVES = 2 * math.pi


def points(n_axes: int, n: int = 600) -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(-1, 1, (n, n_axes)).astype(np.float32)


def filtered(width: int = 20) -> tuple[Network, dict[str, NDArray[np.float32]]]:
    """Filters of whole waves, as BACON has them."""
    linear, waves = LayerRecord(RecordKind.LINEAR, width), LayerRecord(RecordKind.FILTER, 0)
    records = (LayerRecord(RecordKind.SINE, width), linear, waves, linear, waves, LayerRecord(RecordKind.LINEAR, 1))
    network = Network(2, 1, records)
    rng = np.random.default_rng(4)
    arrays = {tensor.name: rng.normal(0, 0.4, tensor.shape).astype(np.float32) for tensor in network.tensors}
    for index in (0, 2, 4):
        arrays[f"layers.{index}.weight"] = (rng.integers(-3, 4, (width, 2)) * WAVES).astype(np.float32)
    return network, arrays


def products(width: int = 20) -> tuple[Network, dict[str, NDArray[np.float32]]]:
    """Filters of whole waves that are multiplied in again, one of them twice, and a product with a linear layer."""
    linear, waves = LayerRecord(RecordKind.LINEAR, width), LayerRecord(RecordKind.FILTER, 0)
    first = (LayerRecord(RecordKind.SINE, width), linear, MultiplyRecord(0), linear, MultiplyRecord(0), linear, waves)
    rest = (linear, MultiplyRecord(4), MultiplyRecord(2), LayerRecord(RecordKind.LINEAR, 1))
    network = Network(2, 1, (*first, *rest))
    rng = np.random.default_rng(4)
    arrays = {tensor.name: rng.normal(0, 0.4, tensor.shape).astype(np.float32) for tensor in network.tensors}
    for index in (0, 4):
        arrays[f"layers.{index}.weight"] = (rng.integers(-3, 4, (width, 2)) * WAVES).astype(np.float32)
    return network, arrays


def relus() -> tuple[Network, dict[str, NDArray[np.float32]]]:
    """With a skip connection and a branch."""
    relu = LayerRecord(RecordKind.RELU, 24)
    encoded = InputRecord(0, 3, FourierEncoding(2, include_input=True))
    output = LayerRecord(RecordKind.SIGMOID, 3, is_output=True)
    network = Network(3, 4, (encoded, relu, relu, encoded, relu, output, LayerRecord(RecordKind.LINEAR, 1)))
    rng = np.random.default_rng(4)
    return network, {t.name: rng.normal(0, 0.3, t.shape).astype(np.float32) for t in network.tensors}


def test_multiples_of_one_number_are_found_and_others_are_not() -> None:
    whole = np.random.default_rng(0).integers(-8, 9, (40, 3))
    found = common_divisor((whole * WAVES).astype(np.float32))
    assert found == pytest.approx(WAVES, rel=1e-6)
    assert common_divisor((whole[whole > 1] * WAVES).astype(np.float32)) == pytest.approx(WAVES, rel=1e-6)
    assert common_divisor(np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)) is None
    # So few weights are always multiples of something.
    assert common_divisor(np.array([[0.25, 7.0]], dtype=np.float32)) is None
    assert common_divisor(np.zeros((4, 4), dtype=np.float32)) is None


def test_whole_weights_compute_the_same_with_another_omega() -> None:
    network, arrays = filtered()
    changed, whole_arrays, whole = with_whole_weights(network, arrays)
    waves = [record for record in changed.layer_records if record.omega != 1.0]
    assert [record.kind for record in waves] == [RecordKind.SINE, RecordKind.FILTER, RecordKind.FILTER]
    assert whole == frozenset(waves)
    assert waves[0].omega == float(np.float32(WAVES))
    assert all(np.array_equal(w, np.rint(w)) for n, w in whole_arrays.items() if n in ("layers.0.weight",))
    before = outputs(FieldModule(network, arrays), points(2), device=CPU)
    after = outputs(FieldModule(changed, whole_arrays), points(2), device=CPU)
    np.testing.assert_allclose(after, before, atol=2e-4)


@pytest.mark.parametrize("build", [filtered, products, relus])
def test_even_columns_compute_the_same_and_have_the_curvature_that_is_told(build: object) -> None:
    assert callable(build)
    network, arrays = build()
    x = points(network.in_dims)
    module = FieldModule(network, arrays)
    curvature = kronecker_curvature_of(module, x, n_samples=600, seed=0, device=CPU)
    scaled, told = with_even_columns(network, arrays, curvature)
    other = FieldModule(network, scaled)
    wanted = outputs(module, x, device=CPU)
    np.testing.assert_allclose(outputs(other, x, device=CPU), wanted, atol=2e-5 * np.abs(wanted).max())
    measured = kronecker_curvature_of(other, x, n_samples=600, seed=0, device=CPU)
    # Factors are partial traces, which weigh samples by the values that are scaled here.
    assert np.median(np.abs(np.log(told.diagonal / measured.diagonal))) < 0.05
    last = told.blocks[-1]
    assert isinstance(last, KroneckerBlock)
    before = curvature.blocks[-1]
    assert isinstance(before, KroneckerBlock)
    assert np.log(last.inputs[1]).std() < 0.3 * np.log(before.inputs[1]).std()
    for block in told.blocks:
        assert isinstance(block, KroneckerBlock)
        for spread, _ in (block.inputs, block.outputs):
            np.testing.assert_allclose(np.diag(spread), 1.0)


def test_products_compute_the_same_with_whole_weights_and_a_layer_that_multiplies_is_not_scaled() -> None:
    network, arrays = products()
    changed, whole_arrays, whole = with_whole_weights(network, arrays)
    assert [record.kind for record in changed.layer_records if record in whole] == [RecordKind.SINE, RecordKind.FILTER]
    before = outputs(FieldModule(network, arrays), points(2), device=CPU)
    module = FieldModule(changed, whole_arrays)
    np.testing.assert_allclose(outputs(module, points(2), device=CPU), before, atol=2e-4 * np.abs(before).max())
    curvature = kronecker_curvature_of(module, points(2), n_samples=600, seed=0, device=CPU)
    scaled, _ = with_even_columns(changed, whole_arrays, curvature)
    rows = {name for name, array in scaled.items() if name.endswith("bias") and (array != whole_arrays[name]).any()}
    assert rows == {"layers.1.bias", "layers.3.bias", "layers.5.bias"}


def test_what_is_not_in_proportion_to_its_weights_is_left_alone() -> None:
    records = (LayerRecord(RecordKind.SINE, 9, repeat=2, omega=5.0), LayerRecord(RecordKind.LINEAR, 1))
    module = FieldModule(Network(2, 1, records), seed=2)
    curvature = kronecker_curvature_of(module, points(2), n_samples=600, seed=0, device=CPU)
    scaled, _ = with_even_columns(module.network, module.arrays(), curvature)
    for name, array in module.arrays().items():
        np.testing.assert_array_equal(scaled[name], array)


def test_whole_weights_stay_whole_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinrfmt.torch.compress.WHOLE_LIMIT", 100)  # a large network
    network, arrays = filtered()
    box = ((-1.0, 1.0),) * 2
    header = Header(network, Modality.FIELD, coords=Coords.BOX, box=box, values=Values.RAW)
    module = FieldModule(network, arrays)
    compressed = compress_weights(module, header, WeightTarget(min_snr=35.0), signal=points(2), device="cpu")
    field = sinrfmt.loads(compressed.data)
    tools = [record.tool for record in field.header.network.layer_records]
    assert compressed.tool is Tool.TRELLIS
    assert tools == [Tool.SCALAR, Tool.TRELLIS, Tool.SCALAR, Tool.TRELLIS, Tool.SCALAR, Tool.TRELLIS]
    for index in (0, 2, 4):
        name = f"layers.{index}.weight"
        np.testing.assert_array_equal(field.state_dict[name], np.rint(arrays[name] / np.float32(WAVES)))
    wanted = outputs(module, points(2), device=CPU)
    error = field.sample(points(2)) - wanted
    assert 10 * math.log10(float((wanted**2).sum() / (error**2).sum())) == pytest.approx(compressed.quality, abs=0.05)
    assert compressed.quality >= 35.0
    assert replace(field.header.network, records=()) == replace(network, records=())
