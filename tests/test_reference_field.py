"""Clause 16 and the command of clause 15 in the reference decoder."""

import json
import math
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference_decoder.__main__ as command
from reference_decoder import DecodeError, Field, decode, limits, passes
from reference_decoder import field as field_module
from reference_decoder.generator import T8, philox
from tests.reference_writer import (
    HEAD,
    PASS,
    SEEDED,
    HeadFields,
    bits,
    build,
    filter_,
    gabor,
    input_,
    last,
    layer,
    multiply,
    output,
    pass_payload,
)


def raw_file(weights: list[list[float]], **fields: Any) -> bytes:
    """A file whose weights are these binary32 numbers (tool 0)."""
    numbers = [x for tensor in weights for x in tensor]
    body = struct.pack(f"<{len(numbers)}f", *numbers)
    head = HeadFields(**fields)
    return build([(HEAD, head.payload()), (PASS, pass_payload(b"", body, zlib.crc32(body)))])


def identity_matrix(n: int) -> list[float]:
    return [float(i == j) for i in range(n) for j in range(n)]


def identity(**fields: Any) -> Field:
    """A field whose values are its coordinates."""
    records = (last(1, 0x20),)
    return decode(raw_file([[1, 0, 0, 1]], **{"records": records, "out_channels": 2, **fields}))


@pytest.mark.parametrize(
    ("coords", "rows", "columns"),
    [
        (0, [-0.5, 0.5], [-2 / 3, 0, 2 / 3]),
        (1, [-1, 1], [-1, 0, 1]),
        (2, [-1, 1], [-1, 1, 3]),
        (3, [0.25, 0.75], [1 / 6, 0.5, 5 / 6]),
    ],
)
def test_coordinates_of_the_grid(coords: int, rows: list[float], columns: list[float]) -> None:
    grid = identity(coords_values=coords).grid()
    assert grid.shape == (2, 3, 2)
    assert grid[:, 0, 0].tolist() == np.array(rows, np.float32).tolist()
    assert grid[0, :, 1].tolist() == np.array(columns, np.float32).tolist()


def test_coordinates_of_a_box() -> None:
    grid = identity(coords_values=15, box=(-1, 10, 1, 16)).grid()
    assert grid[:, 0, 0].tolist() == [-0.5, 0.5]
    assert grid[0, :, 1].tolist() == [11, 13, 15]


def test_grid_of_one_sample_and_of_another_size() -> None:
    field = identity(coords_values=1)
    assert field.grid((1, 1)).tolist() == [[[-1, -1]]]
    assert field.grid((5, 4))[:, 0, 0].tolist() == [-1, -0.5, 0, 0.5, 1]


