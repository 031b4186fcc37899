// Dialogs of the frame, which are made when they are first opened.
import { byId, h } from "#web/assets/dom.js";

/**
 * The dialog with an id. A click beside it closes it.
 * @param {string} id
 * @param {string} label for screen readers
 * @returns {HTMLDialogElement}
 */
export const dialog = (id, label) => {
  const existing = byId(id);
  if (existing instanceof HTMLDialogElement) return existing;
  const box = h("dialog", { id, class: "dialog", "aria-label": label });
  document.body.append(box);
  box.addEventListener("click", (event) => {
    if (event.target === box) box.close();
  });
  return box;
};

/** @param {HTMLDialogElement} box */
export const openDialog = (box) => {
  if (!box.open) box.showModal();
};

/** The pages of the navigation: their key after "g", name and address. */
export const navigationPages = () =>
  [.../** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll("a[data-page-path]"))].map((link) => ({
    key: link.dataset.key ?? "",
    name: link.textContent ?? "",
    href: link.getAttribute("href") ?? "/",
  }));
