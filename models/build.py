"""Rebuild the models of this folder and their manifest, or check that they rebuild the same.

python models/build.py train      train and export resnet8.onnx (TensorFlow)
python models/build.py quantize   write the quantized variants and the test images from it
python models/build.py manifest   measure every file and write MANIFEST.json
python models/build.py all        the three steps in this order (default)
python models/build.py --check    rebuild the variants aside and compare with MANIFEST.json
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import logging
import os
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import digits
import network
import variants

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
MANIFEST = HERE / "MANIFEST.json"
FLOAT_MODEL = variants.FLOAT_MODEL
TEST_IMAGES = "test_images.npz"
TELLING_LENGTH = 4
TRAINING_TOOLS = ("tensorflow", "keras", "tf2onnx", "onnx", "scikit-learn", "numpy", "protobuf")
QUANTIZATION_TOOLS = ("onnx", "onnxruntime", "scikit-learn", "numpy", "protobuf")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tools(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the exact versions at work, Python's among them."""
    return {"python": platform.python_version(), **{p: metadata.version(p) for p in packages}}


def read_manifest() -> dict[str, Any]:
    """Return the manifest as it is on disk, empty if there is none yet."""
    if not MANIFEST.exists():
        return {}
    manifest: dict[str, Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return manifest


def write_manifest(manifest: dict[str, Any]) -> None:
    """Write the manifest in its one canonical form, through a temporary file."""
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    with workshop() as folder:
        (folder / MANIFEST.name).write_text(text, encoding="utf-8", newline="\n")
        install(folder, [MANIFEST.name])


@contextlib.contextmanager
def workshop() -> Iterator[Path]:
    """Give a temporary folder beside the results, so that moving them is one atomic rename."""
    with tempfile.TemporaryDirectory(prefix=".build-", dir=HERE) as folder:
        yield Path(folder)


def install(folder: Path, names: list[str]) -> None:
    """Move finished files into place, after a look for traces of this machine."""
    for name in names:
        refuse_machine_paths(folder / name)
    for name in names:
        (folder / name).replace(HERE / name)


def refuse_machine_paths(path: Path) -> None:
    """Fail if a file to be published mentions a folder or the name of this machine."""
    content = path.read_bytes()
    private = {str(HERE.parent), str(Path.home()), sys.prefix, tempfile.gettempdir()}
    private |= {platform.node(), "site-packages", ".build-"}
    for text in sorted(private):
        # A short name (a home folder "/", a host "c1") would be found in weights by chance.
        if len(text) >= TELLING_LENGTH and text.encode() in content:
            raise SystemExit(f"{path.name} contains {text!r}")


def train() -> None:
    """Train, export and install the float model, and record with what it was made."""
    proto = network.train()
    with workshop() as folder:
        (folder / FLOAT_MODEL).write_bytes(proto.SerializeToString(deterministic=True))
        install(folder, [FLOAT_MODEL])
    training = network.description() | {"tools": tools(TRAINING_TOOLS)}
    record("training", training, [FLOAT_MODEL])


def quantize() -> None:
    """Make every quantized variant and the test images from the float model as it is here."""
    names = [variant.file for variant in variants.VARIANTS]
    with workshop() as folder:
        variants.build_all(HERE / FLOAT_MODEL, folder)
        variants.write_test_images(folder / TEST_IMAGES)
        install(folder, [*names, TEST_IMAGES])
    quantization = variants.description() | {"tools": tools(QUANTIZATION_TOOLS)}
    quantization["float_model_sha256"] = sha256(HERE / FLOAT_MODEL)
    record("quantization", quantization, [*names, TEST_IMAGES])


def record(section: str, content: dict[str, object], names: list[str]) -> None:
    """Note in the manifest how files were made, with their hashes: versions belong to bytes."""
    made = {name: sha256(HERE / name) for name in names}
    write_manifest(read_manifest() | {section: content | {"sha256_of_results": made}})


def manifest() -> None:
    """Measure every file and complete the manifest; refuse files no recorded step has made."""
    known = read_manifest()
    made: dict[str, str] = {}
    for section in ("training", "quantization"):
        if section not in known:
            raise SystemExit(f"MANIFEST.json has no section {section!r}: run that step first")
        made |= known[section]["sha256_of_results"]
    strangers = [name for name, digest in made.items() if sha256(HERE / name) != digest]
    if known["quantization"]["float_model_sha256"] != made[FLOAT_MODEL]:
        strangers.append("the variants (made from another float model)")
    if strangers:
        raise SystemExit(f"not made by the recorded steps: {', '.join(strangers)}")
    # Only the two recorded sections survive: the rest is measured anew on each run.
    write_manifest(
        {
            "about": "How each file of this folder was made, and what it does on held-out images. "
            "Written by build.py, not by hand.",
            "data": digits.description(),
            "evaluated_with": variants.evaluation_description(),
            "training": known["training"],
            "quantization": known["quantization"],
            "files": measure(),
        }
    )


def measure() -> dict[str, dict[str, object]]:
    """Return hash, size and what a model contains and achieves, for every published file."""
    reports = variants.evaluate(HERE)
    reports[FLOAT_MODEL]["made_by"] = "python models/build.py train (see training)"
    for variant in variants.VARIANTS:
        reports[variant.file]["made_by"] = variant.made_by()
    reports[TEST_IMAGES] = variants.describe_test_images(HERE / TEST_IMAGES)
    for name, report in reports.items():
        report |= {"sha256": sha256(HERE / name), "bytes": (HERE / name).stat().st_size}
    return reports


def check() -> list[str]:
    """Return one line per difference between the manifest, the files and a fresh rebuild."""
    known = read_manifest()
    files = known["files"]
    lines = [
        f"{name}: the file in models/ is not the one in MANIFEST.json"
        for name in sorted(files)
        if not (HERE / name).exists() or sha256(HERE / name) != files[name]["sha256"]
    ]
    expected_names = {FLOAT_MODEL, TEST_IMAGES} | {v.file for v in variants.VARIANTS}
    lines += [f"{name}: not in MANIFEST.json" for name in sorted(expected_names - set(files))]
    if lines:
        return lines  # a rebuild from other files would only repeat this
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variants.build_all(HERE / FLOAT_MODEL, folder)
        for variant in variants.VARIANTS:
            if sha256(folder / variant.file) != files[variant.file]["sha256"]:
                difference = variants.difference(HERE / variant.file, folder / variant.file)
                lines.append(f"{variant.file}: rebuilt differently: {difference}")
    if not variants.same_test_images(HERE / TEST_IMAGES):
        lines.append(f"{TEST_IMAGES}: the arrays are not the ones scikit-learn gives")
    return lines + (other_tools(known) if lines else [])


def other_tools(known: dict[str, Any]) -> list[str]:
    """Return the tools whose versions are not the recorded ones: the first thing to suspect."""
    recorded, here = known["quantization"]["tools"], tools(QUANTIZATION_TOOLS)
    changed = sorted(name for name in recorded if recorded[name] != here.get(name))
    return [f"hint: {n} {here.get(n)} here, {recorded[n]} in the manifest" for n in changed]


STEPS = {"train": train, "quantize": quantize, "manifest": manifest}


def main(arguments: list[str] | None = None) -> int:
    """Run the steps asked for; with --check return 1 if anything differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", nargs="?", choices=[*STEPS, "all"], default="all")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    # The quantizer advises on every call to preprocess the model: the manual is about doing it
    # (the folded variant) and not doing it, so the advice would only hide real messages.
    logging.disable(logging.WARNING)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.check:
        lines = check()
        print("\n".join(lines) or "every variant rebuilds to the bytes in MANIFEST.json")
        return 1 if lines else 0
    for name in STEPS if options.step == "all" else [options.step]:
        STEPS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
