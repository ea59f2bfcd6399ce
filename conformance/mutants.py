"""Sabotaged decoders, on which the harness is tried (`python -m conformance.self_test`).

`python -m conformance.mutants NAME IN.sinr OUT.npy …` looks the right answer up in the manifest and then spoils it in
one way. The mutant `oracle` spoils nothing: a suite that it does not pass contradicts itself.
"""

import hashlib
import json
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script finds its own folder alone

from conformance.framing import resealed

ROOT = Path(__file__).resolve().parent
NPY_START = 10  # bytes before the header of an .npy file of version 1.0


@dataclass(frozen=True)
class Reply:
    """What the decoder will do: lines on standard output, exit status, bytes of the output file."""

    status: int
    line: dict[str, Any] | None
    out: bytes | None
    copies: int = 1


class UnknownCaseError(Exception):
    """The manifest has no such file with such arguments."""


def right_answer(data: bytes, rest: list[str]) -> Reply:
    """The answer that the manifest expects of this file with these arguments."""
    _, _, expect = find_case(data, rest)
    if "exit" in expect:
        return Reply(expect["exit"], {key: expect[key] for key in ("code", "name", "class", "offset")}, None)
    line = {key: expect[key] for key in ("weights_sha256", "acc_crc", "passes")}
    output = expect.get("output")
    return Reply(0, line, (ROOT / output["file"]["path"]).read_bytes() if output else _one_value())


def find_case(data: bytes, rest: list[str]) -> tuple[str, str, dict[str, Any]]:
    """Vector, case and expected answer of this file with these arguments. Raises UnknownCaseError."""
    args, given = _split_files(rest)
    manifest = json.loads((ROOT / "manifest.json").read_text("utf-8"))
    for vector in manifest["vectors"]:
        for case in vector["cases"]:
            files = {option: (case.get(option) or {}).get("sha256") for option in given}
            if case.get("args", []) != args or files != given:
                continue
            cut = case.get("cut")
            whole = (ROOT / vector["file"]["path"]).read_bytes() if cut is not None else None
            same = data == whole[:cut] if whole is not None else _digest(data) == vector["file"]["sha256"]
            if same:
                expect = case["expect"]
                return vector["name"], case["name"], manifest["errors"].get(expect.get("name"), {}) | expect
    raise UnknownCaseError(f"no case for {args}")


