// Overview: is it busy, with what, and who holds the memory.

import { h } from "../dom.js";
import { bytes, count, number, seconds } from "../format.js";
import { bar, card, empty, grid, pill, stat, stats } from "../parts.js";
import { Plot } from "../plot.js";
import { page } from "../source.js";

export const overview = {
  title: "Overview",
  async load() {
    const [now, series] = await Promise.all([page("overview"), page("series")]);
    return { now, series };
  },
  view({ now, series }) {
    if (!now) return empty("Nothing was written down", "The program ended before its first second was over.");
    const tasks = sums(now.live);
    const of = (name) => series.values[name] || series.at.map(() => null);
    const ended = last(of("ended in all"));
    const failed = last(of("failed in all"));
    return [
      h("div", { class: "tiles" },
        stats(
          stat("Running", number(tasks.RUNNING || 0), "tasks and calls"),
          stat("Waiting", number(tasks.waiting), "for arguments or resources"),
          stat("Ended", number(ended || 0), failed ? h("span", { class: "bad-text" }, `${number(failed)} failed`) : "none failed"),
          stat("Actors", number(now.actors.ALIVE || 0), now.actors.DEAD ? `${number(now.actors.DEAD)} dead` : "alive"),
          stat("Processes", number(now.processes.length), `${bytes(total(now.processes, "own_bytes"))} of their own`))),
      h("div", { class: "cards" },
        card("Resources", h("ul", { class: "meters" }, now.resources.map((one) => meter(one.name, one.used, one.total, number)),
          meter("object memory", now.memory.used, now.memory.capacity, bytes, true))),
        card("Memory by who holds it", holders(now.holders)),
        card("Tasks", h(Plot, {
          title: "running, and ended a second", time: true, least: 1, x: series.at,
          lines: [{ name: "running", values: of("tasks running") }, { name: "ended/s", values: of("tasks ended/s") }],
        })),
        card("Memory", h(Plot, {
          title: "of processes, and of objects", time: true, least: 1e6, x: series.at, show: bytes,
          lines: [{ name: "processes", values: of("own memory") }, { name: "objects", values: of("memory used") }, { name: "on disk", values: of("memory on disk") }],
        })),
        card("Processor", h(Plot, {
          title: "processors in use by driver and workers", time: true, least: 1, x: series.at, lines: [{ name: "in use", values: of("cpu/s") }],
        })),
        card("What goes on", live(now.live)),
        card("Processes", { wide: true }, grid("Processes", [
          ["process", (row) => String(row.pid || "starting")], ["holds", (row) => row.holds], ["runs", (row) => row.runs],
          ["own memory", (row) => bytes(row.own_bytes), "right"], ["processor", (row) => seconds(row.cpu_s), "right"],
        ], now.processes.slice(0, 100), (row) => `${row.pid}`)),
        now.events.length ? card("Incidents", { wide: true }, grid("Incidents", [
          ["when", (row) => row.time], ["", (row) => pill(row.severity)], ["what", (row) => row.message],
        ], now.events.slice().reverse())) : null),
    ];
  },
};

function sums(live) {
  const found = { waiting: 0 };
  for (const row of live) {
    found[row.state] = (found[row.state] || 0) + row.count;
    if (row.state !== "RUNNING") found.waiting += row.count;
  }
  return found;
}

function last(values) {
  return values.length ? values[values.length - 1] : null;
}

function total(rows, key) {
  return rows.reduce((sum, row) => sum + row[key], 0);
}

function meter(name, used, of, show, warns) {
  return h("li", { key: name }, h("span", { class: "meter-name" }, name),
    h("span", { class: "meter-value" }, `${show(used)} of ${show(of)}`), bar(used, of, name, warns));
}

function holders(rows) {
  const all = rows.reduce((sum, row) => sum + row.bytes, 0);
  return h("ul", { class: "meters" }, rows.slice(0, 8).map((row) => h("li", { key: `${row.kind} ${row.who}` },
    h("span", { class: "meter-name" }, h("span", { class: `dot ${row.kind}`, "aria-hidden": "true" }), row.who),
    h("span", { class: "meter-value" }, bytes(row.bytes)), bar(row.bytes, all, row.who))),
  rows.length > 8 ? h("li", { class: "muted" }, `and ${count(rows.length - 8, "other")}`) : null);
}

function live(rows) {
  if (!rows.length) return empty("Nothing runs and nothing waits", "Tasks and calls of actors are listed here while they do.");
  const shown = rows.slice().sort((a, b) => b.count - a.count).slice(0, 12);
  return grid("What goes on", [["name", (row) => row.name], ["state", (row) => pill(row.state)], ["how many", (row) => number(row.count), "right"]],
    shown, (row) => `${row.name} ${row.state}`);
}
