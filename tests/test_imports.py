"""Who may import what, and what the wheel holds. The table of import lines is in ``pyproject.toml``."""

import ast
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import sinrfmt

ROOT = Path(__file__).resolve().parent.parent
OPTIONAL = {
    "torch",
    "typer",
    "rich",
    "PIL",
    "brotli",
    "zstandard",
    "matplotlib",
    "hypothesis",
    "h5py",
    "onnx",
    "safetensors",
}
NUMPY_AND_STANDARD_LIBRARY = sys.stdlib_module_names | {"numpy"}

# Put before a script: after it, only the named packages and the standard library can be imported.
BARRIER = """
import sys
class AllowedOnly:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names | {allowed!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, AllowedOnly)
"""


def run_python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, check=False)


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


def test_import_of_sinrfmt_loads_no_optional_library() -> None:
    script = f"import sys, sinrfmt; sinrfmt.loads; print(*sorted({OPTIONAL!r} & sys.modules.keys()))"
    process = run_python("-c", script)
    assert (process.stdout.split(), process.returncode) == ([], 0), process.stderr


def imported_packages(path: Path) -> Iterator[str]:
    """First names of every absolute import of a file, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module.partition(".")[0]


MEASURING = {"conformance": {"coverage.py: coverage", "guided.py: atheris"}}
"""Programs of the project itself that a decoder under test does not need."""


@pytest.mark.parametrize(
    ("pattern", "own"), [("reference_decoder/*.py", "reference_decoder"), ("conformance/*.py", "conformance")]
)
def test_only_numpy_and_the_standard_library_are_imported(pattern: str, own: str) -> None:
    paths = sorted(ROOT.glob(pattern))
    assert paths
    foreign = {
        f"{path.name}: {name}"
        for path in paths
        for name in imported_packages(path)
        if name not in NUMPY_AND_STANDARD_LIBRARY | {own}
    }
    assert foreign == MEASURING.get(own, set())


def test_missing_typer_gives_one_line_that_names_the_extra() -> None:
    barrier = BARRIER.format(allowed={"sinrfmt", "numpy", "construct"})
    process = run_python("-c", barrier + "from sinrfmt.cli.app import main; main()")
    assert process.returncode == 2, process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert "sinrfmt[cli]" in process.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    process = run_python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    assert process.returncode == 0, process.stdout + process.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_sinrfmt_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"sinrfmt"}
    assert "sinrfmt/py.typed" in names
    modules = {f"sinrfmt/{path.relative_to(ROOT / 'sinrfmt')}" for path in (ROOT / "sinrfmt").rglob("*.py")}
    assert modules <= set(names)


def test_wheel_decodes_where_only_numpy_and_construct_exist(wheel: Path, tmp_path: Path) -> None:
    vector = ROOT / "conformance" / "vectors" / "valid-real-image.sinr"
    site = tmp_path / "site"
    process = run_python("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    assert process.returncode == 0, process.stderr
    script = f"""
sys.path.insert(0, {str(site)!r})
import hashlib, importlib.metadata, pathlib, sinrfmt
print(pathlib.Path(sinrfmt.__file__).parent.parent)
print(importlib.metadata.version("sinrfmt"))
print(hashlib.sha256(sinrfmt.load({str(vector)!r}).grid().tobytes()).hexdigest())
"""
    process = run_python("-I", "-c", BARRIER.format(allowed={"sinrfmt", "numpy", "construct"}) + script, cwd=tmp_path)
    here = hashlib.sha256(sinrfmt.load(vector).grid().tobytes()).hexdigest()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert process.stdout.split() == [str(site), version, here], process.stderr
