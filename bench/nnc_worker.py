"""NNC (nncodec 2.1.3) on one network; runs in nncodec's own Python, not in the project's.

    python bench/nnc_worker.py FOLDER

FOLDER holds ``tensors.npz`` (float32) and ``job.json``, keyword arguments of ``nncodec.nnc.compress``. It gets
``file.nnc``, the bitstream, and ``decoded.npz``, the tensors decoded from that file.

The packages for torch models and data sets that nncodec imports are replaced by empty ones: arrays need none of them.
"""

import json
import os
import sys
import types
from pathlib import Path

import numpy as np

FRAMEWORK = "nncodec.framework"
PARTS = ("tensorflow_model", "pytorch_model", "use_case_init")


def main(folder: Path) -> None:
    framework = types.ModuleType(FRAMEWORK)
    for part in PARTS:
        setattr(framework, part, types.ModuleType(f"{FRAMEWORK}.{part}"))
    sys.modules[FRAMEWORK] = framework
    from nncodec import nnc

    os.chdir(folder)  # whatever else it writes
    with np.load("tensors.npz") as file:
        tensors = {name: file[name] for name in file.files}
    job = json.loads(Path("job.json").read_text(encoding="utf-8"))
    nnc.compress(tensors, bitstream_path="file.nnc", use_dq=True, **job)
    decoded = nnc.decompress("file.nnc")
    np.savez("decoded.npz", **{name: np.asarray(decoded[name], dtype=np.float32) for name in tensors})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
