// The Cascade page: which incident, how it spread, its lanes, early signs, and the time that is left.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  F.pages = F.pages || {};
  const { h, s, put } = F;

  const BEFORE = 60;
  const PHASES = { advisory: "warning", page: "critical", cascading: "critical", over: "idle" };
  // An incident that is over is looked at as it was shortly before its end.
  const open = (item) =>
    F.href({
      incident: item.id,
      from: item.until ? String(Math.round((item.since - 600) * 1000)) : null,
      to: item.until ? String(Math.round((item.until - 20) * 1000)) : null,
    });
  const chooser = (data, now) => {
    const chosen = data.chosen[0];
    const one = (item) =>
      h(
        "li",
        null,
        h(
          "a",
          {
            href: open(item),
            "data-go": true,
            "aria-current":
              item.id === data.wanted || (!data.wanted && data.chosen.some((each) => each.id === item.id))
                ? "true"
                : null,
          },
          F.state(PHASES[item.phase], item.phase),
          " ",
          h("b", null, item.victim),
          h(
            "span",
            { class: "muted" },
            ` ${F.cause(item)}, ${item.until ? `ended ${F.span(now - item.until)} ago` : `for ${F.span(now - item.since)}`}`,
          ),
        ),
      );
    put(
      F.byId("chooser"),
      data.incidents.length
        ? h(
            "ul",
            { class: "incidents", "aria-label": "Incidents" },
            data.incidents.map(one),
            data.wanted
              ? h("li", null, h("a", { href: F.href({ incident: null }), "data-go": true }, "all that are open"))
              : null,
          )
        : null,
      !data.incidents.length
        ? data.error && !data.ready
          ? null
          : h(
              "p",
              { class: "muted" },
              data.learning.done
                ? "No incident hits a service, and none did in the last hour: below is how everything fares."
                : "Incidents can be told once the hub has learnt what is usual.",
            )
        : null,
      data.wanted && !chosen
        ? h(
            "p",
            { class: "lost" },
            `Nothing is known of incident ${data.wanted} at this time. It may be older than an hour, or begin later: choose another time.`,
          )
        : null,
      chosen
        ? h(
            "div",
            { class: "chosen", "data-phase": chosen.phase },
            h("p", { class: "headline" }, F.sentence(chosen.summary)),
            chosen.action ? F.step(chosen.action) : null,
            h(
              "p",
              { class: "facts" },
              h(
                "button",
                {
                  type: "button",
                  class: "quiet",
                  "data-time": "replay",
                  "data-from": Math.round(Math.min(chosen.since, chosen.opened) - BEFORE),
                },
                "▶ Replay it",
              ),
              h("a", { href: F.reportOf(chosen.id), download: "" }, "Download the post-mortem"),
              h("a", { href: F.tracesOf(chosen.victim), "data-go": true }, `Slowest traces of ${chosen.victim}`),
            ),
          )
        : null,
    );
  };

  // A bar from 10 to 90 %, thick from 20 to 80 %, on a scale of roots: what is near is told apart best.
  const FAR = 1800;
  const WIDE = 260;
  const at = (seconds) => Math.sqrt(Math.min(FAR, Math.max(0, F.known(seconds) ? seconds : FAR)) / FAR) * WIDE;
  const bar = ({ p10, p20, p50, p80, p90 }) => {
    const [low, high] = [F.known(p10) ? p10 : p20, F.known(p90) ? p90 : p80];
    return s(
      "svg",
      { width: WIDE + 8, height: 22, class: "breach", "aria-hidden": "true" },
      [60, 300, 600].map((tick) => s("line", { x1: at(tick) + 4, x2: at(tick) + 4, y1: 0, y2: 22, class: "tick" })),
      s("line", { x1: at(low) + 4, x2: at(high) + 4, y1: 11, y2: 11, class: "whisker" }),
      s("rect", { x: at(p20) + 4, y: 5, width: Math.max(2, at(p80) - at(p20)), height: 12, rx: 3, class: "range" }),
      s("line", { x1: at(p50) + 4, x2: at(p50) + 4, y1: 1, y2: 21, class: "middle" }),
    );
  };
  const breaches = (data) => {
    const list = data.breaches;
    if (!list.length) {
      put(F.byId("breaches"));
      return F.panel("breaches", "empty", data.untold || "No service is expected to miss its objective within 30 min.");
    }
    const label = F.labels(list.map((row) => row.service));
    const left = ({ p10, p20, p50, p80, p90 }) =>
      p50 === 0
        ? h("b", { class: "bad" }, "■ missed now")
        : [
            h("b", null, F.known(p50) ? `in about ${F.about(p50)}` : "perhaps"),
            h("br"),
            h("small", null, F.interval(F.known(p10) ? p10 : p20, F.known(p90) ? p90 : p80)),
          ];
    put(
      F.byId("breaches"),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Time until objectives are missed, table" },
        h(
          "table",
          { class: "breaches" },
          h(
            "thead",
            null,
            h(
              "tr",
              null,
              h("th", { scope: "col" }, "Service"),
              h("th", { scope: "col" }, "Objective missed"),
              h("th", { scope: "col", class: "minor" }, scale()),
            ),
          ),
          h(
            "tbody",
            null,
            list.map((row) =>
              h(
                "tr",
                null,
                h(
                  "th",
                  { scope: "row", title: row.service },
                  F.dot(row.colour),
                  h("a", { href: F.serviceOf(row.service), "data-go": true }, label(row.service)),
                ),
                h("td", null, left(row.seconds)),
                h("td", { class: "minor" }, row.seconds.p50 === 0 ? null : bar(row.seconds)),
              ),
            ),
          ),
        ),
      ),
    );
    F.panel("breaches", "ready");
  };
  const scale = () =>
    h(
      "span",
      { class: "breach-scale", style: `width:${WIDE + 8}px` },
      [
        [0, "now"],
        [60, "1 min"],
        [300, "5"],
        [600, "10"],
        [FAR, "30 min"],
      ].map(([seconds, text]) => h("span", { style: `left:${at(seconds) + 4}px` }, text)),
    );

  const signs = (data, now) => {
    const list = data.signs;
    if (!list.length) {
      put(F.byId("signs"));
      return F.panel("signs", "empty", data.untold || "Every figure is as usual.");
    }
    const label = F.labels([...new Set(list.map((row) => row.service))]);
    F.table(F.byId("signs"), {
      id: "signs-table",
      label: "Early-warning signals",
      param: "signs",
      by: "since",
      rows: list,
      most: 14,
      columns: [
        {
          key: "text",
          name: "Signal",
          text: true,
          cell: (row) => [
            F.dot(row.colour),
            h("a", { href: F.serviceOf(row.service), "data-go": true, title: row.service }, label(row.service)),
            " ",
            row.text,
            h("br"),
            h(
              "small",
              { class: "muted" },
              row.early ? "early: " : "felt: ",
              row.why,
              row.entity === row.service ? "" : ` (${row.entity})`,
            ),
          ],
        },
        { key: "value", name: "now", fixed: true, cell: (row) => h("b", null, F.figure(row.value, row.unit)) },
        { key: "level", name: "usually", fixed: true, cell: (row) => F.figure(row.level, row.unit) },
        {
          key: "threshold",
          name: "counts from",
          fixed: true,
          minor: true,
          cell: (row) => F.figure(row.threshold, row.unit),
        },
        { key: "since", name: "since", cell: (row) => F.time(row.since, now) },
      ],
    });
    F.panel("signs", "ready");
  };

  const room = (data) =>
    put(
      F.byId("room"),
      data.room.length
        ? h(
            "label",
            null,
            "Capacity of ",
            h(
              "select",
              { "data-room": true },
              data.room.map((name) => h("option", { value: name, selected: name === data.focus }, name)),
            ),
          )
        : null,
    );
  document.addEventListener("change", (event) => {
    if (event.target.dataset?.room !== undefined) F.go(F.href({ service: event.target.value }), true);
  });

  F.pages.cascade = {
    update: (data, live) => {
      const now = F.range.live() && !data.bounds ? live.time : (data.data_time ?? live.time);
      chooser(data, now);
      if (!data.ready) {
        for (const name of ["map", "timeline", "breaches", "signs"])
          F.panel(name, data.error ? "error" : "loading", data.error ? `Cannot be read: ${data.error}` : "");
        return;
      }
      F.timeline(
        "timeline",
        { ...data.timeline, past: !F.range.live() },
        { empty: data.untold || "No service is worse than usual, and none was in this time." },
      );
      breaches(data);
      signs(data, now);
      room(data);
      if (live.topology?.id === data.topology) F.map.draw(data, live.topology);
    },
  };
})();
