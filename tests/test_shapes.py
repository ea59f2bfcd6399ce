"""Shapes: meshes read and measured, distances, surfaces and pictures, and through the verbs to .sinr and back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

import sinrfmt
from sinrfmt.cli.commands import app
from sinrfmt.errors import UsageError
from sinrfmt.media.distances import Surface, points_around, squared_distances
from sinrfmt.media.image import read_image
from sinrfmt.media.mesh import (
    MESH_SUFFIXES,
    Closure,
    Mesh,
    Placement,
    placement_of,
    placement_of_meta,
    read_mesh,
    welded,
    write_mesh,
)
from sinrfmt.media.shading import shaded
from sinrfmt.media.surfaces import cell_centres, iou, match_surfaces, surface_of
from sinrfmt.registry import Modality
from sinrfmt.torch import shapes as torch_shapes
from sinrfmt.torch.grid_files import grid_presets
from sinrfmt.torch.presets import presets

trimesh = pytest.importorskip("trimesh", reason="needs the extra mesh")
pytest.importorskip("scipy", reason="needs the extra mesh")
pytest.importorskip("skimage", reason="needs the extra mesh")

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "mesh"


def mesh_from(made: Any) -> Mesh:
    return welded(np.asarray(made.vertices, dtype=np.float64), np.asarray(made.faces, dtype=np.int64))


def ball(radius: float = 0.5, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    made = mesh_from(trimesh.creation.icosphere(subdivisions=3, radius=radius))
    return Mesh(made.vertices + centre, made.faces)


def torus() -> Mesh:
    return mesh_from(trimesh.creation.torus(0.6, 0.25, major_sections=40, minor_sections=20))


def both(a: Mesh, b: Mesh) -> Mesh:
    return Mesh(np.concatenate([a.vertices, b.vertices]), np.concatenate([a.faces, b.faces + len(a.vertices)]))


def without_a_cap(mesh: Mesh) -> Mesh:
    """Open at the top."""
    return Mesh(mesh.vertices, mesh.faces[mesh.triangles[:, :, 1].max(axis=1) < 0.45])


def volume(mesh: Mesh) -> float:
    a, b, c = mesh.triangles.swapaxes(0, 1)
    return float((a * np.cross(b, c)).sum() / 6)


RNG = np.random.default_rng(5)
POINTS = RNG.uniform(-1, 1, (4000, 3))


# --- meshes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_a_closed_mesh_of_every_format_is_read_as_closed(tmp_path: Path, suffix: str) -> None:
    write_mesh(tmp_path / f"torus{suffix}", torus())
    found = read_mesh(tmp_path / f"torus{suffix}")
    assert found.closure is Closure.CLOSED and not found.notes
    assert len(found.faces) == len(torus().faces)
    assert volume(found) == pytest.approx(volume(torus()), rel=1e-4)


def test_vertices_at_one_place_are_one() -> None:
    split = ball().triangles.reshape(-1, 3)
    soup = welded(split, np.arange(len(split)).reshape(-1, 3))
    assert soup.closure is Closure.CLOSED and len(soup.vertices) == len(ball().vertices)


def test_triangles_without_an_area_are_left_out() -> None:
    mesh = ball()
    flat = np.concatenate([mesh.faces, [[0, 0, 1], [2, 2, 2]]])
    assert len(welded(mesh.vertices, flat).faces) == len(mesh.faces)


def test_a_mesh_with_a_hole_is_open_and_one_with_a_turned_triangle_not_oriented() -> None:
    assert without_a_cap(ball()).closure is Closure.OPEN
    turned = ball().faces.copy()
    turned[7] = turned[7, ::-1]
    assert Mesh(ball().vertices, turned).closure is Closure.UNORIENTED


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("empty.obj", "v 0 0 0\nv 1 0 0\n", "without triangles"),
        ("none.obj", "", "none.obj"),
        ("flat.obj", "v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "without triangles"),
        ("nan.obj", "v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "finite"),
        ("not.ply", "this is not a mesh", "not.ply"),
        ("not.glb", "this is not a mesh", "not.glb"),
    ],
)
def test_what_is_no_mesh_is_one_usage_error(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=words):
        read_mesh(tmp_path / name)


def test_a_mesh_is_placed_in_the_middle_of_the_box_and_back_again() -> None:
    mesh = ball(3.0, (10.0, 20.0, 30.0))
    placement = placement_of(mesh, margin=0.1)
    inside = placement.into_box(mesh)
    assert inside.vertices.min(axis=0) == pytest.approx([-0.9] * 3)
    assert inside.vertices.max(axis=0) == pytest.approx([0.9] * 3)
    assert placement_of_meta(placement.meta) == placement
    np.testing.assert_allclose(placement.out_of_box(inside).vertices, mesh.vertices, rtol=1e-12)


@pytest.mark.parametrize(
    "meta", [{}, {"mesh_scale": "0", "mesh_offset": "0 0 0"}, {"mesh_scale": "1", "mesh_offset": "x"}]
)
def test_meta_that_says_nothing_leaves_the_box(meta: dict[str, str]) -> None:
    assert placement_of_meta(meta) == Placement()


# --- distances --------------------------------------------------------------------------------------------------------


def test_distances_are_those_to_the_nearest_of_all_triangles() -> None:
    surface = Surface(torus())
    points = points_around(surface, 200, np.random.default_rng(1))
    found = surface.nearest(points).distances
    triangles = surface.mesh.triangles
    exact = [np.sqrt(squared_distances(np.repeat(p[None], len(triangles), axis=0), triangles).min()) for p in points]
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_points_to_learn_at_are_on_every_face_of_the_box() -> None:
    points = points_around(Surface(torus()), 4000, np.random.default_rng(1))
    on_faces = [np.count_nonzero(points[:, axis] == side) for axis in range(3) for side in (-1.0, 1.0)]
    assert min(on_faces) > 20


def test_distance_to_one_triangle_is_to_its_plane_edge_or_corner() -> None:
    triangle = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    points = np.array([[0.2, 0.2, 3.0], [0.5, -2.0, 0.0], [-3.0, -4.0, 0.0], [1.0, 1.0, 0.0]])
    np.testing.assert_allclose(squared_distances(points, np.repeat(triangle, 4, axis=0)), [9.0, 4.0, 25.0, 0.5])


def test_inside_a_torus_is_where_its_equation_says() -> None:
    ring = np.hypot(np.hypot(POINTS[:, 0], POINTS[:, 1]) - 0.6, POINTS[:, 2])
    clear = np.abs(ring - 0.25) > 0.02
    found = Surface(torus()).is_inside(POINTS)
    assert np.array_equal(found[clear], (ring < 0.25)[clear])


def test_inside_does_not_depend_on_which_side_is_out() -> None:
    turned = Mesh(torus().vertices, torus().faces[:, ::-1])
    assert np.array_equal(Surface(torus()).is_inside(POINTS), Surface(turned).is_inside(POINTS))


def test_where_two_shells_overlap_is_inside() -> None:
    pair = Surface(both(ball(0.5), ball(0.5, (0.4, 0.0, 0.0))))
    assert pair.is_inside(np.array([[0.2, 0.01, 0.02]])).all()


def test_rays_through_corners_and_edges_are_counted_once() -> None:
    box = mesh_from(trimesh.creation.box((1.0, 1.0, 1.0)))
    heights = np.linspace(-0.9, 0.9, 7)
    points = np.stack(np.meshgrid([0.0, 0.25], [0.0, 0.25], heights, indexing="ij"), axis=-1).reshape(-1, 3)
    assert np.array_equal(Surface(box).is_inside(points), np.abs(points[:, 2]) < 0.5)


def test_cells_are_inside_where_their_centres_are() -> None:
    surface = Surface(torus())
    assert np.array_equal(surface.cells_inside(20).reshape(-1), surface.is_inside(cell_centres(20)))


def test_an_open_mesh_has_the_inside_of_its_winding_number() -> None:
    bowl = Surface(without_a_cap(ball()))
    radius = np.linalg.norm(POINTS, axis=1)
    low = POINTS[:, 1] < 0.2
    found = bowl.is_inside(POINTS)
    assert bowl.mesh.closure is Closure.OPEN and bowl.mesh.notes
    assert found[low & (radius < 0.47)].all() and not found[radius > 0.52].any()
    assert np.array_equal(bowl.cells_inside(8).reshape(-1), bowl.is_inside(cell_centres(8)))


# --- surfaces and pictures --------------------------------------------------------------------------------------------


def test_iou_of_a_mesh_with_itself_is_1_and_with_half_of_it_a_half() -> None:
    inside = Surface(ball()).cells_inside(32)
    assert iou(inside, inside) == 1.0
    half = inside & (np.arange(32) < 16)
    assert iou(inside, half) == 0.5
    assert iou(half, half[::-1, :, ::-1]) == 0.0


def test_a_surface_matches_itself() -> None:
    match = match_surfaces(Surface(torus()), Surface(torus()), n=2000)
    assert match.chamfer_l1 < 1e-7 and match.chamfer_l2 < 1e-14
    assert match.normal_consistency > 0.999


def test_chamfer_of_two_balls_is_the_difference_of_their_radii() -> None:
    match = match_surfaces(Surface(ball(0.5)), Surface(ball(0.6)), n=2000)
    assert match.chamfer_l1 == pytest.approx(0.1, rel=0.03)
    assert match.chamfer_l2 == pytest.approx(2 * 0.1**2, rel=0.06)


def test_a_surface_of_samples_lies_where_they_say_and_shows_its_outside() -> None:
    low, high = np.array([-1.0, -1, -1]), np.array([1.0, 1, 3])
    size = (24, 24, 48)
    axes = [lo + (2 * np.arange(n) + 1) / n * (hi - lo) / 2 for lo, hi, n in zip(low, high, size, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = (np.linalg.norm(points - [0.1, 0.0, 1.0], axis=-1) - 0.6).astype(np.float32)
    mesh = surface_of(values, 0.0, low, high)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - [0.1, 0.0, 1.0], axis=1), 0.6, atol=0.01)
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.02)


def test_a_field_without_a_surface_is_refused() -> None:
    with pytest.raises(UsageError, match="no surface"):
        surface_of(np.ones((4, 4, 4), np.float32), 0.0, -np.ones(3), np.ones(3))


@pytest.mark.parametrize("is_distance", [True, False])
def test_a_ball_is_drawn_as_a_disc(is_distance: bool) -> None:
    values = (np.linalg.norm(cell_centres(40), axis=1) - 0.6).astype(np.float32).reshape(40, 40, 40)
    picture = shaded(values if is_distance else np.sign(values), 0.0, 64, is_distance=is_distance)
    drawn = (picture < 255).any(axis=2)
    # A ball of radius r seen from a distance d fills the angle asin(r / d) around the middle.
    radius = np.tan(np.arcsin(0.6 / 4.5)) / np.tan(np.radians(15)) * 32
    assert drawn.sum() == pytest.approx(np.pi * radius**2, rel=0.1)
    assert drawn[32, 32] and not drawn[0].any()
    assert picture[20, 38].sum() > picture[46, 26].sum()  # light comes from above right


# --- through the verbs ------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset that trains for an instant."""
    little = {"n_steps": 1600, "n_trials": 4, "n_refits": 0, "n_refit_trials": 0, "curvature_samples": 200}
    monkeypatch.setitem(presets(), "fast", replace(presets()["fast"], feedback_limit=300, **little))
    monkeypatch.setitem(torch_shapes.N_POINTS, "fast", 1 << 14)
    shape = replace(grid_presets()["shape"], n_steps=80, n_levels=3, last_resolution=16, batch_size=2048)
    monkeypatch.setitem(grid_presets(), "shape", shape)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def done(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exception is None, result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, UsageError), result.exception
    assert "\n" not in str(result.exception)
    return str(result.exception)


