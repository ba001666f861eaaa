// The VMs as the server has them, and what the lists need of each: its state, totals, and texts to filter and sort by.

import { now } from "{{dom.js}}";

const EVENTS_MAX = 500;
const SEEN_S = 5; // how exact the time is at which a VM was last seen
const REST = 4; // how much longer than the listeners take they rest: other work has its turn

export class Fleet {
  constructor() {
    this.listeners = new Set();
    this.restUntil = 0;
    this.clear();
  }

  clear() {
    this.vms = new Map();
    this.events = [];
    // Whether all VMs are there: false during the first snapshot.
    this.isWhole = false;
    this.tell();
  }

  // Takes a snapshot in pages. The first one shows as it comes; later ones replace what is there when they are whole.
  begin() {
    const fresh = new Map();
    if (!this.isWhole) this.vms = fresh;
    return {
      add: (entries) => {
        for (const entry of entries) fresh.set(entry.vm_id, describe(entry));
        if (this.vms === fresh) this.tell();
      },
      end: () => {
        // What is still there stays the same row.
        for (const [name, vm] of fresh) {
          const known = this.vms.get(name);
          if (known) fresh.set(name, Object.assign(known, vm));
        }
        this.vms = fresh;
        this.isWhole = true;
        this.tell();
      },
    };
  }

  // Applies a change. A snapshot may already have it, so each can be applied twice.
  change({ kind, vm_id: name, vm, reason }) {
    const known = this.vms.get(name);
    const isOther = known && vm?.id != null && vm.id !== known.entry.id;
    if (kind === "registered" || kind === "updated" || (vm && known && !isOther && kind !== "removed")) {
      this.vms.set(name, Object.assign(known ?? {}, describe({ ...known?.entry, ...vm })));
      this.vms.get(name).changed = performance.now();
    } else if (kind === "removed" && !isOther) {
      this.vms.delete(name);
    }
    this.events.unshift({ at: now(), name, kind, reason });
    this.events.length = Math.min(this.events.length, EVENTS_MAX);
    this.tell();
  }

  // The VM has just sent a request. The server tells of sessions only, and one that talks by HTTP has none.
  see(name) {
    const vm = this.vms.get(name);
    if (vm == null || vm.entry.connected_since != null || now() - (vm.entry.last_seen ?? 0) < SEEN_S) return;
    Object.assign(vm, describe({ ...vm.entry, last_seen: Math.floor(now()) }));
    this.tell();
  }

  // Calls the listeners before the next frame, once for all changes until then; later where they take long.
  tell() {
    if (this.isTold) return;
    this.isTold = true;
    const run = () => requestAnimationFrame(() => {
      this.isTold = false;
      const begin = performance.now();
      for (const listener of this.listeners) listener();
      const end = performance.now();
      this.restUntil = end + REST * (end - begin);
    });
    const rest = this.restUntil - performance.now();
    if (rest > 0) setTimeout(run, rest);
    else run();
  }

  totals() {
    const totals = { all: 0, online: 0, offline: 0, never: 0, ram: 0, cpu: 0, disk: 0 };
    for (const vm of this.vms.values()) {
      totals.all += 1;
      totals[vm.state] += 1;
      totals.ram += vm.entry.ram;
      totals.cpu += vm.entry.cpu;
      totals.disk += vm.disk;
    }
    return totals;
  }

  *disks() {
    for (const vm of this.vms.values()) {
      // The same rows as long as the disks are the same.
      if (vm.rowsOf !== vm.entry.disks) {
        vm.rowsOf = vm.entry.disks;
        vm.rows = vm.rowsOf.map(({ id, disk_size: size }) => ({ id, vm, size, haystack: `${id} ${vm.name.toLowerCase()}` }));
      }
      yield* vm.rows;
    }
  }
}

function describe(entry) {
  const { vm_id: name, id, connected_since, offline_since, last_seen, addrs, disks } = entry;
  const state = connected_since != null ? "online" : (offline_since ?? last_seen) != null ? "offline" : "never";
  return {
    entry,
    name,
    state,
    since: connected_since ?? offline_since ?? last_seen,
    disk: disks.reduce((sum, { disk_size }) => sum + disk_size, 0),
    order: naturalOrder(name),
    haystack: `${name} ${id} ${addrs.map(([host]) => host).join(" ")}`.toLowerCase(),
  };
}

// A text that sorts as people count: web-2 before web-10.
const naturalOrder = (name) => name.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(10, "0"));

// Whether `haystack` has every word of `filter`.
export function matcher(filter) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  return (haystack) => words.every((word) => haystack.includes(word));
}
