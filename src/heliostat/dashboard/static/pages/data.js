// Data: executions of datasets, operator by operator.

import { h } from "../dom.js";
import { bytes, count, moment, number, seconds } from "../format.js";
import { bar, card, empty, grid, pill, problem } from "../parts.js";
import { page } from "../source.js";

// What was seen before, to tell how fast rows come.
const rates = new Map();

export const data = {
  title: "Data",
  async load() {
    const found = await page("data");
    return ((found && found.rows) || []).slice().reverse();
  },
  view(rows) {
    if (!rows.length) return card("Data", { wide: true }, empty("No dataset has run", "Each execution is shown here with its operators, while it runs and afterwards.", "ds = ray.data.read_parquet(\"trips/\").map_batches(clean)\nds.write_parquet(\"clean/\")"));
    return rows.slice(0, 30).map((one) => execution(one));
  },
};

function execution(one) {
  const last = one.operators[one.operators.length - 1];
  const overall = last && one.seconds > 0 ? last.rows_out / one.seconds : null;
  const now = one.state === "RUNNING" ? rate(`${one.started_at}`, one.seconds, last ? last.rows_out : 0) : null;
  return card(one.name || "dataset", { wide: true, key: `${one.started_at} ${one.name}`, aside: pill(one.state) },
    h("p", { class: "muted" }, `${moment(one.started_at)}, ${seconds(one.seconds)}, ${number(last ? last.rows_out : 0)} rows, `,
      `${number(Math.round(now === null ? overall || 0 : now))} rows/s${now === null ? " overall" : ""}`),
    problem(one.error),
    h("div", { class: "meters tight" }, h("div", {}, h("span", { class: "meter-name" }, "blocks held"),
      h("span", { class: "meter-value" }, `${bytes(one.held_bytes)} of ${bytes(one.budget_bytes)}`), bar(one.held_bytes, one.budget_bytes, "blocks held", true))),
    grid(`Operators of ${one.name}`, [
      ["operator", (row) => row.name], ["runs", (row) => row.place],
      ["rows in", (row) => number(row.rows_in), "right"], ["rows out", (row) => number(row.rows_out), "right"],
      ["rows/s busy", (row) => number(Math.round(row.busy_s > 0 ? row.rows_out / row.busy_s : 0)), "right"],
      ["bytes", (row) => bytes(row.bytes_out), "right"], ["busy", (row) => seconds(row.busy_s), "right"],
      ["tasks", (row) => (row.running ? `${number(row.tasks)} + ${row.running} now` : number(row.tasks)), "right"],
      ["actors", (row) => (row.actors ? number(row.actors) : ""), "right"],
      ["holds", (row) => bytes(row.held_bytes), "right"],
      ["", (row) => notes(row)],
    ], one.operators));
}

function notes(row) {
  const found = [];
  if (row.held_back) found.push(h("span", { class: "pill wait" }, "held back: memory is full"));
  else if (row.waiting_blocks) found.push(h("span", { class: "muted" }, `${count(row.waiting_blocks, "block")} wait for the next`));
  if (row.retries) found.push(h("span", { class: "pill wait" }, count(row.retries, "retry", "retries")));
  if (row.failed_rows) found.push(h("span", { class: "pill bad" }, `${count(row.failed_rows, "row")} failed`));
  return found.length ? h("span", { class: "notes" }, found) : " ";
}

function rate(key, at, rows) {
  const before = rates.get(key);
  if (before && at - before.at < 0.5) return before.rate;
  const fresh = before ? (rows - before.rows) / (at - before.at) : null;
  rates.set(key, { at, rows, rate: fresh });
  return fresh;
}
