"""Say which installed versions differ from a constraints file: python moved.py constraints.txt.

The environment "latest" installs the newest of everything. Whether that is good is for the tests
to say; this says what to look at when they fail.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator


def locked(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of each line that concerns this Python and this system.

    >>> list(locked("numpy==2.4.6  # why\\nold==1 ; python_version < '3'"))
    [('numpy', '2.4.6')]
    """
    for line in text.splitlines():
        requirement = line.partition("#")[0].strip()
        if requirement:
            one = Requirement(requirement)
            if one.marker is None or one.marker.evaluate():
                yield one.name, str(one.specifier).removeprefix("==")


def moved(text: str) -> Iterator[str]:
    """Yield a line for each package that is installed in another version."""
    for name, version in locked(text):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if found != version:
            yield f"{name}: {version} -> {found}"


def main(path: str) -> None:
    """Print what moved."""
    lines = list(moved(Path(path).read_text("utf-8")))
    sys.stdout.write("\n".join(lines or ["nothing moved"]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
