"""D5: whatever happens to a file of the pack or to a committed model, its reader says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from qdqdoc import conformance
from qdqdoc.cli import main
from qdqdoc.conformance import ConformanceError, check, checking
from qdqdoc.score import damage
from qdqdoc.score.record import recorded

ROOT = Path(__file__).parent.parent
FEW = 4


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pack of few cases, one of which has bounds."""
    every = [*conformance.cases()]
    few = [*every[: FEW - 1], next(case for case in every if any(case.bounds()))]
    monkeypatch.setattr(conformance, "cases", lambda: iter(few))
    monkeypatch.setattr(conformance, "FLOOR", FEW)
    monkeypatch.setattr(checking, "FLOOR", FEW)
    conformance.write(tmp_path / "pack")
    return tmp_path / "pack"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_whole_pack_passes(pack: Path) -> None:
    assert check(pack) == FEW
    assert len(files(pack)) > 4 * FEW


def test_every_damage_to_every_file_is_noticed_on_disk(pack: Path) -> None:
    made = 0
    for path in files(pack):
        kept = path.read_bytes()
        swapped = next(other for other in files(pack) if other.read_bytes() != kept)
        theirs = swapped.read_bytes()
        damages = [kept + b"\0", None, theirs, kept[:-1], bytes([*kept[:-1], kept[-1] ^ 128])]
        for content in damages if kept else damages[:3]:
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
            if content == theirs:
                swapped.write_bytes(kept)
            with pytest.raises(ConformanceError, match=r"missing|other bytes|is not that of"):
                check(pack)
            path.write_bytes(kept)
            swapped.write_bytes(theirs)
            made += 1
        assert check(pack) == FEW
    assert made >= 3 * len(files(pack))


def test_a_case_that_is_gone_or_too_many_is_noticed(pack: Path) -> None:
    case = next(path.parent for path in files(pack) if path.name == "input_0.bin")
    shutil.copytree(case, case.with_name("another"))
    with pytest.raises(ConformanceError, match="another: is not in the manifest"):
        check(pack)
    shutil.rmtree(case.with_name("another"))
    shutil.rmtree(case)
    with pytest.raises(ConformanceError, match="is missing"):
        check(pack)


def rewritten(pack: Path, text: str) -> None:
    """Give a pack another manifest, with the sum that belongs to it."""
    (pack / "manifest.json").write_text(text)
    held = {n: (pack / n).read_bytes() for n in ("manifest.json", "conformance.schema.json")}
    (pack / "SHA256SUMS").write_bytes(checking.sums(held))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        "{}",
        '{"cases": 3, "case_count": 3, "format": "x"}',
        '{"cases": [1]}',
    ],
    ids=["empty", "deep", "a list", "nothing in it", "a number", "no case"],
)
def test_a_manifest_that_means_harm_is_one_line(pack: Path, text: str) -> None:
    rewritten(pack, text)
    with pytest.raises(ConformanceError, match=r"manifest\.json is not as its schema says$"):
        check(pack)


def test_a_path_out_of_the_pack_is_refused(pack: Path) -> None:
    manifest = json.loads((pack / "manifest.json").read_text("utf-8"))
    manifest["cases"][0]["path"] = "../outside"
    rewritten(pack, json.dumps(manifest))
    with pytest.raises(ConformanceError, match="found a path out of the folder"):
        check(pack)


def test_lost_cases_are_noticed(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "FLOOR", FEW + 1)
    with pytest.raises(ConformanceError, match=f"found {FEW} cases, allowed: {FEW} of qdqdoc"):
        check(pack)


def test_a_link_is_no_file_of_a_pack(pack: Path) -> None:
    (pack / "link").symlink_to("/etc/hostname")
    with pytest.raises(ConformanceError, match="is no plain file"):
        check(pack)


def test_the_command(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["conformance", "--check", str(pack)])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{pack}: {FEW} cases, all whole\n"
    next(path for path in files(pack) if path.suffix == ".npy").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["conformance", "--check", str(pack)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(".npy: is missing\n")


@pytest.mark.parametrize("more", [[], ["-o", "a", "--check", "b"]], ids=["neither", "both"])
def test_one_thing_at_a_time(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["conformance", *more])
    assert ended.value.code == 2
    assert "found both or neither of --output and --check" in capsys.readouterr().err


def test_every_damage_is_made() -> None:
    held = {"a": b"abc", "b": b"xyz", "empty": b""}
    made = {kind: dict(other) for kind, other in damage.damaged(held, "a")}
    flip, cut, delete, swap = damage.DAMAGES
    assert made[flip]["a"] == b"acc"
    assert made[cut]["a"] == b"ab"
    assert "a" not in made[delete]
    assert (made[swap]["a"], made[swap]["b"]) == (b"xyz", b"abc")
    assert [kind for kind, _ in damage.damaged(held, "empty")] == [delete, swap]


def test_what_a_reader_misses_is_counted() -> None:
    found = damage.counted({"a": b"1", "b": b"2"}, lambda held: iter([] if "a" in held else ["!"]))
    assert found[damage.DAMAGES[2], True] == found[damage.DAMAGES[2], False] == 1
    assert found[damage.DAMAGES[0], False] == 2


def test_committed_models_are_those_that_were_recorded() -> None:
    held = damage.committed(ROOT / "models")
    assert len(held) >= 9
    assert not [*damage.model_problems(held, recorded()["models"])]


def test_a_damaged_model_or_manifest_is_noticed() -> None:
    count, found = damage.models(ROOT / "models")
    assert count == len(recorded()["models"])
    assert {noticed for _, noticed in found} == {True}
    held = damage.committed(ROOT / "models")
    changed = {**held, "resnet8_int8.onnx": held["resnet8_int8.onnx"] + b"\0"}
    # Somebody recorded anew without making the models: their own manifest tells.
    said = [*damage.model_problems(changed, damage.digests(changed))]
    assert said == ["resnet8_int8.onnx: is not the file that MANIFEST.json describes"]
