// Numbers, sizes and times for people.

export function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return value.toLocaleString("en-US");
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) return value.toExponential(2);
  return size >= 1000 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(digits)));
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let size = Math.abs(value);
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return `${value < 0 ? "-" : ""}${size.toFixed(digits)} ${units[unit]}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.0995) return `${Number((value * 1000).toPrecision(2))} ms`;
  if (value < 60) return `${Number(value.toPrecision(3))} s`;
  const whole = Math.round(value);
  const parts = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const from = parts.findIndex((part) => part > 0);
  return parts.slice(from, from + 2).map((part, i) => `${part} ${"dhms"[from + i]}`.replace(" ms", " m")).join(" ");
}

export function milliseconds(value) {
  return value === null || value === undefined ? "–" : seconds(value / 1000);
}

export function clock(value) {
  if (!value) return "–";
  return new Date(value * 1000).toLocaleTimeString("en-GB");
}

export function moment(value) {
  if (!value) return "–";
  const at = new Date(value * 1000);
  return `${at.toLocaleDateString("en-CA")} ${at.toLocaleTimeString("en-GB")}`;
}

// All ids of a process begin alike; the number before the zeros at the end tells them apart.
export function short(id) {
  const told = id ? String(id).replace(/0{8}$/, "") : "–";
  return told.length > 12 ? `${told.slice(0, 4)}…${told.slice(-6)}` : told;
}

export function count(amount, one, many) {
  return `${number(amount)} ${amount === 1 ? one : many || `${one}s`}`;
}
