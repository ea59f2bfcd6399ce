"""The verb ``view``: a temporary file of the kind that suits what is in it, given to the system's viewer."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sinrfmt
from sinrfmt import plot
from sinrfmt.registry import Coding, Modality, Values
from tests.strategies import header_of, make_file, siren, small_file

typer = pytest.importorskip("typer")
from sinrfmt.cli.decoding import view  # noqa: E402

WAVE = Path(__file__).parents[1] / "spec" / "examples" / "wave.sinr"

Viewer = Callable[[int], list[Path]]


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Viewer:
    """What makes the system's viewer one that ends with a status, and keeps what it was given."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def of_status(status: int) -> list[Path]:
        shown: list[Path] = []

        def launch(path: str) -> int:
            shown.append(Path(path))
            return status

        monkeypatch.setattr(typer, "launch", launch)
        return shown

    return of_status


def _written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def test_a_sound_is_shown_as_one(viewer: Viewer, capsys: pytest.CaptureFixture[str]) -> None:
    shown = viewer(0)
    view(str(WAVE))
    (path,) = shown
    assert path.suffix == ".wav" and path.read_bytes()[:4] == b"RIFF"
    assert str(path) in capsys.readouterr().out


def test_a_picture_is_shown_at_the_scale_asked_for(viewer: Viewer, tmp_path: Path) -> None:
    shown = viewer(0)
    header = header_of(siren(1), modality=Modality.IMAGE, values=Values.SIGNED)
    data = make_file(header, [(Coding.RANS, 0)]).data
    view(_written(tmp_path / "in.sinr", data), scale=3.0)
    with Image.open(shown[0]) as picture:
        np.testing.assert_array_equal(np.asarray(picture), sinrfmt.loads(data).to_uint8((12, 18)))


@pytest.mark.parametrize("in_dims", [1, 3])
def test_a_field_of_any_range_is_drawn(viewer: Viewer, tmp_path: Path, in_dims: int) -> None:
    pytest.importorskip("matplotlib")
    shown = viewer(0)
    header = header_of(siren(1, in_dims=in_dims, out_channels=1), grid=(6, 5, 4)[:in_dims], values=Values.RAW)
    view(_written(tmp_path / "in.sinr", make_file(header, [(Coding.RANS, 0)]).data))
    with Image.open(shown[0]) as drawn:
        assert np.asarray(drawn.convert("L")).std() > 5


def test_planes_go_through_the_middle(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    samples = np.zeros((5, 9, 7))
    plain, marked = tmp_path / "plain.png", tmp_path / "marked.png"
    samples[0, 0, 0] = 1.0  # the corner is on no plane
    plot.draw_planes(samples, plain, title="")
    samples[2, 4, 3] = 1.0  # and the middle on all
    plot.draw_planes(samples, marked, title="")
    with Image.open(plain) as before, Image.open(marked) as after:
        changed = np.any(np.asarray(before) != np.asarray(after), axis=(0, 2))
    assert all(part.any() for part in np.array_split(changed, 4)[:3])


def test_a_file_that_is_broken_leaves_nothing(viewer: Viewer, tmp_path: Path) -> None:
    shown = viewer(0)
    with pytest.raises(sinrfmt.FormatError):
        view(_written(tmp_path / "in.sinr", small_file().data[:-3]))
    assert not shown
    assert not list((tmp_path / "temporary").iterdir())


def test_without_a_viewer_the_error_names_the_file(viewer: Viewer) -> None:
    shown = viewer(3)
    with pytest.raises(sinrfmt.UsageError, match="nothing to show it with") as failure:
        view(str(WAVE))
    assert str(shown[0]) in str(failure.value)
    assert shown[0].exists()
