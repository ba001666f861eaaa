// The views of all VMs and of all disks: a filter, counts, and a table.

import { count, date, disk, el, now, ram, set, setText, span } from "{{dom.js}}";
import { matcher } from "{{fleet.js}}";
import { drawSparkline, sparkline } from "{{points.js}}";
import { sortRows, Table } from "{{table.js}}";

export const vmUrl = (name) => `#/vm/${encodeURIComponent(name)}`;
export const STATES = { online: "online", offline: "offline", never: "never seen" };
const TEXTS_MS = 5000;
// The age at which a load is no longer the current one.
const OLD_S = 120;

// A name that links to its VM.
function nameColumn(vm) {
  return {
    key: "name",
    label: "Name",
    value: (row) => vm(row).order,
    make: (cell) => cell.append(el("a", {}, el("bdi"))),
    show: (cell, row) => {
      const { name } = vm(row);
      if (cell.title === name) return;
      cell.title = name;
      set(cell.firstChild, { href: vmUrl(name) });
      setText(cell.firstChild.firstChild, name);
    },
  };
}

const byName = (left, right) => (left.order < right.order ? -1 : left.order > right.order ? 1 : 0);

const VM_COLUMNS = [
  nameColumn((row) => row),
  { key: "id", label: "ID", align: "number", value: (row) => row.entry.id, text: (row) => String(row.entry.id) },
  {
    key: "state", label: "State", tie: byName, value: (row) => Object.keys(STATES).indexOf(row.state),
    show: (cell, row) => {
      if (cell.dataset.state !== row.state) cell.dataset.state = row.state;
      setText(cell, STATES[row.state]);
    },
  },
  {
    // The longest first would be odd: ascending is the shortest time, as it is read.
    key: "since", label: "Since", align: "number", tie: byName, value: (row) => (row.since == null ? null : -row.since),
    show: (cell, row) => {
      setText(cell, row.since == null ? "–" : span(now() - row.since));
      const title = row.since == null ? "" : date(row.since);
      if (cell.title !== title) cell.title = title;
    },
  },
  { key: "ram", label: "RAM", align: "number", tie: byName, value: (row) => row.entry.ram, text: (row) => ram(row.entry.ram) },
  { key: "cpu", label: "CPU", align: "number", tie: byName, value: (row) => row.entry.cpu, text: (row) => count(row.entry.cpu) },
  {
    key: "disks", label: "Disks", align: "number", tie: byName, value: (row) => row.disk,
    text: ({ entry, disk: size }) => (entry.disks.length === 0 ? "–" : `${entry.disks.length} · ${disk(size)}`),
  },
];

const DISK_COLUMNS = [
  nameColumn((row) => row.vm),
  { key: "id", label: "Disk", align: "number", value: (row) => row.id, text: (row) => String(row.id) },
  {
    key: "size", label: "Size", align: "number", tie: (left, right) => byName(left.vm, right.vm), value: (row) => row.size,
    text: (row) => disk(row.size),
  },
];

// A filter field and a table, with filter and sort in the URL. `rows()` are all rows.
class List {
  constructor(context, { label, columns, rows, order, accepts = () => true, onShow, bar }) {
    Object.assign(this, { context, columns, rows, order, accepts, sort: order });
    this.sorted = [];
    this.filter = el("input", {
      type: "search", id: "filter", placeholder: "Filter  ( / )", "aria-label": `Filter ${label}`, spellcheck: "false",
      autocomplete: "off",
      input: () => context.change({ filter: this.filter.value }),
      keydown: (event) => {
        if (event.key === "ArrowDown" || event.key === "Enter") {
          event.preventDefault();
          this.table.focus(0);
        }
      },
    });
    this.found = el("p", { class: "found", role: "status" });
    this.table = new Table({ label, columns, onSort: (sort) => context.change({ sort }, true), onShow });
    this.empty = el("p", { class: "note empty" });
    this.element = el("div", { class: `list ${label.toLowerCase()}` }, el("h1", { class: "unseen" }, label),
      el("div", { class: "bar" }, ...bar, this.filter, this.found), this.table.element, this.empty);
    this.texts = setInterval(() => this.table.render(), TEXTS_MS);
  }

  destroy() {
    clearInterval(this.texts);
    this.table.destroy();
  }

  // The rows have changed.
  refresh() {
    // The order from before, without what is gone, is nearly the new one.
    const fresh = new Set(this.rows());
    const kept = this.sorted.filter((row) => fresh.delete(row));
    this.sorted = kept.concat([...fresh]);
    this.arrange();
  }

