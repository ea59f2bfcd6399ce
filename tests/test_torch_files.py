"""From pictures and modules to fields and back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import sinrfmt
import sinrfmt.torch
from sinrfmt.metrics import psnr
from sinrfmt.registry import Coding, Profile, Tool, Values
from tests.strategies import PUBLISHED

PRESET = replace(sinrfmt.torch.preset_of("fast"), n_seeds=1, n_steps=300, n_trials=8, n_refit_trials=2)
PICTURE = np.stack(
    [np.add.outer(np.arange(24) * 5, np.arange(32) * 4), np.add.outer(np.arange(24) * 9, np.zeros(32))], axis=-1
).astype(np.uint8)


def points(n: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (n, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def encoding() -> sinrfmt.torch.Encoding:
    return sinrfmt.torch.encode(PICTURE, preset=PRESET, max_bytes=200, seed=5, device="cpu")


def test_the_file_keeps_its_budget_and_decodes_to_the_announced_quality(encoding: sinrfmt.torch.Encoding) -> None:
    field = encoding.field
    assert len(field.data) <= 200
    assert field.shape == PICTURE.shape
    assert psnr(PICTURE, field.to_uint8()) == pytest.approx(encoding.psnr, abs=0.01)
    assert sinrfmt.loads(sinrfmt.dumps(field)) == field


def test_a_field_and_its_module_have_the_same_values(encoding: sinrfmt.torch.Encoding) -> None:
    module = sinrfmt.torch.to_module(encoding.field)
    x = points(100)
    with torch.no_grad():
        values = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(values, encoding.field.sample(x), atol=2e-5)
    for name, array in encoding.field.state_dict.items():
        np.testing.assert_array_equal(module.get_parameter(name).detach().numpy(), array)


@pytest.mark.parametrize("coding", [Coding.PACKED, Coding.ZLIB, Coding.BROTLI])
def test_every_payload_coding_is_written(coding: Coding) -> None:
    field = sinrfmt.torch.encode(PICTURE, preset=PRESET, max_bytes=400, coding=coding, device="cpu").field
    assert len(field.data) <= 400
    assert field.header.profile is (Profile.MAIN if coding is Coding.BROTLI else Profile.CORE)


def test_a_sequential_module_is_written_without_loss() -> None:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 7, bias=False), nn.ELU(), nn.Linear(7, 3))
    field = sinrfmt.torch.from_module(module, grid=(10, 12), lossless=True, values=Values.RAW, device="cpu")
    assert {record.tool for record in field.header.network.layer_records} == {Tool.RAW}
    np.testing.assert_array_equal(field.weights[0], module[0].weight.detach().numpy())
    x = points(50)
    np.testing.assert_allclose(field.sample(x), module(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


def test_a_module_is_written_at_a_quality() -> None:
    torch.manual_seed(4)
    module = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1), nn.Sigmoid())
    field = sinrfmt.torch.from_module(module, grid=(20, 20), values=Values.UNIT, min_psnr=45.0, device="cpu")
    own = sinrfmt.torch.from_module(module, grid=(20, 20), values=Values.UNIT, lossless=True, device="cpu")
    assert psnr(own.to_uint8(), field.to_uint8()) >= 44.9
    assert len(field.data) < len(own.data) / 2


@pytest.mark.parametrize("name", ["bacon", "wire", "finer"])
def test_a_module_that_is_no_chain_is_written_at_a_quality_and_without_loss(name: str) -> None:
    module = sinrfmt.torch.FieldModule(PUBLISHED[name](), seed=2)
    field, own = (
        sinrfmt.torch.from_module(module, grid=(12, 12), min_psnr=45.0, lossless=lossless, device="cpu")
        for lossless in (False, True)
    )
    assert psnr(own.to_uint8(), field.to_uint8()) >= 44.9
    assert len(field.data) < len(own.data) / 2
    for mine, expected in zip(own.weights, module.arrays().values(), strict=True):
        np.testing.assert_array_equal(mine, expected)
    for array, expected in zip(sinrfmt.torch.to_module(own).arrays().values(), module.arrays().values(), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("module", [nn.ReLU(), nn.Sequential(nn.Linear(2, 3), nn.Softmax(-1))])
def test_a_module_that_the_format_does_not_have_is_refused(module: nn.Module) -> None:
    with pytest.raises(sinrfmt.UsageError):
        sinrfmt.torch.from_module(module, grid=(4, 4), device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_one_clear_error() -> None:
    with pytest.raises(sinrfmt.UsageError, match="CUDA"):
        sinrfmt.torch.encode(PICTURE, device="cuda")
