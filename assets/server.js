// The view of the server's own counters, as /metrics has them.

import { bytes, count, digits, el, now, setText, span } from "{{dom.js}}";
import { matcher } from "{{fleet.js}}";

const PERIOD_MS = 2000;

// The figures on top: a name, whether it is a rate, how it is written.
const FIGURES = [
  ["vmherd_connections", false, (value) => `${count(value)} connections`],
  ["vmherd_requests_total", true, (value) => `${digits(value)} requests a second`],
  ["vmherd_points_put_total", true, (value) => `${digits(value)} points a second`],
  ["process_resident_memory_bytes", false, (value) => `${bytes(value)} of memory`],
  ["process_cpu_seconds_total", true, (value) => `${digits(100 * value)} % of a processor`],
];

export class ServerView {
  constructor(context) {
    this.context = context;
    this.title = "Server";
    this.rows = new Map();
    this.filter = el("input", {
      type: "search", id: "filter", placeholder: "Filter  ( / )", "aria-label": "Filter counters", spellcheck: "false",
      autocomplete: "off", input: () => context.change({ filter: this.filter.value }),
    });
    this.figures = el("p", { class: "sums" });
    this.note = el("p", { class: "note", role: "status" });
    this.body = el("tbody");
    const head = (label, align) => el("th", { scope: "col", class: align }, label);
    this.element = el("div", { class: "server" }, el("h1", { class: "unseen" }, "Server"),
      el("div", { class: "bar" }, this.figures, this.filter), this.note,
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Counters" },
        el("table", { class: "counters" },
          el("thead", {}, el("tr", {}, head("Counter"), head("Value", "number"), head("Per second", "number"), head("Meaning"))),
          this.body)));
    this.read();
  }

  refresh() {}

  update() {
    const { filter = "" } = this.context.params;
    if (this.filter.value !== filter) this.filter.value = filter;
    const matches = matcher(filter);
    for (const { row, haystack, labels, value } of this.rows.values()) {
      // Of those with labels, such as one for each command, only what has happened, unless they are looked for.
      row.hidden = !matches(haystack) || (filter === "" && labels !== "" && value === 0);
    }
  }

  destroy() {
    this.isOver = true;
    clearTimeout(this.timer);
  }

  async read() {
    try {
      const text = document.hidden ? null : await this.context.ask("/metrics", (reply) => reply.text());
      if (this.isOver) return;
      if (text != null) this.show(parse(text));
      setText(this.note, "");
    } catch (error) {
      setText(this.note, `The counters cannot be read: ${error.message}`);
    }
    if (!this.isOver) this.timer = setTimeout(() => this.read(), PERIOD_MS);
  }

  show(samples) {
    const at = now();
    for (const { name, labels, value, type, help } of samples) {
      const id = name + labels;
      let known = this.rows.get(id);
      if (known == null) {
        const [number, rate] = [el("td", { class: "number" }), el("td", { class: "number" })];
        const row = el("tr", {}, el("th", { scope: "row" }, el("bdi", {}, ...broken(id))), number, rate, el("td", {}, help ?? ""));
        known = { row, number, rate, name, labels, haystack: `${id} ${help}`.toLowerCase() };
        this.rows.set(id, known);
        this.body.append(row);
      }
      setText(known.number, written(name, value));
      if (type === "counter" && known.at != null) {
        known.speed = Math.max(0, value - known.value) / (at - known.at);
        setText(known.rate, known.speed === 0 ? "–" : digits(known.speed));
      }
      Object.assign(known, { at, value });
    }
    const texts = FIGURES.map(([name, isRate, write]) => {
      const rows = [...this.rows.values()].filter((row) => row.name === name);
      const values = rows.map(({ value, speed }) => (isRate ? speed : value)).filter((value) => value != null);
      return values.length === 0 ? "" : write(values.reduce((sum, value) => sum + value, 0));
    });
    const figures = texts.filter(Boolean).map((text) => {
      const [number, ...rest] = text.split(" ");
      return el("span", {}, el("b", {}, number), ` ${rest.join(" ")}`);
    });
    this.figures.replaceChildren(...figures);
    this.update();
  }
}

// A name that may be broken after each `_`.
const broken = (name) => name.split(/(?<=_)/).flatMap((part) => [el("wbr"), part]);

// A value in the unit that its name ends in.
function written(name, value) {
  if (/_bytes(_total)?$/.test(name)) return bytes(value);
  if (/start_time_seconds$/.test(name)) return span(now() - value);
  if (/uptime_seconds$/.test(name)) return span(value);
  if (/_seconds(_total)?$/.test(name)) return `${digits(value)} s`;
  return Number.isInteger(value) ? count(value) : digits(value);
}

// The samples of a text in Prometheus' format, without those of points.
function parse(text) {
  const [types, helps, samples] = [new Map(), new Map(), []];
  for (const line of text.split("\n")) {
    const about = /^# (TYPE|HELP) (\S+) (.*)$/.exec(line);
    if (about) (about[1] === "TYPE" ? types : helps).set(about[2], about[3]);
    const sample = /^([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)/.exec(line);
    if (!sample || sample[1] === "vmherd_point") continue;
    const [, name, labels = "", value] = sample;
    samples.push({ name, labels, value: Number(value), type: types.get(name), help: helps.get(name) });
  }
  return samples;
}
