"""Reads image files: their headers, pages and pixels, with 8 or 16 bits."""

from __future__ import annotations

import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import COMPRESSION, TiffImageFile

from vaecli.datasets.reading.choice import Colour
from vaecli.utils.files import irregular
from vaecli.utils.memory import MemoryBudget

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # by content; Pillow would open more, some with other programs
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".gif", ".tif", ".tiff")
COMPRESSIONS = (1, 5, 8, 32773, 32946)  # of TIFF: none, LZW, Deflate, PackBits, and Deflate by its older number
PAGED = ("TIFF", "GIF", "WEBP", "PNG")  # formats whose frames are pages
BYTES_PER_PIXEL = 28  # bytes that a pixel takes at most while an image is read: 26 in a WebP file, 16 in others
DEEP_FACTOR = 3  # factor for a picture of more than 8 bits a channel
MODES = {"grey": "L", "rgb": "RGB"}
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")  # modes of Pillow's without a colour
MAX_SAMPLE, SUBFILE, DESCRIPTION = 281, 254, 270  # tags of TIFF
WHITE8, WHITE16 = 255, 65535
UNREADABLE = (  # what Pillow raises for damaged files of one kind or another
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, MemoryError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # memory is checked before


class Unusable(ValueError):
    """Raised for a picture that cannot be used; the message says why."""


class ImageInfo(NamedTuple):
    """The header of an image file."""

    size: tuple[int, int]  # height and width as displayed, with a camera's orientation applied
    pages: tuple[int, ...]  # which of its frames are pictures
    more_than_8_bits: bool  # of a channel
    white: int | None  # the largest value that its own tag allows
    kind: str  # PNG, TIFF ...
    grey: bool = False  # its header says that it has no colour
    more: int = 0  # frames that are not pages: thumbnails, or a camera's second picture
    bands: int = 0  # number of channels, of a file that `bands` reads; 0: other files
    transparent: bool = False  # it has transparent parts, which become white


def why(error: BaseException) -> str:
    """What is wrong with a picture, in a few words."""
    if isinstance(error, Unusable):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, MemoryError | Image.DecompressionBombError):
        return "too large"
    return "cut short" if re.search("truncated|not enough|unexpected end|EOF", str(error)) else "damaged"


@contextmanager
def open_image(path: Path, room: MemoryBudget | None, more: int = 0) -> Iterator[Image.Image]:
    """Open an image file and reserve memory in `room` (None: do not) for its pixels and `more` others.

    Every image is opened here: only in one of FORMATS, whatever its name says, and a TIFF only with one of
    COMPRESSIONS. Raises one of UNREADABLE, and UserError if the memory does not suffice.
    """
    if kind := irregular(path):
        raise Unusable(f"is {kind}, not a file")
    with Image.open(path, formats=FORMATS) as image:
        method = image.tag_v2.get(COMPRESSION, 1) if isinstance(image, TiffImageFile) else 1
        if method not in COMPRESSIONS:
            raise Unusable(f"is a TIFF with compression {method}; save it with LZW, Deflate, PackBits or none")
        if room is None:
            yield image
            return
        what = f"{path}: an image of {image.width}x{image.height} pixels"
        needed = (DEEP_FACTOR if is_deep(path, image) else 1) * BYTES_PER_PIXEL * (math.prod(image.size) + more)
        with room.taken(needed, what, "make it smaller or remove it"):
            yield image


def image_info(path: Path, room: MemoryBudget | None = None) -> ImageInfo:
    """The header of an image file; its pixels are not decoded. Raises what `open_image` raises."""
    with open_image(path, room) as image:
        width, height = image.size
        turned = image.getexif().get(0x0112, 1) >= 5
        frames = getattr(image, "n_frames", 1)
        deep, white, kind = is_deep(path, image), tag_white(image), image.format or ""
        pages = [0] if kind not in PAGED else list(range(frames))
        if isinstance(image, TiffImageFile):
            stacked = stack_of(image)
            pages = list(range(stacked)) if frames == 1 and stacked > 1 else full_pages(image, frames)
        size = (width, height) if turned else (height, width)
        more, transparent = max(0, frames - len(pages)), image.has_transparency_data
        return ImageInfo(size, tuple(pages), deep, white, kind, is_grey(image), more, transparent=transparent)


