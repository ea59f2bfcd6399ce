"""LIM-3: a machine without memory is a limit of the caller, one coded answer of every decoder, and no crash."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.run import ROOT

JS = ROOT.parent / "decoders" / "js"
DECODERS = {"reference_decoder": ["reference_decoder"], "sinrfmt": ["sinrfmt", "decode", "--json", "--force"]}
LIMIT_CALLER = {"code": 407, "name": "LIMIT_CALLER", "class": "limit", "offset": None}
IMAGE = str(ROOT / "vectors" / "valid-real-image.sinr")
SIZE = "8000x8000"  # 768 MB of values
# The first call, without a limit, loads what the decoder needs; the second has the process's size and 4 MiB.
NO_ROOM = """
import resource, sys
from conformance.worker import call
size, source, out, module, *fixed = sys.argv[1:]
assert call(module, [*fixed, source, out])[0] == 0
(room,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize")]
resource.setrlimit(resource.RLIMIT_AS, ((int(room) << 10) + (4 << 20),) * 2)
status, line, _ = call(module, [*fixed, source, out + ".npy", "--size", size])
print(status, line, end="")
"""
NO_ROOM_IN_JS = """
const { run } = await import(process.argv[1] + "command.js");
const whole = await run(process.argv.slice(2));
const Array32 = globalThis.Float32Array;
globalThis.Float32Array = class extends Array32 {
  constructor(...given) {
    if (given[0] > 100) throw new RangeError("Array buffer allocation failed");
    super(...given);
  }
};
const { status, line } = await run(process.argv.slice(2));
console.log(whole.status, status, line);
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the size of a process is read from /proc")
@pytest.mark.parametrize("decoder", DECODERS)
def test_no_memory_is_a_limit_of_the_caller(decoder: str, tmp_path: Path) -> None:
    out = tmp_path / "out.npy"
    command = [sys.executable, "-c", NO_ROOM, SIZE, IMAGE, str(out), *DECODERS[decoder]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    status, _, line = done.stdout.partition(" ")
    assert status == "5", done.stderr
    assert LIMIT_CALLER.items() <= json.loads(line).items()
    assert [path.name for path in tmp_path.iterdir()] == ["out.npy"]


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_no_memory_is_a_limit_of_the_caller_in_javascript(tmp_path: Path) -> None:
    given = [f"{JS.as_uri()}/", IMAGE, str(tmp_path / "out.npy")]
    command = ["node", "--input-type=module", "--eval", NO_ROOM_IN_JS, "--", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    whole, status, line = done.stdout.split(" ", 2)
    assert (whole, status) == ("0", "5")
    assert json.loads(line) == LIMIT_CALLER
