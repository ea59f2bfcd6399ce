"""Errors and exit statuses (clause 15)."""

# Name: (code, class), in the order of the table of clause 15.
ERRORS: dict[str, tuple[int, str]] = {
    "BAD_SIGNATURE": (101, "malformed"),
    "HEADER_CHECK_MISMATCH": (102, "integrity"),
    "CHUNK_CRC_MISMATCH": (103, "integrity"),
    "BAD_CHUNK_TYPE": (104, "malformed"),
    "UNKNOWN_CRITICAL_CHUNK": (105, "unsupported"),
    "CHUNK_ORDER": (106, "malformed"),
    "TRAILING_DATA": (107, "malformed"),
    "TRUNCATED": (108, "truncated"),
    "MISSING_PASS": (109, "malformed"),
    "UNSUPPORTED_VERSION": (201, "unsupported"),
    "UNSUPPORTED_PROFILE": (202, "unsupported"),
    "UNSUPPORTED_LEVEL": (203, "unsupported"),
    "UNSUPPORTED_FEATURE": (204, "unsupported"),
    "PAYLOAD_TOO_SHORT": (205, "malformed"),
    "SURPLUS_BYTES": (206, "malformed"),
    "RESERVED_NOT_ZERO": (207, "malformed"),
    "UNKNOWN_ID": (208, "unsupported"),
    "BAD_DIMENSIONS": (209, "malformed"),
    "BAD_FLOAT": (210, "malformed"),
    "FEATURE_MISMATCH": (211, "malformed"),
    "BAD_RECORD": (212, "malformed"),
    "BAD_OPTIONAL_BLOCK": (213, "malformed"),
    "BASE_REQUIRED": (214, "unsupported"),
    "PASS_ORDER": (301, "malformed"),
    "PROFILE_FORBIDS": (302, "malformed"),
    "BAD_LANES": (303, "malformed"),
    "PADDING_NOT_ZERO": (304, "malformed"),
    "BAD_TABLE": (305, "malformed"),
    "BAD_MODEL": (306, "malformed"),
    "STEP_OUT_OF_RANGE": (307, "malformed"),
    "BAD_STREAM": (308, "malformed"),
    "ACC_OVERFLOW": (309, "malformed"),
    "ACC_CRC_MISMATCH": (310, "integrity"),
    "NON_FINITE_WEIGHT": (311, "malformed"),
    "BAD_COMPRESSED_DATA": (312, "malformed"),
    "CODEC_MISSING": (313, "unsupported"),
    "LIMIT_FILE_BYTES": (401, "limit"),
    "LIMIT_LAYERS": (402, "limit"),
    "LIMIT_PARAMETERS": (403, "limit"),
    "LIMIT_WIDTH": (404, "limit"),
    "LIMIT_GRID": (405, "limit"),
    "LIMIT_SYMBOLS": (406, "limit"),
    "LIMIT_CALLER": (407, "limit"),
    "LIMIT_PARTS": (408, "limit"),
    "WEIGHTS_HASH_MISMATCH": (501, "integrity"),
    "BASE_MISMATCH": (502, "integrity"),
    "SOURCE_CHANGED": (503, "integrity"),
    "USAGE": (601, "usage"),
}

# §15: "Exit status by class: malformed, integrity and truncated 3; unsupported 4; limit 5; usage 2."
EXIT_STATUS = {"malformed": 3, "integrity": 3, "truncated": 3, "unsupported": 4, "limit": 5, "usage": 2}


class DecodeError(Exception):
    """A file that is refused, or a caller that is wrong (§15: "Every error has a code, a name, a class and an offset").

    `offset` is that of the first byte of the field at fault, from the start of the file; None for USAGE and
    LIMIT_CALLER.
    """

    def __init__(self, name: str, offset: int | None, detail: str = "") -> None:
        super().__init__(f"{name} at {offset}" + (f": {detail}" if detail else ""))
        self.name = name
        self.code, self.class_ = ERRORS[name]
        self.offset = offset
