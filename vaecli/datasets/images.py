"""A user's own images: all below a folder."""

from __future__ import annotations

import math
import os
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import COMPRESSION, TiffImageFile
from pydantic import BeforeValidator
from rich.console import Console
from rich.progress import track
from torch import Tensor

from vaecli.datasets.base import Dataset
from vaecli.datasets.own import TestFraction, ValFraction, split_rows
from vaecli.datasets.split import Binarize, Splits, image_splits
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded, irregular
from vaecli.utils.memory import Room, check_memory
from vaecli.utils.text import printable
from vaecli.utils.types import PositiveInt, Seed

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # by content; Pillow opens many more, some with other programs
COMPRESSIONS = (1, 5, 8, 32773, 32946)  # of TIFF: none, LZW, Deflate, PackBits, and Deflate by its older number
AT_ONCE = 28  # bytes that a pixel takes at most while an image is read: 26 in a WebP file, 16 in others
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # memory is looked at before
KINDS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MODES = {"grey": "L", "rgb": "RGB"}
UNREADABLE = (  # what Pillow raises for damaged files of one kind or another
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, MemoryError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip

Colour = Literal["grey", "rgb"]


def pixels(size: Any) -> Any:
    """`size` if it is one side or two; raises ValueError."""
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides):
        raise ValueError("should be a side in pixels, or [height,width]")
    return size


Size = Annotated[int | list[int], BeforeValidator(pixels)]


class File(NamedTuple):
    """An image on disk."""

    path: Path
    label: str  # the sub-folder that it lies in; "" for none


class Images(Dataset):
    """All images below a folder, grey or in colour, with the names of the sub-folders for labels.

    A folder with `train` and `test` (and `val`) in it is split so; otherwise the images are shuffled by `split_seed`
    and split by fractions.

    size: side in pixels, or (height, width): each image is scaled until it covers that, and what juts out is cut off
        on both sides; None: they must be of one size already
    """

    def __init__(
        self,
        path: str,
        size: Size | None = None,
        colour: Colour = "rgb",
        val_fraction: ValFraction = 0.1,
        test_fraction: TestFraction = 0.1,
        split_seed: Seed = 0,
        limit: PositiveInt | None = None,
        binarize: Binarize = "none",
        binarize_seed: Seed = 0,
    ) -> None:
        self.what, self.folder = f"dataset.path={path}", expanded(path)
        self.size = (size, size) if isinstance(size, int) else None if size is None else (size[0], size[1])
        self.colour: Colour = colour
        self.resizes = size is not None
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed
        self.limit, self.binarize, self.binarize_seed = limit, binarize, binarize_seed
        self.label_names: tuple[str, ...] | None = None  # known once the folder is read

    def load(self) -> Splits:
        parts = [None if files is None else files[: self.limit] for files in self._parts()]
        files = [file for part in parts for file in part or ()]
        x = self._read([file.path for file in files])
        kinds = sorted({file.label for file in files})
        self.label_names = tuple(kinds) if all(kinds) else None  # none where some lie in no sub-folder
        y = None if self.label_names is None else torch.tensor([kinds.index(file.label) for file in files])
        ends = np.cumsum([len(part or ()) for part in parts])
        pieces = [
            None if part is None else (x[end - len(part) : end], None if y is None else y[end - len(part) : end])
            for part, end in zip(parts, ends, strict=True)
        ]
        return image_splits(pieces, 255, self.binarize, self.binarize_seed, None)

    def _parts(self) -> list[list[File] | None]:
        """The files to train on, to validate (None: none) and to test, before any is opened."""
        if not self.folder.is_dir():
            problem = "is a file" if self.folder.exists() else "there is no such folder"
            raise UserError(f"{self.what}: {problem}; expected a folder of images (dataset=arrays reads files)")
        given = self.folder / "train", self.folder / "val", self.folder / "test"
        if not (given[0].is_dir() and given[2].is_dir()):
            files = images_below(self.what, self.folder)
            rows = split_rows(self.what, len(files), self.val_fraction, self.test_fraction, self.split_seed)
            return [None if part is None else [files[i] for i in part.tolist()] for part in rows]
        train, test = (images_below(f"{self.what}/{part.name}", part) for part in (given[0], given[2]))
        if given[1].is_dir():
            order = split_rows(f"{self.what}/train", len(train), 0, 0, self.split_seed).train
            return [[train[i] for i in order.tolist()], images_below(f"{self.what}/val", given[1]), test]
        rows = split_rows(f"{self.what}/train", len(train), self.val_fraction, 0, self.split_seed)
        val = None if rows.val is None else [train[i] for i in rows.val.tolist()]
        return [[train[i] for i in rows.train.tolist()], val, test]

    def _read(self, paths: Sequence[Path]) -> Tensor:
        """The images (N, C, H, W), uint8."""
        height, width = self.size or self._common_size(paths)
        shape = (len(paths), {"grey": 1, "rgb": 3}[self.colour], height, width)
        needed = math.prod(shape) * (1 if self.binarize == "none" else 3)  # the others make copies
        check_memory(needed, self.what, "give a smaller dataset.size or dataset.limit")
        x, room = torch.empty(shape, dtype=torch.uint8), Room(math.prod(shape))

        def read(i: int) -> None:
            x[i] = torch.from_numpy(read_image(paths[i], self.colour, (height, width), room))

        each(self.what, self.folder, paths, read, "reading images")
        return x

    def _common_size(self, paths: Sequence[Path]) -> tuple[int, int]:
        """Height and width of all images; UserError where two differ."""
        sizes: dict[int, tuple[int, int]] = {}
        room = Room()

        def look(i: int) -> None:
            sizes[i] = image_size(paths[i], room)

        each(self.what, self.folder, paths, look, "looking at images")
        usual, n = Counter(sizes.values()).most_common(1)[0]
        other = next((i for i, size in sorted(sizes.items()) if size != usual), None)
        if other is not None:
            one = next(i for i, size in sorted(sizes.items()) if size == usual)
            inner = {i: printable(str(paths[i].relative_to(self.folder))) for i in (one, other)}
            names = [f"{inner[i]} is {sizes[i][1]}x{sizes[i][0]}" for i in (one, other)]
            raise UserError(
                f"{self.what}: {len(paths) - n:,} of {len(paths):,} images are of another size ({' and '.join(names)} "
                "pixels): give dataset.size=SIDE or dataset.size=[HEIGHT,WIDTH], to which all are scaled"
            )
        return usual