def torus_file(tmp_path: Path) -> Path:
    """Away from the origin, and large."""
    write_mesh(tmp_path / "torus.obj", Mesh(torus().vertices * 40 + [100, 0, -7], torus().faces))
    return tmp_path / "torus.obj"


@pytest.mark.usefixtures("quick", "one_thread")
def test_a_mesh_goes_to_a_file_and_back_to_its_place(tmp_path: Path) -> None:
    source, file = torus_file(tmp_path), tmp_path / "t.sinr"
    said = done("encode", source, "-o", file, "--bytes", 900, "--preset", "fast")
    assert (said["field"], said["reason"]) == ("mlp", "for shapes networks are ahead at every size measured")
    assert said["iou"] > 0.9 and said["watertight"] and said["notes"] == []
    assert said["modality"] == "SDF" and len(file.read_bytes()) == said["file_bytes"] <= 900
    assert 0 < said["chamfer_l1"] < 0.05 and said["normal_consistency"] > 0.9
    assert done("decode", file, tmp_path / "out.ply", "--size", 40)["triangles"] > 100
    given, found = read_mesh(source), read_mesh(tmp_path / "out.ply")
    assert found.closure is Closure.CLOSED
    np.testing.assert_allclose(found.vertices.mean(axis=0), given.vertices.mean(axis=0), atol=2.0)
    np.testing.assert_allclose(np.ptp(found.vertices, axis=0), np.ptp(given.vertices, axis=0), rtol=0.1)
    done("decode", file, tmp_path / "out.png", "--size", 48)
    assert read_image(tmp_path / "out.png").shape == (48, 48, 3)
    done("decode", file, tmp_path / "out.npy", "--size", 6)
    assert np.load(tmp_path / "out.npy").shape == (6, 6, 6, 1)


