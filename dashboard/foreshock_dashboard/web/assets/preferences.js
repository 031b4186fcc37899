// What the reader chose, kept in this browser.

/**
 * The value of a preference; null where it was never chosen, or where storage is forbidden.
 * @param {string} name
 */
export const readPreference = (name) => {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
};

/**
 * Store a preference. Where storage is forbidden it lasts until the page is left.
 * @param {string} name
 * @param {string} value
 */
export const storePreference = (name, value) => {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage may be forbidden.
  }
};
