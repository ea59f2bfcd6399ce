"""Strict building blocks for :mod:`sinrfmt.layout`, over construct.

construct accepts much by default; here a field checks its value when parsing *and* when building, so the encoder
cannot write what the decoder refuses. A failed check raises :class:`Fault`, which derives from construct's
ExplicitError because nothing inside construct swallows that one. Specification: clause 5.5.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from construct import Construct, ExplicitError, StreamError, Subconstruct, Terminated, TerminatedError

Test = Callable[[Any, Any], bool]


class Fault(ExplicitError):  # type: ignore[misc]  # noqa: N818 - becomes a coded error at the border
    """A broken rule: registry name of the error, offset in the parsed bytes, field path, one line of text."""

    def __init__(self, name: str, message: str, *, offset: int = 0, path: str = "") -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message, self.offset, self.path = name, message, offset, path


@dataclass(frozen=True)
class Rule:
    """``test(value, context)`` must hold, else ``error``; ``text`` states the rule in the specification's table."""

    error: str
    text: str
    test: Test


def _dotted(path: str) -> str:
    return ".".join(part for part in path.split(" -> ")[1:] if part != "None")


class Field(Subconstruct):  # type: ignore[misc]
    """A field with its documentation and its rules, tested in order in both directions."""

    def __init__(self, subcon: Construct, meaning: str, *rules: Rule) -> None:
        super().__init__(subcon)
        self.meaning = meaning
        self.rules = rules

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        offset = stream.tell()
        try:
            value = self.subcon._parsereport(stream, context, path)
        except StreamError:
            end = stream.seek(0, 2)
            raise Fault("PAYLOAD_TOO_SHORT", "the payload ends here", offset=end, path=_dotted(path)) from None
        self._test(value, context, offset, path)
        return value

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        self._test(obj, context, stream.tell(), path)
        return self.subcon._build(obj, stream, context, path)

    def _test(self, value: Any, context: Any, offset: int, path: str) -> None:
        for rule in self.rules:
            if not rule.test(value, context):
                shown = value.hex() if isinstance(value, bytes) else value
                message = f"found {shown}, expected {rule.text}"
                raise Fault(rule.error, message, offset=offset, path=_dotted(path))


class Ended(Construct):  # type: ignore[misc]
    """Nothing may follow (construct's Terminated, with our error)."""

    def __init__(self) -> None:
        super().__init__()
        self.flagbuildnone = True

    def _parse(self, stream: Any, context: Any, path: str) -> None:
        offset = stream.tell()
        try:
            Terminated._parse(stream, context, path)
        except TerminatedError:
            raise Fault("SURPLUS_BYTES", "nothing may follow here", offset=offset, path=_dotted(path)) from None

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> None:
        return None

    def _sizeof(self, context: Any, path: str) -> int:
        return 0


def one_of(error: str, ids: Any) -> Rule:
    allowed = frozenset(int(i) for i in ids)
    return Rule(error, "an id of the registry", lambda value, _: value in allowed)


def between(error: str, low: int, high: int) -> Rule:
    return Rule(error, f"{low} to {high}", lambda value, _: low <= value <= high)


def bits_clear(error: str, mask: int) -> Rule:
    return Rule(error, f"bits {mask:#x} zero", lambda value, _: value & mask == 0)
