// At a visit, the values that the page will ask for are asked for at once: they come while Dash still builds the page.
"use strict";
(() => {
  const F = window.foreshock;
  const page = document.querySelector('meta[name="feed"]');
  if (!page?.dataset.feed || document.hidden) return;
  for (const path of [F.live.feed(page), F.live.identities()]) {
    F.live.ahead[path] = F.fetchJson(path, "");
    F.live.ahead[path].catch(() => {}); // whoever takes it is told
  }
})();
