"""Clause 9.8: files whose weights are relative to a base; BAS-1, BAS-2, HED-15, DEC-6, and sparse codes of biases."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sinrfmt
from sinrfmt import report
from sinrfmt.base import Base, state_digest, states_from
from sinrfmt.head import base_digest_offset, build_head
from sinrfmt.network import (
    FourierEncoding,
    GridEncoding,
    InputRecord,
    LayerRecord,
    Network,
    PyramidEncoding,
    SeededFourierEncoding,
)
from sinrfmt.registry import Coding, Dictionary, Modality, RecordKind, Tool
from sinrfmt.stream import HeaderRead, Parser
from tests.strategies import (
    HEAD,
    LAST,
    PASS,
    PUBLISHED,
    Made,
    assert_decodes,
    assert_error,
    bit_string,
    header_of,
    make_file,
    pass_payload,
    payload_offset,
    seal,
    siren,
    small_file,
    split,
)

ALL_CODINGS = [*((coding, 0) for coding in Coding), (Coding.RANS, 6)]


@cache
def base_of(name: str = "siren", **options: Any) -> Made:
    network = PUBLISHED[name](**options) if name in PUBLISHED else siren(**options)
    return make_file(header_of(network, grid=()), [(Coding.RANS, 0), (Coding.PACKED, 0)], seed=3)


def relative(base: Made, codings: list[tuple[Coding, int]] | None = None, **options: Any) -> Made:
    return make_file(
        header_of(base.header.network, grid=()), codings or [(Coding.RANS, 0)], seed=4, base=base, **options
    )


def digest_offset(data: bytes) -> int:
    return payload_offset(data, 0) + base_digest_offset(split(data)[0][1])


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_pass_0_is_a_later_pass() -> None:
    """acc = 5 * 2^2 - 1 with the step code 700 - 16, and a tensor that is left alone."""
    network = Network(1, 1, (LayerRecord(RecordKind.LINEAR, 1),))
    table = [(0, 1), (20, 7), (3, 5), (0, 1), (21, 7), (3, 5)]
    head = build_head(header_of(network, grid=()))
    base = sinrfmt.loads(seal([(HEAD, head), (PASS, pass_payload(table, bit_string((5, 4), (-2, 4)), [5, -2]))]))
    header = header_of(network, grid=(), base_digest=base.state_digest)
    one = pass_payload([(1, 1), (1, 3), (1, 5), (0, 1)], bit_string((-1, 2)), [19])
    field = sinrfmt.loads(seal([(HEAD, build_head(header)), (PASS, one)]), base=base)
    assert [(state.acc.tolist(), state.step) for state in field.states] == [([19], 684), ([-2], 701)]
    assert field.weights[0][0, 0] == np.float32(19) * np.float32(2.0 ** (684 // 8 - 100)) * np.float32(2**0.5)


def test_the_bias_of_a_sparse_layer_is_a_sparse_code() -> None:
    """Clause 9.5: a bias is a matrix (out, 1); its dictionary is that of its ordinal."""
    made = base_of(tool=Tool.SPARSE)
    header = header_of(made.header.network, grid=())
    found = make_file(header, [(Coding.RANS, 0), (Coding.PACKED, 0)], seed=8, base=made)
    assert all(tensor.is_sparse for tensor in found.header.tensors)
    assert_decodes(found, base=made.data)
    biases = [state.acc for state in found.states[-1] if state.tensor.is_bias]
    assert any((acc != state.acc).any() for acc, state in zip(biases, made.states[-1][1::2], strict=True))


# --- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ALL_CODINGS)
@pytest.mark.parametrize(
    "options", [{}, {"tool": Tool.SPARSE}, {"prior": True, "row_steps": True}, {"tool": Tool.RAW}], ids=str
)
def test_relative_files_of_every_coding_decode(coding: tuple[Coding, int], options: dict[str, Any]) -> None:
    base = base_of(**options)
    own = base.header.network.with_layer_records(lambda record: replace(record, prior=False, row_steps=False))
    made = make_file(header_of(own, grid=()), [coding, coding], seed=4, base=base)
    field = assert_decodes(made, base=base.data)
    assert field.state_digest == state_digest(made.states[-1])
    assert sinrfmt.loads(made.data, passes=1, base=base.data).n_passes == 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_that_are_no_chain_are_relative_too(name: str) -> None:
    base = base_of(name)
    assert_decodes(relative(base), base=base.data)


@pytest.mark.parametrize(("before", "after"), [(Tool.SCALAR, Tool.SPARSE), (Tool.SPARSE, Tool.SCALAR)])
def test_the_tools_are_the_files_own(before: Tool, after: Tool) -> None:
    base = base_of(tool=before)
    network = base.header.network.with_layer_records(lambda record: replace(record, tool=after))
    header = header_of(network, grid=(3, 3), modality=Modality.IMAGE, seed=99 if after is Tool.SPARSE else None)
    if after is Tool.SPARSE:
        header = replace(header, dictionary=Dictionary.T8)
    made = make_file(header, [(Coding.RANS, 0)], seed=1, base=base)
    assert_decodes(made, base=base.data)


def test_the_same_integers_in_another_coding_are_the_same_base() -> None:
    """A base is named by its integers and steps, not by its bytes."""
    header = header_of(siren(), grid=())
    one, other = (make_file(header, [coding], seed=3) for coding in ((Coding.RANS, 0), (Coding.ZLIB, 0)))
    assert one.data != other.data
    made = relative(one)
    assert (
        sinrfmt.loads(made.data, base=one.data).weights_sha256
        == sinrfmt.loads(made.data, base=other.data).weights_sha256
    )


def test_every_form_of_a_base_will_do(tmp_path: Path) -> None:
    base = base_of()
    made = relative(base)
    path = tmp_path / "base.sinr"
    path.write_bytes(base.data)
    expected = sinrfmt.loads(made.data, base=base.data)
    for form in (path, str(path), io.BytesIO(base.data), sinrfmt.loads(base.data)):
        assert sinrfmt.loads(made.data, base=form).weights_sha256 == expected.weights_sha256
    with sinrfmt.open(io.BytesIO(made.data), base=path) as lazy:
        assert lazy.field == expected


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_any_split_of_a_relative_file_gives_its_weights(step: int) -> None:
    base = base_of()
    made = relative(base, [(Coding.RANS, 0), (Coding.ZLIB, 0)])
    parser = Parser(lambda: Base(base.header, base.states[-1]))
    digests = []
    for start in range(0, len(made.data), step):
        for event in parser.feed(made.data[start : start + step]):
            if not isinstance(event, HeaderRead):
                digests.append(event.sha256.hex())  # type: ignore[union-attr]
    parser.close()
    assert digests[-1] == sinrfmt.loads(made.data, base=base.data).weights_sha256


# --- BAS-1, BAS-2 ----------------------------------------------------------------------------------------------------


def test_a_base_that_is_not_given_is_required() -> None:
    """BAS-1, before anything of a pass is read; the header alone needs none."""
    data = relative(base_of()).data
    assert_error("BASE_REQUIRED", digest_offset(data), sinrfmt.loads, data)
    end_of_head = payload_offset(data, 1) - 5
    assert_error("BASE_REQUIRED", digest_offset(data), sinrfmt.loads, data[:end_of_head])
    assert sinrfmt.read_header(io.BytesIO(data)).base_digest == state_digest(base_of().states[-1])


def test_the_error_of_a_base_is_raised_again() -> None:
    data = relative(base_of()).data
    parser = Parser()
    for _ in range(2):
        assert_error("BASE_REQUIRED", digest_offset(data), lambda: list(parser.feed(data)))
    assert_error("BASE_REQUIRED", digest_offset(data), parser.close)


def test_a_base_is_not_read_where_none_is_needed(tmp_path: Path) -> None:
    """DEC-6."""
    assert sinrfmt.loads(small_file().data, base=tmp_path / "missing").n_passes == 1
    data = relative(base_of()).data
    assert_error("USAGE", None, sinrfmt.loads, data, base=tmp_path / "missing")


def _changed(network: Network, **changes: Any) -> Network:
    """The second record changed."""
    first, second, *rest = network.records
    return replace(network, records=(first, replace(second, **changes), *rest))


WIDE = (LayerRecord(RecordKind.SINE, 5, omega=30.0), LayerRecord(RecordKind.SINE, 5, omega=20.0),
        LayerRecord(RecordKind.LINEAR, 2, is_output=True), InputRecord(0, 1),
        LayerRecord(RecordKind.GABOR, 3, omega=2.0, scale=0.5), LayerRecord(RecordKind.LINEAR, 1))  # fmt: skip
NETWORK = Network(2, 3, WIDE)
OTHERS: dict[str, Callable[[], Network]] = {
    "kind": lambda: _changed(NETWORK, kind=RecordKind.FINER),
    "omega": lambda: _changed(NETWORK, omega=21.0),
    "outputs": lambda: _changed(NETWORK, width=6),
    "bias": lambda: _changed(NETWORK, bias=False),
    "raw": lambda: _changed(NETWORK, tool=Tool.RAW),
    "in_dims": lambda: replace(NETWORK, in_dims=3),
    "encoding": lambda: replace(NETWORK, input_encoding=FourierEncoding(1)),
    "scale": lambda: replace(NETWORK, records=(*WIDE[:4], replace(WIDE[4], scale=0.25), WIDE[5])),
    "axis": lambda: replace(NETWORK, records=(*WIDE[:3], InputRecord(1, 1), *WIDE[4:])),
    "order": lambda: replace(NETWORK, records=(*WIDE[:2], WIDE[3], WIDE[2], *WIDE[4:])),
    "out_channels": lambda: Network(2, 4, (*WIDE[:5], LayerRecord(RecordKind.LINEAR, 2))),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_base_of_another_network_is_a_mismatch(name: str) -> None:
    """BAS-2, with the digest as it should be."""
    base = make_file(header_of(NETWORK, grid=()), [(Coding.RANS, 0)])
    header = header_of(OTHERS[name](), grid=(), base_digest=state_digest(base.states[-1]))
    data = seal([(HEAD, build_head(header)), (PASS, b"")])
    assert_error("BASE_MISMATCH", digest_offset(data), sinrfmt.loads, data, base=base.data)


@pytest.mark.parametrize("encoding", [GridEncoding(((3, 3),)), PyramidEncoding((4, 6), 2)], ids=["grid", "pyramid"])
def test_latent_grids_have_no_base_and_are_none(encoding: GridEncoding | PyramidEncoding) -> None:
    """BAS-2: whichever file has the grid, and with the same one in both."""
    plain = Network(2, 1, (LayerRecord(RecordKind.LINEAR, 1),))
    latent = replace(plain, input_encoding=encoding)
    for of_base, own in ((latent, latent), (latent, plain), (plain, latent)):
        base = make_file(header_of(of_base), [(Coding.RANS, 0)])
        header = header_of(own, base_digest=state_digest(base.states[-1]))
        data = seal([(HEAD, build_head(header)), (PASS, b"")])
        assert_error("BASE_MISMATCH", digest_offset(data), sinrfmt.loads, data, base=base.data)
        assert_error("BASE_REQUIRED", digest_offset(data), sinrfmt.loads, data)


def test_binary16_and_binary32_do_not_go_together() -> None:
    base = make_file(header_of(siren(tool=Tool.RAW, half=True), grid=()), [(Coding.PACKED, 0)])
    header = header_of(siren(tool=Tool.RAW), grid=(), base_digest=state_digest(base.states[-1]))
    data = seal([(HEAD, build_head(header)), (PASS, b"")])
    assert_error("BASE_MISMATCH", digest_offset(data), sinrfmt.loads, data, base=base.data)


@pytest.mark.parametrize(("seed", "is_same"), [(7, True), (8, False)])
def test_seeds_are_compared_where_they_make_the_inputs(seed: int, is_same: bool) -> None:
    network = replace(siren(), input_encoding=SeededFourierEncoding(4, 0.5))
    base = make_file(header_of(network, grid=()), [(Coding.RANS, 0)])
    header = header_of(network, grid=(), seed=seed, base_digest=state_digest(base.states[-1]))
    decoded = Base(base.header, base.states[-1])
    if is_same:
        states_from(decoded, header)
    else:
        with pytest.raises(Exception, match="BASE_MISMATCH"):
            states_from(decoded, header)


def test_other_bases_are_mismatches() -> None:
    """BAS-2: another digest, files that do not decode or not to their end, and a base with a base."""
    base = base_of()
    data = relative(base).data
    other = make_file(base.header, [(Coding.RANS, 0)], seed=77).data
    broken = bytearray(base.data)
    broken[-1] ^= 1
    chain = relative(base).data
    for wrong in (other, bytes(broken), base.data[:-1], b"", b"not a field", chain, sinrfmt.loads(base.data, passes=1)):
        assert_error("BASE_MISMATCH", digest_offset(data), sinrfmt.loads, data, base=wrong)
    with_base = sinrfmt.loads(chain, base=base.data)
    assert_error("BASE_MISMATCH", digest_offset(data), sinrfmt.loads, data, base=with_base)


def test_a_chain_of_bases_is_refused_whatever_its_digest() -> None:
    base = base_of()
    middle = sinrfmt.loads(relative(base).data, base=base.data)
    header = header_of(base.header.network, grid=(), base_digest=middle.state_digest)
    data = seal([(HEAD, build_head(header)), (PASS, b"")])
    assert_error("BASE_MISMATCH", digest_offset(data), sinrfmt.loads, data, base=middle)


# --- report and command line -----------------------------------------------------------------------------------------


def test_the_long_form_names_the_base() -> None:
    base = base_of(tool=Tool.SPARSE)
    field = sinrfmt.loads(relative(base).data, base=base.data)
    found = report.describe(field)
    assert found["base_digest"] == sinrfmt.loads(base.data).state_digest.hex()
    assert found["state_digest"] == field.state_digest.hex() != found["base_digest"]
    assert report.describe(sinrfmt.loads(base.data))["base_digest"] is None
    assert any("n_atoms" in layer.get("bias", {}) for layer in found["layers"])


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sinrfmt", *map(str, arguments), "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_takes_a_base(tmp_path: Path) -> None:
    base = base_of()
    made = make_file(header_of(base.header.network, grid=(3, 4)), [(Coding.RANS, 0)], base=base)
    paths = tmp_path / "base.sinr", tmp_path / "one.sinr"
    for path, data in zip(paths, (base.data, made.data), strict=True):
        path.write_bytes(data)
    expected = sinrfmt.loads(made.data, base=base.data)
    done = run("decode", paths[1], tmp_path / "out.npy", "--base", paths[0])
    assert json.loads(done.stdout)["weights_sha256"] == expected.weights_sha256
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected.grid())
    assert json.loads(run("inspect", paths[1], "--base", paths[0]).stdout)["base_digest"] == base_digest(base)
    assert run("verify", paths[1], "--base", paths[0]).returncode == 0
    failed = run("verify", paths[1])
    assert (failed.returncode, json.loads(failed.stdout)["name"]) == (4, "BASE_REQUIRED")
    failed = run("verify", paths[1], "--base", paths[1])
    assert (failed.returncode, json.loads(failed.stdout)["name"]) == (3, "BASE_MISMATCH")


def base_digest(made: Made) -> str:
    return state_digest(made.states[-1]).hex()


def test_the_last_chunk_is_a_pass() -> None:
    """A relative file has no chunk of its own kind: its digest is in HEAD."""
    assert [kind & ~LAST for kind, _ in split(relative(base_of()).data)] == [HEAD, PASS]
