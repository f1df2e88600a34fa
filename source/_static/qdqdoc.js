// Pictures that can be enlarged and moved, links between rows and boxes, and what the keyboard needs.
// Without this script pictures are fitted to the page and all links work.
"use strict";

(() => {
  const STEP = 1.25;
  const LARGEST = 4;
  const PIXELS_PER_POINT = 4 / 3;
  const SMALLEST_MOVE = 4;

  const make = (tag, settings, ...children) => {
    const made = Object.assign(document.createElement(tag), settings);
    made.append(...children);
    return made;
  };

  /** A drawing in a window that scrolls by itself: moving is scrolling, enlarging is its width. */
  class Picture {
    constructor(box, drawing) {
      this.drawing = drawing;
      this.natural = drawing.viewBox.baseVal.width * PIXELS_PER_POINT;
      const words = drawing.getAttribute("aria-label") || "Picture";
      this.view = make("div", { className: "qdq-window", tabIndex: 0 });
      this.view.setAttribute("role", "region");
      this.view.setAttribute("aria-label", `${words} Keys: plus, minus, zero to fit, arrows to move.`);
      this.told = make("output", { className: "qdq-scale" });
      drawing.replaceWith(this.view);
      this.view.append(drawing);
      box.classList.add("qdq-zoomable");
      box.insertBefore(this.tools(), this.view);
      this.tell();
      this.thin();
      this.listen();
    }

    tools() {
      const button = (text, label, act) => {
        const made = make("button", { type: "button", textContent: text, title: label, onclick: act });
        made.setAttribute("aria-label", label);
        return made;
      };
      const bar = make(
        "div",
        { className: "qdq-tools" },
        button("−", "Smaller", () => this.by(1 / STEP)),
        this.told,
        button("+", "Larger", () => this.by(STEP)),
        button("Fit", "Fit the picture to the page", () => this.fit()),
        make("span", { className: "qdq-hint", textContent: "Drag to move; Ctrl and wheel, or + and −, to zoom." }),
      );
      bar.setAttribute("role", "group");
      bar.setAttribute("aria-label", "Size of the picture");
      return bar;
    }

    get scale() {
      return this.drawing.getBoundingClientRect().width / this.natural;
    }

    tell() {
      this.told.textContent = `${Math.round(100 * this.scale)} %`;
    }

    fit() {
      this.drawing.style.width = "";
      this.drawing.classList.remove("qdq-sized");
      this.tell();
    }

    /** Enlarge, and keep the point under the pointer, or the middle, where it is. */
    by(factor, at) {
      const seen = this.view.getBoundingClientRect();
      const x = at ? at.clientX - seen.left : seen.width / 2;
      const y = at ? at.clientY - seen.top : seen.height / 2;
      const before = this.drawing.getBoundingClientRect();
      const [u, v] = [(seen.left + x - before.left) / before.width, (seen.top + y - before.top) / before.height];
      this.to(before.width / this.natural * factor);
      const after = this.drawing.getBoundingClientRect();
      this.view.scrollBy(after.left + u * after.width - seen.left - x, after.top + v * after.height - seen.top - y);
    }

    to(scale) {
      const fitted = Math.min(1, this.view.clientWidth / this.natural);
      const wanted = Math.min(LARGEST, scale);
      if (wanted <= fitted) {
        this.fit();
        return;
      }
      this.drawing.classList.add("qdq-sized");
      this.drawing.style.width = `${wanted * this.natural}px`;
      this.tell();
    }

    /** Show a box at a size at which it can be read, in the middle. */
    reveal(box) {
      if (this.scale < 1) this.to(1);
      box.scrollIntoView({ block: "center", inline: "center" });
    }

    /** One stop of the tab key for each place that boxes lead to. */
    thin() {
      const seen = new Set();
      for (const link of this.drawing.querySelectorAll("a[*|href]")) {
        const place = link.href.baseVal;
        if (seen.has(place)) link.setAttribute("tabindex", "-1");
        seen.add(place);
      }
    }

    listen() {
      this.view.addEventListener("wheel", (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.by(Math.exp(-event.deltaY / 400), event);
      }, { passive: false });
      this.view.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        const acts = { "+": () => this.by(STEP), "=": () => this.by(STEP), "-": () => this.by(1 / STEP), 0: () => this.fit() };
        const act = acts[event.key];
        if (!act) return;
        event.preventDefault();
        act();
      });
      window.addEventListener("resize", () => this.tell());
      this.drag();
    }

    /** Move with a mouse; fingers scroll by themselves. A drag that begins on a link follows none. */
    drag() {
      let from = null;
      let moved = false;
      this.view.addEventListener("dragstart", (event) => event.preventDefault());
      this.view.addEventListener("pointerdown", (event) => {
        moved = false;
        if (event.pointerType === "mouse" && event.button === 0) from = event;
      });
      this.view.addEventListener("pointermove", (event) => {
        if (!from) return;
        const [dx, dy] = [event.clientX - from.clientX, event.clientY - from.clientY];
        if (!moved && Math.hypot(dx, dy) < SMALLEST_MOVE) return;
        if (!moved) this.view.setPointerCapture(event.pointerId);
        moved = true;
        this.view.classList.add("qdq-moving");
        this.view.scrollBy(-dx, -dy);
        from = event;
      });
      const stop = () => {
        from = null;
        this.view.classList.remove("qdq-moving");
      };
      this.view.addEventListener("pointerup", stop);
      this.view.addEventListener("pointercancel", stop);
      this.view.addEventListener("click", (event) => {
        if (moved) event.preventDefault();
      }, true);
    }
  }

  const pictures = [];
  for (const box of document.querySelectorAll(".qdq-picture:not(.qdq-plot)")) {
    const drawing = box.querySelector("svg");
    if (drawing) pictures.push(new Picture(box, drawing));
  }

  /** A link to a box inside a picture: the box is brought into view. */
  const arrive = () => {
    const wanted = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const picture = wanted && pictures.find((one) => one.drawing !== wanted && one.drawing.contains(wanted));
    if (picture) picture.reveal(wanted);
  };
  window.addEventListener("hashchange", arrive);
  window.addEventListener("load", arrive);

  // One stop of the tab key for each table: the arrows go from row to row.
  for (const body of document.querySelectorAll("table > tbody")) {
    const links = [...body.querySelectorAll(":scope > tr > :first-child a.qdq-row-link")];
    links.slice(1).forEach((link) => { link.tabIndex = -1; });
    body.addEventListener("keydown", (event) => {
      const next = links.indexOf(event.target) + { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!links.includes(event.target) || !links[next]) return;
      event.preventDefault();
      event.target.tabIndex = -1;
      links[next].tabIndex = 0;
      links[next].focus();
    });
  }

  // What scrolls by itself must be reachable without a pointer.
  const reach = () => {
    for (const box of document.querySelectorAll("article pre, .table-wrapper, .qdq-math")) {
      if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  window.addEventListener("resize", reach);
  reach();

  // Sphinx turns pages with the arrows to the sides; where the focus can scroll, they scroll.
  window.addEventListener("keydown", (event) => {
    const aside = event.key === "ArrowLeft" || event.key === "ArrowRight";
    if (aside && event.target.closest(".qdq-window, .table-wrapper, .qdq-math, pre")) event.stopPropagation();
  }, true);

  // The theme's two drawers: named, and opened by keys as well.
  document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "Pages");
  document.querySelector(".toc-drawer")?.setAttribute("aria-label", "On this page");
  for (const label of document.querySelectorAll("label.nav-overlay-icon, label.toc-overlay-icon")) {
    const switched = document.getElementById(label.htmlFor);
    if (!switched) continue;
    label.tabIndex = 0;
    label.setAttribute("role", "button");
    label.setAttribute("aria-label", switched.getAttribute("aria-label"));
    label.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      switched.click();
    });
  }
})();
