// Keys, the help that lists them, and the search over services, GPUs, incidents, alerts and traces.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const { h, put } = F;
  const MOST = 12;
  const SECOND = 1200;
  let first = 0;
  let found = [];
  let at = 0;
  let names = null;

  const dialog = (id, label) => {
    let box = F.byId(id);
    if (!box) {
      box = h("dialog", { id, class: "dialog", "aria-label": label });
      document.body.append(box);
      box.addEventListener("click", (event) => {
        if (event.target === box) box.close();
      });
    }
    return box;
  };
  const show = (box) => {
    if (!box.open) box.showModal();
  };

  const pages = () =>
    [...document.querySelectorAll("a[data-page-path]")].map((link) => ({
      key: link.dataset.key,
      name: link.textContent,
      href: link.getAttribute("href"),
    }));
  const help = () => {
    const rows = [
      ...pages().map((page) => [`g ${page.key}`, `go to ${page.name}`]),
      ["/", "search services, GPUs, incidents, alerts and traces"],
      ["?", "this list"],
      ["t z", "zoom out"],
      ["t ←  t →", "half a range back or on"],
      ["t r", "replay the past"],
      ["t l", "back to live"],
      ["Esc", "close what is open"],
      ["↑ ↓ ← →", "move in a grid, a map or a list of spans"],
      ["Enter", "open what is marked"],
    ];
    const box = dialog("help", "Keys and meanings");
    put(
      box,
      h("h2", null, "Keys"),
      h(
        "table",
        null,
        h(
          "tbody",
          null,
          rows.map(([key, what]) =>
            h("tr", null, h("th", { scope: "row" }, h("kbd", null, key)), h("td", { class: "wide-cell" }, what)),
          ),
        ),
      ),
      h("h2", null, "Signs"),
      F.signs(),
      h("p", null, "A dash (–) means that nothing is known. It is never a zero."),
      h(
        "p",
        null,
        h("b", null, "measured"),
        ": counted at the source. ",
        h("b", null, "sampled"),
        ": looked at every few seconds. ",
        h("b", null, "inferred"),
        ": concluded from other figures.",
      ),
      h("form", { method: "dialog" }, h("button", { class: "quiet" }, "Close")),
    );
    show(box);
  };

  const load = async () => {
    const at = F.range.live() ? "" : `?at=${encodeURIComponent(F.range.to())}`;
    const ask = (path) =>
      F.fetchJson(`${path}${at}`)
        .then(({ body }) => body)
        .catch(() => null);
    const alerts = F.fetchJson("/api/runbooks")
      .then(({ body }) => body.runbooks)
      .catch(() => []);
    const [services, gpus, incidents, runbooks] = await Promise.all([
      ask("/api/services"),
      ask("/api/gpus"),
      ask("/api/incidents"),
      alerts,
    ]);
    names = [
      ...(services?.services || []).map((one) => ({
        kind: "service",
        name: one.service,
        href: F.to(`/services/${one.service}`),
      })),
      ...(incidents?.incidents || []).map((one) => ({
        kind: "incident",
        name: `${one.id} ${one.cause}`,
        href: F.to("/cascade", { incident: one.id }),
      })),
      ...(gpus?.gpus || []).map((one) => ({
        kind: "GPU",
        name: one.gpu,
        also: one.uuid,
        href: F.to("/fleet", { gpu: one.gpu }),
      })),
      ...pages().map((page) => ({ kind: "page", name: page.name, href: page.href })),
      ...runbooks.map((one) => ({ kind: "alert", name: one.alert, also: one.meaning, href: one.address, plain: true })),
    ];
  };
  const matches = (text) => {
    const wanted = text.trim().toLowerCase();
    const trace = /^[0-9a-f]{16,32}$/.test(wanted)
      ? [{ kind: "trace", name: wanted, href: F.to("/traces", { trace: wanted }) }]
      : [];
    const rank = (one) => {
      const name = one.name.toLowerCase();
      const bare = name.slice(name.indexOf("/") + 1);
      if (name === wanted || bare === wanted) return 0;
      if (name.startsWith(wanted) || bare.startsWith(wanted)) return 1;
      return name.includes(wanted) ? 2 : one.also?.toLowerCase().includes(wanted) ? 3 : 9;
    };
    const ranked = (names || [])
      .map((one) => [rank(one), one])
      .filter(([place]) => place < 9)
      .sort((a, b) => a[0] - b[0]);
    return [...trace, ...ranked.map(([, one]) => one)].slice(0, MOST);
  };
  // Runbooks are pages without the frame.
  const open = (one) => {
    if (one.plain) return location.assign(one.href);
    F.go(one.href);
    window.scrollTo(0, 0);
  };
  const list = () => {
    put(
      F.byId("search-list"),
      found.map((one, i) =>
        h(
          "li",
          { id: `search-${i}`, role: "option", "aria-selected": String(i === at) },
          h(
            "a",
            { href: one.href, "data-go": !one.plain, title: one.plain ? one.also : null, tabindex: "-1" },
            h("small", { class: "muted" }, `${one.kind} `),
            F.short(one.name, 60),
          ),
        ),
      ),
      found.length
        ? null
        : h(
            "li",
            { class: "muted", role: "option", "aria-selected": "false", "aria-disabled": "true" },
            names ? "Nothing of this name." : "Loading…",
          ),
    );
    F.byId("search-text").setAttribute("aria-activedescendant", found.length ? `search-${at}` : "");
  };
  const search = async () => {
    const box = dialog("search", "Search");
    put(
      box,
      h("input", {
        id: "search-text",
        type: "search",
        placeholder: "Service, GPU, incident, alert or trace id",
        role: "combobox",
        "aria-label": "Search",
        "aria-expanded": "true",
        "aria-controls": "search-list",
        autocomplete: "off",
        spellcheck: "false",
      }),
      h("ul", { id: "search-list", role: "listbox", "aria-label": "Found" }),
    );
    const text = F.byId("search-text");
    text.value = "";
    names = null;
    [found, at] = [[], 0];
    list();
    show(box);
    text.focus();
    const again = () => {
      found = matches(text.value);
      at = 0;
      list();
    };
    text.oninput = again;
    text.onkeydown = (event) => {
      const moves = { ArrowDown: 1, ArrowUp: -1 };
      if (event.key in moves && found.length) {
        at = (at + moves[event.key] + found.length) % found.length;
        list();
        event.preventDefault();
      }
      if (event.key === "Enter" && found[at]) {
        event.preventDefault();
        box.close();
        open(found[at]);
      }
    };
    await load();
    again();
  };
  document.addEventListener("click", (event) => {
    if (event.target.id === "help-open") help();
    if (event.target.id === "search-open") search();
    if (event.target.closest?.("#search a")) F.byId("search").close();
  });

  // The search's field keeps the focus for a moment after its dialog has closed.
  const typing = (element) =>
    !element?.closest?.("dialog:not([open])") &&
    (element?.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(element?.tagName));
  const second = { t: { z: "out", ArrowLeft: "back", ArrowRight: "on", r: "replay", l: "live" } };
  document.addEventListener("keydown", (event) => {
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      typing(event.target) ||
      document.querySelector("dialog[open]")
    )
      return;
    if (first && event.timeStamp - first.when < SECOND) {
      // when they were pressed: the page may have been busy meanwhile
      const { key } = first;
      first = 0;
      const page = key === "g" && pages().find((one) => one.key === event.key);
      if (page) {
        event.preventDefault();
        F.go(page.href);
        window.scrollTo(0, 0);
        return;
      }
      if (second[key]?.[event.key]) {
        event.preventDefault();
        F.range.act(second[key][event.key]);
        return;
      }
    }
    first = 0;
    if (event.key === "g" || event.key === "t") first = { key: event.key, when: event.timeStamp };
    else if (event.key === "?") {
      event.preventDefault();
      help();
    } else if (event.key === "/") {
      event.preventDefault();
      search();
    } else if (event.key === "Escape" && F.byId("time-menu")?.open) F.byId("time-menu").open = false;
  });
})();