  arrange() {
    sortRows(this.sorted, this.columns, this.sort);
    this.select();
  }

  select() {
    const matches = matcher(this.context.params.filter ?? "");
    const chosen = this.sorted.filter((row) => this.accepts(row) && matches(row.haystack));
    this.table.show(chosen, this.sort);
    const { isWhole } = this.context.fleet;
    setText(this.found, chosen.length === this.sorted.length ? "" : `${count(chosen.length)} of ${count(this.sorted.length)}`);
    setText(this.empty, chosen.length > 0 || !isWhole ? "" : this.sorted.length > 0 ? "Nothing matches." : this.nothing);
  }

  // The URL has changed.
  update() {
    const { filter = "", sort = this.order } = this.context.params;
    if (this.filter.value !== filter) this.filter.value = filter;
    if (this.sort !== sort) {
      this.sort = sort;
      this.arrange();
    } else {
      this.select();
    }
  }
}

// All VMs.
export class VmsView {
  constructor(context) {
    this.context = context;
    this.title = "VMs";
    const load = {
      // Only the loads of VMs in sight are known: there is no order by load.
      key: "load", label: "Load", align: "number",
      make: (cell) => cell.append(sparkline(), el("span")),
      show: (cell, row) => {
        const points = context.points.recent(`${row.name}.load`);
        const [at, load] = points.at(-1) ?? [];
        drawSparkline(cell.firstChild, points);
        setText(cell.lastChild, load == null ? "–" : load.toFixed(2));
        cell.classList.toggle("old", at != null && now() - at > OLD_S);
      },
    };
    this.tiles = new Map();
    const tile = (key, label) => {
      const value = el("b", {}, "–");
      this.tiles.set(key, value);
      return el("button", {
        type: "button", class: `tile ${key}`, "data-count": key,
        click: () => context.change({ state: key === "all" || context.params.state === key ? "" : key }, true),
      }, value, ` ${label}`);
    };
    const sum = (key, label) => {
      const value = el("b", {}, "–");
      this.tiles.set(key, value);
      return el("span", {}, value, ` ${label}`);
    };
    this.buttons = [tile("all", "VMs"), ...Object.entries(STATES).map(([key, label]) => tile(key, label))];
    this.list = new List(context, {
      label: "VMs",
      columns: [...VM_COLUMNS, load],
      rows: () => context.fleet.vms.values(),
      order: "name",
      accepts: ({ state }) => !context.params.state || context.params.state === state,
      onShow: (rows) => context.points.look(rows.map(({ name }) => `${name}.load`)),
      bar: [el("div", { class: "tiles", role: "group", "aria-label": "States" }, ...this.buttons),
        el("div", { class: "sums" }, sum("ram", "RAM"), sum("cpu", "CPUs"), sum("disk", "on disks"))],
    });
    this.list.nothing = "No VM is registered yet. On the server: vmherd vm add web-1";
    this.element = this.list.element;
    this.forget = context.points.listen(() => this.list.table.render());
  }

  refresh() {
    const totals = this.context.fleet.totals();
    const texts = { ...totals, ram: ram(totals.ram), disk: disk(totals.disk) };
    for (const [key, value] of this.tiles) {
      setText(value, typeof texts[key] === "number" ? count(texts[key]) : texts[key]);
    }
    this.list.refresh();
  }

  update() {
    for (const button of this.buttons) {
      const isPressed = (this.context.params.state || "all") === button.dataset.count;
      set(button, { "aria-pressed": String(isPressed) });
    }
    this.list.update();
  }

  destroy() {
    this.forget();
    this.context.points.look([]);
    this.list.destroy();
  }
}

// All disks.
export class DisksView {
  constructor(context) {
    this.title = "Disks";
    this.context = context;
    this.total = el("b", {}, "–");
    this.list = new List(context, {
      label: "Disks",
      columns: DISK_COLUMNS,
      rows: () => context.fleet.disks(),
      order: "name",
      bar: [el("div", {}, this.total)],
    });
    this.list.nothing = "No VM has a disk.";
    this.element = this.list.element;
  }

  refresh() {
    this.list.refresh();
    const size = this.list.sorted.reduce((sum, row) => sum + row.size, 0);
    setText(this.total, `${count(this.list.sorted.length)} disks · ${disk(size)}`);
  }

  update() {
    this.list.update();
  }

  destroy() {
    this.list.destroy();
  }
}
