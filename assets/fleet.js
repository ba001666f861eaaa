// The VMs as the server has them, and what the lists need of each: its state, totals, and texts to filter and sort by.

const EVENTS_MAX = 500;

export class Fleet {
  constructor() {
    this.listeners = new Set();
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
        this.vms = fresh;
        this.isWhole = true;
        this.tell();
      },
    };
  }

  // Applies a change. A snapshot may already have it, so each can be applied twice.
  change({ kind, vm_id: name, vm, reason }) {
    const known = this.vms.get(name);
    if (kind === "removed") this.vms.delete(name);
    else if (vm && (known || kind === "registered" || kind === "updated")) {
      this.vms.set(name, Object.assign(known ?? {}, describe({ ...known?.entry, ...vm })));
      this.vms.get(name).changed = performance.now();
    }
    this.events.unshift({ at: Date.now() / 1000, name, kind, reason });
    this.events.length = Math.min(this.events.length, EVENTS_MAX);
    this.tell();
  }

  // Calls the listeners before the next frame, once for all changes until then.
  tell() {
    this.isTold ??= requestAnimationFrame(() => {
      this.isTold = null;
      for (const listener of this.listeners) listener();
    });
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
