// The cascade as lanes, one a service, in the order of the first sign; beyond now the forecast, hatched.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const { h, s, put } = F;
  const ROW = 34;
  const BAR = 16;
  const TOP = 8;
  const FOOT = 26;
  const NARROW = 600;
  const LETTER = 6.3;
  const WORDS = { calm: "as usual", early: "early sign", degraded: "degraded", failing: "misses its objective" };
  const WAS = { early: "had an early sign", degraded: "was degraded", failing: "missed its objective" };
  const MARKS = { calm: "○", early: "▲", degraded: "◆", failing: "■" };
  F.STAGES = WORDS;
  F.MARKS = MARKS;
  F.stage = (stage) =>
    stage
      ? h(
          "span",
          { class: `state ${{ calm: "ok", early: "warning", degraded: "warning", failing: "critical" }[stage]}` },
          h("span", { "aria-hidden": "true" }, MARKS[stage]),
          ` ${WORDS[stage]}`,
        )
      : F.state("unknown", "no data");

  // How long until something, as people say it; null is beyond the horizon.
  F.about = (seconds) => {
    if (!F.known(seconds)) return "more than 30 min";
    if (seconds < 90) return `${Math.max(10, Math.round(seconds / 10) * 10)} s`;
    return `${Math.round(seconds / 60)} min`;
  };
  // "2 to 9 min", "40 s to 6 min": the interval in which it happens with a chance of 80 %.
  F.interval = (low, high) => {
    const [from, to] = [F.about(low), F.about(high)];
    if (from === to) return `about ${to}`;
    return from.endsWith(" min") && to.endsWith(" min") && F.known(high)
      ? `${from.replace(" min", "")} to ${to}`
      : `${from} to ${to}`;
  };

  const figures = (sign) =>
    `${sign.text} ${F.figure(sign.value, sign.unit).trim()}, usually ${F.figure(sign.level, sign.unit).trim()}`;
  const sign = (lane) => (lane.why ? lane.why : lane.sign ? figures(lane.sign) : "");
  const expected = (forecast) =>
    `misses its objective in about ${F.about(forecast.p50)} (${F.interval(forecast.p10, forecast.p90)})`;
  const part = (lane) => (lane.part === "culprit" ? "culprit" : lane.part === "next" ? "next" : String(lane.order));
  const worst = (lane) => lane.spells.reduce((most, [, , stage]) => Math.max(most, stage), 0);
  const latest = (lane, now, stages) => {
    const last = lane.spells[lane.spells.length - 1];
    return last && last[1] >= now - 30 ? stages[last[2]] : "calm";
  };

  F.timeline = (
    name,
    data,
    { empty = "No service is worse than usual, and none was in this time.", all = null } = {},
  ) => {
    const body = F.byId(name);
    if (!body) return;
    if (!data.lanes.length) {
      put(body);
      return F.panel(name, "empty", empty);
    }
    const width = body.clientWidth;
    put(
      body,
      width < NARROW ? list(data) : picture(data, width),
      h(
        "p",
        { class: "legend" },
        width < NARROW ? null : legend(data),
        data.hidden && all ? h("a", { href: all, "data-go": true }, `${data.hidden} more`) : null,
      ),
      h("details", null, h("summary", null, "Timeline as a table"), twin(data)),
    );
    F.panel(name, "ready");
  };

  // Every mark of the picture that is there to be seen.
  const legend = ({ lanes }) => {
    const has = (name) => lanes.some((lane) => lane.part === name);
    const key = (mark, kind, text) =>
      h("span", null, h("span", { class: kind, "aria-hidden": "true" }, mark), ` ${text}`);
    return [
      has("culprit") ? key("⚑", "flag", "culprit") : null,
      has("hit") ? key("1", "lane-part", "the first that was hit, then 2, 3, …") : null,
      has("next") ? key("…", "lane-dots", "not hit yet, expected next") : null,
      ["early", "degraded", "failing"].map((stage) =>
        h(
          "span",
          { class: `lane-key ${stage}` },
          h("span", { "aria-hidden": "true" }, MARKS[stage]),
          ` ${WORDS[stage]}`,
        ),
      ),
      lanes.some((lane) => lane.forecast)
        ? h(
            "span",
            { class: "lane-key forecast" },
            "forecast: 80 % sure between its ends, the mark is as likely as not",
          )
        : null,
    ];
  };
  const row = (lane, data) => {
    const now = latest(lane, data.now, data.stages);
    const stage =
      lane.part === "next"
        ? "expected"
        : lane.spells.length
          ? now === "calm"
            ? `over: it ${WAS[data.stages[worst(lane)]]}`
            : WORDS[now]
          : "–";
    return { now, stage };
  };
  const twin = (data) =>
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Timeline, table" },
      h(
        "table",
        null,
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            ["Service", "Part", "First sign", "What", "Stage", "Forecast"].map((text) =>
              h("th", { scope: "col" }, text),
            ),
          ),
        ),
        h(
          "tbody",
          null,
          data.lanes.map((lane) =>
            h(
              "tr",
              null,
              h("th", { scope: "row" }, lane.service),
              h("td", null, lane.part === "hit" ? `hit ${lane.order}` : lane.part),
              h("td", null, lane.part === "next" ? "–" : F.time(lane.first, data.now)),
              h("td", { class: "wide-cell" }, sign(lane) || "–"),
              h("td", null, row(lane, data).stage),
              h("td", { class: "wide-cell" }, lane.forecast ? expected(lane.forecast) : "–"),
            ),
          ),
        ),
      ),
    );
  const list = (data) =>
    h(
      "ol",
      { class: "lane-list" },
      data.lanes.map((lane) => {
        const { stage } = row(lane, data);
        return h(
          "li",
          { class: `lane-${lane.part}` },
          h("span", { class: "lane-part" }, part(lane)),
          " ",
          h("a", { href: F.serviceOf(lane.service), "data-go": true }, lane.service),
          lane.part === "next" ? null : h("span", { class: "muted" }, ` ${F.span(data.now - lane.first)} ago`),
          h("br"),
          [sign(lane), stage === "–" || lane.part === "next" ? "" : stage, lane.forecast ? expected(lane.forecast) : ""]
            .filter(Boolean)
            .join("; "),
        );
      }),
    );

  const picture = (data, width) => {
    const label = F.labels(data.lanes.map((lane) => lane.service));
    const left = Math.min(
      210,
      Math.max(130, Math.max(...data.lanes.map((lane) => label(lane.service).length)) * 7.4 + 62),
    );
    const right = 26;
    const x = (time) =>
      left +
      ((Math.max(data.start, Math.min(data.end, time)) - data.start) / (data.end - data.start)) *
        (width - left - right);
    const height = TOP + data.lanes.length * ROW + FOOT;
    const now = x(data.now);
    const bottom = height - FOOT;
    return s(
      "svg",
      { width, height, class: "lanes", role: "group", "aria-label": "Timeline of the cascade" },
      s(
        "defs",
        null,
        s(
          "pattern",
          { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
          s("line", { x1: 0, y1: 0, x2: 0, y2: 7, class: "hatch-line" }),
        ),
      ),
      ticks(data).map(([time, text]) => [
        s("line", { x1: x(time), x2: x(time), y1: TOP, y2: bottom, class: "tick" }),
        s("text", { x: x(time), y: height - 8, class: "tick-text", "text-anchor": "middle" }, text),
      ]),
      data.lanes.map((lane, i) =>
        strip(lane, data, TOP + i * ROW + ROW / 2, x, left, width - right, label(lane.service)),
      ),
      s("line", { x1: now, x2: now, y1: TOP - 4, y2: bottom + 4, class: "now-line" }),
      s("text", { x: now, y: height - 8, class: "now-text", "text-anchor": "middle" }, data.past ? "then" : "now"),
    );
  };
  const ticks = (data) => {
    const span = data.end - data.start;
    const every =
      [60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400].find((size) => span / size <= 8) || 172800;
    const found = [];
    for (let back = Math.floor((data.now - data.start) / every); back >= 1; back -= 1)
      found.push([data.now - back * every, `−${short(back * every)}`]);
    for (let on = 1; data.now + on * every <= data.end; on += 1)
      found.push([data.now + on * every, `+${short(on * every)}`]);
    return found;
  };
  const short = (seconds) =>
    seconds % 86400 === 0
      ? `${seconds / 86400} d`
      : seconds % 3600 === 0
        ? `${seconds / 3600} h`
        : `${seconds / 60} min`;

  const strip = (lane, data, y, x, left, edge, name) => {
    const now = x(data.now);
    const from = x(lane.first);
    const words =
      lane.part === "next" || (lane.forecast && !sign(lane))
        ? `in about ${F.about(lane.forecast.p50)} (80 % sure: ${F.interval(lane.forecast.p10, lane.forecast.p90)})`
        : sign(lane);
    const [low, high] = lane.forecast
      ? [
          x(data.now + (F.known(lane.forecast.p10) ? lane.forecast.p10 : lane.forecast.p20)),
          x(F.known(lane.forecast.p90) ? data.now + lane.forecast.p90 : data.end),
        ]
      : [edge, edge];
    const room = Math.floor((left - 44) / 7.4);
    const told = `${lane.service}: ${[part(lane) === String(lane.order) ? `hit ${lane.order}` : part(lane), words, lane.part === "next" ? "" : `first sign ${F.span(data.now - lane.first)} before now`, lane.forecast && lane.part !== "next" ? expected(lane.forecast) : ""].filter(Boolean).join(", ")}`;
    const spells = lane.spells.filter(([, end]) => end >= data.start);
    return s(
      "g",
      { class: `lane ${lane.part}` },
      s("title", null, told),
      s("line", { x1: left, x2: edge, y1: y, y2: y, class: "lane-line" }),
      s(
        "a",
        { href: F.serviceOf(lane.service), "data-go": true, "aria-label": told },
        lane.part === "hit"
          ? [
              s("circle", { cx: 11, cy: y, r: 9, class: "lane-order" }),
              s("text", { x: 11, y: y + 4, class: "lane-number", "text-anchor": "middle" }, lane.order),
            ]
          : s("text", { x: 2, y: y + 4, class: "lane-role" }, lane.part === "culprit" ? "⚑" : "…"),
        s("rect", {
          x: 24,
          y: y - 7,
          width: 4,
          height: 14,
          rx: 2,
          style: `fill:var(--service-${Number(lane.colour)})`,
        }),
        s("text", { x: 33, y: y + 4, class: "lane-name" }, F.short(name, room)),
      ),
      lane.part === "culprit"
        ? s("rect", { x: from, y: y - 3, width: Math.max(2, now - from), height: 6, rx: 3, class: "lane-culprit" })
        : null,
      spells.map(([start, end, stage]) =>
        s("rect", {
          x: x(start),
          y: y - BAR / 2,
          width: Math.max(3, x(end) - x(start)),
          height: BAR,
          rx: 3,
          class: `spell ${data.stages[stage]}`,
        }),
      ),
      lane.forecast ? ahead(low, high, x(data.now + (lane.forecast.p50 || 0)), y) : null,
      spells
        .filter((spell, i) => !i || spells[i - 1][2] < spell[2])
        .map(([start, , stage]) => mark(data.stages[stage], x(start), y)),
      lane.part === "culprit"
        ? s("text", { x: from, y: y + 4.5, class: "lane-flag", "text-anchor": "middle" }, "⚑")
        : null,
      caption(lane, words, y, from, now, [low, high], left, edge),
    );
  };
  const mark = (stage, at, y) => {
    const kind = `lane-mark ${stage}`;
    if (stage === "early") return s("path", { d: `M${at} ${y - 7}L${at + 7} ${y + 6}H${at - 7}z`, class: kind });
    if (stage === "degraded")
      return s("path", { d: `M${at} ${y - 7.5}L${at + 7.5} ${y}L${at} ${y + 7.5}L${at - 7.5} ${y}z`, class: kind });
    return s("rect", { x: at - 6, y: y - 6, width: 12, height: 12, class: kind });
  };
  const ahead = (low, high, middle, y) =>
    s(
      "g",
      { class: "lane-forecast" },
      ["ahead", "ahead-hatch"].map((kind) =>
        s("rect", {
          x: low,
          y: y - BAR / 2,
          width: Math.max(3, high - low),
          height: BAR,
          rx: 3,
          class: kind,
          fill: kind === "ahead" ? null : "url(#hatch)",
        }),
      ),
      s("line", { x1: middle, x2: middle, y1: y - BAR / 2 - 3, y2: y + BAR / 2 + 3, class: "ahead-middle" }),
    );
  // Before its mark, where nothing is drawn, or after now, beyond the forecast, or on its bar: the first place with room for all of it, else the one with most.
  const caption = (lane, words, y, at, now, [low, high], left, edge) => {
    if (!words) return null;
    const places =
      lane.part === "next"
        ? [
            [high + 9, edge, "start"],
            [left, now - 8, "end"],
          ]
        : [
            [left, at - 11, "end"],
            [now + 8, lane.forecast ? low - 6 : edge, "start"],
            ...(lane.forecast ? [[high + 9, edge, "start"]] : []),
            [at + 11, now - 8, "start"],
          ];
    const wanted = words.length * LETTER;
    const [from, to, anchor] =
      places.find(([start, end]) => end - start >= wanted) ||
      places.reduce((best, place) => (place[1] - place[0] > best[1] - best[0] ? place : best));
    const text = F.short(words, Math.max(6, Math.floor((to - from) / LETTER)));
    return s("text", { x: anchor === "start" ? from : to, y: y + 4, class: "lane-words", "text-anchor": anchor }, text);
  };
})();
