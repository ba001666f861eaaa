// Elements and texts. All text becomes text nodes: a name can hold anything.

// An element. Attributes that are functions are listeners, `true` is an empty attribute, null and false are none.
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  set(element, attributes);
  element.append(...children.filter((child) => child != null));
  return element;
}

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value == null || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  }
}

// Sets a text only where it differs: writing the same text makes the browser lay it out again. No other code may set
// the text of such an element; what it shows is kept beside it, since reading it back is slow.
export function setText(element, text) {
  if (element.shownText === text) return;
  element.shownText = text;
  element.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  set(element, attributes);
  element.append(...children);
  return element;
}

// A name whose direction cannot change that of the text around it.
export const isolated = (name) => el("bdi", {}, name);

// How far the server's clock is ahead of the browser's, in seconds.
let ahead = 0;
const AHEAD_S_MIN = 2; // less is the precision of `Date`, and the time that a reply takes

// The server's time, in seconds since 1970.
export const now = () => Date.now() / 1000 + ahead;

// Sets the clock by a reply.
export function setClock(reply) {
  const server = Date.parse(reply.headers.get("Date")) / 1000 + 0.5;
  if (Math.abs(server - now()) < AHEAD_S_MIN || Number.isNaN(server)) return;
  const found = server - Date.now() / 1000;
  ahead = Math.abs(found) < AHEAD_S_MIN ? 0 : found;
}

const grouped = new Intl.NumberFormat("en");

export const count = (number) => (number < 1000 ? String(number) : grouped.format(number));

// At most three digits and a unit: 512 MiB, 1.5 GiB, 12 TiB.
function sized(number, units, step) {
  let unit = 0;
  while (number >= step && unit < units.length - 1) {
    number /= step;
    unit += 1;
  }
  return `${digits(number)} ${units[unit]}`;
}

export function digits(number) {
  const size = Math.abs(number);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return number.toExponential(2);
  const places = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return String(Number(number.toFixed(places)));
}

export const ram = (mebibytes) => sized(mebibytes, ["MiB", "GiB", "TiB", "PiB"], 1024);
export const disk = (gibibytes) => sized(gibibytes, ["GiB", "TiB", "PiB", "EiB"], 1024);
export const rate = (bytes) => sized(bytes, ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"], 1000);
export const bytes = (number) => sized(number, ["B", "KiB", "MiB", "GiB", "TiB"], 1024);

// A span of time in its two largest units: 12 s, 4 min, 3 h 20 min, 12 d 4 h.
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  const [large, small, size, part] = s < 86400 ? ["h", "min", 3600, 60] : ["d", "h", 86400, 3600];
  const rest = Math.floor((s % size) / part);
  return rest ? `${Math.floor(s / size)} ${large} ${rest} ${small}` : `${Math.floor(s / size)} ${large}`;
}

const two = (number) => String(number).padStart(2, "0");

// A time in the browser's zone: 2026-11-29 20:51:10.
export function date(seconds) {
  const d = new Date(seconds * 1000);
  const day = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  return `${day} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

// An address as [IP, port] or ["unix", user].
export function address([host, port]) {
  if (host === "unix") return "unix socket";
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
