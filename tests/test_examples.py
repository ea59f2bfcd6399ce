"""The examples do what they say, and the README quotes the one it shows."""

import runpy
import sys
from pathlib import Path

import pytest

from examples.numpy_only import AllowedOnly

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["torch", "construct", "sinrfmt", "sinrfmt.field", "brotli"])
def test_barrier_refuses_whatever_is_not_numpy_or_standard_library(name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="blocked"):
        AllowedOnly().find_spec(name, None)


@pytest.mark.parametrize("name", ["numpy", "numpy.linalg", "zlib", "reference_decoder.container"])
def test_barrier_lets_the_decoder_and_its_needs_through(name: str) -> None:
    assert AllowedOnly().find_spec(name, None) is None


def test_readme_quotes_the_embedding_example() -> None:
    example = (ROOT / "examples" / "embed.py").read_text().partition('"""\n\n')[2]
    assert f"```python\n{example}```" in (ROOT / "README.md").read_text()


def test_embedding_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    picture = ROOT / "conformance" / "vectors" / "valid-real-image.sinr"
    monkeypatch.setattr(sys, "argv", ["embed.py", str(picture)])
    runpy.run_path(str(ROOT / "examples" / "embed.py"), run_name="__main__")
    assert "float32" in capsys.readouterr().out
