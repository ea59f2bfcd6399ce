"""Sets of signals on one base: files, sizes, quality, seeds, and one more signal for a base that is there."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import sinrfmt
import sinrfmt.torch
from sinrfmt import report
from sinrfmt.cli.commands import app
from sinrfmt.metrics import psnr
from sinrfmt.registry import Tool
from sinrfmt.torch import EncodedSet, Modulation, modulations
from sinrfmt.torch.modulations import shifts_of
from tests.strategies import siren

PRESET = replace(sinrfmt.torch.preset_of("fast"), n_steps=300, n_trials=6, n_refits=0)
CPU = torch.device("cpu")


def picture(k: int) -> NDArray[np.uint8]:
    """One of a family: a bright disc that moves along the diagonal."""
    y, x = np.mgrid[:16, :20]
    disc = 200 * np.exp(-((y - 3 - 2 * k) ** 2 + (x - 4 - 2 * k) ** 2) / 20)
    return np.stack([disc + 20, disc / 2 + 5 * y, 12 * x], axis=-1).astype(np.uint8)


PICTURES = [picture(k) for k in range(5)]
WAYS = {name: Modulation(name, n_atoms=5, preset=PRESET, device="cpu") for name in ("scalar", "sparse")}


@pytest.fixture(scope="module", params=WAYS)
def made(request: pytest.FixtureRequest) -> tuple[Modulation, EncodedSet]:
    way = WAYS[request.param]
    return way, sinrfmt.torch.encode_set(PICTURES[:4], way, base_bytes=500, seed=3)


def test_every_file_decodes_on_the_base_and_keeps_its_quality(made: tuple[Modulation, EncodedSet]) -> None:
    _, encoded = made
    base = sinrfmt.loads(encoded.base.data)
    assert psnr(PICTURES[0], PICTURES[3]) < 20
    for samples, encoding in zip(PICTURES, encoded.encodings, strict=False):
        field = sinrfmt.loads(encoding.field.data, base=base)
        assert field.header.base_digest == base.state_digest
        assert psnr(samples, field.to_uint8()) == pytest.approx(encoding.psnr, abs=0.01)
        assert encoding.psnr >= encoding.float_psnr - 0.3
        assert encoding.psnr > psnr(samples, base.to_uint8()) + 0.5
        assert len(field.data) < len(base.data) / 2


def test_only_biases_of_hidden_layers_are_shifted_and_with_the_tool(made: tuple[Modulation, EncodedSet]) -> None:
    way, encoded = made
    field = encoded.encodings[0].field
    assert {record.tool for record in field.header.network.layer_records} == {way.tool}
    last = f"layers.{len(field.header.network.layers) - 1}"
    changed = {
        name for name, array in field.state_dict.items() if not np.array_equal(array, encoded.base.state_dict[name])
    }
    assert changed
    assert all(name.endswith(".bias") and not name.startswith(last) for name in changed)


def test_equal_seeds_give_equal_sets() -> None:
    way = replace(WAYS["sparse"], preset=replace(PRESET, n_steps=40))
    sets = [sinrfmt.torch.encode_set(PICTURES[:2], way, base_bytes=300, seed=seed) for seed in (3, 3, 4)]
    files = [[one.base.data, *(encoding.field.data for encoding in one.encodings)] for one in sets]
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_one_more_signal_for_a_base(made: tuple[Modulation, EncodedSet]) -> None:
    way, encoded = made
    more = sinrfmt.torch.encode_on_base(PICTURES[4], encoded.base, way)
    field = sinrfmt.loads(more.field.data, base=encoded.base.data)
    assert psnr(PICTURES[4], field.to_uint8()) == pytest.approx(more.psnr, abs=0.01)
    assert more.psnr > psnr(PICTURES[4], encoded.base.to_uint8()) + 1
    other = sinrfmt.torch.encode_on_base(PICTURES[4][:7, :9], encoded.base, way)
    assert other.field.shape == (7, 9, 3)


def test_a_budget_and_a_quality_are_kept(made: tuple[Modulation, EncodedSet]) -> None:
    way, encoded = made
    plain = encoded.encodings[0]
    rough = sinrfmt.torch.encode_on_base(PICTURES[0], encoded.base, replace(way, min_psnr=plain.psnr - 4))
    assert rough.psnr >= plain.psnr - 4
    max_bytes = len(rough.field.data)
    fine = sinrfmt.torch.encode_on_base(PICTURES[0], encoded.base, way)  # from zeros too, unlike the file of the set
    assert max_bytes <= len(fine.field.data)
    short = sinrfmt.torch.encode_on_base(PICTURES[0], encoded.base, replace(way, max_bytes=max_bytes))
    assert len(short.field.data) <= max_bytes
    assert short.psnr >= rough.psnr
    for target in ({"max_bytes": 60}, {"min_psnr": 70.0}):
        with pytest.raises(sinrfmt.UsageError):
            sinrfmt.torch.encode_on_base(PICTURES[0], encoded.base, replace(way, **target))  # type: ignore[arg-type]


def test_sparse_files_repeat_the_fields_of_the_first_layer(made: tuple[Modulation, EncodedSet]) -> None:
    """Clause 9.5: with all atoms in use by all, a file pays for the numbers and little else."""
    way, encoded = made
    layers = report.describe(encoded.encodings[0].field)["layers"]
    shown = [layer["bias"] for layer in layers if "bias" in layer]
    expected = {"vectors": "COLUMNS", "n_atoms": 5, "n_nonzero": 5, "numbers_per_vector": 10}
    assert all(one == expected for one in shown)
    assert bool(shown) == (way.tool is Tool.SPARSE)


def test_shifts_are_linear_in_their_numbers() -> None:
    module = sinrfmt.torch.FieldModule(siren(2, 6), seed=1)
    shifts = shifts_of(module.network, Tool.SPARSE, 3, 9, CPU)
    numbers = torch.arange(6.0)
    with torch.no_grad():
        biases = shifts.biases(module, numbers)
    assert list(biases) == ["layers.0.bias", "layers.1.bias"]
    for name, columns, part in zip(biases, shifts.columns, (numbers[:3], numbers[3:]), strict=True):
        expected = module.get_parameter(name).detach() + columns @ part
        torch.testing.assert_close(biases[name], expected)


def test_what_cannot_be_a_set_is_refused() -> None:
    grey = PICTURES[0][:, :, 0]
    with pytest.raises(sinrfmt.UsageError, match="channels"):
        sinrfmt.torch.encode_set([PICTURES[0], grey], WAYS["scalar"])
    with pytest.raises(sinrfmt.UsageError, match="scalar and sparse"):
        sinrfmt.torch.encode_set(PICTURES[:1], Modulation("sinr-paper"))
    with pytest.raises(sinrfmt.UsageError, match="biases"):
        shifts_of(siren(bias=False), Tool.SCALAR, 3, 0, CPU)


def test_a_file_on_a_base_is_no_base(made: tuple[Modulation, EncodedSet]) -> None:
    way, encoded = made
    with pytest.raises(sinrfmt.UsageError, match="base"):
        sinrfmt.torch.encode_on_base(PICTURES[0], encoded.encodings[0].field, way)


def test_the_command_line_writes_and_extends_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modulations, "preset_of", lambda name: replace(PRESET, n_steps=60))

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, list(map(str, arguments)))

    sources = []
    for k in range(3):
        sources.append(tmp_path / f"disc{k}.png")
        Image.fromarray(PICTURES[k][:8, :8]).save(sources[-1])
    folder = tmp_path / "set"
    folder.mkdir()
    options = ("--coding", "sparse", "--atoms", 4)
    result = run("encode-set", *sources[:2], "--out", folder, "--base-bytes", 200, "--json", *options)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    base = Path(summary["base"]["file"])
    assert sorted(path.name for path in folder.iterdir()) == [base.name, "disc0.sinr", "disc1.sinr"]
    assert base.name == f"base-{sinrfmt.load(base).state_digest.hex()}.sinr"
    for one in summary["files"]:
        assert Path(one["file"]).stat().st_size == one["file_bytes"]
        assert run("decode", one["file"], tmp_path / "out.png", "--base", base, "--force").exit_code == 0
    more = folder / "disc2.sinr"
    assert run("encode", sources[2], "-o", more, "--base", base, *options).exit_code == 0
    assert run("verify", more, "--base", base).exit_code == 0
    # The files are there; no such folder; atoms of what; another tool; two targets.
    for wrong in (
        ("encode-set", *sources[:2], "--out", folder),
        ("encode-set", *sources[:2], "--out", tmp_path / "missing"),
        ("encode-set", sources[0], sources[0], "--out", tmp_path),
        ("encode-set", sources[0], "--out", tmp_path, "--bytes", 90, "--psnr", 20),
        ("encode", sources[2], "-o", tmp_path / "a.sinr", "--atoms", 4),
        ("encode", sources[2], "-o", tmp_path / "a.sinr", "--base", base, "--coding", "sinr-paper"),
    ):
        assert isinstance(run(*wrong).exception, sinrfmt.UsageError)
