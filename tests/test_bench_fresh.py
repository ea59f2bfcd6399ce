"""The figures of ``bench.fresh``: what counts of a codec's files, and what it reaches between them."""

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")

from bench.fresh import Point, curve, load, psnr_at, table


def points(*files: tuple[int, float], codec: str = "WebP") -> list[Point]:
    return [Point("coffee", codec, "", n_bytes, psnr) for n_bytes, psnr in files]


def test_a_file_that_another_beats_does_not_count() -> None:
    found = curve(points((400, 24.0), (100, 20.0), (200, 19.0), (200, 22.0)), "coffee", "WebP")
    assert found == [(100, 20.0), (200, 22.0), (400, 24.0)]


def test_between_files_quality_is_linear_in_the_logarithm_of_the_size() -> None:
    rising = [(100, 20.0), (400, 24.0)]
    assert psnr_at(rising, 200) == pytest.approx(22.0)
    assert psnr_at(rising, 99) is None
    assert psnr_at(rising, 401) is None
    assert psnr_at([], 100) is None


def test_a_row_says_our_lead_at_our_size() -> None:
    ours = Point("coffee", "balanced", "200", 200, 23.5, 23.9, 60.0, 50.0)
    rows = table([ours, *points((100, 20.0), (400, 24.0))])
    assert len(rows) == 3
    assert "| 22.00 (+1.50) |" in rows[2]


def test_pictures_have_the_size_of_the_frontier() -> None:
    assert load("coffee").shape == (128, 192, 3)
