"""Pillow reads ``.sinr`` images: ``sinrfmt.plugins.pillow.register()``, then ``Image.open("photo.sinr")``.

Opening reads HEAD only (specification: clause 6); the weights are decoded and the samples of clause 16.4 computed when
the pixels are first asked for. Pillow's limit on decompression bombs holds, as it is judged by the size alone.
"""

from typing import TYPE_CHECKING, BinaryIO, cast

from PIL import Image, ImageFile

from sinrfmt.api import load, read_header
from sinrfmt.errors import SinrError
from sinrfmt.faults import error
from sinrfmt.head import Header
from sinrfmt.media.image import MODES
from sinrfmt.registry import EXTENSION, MEDIA_TYPE, SIGNATURE, Modality, Values

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

FORMAT = "SINR"


def register() -> None:
    """Make Pillow's ``Image.open`` read files of the modality IMAGE."""
    Image.register_open(FORMAT, SinrImageFile, _accept)
    Image.register_extension(FORMAT, EXTENSION)
    Image.register_mime(FORMAT, MEDIA_TYPE)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(SIGNATURE)


def _check_image(header: Header) -> None:
    """Raises UsageError where the field is not an image that Pillow can hold."""
    network = header.network
    if header.modality is not Modality.IMAGE or network.in_dims != 2 or network.out_channels not in MODES:
        what = f"{header.modality.name}, {network.in_dims} axes, {network.out_channels} channels"
        raise error("USAGE", f"expected an image of 1 to 4 channels, found {what}")
    if not header.grid or header.values is Values.RAW:
        raise error("USAGE", "the image has no native grid or no range of values")


class SinrImageFile(ImageFile.ImageFile):
    """A ``.sinr`` image whose pixels are computed by :meth:`load`."""

    format = FORMAT
    format_description = "Implicit neural representation"
    _is_decoded = False

    def _open(self) -> None:
        """Size and mode, from HEAD.

        Raises:
            SyntaxError: not a ``.sinr`` file.
            OSError: HEAD is not valid, or the field is not an image.
        """
        try:
            header = read_header(cast(BinaryIO, self.fp))
            _check_image(header)
        except SinrError as failure:
            if failure.name == "BAD_SIGNATURE":
                raise SyntaxError(str(failure)) from None
            raise OSError(str(failure)) from failure
        rows, columns = header.grid
        self._size = (columns, rows)
        self._mode = MODES[header.network.out_channels]

    def load(self) -> "PixelAccess | None":
        """Decode the file and compute the pixels, once.

        Raises:
            OSError: the file is not valid; the message has the code and the offset.
        """
        if not self._is_decoded:
            self._decode()
        return Image.Image.load(self)

    def _decode(self) -> None:
        if self.fp is None:
            raise OSError("the file was closed before its pixels were asked for")
        self.fp.seek(0)
        try:
            samples = load(cast(BinaryIO, self.fp)).to_uint8()
        except SinrError as failure:
            raise OSError(str(failure)) from failure
        self.im = Image.fromarray(samples[:, :, 0] if self.mode == "L" else samples, self.mode).im
        self._is_decoded = True
        if self._exclusive_fp:
            self.fp.close()
        self.fp = None
