"""Files as people have them: what spreadsheets, programs, cameras and microscopes write."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vaecli.datasets.reading.choice import Colour
from vaecli.datasets.reading.pictures import read_pages

N = 24
A = [i + 0.5 for i in range(N)]  # 0.5 to 23.5
B = [-2 * i for i in range(N)]  # 0 to -46
C = [i * i / 4 for i in range(N)]  # 0 to 132.25
KINDS = ["cat", "dog", "cow"]
Write = Callable[[Path], object]


def read_image(path: Path, colour: Colour, size: tuple[int, int] | None = None) -> np.ndarray:
    """An image's first frame as `read_pages` reads it, reduced to 8 bits: uint8 (C, H, W)."""
    pixels = next(read_pages(path, colour, size))
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)


def lines(
    separator: str = ",", decimal: str = ".", end: str = "\n", header: str | None = "a,b,c", row: str = ""
) -> str:
    """The columns a, b and c as text; row: what each line begins with, of i."""
    head = [] if header is None else [header.replace(",", separator)]
    body = [row.format(i=i) + separator.join(str(v).replace(".", decimal) for v in values)
            for i, values in enumerate(zip(A, B, C, strict=True))]  # fmt: skip
    return end.join([*head, *body]) + end


def text(content: str, encoding: str = "utf-8") -> Write:
    return lambda path: path.write_bytes(content.encode(encoding))


def raw(content: bytes) -> Write:
    return lambda path: path.write_bytes(content)


def array(values: Any) -> Write:
    return lambda path: np.save(path, values)


def archive(**values: Any) -> Write:
    return lambda path: np.savez(path, **values)


def pixels(*shape: int, top: int = 256, seed: int = 0, kind: str = "u1") -> np.ndarray:
    found = np.random.default_rng(seed).integers(0, top, shape).astype(kind)
    found.flat[:2] = 0, top - 1
    return found


def pictures(
    root: Path, n: int = 4, names: Sequence[str] = ("cat", "dog"), ending: str = "png", **options: Any
) -> None:
    """n pictures in each of some folders, of which every pixel is another."""
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.fromarray(pixels(6, 8, 3, seed=hash_of(name) + i)).save(root / name / f"{i}.{ending}", **options)


def hash_of(name: str) -> int:
    return zlib.crc32(name.encode()) % 1000


def deep_png(path: Path, values: np.ndarray, colour: int) -> None:
    """A .png of 16 bits a channel; colour: 0 grey, 2 in colour."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def stack(path: Path, n: int, **options: Any) -> None:
    """A .tif of n pages."""
    pages = [Image.fromarray(pixels(6, 8, seed=i)) for i in range(n)]
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)


def parquet(path: Path, **columns: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet as files

    files.write_table(pa.table(columns), path)


def sparse(path: Path) -> None:
    """As scipy.sparse.save_npz writes it: values 1 to 24 on the diagonal of 24 x 30."""
    rows = np.arange(N)
    np.savez(path, indices=rows.astype("i4"), indptr=np.arange(N + 1, dtype="i4"), format=np.array(b"csr"),
             shape=np.array([N, 30]), data=rows + 1.0)  # fmt: skip


def saved(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()
