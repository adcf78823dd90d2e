// The status page: draws what the gateway says and nothing else. A figure that is missing is written "no data".
"use strict";

const API = "/api/v1";
const FEED_SHOWN = 120;
const FEED_KEPT = 400;
const STALE_AFTER_MS = 5000;
const MEANINGS = {
  active: "entries and exits are traded",
  reducing: "no new entries; open positions are still closed",
  halted: "nothing is sent but cancels",
};
const TONES = {
  active: "good", reducing: "care", halted: "bad",
  approved: "good", rejected: "bad", flagged: "bad", failed: "bad", reversed: "bad", dropped: "bad", expired: "bad", reorged: "bad",
  included: "good", confirmed: "good", mined: "good", refused: "care", skipped: "care", cancelled: "care", bumped: "care", replaced: "care",
  found: "calm", created: "calm", signed: "calm", submitted: "calm", pending: "calm", planned: "calm", triggered: "calm", exit_triggered: "calm",
};
const FILTERS = {
  all: null,
  found: ["opportunity"],
  judged: ["verdict", "decision"],
  traded: ["intent", "transaction", "fill", "exit", "status"],
};

const byId = (id) => document.getElementById(id);
let filter = "all";
let feed = [];
let lastMessageAt = 0;

// ---------------------------------------------------------------- numbers, exact until they are written

function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function units(text, decimals, places) {
  // Decimal strings in smallest units; truncated toward zero at `places`, so nothing looks larger than it is.
  let value = BigInt(text);
  const negative = value < 0n;
  if (negative) value = -value;
  const scale = 10n ** BigInt(decimals);
  const whole = (value / scale).toString().replace(/\B(?=(\d{3})+$)/g, ",");
  const fraction = (value % scale).toString().padStart(decimals, "0").slice(0, Math.min(places, decimals));
  const sign = negative && (value / scale > 0n || /[1-9]/.test(fraction)) ? "−" : "";
  return sign + whole + (fraction ? "." + fraction : "");
}

function money(text, token, { signed = false, places = 2 } = {}) {
  if (text === null || text === undefined) return el("span", "nodata", "no data");
  const value = BigInt(text);
  const tone = !signed || value === 0n ? "" : value > 0n ? "gain" : "loss";
  const plus = signed && value > 0n ? "+" : "";
  const unit = token.symbol ? el("span", "unit", token.symbol) : null;
  return el("span", tone, plus + units(text, token.decimals, places), unit);
}

function gwei(text) {
  if (text === null || text === undefined) return el("span", "nodata", "no data");
  const value = BigInt(text);
  // A tip of one wei is a price of nothing; the exact figure stands in the API.
  const written = value === 0n ? "0" : value < 10000000n ? "under 0.01" : units(text, 9, 3);
  return el("span", "", written, el("span", "unit", "gwei"));
}

