// Serve: applications, replicas, requests, latencies, and how many replicas there were when.

import { h } from "../dom.js";
import { milliseconds, moment, number } from "../format.js";
import { card, empty, grid, pill, problem } from "../parts.js";
import { Plot } from "../plot.js";
import { page } from "../source.js";

export const serve = {
  title: "Serve",
  async load() {
    const [found, series] = await Promise.all([page("serve"), page("series")]);
    return { apps: (found && found.applications) || [], series };
  },
  view({ apps, series }) {
    if (!apps.length) return card("Serve", { wide: true }, empty("Nothing is served", "Applications are shown here with their replicas and requests.", "@serve.deployment\nclass Model: ...\n\nserve.run(Model.bind())"));
    return apps.map((app) => application(app, series));
  },
};

function application(app, series) {
  const keys = app.deployments.map((one) => [one.name, `${app.name}/${one.name}`]);
  const lines = (prefix) => keys.map(([name, key]) => ({ name, values: series.values[`${prefix} ${key}`] || series.values[`${prefix} ${key}/s`] }))
    .filter((line) => line.values);
  const latency = keys.flatMap(([name, key]) => ["p50", "p95", "p99"].map((share) => ({ name: `${share} ${name}`, values: series.values[`${share} ${key}`] })))
    .filter((line) => line.values);
  return [
    card(app.name, { wide: true, key: app.name, aside: pill(app.status) },
      h("p", { class: "muted" }, `deployed ${moment(app.deployed_at)}`), problem(app.message),
      grid(`Deployments of ${app.name}`, [
        ["deployment", (row) => row.name], ["state", (row) => pill(row.status)],
        ["replicas", (row) => Object.entries(row.replicas).map(([state, n]) => `${n} ${state.toLowerCase()}`).join(", ")],
        ["requests", (row) => number(row.requests), "right"], ["errors", (row) => number(row.errors), "right"],
        ["p50", (row) => milliseconds(newest(series, `p50 ${app.name}/${row.name}`)), "right"],
        ["p95", (row) => milliseconds(newest(series, `p95 ${app.name}/${row.name}`)), "right"],
        ["p99", (row) => milliseconds(newest(series, `p99 ${app.name}/${row.name}`)), "right"],
        ["because", (row) => row.message],
      ], app.deployments, (row) => row.name)),
    h("div", { class: "cards four", key: `${app.name} plots` },
      card("Requests", h(Plot, { title: "requests a second", time: true, least: 1, x: series.at, lines: lines("requests") })),
      card("Latency", h(Plot, { title: "time in the replica", time: true, least: 1, x: series.at, lines: latency, show: (v) => milliseconds(v) })),
      card("Autoscaling", h(Plot, { title: "replicas that run", time: true, least: 1, x: series.at, lines: lines("replicas") })),
      card("Errors", h(Plot, { title: "errors a second", time: true, least: 1, x: series.at, lines: lines("errors") }))),
  ];
}

function newest(series, name) {
  const values = series.values[name] || [];
  for (let i = values.length - 1; i >= 0; i -= 1) if (values[i] !== null) return values[i];
  return null;
}
