// The status page: draws what the gateway says and nothing else. A figure that is missing is written "no data".

import { afterEach, ask } from "./dialog.js";
import { age, button, byId, el, figure, gwei, money, redraw, shortened, units, words } from "./drawing.js";
import { API, read, token, TokenNeeded, write } from "./gateway.js";
import { askForLevel } from "./level.js";
import { drawWaiting, headsSeen, isAnswer, readWaiting, waitingChanged } from "./waiting.js";

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

let filter = "all";
let feed = [];
let lastMessageAt = 0;
let operator = [];

// ---------------------------------------------------------------- drawing

function draw(overview) {
  byId("network").textContent = overview.realm === "main" ? overview.network : `${overview.network}, ${overview.realm}`;
  for (const name of ["alarms", "notices"]) {
    byId(name).hidden = overview[name].length === 0;
    const told = overview[name].join(" ");
    // Written only when it is another one: an alert is read aloud each time.
    if (byId(name).textContent !== told) byId(name).textContent = told;
  }
  drawStatus(overview.chains.map((chain) => chain.status));
  byId("services").replaceChildren(...overview.services.map(serviceItem));
  const books = [...overview.books].sort((a, b) => (a.book.mode === b.book.mode ? 0 : a.book.mode === "live" ? -1 : 1));
  redraw(byId("books"), ...(books.length ? books.map(bookCard) : [el("p", "empty card", "no data")]));
  byId("chains").replaceChildren(...overview.chains.map(chainCard));
  byId("latency").replaceChildren(...overview.latency.map(latencyRow));
  drawPositions(overview);
  headsSeen(overview.chains);
  drawWaiting();
}

