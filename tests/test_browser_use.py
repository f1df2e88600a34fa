"""What readers do with the manual: search, enlarge, follow links, copy; by mouse and by keys."""

from __future__ import annotations

import json
import re
import tarfile
from typing import TYPE_CHECKING

import jsonschema
import pytest
from browsing import HEIGHT, NARROW, WIDE, watch

from qdqdoc.extract import extract
from qdqdoc.groups import groups

if TYPE_CHECKING:
    from browsing import Count, Manual, Opened
    from playwright.sync_api import Browser, Locator, Page

pytest_plugins = ("chromium",)

DIAGRAMS, FLOW = "guide/diagrams.html", "guide/dataflow.html"
FIGURE = "#diagram-overview"
SCALE = "svg => svg.getScreenCTM().a"
STOPS = 25
OUTLINED = """() => {
    const focus = document.activeElement, style = getComputedStyle(focus);
    const around = getComputedStyle(focus.closest(".sidebar-search-container") ?? focus);
    const seen = (one) => one.outlineStyle !== "none" && parseFloat(one.outlineWidth) > 0;
    return [focus.outerHTML.slice(0, 90), seen(style) || seen(around)];
}"""


@pytest.fixture
def page(opened: Opened, manual: Manual) -> Page:
    """The page of diagrams; whatever a test does there, nothing may complain."""
    opened.page.goto(manual.address + DIAGRAMS)
    return opened.page


def scale(page: Page) -> float:
    drawn: float = page.locator(f"{FIGURE} svg").evaluate(SCALE)
    return drawn


def middle(box: Locator) -> tuple[float, float]:
    found = box.bounding_box()
    assert found is not None
    return found["x"] + found["width"] / 2, found["y"] + found["height"] / 2


def in_view(box: Locator) -> bool:
    seen: bool = box.evaluate(
        """box => {
            const r = box.getBoundingClientRect();
            const hit = document.elementFromPoint((r.left + r.right) / 2, (r.top + r.bottom) / 2);
            return box.contains(hit);
        }"""
    )
    return seen


# Search


def test_search_finds(opened: Opened, manual: Manual, count: Count) -> None:
    page = opened.page
    page.goto(manual.address)
    page.locator("input.sidebar-search").fill("saturate accumulator")
    page.keyboard.press("Enter")
    found = page.locator("#search-results li a")
    found.first.wait_for()
    page.locator(".search-summary", has_text=re.compile("found|Search finished")).wait_for()
    count("pages found", found.count())
    found.first.click()
    page.wait_for_load_state()
    assert manual.address in page.url
    assert "search.html" not in page.url
    assert re.search("saturat", page.locator("article").inner_text(), re.IGNORECASE)
    assert not opened.complaints


def test_search_says_when_it_finds_nothing(opened: Opened, manual: Manual) -> None:
    page = opened.page
    page.goto(f"{manual.address}search.html?q=xyzzyplugh")
    page.locator(".search-summary", has_text="did not match").wait_for()
    assert page.locator("#search-results li a").count() == 0


# Pictures


def test_buttons_enlarge_and_fit(page: Page, opened: Opened) -> None:
    fitted = scale(page)
    told = page.locator(f"{FIGURE} .qdq-scale").inner_text()
    page.locator(f"{FIGURE} button[aria-label=Larger]").click()
    assert scale(page) == pytest.approx(1.25 * fitted, rel=0.02)
    assert page.locator(f"{FIGURE} .qdq-scale").inner_text() != told
    page.locator(f"{FIGURE} button[aria-label=Larger]").click()
    page.locator(f"{FIGURE} button[aria-label=Smaller]").click()
    assert scale(page) == pytest.approx(1.25 * fitted, rel=0.02)
    page.locator(f"{FIGURE} button", has_text="Fit").click()
    assert scale(page) == pytest.approx(fitted)
    assert page.locator(f"{FIGURE} .qdq-scale").inner_text() == told
    assert not opened.complaints


