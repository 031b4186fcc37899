// Plotly, a script of 4.8 MB: it runs once the page's own values are on the screen, and delays none of them.
import { byId, h } from "#web/assets/dom.js";

/** @typedef {import("#web/assets/browser.d.ts").Plotly} Plotly */

let releaseScript = () => {};
/** @type {Promise<void>} */
const pageShown = new Promise((resolve) => {
  releaseScript = resolve;
});
/** @type {Promise<Plotly> | null} */
let loading = null;
/** Addresses of the scripts that ran: a further try runs only the others. @type {Set<string>} */
const ran = new Set();

const whenIdle = window.requestIdleCallback ?? ((/** @type {() => void} */ run) => setTimeout(run));

/** Say that the page shows its values, or knows that it cannot have them: Plotly may run. */
export const allowPlotly = () => requestAnimationFrame(() => whenIdle(() => releaseScript()));

/**
 * @param {string} src
 * @returns {Promise<void>}
 */
const runScript = (src) =>
  new Promise((resolve, reject) => {
    const script = h("script", { src });
    script.addEventListener("load", () => {
      ran.add(src);
      resolve();
    });
    script.addEventListener("error", () => {
      loading = null;
      reject(new Error("Plotly cannot be loaded"));
    });
    document.head.append(script);
  });

/** The polyfills, which Dash's charts need, unless they run already, and then Plotly. */
const scripts = () => {
  const polyfills = window.regeneratorRuntime ? null : byId("polyfills");
  const all = [...(polyfills instanceof HTMLScriptElement ? [polyfills.src] : []), window._dashPlotlyJSURL ?? ""];
  return all.filter((src) => !ran.has(src));
};

/** @returns {Promise<Plotly>} */
const runPlotly = async () => {
  for (const src of scripts()) await runScript(src);
  return /** @type {Plotly} */ (window.Plotly);
};

/**
 * Plotly. It is fetched at once, and run, which takes a second on a phone, once the page can be read.
 * @returns {Promise<Plotly>}
 */
export const loadPlotly = () => {
  const fetched = (/** @type {string} */ src) =>
    fetch(src, { priority: "low" })
      .then((response) => response.blob())
      .catch(() => null);
  loading ??= Promise.all([...scripts().map(fetched), pageShown]).then(runPlotly);
  return loading;
};

/** Plotly where it is loaded, else null. */
export const loadedPlotly = () => (window.Plotly && "react" in window.Plotly ? window.Plotly : null);

/** Dash's charts wait for what has this name, and load the script themselves where nothing has. */
export const providePlotly = () => {
  window.Plotly = {
    // biome-ignore lint/suspicious/noThenProperty: Dash waits for Plotly as for a promise.
    then: (/** @type {() => void} */ resolve, /** @type {(error: unknown) => void} */ reject) => {
      loadPlotly().then(() => resolve(), reject);
    },
  };
};
