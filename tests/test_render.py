"""Rendering by NumPy: what a ray adds up to, what is skipped, and what META says of a viewer."""

import math

import numpy as np
import pytest

from sinrfmt import UsageError
from sinrfmt.media.scene import Camera, orbit
from sinrfmt.render import Scenery, Sight, cells_near, crossing, on_background, render, scenery, sight_of, turntable
from tests.scenes import BOX, RADIUS, Floats, ball, ball_scenery, cameras


def fog(density: float) -> Scenery:
    """A box of one colour and density."""

    def sample(coords: Floats) -> Floats:
        return np.tile(np.array([0.25, 0.5, 1.0, density], dtype=np.float32), (len(coords), 1))

    return scenery(sample, np.array([(-1.0, 1.0)] * 3), 256)


def test_opacity_of_fog_is_that_of_its_optical_thickness() -> None:
    camera = Camera(orbit((0, 0, 0), 4.0, 0.0, 0.0), 0.05, (1, 1))
    seen = render(fog(0.7), camera)[0, 0]
    assert seen[3] == pytest.approx(1 - math.exp(-0.7 * 2.0), abs=0.01)
    np.testing.assert_allclose(seen[:3], seen[3] * np.array([0.25, 0.5, 1.0]), rtol=1e-5)


def test_negative_density_counts_as_empty() -> None:
    scene = fog(-5.0)
    assert not scene.cells.any()
    full = Scenery(scene.sample, scene.box, scene.step, np.ones_like(scene.cells))
    assert not render(full, Camera(orbit((0, 0, 0), 4.0, 0.2, 1.0), 0.5, (3, 3))).any()


def test_an_eye_inside_the_box_sees_what_is_in_front_of_it() -> None:
    camera = Camera(orbit((0, 0, 0), 1e-9, 0.0, 0.0), 0.05, (1, 1))
    assert render(fog(1.0), camera)[0, 0, 3] == pytest.approx(1 - math.exp(-1.0), abs=0.01)


def test_skipping_empty_cells_does_not_change_the_picture() -> None:
    scene = ball_scenery()
    whole = Scenery(scene.sample, scene.box, scene.step, np.ones_like(scene.cells))
    assert 0 < scene.cells.mean() < 0.9
    for camera in cameras(2):
        np.testing.assert_array_equal(render(scene, camera), render(whole, camera))


def test_a_ball_is_as_wide_as_the_camera_sees_it() -> None:
    camera = Camera(orbit((0, 0, 0), 3.0, 0.0, 0.0), 0.6, (1, 41))
    opacity = render(scenery(ball, BOX, 256), camera)[0, :, 3]
    focal = 20.5 / math.tan(0.3)
    expected = 2 * focal * math.tan(math.asin(RADIUS / 3.0))
    assert np.count_nonzero(opacity > 0.5) == pytest.approx(expected, abs=1.5)


def test_rays_that_miss_the_box_see_the_background() -> None:
    camera = Camera(orbit((0, 10.0, 0), 3.0, 0.0, 0.0), 0.1, (2, 2))
    seen = render(ball_scenery(), camera)
    assert not seen.any()
    np.testing.assert_array_equal(
        on_background(seen, (1.0, 0.5, 0.0))[0, 0], np.array([1.0, 0.5, 0.0], dtype=np.float32)
    )


def test_crossing_of_rays_along_the_axes() -> None:
    origins = np.array([(-3.0, 0, 0), (0, 0, 0), (-3.0, 0, 2.0)])
    directions = np.array([(1.0, 0, 0)] * 3)
    near, far = crossing(origins, directions, np.array([(-1.0, 1.0)] * 3))
    assert (near[0], far[0]) == (2.0, 4.0)
    assert (near[1], far[1]) == (0.0, 1.0)
    assert near[2] >= far[2]


def test_cells_near_a_vertex_are_those_around_it_and_their_neighbours() -> None:
    vertices = np.zeros((7, 3), dtype=np.bool_)
    vertices[3, 0] = True
    assert np.flatnonzero(cells_near(vertices).any(axis=1)).tolist() == [1, 2, 3, 4]
    assert cells_near(vertices).shape == (6, 2)


def test_what_meta_says_comes_back() -> None:
    sight = Sight(100, (0.0, 0.5, 1.0), 0.6911112, (30, 40), 4.031, -0.25)
    assert sight_of(sight.meta()) == sight
    assert sight_of({}) == Sight()


@pytest.mark.parametrize(
    ("key", "value"),
    [("background", "1 1"), ("n_samples", "many"), ("n_samples", "0"), ("camera_angle_x", "4"), ("distance", "inf")],
)
def test_values_of_meta_that_mean_nothing_are_refused(key: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        sight_of({f"radiance.{key}": value})
    assert key in str(caught.value)


def test_a_turntable_looks_at_the_middle_of_the_box_from_its_distance() -> None:
    box = np.array([(0.0, 2.0), (1.0, 3.0), (-1.0, 1.0)])
    views = turntable(box, Sight(distance=5.0), 3)
    for camera in views:
        assert np.linalg.norm(camera.pose[:, 3] - box.mean(axis=1)) == pytest.approx(5.0)
        seen, _ = camera.pixels(box.mean(axis=1)[None])
        np.testing.assert_allclose(seen, [[100.0, 100.0]])
    assert len({tuple(camera.pose[:, 3].round(6)) for camera in views}) == 3
