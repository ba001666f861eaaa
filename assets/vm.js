// The view of one VM: what it is made of, its sessions and disks, its recent changes, and plots of its points.

import { address, count, date, disk, el, isolated, now, ram, set, setText, span } from "{{dom.js}}";
import { STATES } from "{{lists.js}}";
import { groups, Plot } from "{{plot.js}}";

const RANGES = { "15m": 900, "1h": 3600, "6h": 21_600, "1d": 86_400, "7d": 604_800 };
const PLOTS_MAX = 40;
const DRAW_MS = 1000;

const KINDS = {
  registered: "registered", updated: "changed", removed: "removed", online: "online", offline: "offline",
};

export class VmView {
  constructor(context) {
    this.context = context;
    this.name = context.name;
    this.title = this.name;
    this.points = new Map();
    this.plots = new Map();
    this.note = el("p", { class: "note", role: "status" });
    this.heading = el("h1", {}, isolated(this.name));
    this.state = el("p", { class: "state" });
    this.facts = el("dl", { class: "facts" });
    this.sessions = panel("Sessions");
    this.disks = panel("Disks");
    this.events = panel("Changes since the page was opened");
    this.figures = el("div", { class: "plots" });
    this.noPoints = el("p", { class: "note" });
    this.ranges = Object.keys(RANGES).map((range) =>
      el("button", { type: "button", "data-range": range, click: () => this.go({ range }) }, range));
    this.zoomed = el("p", { class: "zoomed", role: "status" });
    const move = (label, text, part) =>
      el("button", { type: "button", "aria-label": label, title: label, click: () => this.move(part) }, text);
    this.element = el("article", { class: "vm" },
      el("div", { class: "title" }, el("a", { href: context.list ?? "#/", class: "back" }, "‹ VMs"), this.heading, this.state),
      this.note, this.facts,
      el("div", { class: "panels" }, this.sessions, this.disks, this.events),
      el("div", { class: "bar ranges", role: "group", "aria-label": "Time range of the plots" },
        move("Earlier", "‹", -0.5), ...this.ranges, move("Later", "›", 0.5), this.zoomed),
      this.noPoints, this.figures);
    this.forget = context.points.follow(`${this.name}.`, (...point) => this.take(...point), () => this.begin());
    this.timer = setInterval(() => this.tick(), DRAW_MS);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.recolour = () => this.each((plot) => plot.rebuild());
    this.scheme.addEventListener("change", this.recolour);
    this.resized = new ResizeObserver(() => this.each((plot) => plot.fit()));
    this.resized.observe(this.figures);
  }

  destroy() {
    this.isOver = true;
    this.forget();
    clearInterval(this.timer);
    this.scheme.removeEventListener("change", this.recolour);
    this.resized.disconnect();
    this.each((plot) => plot.destroy());
  }

  each(what) {
    for (const plot of this.plots.values()) what(plot);
  }

  // ── What the fleet knows of it ──

