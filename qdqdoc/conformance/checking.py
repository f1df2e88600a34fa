"""Whether a pack is whole: each file that it names is there with its bytes, and no other."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from qdqdoc.errors import QdqdocError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

FORMAT = "qdqdoc-conformance-1"
MANIFEST, SCHEMA, SUMS = "manifest.json", "conformance.schema.json", "SHA256SUMS"
FLOOR = 1000
"""Fewer cases than this are no pack: something was lost on the way, and that is an error."""
LARGEST = 2**28
"""A file of more bytes is none of a pack; it is not read."""


class ConformanceError(QdqdocError):
    """A pack cannot be written here, or is not whole."""


class OddFileError(Exception):
    """Something is no file that a pack has."""


def described(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and sha256 of every file of a case."""
    for part in (*entry["inputs"], *entry.get("outputs", ())):
        for one in (part, *([part["bound"]["unit"]] if "bound" in part else ())):
            for form in ("bin", "npy"):
                yield one[form]["file"], one[form]["sha256"]


def case_problems(entry: Mapping[str, Any], held: Mapping[str, bytes]) -> Iterator[str]:
    """Yield what is wrong with the files of a case, given what its folder holds.

    >>> from qdqdoc.conformance import cases, contents
    >>> entry, held = contents(next(cases()))
    >>> [*case_problems(entry, held)]
    []
    >>> held["input_0.bin"] += b"!"
    >>> [*case_problems(entry, held)] == [f"{entry['path']}/input_0.bin: found other bytes"]
    True
    """
    known = dict(described(entry))
    for name, digest in known.items():
        if name not in held:
            yield f"{entry['path']}/{name}: is missing"
        elif sha256(held[name]).hexdigest() != digest:
            yield f"{entry['path']}/{name}: found other bytes"
    for name in sorted(held.keys() - known):
        yield f"{entry['path']}/{name}: is not in the manifest"


def sums(held: Mapping[str, bytes]) -> bytes:
    """Return the lines of ``SHA256SUMS``: what ``sha256sum -c`` reads."""
    lines = (f"{sha256(content).hexdigest()}  {name}\n" for name, content in sorted(held.items()))
    return "".join(lines).encode()


def root_problems(held: Mapping[str, bytes]) -> Iterator[str]:
    """Yield what is wrong with the files beside the cases, given all that are there."""
    for name in (MANIFEST, SCHEMA, SUMS):
        if name not in held:
            yield f"{name}: is missing"
    known = {name: held[name] for name in (MANIFEST, SCHEMA) if name in held}
    if SUMS in held and held[SUMS] != sums(known):
        yield f"{SUMS}: is not that of {' and '.join(sorted(known))}"
    for name in sorted(held.keys() - {MANIFEST, SCHEMA, SUMS}):
        yield f"{name}: is not part of a pack"


def check(folder: Path, progress: Callable[[int, int], None] | None = None) -> int:
    """Read a pack and return the number of its cases.

    ``progress`` is told how many cases were read, of how many.

    Raises
    ------
    ConformanceError
        If a file is missing, has other bytes, or is none of the pack's; with the first of them.
    """
    if not folder.is_dir():
        raise ConformanceError(f"{folder}: found no folder, allowed: a pack")
    try:
        problem = next(_problems(folder, progress or (lambda _done, _of: None)), "")
        count = 0 if problem else int(json.loads((folder / MANIFEST).read_bytes())["case_count"])
    except OddFileError as error:
        problem = str(error)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        problem = f"{MANIFEST} is not as its schema says"
    if problem:
        raise ConformanceError(f"{folder}: {problem}")
    return count


def _problems(folder: Path, progress: Callable[[int, int], None]) -> Iterator[str]:
    root = _held(folder)
    yield from root_problems(root)
    manifest = json.loads(root[MANIFEST])
    cases, count = manifest["cases"], manifest["case_count"]
    if manifest["format"] != FORMAT or not FLOOR <= len(cases) == count:
        yield f"{MANIFEST}: found {len(cases)} cases, allowed: {count} of {FORMAT}"
    # The sum is that of the manifest, but who wrote both may have meant harm.
    paths = {entry["path"] for entry in cases}
    if any(".." in path or path.startswith("/") for path in paths):
        yield f"{MANIFEST}: found a path out of the folder, allowed: paths within"
    for number, entry in enumerate(cases, 1):
        place = folder / entry["path"]
        yield from case_problems(entry, _held(place) if place.is_dir() else {})
        progress(number, len(cases))
    holding = {p.parent.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    yield from (f"{path}: is not in the manifest" for path in sorted(holding - paths - {"."}))


def _held(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise OddFileError(f"{path.name} is no plain file, allowed: files and folders")
        if path.is_file():
            if path.stat().st_size > LARGEST:
                raise OddFileError(f"{path.name} is too large, allowed: {LARGEST} bytes")
            found[path.name] = path.read_bytes()
    return found
