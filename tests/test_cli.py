"""The command line as a user meets it: statuses, JSON, one clear line for whatever goes wrong, nothing half-written."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sinrfmt
from sinrfmt import UsageError, metrics
from sinrfmt.cli.options import passes_of
from sinrfmt.cli.pictures import picture_options
from sinrfmt.cli.requests import EncodeRequest
from sinrfmt.media import image
from sinrfmt.pictures import FieldKind, Ladder

ROOT = Path(__file__).parents[1]
WAVE = ROOT / "spec" / "examples" / "wave.sinr"
PHOTO = ROOT / "examples" / "kodim23_192x128.png"
SINRFMT = (sys.executable, "-m", "sinrfmt")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*SINRFMT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False, **options)


def last_json(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    lines = result.stdout.splitlines()
    assert len(lines) == 1, result.stdout + result.stderr
    parsed: dict[str, Any] = json.loads(lines[0])
    return parsed


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "small.png"
    with Image.open(PHOTO) as photo:
        photo.resize((24, 16)).save(path)
    return path


@pytest.fixture(scope="module")
def encoded(picture: Path) -> tuple[Path, dict[str, Any]]:
    output = picture.with_name("small.sinr")
    options = ("--preset", "fast", "--bytes", 300, "--seed", 3, "--keep-network", output.with_suffix(".npz"), "--json")
    result = run("encode", picture, "-o", output, *options)
    assert result.returncode == 0
    assert result.stderr == ""  # progress stays out of a pipe
    return output, last_json(result)


def test_encode_reports_what_is_on_disk(encoded: tuple[Path, dict[str, Any]]) -> None:
    path, summary = encoded
    field = sinrfmt.load(path)
    assert summary["file_bytes"] == path.stat().st_size <= 300
    assert summary["overhead_bytes"] <= 64
    assert summary["weights_sha256"] == field.weights_sha256
    assert summary["passes"] == 1
    assert {layer["tool"] for layer in summary["layers"]} in ({"SCALAR"}, {"TRELLIS"})  # whichever is smaller
    assert all(1 < layer["bits_per_weight"] < 16 for layer in summary["layers"])


def test_equal_seeds_give_equal_files(picture: Path, encoded: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    again = tmp_path / "again.sinr"
    result = run("encode", picture, "-o", again, "--preset", "fast", "--bytes", 300, "--seed", 3)
    assert result.stdout.count("\n") == 1
    assert again.read_bytes() == encoded[0].read_bytes()


def test_keep_network_writes_the_float_network(encoded: tuple[Path, dict[str, Any]]) -> None:
    path, summary = encoded
    with np.load(path.with_suffix(".npz")) as arrays:
        assert sum(arrays[name].size for name in arrays) == summary["parameters"]
        assert {arrays[name].dtype for name in arrays} == {np.dtype(np.float32)}


def test_decode_follows_the_contract(encoded: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path, summary = encoded
    field = sinrfmt.load(path)
    npy, png = tmp_path / "out.npy", tmp_path / "out.png"
    result = last_json(run("decode", path, npy, "--json"))
    assert {key: result[key] for key in ("weights_sha256", "passes")} == {
        "weights_sha256": summary["weights_sha256"],
        "passes": 1,
    }
    assert result["acc_crc"] == [f"{crc:08x}" for crc in field.acc_crc]
    np.testing.assert_array_equal(np.load(npy), field.grid())
    assert run("decode", path, png, "--size", "30x20").returncode == 0
    np.testing.assert_array_equal(np.asarray(Image.open(png)), field.to_uint8((20, 30)))


def test_decode_at_coordinates(tmp_path: Path) -> None:
    coords = np.array([[-1.0], [0.25]], dtype=np.float32)
    np.save(tmp_path / "c.npy", coords)
    assert run("decode", WAVE, tmp_path / "v.npy", "--coords", tmp_path / "c.npy").returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), sinrfmt.load(WAVE).sample(coords))


def test_a_deep_picture_with_alpha_goes_there_and_back(tmp_path: Path) -> None:
    y, x = np.indices((8, 12))
    picture = np.stack([5000 * x, 8000 * y, 300 * x * y, 65535 - 0 * x], axis=-1).astype(np.uint16)
    image.write_png(tmp_path / "deep.png", picture)
    options = ("--preset", "fast", "--bytes", 900, "--json")
    result = run("encode", tmp_path / "deep.png", "-o", tmp_path / "deep.sinr", *options)
    assert result.returncode == 0, result.stderr
    assert run("decode", tmp_path / "deep.sinr", tmp_path / "again.png", "--bits", 16).returncode == 0
    again = image.read_image(tmp_path / "again.png")
    assert again.dtype == np.uint16
    assert last_json(result)["psnr"] == pytest.approx(metrics.psnr(picture, again), abs=1e-4)
    assert len(np.unique(again[..., :3] & 255)) > 100  # not 8 bits in wider numbers


def test_inspect_and_verify(encoded: tuple[Path, dict[str, Any]]) -> None:
    path, summary = encoded
    shown = run("inspect", path)
    assert shown.returncode == 0
    for text in ("SINE", "PASS", "RANS", summary["weights_sha256"], "CENTRES"):
        assert text in shown.stdout
    description = last_json(run("inspect", path, "--json"))
    assert sum(chunk["length"] + 9 for chunk in description["chunks"]) + 4 == description["file_bytes"]
    assert last_json(run("verify", path, "--json"))["weights_sha256"] == summary["weights_sha256"]


def damaged(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "damaged.sinr"
    path.write_bytes(data)
    return path


def test_inspect_draws_what_is_inside(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawing = tmp_path / "wave.png"
    described = last_json(run("inspect", WAVE, "--plot", drawing, "--json"))
    assert [entry["pass"] for entry in described["tensors"]] == [0, 0, 0, 0]
    with Image.open(drawing) as drawn:
        assert drawn.format == "PNG"
    assert run("inspect", WAVE, "--plot", drawing).returncode == 2  # it is there already


def test_a_bad_file_gives_its_code_and_leaves_nothing(tmp_path: Path) -> None:
    data = bytearray(WAVE.read_bytes())
    data[45] ^= 1
    output = tmp_path / "out.npy"
    result = run("decode", damaged(tmp_path, bytes(data)), output, "--json")
    assert result.returncode == 3
    failure = last_json(result)
    assert (failure["code"], failure["name"], failure["class"], failure["offset"]) == (
        103,
        "CHUNK_CRC_MISMATCH",
        "integrity",
        67,
    )
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.sinr"]


USAGE_ERRORS = {
    "missing file": ("decode", "{tmp}/none.sinr", "{tmp}/x.npy"),
    "folder as input": ("verify", "{tmp}"),
    "unreadable image": ("encode", WAVE, "-o", "{tmp}/x.sinr"),
    "missing image": ("encode", "{tmp}/none.png", "-o", "{tmp}/x.sinr"),
    "missing folder": ("decode", WAVE, "{tmp}/none/x.npy"),
    "unknown suffix": ("decode", WAVE, "{tmp}/x.jpg"),
    "existing output": ("decode", WAVE, "{tmp}/existing.npy"),
    "picture of a sound": ("decode", WAVE, "{tmp}/x.png"),
    "bad size": ("decode", WAVE, "{tmp}/x.npy", "--size", "0"),
    "size of other dimensions": ("decode", WAVE, "{tmp}/x.npy", "--size", "4x4"),
    "coords and size": ("decode", WAVE, "{tmp}/x.npy", "--size", "4", "--coords", "{tmp}/existing.npy"),
    "coords of another shape": ("decode", WAVE, "{tmp}/x.npy", "--coords", "{tmp}/existing.npy"),
    "too many passes": ("decode", WAVE, "{tmp}/x.npy", "--passes", "2"),
    "no passes": ("decode", WAVE, "{tmp}/x.npy", "--passes", "0"),
    "unknown option": ("decode", WAVE, "{tmp}/x.npy", "--colour"),
    "two targets": ("encode", PHOTO, "-o", "{tmp}/x.sinr", "--bytes", "500", "--psnr", "30"),
    "too few bytes": ("encode", "{tmp}/tiny.png", "-o", "{tmp}/x.sinr", "--bytes", "40", "--preset", "fast"),
    "passes and payload": ("encode", PHOTO, "-o", "{tmp}/x.sinr", "--passes", "3", "--payload", "zlib"),
    "a ladder of one pass": ("encode", PHOTO, "-o", "{tmp}/x.sinr", "--ladder", "previews"),
    "levels of a network": (
        "encode",
        PHOTO,
        "-o",
        "{tmp}/x.sinr",
        "--bytes",
        "900",
        "--passes",
        "2",
        "--ladder",
        "levels",
    ),
    "more passes than levels": ("encode", PHOTO, "-o", "{tmp}/x.sinr", "--field", "grid", "--passes", "9"),
    "a grid on a base": ("encode", PHOTO, "-o", "{tmp}/x.sinr", "--field", "grid", "--base", WAVE),
    "no such coding": ("encode", PHOTO, "-o", "{tmp}/x.sinr", "--coding", "tcq"),
    "values with bits": ("decode", WAVE, "{tmp}/x.npy", "--bits", "16"),
}


@pytest.mark.parametrize("name", USAGE_ERRORS)
def test_a_mistake_of_the_caller_is_one_clear_line(name: str, tmp_path: Path) -> None:
    np.save(tmp_path / "existing.npy", np.zeros((2, 3), dtype=np.float32))
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(tmp_path / "tiny.png")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    result = run(*(str(a).format(tmp=tmp_path) for a in USAGE_ERRORS[name]), "--json")
    assert result.returncode == 2, result.stderr
    failure = last_json(result)
    assert (failure["name"], failure["class"], failure["offset"]) == ("USAGE", "usage", None)
    assert len(result.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_force_overwrites(tmp_path: Path) -> None:
    output = tmp_path / "x.npy"
    output.write_bytes(b"old")
    assert run("decode", WAVE, output, "--force").returncode == 0
    assert np.load(output).shape == (8, 1)


def _only_small_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    output = tmp_path / "x.npy"
    output.write_bytes(b"old")
    result = run("decode", WAVE, output, "--force", "--size", "1000", preexec_fn=_only_small_files)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]
    assert output.read_bytes() == b"old"


@pytest.fixture
def heeded_interruptions() -> Iterator[None]:
    """Children heed SIGINT, also where these tests run as a job in the background, which starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_interruptions")
