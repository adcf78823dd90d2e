// The one dialog: everything that changes something goes through it, with the token and mostly with a reason.

import { byId, focusOn } from "./drawing.js";
import { keepToken, token } from "./gateway.js";

const dialog = byId("dialog");
let confirmed = null;
let openedFrom;
let afterwards = async () => {};

export function afterEach(act) {
  afterwards = act;
}

// `extra` is what stands between text and reason, `action` gets the reason and throws what is then shown.
export function ask({ title, text, extra = null, needsReason = true, confirm, action }) {
  if (dialog.open) return false;
  byId("dialog-title").textContent = title;
  byId("dialog-text").textContent = text;
  byId("dialog-extra").replaceChildren(...(extra ? [extra] : []));
  byId("dialog-problem").textContent = "";
  byId("dialog-confirm").textContent = confirm;
  byId("dialog-confirm").disabled = false;
  byId("reason-row").hidden = !needsReason;
  byId("reason").required = needsReason;
  byId("reason").value = "";
  byId("token").value = token();
  dialog.classList.toggle("wide", extra !== null);
  openedFrom = document.activeElement?.dataset.key;
  confirmed = action;
  dialog.showModal();
  return true;
}

dialog.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = byId("dialog-confirm");
  if (button.disabled) return;
  button.disabled = true;
  byId("dialog-problem").textContent = "";
  keepToken(byId("token").value.trim());
  try {
    await confirmed(byId("reason").value.trim());
  } catch (error) {
    byId("dialog-problem").textContent = error.message;
    button.disabled = false;
    return;
  }
  dialog.close();
  await afterwards();
});
byId("dialog-cancel").addEventListener("click", () => dialog.close());
// The button that opened it was drawn anew since.
dialog.addEventListener("close", () => focusOn(openedFrom, document));
