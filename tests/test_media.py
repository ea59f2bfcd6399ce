"""Sound and scientific fields from files to .sinr and back, through the command line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from typer.testing import CliRunner

import sinrfmt
from sinrfmt import edit
from sinrfmt.cli.commands import app
from sinrfmt.cli.handlers import scaled
from sinrfmt.cli.modalities import HANDLERS, handler_of_input
from sinrfmt.errors import UsageError
from sinrfmt.metrics import max_error
from sinrfmt.pictures import FieldKind, PictureOptions
from sinrfmt.registry import Modality
from sinrfmt.torch.grid_files import grid_presets
from sinrfmt.torch.presets import presets
from sinrfmt.torch.sampled import choose_field
from sinrfmt.torch.signals import Signal, array_signal, audio_signal

soundfile = pytest.importorskip("soundfile", reason="needs the extra media")

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
RATE = 8000
T = np.arange(1500) / RATE
TONE = 0.5 * np.sin(2 * np.pi * 60 * T)
MAP = (280 + 10 * np.sin(np.arange(20)[:, None] / 6) * np.cos(np.arange(30) / 8)).astype(np.float32)

pytestmark = pytest.mark.usefixtures("quick", "one_thread")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets that train for an instant: what is tested are paths and figures, not quality."""
    little = {"n_seeds": 1, "n_steps": 60, "n_trials": 4, "n_refits": 0, "n_refit_trials": 0, "curvature_samples": 200}
    monkeypatch.setitem(presets(), "fast", replace(presets()["fast"], feedback_limit=300, **little))
    for name in ("audio", "field"):
        monkeypatch.setitem(grid_presets(), name, replace(grid_presets()[name], n_steps=90, log2_table_size=7))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def done(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def refused(*arguments: object) -> str:
    """The line of a usage error."""
    result = run(*arguments)
    assert isinstance(result.exception, UsageError), result.exception
    assert "\n" not in str(result.exception)
    return str(result.exception)


def sound(path: Path, samples: NDArray[Any], subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, RATE, subtype=subtype)
    return path


def array(path: Path, values: NDArray[Any]) -> Path:
    np.save(path, values)
    return path


def encoded(source: Path, *options: object) -> tuple[Path, dict[str, Any]]:
    output = source.with_suffix(".sinr")
    return output, done("encode", source, "-o", output, "--preset", "fast", *options)


# --- which modality ---------------------------------------------------------------------------------------------------


NAMES = {
    **{"a.wav": "audio", "a.FLAC": "audio", "a.npy": "field", "a.nc": "field"},
    **{"a.png": "image", "a.JPG": "image", "a.unknown": "image"},
}


@pytest.mark.parametrize("name", NAMES)
def test_the_suffix_says_the_modality(name: str, tmp_path: Path) -> None:
    assert handler_of_input(tmp_path / name).name == NAMES[name]


def test_the_shape_of_an_array_says_the_modality(tmp_path: Path) -> None:
    colours = array(tmp_path / "a.npy", np.zeros((4, 5, 3), np.uint8))
    assert handler_of_input(colours).name == "image"
    assert handler_of_input(colours, "field").name == "field"


def test_a_modality_has_one_handler() -> None:
    of = [modality for handler in HANDLERS for modality in handler.modalities]
    assert len(of) == len(set(of))
    assert len({handler.name for handler in HANDLERS}) == len(HANDLERS)


def test_scale_leaves_fixed_axes() -> None:
    assert scaled((10, 20, 31), 2.0, 1) == (10, 40, 62)
    assert scaled((10,), 0.01, 0) == (1,)


REFUSALS = {
    "--tiles does not go with --modality audio": ("--tiles", 40),
    "--bpp does not go with --modality audio": ("--bpp", 1),
    "--fill does not go with --modality audio": ("--fill", 1),
    "expected one of": ("--modality", "noise"),
    "exclude each other": ("--bytes", 900, "--psnr", 30),
    "goes with --field grid": ("--field", "mlp", "--rate-weight", 0.1),
    "is for pictures": ("--preset", "pyramid"),
    "META alone takes": ("--bytes", 20),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_options_of_other_modalities_are_refused_in_one_line(message: str, tmp_path: Path) -> None:
    source = sound(tmp_path / "a.wav", TONE)
    assert message in refused("encode", source, "-o", tmp_path / "a.sinr", *REFUSALS[message])
    assert not (tmp_path / "a.sinr").exists()


def test_a_folder_of_no_kind_is_refused(tmp_path: Path) -> None:
    assert "folder" in refused("encode", tmp_path, "-o", tmp_path / "a.sinr")


# --- sound ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["mlp", "grid"])
def test_a_sound_goes_there_and_back(field: str, tmp_path: Path) -> None:
    source = sound(tmp_path / "a.wav", TONE)
    path, summary = encoded(source, "--field", field)
    assert (summary["modality"], summary["field"], summary["reason"]) == ("AUDIO", field, None)
    done("decode", path, tmp_path / "b.wav")
    before, after = (soundfile.read(name, dtype="int16")[0] for name in (source, tmp_path / "b.wav"))
    info = soundfile.info(tmp_path / "b.wav")
    assert (info.samplerate, info.subtype, after.shape) == (RATE, "PCM_16", before.shape)
    assert max_error(before, after) == summary["max_error"]


def test_a_size_in_bytes_includes_meta(tmp_path: Path) -> None:
    path, summary = encoded(sound(tmp_path / "a.wav", TONE), "--field", "mlp", "--bytes", 400)
    assert summary["file_bytes"] == path.stat().st_size <= 400
    assert sinrfmt.load(path).meta["sample_rate"] == str(RATE)


@pytest.mark.parametrize(
    ("suffix", "subtype", "dtype"),
    [("flac", "PCM_24", "int32"), ("wav", "FLOAT", "float32"), ("wav", "DOUBLE", "float64")],
)
def test_channels_type_and_depth_are_kept(suffix: str, subtype: str, dtype: str, tmp_path: Path) -> None:
    source = sound(tmp_path / f"a.{suffix}", np.stack([TONE, -TONE / 2], axis=1), subtype)
    path, _ = encoded(source, "--field", "mlp")
    done("decode", path, tmp_path / f"b.{suffix}")
    info = soundfile.info(tmp_path / f"b.{suffix}")
    assert (info.channels, info.subtype) == (2, subtype)
    done("decode", path, tmp_path / "b.npy", "--samples")
    assert np.load(tmp_path / "b.npy").dtype == dtype


def test_scale_keeps_the_duration_of_a_sound(tmp_path: Path) -> None:
    path, _ = encoded(sound(tmp_path / "a.wav", TONE), "--field", "mlp")
    assert done("decode", path, tmp_path / "b.wav", "--scale", 2)["sample_rate"] == 2 * RATE
    assert soundfile.info(tmp_path / "b.wav").frames == 2 * len(TONE)
    assert done("decode", path, tmp_path / "c.wav", "--size", len(TONE) // 2)["sample_rate"] == RATE // 2


@pytest.mark.parametrize("n", [1, 3, 40])
def test_clips_shorter_than_any_window_are_sounds(n: int, tmp_path: Path) -> None:
    path, _ = encoded(sound(tmp_path / "a.wav", TONE[5 : 5 + n]))
    done("decode", path, tmp_path / "b.wav")
    assert soundfile.info(tmp_path / "b.wav").frames == n


def test_silence_stays_silent(tmp_path: Path) -> None:
    path, summary = encoded(sound(tmp_path / "a.wav", np.zeros(999)))
    assert (summary["psnr"], summary["max_error"], summary["reason"]) == (None, 0.0, "all samples are equal")
    done("decode", path, tmp_path / "b.wav")
    assert not soundfile.read(tmp_path / "b.wav")[0].any()


BAD_SOUNDS = {"not finite": np.array([0.0, np.nan]), "no samples": np.zeros(0)}


@pytest.mark.parametrize("message", BAD_SOUNDS)
def test_sounds_that_cannot_be_are_refused(message: str, tmp_path: Path) -> None:
    source = sound(tmp_path / "a.wav", BAD_SOUNDS[message], "FLOAT")
    assert message in refused("encode", source, "-o", tmp_path / "a.sinr")


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no sound")
    assert "a.wav" in refused("encode", tmp_path / "a.wav", "-o", tmp_path / "a.sinr")


# --- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["mlp", "grid"])
def test_a_field_goes_there_and_back(field: str, tmp_path: Path) -> None:
    path, summary = encoded(array(tmp_path / "a.npy", MAP), "--field", field)
    assert (summary["modality"], summary["peak"]) == ("FIELD", float(MAP.max()) - float(MAP.min()))
    done("decode", path, tmp_path / "b.npy", "--samples")
    after = np.load(tmp_path / "b.npy")
    assert (after.dtype, after.shape) == (MAP.dtype, MAP.shape)
    assert max_error(MAP, after) == pytest.approx(summary["max_error"])
    done("decode", path, tmp_path / "c.npy", "--samples", "--scale", 2)
    assert np.load(tmp_path / "c.npy").shape == (40, 60)


def test_an_array_holds_the_values_of_the_network_unless_samples_are_asked_for(tmp_path: Path) -> None:
    path, _ = encoded(array(tmp_path / "a.npy", MAP), "--field", "mlp")
    done("decode", path, tmp_path / "b.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), sinrfmt.load(path).grid())


def test_decoded_samples_stay_in_the_range_of_the_field(tmp_path: Path) -> None:
    path, _ = encoded(array(tmp_path / "a.npy", MAP), "--field", "mlp")
    done("decode", path, tmp_path / "b.npy", "--samples")
    after = np.load(tmp_path / "b.npy")
    assert MAP.min() <= after.min() and after.max() <= MAP.max()


@pytest.mark.parametrize(
    ("values", "modality"),
    [(np.arange(9, dtype=np.int16), Modality.FIELD), (np.arange(24, dtype=np.int64).reshape(2, 3, 4), Modality.VOLUME),
     (np.arange(16.0).reshape(2, 2, 2, 2), Modality.FIELD)],
)  # fmt: skip
def test_arrays_of_any_type_and_axes_are_fields(values: NDArray[Any], modality: Modality, tmp_path: Path) -> None:
    path, _ = encoded(array(tmp_path / "a.npy", values), "--field", "mlp")
    header = sinrfmt.read_header(path)
    assert (header.modality, header.grid) == (modality, values.shape)
    done("decode", path, tmp_path / "b.npy", "--samples")
    assert np.load(tmp_path / "b.npy").shape == values.shape


def test_an_axis_may_hold_channels(tmp_path: Path) -> None:
    values = np.stack([MAP, MAP**2], axis=0)
    path, _ = encoded(array(tmp_path / "a.npy", values), "--field", "mlp", "--channel-axis", 0)
    assert sinrfmt.read_header(path).network.out_channels == 2
    done("decode", path, tmp_path / "b.npy", "--samples")
    assert np.load(tmp_path / "b.npy").shape == values.shape


def with_holes() -> NDArray[np.float32]:
    """The map without a corner, a lake and a sample."""
    values = MAP.copy()
    values[:3, :4] = np.nan
    values[8:14, 10:20] = np.nan
    values[-1, -1] = np.nan
    return values


def test_missing_values_stay_missing_and_the_others_are_close(tmp_path: Path) -> None:
    values = with_holes()
    path, summary = encoded(array(tmp_path / "a.npy", values), "--field", "mlp")
    assert sinrfmt.load(path).meta["n_missing"] == "73"
    done("decode", path, tmp_path / "b.npy", "--samples")
    after = np.load(tmp_path / "b.npy")
    assert np.array_equal(np.isnan(after), np.isnan(values))
    assert np.nanmax(np.abs(after.astype(np.float64) - values)) == pytest.approx(summary["max_error"])


def test_missing_values_follow_the_size_and_the_region_asked_for(tmp_path: Path) -> None:
    values = with_holes()
    path, _ = encoded(array(tmp_path / "a.npy", values), "--field", "mlp")
    done("decode", path, tmp_path / "b.npy", "--samples", "--scale", 2)
    assert np.array_equal(np.isnan(np.load(tmp_path / "b.npy")), np.isnan(values).repeat(2, 0).repeat(2, 1))
    done("decode", path, tmp_path / "c.npy", "--samples", "--region", "8,6,9,5")
    assert np.array_equal(np.isnan(np.load(tmp_path / "c.npy")), np.isnan(values[6:11, 8:17]))


def test_values_may_be_missing_in_one_channel(tmp_path: Path) -> None:
    values = np.stack([MAP, with_holes()])
    path, _ = encoded(array(tmp_path / "a.npy", values), "--field", "mlp", "--channel-axis", 0)
    done("decode", path, tmp_path / "b.npy", "--samples")
    assert np.array_equal(np.isnan(np.load(tmp_path / "b.npy")), np.isnan(values))


@pytest.mark.parametrize("runs", ["", "x", "1", "5,99999", "3,4,-1,2", "1,2,3"])
def test_runs_that_say_nothing_leave_all_values(runs: str, tmp_path: Path) -> None:
    path, _ = encoded(array(tmp_path / "a.npy", MAP), "--field", "mlp")
    changed = edit.with_meta(path.read_bytes(), {**sinrfmt.load(path).meta, "missing": runs})
    path.write_bytes(changed)
    done("decode", path, tmp_path / "b.npy", "--samples")
    assert np.isfinite(np.load(tmp_path / "b.npy")).all()


def test_an_array_without_any_value_is_refused(tmp_path: Path) -> None:
    source = array(tmp_path / "a.npy", np.full((4, 5), np.nan))
    assert "all 20 values are missing" in refused("encode", source, "-o", tmp_path / "a.sinr")


def test_a_number_stands_for_missing_values_where_it_is_asked_for(tmp_path: Path) -> None:
    values = MAP.copy()
    values[3, 4] = np.nan
    values[0, 0] = np.inf
    path, _ = encoded(array(tmp_path / "a.npy", values), "--fill", 280.0, "--field", "mlp")
    meta = sinrfmt.load(path).meta
    assert (meta["fill_value"], meta["n_missing"]) == ("280.0", "2")


BAD_ARRAYS = {
    "integers of more than 32 bits": np.array([0, 1 << 40]),
    "expected samples on 1 to 4 axes": np.zeros((2,) * 5),
    "integers or floats": np.array(["text"]),
    "expected samples on": np.zeros((0, 3)),
}


@pytest.mark.parametrize("message", BAD_ARRAYS)
def test_arrays_that_are_no_fields_are_refused(message: str, tmp_path: Path) -> None:
    assert message in refused("encode", array(tmp_path / "a.npy", BAD_ARRAYS[message]), "-o", tmp_path / "a.sinr")


def netcdf(path: Path) -> Path:
    netcdf4 = pytest.importorskip("netCDF4", reason="needs the extra fields")
    with netcdf4.Dataset(path, "w") as file:
        for name, coords in {"lat": np.linspace(-90, 90, 20), "lon": np.arange(30.0) ** 1.5}.items():
            file.createDimension(name, len(coords))
            file.createVariable(name, "f8", (name,))[...] = coords
        file.createVariable("t2m", "f4", ("lat", "lon"), fill_value=-999)[...] = MAP
        file["t2m"].units = "K"
        masked = np.ma.masked_less(MAP, 272)
        file.createVariable("holes", "f4", ("lat", "lon"), fill_value=-999)[...] = masked
    return path


def test_a_netcdf_variable_keeps_axes_and_units(tmp_path: Path) -> None:
    netcdf4 = pytest.importorskip("netCDF4", reason="needs the extra fields")
    path, summary = encoded(netcdf(tmp_path / "a.nc"), "--variable", "t2m", "--field", "mlp")
    assert summary["units"] == "K"
    done("decode", path, tmp_path / "b.nc")
    done("decode", path, tmp_path / "c.nc", "--scale", 2)
    with netcdf4.Dataset(tmp_path / "a.nc") as before, netcdf4.Dataset(tmp_path / "b.nc") as after:
        assert (after["t2m"].dimensions, after["t2m"].units, after["t2m"].dtype) == (("lat", "lon"), "K", np.float32)
        for axis in ("lat", "lon"):
            np.testing.assert_allclose(after[axis][...], before[axis][...], rtol=1e-12)
        assert max_error(np.asarray(before["t2m"]), np.asarray(after["t2m"])) == pytest.approx(summary["max_error"])
    with netcdf4.Dataset(tmp_path / "c.nc") as finer:
        steps = np.diff(finer["lat"][...])
        np.testing.assert_allclose(steps, steps[0])


def test_variables_that_cannot_be_chosen_are_refused(tmp_path: Path) -> None:
    source = netcdf(tmp_path / "a.nc")
    assert "--variable takes one of t2m, holes" in refused("encode", source, "-o", tmp_path / "a.sinr")
    assert "no variable x" in refused("encode", source, "-o", tmp_path / "a.sinr", "--variable", "x")


def test_masked_values_of_netcdf_stay_missing(tmp_path: Path) -> None:
    netcdf4 = pytest.importorskip("netCDF4", reason="needs the extra fields")
    path, _ = encoded(netcdf(tmp_path / "a.nc"), "--variable", "holes", "--field", "mlp")
    done("decode", path, tmp_path / "b.nc")
    with netcdf4.Dataset(tmp_path / "b.nc") as after:
        assert np.array_equal(np.isnan(np.ma.filled(after["holes"][...], np.nan)), MAP < 272)


def test_the_output_is_checked_against_head(tmp_path: Path) -> None:
    path, _ = encoded(array(tmp_path / "a.npy", MAP), "--field", "mlp")
    for name in ("b.wav", "b.mp4", "b"):
        assert "is written as" in refused("decode", path, tmp_path / name)
    assert "exclude each other" in refused("decode", path, tmp_path / "b.npy", "--scale", 2, "--size", "4x4")


def test_scale_refines_pictures(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray((MAP - 270).astype(np.uint8) * 10).save(tmp_path / "a.png")
    path, _ = encoded(tmp_path / "a.png", "--bytes", 400)
    done("decode", path, tmp_path / "b.png", "--scale", 2)
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "b.png")), sinrfmt.load(path).to_uint8((40, 60))[..., 0]
    )


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "field").is_dir(), reason="no ../shared/data beside the repository")
def test_temperatures_of_the_world(tmp_path: Path) -> None:
    temperatures = np.load(DATA / "field" / "era5_temperature_5x46x90.npy")[:1, ::2, ::2]
    path, summary = encoded(array(tmp_path / "a.npy", temperatures), "--bytes", 900, "--field", "mlp")
    assert summary["psnr"] > 15  # more than the mean of them gives
    done("decode", path, tmp_path / "b.npy", "--samples")
    assert max_error(temperatures, np.load(tmp_path / "b.npy")) == pytest.approx(summary["max_error"])


