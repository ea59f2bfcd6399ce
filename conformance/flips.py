"""Every single-bit error of every small vector: detected, or harmless by the text.

`python -m conformance.flips [--below BYTES] [--alone]`. CRC-8 and CRC-32 find every error of one bit in a chunk, and
the signature allows none, so a valid file with one wrong bit must be refused, by both decoders alike. For a file that
is invalid already, the same answer as before is harmless: the bit stands behind the fault; and one bit may be the fault
itself, so that the file is its valid parent again. `--alone` asks `reference_decoder` only, in a third of the time. The
counts so far are printed every hundred files. Exit status 0 when no flip is accepted and the decoders agree on each.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator

from conformance.decoders import Answers, Given, ask_both, by_reference, heads
from conformance.run import ROOT, Json, load_manifest

BELOW = 200  # bytes of a small vector
EVERY = 100  # files between two lines of progress


def small_vectors(below: int, name_filter: str = "") -> Iterator[tuple[Json, Given]]:
    """The files of vectors below this size, with their base."""
    for vector in load_manifest()["vectors"]:
        case = vector["cases"][0]
        if vector["kind"] != "call" and vector["file"]["bytes"] < below and name_filter in vector["name"]:
            base = case["base"] and (ROOT / case["base"]["path"]).read_bytes()
            yield vector, Given((ROOT / vector["file"]["path"]).read_bytes(), base=base)


def flipped(data: bytes, bit: int) -> bytes:
    """The same bytes with one bit inverted."""
    out = bytearray(data)
    out[bit >> 3] ^= 1 << (bit & 7)
    return bytes(out)


def judge(whole: Answers, found: Answers, *, is_parent: bool) -> str:
    """`detected`, `harmless`, `repaired`, `accepted` or `disagreement`."""
    if not found.agree:
        return "disagreement"
    if found.reference == whole.reference and whole.reference.name:
        return "harmless"
    if found.reference.name:
        return "detected"
    return "repaired" if is_parent else "accepted"


def parent_of(vector: Json) -> bytes:
    """The valid file that an invalid one was made of; nothing for a valid one."""
    name = vector.get("derivation", {}).get("parent")
    return (ROOT / f"vectors/{name}.sinr").read_bytes() if name else b""


def ask_reference(given: Given) -> Answers:
    """The verdict of `reference_decoder` alone, which agrees with itself."""
    verdict = by_reference(given)
    return Answers(verdict, verdict)


def main(argv: list[str] | None = None) -> int:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m conformance.flips", description=__doc__)
    parser.add_argument("--below", type=int, default=BELOW, help="bytes of the vectors to try")
    parser.add_argument("--filter", default="", help="only vectors whose name contains this")
    parser.add_argument("--alone", action="store_true", help="ask reference_decoder only")
    given = parser.parse_args(argv)
    with heads(remembered=True):
        n_files, counts = flip_all(given, ask_reference if given.alone else ask_both)
    wrong = counts["accepted"] + counts["disagreement"]
    print(f"{n_files} files, {counts.total()} flips: {dict(counts)}")
    return 1 if wrong or not n_files else 0


def flip_all(given: argparse.Namespace, ask: Callable[[Given], Answers]) -> tuple[int, Counter[str]]:
    """Files and verdicts; a line for each that is wrong."""
    counts: Counter[str] = Counter()
    n_files = 0
    for vector, file in small_vectors(given.below, given.filter):
        whole, parent, n_files = ask(file), parent_of(vector), n_files + 1
        for bit in range(8 * len(file.data)):
            changed = Given(flipped(file.data, bit), base=file.base)
            verdict = judge(whole, found := ask(changed), is_parent=changed.data == parent)
            counts[verdict] += 1
            if verdict in ("accepted", "disagreement"):
                print(f"{vector['name']} bit {bit}: {verdict}: {found}")
        if n_files % EVERY == 0:
            print(f"{n_files} files, {counts.total()} flips: {dict(counts)}", flush=True)
    return n_files, counts


if __name__ == "__main__":
    sys.exit(main())
