"""Numbers to build a decoder with before its first sparse code: entries of the dictionary of clause 8.3."""

from collections.abc import Callable
from typing import Any

from conformance.generate import philox

SEEDS = (0, 0xA4093822299F31D0)
ATOMS = (0, 1, 70000, (1 << 20) - 1)
ORDINAL = 6
LAWS: tuple[tuple[str, int, Callable[[int, int, int, int], int], int], ...] = (
    ("RNG-7", 0, philox.rademacher, 150),  # a block has 128 rows
    ("RNG-8", 1, philox.t8_entry, 40),  # a block has 16 rows
)


def known_answers() -> dict[str, Any]:
    """`dictionary`: for a law, a seed and a tensor ordinal, the entries [atom][row] of some atoms."""
    tables = [
        {
            "clause": clause,
            "law": law,
            "seed": f"{seed:016x}",
            "ordinal": ORDINAL,
            "atoms": list(ATOMS),
            "entries": [" ".join(str(entry(row, atom, ORDINAL, seed)) for row in range(n_rows)) for atom in ATOMS],
        }
        for clause, law, entry, n_rows in LAWS
        for seed in SEEDS
    ]
    return {"dictionary": tables}
