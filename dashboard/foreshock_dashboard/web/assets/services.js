// The pages of services: the table of all, and all about one.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  F.pages = F.pages || {};
  const { h, put, known } = F;

  // How near its objective a service is: a bar of what is used, with its figure; above 100 % it misses it.
  const times = (value) => (known(value) && value >= 2 ? `${value.toFixed(value >= 10 ? 0 : 1)} ×` : F.percent(value));
  const used = (row) =>
    !known(row.used)
      ? h(
          "span",
          { class: "muted", title: row.promise ? "no request ended lately" : "nothing promised or learned yet" },
          "–",
        )
      : h(
          "span",
          {
            class: `used ${row.used > 1 ? "bad" : row.used > 0.8 ? "poor" : ""}`,
            style: `--share:${Math.min(100, row.used * 100).toFixed(0)}%`,
            title: promised(row),
          },
          times(row.used),
        );
  const promised = ({ promise }) =>
    promise
      ? `p95 at most ${F.seconds(promise.seconds)}, ${F.percent(promise.failed)} failed: ${promise.learned ? "learned from what is usual" : "configured"}`
      : "";
  const load = (row) => {
    if (!known(row.load)) return null;
    const title = known(row.safe) ? `up to ${F.percent(row.safe)} its bursts do no harm` : "what is safe is not known";
    return h("span", { class: known(row.safe) && row.load > row.safe ? "bad" : "", title }, times(row.load));
  };
  const share = (value, poor, bad) =>
    known(value) ? h("span", { class: value >= bad ? "bad" : value >= poor ? "poor" : "" }, F.percent(value)) : null;
  const spark = ({ spark: values, health, id }) => {
    const top = Math.max(...values.filter(known));
    const label = `p95 of ${id} over 15 minutes, at most ${F.seconds(top)}`;
    return F.sparkline(values, { kind: health, label, title: `0 to ${F.seconds(top)}` });
  };
  const link = (row, most = 40, label = (id) => id) => [
    F.dot(row.colour),
    h("a", { href: F.serviceOf(row.id), "data-go": true, title: row.id }, F.name(F.short(label(row.id), most))),
  ];

  const COLUMNS = [
    { key: "id", name: "Service", text: true, cell: (row) => [link(row), " ", F.state(row.health, row.word)] },
    { key: "rate", name: "Requests", minor: true, cell: (row) => F.rate(row.rate) },
    { key: "failed", name: "Errors", minor: true, cell: (row) => share(row.failed, 0.01, 0.05) },
    { key: "p95", name: "p95", minor: true, cell: (row) => F.seconds(row.p95) },
    {
      key: "used",
      name: "Of objective",
      hint: "how much of what is promised, or usual, it uses; above 100 % it misses it",
      cell: used,
    },
    { key: "spark", name: "p95, 15 min", fixed: true, minor: true, cell: spark },
    {
      key: "wait",
      name: "Waits for GPUs",
      hint: "share of its GPU time in which others hold them, at most",
      cell: (row) => share(row.wait, 0.1, 0.3),
    },
    {
      key: "busy",
      name: "GPUs used",
      minor: true,
      hint: "GPUs' worth of time that it uses, of those that it is on",
      cell: (row) => (row.gpus ? `${known(row.busy) ? row.busy.toFixed(1) : "–"} of ${row.gpus}` : null),
    },
    {
      key: "attempts",
      name: "Retries",
      minor: true,
      hint: "attempts per call beyond the first",
      cell: (row) =>
        known(row.attempts)
          ? h("span", { class: row.attempts >= 1.2 ? "poor" : "" }, (row.attempts - 1).toFixed(2))
          : null,
    },
    {
      key: "load",
      name: "Load",
      minor: true,
      hint: "what is asked of its model servers over what they can do",
      cell: load,
    },
    {
      key: "risk",
      name: "Risk",
      hint: "chance that it misses its objective within ten minutes",
      cell: (row) => share(row.risk, 0.2, 0.5),
    },
  ];

  const list = (data) => {
    if (!data.ready)
      return F.panel(
        "service-list",
        data.error ? "error" : "loading",
        data.error ? `Cannot be read: ${data.error}` : "",
      );
    const rows = data.services;
    if (!rows.length) {
      put(F.byId("service-list"));
      return F.panel(
        "service-list",
        "empty",
        "No service is known: no spans have arrived and no process was seen on a GPU. Status tells how to send some.",
      );
    }
    const count = (test) => rows.filter(test).length;
    const missing = count((row) => row.used > 1);
    const [judged, waiting] = [count((row) => known(row.used)), count((row) => row.wait >= 0.1)];
    const risky = count((row) => row.risk >= 0.5 && !(row.used > 1));
    const kept = judged
      ? `All ${judged} services with an objective keep it`
      : `${rows.length} services; nothing is promised or learned yet`;
    const said = [
      missing ? `${missing} of ${rows.length} services miss their objective` : kept,
      waiting ? `${waiting} wait for GPUs more than 10 % of the time` : "none waits long for a GPU",
      risky ? `${risky} may miss it within ten minutes` : "",
    ].filter(Boolean);
    put(F.byId("services-say"), `${said.join("; ")}.`);
    F.table(F.byId("service-list"), {
      id: "services-table",
      label: "Services",
      columns: COLUMNS,
      rows,
      most: 1000,
      by: "-risk",
      health: (row) => row.health,
      note: [
        F.signs(rows.map((row) => row.health)),
        data.hidden
          ? h("p", { class: "note" }, `${data.hidden} more are in `, h("a", { href: "/api/services" }, "/api/services"))
          : null,
      ],
    });
    F.panel("service-list", "ready");
  };

  const fill = (name, there, why, ...content) => {
    put(F.byId(name), there ? content : null);
    F.panel(name, there ? "ready" : "empty", there ? "" : why);
  };
  const hide = (name, hidden) => {
    const panel = F.byId(`${name}-panel`);
    if (panel) panel.hidden = hidden;
  };
  const rows = (id, label, columns, given, more = {}) => {
    const box = h("div");
    F.table(box, { id, label, columns, rows: given, param: id, ...more });
    return [...box.childNodes];
  };

  const figure = (name, value, of, grave = false, title = null) =>
    h(
      "div",
      { class: grave ? "figure grave" : "figure", title },
      h("span", { class: "figure-name" }, name),
      h("span", null, h("b", null, value), of ? ` ${of}` : ""),
    );
  const figures = (d) =>
    put(
      F.byId("service-figures"),
      figure("Requests", F.rate(d.rate), ""),
      figure(
        "Errors",
        F.percent(d.failed),
        d.promise ? `of at most ${F.percent(d.promise.failed)}` : "",
        d.promise && d.failed > d.promise.failed,
      ),
      figure(
        "p95",
        F.seconds(d.p95),
        d.promise ? `of at most ${F.seconds(d.promise.seconds)}` : "",
        d.promise && d.p95 > d.promise.seconds,
        promised(d),
      ),
      figure(
        "Waits for GPUs",
        F.percent(d.wait),
        d.gpus ? `of the time on ${d.gpus} GPU${d.gpus > 1 ? "s" : ""}` : "on no GPU",
        d.wait >= 0.3,
        "share of its GPU time in which others hold them, at most",
      ),
      known(d.load)
        ? figure(
            "Offered load",
            times(d.load),
            known(d.safe) ? `${F.percent(d.safe)} is safe` : "",
            known(d.safe) && d.load > d.safe,
            "what is asked of its model servers over what they can do",
          )
        : null,
      figure(
        "Risk in 10 min",
        F.percent(d.risk),
        known(d.breach) && d.breach > 0
          ? `misses its objective in about ${F.about(d.breach)}`
          : d.breach === 0
            ? "it misses now"
            : "",
        d.risk >= 0.5,
        "chance that it misses its objective",
      ),
    );

  const neighbours = (d) => {
    const pair = (victim, aggressor) => F.to("/contention", { victim, aggressor });
    const label = F.labels(d.neighbours.map((row) => row.id));
    const wait = (value, href) => (known(value) ? h("a", { href, "data-go": true }, share(value, 0.05, 0.2)) : null);
    const columns = [
      { key: "id", name: "Neighbour", text: true, cell: (row) => link(row, 26, label) },
      {
        key: "waits",
        name: "Waits for",
        hint: "share of time, at most, that this service waits for the neighbour",
        cell: (row) => wait(row.waits, pair(d.service, row.id)),
      },
      {
        key: "makes_wait",
        name: "Waits for it",
        hint: "share of time, at most, that the neighbour waits for this service",
        cell: (row) => wait(row.makes_wait, pair(row.id, d.service)),
      },
      {
        key: "gpus",
        name: "GPUs",
        hint: "shared by the two",
        value: (row) => row.gpus.length,
        cell: (row) => h("span", { title: row.gpus.join(", ") }, row.gpus.length),
      },
    ];
    const why = d.gpus ? "It has its GPUs to itself." : "It is on no GPU that is known.";
    fill(
      "neighbours",
      d.neighbours.length,
      why,
      rows("neighbours-table", "Neighbours", columns, d.neighbours, { by: "-waits" }),
    );
  };
  const calls = (name, d, why) => {
    const label = F.labels(d[name].map((row) => row.id));
    const columns = [
      {
        key: "id",
        name: name === "callers" ? "Caller" : "Callee",
        text: true,
        cell: (row) =>
          row.known
            ? link(row, 26, label)
            : [
                F.dot(row.colour),
                h("span", { title: row.id }, F.short(label(row.id), 26)),
                row.connection
                  ? h(
                      "small",
                      { class: "muted" },
                      ` ${row.connection === "virtual_node" ? "outside" : row.connection.replaceAll("_", " ")}`,
                    )
                  : null,
              ],
      },
      { key: "rate", name: "Requests", cell: (row) => F.rate(row.rate) },
      { key: "failed", name: "Errors", cell: (row) => share(row.failed, 0.01, 0.05) },
      {
        key: "p95",
        name: "p95",
        hint: "as the caller sees it",
        cell: (row) =>
          h(
            "span",
            {
              title: known(row.server_p95)
                ? `${F.seconds(row.server_p95)} as the callee sees it; the difference is the network and queues`
                : null,
            },
            F.seconds(row.p95),
          ),
      },
      {
        key: "attempts",
        name: "Retries",
        hint: "attempts per call beyond the first",
        cell: (row) =>
          known(row.attempts)
            ? h("span", { class: row.attempts >= 1.2 ? "poor" : "" }, (row.attempts - 1).toFixed(2))
            : null,
      },
    ];
    fill(name, d[name].length, why, rows(`${name}-table`, name, columns, d[name], { by: "-rate" }));
  };
  const servers = (d) => {
    for (const name of ["service-queue", "service-cache", "service-first-token", "service-per-token", "replicas"])
      hide(name, !d.inference);
    hide("service-replicas", !d.capacity);
    if (!d.inference) return;
    const told = d.inference;
    const columns = [
      {
        key: "instance",
        name: "Replica",
        text: true,
        cell: (row) => h("span", { title: row.instance }, F.short(row.instance, 26)),
      },
      {
        key: "requests",
        name: "On it",
        hint: "requests running and waiting on it",
        cell: (row) => (known(row.requests) ? row.requests.toFixed(0) : null),
      },
      { key: "finished", name: "Answers", hint: "requests it ends each second", cell: (row) => F.rate(row.finished) },
      {
        key: "seconds",
        name: "Takes",
        hint: "mean from arrival to the last token",
        cell: (row) => F.seconds(row.seconds),
      },
    ];
    const facts = [
      known(d.uneven) && d.uneven >= 1.05 ? `the busiest has ${d.uneven.toFixed(1)} times the mean` : "",
      told.silent ? `${told.silent} tell nothing any more` : "",
      d.capacity
        ? `${F.figure(d.capacity.ready, "count")} ready of ${F.figure(d.capacity.wanted, "count")} wanted${d.capacity.pending ? `, ${F.figure(d.capacity.pending, "count")} pending` : ""}${known(d.capacity.most) ? `, ${F.figure(d.capacity.most, "count")} at most` : ""}`
        : "",
    ].filter(Boolean);
    fill(
      "replicas",
      told.replicas.length,
      "None of its replicas tells anything now.",
      facts.length ? h("p", null, `${facts.join("; ")}.`) : null,
      rows("replicas-table", "Replicas", columns, told.replicas, { by: "-requests", most: 60 }),
    );
  };
  const gpus = (d) => {
    const columns = [
      {
        key: "gpu",
        name: "GPU",
        text: true,
        cell: (row) =>
          h(
            "a",
            {
              href: F.to("/fleet", { gpu: row.gpu }),
              "data-go": true,
              title: [row.model, row.pool].filter(Boolean).join(", "),
            },
            row.gpu,
          ),
      },
      { key: "wait", name: "Waits", cell: (row) => share(row.wait, 0.1, 0.3) },
      { key: "busy", name: "Uses", cell: (row) => F.percent(row.busy) },
      {
        key: "memory",
        name: "Memory",
        cell: (row) => (known(row.memory) ? `${(row.memory / 2 ** 30).toFixed(1)} GiB` : null),
      },
    ];
    fill(
      "service-gpus",
      d.on.length,
      "It is on no GPU that is known.",
      rows("gpus-table", "GPUs", columns, d.on, { by: "-wait", most: 40 }),
    );
  };
  const incidents = (d, now) =>
    fill(
      "service-incidents",
      d.incidents.length,
      "None in the last hour.",
      h(
        "ul",
        { class: "warnings" },
        d.incidents.map((w) =>
          h(
            "li",
            { "data-phase": w.phase, class: w.phase === "over" ? "over" : null },
            h(
              "p",
              { class: "warning-head" },
              w.phase === "over"
                ? F.state("idle", "over")
                : F.state(w.phase === "advisory" ? "warning" : "critical", w.phase),
              " ",
              h("b", null, w.aggressor && w.aggressor !== w.victim ? `${w.aggressor} → ${w.victim}` : w.victim),
              h(
                "span",
                { class: "muted" },
                ` ${F.cause(w)}, `,
                w.until
                  ? ["ended ", F.time(w.until, now)]
                  : ["since ", F.time(w.since, now), ` (${F.span(now - w.since)})`],
              ),
            ),
            h("p", null, F.sentence(w.summary)),
          ),
        ),
      ),
    );

  const links = (d) => {
    const traces = (extra) => F.to("/traces", { service: d.service, ...extra });
    put(
      F.byId("service-links"),
      d.action ? F.step(d.action) : null,
      h(
        "p",
        { class: "facts" },
        d.promise
          ? h(
              "span",
              null,
              `${d.promise.learned ? "objective learned" : "objective configured"}: p95 ${F.seconds(d.promise.seconds)}, ${F.percent(d.promise.failed)} failed`,
            )
          : null,
        d.tier ? h("span", null, `tier ${d.tier}`) : null,
        h("a", { href: traces({ order: "slowest" }), "data-go": true }, "slowest traces"),
        h("a", { href: traces({ errors: "true" }), "data-go": true }, "failed traces"),
        h("a", { href: traces({ order: "gpu_wait" }), "data-go": true }, "traces that waited for a GPU longest"),
      ),
    );
  };
  const STATES = { ok: "calm", idle: "calm", unknown: "blind", warning: "warning", critical: "critical" };

  // Which service is shown, and another one: a name that is not known has this way out.
  const decoded = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    } // "%zz" is a name that nobody has, not a fault
  };
  const here = () => location.pathname.split("/").slice(2).map(decoded).join("/");
  const switcher = async () => {
    const box = F.byId("service-switch");
    if (!box) return;
    const form = h(
      "form",
      { role: "search", "aria-label": "Show another service", class: "filters" },
      h("a", { href: F.to("/services"), "data-go": true }, "All services"),
      h(
        "label",
        null,
        h("span", { class: "visually-hidden" }, "Another service"),
        h("input", {
          name: "service",
          type: "text",
          list: "services-known",
          placeholder: "another service",
          autocomplete: "off",
          spellcheck: "false",
        }),
      ),
      h("datalist", { id: "services-known" }),
      h("button", { type: "submit" }, "Show"),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = new FormData(form).get("service").trim();
      if (wanted) F.go(F.serviceOf(wanted));
    });
    box.replaceChildren(form);
    try {
      const { body } = await F.fetchJson("/api/services");
      F.byId("services-known")?.replaceChildren(...body.services.map((one) => h("option", { value: one.service })));
    } catch {
      // Suggestions only: the field takes any name.
    }
  };
  const named = (name) => {
    const head = document.querySelector('[data-page="service"] h1');
    if (!head || head.textContent === name) return;
    head.textContent = name;
    head.closest("[data-page]").dataset.title = name;
    const slash = name.indexOf("/");
    for (const button of document.querySelectorAll('[data-page="service"] [data-copy]')) {
      button.dataset.form = button.dataset.form || button.dataset.copy;
      const quoted = (text) => JSON.stringify(text).slice(1, -1);
      button.dataset.copy = button.title = button.dataset.form
        .replace("{name}", quoted(name.slice(slash + 1)))
        .replace("{namespace}", quoted(name.slice(0, Math.max(0, slash))));
    }
  };

  F.pages.services = { mount: () => {}, update: list };
  F.pages.service = {
    mount: () => {
      named(here());
      switcher();
    },
    update: (data, live) => {
      if (!data.ready) {
        F.byId("service-verdict").dataset.state = data.error ? "error" : "empty";
        for (const name of ["neighbours", "callers", "callees", "replicas", "service-gpus", "service-incidents"])
          F.panel(
            name,
            data.error ? "error" : "empty",
            data.error ? `Cannot be read: ${data.error}` : "Nothing is known yet.",
          );
        put(
          F.byId("service-say"),
          data.error ? `Cannot be read: ${data.error}` : "Nothing is known yet of any service.",
        );
        return;
      }
      named(data.service);
      const open = data.incidents.find((item) => item.phase !== "over");
      F.byId("service-verdict").dataset.state = open
        ? open.phase === "advisory"
          ? "warning"
          : "critical"
        : STATES[data.health];
      const sentence = F.sentence(data.summary);
      if (F.byId("service-say").textContent !== sentence) F.byId("service-say").textContent = sentence;
      links(data);
      figures(data);
      neighbours(data);
      calls("callers", data, "Nobody is known to call it.");
      calls("callees", data, "It is not known to call anybody.");
      servers(data);
      gpus(data);
      incidents(data, live.time);
    },
  };
  const renamed = () => {
    if (document.querySelector('[data-page="service"]')) named(here());
  };
  window.addEventListener("foreshock:url", renamed);
  window.addEventListener("popstate", renamed);
})();
