// Plotly's script is 4.8 MB: it comes when the page's own values are on the screen, so that nobody waits for it to read them.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  let painted;
  const first = new Promise((done) => {
    painted = done;
  });
  let asked = null;

  // The page has what it asked for, or knows that it cannot have it.
  const idle = window.requestIdleCallback || setTimeout;
  F.shown = () => requestAnimationFrame(() => idle(painted));
  const run = (src) =>
    new Promise((done, failed) => {
      const script = F.h("script", { src });
      script.addEventListener("load", () => done(window.Plotly));
      script.addEventListener("error", () => {
        asked = null;
        failed(new Error("Plotly cannot be loaded"));
      });
      document.head.append(script);
    });
  // Fetched at once, for that hinders nobody; run, which takes a second on a phone, once the page can be read.
  F.plotly = () => {
    const src = window._dashPlotlyJSURL;
    return (asked =
      asked ||
      Promise.all([
        fetch(src, { priority: "low" })
          .then((answer) => answer.blob())
          .catch(() => null),
        first,
      ]).then(() => run(src)));
  };
  F.plotly.ready = () => Boolean(window.Plotly.react);

  // Dash's charts wait for whatever has this name, and ask for the script themselves where nothing has.
  window.Plotly = { then: (done, failed) => F.plotly().then(() => done(), failed) };
})();
