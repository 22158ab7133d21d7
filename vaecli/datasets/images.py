"""A user's own images: all images below a folder, or the pages of a file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator
from torch import Tensor

from vaecli.datasets.base import Dataset
from vaecli.datasets.own import TestFraction, ValFraction, limited, named_labels, split_groups
from vaecli.datasets.reading import numpy_files
from vaecli.datasets.reading.choice import Colour, Pages, ReadOptions, Subfolders, White
from vaecli.datasets.reading.content import Content
from vaecli.datasets.reading.files import read_observations
from vaecli.datasets.reading.folders import File, Folder, all_passed_over, as_text, labels_of, parts_of, walk
from vaecli.datasets.reading.gallery import Gallery, ImageOptions, Picture
from vaecli.datasets.reading.pixels import sizes
from vaecli.datasets.reading.report import FileReading, Labels, Part, Reading, counted
from vaecli.datasets.split import Binarize, Splits, image_file_split, image_splits
from vaecli.utils.errors import UserError
from vaecli.utils.files import expanded
from vaecli.utils.text import plural
from vaecli.utils.types import PositiveInt, Seed

PARTS = ("train", "val", "test")


def pixels(size: Any) -> Any:
    """`size` if it is one side or two; raises ValueError."""
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides):
        raise ValueError("should be a side in pixels, or [height,width]")
    return size


Size = Annotated[int | list[int], BeforeValidator(pixels)]


class Images(Dataset):
    """All images below a folder, grey or in colour, with the names of the sub-folders for labels; or a file's pages.

    A folder with `train` in it, and `val` or `test`, is split so; otherwise the images are shuffled by `split_seed`
    and split by fractions.

    size: side in pixels, or (height, width): each image is scaled to cover this size and cropped about its centre;
    None:
        all must have one size already
    colour: grey or rgb; None: grey if all images are
    pages: whether the pages of a file are observations or the channels of one; None: observations, with a note
    white: the value that stands for 1.0; None: 255; for 16 bits what the files' tags say, else 65,535
    subfolders: splits or labels; None: splits if they have the names of splits
    """

    def __init__(
        self,
        path: str,
        size: Size | None = None,
        colour: Colour | None = None,
        pages: Pages | None = None,
        white: White | None = None,
        subfolders: Subfolders | None = None,
        val_fraction: ValFraction = 0.1,
        test_fraction: TestFraction = 0.1,
        split_seed: Seed = 0,
        limit: PositiveInt | None = None,
        binarize: Binarize = "none",
        binarize_seed: Seed = 0,
    ) -> None:
        self.path, self.what, self.folder = path, f"dataset.path={path}", expanded(path)
        sides = (size, size) if isinstance(size, int) else None if size is None else (size[0], size[1])
        self.wanted = ImageOptions(colour, sides, pages, white)
        self.resizes = size is not None
        self.subfolders: Subfolders | None = subfolders
        self.fractions, self.split_seed = (val_fraction, test_fraction), split_seed
        self.limit, self.binarize, self.binarize_seed = limit, binarize, binarize_seed
        self.label_names: tuple[str, ...] | None = None  # known once the folder is read, as are the items
        self.filled: dict[str, object] = {}

    def load(self) -> Splits:
        folders, notes = self._folders()
        files = [file for folder in folders.values() for file in folder.files]
        gallery = Gallery(self.what, self.folder, [file.path for file in files], self.wanted)
        labels, said = labels_of(files)
        self.label_names = None if labels is None else tuple(sorted(set(labels)))
        codes = named_labels(labels, self.label_names)
        parts = self._parts(gallery, folders, codes)
        every = gallery.pictures(range(len(files)))
        self.items = [gallery.called(one) for one in every]
        splits = self._splits(gallery, every, parts, codes)
        self.filled = {"white": gallery.white} if gallery.more_than_8_bits else {}
        self.filled |= {"colour": gallery.colour} if gallery.channels in (1, 3) and not self.wanted.pages else {}
        self.reading = self._reading(gallery, folders, parts, codes, [*notes, *said])
        return splits

    def _splits(
        self, gallery: Gallery, every: list[Picture], parts: Mapping[str, list[Picture]], codes: Tensor | None
    ) -> Splits:
        """Read the pictures of all splits, into memory or, if they are large, into a file."""
        places = {one: i for i, one in enumerate(every)}
        rows = {name: torch.tensor([places[one] for one in part], dtype=torch.int64) for name, part in parts.items()}
        labels = {name: labels_at(codes, part) for name, part in parts.items()}
        used = torch.cat(list(rows.values()))
        if gallery.needed(len(used)) > numpy_files.MAP_ABOVE:
            x = gallery.read_to_disk(every, used)
            return Splits(*(  # type: ignore[arg-type]
                None if name not in parts else
                image_file_split(x, rows[name], labels[name], gallery.white, self.binarize, (self.binarize_seed, i),
                                 train=i == 0) for i, name in enumerate(PARTS)))  # fmt: skip
        x = gallery.read([every[i] for i in used.tolist()], 1 if self.binarize == "none" else 3)
        read = dict(zip(parts, x.split([len(part) for part in parts.values()]), strict=True))
        pieces = [(read[name], labels[name]) if name in parts else None for name in PARTS]
        splits = image_splits(pieces, gallery.white, self.binarize, self.binarize_seed, None)
        return splits.with_rows([rows.get(name, used[:0]) for name in PARTS])

    @property
    def settings_from_data(self) -> Mapping[str, object]:
        return self.filled

    def read_input(self, what: str, path: Path, x_shape: tuple[int, ...]) -> Content:
        size = x_shape[1:] if self.resizes else None
        wanted = self.wanted._replace(size=(size[0], size[1]) if size else None)
        return read_observations(what, path, ReadOptions(white=self.wanted.white), x_shape, wanted)

    def _folders(self) -> tuple[dict[str, Folder], list[str]]:
        """The files of each split that has a folder, listed before any is opened."""
        if self.folder.is_file() and self.folder.suffix.lower() in (".tif", ".tiff", ".gif", ".webp"):
            return {"train": Folder([File(self.folder, "")], {})}, []
        if not self.folder.is_dir():
            problem = "is a file" if self.folder.exists() else "there is no such folder"
            raise UserError(f"{self.what}: {problem}; expected a folder of images, or a file of several pages "
                            "(dataset=arrays reads files of numbers)")  # fmt: skip
        subfolders = parts_of(self.what, self.folder, self.subfolders)
        if not subfolders.folders:
            return {"train": walk(self.what, self.folder)}, []
        inner = {name: path for name in PARTS if (path := subfolders.folders.get(name))}
        return {name: walk(os.path.join(self.what, path.name), path) for name, path in inner.items()}, [
            *subfolders.notes
        ]

    def _parts(self, gallery: Gallery, folders: Mapping[str, Folder], codes: Tensor | None) -> dict[str, list[Picture]]:
        """The pictures of each split, in their order in the tensor."""
        given, start = {}, 0
        for name, folder in folders.items():
            given[name] = gallery.pictures(range(start, start + len(folder.files)))
            start += len(folder.files)
        val, test = (0.0 if name in given else f for name, f in zip(PARTS[1:], self.fractions, strict=True))
        per_file = Counter(one.file for one in given["train"])
        rows, self.drawn = split_groups(self.what, list(per_file.values()), val, test, self.split_seed)
        drawn = {name: part.tolist() for name, part in rows._asdict().items() if part is not None}
        parts = {name: [given["train"][i] for i in places] for name, places in drawn.items()}
        parts |= {name: part for name, part in given.items() if name != "train"}
        chosen = {
            name: limited(len(part), labels_at(codes, part), self.limit, self.split_seed, spread=name not in drawn)
            for name, part in parts.items()
        }
        return {name: [parts[name][i] for i in places.tolist()] for name, places in chosen.items()}

    def _reading(
        self, gallery: Gallery, folders: Mapping[str, Folder], parts: Mapping[str, list[Picture]], codes: Tensor | None,
        notes: list[str],
    ) -> Reading:  # fmt: skip
        """What was read."""
        n, files = sum(map(len, parts.values())), sum(len(folder.files) for folder in folders.values())
        height, width = gallery.size
        shape = (gallery.channels, height, width)
        said = f"{plural(n, 'picture')} of {sizes(shape)}, of {plural(files, 'file')}"
        labels = None
        if codes is not None and self.label_names is not None:
            of = [int(codes[one.file]) for part in parts.values() for one in part]
            labels = Labels("folders", "", "classes", counted(of, self.label_names))
        layout = {"files": files, "colour": gallery.colour, "bits": 16 if gallery.more_than_8_bits else 8,
                  "white": gallery.white, "scaled": self.resizes}  # fmt: skip
        how = [*gallery.how, *(["scaled and cut to size"] if self.resizes else [])]
        reading = FileReading(
            self.path, "images", n, shape, said, tuple(how), layout, labels=labels, high=float(gallery.largest),
            passed_over=all_passed_over(folders.values()), notes=(*notes, *gallery.notes),
        )  # fmt: skip
        described = {name: Part(len(parts[name]), self._whence(name, folders)) for name in PARTS if name in parts}
        return Reading(self.path, {"path": reading}, described)

    def _whence(self, name: str, folders: Mapping[str, Folder]) -> str:
        """The source of a split's pictures."""
        if len(folders) > 1 and name in folders:
            return f"folder {as_text(folders[name].files[0].path.relative_to(self.folder).parts[0])}"
        return self.drawn


def labels_at(codes: Tensor | None, pictures: list[Picture]) -> Tensor | None:
    """The labels of some pictures (N,), those of their files."""
    return None if codes is None else codes[torch.tensor([one.file for one in pictures], dtype=torch.int64)]
