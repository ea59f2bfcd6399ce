"""The dictionary behind ``--json``: overhead, bits per weight, chunks; and the figures of rate and distortion."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sinrfmt
from sinrfmt import metrics, report
from sinrfmt.media import image
from sinrfmt.network import FourierEncoding, LayerRecord, Network, SeededFourierEncoding
from sinrfmt.registry import Coding, Coords, RecordKind, Tool
from tests.strategies import (
    META,
    PUBLISHED,
    assert_error,
    header_of,
    make_file,
    meta_payload,
    seal,
    siren,
    small_file,
    split,
)


@pytest.mark.parametrize("coding", Coding)
def test_overhead_is_all_that_is_not_table_or_body(coding: Coding) -> None:
    data = small_file((coding, 0), (coding, 0)).data
    head, *passes = (len(payload) for _, payload in split(data))
    assert report.overhead_bytes(data) == 4 + 3 * 9 + head + 2 * 6
    assert len(data) - report.overhead_bytes(data) == sum(passes) - 12


def test_other_chunks_are_overhead() -> None:
    data = small_file().data
    head, one = split(data)
    more = seal([head, (META, meta_payload([(b"k", b"v")])), one])
    assert report.overhead_bytes(more) - report.overhead_bytes(data) == len(more) - len(data)


def test_bits_per_weight_of_packed_values_are_their_widths() -> None:
    network = Network(
        2, 3, (LayerRecord(RecordKind.SINE, 5, omega=30.0), LayerRecord(RecordKind.LINEAR, 3, tool=Tool.RAW))
    )
    made = make_file(header_of(network), [(Coding.PACKED, 0), (Coding.ZLIB, 0)], seed=4)
    layers = report.summary(sinrfmt.loads(made.data))["layers"]
    base, later = (sinrfmt.loads(made.data, passes=n) for n in (1, 2))
    widths = [max(int(v).bit_length() for v in state.acc) + 1 for state in base.states]
    assert layers[0]["bits_per_weight"] >= widths[0]
    assert report.summary(base)["layers"][0]["bits_per_weight"] <= layers[0]["bits_per_weight"]
    assert (layers[1]["bits_per_weight"], layers[1]["bits_per_bias"]) == (32, 32)
    assert later.n_passes == 2


def test_bits_of_all_tensors_are_about_the_body() -> None:
    made = make_file(header_of(siren(2, 40, row_steps=True)), [(Coding.RANS, 0)], scale=500.0)
    field = sinrfmt.loads(made.data)
    sizes = {state.tensor.name: state.tensor.size for state in field.states}
    bits = sum(
        layer["bits_per_weight"] * sizes[f"layers.{i}.weight"] + layer["bits_per_bias"] * sizes[f"layers.{i}.bias"]
        for i, layer in enumerate(report.summary(field)["layers"])
    )
    table_and_body = 8 * (len(made.data) - report.overhead_bytes(made.data))
    assert 0 < table_and_body - bits < 0.05 * table_and_body


def test_the_long_form_says_what_the_header_says() -> None:
    records = (LayerRecord(RecordKind.GAUSSIAN, 5, 2, 0.5, bias=False), LayerRecord(RecordKind.LINEAR, 3))
    network = Network(2, 3, records, FourierEncoding(4, 2.0, True, False))
    header = header_of(network, coords=Coords.BOX, box=((0.0, 1.0), (0.0, 2.0)), quality=(31.5,), version_minor=2)
    made = make_file(header, [(Coding.RANS, 0)])
    head, one = split(made.data)
    data = seal([head, (META, meta_payload([(b"k", b"v")])), (0x86, b"?"), one])
    found = report.describe(sinrfmt.loads(data))
    assert json.loads(json.dumps(found)) == found
    expected = {
        "version": "1.2", "profile": "MAIN", "level": 1, "modality": "FIELD", "grid": [4, 6], "coords": "BOX",
        "values": "UNIT", "box": [[0.0, 1.0], [0.0, 2.0]],
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert [chunk["name"] for chunk in found["chunks"]] == ["HEAD", "META", "unknown", "PASS"]
    assert found["chunks"][3] | {"offset": 0} == {
        "type": 0x12, "name": "PASS", "offset": 0, "length": len(one[1]), "pass": 0, "coding": "RANS", "log2_lanes": 0,
    }  # fmt: skip
    assert [(layer["kind"], layer["inputs"], layer["outputs"], layer["omega"]) for layer in found["layers"]] == [
        ("GAUSSIAN", 18, 5, 0.5), ("GAUSSIAN", 5, 5, 0.5), ("LINEAR", 5, 3, None),
    ]  # fmt: skip
    assert found["layers"][0]["bits_per_bias"] is None
    assert (found["quality"], found["meta"], len(found["notes"])) == ([31.5], {"k": "v"}, 1)
    assert found["input_encoding"] == {"kind": "FOURIER", "octaves": 4, "base": 2.0, "include_input": True,
                                       "times_pi": False}  # fmt: skip


def test_the_long_form_of_other_fields() -> None:
    network = Network(1, 1, (LayerRecord(RecordKind.LINEAR, 1),), SeededFourierEncoding(2, 0.5))
    found = report.describe(sinrfmt.loads(make_file(header_of(network, grid=()), [(Coding.PACKED, 0)]).data))
    assert (found["grid"], found["seed"], found["box"], found["quality"]) == ([], 7, None, None)
    assert found["input_encoding"] == {"kind": "FOURIER_SEEDED", "n_features": 2, "scale": 0.5}
    assert report.describe(sinrfmt.loads(small_file().data))["input_encoding"] is None


def test_the_long_form_names_products_and_the_layer_they_are_with() -> None:
    made = make_file(header_of(PUBLISHED["products"](), grid=()), [(Coding.RANS, 0)])
    found = report.describe(sinrfmt.loads(made.data))
    assert found["multiplies"] == [
        {"before_layer": 3, "layer": 1},
        {"before_layer": 4, "layer": 3},
        {"before_layer": 5, "layer": 4},
        {"before_layer": 5, "layer": 0},
        {"before_layer": 6, "layer": 0},
    ]
    assert len(found["layers"]) == 7


def test_a_prefix_is_reported_as_far_as_it_goes() -> None:
    data = small_file((Coding.RANS, 0), (Coding.RANS, 0)).data
    found = report.describe(sinrfmt.loads(data, passes=1))
    assert (found["passes"], found["n_passes"], len(found["chunks"]), len(found["acc_crc"])) == (1, 2, 2, 1)


def test_psnr_of_8_bit_samples() -> None:
    a = np.zeros((4, 5, 3), dtype=np.uint8)
    assert metrics.psnr(a, a) == math.inf
    assert metrics.psnr(a, a + np.uint8(255)) == 0
    assert metrics.psnr(a + np.uint8(1), a) == pytest.approx(20 * math.log10(255))


def test_psnr_takes_the_peak_of_the_depth() -> None:
    a = np.zeros((4, 5, 3), dtype=np.uint16)
    assert metrics.psnr(a, a + np.uint16(65535)) == 0
    assert metrics.psnr(a + np.uint16(1), a) == pytest.approx(20 * math.log10(65535))


def test_bits_per_sample_count_positions() -> None:
    assert metrics.bits_per_sample(100, (10, 8)) == 10


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", range(1, 5))
def test_images_come_back(channels: int, depth: type[np.uint8 | np.uint16], tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, np.iinfo(depth).max + 1, (5, 7, channels)).astype(depth)
    image.write_png(tmp_path / "a.png", samples)
    found = image.read_image(tmp_path / "a.png")
    assert found.dtype == depth
    np.testing.assert_array_equal(found, samples)


@pytest.mark.parametrize("channels", range(1, 5))
def test_other_readers_take_the_deep_files_we_write(channels: int, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (5, 7, channels)).astype(np.uint16)
    image.write_png(tmp_path / "a.png", samples)
    with Image.open(tmp_path / "a.png") as opened:
        shown = np.asarray(opened).astype(np.uint32)
    grey_and_alpha = [0, 0, 0, 1]  # Pillow shows them as four channels
    wanted = samples[..., grey_and_alpha] if channels == 2 else samples
    kept = shown if channels == 1 else shown << 8
    assert np.all(np.abs(wanted.reshape(kept.shape).astype(np.int64) - kept) < (1 if channels == 1 else 256))


def test_what_is_no_image_of_integers_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.zeros((4, 4), dtype=np.int32)).save(tmp_path / "wide.tif")
    for name in ("float.tif", "wide.tif"):
        assert_error("USAGE", None, image.read_image, tmp_path / name)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"no image")
    for path in (tmp_path / "b.png", tmp_path / "missing.png", tmp_path):
        assert_error("USAGE", None, image.read_image, path)