def test_keys_enlarge_fit_and_move(page: Page) -> None:
    fitted = scale(page)
    view = page.locator(f"{FIGURE} .qdq-window")
    view.focus()
    for _ in range(4):
        page.keyboard.press("+")
    assert scale(page) == pytest.approx(1.25**4 * fitted, rel=0.02)
    before = view.evaluate("view => view.scrollLeft")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([view, before]) => view.scrollLeft > before", arg=[view.element_handle(), before]
    )
    page.keyboard.press("-")
    assert scale(page) == pytest.approx(1.25**3 * fitted, rel=0.02)
    page.keyboard.press("0")
    assert scale(page) == pytest.approx(fitted)


def test_the_wheel_enlarges_around_the_pointer_and_a_drag_moves(page: Page) -> None:
    fitted = scale(page)
    view = page.locator(f"{FIGURE} .qdq-window")
    view.scroll_into_view_if_needed()
    box = page.locator(f"{FIGURE} [id$=-g12]")
    x, y = middle(box)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -100)
    page.wait_for_timeout(100)
    assert scale(page) == pytest.approx(fitted), "the wheel alone scrolls"
    x, y = middle(box)
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    page.wait_for_function(f"() => document.querySelector('{FIGURE} svg.qdq-sized')")
    assert scale(page) > 2 * fitted
    assert middle(box) == pytest.approx((x, y), abs=3)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y - 40, steps=5)
    page.mouse.up()
    assert middle(box) == pytest.approx((x - 60, y - 40), abs=3)
    assert page.url.endswith(DIAGRAMS), "a drag that ends on a box follows no link"


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("script", [True, False])
def test_pictures_are_fitted_with_and_without_scripts(
    browser: Browser, manual: Manual, width: int, script: bool
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT}, java_script_enabled=script
    )
    page = watch(context, manual).page
    page.goto(manual.address + DIAGRAMS)
    drawings = page.locator(".qdq-picture svg")
    assert drawings.count() == 3
    for drawing in drawings.all():
        box, around = drawing.bounding_box(), drawing.locator("..").bounding_box()
        assert box is not None
        assert around is not None
        assert 100 < box["width"] <= around["width"] <= width
    assert page.locator(f"{FIGURE} a[*|href]").count() > 30
    context.close()


# Boxes and rows


def test_a_box_leads_to_its_row_and_back(page: Page, manual: Manual, opened: Opened) -> None:
    page.locator(f"{FIGURE} [id$=-g12] a").click()
    page.wait_for_url(f"{manual.address}{FLOW}#guide-dataflow-table-group-12")
    row = page.locator("tr:target")
    assert row.locator("td").first.inner_text().startswith("12")
    assert in_view(row)
    assert "Conv" in row.inner_text()
    row.locator("td").first.locator("a[title='Show it in the diagram']").click()
    page.wait_for_url(f"{manual.address}{DIAGRAMS}#diagram-overview-g12")
    box = page.locator("g:target")
    page.wait_for_function(f"() => document.querySelector('{FIGURE} svg.qdq-sized')")
    assert "12" in (box.text_content() or "")
    assert in_view(box)
    assert scale(page) >= 1, "at a size at which it can be read"
    assert not opened.complaints


def test_every_row_has_its_box_and_every_box_its_row(
    page: Page, manual: Manual, count: Count
) -> None:
    rows = {
        link.partition("#")[2]
        for link in page.locator(f"{FIGURE} a").evaluate_all("all => all.map(a => a.href.baseVal)")
        if link
    }
    page.goto(manual.address + FLOW)
    table = page.locator("#guide-dataflow-table tbody tr")
    there = table.evaluate_all("rows => rows.map(row => row.id)")
    back = table.locator("td:first-child a[title='Show it in the diagram']").count()
    count("rows with their boxes", back)
    assert rows == {*there}
    assert back == len(there) == len(groups(extract("models/resnet8_int8.onnx")))


# Keys, colours, copies


def test_the_focus_is_seen(opened: Opened, manual: Manual, count: Count) -> None:
    page = opened.page
    for name in ("index.html", FLOW):
        page.goto(manual.address + name)
        seen = 0
        for stop in range(STOPS):
            page.keyboard.press("Tab")
            what, outlined = page.evaluate(OUTLINED)
            assert outlined, f"{name}, stop {stop}: {what}"
            seen += 1
        count(f"stops of the tab key on {name}", seen)


def test_the_first_stop_skips_to_the_content(opened: Opened, manual: Manual) -> None:
    page = opened.page
    page.goto(manual.address)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#furo-main-content")


