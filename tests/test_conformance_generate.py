"""The vectors are what their recipes say, and the manifest says what they are."""

import hashlib
import json
import re
import struct
import tomllib
import zlib
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from conformance.generate import latents, philox, rans
from conformance.generate.__main__ import everything, present
from conformance.generate.primitives import crc8, signed_width, zlib_fixed, zlib_stored, zlib_zeros

ROOT = Path(__file__).resolve().parents[1]
SUITE = ROOT / "conformance"
EXAMPLE = ROOT / "spec" / "examples" / "wave.sinr"
# They depend on the decoder's machine and caller, and on a file that changes.
UNREACHABLE_BY_A_FILE = {"CODEC_MISSING", "LIMIT_CALLER", "SOURCE_CHANGED"}


@pytest.fixture(scope="module")
def manifest() -> dict:
    return json.loads((SUITE / "manifest.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def registry() -> dict:
    return tomllib.loads((ROOT / "spec" / "registry.toml").read_text("utf-8"))


def test_every_file_is_rebuilt_byte_for_byte():
    files = everything()
    differing = [path for path, data in files.items() if (SUITE / path).read_bytes() != data]
    assert differing == []
    assert present(SUITE) <= set(files)


def test_manifest_follows_its_schema(manifest):
    schema = json.loads((SUITE / "manifest.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(manifest)


def test_schema_is_closed(manifest):
    schema = json.loads((SUITE / "manifest.schema.json").read_text("utf-8"))
    manifest["vectors"][0]["cases"][0]["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, schema)
    del manifest["vectors"][0]["cases"][0]["surprise"]


def test_sums_hold():
    lines = (SUITE / "SHA256SUMS").read_text("utf-8").splitlines()
    assert lines
    for line in lines:
        digest, path = line.split("  ")
        assert hashlib.sha256((SUITE / path).read_bytes()).hexdigest() == digest, path


def test_suite_stays_small():
    assert sum(map(len, everything().values())) < 2 << 20


def test_every_error_has_an_invalid_vector(manifest, registry):
    expected = {case["expect"].get("name") for vector in manifest["vectors"] for case in vector["cases"]}
    missing = {row["name"] for row in registry["error"]} - expected
    assert missing == UNREACHABLE_BY_A_FILE


def test_codes_and_classes_are_those_of_the_registry(manifest, registry):
    rows = {row["name"]: (row["code"], row["class"]) for row in registry["error"]}
    found = {name: (error["code"], error["class"]) for name, error in manifest["errors"].items()}
    assert found
    assert found.items() <= rows.items()


def test_cited_requirements_exist(manifest):
    text = (ROOT / "spec" / "sinr-1.md").read_text("utf-8")
    known = set(re.findall(r"\*\*\[([A-Z]{3}-\d+)\]", text))
    cited = {clause for vector in manifest["vectors"] for clause in vector["clauses"] if "-" in clause}
    assert cited <= known


def test_patched_vectors_differ_from_their_parent(manifest):
    for vector in manifest["vectors"]:
        if vector["kind"] == "invalid":
            parent = (SUITE / f"vectors/{vector['derivation']['parent']}.sinr").read_bytes()
            assert (SUITE / vector["file"]["path"]).read_bytes() != parent, vector["name"]


def test_zero_coin_network_needs_few_bytes(manifest):
    sizes = {vector["name"]: vector["file"]["bytes"] for vector in manifest["vectors"]}
    assert sizes["valid-coin-zero"] <= 64 + 66 + 8


# --- known answers of the writer itself, from the text -----------------------------------------------


def test_crc8_of_nine_digits():
    assert crc8(b"123456789") == 0xF4


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter, key, words):
    assert philox.philox(counter, key) == words


def test_t8_has_the_digest_of_the_text():
    assert philox.t8_digest() == philox.T8_SHA256


def test_annex_a_is_a_vector():
    assert (SUITE / "vectors" / "valid-example-wave.sinr").read_bytes() == EXAMPLE.read_bytes()


def test_every_requirement_is_cited_or_said_to_be_beyond_files(manifest):
    text = (ROOT / "spec" / "sinr-1.md").read_text("utf-8")
    known = set(re.findall(r"\*\*\[([A-Z]{3}-\d+)\]", text))
    answers = json.loads((SUITE / "known-answers.json").read_text("utf-8"))
    cited = {clause for vector in manifest["vectors"] for clause in vector["clauses"]}
    section = (SUITE / "README.md").read_text("utf-8").split("## What no file shows")[1]
    excused = set(re.findall(r"^\| ([A-Z]{3}-\d+) \|", section, re.MULTILINE))
    assert known - cited == excused
    assert {table["clause"] for table in answers["dictionary"]} == {"RNG-7", "RNG-8"}


def test_known_answers_of_the_state_digest_follow_the_text():
    for answer in json.loads((SUITE / "known-answers.json").read_text("utf-8"))["state_digest"]:
        data = b""
        for tensor in answer["tensors"]:
            steps, acc = ([int(word) for word in tensor[key].split()] for key in ("steps", "acc"))
            data += struct.pack(f"<{len(steps)}H", *steps)
            data += b"".join((a % 2**32).to_bytes(4, "little") for a in acc)
        assert hashlib.sha256(data).digest()[:16].hex() == answer["digest"]


def test_known_answers_of_the_trellis_follow_the_text():
    T = ((0, 2), (7, 5), (1, 3), (6, 4), (2, 0), (5, 7), (3, 1), (4, 6))
    for answer in json.loads((SUITE / "known-answers.json").read_text("utf-8"))["trellis"]:
        k, p, states, r = ([int(word) for word in answer[key].split()] for key in ("k", "p", "state", "r"))
        lanes = [0] * answer["n_lanes"]
        for i in range(len(k)):
            state = lanes[i % len(lanes)]
            sign = (k[i] > 0) - (k[i] < 0)
            assert (states[i], r[i]) == (state, 2 * k[i] - (state & 1) * sign)
            lanes[i % len(lanes)] = T[state][p[i]]


@pytest.fixture(scope="module")
def blocks() -> dict:
    """Every `python` block of clauses 9.6 and 10.6, run."""
    text = (ROOT / "spec" / "sinr-1.md").read_text("utf-8")
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", text[text.index("### 9.6 ") : text.index("## 11 ")], re.DOTALL):
        exec(block, names)
    return names


def answers_of(name: str) -> list[dict]:
    return json.loads((SUITE / "known-answers.json").read_text("utf-8"))[name]


def integers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def words_of(stream: str) -> tuple[int, list[int]]:
    """The first state and the words of a stream of one lane."""
    data = bytes.fromhex(stream)
    return struct.unpack_from("<I", data)[0], list(struct.unpack_from(f"<{len(data) // 2 - 2}H", data, 4))


def test_known_answers_of_the_checks():
    assert [(row["start"], row["crc8"], row["crc32"]) for row in answers_of("checks")] == [
        ("00000000", "f4", "cbf43926"),
        ("cbf43926", "f4", f"{zlib.crc32(b'123456789' * 2):08x}"),
    ]


def test_known_answers_of_philox_follow_the_text():
    text = (ROOT / "spec" / "sinr-1.md").read_text("utf-8")
    names: dict = {}
    exec(re.findall(r"```python\n(.*?)```", text[text.index("### 8.1 ") :], re.DOTALL)[0], names)
    for row in answers_of("philox"):
        counter, key, words = ([int(word, 16) for word in row[name].split()] for name in ("counter", "key", "words"))
        assert list(names["philox"](*counter, *key)) == words


def test_known_answers_of_short_forms_follow_the_text(blocks):
    for row in answers_of("short_forms"):
        gauss = row["law"] in (1, 2)
        above = row["scale"] - (40 if gauss else 32)
        tail, low = (104 if gauss else 144, above & 7) if above >= 0 else (168, row["scale"])
        theta = 2**24 - blocks["mf8"](tail - (2 if gauss else 1) * low)
        rho = {0: 2**24, 3: 2**24 - ((2**24 - theta) >> 3)}.get(row["law"], theta * theta >> 24)
        assert (row["theta"], row["rho"], row["heavy"]) == (theta, rho, int(row["law"] == 3))
        assert row["b"] == (1 + (above >> 3) if above >= 0 else 0)
        t, g = 2**28, []
        for _ in range(255):
            g.append(t)
            t, theta = t * theta >> 24, 2**24 - ((2**24 - theta) * rho >> 24) if row["law"] == 3 else theta * rho >> 24
        assert row["R"] == next((k for k in range(1, 255) if g[k] < 2 ** (27 if row["law"] == 2 else 17)), 255)


def test_known_answers_of_models_follow_the_text(blocks):
    for row in answers_of("models"):
        R, p0, tail, change, heavy, _, _ = integers(row["model"])
        theta, rho = 2**24 - blocks["mf8"](tail), 2**24 - blocks["mf8"](change)
        assert blocks["frequencies"](R, p0, theta, rho, heavy) == integers(row["frequencies"])
        one_sided = integers(row["one_sided"])
        assert (len(one_sided), sum(one_sided)) == (R + 1, 2**14)


def test_known_answers_of_streams_follow_the_text(blocks):
    """Decoded by the functions of the text: model symbols, low bits, then escapes."""
    prefixes = [8186] + [max(1, 2**13 >> p) for p in range(1, 21)]
    for row in answers_of("streams"):
        R, p0, tail, change, heavy, low_bits, has_escapes = integers(row["model"])
        theta, rho = 2**24 - blocks["mf8"](tail), 2**24 - blocks["mf8"](change)
        f, n = blocks["frequencies"](R, p0, theta, rho, heavy), len(integers(row["values"]))
        x, words = words_of(row["stream"])

        def read(frequencies: list[int]) -> int:
            nonlocal x
            x, symbol = blocks["decode"](x, frequencies, words)  # noqa: B023
            return symbol

        values = [read(f) - R for _ in range(n)]
        lows = [read([2 ** (14 - low_bits)] * 2**low_bits) if low_bits else 0 for _ in range(n)]
        escaped = [i for i in range(n) if has_escapes and abs(values[i]) == R]
        for i, p in [(i, read(prefixes)) for i in escaped]:
            e = 2**p - 1 + (read([2 ** (14 - p)] * 2**p) if p else 0)
            values[i] += e if values[i] > 0 else -e
        half = 2**low_bits >> 1
        assert [(u << low_bits) + low - half for u, low in zip(values, lows, strict=True)] == integers(row["values"])
        assert (x, words) == (0, [])


def test_known_answers_of_bitmaps_follow_the_text(blocks):
    for row in answers_of("bitmap"):
        atoms, ones = integers(row["atoms"]), integers(row["frequencies_of_one"])
        x, words = words_of(row["stream"])
        found, left = [], len(atoms)
        for slot, one in enumerate(ones):
            rest = row["n_atoms"] - slot
            assert one == min(max((left * 2**14 + (rest >> 1)) // rest, 1), 2**14 - 1)
            x, symbol = blocks["decode"](x, [2**14 - one, one], words)
            found += [slot] * symbol
            left -= symbol
        assert left in (0, row["n_atoms"] - len(ones))
        assert [*found, *range(row["n_atoms"] - left, row["n_atoms"])] == atoms
        assert (x, words) == (0, [])


def test_known_answers_of_hashing_follow_the_text(blocks):
    for answer in answers_of("hashed_entry"):
        entries = [blocks["hashed_entry"](integers(answer["vertex"]), n) for n in integers(answer["n_entries"])]
        assert entries == integers(answer["entry"])


def test_known_answers_of_tables_follow_the_text(blocks):
    for answer in answers_of("table_frequencies"):
        assert blocks["table_frequencies"](integers(answer["codes"])) == integers(answer["frequencies"])


def test_known_answers_of_context_frequencies_follow_the_text(blocks):
    for answer in answers_of("context_frequencies"):
        below, f = blocks["context_frequencies"](answer["scale"], answer["fraction"])
        assert (below, f) == (answer["A"], integers(answer["frequencies"]))


def test_all_context_frequencies_are_those_of_the_text(blocks):
    for scale in range(64):
        for fraction in (-8, -3, 0, 7):
            below, f = latents.context_frequencies(scale, fraction)
            assert (below, list(f)) == blocks["context_frequencies"](scale, fraction)


def test_known_answers_of_the_order_of_sites_follow_the_text(blocks):
    for answer in answers_of("context_order"):
        order = blocks[{1: "interlaced", 2: "wavefronts"}[answer["context_id"]]](answer["height"], answer["width"])
        runs = [[i for site in sites for i in site] for *_, sites in order]
        assert runs == [integers(run) for run in answer["runs"]]


def test_known_answers_of_the_context_network_follow_the_text(blocks):
    def tensor(answer: dict, name: str) -> SimpleNamespace:
        found = answer["tensors"][name]
        return SimpleNamespace(q=found["q"], acc=[integers(row) for row in found["acc"]])

    for answer in answers_of("context_network"):
        named = {name: tensor(answer, name) for name in answer["tensors"]}
        net = SimpleNamespace(hidden=[(named.pop("weight0"), named.pop("bias0"))], **named)
        inputs = (integers(answer["coarse"]), integers(answer["near"]), answer["column"], answer["n_levels"])
        out = blocks["context_network"](net, answer["level"], answer["phase"], *inputs)
        assert out == integers(answer["outputs"])
        assert blocks["context_model"](out) == (answer["centre"], answer["scale"], answer["fraction"])


@pytest.mark.parametrize("context_id", [1, 2])
def test_inputs_of_every_site_are_those_of_the_text(blocks, context_id):
    plane = [[(7 * y + 3 * x) % 140 - 70 for x in range(6)] for y in range(5)]
    below = [[row[:3] for row in plane[:3]], [row[2:4] for row in plane[1:3]], None]
    order = blocks[{1: "interlaced", 2: "wavefronts"}[context_id]](5, 6)
    assert list(latents.ORDERS[context_id](5, 6)) == list(
        blocks["interlaced" if context_id == 1 else "wavefronts"](5, 6)
    )
    for _, kind, stride, sites in order:
        for y, x in sites:
            assert latents.coarse_inputs(below, y, x) == blocks["coarse_inputs"](below, y, x)
            near = blocks["near_inputs"](context_id, plane, kind, stride, y, x)
            assert latents.near_inputs(context_id, plane, kind, stride, y, x) == near


def test_known_answers_of_up_sampling_follow_the_text():
    default = {1: (128,), 2: (96, 32), 3: (96, 32, 0)}
    steps = (0, 1, -1, 2, -2, 3, -3, 4)
    for answer in answers_of("up_sampling"):
        weights, before, after = (integers(answer[name]) for name in ("weights", "before", "after"))
        t = len(weights)
        base = default.get(t, (111, 29, -9, -3, 0, 0, 0, 0)[:t])
        for i, value in enumerate(after):
            s = 1 if i % 2 else -1
            taps = [(base[j] + weights[j], min(max((i >> 1) + s * steps[j], 0), len(before) - 1)) for j in range(t)]
            assert value * 128 == sum(a * before[at] for a, at in taps)


@pytest.mark.parametrize("write", [zlib_fixed, zlib_stored])
@pytest.mark.parametrize("data", [b"", b"\x00", b"a" * 259, bytes(1000), bytes(range(256)) * 3, b"x" + b"\xff" * 600])
def test_hand_made_zlib_streams_decompress(write, data):
    assert zlib.decompress(write(data)) == data


@pytest.mark.parametrize("n", [1, 2, 258, 259, 1000, 1 << 20])
def test_short_zlib_streams_decompress_to_zeros(n):
    stream = zlib_zeros(n)
    assert zlib.decompress(stream) == bytes(n)
    assert len(stream) <= len(zlib_fixed(bytes(n))) + 70  # of the table of codes


@pytest.mark.parametrize("law", rans.LAWS)
@pytest.mark.parametrize("scale", [0, 8, 31, 40, 100])
def test_frequencies_fill_the_range(law, scale):
    table = rans.symbol_table(rans.short_parameters(law, scale))
    assert sum(f for f, _ in table.values()) == 1 << 14
    assert min(f for f, _ in table.values()) >= 1


@pytest.mark.parametrize(("values", "bits"), [((0, -1), 1), ((1,), 2), ((-2,), 2), ((2**31 - 1, -(2**31)), 32)])
def test_signed_width_is_the_least(values, bits):
    assert signed_width(values) == bits
