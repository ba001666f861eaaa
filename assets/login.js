// The login where the listener is closed: a VM's name and password, or a reader's token.

import { el, setText } from "{{dom.js}}";

// Sends a command by HTTP: a login over WebSocket would turn the VM online.
async function post(command, data) {
  const reply = await fetch("/", { method: "POST", body: JSON.stringify({ command, data }) });
  const { status, message, data: answer } = await reply.json();
  if (status !== "success") throw new Error(message);
  return answer;
}

// Ends a token that a login made.
export function revoke(token) {
  post("logout", { token }).catch(() => {});
}

export class LoginView {
  // `enter({token, isOwn})` is called with what was given.
  constructor(enter, message = "") {
    this.title = "Login";
    this.enter = enter;
    this.message = el("p", { class: "error", role: "alert" }, message);
    const field = (label, attributes) => el("label", {}, label, el("input", { required: true, ...attributes }));
    const form = (title, fields, submit) =>
      el("form", { submit: (event) => this.submit(event, submit) }, el("h2", {}, title), ...fields,
        el("button", { class: "primary" }, "Log in"));
    this.element = el("section", { class: "login", "aria-label": "Login" },
      el("h1", {}, "Log in"), this.message,
      form("As a VM", [
        field("Name", { name: "name", autocomplete: "username", autocapitalize: "none", spellcheck: "false" }),
        field("Password", { name: "password", type: "password", autocomplete: "current-password" }),
      ], async ({ name, password }) => {
        const { token } = await post("authenticate", { vm_id: name, password });
        return { token, isOwn: true };
      }),
      form("As a reader", [
        field("Token", { name: "token", type: "password", autocomplete: "off" }),
      ], ({ token }) => ({ token: token.trim(), isOwn: false })),
      el("p", { class: "note" }, "A reader’s token is made on the server: vmherd token add --reader NAME. ",
        "The page keeps it in memory only."));
  }

  refresh() {}

  update() {}

  destroy() {}

  async submit(event, submit) {
    event.preventDefault();
    const form = event.target;
    const button = form.querySelector("button");
    button.disabled = true;
    setText(this.message, "");
    try {
      this.enter(await submit(Object.fromEntries(new FormData(form))));
    } catch (error) {
      setText(this.message, error.message);
    }
    button.disabled = false;
  }
}
