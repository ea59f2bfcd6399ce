"""Tool 3: sparse codes in a seeded dictionary (clause 9.5)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reference_decoder.entropy import Integers, RansBody, Values
from reference_decoder.errors import DecodeError
from reference_decoder.generator import dictionary
from reference_decoder.head import Head, Tensor
from reference_decoder.limits import BLOCK
from reference_decoder.packed import Packed

COLUMNS = 0  # of `vectors`; 1 and 2 are rows and the flattened matrix, 3 repeats
BITMAP, GAPS = range(2)
MAX_ENTRY = 127  # SPA-5

# "A decoder generates only atoms that are used, and in groups, so that it keeps LIM-2." Coefficients are taken
# GROUP at a time and their atoms are generated ROW_GROUP rows at a time, once for a group; of those APPLIED at a time
# become the binary64 numbers that are multiplied.
GROUP = 1 << 12
APPLIED = 1 << 9
ROW_GROUP = 128  # a multiple of the rows of a block under both laws


@dataclass(frozen=True)
class SparseCode:
    """The fields of a sparse code; `support` is None for a bitmap, else how the gaps or the indices stand in the body.

    §9.5: "Every vector j is a sum of s = `n_nonzero` atoms of the dictionary of its tensor".
    """

    vectors: int
    n_vectors: int
    k1: int
    k2: int
    s: int
    support: Values | None
    coefficients: Values

    @property
    def symbols(self) -> int:
        """SPA-3: "n_vectors·s for the coefficients; n_vectors·k2 for the bitmaps of support 0, n_vectors·s for gaps and
        indices; and (n_vectors·s·k1 + 63) / 64 for the products."
        """
        products = (self.n_vectors * self.s * self.k1 + 63) // 64
        return self.n_vectors * (self.s + (self.k2 if self.support is None else self.s)) + products

    @property
    def bits(self) -> int:
        """Bits of the lists in a packed body."""
        assert self.support is not None
        return self.support.bits + self.coefficients.bits


@dataclass
class Codes:
    """The lists of a sparse code: s atoms and s coefficients of each vector, shape (n_vectors, s)."""

    atoms: Integers
    coefficients: Integers


def vectors_of(vectors: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """n_vectors and k1 of a matrix (out, in).

    §9.5: "its columns (0: n_vectors = in, k1 = out), its rows (1: n_vectors = out, k1 = in), or the whole matrix in C
    order as one vector (2: n_vectors = 1, k1 = out·in)."
    """
    out, in_ = shape
    return ((in_, out), (out, in_), (1, out * in_))[vectors]


def read_codes(body: RansBody | Packed, code: SparseCode, at: int) -> Codes:
    """§9.5: "In the body, the supports of all vectors come first, vector by vector, then the coefficients of all
    vectors as one list of n_vectors·s values".
    """
    shape = (code.n_vectors, code.s)
    if code.support is None:
        assert isinstance(body, RansBody)
        atoms = body.bitmaps(code.n_vectors, code.k2, code.s).reshape(shape)
        coefficients = body.read(code.coefficients).reshape(shape)
        return Codes(atoms, coefficients)
    atoms = body.read(code.support).reshape(shape)
    coefficients = body.read(code.coefficients).reshape(shape)
    # SPA-6: "Atoms of a vector are strictly ascending and below k2 (`BAD_STREAM` for coding 1, `BAD_TABLE` for the
    # others, at the body's first byte), checked when all lists of the entry are read."
    for part in vector_blocks(code):
        found = atoms[part].view(np.uint32).astype(np.int64)
        if code.support.one_sided:
            found = np.cumsum(found + 1, axis=1) - 1
        if found.size and (found[:, -1].max() >= code.k2 or (np.diff(found, axis=1) < 1).any()):
            raise DecodeError("BAD_STREAM" if code.support.one_sided else "BAD_TABLE", at)
        atoms[part] = found
    return Codes(atoms, coefficients)


def vector_blocks(code: SparseCode) -> Iterator[slice]:
    """Slices of vectors, as many as have BLOCK coefficients, but at least one."""
    step = max(1, BLOCK // max(code.s, 1))
    for start in range(0, code.n_vectors, step):
        yield slice(start, start + step)


def check_coefficients(code: SparseCode, codes: Codes, at: int) -> None:
    """SPA-5 §9.5: "127·sum over a of |x[j, a]| < 2^31 for every vector (`ACC_OVERFLOW`, at the body's first byte)"."""
    for part in vector_blocks(code):
        if MAX_ENTRY * int(np.abs(codes.coefficients[part].astype(np.int64)).sum(axis=1).max()) >= 1 << 31:
            raise DecodeError("ACC_OVERFLOW", at)


def synthesise(tensor: Tensor, code: SparseCode, codes: Codes, head: Head) -> Integers:
    """The integers r of a matrix, flat, in C order.

    §9.5: "r[i, j] = sum over the atoms a of vector j of  D[i, a] * x[j, a]            i = 0 ... k1 - 1"

    By SPA-5 every partial sum is below 2^31, so binary64 and int32 hold them exactly.
    """
    r = np.zeros(tensor.size, np.int32)
    target: Integers = r.reshape(code.k1, -1).T if code.vectors == COLUMNS else r.reshape(-1, code.k1)
    width = min(code.s, APPLIED)  # atoms of a vector that are taken at once
    if width == 0:
        return r
    for first in range(0, code.s, width):
        part = slice(first, first + width)
        for vectors in steps(code.n_vectors, GROUP // width):
            add_group(target[vectors], codes.atoms[vectors, part], codes.coefficients[vectors, part], tensor, head)
    return r


def steps(n: int, step: int) -> Iterator[slice]:
    """Slices that cover 0 … n-1."""
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def add_group(target: Integers, atoms: Integers, coefficients: Integers, tensor: Tensor, head: Head) -> None:
    """Add what some atoms of some vectors give; target (vectors, k1), atoms and coefficients (vectors, atoms)."""
    used, index = np.unique(atoms, return_inverse=True)
    index = index.reshape(atoms.shape)
    for rows in steps(target.shape[1], ROW_GROUP):
        n = rows.stop - rows.start
        entries = dictionary(used.astype(np.int64), rows.start, n, tensor.ordinal, head.dictionary_law, head.seed)
        for part in steps(len(target), max(1, APPLIED // atoms.shape[1])):
            x = coefficients[part].astype(np.float64)[:, np.newaxis]
            products = x @ entries[index[part]].astype(np.float64)
            target[part, rows] += products[:, 0].astype(np.int32)
