"""Serves the page of `vae explore` to this machine alone, until Ctrl-C."""

from __future__ import annotations

import errno
import logging
import signal
import sys
import webbrowser
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import Server

from vaecli.commands._explore_cards import make_cards
from vaecli.commands._explore_page import Page
from vaecli.commands._explored import Explored
from vaecli.commands._keys import source
from vaecli.models.load import Run
from vaecli.plots.explore.look import LONGEST
from vaecli.utils.errors import UserError
from vaecli.utils.text import shorten

if TYPE_CHECKING:
    from vaecli.commands._explore_keys import Config


def serve(config: Config, runs: Sequence[Run]) -> None:
    """Serve the page of the first run, with the others beside it, until the user interrupts."""
    explored = [Explored(run, config.split, config.n, config.seed) for run in runs]
    if explored[0].missing:
        print(f"the data cannot be read ({explored[0].missing}): the map shows draws from the prior")
    for name in ("bokeh", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the page says what went wrong

    def make(document: Document) -> None:
        page = Page(explored[0])
        page.start(document, lead(config, explored[0]), make_cards(page, explored))

    server = open_server(make, config.port)
    address = f"http://127.0.0.1:{server.port}/"
    print(f"{address}   (Ctrl-C ends it)", flush=True)
    if config.open and not browse(address):
        print("no browser was found: open the address by hand")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.io_loop.add_callback_from_signal(server.io_loop.stop))
    server.io_loop.start()
    server.stop()
    sys.stdout.flush()


def open_server(make: Callable[[Document], None], port: int | None) -> Server:
    """A server of the page on 127.0.0.1; UserError if the port is taken."""
    app = Application(FunctionHandler(make))
    settings = {"address": "127.0.0.1", "check_unused_sessions_milliseconds": 5000,
                "unused_session_lifetime_milliseconds": 20000}  # fmt: skip
    try:
        server = Server({"/": app}, port=port or 0, **settings)
    except OSError as error:
        taken = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror or error})"
        raise UserError(f"port={port}: {taken}; give another one, or leave it out") from None
    hosts = {f"{host}:{server.port}" for host in ("127.0.0.1", "localhost")}
    server._tornado._websocket_origins = hosts  # known only once the port is
    server.start()
    return server


def browse(address: str) -> bool:
    """Open the browser; whether there is one."""
    try:
        return webbrowser.open(address)
    except (webbrowser.Error, OSError):
        return False


def lead(config: Config, explored: Explored) -> str:
    """The sentence at the top of the page: what is shown."""
    n = len(explored.codes)
    if explored.split is None:
        return f"{n:,} draws from the prior of {shorten(source(explored.run), LONGEST)}, as its data cannot be read."
    of = "" if n == explored.total else f"the first {n:,} of {explored.total:,} "
    return (f"The codes of {of or f'{n:,} '}{config.split} observations of {shorten(source(explored.run), LONGEST)}. "
            "Drag the point, or click a dot.")  # fmt: skip
