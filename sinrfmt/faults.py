"""Coded errors by their registry name, and faults of a payload as errors of the file.

Specification: clause 15.
"""

from sinrfmt.errors import CLASSES, SinrError
from sinrfmt.registry import ERRORS
from sinrfmt.wire import Fault


def error(name: str, message: str, *, offset: int | None = None, path: str = "") -> SinrError:
    """The error of the registry's ``name``."""
    code, error_class = ERRORS[name]
    return CLASSES[error_class](code, name, message, offset=offset, path=path)


def translate(fault: Fault, payload_offset: int, path: str) -> SinrError:
    """A fault inside a payload as an error of the file."""
    full_path = f"{path}.{fault.path}" if fault.path else path
    return error(fault.name, fault.message, offset=payload_offset + fault.offset, path=full_path)