  refresh() {
    const vm = this.context.fleet.vms.get(this.name);
    const isGone = vm == null && this.context.fleet.isWhole;
    setText(this.note, !isGone ? "" : this.vm ? "This VM has been removed." : "There is no VM of this name.");
    this.element.classList.toggle("gone", isGone);
    this.vm = vm ?? this.vm;
    if (this.vm == null) return;
    const { entry, state, disk: size } = this.vm;
    set(this.state, { "data-state": isGone ? "never" : state });
    const facts = [
      ["ID", String(entry.id)], ["RAM", ram(entry.ram)], ["CPU", count(entry.cpu)],
      ["Disks", entry.disks.length === 0 ? "none" : `${entry.disks.length} · ${disk(size)}`],
      entry.connected_since != null ? ["Connected since", date(entry.connected_since)]
        : ["Last seen", entry.last_seen == null ? "never" : date(entry.last_seen)],
    ];
    // Only where they differ: new elements end a selection, and are read out again.
    if (this.shown !== facts.join()) {
      this.shown = facts.join();
      this.facts.replaceChildren(...facts.map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, text))));
    }
    fill(this.sessions, ["Address"], entry.addrs.map((addr) => [address(addr)]), "It has no connection.");
    fill(this.disks, ["ID", "Size"], entry.disks.map(({ id, disk_size }) => [String(id), disk(disk_size)]), "It has none.");
    const events = this.context.fleet.events.filter(({ name }) => name === this.name).slice(0, 10);
    fill(this.events, ["Time", "Change"],
      events.map(({ at, kind, reason }) => [date(at), reason ? `${KINDS[kind]}: ${reason}` : KINDS[kind] ?? kind]), "None.");
    this.showState();
  }

  showState() {
    if (this.vm == null) return;
    const { state, since } = this.vm;
    setText(this.state, since == null ? STATES[state] : `${STATES[state]} for ${span(now() - since)}`);
  }

  // ── Its points ──

  update() {
    const { range, from, to } = this.context.params;
    this.fixed = Number(from) < Number(to) ? [Number(from), Number(to)] : null;
    this.range = Object.hasOwn(RANGES, range) ? range : "1h";
    for (const button of this.ranges) {
      set(button, { "aria-pressed": String(!this.fixed && button.dataset.range === this.range) });
    }
    setText(this.zoomed, this.fixed ? `${date(from)} to ${date(to)}` : "live");
    if (this.hasBegun) this.load();
  }

  begin() {
    this.hasBegun = true;
    this.load();
  }

  span() {
    return this.fixed ?? [now() - RANGES[this.range], now()];
  }

  go({ range = "", from = "", to = "" }) {
    this.context.change({ range, from, to }, true);
  }

  move(part) {
    const [from, to] = this.span();
    const step = (to - from) * part;
    if (to + step >= now()) this.go({ range: this.range });
    else this.go({ range: this.range, from: Math.round(from + step), to: Math.round(to + step) });
  }

  async load() {
    const [from, to] = this.span();
    const asked = (this.asked = []);
    try {
      const found = await this.context.points.history(`${this.name}.`, from, to);
      if (this.asked !== asked || this.isOver) return;
      this.asked = null;
      this.points = new Map(Object.entries(found).filter(([key]) => this.owns(key)));
      // Those that came meanwhile may not be in the history.
      for (const point of asked) this.add(...point);
      this.isFound = true;
      this.draw();
    } catch (error) {
      if (this.asked === asked) setText(this.noPoints, `The points cannot be read: ${error.message}`);
    }
  }

  // Not those of a VM whose name begins with this one's and a point.
  owns(key) {
    for (let at = key.indexOf(".", this.name.length + 1); at >= 0; at = key.indexOf(".", at + 1)) {
      if (this.context.fleet.vms.has(key.slice(0, at))) return false;
    }
    return true;
  }

  take(...point) {
    if (!this.owns(point[0])) return;
    this.asked?.push(point);
    this.add(...point);
  }

  add(key, at, value) {
    const points = this.points.get(key) ?? [];
    this.points.set(key, points);
    // Mostly the newest; otherwise its place from the end.
    let index = points.length;
    while (index > 0 && points[index - 1][0] >= at) index -= 1;
    points.splice(index, points[index]?.[0] === at ? 1 : 0, [at, value]);
    this.isDirty = true;
  }

  tick() {
    this.showState();
    if (this.fixed || document.hidden) return;
    if (this.isDirty || RANGES[this.range] <= 3600) this.draw();
  }

  draw() {
    this.isDirty = false;
    const [from, to] = this.span();
    for (const [key, points] of this.points) {
      // The VM that it is of may have come meanwhile.
      if (!this.owns(key)) this.points.delete(key);
      const late = this.fixed ? 0 : points.findIndex(([at]) => at >= from);
      points.splice(0, late < 0 ? points.length : late);
    }
    const wanted = groups(this.name, [...this.points.keys()]);
    setText(this.noPoints, wanted.length > PLOTS_MAX ? `The first ${PLOTS_MAX} of ${wanted.length} plots.`
      : wanted.length === 0 && this.isFound ? "No points in this time. The agent puts them: vmherdctl agent" : "");
    const shown = wanted.slice(0, PLOTS_MAX);
    const titles = new Set(shown.map(({ title }) => title));
    for (const [title, plot] of this.plots) {
      if (titles.has(title)) continue;
      plot.destroy();
      this.plots.delete(title);
    }
    for (const group of shown) {
      let plot = this.plots.get(group.title);
      if (plot == null) {
        plot = new Plot(group.title, (from, to) => this.go({ range: this.range, from, to }), () => this.go({ range: this.range }));
        this.plots.set(group.title, plot);
      }
      if (this.figures.children[shown.indexOf(group)] !== plot.element) {
        this.figures.insertBefore(plot.element, this.figures.children[shown.indexOf(group)] ?? null);
      }
      plot.show(group, this.points, from, to);
    }
  }
}

const panel = (title) => el("section", { class: "panel", "aria-label": title }, el("h2", {}, title));

// Fills a panel with a table, or with `nothing`.
function fill(section, heads, rows, nothing) {
  const text = JSON.stringify(rows);
  if (section.shown === text) return;
  section.shown = text;
  const cells = (row, name, attributes) => el("tr", {}, ...row.map((text) => el(name, attributes, text)));
  const content = rows.length === 0 ? el("p", { class: "note" }, nothing)
    : el("table", {}, el("thead", {}, cells(heads, "th", { scope: "col" })),
      el("tbody", {}, ...rows.map((row) => cells(row, "td"))));
  section.replaceChildren(section.firstChild, content);
}