def test_an_interruption_writes_nothing(tmp_path: Path) -> None:
    command = [*SINRFMT, "encode", str(PHOTO), "-o", str(tmp_path / "x.sinr"), "--preset", "best"]
    reader, writer = os.openpty()  # progress is shown on a terminal only
    with subprocess.Popen(command, stderr=writer, stdout=subprocess.DEVNULL, env=ENVIRONMENT) as child:
        os.close(writer)
        screen = b""
        while b"Ctrl-C" not in screen:  # it is at work
            screen += os.read(reader, 1024)
        status = None
        while status is None:  # as a user does: an interruption that falls into a callback of an import may be lost
            child.send_signal(signal.SIGINT)
            try:
                status = child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                continue
        assert status == 130
        while b"interrupted" not in screen:
            screen += os.read(reader, 1024)
    os.close(reader)
    assert b"Ctrl-C stops; nothing is written before the end." in screen
    assert b"interrupted; nothing was written" in screen
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_verb() -> None:
    result = run("--help")
    assert result.returncode == 0
    for verb in ("encode", "decode", "inspect", "verify"):
        assert verb in result.stdout


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("4", 4),
        ("2kB,8kB,full", (2000, 8000, None)),
        ("1.5kB,4KiB", (1500, 4096)),
        ("900,full", (900, None)),
        ("full", (None,)),
    ],
)
def test_passes_of_an_encoder(text: str, passes: int | tuple[int | None, ...]) -> None:
    assert passes_of(text) == passes


def test_steps_and_their_ladder_reach_the_encoder(tmp_path: Path) -> None:
    request = EncodeRequest(tmp_path / "x.sinr", passes="2kB,full", ladder=Ladder.LEVELS, field=FieldKind.GRID)
    assert (picture_options(request).passes, picture_options(request).ladder) == ((2000, None), Ladder.LEVELS)


@pytest.mark.parametrize("text", ["", "0", "256", "-1", "full,2kB", "2kB,,full", "8kB,2kB,full", "2 kB", "0B,full"])
def test_passes_that_say_nothing_sensible(text: str) -> None:
    with pytest.raises(UsageError, match="--passes"):
        passes_of(text)
