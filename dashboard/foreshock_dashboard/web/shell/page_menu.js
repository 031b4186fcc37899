// The menu of pages on a phone, where the navigation has no room in the bar.
import { byId, closest } from "#web/assets/dom.js";

const button = () => byId("menu-open");

/** @param {boolean} isOpen */
const setOpen = (isOpen) => button()?.setAttribute("aria-expanded", String(isOpen));

/** Name the shown page on the button. */
export const namePage = () => {
  const current = document.querySelector(".bar nav [aria-current]");
  const menu = button();
  if (menu) menu.textContent = current?.textContent ?? "Menu";
};

/** Open the menu by its button; close it by a choice, a click elsewhere, or Escape. */
export const startPageMenu = () => {
  document.addEventListener("click", (event) => {
    const isToggle = closest(event, "#menu-open");
    setOpen(Boolean(isToggle) && button()?.getAttribute("aria-expanded") !== "true");
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") setOpen(false);
  });
};
