// What the tests ask of each page. Run in the page, nothing of it is part of the manual.
({
  /** Facts that do not depend on width and colours. */
  facts() {
    const article = document.querySelector("article");
    const rows = [...article.querySelectorAll("table.docutils > tbody > tr")];
    const links = [...document.querySelectorAll("a")].map((a) => a.href.baseVal ?? a.getAttribute("href"));
    const pictures = [...document.querySelectorAll("img, .qdq-picture svg")];
    const named = (el) => (el.getAttribute("alt") || el.getAttribute("aria-label") || "").trim();
    const ids = [...document.querySelectorAll("[id]")].map((el) => el.id);
    return {
      language: document.documentElement.lang,
      title: document.title,
      base: document.baseURI,
      ids,
      repeated: ids.filter((id, k) => ids.indexOf(id) !== k),
      links: links.filter((link) => link !== null && link !== undefined),
      headings: [...article.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((h) => Number(h.tagName[1])),
      second: [...article.querySelectorAll("h2")].map((h) => h.firstChild.textContent),
      pictures: pictures.length,
      unnamed: pictures.filter((el) => !named(el)).map((el) => el.outerHTML.slice(0, 80)),
      rows: rows.length,
      unmarked: rows.filter((row) => {
        const link = row.querySelector(":scope > :first-child a.qdq-row-link");
        return !row.id || !link || link.getAttribute("href") !== `#${row.id}`;
      }).map((row) => row.textContent.slice(0, 60)),
      heads: [...article.querySelectorAll(".table-wrapper > table.qdq-table > thead > tr > *")]
        .map((cell) => getComputedStyle(cell).position),
      landmarks: ["[role=main], main", "aside[aria-label], nav", "[role=search]", "footer"]
        .filter((wanted) => !document.querySelector(wanted)),
    };
  },

  /** How far the page is wider than the window, and what sticks out. */
  overflow() {
    const root = document.documentElement;
    const beyond = root.scrollWidth - root.clientWidth;
    const scrolls = (el) => el && (getComputedStyle(el).overflowX !== "visible" || scrolls(el.parentElement));
    const out = beyond <= 0 ? [] : [...document.querySelectorAll("article *")]
      .filter((el) => el.getBoundingClientRect().right > root.clientWidth + 1 && !scrolls(el.parentElement));
    return { beyond, out: out.slice(0, 3).map((el) => el.outerHTML.slice(0, 120)) };
  },

  /** Contrast of all text that is seen, by the formula of WCAG 2.1: what is below level AA. */
  contrast() {
    const parse = (text) => {
      const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
      return { r, g, b, a };
    };
    const over = (top, under) => Object.fromEntries(
      ["r", "g", "b"].map((c) => [c, top.a * top[c] + (1 - top.a) * under[c]]).concat([["a", 1]]),
    );
    const channel = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = (c) => 0.2126 * channel(c.r) + 0.7152 * channel(c.g) + 0.0722 * channel(c.b);
    const grounds = new Map();
    const ground = (el) => {
      if (!el) return { r: 255, g: 255, b: 255, a: 1 };
      if (!grounds.has(el)) {
        const own = parse(getComputedStyle(el).backgroundColor);
        grounds.set(el, own.a === 1 ? own : over(own, ground(el.parentElement)));
      }
      return grounds.get(el);
    };
    const faint = (el) => (el ? Number(getComputedStyle(el).opacity) * faint(el.parentElement) : 1);
    const poor = new Map();
    const seen = new Set();
    let texts = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const el = walker.currentNode.parentElement;
      if (!walker.currentNode.data.trim() || seen.has(el) || el.closest("script, style, noscript")) continue;
      seen.add(el);
      // Text in boxes of a drawing has its own ground: a test of the theme's inks speaks for it.
      const drawn = el.closest("svg");
      if (drawn && el.closest(".node, .edge")) continue;
      if (!el.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
      texts += 1;
      const style = getComputedStyle(el);
      const under = ground(drawn ? drawn.parentElement : el);
      const ink = parse(drawn ? style.fill : style.color);
      const top = over({ ...ink, a: ink.a * faint(el) }, under);
      const [dark, light] = [luminance(top), luminance(under)].sort((a, b) => a - b);
      const ratio = (light + 0.05) / (dark + 0.05);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      if (ratio < (large ? 3 : 4.5)) {
        const key = `${style.color} on ${JSON.stringify(under)}`;
        if (!poor.has(key)) poor.set(key, `${ratio.toFixed(2)}: ${el.outerHTML.slice(0, 90)}`);
      }
    }
    return { texts, poor: [...poor.values()] };
  },
});
