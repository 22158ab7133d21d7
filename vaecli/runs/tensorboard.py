"""TensorBoard's event file of a run: written without a thread of its own, and rewound to an earlier epoch.

Not torch's SummaryWriter(purge_step=...): after a kill while test figures are written, TensorBoard's Python reader
shows them twice, and a run that is trained further keeps its earlier test figures.
"""

from __future__ import annotations

import io
import os
import socket
import struct
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from vaecli.runs.folder import RunFolder
from vaecli.runs.names import EVENTS
from vaecli.utils.errors import UserError
from vaecli.utils.files import AppendedFile, replace_bytes
from vaecli.utils.memory import check_memory

# TensorBoard sorts cards by their tags: the terms of the bound (train/, val/) come before these.
VIEW_TAG, WHOLE_RUN_TAG = "view/", "whole_run/"
WRITTEN_AGAIN = (  # tags written at a run's beginning and end, and their names in earlier versions
    "config", "_hparams_", f"{VIEW_TAG}data", f"{VIEW_TAG}curves", f"{WHOLE_RUN_TAG}test", f"{WHOLE_RUN_TAG}best",
    "data", "curves", "test", "best/",
)  # fmt: skip


class EventFile(AppendedFile):
    """Appends to the run's one event file, creating it if there is none; flushed events survive a crash."""

    def __init__(self, folder: RunFolder) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard import summary

        self.event, self.proto, self.make = Event, Summary, summary
        path = folder.events[-1] if folder.events else new_path(folder)
        if not path.exists() or path.stat().st_size == 0:
            replace_bytes(path, in_records(beginning()))
        super().__init__(path, buffered=True)
        self.records = RecordWriter(self)

    def scalar(self, tag: str, value: float, step: int) -> None:
        self.add(self.make.scalar(tag, value), step)

    def histogram(self, tag: str, values: Tensor, step: int) -> None:
        self.add(self.make.histogram(tag, values.cpu().numpy(), "auto"), step)

    def image(self, tag: str, png: bytes, height: int, width: int, step: int) -> None:
        image = self.proto.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        self.add(self.proto(value=[self.proto.Value(tag=tag, image=image)]), step)

    def text(self, tag: str, markdown: str) -> None:
        self.add(self.make.text(tag, markdown), 0)

    def hparams(
        self, values: dict[str, bool | int | float | str], metrics: dict[str, float], first: Collection[str] = ()
    ) -> None:
        """The settings and the final figures, whose names are shown without the prefix of their tags.

        first: the settings that the page shows first; it shows five of them, and sorts the others by name
        """
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        experiment, *session = self.make.hparams(values, metrics)
        plugin = experiment.value[0].metadata.plugin_data
        content = HParamsPluginData.FromString(plugin.content)
        for metric in content.experiment.metric_infos:
            metric.display_name = metric.name.tag.rpartition("/")[2]
        for setting in content.experiment.hparam_infos:
            setting.differs = setting.name in first
        plugin.content = content.SerializeToString()
        for part in (experiment, *session):
            self.add(part, 0)

    def add(self, summary: Any, step: int) -> None:
        """Add a protocol buffer that torch.utils.tensorboard.summary has made."""
        event = self.event(wall_time=time.time(), step=step, summary=summary)
        self.records.write(event.SerializeToString())


def new_path(folder: RunFolder) -> Path:
    """A file name that sorts after those of the folder's event files, because TensorBoard reads them in this order."""
    name = EVENTS.replace("*", f"{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.0")
    return folder / max([name, *(f"{path.name}.1" for path in folder.events)])


def in_records(serialised: Iterable[bytes]) -> bytes:
    """The content of an event file that holds these serialised events."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    writer = RecordWriter(content)
    for event in serialised:
        writer.write(event)
    return content.getvalue()


def beginning() -> list[bytes]:
    """The first events of a file, which make a running TensorBoard discard what it read from the run's other files."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    now = time.time()
    start = Event(wall_time=now, step=0, session_log=SessionLog(status=SessionLog.START))
    return [event.SerializeToString() for event in (Event(wall_time=now, file_version="brain.Event:2"), start)]


def rewind(folder: RunFolder, epoch: int) -> None:
    """Remove the events after `epoch`, those that will be written again, and events that a crash cut off or doubled.

    The others go into a new file; a running TensorBoard continues with it, since the old one is then empty.
    """
    paths = folder.events
    if not paths:
        return
    rewound = new_path(folder)
    kept: dict[tuple[int, str], bytes] = {}  # in order; an event replaces an earlier one of the same tag and step
    for path in paths:
        for key, record in events(path):
            step, tag = key
            if step <= epoch and not tag.startswith(WRITTEN_AGAIN):
                kept[key] = record
    replace_bytes(rewound, in_records([*beginning(), *kept.values()]))
    replace_bytes(paths[-1], b"")
    for path in paths[:-1]:
        path.unlink()


def events(path: Path) -> Iterator[tuple[tuple[int, str], bytes]]:
    """The whole events of a file that have a value, each as ((step, tag), serialised event)."""
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    try:
        check_memory(3 * path.stat().st_size, str(path), "remove it; TensorBoard's curves then start again")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    place = 0
    while place + 12 <= len(content):  # length, its checksum, the event, its checksum
        (length,) = struct.unpack_from("<Q", content, place)
        record = content[place + 12 : place + 12 + length]
        place += 12 + length + 4
        if place > len(content):
            return
        try:
            event = Event.FromString(record)
        except DecodeError:
            return
        if event.summary.value:
            yield (event.step, event.summary.value[0].tag), record
