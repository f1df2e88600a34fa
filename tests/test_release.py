"""What is released: the files, their metadata, and that they work where nothing else is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from guide_models import depthwise
from packaging.metadata import Metadata
from test_house_files import files

import qdqdoc
from qdqdoc.guide import write_guide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GUIDE_SECONDS = 60
OF_THE_DISTRIBUTION = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
NOT_IN_THE_SDIST = {".gitignore"}
KERNELS = """
import sys
import numpy as np
from qdqdoc.operators import OPERATORS, quantize_linear
codes = quantize_linear(np.float32([0.25, 0.75, 1000]), np.float32(0.5), np.int8(1))
assert codes.tolist() == [1, 3, 127]
assert not {"onnx", "sphinx", "onnxruntime"} & sys.modules.keys()
print(len(OPERATORS))
"""

released = pytest.mark.skipif(
    find_spec("build") is None, reason="the environment `release` has the package build"
)


def citation() -> Mapping[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    return found


def test_the_citation_is_that_of_the_package() -> None:
    found = citation()
    assert found["version"] == qdqdoc.__version__
    assert found["license"] == PROJECT["license"]
    assert [author["name"] for author in found["authors"]] == [
        a["name"] for a in PROJECT["authors"]
    ]
    assert found["title"].partition(":")[0] == PROJECT["name"]


def test_the_citation_has_what_its_format_demands() -> None:
    """Citation File Format 1.2.0: these four must be there, and nothing of another name."""
    found = citation()
    assert {"cff-version", "message", "title", "authors"} <= found.keys()
    assert found["cff-version"] == "1.2.0"
    assert found["type"] in {"software", "dataset"}
    more = {"type", "abstract", "version", "license", "keywords", "date-released", "doi", "url"}
    assert found.keys() <= {"cff-version", "message", "title", "authors", *more}
    assert all(isinstance(found[key], str) for key in found.keys() - {"authors", "keywords"})


def test_the_changelog_knows_the_version_or_what_comes() -> None:
    heads = re.findall(r"(?m)^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert heads[0] == "Unreleased" or heads[0].startswith(qdqdoc.__version__)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_there_is(path: Path) -> None:
    text = path.read_text("utf-8")
    flow = yaml.safe_load(text)
    jobs = flow["jobs"]
    assert flow["permissions"] == {"contents": "read"}, "a job that needs more says so itself"
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    assert all(set(needed(job)) <= jobs.keys() for job in jobs.values())
    tox = (ROOT / "tox.ini").read_text("utf-8")
    for name in re.findall(r"tox -e ([\w-]+)", text):
        assert f"[testenv:{name}]" in tox
    for python in (
        job.get("strategy", {}).get("matrix", {}).get("python") for job in jobs.values()
    ):
        assert python in (None, supported())


def needed(job: Mapping[str, Any]) -> Sequence[str]:
    found = job.get("needs", [])
    return [found] if isinstance(found, str) else list(found)


def supported() -> list[str]:
    known = [re.fullmatch(r".* :: (3\.\d+)", line) for line in PROJECT["classifiers"]]
    return [match[1] for match in known if match]


def test_it_is_published_after_all_checks_without_a_password() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8"))[
        "jobs"
    ]
    assert set(needed(jobs["publish"])) == {"check", "install"}
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert not [step for step in jobs["publish"]["steps"] if step.get("with", {}).get("password")]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build wheel and sdist, or take those that are to be published."""
    if given := os.environ.get("QDQDOC_DIST"):
        return Path(given)
    made = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--outdir", str(made), str(ROOT)], ROOT)
    return made


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def run(command: Sequence[str], folder: Path, *, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would, who has no checkout."""
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME"}}
    done = subprocess.run(  # noqa: S603 - the commands stand in these tests
        command, cwd=folder, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@released
def test_the_wheel_holds_what_users_need_and_nothing_else(dist: Path) -> None:
    with zipfile.ZipFile(only(dist, "*.whl")) as wheel:
        found = set(wheel.namelist())
    places = {"qdqdoc/": "qdqdoc/", "source/": "qdqdoc/guide/manual/source/"}
    names = [path.relative_to(ROOT).as_posix() for path in files()]
    expected = {
        place + name.removeprefix(start)
        for name in names
        for start, place in places.items()
        if name.startswith(start)
    }
    about = f"qdqdoc-{qdqdoc.__version__}.dist-info/"
    expected |= {"qdqdoc/guide/manual/conf.py", *(about + name for name in OF_THE_DISTRIBUTION)}
    assert found == expected


@released
def test_the_sdist_holds_all_that_git_has(dist: Path) -> None:
    with tarfile.open(only(dist, "*.tar.gz")) as sdist:
        found = {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}
    names = {path.relative_to(ROOT).as_posix() for path in files()}
    assert found - {"PKG-INFO"} | NOT_IN_THE_SDIST == names | NOT_IN_THE_SDIST


@released
def test_the_metadata_is_complete(dist: Path) -> None:
    with zipfile.ZipFile(only(dist, "*.whl")) as wheel:
        raw = wheel.read(f"qdqdoc-{qdqdoc.__version__}.dist-info/METADATA")
    found = Metadata.from_email(raw, validate=True)
    assert (found.name, str(found.version)) == ("qdqdoc", qdqdoc.__version__)
    assert found.license_expression == PROJECT["license"]
    assert found.license_files == ["LICENSE"]
    assert found.description_content_type == "text/markdown"
    assert (found.description or "").startswith("# qdqdoc")
    assert found.summary
    assert found.author
    assert found.keywords
    assert all(python in str(found.classifiers) for python in supported())
    assert set(found.provides_extra or ()) == PROJECT["optional-dependencies"].keys()


@pytest.fixture(scope="module")
def home(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an empty environment and install the wheel, first without any extra."""
    folder = tmp_path_factory.mktemp("home")
    venv.create(folder / "env", with_pip=True)
    run([python(folder), "-m", "pip", "install", "-q", str(only(dist, "*.whl"))], folder)
    return folder


def python(folder: Path) -> str:
    return str(folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python")


def command(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    return run([python(folder), "-m", "qdqdoc", *arguments], folder, code=code)


@released
def test_an_empty_environment_has_kernels_and_says_what_is_missing(home: Path) -> None:
    assert int(run([python(home), "-c", KERNELS], home).stdout) > 0
    assert qdqdoc.__version__ in command(home, "--version").stdout
    assert "wrote" in command(home, "conformance", "-o", "pack").stdout
    (home / "m.onnx").write_bytes(b"")
    for line in (
        "extract needs onnx: pip install 'qdqdoc[extract]'",
        "guide needs sphinx: pip install 'qdqdoc[manual]'",
    ):
        name = line.partition(" ")[0]
        done = command(home, name, "m.onnx", "-o", "made", code=2)
        assert done.stderr == f"qdqdoc: error: {line}\n"


@released
def test_the_front_door_works_without_a_checkout(dist: Path, home: Path) -> None:
    wheel = f"{only(dist, '*.whl')}[manual]"
    run([python(home), "-m", "pip", "install", "-q", wheel], home)
    depthwise(home / "net.onnx")
    began = time.monotonic()
    done = command(home, "guide", "net.onnx", "-o", "guide")
    assert time.monotonic() - began < GUIDE_SECONDS
    assert done.stdout == f"wrote {Path('guide', 'index.html')}\n"
    assert done.stderr == ""
    command(home, "extract", "net.onnx", "-o", "net.json")
    assert "QuantizeLinear" in command(home, "annotate", "net.json").stdout
    assert json.loads((home / "net.json").read_text("utf-8"))["summary"]["total_nodes"] > 0
    # The same pages as those of the checkout: there is one copy of each.
    write_guide(home / "net.onnx", home / "ours")
    ours, theirs = (
        {p.relative_to(d): p for p in d.rglob("*.html")} for d in (home / "ours", home / "guide")
    )
    assert ours.keys() == theirs.keys()
    assert not [name for name in ours if ours[name].read_bytes() != theirs[name].read_bytes()]
    shutil.rmtree(home / "ours")
