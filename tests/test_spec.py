"""The text is true: its code runs and agrees with the library, its tables are up to date, its example decodes."""

import hashlib
import re
import struct
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sinrfmt
from sinrfmt import entropy, models, network, philox, rans, registry, weights
from sinrfmt.tables import Prior
from tests.strategies import header_of, make_file

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "spec" / "sinr-1.md").read_text()


def rne32(x: float) -> float:
    value: float = struct.unpack("<f", struct.pack("<f", x))[0]
    return value


@pytest.fixture(scope="module")
def text_code() -> dict[str, Any]:
    """Every ``python`` block of the text, run."""
    namespace: dict[str, Any] = {"RNE32": rne32, "struct": struct, "hashlib": hashlib}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(block, namespace)
    return namespace


def test_tables_and_registry_module_are_up_to_date() -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "spec" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_requirement_ids_are_unique() -> None:
    ids = re.findall(r"^- \*\*\[([A-Z]+-\d+)\]\*\*", TEXT, re.MULTILINE)
    assert len(ids) > 50
    assert len(ids) == len(set(ids))


def test_every_error_of_the_text_is_in_the_registry_and_the_other_way_round() -> None:
    listed = {row["name"] for row in tomllib.loads((ROOT / "spec" / "registry.toml").read_text())["error"]}
    prose = re.sub(r"<!-- gen:registry error -->.*?<!-- /gen -->", "", TEXT, flags=re.DOTALL)
    named = set(re.findall(r"\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b|\bTRUNCATED\b|\bUSAGE\b", prose))
    assert listed <= named
    assert listed == set(registry.ERRORS)


def test_philox_of_the_text(text_code: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    for counter in rng.integers(0, 1 << 32, (20, 4)).tolist():
        key = rng.integers(0, 1 << 32, 2).tolist()
        expected = philox.philox(*[np.array([c], dtype=np.uint32) for c in counter], *key)
        assert list(text_code["philox"](*counter, *key)) == expected[0].tolist()


def test_model_of_the_text(text_code: dict[str, Any]) -> None:
    for q in range(0, 140, 7):
        for law in registry.Law:
            model = models.short_model(law, q)
            expected = model.frequencies().tolist()
            assert text_code["frequencies"](model.R, model.p0, model.theta, model.rho, model.heavy) == expected
    assert [text_code["mf8"](c) for c in range(169)] == [models.mf8(c) for c in range(169)]


def test_coder_of_the_text(text_code: dict[str, Any]) -> None:
    frequencies = models.short_model(registry.Law.GAUSS, 20).frequencies()
    symbols = np.random.default_rng(2).choice(frequencies.size, 200, p=frequencies / 2**14)
    x, words = 0, []
    for symbol in reversed(symbols.tolist()):
        x = text_code["encode"](x, frequencies.tolist(), symbol, words)
    encoder = rans.StreamEncoder()
    encoder.symbols(symbols, frequencies)
    assert encoder.encode() == struct.pack(f"<I{len(words)}H", x, *words)
    decoded = []
    for _ in range(200):
        x, symbol = text_code["decode"](x, frequencies.tolist(), words)
        decoded.append(symbol)
    assert decoded == symbols.tolist()
    assert (x, words) == (0, [])
    assert entropy.ESCAPE_FREQUENCIES[0] == 8186


def test_weights_and_prior_of_the_text(text_code: dict[str, Any]) -> None:
    for code in range(1024):
        assert text_code["step"](code) == weights.step_value(code)
    rng = np.random.default_rng(3)
    acc = rng.integers(-(1 << 31) + 1, 1 << 31, 500).astype(np.int32)
    for code in (0, 700, 803, 1023):
        expected = [text_code["weight"](float(a), code) for a in acc]
        assert (acc.astype(np.float32) * weights.step_value(code)).tolist() == expected
    prior = Prior(40961, 30)
    numbers = philox.signed_numbers(50, 4, 99).tolist()
    expected_prior = [text_code["prior"](u, 40961, 30) for u in numbers]
    assert weights.prior_values(prior, 4, 50, 99).tolist() == expected_prior


def test_trellis_of_the_text(text_code: dict[str, Any]) -> None:
    """Clause 9.4: what a quantiser can say, and that both quantisers follow from every one."""
    said: dict[int, set[int]] = {0: set(), 1: set()}
    for state in range(8):
        for k in range(-4, 5):
            r, after = text_code["trellis"](k, k & 1, state)
            said[state & 1].add(r)
            assert r % 2 == (state & 1 if k else 0)
            assert 0 <= after < 8
    assert (said[0], said[1]) == (set(range(-8, 9, 2)), {0, *range(-7, 8, 2)})


def test_state_digest_of_the_text(text_code: dict[str, Any]) -> None:
    records = (
        network.LayerRecord(registry.RecordKind.RELU, 4, row_steps=True),
        network.LayerRecord(registry.RecordKind.RELU, 3, tool=registry.Tool.RAW, half=True),
        network.LayerRecord(registry.RecordKind.RELU, 3, tool=registry.Tool.RAW),
        network.LayerRecord(registry.RecordKind.LINEAR, 2, prior=True),
    )
    made = make_file(header_of(network.Network(3, 2, records)), [(registry.Coding.RANS, 0)] * 2, seed=5)
    plain = []
    for state in made.states[-1]:
        rows = [0] if state.row_steps is None else state.row_steps.tolist()
        is_raw = state.tensor.record.tool is registry.Tool.RAW
        acc = state.acc.view(np.uint32) if is_raw else state.acc  # the text has patterns as unsigned numbers
        plain.append(([] if is_raw else [state.step + d for d in rows], acc.tolist()))
    assert max(plain[4][1]) >= 1 << 31
    assert made.states[-1][0].row_steps is not None
    assert sinrfmt.loads(made.data).state_digest == text_code["state_digest"](plain)


def test_the_annotated_example_covers_every_byte() -> None:
    data = (ROOT / "spec" / "examples" / "wave.sinr").read_bytes()
    annex = TEXT[TEXT.index("## Annex A") :]
    rows = re.findall(r"^\| (\d+) \| ([0-9a-f]+) \|", annex, re.MULTILINE)
    assert "".join(text for _, text in rows) == data.hex()
    assert sinrfmt.loads(data).weights_sha256 in annex
