"""The decoder in JavaScript (decoders/js) answers the suite as its manifest says, and needs no Node for its core."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformance.run import (
    PASS,
    ROOT,
    Call,
    Json,
    Result,
    Settings,
    calling,
    is_passed,
    load_manifest,
    process_for_each,
    run_case,
)

JS = ROOT.parent / "decoders" / "js"
OF_NODE = {"cli.js", "command.js", "worker.js", "zlib_node.js"}
LEAST_NODE = 18
EVERY = 10  # of the cases, all of which take about half a minute

Case = tuple[Json, Json]


def missing_node() -> str:
    """Why the decoder cannot be run here; empty if it can."""
    node = shutil.which("node")
    if node is None:
        return "node is not installed"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(version.removeprefix("v").split(".")[0])
    return "" if major >= LEAST_NODE else f"node {major} is older than {LEAST_NODE}"


needs_node = pytest.mark.skipif(bool(missing_node()), reason=missing_node())


def chosen_cases() -> list[Case]:
    """Every tenth case of the suite, and all of real networks."""
    cases = [(vector, case) for vector in load_manifest()["vectors"] for case in vector["cases"]]
    return [pair for i, pair in enumerate(cases) if i % EVERY == 0 or "real" in pair[0]["name"]]


@pytest.fixture(scope="module")
def worker() -> Iterator[Call]:
    """The worker of level B."""
    with calling(["node", str(JS / "worker.js")], Settings(worker=True)) as call:
        yield call


def wrong(results: list[Result], settings: Settings) -> list[str]:
    """The results that break the claim, to be read."""
    return [f"{r.vector} [{r.case}] {r.verdict}: {r.detail}" for r in results if not is_passed([r], settings)]


@needs_node
def test_worker_passes_the_core_cases_at_grade_x(worker: Call) -> None:
    settings = Settings(worker=True)
    results = [run_case(worker, ROOT, vector, case, settings) for vector, case in chosen_cases()]
    assert wrong(results, settings) == []
    assert {result.kind for result in results if result.verdict == PASS} == {"valid", "invalid", "call"}


@needs_node
@pytest.mark.parametrize("name", ["valid-real-image", "invalid-body-lanes-odd", "call-passes-0"])
def test_command_answers_as_the_worker_does(name: str) -> None:
    settings = Settings()
    [vector] = [vector for vector in load_manifest()["vectors"] if vector["name"] == name]
    call = process_for_each(["node", str(JS / "cli.js")])
    assert wrong([run_case(call, ROOT, vector, case, settings) for case in vector["cases"]], settings) == []


@needs_node
def test_png_holds_the_samples_of_clause_16_4(tmp_path: Path) -> None:
    image, values = tmp_path / "image.png", tmp_path / "image.npy"
    for out in (image, values):
        vector = ROOT / "vectors" / "valid-real-image.sinr"
        subprocess.run(["node", str(JS / "cli.js"), str(vector), str(out)], check=True, capture_output=True)
    field = np.load(values)
    expected = np.floor(np.float32(255) * np.clip(field, 0, 1) + np.float32(0.5)).astype(np.uint8)
    with Image.open(image) as read:
        np.testing.assert_array_equal(np.asarray(read).reshape(field.shape), expected)


WITH_WEB_STREAMS = """
import { readFileSync } from "node:fs";
const { decode } = await import(process.argv[1] + "decoder.js");
const { inflate } = await import(process.argv[1] + "zlib_web.js");
console.log((await decode(new Uint8Array(readFileSync(process.argv[2])), { inflate })).weights_sha256);
"""


@needs_node
def test_coding_2_decodes_with_the_streams_of_a_browser() -> None:
    [vector] = [vector for vector in load_manifest()["vectors"] if vector["name"] == "valid-zlib-dynamic"]
    script = ["node", "--input-type=module", "--eval", WITH_WEB_STREAMS, "--", f"{JS.as_uri()}/"]
    done = subprocess.run([*script, str(ROOT / vector["file"]["path"])], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == vector["cases"][0]["expect"]["weights_sha256"]


ROUND_ONCE = """
import { readFileSync } from "node:fs";
const { readNpyMatrix } = await import(process.argv[1] + "npy.js");
process.stdout.write(Buffer.from(readNpyMatrix(new Uint8Array(readFileSync(process.argv[2]))).values.buffer));
"""


@needs_node
@pytest.mark.parametrize("code", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_coordinates_of_all_types_are_rounded_to_binary32_once(tmp_path: Path, code: str, order: str) -> None:
    dtype = np.dtype(order + code)
    if dtype.kind == "f":
        values = np.array([0.1, -2.5, 1 + 2**-24 + 2**-40, np.inf], dtype)
    else:
        top = int(np.iinfo(dtype).max)
        above_tie = top // 2 + 1 + (top // 2**24) // 2 + 2  # of binary32; binary64 would round 64 bits to the tie
        values = np.array([0, top, above_tie, top // 3], dtype)
    coords = tmp_path / "coords.npy"
    np.save(coords, values.reshape(2, 2))
    script = ["node", "--input-type=module", "--eval", ROUND_ONCE, "--", f"{JS.as_uri()}/", str(coords)]
    done = subprocess.run(script, capture_output=True, check=True)
    np.testing.assert_array_equal(np.frombuffer(done.stdout, "<f4"), values.astype("<f4"))


LIMITED = """
import { readFileSync } from "node:fs";
const { decode } = await import(process.argv[1] + "decoder.js");
const { evaluateGrid } = await import(process.argv[1] + "field.js");
const bytes = new Uint8Array(readFileSync(process.argv[2]));
const nameOf = (work) => Promise.resolve().then(work).then(() => "", ({ name, offset }) => `${name} ${offset}`);
const file = await decode(bytes);
const most = Number(process.argv[3]);
console.log(JSON.stringify([
  await nameOf(() => decode(bytes, { most_symbols: most })),
  await nameOf(() => evaluateGrid(file, [3], { most_products: most })),
]));
"""


@needs_node
@pytest.mark.parametrize(("most", "answer"), [(30, ""), (1, "LIMIT_CALLER null")])
def test_callers_may_limit_symbols_and_products(most: int, answer: str) -> None:
    wave = ROOT.parent / "spec" / "examples" / "wave.sinr"
    script = ["node", "--input-type=module", "--eval", LIMITED, "--", f"{JS.as_uri()}/", str(wave), str(most)]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [answer, answer]


def test_core_modules_use_nothing_of_node() -> None:
    modules = [path for path in JS.glob("*.js") if path.name not in OF_NODE]
    assert {"decoder.js", "field.js"} <= {path.name for path in modules}
    for path in modules:
        text = path.read_text("utf-8")
        imports = set(re.findall(r'from "([^"]+)"', text))
        assert imports <= {f"./{other.name}" for other in modules}, path
        assert not re.search(r"\b(process|Buffer)\.", text), path
