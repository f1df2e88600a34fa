"""The conformance pack: complete, describes itself, the same bytes twice, right when read back."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest
from onnx import numpy_helper

from qdqdoc import conformance
from qdqdoc.cli import main
from qdqdoc.conformance.parts import bits, raw, storage
from qdqdoc.numerics.formats import DTYPES, Array, integer_range, is_integer, tensor
from qdqdoc.operators import OPERATORS
from qdqdoc.registry import Call, OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conformance") / "pack"
    conformance.write(folder)
    return folder


@pytest.fixture(scope="module")
def manifest(pack: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((pack / "manifest.json").read_text("utf-8"))
    return held


def test_the_manifest_follows_its_schema(pack: Path, manifest: dict[str, Any]) -> None:
    schema = json.loads((pack / manifest["schema"]).read_text("utf-8"))
    assert schema == conformance.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(manifest)


def test_every_operator_and_version_is_there(manifest: dict[str, Any]) -> None:
    found = {(c["domain"], c["operator"], c["since_version"]) for c in manifest["cases"]}
    assert found == {
        (o.domain or "ai.onnx", o.name, v.since) for o in OPERATORS.values() for v in o.versions
    }
    assert manifest["case_count"] == len(manifest["cases"]) >= conformance.FLOOR
    paths = [case["path"].lower() for case in manifest["cases"]]
    assert len(set(paths)) == len(paths)


def files(case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in (*case["inputs"], *case.get("outputs", ())):
        units = [part["bound"]["unit"]] if "bound" in part else []
        for one in (part, *units):
            yield from (one["bin"], one["npy"])


def test_every_file_is_described_and_whole(pack: Path, manifest: dict[str, Any]) -> None:
    seen = {"manifest.json", "SHA256SUMS", manifest["schema"]}
    for case in manifest["cases"]:
        for file in files(case):
            path = f"{case['path']}/{file['file']}"
            assert sha256((pack / path).read_bytes()).hexdigest() == file["sha256"], path
            seen.add(path)
    assert seen == {p.relative_to(pack).as_posix() for p in pack.rglob("*") if p.is_file()}


def unpacked(content: bytes, part: dict[str, Any]) -> Array:
    """Read raw bytes with nothing but what the manifest says: another way than the writer's."""
    # The unit of a bound is a float64, which no quantized operator takes.
    dtype = np.dtype(DTYPES.get(part["dtype"], part["dtype"]))
    count, width = int(np.prod(part["shape"])), part["bits"]
    if width >= 8:
        whole_bytes: Array = np.frombuffer(content, dtype)
        return whole_bytes.reshape(part["shape"])
    whole = int.from_bytes(content, "little")
    codes = [whole >> (k * width) & (2**width - 1) for k in range(count)]
    if is_integer(dtype):
        high = integer_range(dtype)[1]
        codes = [code - 2**width if code > high else code for code in codes]
        return np.asarray(codes, np.int8).astype(dtype).reshape(part["shape"])
    held: Array = np.asarray(codes, np.uint8).view(dtype)
    return held.reshape(part["shape"])


def tensors(pack: Path, case: dict[str, Any], parts: list[dict[str, Any]]) -> list[Array]:
    return [unpacked((pack / case["path"] / p["bin"]["file"]).read_bytes(), p) for p in parts]


def spoken(value: Any) -> Any:  # noqa: ANN401 - an attribute
    if isinstance(value, list):
        return [spoken(entry) for entry in value]
    return float(value["float"]) if isinstance(value, dict) else value


