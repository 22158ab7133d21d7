"""What TensorBoard's page shows of runs: by its data server, or by its reader in Python (as with --load_fast=false)."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.data.server_ingester import SubprocessServerDataIngester, get_server_binary
from tensorboard.util.grpc_util import ChannelCredsType

Points = dict[str, Counter[tuple[str, int]]]  # by run: how often each tag and step is shown
Display = Callable[[], Points]
PLUGINS = {"scalars": "read_scalars", "text": "read_tensors", "histograms": "read_tensors", "images": "read_blob_sequences"}  # fmt: skip  # noqa: E501


def shown(provider: Any) -> Points:
    found: Points = {}
    for plugin, read in PLUGINS.items():
        runs = getattr(provider, read)(RequestContext(), experiment_id="", plugin_name=plugin, downsample=10_000)
        for run, tags in runs.items():
            found.setdefault(run, Counter()).update((tag, one.step) for tag, data in tags.items() for one in data)
    return found


@contextmanager
def in_python(folder: Path) -> Iterator[Display]:
    """A display of the runs in a folder, which looks at their files each time."""
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    files = EventMultiplexer()

    def display() -> Points:
        files.AddRunsFromDirectory(str(folder))
        files.Reload()
        return shown(MultiplexerDataProvider(files, str(folder)))

    yield display


@contextmanager
def by_the_server(folder: Path) -> Iterator[Display]:
    """The same by a process of its own, which looks at the files each second."""
    every = dict.fromkeys(("scalars", "images", "histograms", "text"), 0)
    server = SubprocessServerDataIngester(
        get_server_binary(), str(folder), reload_interval=1, channel_creds_type=ChannelCredsType.LOCAL,
        samples_per_plugin=every,
    )  # fmt: skip
    server.start()
    yield lambda: shown(server.data_provider)
    server._stdin_handle.close()  # it ends with its input


def waited_for(expected: Points, display: Display) -> Points:
    """What is shown as soon as it is as expected, or after 20 seconds."""
    give_up = time.monotonic() + 20
    while (found := display()) != expected and time.monotonic() < give_up:
        time.sleep(0.2)
    return found
