// Tasks, actors, objects, workers, jobs: long tables.

import { h } from "../dom.js";
import { bytes, milliseconds, moment, number, short } from "../format.js";
import { card, choice, empty, grid, openDetails, pill } from "../parts.js";
import { page } from "../source.js";
import { Table } from "../table.js";

const seen = { tasks: "live_tasks", text: "", state: "" };

const TASKS = {
  live_tasks: {
    label: "Tasks that have not ended",
    columns: [
      { key: "name", title: "task", width: "16rem", sort: false },
      { key: "state", title: "state", width: "11rem", sort: false, show: (row) => pill(row.state) },
      { key: "reason", title: "because", width: "26rem", sort: false },
      { key: "worker_pid", title: "process", width: "6rem", align: "right", sort: false },
      { key: "required_resources", title: "asks for", width: "9rem", sort: false, show: (row) => amounts(row.required_resources) },
      { key: "task_id", title: "id", width: "8rem", sort: false, show: (row) => short(row.task_id) },
    ],
    states: [["", "all"], ["RUNNING", "running"], ["PENDING_NODE_ASSIGNMENT", "waits for a worker"], ["PENDING_ARGS_AVAIL", "waits for arguments"]],
    none: () => empty("Nothing runs and nothing waits", "Tasks that have ended are under the next tab.", "@ray.remote\ndef work(): ...\n\nray.get(work.remote())"),
  },
  ended_tasks: {
    label: "Tasks that have ended",
    columns: [
      { key: "name", title: "task", width: "16rem" },
      { key: "state", title: "state", width: "7rem", show: (row) => pill(row.state) },
      { key: "duration_ms", title: "took", width: "6rem", align: "right", show: (row) => milliseconds(row.duration_ms) },
      { key: "start_time_ms", title: "began", width: "11rem", show: (row) => moment(row.start_time_ms / 1000) },
      { key: "worker_pid", title: "process", width: "6rem", align: "right" },
      { key: "type", title: "kind", width: "9rem", show: (row) => row.type.toLowerCase().replaceAll("_", " ") },
      { key: "task_id", title: "id", width: "8rem", show: (row) => short(row.task_id) },
    ],
    states: [["", "all"], ["FINISHED", "finished"], ["FAILED", "failed"]],
    none: () => empty("No task has ended yet", "What ends is kept here, up to 100,000 tasks, also for later."),
  },
  summary: {
    label: "Tasks that have ended, by name, of those that are listed",
    columns: [
      { key: "name", title: "task", width: "18rem" },
      { key: "ended", title: "ended", width: "6rem", align: "right", show: (row) => number(row.ended) },
      { key: "failed", title: "failed", width: "6rem", align: "right", show: (row) => number(row.failed) },
      { key: "mean_ms", title: "mean", width: "6rem", align: "right", show: (row) => milliseconds(row.mean_ms) },
      { key: "longest_ms", title: "longest", width: "6rem", align: "right", show: (row) => milliseconds(row.longest_ms) },
    ],
    states: [],
    none: () => empty("No task has ended yet", "Here they are added up by name."),
  },
};

export const tasks = {
  title: "Tasks",
  async load() {
    const values = ((await page("series")) || { values: {} }).values["ended in all"] || [];
    return { ended: values.findLast((one) => one !== null) || 0 };
  },
  view({ ended }, app) {
    const one = TASKS[seen.tasks];
    const all = seen.tasks === "ended_tasks" && !seen.text && !seen.state ? ended : 0;
    const pick = (kind) => {
      seen.tasks = kind;
      seen.state = "";
      app.redraw();
    };
    return [
      h("div", { class: "tools" },
        choice("Which tasks", [["live_tasks", "Now"], ["ended_tasks", "Ended"], ["summary", "By name"]], seen.tasks, pick),
        search(app), one.states.length ? select(one.states, app) : null),
      card(one.label, { wide: true, key: seen.tasks }, h(Table, {
        kind: seen.tasks, columns: one.columns, query: { text: seen.text, state: seen.state }, label: one.label,
        open: (row) => openDetails(row.name, row), none: one.none(), all, tick: app.tick,
      })),
    ];
  },
};

