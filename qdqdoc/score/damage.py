"""D5: every file of the conformance pack and every committed model, damaged in four ways."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING

from qdqdoc.conformance import cases, contents, frame
from qdqdoc.conformance.checking import case_problems, root_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Held = Mapping[str, bytes]

MANIFEST = "MANIFEST.json"
MODELS = ("*.onnx", "*.npz", MANIFEST)
DAMAGES = ("a bit flipped", "cut short", "deleted", "swapped with another")


def damaged(held: Held, name: str) -> Iterator[tuple[str, Held]]:
    """Yield the same files with one of them damaged, in each way that changes something.

    >>> held = {"a": b"12", "b": b"12", "c": b"3"}
    >>> [kind for kind, _ in damaged(held, "a")] == [*DAMAGES]
    True
    >>> [dict(other)["a"] for kind, other in damaged(held, "a") if kind != "deleted"]
    [b'13', b'1', b'3']
    """
    flip, cut, delete, swap = DAMAGES
    content = held[name]
    if content:
        middle = len(content) // 2
        other = bytes([content[middle] ^ 1])
        yield flip, {**held, name: content[:middle] + other + content[middle + 1 :]}
        yield cut, {**held, name: content[:-1]}
    yield delete, {key: value for key, value in held.items() if key != name}
    partner = next((key for key, value in held.items() if value != content), None)
    if partner is not None:
        yield swap, {**held, name: held[partner], partner: content}


def counted(held: Held, problems: Callable[[Held], Iterator[str]]) -> Counter[tuple[str, bool]]:
    """Count the damages to each file by whether the check has something to say."""
    found: Counter[tuple[str, bool]] = Counter()
    for name in held:
        for kind, other in damaged(held, name):
            found[kind, next(problems(other), None) is not None] += 1
    return found


def pack(progress: Callable[[int, int], None]) -> tuple[int, Counter[tuple[str, bool]]]:
    """Damage every file of the pack; return how many files there are, and the counts."""
    every = [*cases()]
    entries, files = [], 0
    found: Counter[tuple[str, bool]] = Counter()
    for number, case in enumerate(every, 1):
        entry, held = contents(case)
        entries.append(entry)
        files += len(held)
        # `check` asks the same of each case; a folder is read in its place here.
        found += counted(held, lambda other, entry=entry: case_problems(entry, other))  # type: ignore[misc] # the entry of this turn
        progress(number, len(every))
    root = frame(entries)
    return files + len(root), found + counted(root, root_problems)


def committed(folder: Path) -> dict[str, bytes]:
    """Return the models of a folder, their images and their manifest."""
    paths = {path for pattern in MODELS for path in folder.glob(pattern)}
    return {path.name: path.read_bytes() for path in sorted(paths)}


def digests(held: Held) -> dict[str, str]:
    """Return the sha256 of each file."""
    return {name: sha256(content).hexdigest() for name, content in held.items()}


def model_problems(held: Held, recorded: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the models, by the record and by their own manifest."""
    found = digests(held)
    for name in sorted({*found, *recorded}):
        if found.get(name) != recorded.get(name):
            what = "other bytes" if name in found and name in recorded else "no such file"
            yield f"{name}: found {what}, allowed: those that were recorded"
    if MANIFEST in held and found[MANIFEST] == recorded.get(MANIFEST):
        for name, entry in json.loads(held[MANIFEST])["files"].items():
            if found.get(name) != entry["sha256"]:
                yield f"{name}: is not the file that {MANIFEST} describes"


def models(folder: Path) -> tuple[int, Counter[tuple[str, bool]]]:
    """Damage every committed model; return how many files there are, and the counts."""
    held = committed(folder)
    known = digests(held)
    return len(held), counted(held, lambda other: model_problems(other, known))
