// A table of any length: rows are fetched a page at a time, and only those in sight are in the
// document. It is a real table, scrolled by mouse, touch or keys.

import { h, render } from "./dom.js";
import { number } from "./format.js";
import { rowsOf } from "./source.js";

const ROW = 33;
const PAGE = 100;
const SPARE = 8;
const MANY = 1000;
const TIGHT = 0.88; // of the widths that columns ask for: with less, the table is scrolled sideways

// Props: kind, columns ([{key, title, width, show(row), align, sort}]), query ({text, state, of}),
// open(row), none (a description of an empty table), tick (changes when rows may have changed),
// all (how many there have been, if rows are of the newest only).
export const Table = {
  mount(first) {
    const element = document.createElement("div");
    element.className = "table";
    let props = first;
    let pages = new Map();
    let total = null;
    let leftOut = 0;
    let sort = first.sort || "";
    let down = true;
    let tick;
    let asked = "";
    let error = "";
    let generation = 0;

    function query() {
      return { ...props.query, sort, down: down ? "1" : "0" };
    }

    async function load(index, mine) {
      try {
        const found = await rowsOf(props.kind, { ...query(), start: index * PAGE, most: PAGE });
        if (mine !== generation) return;
        pages.set(index, found.rows);
        total = found.total;
        leftOut = found.left_out || 0;
        error = "";
      } catch (problem) {
        if (mine !== generation) return;
        error = problem.message;
      }
      draw();
    }

    function visible() {
      const box = element.querySelector(".table-scroll");
      const from = box ? Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE) : 0;
      const rows = box ? Math.ceil((box.clientHeight || 600) / ROW) + 2 * SPARE : 40;
      return [from, Math.min(total === null ? rows : total, from + rows)];
    }

    function need(again) {
      const [from, to] = visible();
      const firstPage = Math.floor(from / PAGE);
      const lastPage = Math.max(firstPage, Math.floor(Math.max(0, to - 1) / PAGE));
      if (again) {
        for (const index of pages.keys()) {
          if (index < firstPage || index > lastPage) pages.delete(index);
        }
      }
      for (let index = firstPage; index <= lastPage; index += 1) {
        if (again || !pages.has(index)) {
          if (!pages.has(index)) pages.set(index, null);
          load(index, generation);
        }
      }
    }

    function restart() {
      generation += 1;
      pages = new Map();
      total = null;
      const box = element.querySelector(".table-scroll");
      if (box) box.scrollTop = 0;
      need(false);
    }

    function order(column) {
      if (sort === column.key) down = !down;
      else [sort, down] = [column.key, true];
      restart();
      draw();
    }

    function draw() {
      render(element, view());
    }

    function view() {
      if (error) return h("p", { class: "problem", role: "alert" }, error);
      if (total === 0) return props.none;
      const [from, to] = visible();
      const widths = props.columns.map((one) => parseFloat(one.width));
      const wide = widths.reduce((sum, one) => sum + one, 0);
      const body = [];
      for (let index = from; index < to; index += 1) {
        const page = pages.get(Math.floor(index / PAGE));
        body.push(line(page ? page[index % PAGE] : undefined, index));
      }
      const after = Math.max(0, (total || 0) - to) * ROW;
      return [
        h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": props.label, onscroll: scrolled },
          h("table", { "aria-rowcount": total === null ? -1 : total + 1, style: { width: "100%", "min-width": `${TIGHT * wide}rem` } },
            h("colgroup", {}, widths.map((one) => h("col", { style: { width: `${(100 * one) / wide}%` } }))),
            h("thead", {}, h("tr", { "aria-rowindex": 1 }, props.columns.map(head))),
            h("tbody", {},
              h("tr", { class: "space", "aria-hidden": "true" }, h("td", { style: { height: `${from * ROW}px` }, colspan: props.columns.length })),
              body,
              h("tr", { class: "space", "aria-hidden": "true" }, h("td", { style: { height: `${after}px` }, colspan: props.columns.length }))))),
        h("p", { class: "muted table-foot" }, total === null ? "reading…" : foot()),
      ];
    }

    function foot() {
      const text = `${number(total)} ${total === 1 ? "row" : "rows"}`;
      // The two are counted at moments that differ: a few more are no news.
      if ((props.all || 0) - total > MANY) return `${text}; ${number(props.all)} have ended: older ones, and some of many at once, are not listed`;
      return leftOut ? `${text}; ${number(leftOut)} more were left out of this report` : text;
    }

    function head(column) {
      const sorted = sort === column.key ? (down ? "descending" : "ascending") : undefined;
      const title = column.sort === false
        ? column.title
        : h("button", { type: "button", class: "sort", onclick: () => order(column) },
            column.title, h("span", { "aria-hidden": "true" }, sorted ? (down ? " ↓" : " ↑") : ""));
      return h("th", { scope: "col", class: column.align === "right" ? "right" : undefined, "aria-sort": sorted }, title);
    }

    function line(row, index) {
      if (!row) {
        return h("tr", { class: "row", "aria-rowindex": index + 2 }, props.columns.map(() => h("td", {}, h("span", { class: "ghost" }, " "))));
      }
      return h("tr", { class: "row", "aria-rowindex": index + 2 }, props.columns.map((column, at) => {
        const shown = column.show ? column.show(row) : row[column.key];
        const cell = at === 0 && props.open
          ? h("button", { type: "button", class: "link", onclick: () => props.open(row) }, shown === "" ? "(no name)" : shown)
          : shown;
        const text = typeof shown === "string" ? shown : undefined;
        return h("td", { class: column.align === "right" ? "right" : undefined, title: text }, cell === null || cell === undefined ? "–" : cell);
      }));
    }

    function scrolled() {
      need(false);
      draw();
    }

    return {
      element,
      update(next) {
        props = next;
        const now = JSON.stringify([next.kind, next.query]);
        if (now !== asked) {
          asked = now;
          tick = next.tick;
          restart();
        } else if (next.tick !== tick) {
          tick = next.tick;
          need(true);
        }
        draw();
      },
      destroy() {
        generation += 1;
      },
    };
  },
};
