"""Networks of others: read from every container, by every ready architecture, with the values of their own programs."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import sinrfmt
from sinrfmt.metrics import psnr
from sinrfmt.network import MultiplyRecord
from sinrfmt.registry import Coords, Modality, RecordKind, Values
from sinrfmt.torch.architecture import parse_architecture, read_architecture, ready_architecture, ready_names
from sinrfmt.torch.checkpoints import library, read_tensors
from sinrfmt.torch.importing import import_checkpoint, lossless, signal_for
from sinrfmt.torch.mapping import map_tensors

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
CHECKPOINTS = DATA / "checkpoints"

needs_data = pytest.mark.skipif(not CHECKPOINTS.is_dir(), reason="no ../shared/data beside the repository")


class Sine(nn.Module):
    """sin(30 x), or the same after a linear layer."""

    def __init__(self, n_in: int = 0, n_out: int = 0) -> None:
        super().__init__()
        self.linear: nn.Module = nn.Linear(n_in, n_out) if n_in else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30.0 * self.linear(x))


class Wrapped(nn.Module):
    """A module under another name."""

    def __init__(self, **children: nn.Module) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x: Tensor) -> Tensor:
        for child in self.children():
            x = child(x)
        return x


class Finer(Sine):
    def forward(self, x: Tensor) -> Tensor:
        t = self.linear(x)
        return torch.sin(30.0 * (t.abs() + 1.0) * t)


class Wavelet(nn.Module):
    def __init__(self, n_in: int, n_out: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.omega_0 = nn.Parameter(torch.full((1,), 7.0))
        self.scale_0 = nn.Parameter(torch.full((1,), 1.5))
        self.linear = nn.Linear(n_in, n_out, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        t = self.linear(x)
        return torch.exp(1j * self.omega_0 * t - (self.scale_0 * t).abs().square())


class RealPart(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).real


class Features(nn.Module):
    """x, then for every octave the sine and the cosine of one axis, then of the next."""

    def forward(self, x: Tensor) -> Tensor:
        waves = [
            wave(2.0**k * math.pi * x[:, i : i + 1])
            for k in range(4)
            for i in (0, 1)
            for wave in (torch.sin, torch.cos)
        ]
        return torch.cat([x, *waves], dim=1)


class Filtered(nn.Module):
    """Multiplicative filter network."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.ModuleList(Wrapped(linear=nn.Linear(3, 6)) for _ in range(3))
        self.linear = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.output_linear = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.sin(self.filters[0](x))
        for filter_, linear in zip(list(self.filters)[1:], self.linear, strict=True):
            z = torch.sin(filter_(x)) * linear(z)
        values: Tensor = self.output_linear(z)
        return values


