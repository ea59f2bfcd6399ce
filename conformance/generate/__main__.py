"""Command line: write the vectors and the manifest, or compare them with the files."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from conformance.generate.known_answers import known_answers
from conformance.generate.suite import make

ROOT = Path(__file__).resolve().parents[1]
SUMS = "SHA256SUMS"


def main() -> int:
    """Exit status 0 when everything was written, or is as it would be written."""
    parser = argparse.ArgumentParser(prog="python -m conformance.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the files, write nothing")
    parser.add_argument("--out", type=Path, default=ROOT, help="folder to write to or compare with")
    arguments = parser.parse_args()
    files = everything()
    if arguments.check:
        return check(files, arguments.out)
    for path, data in files.items():
        target = arguments.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    for stale in sorted(present(arguments.out) - set(files)):
        (arguments.out / stale).unlink()
    print(f"{len(files)} files, {sum(map(len, files.values()))} bytes")
    return 0


def everything() -> dict[str, bytes]:
    """Every generated file by its path: vectors, expected values, manifest, sums."""
    files, manifest = make()
    files["known-answers.json"] = (json.dumps(known_answers(), indent=1) + "\n").encode()
    files["manifest.json"] = _manifest_text(manifest).encode()
    lines = [f"{record['sha256']}  {record['path']}" for record in _records(manifest)]
    files[SUMS] = ("\n".join(sorted(set(lines), key=lambda line: line[66:])) + "\n").encode()
    return files


def _manifest_text(manifest: dict[str, Any]) -> str:
    """The manifest as JSON with one vector a line, without spaces."""
    lines = ",\n".join(json.dumps(vector, separators=(",", ":")) for vector in manifest["vectors"])
    head = json.dumps(manifest | {"vectors": []}, indent=1)
    return head.replace("[]", f"[\n{lines}\n ]") + "\n"


def _records(node: object) -> list[dict[str, str]]:
    """Every record of a file in the manifest."""
    if isinstance(node, list):
        return [record for item in node for record in _records(item)]
    if not isinstance(node, dict):
        return []
    if "sha256" in node:
        return [node]
    return [record for item in node.values() for record in _records(item)]


def present(root: Path) -> set[str]:
    """Paths of the files that the generator owns."""
    return {path.relative_to(root).as_posix() for path in (root / "vectors").glob("*")}


def check(files: dict[str, bytes], root: Path) -> int:
    """Compare; print what differs."""
    wrong = [path for path, data in files.items() if not (root / path).is_file() or (root / path).read_bytes() != data]
    wrong += sorted(present(root) - set(files))
    for path in wrong:
        print(f"differs: {path}")
    print(f"{len(files)} files, {len(wrong)} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
