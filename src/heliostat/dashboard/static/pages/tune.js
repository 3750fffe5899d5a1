// Tune: studies with live curves, parallel coordinates and the table of trials.

import { h } from "../dom.js";
import { number, seconds } from "../format.js";
import { card, empty, openDetails, pill, stat, stats } from "../parts.js";
import { colour, Plot } from "../plot.js";
import { page } from "../source.js";
import { Table } from "../table.js";

const BUSY = 24; // curves of a plot
const MOST_LINES = 300; // of the parallel coordinates

const look = { which: "" };

export const tune = {
  title: "Tune",
  async load() {
    const found = await page("tune");
    return ((found && found.rows) || []).slice().reverse();
  },
  view(rows, app) {
    if (!rows.length) return card("Tune", { wide: true }, empty("Nothing was tuned", "Studies are shown here while their trials run, and afterwards.", "tuner = ray.tune.Tuner(objective, param_space={\"lr\": tune.loguniform(1e-4, 1e-1)})\ntuner.fit()"));
    const names = rows.map((row) => row.path);
    if (!names.includes(look.which)) look.which = names[0];
    const study = rows[names.indexOf(look.which)];
    return [
      rows.length > 1 ? h("div", { class: "tools" }, h("select", {
        "aria-label": "Study", value: look.which,
        onchange: (event) => {
          look.which = event.target.value;
          app.redraw();
        },
      }, rows.map((row) => h("option", { value: row.path, selected: row.path === look.which }, row.name)))) : null,
      studyOf(study, app),
    ];
  },
};

function studyOf(study, app) {
  const best = study.metric ? study.trials.filter((one) => typeof one.metrics[study.metric] === "number")
    .sort((a, b) => (study.mode === "max" ? -1 : 1) * (a.metrics[study.metric] - b.metrics[study.metric]))[0] : undefined;
  const of = (state) => study.counts[state] || 0;
  const made = Object.values(study.counts).reduce((sum, n) => sum + n, 0);
  return [
    h("div", { class: "tiles" }, stats(
      stat("Study", study.name, pill(study.state)),
      stat("Trials", study.total ? `${number(of("TERMINATED") + of("ERROR"))} of ${number(study.total)}` : number(made), `${number(of("RUNNING"))} run`),
      stat("Failed", number(of("ERROR")), seconds(study.seconds)),
      stat(study.metric ? `Best ${study.metric}` : "Metric", best ? number(best.metrics[study.metric]) : "–", best ? best.name : study.metric ? "nothing reported yet" : "none was given"))),
    h("div", { class: "cards" },
      card(study.metric ? `${study.metric} by report` : "Curves", { wide: true }, curves(study)),
      card("Parallel coordinates", { wide: true }, coordinates(study))),
    card("Trials", { wide: true, key: study.path }, trialTable(study, app)),
  ];
}

function curves(study) {
  const with_ = study.trials.filter((one) => one.curve.length > 1).slice(0, BUSY);
  if (!with_.length) return h("p", { class: "muted" }, study.metric ? "No trial has reported twice: one report a trial is drawn below." : "Say what is tuned: TuneConfig(metric=..., mode=...).");
  const xs = [...new Set(with_.flatMap((one) => one.curve.map(([x]) => x)))].sort((a, b) => a - b);
  const at = new Map(xs.map((x, index) => [x, index]));
  const lines = with_.map((one) => {
    const values = xs.map(() => null);
    for (const [x, y] of one.curve) values[at.get(x)] = y;
    return { name: one.name, values };
  });
  return h("div", { class: "quiet-legend" }, h(Plot, { title: `the best and the running of ${number(study.trials.length)} trials`, x: xs, xname: "report", lines, height: 240 }));
}