ACTIVATIONS: dict[int, Callable[[float], float]] = {
    1: lambda t: t,
    2: math.sin,
    3: lambda t: max(t, 0),
    4: lambda t: math.exp(-t * t),
    5: math.tanh,
    6: lambda t: 1 / (1 + math.exp(-t)),
    7: lambda t: t if t > 0 else math.exp(t) - 1,
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_layer_is_an_activation_of_omega_times_the_affine_map(kind: int) -> None:
    omega = b"\3" if kind in (2, 4) else b""
    records = (layer(kind, 0x00, 2, omega=omega), last(1, 0x00))
    weights: list[list[float]] = [[0.5, -0.25, 1, 2], [0.125, -0.5], [1, -2], [0.25]]
    field = decode(raw_file(weights, records=records))
    for y, x in [(-0.5, 0.75), (0.25, 1), (0, 0)]:
        act = ACTIVATIONS[kind]
        o = 3 if omega else 1
        h = [act(o * (0.5 * y - 0.25 * x + 0.125)), act(o * (1 * y + 2 * x - 0.5))]
        assert field.sample([[y, x]])[0, 0] == pytest.approx(h[0] - 2 * h[1] + 0.25, abs=2e-6)


POINTS = [(-0.5, 0.75), (0.25, 1.0), (0.0, 0.0), (-1.0, -0.125)]


def random_weights(*sizes: int) -> list[list[float]]:
    generator = np.random.default_rng(len(sizes))
    return [generator.uniform(-1, 1, n).astype(np.float32).tolist() for n in sizes]


def matrix(weights: list[float], rows: int) -> Any:
    return np.array(weights, np.float64).reshape(rows, -1)


def test_finer_layer_is_a_sine_of_a_growing_frequency() -> None:
    w = random_weights(6, 3, 3, 1)
    field = decode(raw_file(w, records=(layer(9, 0, 3, omega=b"\5"), last(1, 0))))
    for point in POINTS:
        t = matrix(w[0], 3) @ point + w[1]
        h = np.sin(5 * (np.abs(t) + 1) * t)
        assert field.sample([point])[0, 0] == pytest.approx(float(h @ w[2] + w[3][0]), abs=1e-5)


@pytest.mark.parametrize("between", [b"", output(1, flags=0x20)])
def test_gabor_layers_are_complex_after_the_first(between: bytes) -> None:
    """WIRE in complex numbers, written as real ones."""
    w = random_weights(6, 3, 2 * 12, 2 * 4, 8, 1)
    records = (gabor(3, 2, 0.75), *([between] if between else []), gabor(4, 3, 0.5), last(1, 0))
    given = w
    if between:
        given = [*w[:2], [1.0, 0, 0, 0, 0, -1.0], *w[2:]]
    field = decode(raw_file(given, records=records, out_channels=2 if between else 1))
    for point in POINTS:
        t = matrix(w[0], 3) @ point + w[1]
        z = first = np.exp(1j * 2 * t - np.abs(0.75 * t) ** 2)
        both = matrix(w[2], 8)
        t = (both[:4] + 1j * both[4:]) @ z + np.array(w[3][:4]) + 1j * np.array(w[3][4:])
        z = np.exp(1j * 3 * t - np.abs(0.5 * t) ** 2)
        expected = [float(np.concatenate([z.real, z.imag]) @ w[4] + w[5][0])]
        if between:
            expected.append(first[0].real - first[2].imag)
        assert field.sample([point])[0].tolist() == pytest.approx(expected, rel=2e-6, abs=1e-5)


def test_gabor_layer_behind_another_kind_is_real_and_has_no_bias_if_it_says_so() -> None:
    w = random_weights(4, 6, 6)
    records = (layer(1, 0x20, 2), gabor(3, 1, 2, flags=0x20), last(1, 0x20))
    field = decode(raw_file(w, records=records))
    for point in POINTS:
        t = matrix(w[1], 3) @ matrix(w[0], 2) @ point
        z = np.exp(1j * t - np.abs(2 * t) ** 2)
        assert field.sample([point])[0, 0] == pytest.approx(float(np.concatenate([z.real, z.imag]) @ w[2]), abs=1e-5)


def test_gabor_layer_of_a_huge_scale_is_one_at_zero() -> None:
    records = (gabor(1, 1, 2.0**63, flags=0x20), last(1, 0x20))
    field = decode(raw_file([[1, 0], [1, 1]], records=records))
    assert field.sample([(0, 0), (0.5, 0)]).tolist() == [[1], [0]]


@pytest.mark.parametrize("encoding", [b"", b"\1\2\3"])
def test_input_appends_coordinates_behind_the_current_values(encoding: bytes) -> None:
    """NeRF's skip connection."""
    n = 10 if encoding else 2
    w = random_weights(6, 3, 3 + n)
    field = decode(raw_file(w, records=(layer(5, 0, 3), input_(0, 2, encoding), last(1, 0x20))))
    for point in POINTS:
        appended = list(point)
        for f in (1, 3) if encoding else ():
            appended += [*np.sin(np.multiply(f, point)), *np.cos(np.multiply(f, point))]
        h = np.tanh(matrix(w[0], 3) @ point + w[1])
        expected = float(np.concatenate([h, appended]) @ w[2])
        assert field.sample([point])[0, 0] == pytest.approx(expected, abs=1e-5)


def test_input_takes_the_axes_that_it_names_and_may_be_first() -> None:
    records = (input_(1, 1), layer(1, 0x20, 1), input_(2, 1), last(1, 0x20))
    field = decode(raw_file([[2], [1, 0, 0, 1]], records=records, out_channels=2, in_dims=3, grid=(1, 1, 1)))
    assert field.sample([(0.25, 0.5, 0.75)]).tolist() == [[1, 0.75]]


def test_values_of_the_last_layer_come_before_those_of_the_outputs() -> None:
    """NeRF's density beside its colour."""
    records = (output(1, 3, 0x20), layer(1, 0x20, 2), output(2, 2, 0x20, omega=b"\2"), last(1, 0x20))
    w: list[list[float]] = [[1, 1], [0, 1, 1, 0], [1, 0, 0, 1], [3, 4]]
    field = decode(raw_file(w, records=records, out_channels=4))
    expected = [3 * 0.75 + 4 * 0.5, max(0, 0.5 + 0.75), math.sin(2 * 0.75), math.sin(2 * 0.5)]
    assert field.sample([(0.5, 0.75)])[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_filters_multiply_the_current_values_by_sines_of_the_coordinates() -> None:
    """BACON: linear layers, each multiplied by a filter."""
    w = random_weights(6, 3, 6, 3, 9, 3, 6, 3, 3, 1)
    records = (layer(1, 0, 3), filter_(0, b"\2"), layer(1, 0, 3), filter_(0, b"\3"), last(1, 0))
    field = decode(raw_file(w, records=records))
    for point in POINTS:
        h = (matrix(w[0], 3) @ point + w[1]) * np.sin(2 * (matrix(w[2], 3) @ point + w[3]))
        h = (matrix(w[4], 3) @ h + w[5]) * np.sin(3 * (matrix(w[6], 3) @ point + w[7]))
        assert field.sample([point])[0, 0] == pytest.approx(float(h @ w[8] + w[9][0]), abs=1e-5)


def test_multiply_takes_the_outputs_of_the_layer_with_its_number() -> None:
    """Shared filters: the sines of one FILTER multiply two linear layers; then the values of an OUTPUT."""
    records = (layer(1, 0, 3), filter_(0, b"\2"), layer(1, 0, 3), multiply(1), output(3, 5, 0), multiply(3), last(1, 0))
    w = random_weights(6, 3, 6, 3, 9, 3, 9, 3, 3, 1)
    field = decode(raw_file(w, records=records, out_channels=4))
    for point in POINTS:
        sines = np.sin(2 * (matrix(w[2], 3) @ point + w[3]))
        h = (matrix(w[4], 3) @ ((matrix(w[0], 3) @ point + w[1]) * sines) + w[5]) * sines
        values = np.tanh(matrix(w[6], 3) @ h + w[7])
        expected = [float((h * values) @ w[8] + w[9][0]), *values]
        assert field.sample([point])[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_filter_after_an_encoding_takes_the_coordinates_themselves() -> None:
    records = (bytes([33, 0, 1, 2]), filter_(0x20, b"\1"), last(1, 0x20))
    w = random_weights(8, 4)
    field = decode(raw_file(w, records=records))
    y, x = POINTS[0]
    h = np.array([math.sin(y), math.sin(x), math.cos(y), math.cos(x)]) * np.sin(matrix(w[0], 4) @ (y, x))
    assert field.sample([(y, x)])[0, 0] == pytest.approx(float(h @ w[1]), abs=1e-6)


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_fourier_encoding_has_its_outputs_in_order(flags: int) -> None:
    outputs = 2 * (flags & 1) + 2 * 3 * 2
    records = (bytes([33, flags, 3, 0]) + struct.pack("<f", 1.5), layer(1, 0x20, outputs), last(1, 0x20))
    eye = identity_matrix(outputs)
    data = raw_file([eye, eye], records=records, out_channels=outputs)
    point = np.array([0.3, -0.7], np.float32)
    expected = list(point) if flags & 1 else []
    for j in range(3):
        f = np.float32(1.5**j * (math.pi if flags & 2 else 1))
        expected += [math.sin(point[0] * f), math.sin(point[1] * f), math.cos(point[0] * f), math.cos(point[1] * f)]
    np.testing.assert_allclose(decode(data).sample([point])[0], expected, atol=1e-6)


def test_seeded_fourier_encoding_is_that_of_the_generator() -> None:
    n, seed = 3, 0x123456789
    records = (bytes([34]) + struct.pack("<Hf", n, 0.01), last(1, 0x20))
    eye = identity_matrix(2 * n)
    data = raw_file([eye], records=records, out_channels=2 * n, features=SEEDED | 1, seed=seed)
    s = []
    for number in range(2 * n):
        word = int(philox(np.array([number >> 2], np.uint64), 0, 0, 2, seed & 0xFFFFFFFF, seed >> 32)[0, number & 3])
        s.append(sum(int(T8[word >> shift & 255]) for shift in (0, 8, 16, 24)))
    point = (0.5, -0.25)
    t = [0.01 * (s[2 * i] * point[0] + s[2 * i + 1] * point[1]) for i in range(n)]
    expected = [math.sin(x) for x in t] + [math.cos(x) for x in t]
    np.testing.assert_allclose(decode(data).sample([point])[0], expected, atol=1e-5)


@pytest.mark.parametrize(("values", "expected"), [(0, [0, 0, 128, 255, 255]), (1, [0, 64, 191, 255, 255])])
def test_samples_are_clamped_and_rounded(values: int, expected: list[int]) -> None:
    field = identity(coords_values=values << 4 | 1)
    column = np.array([-1, -0.5, 0.5, 1, 3], np.float32)
    records = (last(1, 0x20),)
    one = decode(raw_file([[1, 0]], records=records, coords_values=values << 4 | 2))
    assert one.samples_8bit((2, 2)).shape == (2, 2, 1)
    assert field.samples_8bit((5, 1)).shape == (5, 1, 2)
    v = column if values == 0 else (column + 1) / 2
    assert np.floor(255 * v.clip(0, 1) + 0.5).astype(int).tolist() == expected
    assert field.samples_8bit((5, 1))[:, 0, 0].tolist() == (
        [0, 0, 0, 128, 255] if values == 0 else [0, 64, 128, 191, 255]
    )


@pytest.mark.parametrize("values", [0, 1])
def test_sample_that_is_not_a_number_is_0(values: int) -> None:
    records = (layer(1, 0x20, 2), last(1, 0x20))
    weights: list[list[float]] = [[3e38, 3e38, 3e38, 3e38], [1, -1]]
    field = decode(raw_file(weights, records=records, coords_values=values << 4 | 1))
    assert np.isnan(field.grid((2, 2))[1, 1]).all()
    assert field.samples_8bit((2, 2))[1, 1].tolist() == [0]


def test_values_that_overflow_do_not_stop_the_evaluation() -> None:
    records = (layer(1, 0x20, 2), last(1, 0x20))
    field = decode(raw_file([[1e38, 1e38, 1e38, 1e38], [1e38, -1e38]], records=records))
    assert not np.isfinite(field.grid()).all()
    assert field.samples_8bit().shape == (2, 3, 1)


def test_output_is_limited_before_it_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    field = identity()
    with pytest.raises(DecodeError) as caught:
        field.grid((10**6, 10**6))
    assert (caught.value.name, caught.value.offset) == ("LIMIT_CALLER", None)
    monkeypatch.setattr(field_module, "OUTPUT_VALUES", 12)
    assert field.grid().size == 12
    with pytest.raises(DecodeError):
        field.sample(np.zeros((7, 2)))
    assert limits.OUTPUT_VALUES == 1 << 28


def test_parameters_are_limited_before_they_are_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    head = HeadFields(records=(layer(1, 0x20, 2), last(1, 0x20)))
    monkeypatch.setattr(passes, "PARAMETERS", 6)
    assert decode(raw_file([[0] * 4, [0] * 2], records=head.records)).passes == 1
    monkeypatch.setattr(passes, "PARAMETERS", 5)
    with pytest.raises(DecodeError) as caught:
        decode(raw_file([[0] * 4, [0] * 2], records=head.records))
    assert (caught.value.name, caught.value.offset) == ("LIMIT_CALLER", None)
    assert limits.PARAMETERS == 1 << 28


# --- the command ---------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    status = command.main([str(a) for a in arguments])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return status, json.loads(lines[0])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "in.sinr"
    path.write_bytes(raw_file([[1, 0]], records=(last(1, 0x20),), coords_values=3))
    return path


def test_command_writes_values_and_reports(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = image.with_name("out.npy")
    status, answer = run(capsys, image, out)
    field = decode(image.read_bytes())
    assert status == 0
    assert answer == {
        "weights_sha256": field.weights_sha256,
        "acc_crc": [f"{field.acc_crc[0]:08x}"],
        "passes": 1,
    }
    values = np.load(out)
    assert (values.shape, values.dtype, values.flags.c_contiguous) == ((2, 3, 1), np.dtype("<f4"), True)
    assert sorted(p.name for p in image.parent.iterdir()) == ["in.sinr", "out.npy"]


def test_command_writes_a_picture(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = image.with_name("out.png")
    assert run(capsys, image, out, "--size", "5x2")[0] == 0
    data = out.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (5, 2)
    assert data[24:29] == bytes([8, 0, 0, 0, 0])
    size = struct.unpack(">I", data[33:37])[0]
    lines = zlib.decompress(data[41 : 41 + size])
    assert lines == b"\0" + b"\x40" * 5 + b"\0" + b"\xbf" * 5
    assert struct.unpack(">I", data[41 + size : 45 + size])[0] == zlib.crc32(data[37 : 41 + size])


def test_size_is_last_axis_first(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = image.with_name("out.npy")
    run(capsys, image, out, "--size", "7x4")
    assert np.load(out).shape == (4, 7, 1)


@pytest.mark.parametrize("n", [0, 3])
def test_coordinates_from_a_file(image: Path, capsys: pytest.CaptureFixture[str], n: int) -> None:
    coords, out = image.with_name("c.npy"), image.with_name("out.npy")
    points = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    np.save(coords, points)
    assert run(capsys, image, out, "--coords", coords)[0] == 0
    assert np.load(out).tolist() == points[:, :1].tolist()


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">f2", "<i2", "u1"])
def test_coordinates_of_another_real_type_are_rounded(
    image: Path, capsys: pytest.CaptureFixture[str], dtype: str
) -> None:
    coords, out = image.with_name("c.npy"), image.with_name("out.npy")
    points = np.array([[0.1, 1], [3, 2]]).astype(dtype)
    np.save(coords, points)
    assert run(capsys, image, out, "--coords", coords)[0] == 0
    assert np.load(out).tolist() == points[:, :1].astype(np.float32).tolist()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["in.sinr"],
        ["in.sinr", "out.npy", "more"],
        ["in.sinr", "out.npy", "--unknown"],
        ["in.sinr", "out.npy", "--part"],
        ["in.sinr", "out.npy", "--passes", "x"],
        ["in.sinr", "out.npy", "--passes", "0"],
        ["in.sinr", "out.npy", "--passes", "2"],
        ["in.sinr", "out.npy", "--size", "3"],
        ["in.sinr", "out.npy", "--size", "3x"],
        ["in.sinr", "out.npy", "--size", "0x3"],
        ["in.sinr", "out.npy", "--size", "2x3x4"],
        ["in.sinr", "out.npy", "--coords", "absent.npy"],
        ["in.sinr", "out.npy", "--coords", "in.sinr"],
        ["in.sinr", "out.npy", "--coords", "empty.npy"],
        ["in.sinr", "out.npy", "--coords", "text.npy"],
        ["in.sinr", "out.npy", "--coords", "complex.npy"],
        ["in.sinr", "out.npy", "--coords", "three.npy"],
        ["in.sinr", "out.npy", "--coords", "huge.npy"],
        ["in.sinr", "out.npy", "--coords", "two.npy", "--size", "2x2"],
        ["in.sinr", "out.png", "--coords", "two.npy"],
        ["in.sinr", "out.jpg"],
        ["absent.sinr", "out.npy"],
        ["in.sinr", "absent/out.npy"],
    ],
)
def test_wrong_use_is_usage(
    image: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(image.parent)
    Path("empty.npy").write_bytes(b"")
    np.save("text.npy", np.zeros((1, 2), "S4"))
    np.save("complex.npy", np.zeros((1, 2), np.complex64))
    np.save("three.npy", np.zeros((1, 3), np.float32))
    np.save("two.npy", np.zeros((1, 2), np.float32))
    np.save("huge.npy", np.zeros((1, 2), np.float32))
    huge = Path("huge.npy").read_bytes().replace(b"(1, 2), }            ", b"(100000000000, 2), } ")
    Path("huge.npy").write_bytes(huge)
    before = sorted(Path().iterdir())
    status, answer = run(capsys, *arguments)
    assert (status, answer) == (2, {"code": 601, "name": "USAGE", "offset": None, "class": "usage"})
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("fields", [{"in_dims": 1, "grid": (6,)}, {"coords_values": 0x20}, {"out_channels": 5}])
def test_picture_needs_two_axes_one_to_four_channels_and_a_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any]
) -> None:
    path = tmp_path / "in.sinr"
    n = fields.get("in_dims", 2) * fields.get("out_channels", 1)
    path.write_bytes(raw_file([[1] * n], records=(last(1, 0x20),), **fields))
    assert run(capsys, path, tmp_path / "out.png")[1]["name"] == "USAGE"
    assert run(capsys, path, tmp_path / "out.npy")[0] == 0


def test_field_without_a_native_grid_needs_a_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "in.sinr", tmp_path / "out.npy"
    path.write_bytes(raw_file([[1, 0]], records=(last(1, 0x20),), grid=(0, 0)))
    assert run(capsys, path, out)[1]["name"] == "USAGE"
    assert run(capsys, path, out, "--size", "2x2")[0] == 0


@pytest.mark.parametrize(
    ("damage", "status", "name"),
    [
        (lambda d: b"", 3, "TRUNCATED"),
        (lambda d: d[:-1], 3, "TRUNCATED"),
        (lambda d: b"X" + d[1:], 3, "BAD_SIGNATURE"),
        (lambda d: d[:-1] + bytes([d[-1] ^ 1]), 3, "CHUNK_CRC_MISMATCH"),
        (lambda d: build([(HEAD, HeadFields(features=256).payload())]), 4, "UNSUPPORTED_FEATURE"),
        (lambda d: build([(HEAD, HeadFields(grid=(9999, 9999)).payload())]), 5, "LIMIT_GRID"),
    ],
)
def test_failure_leaves_the_output_as_it_was(
    image: Path, capsys: pytest.CaptureFixture[str], damage: Any, status: int, name: str
) -> None:
    out = image.with_name("out.npy")
    out.write_bytes(b"before")
    image.write_bytes(damage(image.read_bytes()))
    found, answer = run(capsys, image, out)
    assert (found, answer["name"]) == (status, name)
    assert set(answer) == {"code", "name", "class", "offset"}
    assert out.read_bytes() == b"before"


def test_error_of_the_program_itself_is_not_reported_as_one_of_the_file(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Field:
        raise ZeroDivisionError

    monkeypatch.setattr(command, "decode", broken)
    with pytest.raises(ZeroDivisionError):
        command.main([str(image), str(image.with_name("out.npy"))])


def test_command_as_a_process(image: Path) -> None:
    root = Path(command.__file__).parents[1]
    out = image.with_name("out.npy")
    arguments = [sys.executable, "-m", "reference_decoder", str(image), str(out)]
    done = subprocess.run(arguments, cwd=root, capture_output=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["passes"]) == (0, 1)
    done = subprocess.run([*arguments, "--size", "1"], cwd=root, capture_output=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["name"]) == (2, "USAGE")


def test_nothing_but_numpy_and_the_standard_library_is_imported() -> None:
    root = Path(command.__file__).parents[1]
    code = "import sys; before = set(sys.modules); import reference_decoder.__main__;"
    code += "print(sorted({m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "['numpy', 'reference_decoder']"


def test_packed_bits_are_least_significant_first() -> None:
    assert bits((1, 1), (0b10, 2), (0b11111, 5), (1, 1)) == bytes([0b11111101, 1])
