// One trace as a tree of bars over time. Only the rows in sight are in the document, so thousands of spans stay quick.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const { h, put, known } = F;
  const AROUND = 20;
  const TALLEST = 560;
  const ALIKE = 5;
  const waterfall = (F.waterfall = {});
  let view = null;
  // As the style has it: on a narrow screen a span's name stands above its bar.
  const tall = (field) => parseFloat(getComputedStyle(field).getPropertyValue("--row"));
  matchMedia("(max-width: 600px)").addEventListener("change", () => draw());

  // Five or more leaves of one name under one parent are one row until it is opened: a loop of queries hides the rest.
  const folded = (children, leaf) => {
    const groups = new Map();
    for (const span of children) {
      const key = leaf(span) ? JSON.stringify([span.service, span.name, span.kind, span.status]) : span.span_id;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(span);
    }
    return [...groups.values()].flatMap((alike) => (alike.length >= ALIKE ? [{ alike }] : alike));
  };
  const together = (alike) => {
    const start = Math.min(...alike.map((span) => span.offset_seconds));
    const end = Math.max(...alike.map((span) => span.offset_seconds + span.duration_seconds));
    return {
      ...alike[0],
      span_id: `group-${alike[0].span_id}`,
      offset_seconds: start,
      duration_seconds: end - start,
      gpu: null,
      critical: alike.flatMap((span) => span.critical || []),
      gaps: [],
      alike,
    };
  };

  // Children under their parents by start; spans whose parent is not there, and those in a circle, are roots.
  const tree = (spans) => {
    const byId = new Map(spans.map((span) => [span.span_id, span]));
    const children = new Map();
    for (const span of spans) {
      const parent = byId.has(span.parent_id) && span.parent_id !== span.span_id ? span.parent_id : "";
      if (!children.has(parent)) children.set(parent, []);
      children.get(parent).push(span);
    }
    const rows = [];
    const seen = new Set();
    const byStart = (some) => some.toSorted((a, b) => a.offset_seconds - b.offset_seconds);
    const walk = (start) => {
      const stack = [[start, 1]];
      while (stack.length) {
        const [span, level] = stack.pop();
        if (seen.has(span.span_id)) continue;
        seen.add(span.span_id);
        const own = span.alike
          ? byStart(span.alike)
          : byStart(
              folded(children.get(span.span_id) || [], (one) => !children.has(one.span_id)).map((one) =>
                one.alike ? together(one.alike) : one,
              ),
            );
        rows.push({ span, level, below: own.length, orphan: level === 1 && span.parent_id !== "" });
        for (const child of own.toReversed()) stack.push([child, level + 1]);
      }
    };
    (children.get("") || []).forEach(walk);
    spans.forEach((span) => seen.has(span.span_id) || walk(span));
    return rows;
  };

  waterfall.show = (body, trace, selected, again = false) => {
    const rows = tree(trace.spans);
    const lanes = new Map((trace.lanes || []).map((lane) => [lane.gpu, lane]));
    const groups = rows
      .filter((row) => row.span.alike && !row.span.alike.some((span) => span.span_id === selected))
      .map((row) => row.span.span_id);
    const closed = again && view ? view.closed : new Set(groups);
    view = { trace, rows, lanes, closed, at: 0, picked: selected };
    view.at = Math.max(
      0,
      shown().findIndex((row) => row.span.span_id === selected),
    );
    const errors = trace.spans.filter((span) => span.status === "error").length;
    const services = [...new Map(trace.spans.map((span) => [span.service, span.colour]))];
    const now = F.live?.time;
    F.byId("trace-hint").textContent = trace.trace_id;
    put(
      body,
      F.lanes.sentence(trace),
      h(
        "p",
        { class: "facts" },
        h("span", null, h("b", null, F.seconds(trace.duration_seconds))),
        h("span", null, `${trace.total ?? trace.spans.length} spans`),
        h("span", null, errors ? F.state("critical", `${errors} failed`) : "no errors"),
        h("span", null, "started ", F.time(trace.start, now), now ? ` (${F.span(now - trace.start)} ago)` : ""),
        path(trace),
        trace.left_out ? h("span", null, `${trace.left_out} more spans are not shown`) : null,
        trace.note ? h("span", null, trace.note) : null,
        trace.clock_note ? h("span", null, trace.clock_note) : null,
        h("button", { type: "button", class: "quiet", id: "trace-close" }, "Close trace"),
      ),
      h(
        "p",
        { class: "legend" },
        services.map(([name, colour]) => h("span", null, F.dot(colour), name)),
        h("span", { class: "key critical" }, "critical path"),
        lanes.size ? h("span", { class: "key held" }, "others held its GPU") : null,
        trace.spans.some((span) => span.gaps?.length)
          ? h("span", { class: "key gap" }, "no span tells what it did")
          : null,
      ),
      h(
        "div",
        { class: "wf-axis", "aria-hidden": "true" },
        h("span"),
        h(
          "div",
          null,
          [0, 0.25, 0.5, 0.75, 1].map((part) =>
            h("span", { style: `left:${part * 100}%` }, F.seconds(part * trace.extent_seconds)),
          ),
        ),
      ),
      h(
        "div",
        {
          class: "wf",
          id: "wf",
          tabindex: "0",
          role: "tree",
          "aria-label": "Spans; arrow keys move, left and right fold, Enter shows a span",
        },
        h("div", { class: "wf-space", role: "none" }),
      ),
      F.lanes.draw(trace),
      h("div", { id: "span-detail", class: "span-detail", "aria-live": "polite" }),
    );
    hear(body);
    draw();
    if (selected) detail();
  };
  // Where the time went: the services of the critical path, the most first.
  const path = (trace) => {
    const parts = Object.entries(trace.critical_seconds || {})
      .filter(([, seconds]) => seconds >= 0.01 * trace.duration_seconds)
      .slice(0, 3);
    return parts.length
      ? h(
          "span",
          { title: "own time of services on the critical path" },
          `critical path: ${parts.map(([name, seconds]) => `${name} ${F.percent(seconds / trace.duration_seconds)}`).join(", ")}`,
        )
      : null;
  };

  waterfall.select = (id) => {
    if (!view || !F.byId("wf")) return;
    view.picked = id;
    draw();
    detail();
  };

  const shown = () => {
    const rows = [];
    let below = Infinity;
    for (const row of view.rows) {
      if (row.level > below) continue;
      below = view.closed.has(row.span.span_id) ? row.level : Infinity;
      rows.push(row);
    }
    return rows;
  };

  const draw = () => {
    const field = F.byId("wf");
    if (!field || !view) return;
    const rows = shown();
    const row = tall(field);
    const { scrollTop } = field;
    view.at = Math.min(view.at, rows.length - 1);
    field.style.height = `${Math.min(rows.length * row + 2, TALLEST)}px`;
    const space = field.firstChild;
    space.style.height = `${rows.length * row}px`;
    if (view.row && view.row !== row) field.scrollTop = (scrollTop * row) / view.row; // the same span stays at the top
    view.row = row;
    const first = Math.max(0, Math.floor(field.scrollTop / row) - AROUND);
    const last = Math.min(rows.length, Math.ceil((field.scrollTop + TALLEST) / row) + AROUND);
    put(
      space,
      rows.slice(first, last).map((one, i) => line(one, first + i)),
    );
    field.setAttribute("aria-activedescendant", `wf-${view.at}`);
  };

  const whole = () => view.trace.extent_seconds || 1e-9;
  const part = (kind, start, length, title, extra = "") =>
    h("div", {
      class: kind,
      style: `left:${(start / whole()) * 100}%;width:max(1px,${(length / whole()) * 100}%);${extra}`,
      title,
    });
  // When others held the GPU of a span, as far as that is known of one GPU.
  const held = (span) => {
    const lane = span.gpu?.gpus?.length === 1 ? view.lanes.get(span.gpu.gpus[0]) : null;
    const end = span.offset_seconds + span.duration_seconds;
    return (lane?.intervals || [])
      .filter((each) => each.service !== lane.own)
      .map((each) => {
        const [from, to] = [
          Math.max(each.offset_seconds, span.offset_seconds),
          Math.min(each.offset_seconds + each.duration_seconds, end),
        ];
        return to > from
          ? part(
              "wf-held",
              from,
              to - from,
              `${each.service} had ${F.percent(each.share)} of ${lane.gpu}`,
              `opacity:${(0.35 + 0.65 * each.share).toFixed(2)}`,
            )
          : null;
      });
  };

  const line = ({ span, level, below, orphan }, i) => {
    const left = (span.offset_seconds / whole()) * 100;
    const width = (span.duration_seconds / whole()) * 100;
    const closed = view.closed.has(span.span_id);
    const failed = span.status === "error";
    const waited = span.gpu?.waited_seconds > 0 ? span.gpu.waited_seconds : 0;
    const critical = (span.critical || []).reduce((sum, [, length]) => sum + length, 0);
    const times = span.alike ? ` ×${span.alike.length}` : "";
    // Beside the bar where there is room, else before it, else inside, so that its end is seen.
    const where =
      left + width < 80
        ? `left:calc(${left + width}% + 6px)`
        : left > 22
          ? `right:calc(${100 - left}% + 6px)`
          : `right:calc(${Math.max(0, 100 - left - width)}% + 8px)`;
    const inside = left + width >= 80 && left <= 22;
    const notes = [
      failed ? ", error" : "",
      waited ? `, waited ${F.seconds(waited)} for a GPU` : "",
      critical > 0 ? `, ${F.seconds(critical)} on the critical path` : "",
    ].join("");
    return h(
      "div",
      {
        id: `wf-${i}`,
        class: `wf-row${i === view.at ? " at" : ""}${span.span_id === view.picked ? " picked" : ""}`,
        style: `top:calc(${i} * var(--row))`,
        role: "treeitem",
        "data-row": i,
        "aria-level": level,
        "aria-expanded": below ? String(!closed) : null,
        "aria-selected": String(span.span_id === view.picked),
        "aria-label": `${span.service} ${span.name}${times}, ${F.seconds(span.duration_seconds)}, starts at ${F.seconds(span.offset_seconds)}${notes}`,
      },
      h(
        "div",
        {
          class: "wf-name",
          style: `padding-left:${Math.min(level - 1, 12) * 14}px`,
          title: `${span.service} ${span.name}`,
        },
        h(
          "span",
          { class: "wf-fold", "data-fold": below ? "yes" : null, "aria-hidden": "true" },
          below ? (closed ? "▸" : "▾") : "·",
        ),
        F.dot(span.colour),
        h("b", null, span.service),
        ` ${span.name}`,
        times ? h("b", null, times) : null,
        orphan ? h("small", { class: "muted" }, " (parent not seen)") : null,
      ),
      h(
        "div",
        { class: "wf-track" },
        span.alike && closed
          ? span.alike.map((one) =>
              part(
                `wf-bar${one.status === "error" ? " failed" : ""}`,
                one.offset_seconds,
                one.duration_seconds,
                null,
                `background:var(--service-${Number(span.colour)})`,
              ),
            )
          : h("div", {
              class: `wf-bar${failed ? " failed" : ""}`,
              style: `left:${left}%;width:max(2px,${width}%);background:var(--service-${Number(span.colour)})`,
            }),
        held(span),
        (span.gaps || []).map(([start, length]) =>
          part("wf-gap", start, length, `${F.seconds(length)} in which no span tells what it did`),
        ),
        (span.critical || []).map(([start, length]) => part("wf-critical", start, length, null)),
        h(
          "span",
          { class: inside ? "wf-length inside" : "wf-length", style: where },
          F.seconds(span.duration_seconds),
          waited ? h("span", { class: "poor" }, ` ${F.seconds(waited)} waited`) : null,
          failed ? F.state("critical", "error") : null,
        ),
      ),
    );
  };

  const pick = (i) => {
    view.at = i;
    const { span } = shown()[i];
    if (span.alike) return fold(i, !view.closed.has(span.span_id));
    F.go(F.spanHref(view.picked === span.span_id ? null : span.span_id), true);
  };
  const fold = (i, close) => {
    const { span, below } = shown()[i];
    if (below) close ? view.closed.add(span.span_id) : view.closed.delete(span.span_id);
    draw();
  };
  // On what stays while its parts are put in and taken out: a trace that is shown again may have a line more.
  const hear = (body) => {
    if (body.heard) return;
    body.heard = true;
    const inside = (act) => (event) => {
      if (event.target.closest?.("#wf")) act(event);
    };
    body.addEventListener(
      "scroll",
      inside(() => requestAnimationFrame(draw)),
      true,
    ); // it does not rise
    body.addEventListener("keydown", inside(key));
    body.addEventListener("click", (event) => (event.target.closest("#trace-close") ? F.closeTrace() : click(event)));
  };
  const click = (event) => {
    const row = event.target.closest("#wf [data-row]");
    if (!row) return;
    const i = Number(row.dataset.row);
    if (event.target.dataset.fold) return fold(i, !view.closed.has(shown()[i].span.span_id));
    pick(i);
  };
  const key = (event) => {
    const rows = shown();
    const moves = { ArrowDown: 1, ArrowUp: -1, Home: -view.at, End: rows.length - 1 - view.at };
    if (event.key in moves) {
      view.at = Math.max(0, Math.min(rows.length - 1, view.at + moves[event.key]));
      const field = F.byId("wf");
      const row = tall(field);
      const top = view.at * row;
      if (top < field.scrollTop) field.scrollTop = top;
      if (top + row > field.scrollTop + field.clientHeight) field.scrollTop = top + row - field.clientHeight;
      draw();
    } else if (event.key === "ArrowLeft") fold(view.at, true);
    else if (event.key === "ArrowRight") fold(view.at, false);
    else if (event.key === "Enter" || event.key === " ") pick(view.at);
    else return;
    event.preventDefault();
  };

  const detail = () => {
    const box = F.byId("span-detail");
    const span = view.trace.spans.find((one) => one.span_id === view.picked);
    if (!box || !span) return box && put(box);
    const text = (value) => (typeof value === "object" && value !== null ? JSON.stringify(value) : String(value));
    const table = (title, entries) => {
      const told = entries.filter(([, value]) => value !== "" && value !== null && value !== undefined);
      return told.length
        ? h(
            "div",
            null,
            h("h3", null, title),
            h(
              "dl",
              null,
              told.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, text(value)))),
            ),
          )
        : null;
    };
    const dropped = [
      ["dropped attributes", span.dropped_attributes_count],
      ["dropped events", span.dropped_events_count],
      ["dropped links", span.dropped_links_count],
    ].filter(([, count]) => count);
    put(
      box,
      h("h3", null, F.dot(span.colour), `${span.service} ${span.name}`),
      h(
        "p",
        { class: "facts" },
        h("span", null, h("b", null, F.seconds(span.duration_seconds))),
        h("span", null, `starts at ${F.seconds(span.offset_seconds)}`),
        h("span", null, span.kind),
        h(
          "span",
          null,
          span.status === "error"
            ? F.state("critical", `error${span.status_message ? `: ${span.status_message}` : ""}`)
            : `status ${span.status}`,
        ),
        h("span", { class: "muted" }, `span ${span.span_id}`),
        h("a", { href: F.serviceOf(span.service), "data-go": true }, `all about ${span.service}`),
        span.clamped ? h("span", null, "it ended before it started by its own clock; shown as 0 s") : null,
      ),
      h(
        "div",
        { class: "detail-columns" },
        F.lanes.wait(span, table),
        table("Attributes", [...Object.entries(span.attributes), ...dropped]),
        table(
          "Events",
          span.events.flatMap((event) => [
            [event.name, event.offset_seconds === null ? "no time given" : `at ${F.seconds(event.offset_seconds)}`],
            ...Object.entries(event.attributes),
          ]),
        ),
        table(
          "Links",
          span.links.map((link) => [link.trace_id, link.span_id]),
        ),
        table("Resource", Object.entries(span.resource)),
        table("Scope and flags", [
          ["scope", span.scope],
          ["version", span.scope_version],
          ...Object.entries(span.scope_attributes || {}),
          ["schema", span.scope_schema_url],
          [
            "flags",
            known(span.flags)
              ? `0x${span.flags.toString(16).padStart(2, "0")}${span.flags & 1 ? " (sampled)" : ""}`
              : "",
          ],
          ["trace state", span.trace_state],
          ["parent", span.parent_id],
        ]),
      ),
    );
  };
})();
