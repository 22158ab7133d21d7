"""TIFF files of many channels, from satellites and microscopes, which tifffile can read and Pillow cannot."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vaecli.datasets.reading.pictures import COMPRESSIONS, UNREADABLE, WHITE8, ImageInfo, Unusable, fit
from vaecli.utils.files import irregular
from vaecli.utils.memory import MemoryBudget

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else it prints complaints about damaged files
BYTES_PER_NUMBER = 12  # bytes that a number takes at most while it is read
TIFF_SUFFIXES = (".tif", ".tiff")
MAX_CHANNELS = 1000
DAMAGED = (*UNREADABLE, AttributeError, ArithmeticError, RuntimeError)  # what tifffile raises for damaged files


def read_multichannel_header(path: Path) -> ImageInfo | None:
    """The header of a TIFF of many channels; None for another file. Raises Unusable for one that cannot be used."""
    from tifffile import TiffFile

    if path.suffix.lower() not in TIFF_SUFFIXES or irregular(path):
        return None
    try:
        with TiffFile(path) as file:
            page: Any = file.pages[0]
            n = len(file.pages)
            channels, height, width = int(page.samplesperpixel), int(page.imagelength), int(page.imagewidth)
            kind, compression = np.dtype(page.dtype), int(page.compression)
    except DAMAGED:
        return None
    if not 2 <= channels <= MAX_CHANNELS or min(height, width) < 1:
        return None
    if compression not in COMPRESSIONS:
        raise Unusable(f"is a TIFF with compression {compression}; save it with LZW, Deflate, PackBits or none")
    if kind.kind != "u" or kind.itemsize > 2:
        raise Unusable(f"holds {kind} in {channels} channels, and which value is white is not known; save it as .npy")
    return ImageInfo((height, width), (0,), kind.itemsize == 2, None, "TIFF", more=n - 1, bands=channels)


def read_bands(path: Path, header: ImageInfo, size: tuple[int, int] | None, room: MemoryBudget) -> np.ndarray:
    """The channels of such a file, (C, H, W), uint8 or uint16, scaled to cover `size` and cut to it."""
    from tifffile import TiffFile

    needed = BYTES_PER_NUMBER * header.bands * (math.prod(header.size) + math.prod(size or (0,)))
    with room.taken(needed, f"{path}: an image of {header.bands} channels", "make it smaller or remove it"):
        try:
            with TiffFile(path) as file:
                pixels = file.pages[0].asarray()
        except DAMAGED:
            raise Unusable("damaged") from None
        if pixels.shape == (*header.size, header.bands):
            pixels = pixels.transpose(2, 0, 1)
        if pixels.shape != (header.bands, *header.size):
            raise Unusable("damaged")
        if size is None or size == header.size:
            return np.ascontiguousarray(pixels)
        scaled = [np.asarray(fit(Image.fromarray(one.astype(np.float32)), size)) for one in pixels]
        top = WHITE8 if pixels.dtype == np.uint8 else np.iinfo(np.uint16).max
        return np.stack(scaled).round().clip(0, top).astype(pixels.dtype)
