"""Fixtures: one browser, the manual built once and served from this machine.

``tox -e browser`` sets ``QDQDOC_BROWSER``: then what is missing is a failure, not a reason to skip.
``QDQDOC_BUILD`` names a folder in which ``html`` is the manual, built already.
"""

from __future__ import annotations

import os
import shutil
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import HEIGHT, NAMES, REQUIRED, WIDE, Manual, Opened, Quiet, build, missing, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from browsing import Count
    from playwright.sync_api import Browser

COUNTED = "looked at in Chromium"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests: the system's, never one that is downloaded."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - it may be missing
    except ImportError:
        missing("playwright")
    if not REQUIRED and "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("several workers would each build the manual: run tox -e browser")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        missing("chromium")
    with sync_playwright() as driver:
        # In a container Chromium's own sandbox has no right to start.
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def manual(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manual]:
    """The manual, built by the command of tox, and served while the tests run."""
    del browser  # without one nothing is built
    named = os.environ.get("QDQDOC_BUILD")
    root = Path(named) / "html" if named else build(tmp_path_factory.mktemp("manual"))
    handler = partial(Quiet, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Manual(root, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()


@pytest.fixture
def opened(browser: Browser, manual: Manual) -> Iterator[Opened]:
    """A fresh page, wide and light."""
    context = browser.new_context(viewport={"width": WIDE, "height": HEIGHT})
    yield watch(context, manual)
    context.close()


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Count:
    """Note how much was looked at; a test that looked at nothing has shown nothing."""

    def note(what: str, number: int) -> None:
        assert number > 0, what
        record_property(COUNTED, [what, number])

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts = [
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == COUNTED
    ]
    if counts:
        terminalreporter.section("looked at in Chromium")
    for what, number in counts:
        terminalreporter.write_line(f"{number:>9,} {what}")
