"""Ancillary chunks: metadata and digests.

Specification: clause 12. Content that is not well formed is ignored, so parsing gives None and never an error.
"""

from io import BytesIO

from sinrfmt import layout
from sinrfmt.faults import error
from sinrfmt.wire import Fault

HASH_ENTRY_BYTES: int = layout.HASH_ENTRY.sizeof()
HASH_ENTRIES_LIMIT = 256  # one for each pass
META_PAIRS_LIMIT = 4096
"""Pairs of META that are kept of one file: a short pair costs many times its bytes in memory."""


def parse_hash(payload: bytes) -> list[tuple[int, bytes]] | None:
    """Clause 12.3: (pass, digest) of each entry, or None where the content is to be ignored."""
    if len(payload) % HASH_ENTRY_BYTES or len(payload) > HASH_ENTRIES_LIMIT * HASH_ENTRY_BYTES:
        return None
    starts = range(0, len(payload), HASH_ENTRY_BYTES)
    raw = [layout.HASH_ENTRY.parse(payload[at : at + HASH_ENTRY_BYTES]) for at in starts]
    entries = [(entry["pass"], bytes(entry.digest)) for entry in raw]
    passes = [index for index, _ in entries]
    return entries if passes == sorted(set(passes)) else None


def build_hash(entries: list[tuple[int, bytes]]) -> bytes:
    return b"".join(layout.HASH_ENTRY.build({"pass": index, "digest": digest}) for index, digest in entries)


def parse_meta(payload: bytes, n_pairs_limit: int) -> dict[str, str] | None:
    """Clause 12.2: at most ``n_pairs_limit`` keys and values, or None where the content is to be ignored."""
    stream = BytesIO(payload)
    texts: dict[str, str] = {}
    previous = b""
    try:
        while stream.tell() < len(payload):
            key = layout.META_KEY.parse_stream(stream).key
            value = layout.META_VALUE.parse_stream(stream).value
            if key <= previous or len(texts) == n_pairs_limit:
                return None
            texts[key.decode()] = value.decode()
            previous = key
    except (Fault, UnicodeDecodeError):
        return None
    return texts if all(map(_is_text, texts, texts.values())) else None


def _is_text(key: str, value: str) -> bool:
    return not any(ord(c) < 32 or ord(c) == 127 for c in key + value.replace("\n", ""))


def build_meta(meta: dict[str, str]) -> bytes:
    """Clause 12.2.

    Raises:
        UsageError: a key or value that cannot be written.
    """
    parts = []
    try:
        pairs = sorted((key.encode(), value.encode()) for key, value in meta.items())
    except UnicodeEncodeError as failure:
        raise error("USAGE", f"metadata that UTF-8 cannot say: {failure}") from None
    for key, value in pairs:
        if not 0 < len(key) < 256 or len(value) >= 1 << 16 or not _is_text(key.decode(), value.decode()):
            raise error("USAGE", f"metadata {key.decode()!r} is empty, too long or has control characters")
        parts.append(layout.META_KEY.build({"length": len(key), "key": key}))
        parts.append(layout.META_VALUE.build({"length": len(value), "value": value}))
    return b"".join(parts)