class Bacon(nn.Module):
    """Of nine filters four are used, one three times and the others twice; of the outputs the finest."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.ModuleList(Wrapped(linear=nn.Linear(3, 6)) for _ in range(9))
        self.linear = nn.ModuleList(nn.Linear(6, 6) for _ in range(8))
        self.output_linear = nn.ModuleList(nn.Linear(6, 1) for _ in range(9))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.sin(self.filters[2](x))
        for index, linear in zip((2, 2, 4, 4, 6, 6, 8, 8), self.linear, strict=True):
            z = torch.sin(self.filters[index](x)) * linear(z)
        values: Tensor = self.output_linear[-1](z)
        return values


def octaves(x: Tensor, n: int) -> Tensor:
    return torch.cat([x, *(wave(2.0**k * x) for k in range(n) for wave in (torch.sin, torch.cos))], dim=1)


class SkipRadiance(nn.Module):
    """NeRF with the encoded position once more in front of the values of the fifth layer."""

    def __init__(self) -> None:
        super().__init__()
        n_in, n = 3 + 6 * 4, 10
        self.pts_linears = nn.ModuleList(nn.Linear(n_in if i == 0 else n + n_in * (i == 5), n) for i in range(8))
        self.views_linears = nn.ModuleList([nn.Linear(n + 3 + 6 * 2, 5)])
        self.feature_linear, self.alpha_linear, self.rgb_linear = nn.Linear(n, n), nn.Linear(n, 1), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        position, view = octaves(x[:, :3], 4), octaves(x[:, 3:], 2)
        h = position
        for i, linear in enumerate(self.pts_linears):
            h = torch.relu(linear(h))
            if i == 4:
                h = torch.cat([position, h], dim=1)
        density = torch.relu(self.alpha_linear(h))
        h = torch.relu(self.views_linears[0](torch.cat([self.feature_linear(h), view], dim=1)))
        return torch.cat([torch.sigmoid(self.rgb_linear(h)), density], dim=1)


def sequence(activation: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 9), activation(), nn.Linear(9, 7), activation(), nn.Linear(7, 2))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "coin": lambda: Wrapped(
        net=nn.Sequential(*(Sine(2 if i == 0 else 11, 11) for i in range(4))),
        last_layer=Wrapped(linear=nn.Linear(11, 3)),
    ),
    "siren": lambda: Wrapped(
        net=Wrapped(net=nn.Sequential(nn.Sequential(nn.Linear(2, 8), Sine()), nn.Sequential(nn.Linear(8, 3))))
    ),
    "siren-notebook": lambda: Wrapped(net=nn.Sequential(Sine(2, 8), Sine(8, 8), nn.Linear(8, 1))),
    "inric": lambda: Wrapped(
        features=Features(),
        net=Wrapped(net=nn.Sequential(nn.Sequential(nn.Linear(18, 8), Sine()), nn.Sequential(nn.Linear(8, 3)))),
    ),
    "nerf-skip": SkipRadiance,
    "mfn": Filtered,
    "bacon": Bacon,
    "wire": lambda: Wrapped(
        net=nn.Sequential(
            Wavelet(2, 6, torch.float32), Wavelet(6, 5, torch.complex64), RealPart(5, 3, dtype=torch.complex64)
        )
    ),
    "finer": lambda: Wrapped(net=nn.Sequential(Finer(2, 9), Finer(9, 9), Wrapped(linear=nn.Linear(9, 3)))),
    "mlp-relu": lambda: sequence(nn.ReLU),
    "mlp-elu": lambda: sequence(nn.ELU),
    "mlp-tanh": lambda: sequence(nn.Tanh),
}


def made(name: str) -> nn.Module:
    torch.manual_seed(len(name))
    module = MODULES[name]()
    with torch.no_grad():  # weights of usual size would make noise of the last bit's errors, with an omega of 30
        for matrix in (parameter for parameter in module.parameters() if parameter.ndim == 2):
            matrix.mul_(0.2)
    return module


def points(n_axes: int, n: int = 60, *, low: float = -1.0, high: float = 1.0) -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(low, high, (n, n_axes)).astype(np.float32)


def field_of(path: Path, name: str, **options: Any) -> sinrfmt.Field:
    imported = import_checkpoint(path, ready_architecture(name), **options)
    return lossless(imported.module, imported.header)


@pytest.mark.parametrize("name", MODULES)
def test_a_field_has_the_values_of_the_module_it_came_from(name: str, tmp_path: Path) -> None:
    module = made(name)
    torch.save({"epoch": 3, "model": module.state_dict()}, tmp_path / "net.pt")
    field = field_of(tmp_path / "net.pt", name)
    x = points(field.header.network.in_dims)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(field.sample(x), expected, atol=2e-5)


def test_every_ready_architecture_is_read_and_tested() -> None:
    assert set(ready_names()) == set(MODULES) | {"davies", "nerf", "niq", "siren-sdf"}
    for name in ready_names():
        assert ready_architecture(name).name == name


def test_the_guide_names_every_architecture_and_its_example_is_one() -> None:
    text = (ROOT / "docs" / "import.md").read_text()
    table = text[text.index("## Ready") : text.index("## An architecture")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall("`([^`]+)`", "".join(rows))) == ["--like", *ready_names()]
    example = "\n".join(
        line[4:] for line in text[text.index("## An architecture") :].splitlines() if line[:4] == "    "
    )
    assert len(parse_architecture(example, "example").records) == 5


def test_a_filter_that_bacon_uses_again_is_written_once() -> None:
    module = made("bacon")
    mapped = map_tensors(ready_architecture("bacon"), {n: p.numpy() for n, p in module.state_dict().items()})
    steps = mapped.network.steps
    multiplies = [(index, step.layer) for index, step in enumerate(steps) if isinstance(step, MultiplyRecord)]
    assert multiplies == [(2, 0), (4, 0), (8, 4), (12, 7), (16, 10)]
    sources = [layer.source.weight for layer in mapped.layers]
    assert [sources[layer] for _, layer in multiplies] == [f"filters.{i}.linear.weight" for i in (2, 2, 4, 6, 8)]
    assert len(set(sources)) == len(sources) == 13
    arrays = list(mapped.arrays.values())
    assert not any(np.array_equal(a, b) for a, b in combinations(arrays, 2))


# --- the checkpoints of others ---------------------------------------------------------------------------------------


def picture(name: str) -> NDArray[np.uint8]:
    with Image.open(DATA / "kodak" / f"{name}.png") as image:
        return np.asarray(image.convert("RGB"))


@needs_data
def test_coin_gives_its_picture_at_the_published_psnr() -> None:
    truth = picture("kodim15")
    field = field_of(CHECKPOINTS / "coin_siren_kodim15.pt", "coin", grid=truth.shape[:2])
    assert psnr(truth, field.to_uint8()) == pytest.approx(29.16, abs=0.01)


@needs_data
@pytest.mark.parametrize(("name", "share"), [("bunny", 0.083), ("fox", 0.015)])
def test_niq_networks_enclose_their_share_of_the_cube(name: str, share: float) -> None:
    field = field_of(CHECKPOINTS / f"niq_{name}_sdf.npz", "niq")
    kinds = {record.kind for record in field.header.network.layer_records}
    assert kinds == {RecordKind.LINEAR, RecordKind.ELU if name == "bunny" else RecordKind.RELU}
    assert np.mean(field.sample(points(3, 50_000)) < 0) == pytest.approx(share, abs=0.003)


@needs_data
def test_bare_numbers_are_a_distance_whose_gradient_is_one() -> None:
    module = import_checkpoint(CHECKPOINTS / "siren_sdf1_weights.bin", ready_architecture("siren-sdf")).module
    assert [layer.n_out for layer in module.network.layers] == [64, 64, 64, 1]
    x = torch.tensor(points(3, 4000), requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x).sum(), x)
    assert gradient.norm(dim=1).mean().item() == pytest.approx(0.99, abs=0.01)


@needs_data
@pytest.mark.parametrize("name", ["100340", "101089"])
def test_keras_networks_give_the_values_of_their_formula(name: str) -> None:
    h5py = pytest.importorskip("h5py")
    path = CHECKPOINTS / f"thingi10k_{name}_sdf.h5"
    x = points(3, 3000)
    h = x.astype(np.float64)
    with h5py.File(path) as file:
        for i in range(9):
            layer = "dense" if i == 0 else f"dense_{i}"
            h = h @ file[f"{layer}/{layer}/kernel:0"][()] + file[f"{layer}/{layer}/bias:0"][()]
            h = np.tanh(h) if i == 8 else np.maximum(h, 0)
    values = field_of(path, "davies").sample(x)
    np.testing.assert_allclose(values, h, atol=1e-5)
    assert values.min() < 0 < values.max()


@needs_data
def test_bacon_is_near_zero_on_the_vertices_of_its_mesh() -> None:
    field = field_of(CHECKPOINTS / "bacon_sdf_armadillo.pth", "bacon")
    lines = (DATA / "mesh" / "armadillo.obj").read_text().splitlines()
    vertices = np.array([line.split()[1:4] for line in lines if line.startswith("v ")][::13], dtype=np.float64)
    x = 0.5525 * vertices * (-1, 1, -1) + (0.0728, -0.0004, 0.0451)
    assert np.abs(field.sample(x)).mean() == pytest.approx(1.1e-4, rel=0.05)


@needs_data
def test_nerf_gives_the_values_of_its_formula() -> None:
    path = CHECKPOINTS / "nerf_lego_lowres_199999.ckpt"
    state = torch.load(path, map_location="cpu", weights_only=True)["model_fine_state_dict"]

    def linear(name: str, h: Tensor) -> Tensor:
        return nn.functional.linear(h, state[f"{name}.weight"], state[f"{name}.bias"])

    x = torch.from_numpy(points(6, 500))
    h = linear("layer1", octaves(x[:, :3], 10))
    for i in range(3):
        h = torch.relu(linear(f"layers_xyz.{i}", h))
    density = torch.relu(linear("fc_alpha", h))
    h = torch.cat([torch.relu(linear("fc_feat", h)), octaves(x[:, 3:], 4)], dim=1)
    colour = torch.sigmoid(linear("fc_rgb", torch.relu(linear("layers_dir.0", h))))
    values = field_of(path, "nerf").sample(x.numpy())
    np.testing.assert_allclose(values[:, :3], colour.numpy(), atol=1e-4)
    np.testing.assert_allclose(values[:, 3:], density.numpy(), atol=1e-5 * float(density.max()))


@needs_data
def test_a_submodule_is_taken_where_it_is_named() -> None:
    path = CHECKPOINTS / "nerf_lego_lowres_199999.ckpt"
    tensors = read_tensors(path)
    for part in ("model_coarse_state_dict", "model_fine_state_dict"):
        imported = import_checkpoint(path, ready_architecture("nerf"), submodule=part)
        np.testing.assert_array_equal(imported.mapped.arrays["layers.0.bias"], tensors[f"{part}.layer1.bias"])


# --- containers ------------------------------------------------------------------------------------------------------

RELU = {"0.weight": (5, 3), "0.bias": (5,), "2.weight": (4, 5), "2.bias": (4,), "10.weight": (2, 4), "10.bias": (2,)}


def arrays_of(shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(2)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_hdf5(path: Path, arrays: dict[str, NDArray[np.float32]]) -> None:
    with pytest.importorskip("h5py").File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace(".", "/") + ":0"] = array


def write_safetensors(path: Path, arrays: dict[str, NDArray[np.float32]]) -> None:
    pytest.importorskip("safetensors.numpy").save_file(arrays, path)


def write_npz(path: Path, arrays: dict[str, NDArray[np.float32]]) -> None:
    np.savez(path, **dict(reversed(arrays.items())))  # type: ignore[arg-type]


def write_pt(path: Path, arrays: dict[str, NDArray[np.float32]]) -> None:
    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, path)


@pytest.mark.parametrize(
    ("suffix", "write"),
    [(".npz", write_npz), (".pt", write_pt), (".safetensors", write_safetensors), (".h5", write_hdf5)],
)
def test_every_container_gives_the_same_field(
    suffix: str, write: Callable[[Path, dict[str, NDArray[np.float32]]], None], tmp_path: Path
) -> None:
    arrays = arrays_of(RELU)
    write(tmp_path / f"net{suffix}", arrays)
    field = field_of(tmp_path / f"net{suffix}", "mlp-relu")
    for tensor, name in zip(field.weights, RELU, strict=True):  # 10 comes after 2
        np.testing.assert_array_equal(tensor, arrays[name])


def test_numbers_of_other_types_become_binary32(tmp_path: Path) -> None:
    arrays = arrays_of(RELU)
    types = (torch.float64, torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.bfloat16)
    tensors = {name: torch.tensor(a).to(t) for (name, a), t in zip(arrays.items(), types, strict=True)}
    torch.save(tensors, tmp_path / "net.pt")
    field = field_of(tmp_path / "net.pt", "mlp-relu")
    for weight, tensor in zip(field.weights, tensors.values(), strict=True):
        np.testing.assert_array_equal(weight, tensor.float().numpy())


def test_widths_of_bare_numbers_are_asked_for_where_several_fit(tmp_path: Path) -> None:
    architecture = parse_architecture(SINES + "\n[raw]\nin_dims = 1\nout_channels = 1\n", "sines")
    sizes = (1, 8, 8, 8, 8, 8, 8, 8, 1)
    n = sum((a + 1) * b for a, b in pairwise(sizes))
    path = tmp_path / "net.bin"
    path.write_bytes(np.arange(n, dtype="<f4").tobytes())
    network = import_checkpoint(path, architecture, widths=sizes[1:-1]).module.network
    assert tuple(layer.n_out for layer in network.layers) == sizes[1:]
    with pytest.raises(sinrfmt.UsageError, match="a network 1-9-1 has 28"):
        import_checkpoint(path, architecture, widths=(9,))
    path.write_bytes(bytes(4 * (n + 1)))
    with pytest.raises(sinrfmt.UsageError, match="give --widths"):
        import_checkpoint(path, architecture)
    path.write_bytes(bytes(5))
    with pytest.raises(sinrfmt.UsageError, match="not whole float32"):
        import_checkpoint(path, architecture)


SINES = """
modality = "FIELD"
coords = "CENTRES"
values = "RAW"

