"""Pictures of what is inside a file: every kind of file can be drawn, and all its bytes are on it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sinrfmt
from sinrfmt import plot
from sinrfmt.field import Field
from sinrfmt.network import GridEncoding, InputEncoding, LayerRecord, Network, PyramidEncoding
from sinrfmt.registry import Coding, ContextId, RecordKind, Values
from sinrfmt.report import coded_tensors, describe
from tests.strategies import header_of, make_file, small_file

pytest.importorskip("matplotlib")
WAVE = Path(__file__).parents[1] / "spec" / "examples" / "wave.sinr"
HASHED = GridEncoding(((4, 4), (9, 9), (17, 17)), log2_table_size=5)
PYRAMID = PyramidEncoding((20, 16), 4, context=ContextId.INTERLACED)


def _latents(encoding: InputEncoding, n_passes: int, channels: int) -> Field:
    network = Network(2, channels, (LayerRecord(RecordKind.LINEAR, channels),), encoding)
    header = header_of(network, grid=(20, 16), values=Values.UNIT)
    return sinrfmt.loads(make_file(header, [(Coding.RANS, 0)] * n_passes, scale=2.0).data)


FIELDS: dict[str, Callable[[], Field]] = {
    "a sound": lambda: sinrfmt.load(WAVE),
    "refined weights": lambda: sinrfmt.loads(small_file((Coding.RANS, 0), (Coding.PACKED, 0)).data),
    "one of two passes": lambda: sinrfmt.loads(small_file((Coding.RANS, 0), (Coding.RANS, 0)).data, passes=1),
    "a hashed grid, grey": lambda: _latents(HASHED, 1, 1),
    "a pyramid, grey and alpha": lambda: _latents(PYRAMID, 3, 2),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_drawing_is_a_picture_with_something_on_it(name: str, tmp_path: Path) -> None:
    plot.draw(FIELDS[name](), tmp_path / "drawn.png", title=name)
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.width > 800
        assert np.asarray(drawn.convert("L")).std() > 5


@pytest.mark.parametrize("name", FIELDS)
def test_the_bits_of_tensors_are_those_of_the_passes(name: str) -> None:
    field = FIELDS[name]()
    ends = [0, *field.pass_ends]
    for index in range(field.n_passes):
        n_bits = sum(coded.bits for coded in coded_tensors(field) if coded.index == index)
        assert 0 <= n_bits <= 8 * (ends[index + 1] - ends[index])
    assert [entry["name"] for entry in describe(field)["tensors"]] == [c.name for c in coded_tensors(field)]


def test_a_kind_of_picture_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sinrfmt.UsageError, match="xyz"):
        plot.draw(sinrfmt.load(WAVE), tmp_path / "drawn.xyz", title="wave")
