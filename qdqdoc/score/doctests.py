"""D6: every example of docstrings, README and CONTRIBUTING, run as `tox -e doctest` does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import qdqdoc
from qdqdoc.errors import QdqdocError

ROOT = Path(qdqdoc.__file__).parents[1]
TESTED = ("qdqdoc", "tests/moved.py", "README.md", "CONTRIBUTING.md")
"""What `tox -e doctest` runs."""
FAILED = re.compile(r"\d+ (?:failed|error)")
COUNTED = re.compile(r"examples: (\d+) executed, (\d+) shown")


def doctests() -> tuple[int, int]:
    """Run every example of docstrings, README and CONTRIBUTING: how many, and how many there are.

    Raises
    ------
    QdqdocError
        If one of them fails.
    """
    command = [sys.executable, "-m", "pytest", "--doctest-modules", "--least-examples", "1"]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [*command, "-q", "-p", "no:cacheprovider", *TESTED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = COUNTED.search(done.stdout)
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    # Examples that did not run turn pytest red as well: they are counted.
    if found is None or FAILED.search(lines[-1]):
        raise QdqdocError(f"examples fail: {lines[-1] if lines else done.returncode}")
    return int(found[1]), int(found[2])
