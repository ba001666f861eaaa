// The connection to the server: one WebSocket that is opened again after it ends, and the `watch` on it.

const SILENCE_MS = 25_000; // then a ping is sent
const ANSWER_MS = 10_000; // in which it must be answered
const PAUSE_MS_MIN = 300;
const PAUSE_MS_MAX = 10_000;

export const DENIED = [/^You have to authenticate/, /^Invalid access token/, /^Token belongs/];

// A WebSocket to this page's server. `greet(send)` is called after each opening, `take(message)` with each message.
export class Channel {
  constructor({ greet, take, tell = () => {} }) {
    Object.assign(this, { greet, take, tell });
    this.pause = PAUSE_MS_MIN;
    this.retry = () => this.socket == null && this.timer != null && this.open();
  }

  open() {
    this.end();
    window.addEventListener("online", this.retry);
    this.tell("connecting");
    const url = new URL("/", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url.href.split("#")[0]);
    this.socket = socket;
    socket.onopen = () => {
      this.expect(SILENCE_MS, () => this.ping());
      this.greet();
    };
    socket.onmessage = (event) => {
      this.expect(SILENCE_MS, () => this.ping());
      const message = JSON.parse(event.data);
      if (message.request_id !== "ping") this.take(message);
    };
    socket.onclose = () => this.reopen();
    // A handshake that never ends.
    this.expect(ANSWER_MS, () => this.reopen());
  }

  send(command, data) {
    if (this.isOpen()) this.socket.send(JSON.stringify({ request_id: command, command, data }));
  }

  isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  // What the server says is as it should be: the next pause is the shortest again.
  settle() {
    this.pause = PAUSE_MS_MIN;
  }

  reopen() {
    this.end();
    window.addEventListener("online", this.retry);
    const pause = this.pause * (0.5 + Math.random());
    this.pause = Math.min(2 * this.pause, PAUSE_MS_MAX);
    this.tell("waiting");
    this.expect(pause, () => this.open());
  }

  end() {
    clearTimeout(this.timer);
    this.timer = null;
    window.removeEventListener("online", this.retry);
    if (this.socket == null) return;
    const { socket } = this;
    // The browser warns of one that is closed before it is open.
    socket.onopen = () => socket.close();
    socket.onmessage = socket.onclose = null;
    if (socket.readyState !== WebSocket.CONNECTING) socket.close();
    this.socket = null;
  }

  ping() {
    this.send("ping", {});
    this.expect(ANSWER_MS, () => this.reopen());
  }

  expect(milliseconds, then) {
    clearTimeout(this.timer);
    this.timer = setTimeout(then, milliseconds);
  }
}

// Keeps a fleet as the server has it.
export class Live {
  // `tell(state, detail)`: connecting, listing, live, waiting, denied, failed.
  constructor(fleet, tell) {
    this.fleet = fleet;
    this.tell = tell;
    this.channel = new Channel({
      greet: () => this.watch(),
      take: (message) => this.take(message),
      tell,
    });
  }

  start(token) {
    this.token = token;
    this.revision = null;
    this.channel.open();
  }

  stop() {
    this.channel.end();
    this.fleet.clear();
  }

  watch() {
    this.pages = null;
    this.channel.send("watch", { from: this.revision ?? undefined, token: this.token });
  }

  take({ status, message, data }) {
    if (status !== "success") return this.fail(message);
    if (message === "snapshot") {
      this.pages ??= this.fleet.begin();
      this.pages.add(data.vms);
      if (data.more) return this.tell("listing");
      this.pages.end();
      this.pages = null;
    } else if (message === "change") {
      this.fleet.change(data);
    } else if (message !== "resumed") {
      return;
    }
    this.revision = data.revision;
    this.channel.settle();
    this.tell("live");
  }

  fail(message) {
    if (DENIED.some((denial) => denial.test(message))) {
      this.stop();
      return this.tell("denied", message);
    }
    const isBehind = message === "too far behind, list again" && this.revision != null;
    this.revision = null;
    // At once only if the last list was whole: otherwise each one could fail like this.
    if (isBehind) return this.watch();
    this.channel.reopen();
    this.tell("failed", message);
  }
}
