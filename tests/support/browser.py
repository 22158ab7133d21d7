"""A headless Chromium that reads pages of `vae explore`, and the server that serves them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip
SHOTS = Path(__file__).parents[2] / "build" / "explore"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
BOX = """const view = Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name(arguments[0]));
const r = view.el.getBoundingClientRect(), f = view.frame.bbox;
return [r.left + f.left, r.top + f.top, f.width, f.height];"""
PRESS = """for (const v of Bokeh.index.query((v) => v.model.type == "Button" && v.model.label == arguments[0]))
  v.el.shadowRoot.querySelector("button").click();"""
CHOOSE = """for (const v of Bokeh.index.query((v) => v.model.type == "RadioButtonGroup"))
  v.model.active = v.model.labels.indexOf(arguments[0]);"""
CODES = """const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [
  ...(e.tagName == "CODE" ? [e.textContent] : []), ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
return all(document);"""
MODELS = "const all = (type) => [...Bokeh.documents[0].all_models].filter((m) => m.type == type);"
TEXT = """const texts = (root) => [...root.querySelectorAll("*")].map((e) => e.shadowRoot ?
  [...e.shadowRoot.childNodes].filter((n) => n.nodeName != "STYLE").map((n) => n.textContent).join(" ") +
  texts(e.shadowRoot) : "").join(" "); return document.body.innerText + texts(document);"""

# From the time stamp of the mouse's event until the frame with its picture is drawn.
WATCH = """
const v = window.vae, want = v.want, times = v.times = [], channel = new MessageChannel();
document.addEventListener("pointermove", (event) => { v.pointer = event.timeStamp; }, {capture: true});
v.want = (what) => { what.at = v.pointer; want(what); };
const started = [];
channel.port1.onmessage = () => { times.push(performance.now() - started.shift()); };
Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name("decoding")).repainted.connect(() => {
  if (v.answered?.at) { started.push(v.answered.at); v.answered = null; channel.port2.postMessage(0); } });"""


class Browser:
    """A page in a browser."""

    def __init__(self, address: str, width: int = 1280, height: int = 1700, offline: bool = False,
                 dark: bool = False, ready: bool = True) -> None:  # fmt: skip
        from selenium import webdriver

        self.seen: list[str] = []  # errors and warnings of the console
        self.folder = tempfile.mkdtemp(prefix="vaecli-browser-")
        self.downloads = Path(self.folder, "downloads")
        options = webdriver.ChromeOptions()
        for flag in (*FLAGS, f"--user-data-dir={self.folder}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.add_experimental_option(
            "prefs",
            {
                "download.default_directory": str(self.downloads),
                "profile.default_content_setting_values.automatic_downloads": 1,
            },
        )
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        if dark:
            scheme = {"name": "prefers-color-scheme", "value": "dark"}
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        if width < 500:  # a window cannot be as narrow as a phone
            screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        if offline:
            self.driver.execute_cdp_cmd("Network.enable", {})
            self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, "latency": 0,
                                        "downloadThroughput": 0, "uploadThroughput": 0})  # fmt: skip
        self.driver.get(address)
        if ready:
            self.ready()

    def ready(self) -> None:
        """Wait until the page shows its first decoding."""
        self.wait("return !!(window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle)")
        self.wait("return window.vae?.answers > 0 || !!window.vaeShow", 60)
        self.rest()

    def rest(self) -> None:
        """Wait until no question is open, and what follows an answer is done."""
        self.wait("return !window.vae || !window.vae.busy")
        time.sleep(0.4)

    def wait(self, script: str, seconds: float = 20) -> None:
        """Until a script returns something true."""
        end = time.monotonic() + seconds
        while not self.driver.execute_script(script):
            assert time.monotonic() < end, f"{script} is still not true after {seconds} s"
            time.sleep(0.05)

    def js(self, script: str, *args: Any) -> Any:
        return self.driver.execute_script(script, *args)

    def text(self) -> str:
        """All that the page says, in its widgets too."""
        return str(self.js(TEXT))

    def says(self, text: str, seconds: float = 20) -> None:
        """Wait until the page says a text."""
        end = time.monotonic() + seconds
        while text not in (said := self.text()):
            assert time.monotonic() < end, f"{text!r} is not in {said!r}"
            time.sleep(0.1)

    def downloaded(self, name: str) -> Path:
        """A file that the page has handed out."""
        end, path = time.monotonic() + 20, self.downloads / name
        while not path.is_file():
            assert time.monotonic() < end, f"{name} is not among {list(self.downloads.glob('*'))}"
            time.sleep(0.1)
        return path

    def drag(self, name: str, places: Sequence[tuple[float, float]]) -> None:
        """Drag over a figure, along places from (0, 0), its upper left, to (1, 1); a single place is a click."""
        from selenium.webdriver.common.action_chains import ActionChains

        x, y, width, height = self.js(BOX, name)
        actions = ActionChains(self.driver, duration=20)
        pointer = actions.w3c_actions.pointer_action
        at = [(int(x + width * u), int(y + height * v)) for u, v in places]
        pointer.move_to_location(*at[0])
        pointer.pointer_down()
        for place in at[1:]:
            pointer.move_to_location(*place)
        pointer.pointer_up()
        actions.perform()
        self.rest()

    def press(self, label: str) -> None:
        """Press the button with this label."""
        self.js(PRESS, label)
        self.rest()

    def press_choice(self, label: str) -> None:
        """Choose one of several buttons."""
        self.js(CHOOSE, label)
        time.sleep(0.2)
        self.rest()

    def codes(self) -> list[str]:
        """The command lines on the page."""
        return list(self.js(CODES))

    def errors(self) -> list[str]:
        """What the console has reported as an error or a warning."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, path: Path) -> None:
        """A screenshot; the console must be free of errors so far (later ones tell that the server has ended)."""
        self.seen += self.errors()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))

    def whole(self, path: Path) -> None:
        """A screenshot of the whole page, however long."""
        height = int(self.js("return document.documentElement.scrollHeight"))
        if (width := int(self.js("return window.innerWidth"))) < 500:
            screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        else:
            self.driver.set_window_size(self.driver.get_window_size()["width"], height + 160)
        time.sleep(0.5)
        self.picture(path)

    def close(self) -> None:
        self.driver.quit()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def explored(*words: str, cwd: Path) -> Iterator[str]:
    """The address of a page that `vae explore` serves; ends it as Ctrl-C does, with exit code 0."""
    command = [sys.executable, "-u", "-m", "vaecli", "explore", "open=false", *words]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            break
    else:
        raise AssertionError("".join(lines))
    try:
        yield found.group()
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)
        assert process.returncode == 0, said
        assert "Traceback" not in str(said)


def installed() -> bool:
    """Whether there is a browser to drive."""
    return shutil.which("chromedriver") is not None and any(shutil.which(name) for name in CHROMIUM)
