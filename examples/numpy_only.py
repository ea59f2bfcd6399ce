"""Runs ``reference_decoder`` in a process that can import nothing but it, NumPy and the standard library.

    python -I examples/numpy_only.py photo.sinr photo.png

The proof that a file needs neither torch, construct nor sinrfmt to be decoded. ``-I`` keeps the environment and the
current folder out of the import path; the finder below refuses everything else by name, installed or not.
"""

import runpy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = sys.stdlib_module_names | {"numpy", "reference_decoder"}
MUST_BE_ABSENT = frozenset({"torch", "construct", "sinrfmt"})


class AllowedOnly(MetaPathFinder):
    """Refuses every module whose first name is not in ``ALLOWED``; leaves the others to the finders after it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"{fullname} is blocked in this process", name=fullname)
        return None


def main(arguments: list[str]) -> None:
    """Runs ``python -m reference_decoder ARGUMENTS``; its exit status is that of this process."""
    loaded = MUST_BE_ABSENT & sys.modules.keys()
    if loaded:
        sys.exit(f"already imported before anything could be blocked: {', '.join(sorted(loaded))}")
    sys.meta_path.insert(0, AllowedOnly())
    sys.path.insert(0, str(ROOT))
    sys.argv = ["reference_decoder", *arguments]
    runpy.run_module("reference_decoder", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
