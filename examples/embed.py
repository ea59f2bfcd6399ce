"""The decoder inside another program: NumPy is all it needs. The README quotes these lines.

python examples/embed.py photo.sinr
"""

import sys
from pathlib import Path

import numpy as np

import reference_decoder

field = reference_decoder.decode(Path(sys.argv[1]).read_bytes())
picture = field.grid()  # float32, (rows, columns, channels), the size that was encoded
centre = field.sample(np.zeros((1, 2), np.float32))  # any coordinate, here the middle: (1, channels)
print(picture.shape, picture.dtype, centre)