def is_grey(image: Image.Image) -> bool:
    """Whether an image's header says that it has no colour."""
    palette = image.getpalette() if image.mode == "P" else None
    return image.mode in GREY or bool(palette and palette[::3] == palette[1::3] == palette[2::3])


def full_pages(image: TiffImageFile, frames: int) -> list[int]:
    """The pages of a TIFF except those that are marked as thumbnails."""
    pages = []
    for page in range(frames):
        if frames > 1:
            image.seek(page)
        if not image.tag_v2.get(SUBFILE, 0) & 1:
            pages.append(page)
    return pages or [0]


def stack_of(image: TiffImageFile) -> int:
    """The number of pictures stored after one another in a TIFF, from its description (ImageJ, tifffile)."""
    text = str(image.tag_v2.get(DESCRIPTION, ""))[:4000]
    if match := re.search(r"^images=(\d{1,9})\s*$", text, re.MULTILINE):
        return int(match[1]) if text.startswith("ImageJ") else 1
    shape = re.match(r'\{"shape": \[([\d, ]+)\]', text)
    numbers = [int(n) for n in shape[1].split(",")] if shape else []
    return max(1, math.prod(numbers) // (image.width * image.height * len(image.getbands()))) if numbers else 1


def is_deep(path: Path, image: Image.Image) -> bool:
    """Whether a channel has more than 8 bits."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24:] == b"\x10"
    if isinstance(image, TiffImageFile):
        return bool(max(image.tag_v2.get(258, (1,))) > 8)
    return False


def tag_white(image: Image.Image) -> int | None:
    """The largest value that a TIFF's own tag allows, if it has one."""
    largest = image.tag_v2.get(MAX_SAMPLE) if isinstance(image, TiffImageFile) else None
    largest = max(largest) if isinstance(largest, tuple) else largest
    return int(largest) if isinstance(largest, int) and WHITE8 < largest < WHITE16 else None


def read_pages(
    path: Path,
    colour: Colour,
    size: tuple[int, int] | None = None,
    pages: Sequence[int] = (0,),
    room: MemoryBudget | None = None,
) -> Iterator[np.ndarray]:
    """Pictures of a file, each (C, H, W), scaled to cover `size` (height, width) and cut to it about the centre.

    uint8, or uint16 if a channel has more bits; transparent parts become white. room: memory that several threads
    share. Raises what `open_image` raises.
    """
    with open_image(path, room or MemoryBudget(), math.prod(size or (0,))) as opened:
        frames = getattr(opened, "n_frames", 1) if len(pages) > 1 or pages[0] else 1
        for page in pages:
            if page and page < frames:
                opened.seek(page)
            if is_deep(path, opened) or page >= frames:
                yield deep_picture(path, opened, page, colour, size)
                continue
            if len(pages) == 1:
                ImageOps.exif_transpose(opened, in_place=True)
            image = flat(opened if len(pages) == 1 else ImageOps.exif_transpose(opened))
            pixels = np.array(fit(image.convert(MODES[colour]), size), dtype=np.uint8)
            yield np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1))


def deep_picture(path: Path, image: Image.Image, page: int, colour: Colour, size: tuple[int, int] | None) -> np.ndarray:
    """A picture that Pillow would reduce to 8 bits, or whose pages it would miss: (C, H, W), uint16 or uint8."""
    if image.mode in ("I", "F") and image.format != "PNG":
        raise Unusable("has 32 bits a pixel, and which value is white is not known; save it with 16 bits, or as .npy")
    pixels = deep_pixels(path, image, page)
    top = WHITE8 if pixels.dtype == np.uint8 else WHITE16
    channels = [as_float(image, one) for one in fitted_channels(pixels, colour, top)]
    turned = [np.asarray(fit(ImageOps.exif_transpose(one), size)) for one in channels]
    return np.stack(turned).round().clip(0, top).astype(np.uint8 if top == WHITE8 else np.uint16)