@pytest.mark.usefixtures("quick", "one_thread")
@pytest.mark.parametrize("field", ["mlp", "grid"])
def test_occupancy_is_a_probability_above_one_half_inside(tmp_path: Path, field: str) -> None:
    source, file = torus_file(tmp_path), tmp_path / "t.sinr"
    options = ("--modality", "occupancy", "--field", field, "--preset", "fast")
    said = done("encode", source, "-o", file, *options)
    assert said["modality"] == "OCCUPANCY" and said["iou"] > 0.7 and said["snr"] is None
    field_read = sinrfmt.load(file)
    values = field_read.sample([[0.57, 0.0, 0.0], [0.0, 0.0, 0.0], [0.9, 0.9, 0.9]])
    assert field_read.header.modality is Modality.OCCUPANCY
    assert values.min() >= 0 and values.max() <= 1
    assert values[0, 0] > 0.5 > max(values[1, 0], values[2, 0])
    assert done("decode", file, tmp_path / "out.obj", "--size", 32)["vertices"] > 50


@pytest.mark.usefixtures("quick", "one_thread")
def test_a_mesh_that_is_not_watertight_is_encoded_with_a_note(tmp_path: Path) -> None:
    write_mesh(tmp_path / "bowl.stl", without_a_cap(ball()))
    said = done("encode", tmp_path / "bowl.stl", "-o", tmp_path / "b.sinr", "--bytes", 900, "--preset", "fast")
    assert not said["watertight"] and "not watertight" in said["notes"][0]
    assert said["iou"] > 0.8