[[records]]
kind = "SINE"
omega = 20.0
layer = "*"
index = ":-1"

[[records]]
kind = "LINEAR"
layer = "*"
index = "-1"
"""


# --- forms -----------------------------------------------------------------------------------------------------------


def test_omega_around_the_weights_alone_and_columns_in_another_order() -> None:
    text = SINES.replace("omega = 20.0", "omega = 20.0\nbias_in_omega = false\ncolumns = [1, 0]")
    tensors = arrays_of({"0.weight": (4, 2), "0.bias": (4,), "1.weight": (1, 4)})
    mapped = map_tensors(parse_architecture(text, "swapped"), dict(tensors))
    x = points(2)
    h = np.sin(20.0 * x[:, ::-1] @ tensors["0.weight"].T + tensors["0.bias"])
    values = sinrfmt.evaluate.evaluate(mapped.network, list(mapped.arrays.values()), x)
    np.testing.assert_allclose(values, h @ tensors["1.weight"].T, atol=1e-5)
    assert [record.bias for record in mapped.network.layer_records] == [True, False]


@pytest.mark.parametrize("order", [("axis", "octave", "function"), ("function", "octave", "axis")])
def test_fourier_features_in_any_order(order: tuple[str, str, str]) -> None:
    record = f'[[records]]\nkind = "INPUT"\naxes = [0, 1]\ntimes_pi = false\norder = {json.dumps(order)}\n\n'
    architecture = parse_architecture(SINES.replace("[[records]]", record + "[[records]]", 1), "ordered")
    tensors = arrays_of({"0.weight": (5, 12), "1.weight": (1, 5)})
    mapped = map_tensors(architecture, dict(tensors))
    x = points(2)
    sizes = {"octave": 3, "function": 2, "axis": 2}
    features = np.empty((len(x), 12))
    for column, index in enumerate(np.ndindex(*(sizes[name] for name in order))):
        at = dict(zip(order, index, strict=True))
        features[:, column] = (np.sin, np.cos)[at["function"]](2.0 ** at["octave"] * x[:, at["axis"]])
    expected = np.sin(20.0 * features @ tensors["0.weight"].T) @ tensors["1.weight"].T
    values = sinrfmt.evaluate.evaluate(mapped.network, list(mapped.arrays.values()), x)
    np.testing.assert_allclose(values, expected, atol=1e-4)


def test_coordinates_that_are_not_encoded_are_appended() -> None:
    record = '[[records]]\nkind = "INPUT"\naxes = [1]\nencoded = false\n\n[[records]]\nkind = "LINEAR"'
    architecture = parse_architecture(SINES.replace('[[records]]\nkind = "LINEAR"', record), "skip")
    tensors = arrays_of({"0.weight": (5, 2), "1.weight": (1, 6)})
    mapped = map_tensors(architecture, dict(tensors))
    x = points(2)
    h = np.concatenate([np.sin(20.0 * x @ tensors["0.weight"].T), x[:, 1:]], axis=1)
    values = sinrfmt.evaluate.evaluate(mapped.network, list(mapped.arrays.values()), x)
    np.testing.assert_allclose(values, h @ tensors["1.weight"].T, atol=1e-5)


def test_what_the_caller_says_of_the_header_goes_before_the_architecture(tmp_path: Path) -> None:
    write_npz(tmp_path / "net.npz", arrays_of(RELU))
    imported = import_checkpoint(
        tmp_path / "net.npz",
        ready_architecture("mlp-relu"),
        grid=(4, 5, 6),
        modality=Modality.VOLUME,
        coords=Coords.CORNERS,
        values=Values.UNIT,
    )
    header = lossless(imported.module, imported.header).header
    assert (header.modality, header.coords, header.values) == (Modality.VOLUME, Coords.CORNERS, Values.UNIT)
    assert header.grid == (4, 5, 6)


def test_the_signal_has_the_coordinates_of_the_header(tmp_path: Path) -> None:
    torch.save(made("siren").state_dict(), tmp_path / "net.pt")
    imported = import_checkpoint(tmp_path / "net.pt", ready_architecture("siren"), grid=(3, 5))
    truth = np.random.default_rng(4).integers(0, 256, (3, 5, 3)).astype(np.uint8)
    signal = signal_for(truth, imported.header)
    assert signal.coords[[0, -1]].tolist() == [[-1, -1], [1, 1]]
    np.testing.assert_allclose(signal.values[0], truth[0, 0] / 127.5 - 1, atol=1e-6)
    with pytest.raises(sinrfmt.UsageError, match="native grid"):
        signal_for(truth[:2], imported.header)
    with pytest.raises(sinrfmt.UsageError, match="a picture of 1 channels"):
        signal_for(truth[:, :, :1], imported.header)


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(tensors: dict[str, Any], message: str, name: str = "mlp-relu", **options: Any) -> None:
    with pytest.raises(sinrfmt.UsageError, match=re.escape(message)):
        map_tensors(ready_architecture(name), tensors, **options)


PRODUCTS = """
modality = "FIELD"
coords = "CENTRES"
values = "RAW"

