from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from qdqdoc.render import NEEDS_FONT, RenderError, render

PNG = b"\x89PNG\r\n\x1a\n"


def box(text: str) -> str:
    return f'digraph {{ a [label="{text}", fontname="Arimo,Arial,sans-serif"] }}'


def run(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, with a home that has no fonts."""
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", PREPARE + dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )


PREPARE = dedent("""
    import sys
    from pathlib import Path
    import qdqdoc.render as r
    r.OTHER_FONTS = ()
    def box(text):
        return f'digraph {{ a [label="{text}", fontname="Arimo,Arial,sans-serif"] }}'
""")


@pytest.mark.parametrize(("fmt", "start"), [("svg", b"<?xml"), ("png", PNG), ("pdf", b"%PDF")])
def test_each_format_is_what_it_says(fmt: str, start: bytes) -> None:
    assert render(box("hello"), fmt).startswith(start)  # type: ignore[arg-type]


@pytest.mark.parametrize("fmt", ["svg", "png"])
def test_the_same_text_gives_the_same_bytes(fmt: str) -> None:
    assert render(box("hello"), fmt) == render(box("hello"), fmt)  # type: ignore[arg-type]


def test_a_picture_does_not_depend_on_those_drawn_before() -> None:
    linked = 'digraph { a [URL="a.html", tooltip="t"]; a -> b }'
    first = render(linked, "svg")
    render("digraph { c -> d }", "svg")
    assert render(linked, "svg") == first


def test_letters_are_drawn_on_a_machine_without_fonts(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        pictures = [r.render(box(t), "png") for t in ("AAAA", "BBBB", "ЖЖЖЖ", "→\u00d7\u2212≥")]
        assert len(set(pictures)) == 4
        svg = [r.render(box(t), "svg").decode() for t in ("iiiiiiiiiiiiiiii", "WWWWWWWWWWWWWWWW")]
        print([s.split('width="')[1].split("pt")[0] for s in svg])
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    narrow, wide = (float(word.strip("[' ]\n")) for word in done.stdout.split(","))
    assert wide > 2 * narrow


def test_boxes_without_letters_are_an_error(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        empty = r._configuration(Path("/nowhere"))
        r._configuration = lambda fonts: empty
        r.render(box("AAAA"), "png")
        """,
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith(NEEDS_FONT)


def test_a_missing_font_package_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdqdoc.render.FONT_PACKAGE", "no_such_package")
    monkeypatch.setenv("QDQDOC_DOT", "dot")
    with pytest.raises(RenderError, match="fontpkg-arimo"):
        render(box("x"), "svg")


def test_a_missing_pygraphviz_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(RenderError, match=r"pip install 'qdqdoc\[annotate\]'$"):
        render(box("x"), "svg")


@pytest.mark.parametrize(
    ("dot", "words"),
    [
        ("digraph {", "syntax error in line 1"),
        ("", "Invalid Input"),
        ("digraph { a [label=<<table></table>>] }", "label of node a"),
    ],
)
def test_what_graphviz_says_is_told_on_one_line(dot: str, words: str) -> None:
    with pytest.raises(RenderError, match=words) as caught:
        render(dot, "svg")
    assert "\n" not in str(caught.value)


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(RenderError, match="'gif' is not one of svg, png, pdf"):
        render(box("x"), "gif")  # type: ignore[arg-type]


def test_nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    render(box("hello"), "png")
    assert capfd.readouterr().err == ""


def test_the_environment_is_left_alone(tmp_path: Path) -> None:
    script = """
        import os
        os.environ["FONTCONFIG_FILE"] = "mine"
        r.render(box("x"), "svg")
        print(os.environ["FONTCONFIG_FILE"])
        """
    assert run(tmp_path, script).stdout == "mine\n"


def test_many_drawings_in_many_threads_are_all_right() -> None:
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda i: render(box(f"node {i % 5}"), "svg"), range(200)))
    assert len(set(pictures)) == 5


def test_titles_with_generated_names_are_dropped_and_real_ones_kept() -> None:
    drawn = render("digraph model { n0 -> n1; subgraph cluster_0 { n2 } }", "svg").decode()
    assert drawn.count("<title>") == 1
    assert "<title>model</title>" in drawn


def test_a_program_may_draw_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\ntest -r "$FONTCONFIG_FILE" && echo "$@" && cat\n')
    program.chmod(0o755)
    monkeypatch.setenv("QDQDOC_DOT", str(program))
    assert render("digraph {}", "pdf") == b"-Tpdf\ndigraph {}"
    program.write_text("#!/bin/sh\necho 'Error: it broke' >&2; exit 3\n")
    with pytest.raises(RenderError, match="Error: it broke"):
        render("digraph {}", "pdf")
    monkeypatch.setenv("QDQDOC_DOT", str(tmp_path / "none"))
    with pytest.raises(RenderError, match="No such file"):
        render("digraph {}", "pdf")
