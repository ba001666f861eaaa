// A table of any length: only the rows in sight have elements. Rows are links, moved over with the arrow keys.

import { el, set, setText } from "{{dom.js}}";

const OVERSCAN = 6;
const SETTLE_MS = 150;

export class Table {
  // Columns are {key, label, align?, value(row)?, tie(row, row)?} with either text(row), or make(cell) and show(cell, row).
  // A column with a value can be sorted by. `onSort(sort)` asks for an order: a column's key, after `-` for descending.
  // `onShow(rows)` is called with the rows in sight.
  constructor({ label, columns, onSort, onShow = () => {} }) {
    Object.assign(this, { columns, onSort, onShow, rows: [], pool: [], first: 0, last: 0, current: 0 });
    this.head = el("div", { role: "row", class: "row head", "aria-rowindex": 1 });
    this.headers = columns.map((column) => this.header(column));
    this.head.append(...this.headers);
    this.body = el("div", { role: "rowgroup", class: "body" });
    this.table = el("div", { role: "table", class: "table", "aria-label": label, "aria-colcount": columns.length },
      el("div", { role: "rowgroup", class: "heads" }, this.head), this.body);
    this.element = el("div", {
      class: "scroll", tabindex: 0, "aria-label": label, role: "region",
      scroll: () => this.render(), keydown: (event) => this.key(event), focusin: (event) => this.focused(event),
    }, this.table);
    this.resized = new ResizeObserver(() => this.measure());
    this.resized.observe(this.element);
  }

  destroy() {
    this.resized.disconnect();
    clearTimeout(this.timer);
  }

  header({ key, label, align, value }) {
    const sort = () => this.onSort(this.sort === key ? `-${key}` : key);
    const content = value ? el("button", { type: "button", click: sort }, label) : label;
    return el("div", { role: "columnheader", class: `cell ${key} ${align ?? ""}` }, content);
  }

  // Shows `rows`, which are sorted by `sort`.
  show(rows, sort) {
    const focused = this.focusedItem()?.row;
    this.rows = rows;
    this.sort = sort;
    const [key, direction] = sort.startsWith("-") ? [sort.slice(1), "descending"] : [sort, "ascending"];
    this.columns.forEach((column, index) =>
      set(this.headers[index], { "aria-sort": column.key === key ? direction : null }));
    set(this.table, { "aria-rowcount": rows.length + 1 });
    if (this.pool.length > 0) this.render();
    else this.measure();
    // The focus follows its row to where it is now.
    if (focused && this.focusedItem()?.row !== focused && rows.includes(focused)) this.focus(rows.indexOf(focused));
  }

  // The one of the pool that has the focus.
  focusedItem() {
    return this.pool.find(({ element }) => element.contains(document.activeElement));
  }

  measure() {
    if (!this.element.isConnected) return;
    if (this.pool.length === 0 && this.rows.length > 0) this.grow(1);
    const shown = this.pool.find(({ element }) => !element.hidden);
    this.height = shown?.element.offsetHeight || this.height || 30;
    this.render();
  }

