"""Errors of the library: one tree, every one with a code of ``spec/registry.toml``.

Specification: clause 15. This module imports nothing, so that anything may raise from it.
``str(error)`` is one line: what was expected, what was found, where.
"""


class SinrError(Exception):
    """Root of every error of this library.

    Attributes:
        code: number in the registry.
        name: upper-snake name in the registry.
        offset: byte offset in the file of the field at fault, or None where there is no file.
        path: dotted path of the field (``head.records[1].width``), or "".
    """

    error_class = "internal"

    def __init__(self, code: int, name: str, message: str, *, offset: int | None = None, path: str = "") -> None:
        self.code = code
        self.name = name
        self.message = message
        self.offset = offset
        self.path = path
        super().__init__(message)

    def __str__(self) -> str:
        place = "" if self.offset is None else f" at byte {self.offset}"
        where = f" ({self.path})" if self.path else ""
        return f"{self.name} [{self.code}]{place}{where}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        """All of it, so that an error reaches other processes; the way of exceptions has the message alone."""
        return _restored, (type(self), self.code, self.name, self.message, self.offset, self.path)


def _restored(cls: type[SinrError], code: int, name: str, message: str, offset: int | None, path: str) -> SinrError:
    return cls(code, name, message, offset=offset, path=path)


class FormatError(SinrError, ValueError):
    """The file breaks a rule of the specification."""

    error_class = "malformed"


class TruncatedError(FormatError, EOFError):
    """The file ends too early."""

    error_class = "truncated"


class ChecksumError(FormatError):
    """A checksum or digest does not match: the file was damaged."""

    error_class = "integrity"


class UnsupportedError(SinrError, NotImplementedError):
    """The file may be valid, but needs something that this decoder does not have."""

    error_class = "unsupported"


class LimitError(SinrError):
    """The file may be valid, but is over a limit of its level or of the caller."""

    error_class = "limit"


class UsageError(SinrError, ValueError):
    """The caller is wrong."""

    error_class = "usage"


CLASSES: dict[str, type[SinrError]] = {
    cls.error_class: cls
    for cls in (FormatError, TruncatedError, ChecksumError, UnsupportedError, LimitError, UsageError)
}
EXIT_STATUS: dict[str, int] = {
    "usage": 2,
    "malformed": 3,
    "integrity": 3,
    "truncated": 3,
    "unsupported": 4,
    "limit": 5,
}
