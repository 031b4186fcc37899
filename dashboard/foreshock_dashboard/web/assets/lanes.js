// What ran on the GPUs of a trace, on the same axis as its spans, and what that means for it.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const { h } = F;
  const lanes = (F.lanes = {});
  const MOST = 6;

  // The answer to "why was it slow" as far as GPUs go; or why there is none.
  lanes.sentence = (trace) => {
    if (trace.sentence)
      return h(
        "p",
        { class: `wait-sentence ${trace.gpu_wait_seconds > 0.2 * trace.duration_seconds ? "grave" : ""}` },
        trace.sentence,
      );
    if (trace.lanes_error)
      return h("p", { class: "wait-sentence" }, `What ran on its GPUs cannot be read: ${trace.lanes_error}`);
    if (trace.lanes_settled === false)
      return h("p", { class: "wait-sentence" }, "What ran on its GPUs in its last seconds is still on its way.");
    if (trace.lanes_note)
      return h(
        "p",
        { class: "note" },
        `Nothing is known of its GPUs: ${trace.lanes_note}. `,
        h("a", { href: F.to("/status"), "data-go": true }, "What is missing"),
      );
    return h(
      "p",
      { class: "note" },
      trace.lanes?.length ? "It did not wait for a GPU." : "None of its spans is known to have run on a shared GPU.",
    );
  };

  const lane = (one, trace) => {
    const whole = trace.extent_seconds || 1e-9;
    const names = [...new Set([one.own, ...Object.keys(one.by), ...one.intervals.map((each) => each.service)])].filter(
      (name) => one.intervals.some((each) => each.service === name),
    );
    const colours = new Map(one.intervals.map((each) => [each.service, each.colour]));
    const rest = names.length - MOST;
    const track = (name) =>
      h(
        "div",
        { class: "lane-row" },
        h(
          "div",
          { class: "lane-name", title: name },
          F.dot(colours.get(name)),
          name === one.own ? h("b", null, name) : name,
          h(
            "small",
            { class: "muted" },
            name === one.own ? " its own" : one.by[name] ? ` ${F.seconds(one.by[name])}` : "",
          ),
        ),
        h(
          "div",
          { class: "lane-track" },
          one.intervals
            .filter((each) => each.service === name)
            .map((each) =>
              h("div", {
                class: `lane-bar ${each.quality === "inferred" ? "inferred" : ""}`,
                title: `${each.service} had ${F.percent(each.share)} of ${one.gpu} from ${F.seconds(Math.max(0, each.offset_seconds))} for ${F.seconds(each.duration_seconds)}, ${each.quality}`,
                style: `left:${(Math.max(0, each.offset_seconds) / whole) * 100}%;width:max(1px,${(each.duration_seconds / whole) * 100}%);--part:${Math.round(Math.max(0.2, each.share) * 100)}%;--ink:var(--service-${Number(each.colour)})`,
              }),
            ),
        ),
      );
    const said =
      one.waited_seconds > 0
        ? `others held it ${F.seconds(one.waited_seconds)} of ${F.seconds(one.waited_seconds + one.own_seconds + one.idle_seconds + one.unshared_seconds)}, at most`
        : "nobody else held it";
    return h(
      "div",
      { class: "lane", role: "group", "aria-label": `${one.gpu}: ${said}` },
      h(
        "p",
        { class: "lane-head" },
        h("a", { href: F.to("/fleet", { gpu: one.gpu }), "data-go": true }, one.gpu),
        h("span", { class: "muted" }, ` ${said}, ${one.quality}`),
        Object.keys(one.by)
          .slice(0, 1)
          .map((name) =>
            h(
              "a",
              { href: F.to("/contention", { victim: one.own, aggressor: name }), "data-go": true },
              `${one.own} and ${name}`,
            ),
          ),
      ),
      names.slice(0, MOST).map(track),
      rest > 0 ? h("p", { class: "note" }, `${rest} more services with less`) : null,
    );
  };

  lanes.draw = (trace) => {
    const all = trace.lanes || [];
    if (!all.length) return null;
    const inferred = all.some((one) => one.intervals.some((each) => each.quality === "inferred"));
    return h(
      "div",
      { class: "lanes" },
      h("h3", null, "GPUs it ran on, and who was on them meanwhile"),
      all.map((one) => lane(one, trace)),
      h(
        "p",
        { class: "note" },
        "Taller where it had more of the GPU.",
        inferred
          ? " Hatched: inferred from counters that are read every few seconds, so shares are means over that time."
          : "",
        trace.lanes_left_out ? ` ${trace.lanes_left_out} minutes of GPUs were too many to read.` : "",
        trace.lanes_settled === false ? " The last seconds may still change." : "",
      ),
      h(
        "details",
        { id: "lanes-twin" },
        h("summary", null, "as a table"),
        h(
          "div",
          { class: "scroll", tabindex: "0", role: "region", "aria-label": "GPUs of the trace, table" },
          h(
            "table",
            { class: "rows" },
            h(
              "thead",
              null,
              h(
                "tr",
                null,
                ["GPU", "Service", "Share", "From", "For", "Quality"].map((name) => h("th", { scope: "col" }, name)),
              ),
            ),
            h(
              "tbody",
              null,
              all.flatMap((one) =>
                one.intervals
                  .slice(0, 200)
                  .map((each) =>
                    h(
                      "tr",
                      null,
                      h("th", { scope: "row" }, one.gpu),
                      h("td", null, each.service),
                      h("td", null, F.percent(each.share)),
                      h("td", null, F.seconds(Math.max(0, each.offset_seconds))),
                      h("td", null, F.seconds(each.duration_seconds)),
                      h("td", null, each.quality),
                    ),
                  ),
              ),
            ),
          ),
        ),
      ),
    );
  };

  // What one span had of its GPU, for its detail.
  lanes.wait = (span, table) => {
    const had = span.gpu;
    if (!had) return null;
    return table("GPU", [
      ["on", had.gpus.join(" or ")],
      ["waited", `${had.upper_bound ? "at most " : ""}${F.seconds(had.waited_seconds)}`],
      ...Object.entries(had.by).map(([name, seconds]) => [`held by ${name}`, F.seconds(seconds)]),
      ["its own", F.seconds(had.own_seconds)],
      ["nobody's", F.seconds(had.idle_seconds)],
      ["not shared", F.seconds(had.unshared_seconds)],
      ["quality", had.quality],
      ["found by", had.found_by],
      ["resolution", F.seconds(had.resolution_seconds)],
    ]);
  };
})();
