"""Serves the page of `vae explore` to this machine alone, until Ctrl-C."""

from __future__ import annotations

import errno
import gc
import logging
import os
import signal
import sys
import webbrowser
from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.resources import Resources
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from bokeh.server.util import bind_sockets
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

from vaecli.plots.explore.frame import Frame
from vaecli.plots.explore.gestures import MAX_UPLOAD
from vaecli.utils.errors import UserError

if TYPE_CHECKING:
    from vaecli.commands._explore_keys import Config
    from vaecli.commands._explore_map import Overview
    from vaecli.commands._explored import Explored

SESSIONS = {"check_unused_sessions_milliseconds": 5000, "unused_session_lifetime_milliseconds": 20000,
            "websocket_max_message_size_bytes": 2 * MAX_UPLOAD}  # fmt: skip  # an uploaded file is one message
SWITCH = 5e-4  # seconds after which a thread that imports lets the one that serves go on
FAREWELL = 1.0  # seconds in which an open page learns why there will be nothing to see


def serve(config: Config) -> None:
    """Serve the page until the user interrupts. It has its axes at once, and the rest when the runs are loaded."""
    for name in ("bokeh", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the page says what went wrong
    loading: Future[list[Explored]] = Future()
    server, address = open_server(lambda document: show(document, config, loading), config.port)
    print(f"{address}   (Ctrl-C ends it)", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.io_loop.add_callback_from_signal(server.io_loop.stop))
    Thread(target=load, args=(config, loading), daemon=True).start()
    if config.open and not browse(address):
        print("no browser was found: open the address by hand", flush=True)
    loading.add_done_callback(lambda _: server.io_loop.add_callback(end_if_failed, server, loading))
    server.io_loop.start()
    server.stop()
    sys.stdout.flush()
    if not loading.done():
        os._exit(0)  # Python would wait for the thread, which may be importing torch
    loading.result()


def load(config: Config, loading: Future[list[Explored]]) -> None:
    """Load the runs, with torch, which alone takes two seconds."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    gc.disable()  # imports make objects that stay: looking for garbage among them takes a tenth of the time
    try:
        from vaecli.commands._explored import explore

        import_module("vaecli.commands._explore_map")  # for `show`, here, where nobody waits for it
        loading.set_result(explore(config))
        import_module("vaecli.commands._explore_cards")  # with matplotlib, while the dots are drawn
    except BaseException as error:
        loading.set_exception(error)
    finally:
        sys.setswitchinterval(interval)
        gc.freeze()
        gc.enable()


def end_if_failed(server: BaseServer, loading: Future[list[Explored]]) -> None:
    """End the server if there is nothing to show."""
    if loading.exception() is None:
        import torch

        torch.set_num_threads(1)  # of this thread, where one observation is decoded at a time
    else:
        server.io_loop.call_later(FAREWELL, server.io_loop.stop)


def show(document: Document, config: Config, loading: Future[list[Explored]]) -> None:
    """Put the page together for one reader: its frame at once, the dots when the runs are loaded, then the rest."""
    frame = Frame(f"{config.folders[0].title}: its latent space", "The model and its data are being loaded.")
    frame.open(document)

    def then(act: Callable[[], None]) -> None:
        """Call `act` later, when what has changed so far has been sent."""

        def guarded() -> None:
            try:
                act()
            except Exception as error:  # a page has no terminal to say it
                frame.say("", str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")

        document.add_next_tick_callback(guarded)

    def dots() -> None:
        first, *others = loading.result()
        from vaecli.commands._explore_map import Overview

        with document.models.freeze():
            overview = Overview(first, frame)
        then(lambda: rest(overview, others))

    def rest(overview: Overview, others: list[Explored]) -> None:
        from vaecli.commands._explore_cards import fill_page

        fill_page(document, frame, overview, others)

    loading.add_done_callback(lambda _: then(dots))


class Site(BokehTornado):  # type: ignore[misc]
    """Serves those parts of Bokeh's JavaScript that the page needs, which are 1.7 of 4 MB."""

    def resources(self, absolute_url: str | bool | None = None) -> Resources:
        return super().resources(absolute_url).clone(components=["bokeh", "bokeh-widgets"])


class PromptStream(IOStream):
    """Sends all parts of a message at once; otherwise the second waits 40 ms for the first to be acknowledged."""

    def set_nodelay(self, value: bool) -> None:
        super().set_nodelay(True)  # Tornado asks for False after each request


class PromptServer(HTTPServer):
    """A server whose connections are PromptStreams."""

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        prompt = PromptStream(stream.socket)
        prompt.set_nodelay(True)
        super().handle_stream(prompt, address)


def open_server(make: Callable[[Document], None], port: int | None) -> tuple[BaseServer, str]:
    """A server of the page on 127.0.0.1, and its address; UserError if the port is taken."""
    try:
        sockets, bound = bind_sockets("127.0.0.1", port or 0)
    except OSError as error:
        taken = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror or error})"
        raise UserError(f"port={port}: {taken}; give another one, or leave it out") from None
    origins = [f"{host}:{bound}" for host in ("127.0.0.1", "localhost")]  # bokeh's own Server cannot name a free port
    address = f"http://127.0.0.1:{bound}/"
    app = Site({"/": Application(FunctionHandler(make))}, extra_websocket_origins=origins,
               absolute_url=address, **SESSIONS)  # fmt: skip
    http = PromptServer(app)
    http.add_sockets(sockets)
    server = BaseServer(IOLoop.current(), app, http)
    server.start()
    return server, address


def browse(address: str) -> bool:
    """Open the browser; whether there is one. One that draws in the terminal shows no page."""
    try:
        browser = webbrowser.get()
        if type(browser) is webbrowser.GenericBrowser:
            return False
        return browser.open(address)
    except (webbrowser.Error, OSError):
        return False
