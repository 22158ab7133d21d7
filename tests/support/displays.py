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


def hparams_page(folder: Path, column: str) -> list[tuple[str, dict[str, Any], dict[str, float]]]:
    """The lines of the HParams page of the runs in a folder, sorted by a figure from the highest down: the run's name,
    its settings and its figures."""
    from google.protobuf.json_format import MessageToDict
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams.api_pb2 import ORDER_DESC, ColParams, ListSessionGroupsRequest, Status
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.list_session_groups import Handler

    files = EventMultiplexer()
    files.AddRunsFromDirectory(str(folder))
    files.Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(files, str(folder))))
    data = context.hparams_metadata(RequestContext(), "")
    infos = context.experiment_from_metadata(RequestContext(), "", True, data, []).metric_infos
    columns = [ColParams(metric=info.name, order=ORDER_DESC) if info.display_name == column
               else ColParams(metric=info.name) for info in infos]  # fmt: skip
    request = ListSessionGroupsRequest(
        col_params=columns, allowed_statuses=Status.values(), start_index=0, slice_size=1000
    )
    names = {info.name.tag: info.display_name for info in infos}
    return [
        (session.name, MessageToDict(group)["hparams"], {names[one.name.tag]: one.value for one in group.metric_values})
        for group in Handler(RequestContext(), context, "", request).run().session_groups
        for session in group.sessions
    ]