[[records]]
kind = "{kind}"
layer = "first"

[[records]]
kind = "MULTIPLY"
layer = "{layer}"

[[records]]
kind = "LINEAR"
layer = "second"

[[records]]
kind = "LINEAR"
layer = "last"
"""


@pytest.mark.parametrize(
    ("kind", "layer", "message"),
    [
        ("SINE", "second", "second.weight: MULTIPLY by a layer that does not come before it"),
        ("OUTPUT", "first", "first.weight: 4 outputs multiply 2 values"),
        ("GABOR", "first", "first.weight: MULTIPLY of complex values"),
    ],
)
def test_products_that_the_format_does_not_have_are_refused(kind: str, layer: str, message: str) -> None:
    text = PRODUCTS.format(kind=kind, layer=layer)
    if kind == "GABOR":
        text = text.replace('kind = "GABOR"', 'kind = "GABOR"\nscale = 2.0')
    n_in = 2 if kind == "OUTPUT" else 4
    shapes = {"first.weight": (4, 2), "second.weight": (4, n_in), "last.weight": (1, 4)}
    with pytest.raises(sinrfmt.UsageError, match=re.escape(message)):
        map_tensors(parse_architecture(text, "products"), dict(arrays_of(shapes)))


def changed(**entries: Any) -> dict[str, Any]:
    return arrays_of(RELU) | {name.replace("_", "."): value for name, value in entries.items()}


def test_wrong_tensors_are_named() -> None:
    refused(changed(**{"2_weight": np.ones((4, 6), np.float32)}), "2.weight: 6 columns for 5 values")
    refused(changed(**{"2_bias": np.ones(3, np.float32)}), "2.bias: expected shape (4,), found (3,)")
    refused(changed(**{"2_weight": np.ones(4, np.float32)}), "2.weight: expected a matrix, found shape (4,)")
    refused(changed(**{"2_bias": np.full(4, np.inf, np.float32)}), "2.bias: holds a number that is not finite")
    refused(changed(**{"2_weight": np.ones((4, 5), np.complex64)}), "2.weight: complex weights")
    refused(changed(running_mean=np.ones(4, np.float32)), "does not use the tensor running.mean, shape (4,)")
    refused({"bias": np.ones(3, np.float32)}, "no tensor **.weight; the checkpoint has bias")
    refused(arrays_of(RELU), "no tensors below 'net'", submodule="net")


def test_two_networks_in_a_checkpoint_are_not_mixed_up() -> None:
    state = {name: array.numpy() for name, array in made("coin").state_dict().items()}
    both = {f"{part}.{name}": array for part in ("ema", "model") for name, array in state.items()}
    refused(both, "several networks fit: --submodule ema or model", "coin")
    mapped = map_tensors(ready_architecture("coin"), both, submodule="ema")
    np.testing.assert_array_equal(mapped.arrays["layers.4.bias"], state["last_layer.linear.bias"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("omega", "omegas"), "record 1: unknown key 'omegas'"),
        (('"SINE"', '"SINUS"'), "record 1: kind = 'SINUS': expected one of"),
        (('"SINE"', '"FOURIER"'), "record 1: FOURIER has no layers"),
        (('index = ":-1"', 'index = "first"'), "record 1: index = 'first': expected a list"),
        (('"CENTRES"', '"BOX"'), "a box goes with"),
        (("20.0", "true"), "record 1: omega = True: expected a number"),
        (('kind = "SINE"', ""), "record 1: either kind or activations"),
        (('layer = "*"\nindex = ":-1"', ""), "record 1: layer is missing"),
        (('modality = "FIELD"', ""), "modality is missing"),
        (("[[records]]", "[[records"), "Expected"),
    ],
)
def test_an_architecture_that_is_wrong_names_the_key(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "arch.toml"
    text = SINES.replace(*change, 1)
    assert text != SINES
    path.write_text(text)
    with pytest.raises(sinrfmt.UsageError, match=re.escape(message)):
        read_architecture(path)


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".h5", ".safetensors", ".onnx"])
def test_a_damaged_checkpoint_is_one_clear_error(suffix: str, tmp_path: Path) -> None:
    for needed in {".h5": ["h5py"], ".safetensors": ["safetensors"], ".onnx": ["onnx"]}.get(suffix, []):
        pytest.importorskip(needed)
    path = tmp_path / f"net{suffix}"
    for data in (b"", b"not a checkpoint at all, not even nearly", bytes(1000)):
        path.write_bytes(data)
        with pytest.raises(sinrfmt.UsageError, match=re.escape(str(path))) as caught:
            import_checkpoint(path, ready_architecture("mlp-relu"))
        assert "\n" not in str(caught.value)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(made("coin"), path)  # the module itself, not its state dict
    with pytest.raises(sinrfmt.UsageError, match=re.escape(str(path))):
        import_checkpoint(path, ready_architecture("coin"))


def test_a_library_that_is_missing_names_the_extra() -> None:
    with pytest.raises(sinrfmt.UsageError, match=re.escape("pip install 'sinrfmt[convert]'")):
        library("a_library_that_nobody_has")


# --- ONNX chains -----------------------------------------------------------------------------------------------------


def write_onnx(path: Path, nodes: Sequence[Any], constants: dict[str, NDArray[np.float32]]) -> None:
    onnx = pytest.importorskip("onnx")
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
        "chain",
        [onnx.helper.make_tensor_value_info("x", kind, ["n", 2])],
        [onnx.helper.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def reference_values(path: Path, x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Values by the evaluator of the onnx package."""
    reference = pytest.importorskip("onnx.reference")
    values: NDArray[np.float32] = reference.ReferenceEvaluator(str(path)).run(None, {name: x})[0]
    return values


