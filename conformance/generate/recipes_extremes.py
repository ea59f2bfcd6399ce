"""Vectors of fields at their least and greatest value, where no other vector has them (conformance.matrix)."""

from dataclasses import replace

from conformance.generate.describe import (
    SEEDED,
    WIDE,
    Ancillary,
    Fourier,
    FourierSeeded,
    Grid,
    Head,
    Input,
    Layer,
)
from conformance.generate.recipe import Invalid, Valid, base, packed, points
from conformance.generate.recipes_latents import file as latent_file

PRIOR = Layer(prior=True)
META_TYPE, META = 0xA4, b"\x01k\x01\x00v"


def extremes_valid() -> list[Valid]:
    """One field at an end of its range in each, as far as level 1 goes."""
    seeded = Head(records=(PRIOR,), features_required=SEEDED)
    features = Head(records=(FourierSeeded(1, 1.0), Layer()), features_required=SEEDED)
    wide = replace(seeded, features_required=SEEDED | WIDE, seed=2**64 - 1)
    block = Head(features_optional=0x80, optional_blocks=(bytes(range(255)),))
    hashed = Grid(n_axes=1, log2_table_size=1, resolutions=((65535,),))
    priors = {
        "most-short": ("m = 65280, in the short form", (0xFF00, 30)),
        "least-long": ("m = 32769", (0x8001, 30)),
        "most-long": ("m = 65535, E = 31", (0xFFFF, 31)),
    }
    one = Head(records=(Layer(prior=True, bias=False),), in_dims=1, grid=(2,), features_required=SEEDED, seed=10)
    found = [
        Valid(f"valid-extreme-prior-{name}", title, ("9.7", "TAB-2"), base(seeded, prior=prior))
        for name, (title, prior) in priors.items()
    ]
    return [
        *found,
        Valid("valid-extreme-prior-least-shift", "E = 8", ("9.7", "TAB-2"), base(one, prior=(1 << 15, 8))),
        Valid("valid-extreme-seed-0", "the seed 0", ("6.3",), base(replace(seeded, seed=0), prior=(0x8000, 30))),
        Valid("valid-extreme-seed-64", "the seed 2^64 - 1", ("6.3", "HED-10"), base(wide, prior=(0x8000, 30))),
        Valid("valid-extreme-features-1", "one Fourier feature", ("RNG-6", "16.2"), base(features)),
        Valid("valid-extreme-octaves-1", "one octave", ("16.2",), base(Head(records=(Fourier(1), Layer())))),
        Valid("valid-extreme-block-255", "an optional block of 255 bytes", ("6.6",), packed(block)),
        Valid(
            "valid-extreme-grid-65535",
            "a native grid of 65535 samples along an axis",
            ("6.2",),
            packed(Head(grid=(65535, 1))),
            coords=points(2, 2),
        ),
        Valid(
            "valid-extreme-level-4",
            "a file of level 4",
            ("LIM-1",),
            packed(Head(level=4)),
        ),
        Valid(
            "valid-extreme-input-axis-7",
            "the last axis of eight alone",
            ("HED-13",),
            base(Head(records=(Layer("SINE", 2), Input(7, 1), Layer()), in_dims=8, grid=(2,) + (1,) * 7)),
        ),
        Valid(
            "valid-extreme-feature-dim-255",
            "255 features of a grid's level",
            ("9.6.1",),
            latent_file(Grid(feature_dim=255, resolutions=((1, 2),))),
        ),
        Valid(
            "valid-extreme-table-size-30",
            "a level of a grid may have 2^30 entries",
            ("9.6.1",),
            latent_file(Grid(log2_table_size=30, resolutions=((2, 3),))),
        ),
        Valid(
            "valid-extreme-resolution-65535",
            "65535 vertices that share two entries",
            ("9.6.1",),
            latent_file(hashed),
        ),
    ]


def extremes_invalid() -> list[Invalid]:
    """A chunk before HEAD."""
    parent = packed(Head(level=4))
    first = replace(parent, ancillary=(Ancillary("META", META_TYPE, META),), order=("META", "HEAD", "PASS0"))
    return [
        Invalid(
            "invalid-order-meta-first",
            "META before HEAD",
            ("CON-6",),
            "valid-extreme-level-4",
            "CHUNK_ORDER",
            "META.type",
            file=first,
        )
    ]
