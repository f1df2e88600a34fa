"""The architecture guide for anybody's model, from an installed package.

The pages are those of the manual: its own guide is this one, made for the running example.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qdqdoc import __version__
from qdqdoc.guide.building import Job
from qdqdoc.guide.errors import GuideError
from qdqdoc.guide.folder import expect_ours, move, record, workshop
from qdqdoc.guide.pages import manual
from qdqdoc.sphinxext.scope import read_model

if TYPE_CHECKING:
    import os

    from qdqdoc.guide.building import Progress

__all__ = ["PDF", "GuideError", "write_guide"]

PDF = "guide.pdf"
FOR_ANOTHER_RUN = ".buildinfo"


def _silent(done: int, total: int) -> None:
    del done, total


def _tidy(made: Path) -> None:
    """Remove what Sphinx leaves for its next run, and folders in which it has put nothing."""
    (made / FOR_ANOTHER_RUN).unlink(missing_ok=True)
    for folder in [path for path in made.iterdir() if path.is_dir() and not any(path.iterdir())]:
        folder.rmdir()


def write_guide(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    pdf: bool = False,
    progress: Progress = _silent,
) -> list[Path]:
    """Write the guide of a model as a folder of HTML pages; return what to open.

    Parameters
    ----------
    model
        An ONNX model, or its operations document (JSON).
    folder
        New, empty, or with a guide, which is replaced when the new one is complete.
    pdf
        Whether the same pages are also written as one PDF, into the folder.
    progress
        Is told how many steps are done, of how many.

    Raises
    ------
    GuideError
        If the folder holds anything else, or the pages cannot be made.
    QdqdocError
        If the model cannot be read.
    """
    source, target = Path(model), Path(folder).resolve()
    expect_ours(target)
    document = read_model(source)
    with workshop(target) as shop:
        job = Job(model=source, document=document, pages=manual(), folder=shop, progress=progress)
        job.write()
        made = job.build("html")
        if pdf:
            (printed,) = job.build("pdf").glob("*.pdf")
            printed.replace(made / PDF)
        _tidy(made)
        about = {"qdqdoc": __version__, "model": document.model_path}
        record(made, {**about, "model_sha256": document.model_sha256})
        move(made, target)
    return [target / "index.html", *([target / PDF] if pdf else [])]