def fit(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    if size is None or image.size == size[::-1]:
        return image
    return ImageOps.fit(image, size[::-1], Image.Resampling.LANCZOS)


def flat(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel and without transparency."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def as_float(image: Image.Image, channel: np.ndarray) -> Image.Image:
    """A channel (H, W) as an image of its own, which can be scaled, with the file's orientation."""
    single = Image.fromarray(channel.astype(np.float32))
    single.getexif()[0x0112] = image.getexif().get(0x0112, 1)
    return single


def deep_pixels(path: Path, image: Image.Image, page: int) -> np.ndarray:
    """The pixels of a picture of more than 8 bits a channel, (H, W, C) with C from 1 to 4.

    Pillow keeps 16 bits of grey pictures only: those in colour are read by imagecodecs (PNG) and tifffile (TIFF).
    """
    if isinstance(image, TiffImageFile) and (
        image.mode in ("RGB", "RGBA", "LA") or getattr(image, "n_frames", 1) <= page
    ):
        return tiff_pixels(path, page)
    if image.format == "PNG" and image.mode not in ("I", "I;16", "I;16B"):
        return png_pixels(path)
    if page:
        image.seek(page)
    return np.asarray(image)[..., None]


def png_pixels(path: Path) -> np.ndarray:
    """All bits of a .png file, (H, W, C)."""
    from imagecodecs import PngError, png_decode

    try:
        pixels: np.ndarray = png_decode(path.read_bytes())
    except PngError:
        raise Unusable("damaged") from None
    return pixels


def tiff_pixels(path: Path, page: int) -> np.ndarray:
    """All bits of a TIFF's page, (H, W, C)."""
    from tifffile import TiffFile

    try:
        with TiffFile(path) as file:
            pages = file.pages
            pixels = pages[page].asarray() if page < len(pages) else page_after_first(path, pages[0], page)
    except UNREADABLE as error:
        raise error if isinstance(error, Unusable) else Unusable("damaged") from None
    if pixels.ndim == 3 and pixels.shape[0] <= 4 < pixels.shape[2]:
        pixels = pixels.transpose(1, 2, 0)  # the channels are stored one after the other
    if pixels.dtype.kind not in "ui" or pixels.dtype.itemsize > 2 or pixels.ndim > 3:
        raise Unusable("it is not known which of its values is white; save it as .npy")
    return pixels.reshape(*pixels.shape[:2], -1)


def page_after_first(path: Path, first: Any, page: int) -> np.ndarray:
    """A page that has no directory entry of its own and is stored after the first one."""
    n, kind = math.prod(first.shape), np.dtype(first.dtype).newbyteorder(first.parent.byteorder)
    offset = first.dataoffsets[0] + page * n * kind.itemsize
    if first.compression != 1 or offset + n * kind.itemsize > path.stat().st_size:
        raise Unusable("cut short")
    return np.fromfile(path, kind, n, offset=offset).astype(kind.newbyteorder("=")).reshape(first.shape)


def fitted_channels(pixels: np.ndarray, colour: Colour, top: int) -> list[np.ndarray]:
    """The channels (H, W) of pixels (H, W, C) up to `top` in the colour asked for; transparent parts become white."""
    values: np.ndarray = pixels.astype(np.float32)
    if values.shape[2] in (2, 4):
        alpha = values[..., -1:] / top
        values = values[..., :-1] * alpha + top * (1 - alpha)
    if colour == "grey" and values.shape[2] >= 3:
        values = values[..., :3] @ np.array([[0.299], [0.587], [0.114]], np.float32)
    if colour == "rgb" and values.shape[2] == 1:
        values = values.repeat(3, 2)
    return list(values.transpose(2, 0, 1))
