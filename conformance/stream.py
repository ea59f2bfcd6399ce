"""Files in pieces (level B): the same events for any partition, each when the bytes that make it are there (clause 17).

A session is a request `open`, one `feed` for each piece and a `close`. The harness gives no piece before it has the
reply to the one before, so a decoder that waits for more than it needs is seen to be late.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, cycle

from conformance.calls import Answer, Exchange, answer_in, feed_message
from conformance.claims import (
    CRASH,
    NOT_INCREMENTAL,
    PASS,
    REJECTED_VALID,
    WRONG_CODE,
    WRONG_OFFSET,
    WRONG_OUTPUT,
    Json,
)
from conformance.framing import HEADER_BYTES, SIGNATURE_BYTES, whole_chunks

BYTEWISE_LIMIT = 4096  # files above it are not fed byte by byte
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71)
SEED = 15
ERROR_KEYS = ("code", "name", "class", "offset")
EVENT_KEYS = {"event", "pass", "acc_crc", "weights_sha256", *ERROR_KEYS}  # a text for people may say what was there


def _to_end(ends: Iterator[int], size: int) -> list[int]:
    """Ends below the size, then the size."""
    found = []
    for end in ends:
        if end >= size:
            break
        found.append(end)
    return [*found, size]


def _of_chunks(data: bytes) -> list[int]:
    """Signature, then header and rest of each chunk."""
    ends = [end for chunk in whole_chunks(data) for end in (chunk.offset + HEADER_BYTES, chunk.end)]
    return _to_end(iter([SIGNATURE_BYTES, *ends]), len(data))


def _random(data: bytes) -> list[int]:
    rng = random.Random(SEED)
    return _to_end(accumulate(rng.randint(1, 64) for _ in data), len(data))


PARTITIONS: dict[str, Callable[[bytes], list[int]]] = {
    "bytes": lambda data: list(range(1, len(data) + 1)),
    "whole": lambda data: [len(data)],
    "chunks": _of_chunks,
    "primes": lambda data: _to_end(accumulate(cycle(PRIMES)), len(data)),
    "random": _random,
}
"""Name of a partition to the ends of its pieces. The first one is the measure for the others."""


@dataclass(frozen=True)
class Session:
    """What a decoder said: events with the bytes that it had then, its last answer."""

    events: list[tuple[int, Json]]
    answer: Answer


def run_session(exchange: Exchange, data: bytes, ends: list[int], options: list[str]) -> Session | None:
    """Feed the pieces that end there; None where the worker gave no reply that is one."""
    events: list[tuple[int, Json]] = []
    messages = [(0, {"op": "open", "args": options})]
    messages += [(end, feed_message(data[start:end])) for start, end in zip([0, *ends], ends, strict=False)]
    for end, message in messages:
        reply = exchange(message)
        if reply is None or not isinstance(reply.get("events"), list):
            return None
        events += [(end, event) for event in reply["events"]]
        if any(event.get("event") == "error" for event in reply["events"]):
            break
    reply = exchange({"op": "close"})
    if reply is None or not isinstance(reply.get("status"), int):
        return None
    return Session(events, answer_in(reply))


def judge_vector(exchange: Exchange, data: bytes, expect: Json, options: list[str]) -> Iterator[tuple[str, str, str]]:
    """Name, verdict and detail for each partition."""
    measure = expected_events(data, expect) if "exit" not in expect else None
    for name, cut in PARTITIONS.items():
        if name == "bytes" and len(data) > BYTEWISE_LIMIT:
            continue
        ends = cut(data)
        session = run_session(exchange, data, ends, options)
        if session is None:
            yield name, CRASH, "no reply, or one without events or status"
            continue
        if measure is None and name == "bytes":
            measure = [(at, {key: event[key] for key in EVENT_KEYS & set(event)}) for at, event in session.events]
        yield name, *_judge(session, measure, expect, ends)


def expected_events(data: bytes, expect: Json) -> list[tuple[int, Json]]:
    """A valid file's events: HEAD and the passes, at the ends of their chunks."""
    head, *rest = whole_chunks(data)
    n_chunks = len(expect["acc_crc"]) // expect["passes"]  # of a pass: more than one where there are parts
    last = slice(n_chunks - 1, None, n_chunks)
    ends = [chunk.end for chunk in rest if chunk.is_pass][last]
    passes = [{"event": "pass", "pass": i, "acc_crc": crc} for i, crc in enumerate(expect["acc_crc"][last])]
    passes[-1]["weights_sha256"] = expect["weights_sha256"]
    return [(head.end, {"event": "head"}), *zip(ends, passes, strict=True)]


def _judge(session: Session, measure: list[tuple[int, Json]] | None, expect: Json, ends: list[int]) -> tuple[str, str]:
    """Verdict and detail: the answer first, then the events, then when they came."""
    verdict, detail = _judge_answer(session, expect)
    if verdict != PASS or measure is None:
        return verdict, detail
    found = [event for _, event in session.events]
    wanted = [event for _, event in measure]
    if len(found) != len(wanted) or not all(
        want.items() <= got.items() for got, want in zip(found, wanted, strict=True)
    ):
        return NOT_INCREMENTAL, f"events {_text(found)}, expected {_text(wanted)}"
    for (at, event), (need, _) in zip(session.events, measure, strict=True):
        due = next(end for end in ends if end >= need)
        if at != due:
            return NOT_INCREMENTAL, f"{event['event']} after {at} bytes, expected after {due}"
    return PASS, ""


def _judge_answer(session: Session, expect: Json) -> tuple[str, str]:
    """The answer to close, and an error event if there was one, against the manifest's."""
    answer = session.answer
    reply = answer.reply or {}
    if "exit" in expect:
        errors = [event for _, event in session.events if event.get("event") == "error"]
        for found in [*errors, reply]:
            other = [key for key in ERROR_KEYS if key not in found or found[key] != expect[key]]
            if other:
                verdict = WRONG_OFFSET if other == ["offset"] else WRONG_CODE
                return verdict, f"{found.get('name')} at {found.get('offset')}, expected {expect['name']}"
        return (PASS, "") if answer.status == expect["exit"] else (WRONG_CODE, f"exit status {answer.status}")
    if answer.status != 0:
        return REJECTED_VALID, f"{reply.get('name')} at {reply.get('offset')}"
    other = [key for key in ("passes", "weights_sha256", "acc_crc") if reply.get(key) != expect[key]]
    return (WRONG_OUTPUT, f"{', '.join(other)} differ") if other else (PASS, "")


def _text(events: list[Json]) -> str:
    return " ".join(f"{event.get('event')}{event.get('pass', '')}" for event in events) or "none"
