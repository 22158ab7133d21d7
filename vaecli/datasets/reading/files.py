"""Reads a file of observations, in the same way for training and for input=."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vaecli.datasets.checks import existing
from vaecli.datasets.reading.choice import Colour, ReadOptions
from vaecli.datasets.reading.content import Content, classes
from vaecli.datasets.reading.folders import File, Folder, labels_of, walk
from vaecli.datasets.reading.gallery import Gallery, ImageOptions
from vaecli.datasets.reading.h5ad import read_h5ad
from vaecli.datasets.reading.numpy_files import read_npy, read_npz
from vaecli.datasets.reading.parquet import read_parquet
from vaecli.datasets.reading.pictures import IMAGE_SUFFIXES, WHITE8
from vaecli.datasets.reading.pixels import sizes
from vaecli.datasets.reading.report import FileReading, Labels
from vaecli.datasets.reading.rewrite import TEXTS
from vaecli.datasets.reading.text import read_text
from vaecli.utils.errors import UserError
from vaecli.utils.text import plural

Shape = tuple[int, ...]
Reader = Callable[[str, Path, ReadOptions], Content]
READERS: Mapping[str, Reader] = {
    ".npy": read_npy, ".npz": read_npz, ".csv": read_text, ".tsv": read_text, ".txt": read_text, ".dat": read_text,
    ".parquet": read_parquet, ".h5ad": read_h5ad,
}  # fmt: skip
TABLES = (*TEXTS, ".parquet")
NAMED = (*TABLES, ".h5ad")  # files whose columns have names


def read(what: str, path: Path, choice: ReadOptions) -> Content:
    """The observations of a file of numbers and their labels; a UserError begins with `what`."""
    return READERS[existing(what, path, list(READERS)).suffix.lower()](what, path, choice)


def read_pictures(what: str, path: Path, wanted: ImageOptions) -> Content:
    """The pictures of a file, or of all files below a folder, as observations (N, C, H, W)."""
    files, passed_over = walk(what, path) if path.is_dir() else Folder([File(path, "")], {})
    gallery = Gallery(what, path, [file.path for file in files], wanted)
    pictures = gallery.pictures(range(len(files)))
    x = gallery.read(pictures)
    n = len(x)
    shape = tuple(x.shape[1:])
    said = f"{plural(n, 'picture')} of {sizes(shape)}"
    labels, notes = labels_of(files)
    kinds = None if labels is None else classes(labels, np.arange(len(labels)))
    found = None if kinds is None else kinds._replace(codes=kinds.codes[[picture.file for picture in pictures]])
    said_of = None if found is None else Labels("folders", "", "classes", found.counts)
    reading = FileReading(str(path), "images", n, shape, said, tuple(gallery.how), labels=said_of,
                          passed_over=passed_over, notes=(*notes, *gallery.notes))  # fmt: skip
    items = [gallery.called(picture) for picture in pictures] if path.is_dir() else None
    return Content(x, found, reading, levels=gallery.white, items=items)


def read_observations(what: str, path: Path, choice: ReadOptions, x_shape: Shape, wanted: ImageOptions) -> Content:
    """The observations (N, *x_shape) of a file of any kind or a folder of pictures; UserError for another shape."""
    pictures = path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    if pictures and len(x_shape) != 3:
        raise UserError(f"{what}: this run's observations have shape {x_shape}, not that of images; give a .npy file")
    if not path.is_dir():
        existing(what, path, [*READERS, *IMAGE_SUFFIXES])
    if not pictures:
        content = read(what, path, choice._replace(x_shape=x_shape, known=True))
        if tuple(content.x.shape[1:]) != x_shape:
            shape = tuple(content.x.shape)
            raise UserError(f"{what}: has shape {shape}; expected (N, {', '.join(map(str, x_shape))})")
        return content
    white = choice.white if choice.white and choice.white > WHITE8 else None
    known: dict[int, Colour] = {} if wanted.pages == "channels" else {1: "grey", 3: "rgb"}
    colour = known.get(x_shape[0])
    content = read_pictures(what, path, wanted._replace(colour=colour, white=white))
    if content.x.shape[1] != x_shape[0]:
        raise UserError(f"{what}: has {content.x.shape[1]} channels; expected {x_shape[0]}")
    if tuple(content.x.shape[1:]) != x_shape:
        _, height, width = content.x.shape[1:]
        raise UserError(f"{what}: is {width}x{height} pixels; expected {x_shape[2]}x{x_shape[1]}")
    return content
