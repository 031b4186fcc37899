// The Now page: verdict, figures, lanes, matrix, most affected services, incidents with their evidence.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  F.pages = F.pages || {};
  const { h, put } = F;
  const CAUSES = {
    demand: "more is asked than it can carry",
    provisioning_lag: "new replicas come late",
    pool_contention: "a neighbour takes the GPUs",
    retry_storm: "retries keep it down",
    network: "network",
    dependency: "a service it needs",
    memory: "KV cache full",
    imbalance: "replicas unevenly loaded",
    hardware: "hardware",
  };
  const service = (name, text = name) => h("a", { href: F.serviceOf(name), "data-go": true }, text);

  const LINKS = {
    service: ({ services: [name] }) => F.serviceOf(name),
    pair: ({ services: [victim, aggressor] }) => F.to("/contention", { victim, aggressor }),
    gpus: ({ gpus: [first] }) => F.to("/fleet", { gpu: first }),
  };
  const verdict = (data, now) => {
    const { state, clauses, notes, since, incident, next } = data.verdict;
    F.byId("verdict").dataset.state = state;
    const clause = (part) => {
      const link = LINKS[part.kind];
      const title = part.kind === "gpus" ? part.gpus.join(", ") : null;
      return link ? h("a", { href: link(part), "data-go": true, title }, part.text) : F.clause(part);
    };
    put(F.byId("headline"), clauses.map(clause));
    const parts = [];
    if (since && incident) {
      const sure = h(
        "b",
        { title: `how sure it is whose doing it is; ${incident.quality}` },
        `${F.percent(incident.confidence)} sure`,
      );
      parts.push(
        h(
          "span",
          { class: "sure" },
          "culprit ",
          incident.aggressor ? service(incident.aggressor) : "not known",
          incident.aggressor ? ", " : null,
          incident.aggressor ? sure : null,
        ),
      );
      parts.push(h("span", null, "cause ", h("b", null, F.cause(incident, CAUSES))));
      parts.push(
        h("span", null, "since ", h("a", { href: "#timeline-panel" }, F.time(since, now)), ` (${F.span(now - since)})`),
      );
      const slower = incident.slowed.filter((name) => name !== incident.aggressor);
      if (slower.length) parts.push(h("span", null, "slower too: ", listed(slower)));
      parts.push(h("a", { href: "#warnings-panel" }, `evidence (${incident.evidence.length} figures)`));
    } else if (since && state === "blind")
      parts.push(h("span", null, "last data ", F.time(since, now), ` (${F.span(now - since)} ago)`));
    else if (since)
      parts.push(h("span", null, "last warning ended ", F.time(since, now), ` (${F.span(now - since)} ago)`));
    put(
      F.byId("verdict-detail"),
      next ? following(next) : null,
      incident?.action ? F.step(incident.action) : null,
      parts.length ? h("p", { class: "facts" }, parts) : null,
      notes.map((note) => h("p", { class: "muted" }, F.sentence(note))),
    );
  };
  const listed = (names) =>
    names
      .slice(0, 3)
      .map((name, i) => [i ? ", " : "", service(name)])
      .concat(names.length > 3 ? [` and ${names.length - 3} more`] : []);
  const following = ({ service: who, seconds, missing, objective }) => {
    const already = missing.length
      ? h(
          "span",
          null,
          `${missing.length === 1 ? "1 service misses its" : `${missing.length} services miss their`} objective already: `,
          listed(missing),
        )
      : null;
    if (!who)
      return h(
        "p",
        { class: "next-hit" },
        h("b", null, "Next hit: "),
        missing.length ? "nobody further within 30 min. " : "nobody within 30 min.",
        already,
      );
    return h(
      "p",
      { class: "next-hit" },
      h("b", null, "Next hit: "),
      service(who),
      ` misses its objective${F.known(objective) ? ` (p95 of at most ${F.seconds(objective)})` : ""} in about `,
      h("b", { class: "minutes" }, F.about(seconds.p50)),
      ` (80 % sure: ${F.interval(seconds.p10, seconds.p90)}). `,
      already,
    );
  };

  const figures = (data) => put(F.byId("figures"), (data.figures || []).map(figure));
  const shown = (value, unit) =>
    !F.known(value) ? "–" : unit === "ratio" ? F.percent(value) : unit === "count" ? String(value) : value.toFixed(2);
  const figure = (item) => {
    const known = F.known(item.value) && item.of !== 0;
    const value = known ? shown(item.value, item.unit) : "–";
    const high = item.usual?.[1];
    const unusual = known && F.known(high) && item.value > high;
    const usually = F.known(high)
      ? `usually up to ${shown(high, item.unit)}`
      : known && item.unit !== "count"
        ? "usual level not known yet"
        : "";
    const name = `${item.name}: ${known ? value : "no data"}${known && item.of !== null ? ` of ${item.of}` : ""}${item.who ? `, ${item.who}` : ""}${usually ? `, ${usually}` : ""}`;
    return h(
      "a",
      {
        class: unusual || (known && item.unit === "count" && item.value > 0) ? "figure grave" : "figure",
        href: kept(item.href),
        "data-go": true,
        "aria-label": name,
      },
      h("span", { class: "figure-name" }, item.name),
      h(
        "span",
        { class: "figure-row" },
        h("span", null, h("b", null, value), known && item.of !== null ? ` of ${item.of}` : ""),
        F.sparkline(item.spark, { usual: item.usual, kind: unusual ? "critical" : "" }),
      ),
      h(
        "span",
        { class: "figure-note", title: item.who || null },
        item.who && unusual ? [item.who, item.note].filter(Boolean).join(", ") : item.note || usually || " ",
      ),
    );
  };
  const kept = (href) => {
    const [path, query] = href.split("?");
    return F.to(path, Object.fromEntries(new URLSearchParams(query || "")));
  };
  const matrix = (data) => {
    const { victims, aggressors, cells, jobs, hidden } = data.matrix;
    if (!victims.length) {
      const why = data.missing.length ? ` No samples of ${data.missing.slice(0, 3).join(", ")}.` : "";
      put(F.byId("matrix"));
      return F.panel("matrix", "empty", `No two services share a GPU, so none can starve another.${why}`);
    }
    const label = F.labels([...new Set([...victims, ...aggressors])]);
    const starved = new Set(data.warnings.map((w) => `${w.victim}\n${w.aggressor}`));
    const alarm = victims.some((row, r) =>
      aggressors.some((column, c) => cells[r][c] && starved.has(`${row}\n${column}`)),
    );
    // Only a pair that is in an incident is coloured: batch jobs wait for others all day, and no harm is done.
    const cell = (row, column, item) => {
      if (!item) return h("td", { class: "none", title: "they share no GPU" }, "–");
      const ratio = item.ratio ?? 0;
      const warned = starved.has(`${row}\n${column}`);
      const share = F.known(item.ratio) ? `${F.percent(item.ratio)} of the time` : "(no data)";
      const name = `${row} waits for ${column} ${share} on ${item.gpus.join(", ")}`;
      return h(
        "td",
        { class: warned ? "warned" : "low", style: `--heat:${Math.round(Math.min(ratio / 0.5, 1) * 60)}%` },
        h(
          "a",
          {
            href: F.to("/contention", { victim: row, aggressor: column }),
            "data-go": true,
            title: name,
            "aria-label": name,
          },
          F.known(item.ratio) ? F.percent(item.ratio) : "no data",
          h("small", null, `${item.gpus.length} GPU${item.gpus.length > 1 ? "s" : ""}`),
        ),
      );
    };
    put(
      F.byId("matrix"),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Who starves whom, table" },
        h(
          "table",
          { class: "matrix" },
          h(
            "thead",
            null,
            h(
              "tr",
              null,
              h("th", { scope: "col" }, "waits ↓ for →"),
              aggressors.map((name) => h("th", { scope: "col", title: name }, F.short(label(name), 14))),
            ),
          ),
          h(
            "tbody",
            null,
            victims.map((row, r) =>
              h(
                "tr",
                null,
                h(
                  "th",
                  { scope: "row", title: row },
                  F.short(label(row), 18),
                  jobs.includes(row) ? h("small", null, "no requests") : null,
                ),
                aggressors.map((column, c) => cell(row, column, cells[r][c])),
              ),
            ),
          ),
        ),
      ),
      h(
        "p",
        { class: "note" },
        alarm
          ? [h("span", { class: "key marked" }, "in an incident"), ", the others are not. "]
          : "None of these pairs is in an incident. ",
        example(data.matrix, starved),
        jobs.length ? " Who answers no requests, such as a batch job, may wait." : null,
        hidden
          ? [
              " ",
              h(
                "a",
                { href: F.to("/contention"), "data-go": true },
                `${hidden} more rows or columns with shorter waits`,
              ),
            ]
          : null,
      ),
    );
    F.panel("matrix", "ready");
  };

  // How to read a cell, told of the one that matters most.
  const example = ({ victims, aggressors, cells, jobs }, starved) => {
    const worth = ([row, column, item]) =>
      (starved.has(`${row}\n${column}`) ? 2 : 0) + (jobs.includes(row) ? 0 : 1) + item.ratio;
    const told = victims
      .flatMap((row, r) => aggressors.map((column, c) => [row, column, cells[r][c]]))
      .filter(([, , item]) => item && F.known(item.ratio));
    if (!told.length) return null;
    const [row, column, item] = told.reduce((most, each) => (worth(each) > worth(most) ? each : most));
    return `${F.percent(item.ratio)}: of its time, ${row} waits at most that much while ${column} holds a GPU that both use.`;
  };

  const services = (data, live) => {
    const colours = Object.fromEntries((live.topology?.services || []).map((s) => [s.id, s.colour]));
    if (!data.services.length) {
      put(F.byId("services"));
      return F.panel(
        "services",
        "empty",
        "No service is known: no spans have arrived and no process was seen on a GPU.",
      );
    }
    const label = F.labels(data.services.map((s) => s.id));
    const blamed = new Set(
      data.warnings.map((w) => w.aggressor).filter((who) => who && !data.warnings.some((w) => w.victim === who)),
    );
    const row = (s) =>
      h(
        "tr",
        { "data-health": s.health },
        h(
          "th",
          { scope: "row", title: s.id },
          F.dot(colours[s.id] ?? 0),
          h("a", { href: F.serviceOf(s.id), "data-go": true }, F.short(label(s.id), 24)),
          h("br"),
          condition(s, blamed),
        ),
        h("td", null, F.rate(s.rate)),
        h("td", { class: s.failed >= 0.05 ? "bad" : s.failed >= 0.01 ? "poor" : "" }, F.percent(s.failed)),
        h("td", null, F.seconds(s.p95)),
        h(
          "td",
          { class: "minor" },
          F.sparkline(s.spark, {
            kind: s.stage === "failing" ? "critical" : "",
            label: `p95 of ${s.id} over 15 minutes`,
          }) || "–",
        ),
      );
    put(
      F.byId("services"),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Services, table" },
        h(
          "table",
          { class: "services" },
          h(
            "thead",
            null,
            h(
              "tr",
              null,
              ["Service", "Requests", "Failed", "p95"].map((name) => h("th", { scope: "col" }, name)),
              h("th", { scope: "col", class: "minor" }, "p95, 15 min"),
            ),
          ),
          h("tbody", null, data.services.map(row)),
        ),
      ),
      h(
        "p",
        { class: "note" },
        h(
          "a",
          { href: F.to("/services"), "data-go": true },
          data.hidden ? `All services: ${data.hidden} more` : "All services",
        ),
      ),
    );
    F.panel("services", "ready");
  };
  // The signs are those of the timeline: what is said of a service that is not degraded yet is an early sign.
  const signOf = (s, blamed) =>
    blamed.has(s.id)
      ? "⚑"
      : s.health === "warning" && s.stage !== "degraded" && s.stage !== "failing"
        ? F.MARKS.early
        : s.health === "warning"
          ? F.MARKS[s.stage]
          : null;
  const condition = (s, blamed) =>
    s.health === "ok" && s.stage && s.stage !== "calm"
      ? F.stage(s.stage)
      : [
          F.state(s.health, s.word, signOf(s, blamed)),
          s.stage === "failing" || s.stage === "degraded"
            ? h("span", { class: "state muted" }, ` ${F.STAGES[s.stage]}`)
            : null,
        ];

  const incidents = (data, now) => {
    const list = data.warnings;
    const ended = (w) =>
      w.aggressor && w.gpus.length
        ? `${w.aggressor} starved ${w.victim} on ${w.gpus.length} GPU${w.gpus.length > 1 ? "s" : ""}, ended `
        : `${w.victim}: ${F.cause(w)}, ended `;
    const over = data.over.map((w) =>
      h(
        "li",
        { class: "over" },
        F.state("idle", "over"),
        " ",
        ended(w),
        F.time(w.until, now),
        ` (${F.span(now - w.until)} ago) `,
        links(w),
      ),
    );
    if (!list.length && !over.length) {
      put(F.byId("warnings"));
      const learning = data.learning.done ? "" : " None can be given while the hub is learning what is usual.";
      const blind = data.verdict.state === "blind" ? " None can be given while no fresh data comes." : "";
      return F.panel("warnings", "empty", `No incidents are open and none ended in the last hour.${learning}${blind}`);
    }
    put(
      F.byId("warnings"),
      h(
        "ul",
        { class: "warnings" },
        list.map((w) => one(w, now)),
        over,
      ),
    );
    F.panel("warnings", "ready");
  };
  const RUNBOOKS = { advisory: "IncidentAdvisory", page: "IncidentPage", cascading: "IncidentCascading" };
  const around = (w) => ({
    incident: w.id,
    ...(w.until
      ? { from: String(Math.round((w.since - 600) * 1000)), to: String(Math.round((w.until - 20) * 1000)) }
      : {}),
  });
  const links = (w) =>
    h(
      "span",
      { class: "links" },
      h("a", { href: F.to("/cascade", around(w)), "data-go": true }, "cascade"),
      " ",
      h("a", { href: F.tracesOf(w.victim), "data-go": true }, "slowest traces"),
      " ",
      w.until ? null : h("a", { href: `/runbooks/${RUNBOOKS[w.phase]}` }, "runbook"),
      " ",
      h("a", { href: F.reportOf(w.id), download: "" }, "post-mortem"),
    );
  F.reportOf = (id) =>
    `/api/report/${encodeURIComponent(id)}?as=zip${F.range.live() ? "" : `&at=${encodeURIComponent(F.range.to())}`}`;
  const one = (w, now) => {
    const rows = w.evidence.map((e, i) => [e, i && w.evidence[i - 1].entity === e.entity]);
    return h(
      "li",
      { "data-phase": w.phase },
      h(
        "p",
        { class: "warning-head" },
        F.state(w.phase === "advisory" ? "warning" : "critical", w.phase),
        " ",
        h(
          "b",
          null,
          w.aggressor && w.aggressor !== w.victim
            ? [service(w.aggressor), " → ", service(w.victim)]
            : service(w.victim),
        ),
        h(
          "span",
          { class: "muted" },
          ` ${F.cause(w, CAUSES)}, since `,
          F.time(w.since, now),
          ` (${F.span(now - w.since)}) `,
        ),
        links(w),
      ),
      h("p", null, F.sentence(w.summary)),
      rows.length
        ? h(
            "div",
            { class: "scroll", tabindex: "0", role: "region", "aria-label": `Evidence of ${w.victim}, table` },
            h(
              "table",
              { class: "evidence" },
              h(
                "thead",
                null,
                h(
                  "tr",
                  null,
                  ["of", "figure", "now", "usually", "since"].map((name) => h("th", { scope: "col" }, name)),
                ),
              ),
              h(
                "tbody",
                null,
                rows.map(([e, same]) =>
                  h(
                    "tr",
                    { class: same ? "same" : null },
                    h(
                      "th",
                      { scope: "row" },
                      e.entity
                        ? same
                          ? h("span", { class: "visually-hidden" }, e.entity)
                          : F.name(e.entity.replace(" -> ", " → "))
                        : F.name(w.victim),
                    ),
                    h("td", null, e.name),
                    h("td", null, h("b", null, F.figure(e.value, e.unit))),
                    h("td", null, F.figure(e.baseline, e.unit)),
                    h("td", null, F.time(e.since, now)),
                  ),
                ),
              ),
            ),
          )
        : null,
      h(
        "p",
        { class: "muted" },
        [
          w.gpus.length ? `on ${w.gpus.join(", ")}` : "",
          w.candidates.length > 1
            ? `share of the blame: ${w.candidates
                .slice(0, 3)
                .map((c) => `${c.service} ${F.percent(c.score)}${c.why ? ` (${c.why})` : ""}`)
                .join(", ")}`
            : "",
          `${F.percent(w.confidence)} sure whose doing it is, ${w.quality}`,
        ]
          .filter(Boolean)
          .join(" · "),
      ),
    );
  };

  F.pages.now = {
    mount: () => F.grid.mount(F.byId("grid")),
    update: (data, live) => {
      const now = F.range.live() && !data.bounds ? live.time : (data.data_time ?? live.time);
      verdict(data, now);
      if (!data.ready) {
        for (const name of ["timeline", "matrix", "grid", "warnings", "services"])
          F.panel(name, data.error ? "error" : "loading", data.error ? `Cannot be read: ${data.error}` : "");
        return;
      }
      figures(data);
      F.timeline(
        "timeline",
        { ...data.timeline, past: !F.range.live() },
        {
          all: F.to("/cascade"),
          empty: data.untold || "No service is worse than usual, and none was in the last 15 min.",
        },
      );
      matrix(data);
      incidents(data, now);
      services(data, live);
      if (live.topology?.id === data.topology) F.grid.draw(data, live.topology);
    },
  };
})();