CONSTANTS = arrays_of(
    {"w0": (2, 5), "b0": (5,), "w1": (4, 5), "b1": (1, 4), "w2": (4, 3), "b2": (3,), "row": (5,), "shift": (2,)}
) | {"omega": np.array(12.5, np.float32), "minus": np.array([-2.0], np.float32)}


def test_an_onnx_chain_needs_no_architecture(tmp_path: Path) -> None:
    nodes = [
        ("Add", ["x", "shift"], ["a"]),
        ("MatMul", ["a", "w0"], ["b"]),
        ("Add", ["b0", "b"], ["c"]),
        ("Mul", ["omega", "c"], ["d"]),
        ("Sin", ["d"], ["e"]),
        ("Gemm", ["e", "w1", "b1"], ["f"], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
        ("Div", ["f", "minus"], ["g"]),
        ("Elu", ["g"], ["h"]),
        ("MatMul", ["h", "w2"], ["i"]),
        ("Sub", ["i", "b2"], ["j"]),
        ("Sigmoid", ["j"], ["y"]),
    ]
    write_onnx(tmp_path / "net.onnx", nodes, CONSTANTS)
    imported = import_checkpoint(tmp_path / "net.onnx")
    network = imported.module.network
    assert [layer.kind.name for layer in network.layers] == ["SINE", "ELU", "SIGMOID"]
    assert network.layers[0].omega == 12.5
    x = points(2)
    values = lossless(imported.module, imported.header).sample(x)
    np.testing.assert_allclose(values, reference_values(tmp_path / "net.onnx", x, "x"), atol=2e-5)


def test_scalings_by_row_and_before_a_matrix_are_folded(tmp_path: Path) -> None:
    nodes = [
        ("Mul", ["x", "shift"], ["a"]),
        ("MatMul", ["a", "w0"], ["b"]),
        ("Mul", ["b", "row"], ["c"]),
        ("Tanh", ["c"], ["d"]),
        ("Mul", ["d", "minus"], ["e"]),
        ("Gemm", ["e", "w1"], ["f"], {"transB": 1}),
        ("Mul", ["f", "minus"], ["g"]),
        ("Sin", ["g"], ["h"]),
        ("MatMul", ["h", "w2"], ["y"]),
    ]
    write_onnx(tmp_path / "net.onnx", nodes, CONSTANTS)
    imported = import_checkpoint(tmp_path / "net.onnx")
    x = points(2)
    values = lossless(imported.module, imported.header).sample(x)
    np.testing.assert_allclose(values, reference_values(tmp_path / "net.onnx", x, "x"), atol=2e-5)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("Softmax", ["x"], ["y"])], "Softmax y is no link"),
        ([("MatMul", ["w0", "x"], ["y"])], "the values are not the left factor"),
        ([("Sin", ["x"], ["y"])], "an activation without a matrix"),
        ([("MatMul", ["x", "w0"], ["a"]), ("Mul", ["a", "a"], ["y"])], "Mul y is no link"),
        ([("MatMul", ["x", "w0"], ["a"]), ("Add", ["a", "x"], ["y"])], "x, which is not a constant"),
        ([("MatMul", ["x", "w0"], ["a"]), ("Elu", ["a"], ["y"], {"alpha": 0.5})], "alpha is not 1"),
        ([("Mul", ["x", "omega"], ["y"])], "does not end in a layer"),
    ],
)
def test_an_onnx_graph_that_is_no_chain_names_the_operator(nodes: Sequence[Any], message: str, tmp_path: Path) -> None:
    write_onnx(tmp_path / "net.onnx", nodes, CONSTANTS)
    with pytest.raises(sinrfmt.UsageError, match=re.escape(message)):
        import_checkpoint(tmp_path / "net.onnx")


