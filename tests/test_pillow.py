"""The Pillow plugin: what Image.open accepts, when it decodes, and what it answers to broken files."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import sinrfmt
from sinrfmt.plugins import pillow
from sinrfmt.registry import Coding, Modality, Values
from tests.strategies import header_of, make_file, siren


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered for one test only: Pillow's tables are global, and filled when they are first needed."""
    Image.init()
    for table in ("OPEN", "EXTENSION", "MIME"):
        monkeypatch.setattr(Image, table, dict(getattr(Image, table)))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    pillow.register()


def sinr(channels: int = 3, **fields: Any) -> bytes:
    network = siren(1, out_channels=channels)
    return make_file(
        header_of(network, **({"modality": Modality.IMAGE} | fields)), [(Coding.PACKED, 0)], scale=0.0
    ).data


def samples(data: bytes) -> np.ndarray[Any, Any]:
    picture = sinrfmt.loads(data).to_uint8()
    return picture[:, :, 0] if picture.shape[2] == 1 else picture


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_pixels_are_the_samples(channels: int, mode: str, tmp_path: Path) -> None:
    network = siren(1, out_channels=channels)
    header = header_of(network, modality=Modality.IMAGE, grid=(5, 9))
    data = make_file(header, [(Coding.RANS, 0)], seed=2, scale=3.0).data
    path = tmp_path / "picture.sinr"
    path.write_bytes(data)
    with Image.open(path) as picture:
        assert (picture.format, picture.mode, picture.size) == ("SINR", mode, (9, 5))
        assert picture.get_format_mimetype() == sinrfmt.MEDIA_TYPE
        np.testing.assert_array_equal(np.asarray(picture), samples(data))
        assert picture.getpixel((0, 0)) == Image.fromarray(samples(data)).getpixel((0, 0))


def test_pixels_of_a_file_object() -> None:
    picture = Image.open(io.BytesIO(sinr()))
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), samples(sinr()))


def test_the_file_is_closed_after_its_pixels_were_computed(tmp_path: Path) -> None:
    path = tmp_path / "picture.sinr"
    path.write_bytes(sinr())
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        picture = Image.open(path)
        picture.load()
        path.unlink()
        assert picture.resize((2, 2)).size == (2, 2)


def test_only_the_header_is_read_until_pixels_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    decode = pillow.load
    monkeypatch.setattr(pillow, "load", lambda file: [calls.append("load"), decode(file)][1])
    picture = Image.open(io.BytesIO(sinr()))
    assert picture.size == (6, 4) and calls == []
    picture.load()
    picture.load()
    assert calls == ["load"]


def test_the_limit_on_decompression_bombs_holds_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(pillow, "load", None)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(sinr(grid=(60000, 60000))))
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(sinr(grid=(50, 30))))


def test_other_files_are_left_to_others() -> None:
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"SIN" + bytes(100)))
    with pytest.raises(SyntaxError):
        pillow.SinrImageFile(io.BytesIO(b"SIN" + bytes(100)))
    png = io.BytesIO()
    Image.new("L", (3, 2)).save(png, "PNG")
    assert Image.open(png).format == "PNG"


@pytest.mark.parametrize(
    "data",
    [
        sinr(modality=Modality.FIELD),
        sinr(channels=5),
        sinr(grid=()),
        sinr(values=Values.RAW),
        make_file(header_of(siren(1, in_dims=3), modality=Modality.IMAGE), [(Coding.PACKED, 0)]).data,
    ],
)
def test_fields_that_are_no_image(data: bytes) -> None:
    with pytest.raises(OSError, match=r"USAGE \[601\]") as caught:
        Image.open(io.BytesIO(data))
    assert not isinstance(caught.value, UnidentifiedImageError)


def test_a_broken_header_is_an_error_of_the_file() -> None:
    data = bytearray(sinr())
    data[12] ^= 1
    with pytest.raises(OSError, match=r"CHUNK_CRC_MISMATCH \[103\] at byte"):
        Image.open(io.BytesIO(bytes(data)))
    with pytest.raises(OSError, match=r"TRUNCATED \[108\]"):
        Image.open(io.BytesIO(sinr()[:20]))


def test_broken_weights_are_an_error_of_load() -> None:
    data = sinr()
    picture = Image.open(io.BytesIO(data[:-1] + bytes([data[-1] ^ 1])))
    assert picture.size == (6, 4)
    for _ in range(2):
        with pytest.raises(OSError, match=r"CHUNK_CRC_MISMATCH \[103\]"):
            picture.load()


def test_pixels_of_a_closed_file(tmp_path: Path) -> None:
    path = tmp_path / "picture.sinr"
    path.write_bytes(sinr())
    with Image.open(path) as picture:
        pass
    with pytest.raises(OSError, match="closed"):
        picture.load()