function age(ms) {
  if (ms === null || ms === undefined) return "no data";
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

function figure(name, value, className = "") {
  return el("div", className, el("dt", "", name), el("dd", "", value));
}

// ---------------------------------------------------------------- drawing

function draw(overview) {
  byId("network").textContent = overview.realm === "main" ? overview.network : `${overview.network}, ${overview.realm}`;
  const notices = byId("notices");
  notices.hidden = overview.notices.length === 0;
  notices.textContent = overview.notices.join(" ");
  drawStatus(overview.chains.map((chain) => chain.status));
  byId("services").replaceChildren(...overview.services.map(serviceItem));
  const books = [...overview.books].sort((a, b) => (a.book.mode === b.book.mode ? 0 : a.book.mode === "live" ? -1 : 1));
  byId("books").replaceChildren(...(books.length ? books.map(bookCard) : [el("p", "empty card", "no data")]));
  byId("chains").replaceChildren(...overview.chains.map(chainCard));
  byId("latency").replaceChildren(...overview.latency.map(latencyRow));
  drawPositions(overview);
}

function drawStatus(statuses) {
  const order = ["active", "reducing", "halted"];
  const worst = statuses.reduce((a, s) => (order.indexOf(s.effective) > order.indexOf(a) ? s.effective : a), "active");
  const word = byId("status");
  word.textContent = worst[0].toUpperCase() + worst.slice(1);
  word.className = `status ${TONES[worst]}`;
  byId("status-meaning").textContent = MEANINGS[worst];
  const holding = statuses.flatMap((s) => s.sources.filter((x) => x.status !== "active").map((x) => [s.chain_id, x]));
  byId("sources").replaceChildren(
    ...holding.map(([chain, s]) =>
      el("li", "", el("span", `tag ${TONES[s.status]}`, s.status), ` ${s.source} on chain ${chain}: ${s.reason}`)),
  );
  const operator = statuses.flatMap((s) => s.sources.filter((x) => x.source === "operator"));
  document.querySelector('[data-action="reducing"]').disabled = operator.every((s) => s.status !== "active");
  document.querySelector('[data-action="halted"]').disabled = operator.every((s) => s.status === "halted");
  document.querySelector('[data-action="resume"]').disabled = operator.every((s) => s.status === "active");
}

function serviceItem(service) {
  const tone = service.ready === null ? "" : service.ready ? "good" : "bad";
  const why = Object.entries(service.reasons).map(([name, text]) => (name === "http" ? text : `${name}: ${text}`)).join("; ");
  const told = service.ready === null ? "not asked yet" : service.ready ? "ready" : why || "not ready";
  return el("li", "", el("span", `dot ${tone}`), service.name, el("span", "why", told));
}

function bookCard(view) {
  const { book } = view;
  const head = el("div", "book-head", el("h3", "", book.id),
    el("span", `tag ${book.mode === "live" ? "care" : "calm"}`, book.mode),
    el("span", "tag", `level ${book.level}`), el("span", "tag", book.profile),
    book.enabled ? null : el("span", "tag bad", "disabled"));
  const signed = { signed: true };
  const figures = el("dl", "figures",
    figure("Equity", money(view.equity, book.quote), "wide"),
    figure("Realised", money(view.realised, book.quote, signed)),
    figure("Realised today", money(view.realised_today, book.quote, signed)),
    figure("Unrealised", money(view.unrealised, book.quote, signed)),
    figure("At work", money(view.at_work, book.quote)),
    figure("Gas paid", money(view.fees_paid_wei, { symbol: view.native_symbol, decimals: 18 }, { places: 5 })),
    figure("Open positions", view.open_positions === null ? el("span", "nodata", "no data") : String(view.open_positions)));
  return el("article", "card", head, figures);
}

function chainCard(chain) {
  const head = el("dl", "chain-head",
    figure(`Block of chain ${chain.chain_id}`, chain.block ? chain.block.number.toLocaleString("en") : el("span", "nodata", "no data")),
    figure("Heard", chain.head_age_ms === null ? el("span", "nodata", "no data") : `${age(chain.head_age_ms)} ago`),
    figure("Base fee", gwei(chain.base_fee_per_gas_wei)),
    figure("Next block", gwei(chain.next_base_fee_per_gas_wei)));
  if (!chain.fees) return el("div", "card", head, el("p", "empty", "no fee quote yet"));
  const names = ["cost_efficient", "balanced", "protected", "speed", "emergency"].filter((name) => chain.fees.tiers[name]);
  const rows = names.map((name) => {
    const cap = chain.fees.tiers[name];
    return el("tr", "", el("td", "", name.replaceAll("_", " ")), el("td", "num", gwei(cap.max_priority_fee_per_gas_wei)),
      el("td", "num", gwei(cap.max_fee_per_gas_wei)));
  });
  const table = el("table", "", el("thead", "", el("tr", "", el("th", "", "tier"), el("th", "num", "tip"), el("th", "num", "fee cap"))),
    el("tbody", "", ...rows));
  return el("div", "card", head, table, el("p", "muted small", `Quoted ${age(chain.fees_age_ms)} ago after block ${chain.fees.block.number.toLocaleString("en")}.`));
}

function latencyRow(entry) {
  const cell = (ms) => (ms === null ? el("span", "nodata", "no data") : el("span", "", ms.toFixed(1), el("span", "unit", "ms")));
  return el("tr", "", el("td", "", entry.lane), el("td", "", entry.mode), el("td", "num", cell(entry.p50_ms)),
    el("td", "num", cell(entry.p99_ms)), el("td", "num", entry.samples.toLocaleString("en")));
}

function drawPositions(overview) {
  byId("position-count").textContent = overview.positions.length ? `(${overview.positions.length})` : "";
  const body = byId("positions");
  if (!overview.positions.length) {
    const cell = el("td", "empty", "none");
    cell.colSpan = 8;
    body.replaceChildren(el("tr", "", cell));
    return;
  }
  body.replaceChildren(...overview.positions.map((position) => {
    const close = el("button", "quiet", "Close");
    close.type = "button";
    close.addEventListener("click", () => askToClose(position));
    return el("tr", "", el("td", "", position.book_id), el("td", "", position.lane), el("td", "", position.token.symbol),
      el("td", "num", money(position.quantity, { symbol: "", decimals: position.token.decimals }, { places: 6 })),
      el("td", "num", money(position.cost, position.quote)),
      el("td", "num", money(position.unrealised, position.quote, { signed: true })),
      el("td", "", position.strategy.replaceAll("_", " ")), el("td", "", close));
  }));
}

const shortened = (text) => text.replace(/0x[0-9a-f]{40}/g, (address) => `${address.slice(0, 6)}…${address.slice(-4)}`);

function tone(item) {
  // A decision that is not known to be good news is one not to trade.
  return TONES[item.outcome] ?? (item.kind === "decision" ? "care" : "");
}

function feedItem(item) {
  const at = new Date(item.at_ms);
  const when = el("time", "", at.toLocaleTimeString("en-GB"));
  when.dateTime = at.toISOString();
  const who = [item.book_id, item.lane].filter(Boolean).join(", ");
  return el("li", "", when, el("span", `tag ${tone(item)}`, item.outcome.replaceAll("_", " ")),
    el("span", "headline", item.headline), el("span", "who", who),
    item.reasons.length ? el("span", "reasons", shortened(item.reasons.join("; "))) : null);
}

const wanted = (item) => FILTERS[filter] === null || FILTERS[filter].includes(item.kind);

function drawFeed() {
  const shown = feed.filter(wanted).slice(0, FEED_SHOWN);
  byId("feed").replaceChildren(...(shown.length ? shown.map(feedItem) : [el("li", "empty", "nothing yet")]));
}

let feedScheduled = false;

function scheduleFeed() {
  if (feedScheduled) return;
  feedScheduled = true;
  requestAnimationFrame(() => {
    feedScheduled = false;
    drawFeed();
  });
}

function addToFeed(item) {
  if (feed.some((known) => known.id === item.id)) return;
  // Events of different kinds overtake one another on the bus; the list is in the order in which they happened.
  const place = feed.findIndex((known) => known.at_ms <= item.at_ms);
  feed.splice(place < 0 ? feed.length : place, 0, item);
  feed.length = Math.min(feed.length, FEED_KEPT);
  if (wanted(item)) scheduleFeed();
}

// ---------------------------------------------------------------- reading

const token = () => sessionStorage.getItem("token") ?? "";
const authorization = () => (token() ? { Authorization: `Bearer ${token()}` } : {});

async function read(path) {
  const response = await fetch(API + path, { headers: authorization() });
  if (response.status === 401) askForToken();
  if (!response.ok) throw new Error(String(response.status));
  return (await response.json()).data;
}

async function refresh() {
  const [overview, items] = await Promise.all([read("/overview"), read("/feed?limit=120")]);
  draw(overview);
  feed = items;
  drawFeed();
}

function showLink(tone, text) {
  const link = byId("link");
  link.className = `link ${tone}`;
  link.textContent = text;
}

let waitMs = 500;

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${API}/stream`);
  socket.addEventListener("open", () => {
    waitMs = 500;
    socket.send(JSON.stringify({ subscribe: ["overview", "feed"], ...(token() ? { token: token() } : {}) }));
    refresh().catch(() => showLink("bad", "no answer"));
  });
  socket.addEventListener("message", (message) => {
    const { event, data } = JSON.parse(message.data);
    lastMessageAt = Date.now();
    showLink("good", "live");
    if (event === "overview") draw(data);
    else if (event === "feed") addToFeed(data);
    else if (event === "gap") refresh().catch(() => showLink("bad", "no answer"));
  });
  socket.addEventListener("close", () => {
    showLink("bad", "not connected, trying again");
    setTimeout(connect, waitMs * (0.5 + Math.random()));
    waitMs = Math.min(waitMs * 2, 10000);
  });
}

setInterval(() => {
  if (lastMessageAt && Date.now() - lastMessageAt > STALE_AFTER_MS) showLink("bad", `no news for ${age(Date.now() - lastMessageAt)}`);
}, 1000);

// ---------------------------------------------------------------- writing

const dialog = byId("dialog");
let confirmed = null;

function ask({ title, text, needsReason = true, confirm, action }) {
  if (dialog.open) return;
  byId("dialog-title").textContent = title;
  byId("dialog-text").textContent = text;
  byId("dialog-problem").textContent = "";
  byId("dialog-confirm").textContent = confirm;
  byId("reason-row").hidden = !needsReason;
  byId("reason").required = needsReason;
  byId("reason").value = "";
  byId("token").value = token();
  confirmed = action;
  dialog.showModal();
}

async function send(path, body) {
  const response = await fetch(API + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...authorization() },
    body: JSON.stringify(body),
  });
  if (response.ok) return;
  if (response.status === 401) {
    sessionStorage.removeItem("token");
    throw new Error("This is not the token. A new one is made at every start of the gateway.");
  }
  const problem = await response.json().catch(() => ({ detail: `the gateway answered ${response.status}` }));
  throw new Error(problem.detail);
}

dialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = byId("dialog-confirm");
  button.disabled = true;
  sessionStorage.setItem("token", byId("token").value.trim());
  try {
    await confirmed(byId("reason").value.trim());
    dialog.close();
    await refresh();
  } catch (error) {
    byId("dialog-problem").textContent = error.message;
  } finally {
    button.disabled = false;
  }
});
byId("dialog-cancel").addEventListener("click", () => dialog.close());

function askForToken() {
  ask({ title: "Token needed", text: "This gateway is reached from outside and shows nothing without its token.",
    needsReason: false, confirm: "Continue", action: async () => { await read("/status"); } });
}

function askToClose(position) {
  ask({ title: `Close ${position.token.symbol} in ${position.book_id}`,
    text: `Sells all ${units(position.quantity, position.token.decimals, 6)} ${position.token.symbol} at the market.`,
    confirm: "Close position",
    action: (reason) => send("/positions/close", { book_id: position.book_id, token: position.token.address, account: position.account, reason }) });
}

const ACTIONS = {
  reducing: { title: "Exits only", text: "No new entries on any chain. Open positions are still closed by their rules.", confirm: "Stop entries",
    action: (reason) => send("/halt", { scope: "reducing", reason }) },
  halted: { title: "Halt", text: "Nothing is sent on any chain but cancels. Open positions are not closed.", confirm: "Halt trading",
    action: (reason) => send("/halt", { scope: "halted", reason }) },
  resume: { title: "Resume", text: "Releases your halt. Trading goes on when no other source holds it back.", confirm: "Resume trading",
    action: (reason) => send("/resume", { reason }) },
};
for (const button of document.querySelectorAll("[data-action]")) {
  button.addEventListener("click", () => ask(ACTIONS[button.dataset.action]));
}
for (const button of document.querySelectorAll("[data-filter]")) {
  button.addEventListener("click", () => {
    filter = button.dataset.filter;
    for (const other of document.querySelectorAll("[data-filter]")) other.setAttribute("aria-pressed", String(other === button));
    drawFeed();
  });
}

connect();