  render() {
    if (this.height == null) return;
    const focused = this.focusedItem()?.row;
    // All is read before anything is written: reading after that would make the browser lay out the table.
    const { scrollTop, clientHeight } = this.element;
    const length = this.rows.length * this.height;
    const top = Math.max(0, Math.min(scrollTop - this.head.offsetHeight, length - clientHeight));
    const visible = Math.ceil(clientHeight / this.height);
    if (this.length !== length) this.body.style.height = `${(this.length = length)}px`;
    this.first = Math.max(0, Math.floor(top / this.height) - OVERSCAN);
    this.last = Math.min(this.rows.length, this.first + visible + 2 * OVERSCAN);
    this.grow(this.last - this.first);
    // A row keeps its element while it is in sight: index modulo the number of elements.
    this.pool.forEach((item) => (item.isUsed = false));
    for (let index = this.first; index < this.last; index += 1) this.fill(this.pool[index % this.pool.length], index);
    if (focused) {
      // Its row may have another element now, or none.
      const item = this.pool.find(({ isUsed, row }) => isUsed && row === focused);
      const target = item?.element.querySelector("a") ?? this.element;
      if (target !== document.activeElement) target.focus({ preventScroll: true });
    }
    for (const item of this.pool) if (!item.isUsed) item.element.hidden = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.order(), SETTLE_MS);
    this.onShow(this.rows.slice(this.first, this.last));
  }

  // Puts the elements in the order of their rows, for the Tab key and screen readers, around the one with the focus.
  order() {
    const elements = [...this.pool].sort((left, right) => left.index - right.index).map(({ element }) => element);
    if (elements.every((element, at) => element === this.body.children[at])) return;
    const pivot = elements.findIndex((element) => element.contains(document.activeElement));
    elements.forEach((element, at) => {
      if (at < pivot) elements[pivot].before(element);
      else if (at > pivot) this.body.append(element);
    });
  }

  grow(count) {
    while (this.pool.length < count) {
      const element = el("div", { role: "row", class: "row" });
      const cells = this.columns.map((column) => {
        const cell = el("div", { role: "cell", class: `cell ${column.key} ${column.align ?? ""}` });
        column.make?.(cell);
        return cell;
      });
      element.append(...cells);
      element.addEventListener("click", (event) => this.click(event, element));
      this.body.append(element);
      this.pool.push({ element, cells });
    }
  }

  fill(item, index) {
    const row = this.rows[index];
    const { element, cells } = item;
    item.isUsed = true;
    if (item.index !== index) {
      item.index = index;
      element.style.transform = `translateY(${index * this.height}px)`;
      set(element, { "aria-rowindex": index + 2 });
    } else if (item.height !== this.height) {
      element.style.transform = `translateY(${index * this.height}px)`;
    }
    item.height = this.height;
    if (element.hidden) element.hidden = false;
    element.classList.toggle("odd", index % 2 === 1);
    this.columns.forEach((column, at) => {
      if (column.show) column.show(cells[at], row);
      else setText(cells[at], column.text(row));
    });
    // A change is seen for a moment; not those that came with another row.
    const isFresh = performance.now() - (row.changed ?? -1e9) < 1500;
    element.classList.toggle("fresh", isFresh && item.row === row);
    item.row = row;
  }

  click(event, element) {
    if (event.target.closest("a") || !getSelection().isCollapsed) return;
    element.querySelector("a")?.click();
  }

  focused(event) {
    const element = event.target.closest(".body .row");
    const item = element && this.pool.find((item) => item.element === element);
    if (item) this.current = item.index;
  }

  // Puts the focus on a row.
  focus(index = this.current) {
    if (this.rows.length === 0) return;
    const chosen = Math.max(0, Math.min(index, this.rows.length - 1));
    const [top, head] = [chosen * this.height, this.head.offsetHeight];
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + this.height + head > scrollTop + clientHeight) {
      this.element.scrollTop = top + this.height + head - clientHeight;
    }
    this.render();
    this.current = chosen;
    this.pool[chosen % this.pool.length].element.querySelector("a").focus({ preventScroll: true });
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest(".heads")) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 2);
    const isOnRow = event.target.closest(".body") != null;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page }[event.key];
    const index = { Home: 0, End: this.rows.length - 1 }[event.key]
      ?? (step == null ? null : isOnRow ? this.current + step : this.current);
    if (index == null) return;
    event.preventDefault();
    this.focus(index);
  }
}

// Sorts in place by a column: `rows` that are nearly in order take one pass.
export function sortRows(rows, columns, sort) {
  const isDescending = sort.startsWith("-");
  const column = columns.find(({ key, value }) => value && key === sort.replace(/^-/, "")) ?? columns[0];
  const [before, after] = isDescending ? [1, -1] : [-1, 1];
  // Rows without a value come last in either order.
  return rows.sort((left, right) => {
    const [a, b] = [column.value(left), column.value(right)];
    if (a === b) return column.tie?.(left, right) ?? 0;
    if (a == null) return 1;
    if (b == null) return -1;
    return a < b ? before : after;
  });
}
