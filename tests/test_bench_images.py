"""Tables of ``bench.images``: what a report takes from an earlier one."""

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")

from bench.image_report import JPEG, PUBLISHED, Point, kept_points, write_csv


def test_files_of_an_earlier_table_come_back_as_they_were_and_published_figures_do_not(tmp_path: Path) -> None:
    jpeg = Point("full", "kodim05", JPEG, "4:4:4 1", 9190, 0.186971, 19.5781, encode_seconds=0.0095)
    whole = Point(
        "full", "kodim05", "shacira", "0.001", 900, 0.25, 30.5, 12.5, 12.0, 0.5, 0.75, 800, "EPYC", 2, "d", "ab"
    )
    sparse = Point("crop", "kodim23", "mlp/fast", "0.1", 300, 0.125, 28.0, weights_sha256="cd")
    peer = Point("full", "kodim05", "Cool-chic 5.0", "0.001", 800, 0.25, 31.0, decoder=PUBLISHED)
    write_csv([jpeg, peer, whole, sparse], tmp_path / "table.csv")
    assert kept_points(tmp_path / "table.csv") == [jpeg, whole, sparse]
