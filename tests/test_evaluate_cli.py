"""``qdqdoc evaluate`` as people meet it, those included whose run was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from commands import command

from qdqdoc.evaluate import EvaluateError, opened
from qdqdoc.evaluate.sources import BLOCK, fingerprint

MODELS = Path(__file__).parent.parent / "models"
RESNET8 = MODELS / "resnet8_int8.onnx"
IMAGES = 10


run = command("evaluate")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(RESNET8.read_bytes())
    (tmp_path / "d.npz").write_bytes((MODELS / "test_images.npz").read_bytes())
    with np.load("d.npz") as held:
        np.save("x.npy", held["x"])
        np.save("y.npy", held["y"])
    return tmp_path


ALL = ("net.onnx", "--inputs", "x.npy", "--labels", "y.npy", "--contracts", "qdq,ort")


def test_it_prints_scores_and_layers_and_writes_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *ALL, "--batch=6", "-o", "kept", "--json", "r.json")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "net.onnx: 10 images"
    found = json.loads(Path("r.json").read_text("utf-8"))
    for score in found["scores"]:
        share = f"{100 * score['right'] / IMAGES:.2f}"
        assert f"{score['contract']:<8}  {score['right']:>5}  {share:>6}" in lines
    layers = found["agreements"][0]["layers"]
    for layer in layers:
        shown = any(line.startswith(f"{layer['layer']} ") for line in lines)
        assert shown == bool(layer["differing"])
    equal = sum(not layer["differing"] for layer in layers)
    assert f"qdq and ort: {equal} of {len(layers)} layers have equal codes," in lines
    assert lines[-2:] == ["wrote kept/evaluation.json", "wrote r.json"]
    assert Path("kept/evaluation.json").read_bytes() == Path("r.json").read_bytes()
    parts = sorted(path.name for path in (folder / "kept" / "parts").iterdir())
    assert parts == ["batch-000000.json", "batch-000001.json"]


def test_an_archive_gives_the_same_bytes_as_its_arrays(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, *ALL, "--json", "a.json")[0] == 0
    inputs = ("--inputs", "image=d.npz:x", "--labels", "d.npz:y", "--contracts", "qdq,ort")
    assert run(capsys, "net.onnx", *inputs, "--jobs", 2, "--json", "b.json")[0] == 0
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()


def test_what_is_done_is_not_done_again_and_what_is_damaged_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*ALL, "--batch=4", "-o", "kept")
    assert run(capsys, *arguments)[2] == ""
    whole = Path("kept/evaluation.json").read_bytes()
    parts = sorted((folder / "kept" / "parts").iterdir())
    text = parts[1].read_text("utf-8")
    parts[1].write_text(text.replace('"images": 4', '"images": 3', 1), "utf-8")
    parts[2].write_bytes(parts[0].read_bytes())
    before = parts[0].stat().st_mtime_ns
    code, _, err = run(capsys, *arguments)
    assert code == 0
    assert err.splitlines() == [
        "kept/parts/batch-000001.json: is damaged: done again",
        "kept/parts/batch-000002.json: is of another run: done again",
        "1 of 3 batches were done before",
    ]
    assert parts[0].stat().st_mtime_ns == before
    assert parts[1].read_text("utf-8") == text
    assert Path("kept/evaluation.json").read_bytes() == whole


@pytest.mark.parametrize("rubbish", ["", "[", "{}", "[1]", '{"part": 1, "sha256": 2}', "\x00"])
def test_rubbish_in_a_part_is_noticed(
    rubbish: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("x.npy", np.zeros((2, 32, 32, 3), np.float32))
    arguments = ("net.onnx", "--inputs", "x.npy", "-o", "kept")
    assert run(capsys, *arguments)[0] == 0
    (folder / "kept" / "parts" / "batch-000000.json").write_text(rubbish, "utf-8")
    code, out, err = run(capsys, *arguments)
    assert (code, err) == (0, "kept/parts/batch-000000.json: is damaged: done again\n")
    assert out.startswith("net.onnx: 2 images")


def more(copies: int) -> None:
    """Make the data set larger, with noise, so that a run takes a while."""
    x = np.load("x.npy")
    noise = np.random.default_rng(7).normal(0, 0.1, (copies * len(x), *x.shape[1:]))
    np.save("x.npy", (np.tile(x, (copies, 1, 1, 1)) + noise).astype(np.float32))
    np.save("y.npy", np.tile(np.load("y.npy"), copies))


def start(parts: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command in a process of its own, and wait for its first parts."""
    process = subprocess.Popen(  # noqa: S603 - the command stands here
        [sys.executable, "-m", "qdqdoc", "evaluate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(MODELS.parent)},
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len([*parts.glob("batch-*")]) < 3:
        time.sleep(0.01)
    return process


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that work for this one, where the system tells."""
    own = Path(f"/proc/{process.pid}")
    if not own.is_dir():
        return []
    children = (own / "task" / own.name / "children").read_text("utf-8").split()
    return [int(pid) for pid in children if b"LokyProcess" in command_of(int(pid))]


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def alive(pid: int) -> bool:
    try:
        return b"LokyProcess" in command_of(pid)
    except OSError:
        return False


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_was_killed_continues(
    jobs: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more(4)
    parts = folder / "kept" / "parts"
    with start(parts, *ALL, "--batch=2", "-o", "kept", f"--jobs={jobs}") as process:
        left = workers(process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert len(left) == (jobs if jobs > 1 and sys.platform == "linux" else 0)
    deadline = time.monotonic() + 60
    while any(map(alive, left)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, left))
    done = {path: path.stat().st_mtime_ns for path in parts.glob("batch-*")}
    assert 3 <= len(done) < 20
    assert not (folder / "kept" / "evaluation.json").exists()
    code, out, err = run(capsys, *ALL, "--batch=2", "-o", "kept")
    assert (code, err) == (0, f"{len(done)} of 20 batches were done before\n")
    assert {path: path.stat().st_mtime_ns for path in done} == done
    code, fresh, _ = run(capsys, *ALL, "--batch=2", "-o", "fresh")
    whole = [(folder / name / "evaluation.json").read_bytes() for name in ("kept", "fresh")]
    assert whole[0] == whole[1]
    assert out.replace("kept", "fresh") == fresh


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
def test_a_process_that_is_killed_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more(4)
    parts = folder / "kept" / "parts"
    arguments = (*ALL, "--batch=2", "-o", "kept")
    with start(parts, *arguments, "--jobs=2") as process:
        os.kill(workers(process)[0], signal.SIGKILL)
        out, err = process.communicate()
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("qdqdoc: error: a process was killed")
    code, _, err = run(capsys, *arguments)
    assert code == 0
    assert "of 20 batches were done before" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*ALL, "--batch=5"), "its batch is 4, here 5; choose another"),
        ((*ALL[:-1], "qdq", "--batch=4"), 'its contracts is ["qdq", "ort"], here ["qdq"]'),
        ((*ALL[:3], *ALL[5:], "--batch=4"), "its labels differ"),
    ],
)
def test_a_folder_of_another_run_is_refused(
    arguments: tuple[object, ...],
    message: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(capsys, *ALL, "--batch=4", "-o", "kept")[0] == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code, out, err = run(capsys, *arguments, "-o", "kept")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("qdqdoc: error: kept: holds another evaluation: ")
    assert message in err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_name_of_the_model_is_no_other_setting(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, *ALL, "-o", "kept")[0] == 0
    (folder / "net.onnx").rename("other.onnx")
    code, out, err = run(capsys, "other.onnx", *ALL[1:], "-o", "kept")
    assert (code, err) == (0, "1 of 1 batches were done before\n")
    assert out.startswith("other.onnx: 10 images")


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "Example: qdqdoc evaluate model.onnx --inputs images.npy" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--inputs", "no.npy"], "no.npy: no such file"),
        (["--inputs", "."], ".: is a directory"),
        (["--inputs", "net.onnx"], "net.onnx: not an .npy file"),
        (["--inputs", "short.npy"], "short.npy: not an .npy file of numbers"),
        (["--inputs", "long.npy"], "long.npy: found 122884 bytes of values, needed: 122880"),
        (["--inputs", "object.npy"], "object.npy: not an .npy file of numbers"),
        (["--inputs", "d.npz"], "d.npz: found no key, allowed: d.npz:x, d.npz:y"),
        (["--inputs", "d.npz:z"], "d.npz: found 'z', allowed: d.npz:x, d.npz:y"),
        (["--inputs", "bad.npz:x"], "bad.npz: not a sound .npz archive"),
        (["--inputs", "empty.npz:x"], "found 'x', allowed: none, it is empty"),
        (["--inputs", "y.npy"], "input 'image': found int64, allowed: float32"),
        (["--inputs", "x2.npy"], "found shape [10, 32, 32], allowed: image: float32[batch"),
        (["--inputs", "image=x.npy", "--inputs", "x.npy"], "found 'image' twice"),
        (["--inputs", "img=x.npy"], "img=x.npy: no such file"),
        (["--inputs", "x.npy", "--labels", "x.npy"], "labels: found float32[10, 32, 32, 3]"),
        (["--inputs", "x.npy", "--labels", "y9.npy"], "labels: found 9, needed: 10"),
        (["--inputs", "x.npy", "--contracts", "qdq,int"], "contract: found 'int'"),
        (["--inputs", "x.npy", "--contracts", "qdq,qdq"], "contracts: found 'qdq' twice"),
        (["--inputs", "x.npy", "--batch", "0"], "batch: found 0"),
        (["--inputs", "x.npy", "-o", "x.npy"], "x.npy: is a file, expected a folder"),
        (["--inputs", "x.npy", "-o", "no/kept"], "no/kept: there is no such folder"),
        (["--inputs", "x.npy", "-o", "full"], "full: is not empty and holds no evaluation"),
        (["--inputs", "x.npy", "-o", "odd"], "settings.json: is damaged"),
        (["--inputs", "x.npy", "--json", "x.npy"], "would overwrite what is read"),
        (["--inputs", "d.npz:x", "--json", "d.npz"], "would overwrite what is read"),
        (["--inputs", "x.npy", "--labels", "y.npy", "--json", "y.npy"], "would overwrite"),
        (["--inputs", "x.npy", "--json", "full"], "full: is a directory"),
        (["--inputs", "x.npy", "--json", "no/r.json"], "there is no such folder"),
        (["--inputs", "x.npy", "--classes", "c"], "classes: found 'c', allowed: 'probabilities'"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Path("x.npy").read_bytes()
    Path("short.npy").write_bytes(whole[:-20])
    Path("long.npy").write_bytes(whole + b"more")
    np.save("object.npy", np.array([None]), allow_pickle=True)
    np.save("x2.npy", np.zeros((10, 32, 32), np.float32))
    np.save("y9.npy", np.zeros(9, int))
    Path("bad.npz").write_bytes(Path("d.npz").read_bytes()[:-40])
    with zipfile.ZipFile("empty.npz", "w"):
        pass
    Path("full").mkdir()
    Path("full/note.txt").write_text("mine", "utf-8")
    Path("odd").mkdir()
    Path("odd/settings.json").write_text("{", "utf-8")
    before = sorted(folder.rglob("*"))
    code, out, err = run(capsys, "net.onnx", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("qdqdoc: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_a_data_set_is_mapped_not_read(tmp_path: Path) -> None:
    """A file of which the system holds nothing, much larger than what is read at a time."""
    path = tmp_path / "large.npy"
    held = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(64, BLOCK))
    held[-1, -1] = 1
    del held
    command = (
        "import sys, tracemalloc; from qdqdoc.evaluate.sources import opened, fingerprint;"
        "tracemalloc.start()\n"
        "with opened(sys.argv[1]) as data: fingerprint(data)\n"
        "print(tracemalloc.get_traced_memory()[1])"
    )
    done = subprocess.run(  # noqa: S603 - the command stands here
        [sys.executable, "-c", command, path],
        capture_output=True,
        text=True,
        check=True,
        cwd=MODELS.parent,
    )
    assert int(done.stdout) < 4 * BLOCK


def test_an_archive_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(3))
    raw = path.read_bytes()
    size = (128 + 24).to_bytes(4, "little")
    assert raw.count(size) >= 1
    path.write_bytes(raw.replace(size, (2**31).to_bytes(4, "little")))
    with pytest.raises(EvaluateError, match=r"a\.npz"), opened(f"{path}:x"):
        pass


def test_a_fingerprint_is_of_the_values_whatever_their_order() -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    turned = np.asfortranarray(values)
    assert fingerprint(values) == fingerprint(turned) == fingerprint(values.astype(">f4"))
    assert fingerprint(values) != fingerprint(values + np.float32(1))
