// Plots of points, drawn by uPlot.

import { date, digits, el, rate, setText } from "{{dom.js}}";

/* global uPlot */

const PER_CENT = { unit: (value) => `${digits(value)} %`, top: 100 };
const PER_SECOND = { unit: rate };
const PLAIN = { unit: digits };
const HEIGHT = 150;

// The plots for the keys of a VM, in order: {title, unit, top?, series: [[key, label]]}.
export function groups(name, keys) {
  const found = new Map();
  const add = (rank, title, kind, key, label) => {
    const group = found.get(title) ?? { rank, title, ...kind, series: [] };
    found.set(title, group);
    group.series.push([key, label]);
  };
  for (const key of keys.sort()) {
    const rest = key.slice(name.length + 1);
    const used = /^disk\.(.+)\.used$/.exec(rest);
    const net = /^net\.(.+)\.(rx|tx)$/.exec(rest);
    if (rest === "cpu") add(0, "CPU", PER_CENT, key, "used");
    else if (rest === "memory") add(1, "Memory", PER_CENT, key, "used");
    else if (rest === "load") add(2, "Load", PLAIN, key, "1 min");
    else if (used) add(3, "File systems", PER_CENT, key, used[1]);
    else if (net) add(4, `Network ${net[1]}`, PER_SECOND, key, net[2] === "rx" ? "received" : "sent");
    else add(5, rest, PLAIN, key, "value");
  }
  return [...found.values()].sort((left, right) => left.rank - right.rank);
}

export class Plot {
  // `zoom(from, to)` is called with a chosen range, `reset()` to leave it.
  constructor(title, zoom, reset) {
    Object.assign(this, { title, zoom, reset });
    this.legend = el("ul", { class: "legend" });
    this.chart = el("div", { class: "chart", role: "img" });
    this.element = el("figure", {},
      el("figcaption", {}, el("h2", {}, el("bdi", {}, title)), this.legend), this.chart);
  }

  destroy() {
    this.plot?.destroy();
    this.plot = null;
    this.element.remove();
  }

  show(group, points, from, to) {
    Object.assign(this, { group, window: [from, to] });
    this.data = uPlot.join(group.series.map(([key]) => table(points.get(key), to)));
    const labels = JSON.stringify(group.series);
    if (this.labels !== labels) {
      this.labels = labels;
      this.rebuild();
    } else {
      this.plot.setData(this.data);
    }
    this.describe();
  }

  rebuild() {
    this.plot?.destroy();
    const css = getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue(`--${name}`).trim();
    const colours = ["accent", "line2", "line3", "line4", "line5"].map(colour);
    const axis = {
      stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    this.values = [];
    this.legend.replaceChildren(...this.group.series.map(([, label], index) => {
      const value = el("b");
      this.values.push(value);
      const mark = el("i", { class: "mark" });
      mark.style.background = colours[index % colours.length];
      return el("li", {}, mark, el("bdi", {}, label), " ", value);
    }));
    const { unit, top } = this.group;
    this.plot = new uPlot({
      width: this.chart.clientWidth || 300,
      height: HEIGHT,
      padding: [10, 18, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false },
        // All plots show the values at the same time; a range is chosen in one.
        sync: { key: "vm", filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
        bind: { dblclick: () => () => this.reset() },
      },
      scales: {
        x: { range: () => this.window },
        y: { range: (_, low, high) => (top ? [0, top] : limits(low, high)) },
      },
      axes: [
        { ...axis, size: 24, values: times },
        { ...axis, size: 62, values: (_, ticks) => ticks.map(unit) },
      ],
      series: [{}, ...this.group.series.map(([, label], index) => ({
        label, stroke: colours[index % colours.length], width: 1.5, points: { show: false },
        fill: this.group.series.length === 1 ? `${colours[0]}22` : undefined,
      }))],
      hooks: {
        setCursor: [() => this.describe()],
        setSelect: [(plot) => this.select(plot)],
      },
    }, this.data, this.chart);
  }

  select(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const [from, to] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (to - from >= 10) this.zoom(Math.round(from), Math.round(to));
  }

  fit() {
    const width = this.chart.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  // Writes the values under the cursor, or the last ones, as text.
  describe() {
    if (this.plot == null || this.data == null) return;
    const index = this.plot.cursor.idx;
    const texts = this.group.series.map((_, at) => {
      const column = this.data[at + 1];
      const value = index == null ? column.findLast((value) => value != null) : column[index];
      const text = value == null ? "–" : this.group.unit(value);
      setText(this.values[at], text);
      return `${this.group.series[at][1]} ${text}`;
    });
    const label = `${this.title}, ${date(this.window[0])} to ${date(this.window[1])}, last: ${texts.join(", ")}`;
    if (index == null) this.chart.setAttribute("aria-label", label);
  }
}

// The columns of one series. A gap of more than four usual steps, and a minute, is one in the line.
function table(points, to) {
  const [times, values] = [[], []];
  const steps = points.slice(1).map(([at], index) => at - points[index][0]).sort((left, right) => left - right);
  const gap = Math.max(60, 4 * (steps[steps.length >> 1] ?? 0));
  for (const [at, value] of points) {
    if (at > to + 1) break;
    if (times.length > 0 && at - times.at(-1) > gap) {
      times.push(times.at(-1) + 1);
      values.push(null);
    }
    times.push(at);
    values.push(value);
  }
  return [times, values];
}

// A scale from 0, or from below it, to a little above the highest value.
function limits(low, high) {
  if (low == null) return [0, 1];
  const [bottom, top] = [Math.min(0, low), Math.max(0, high)];
  const room = (top - bottom || 1) * 0.1;
  return [bottom < 0 ? bottom - room : 0, top + room];
}

// Hours and minutes; the day where the range has several; seconds where it is short.
function times(plot, ticks) {
  const long = plot.scales.x.max - plot.scales.x.min > 2 * 86_400;
  const short = plot.scales.x.max - plot.scales.x.min < 300;
  return ticks.map((tick) => (long ? date(tick).slice(5, 16) : date(tick).slice(11, short ? 19 : 16)));
}
