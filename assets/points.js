// The points of metrics: history by HTTP, new points by a `watch` of their own, and the sparklines that show them.
//
// This watch is not resumed: after a gap the history is asked for again.

import { now, set, svg } from "{{dom.js}}";
import { Channel } from "{{live.js}}";

const RECENT_S = 1800;
const SERIES_MAX = 1000;
const PREFIXES_MAX = 256;
const REQUESTS_MAX = 4;
const SETTLE_MS = 150;
const RETRY_S = 30;
const UNASKED = { asked: 0, isWhole: false };
const [WIDTH, HEIGHT] = [72, 18];
const NONE = [];

export class Points {
  // `ask(path)` fetches JSON from the server; `seen(name)` is called when the VM `name` has put points.
  constructor(ask, seen) {
    Object.assign(this, { ask, seen, requests: 0 });
    this.channel = new Channel({ greet: () => this.greet(), take: (message) => this.take(message) });
    this.listeners = new Set();
    this.takers = new Set();
    this.clear();
  }

  clear() {
    this.channel.end();
    clearTimeout(this.timer);
    // By key: {points, asked, isWhole}. Whole are those with all points up to the watch that they are part of.
    this.series = new Map();
    this.sight = [];
    this.wanted = new Set();
    this.prefixes = "[]";
    this.hasBegun = false;
  }

  // Calls `listener()` when series have changed that are in sight; returns what ends it.
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  // Calls `take(key, timestamp, value)` with each new point whose key begins with `prefix`, and before that, and after
  // each gap, `begin()`, where the history up to then can be asked for; returns what ends it.
  follow(prefix, take, begin) {
    const taker = { prefix, take, begin };
    this.takers.add(taker);
    // A new watch, even of the same prefixes: `begin` is called when it has begun.
    this.prefixes = null;
    this.settle(0);
    return () => {
      this.takers.delete(taker);
      this.settle();
    };
  }

  // The keys whose recent points are in sight.
  look(keys) {
    if (keys.length === this.sight.length && keys.every((key, at) => key === this.sight[at])) return;
    this.sight = keys;
    this.settle();
  }

  recent(key) {
    return this.series.get(key)?.points ?? NONE;
  }

  // The points of all keys that begin with `prefix`, by key.
  history(prefix, from, to) {
    const query = new URLSearchParams({ prefix, from: Math.floor(from), to: Math.ceil(to) });
    return this.ask(`/ui/points?${query}`);
  }

  // Watches what is wanted, once that has not changed for a moment.
  settle(pause = SETTLE_MS) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const wanted = new Set([...[...this.takers].map(({ prefix }) => prefix), ...this.sight].slice(0, PREFIXES_MAX));
      const prefixes = JSON.stringify([...wanted].map((prefix) => `points:${prefix}`));
      if (prefixes === this.prefixes) return this.fetch();
      // Series that were not in the watch before, or are no longer, miss points.
      for (const [key, series] of this.series) {
        if (!wanted.has(key) || !this.wanted.has(key)) Object.assign(series, UNASKED);
      }
      Object.assign(this, { wanted, prefixes });
      if (wanted.size === 0) this.channel.end();
      else if (this.channel.isOpen()) this.watch();
      else if (this.channel.timer == null) this.channel.open();
    }, pause);
  }

  greet() {
    // Points may have come while there was no connection.
    for (const series of this.series.values()) Object.assign(series, UNASKED);
    this.watch();
  }

  // New points come from now on: the history has those before.
  begin() {
    this.hasBegun = true;
    this.channel.settle();
    for (const { begin } of this.takers) begin();
    this.fetch();
  }

  watch() {
    this.hasBegun = false;
    this.channel.send("watch", { what: JSON.parse(this.prefixes), token: this.token });
  }

  take({ status, message, data }) {
    if (status !== "success") return this.channel.reopen();
    if (message === "snapshot") this.begin();
    if (message !== "change" || data.kind !== "points") return;
    if (data.vm_id != null) this.seen(data.vm_id);
    for (const { key, value, timestamp } of data.points) {
      const series = this.series.get(key);
      if (series) series.points = merge(series.points, [[timestamp, value]]);
      for (const { prefix, take } of this.takers) if (key.startsWith(prefix)) take(key, timestamp, value);
    }
    this.tell();
  }

  // Asks for the history of what is in sight, a few at a time. Points between a history and the beginning of the watch would
  // be in neither.
  fetch() {
    while (this.hasBegun && this.requests < REQUESTS_MAX) {
      const isDue = (key) => now() - (this.series.get(key)?.asked ?? 0) > RETRY_S && !this.series.get(key)?.isWhole;
      const key = this.sight.find(isDue);
      if (key == null) return;
      this.load(key);
    }
  }

  async load(key) {
    const series = this.series.get(key) ?? { points: [] };
    const asked = (series.asked = now());
    // The last one used is the last to go.
    this.series.delete(key);
    this.series.set(key, series);
    if (this.series.size > SERIES_MAX) this.series.delete(this.series.keys().next().value);
    this.requests += 1;
    const query = new URLSearchParams({ key, from: Math.floor(now() - RECENT_S) });
    try {
      const found = await this.ask(`/ui/points?${query}`);
      series.points = merge(found[key] ?? [], series.points);
      // Unless the watch has changed meanwhile.
      if (series.asked === asked) series.isWhole = true;
    } catch {
      // It is asked for again when it comes into sight again.
    }
    this.requests -= 1;
    this.tell();
    this.fetch();
  }

  tell() {
    this.isTold ??= requestAnimationFrame(() => {
      this.isTold = null;
      for (const listener of this.listeners) listener();
    });
  }
}

// Both in order of time, the later list's value where both have one; without what is no longer recent.
function merge(points, later) {
  const begin = now() - RECENT_S;
  const times = new Map([...points, ...later].filter(([at]) => at > begin));
  return [...times].sort(([left], [right]) => left - right);
}

export function sparkline() {
  return svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, svg("polyline"));
}

// Draws the last half hour. The scale begins at 0 and has at least 1, so that an idle VM looks idle.
export function drawSparkline(element, points) {
  const line = lineOf(points);
  if (element.line === line) return;
  element.line = line;
  set(element.firstChild, { points: line });
}

// By list of points: {at, line}. A line is good for a while: it moves by a pixel in 25 s.
const lines = new WeakMap();
const LINE_S = 10;

function lineOf(points) {
  const known = lines.get(points);
  if (known && now() - known.at < LINE_S) return known.line;
  const begin = now() - RECENT_S;
  const top = points.reduce((top, [, value]) => Math.max(top, value), 1);
  const x = (at) => ((at - begin) / RECENT_S) * (WIDTH - 2) + 1;
  const y = (value) => HEIGHT - 1.5 - (Math.max(0, value) / top) * (HEIGHT - 3);
  const line = points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  lines.set(points, { at: now(), line });
  return line;
}
