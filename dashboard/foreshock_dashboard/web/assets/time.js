// Which stretch of time is looked at: it lives in the address as from, to and refresh, in Grafana's grammar.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const { h, put } = F;
  const USUAL = "now-30m";
  const RANGES = [
    ["now-5m", "Last 5 minutes"],
    ["now-15m", "Last 15 minutes"],
    ["now-30m", "Last 30 minutes"],
    ["now-1h", "Last hour"],
    ["now-3h", "Last 3 hours"],
    ["now-6h", "Last 6 hours"],
    ["now-12h", "Last 12 hours"],
    ["now-24h", "Last 24 hours"],
    ["now-2d", "Last 2 days"],
    ["now-7d", "Last 7 days"],
  ];
  const REFRESH = [
    ["", "Auto"],
    ["5s", "5 s"],
    ["10s", "10 s"],
    ["30s", "30 s"],
    ["1m", "1 min"],
    ["off", "Off"],
  ];
  const UNITS = { s: 1, m: 60, h: 3600, d: 86400 };
  const EVERY = /^(\d+)([sm])$/;
  const PLAY_EVERY = 900;
  const time = (F.range = {});
  let playing = 0;
  let settling = 0;

  const params = () => new URLSearchParams(location.search);
  // What of the address cannot be shown, as [parameter, why]; the usual range is then, as in the charts (view.py).
  const RELATIVE = /^now(-\d+(\.\d+)?(ms|s|m|h|d))?(\/[mhd])?$/;
  const DATED = /^\d{4}-\d\d-\d\d[T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?(Z|[+-]\d\d(:?\d\d)?)$/i;
  const given = (name) => (params().get(name) || "").trim();
  const range = () => {
    for (const name of ["from", "to"]) {
      const text = given(name);
      if (text && !RELATIVE.test(text) && !DATED.test(text) && !/^\d+(\.\d+)?$/.test(text))
        return [name, "is no time that can be read: write now-6h, now/d, 2026-11-26T03:00:00Z or Unix milliseconds"];
    }
    if (!given("from") || !F.live?.time) return null;
    const length = Math.min(unix(given("to") || "now"), now()) - unix(given("from"));
    if (length < 60) return ["from", "is less than a minute before to: choose a wider range"];
    return length > 360 * 86400 ? ["from", "is more than 360 days before to: choose a shorter range"] : null;
  };
  const interval = () =>
    given("refresh") && given("refresh") !== "off" && !EVERY.test(given("refresh"))
      ? ["refresh", "is no interval: write 5s, 1m or off"]
      : null;
  time.faults = () => [range(), interval()].filter(Boolean);
  time.from = () => (range() ? USUAL : given("from") || USUAL);
  time.to = () => (range() ? "now" : given("to") || "now");
  time.live = () => time.to() === "now";
  // Seconds between two questions; 0: none.
  time.every = () => {
    const told = given("refresh");
    if (told === "off") return 0;
    const match = EVERY.exec(told);
    return match ? Math.max(1, Math.min(3600, Number(match[1]) * UNITS[match[2]])) : 1;
  };
  const now = () => F.live?.time || Date.now() / 1000;
  // Unix seconds of a time in the address; NaN where only the hub can read it.
  const unix = (text) => {
    if (text === "now") return now();
    const match = /^now-(\d+(?:\.\d+)?)([smhd])$/.exec(text);
    if (match) return now() - Number(match[1]) * UNITS[match[2]];
    if (/^\d{12,14}$/.test(text)) return Number(text) / 1000;
    if (/^\d{9,11}(\.\d+)?$/.test(text)) return Number(text);
    return Date.parse(text) / 1000;
  };
  time.span = () => {
    const end = unix(time.to());
    const start = given("from") ? unix(time.from()) : end - 1800;
    return Number.isFinite(start) && Number.isFinite(end) && end > start ? [start, end] : [now() - 1800, now()];
  };
  // The address of this page with changes; null takes a parameter out.
  F.href = (changes, path = location.pathname) => {
    const next = params();
    for (const [name, value] of Object.entries(changes))
      value === null || value === "" ? next.delete(name) : next.set(name, value);
    const text = next.toString();
    return `${path}${text ? `?${text}` : ""}`;
  };
  // The address of another page that keeps the stretch of time, and nothing else of this one.
  F.to = (path, extra = {}) => {
    const next = new URLSearchParams();
    for (const name of ["from", "to", "refresh"]) if (params().get(name)) next.set(name, params().get(name));
    for (const [name, value] of Object.entries(extra)) if (value) next.set(name, value);
    const text = next.toString();
    return `${path}${text ? `?${text}` : ""}`;
  };
  time.set = (from, to, replace = false, more = {}) =>
    F.go(F.href({ from: from === USUAL ? null : from, to: to === "now" ? null : to, ...more }), replace);
  const fixed = (seconds) => String(Math.round(seconds * 1000));
  time.fix = (start, end, replace = false, more = {}) =>
    time.set(fixed(start), end >= now() - 2 && !F.live?.data?.bounds ? "now" : fixed(end), replace, more);
  time.shift = (share) => {
    const [start, end] = time.span();
    const by = Math.min((end - start) * share, now() - end);
    time.fix(start + by, end + by);
  };
  time.out = () => {
    const [start, end] = time.span();
    const half = (end - start) / 2;
    time.fix(start - half, Math.min(now(), end + half));
  };

  const label = () => {
    const known = RANGES.find(([value]) => value === time.from());
    if (time.live() && known) return known[1];
    const [start, end] = time.span();
    return `${F.stamp(start)} to ${time.live() ? "now" : F.stamp(end)}`;
  };

  const draw = () => {
    const box = F.byId("time");
    if (!box || !F.stamp) return;
    const local = F.zone() === "local";
    const open = F.byId("time-menu")?.open;
    put(
      box,
      h(
        "details",
        { id: "time-menu", class: "menu" },
        h("summary", { class: "badge", id: "time-label", title: "Time range" }, label()),
        h(
          "div",
          { class: "menu-body", role: "group", "aria-label": "Time range" },
          h(
            "div",
            { class: "menu-list" },
            RANGES.map(([value, name]) =>
              h(
                "button",
                { type: "button", "data-range": value, "aria-pressed": String(time.live() && value === time.from()) },
                name,
              ),
            ),
          ),
          h(
            "form",
            { id: "time-form", class: "menu-form" },
            h(
              "label",
              null,
              "From",
              h("input", { name: "from", type: "text", value: time.from(), spellcheck: "false", autocomplete: "off" }),
            ),
            h(
              "label",
              null,
              "To",
              h("input", { name: "to", type: "text", value: time.to(), spellcheck: "false", autocomplete: "off" }),
            ),
            h("p", { class: "hint" }, "now-6h, now/d, 2026-11-26T03:00:00Z, or Unix milliseconds"),
            h("button", { type: "submit", class: "quiet" }, "Apply"),
            h(
              "p",
              { class: "menu-row" },
              h("button", { type: "button", class: "quiet", "data-time": "back", title: "Half a range back" }, "◀"),
              h("button", { type: "button", class: "quiet", "data-time": "out" }, "Zoom out"),
              h("button", { type: "button", class: "quiet", "data-time": "on", title: "Half a range on" }, "▶"),
              h("button", { type: "button", class: "quiet", "data-time": "replay" }, "Replay"),
            ),
            h(
              "label",
              null,
              "Refresh",
              h(
                "select",
                { "data-refresh": true },
                REFRESH.map(([value, name]) =>
                  h("option", { value, selected: (params().get("refresh") || "") === value }, name),
                ),
              ),
            ),
            h(
              "p",
              { class: "menu-row" },
              h(
                "button",
                { type: "button", class: "quiet", "data-time": "zone" },
                local ? "Show UTC" : "Show local time",
              ),
              h("button", { type: "button", class: "quiet", "data-time": "copy" }, "Copy link"),
            ),
          ),
        ),
      ),
    );
    if (open) F.byId("time-menu").open = true;
    for (const link of document.querySelectorAll("a[data-page-path]")) {
      const href = F.to(link.dataset.pagePath);
      if (link.getAttribute("href") !== href) link.setAttribute("href", href);
    }
    for (const link of document.querySelectorAll("a[data-viewed]")) {
      const mark = link.dataset.viewed.includes("?") ? "&" : "?";
      const href = time.live()
        ? link.dataset.viewed
        : `${link.dataset.viewed}${mark}at=${encodeURIComponent(time.to())}`;
      if (link.getAttribute("href") !== href) link.setAttribute("href", href);
    }
    F.ignored?.();
    rewind();
  };
  time.draw = draw;

  // The slider: for a hub that stands in a recording, and for whoever looks at the past.
  let shown = false;
  const dated = (unix) =>
    `${new Date(unix * 1000).toLocaleDateString("sv-SE", F.zone() === "utc" ? { timeZone: "UTC" } : {})} ${F.stamp(unix)}`;
  const reach = () => F.live?.data?.bounds || [now() - 3 * 3600, now()];
  const rewind = () => {
    const box = F.byId("rewind");
    if (!box) return;
    const waits = !F.live?.data && Boolean(box.dataset.recorded); // for the recording's reach
    const recorded = waits || Boolean(F.live?.data?.bounds);
    const visible = shown || recorded || !time.live();
    box.hidden = !visible;
    if (!visible) return playing && stop();
    const [first, last] = reach();
    const at = settling
      ? Number(F.byId("rewind-at").value)
      : time.live()
        ? last
        : Math.max(first, Math.min(last, unix(time.to())));
    put(
      box,
      h(
        "button",
        { type: "button", class: "quiet", "data-time": "play", "aria-pressed": String(Boolean(playing)) },
        playing ? "❚❚ Pause" : "▶ Play",
      ),
      h("input", {
        type: "range",
        id: "rewind-at",
        min: Math.ceil(first),
        max: Math.floor(last),
        step: 10,
        "aria-label": "Show the state at this time",
        "aria-valuetext": waits ? "" : F.stamp(at),
      }),
      h("output", { for: "rewind-at" }, waits ? "" : dated(at)),
      h("button", { type: "button", class: "quiet", "data-time": "live" }, recorded ? "To the end" : "Back to live"),
    );
    F.byId("rewind-at").value = Math.round(at);
  };
  const look = (at) => {
    const [start, end] = time.span();
    time.set(fixed(at - (end - start)), fixed(at), true);
  };
  const stop = () => {
    clearInterval(playing);
    playing = 0;
    rewind();
  };
  const play = () => {
    const [first, last] = reach();
    if (time.live()) look(Math.max(first + 60, last - 1800));
    const step = Math.max(10, (last - first) / 240);
    playing = setInterval(() => {
      if (F.live.busy?.()) return; // the last picture is still to come
      const next = unix(time.to()) + step;
      next >= last ? (stop(), look(last)) : look(next);
    }, PLAY_EVERY);
    rewind();
  };

  // A hand on the slider takes over from the replay; what is asked for after it, such as the present, counts.
  const settled = () => {
    clearTimeout(settling);
    settling = 0;
  };
  document.addEventListener("input", (event) => {
    if (event.target.id !== "rewind-at") return;
    const at = Number(event.target.value);
    clearTimeout(settling);
    settling = setTimeout(() => {
      settled();
      look(at);
    }, 200);
    stop();
  });
  document.addEventListener("change", (event) => {
    if (event.target.dataset?.refresh !== undefined) F.go(F.href({ refresh: event.target.value || null }), true);
  });
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "time-form") return;
    event.preventDefault();
    const { from, to } = Object.fromEntries(new FormData(event.target));
    time.set(from.trim() || USUAL, to.trim() || "now");
    F.byId("time-menu").open = false;
  });
  // From an instant on, as fast as answers come.
  const replay = (from) => {
    stop();
    shown = true;
    look(Math.max(reach()[0], from));
    play();
  };
  const acts = {
    back: () => time.shift(-0.5),
    on: () => time.shift(0.5),
    out: time.out,
    replay: () => {
      shown = true;
      rewind();
    },
    play: () => (playing ? stop() : play()),
    live: () => {
      stop();
      shown = false;
      F.go(F.href({ from: null, to: null }));
    },
    zone: () => F.zone(F.zone() === "local" ? "utc" : "local"),
    copy: () => {
      const [start, end] = time.span();
      F.copy(`${location.origin}${F.href({ from: fixed(start), to: fixed(end), refresh: null })}`, "Link");
    },
  };
  time.act = (name) => acts[name]?.();
  document.addEventListener("click", (event) => {
    const range = event.target.closest?.("[data-range]");
    if (range) {
      time.set(range.dataset.range, "now");
      F.byId("time-menu").open = false;
    }
    const act = event.target.closest?.("[data-time]");
    if (act) act.dataset.from ? replay(Number(act.dataset.from)) : acts[act.dataset.time]();
    const menu = F.byId("time-menu");
    if (menu?.open && !event.target.closest?.("#time-menu")) menu.open = false;
  });
  for (const name of ["foreshock:url", "popstate"])
    window.addEventListener(name, () => {
      settled();
      draw();
    });

  // A drag on any chart: all charts, and the page, look at that stretch. Dash calls this with what was dragged.
  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.foreshock = Object.assign(window.dash_clientside.foreshock || {}, {
    zoomed: (moved) => {
      const [start, end] = [moved?.["xaxis.range[0]"], moved?.["xaxis.range[1]"]];
      if (typeof start === "string" && typeof end === "string") {
        const [first, last] = [start, end].map(
          (text) => Date.parse(`${text.replace(" ", "T").slice(0, 23)}Z`) / 1000 - F.offset() * 60,
        );
        if (last - first >= 1) {
          const middle = (first + last) / 2;
          const half = Math.max(last - first, 60) / 2;
          // A chart whose other axis can be dragged as well says what that asks for.
          const [low, high] = [moved["yaxis.range[0]"], moved["yaxis.range[1]"]];
          time.fix(
            middle - half,
            middle + half,
            false,
            Number.isFinite(low) && Number.isFinite(high) ? F.dragged?.(low, high) : {},
          );
        }
      }
      return window.dash_clientside.no_update;
    },
  });
})();
