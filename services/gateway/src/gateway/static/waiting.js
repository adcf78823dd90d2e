// Trades that wait for a person, with the time that is left, and the person's word.

import { ask } from "./dialog.js";
import { button, byId, el, exactly, redraw, words } from "./drawing.js";
import { read, write } from "./gateway.js";

const REFRESH_AT_MOST_EVERY_MS = 1000;
const SETTLED = ["confirmation_confirmed", "confirmation_declined", "confirmation_expired"];
let listed = [];
let heads = {};
let asked = 0;

// Of a token that the gateway never heard of nobody knows the decimals.
function amount(text, token, address) {
  return token ? `${exactly(text, token.decimals)} ${token.symbol}` : `${exactly(text, 0)} smallest units of ${address}`;
}

export function tradeOf({ request, paid, bought }) {
  const { plan } = request;
  const { legs } = plan.route;
  const [first, last] = [legs[0].token_in, legs[legs.length - 1].token_out];
  const least = amount(plan.minimum_out, bought, last);
  const quoted = amount(plan.quoted_out, bought, last);
  const gives = first === last ? `get back at least ${least}` : `buy at least ${least}`;
  return { trade: `Pay ${amount(plan.amount_in, paid, first)}, ${gives} (quoted: ${quoted})`, token: last, pools: new Set(routes(plan).flatMap((route) => route.legs.map((leg) => leg.pool))).size };
}

const routes = (plan) => (plan.split.length ? plan.split.map((path) => path.route) : [plan.route]);

// As the gateway counts: a trade needs a block of its own, so from the deadline block on none is left.
export function blocksLeft(request, head) {
  return head === undefined ? null : Math.max(0, request.deadline_block - head);
}

function timeLeft(request) {
  const left = blocksLeft(request, heads[request.chain_id]);
  const until = `until block ${request.deadline_block.toLocaleString("en")}`;
  return left === null ? until : `${left.toLocaleString("en")} ${left === 1 ? "block" : "blocks"} left, ${until}`;
}

function item(view) {
  const { request } = view;
  const { verdict } = request;
  const { trade, token, pools } = tradeOf(view);
  const head = el("div", "book-head", el("h3", "", request.book_id), el("span", `tag ${request.mode === "live" ? "care" : "calm"}`, request.mode),
    el("span", "tag", request.lane), el("span", "tag", words(verdict.opportunity.strategy)), el("span", "left", timeLeft(request)));
  const about = `Token ${token}, through ${pools} ${pools === 1 ? "pool" : "pools"} on chain ${request.chain_id}; risk ${verdict.risk_score} of 100, confidence ${verdict.confidence_bps / 100} %.`;
  const answer = (word, text, className) => {
    const node = button(`${word}-${request.id}`, text, className, () => askAbout(view, word));
    node.setAttribute("aria-label", `${text} the trade of ${request.book_id}: ${trade}`);
    return node;
  };
  return el("li", "card", head, el("p", "trade", trade), el("p", "muted small", about),
    el("ul", "why", ...request.reasons.map((reason) => el("li", "", `Asked because ${reason}`))),
    el("div", "buttons", answer("confirm", "Confirm", "primary"), answer("decline", "Decline", "")));
}

const ANSWERS = {
  confirm: { title: "Confirm a trade", confirm: "Confirm trade",
    text: "It is planned again on the state of now: it may still be refused, and is never larger." },
  decline: { title: "Decline a trade", confirm: "Decline trade",
    text: "It is not made, and the same chance is not asked about again." },
};

function askAbout(view, word) {
  const { title, text, confirm } = ANSWERS[word];
  const { request } = view;
  ask({ title: `${title} of ${request.book_id}`, text: `${tradeOf(view).trade}. ${text}`, confirm,
    action: (reason) => write("POST", `/confirmations/${request.id}/${word}`, { reason }) });
}

export function drawWaiting() {
  const open = listed.filter((view) => view.state === "waiting" && blocksLeft(view.request, heads[view.request.chain_id]) !== 0);
  byId("waiting").hidden = open.length === 0;
  byId("waiting-count").textContent = open.length ? `(${open.length})` : "";
  document.title = open.length ? `(${open.length}) dexlane` : "dexlane";
  redraw(byId("waiting-list"), ...open.map(item));
}

export function headsSeen(chains) {
  heads = Object.fromEntries(chains.filter((chain) => chain.block).map((chain) => [chain.chain_id, chain.block.number]));
}

export async function readWaiting() {
  const mine = ++asked;
  const answer = await read("/confirmations");
  // Two answers may overtake each other; the question asked last counts.
  if (mine === asked) listed = answer;
}

let timer = null;
let lastRead = 0;

// Reads and draws anew, at most once a second however much is told.
export function waitingChanged(failed) {
  if (timer !== null) return;
  timer = setTimeout(() => {
    timer = null;
    lastRead = Date.now();
    readWaiting().then(drawWaiting).catch(failed);
  }, Math.max(0, lastRead + REFRESH_AT_MOST_EVERY_MS - Date.now()));
}

export const isAnswer = (item) => SETTLED.includes(item.outcome);