# --- the command line ------------------------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sinrfmt", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_import_writes_a_file_and_says_what_it_is(tmp_path: Path) -> None:
    torch.save(made("coin").state_dict(), tmp_path / "net.pt")
    output = tmp_path / "net.sinr"
    result = run("import", tmp_path / "net.pt", "--like", "coin", "--size", "9x6", "--lossless", "-o", output, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    summary = json.loads(result.stdout)
    assert summary["file_bytes"] == output.stat().st_size
    assert summary["bpp"] == pytest.approx(8 * summary["file_bytes"] / 54, abs=1e-4)
    assert sinrfmt.load(output).shape == (6, 9, 3)
    again = run("import", tmp_path / "net.pt", "--like", "coin", "--lossless", "-o", output)
    assert (again.returncode, again.stdout) == (2, "") and "--force" in again.stderr


@pytest.mark.parametrize("option", [("--drop", 0.5), ("--bytes", 700), ("--psnr", 35), ("--bpp", 10)])
def test_import_keeps_its_target(option: tuple[str, float], tmp_path: Path) -> None:
    """The picture is the network's own, so that the float32 network is perfect but for rounding to 8 bits."""
    torch.save(made("coin").state_dict(), tmp_path / "net.pt")
    size = ("--size", "24x16")
    assert (
        run("import", tmp_path / "net.pt", "--like", "coin", *size, "--lossless", "-o", tmp_path / "own.sinr").stderr
        == ""
    )
    truth = sinrfmt.load(tmp_path / "own.sinr").to_uint8()
    noise = np.random.default_rng(3).integers(-6, 7, truth.shape)
    truth = np.clip(truth.astype(np.int64) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(truth).save(tmp_path / "own.png")
    options = ("--like", "coin", "--signal", tmp_path / "own.png", *option, "--preset", "fast", "--json")
    result = run("import", tmp_path / "net.pt", *options, "-o", tmp_path / "net.sinr")
    assert (result.returncode, result.stderr) == (0, "")
    summary, field = json.loads(result.stdout), sinrfmt.load(tmp_path / "net.sinr")
    assert summary["psnr"] == pytest.approx(psnr(truth, field.to_uint8()), abs=1e-3)
    kept = {
        "--drop": summary["fp32_quality"] - summary["psnr"] <= 0.51,
        "--bytes": len(field.data) <= 700,
        "--psnr": summary["psnr"] >= 34.99,
        "--bpp": summary["bpp"] <= 10,
    }
    assert kept[option[0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --like or --arch"),
        (["--like", "cion"], "expected one of bacon, coin"),
        (["--like", "coin", "--arch", "x.toml"], "exclude each other"),
        (["--like", "coin", "--bytes", 100, "--lossless"], "exclude each other"),
        (["--like", "coin", "--bpp", 1], "needs a native grid"),
        (["--like", "coin", "--size", "3x4x5"], "a native grid of 3 axes"),
        (["--like", "coin", "--values", "percent"], "expected one of UNIT"),
        (["--like", "coin", "--coords", "box"], "has no box"),
        (["--arch", "missing.toml"], "missing.toml"),
    ],
)
def test_import_refuses_with_one_line_and_writes_nothing(options: list[object], message: str, tmp_path: Path) -> None:
    torch.save(made("coin").state_dict(), tmp_path / "net.pt")
    result = run("import", tmp_path / "net.pt", *options, "-o", tmp_path / "net.sinr")
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr
    assert not (tmp_path / "net.sinr").exists()
