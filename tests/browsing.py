"""The manual in a browser: how it is built, served and watched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

ROOT = Path(__file__).parent.parent
REQUIRED = "QDQDOC_BROWSER" in os.environ
NAMES = ("chromium", "chromium-browser", "google-chrome")
Count = Callable[[str, int], None]
WIDE, NARROW, HEIGHT = 1400, 390, 900


@dataclass(frozen=True)
class Manual:
    """A built manual and the address under which it is served."""

    root: Path
    address: str

    def pages(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*.html"))


@dataclass
class Opened:
    """A page of the browser, and everything that must not happen in it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    requests: int = 0


def missing(what: str) -> None:
    """Skip, or fail where the browser is what the run is for."""
    reason = f"{what} is missing: tox -e browser has the driver, apt-get install chromium the rest"
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


def build(folder: Path) -> Path:
    out = folder / "html"
    command = [sys.executable, "-m", "sphinx", "-c", ".", "-n", "-W", "--keep-going", "-q"]
    command += ["-b", "html", "-d", str(folder / "doctrees"), "source", str(out)]
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


def watch(context: BrowserContext, manual: Manual) -> Opened:
    """Open a page that keeps what is complained of and asks nobody else."""
    held = Opened(context.new_page())

    def asked(route: Any) -> None:  # noqa: ANN401 - the driver may be missing
        held.requests += 1
        if route.request.url.startswith((manual.address, "data:", "blob:")):
            route.continue_()
        else:
            held.strangers.append(route.request.url)
            route.abort()

    def said(message: Any) -> None:  # noqa: ANN401
        if message.type in {"error", "warning"}:
            held.complaints.append(f"{message.text} {message.location.get('url', '')}")

    held.page.route("**/*", asked)
    held.page.on("console", said)
    held.page.on("pageerror", lambda error: held.complaints.append(str(error)))
    held.page.on("requestfailed", lambda request: held.complaints.append(request.url))
    return held
