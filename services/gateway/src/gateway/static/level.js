// A book's level: a slider, and beside what holds now what the chosen level would allow.

import { ask } from "./dialog.js";
import { byId, el, exactly, words } from "./drawing.js";
import { read, write } from "./gateway.js";

const percent = (bps) => `${bps / 100} %`;

// In money, by lane; the book's own limit of a trade may be the smaller one.
function largestEntries(level, book) {
  const lanes = level.lanes.filter((lane) => book.limits[lane]);
  return lanes.map((lane) => {
    const { capital, max_trade } = book.limits[lane];
    const share = (BigInt(capital) * BigInt(level.position_bps)) / 10000n;
    const most = share < BigInt(max_trade) ? share : BigInt(max_trade);
    return `${lane} ${exactly(most, book.quote.decimals)} ${book.quote.symbol}`;
  }).join(", ");
}

function checks(level, every) {
  const without = every.filter((check) => !level.required_checks.includes(check));
  return without.length ? `all but ${without.map(words).join(", ")}` : "all";
}

// What a level allows, in words: [name, text] of each rule.
export function rulesOf(level, book, every) {
  return [
    ["Risk score", `up to ${level.max_risk_score} of 100`],
    ["Confidence", `from ${percent(level.min_confidence_bps)}`],
    ["Largest entry", `${percent(level.position_bps)} of the lane's capital: ${largestEntries(level, book)}`],
    ["Lanes", level.lanes.join(", ")],
    ["Checks", checks(level, every)],
    ["Relays", words(level.relay_policy)],
    ...["fast", "smart"].map((lane) => [`Fee tier, ${lane}`, level.lanes.includes(lane) ? words(level.entry_tiers[lane]) : "none"]),
    ["Oldest chance", `${level.max_age_s} s`],
  ];
}

export function comparison(levels, book, chosen) {
  const every = [...new Set(levels.flatMap((level) => level.required_checks))];
  const [now, then] = [book.level, chosen].map((wanted) => rulesOf(levels.find((one) => one.level === wanted), book, every));
  const same = book.level === chosen;
  const rows = now.map(([name, text], at) => {
    const differs = text !== then[at][1];
    const cells = same ? [el("td", "", text)] : [el("td", "muted", text), el("td", "", differs ? el("mark", "", then[at][1]) : then[at][1])];
    const heading = el("th", "", name);
    heading.scope = "row";
    return el("tr", "", heading, ...cells);
  });
  const heads = same ? [`level ${chosen}, now`] : [`level ${book.level}, now`, `level ${chosen}`];
  const table = el("table", "comparison", el("thead", "", el("tr", "", el("td", ""), ...heads.map((head) => el("th", "", head)))), el("tbody", "", ...rows));
  const differing = now.filter(([, text], at) => text !== then[at][1]).length;
  return { table, differing };
}

function slider(level) {
  const input = el("input", "");
  Object.assign(input, { id: "level", type: "range", min: "1", max: "10", step: "1", value: String(level) });
  input.setAttribute("list", "level-ticks");
  const ticks = el("div", "ticks", ...Array.from({ length: 10 }, (_, at) => el("span", "", String(at + 1))));
  ticks.setAttribute("aria-hidden", "true");
  return { input, row: el("label", "", "Level", input, ticks) };
}

let published = null;

export function askForLevel({ book, book_version }) {
  const { input, row } = slider(book.level);
  const told = el("output", "");
  told.htmlFor = "level";
  const place = el("div", "scroll");
  const note = el("p", "muted small", `Besides it hold the book's profile (${book.profile}), its limits, controls and relay rules. Exits have no level.`
    + (book.mode === "live" ? " A signer process of its own denies entries above the level in its policy." : ""));
  const show = () => {
    const chosen = Number(input.value);
    byId("dialog-confirm").disabled = published === null || chosen === book.level;
    if (published === null) return;
    const { table, differing } = comparison(published, book, chosen);
    place.replaceChildren(table);
    told.textContent = chosen === book.level ? `Level ${chosen} holds now.` : `Level ${chosen} instead of ${book.level}: ${differing} ${differing === 1 ? "rule differs" : "rules differ"}, marked below.`;
  };
  const opened = ask({ title: `Level of ${book.id}`, text: "How much the book may open by itself, from the next verdict on.", needsReason: false,
    extra: el("div", "level", row, told, place, note), confirm: "Set level",
    action: () => write("PUT", `/books/${book.id}`, { level: Number(input.value), expected_version: book_version }) });
  if (!opened) return;
  input.addEventListener("input", show);
  show();
  if (published === null) {
    read("/levels").then((levels) => {
      published = levels;
      show();
    }).catch((error) => {
      // Nobody sets a level without seeing what it allows.
      byId("dialog-problem").textContent = `What the levels allow could not be read. ${error.message}`;
    });
  }
}
