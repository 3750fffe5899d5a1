// Logs: what workers have printed, as plain text.

import { h } from "../dom.js";
import { card, empty } from "../parts.js";
import { isReport, logText, page } from "../source.js";

const read = { name: "", text: null, text_of: "", filter: "" };

export const logs = {
  title: "Logs",
  async load() {
    const found = await page("logs");
    const names = ((found && found.rows) || []).map((row) => row.name);
    if (!names.includes(read.name)) read.name = names[0] || "";
    read.text = read.name ? (await logText(read.name, 2000)).text : null;
    return { names };
  },
  view({ names }, app) {
    if (!names.length) return card("Logs", { wide: true }, empty("Nobody has printed anything", "What tasks and actors print stands here, the last 64 KB of each.", "@ray.remote\ndef work():\n    print(\"hello\")"));
    const lines = (read.text || "").split("\n");
    const wanted = read.filter.toLowerCase();
    const shown = wanted ? lines.filter((line) => line.toLowerCase().includes(wanted)) : lines;
    return [
      h("div", { class: "tools" },
        h("select", { "aria-label": "Whose", value: read.name, onchange: (event) => pick(event.target.value, app) },
          names.map((name) => h("option", { value: name, selected: name === read.name }, title(name)))),
        h("input", {
          type: "search", placeholder: "lines with", "aria-label": "Only lines with", value: read.filter,
          oninput: (event) => {
            read.filter = event.target.value;
            app.redraw();
          },
        })),
      card(title(read.name), { wide: true }, h("pre", { class: "log", tabindex: "0", "aria-label": "What it has printed" }, shown.join("\n"))),
      isReport ? null : h("p", { class: "muted" }, "It is read anew every moment."),
    ];
  },
};

function pick(name, app) {
  read.name = name;
  app.reload();
}

function title(name) {
  const found = /^worker-[0-9a-f]+-(\d+)\.(out|err)$/.exec(name);
  return found ? `process ${found[1]}, ${found[2] === "out" ? "standard output" : "standard error"}` : name;
}
