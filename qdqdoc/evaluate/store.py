"""A folder that remembers which batches are done, so that a run that was killed can continue."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdqdoc.evaluate.errors import EvaluateError
from qdqdoc.evaluate.reading import counts_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdqdoc.evaluate.answer import Counts
    from qdqdoc.evaluate.settings import Settings

SETTINGS, PARTS, RESULT = "settings.json", "parts", "evaluation.json"
SHORT = 60
"""A setting that is spelled longer than this is only named."""


class Store:
    """The counts of each batch, one file each, each with its sha256 and the run that it is of."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.fingerprint = settings.fingerprint
        self._expect_own()

    def _expect_own(self) -> None:
        """Refuse a folder that holds anything but this run."""
        if self.folder.exists() and not self.folder.is_dir():
            raise EvaluateError(f"{self.folder}: is a file, expected a folder")
        if not self.folder.parent.is_dir():
            raise EvaluateError(f"{self.folder}: there is no such folder to make it in")
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            return
        held = _settings(self.folder / SETTINGS)
        if held.get("fingerprint") != self.fingerprint:
            found, here = held.get("settings"), self.settings.plain()
            why = _difference(found if isinstance(found, dict) else {}, here)
            raise EvaluateError(f"{self.folder}: holds another evaluation: {why}; choose another")

    def path(self, number: int) -> Path:
        """Return where the counts of a batch are."""
        return self.folder / PARTS / f"batch-{number:06}.json"

    def load(self, number: int) -> Counts | None:
        """Return the counts of a batch that was done; ``None`` if it has to be done.

        Raises
        ------
        EvaluateError
            For a file that is there and is damaged.
        """
        path = self.path(number)
        try:
            held = json.loads(path.read_text("utf-8"))
            text = _spelled(held["part"])
            sound = sha256(text.encode()).hexdigest() == held["sha256"]
            known = held["part"]["run"] == self.fingerprint and held["part"]["batch"] == number
            if sound and known:
                return counts_from(held["part"]["counts"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            sound = known = False
        reason = "is of another run" if sound and not known else "is damaged"
        raise EvaluateError(f"{path}: {reason}")

    def keep(self, number: int, counts: Counts) -> None:
        """Write the counts of a batch."""
        part = {"run": self.fingerprint, "batch": number, "counts": asdict(counts)}
        text = _spelled(part)
        if not self.path(number).parent.is_dir():
            self._begin()
        digest = sha256(text.encode()).hexdigest()
        write(self.path(number), f'{{"sha256": "{digest}",\n"part": {text}}}\n')

    def _begin(self) -> None:
        self.folder.mkdir(exist_ok=True)
        held = {"fingerprint": self.fingerprint, "settings": self.settings.plain()}
        write(self.folder / SETTINGS, json.dumps(held, indent=1, ensure_ascii=False) + "\n")
        (self.folder / PARTS).mkdir(exist_ok=True)


def _spelled(part: Mapping[str, Any]) -> str:
    """Spell a part the same before and after it was read."""
    return json.dumps(json.loads(json.dumps(part)), sort_keys=True)


def _settings(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise EvaluateError(
            f"{path.parent}: is not empty and holds no evaluation; choose another"
        ) from None
    except (ValueError, RecursionError):
        held = None
    if not isinstance(held, dict):
        raise EvaluateError(f"{path}: is damaged; remove {path.parent}, or choose another")
    return held


def _difference(found: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Name the first setting that is another."""
    for name, value in here.items():
        if name != "model" and found.get(name) != value:
            pair = [json.dumps(each, ensure_ascii=True) for each in (found.get(name), value)]
            if all(len(each) <= SHORT for each in pair):
                return f"its {name} is {pair[0]}, here {pair[1]}"
            return f"its {name} differ"
    return "its settings were changed"


def write(path: Path, text: str) -> None:
    """Write a file, all of it or nothing."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".qdqdoc-", suffix=".part")
    except OSError as error:
        raise EvaluateError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except OSError as error:
        raise EvaluateError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()
