// Train: runs with their metrics, ranks and checkpoints.

import { h } from "../dom.js";
import { moment, number, seconds } from "../format.js";
import { card, empty, facts, grid, pill, problem } from "../parts.js";
import { Plot } from "../plot.js";
import { page } from "../source.js";

const OWN = /(^|_)(timestamp|time|iterations?|pid|epoch|step)(_|$)/;

export const train = {
  title: "Train",
  async load() {
    const found = await page("train");
    return ((found && found.rows) || []).slice().reverse();
  },
  view(rows) {
    if (!rows.length) return card("Train", { wide: true }, empty("No trainer has run", "Runs are shown here with what their ranks report.", "trainer = ray.train.torch.TorchTrainer(loop, scaling_config=ScalingConfig(num_workers=2))\ntrainer.fit()"));
    return rows.slice(0, 20).map(trainRun);
  },
};

function trainRun(run) {
  const names = Object.keys(run.metrics.values);
  const drawn = [...names.filter((name) => !OWN.test(name)), ...names.filter((name) => OWN.test(name))].slice(0, 8);
  return card(run.name, { wide: true, key: `${run.started_at} ${run.path}`, aside: pill(run.state) },
    facts([
      ["trainer", run.trainer], ["began", moment(run.started_at)], ["took", seconds(run.seconds)], ["reports", run.reports],
      ["attempt", run.attempt], ["failures", run.failures], ["kept in", h("code", {}, run.path)],
    ]),
    problem(run.error),
    h("h3", {}, "Ranks"),
    run.ranks.length ? h("ul", { class: "ranks" }, run.ranks.map((state, rank) => h("li", { key: rank }, `rank ${rank} `, pill(state)))) : null,
    h("h3", {}, "Metrics"),
    drawn.length ? h("div", { class: "plots" }, drawn.map((name, index) => h(Plot, {
      key: name, title: name, x: run.metrics.report, xname: "report", lines: [{ name, values: run.metrics.values[name], colour: index }],
    }))) : h("p", { class: "muted" }, "Nothing was reported yet: call ray.train.report({\"loss\": loss}) in the loop."),
    h("h3", {}, "Checkpoints"),
    run.checkpoints.length ? grid("Checkpoints", [
      ["checkpoint", (one) => one.name], ["state", (one) => pill(one.status)],
      ["metrics", (one) => Object.entries(one.metrics).slice(0, 4).map(([name, value]) => `${name} ${number(value)}`).join(", ")],
    ], run.checkpoints.slice().reverse(), (one) => one.name) : h("p", { class: "muted" }, "None were saved."));
}