@pytest.mark.usefixtures("quick", "one_thread")
def test_an_iou_that_is_asked_for_is_reached(tmp_path: Path) -> None:
    said = done("encode", torus_file(tmp_path), "-o", tmp_path / "t.sinr", "--iou", 0.9, "--preset", "fast")
    assert said["iou"] >= 0.9


def test_what_a_shape_cannot_be_asked_for_is_refused_in_one_line(tmp_path: Path) -> None:
    source, out = torus_file(tmp_path), ("-o", tmp_path / "t.sinr")
    assert "at most one" in refused("encode", source, *out, "--bytes", 900, "--iou", 0.9)
    assert "no distances" in refused("encode", source, *out, "--psnr", 20, "--modality", "occupancy")
    assert "--bpp" in refused("encode", source, *out, "--bpp", 1)
    assert "pyramid" in refused("encode", source, *out, "--preset", "pyramid")
    assert "smallest network" in refused("encode", source, *out, "--bytes", 100)
    assert "none.obj" in refused("encode", tmp_path / "none.obj", *out)
    (tmp_path / "empty.obj").write_text("v 0 0 0\n")
    assert "without triangles" in refused("encode", tmp_path / "empty.obj", *out)
    assert not (tmp_path / "t.sinr").exists()


@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the repository")
@pytest.mark.parametrize("name", ["bunny", "spot"])
def test_scans_whose_corners_have_texture_are_watertight_once_welded(name: str) -> None:
    mesh = read_mesh(DATA / f"{name}.obj")
    assert mesh.closure is Closure.CLOSED and len(mesh.vertices) - len(mesh.faces) // 2 == 2


@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the repository")
@pytest.mark.usefixtures("quick", "one_thread")
def test_spot_is_encoded_and_drawn(tmp_path: Path) -> None:
    said = done("encode", DATA / "spot.obj", "-o", tmp_path / "s.sinr", "--bytes", 2500, "--preset", "fast")
    assert said["iou"] > 0.85
    done("decode", tmp_path / "s.sinr", tmp_path / "s.png", "--size", 64)
    assert (read_image(tmp_path / "s.png") < 255).any(axis=2).mean() > 0.1
