// Links of the frame and of panels' heads, which keep the time range.
import { pageHref } from "#web/assets/address.js";
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
