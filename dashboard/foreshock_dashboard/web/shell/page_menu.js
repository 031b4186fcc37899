// The menus of the bar: that of the signed-in user, and on a phone that of the pages, which have no room there.
import { byId, closest } from "#web/assets/dom.js";
import { fetchJson } from "#web/assets/fetch_json.js";

const BUTTONS = ["menu-open", "user-open"];

/**
 * Open the menu of a button and close the others; null closes all.
 * @param {HTMLElement | null} opened
 */
const open = (opened) => {
  for (const id of BUTTONS) byId(id)?.setAttribute("aria-expanded", String(byId(id) === opened));
};

/** Name the shown page on the button. */
export const namePage = () => {
  const current = document.querySelector(".bar nav [aria-current]");
  const menu = byId("menu-open");
  if (menu) menu.textContent = current?.textContent ?? "Menu";
};

/** @type {Promise<import("#web/assets/payload.d.ts").User | null> | null} */
let user = null;

/** The user, asked of the hub once per document; null while it does not answer, and the next page asks again. */
export const currentUser = () => {
  user ??= fetchJson("/api/user").catch(() => {
    user = null;
    return null;
  });
  return user;
};

/** Show who is signed in, where the frame has a place for that. */
export const nameUser = async () => {
  const [menu, button, name, role] = ["user", "user-open", "user-name", "user-role"].map(byId);
  if (!menu?.hidden || !button || !name || !role) return;
  const signedIn = await currentUser();
  if (!signedIn?.name) return;
  button.textContent = signedIn.name;
  button.title = "Signed-in user";
  name.textContent = signedIn.name;
  role.textContent = `Role: ${signedIn.role}`;
  menu.hidden = false;
};

/** Open a menu by its button; close it by a choice, a click elsewhere, or Escape. */
export const startMenus = () => {
  document.addEventListener("click", (event) => {
    const button = closest(event, BUTTONS.map((id) => `#${id}`).join());
    open(button?.getAttribute("aria-expanded") === "true" ? null : button);
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") open(null);
  });
};
