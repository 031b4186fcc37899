// Links of the frame and of panels' heads, which keep the time range.
import { pageHref, withParams } from "#web/assets/address.js";
import { atRangeEnd } from "#web/assets/widgets/time_range.js";

/**
 * @param {string} selector
 * @param {(data: DOMStringMap) => string} hrefOf
 */
const update = (selector, hrefOf) => {
  for (const link of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(selector))) {
    const href = hrefOf(link.dataset);
    if (link.getAttribute("href") !== href) link.setAttribute("href", href);
  }
};

/** Put the time range into the links to pages and to CSV files. */
export const updateRangeLinks = () => {
  update("a[data-page-path]", ({ pagePath = "/" }) => pageHref(pagePath));
  update("a[data-viewed]", ({ viewed = "" }) => atRangeEnd(viewed));
};

/**
 * Let the CSV link of a panel have the rows that it shows.
 * @param {string} panel
 * @param {string} path
 * @param {Record<string, string>} params those without a value are left out
 */
export const setCsvLink = (panel, path, params) => {
  const csv = document.querySelector(`#${panel}-panel [data-viewed]`);
  const given = Object.entries(params).filter(([, value]) => value);
  if (csv instanceof HTMLElement) csv.dataset.viewed = withParams(path, new URLSearchParams(given));
  updateRangeLinks();
};