function drawStatus(statuses) {
  operator = statuses.flatMap((s) => s.sources.filter((x) => x.source === "operator").map((x) => ({ chain: s.chain_id, ...x })));
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
  document.querySelector('[data-action="reducing"]').disabled = operator.every((s) => s.status !== "active");
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
  const level = button(`level-${book.id}`, `level ${book.level}`, "tag", () => askForLevel(view));
  level.setAttribute("aria-label", `level ${book.level} of ${book.id}: look at levels, set another`);
  const head = el("div", "book-head", el("h3", "", book.id),
    el("span", `tag ${book.mode === "live" ? "care" : "calm"}`, book.mode),
    level, el("span", "tag", book.profile),
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
    return el("tr", "", el("td", "", words(name)), el("td", "num", gwei(cap.max_priority_fee_per_gas_wei)),
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
    redraw(body, el("tr", "", cell));
    return;
  }
  redraw(body, ...overview.positions.map((position) => {
    const key = `close-${position.book_id}-${position.account}-${position.token.address}`;
    const close = button(key, "Close", "quiet", () => askToClose(position));
    return el("tr", "", el("td", "", position.book_id), el("td", "", position.lane), el("td", "", position.token.symbol),
      el("td", "num", money(position.quantity, { symbol: "", decimals: position.token.decimals }, { places: 6 })),
      el("td", "num", money(position.cost, position.quote)),
      el("td", "num", money(position.unrealised, position.quote, { signed: true })),
      el("td", "", words(position.strategy)), el("td", "", close));
  }));
}

function tone(item) {
  // A decision that is not known to be good news is one not to trade.
  return TONES[item.outcome] ?? (item.kind === "decision" ? "care" : "");
}

function feedItem(item) {
  const at = new Date(item.at_ms);
  const when = el("time", "", at.toLocaleTimeString("en-GB"));
  when.dateTime = at.toISOString();
  const who = [item.book_id, item.lane].filter(Boolean).join(", ");
  return el("li", "", when, el("span", `tag ${tone(item)}`, words(item.outcome)),
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

async function refresh() {
  const [overview, items] = await Promise.all([read("/overview"), read("/feed?limit=120"), readWaiting()]);
  draw(overview);
  feed = items;
  drawFeed();
}

function showLink(tone, text) {
  const link = byId("link");
  link.className = `link ${tone}`;
  link.textContent = text;
}

function unread(error) {
  showLink("bad", "no answer");
  if (error instanceof TokenNeeded) askForToken();
}

let waitMs = 500;

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${API}/stream`);
  socket.addEventListener("open", () => {
    waitMs = 500;
    socket.send(JSON.stringify({ subscribe: ["overview", "feed", "confirmation.requested"], ...(token() ? { token: token() } : {}) }));
    refresh().catch(unread);
  });
  socket.addEventListener("message", (message) => {
    const { event, data } = JSON.parse(message.data);
    lastMessageAt = Date.now();
    showLink("good", "live");
    if (event === "overview") draw(data);
    else if (event === "feed") {
      addToFeed(data);
      if (isAnswer(data)) waitingChanged(unread);
    } else if (event === "confirmation.requested") waitingChanged(unread);
    else if (event === "gap") refresh().catch(unread);
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

afterEach(() => refresh().catch(unread));

function askForToken() {
  ask({ title: "Token needed", text: "This gateway is reached from outside and shows nothing without its token.",
    needsReason: false, confirm: "Continue", action: async () => { await read("/status"); } });
}

function askToClose(position) {
  ask({ title: `Close ${position.token.symbol} in ${position.book_id}`,
    text: `Sells all ${units(position.quantity, position.token.decimals, 6)} ${position.token.symbol} at the market.`,
    confirm: "Close position",
    action: (reason) => write("POST", "/positions/close", { book_id: position.book_id, token: position.token.address, account: position.account, reason }) });
}

// A halt that not everybody confirmed is no success: the dialog stays open, says who, and can say it again.
async function halt(scope, reason) {
  const { paths } = await write("POST", "/halt", { scope, reason });
  const missing = paths.filter((path) => !path.confirmed);
  if (!missing.length) return;
  const confirmed = paths.filter((path) => path.confirmed).map((path) => path.path).join(", ") || "nobody";
  throw new Error(`HALTED, BUT NOT EVERYWHERE. Confirmed by ${confirmed}. Not confirmed: ${missing.map((path) => `${path.path}: ${path.why}`).join(". ")}. Act there by hand, or say it again.`);
}

const ACTIONS = {
  reducing: { title: "Exits only", text: "No new entries on any chain. Open positions are still closed by their rules.", confirm: "Stop entries",
    action: (reason) => halt("reducing", reason) },
  halted: { title: "Halt", text: "Nothing is sent on any chain but cancels. Open positions are not closed.", confirm: "Halt trading",
    action: (reason) => halt("halted", reason) },
  resume: { title: "Resume", text: "Releases this, and nothing that is said meanwhile. Trading goes on when no other source holds it back.", confirm: "Resume trading" },
};

// What is released is what stands in the dialog: its versions go with the request.
function askToResume() {
  const seen = Object.fromEntries(operator.map((word) => [word.chain, word.version]));
  const held = operator.filter((word) => word.status !== "active").map((word) =>
    el("li", "", el("span", `tag ${TONES[word.status]}`, word.status), ` on chain ${word.chain}: ${word.reason}`));
  ask({ ...ACTIONS.resume, extra: el("ul", "sources", ...held), action: (reason) => write("POST", "/resume", { reason, seen }) });
}

for (const chosen of document.querySelectorAll("[data-action]")) {
  const { action } = chosen.dataset;
  chosen.addEventListener("click", action === "resume" ? askToResume : () => ask(ACTIONS[action]));
}
for (const chosen of document.querySelectorAll("[data-filter]")) {
  chosen.addEventListener("click", () => {
    filter = chosen.dataset.filter;
    for (const other of document.querySelectorAll("[data-filter]")) other.setAttribute("aria-pressed", String(other === chosen));
    drawFeed();
  });
}

connect();
