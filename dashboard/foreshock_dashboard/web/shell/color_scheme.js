// The light and the dark theme, and what Dash's charts have to know of this browser.
import { utcOffsetMinutes } from "#web/assets/clock.js";
import { byId } from "#web/assets/dom.js";
import { storePreference } from "#web/assets/preferences.js";

const MAX_NARROW_WIDTH = 600;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

/** @returns {string} "light" or "dark" */
const currentScheme = () => document.documentElement.dataset.theme || (prefersDark.matches ? "dark" : "light");

/** Pass Dash's charts the theme, the time zone and whether the window is narrow. */
export const announceBrowser = () => {
  const data = { scheme: currentScheme(), offset: utcOffsetMinutes(), narrow: innerWidth <= MAX_NARROW_WIDTH };
  window.dash_clientside?.set_props?.("browser", { data });
};

/**
 * Draw the button that switches the theme.
 * @param {() => void} redraw called where the theme has changed
 */
export const drawThemeButton = (redraw) => {
  const button = byId("theme-toggle");
  if (!button) return;
  const other = currentScheme() === "dark" ? "light" : "dark";
  if (button.dataset.to === other) return;
  button.dataset.to = other;
  button.textContent = other === "dark" ? "☾" : "☀";
  button.setAttribute("aria-label", `Switch to the ${other} theme`);
  announceBrowser();
  redraw();
};

/**
 * Switch the theme where its button is clicked, or the system's preference changes.
 * @param {() => void} redraw
 */
export const startColorScheme = (redraw) => {
  document.addEventListener("click", ({ target }) => {
    if (!(target instanceof HTMLElement) || target.id !== "theme-toggle") return;
    const chosen = target.dataset.to ?? "light";
    document.documentElement.dataset.theme = chosen;
    storePreference("foreshock-theme", chosen);
    drawThemeButton(redraw);
  });
  prefersDark.addEventListener("change", () => drawThemeButton(redraw));
};
