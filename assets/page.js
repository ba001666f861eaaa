// The page: views by URL, keys, and the login.

import { set, setClock, setText } from "{{dom.js}}";
import { Fleet } from "{{fleet.js}}";
import { DisksView, VmsView } from "{{lists.js}}";
import { Live } from "{{live.js}}";
import { LoginView, revoke } from "{{login.js}}";
import { Points } from "{{points.js}}";
import { ServerView } from "{{server.js}}";
import { VmView } from "{{vm.js}}";

const main = document.querySelector("#main");
const connection = document.querySelector("#connection");
const logout = document.querySelector("#logout");

const VIEWS = { vms: VmsView, disks: DisksView, server: ServerView, vm: VmView };
const STATES = {
  connecting: "connecting", listing: "listing", live: "live", waiting: "not connected, trying again", denied: "",
};

const CLOCK_MS = 2000; // for the server's time

// In memory only: `{token, isOwn}`, where a token that a login made is the page's own.
let credentials = null;
let view = null;
// Where the list of VMs was left.
let place = null;

const fleet = new Fleet();
const points = new Points(ask, (name) => fleet.see(name));
const live = new Live(fleet, tell);
const context = { fleet, points, ask, params: {}, change };

// The answer to a GET: the data of a JSON reply, unless `read` takes it otherwise.
async function ask(path, read = async (reply) => (await reply.json()).data) {
  const used = credentials;
  const reply = await fetch(path, { headers: used ? { Authorization: `Bearer ${used.token}` } : {} });
  setClock(reply);
  // That a login from before has ended is nothing new.
  if (reply.status === 401 && used === credentials) {
    live.stop();
    tell("denied");
  }
  if (!reply.ok) throw new Error(`${reply.status} ${reply.statusText}`);
  return read(reply);
}

function tell(state, detail) {
  connection.dataset.state = state;
  setText(connection, state === "failed" ? detail : STATES[state]);
  if (state === "live" && credentials) credentials.isValid = true;
  if (state !== "denied" || view instanceof LoginView) return;
  showLogin(credentials == null ? "" : credentials.isValid ? "The login has ended." : "This token is not valid.");
}

// ── Login ──

function start(found) {
  credentials = found;
  points.token = found?.token;
  logout.hidden = found == null;
  if (view) close();
  live.start(found?.token);
  route();
}

function showLogin(message) {
  credentials = null;
  points.token = undefined;
  logout.hidden = true;
  points.clear();
  place = null;
  open(new LoginView(start, message));
  document.title = "Login · vmherd";
  main.querySelector("input").focus();
}

logout.addEventListener("click", () => {
  const ended = credentials;
  live.stop();
  credentials = null;
  tell("denied");
  if (ended?.isOwn) revoke(ended.token);
});

// ── Views ──

// The view of a URL like #/vm/web-1?range=1h.
function parse() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [kind, name] = path.split("/");
  let decoded = name;
  try {
    decoded = name && decodeURIComponent(name);
  } catch {
    // What is no percent-encoding is the name as it is.
  }
  const known = kind === "" || !Object.hasOwn(VIEWS, kind) || (kind === "vm" && !name) ? "vms" : kind;
  return { path: known === "vm" ? `vm/${name}` : known, kind: known, name: decoded, params: Object.fromEntries(new URLSearchParams(query)) };
}

function route() {
  if (view instanceof LoginView) return;
  const { path, kind, name, params } = parse();
  context.params = params;
  context.name = name;
  if (view?.path !== path) {
    const next = new VIEWS[kind](context);
    next.path = path;
    open(next);
    view.update();
    view.refresh();
    enter(kind);
  } else {
    view.update();
  }
  if (kind === "vms") context.list = location.hash || "#/";
  for (const link of document.querySelectorAll("nav a")) {
    set(link, { "aria-current": link.dataset.view === (kind === "vm" ? "vms" : kind) ? "page" : null });
  }
  document.title = `${view.title} · vmherd`;
}

function close() {
  view.destroy();
  view = null;
}

function open(next) {
  document.querySelector("nav").hidden = next instanceof LoginView;
  const table = view?.path === "vms" ? view.list.table : null;
  if (table) place = { scroll: table.element.scrollTop, row: table.current };
  if (view) close();
  view = next;
  main.replaceChildren(next.element);
}

// Moves the focus into a view that the user has come to: in the list of VMs to the row where it was.
function enter(kind) {
  if (![document.body, main].includes(document.activeElement)) return;
  if (kind === "vms" && place) {
    view.list.table.element.scrollTop = place.scroll;
    view.list.table.focus(place.row);
  } else if (kind === "vm") {
    main.focus();
  }
}

// Changes parameters of the URL: as a new entry of the history, or in place.
function change(params, isNew = false) {
  const { path } = parse();
  const query = new URLSearchParams(Object.entries({ ...context.params, ...params }).filter(([, value]) => value !== ""));
  const url = `#/${path === "vms" ? "" : path}${query.size > 0 ? `?${query}` : ""}`;
  if (isNew) history.pushState(null, "", url);
  else history.replaceState(null, "", url);
  route();
}

window.addEventListener("popstate", route);
window.addEventListener("hashchange", route);
fleet.listeners.add(() => view?.refresh());

// ── Keys ──

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || view instanceof LoginView) return;
  const filter = document.querySelector("#filter");
  const isInput = event.target.matches?.("input");
  if (event.key === "/" && !isInput && filter) {
    event.preventDefault();
    filter.select();
  } else if (event.key === "Escape") {
    if (isInput && filter.value !== "") change({ filter: "" });
    else if (isInput) filter.blur();
    else if (view instanceof VmView) location.hash = context.list ?? "#/";
    else if (context.params.filter || context.params.state) change({ filter: "", state: "" }, true);
  } else if (event.key === "ArrowDown" && event.target === document.body) {
    view.list?.table.focus();
  }
});

// The first times that are asked for are the server's.
fetch("/", { method: "HEAD", signal: AbortSignal.timeout(CLOCK_MS) }).then(setClock).catch(() => {}).then(() => start(null));
