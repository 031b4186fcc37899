// The Contention page: the sentence, the pair that is open, the matrix, GPUs by how much is waited for them.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  F.pages = F.pages || {};
  const { h, put } = F;
  const MOST = 40;
  const PEACE = 0.005;
  const AGAIN = 30000;
  let seen = null;
  const traces = { of: "", asked: 0, rows: null, error: "" };

  const given = (name) => new URLSearchParams(location.search).get(name) || "";
  const pairHref = (victim, aggressor) => F.href({ victim, aggressor });
  F.pairOf = (victim, aggressor) => F.to("/contention", { victim, aggressor });
  const gpuHref = (gpu) => F.to("/fleet", { gpu });
  const link = (href, text, title) => h("a", { href, "data-go": true, title }, text);

  const head = ({ headline, pair, pairs, gpus }, now) => {
    const starved = pairs.some(([, , , , warned]) => warned);
    const waits = pairs.some(([, , ratio]) => ratio >= PEACE);
    // A wait is a fact, neither good nor bad: who waits all day may do no worse for it.
    const grave = pair
      ? pair.incident
        ? "critical"
        : pair.ratio >= PEACE
          ? "waits"
          : pair.ratio === null
            ? "blind"
            : "calm"
      : starved
        ? "critical"
        : waits
          ? "waits"
          : !gpus.length
            ? "empty"
            : pairs.some(([, , ratio]) => ratio !== null) || !pairs.length
              ? "calm"
              : "blind";
    F.byId("verdict").dataset.state = grave;
    put(F.byId("headline"), pair ? F.sentence(pair.summary) : headline);
    F.byId("pair-open").hidden = !pair;
    const { incident } = pair || {};
    put(
      F.byId("pair-facts"),
      incident?.action ? F.step(incident.action) : null,
      pair
        ? h(
            "p",
            { class: "facts" },
            pair.ratio >= PEACE && !incident ? h("span", null, "in no incident") : null,
            incident
              ? h(
                  "span",
                  null,
                  `${incident.phase} since `,
                  F.time(incident.since, now),
                  ` (${F.span(now - incident.since)})`,
                )
              : null,
            incident
              ? h("span", null, `${F.percent(incident.confidence)} sure whose doing it is, ${incident.quality}`)
              : null,
            pair.ratio !== null
              ? h("span", null, "waits now ", h("b", null, F.percent(pair.ratio)), " of the time, an upper bound")
              : null,
            incident ? link(F.to("/cascade", { incident: incident.id }), "the incident") : null,
            link(F.serviceOf(pair.victim), pair.victim),
            link(F.serviceOf(pair.aggressor), pair.aggressor),
            h("button", { type: "button", class: "quiet", id: "pair-close" }, "Close the pair"),
          )
        : null,
    );
  };

  // Rows and columns the worst first as the server has them, by name, or by the waits in one row or column that was clicked.
  const order = ({ services, pairs, victims: rows, aggressors: columns }, peace) => {
    const listed = pairs.filter(([, , ratio]) => peace || ratio === null || ratio >= PEACE);
    const by = given("order");
    const [kind, name] = [by.slice(0, by.indexOf(":")), by.slice(by.indexOf(":") + 1)];
    const chosen = services.findIndex(([service]) => service === name);
    const cell = (v, a) => listed.find(([victim, aggressor]) => victim === v && aggressor === a)?.[2] ?? -1;
    const sorted = (place, worth) => {
      const ids = [...new Set(listed.map((pair) => pair[place]))];
      const value = new Map(ids.map((id) => [id, worth(id)]));
      return ids.sort(
        (a, b) => (by === "name" ? 0 : value.get(b) - value.get(a)) || services[a][0].localeCompare(services[b][0]),
      );
    };
    const victims = sorted(0, kind === "runs" && chosen >= 0 ? (id) => cell(id, chosen) : (id) => -rows.indexOf(id));
    const aggressors = sorted(
      1,
      kind === "waits" && chosen >= 0 ? (id) => cell(chosen, id) : (id) => -columns.indexOf(id),
    );
    return { victims, aggressors, listed };
  };
  const matrix = (data) => {
    const { services, pairs, hidden } = data;
    if (!pairs.length) {
      put(F.byId("who"));
      const why = data.missing.length ? ` No samples of ${data.missing.join(", ")}.` : "";
      return F.panel("who", "empty", `No two services share a GPU, so none can starve another.${why}`);
    }
    const calm = pairs.every(([, , ratio]) => !(ratio >= PEACE));
    const peace = calm || given("peace") === "1";
    const { victims, aggressors, listed } = order(data, peace);
    const label = F.labels(services.map(([name]) => name));
    const cells = new Map(listed.map((pair) => [`${pair[0]} ${pair[1]}`, pair]));
    const [rows, columns] = [victims.slice(0, MOST), aggressors.slice(0, MOST)];
    const by = given("order");
    const cell = (v, a) => {
      const pair = cells.get(`${v} ${a}`);
      if (v === a || !pair)
        return h(
          "td",
          { class: "none", title: v === a ? "itself" : "they share no GPU, or in peace" },
          v === a ? "" : "·",
        );
      const [, , ratio, gpus, warned] = pair;
      const [victim, aggressor] = [services[v][0], services[a][0]];
      const name = `${victim} waits for ${aggressor} ${F.known(ratio) ? `${F.percent(ratio)} of the time` : "(no data)"} on ${gpus} GPU${gpus === 1 ? "" : "s"}${warned ? ", in a warning" : ""}`;
      const open = given("victim") === victim && given("aggressor") === aggressor;
      return h(
        "td",
        {
          class: `${warned ? "warned" : ratio < 0.05 ? "low" : ""}${open ? " open" : ""}`,
          style: `--heat:${Math.round(Math.min((ratio || 0) / 0.5, 1) * 60)}%`,
        },
        h(
          "a",
          {
            class: "cell",
            href: pairHref(victim, aggressor),
            "data-go": true,
            title: name,
            "aria-label": name,
            "aria-current": open ? "true" : null,
          },
          F.known(ratio) ? F.percent(ratio) : "no data",
          h("small", null, `${gpus} GPU${gpus === 1 ? "" : "s"}`),
        ),
      );
    };
    const sorter = (kind, id) => {
      const [name] = services[id];
      const here = by === `${kind}:${name}`;
      return h(
        "button",
        {
          type: "button",
          "data-by": here ? "" : `${kind}:${name}`,
          title: `${name}: sort by it`,
          "aria-pressed": String(here),
        },
        F.dot(services[id][1]),
        F.short(label(name), 18),
        here ? (kind === "runs" ? " ▾" : " ▸") : "",
      );
    };
    put(
      F.byId("who"),
      h(
        "p",
        { class: "choices" },
        h(
          "button",
          { type: "button", class: "quiet", "data-by": "", "aria-pressed": String(by !== "name") },
          "Worst first",
        ),
        h(
          "button",
          { type: "button", class: "quiet", "data-by": "name", "aria-pressed": String(by === "name") },
          "By name",
        ),
        calm
          ? null
          : h(
              "button",
              { type: "button", class: "quiet", "data-peace": peace ? "" : "1", "aria-pressed": String(peace) },
              "Also pairs that share in peace",
            ),
      ),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Who waits for whom, table" },
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
              columns.map((id) => h("th", { scope: "col" }, sorter("runs", id))),
            ),
          ),
          h(
            "tbody",
            null,
            rows.map((v) =>
              h(
                "tr",
                null,
                h(
                  "th",
                  { scope: "row" },
                  sorter("waits", v),
                  data.jobs.includes(v) ? h("small", null, "no requests") : null,
                ),
                columns.map((a) => cell(v, a)),
              ),
            ),
          ),
        ),
      ),
      h(
        "p",
        { class: "note" },
        "An upper bound, from samples of who runs when. ",
        rows.some((v) => data.jobs.includes(v)) ? "Who answers no requests, such as a batch job, may wait. " : "",
        rows.length < victims.length || columns.length < aggressors.length || hidden
          ? `Shown are ${rows.length} × ${columns.length}; the CSV has all pairs.`
          : "",
      ),
      h("details", { id: "who-twin" }, h("summary", null, "Pairs as a list"), h("div", { id: "who-list" })),
    );
    F.table(F.byId("who-list"), {
      id: "pairs",
      label: "Pairs",
      param: "psort",
      by: "-ratio",
      rows: listed,
      columns: [
        { key: "victim", name: "Waits", text: true, value: ([v]) => services[v][0] },
        { key: "aggressor", name: "Runs", text: true, value: ([, a]) => services[a][0] },
        {
          key: "ratio",
          name: "Share of time",
          value: (pair) => pair[2],
          cell: ([v, a, ratio]) =>
            link(pairHref(services[v][0], services[a][0]), F.known(ratio) ? F.percent(ratio) : "no data"),
        },
        { key: "gpus", name: "GPUs", value: (pair) => pair[3] },
      ],
    });
    F.panel("who", "ready");
  };

  const PARTS = ["useful", "contended", "idle"];
  const bar = (row) => {
    if (!F.known(row.idle)) return "no data";
    const words = PARTS.filter((part) => F.known(row[part]))
      .map((part) => `${part} ${F.percent(row[part])}`)
      .join(", ");
    return h(
      "span",
      { class: "split-bar", role: "img", "aria-label": words, title: words },
      PARTS.map((part) => h("span", { class: part, style: `width:${((row[part] || 0) * 100).toFixed(1)}%` })),
    );
  };
  const shares = [
    { key: "bar", name: "Its time", fixed: true, text: true, cell: bar },
    ...PARTS.map((part) => ({
      key: part,
      name: part[0].toUpperCase() + part.slice(1),
      minor: part !== "contended",
      cell: (row) => F.percent(row[part]),
    })),
  ];
  const key = () =>
    h(
      "p",
      { class: "legend" },
      PARTS.map((part) =>
        h(
          "span",
          { class: `key part ${part}` },
          { useful: "useful: busy without a fight", contended: "contended: full, and several want it", idle: "idle" }[
            part
          ],
        ),
      ),
    );

  const ranked = ({ gpus }) => {
    if (!gpus.length) {
      put(F.byId("ranked"));
      return F.panel("ranked", "empty", "No GPU is known: no target gives gpu_info.");
    }
    const waited = gpus.filter((row) => row.waiters || row.contended >= PEACE);
    const shown = (waited.length ? waited : gpus).slice(0, 15);
    const who = ({ services }) =>
      services.map((one, i) =>
        h(
          "span",
          { class: "on" },
          link(F.serviceOf(one.service), F.short(one.service, 30)),
          ` ${F.percent(one.busy)}`,
          one.stalled >= PEACE ? h("b", { class: "poor" }, ` waits ${F.percent(one.stalled)}`) : "",
          i < services.length - 1 ? "," : "",
        ),
      );
    F.table(F.byId("ranked"), {
      id: "gpus",
      label: "GPUs, the most waited for first",
      rows: shown,
      by: "-score",
      columns: [
        { key: "gpu", name: "GPU", text: true, cell: (row) => link(gpuHref(row.gpu), row.gpu) },
        { key: "waiters", name: "Waiters", minor: true },
        {
          key: "wait",
          name: "Wait, sum",
          cell: (row) => F.percent(row.wait),
          hint: "share of time, over all services on it",
        },
        {
          key: "score",
          name: "Waiters × wait",
          minor: true,
          value: (row) => (row.wait === null ? null : row.wait * row.waiters),
          cell: (row) => (row.wait === null ? null : (row.wait * row.waiters).toFixed(2)),
        },
        ...shares.filter(({ key: part }) => part !== "idle"),
        {
          key: "services",
          name: "Services, and how busy each is",
          fixed: true,
          text: true,
          minor: true,
          kind: () => "wide-cell",
          cell: who,
        },
      ],
      note: h(
        "p",
        { class: "note" },
        waited.length > shown.length
          ? `The first ${shown.length} of ${waited.length === 60 ? "60 or more" : waited.length}. `
          : waited.length
            ? ""
            : "Nobody waits on any of them. ",
        link(F.to("/fleet", { metric: "contended" }), "All GPUs on Fleet"),
      ),
    });
    F.panel("ranked", "ready");
  };
  const split = ({ groups }) => {
    if (!groups.rows.length) {
      put(F.byId("split"));
      return F.panel("split", "empty", "No GPU is known.");
    }
    put(F.byId("split"), key(), h("div", { id: "split-table" }));
    const name = groups.by === "pool" ? "Pool" : "Host";
    F.table(F.byId("split-table"), {
      id: "groups",
      label: `GPU time by ${groups.by}`,
      rows: groups.rows,
      most: 12,
      param: "gsort",
      by: "-contended",
      columns: [
        {
          key: "name",
          name,
          text: true,
          cell: (row) => link(F.to("/fleet", { q: row.name, metric: "contended" }), row.name),
        },
        { key: "gpus", name: "GPUs" },
        ...shares,
      ],
    });
    F.panel("split", "ready");
  };
  const tiers = ({ tiers: found }) => {
    const { tiers: names, pools, cells, mixed, configured } = found;
    const tier = (name) => name || "(no tier)";
    if (names.length < 2) {
      put(F.byId("tiers"));
      return F.panel(
        "tiers",
        "empty",
        names.length
          ? `All services on GPUs are of one tier${names[0] ? `, ${names[0]}` : ""}: none can get into another's way.`
          : "No service runs on a GPU.",
      );
    }
    put(
      F.byId("tiers"),
      h(
        "p",
        null,
        mixed
          ? h("b", { class: "poor" }, `${mixed} GPU${mixed === 1 ? " has" : "s have"} more than one tier.`)
          : "No GPU has more than one tier.",
      ),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Tiers and pools, table" },
        h(
          "table",
          { class: "rows" },
          h(
            "thead",
            null,
            h(
              "tr",
              null,
              h("th", { scope: "col" }, "Tier"),
              pools.map((pool) => h("th", { scope: "col" }, pool || "GPUs")),
            ),
          ),
          h(
            "tbody",
            null,
            names.map((name, i) =>
              h(
                "tr",
                null,
                h("th", { scope: "row" }, tier(name)),
                cells[i].map((cell) =>
                  h(
                    "td",
                    null,
                    cell
                      ? h(
                          "span",
                          { title: `${cell[0]} GPUs, ${cell[1]} of them with another tier too` },
                          String(cell[0]),
                          cell[1] ? h("b", { class: "poor" }, ` (${cell[1]} shared)`) : "",
                        )
                      : "–",
                  ),
                ),
              ),
            ),
          ),
        ),
      ),
      h(
        "p",
        { class: "note" },
        configured ? "Tiers as the cluster tells them. " : "Nobody tells of tiers: namespaces stand for them. ",
        h("a", { href: "/api/pools" }, "What each needs, as JSON"),
      ),
    );
    F.panel("tiers", "ready");
  };

  const shared = ({ pair }) => {
    if (!pair) return;
    const label = F.labels([pair.victim, pair.aggressor]);
    if (!pair.gpus.length) {
      put(F.byId("pair-gpus"));
      return F.panel("pair-gpus", "empty", pair.sentence);
    }
    F.table(F.byId("pair-gpus"), {
      id: "shared",
      label: "Shared GPUs",
      rows: pair.gpus,
      most: 16,
      param: "hsort",
      by: "-stalled",
      columns: [
        { key: "gpu", name: "GPU", text: true, cell: (row) => link(gpuHref(row.gpu), row.gpu) },
        { key: "stalled", name: "Waits", cell: (row) => F.percent(row.stalled) },
        {
          key: "victim_busy",
          name: `${F.short(label(pair.victim), 22)} busy`,
          hint: pair.victim,
          cell: (row) => F.percent(row.victim_busy),
        },
        {
          key: "aggressor_busy",
          name: `${F.short(label(pair.aggressor), 22)} busy`,
          hint: pair.aggressor,
          cell: (row) => F.percent(row.aggressor_busy),
        },
      ],
    });
    F.panel("pair-gpus", "ready");
  };

  const exemplars = async ({ pair }, live) => {
    if (!pair) {
      traces.of = "";
      return;
    }
    const [start, end] = F.range.span();
    const of = `${pair.victim} ${pair.aggressor} ${F.range.from()} ${F.range.to()}`;
    if (of === traces.of && (performance.now() - traces.asked < AGAIN || !F.range.live() || live.data?.bounds)) return;
    if (of !== traces.of) {
      put(F.byId("pair-traces"));
      F.panel("pair-traces", "loading");
    }
    Object.assign(traces, { of, asked: performance.now() });
    const query = new URLSearchParams({
      victim: pair.victim,
      aggressor: pair.aggressor,
      start: start.toFixed(0),
      end: end.toFixed(0),
    });
    try {
      const { body } = await F.fetchJson(`/api/pages/contention/traces?${query}`);
      if (of === traces.of) list(body, pair);
    } catch (error) {
      if (of === traces.of)
        F.panel(
          "pair-traces",
          "error",
          error.status ? error.message : "The list takes too long: choose a shorter range.",
        );
    }
  };
  const list = ({ traces: found, looked_at: looked }, pair) => {
    if (!F.byId("pair-traces")) return;
    const all = link(F.to("/traces", { service: pair.victim, order: "gpu_wait" }), "All by GPU wait");
    if (!found.length) {
      put(F.byId("pair-traces"));
      return F.panel(
        "pair-traces",
        "empty",
        looked
          ? `None of the ${looked} slowest traces of ${pair.victim} is known to have run on a shared GPU.`
          : `${pair.victim} has no traces in this range.`,
      );
    }
    const longer = (row) => F.known(row.duration_seconds) && row.gpu_seconds > row.duration_seconds * 1.01;
    const took = (row) => [
      F.seconds(row.duration_seconds),
      longer(row)
        ? h(
            "small",
            {
              class: "poor",
              title:
                "Its caller had an answer or gave up by then; what it had begun went on, on the GPU and waiting for it.",
            },
            " then went on",
          )
        : null,
    ];
    F.table(F.byId("pair-traces"), {
      id: "waited",
      label: "Traces that waited longest",
      rows: found,
      param: "tsort",
      by: "-for_aggressor_seconds",
      columns: [
        {
          key: "start",
          name: "Started",
          cell: (row) =>
            link(
              F.to("/traces", { trace: row.trace_id }),
              F.stamp(row.start),
              row.sentence || `${row.service} ${row.operation}`,
            ),
        },
        {
          key: "operation",
          name: "Request",
          text: true,
          minor: true,
          cell: (row) => F.short(`${row.service.slice(row.service.indexOf("/") + 1)} ${row.operation}`, 34),
        },
        {
          key: "for_aggressor_seconds",
          name: "Waited for it",
          hint: "until the last of its work on a GPU ended",
          cell: (row) => [
            h("b", null, F.seconds(row.for_aggressor_seconds)),
            h(
              "small",
              { class: "muted minor", title: "how long it had work on that GPU" },
              ` of ${F.seconds(row.gpu_seconds)}`,
            ),
          ],
        },
        { key: "duration_seconds", name: "Took", hint: "until its caller had an answer or gave up", cell: took },
      ],
      note: h(
        "p",
        { class: "note" },
        `Among the ${looked} slowest; an upper bound. `,
        found.some(longer)
          ? "Work goes on when its caller has an answer or gave up: part of such a wait came after what the request took. "
          : null,
        all,
      ),
    });
    F.panel("pair-traces", "ready");
  };

  document.addEventListener("click", (event) => {
    const { by, peace } = event.target.closest?.("[data-by], [data-peace]")?.dataset || {};
    if (by !== undefined) F.go(F.href({ order: by || null }), true);
    if (peace !== undefined) F.go(F.href({ peace: peace || null }), true);
    if (event.target.id === "pair-close") F.go(F.href({ victim: null, aggressor: null }));
    if ((by !== undefined || peace !== undefined) && seen) matrix(seen);
  });

  F.pages.contention = {
    mount: () => {
      traces.of = "";
      seen = null;
    },
    update: (data, live) => {
      if (!data.ready) {
        put(F.byId("headline"), data.error ? "foreshock cannot read its source." : "Nothing is known yet.");
        F.byId("verdict").dataset.state = data.error ? "error" : "empty";
        for (const name of ["who", "ranked", "split", "tiers"])
          F.panel(name, data.error ? "error" : "loading", data.error ? `Cannot be read: ${data.error}` : "");
        return;
      }
      seen = data;
      head(data, live.time);
      matrix(data);
      ranked(data);
      split(data);
      tiers(data);
      shared(data);
      exemplars(data, live);
    },
  };
})();
