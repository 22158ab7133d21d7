"""Reads many image files as observations: first their headers, then, on all cores, their pixels into one tensor."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import UnidentifiedImageError
from torch import Tensor

from vaecli.datasets.reading.bands import read_bands, read_multichannel_header
from vaecli.datasets.reading.choice import Colour, Pages
from vaecli.datasets.reading.pictures import UNREADABLE, WHITE8, WHITE16, ImageInfo, image_info, read_pages, why
from vaecli.datasets.reading.pixel_file import pixel_file
from vaecli.utils.errors import UserError
from vaecli.utils.memory import MemoryBudget, check_memory
from vaecli.utils.progress import progress_bar
from vaecli.utils.text import printable

CHANNELS = {"grey": 1, "rgb": 3}
SENSOR_BITS = (10, 12, 14)  # depths of cameras and microscopes, whose files have 16 bits


class Picture(NamedTuple):
    """An observation: the index of a file, and the pages of it that make the observation."""

    file: int
    pages: tuple[int, ...]


class ImageOptions(NamedTuple):
    """How to read pictures."""

    colour: Colour | None = None  # None: grey where all of them are
    size: tuple[int, int] | None = None  # height and width to scale and cut to; None: all are of one size
    pages: Pages | None = None  # None: observations
    white: int | None = None  # the value that stands for 1.0; None: as the files say


class Gallery:
    """Image files below a folder, and the contents of their headers.

    what: the beginning of messages
    """

    def __init__(self, what: str, folder: Path, paths: Sequence[Path], wanted: ImageOptions) -> None:
        self.what, self.folder, self.paths, self.wanted = what, folder, paths, wanted
        headers: dict[int, ImageInfo] = {}
        room = None if wanted.size else MemoryBudget()  # without `size`, memory is checked here too

        def read(i: int) -> None:
            headers[i] = read_header(paths[i], room)

        broken = self._each(range(len(paths)), read, "looking at images")
        if broken and not wanted.size:
            raise self._unreadable(broken, len(paths))
        self.headers = headers
        self.size = wanted.size or self._common_size()
        self.more_than_8_bits = any(header.more_than_8_bits for header in headers.values())
        self.largest = 0  # value that was read
        self.coloured = False  # whether any pixel that was read has a colour
        self.colour: Colour = wanted.colour or ("grey" if all(header.grey for header in headers.values()) else "rgb")
        self.channels = self._bands() or CHANNELS[self.colour]  # of an observation

    @property
    def white(self) -> int:
        """The value that stands for 1.0."""
        if self.wanted.white and (self.more_than_8_bits or self.wanted.white <= WHITE8):
            return self.wanted.white
        said = {header.white for header in self.headers.values() if header.more_than_8_bits}
        own = said.pop() if len(said) == 1 else None
        return (own or WHITE16) if self.more_than_8_bits else WHITE8

    def pictures(self, files: Sequence[int]) -> list[Picture]:
        """The observations in some of the files, in their order; UserError if their pages cannot be channels."""
        pages = [(i, self.headers[i].pages if i in self.headers else (0,)) for i in files]
        if self.wanted.pages != "channels":
            return [Picture(i, (page,)) for i, several in pages for page in several]
        if any(header.bands for header in self.headers.values()):
            raise UserError(f"{self.what}: its files have {self.channels} channels already, so that "
                            "dataset.pages=channels does not apply; leave it out")  # fmt: skip
        self.channels = CHANNELS[self.wanted.colour] if self.wanted.colour else len(pages[0][1])
        needed = f" with dataset.colour={self.wanted.colour} needs" if self.wanted.colour else f": {self._name(0)} has"
        for i, several in pages:
            if len(several) != self.channels:
                raise UserError(f"{self.what}: {self._name(i)} has {len(several)} page{'s' * (len(several) > 1)}, "
                                f"but dataset.pages=channels{needed} {self.channels}")  # fmt: skip
        return [Picture(i, several) for i, several in pages]

    @property
    def dtype(self) -> torch.dtype:
        return torch.int32 if self.more_than_8_bits else torch.uint8

    def needed(self, n: int) -> int:
        """The bytes that n observations take."""
        return n * self.channels * math.prod(self.size) * self.dtype.itemsize

    def read(self, pictures: Sequence[Picture], copies: int = 1) -> Tensor:
        """The observations (N, C, H, W), uint8, or int32 where a picture has more than 8 bits a channel."""
        needed = self.needed(len(pictures))
        check_memory(needed * copies, self.what, "give a smaller dataset.size or dataset.limit")
        x = torch.empty(len(pictures), self.channels, *self.size, dtype=self.dtype)
        return self._filled(x, dict(enumerate(pictures)), MemoryBudget(needed)).contiguous()

    def read_to_disk(self, pictures: Sequence[Picture], rows: Tensor) -> Tensor:
        """As `read`, for pictures that stay on the disk, see `pixel_file`; only `rows` (M,) of them are read."""
        shape, chosen = (len(pictures), self.channels, *self.size), rows.sort().values
        x = pixel_file(self.what, shape, self.dtype, chosen)
        return self._filled(x, {place: pictures[place] for place in chosen.tolist()}, MemoryBudget())

    def _filled(self, x: Tensor, pictures: Mapping[int, Picture], room: MemoryBudget) -> Tensor:
        """x with the pictures in their places; with one channel, if none has a colour and `colour` leaves it open."""
        by_file: dict[int, list[int]] = {}
        for place, picture in pictures.items():
            by_file.setdefault(picture.file, []).append(place)
        highest: dict[int, int] = {}

        def read(i: int) -> None:
            highest[i] = self._read_file(i, [(place, pictures[place].pages) for place in by_file[i]], x, room)

        broken = self._each(sorted(by_file), read, "reading images")
        if broken:
            raise self._unreadable(broken, len(by_file))
        self.largest = max(highest.values(), default=0)
        if self.largest > self.white:
            name = self._name(max(highest, key=lambda i: highest[i]))
            raise UserError(f"{self.what}: {name} holds {self.largest:,}, beyond dataset.white={self.white}")
        if self.wanted.colour is None and self.colour == "rgb" and self.channels == 3 and not self.coloured:
            self.colour, self.channels = "grey", 1
            x = x[:, :1]
        return x

    def called(self, picture: Picture) -> str:
        """The file of an observation, and its page if there are several: name.tif[3]."""
        path = self.paths[picture.file]
        name = str(path.relative_to(self.folder)) if path != self.folder else path.name
        several = picture.file in self.headers and len(self.headers[picture.file].pages) > 1
        return f"{name}[{picture.pages[0]}]" if several and len(picture.pages) == 1 else name

    def _read_file(self, i: int, wanted: Sequence[tuple[int, tuple[int, ...]]], x: Tensor, room: MemoryBudget) -> int:
        """Put a file's observations into their places in x; returns their largest value."""
        channels = self.wanted.pages == "channels"
        pages = [page for _, several in wanted for page in several]
        header = self.headers.get(i)
        frames = (
            iter([read_bands(self.paths[i], header, self.size, room)])
            if header and header.bands
            else read_pages(self.paths[i], "grey" if channels else self.colour, self.size, pages, room)
        )
        highest = 0
        for place, several in wanted:
            pixels = np.concatenate([next(frames) for _ in several])
            if pixels.shape != tuple(x.shape[1:]):
                raise ValueError("its pages are of different sizes; give dataset.size")
            if self.more_than_8_bits and pixels.dtype == np.uint8:
                pixels = np.rint(pixels * (self.white / WHITE8))
            highest = max(highest, int(pixels.max()))
            if bool((pixels[1:] != pixels[:1]).any()):
                self.coloured = True
            x[place] = torch.from_numpy(pixels.astype(np.int32 if self.more_than_8_bits else np.uint8))
        return highest

    def _bands(self) -> int:
        """The number of channels of multi-channel files, 0 if there are none; UserError if files differ in it."""
        several = {i: header.bands for i, header in sorted(self.headers.items())}
        if len(set(several.values())) > 1:
            usual = Counter(several.values()).most_common(1)[0][0]
            one, other = (next(i for i, n in several.items() if (n == usual) is same) for same in (True, False))
            names = " and ".join(f"{self._name(i)} {several[i] or 'at most 4'}" for i in (one, other))
            raise UserError(f"{self.what}: images of different numbers of channels: {names}; "
                            "put them into separate folders")  # fmt: skip
        return max(several.values(), default=0)

    def _common_size(self) -> tuple[int, int]:
        """Height and width of all images; UserError if two differ."""
        sizes = {i: self.headers[i].size for i in sorted(self.headers)}
        usual, n = Counter(sizes.values()).most_common(1)[0]
        other = next((i for i, size in sizes.items() if size != usual), None)
        if other is not None:
            one = next(i for i, size in sizes.items() if size == usual)
            names = [f"{self._name(i)} is {sizes[i][1]}x{sizes[i][0]}" for i in (one, other)]
            raise UserError(
                f"{self.what}: {len(sizes) - n:,} of {len(sizes):,} images are of another size ({' and '.join(names)} "
                "pixels): give dataset.size=SIDE or 'dataset.size=[HEIGHT,WIDTH]', to which all are scaled"
            )
        return usual

    def _name(self, i: int) -> str:
        path = self.paths[i]
        return printable(str(path.relative_to(self.folder)) if path != self.folder else path.name)

    def _each(self, files: Sequence[int], do: Callable[[int], None], doing: str) -> dict[int, str]:
        """Call `do` for every file, on all cores and with a progress bar; returns the problems by file."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            outcomes = progress_bar(doing, len(files))(pool.map(partial(attempt, do), files))
            return {i: problem for i, problem in zip(files, outcomes, strict=True) if problem is not None}

    def _unreadable(self, broken: dict[int, str], n: int) -> UserError:
        names = [f"{self._name(i)} ({problem})" for i, problem in list(broken.items())[:3]]
        more = ", ..." if len(broken) > 3 else ""
        return UserError(f"{self.what}: {len(broken):,} of {n:,} images cannot be read: {', '.join(names)}{more}; "
                         "repair or remove them")  # fmt: skip

    @property
    def how(self) -> list[str]:
        """How the files are read, in short phrases."""
        paged = [header for header in self.headers.values() if len(header.pages) > 1]
        more = sum(header.more for header in self.headers.values())
        phrases = []
        if paged:
            n, role = sum(len(header.pages) for header in paged), self.wanted.pages or "observations"
            held = f"1 file with {n:,} pages" if len(paged) == 1 else f"{len(paged):,} files with {n:,} pages in all"
            phrases.append(f"{held}, read as {role}")
        phrases += [f"{more:,} thumbnails or second pictures within files left out"] if more else []
        if any(header.transparent for header in self.headers.values()):
            phrases.append("transparent pixels are read as white")
        if (
            self.colour == "grey"
            and not self.wanted.colour
            and not all(header.grey for header in self.headers.values())
        ):
            phrases.append("saved in colour, but every pixel is grey (dataset.colour=rgb keeps three channels)")
        phrases += [f"16 bits a channel, {self.white:,} is white"] if self.more_than_8_bits else []
        return phrases

    @property
    def notes(self) -> list[str]:
        """Other possible readings, and their keys; known after `read`."""
        notes = []
        if self.wanted.pages is None and any(len(header.pages) > 1 for header in self.headers.values()):
            notes.append("dataset.pages=channels reads the pages of a file as the channels of one picture")
        if self.wanted.white and self.wanted.white != self.white:
            notes.append(
                f"dataset.white={self.wanted.white} does not apply to pictures of 8 bits, in which 255 is white"
            )
        bits = next((bits for bits in SENSOR_BITS if self.largest < 2**bits), None)
        if self.more_than_8_bits and not self.wanted.white and self.white == WHITE16 and bits:
            notes.append(f"no value is beyond {self.largest:,}, as in pictures of {bits} bits: "
                         f"dataset.white={2**bits - 1} makes that white")  # fmt: skip
        return notes


def read_header(path: Path, room: MemoryBudget | None) -> ImageInfo:
    """The header of an image file, whether Pillow or tifffile reads it."""
    try:
        return image_info(path, room)
    except UnidentifiedImageError:
        found = read_multichannel_header(path)
        if found is None:
            raise
        return found


def attempt(do: Callable[[int], None], i: int) -> str | None:
    """The problem with a file; None if there was none."""
    try:
        do(i)
    except (*UNREADABLE, UnidentifiedImageError) as error:
        return why(error)
    return None
