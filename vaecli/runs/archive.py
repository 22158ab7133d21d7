"""Reads the archives that torch.save writes, and believes nothing in them.

torch.load(weights_only=True) runs no code either, but it takes the sizes that a file claims: it inflates compressed
records, calls `bytearray(n)` for any n, and makes tensors of any size from one number. Here a tree of plain containers
and tensors comes out, or an exception, in time and memory proportional to the file's own size.
"""

from __future__ import annotations

import io
import math
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

LARGEST_PICKLE = 2**24  # bytes: names and settings, not the tensors
MOST_VALUES = 10**6
DEEPEST = 50
CHUNK = 2**20
PLAIN = (type(None), bool, int, float, str)
DTYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class Storage(NamedTuple):
    """A record of the archive, as the pickle describes it."""

    key: Any
    dtype: Any
    numel: Any


class View(NamedTuple):
    """A tensor, as the pickle describes it."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


class _Rebuild:
    """Stands for torch._utils._rebuild_tensor_v2; without attributes, so that a pickle can set none."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any) -> View:
        return View(storage, offset, size, stride)


class _Empty:
    """Stands for collections.OrderedDict, which torch.save fills entry by entry."""

    __slots__ = ()

    def __call__(self) -> dict[Any, Any]:
        return {}


KNOWN: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
    ("collections", "OrderedDict"): _Empty(),
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
}
OPCODES = (
    pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.REDUCE, pickle.BINPERSID, pickle.NONE,
    pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.BINFLOAT,
    pickle.BINUNICODE, pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3,
    pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT, pickle.BINPUT, pickle.LONG_BINPUT,
    pickle.BINGET, pickle.LONG_BINGET,
)  # fmt: skip


class _Unpickler(pickle._Unpickler):  # the one in Python: its table of opcodes can be cut down to those in use
    dispatch: ClassVar[dict[int, Any]] = {code[0]: pickle._Unpickler.dispatch[code[0]] for code in OPCODES}
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise ValueError(f"it asks for {module}.{name}, which no checkpoint of vaecli does"[:120])
        return KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        _, dtype, key, _, numel = pid
        return Storage(key, dtype, numel)

    def _long(self) -> None:
        length = self.read(1)[0]
        if length > 8:  # longer ones could be made to collide as keys
            raise ValueError("a whole number of more than 64 bits")
        self.append(pickle.decode_long(self.read(length)))

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._insert([key, value])

    def _set_items(self) -> None:
        self._insert(self.pop_mark())

    def _insert(self, items: list[Any]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int) or type(self.stack[-1]) is not dict:
                raise ValueError("a key that is neither text nor a number")
            self.stack[-1][key] = value

    def _ignore_attributes(self) -> None:
        self.stack.pop()  # the version numbers that a state_dict carries along

    dispatch |= {
        pickle.LONG1[0]: _long,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.BUILD[0]: _ignore_attributes,
    }


def read(path: Path) -> Any:
    """The plain containers and tensors of an archive that torch.save wrote; any exception for what is not one.

    Dicts come back as plain dicts, tensors on the CPU; tensors that shared their memory share it again.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        records = _records(archive, size)
        order = archive.read(records["byteorder"]).decode() if "byteorder" in records else sys.byteorder
        if order != sys.byteorder:
            raise ValueError(f"written on a machine of another byte order ({order[:10]})")
        if records["data.pkl"].file_size > LARGEST_PICKLE:
            raise ValueError(f"more than {LARGEST_PICKLE} bytes of names and settings")
        tree = _Unpickler(io.BytesIO(archive.read(records["data.pkl"]))).load()
        return _Reader(archive, records, 4 * size).plain(tree)


def _records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The archive's records by their names below its folder; ValueError where they claim more than the file holds."""
    entries = archive.infolist()
    if any(e.compress_type != zipfile.ZIP_STORED or e.compress_size != e.file_size for e in entries):
        raise ValueError("its contents are compressed, which those of a checkpoint never are")
    if sum(e.file_size for e in entries) > size:
        raise ValueError("its contents claim to be larger than the file")
    found = {e.filename.partition("/")[2]: e for e in entries}
    if len(found) < len(entries):
        raise ValueError("it holds two records of the same name")
    return found


class _Reader:
    """Turns what the pickle describes into plain containers and tensors, within limits."""

    def __init__(self, archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo], most_bytes: int) -> None:
        self.archive, self.records = archive, records
        self.values_left, self.bytes_left = MOST_VALUES, most_bytes
        self.storages: dict[str, Tensor] = {}

    def plain(self, value: Any, depth: int = 0) -> Any:
        """A copy of `value`; counts what is shared as often as it is met, so that little cannot stand for much."""
        self.values_left -= 1
        if self.values_left < 0 or depth > DEEPEST:
            raise ValueError("too many values, or too deeply nested")
        if type(value) is dict:
            return {key: self.plain(item, depth + 1) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.plain(item, depth + 1) for item in value)
        if type(value) is View:
            return self.tensor(value)
        if type(value) not in PLAIN:
            raise ValueError("something that is neither a plain value nor a tensor")
        return value

    def tensor(self, view: View) -> Tensor:
        storage = self.storage(view.storage)
        if not (_sizes(view.size) and _sizes(view.stride) and _sizes((view.offset,))):
            raise ValueError("a tensor of no valid shape")
        numel = math.prod(view.size)
        last = view.offset + sum((n - 1) * step for n, step in zip(view.size, view.stride, strict=True))
        if numel and (last >= len(storage) or numel > len(storage)):
            raise ValueError("a tensor that is larger than its contents")
        self.bytes_left -= numel * storage.element_size()
        if self.bytes_left < 0:
            raise ValueError("tensors that are larger than the file")
        return storage.as_strided(view.size, view.stride, view.offset if numel else 0)

    def storage(self, described: Any) -> Tensor:
        """All numbers of a record, (numel,)."""
        if type(described) is not Storage or type(described.key) is not str or described.dtype not in DTYPES.values():
            raise ValueError("a tensor without contents")
        entry, dtype = self.records[f"data/{described.key}"], described.dtype
        if type(described.numel) is not int or described.numel * dtype.itemsize != entry.file_size:
            raise ValueError("a tensor that claims another size than its contents have")
        if described.key not in self.storages:
            self.storages[described.key] = self.contents(entry)
        return self.storages[described.key].view(dtype)

    def contents(self, entry: zipfile.ZipInfo) -> Tensor:
        """The bytes of a record; zipfile compares them with their CRC."""
        buffer = torch.empty(entry.file_size, dtype=torch.uint8)
        room, start = memoryview(buffer.numpy().data), 0
        try:
            with self.archive.open(entry) as file:
                while part := file.read(CHUNK):
                    room[start : start + len(part)] = part
                    start += len(part)
        except zipfile.BadZipFile:
            raise ValueError("its contents do not match their checksum; use another checkpoint") from None
        if start != entry.file_size:
            raise ValueError("it ends too early")
        return buffer


def _sizes(values: Any) -> bool:
    return type(values) is tuple and len(values) <= 16 and all(type(n) is int and 0 <= n < 2**62 for n in values)
