// The frame: which page is shown, the way between pages, light and dark, and what went wrong.

import { h, plain, render } from "./dom.js";
import { moment, seconds } from "./format.js";
import { data } from "./pages/data.js";
import { actors, jobs, objects, tasks, workers } from "./pages/core.js";
import { logs } from "./pages/logs.js";
import { overview } from "./pages/overview.js";
import { serve } from "./pages/serve.js";
import { timeline } from "./pages/timeline.js";
import { train } from "./pages/train.js";
import { tune } from "./pages/tune.js";
import { pill } from "./parts.js";
import { isReport, page, restFor, Unreachable } from "./source.js";

const PAGES = [
  ["", { overview, timeline }],
  ["Core", { tasks, actors, objects, workers, logs }],
  ["Libraries", { data, train, tune, serve, jobs }],
];
const BY_NAME = Object.assign({}, ...PAGES.map(([, pages]) => pages));

const shown = { name: "", facts: null, session: null, error: "", gone: false };
let timer = 0;
let turn = 0;

const app = { tick: 0, redraw: draw, reload: () => load(true) };

function current() {
  const name = location.hash.slice(2);
  return Object.hasOwn(BY_NAME, name) ? name : "overview";
}

async function load(again) {
  clearTimeout(timer);
  const name = current();
  const mine = (turn += 1);
  if (shown.name !== name) {
    shown.name = name;
    shown.facts = null;
    shown.error = "";
    draw();
  }
  try {
    const [session, facts] = await Promise.all([page("session"), BY_NAME[name].load()]);
    if (mine !== turn) return;
    Object.assign(shown, { session, facts, error: "", gone: false });
    app.tick += 1;
  } catch (error) {
    if (mine !== turn) return;
    shown.error = error.message;
    shown.gone = error instanceof Unreachable;
  }
  draw();
  if (!isReport && !(shown.session && shown.session.ended_at) && !document.hidden) {
    timer = setTimeout(load, shown.gone ? 5000 : restFor());
  }
  if (again === "navigated") arrive();
}

function arrive() {
  document.getElementById("main").focus({ preventScroll: true });
  showWhere();
  scrollTo(0, 0);
}

// On a phone the names of the pages are a line that is longer than the screen.
function showWhere() {
  document.querySelector(".side [aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
}

function draw() {
  const { name, facts, session, error, gone } = shown;
  const title = BY_NAME[name].title;
  document.title = plain(`${title} - ${session ? session.program : "Heliostat"}`);
  render(document.body, [
    h("a", { class: "skip", href: "#main", onclick: skip }, "Skip to the page"),
    h("div", { class: "frame", key: "frame" }, side(name), h("div", { class: "content" },
      top(session),
      h("main", { id: "main", tabindex: "-1" },
        h("h1", {}, title),
        error ? h("p", { class: "problem", role: "alert" }, error, gone && session ? h("span", {}, " What was written down: ", h("code", {}, `heliostat report ${session.run}`)) : null) : null,
        facts === null ? (error ? null : h("p", { class: "muted" }, "reading…")) : h("div", { class: "page", key: `page ${name}` }, view(name, facts))))),
  ]);
}

function view(name, facts) {
  try {
    return BY_NAME[name].view(facts, app);
  } catch (error) {
    console.error(error);
    return h("p", { class: "problem", role: "alert" }, `This page could not be drawn: ${error.message}`);
  }
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function side(name) {
  return h("nav", { class: "side", "aria-label": "Pages" },
    h("div", { class: "brand" }, logo(), h("span", {}, "heliostat")),
    PAGES.map(([group, pages]) => h("div", { class: "group", key: group },
      group ? h("p", { class: "group-name" }, group) : null,
      h("ul", {}, Object.entries(pages).map(([key, one]) => h("li", { key },
        h("a", { href: `#/${key}`, "aria-current": key === name ? "page" : undefined }, one.title)))))));
}

function logo() {
  return h("svg", { viewBox: "0 0 24 24", width: 22, height: 22, "aria-hidden": "true", class: "logo" },
    h("circle", { cx: 16.5, cy: 7.5, r: 3.5, class: "sun" }), h("path", { d: "M3 14l10 6M8 17v5M5 22h6M9.5 12.5l3-2.5" }));
}

function top(session) {
  const over = session && session.ended_at;
  const until = session ? session.ended_at || session.now : null;
  return h("header", { class: "top" },
    session ? [
      h("span", { class: "program", title: session.program }, session.program),
      pill(over ? "ENDED" : isReport || !session.now ? "STOPPED" : "LIVE"),
      h("span", { class: "muted grow" }, until ? `${seconds(until - session.started_at)}, ` : "", `process ${session.pid}`,
        h("span", { class: "wide-only" }, `, began ${moment(session.started_at)}, heliostat ${session.heliostat}, Python ${session.python}`)),
    ] : h("span", { class: "muted grow" }, "reading…"),
    h("button", { type: "button", class: "theme", onclick: toggle, "aria-label": isDark() ? "Light colours" : "Dark colours" }, isDark() ? "☀" : "☾"));
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function toggle() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch (error) {
    // A report from a file may have no storage: then the choice is for this time.
  }
  themed();
}

function themed() {
  window.dispatchEvent(new Event("themechange"));
  draw();
}

function begin() {
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch (error) {
    // As above.
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);
  window.addEventListener("hashchange", () => load("navigated"));
  document.addEventListener("visibilitychange", () => document.hidden || load());
  load();
}

begin();
