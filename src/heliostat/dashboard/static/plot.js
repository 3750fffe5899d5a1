// Lines over time or over steps: uPlot in a figure that says in words what it shows.

import { clock, number } from "./format.js";

const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];

export function colour(index) {
  return getComputedStyle(document.documentElement).getPropertyValue(COLOURS[index % COLOURS.length]).trim();
}

function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Props: title, x (numbers), lines ([{name, values}]), show (a number as text), time (x is seconds
// since 1970), height, least (the smallest top of the y axis).
export const Plot = {
  mount(first) {
    const element = document.createElement("figure");
    element.className = "plot";
    const caption = document.createElement("figcaption");
    const space = document.createElement("div");
    element.append(caption, space);
    let drawn = null;
    let shape = "";
    let props = first;

    function draw() {
      const { x, lines } = props;
      const data = [x, ...lines.map((line) => line.values)];
      const show = props.show || number;
      const latest = lines.map((line) => `${line.name} ${show(last(line.values))}`).join(", ");
      caption.textContent = props.title;
      element.setAttribute("aria-label", `${props.title}: ${latest || "nothing yet"}`);
      const empty = !lines.length || x.length < 2;
      element.classList.toggle("plot-empty", empty);
      if (empty) {
        clear();
        space.textContent = "not enough points yet";
        return;
      }
      const width = Math.floor(space.clientWidth) || 300;
      const now = JSON.stringify([lines.map((line) => line.name), ink("--text"), props.height]);
      if (drawn === null || shape !== now) {
        clear();
        space.textContent = "";
        shape = now;
        drawn = new uPlot(options(props, width, show), data, space);
      } else {
        if (drawn.width !== width) drawn.setSize({ width, height: props.height || 150 });
        drawn.setData(data);
      }
    }

    function clear() {
      if (drawn !== null) drawn.destroy();
      drawn = null;
    }

    const observer = new ResizeObserver(() => draw());
    observer.observe(space);
    const themes = () => draw();
    window.addEventListener("themechange", themes);
    return {
      element,
      update(next) {
        props = next;
        if (element.isConnected) draw();
      },
      destroy() {
        observer.disconnect();
        window.removeEventListener("themechange", themes);
        clear();
      },
    };
  },
};

function last(values) {
  for (let i = values.length - 1; i >= 0; i -= 1) {
    if (values[i] !== null && values[i] !== undefined) return values[i];
  }
  return null;
}

function options(props, width, show) {
  const axis = {
    stroke: ink("--muted"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: ink("--line"), width: 1 },
    ticks: { stroke: ink("--line"), width: 1, size: 4 },
  };
  return {
    width,
    height: props.height || 150,
    padding: [8, 12, 0, 0],
    cursor: { points: { size: 6 }, drag: { x: true, y: false } },
    legend: { live: true },
    scales: {
      x: { time: Boolean(props.time) },
      y: { range: (plot, low, high) => range(low, high, props.least) },
    },
    axes: [
      { ...axis, size: 28, values: (plot, splits) => splits.map((v) => (props.time ? clock(v).slice(0, splits[1] - splits[0] < 60 ? 8 : 5) : number(v))), space: props.time ? 70 : 50 },
      { ...axis, size: 58, values: (plot, splits) => splits.map((v) => (v === null ? "" : show(v))) },
    ],
    series: [
      { value: (plot, v) => (props.time ? clock(v) : number(v)), label: props.time ? "time" : props.xname || "step" },
      ...props.lines.map((line, index) => ({
        label: line.name,
        stroke: colour(line.colour === undefined ? index : line.colour),
        width: 1.6,
        spanGaps: true,
        points: { show: props.x.length < 40, size: 4 },
        value: (plot, v) => show(v),
      })),
    ],
  };
}

function range(low, high, least) {
  if (low === null || high === null) return [0, least || 1];
  if (least !== undefined) return [0, Math.max(high * 1.08, least)];
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}
