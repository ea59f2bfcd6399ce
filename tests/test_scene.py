"""Sets of views: what is read, and the one clear line for whatever is missing."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sinrfmt import UsageError
from sinrfmt.media.scene import Camera, is_scene, orbit, read_cameras, read_scene, straight_rgba
from tests.scenes import ANGLE_X, SIZE, cameras, write_scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "ball", n_train=2, n_test=1)


def test_a_set_has_the_views_of_both_files_with_their_cameras(folder: Path) -> None:
    scene = read_scene(folder)
    assert (len(scene.train), scene.test is not None and len(scene.test)) == (2, 1)
    assert scene.train.pictures[0].shape == (*SIZE, 4)
    np.testing.assert_allclose(scene.train.cameras[1].pose, cameras(2)[1].pose, atol=1e-12)
    assert scene.train.cameras[0].angle_x == ANGLE_X


def test_a_file_of_cameras_stands_for_its_set(folder: Path) -> None:
    assert len(read_scene(folder / "transforms_train.json").train) == 2
    only_test = read_scene(folder / "transforms_test.json")
    assert len(only_test.train) == 1
    assert only_test.test is None


def test_file_path_may_have_its_suffix(folder: Path) -> None:
    path = folder / "transforms_train.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for frame in content["frames"]:
        frame["file_path"] += ".png"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert len(read_scene(folder).train) == 2


def test_folders_of_views_are_told_from_others(folder: Path, tmp_path: Path) -> None:
    assert is_scene(folder)
    assert is_scene(folder / "transforms_train.json")
    assert not is_scene(tmp_path)


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        del content[key]

    return change


def _in_frame(**fields: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["frames"][1] |= fields

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("camera_angle_x"), "camera_angle_x is missing"),
        (_without("frames"), "frames are missing"),
        (_in_frame(file_path="./train/other"), "the picture ./train/other is missing"),
        (_in_frame(file_path=None), "frame 1 has no file_path"),
        (_in_frame(transform_matrix=[[1, 2], [3, 4]]), "frame 1 (./train/r_1) has no transform_matrix"),
        (_in_frame(transform_matrix="none"), "frame 1 (./train/r_1) has no transform_matrix"),
    ],
)
def test_what_is_missing_is_named(folder: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    path = folder / "transforms_train.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_scene(folder)
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("{", "not a JSON file"), ("[]", "expected an object")])
def test_a_file_that_is_no_json_object_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "transforms_train.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_scene(folder)
    assert message in str(caught.value)


def test_a_folder_without_cameras_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_scene(tmp_path)
    assert "found neither transforms_train.json nor transforms.json" in str(caught.value)


def test_cameras_are_read_without_their_pictures(folder: Path) -> None:
    (folder / "train" / "r_0.png").unlink()
    found = read_cameras(folder / "transforms_train.json", (8, 10))
    assert [camera.size for camera in found] == [(8, 10)] * 2


def test_rays_go_through_the_centres_of_pixels() -> None:
    camera = Camera(orbit((0.1, -0.2, 0.3), 2.0, 0.4, 1.1), ANGLE_X, (5, 7))
    eyes, directions = camera.rays()
    seen, depth = camera.pixels(eyes + 1.7 * directions)
    rows, columns = np.divmod(np.arange(35), 7)
    np.testing.assert_allclose(seen, np.stack([rows + 0.5, columns + 0.5], axis=1), atol=1e-9)
    assert (depth > 0).all()
    middle = directions[2 * 7 + 3]
    np.testing.assert_allclose(eyes[0] + 2.0 * middle, (0.1, -0.2, 0.3), atol=1e-12)
    angle = math.acos(float(directions[2 * 7] @ directions[2 * 7 + 6]))
    assert angle < ANGLE_X  # centres of the outer pixels, not their edges


def test_an_orbit_has_its_up_towards_the_third_axis() -> None:
    pose = orbit((0.0, 0.0, 0.0), 1.0, 0.3, 2.0)
    np.testing.assert_allclose(pose[:, :3].T @ pose[:, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:, :3]) == pytest.approx(1.0)
    assert pose[2, 1] > 0
    assert pose[2, 0] == 0


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pictures_of_any_channels_become_straight_rgba(channels: int) -> None:
    picture = np.full((1, 1, channels), 51, dtype=np.uint8)
    assert straight_rgba(picture).tolist()[0][0] == pytest.approx([0.2, 0.2, 0.2, 0.2 if channels in (2, 4) else 1.0])
