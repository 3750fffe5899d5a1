// Timeline: which process ran what when. Drawn on a canvas; the table under Tasks says the same.

import { h } from "../dom.js";
import { milliseconds, number } from "../format.js";
import { card, empty } from "../parts.js";
import { colour } from "../plot.js";
import { isReport, page, rowsOf } from "../source.js";

const MOST = 4000;
const LANE = 22;
const LEFT = 84;
// The seventh is a red, which would read as a failure.
const COLOURS = 6;

export const timeline = {
  title: "Timeline",
  async load() {
    const rows = [];
    for (let start = 0; start < MOST; start += 500) {
      const found = await rowsOf("ended_tasks", { start, most: 500, sort: "", down: "1", text: "", state: "" });
      rows.push(...found.rows);
      if (found.rows.length < 500) break;
    }
    const live = await rowsOf("live_tasks", { start: 0, most: 500, sort: "", down: "1", text: "", state: "RUNNING" });
    const session = await page("session");
    const until = session ? (session.ended_at || session.now) * 1000 : Date.now();
    const ended = new Set(rows.map((row) => row.task_id)); // some end between the two answers
    const running = live.rows.filter((row) => row.start_time_ms && row.worker_pid && !ended.has(row.task_id));
    for (const row of running) {
      rows.push({ ...row, runs: true, end_time_ms: Math.max(until, row.start_time_ms), duration_ms: Math.max(0, until - row.start_time_ms) });
    }
    return { rows, running: running.length };
  },
  view({ rows, running }) {
    if (!rows.length) return card("Timeline", { wide: true }, empty("No task has begun yet", "Each process has a lane here, and each task and call a bar."));
    return card(`The last ${number(rows.length)} tasks`, { wide: true },
      h("p", { class: "muted" }, running ? `${number(running)} of them had not ended: their bars are paler. ` : "", "Arrow keys move, + and − zoom, 0 shows all. ",
        isReport ? null : h("a", { href: "api/trace", download: "timeline.json" }, "As a Chrome trace")),
      h(Lanes, { rows }));
  },
};

const Lanes = {
  mount(first) {
    const element = document.createElement("div");
    element.className = "lanes";
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    const told = document.createElement("p");
    told.className = "muted lane-told";
    told.textContent = "Point at a bar to see what it is.";
    element.append(canvas, told);
    let rows = first.rows;
    let range = null;

    function span() {
      let low = Infinity;
      let high = -Infinity;
      for (const row of rows) {
        low = Math.min(low, row.start_time_ms);
        high = Math.max(high, row.end_time_ms);
      }
      return [low, Math.max(high, low + 1)];
    }

    function lanes() {
      const found = new Map();
      for (const row of rows) if (!found.has(row.worker_pid)) found.set(row.worker_pid, 0);
      [...found.keys()].sort((a, b) => a - b).forEach((pid, index) => found.set(pid, index));
      return found;
    }

    function draw() {
      const width = element.clientWidth || 600;
      const places = lanes();
      const height = places.size * LANE + 24;
      const ratio = window.devicePixelRatio || 1;
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      canvas.setAttribute("aria-label", `${rows.length} tasks in ${places.size} processes`);
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      pen.clearRect(0, 0, width, height);
      const [from, to] = range || span();
      const style = getComputedStyle(document.documentElement);
      const names = new Map();
      pen.font = "11px system-ui, sans-serif";
      pen.textBaseline = "middle";
      for (const [pid, lane] of places) {
        pen.fillStyle = style.getPropertyValue("--line");
        pen.fillRect(LEFT, lane * LANE + LANE - 1, width - LEFT, 1);
        pen.fillStyle = style.getPropertyValue("--muted");
        pen.fillText(`process ${pid}`, 0, lane * LANE + LANE / 2);
      }
      const scale = (width - LEFT) / (to - from);
      for (const row of rows) {
        const x = LEFT + (row.start_time_ms - from) * scale;
        const long = Math.max(1, (row.end_time_ms - row.start_time_ms) * scale);
        if (x + long < LEFT || x > width) continue;
        if (!names.has(row.name)) names.set(row.name, names.size);
        const left = Math.max(LEFT, x);
        pen.fillStyle = row.state === "FAILED" ? style.getPropertyValue("--bad") : colour(names.get(row.name) % COLOURS);
        pen.globalAlpha = row.runs ? 0.55 : 1;
        pen.fillRect(left, places.get(row.worker_pid) * LANE + 3, Math.max(1, x + long - left - 0.5), LANE - 7);
      }
      pen.globalAlpha = 1;
      pen.fillStyle = style.getPropertyValue("--muted");
      pen.fillText(`${milliseconds(to - from)} in all, from left to right`, LEFT, height - 10);
    }

    function at(event) {
      const box = canvas.getBoundingClientRect();
      const [from, to] = range || span();
      const time = from + ((event.clientX - box.left - LEFT) / (box.width - LEFT)) * (to - from);
      const lane = Math.floor((event.clientY - box.top) / LANE);
      const places = lanes();
      const slack = (to - from) / box.width;
      return rows.find((row) => places.get(row.worker_pid) === lane && row.start_time_ms - slack <= time && time <= row.end_time_ms + slack);
    }

    canvas.addEventListener("mousemove", (event) => {
      const row = at(event);
      told.textContent = row ? `${row.name}: ${row.state.toLowerCase()}, ${milliseconds(row.duration_ms)}, process ${row.worker_pid}` : " ";
    });
    canvas.addEventListener("keydown", (event) => {
      const [from, to] = range || span();
      const wide = to - from;
      const moves = { ArrowLeft: [-0.2, -0.2], ArrowRight: [0.2, 0.2], "+": [0.2, -0.2], "=": [0.2, -0.2], "-": [-0.33, 0.33] };
      if (event.key === "0") range = null;
      else if (moves[event.key]) range = [from + wide * moves[event.key][0], to + wide * moves[event.key][1]];
      else return;
      event.preventDefault();
      draw();
    });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const [from, to] = range || span();
      const grow = event.deltaY > 0 ? 0.15 : -0.15;
      range = [from - (to - from) * grow, to + (to - from) * grow];
      draw();
    }, { passive: false });
    const observer = new ResizeObserver(draw);
    observer.observe(element);
    window.addEventListener("themechange", draw);
    return {
      element,
      update(props) {
        rows = props.rows;
        if (element.isConnected) draw();
      },
      destroy() {
        observer.disconnect();
        window.removeEventListener("themechange", draw);
      },
    };
  },
};