function search(app) {
  return h("input", {
    type: "search", placeholder: "part of a name", "aria-label": "Only names with", value: seen.text,
    oninput: (event) => {
      seen.text = event.target.value;
      app.redraw();
    },
  });
}

function select(states, app) {
  return h("select", {
    "aria-label": "State", value: seen.state,
    onchange: (event) => {
      seen.state = event.target.value;
      app.redraw();
    },
  }, states.map(([value, text]) => h("option", { value }, text)));
}

function amounts(shape) {
  const parts = Object.entries(shape || {}).map(([name, amount]) => `${number(amount)} ${name}`);
  return parts.join(", ") || "–";
}

function listed(title, kind, columns, none) {
  return {
    title,
    async load() {
      return {};
    },
    view(facts, app) {
      return [
        h("div", { class: "tools" }, search(app)),
        card(title, { wide: true }, h(Table, {
          kind, columns, query: { text: seen.text, state: "" }, label: title, none: seen.text ? empty("None of that name", "Nothing here has that in it.") : none(),
          open: (row) => openDetails(row.name || row.class_name || row.object_id || String(row.pid), row), tick: app.tick,
        })),
      ];
    },
  };
}

export const actors = listed("Actors", "actors", [
  { key: "class_name", title: "class", width: "14rem" },
  { key: "name", title: "name", width: "10rem" },
  { key: "state", title: "state", width: "9rem", show: (row) => pill(row.state) },
  { key: "pid", title: "process", width: "6rem", align: "right" },
  { key: "num_pending_calls", title: "waiting", width: "6rem", align: "right", show: (row) => number(row.num_pending_calls) },
  { key: "num_restarts", title: "restarts", width: "6rem", align: "right" },
  { key: "required_resources", title: "holds", width: "9rem", sort: false, show: (row) => amounts(row.required_resources) },
  { key: "reason", title: "because", width: "20rem", show: (row) => row.reason || row.death_cause },
], () => empty("There are no actors", "An actor is an object in a process of its own.", "@ray.remote\nclass Counter: ...\n\ncounter = Counter.remote()"));

export const objects = listed("Objects", "objects", [
  { key: "object_id", title: "id", width: "11rem", show: (row) => short(row.object_id) },
  { key: "object_size", title: "size", width: "7rem", align: "right", show: (row) => bytes(row.object_size) },
  { key: "task_status", title: "its task", width: "11rem", show: (row) => pill(row.task_status) },
  { key: "reference_type", title: "where", width: "11rem", show: (row) => where(row) },
  { key: "reference_count", title: "references", width: "7rem", align: "right" },
  { key: "reason", title: "because", width: "22rem" },
], () => empty("There are no objects", "What tasks return and `ray.put` keeps is listed here while somebody refers to it.", "ref = ray.put(value)"));

function where(row) {
  if (row.spilled) return "on disk";
  if (row.reference_type === "PINNED_IN_MEMORY") return "shared memory";
  return ["FINISHED", "FAILED"].includes(row.task_status) ? "in the driver" : "not there yet";
}

export const workers = listed("Workers", "workers", [
  { key: "pid", title: "process", width: "7rem", show: (row) => String(row.pid || "starting") },
  { key: "actor", title: "actor", width: "12rem" },
  { key: "runs", title: "runs", width: "14rem" },
  { key: "reason", title: "state", width: "22rem" },
  { key: "resources", title: "holds", width: "10rem", sort: false, show: (row) => amounts(row.resources) },
], () => empty("There are no workers", "Processes are started when there is something to run."));

export const jobs = {
  title: "Jobs",
  load: () => page("jobs"),
  view(found) {
    const rows = (found && found.rows) || [];
    return card("Jobs", { wide: true }, rows.length ? grid("Jobs", [
      ["job", (row) => row.submission_id || short(row.job_id)], ["kind", (row) => (row.type === "DRIVER" ? "this program" : "submitted")],
      ["state", (row) => pill(row.status)], ["command", (row) => h("code", {}, row.entrypoint)],
      ["began", (row) => moment(row.start_time / 1000)], ["message", (row) => row.message],
    ], rows, (row) => row.submission_id || row.job_id) : empty("There are no jobs", "Programs that are submitted are listed here.", "heliostat job submit -- python train.py"));
  },
};
