// Addresses of the pages, which hold all that a reader chose.

import { h } from "#web/assets/dom.js";
import { inWords } from "#web/assets/format.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */

/** The parameters of this page's address. */
export const searchParams = () => new URLSearchParams(location.search);

/**
 * The value of a parameter of this page's address; "" where it has none.
 * @param {string} name
 */
export const param = (name) => searchParams().get(name) ?? "";

/**
 * @param {string} path
 * @param {URLSearchParams} params
 */
export const withParams = (path, params) => {
  const text = params.toString();
  return text ? `${path}${path.includes("?") ? "&" : "?"}${text}` : path;
};

/**
 * The address of this page with changes; null takes a parameter out.
 * @param {Record<string, string | null>} changes
 * @param {string} [path]
 */
export const hrefWith = (changes, path = location.pathname) => {
  const next = searchParams();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") next.delete(name);
    else next.set(name, value);
  }
  return withParams(path, next);
};

/**
 * The address of another page. It keeps the time range and the cluster, and nothing else of this one.
 * @param {string} path
 * @param {Record<string, string>} [params]
 */
export const pageHref = (path, params = {}) => {
  const next = new URLSearchParams();
  for (const name of ["from", "to", "refresh", "cluster"]) if (param(name)) next.set(name, param(name));
  for (const [name, value] of Object.entries(params)) if (value) next.set(name, value);
  return withParams(path, next);
};

/**
 * An address of the API, for the cluster that this page shows.
 * @param {string} path
 */
export const ofCluster = (path) =>
  param("cluster") ? withParams(path, new URLSearchParams({ cluster: param("cluster") })) : path;

/** @param {string} service */
export const serviceHref = (service) => pageHref(`/services/${service.split("/").map(encodeURIComponent).join("/")}`);
/** @param {string} service */
export const slowestTracesHref = (service) => pageHref("/traces", { service, order: "slowest" });
/** @param {string} gpu */
export const gpuHref = (gpu) => pageHref("/fleet", { gpu });
/**
 * @param {string} victim
 * @param {string} aggressor
 */
export const pairHref = (victim, aggressor) => pageHref("/contention", { victim, aggressor });

/**
 * A link within the app.
 * @param {string} href
 * @param {Content} content
 * @param {string | null} [title]
 */
export const link = (href, content, title = null) =>
  h("a", { href, "data-go": true, title: title && inWords(title) }, content);

/**
 * A link to a service's page, with its name.
 * @param {string} service
 */
export const serviceLink = (service) => link(serviceHref(service), inWords(service));

/**
 * Go to an address of this app without loading the document again. Dash's Location listens to the first event.
 * @param {string} href
 * @param {boolean} [replace] the current entry of the history
 */
export const navigate = (href, replace = false) => {
  history[replace ? "replaceState" : "pushState"]({}, "", href);
  window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
  window.dispatchEvent(new CustomEvent("foreshock:url"));
};

/**
 * Go to another page, at its top.
 * @param {string} href
 */
export const openPage = (href) => {
  navigate(href);
  window.scrollTo(0, 0);
};

/**
 * Call a function at each change of the address.
 * @param {() => void} listener
 */
export const onNavigation = (listener) => {
  window.addEventListener("foreshock:url", listener);
  window.addEventListener("popstate", listener);
};
