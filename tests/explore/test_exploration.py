"""What the exploring page computes, against mathematics, and its file through the command line."""

from __future__ import annotations

import http.client
import importlib
import os
import re
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from support.browser import explored
from support.command_line import Copy, forked
from support.small_runs import vae

from vaecli.analysis.exploration import Coverage, Plane, plane_of
from vaecli.plots.explore.look import CLASSES, DARK_CLASSES, LIGHT_TO_DARK, dot_colours, plain, safe
from vaecli.plots.explore.map import contours


def test_a_move_in_a_plane_changes_nothing_else() -> None:
    """The moved z has the coordinates asked for, and differs from the old one only within the plane."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(50, 5)) * [3, 2, 1, 0.5, 0.1]
    for across, up in (("z_2", "z_5"), ("PC 1", "PC 2"), ("z_1", "PC 2")):
        plane, z = plane_of(codes, across, up), rng.normal(size=5)
        moved = plane.moved(z, np.array([0.3, -1.2]))
        np.testing.assert_allclose(plane.coordinates(moved), [0.3, -1.2], atol=1e-12)
        beside = np.eye(5) - np.linalg.pinv(plane.axes) @ plane.axes
        np.testing.assert_allclose(beside @ moved, beside @ z, atol=1e-12)


def test_principal_components_have_the_largest_variances() -> None:
    """The variances of the coordinates are the largest eigenvalues of the codes' covariance."""
    codes = np.random.default_rng(1).normal(size=(400, 6)) @ np.random.default_rng(2).normal(size=(6, 6))
    at = plane_of(codes, "PC 1", "PC 2").coordinates(codes)
    eigenvalues = np.linalg.eigvalsh(np.cov(codes.T))[::-1]
    np.testing.assert_allclose(at.var(0, ddof=1), eigenvalues[:2])


def test_ellipse_of_a_gaussian() -> None:
    """Diameters of two standard deviations to each side along the eigenvectors: here 3 and 1, turned by 0.4."""
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    width, height, angle = Plane(np.eye(2), np.zeros(2)).ellipse(turn @ np.diag([9.0, 1.0]) @ turn.T)
    assert (width, height) == pytest.approx((12, 4))
    assert np.tan(angle) == pytest.approx(np.tan(0.4))


def test_places_far_from_all_codes_are_not_covered() -> None:
    codes = np.random.default_rng(0).normal(size=(800, 3))
    coverage = Coverage(codes)
    assert coverage.covers(np.zeros(3))
    assert not coverage.covers(np.full(3, 8.0))


def test_contours_enclose_their_shares() -> None:
    """Of a standard normal, the radius of the contour around half of it is sqrt(2 log 2)."""
    lines = contours(np.random.default_rng(0).normal(size=(100_000, 2)))
    radii = [np.hypot(x, y).mean() for x, y in zip(lines["xs"], lines["ys"], strict=True) if len(x) > 30]
    assert min(radii) == pytest.approx(np.sqrt(2 * np.log(2)), rel=0.05)


def test_names_are_shown_as_text() -> None:
    assert "<script>" not in safe("<script>alert(1)</script>")
    _, legend = dot_colours(np.zeros(2), 2, ["<script>alert(1)</script>"])
    assert "<script>" not in legend
    assert len(safe("x" * 10**6)) < 200
    colours, _ = dot_colours(np.arange(300.0), 300, [str(k) for k in range(300)])
    assert len(colours) == 300


def test_colours_on_a_dark_ground() -> None:
    """Each colour has one of its own there, which stands out from the ground."""
    light, dark = LIGHT_TO_DARK["light"], LIGHT_TO_DARK["dark"]
    assert len(light) == len(set(light)) == len(dark)
    assert len(set(DARK_CLASSES)) == len(CLASSES) == 20
    ground = luminance("#16181b")
    assert min((luminance(colour) + 0.05) / (ground + 0.05) for colour in dark) > 3


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    shares = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_formulas_are_shown_as_text() -> None:
    """Nothing is left of what Bokeh takes for the beginning of a formula; what a reader sees is the same."""
    assert not re.search(r"\$\$|\\[(\[]", plain(r"$$$x$$ \(a\) \[b\]"))
    assert plain(r"$$x$$").replace("\u200b", "") == "$$x$$"


def test_page_is_one_file(digits_run: Path, tmp_path: Path) -> None:
    """It loads nothing, is at most 6 MB, and tells command and error."""
    vae(tmp_path, "explore", f"run={digits_run}", "output=page.html", "n=200")
    html = (tmp_path / "page.html").read_text()
    assert len(html.encode()) <= 6_000_000
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", html)
    assert "vae explore run=" in html
    assert "own decoding by at most" in html


def test_bad_input(digits_run: Path, tmp_path: Path) -> None:
    for args, expected in ((["output=page.png"], "html"), (["port=80"], "port"), (["run=[]"], "run=[]")):
        given = [] if args[0].startswith("run=") else [f"run={digits_run}"]
        done = forked("explore", *given, *args, "open=false", cwd=tmp_path)
        assert done.returncode == 1
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


def test_an_end_while_the_run_is_loaded(digits_run: Path, tmp_path: Path) -> None:
    """Ctrl-C does not wait for the run."""
    serving = "vaecli.commands._explore_serve"
    late = Copy("explore", f"run={digits_run}", "open=false", cwd=tmp_path, before=lambda: never_loads(serving))
    while "http://" not in os.pread(late.files[0].fileno(), 1000, 0).decode():
        assert late.poll() is None
        time.sleep(0.01)
    late.send_signal(signal.SIGINT)
    _, said = late.communicate(timeout=60)
    assert (late.returncode, said) == (0, "")


def never_loads(serving: str) -> None:
    setattr(importlib.import_module(serving), "load", lambda *_: time.sleep(600))  # noqa: B010


@pytest.mark.slow
def test_served_to_this_machine_alone(digits_run: Path, tmp_path: Path) -> None:
    """Other origins are refused, a port that is taken is said to be, and Ctrl-C ends it with exit code 0."""
    with explored(f"run={digits_run}", "n=100", cwd=tmp_path) as address:
        host = address.removeprefix("http://").rstrip("/")
        port = int(host.partition(":")[2])
        codes = {}
        for origin in (f"http://{host}", f"http://localhost:{port}", "http://elsewhere.example"):
            connection = http.client.HTTPConnection(host)
            connection.request("GET", "/ws", headers={
                "Origin": origin, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": "bokeh, no-token",
            })  # fmt: skip
            codes[origin.rpartition("/")[2]] = connection.getresponse().status
            connection.close()
        assert codes["elsewhere.example"] == 403
        assert 403 not in [code for origin, code in codes.items() if origin != "elsewhere.example"]
        addresses = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), port)} - {"127.0.0.1", "::1"}
        for other in addresses:
            with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
                socket.create_connection((other, port), timeout=2)
        done = forked("explore", f"run={digits_run}", "open=false", f"port={port}", cwd=tmp_path)
        assert done.returncode == 1
        assert "is taken" in done.stderr