def test_what_is_read_back_is_what_the_kernels_compute(
    pack: Path, manifest: dict[str, Any]
) -> None:
    rejected = 0
    for case in manifest["cases"]:
        domain = "" if case["domain"] == "ai.onnx" else case["domain"]
        operator = OPERATORS[domain, case["operator"]]
        variadic = operator.versions[-1].variadic
        pairs = [*zip(case["inputs"], tensors(pack, case, case["inputs"]), strict=True)]
        call = Call(
            name=case["path"],
            inputs={p["name"]: a for p, a in pairs if p["name"] != variadic},
            attributes={k: spoken(v) for k, v in case["attributes"].items()},
            opset=case["opset"],
            more=tuple(a for p, a in pairs if p["name"] == variadic),
        )
        if case["expect"] == "rejection":
            rejected += 1
            with pytest.raises(OperatorError):
                operator.run(call)
            continue
        expected = tensors(pack, case, case["outputs"])
        for y, held, part in zip(operator.run(call), expected, case["outputs"], strict=True):
            assert raw(y) == raw(held), case["path"]
            stored = np.load(pack / case["path"] / part["npy"]["file"], allow_pickle=False)
            assert stored.dtype.str == part["npy"]["dtype"]
            assert stored.tobytes() == storage(held).tobytes(), case["path"]
    assert rejected >= 10 * len(OPERATORS)


def test_bounds_are_those_of_the_operators(pack: Path, manifest: dict[str, Any]) -> None:
    by_path = {case.path: case for case in conformance.cases()}
    seen = 0
    for entry in manifest["cases"]:
        case = by_path[entry["path"]]
        if case.rejection:
            continue  # nothing came out that could be off
        held = {bound.output: (bound, unit) for bound, unit in case.bounds()}
        for part in entry.get("outputs", ()):
            assert ("bound" in part) == (part["name"] in held)
            if "bound" in part:
                bound, unit = held[part["name"]]
                (stored,) = tensors(pack, entry, [part["bound"]["unit"]])
                assert part["bound"]["ulp"] == bound.ulp
                assert stored.shape == tuple(part["shape"])
                assert np.array_equal(stored, unit, equal_nan=True)
                seen += 1
    assert seen > 100


@pytest.mark.parametrize("kind", [k for k in DTYPES if k != "bool"])
def test_raw_bytes_are_those_of_onnx(kind: str) -> None:
    values = tensor(kind, [1, 0, 1, 1, 0, 1, 1])
    assert raw(values) == numpy_helper.from_array(values).raw_data
    assert len(raw(values)) == -(-7 * bits(values) // 8)


def test_the_same_bytes_twice(pack: Path, tmp_path: Path) -> None:
    again = tmp_path / "deep" / "again"
    again.mkdir(parents=True)
    conformance.write(again)
    assert (again / "manifest.json").read_bytes() == (pack / "manifest.json").read_bytes()


def test_a_folder_that_holds_something_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(SystemExit) as ended:
        main(["conformance", "-o", str(tmp_path)])
    assert ended.value.code == 2
    said = f"qdqdoc: error: {tmp_path}: found something, allowed: a new or an empty folder\n"
    assert capsys.readouterr().err == said
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_too_few_cases_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [*conformance.cases()][:3]
    monkeypatch.setattr(conformance, "cases", lambda: iter(few))
    with pytest.raises(conformance.ConformanceError, match="found 3 cases, allowed: 1000 or more"):
        conformance.write(tmp_path / "pack")
    assert not any(tmp_path.iterdir())


def test_an_interrupted_pack_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [*conformance.cases()][:3]
    monkeypatch.setattr(conformance, "FLOOR", 1)
    monkeypatch.setattr(conformance, "cases", lambda: iter(few))

    def interrupt(done: int, total: int) -> None:
        assert done < total
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conformance.write(tmp_path / "pack", interrupt)
    assert not any(tmp_path.iterdir())


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:  # noqa: ANN401 - a fixture
    few = [*conformance.cases()][:3]
    monkeypatch.setattr(conformance, "FLOOR", 1)
    monkeypatch.setattr(conformance, "cases", lambda: iter(few))
    with pytest.raises(SystemExit) as ended:
        main(["conformance", "-o", str(tmp_path / "pack")])
    assert ended.value.code == 0
    captured = capsys.readouterr()
    assert captured.out == f"wrote 3 cases to {tmp_path / 'pack'}\n"
    assert captured.err == ""
