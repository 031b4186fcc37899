// The live path: one loop that asks again only after the last answer, so that a slow hub is never asked twice at once.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const EVERY = 1000;
  const PATIENCE = 10000;
  const SLOWEST = 15000;
  const STANDSTILL = 30000;
  const pages = (F.pages = F.pages || {});
  const live = (F.live = {
    data: null,
    topology: null,
    time: null,
    received: 0,
    failures: 0,
    seqSince: 0,
    seq: -1,
    ahead: {},
  });
  let page = null;
  let timer = 0;
  let running = false;
  let etag = "";
  let nextTry = 0;

  const fetchJson = async (path, tag) => {
    const headers = tag ? { "If-None-Match": tag } : {};
    const answer = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (answer.status === 304) return { same: true, time: Number(answer.headers.get("Foreshock-Time")) };
    const body = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(body.error || `status ${answer.status}`), { status: answer.status });
    return { body, time: body.time, tag: answer.headers.get("ETag") || "" };
  };
  F.fetchJson = fetchJson;

  // Where the values of what is looked at now are: the page's feed, its own parameters, and the time if it is past. None
  // while the address has left the page that is still shown.
  const feed = (from = page) => {
    const given = new URLSearchParams(location.search);
    const asked = new URLSearchParams();
    for (const name of (from.dataset.takes || "").split(" "))
      if (name && given.get(name)) asked.set(name, name === "from" ? F.range.from() : given.get(name));
    if (!F.range.live()) asked.set("at", F.range.to());
    const below = location.pathname.split("/").slice(2).join("/");
    const [start, rest] = from.dataset.feed.split("{rest}");
    if (rest !== undefined && !`/api/pages${location.pathname}`.startsWith(start)) return "";
    const path = from.dataset.feed.replace("{rest}", below);
    const text = asked.toString();
    return `${path}${text ? `${path.includes("?") ? "&" : "?"}${text}` : ""}`;
  };

  const identities = () => (F.range.live() ? "/api/topology" : `/api/topology?at=${encodeURIComponent(F.range.to())}`);
  Object.assign(live, { feed, identities });
  // An answer that was asked for ahead (visit.js) counts once, and while it is new.
  const taken = (path, tag) => {
    const found = performance.now() < PATIENCE && live.ahead[path];
    delete live.ahead[path];
    return found || fetchJson(path, tag);
  };

  const refresh = async () => {
    const mine = feed();
    if (live.asked !== mine) [live.asked, etag] = [mine, ""];
    const got = await taken(mine, etag);
    if (!page || mine !== feed()) return;
    live.time = got.time;
    if (!got.same) {
      // A second worker's older answer must not turn the page back.
      const restarted = live.data && got.body.seq + 5 < live.data.seq;
      if (!live.data || got.body.seq >= live.data.seq || restarted || live.data.feed !== mine) {
        live.data = Object.assign(got.body, { feed: mine });
        etag = got.tag;
      }
      if (got.body.topology && got.body.topology !== live.topology?.id)
        live.topology = (await taken(identities(), "")).body;
    }
    [live.done, live.refused] = [live.data.data_time === null ? "" : mine, false]; // before the first tick there is nothing yet
    F.byId("wrong").hidden = true;
    if (live.data.seq !== live.seq) {
      [live.seq, live.seqSince] = [live.data.seq, performance.now()];
      window.dash_clientside?.set_props?.("tick", { data: live.seq });
    }
    live.received = performance.now();
    live.failures = 0;
    draw(got.same);
  };

  const draw = (same) => {
    const { data } = live;
    if (!page?.dataset.feed || !data || data.feed !== feed()) return;
    F.byId("simulated").hidden = !data.simulated;
    F.range.draw();
    pages[page.dataset.page]?.update?.(data, live, same);
    F.stale(Boolean(data.error));
    badge();
  };

  const loop = async () => {
    if (page && !page.dataset.feed) return badge(); // an address without a page has nothing to ask for
    if (running || !page || !feed() || document.hidden) return;
    if (live.done === feed() && (!F.range.live() || live.data?.bounds || live.refused)) return badge(); // it would be the same
    running = true;
    clearTimeout(timer);
    const asked = feed();
    try {
      await refresh();
    } catch (error) {
      if (page && feed() === asked) failed(error); // of what nobody looks at any more nothing is told
    }
    running = false;
    F.shown();
    if (page?.dataset.feed && feed() !== asked) return loop(); // somebody went elsewhere meanwhile
    if (!live.failures && !F.range.every()) return badge();
    const wait = live.failures ? Math.min(EVERY * 2 ** (live.failures - 1), SLOWEST) : F.range.every() * 1000;
    const jittered = wait * (0.9 + 0.2 * Math.random());
    nextTry = performance.now() + jittered;
    timer = setTimeout(loop, jittered);
    badge();
  };

  const failed = (error) => {
    live.failures += 1;
    live.reason = error.status ? error.message : "";
    if (error.status !== 400 && error.status !== 404) return;
    // What the address asks for cannot be had, although the hub is there: asking again would not change it.
    live.failures = 0;
    live.received = performance.now();
    [live.done, live.refused] = [feed(), true];
    const line = F.byId("wrong");
    line.textContent = error.message;
    line.hidden = false;
    for (const panel of document.querySelectorAll('.panel[data-state="loading"]'))
      F.panel(panel.id.replace("-panel", ""), "empty", "Nothing to show: see above.");
  };
  live.busy = () => running || live.done !== (page?.dataset.feed ? feed() : "");

  const words = () => {
    const silent = (performance.now() - live.received) / 1000;
    if (!page) return ["loading", "Loading", ""];
    if (!page.dataset.feed) return ["paused", "No page", ""];
    if (!live.received) return live.failures ? ["lost", "No connection", ""] : ["loading", "Loading", ""];
    if (document.hidden) return ["paused", "Paused", ""];
    if (
      live.failures >= 2 ||
      (silent > 15 + F.range.every() && F.range.live() && F.range.every() && !live.data?.bounds)
    )
      return ["lost", "Connection lost", `: data is ${F.span(silent)} old`];
    if (!F.range.live() && live.done === feed()) return ["past", "Past", `: ${F.zoned(live.data?.data_time)}`];
    if (!F.range.live()) return ["loading", "Reading the past", ""];
    if (live.data?.bounds) return ["past", "Recorded", `: ${F.zoned(live.data.data_time)}`];
    const age = () =>
      F.known(live.data.data_time) ? `: data is ${F.span(live.time - live.data.data_time)} old` : ": no data yet";
    if (live.data?.error) return ["stale", "Stale", age()];
    if (performance.now() - live.seqSince > STANDSTILL && live.time - live.data.data_time > 60)
      return ["stale", "Stands still", age()];
    return ["live", "Live", ""];
  };
  const badge = () => {
    const element = F.byId("live");
    if (!element) return;
    const [state, word, age] = words();
    element.dataset.state = state;
    element.title = live.data?.data_time
      ? `tick ${live.data.seq} of ${new Date(live.data.data_time * 1000).toISOString()}`
      : "";
    F.put(element, F.h("span", null, word), F.h("span", { "aria-hidden": "true" }, age));
    const lost = F.byId("lost");
    lost.hidden = state !== "lost";
    if (state === "lost") {
      const again = Math.max(0, Math.ceil((nextTry - performance.now()) / 1000));
      const reason = live.reason ? ` The hub says: ${live.reason}.` : "";
      const text = `${word}${age}.${reason} Trying again${again ? ` in ${again} s` : ""}.`;
      if (lost.textContent !== text) lost.textContent = text;
    }
    document.body.dataset.live = state;
    if (state === "lost" || state === "stale") F.stale(true);
    title(state);
  };
  const title = (state) => {
    const open = live.data?.warnings?.length || 0;
    const name = page?.dataset.title || "foreshock";
    const blind = live.data?.verdict?.state === "blind" ? "? cannot tell · " : "";
    const head =
      state === "lost" ? "✕ no connection · " : open ? `■ ${open} ${open === 1 ? "warning" : "warnings"} · ` : blind;
    const text = `${head}${name} · foreshock`;
    if (document.title !== text) document.title = text;
  };

  // Dash puts a page in and takes it out; whatever page is there now is the one that is kept up to date.
  const look = () => {
    if (F.byId("time")?.childElementCount === 0) F.range.draw(); // with the frame, before the first page
    const found = document.querySelector("[data-page]");
    if (found === page) return;
    page = found;
    etag = "";
    if (!page) return;
    if (!page.dataset.feed) F.shown();
    live.done = "";
    F.range.draw();
    for (const link of document.querySelectorAll(".bar nav a")) {
      const path = link.dataset.pagePath;
      const here = path === location.pathname || (path !== "/" && location.pathname.startsWith(`${path}/`));
      here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    }
    document.querySelector(".bar nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }); // a phone has no room for all
    browser();
    pages[page.dataset.page]?.mount?.(page);
    draw(false);
    clearTimeout(timer);
    loop();
  };

  const scheme = () =>
    document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  // What the figures that Dash draws have to know of this browser.
  const browser = () =>
    window.dash_clientside?.set_props?.("browser", {
      data: { scheme: scheme(), offset: F.offset(), narrow: innerWidth <= 600 },
    });
  const themed = () => {
    const button = F.byId("theme-toggle");
    if (!button) return;
    const other = scheme() === "dark" ? "light" : "dark";
    if (button.dataset.to !== other) {
      button.dataset.to = other;
      button.textContent = other === "dark" ? "☾" : "☀";
      button.setAttribute("aria-label", `Switch to the ${other} theme`);
      browser();
      window.dispatchEvent(new CustomEvent("foreshock:redraw"));
    }
  };
  document.addEventListener("click", (event) => {
    if (event.target.id !== "theme-toggle") return;
    const chosen = event.target.dataset.to;
    document.documentElement.dataset.theme = chosen;
    F.keep("foreshock-theme", chosen);
    themed();
  });

  F.redraw = () => draw(false);
  document.addEventListener("DOMContentLoaded", () => {
    new MutationObserver(() => {
      look();
      themed();
    }).observe(document.body, { childList: true, subtree: true });
    look();
    setInterval(badge, 500);
    document.addEventListener("visibilitychange", () => {
      badge();
      if (!document.hidden) loop();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);
    window.addEventListener("foreshock:redraw", F.redraw);
    window.addEventListener("foreshock:zone", () => {
      browser();
      F.range.draw();
      F.redraw();
      badge();
    });
    for (const name of ["foreshock:url", "popstate"])
      window.addEventListener(name, () => {
        if (page) {
          clearTimeout(timer);
          loop();
        }
      });
    let resized = 0;
    window.addEventListener("resize", () => {
      cancelAnimationFrame(resized);
      resized = requestAnimationFrame(F.redraw);
    });
  });
})();
