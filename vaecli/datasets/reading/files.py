"""Reads a file of observations, for training and for input= alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from vaecli.datasets.checks import existing
from vaecli.datasets.reading.choice import ReadOptions
from vaecli.datasets.reading.content import Content
from vaecli.datasets.reading.folders import File, walk
from vaecli.datasets.reading.gallery import Gallery, ImageOptions
from vaecli.datasets.reading.numpy_files import read_npy, read_npz
from vaecli.datasets.reading.parquet import read_parquet
from vaecli.datasets.reading.pictures import IMAGE_SUFFIXES, WHITE8
from vaecli.datasets.reading.report import FileReading
from vaecli.datasets.reading.text import read_text
from vaecli.utils.errors import UserError

Shape = tuple[int, ...]
Reader = Callable[[str, Path, ReadOptions], Content]
READERS: Mapping[str, Reader] = {
    ".npy": read_npy, ".npz": read_npz, ".csv": read_text, ".tsv": read_text, ".txt": read_text, ".dat": read_text,
    ".parquet": read_parquet,
}  # fmt: skip
TABLES = (".csv", ".tsv", ".txt", ".dat", ".parquet")


def read(what: str, path: Path, choice: ReadOptions) -> Content:
    """The observations of a file of numbers and their labels; a UserError begins with `what`."""
    return READERS[existing(what, path, list(READERS)).suffix.lower()](what, path, choice)


def read_pictures(what: str, path: Path, wanted: ImageOptions) -> Content:
    """The pictures of a file, or of all files below a folder, as observations (N, C, H, W)."""
    files = walk(what, path).files if path.is_dir() else [File(path, "")]
    gallery = Gallery(what, path, [file.path for file in files], wanted)
    x = gallery.read(gallery.pictures(range(len(files))))
    n, (height, width) = len(x), gallery.size
    said = f"{n:,} picture{'s' * (n != 1)} of {width}x{height} pixels"
    shape = tuple(x.shape[1:])
    reading = FileReading(str(path), "images", n, shape, said, tuple(gallery.how), notes=tuple(gallery.notes))
    return Content(x, None, reading, levels=gallery.white)


def read_observations(what: str, path: Path, choice: ReadOptions, x_shape: Shape, wanted: ImageOptions) -> Content:
    """The observations (N, *x_shape) of a file of any kind or a folder of pictures; UserError for another shape."""
    pictures = path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    if pictures and len(x_shape) != 3:
        raise UserError(f"{what}: this run's observations have shape {x_shape}, not that of images; give a .npy file")
    if not pictures:
        existing(what, path, [*READERS, *IMAGE_SUFFIXES])
        content = read(what, path, choice._replace(x_shape=x_shape, known=True))
        if tuple(content.x.shape[1:]) != x_shape:
            shape = tuple(content.x.shape)
            raise UserError(f"{what}: has shape {shape}; expected (N, {', '.join(map(str, x_shape))})")
        return content
    if not path.is_dir():
        existing(what, path, [*READERS, *IMAGE_SUFFIXES])
    white = choice.white if choice.white and choice.white > WHITE8 else None
    content = read_pictures(what, path, wanted._replace(colour="grey" if x_shape[0] == 1 else "rgb", white=white))
    if tuple(content.x.shape[1:]) != x_shape:
        _, height, width = content.x.shape[1:]
        raise UserError(f"{what}: is {width}x{height} pixels; expected {x_shape[2]}x{x_shape[1]}")
    return content
