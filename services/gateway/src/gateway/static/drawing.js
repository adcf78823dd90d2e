// How things are drawn: elements from text, never from markup, and figures that stay exact until they are written.

export const byId = (id) => document.getElementById(id);

export function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function figure(name, value, className = "") {
  return el("div", className, el("dt", "", name), el("dd", "", value));
}

// `key` says which button it is when everything around it is drawn anew.
export function button(key, text, className, act) {
  const node = el("button", className, text);
  node.type = "button";
  node.dataset.key = key;
  node.addEventListener("click", act);
  return node;
}

// A press and its release make a click only on one and the same button, so nothing is drawn anew in between; the second
// is for a release that nobody tells us of.
const HELD_AT_MOST_MS = 1000;
let pressedAt = -Infinity;
for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, () => { pressedAt = Date.now(); }, true);
for (const name of ["pointerup", "pointercancel", "keyup"]) document.addEventListener(name, () => { pressedAt = -Infinity; }, true);

// The overview comes every second: who works with the keyboard stays on the button that is meant.
export function redraw(container, ...nodes) {
  if (Date.now() - pressedAt < HELD_AT_MOST_MS) return;
  const key = container.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  container.replaceChildren(...nodes);
  focusOn(key, container);
}

export function focusOn(key, within) {
  if (key === undefined) return;
  [...within.querySelectorAll("[data-key]")].find((node) => node.dataset.key === key)?.focus();
}

// ---------------------------------------------------------------- numbers

export function units(text, decimals, places) {
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

export function exactly(text, decimals) {
  // To the last unit: nobody confirms a rounded amount.
  const written = units(text, decimals, decimals);
  return written.includes(".") ? written.replace(/\.?0+$/, "") : written;
}

export function money(text, token, { signed = false, places = 2 } = {}) {
  if (text === null || text === undefined) return el("span", "nodata", "no data");
  const value = BigInt(text);
  const tone = !signed || value === 0n ? "" : value > 0n ? "gain" : "loss";
  const plus = signed && value > 0n ? "+" : "";
  const unit = token.symbol ? el("span", "unit", token.symbol) : null;
  return el("span", tone, plus + units(text, token.decimals, places), unit);
}

export function gwei(text) {
  if (text === null || text === undefined) return el("span", "nodata", "no data");
  const value = BigInt(text);
  // A tip of one wei is a price of nothing; the exact figure stands in the API.
  const written = value === 0n ? "0" : value < 10000000n ? "under 0.01" : units(text, 9, 3);
  return el("span", "", written, el("span", "unit", "gwei"));
}

export function age(ms) {
  if (ms === null || ms === undefined) return "no data";
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

export const words = (name) => name.replaceAll("_", " ");
export const shortened = (text) => text.replace(/0x[0-9a-f]{40}/g, (address) => `${address.slice(0, 6)}…${address.slice(-4)}`);
