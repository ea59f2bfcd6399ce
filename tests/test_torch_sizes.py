"""The search for the size of a network, without any training."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

import sinrfmt
from sinrfmt import UsageError
from sinrfmt.network import LayerRecord, Network
from sinrfmt.payload import TensorCode
from sinrfmt.registry import RecordKind
from sinrfmt.torch.files import Encoding
from sinrfmt.torch.presets import largest_network
from sinrfmt.torch.sizes import Sizes, encode_for_bytes, encode_for_quality

WAVE = Path(__file__).parents[1] / "spec" / "examples" / "wave.sinr"
SIZES = Sizes(first=4000, least=500, most=20_000, db_per_octave=6.0, close=0.8)
NETWORKS = [
    Network(2, 3, (LayerRecord(RecordKind.RELU, n), LayerRecord(RecordKind.LINEAR, 3))) for n in (8, 16, 20, 24, 28, 32)
]


def network_of(n_bytes: int) -> Network:
    return largest_network(NETWORKS, 8.0, n_bytes)


class File(Encoding):
    """An encoding that says how large it is."""

    @property
    def n_bytes(self) -> int:
        return round(self.float_psnr)


class Encoder:
    """Files whose quality is 10 dB at 1000 bytes, and some decibels more for every octave."""

    def __init__(self, gain: float = 5.0) -> None:
        self.gain = gain
        self.asked: list[int] = []

    def __call__(self, n_bytes: int) -> Encoding:
        self.asked.append(n_bytes)
        return File(sinrfmt.load(WAVE), 10.0 + self.gain * math.log2(n_bytes / 1000.0), n_bytes, {})


def test_a_search_ends_close_above_what_is_asked_for() -> None:
    encode = Encoder()
    found = encode_for_quality(encode, lambda made: made.psnr, 12.0, SIZES)
    assert 12.0 <= found.psnr <= 12.8
    assert len(encode.asked) <= 4


def test_what_is_out_of_reach_is_refused() -> None:
    encode = Encoder(gain=0.01)
    with pytest.raises(UsageError, match="not reached with"):
        encode_for_quality(encode, lambda made: made.psnr, 12.0, SIZES)
    assert encode.asked == sorted(encode.asked)
    assert max(encode.asked) <= SIZES.most


def test_a_smaller_network_is_made_where_one_does_not_fit() -> None:
    made: list[tuple[Network, int]] = []

    def make(network: Network, budget: int) -> Encoding | None:
        made.append((network, budget))
        return Encoder()(budget) if len(made) == 2 else None

    found = encode_for_bytes(make, network_of, lambda *_: bytes(280), 280)
    assert found.n_bytes == 280
    assert [network.layers[0].n_out for network, _ in made] == [32, 20]
    assert {budget for _, budget in made} == {280}


def test_a_budget_that_no_network_fits_is_refused() -> None:
    with pytest.raises(UsageError, match="300 bytes beside META are too few"):
        encode_for_bytes(lambda *_: None, network_of, lambda *_: bytes(300), 300)


def test_a_budget_below_the_smallest_file_is_refused_without_any_work() -> None:
    sizes: list[Network] = []

    def build(network: Network, codes: Sequence[TensorCode]) -> bytes:
        sizes.append(network)
        assert not any(code.values.any() for code in codes)
        return bytes(301)

    with pytest.raises(UsageError, match="fewer than the smallest network takes"):
        encode_for_bytes(lambda *_: pytest.fail("trained"), network_of, build, 300)
    assert [network.layers[0].n_out for network in sizes] == [8]