@pytest.mark.skipif(not (DATA / "audio").is_dir(), reason="no ../shared/data beside the repository")
def test_a_moment_of_bach(tmp_path: Path) -> None:
    samples, rate = soundfile.read(DATA / "audio" / "gt_bach.wav", start=60_000, frames=2_000, dtype="float32")
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    _, summary = encoded(tmp_path / "a.wav", "--bytes", 700, "--field", "mlp")
    assert summary["snr"] > 1


# --- network or grid --------------------------------------------------------------------------------------------------


CHOICES: dict[str, tuple[dict[str, Any], FieldKind]] = {
    "few bytes": ({"max_bytes": 3999}, FieldKind.MLP),
    "many bytes": ({"max_bytes": 4000}, FieldKind.GRID),
    "bits of many pixels": ({"max_bpp": 1.4}, FieldKind.GRID),
    "nothing asked for": ({}, FieldKind.MLP),
    "sizes of passes": ({"passes": (800, 4500)}, FieldKind.GRID),
    "the preset of a network": ({"max_bytes": 9000, "preset": "fast"}, FieldKind.MLP),
    "the preset of a grid": ({"max_bytes": 900, "preset": "pyramid"}, FieldKind.GRID),
    "a way to code a network": ({"max_bytes": 9000, "weight_coding": "sparse"}, FieldKind.MLP),
    "asked for": ({"max_bytes": 900, "field": FieldKind.GRID}, FieldKind.GRID),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_field_of_a_picture_follows_from_its_size(name: str) -> None:
    asked, field = CHOICES[name]
    chosen, reason = PictureOptions(**asked).for_size((128, 192))
    assert chosen.is_grid == (field is FieldKind.GRID)
    is_free = set(asked) <= {"max_bytes", "max_bpp", "passes"}
    assert (reason is not None) == is_free


@pytest.mark.parametrize(
    ("asked", "sizes", "preset"),
    [
        ({"field": FieldKind.GRID}, (250, 400), "pyramid-large"),
        ({"field": FieldKind.GRID}, (250, 399), "pyramid"),
        ({"max_bytes": 9000}, (250, 400), "pyramid-large"),
        ({"field": FieldKind.GRID, "tiles": 128}, (250, 400), "pyramid"),
        ({"field": FieldKind.GRID, "preset": "shacira"}, (250, 400), "shacira"),
    ],
)
def test_a_large_picture_gets_larger_networks_unless_asked_otherwise(
    asked: dict[str, Any], sizes: tuple[int, int], preset: str
) -> None:
    chosen, _ = PictureOptions(**asked).for_size(sizes)
    assert chosen.chosen_preset == preset


@pytest.mark.parametrize(
    ("signal", "n_bytes", "field"),
    [
        (audio_signal(np.zeros((49_999, 1), dtype=np.int16), RATE), 20_000, FieldKind.MLP),
        (audio_signal(np.zeros((50_000, 1), dtype=np.int16), RATE), 1000, FieldKind.GRID),
        (array_signal(MAP), None, FieldKind.MLP),
        (array_signal(MAP), 39_999, FieldKind.MLP),
        (array_signal(MAP), 40_000, FieldKind.GRID),
    ],
)
def test_the_field_of_a_sound_follows_from_its_length_that_of_others_from_their_size(
    signal: Signal, n_bytes: int | None, field: FieldKind
) -> None:
    choice = choose_field(signal, n_bytes)
    assert choice.field is field
    assert ("samples" if signal.modality is Modality.AUDIO else "bytes") in choice.reason
