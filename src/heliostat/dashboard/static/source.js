// Where facts come from: the program's server, or a report that has them inside.

const embedded = document.getElementById("facts");
const facts = embedded === null ? null : JSON.parse(embedded.textContent);

export const isReport = facts !== null;

// How long the dearest answer of late took: nobody asks more often than that allows.
let dearest = 0;

export function restFor() {
  const rest = Math.max(1000, dearest * 20000);
  dearest *= 0.5;
  return Math.min(rest, 15000);
}

export class Unreachable extends Error {}

export async function page(name) {
  return isReport ? facts.pages[name] : ask(`api/page/${name}`);
}

export async function rowsOf(kind, query) {
  if (isReport) return chosen(facts.tables[kind] || { rows: [], total: 0 }, query);
  return ask(`api/table/${kind}?${new URLSearchParams(query)}`);
}

export async function logText(name, lines) {
  if (isReport) return { text: facts.logs[name] || "" };
  return ask(`api/log?${new URLSearchParams({ name, lines })}`);
}

async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", credentials: "same-origin" });
  } catch (error) {
    throw new Unreachable("The program has ended, or its dashboard was closed.");
  }
  if (answer.status === 403) throw new Unreachable(await answer.text());
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error || answer.statusText);
  dearest = Math.max(dearest, told.took_s);
  return told.is;
}

function chosen(table, query) {
  const text = (query.text || "").toLowerCase();
  let rows = table.rows.filter(
    (row) =>
      (!query.state || row.state === query.state) &&
      (!query.of || row.study === query.of) &&
      (!text || Object.values(row).some((value) => String(value).toLowerCase().includes(text))),
  );
  if (query.sort) {
    const sign = query.down === "1" ? -1 : 1;
    rows = rows.slice().sort((a, b) => sign * order(a[query.sort], b[query.sort]));
  }
  const whole = !query.state && !text && !query.of;
  const start = Number(query.start);
  return {
    rows: rows.slice(start, start + Number(query.most)),
    total: rows.length,
    start,
    left_out: whole ? table.total - table.rows.length : 0,
  };
}

export function order(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return a < b ? -1 : 1;
}
