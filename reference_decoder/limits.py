"""Levels and memory (clause 14)."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """One row of the table of clause 14."""

    file_bytes: int
    layers: int
    parameters: int
    width: int
    grid_samples: int
    symbols: int
    parts: int


LEVELS = {
    1: Level(65536, 8, 16384, 4096, 4194304, 4194304, 64),
    2: Level(524288, 16, 131072, 8192, 67108864, 16777216, 512),
    3: Level(4194304, 32, 1048576, 16384, 1073741824, 67108864, 4096),
    4: Level(67108864, 64, 16777216, 32768, 17179869184, 268435456, 16384),
    5: Level(2147483648, 256, 4294967296, 65535, 274877906944, 17179869184, 65534),
}

# §14: "A decoder needs at most 16 bytes a parameter + 8 bytes for each atom and coefficient of a sparse code that is
# read + 16 KiB a part (where there are parts) + 4 times the largest chunk + 4 MiB for its data". Long lists are
# therefore worked through in blocks of this many numbers: only the integers themselves and one more array of their
# size are ever there in full, and wider temporaries are as long as a block. It is a multiple of every number of lanes
# (clause 10.4), so that a block is a whole number of rows.
BLOCK = 1 << 14

# §14: "A decoder MAY have limits of its caller on memory, on work (symbols, products, samples) and on output samples"
# This decoder writes at most 1 GiB of values, and its integers take as much.
OUTPUT_VALUES = PARAMETERS = 1 << 28


def blocks(n: int) -> Iterator[slice]:
    """Slices of at most BLOCK numbers that cover 0 … n-1 in order."""
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))