def test_a_table_is_one_stop_and_arrows_go_from_row_to_row(opened: Opened, manual: Manual) -> None:
    page = opened.page
    page.goto(manual.address + FLOW)
    links = page.locator("#guide-dataflow-table a.qdq-row-link")
    assert links.count() > links.and_(page.locator(":not([tabindex='-1'])")).count() == 1
    links.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.url.endswith("#guide-dataflow-table-group-1")


def test_drawers_open_by_keys_on_a_small_screen(opened: Opened, manual: Manual) -> None:
    page = opened.page
    page.set_viewport_size({"width": NARROW, "height": HEIGHT})
    page.goto(manual.address)
    page.locator("label.nav-overlay-icon").focus()
    page.keyboard.press("Enter")
    page.locator(".sidebar-tree a", has_text="Glossary").click()
    assert page.url.endswith("glossary.html")


def test_heads_of_tables_stay_while_rows_scroll(opened: Opened, manual: Manual) -> None:
    page = opened.page
    page.goto(manual.address + FLOW)
    head = page.locator("#guide-dataflow-table thead th").first
    top = "head => [head.getBoundingClientRect().top, head.closest('.table-wrapper').scrollTop]"
    before = head.evaluate(top)
    page.locator("#guide-dataflow-table tbody tr").last.locator(
        "td"
    ).first.scroll_into_view_if_needed()
    after, scrolled = head.evaluate(top)
    wrapper = page.locator(".table-wrapper").first.bounding_box()
    assert wrapper is not None
    assert scrolled > 0 == before[1]
    assert after == pytest.approx(wrapper["y"], abs=2)


def test_the_toggle_changes_colours_and_is_remembered(opened: Opened, manual: Manual) -> None:
    page = opened.page
    page.goto(manual.address)
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    toggle = page.locator(".theme-toggle-content .theme-toggle")
    for _ in range(3):
        toggle.click()
        if page.evaluate(ground) != light:
            break
    dark = page.evaluate(ground)
    assert dark != light
    page.goto(f"{manual.address}glossary.html")
    assert page.evaluate(ground) == dark


def test_examples_are_copied_without_prompts(opened: Opened, manual: Manual) -> None:
    page = opened.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{manual.address}operators/qlinear_conv.html")
    block = page.locator("div.highlight:has(button.copybtn)").first
    shown = block.locator("pre").inner_text()
    block.hover()
    block.locator("button.copybtn").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).length > 0")
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert ">>> " in shown
    assert ">>>" not in copied
    assert copied.splitlines()[0] == shown.splitlines()[0].removeprefix(">>> ")


# Downloads


def test_files_to_take_along_are_whole(opened: Opened, manual: Manual, count: Count) -> None:
    links = {}
    for name in ("format.html", "conformance.html"):
        opened.page.goto(manual.address + name)
        found = opened.page.locator("article a[href*='_downloads/']")
        for link in found.evaluate_all("all => all.map(a => a.getAttribute('href'))"):
            links[link.rpartition("/")[2]] = manual.root / link
    count("files to take along", len(links))
    schema = json.loads(links["operations.schema.json"].read_text("utf-8"))
    (document,) = [path for name, path in links.items() if name.endswith("_operations.json")]
    jsonschema.validate(json.loads(document.read_text("utf-8")), schema)
    manifest_schema = json.loads(links["conformance.schema.json"].read_text("utf-8"))
    with tarfile.open(links["qdqdoc-conformance.tar.xz"]) as pack:
        told = pack.extractfile("conformance/manifest.json")
        assert told is not None
        manifest = json.load(told)
        names = {*pack.getnames()}
    assert manifest["case_count"] == len(manifest["cases"]) > 1000
    # All of it takes a minute; test_conformance.py does it.
    one = {**manifest_schema, "$ref": "#/$defs/case"}
    looked = jsonschema.Draft202012Validator({k: one[k] for k in ("$schema", "$defs", "$ref")})
    for each in manifest["cases"][::100]:
        looked.validate(each)
    case = manifest["cases"][-1]
    assert f"conformance/{case['path']}/{case['inputs'][0]['bin']['file']}" in names
    count("files in the conformance pack", len(names))
    assert all(path.stat().st_size for path in links.values())