function coordinates(study) {
  const axes = [...study.parameters.map((name) => ({ name, of: (one) => one.config[name] }))];
  if (study.metric) axes.push({ name: study.metric, of: (one) => one.metrics[study.metric] });
  const rows = study.trials.filter((one) => axes.every((axis) => axis.of(one) !== null && axis.of(one) !== undefined)).slice(0, MOST_LINES);
  if (axes.length < 2 || rows.length < 2) return h("p", { class: "muted" }, "Two trials that have reported are needed, and something that is searched.");
  const width = Math.max(320, axes.length * 150);
  const places = axes.map((axis, index) => placed(axis, rows, 60 + (index * (width - 120)) / (axes.length - 1)));
  const goal = places[places.length - 1];
  return h("div", { class: "scroll-x", tabindex: "0", role: "region", "aria-label": "Parallel coordinates" },
    h("svg", { viewBox: `0 0 ${width} 250`, class: "coordinates", role: "img", "aria-label": `${rows.length} trials over ${axes.map((axis) => axis.name).join(", ")}`, style: { "min-width": `${Math.min(width, 900)}px` } },
      rows.map((row) => h("polyline", {
        key: row.trial_id, class: "coordinate", stroke: shade(goal.y(row), study), "stroke-opacity": rows.length > 80 ? "0.35" : "0.6",
        points: places.map((place) => `${place.x.toFixed(1)},${place.y(row).toFixed(1)}`).join(" "),
      }, h("title", {}, `${row.name}: ${axes.map((axis) => `${axis.name} ${number(axis.of(row))}`).join(", ")}`))),
      places.map((place) => h("g", { key: `axis ${place.name}` },
        h("line", { x1: place.x, x2: place.x, y1: 30, y2: 220, class: "axis" }),
        h("text", { x: place.x, y: 14, class: "axis-name" }, place.name),
        place.marks.map(([text, y]) => h("text", { x: place.x + 5, y: y + 4, class: "axis-mark" }, text))))));
}

function placed(axis, rows, x) {
  const values = rows.map(axis.of);
  if (values.every((value) => typeof value === "number")) {
    const low = Math.min(...values);
    const high = Math.max(...values);
    const log = low > 0 && high / low > 50;
    const scale = (value) => (high === low ? 0.5 : log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
    return { name: axis.name, x, y: (row) => 220 - 190 * scale(axis.of(row)), marks: high === low ? [[number(low), 125]] : [[number(high, 3), 30], [number(low, 3), 220]] };
  }
  const kinds = [...new Set(values.map(String))].sort();
  const level = (value) => (kinds.length < 2 ? 125 : 220 - (190 * kinds.indexOf(String(value))) / (kinds.length - 1));
  return { name: axis.name, x, y: (row) => level(axis.of(row)), marks: kinds.slice(0, 12).map((kind) => [kind.slice(0, 14), level(kind)]) };
}

// From the best (the first colour) to the worst (grey).
function shade(y, study) {
  const good = study.mode === "max" ? (220 - y) / 190 : (y - 30) / 190;
  return good > 0.8 ? colour(0) : good > 0.5 ? colour(1) : colour(7);
}

function trialTable(study, app) {
  const columns = [
    { key: "name", title: "trial", width: "12rem" },
    { key: "state", title: "state", width: "8rem", show: (row) => pill(row.state) },
    ...study.metrics.slice(0, 5).map((name) => ({ key: `metrics.${name}`, title: name, width: "8rem", align: "right", show: (row) => number(row.metrics[name]) })),
    ...study.parameters.slice(0, 8).map((name) => ({ key: `config.${name}`, title: name, width: "8rem", align: "right", show: (row) => number(row.config[name]) })),
    { key: "iteration", title: "reports", width: "6rem", align: "right", show: (row) => number(row.iteration) },
    { key: "seconds", title: "took", width: "6rem", align: "right", show: (row) => seconds(row.seconds) },
    ...(study.counts.ERROR ? [{ key: "error", title: "error", width: "16rem", show: (row) => row.error }] : []),
  ];
  return h(Table, {
    kind: "trials", columns, query: { text: "", state: "", of: study.path }, label: "Trials", tick: app.tick,
    open: (row) => openDetails(row.name, row), none: empty("No trial yet", "The first is being made."),
  });
}
