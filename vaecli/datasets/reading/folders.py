"""Folders of pictures: the files that are read or skipped, and the folders that are splits or classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vaecli.datasets.reading.choice import Subfolders
from vaecli.datasets.reading.pictures import IMAGE_SUFFIXES
from vaecli.datasets.reading.report import first_names
from vaecli.utils.errors import UserError

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}  # names of sub-folders, in small letters
NO_FOLDER = "no folder"  # the label of pictures that lie outside the class folders


class File(NamedTuple):
    """An image on disk."""

    path: Path
    label: str  # the sub-folder that it lies in; "" for none


class Folder(NamedTuple):
    """The content of a folder and its sub-folders."""

    files: list[File]  # in the order of their names
    passed_over: dict[str, int]  # files of each ending that is not read, hidden pictures, linked folders: how many


def all_passed_over(folders: Iterable[Folder]) -> dict[str, int]:
    """The skipped files of several folders together."""
    total: Counter[str] = Counter()
    for folder in folders:
        total.update(folder.passed_over)
    return dict(total.most_common())


class Parts(NamedTuple):
    """The sub-folders that are splits, by train, val and test, and notes about them."""

    folders: dict[str, Path]
    notes: tuple[str, ...] = ()


def walk(what: str, folder: Path) -> Folder:
    """All images below a folder; hidden files and folders are left out. UserError if there is none."""
    images: list[Path] = []
    other: Counter[str] = Counter()
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        other["linked folder" + "s" * (len(links) > 1)] += len(links)
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX")) and name not in links]
        pictures = [name for name in names if is_image(name) and not name.startswith(".")]
        images += [Path(place, name) for name in pictures]
        other.update(ending(name) for name in names if name not in pictures and not is_system_file(name))
    if not images:
        held = first_names([f"{n:,} {kind}" for kind, n in other.items() if n])
        there = f"; it holds {held}" if held else ""
        raise UserError(f"{what}: is a folder with no image in it or below ({' '.join(IMAGE_SUFFIXES)}){there}")
    inner = [(path, path.relative_to(folder)) for path in images]
    inner.sort(key=lambda pair: pair[1].as_posix())
    files = [File(path, as_text(name.parts[0]) if len(name.parts) > 1 else "") for path, name in inner]
    return Folder(files, dict((+other).most_common()))


def ending(name: str) -> str:
    """The kind under which a skipped file is counted."""
    if name.startswith("."):
        return "hidden pictures"
    return Path(name).suffix.lower() or "files without an ending"


def is_system_file(name: str) -> bool:
    """Whether a file was written by the system, as .DS_Store."""
    return (name.startswith(".") and not is_image(name)) or name in ("Thumbs.db", "desktop.ini")


def as_text(name: str) -> str:
    """A name on disk with bytes that are not UTF-8 escaped."""
    return name.encode(errors="backslashreplace").decode()


def is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def parts_of(what: str, folder: Path, given: Subfolders | None) -> Parts:
    """The sub-folders that are splits: train, and validation or test beside it, in any usual spelling."""
    below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    named = [(SPLITS[path.name.lower()], path) for path in below if path.name.lower() in SPLITS]
    splits = dict(named)
    if given == "labels" or (given is None and ("train" not in splits or len(splits) < 2)):
        return Parts({})
    for name, path in named:
        if splits[name] != path:
            both = f"{path.name} and {splits[name].name}"
            raise UserError(f"{what}: holds {both}, of which only one can be the {name} split; "
                            "rename one, or give dataset.subfolders=labels")  # fmt: skip
    if "train" not in splits:
        raise UserError(f"{what}: dataset.subfolders=splits needs a folder train in it, and val or test beside it")
    others = [as_text(path.name) for path in below if path not in splits.values()]
    note = f"the folders {first_names([as_text(path.name) for path in splits.values()])} are the splits"
    note += f", {first_names(others)} are left out" if others else ""
    return Parts(splits, (f"{note}; dataset.subfolders=labels reads all folders as classes",) if others else ())


def labels_of(files: Sequence[File]) -> tuple[list[str] | None, list[str]]:
    """The class of each file, None if no file lies in a class folder; and a note on files outside of one."""
    outside = sum(not file.label for file in files)
    if outside == len(files):
        return None, []
    name = NO_FOLDER
    while name in {file.label for file in files}:
        name += "_"
    said = f"{outside:,} picture{'s lie' if outside > 1 else ' lies'} in no folder, labelled {name!r}"
    return [file.label or name for file in files], [said] if outside else []
