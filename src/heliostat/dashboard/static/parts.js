// What pages are made of: cards, figures in large type, states, bars, empty places.

import { h } from "./dom.js";
import { number } from "./format.js";

export function card(title, ...body) {
  const options = body.length && body[0] && body[0].tag === undefined && typeof body[0] === "object" && !Array.isArray(body[0]) ? body.shift() : {};
  return h("section", { class: `card ${options.wide ? "wide" : ""}`, key: options.key },
    h("header", { class: "card-head" }, h("h2", {}, title), options.aside), body);
}

export function stat(label, value, note) {
  return h("div", { class: "stat" }, h("dt", {}, label), h("dd", {}, value, note ? h("small", {}, note) : null));
}

export function stats(...all) {
  return h("dl", { class: "stats" }, all);
}

const TONES = {
  RUNNING: "busy", ALIVE: "good", HEALTHY: "good", FINISHED: "good", SUCCEEDED: "good", TERMINATED: "good", CREATED: "good",
  COMMITTED: "good", VALIDATED: "good", FAILED: "bad", ERROR: "bad", ERRORED: "bad", UNHEALTHY: "bad", DEPLOY_FAILED: "bad",
  DEAD: "idle", REMOVED: "idle", STOPPED: "idle", ENDED: "idle", done: "good", lost: "bad", working: "busy", LIVE: "good",
};

const WORDS = { PENDING_NODE_ASSIGNMENT: "waits for a worker", PENDING_ARGS_AVAIL: "waits for arguments" };

export function pill(state) {
  const text = String(state);
  const words = WORDS[text] || text.toLowerCase().replaceAll("_", " ");
  return h("span", { class: `pill ${TONES[text] || "wait"}` }, words);
}

export function bar(used, total, label, warns) {
  const share = total > 0 ? Math.min(1, Math.max(0, used / total)) : 0;
  return h("div", {
    class: "bar", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": total || 1, "aria-valuenow": Math.min(used, total || 1),
  }, h("span", { class: warns && share > 0.9 ? "full" : undefined, style: { width: `${(share * 100).toFixed(1)}%` } }));
}

export function empty(title, text, example) {
  return h("div", { class: "empty" },
    h("p", { class: "empty-title" }, title), h("p", {}, text), example ? h("pre", { class: "code" }, example) : null);
}

export function problem(text) {
  return text ? h("pre", { class: "problem" }, text) : null;
}

// A plain table for few rows. Columns: [title, row => cell, "right"?].
export function grid(label, columns, rows, keyOf) {
  return h("div", { class: "table-scroll fit", tabindex: "0", role: "region", "aria-label": label },
    h("table", { class: "auto" },
      h("thead", {}, h("tr", {}, columns.map(([title, , align]) => h("th", { scope: "col", class: align }, title)))),
      h("tbody", {}, rows.map((row, index) => h("tr", { key: keyOf ? keyOf(row) : index },
        columns.map(([, show, align]) => {
          const cell = show(row);
          return h("td", { class: align, title: typeof cell === "string" ? cell : undefined }, cell === null || cell === undefined || cell === "" ? "–" : cell);
        }))))));
}

export function choice(label, options, chosen, change) {
  return h("div", { class: "choice", role: "group", "aria-label": label }, options.map(([value, text]) =>
    h("button", { type: "button", "aria-pressed": value === chosen ? "true" : "false", onclick: () => change(value) }, text)));
}

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== undefined).map(([name, value]) =>
    [h("dt", {}, name), h("dd", {}, value === null || value === "" ? "–" : typeof value === "number" ? number(value) : value)]));
}

// All fields of a row, in a dialog that Escape closes.
export function openDetails(title, row) {
  const dialog = document.createElement("dialog");
  const close = document.createElement("button");
  close.type = "button";
  close.className = "close";
  close.textContent = "Close";
  close.onclick = () => dialog.close();
  const heading = document.createElement("h2");
  heading.textContent = title || "(no name)";
  const list = document.createElement("dl");
  list.className = "facts";
  for (const [name, value] of Object.entries(row)) {
    const term = document.createElement("dt");
    term.textContent = name.replaceAll("_", " ");
    const text = document.createElement("dd");
    text.textContent = value === null || value === "" ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value);
    list.append(term, text);
  }
  dialog.append(heading, list, close);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}