def images_below(what: str, folder: Path) -> list[File]:
    """All images below a folder, in the order of their names; hidden files and folders are left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [Path(place, name) for name in names if not name.startswith(".") and is_image(name)]
    if not found:
        raise UserError(f"{what}: no image in it or below ({' '.join(KINDS)})")
    inner = [(path, path.relative_to(folder)) for path in found]
    inner.sort(key=lambda pair: pair[1].as_posix())
    return [File(path, as_text(name.parts[0]) if len(name.parts) > 1 else "") for path, name in inner]


def as_text(name: str) -> str:
    """A name on disk with what is no UTF-8 in it written out."""
    return name.encode(errors="backslashreplace").decode()


def is_image(name: str) -> bool:
    return Path(name).suffix.lower() in KINDS


def each(what: str, folder: Path, paths: Sequence[Path], do: Callable[[int], None], doing: str) -> None:
    """Do something with every image, on all cores and behind a bar; UserError with those that cannot be read."""
    console, broken = Console(stderr=True), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = pool.map(partial(attempt, do), range(len(paths)))
        shown = track(outcomes, doing, len(paths), console=console, transient=True, disable=not console.is_terminal)
        for path, problem in zip(paths, shown, strict=True):
            if problem is not None:
                broken.append(f"{printable(str(path.relative_to(folder)))} ({problem})")
    if broken:
        more = ", ..." if len(broken) > 3 else ""
        raise UserError(
            f"{what}: {len(broken):,} of {len(paths):,} images cannot be read: {', '.join(broken[:3])}{more}; "
            "mend them or take them away"
        )


def attempt(do: Callable[[int], None], i: int) -> str | None:
    """Why it could not be done; None where it was."""
    try:
        do(i)
    except UNREADABLE as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return "not an image" if isinstance(error, UnidentifiedImageError) else text[:80]
    return None


@contextmanager
def open_image(path: Path, room: Room, more: int = 0) -> Iterator[Image.Image]:
    """An image file, and memory for its pixels and `more` others: every image is opened here.

    Whatever its name says, only a file in one of FORMATS is opened, a TIFF only in one of COMPRESSIONS. Raises one of
    UNREADABLE, and UserError where there is not so much memory.
    """
    if kind := irregular(path):
        raise ValueError(f"is {kind}, no file")
    with Image.open(path, formats=FORMATS) as image:
        method = image.tag_v2.get(COMPRESSION, 1) if isinstance(image, TiffImageFile) else 1
        if method not in COMPRESSIONS:
            raise ValueError(f"is a TIFF with compression {method}; save it with LZW, Deflate, PackBits or none")
        what = f"{path}: an image of {image.width}x{image.height} pixels"
        needed = AT_ONCE * (math.prod(image.size) + more)
        with room.taken(needed, what, "make it smaller or take it away"):
            yield image


def image_size(path: Path, room: Room) -> tuple[int, int]:
    """Height and width as it is looked at: a camera's note on how it was held is followed."""
    with open_image(path, room) as image:
        width, height = image.size
        turned = image.getexif().get(0x0112, 1) >= 5
    return (width, height) if turned else (height, width)


def read_image(path: Path, colour: Colour, size: tuple[int, int] | None = None, room: Room | None = None) -> np.ndarray:
    """An image's first frame, uint8 (C, H, W), scaled to cover `size` (height, width) and cut to it about the centre.

    What is transparent is white. room: the memory that several threads share. Raises what `open_image` raises.
    """
    with open_image(path, room or Room(), math.prod(size or (0,))) as opened:
        ImageOps.exif_transpose(opened, in_place=True)
        image = flat(opened).convert(MODES[colour])
        if size is not None and image.size != size[::-1]:
            image = ImageOps.fit(image, size[::-1], Image.Resampling.LANCZOS)
        pixels = np.array(image, dtype=np.uint8)
        return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1))


def flat(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel and without transparency."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32 bits a pixel, of which it is not known how many are white")
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
