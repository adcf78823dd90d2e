// Runs the page without a browser: just enough of a document, the gateway's real answers, and a test's steps.
// node page_in_node.mjs <page.js> <gateway's address> <document as JSON> <steps>; prints what the steps return as JSON.
const [script, base, tree, steps] = process.argv.slice(2);
let active = null;

class Node_ {
  constructor(tag) {
    Object.assign(this, { tag, parent: null, children: [], attributes: {}, listeners: {}, className: "", value: "", open: false });
    this.disabled = this.hidden = this.required = false;
    this.dataset = new Proxy(this.attributes, {
      get: (all, name) => all[`data-${name}`],
      set: (all, name, value) => { all[`data-${name}`] = String(value); return true; },
    });
    this.classList = { toggle: (name, on) => { this.className = [...this.className.split(" ").filter((one) => one && one !== name), ...(on ? [name] : [])].join(" "); } };
  }

  append(...added) {
    for (const one of added) {
      const node = one instanceof Node_ ? one : Object.assign(new Node_("#text"), { data: String(one) });
      node.remove();
      node.parent = this;
      this.children.push(node);
    }
  }

  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((one) => one !== this);
    this.parent = null;
  }

  replaceChildren(...added) {
    for (const one of this.children) one.parent = null;
    this.children = [];
    this.append(...added);
  }

  get textContent() { return this.tag === "#text" ? this.data : this.children.map((one) => one.textContent).join(""); }
  set textContent(text) { this.replaceChildren(...(text === "" ? [] : [text])); }
  get id() { return this.attributes.id ?? ""; }
  set id(id) { this.attributes.id = id; }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  getAttribute(name) { return this.attributes[name] ?? null; }
  contains(other) { return other === this || (other?.parent ? this.contains(other.parent) : false); }
  focus() { active = this; }
  addEventListener(name, act) { (this.listeners[name] ??= []).push(act); }
  emit(name) { return Promise.all((this.listeners[name] ?? []).map((act) => act({ preventDefault() {}, target: this }))); }
  *within() { for (const one of this.children) { yield one; yield* one.within(); } }
  matches(selector) {
    const [, tag, name, value] = /^([a-z0-9]*)(?:\[([a-z-]+)(?:="([^"]*)")?\])?$/.exec(selector);
    return (!tag || tag === this.tag) && (!name || (value === undefined ? name in this.attributes : this.attributes[name] === value));
  }
  querySelectorAll(selector) { return [...this.within()].filter((one) => one.matches(selector)); }
  querySelector(selector) { return this.querySelectorAll(selector)[0] ?? null; }
  showModal() {
    this.open = true;
    this.querySelectorAll("input")[0]?.focus();
  }
  close() {
    this.open = false;
    active = null;
    this.emit("close");
  }
}

function built([tag, attributes, children]) {
  const node = new Node_(tag);
  Object.assign(node.attributes, attributes);
  node.hidden = "hidden" in attributes;
  node.className = attributes.class ?? "";
  node.append(...children.map((one) => (typeof one === "string" ? one : built(one))));
  return node;
}

const root = built(JSON.parse(tree));
const handlers = new Node_("#document");
globalThis.document = {
  title: "dexlane",
  createElement: (tag) => new Node_(tag),
  getElementById: (id) => [...root.within()].find((one) => one.id === id) ?? null,
  querySelector: (selector) => root.querySelector(selector),
  querySelectorAll: (selector) => root.querySelectorAll(selector),
  addEventListener: (name, act) => handlers.addEventListener(name, act),
  get activeElement() { return active && root.contains(active) ? active : root; },
};
const kept = new Map();
globalThis.sessionStorage = { getItem: (name) => kept.get(name) ?? null, setItem: (name, text) => kept.set(name, text), removeItem: (name) => kept.delete(name) };
globalThis.location = { protocol: "http:", host: "page" };
globalThis.requestAnimationFrame = (act) => setTimeout(act, 0);

const asked = [];
const real = globalThis.fetch;
const network = { away: false };
globalThis.fetch = (path, options = {}) => {
  asked.push({ method: options.method ?? "GET", path, body: options.body ? JSON.parse(options.body) : null });
  return network.away ? Promise.reject(new TypeError("fetch failed")) : real(base + path, options);
};
const socket = new Node_("#socket");
globalThis.WebSocket = class {
  constructor() { return Object.assign(socket, { send: (text) => { socket.wish = JSON.parse(text); } }); }
};

const tools = {
  asked, network, socket,
  byId: (id) => document.getElementById(id),
  text: (node) => node.textContent.replace(/\s+/g, " ").trim(),
  answer: async (path) => (await (await real(`${base}/api/v1${path}`)).json()).data,
  elsewhere: (path, body) => real(`${base}/api/v1${path}`, { method: "POST", headers: { "Content-Type": "application/json", Authorization: `Bearer ${"t".repeat(43)}` }, body: JSON.stringify(body) }),
  say: (event, data) => socket.listeners.message.forEach((act) => act({ data: JSON.stringify({ event, data }) })),
  during: (name) => handlers.emit(name),
  keyed: (key) => {
    const found = document.querySelectorAll("button").find((one) => one.dataset.key === key);
    if (!found) throw new Error(`there is no button ${key}`);
    return found;
  },
  press: async (node) => {
    if (node.disabled) throw new Error(`${node.textContent} is disabled`);
    node.focus();
    await node.emit("click");
  },
  submit: async (reason, token = "t".repeat(43)) => {
    if (document.getElementById("dialog-confirm").disabled) throw new Error("the dialog cannot be confirmed");
    document.getElementById("reason").value = reason;
    document.getElementById("token").value = token;
    await document.getElementById("dialog").querySelector("form").emit("submit");
  },
  until: async (holds, what) => {
    for (let left = 500; left > 0; left -= 1) {
      if (holds()) return;
      await new Promise((resolve) => { setTimeout(resolve, 10); });
    }
    throw new Error(`never: ${what ?? holds}`);
  },
};

await import(script);
await socket.emit("open");
await tools.until(() => document.querySelectorAll("article").length > 0, "books are drawn");
const run = new (Object.getPrototypeOf(async () => {}).constructor)(...Object.keys(tools), steps);
console.log(JSON.stringify((await run(...Object.values(tools))) ?? null));
process.exit(0);
