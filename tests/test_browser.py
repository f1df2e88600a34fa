"""Every page of the manual in Chromium: wide and narrow, light and dark."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from browsing import HEIGHT, NARROW, WIDE, watch

from qdqdoc.annotate import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from browsing import Count, Manual, Opened
    from playwright.sync_api import Browser

    from qdqdoc.annotate.theme import Part

pytest_plugins = ("chromium",)

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
ASKED = Path(__file__).with_name("browsing.js").read_text(encoding="utf-8")
SHOWN = 6
"""Rows of a table that axe is shown: the others look alike, and hundreds take it minutes."""
THIN = f"document.querySelectorAll('tbody > tr:nth-child(n+{SHOWN + 1})').forEach(r => r.remove())"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
MODELS = ("index.html", "search.html", "guide/diagrams.html", "operators/qlinear_conv.html")
"""Where axe looks at contrast as well, a second opinion on our own formula."""


class Walk:
    """What was found on all pages; each page is loaded once and then resized and recoloured."""

    def __init__(self, opened: Opened, manual: Manual, axe: str) -> None:
        self.opened, self.manual, self.axe = opened, manual, axe
        self.facts: dict[str, dict[str, Any]] = {}
        self.states: dict[tuple[str, int, Scheme], dict[str, Any]] = {}
        self.violations: list[str] = []
        self.rules: Counter[str] = Counter()
        for name in manual.pages():
            self.visit(name)

    def visit(self, name: str) -> None:
        page = self.opened.page
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": WIDE, "height": HEIGHT})
        page.goto(self.manual.address + name)
        self.facts[name] = page.evaluate(f"{ASKED.rstrip().rstrip(';')}.facts()")
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            for width in (WIDE, NARROW):
                page.set_viewport_size({"width": width, "height": HEIGHT})
                self.states[name, width, scheme] = self.look(width)
            page.set_viewport_size({"width": WIDE, "height": HEIGHT})
        self.ask_axe(name)

    def look(self, width: int) -> dict[str, Any]:
        asked = ASKED.rstrip().rstrip(";")
        found: dict[str, Any] = self.opened.page.evaluate(f"{asked}.overflow()")
        # The same colours at any width; wide, all of the page is there.
        seen = self.opened.page.evaluate(f"{asked}.contrast()") if width == WIDE else {}
        return {**found, **seen}

    def ask_axe(self, name: str) -> None:
        page = self.opened.page
        page.evaluate(THIN)
        page.evaluate(self.axe)
        for scheme in SCHEMES if name in MODELS else ("light",):
            page.emulate_media(color_scheme=scheme)
            options = {
                "runOnly": RULES,
                "resultTypes": ["violations"],
                "preload": False,
                "rules": {"color-contrast": {"enabled": name in MODELS}},
            }
            found = page.evaluate("options => axe.run(document, options)", options)
            self.rules.update(rule["id"] for rule in found["passes"])
            for rule in found["violations"]:
                places = [node["html"][:120] for node in rule["nodes"][:2]]
                self.violations.append(f"{name} {scheme}: {rule['id']}: {places}")


@pytest.fixture(scope="module")
def walk(browser: Browser, manual: Manual) -> Iterator[Walk]:
    """Go through all pages once."""
    from axe_playwright_python.base import AXE_SCRIPT  # noqa: PLC0415 - it may be missing

    context = browser.new_context(viewport={"width": WIDE, "height": HEIGHT})
    yield Walk(watch(context, manual), manual, AXE_SCRIPT)
    context.close()


def test_no_page_is_wider_than_its_window(walk: Walk, count: Count) -> None:
    assert len(walk.states) == 4 * len(walk.facts) > 200
    count("pages", len(walk.facts))
    count("pages at two widths, light and dark", len(walk.states))
    wide = {state: found["out"] for state, found in walk.states.items() if found["beyond"] > 0}
    assert not wide


def test_nothing_complains_and_nobody_else_is_asked(walk: Walk, count: Count) -> None:
    assert walk.opened.requests > len(walk.facts)
    count("requests", walk.opened.requests)
    assert not walk.opened.strangers
    assert not walk.opened.complaints


def test_every_link_leads_somewhere(walk: Walk, count: Count) -> None:
    ids = {name: {*facts["ids"], ""} for name, facts in walk.facts.items()}
    counted: Counter[str] = Counter()
    broken = set()
    for name, facts in walk.facts.items():
        for link in facts["links"]:
            address, anchor = urldefrag(urljoin(walk.manual.address + name, link))
            if not address.startswith(walk.manual.address):
                counted["to others"] += 1
                continue
            target = unquote(address.removeprefix(walk.manual.address)) or "index.html"
            counted["to anchors" if anchor else "to pages and files"] += 1
            there = (walk.manual.root / target).is_file()
            if not there or unquote(anchor) not in ids.get(target, {""}):
                broken.add(f"{name}: {link}")
    for kind, number in counted.items():
        count(f"links {kind}", number)
    assert counted["to anchors"] > 1000
    assert counted["to pages and files"] > 1000
    assert not broken


def test_every_row_has_an_anchor_and_every_id_is_its_own(walk: Walk, count: Count) -> None:
    rows = sum(facts["rows"] for facts in walk.facts.values())
    count("rows of tables", rows)
    count("ids", sum(len(facts["ids"]) for facts in walk.facts.values()))
    assert rows > 4000
    assert not {name: facts["unmarked"] for name, facts in walk.facts.items() if facts["unmarked"]}
    assert not {name: facts["repeated"] for name, facts in walk.facts.items() if facts["repeated"]}


def test_heads_of_tables_stay(walk: Walk, count: Count) -> None:
    positions = Counter(place for facts in walk.facts.values() for place in facts["heads"])
    count("heads of columns", positions["sticky"])
    assert positions["sticky"] > 100
    assert set(positions) == {"sticky"}


def test_headings_are_in_order_and_every_page_has_one_title(walk: Walk) -> None:
    assert sum(len(facts["headings"]) for facts in walk.facts.values()) > 300
    for name, facts in walk.facts.items():
        levels = facts["headings"]
        assert levels[0] == 1, name
        assert levels.count(1) == 1, name
        assert all(b - a <= 1 for a, b in pairwise(levels)), (name, levels)
    titles = [facts["title"] for facts in walk.facts.values()]
    assert len(set(titles)) == len(titles)


def test_every_page_has_a_language_and_landmarks(walk: Walk) -> None:
    assert {facts["language"] for facts in walk.facts.values()} == {"en"}
    assert not {
        name: facts["landmarks"] for name, facts in walk.facts.items() if facts["landmarks"]
    }


def test_every_picture_has_words(walk: Walk) -> None:
    assert sum(facts["pictures"] for facts in walk.facts.values()) >= 6
    assert not {name: facts["unnamed"] for name, facts in walk.facts.items() if facts["unnamed"]}


def test_pages_of_operators_have_one_skeleton(walk: Walk) -> None:
    skeletons = Counter(
        tuple(facts["second"])
        for name, facts in walk.facts.items()
        if name.startswith("operators/") and name != "operators/index.html"
    )
    assert skeletons.total() >= 32
    assert len(skeletons) == 1, skeletons


def test_contrast_is_at_least_that_of_level_aa(walk: Walk, count: Count) -> None:
    looked = {state: found for state, found in walk.states.items() if "texts" in found}
    texts = Counter[str]()
    for (_, _, scheme), found in looked.items():
        texts[scheme] += found["texts"]
    for colours, number in texts.items():
        count(f"texts, {colours}", number)
    assert min(texts.values()) > 20_000
    assert not {state: found["poor"] for state, found in looked.items() if found["poor"]}


def test_axe_finds_nothing(walk: Walk, count: Count) -> None:
    count("rules of axe", len(walk.rules))
    count("times that a rule of axe was met", walk.rules.total())
    assert walk.rules["color-contrast"] == len(MODELS) * len(SCHEMES)
    assert walk.rules["link-name"] == len(walk.facts) + len(MODELS)
    assert not walk.violations


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2.1."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("part", DEFAULT.inks)
def test_text_in_boxes_has_contrast(part: Part) -> None:
    ink = DEFAULT.inks[part]
    assert contrast(ink.text, ink.strong) >= 4.5
    assert contrast(ink.text, ink.soft) >= 4.5


def test_lines_of_drawings_are_seen_on_both_grounds() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ground in ("#ffffff", "#131416"):
        assert contrast(DEFAULT.line, ground) >= 3