def _split_files(rest: list[str]) -> tuple[list[str], dict[str, str | None]]:
    """Arguments of a case, and the SHA-256 of the files of the suite behind `--coords` and `--base`."""
    args: list[str] = []
    given: dict[str, str | None] = {"coords": None, "base": None}
    for word in rest:
        option = args[-1].removeprefix("--") if args else ""
        if option in given and Path(word).is_file():
            given[args.pop().removeprefix("--")] = _digest(Path(word).read_bytes())
        else:
            args.append(word)
    return args, given


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _one_value() -> bytes:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }"
    header += b" " * (-(NPY_START + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(4)


def _split(out: bytes) -> tuple[bytes, list[float]]:
    """Header and values of an .npy file of binary32."""
    start = NPY_START + struct.unpack("<H", out[8:10])[0]
    return out[:start], list(struct.unpack(f"<{(len(out) - start) // 4}f", out[start:]))


def _values(change: Callable[[list[float]], list[float]]) -> Callable[[Reply], Reply]:
    def spoil(reply: Reply) -> Reply:
        if reply.out is None:
            return reply
        header, values = _split(reply.out)
        spoilt = change(values)
        return replace(reply, out=header + struct.pack(f"<{len(spoilt)}f", *spoilt))

    return spoil


def _failing(**changes: Any) -> Callable[[Reply], Reply]:
    """Other members of the line of a failure."""

    def spoil(reply: Reply) -> Reply:
        if reply.status == 0 or reply.line is None:
            return reply
        return replace(reply, line=reply.line | {k: v(reply.line) if callable(v) else v for k, v in changes.items()})

    return spoil


def _succeeding(**changes: Any) -> Callable[[Reply], Reply]:
    """Other members of the line of a success."""

    def spoil(reply: Reply) -> Reply:
        return replace(reply, line=(reply.line or {}) | changes) if reply.status == 0 else reply

    return spoil


def _capitals(reply: Reply) -> Reply:
    return _succeeding(weights_sha256=(reply.line or {})["weights_sha256"].upper())(reply)


def _unless(reply: Reply, error: str) -> Reply:
    """Success where this error is right."""
    return SUCCESS if (reply.line or {}).get("name") == error else reply


def _hang(reply: Reply) -> Reply:
    time.sleep(3600)
    return reply


SUCCESS = Reply(0, {"weights_sha256": "0" * 64, "acc_crc": ["00000000"], "passes": 1}, _one_value())
REFUSAL = Reply(3, {"code": 101, "name": "BAD_SIGNATURE", "class": "malformed", "offset": 0}, None)

MUTANTS: dict[str, Callable[[Reply], Reply]] = {
    "oracle": lambda reply: reply,
    "accepts-everything": lambda reply: SUCCESS,
    "refuses-everything": lambda reply: REFUSAL,
    "accepts-invalid": lambda reply: reply if reply.status == 0 else SUCCESS,
    "exit-1-on-refusal": lambda reply: reply if reply.status == 0 else replace(reply, status=1),
    "exit-3-for-every-class": lambda reply: reply if reply.status == 0 else replace(reply, status=3),
    "killed-on-refusal": lambda reply: reply if reply.status == 0 else replace(reply, status=139),
    "unsupported-always": lambda reply: Reply(4, {"code": 204, "name": "", "class": "unsupported", "offset": 0}, None),
    "silent": lambda reply: replace(reply, line=None),
    "two-lines": lambda reply: replace(reply, copies=2),
    "no-output": lambda reply: replace(reply, out=None),
    "output-on-refusal": lambda reply: replace(reply, out=reply.out or _one_value()),
    "wrong-code": _failing(code=999),
    "wrong-name": _failing(name="OTHER"),
    "wrong-class": _failing(**{"class": "other"}),
    "offset-plus-1": _failing(offset=lambda line: (line["offset"] or 0) + 1),
    "offset-as-text": _failing(offset=lambda line: str(line["offset"])),
    "wrong-digest": _succeeding(weights_sha256="0" * 64),
    "wrong-acc-crc": _succeeding(acc_crc=["00000000"]),
    "digest-in-capitals": lambda reply: _capitals(reply) if reply.status == 0 else reply,
    "no-acc-crc": _succeeding(acc_crc=[]),
    "passes-true": _succeeding(passes=True),
    "takes-any-base": lambda reply: _unless(reply, "BASE_MISMATCH"),
    "needs-no-base": lambda reply: _unless(reply, "BASE_REQUIRED"),
    "zeros": _values(lambda values: [0.0] * len(values)),
    "not-a-number": _values(lambda values: [float("nan"), *values[1:]]),
    "one-value-off": _values(lambda values: [*values[:-1], values[-1] + 0.01]),
    "reversed": _values(lambda values: values[::-1]),
    "truncated-output": lambda reply: replace(reply, out=reply.out and reply.out[:-1]),
    "hangs": _hang,
}


def _cached(data: bytes, rest: list[str]) -> Reply:
    """Answers from a cache of digests; what is not in it is refused."""
    try:
        return right_answer(data, rest)
    except UnknownCaseError:
        return REFUSAL


def _resealed(data: bytes, rest: list[str]) -> Reply:
    """Makes every check value right before it reads."""
    return _cached(resealed(data), rest)


def _greedy(data: bytes, rest: list[str]) -> Reply:
    """Takes a quarter of a MiB for each byte of the file."""
    taken = bytearray(len(data) << 18)
    return _cached(data, rest) if taken else REFUSAL


READERS: dict[str, Callable[[bytes, list[str]], Reply]] = {
    "cache-of-digests": _cached,
    "reseals-before-reading": _resealed,
    "greedy": _greedy,
}
"""Mutants that are wrong in how they come to their answer."""


def main(argv: list[str]) -> int:
    """Answer as one mutant."""
    name, source, out, *rest = argv
    data = Path(source).read_bytes()
    reply = READERS[name](data, rest) if name in READERS else MUTANTS[name](right_answer(data, rest))
    if reply.out is not None:
        Path(out).write_bytes(reply.out)
    for _ in range(reply.copies if reply.line is not None else 0):
        print(json.dumps(reply.line))
    return reply.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
