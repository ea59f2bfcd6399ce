"""Clauses 12.4 and 17: previews are found, shown in time, put in and taken out; what breaks a rule is ignored."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sinrfmt
from conformance.generate.build import build
from conformance.generate.recipe import packed
from conformance.generate.recipes_valid import TEXT_HEAD
from sinrfmt import SinrError, edit, joining, report
from sinrfmt.cli.options import previews_of
from sinrfmt.index import Places
from sinrfmt.parts import Parts
from sinrfmt.pictures import FEWEST_PREVIEW_BYTES, PREVIEW_SHARES, FieldKind, Ladder, PictureOptions
from sinrfmt.registry import LEVELS, Coding, Coords, Modality, Profile, Values
from sinrfmt.stream import IndexRead, Note, Parser, PassComplete, PreviewRead, events
from tests.strategies import (
    HEAD,
    INDX,
    META,
    PASS,
    assert_error,
    header_of,
    make_file,
    seal,
    siren,
    split,
)

ROOT = Path(__file__).parents[1]
PREV = 0xA7
RANS, PACKED = (Coding.RANS, 0), (Coding.PACKED, 0)


def field_of(width: int, *, quality: tuple[float, ...] | None = None, n_passes: int = 1, **fields: Any) -> bytes:
    """A picture of 4 x 6 by a network of one hidden layer."""
    network = fields.pop("network", siren(1, width))
    header = header_of(network, quality=quality, **{"modality": Modality.IMAGE} | fields)
    return make_file(header, [RANS] * n_passes, seed=width).data


SMALL, LARGE = field_of(2, grid=(2, 3)), field_of(4)
WHOLE = field_of(9, n_passes=2)
FILE = edit.with_previews(edit.reindex(edit.with_meta(WHOLE, {"a": "1"})), [SMALL, LARGE])


def kinds(data: bytes) -> list[int]:
    return [kind & 0xEF for kind, _ in split(data)]


def payload_of(data: bytes) -> bytes:
    """What stands for a file in PREV: the length of HEAD, then the payloads of HEAD and of the first PASS chunk."""
    (_, head), (_, coded), *_ = split(data)
    return len(head).to_bytes(2, "little") + head + coded


def with_chunks(*payloads: bytes, behind: bytes | None = None) -> bytes:
    """The file with PREV chunks of any content."""
    head, *passes = split(WHOLE)
    passes[1:1] = [] if behind is None else [(PREV, behind)]
    return seal([head, *((PREV, payload) for payload in payloads), *passes])


def test_previews_stand_in_front_of_the_passes_and_change_no_weight() -> None:
    assert kinds(FILE) == [HEAD, INDX, META, PREV, PREV, PASS, PASS]
    field = sinrfmt.loads(FILE)
    assert field.weights_sha256 == sinrfmt.loads(WHOLE).weights_sha256
    assert [preview.data for preview in field.previews] == [SMALL, LARGE]
    assert field.previews[0] is field.previews[-2] and field.previews[0].shape == (2, 3, 3)
    np.testing.assert_array_equal(field.previews[1].grid(), sinrfmt.loads(LARGE).grid())
    with pytest.raises(IndexError):
        field.previews[2]


def test_a_payload_has_20_bytes_less_than_the_file_that_it_stands_for() -> None:
    payloads = [payload for kind, payload in split(FILE) if kind == PREV]
    assert payloads == [payload_of(SMALL), payload_of(LARGE)]
    assert [len(payload) + 20 for payload in payloads] == [len(SMALL), len(LARGE)]


@pytest.mark.parametrize(
    ("name", "n_right", "n_ignored", "errors"),
    [
        ("valid-prev", 2, 2, []),
        ("valid-prev-cut", 0, 4, ["PAYLOAD_TOO_SHORT"] * 3 + ["SURPLUS_BYTES"]),
        ("valid-prev-pass", 0, 2, ["PASS_ORDER"] * 2 + ["ACC_CRC_MISMATCH"]),
        ("valid-prev-other", 0, 11, []),
    ],
)
def test_previews_of_the_vectors_are_right_ignored_or_fail_when_they_are_wanted(
    name: str, n_right: int, n_ignored: int, errors: list[str]
) -> None:
    field = sinrfmt.load(ROOT / "conformance" / "vectors" / f"{name}.sinr")
    assert len([note for note in field.notes if "PREV" in note]) == n_ignored
    assert len(field.previews) == n_right + len(errors)
    assert all(field.previews[number].n_passes == 1 for number in range(n_right))
    found = []
    for number in range(n_right, len(field.previews)):
        with pytest.raises(SinrError) as caught:
            field.previews[number]
        found.append(caught.value.name)
    assert found == errors


def test_a_preview_of_a_vector_is_the_file_that_the_generator_made() -> None:
    first, second = sinrfmt.load(ROOT / "conformance" / "vectors" / "valid-prev.sinr").previews
    small, large = packed(replace(TEXT_HEAD, grid=(1, 1)), 1), packed(TEXT_HEAD, 90)
    assert [first.data, second.data] == [build(small).data, build(large).data]


def test_the_index_of_a_file_with_previews_is_right() -> None:
    field = sinrfmt.loads(FILE)
    (index,) = (event.index for event in events([FILE]) if isinstance(event, IndexRead))
    assert isinstance(index, Places)
    assert list(index.bounds[1:]) == list(field.pass_ends)


BROKEN = {
    "cut": LARGE[:-1],
    "bytes behind": LARGE + b"\0",
    "without a pass": seal(split(LARGE)[:1]),
    "a pass of one byte": seal([split(LARGE)[0], (PASS, b"\x09")]),
    "two passes": field_of(4, n_passes=2),
    "another modality": field_of(4, modality=Modality.FIELD),
    "other coordinates": field_of(4, coords=Coords.CORNERS),
    "other channels": field_of(4, network=siren(1, 4, out_channels=1)),
    "other axes": field_of(4, network=siren(1, 4, in_dims=1)),
    "without a grid": field_of(4, grid=()),
    "a larger grid": field_of(4, grid=(4, 7)),
    "raw values": field_of(4, values=Values.RAW),
    "a higher level": field_of(4, level=LEVELS[2]),
}
WRONG_BEHIND_HEAD = ("cut", "bytes behind", "without a pass", "a pass of one byte")
"""Files that are not whole, which a payload cannot stand for, or of which the pass alone is wrong."""
WITHOUT_HEAD = {
    "no byte": b"",
    "half of head_length": b"\0",
    "no byte of head": payload_of(LARGE)[:2],
    "a byte of head less": payload_of(LARGE)[: 1 + len(split(LARGE)[0][1])],
    "a whole file": LARGE,
    "an empty head": bytes(40),
}
OTHER_CHUNKS = {
    "a key": edit.with_meta(LARGE, {"a": "1"}),
    "an index": edit.reindex(LARGE),
    "a preview": edit.with_previews(LARGE, [SMALL]),
    "an unknown chunk": seal([*split(LARGE), (0xA6, b"")]),
}


@pytest.mark.parametrize("name", [name for name in BROKEN if name not in WRONG_BEHIND_HEAD])
def test_a_preview_that_breaks_a_rule_is_ignored(name: str) -> None:
    assert_ignored(payload_of(BROKEN[name]))


@pytest.mark.parametrize("name", WITHOUT_HEAD)
def test_a_payload_without_a_whole_head_is_ignored(name: str) -> None:
    assert_ignored(WITHOUT_HEAD[name])


def test_a_preview_larger_than_its_level_is_ignored() -> None:
    whole = field_of(9, level=LEVELS[2])
    head, *passes = split(whole)
    room = LEVELS[1].file_bytes - len(SMALL)
    for more, n_previews in ((room, 1), (room + 1, 0)):
        data = seal([head, (PREV, payload_of(SMALL) + bytes(more)), *passes])
        assert len(sinrfmt.loads(data).previews) == n_previews


def assert_ignored(payload: bytes) -> None:
    field = sinrfmt.loads(with_chunks(payload))
    assert len(field.previews) == 0
    assert ["PREV" in note for note in field.notes] == [True]
    assert field.weights_sha256 == sinrfmt.loads(WHOLE).weights_sha256


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "a higher level"])
def test_a_preview_that_breaks_a_rule_is_not_written(name: str) -> None:
    with pytest.raises(SinrError):
        edit.with_previews(WHOLE, [BROKEN[name]])


@pytest.mark.parametrize("name", OTHER_CHUNKS)
def test_a_file_of_which_a_preview_would_lose_chunks_is_not_written(name: str) -> None:
    assert sinrfmt.loads(OTHER_CHUNKS[name]).weights_sha256 == sinrfmt.loads(LARGE).weights_sha256
    with pytest.raises(sinrfmt.UsageError, match="preview 0: it has other chunks"):
        edit.with_previews(WHOLE, [OTHER_CHUNKS[name]])


def test_a_preview_of_a_higher_profile_is_ignored() -> None:
    core = field_of(9, profile=Profile.CORE)
    head, *passes = split(core)
    right = payload_of(field_of(2, profile=Profile.CORE))
    assert len(sinrfmt.loads(seal([head, (PREV, payload_of(SMALL)), *passes])).previews) == 0
    assert len(sinrfmt.loads(seal([head, (PREV, right), *passes])).previews) == 1


def test_the_level_rises_with_that_of_a_preview() -> None:
    field = sinrfmt.loads(edit.with_previews(WHOLE, [BROKEN["a higher level"]]))
    assert (field.header.level.id, len(field.previews)) == (2, 1)


def test_the_values_of_a_preview_may_be_samples_of_another_range() -> None:
    assert len(sinrfmt.loads(with_chunks(payload_of(field_of(4, values=Values.SIGNED)))).previews) == 1


def test_only_previews_in_order_and_before_the_passes_count() -> None:
    small, large = payload_of(SMALL), payload_of(LARGE)
    assert len(sinrfmt.loads(with_chunks(small, large, large)).previews) == 2
    assert len(sinrfmt.loads(with_chunks(large, small)).previews) == 1
    assert len(sinrfmt.loads(with_chunks(bytes(len(large)), large)).previews) == 0
    assert len(sinrfmt.loads(with_chunks(small, behind=large)).previews) == 1
    with pytest.raises(sinrfmt.UsageError, match="preview 1"):
        edit.with_previews(WHOLE, [LARGE, SMALL])


def test_passes_of_a_preview_are_not_decoded_before_it_is_wanted() -> None:
    head, (kind, payload) = split(LARGE)
    wrong = seal([head, (kind, payload[:2] + bytes([payload[2] ^ 1]) + payload[3:])])
    field = sinrfmt.loads(with_chunks(payload_of(wrong)))
    assert len(field.previews) == 1
    with pytest.raises(sinrfmt.ChecksumError, match="ACC_CRC_MISMATCH"):
        field.previews[0]


# --- streams ----------------------------------------------------------------------------------------------------------


def fed(data: bytes, cut: int) -> Parser:
    parser = Parser()
    list(parser.feed(data[:cut]))
    return parser


@pytest.mark.parametrize("n", [1, 7, 10_000])
def test_any_split_gives_the_same_events(n: int) -> None:
    found = list(events(FILE[at : at + n] for at in range(0, len(FILE), n)))
    previews = [event for event in found if isinstance(event, PreviewRead)]
    assert [(event.index, event.preview.data) for event in previews] == [(0, SMALL), (1, LARGE)]
    for event in previews:
        at = event.end - 4 - len(event.preview.payload)
        assert FILE[at : event.end - 4] == event.preview.payload == payload_of(event.preview.data)
    assert not any(isinstance(event, Note) for event in found)


def test_a_snapshot_shows_the_last_whole_preview_until_a_pass_is_whole() -> None:
    ends = [event.end for event in events([FILE]) if isinstance(event, (PreviewRead, PassComplete))]
    shown: list[bytes | None] = [None, SMALL, LARGE, None, None]
    for cut in {*range(0, len(FILE), 7), *(end + d for end in ends for d in (-1, 0))}:
        snapshot = fed(FILE, cut).snapshot()
        step = sum(end <= cut for end in ends)
        assert (None if snapshot.preview is None else snapshot.preview.data) == shown[step]
        assert (snapshot.is_preview, snapshot.n_passes) == (step in (1, 2), max(0, step - 2))
        assert snapshot.n_steps == step


@pytest.mark.parametrize(
    ("announced", "of_preview", "expected"),
    [((20.0, 30.0), 25.0, [True, False]), ((25.0, 30.0), 25.0, [False, False]), (None, 25.0, [False, False]),
     ((20.0, 30.0), None, [False, False])],
)  # fmt: skip
def test_after_a_pass_what_announces_more_is_shown(
    announced: tuple[float, ...] | None, of_preview: float | None, expected: list[bool]
) -> None:
    whole = WHOLE if announced is None else edit.with_quality(WHOLE, announced)
    small = SMALL if of_preview is None else edit.with_quality(SMALL, (of_preview,))
    data = edit.with_previews(whole, [small])
    ends = sinrfmt.loads(data).pass_ends
    assert [fed(data, end).snapshot().is_preview for end in ends] == expected


def test_a_parser_that_goes_on_elsewhere_knows_the_preview() -> None:
    cut = sinrfmt.loads(FILE).pass_ends[0] - 1
    again = Parser.restore(fed(FILE, cut).save(), FILE)
    assert again.snapshot().preview == fed(FILE, cut).snapshot().preview is not None


def test_a_preview_is_read_without_the_passes() -> None:
    cut = FILE[: sinrfmt.loads(FILE).pass_ends[0] - 5]
    for number, data in enumerate((SMALL, LARGE)):
        assert sinrfmt.load(io.BytesIO(cut), preview=number) == sinrfmt.loads(data)
        with sinrfmt.open(io.BytesIO(cut), preview=number) as opened:
            assert opened.header == sinrfmt.loads(data).header and opened.field == sinrfmt.loads(data)
    assert_error("USAGE", None, sinrfmt.load, io.BytesIO(cut), preview=2)
    assert_error("USAGE", None, sinrfmt.load, io.BytesIO(SMALL), preview=0)
    inside = FILE.index(payload_of(LARGE)) + 10
    assert_error("TRUNCATED", inside, sinrfmt.load, io.BytesIO(FILE[:inside]), preview=1)


def test_steps_are_previews_and_then_passes() -> None:
    expected = [sinrfmt.loads(SMALL), sinrfmt.loads(LARGE), sinrfmt.loads(FILE, passes=1), sinrfmt.loads(FILE)]
    for step, field in enumerate(expected, 1):
        assert sinrfmt.load(io.BytesIO(FILE), step=step).weights_sha256 == field.weights_sha256
        with sinrfmt.open(io.BytesIO(FILE), step=step) as opened:
            assert (opened.header, opened.field.weights_sha256) == (field.header, field.weights_sha256)
    for step in (0, 5):
        assert_error("USAGE", None, sinrfmt.load, io.BytesIO(FILE), step=step)
    assert_error("USAGE", None, sinrfmt.load, io.BytesIO(FILE), step=1, passes=1)
    assert_error("USAGE", None, sinrfmt.load, io.BytesIO(FILE), step=1, preview=0)


def test_no_step_reads_more_than_it_needs() -> None:
    pass_ends = sinrfmt.loads(FILE).pass_ends
    ends = [*(event.end for event in events([FILE]) if isinstance(event, PreviewRead)), *pass_ends]
    for step, end in enumerate(ends, 1):
        assert sinrfmt.load(io.BytesIO(FILE[:end]), step=step).n_passes == max(1, step - 2)


# --- editors ----------------------------------------------------------------------------------------------------------


def test_previews_are_taken_out_and_replaced() -> None:
    assert [preview.data for preview in edit.previews(FILE)] == [SMALL, LARGE]
    assert edit.preview(FILE, 1) == LARGE
    assert_error("USAGE", None, edit.preview, FILE, 2)
    bare = edit.with_previews(FILE, ())
    assert bare == edit.reindex(edit.with_meta(WHOLE, {"a": "1"}))
    assert edit.with_previews(FILE, [LARGE]) == edit.with_previews(bare, [LARGE])


def test_previews_stay_in_a_file_that_is_cut_or_indexed() -> None:
    cut = edit.cut(FILE, 1)
    assert kinds(cut) == [HEAD, INDX, META, PREV, PREV, PASS]
    assert cut == edit.with_previews(edit.reindex(edit.with_meta(edit.cut(WHOLE, 1), {"a": "1"})), [SMALL, LARGE])
    assert edit.reindex(FILE) == FILE
    assert kinds(edit.reindex(with_chunks(payload_of(SMALL)))) == [HEAD, INDX, PREV, PASS, PASS]


def test_previews_of_parts_are_not_those_of_the_whole() -> None:
    part = edit.with_previews(field_of(4, values=Values.UNIT), [SMALL])
    whole = joining.join([part, part], Parts((8, 6), (2, 1), (0, 0)))
    assert kinds(whole) == [HEAD, PASS, PASS]
    assert kinds(joining.extract(edit.with_previews(whole, [SMALL]), 1)) == [HEAD, PASS]


def test_another_quality_and_grid_keep_the_weights() -> None:
    data = edit.with_quality(LARGE, (31.25,), (2, 5))
    field = sinrfmt.loads(data)
    assert (field.header.quality, field.header.grid) == ((31.25,), (2, 5))
    assert field.weights_sha256 == sinrfmt.loads(LARGE).weights_sha256
    assert replace(field.header, quality=None, grid=(4, 6)) == sinrfmt.loads(LARGE).header


def test_what_a_file_holds_names_its_previews() -> None:
    data = edit.with_previews(WHOLE, [edit.with_quality(SMALL, (12.5,)), LARGE])
    first, second = report.describe(sinrfmt.loads(data))["previews"]
    assert (first["payload_bytes"], first["grid"], first["quality"]) == (len(SMALL) - 20 + 3, [2, 3], [12.5])
    assert (second["payload_bytes"], second["quality"]) == (len(LARGE) - 20, None)


# --- the command line -------------------------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sinrfmt", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_a_preview_is_decoded_and_cut_out(tmp_path: Path) -> None:
    source, out = tmp_path / "whole.sinr", tmp_path / "out.npy"
    source.write_bytes(FILE)
    summary = json.loads(run("decode", source, out, "--preview", 0, "--json").stdout)
    assert summary["file_bytes"] == len(SMALL)
    np.testing.assert_array_equal(np.load(out), sinrfmt.loads(SMALL).grid())
    assert json.loads(run("decode", source, out, "--step", 2, "-f", "--json").stdout)["file_bytes"] == len(LARGE)
    assert json.loads(run("decode", source, out, "--step", 3, "-f", "--json").stdout)["passes"] == 1
    assert run("cut", source, "--preview", 1, "-o", tmp_path / "large.sinr").returncode == 0
    assert (tmp_path / "large.sinr").read_bytes() == LARGE
    assert run("cut", source, "--no-previews", "--passes", 1, "-o", tmp_path / "bare.sinr").returncode == 0
    assert kinds((tmp_path / "bare.sinr").read_bytes()) == [HEAD, INDX, META, PASS]


@pytest.mark.parametrize(
    "arguments",
    [("cut",), ("cut", "--preview", 0, "--passes", 1), ("cut", "--preview", 2), ("decode", "--preview", 2),
     ("decode", "--preview", 0, "--region", "0,0,1,1"), ("decode", "--step", 5), ("decode", "--step", 1, "--passes", 1),
     ("decode", "--step", 1, "--region", "0,0,1,1")],
)  # fmt: skip
def test_what_does_not_go_together_is_wrong_use(arguments: tuple[object, ...], tmp_path: Path) -> None:
    source, out = tmp_path / "whole.sinr", tmp_path / "out.npy"
    source.write_bytes(FILE)
    verb, *options = arguments
    result = run(verb, source, *(["-o", out] if verb == "cut" else [out]), *options)
    assert (result.returncode, out.exists()) == (2, False)


# --- what is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "n_passes", "sizes"),
    [
        ({"previews": 3, "field": FieldKind.GRID}, None, (245, 1719, 12_035)),
        ({"previews": 1, "field": FieldKind.GRID}, None, (4666,)),
        ({"previews": 3, "field": FieldKind.GRID, "max_bytes": 100_000}, 87_692, (245, 1719, 12_035)),
        ({"previews": 3}, None, (333, 2333, 16_333)),
        ({"previews": (500, 2000), "max_bytes": 100_000}, 97_479, (500, 2000)),
    ],
)
def test_previews_take_their_share_of_the_bytes(
    options: dict[str, Any], n_passes: int | None, sizes: tuple[int, ...]
) -> None:
    asked = PictureOptions(**options)
    assert asked.for_passes((100, 100)).max_bytes == n_passes
    assert asked.for_passes((100, 100)).previews == 0
    assert asked.preview_sizes(100_000) == sizes


def test_small_files_have_fewer_previews() -> None:
    assert [len(PictureOptions(previews=3).preview_sizes(n)) for n in (473, 474, 2000, 4000)] == [0, 1, 2, 3]


@pytest.mark.parametrize("field", [FieldKind.MLP, FieldKind.GRID])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_previews_rise_evenly_from_a_picture_to_their_share(field: FieldKind, number: int) -> None:
    asked = PictureOptions(previews=number, field=field)
    for n_bytes in range(4500, 200_000, 3001):
        sizes = asked.preview_sizes(n_bytes)
        assert len(sizes) == number and sizes[0] >= FEWEST_PREVIEW_BYTES
        assert sum(sizes) <= PREVIEW_SHARES[asked.is_grid] * number / 3 * n_bytes
        assert all(1.6 < after / before < 7.1 for before, after in pairwise(sizes))


GRID = {"field": FieldKind.GRID}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"passes": 4, "max_bytes": 4000, "field": FieldKind.MLP}, {"previews": 3, "passes": 1}),
        ({"passes": 4, "max_bytes": 1500, "field": FieldKind.MLP}, {"passes": 4, "ladder": Ladder.GROWTH}),
        ({"passes": 4, "max_bytes": 20_000} | GRID, {"previews": 3, "passes": 1}),
        ({"passes": 4, "max_bytes": 20_000, "tiles": 64} | GRID, {"previews": 3, "passes": 1}),
        ({"passes": (None,), "previews": 2}, {"passes": (None,), "previews": 2}),
        ({"passes": 5, "max_bytes": 20_000} | GRID, {"passes": 5, "ladder": Ladder.LEVELS}),
        ({"passes": 4, "max_bytes": 20_000, "ladder": Ladder.LEVELS} | GRID, {"passes": 4, "ladder": Ladder.LEVELS}),
        ({"passes": 2, "max_bytes": 20_000, "previews": (900,)} | GRID, {"passes": 2, "previews": (900,)}),
        ({"passes": (900, 4000, 50_000)} | GRID, {"passes": 1, "previews": (827, 3091), "max_bytes": 50_000}),
        ({"passes": (900, 4000, None), "max_bytes": 50_000} | GRID, {"previews": (827, 3091), "max_bytes": 50_000}),
        ({"passes": (2000, 8000, 12_000)} | GRID, {"passes": (2000, 8000, 12_000), "ladder": Ladder.LEVELS}),
        ({"passes": (2000, 3000, 50_000)} | GRID, {"passes": (2000, 3000, 50_000), "ladder": Ladder.LEVELS}),
        ({"passes": (2000, 8000, 12_000), "ladder": Ladder.PREVIEWS} | GRID, {"previews": (1927, 5991)}),
    ],
)
def test_steps_are_previews_where_these_fit_and_are_cheap(options: dict[str, Any], expected: dict[str, Any]) -> None:
    asked = PictureOptions(**options)
    found, reason = asked.for_ladder((512, 768))
    assert {name: getattr(found, name) for name in expected} == expected
    assert (reason is None) == (asked.ladder is not Ladder.AUTO or asked.previews != 0)


@pytest.mark.parametrize(
    "options",
    [
        {"passes": 5, "ladder": Ladder.PREVIEWS},
        {"passes": 4, "max_bytes": 600, "ladder": Ladder.PREVIEWS},
        {"passes": (150, 4000), "ladder": Ladder.PREVIEWS},
        {"passes": 4, "ladder": Ladder.GROWTH} | GRID,
        {"passes": 4, "ladder": Ladder.LEVELS},
        {"passes": 5, "tiles": 64} | GRID,
        {"ladder": Ladder.PREVIEWS},
        {"passes": 2, "previews": 1, "ladder": Ladder.PREVIEWS},
        {"passes": 4, "tiles": 64, "ladder": Ladder.LEVELS} | GRID,
        {"passes": (900, 4000), "tiles": 64} | GRID,
        {"passes": (900, 4000), "max_bytes": 5000},
    ],
)
def test_ladders_that_cannot_be_are_wrong_use(options: dict[str, Any]) -> None:
    with pytest.raises(sinrfmt.UsageError):
        PictureOptions(**options).for_ladder((512, 768))


@pytest.mark.parametrize(
    "options", [{"previews": 4}, {"previews": (300, 200)}, {"previews": (0,)}, {"previews": 1, "base": WHOLE}]
)
def test_previews_that_cannot_be_are_wrong_use(options: dict[str, Any]) -> None:
    with pytest.raises(sinrfmt.UsageError):
        PictureOptions(**options)


def test_previews_larger_than_the_file_are_wrong_use() -> None:
    with pytest.raises(sinrfmt.UsageError):
        PictureOptions(previews=(300, 700), max_bytes=1000).for_passes((100, 100))


@pytest.mark.parametrize(("sizes", "limit"), [((128, 192), 4000), ((512, 768), 2500)])
def test_a_preview_is_a_network_in_few_bytes_and_latents_in_more(sizes: tuple[int, int], limit: int) -> None:
    asked = PictureOptions(previews=3, preset="fast", field=FieldKind.MLP, seed=3)
    assert [asked.of_preview(n, sizes).field for n in (limit - 1, limit)] == [FieldKind.MLP, FieldKind.GRID]
    assert [asked.of_preview(n, sizes).preset for n in (limit - 1, limit)] == ["fast", None]
    assert (asked.of_preview(500, sizes).max_bytes, asked.of_preview(500, sizes).seed) == (517, 3)


@pytest.mark.parametrize(("text", "expected"), [("3", 3), ("500B,2kB", (500, 2000)), ("900B", (900,))])
def test_previews_on_the_command_line(text: str, expected: int | tuple[int, ...]) -> None:
    assert previews_of(text) == expected
    with pytest.raises(sinrfmt.UsageError):
        previews_of(f"{text},full")
