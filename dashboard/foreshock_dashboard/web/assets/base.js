// What all scripts share: making elements, updating them in place, and figures with their units.
"use strict";
window.foreshock = window.foreshock || {};
(() => {
  const F = window.foreshock;
  const SVG = "http://www.w3.org/2000/svg";

  F.byId = (id) => document.getElementById(id);

  const fill = (element, attributes, children) => {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined && value !== false)
        element.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined && child !== false) {
        // Text goes in as text, whatever a name looks like.
        element.append(child instanceof Node ? child : document.createTextNode(String(child)));
      }
    }
    return element;
  };
  const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  F.h = h;
  F.s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  const sync = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      const readers = name === "open" && old.nodeName === "DETAILS"; // what the reader unfolded stays unfolded
      if (!fresh.hasAttribute(name) && !readers) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    syncChildren(old, [...fresh.childNodes]);
  };
  const syncChildren = (element, fresh) => {
    const old = [...element.childNodes];
    fresh.forEach((node, i) => (i < old.length ? sync(old[i], node) : element.append(node)));
    old.slice(fresh.length).forEach((node) => node.remove());
  };
  // Make an element's children equal to these, keeping those that are alike: focus and selection stay.
  F.put = (element, ...children) => {
    const holder = document.createElement("div");
    fill(holder, null, children);
    if (element) syncChildren(element, [...holder.childNodes]);
  };

  // The one state of a panel. A panel that showed something keeps it when it becomes stale.
  F.panel = (name, state, message = "") => {
    const panel = F.byId(`${name}-panel`);
    if (!panel) return;
    panel.dataset.state = state;
    const line = F.byId(`${name}-message`);
    if (line.textContent !== message) line.textContent = message;
  };
  F.stale = (stale) => {
    for (const panel of document.querySelectorAll(".panel[data-state]")) {
      if (stale && panel.dataset.state === "ready") panel.dataset.state = "stale";
      if (!stale && panel.dataset.state === "stale") panel.dataset.state = "ready";
    }
  };

  const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
  const digits = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
  F.seconds = (value) => {
    if (!known(value)) return "–";
    if (value === 0) return "0 s";
    if (value < 1e-3) return `${digits(value * 1e6)} µs`;
    if (value < 1) return `${value < 0.1 ? digits(value * 1e3) : (value * 1e3).toFixed(0)} ms`;
    if (value < 120) return `${digits(value)} s`;
    return F.span(value);
  };
  F.known = known;
  F.percent = (value) => {
    if (!known(value)) return "–";
    const share = value * 100;
    return `${share === 0 || share >= 10 ? share.toFixed(0) : share < 0.1 ? "<0.1" : share.toFixed(1)} %`;
  };
  F.rate = (value) =>
    value === 0
      ? "0/s"
      : known(value)
        ? `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)}/s`
        : "–";
  F.figure = (value, unit) => {
    if (!known(value)) return "–";
    if (unit === "s") return F.seconds(value);
    if (unit === "ratio") return F.percent(value);
    if (unit === "count" || (!unit && Number.isInteger(value))) return value.toFixed(0);
    if (unit === "1/s") return F.rate(value);
    return `${digits(value)} ${unit}`;
  };
  // A stretch of time in its two largest units.
  F.span = (seconds) => {
    const s = Math.max(0, Math.round(seconds));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min${s < 600 && s % 60 ? ` ${s % 60} s` : ""}`;
    const [unit, name, part, of] = s < 86400 ? [3600, "h", 60, "min"] : [86400, "d", 3600, "h"];
    const rest = Math.floor((s % unit) / part);
    return `${Math.floor(s / unit)} ${name}${rest ? ` ${rest} ${of}` : ""}`;
  };
  const kept = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    } // storage may be forbidden
  };
  F.keep = (name, value) => {
    try {
      localStorage.setItem(name, value);
    } catch {
      /* the choice then lasts until the page is left */
    }
  };
  // The zone in which times are shown: the browser's, or UTC where that was chosen.
  let zone = kept("foreshock-zone") === "utc" ? "utc" : "local";
  let clocks = null;
  F.zone = (chosen) => {
    if (!chosen) return zone;
    zone = chosen;
    clocks = null;
    F.keep("foreshock-zone", chosen);
    window.dispatchEvent(new CustomEvent("foreshock:zone"));
    return zone;
  };
  F.offset = () => (zone === "utc" ? 0 : -new Date().getTimezoneOffset());
  const formats = () => {
    const timeZone = zone === "utc" ? "UTC" : undefined;
    clocks = clocks || [
      new Intl.DateTimeFormat(undefined, {
        hour: "2-digit",
        minute: "2-digit",
        second: "2-digit",
        hourCycle: "h23",
        timeZone,
      }),
      new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone }),
    ];
    return clocks;
  };
  const told = (unix, now) => {
    const date = new Date(unix * 1000);
    const [clock, day] = formats();
    const far = known(now) && Math.abs(now - unix) > 43200;
    return `${far ? `${day.format(date)} ` : ""}${clock.format(date)}${zone === "utc" ? " UTC" : ""}`;
  };
  F.stamp = (unix) => (known(unix) ? told(unix, F.live?.time) : "–");
  // With its zone, where no other time stands beside it.
  F.zoned = (unix) => {
    if (!known(unix)) return "–";
    const parts =
      zone === "utc"
        ? []
        : new Intl.DateTimeFormat(undefined, { timeZoneName: "short" }).formatToParts(new Date(unix * 1000));
    return [F.stamp(unix), parts.find(({ type }) => type === "timeZoneName")?.value].filter(Boolean).join(" ");
  };
  // The text of a clause; a time in the reader's zone, as all other times of a page.
  F.clause = ({ text, kind, at }) => {
    if (zone === "utc" || !known(at)) return text;
    const clock = formats()[0].format(new Date(at * 1000));
    return kind === "minute" ? clock.slice(0, 5) : clock;
  };
  F.sentence = (clauses) => clauses.map(F.clause).join("");
  // Exact in UTC on hover; relative to the hub's own clock, which may run faster than ours.
  F.time = (unix, now) => {
    if (!known(unix)) return "–";
    const exact = new Date(unix * 1000).toISOString();
    return h("time", { datetime: exact, title: exact }, told(unix, now));
  };
  F.copy = async (text, what) => {
    try {
      await navigator.clipboard.writeText(text);
      F.say(`${what} copied.`);
    } catch {
      F.say(text); // no clipboard without TLS: it can be marked and copied by hand
    }
  };
  let silence = 0;
  F.say = (text) => {
    let line = F.byId("said");
    if (!line) document.body.append((line = h("p", { id: "said", class: "said", role: "status" })));
    line.textContent = text;
    line.hidden = false;
    clearTimeout(silence);
    silence = setTimeout(() => {
      line.hidden = true;
    }, 6000);
  };
  document.addEventListener("click", (event) => {
    const copy = event.target.closest?.("[data-copy]");
    if (copy) F.copy(copy.dataset.copy, copy.textContent);
  });

  // Panels that a phone shows folded.
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-fold]");
    if (!button) return;
    const opened = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(opened));
    window.dispatchEvent(new CustomEvent("foreshock:redraw"));
    if (opened) window.dispatchEvent(new Event("resize")); // a chart that was not shown has no size yet
  });
  F.SHAPES = { ok: "●", warning: "◆", critical: "■", idle: "○", unknown: "?" };
  F.state = (health, word, sign = null) =>
    F.h(
      "span",
      { class: `state ${health}` },
      F.h("span", { "aria-hidden": "true" }, sign || F.SHAPES[health]),
      ` ${word}`,
    );
  // What each of these signs stands for.
  F.signs = (healths = Object.keys(F.SHAPES)) => {
    const words = { ok: "as usual", warning: "warning", critical: "critical", idle: "no requests", unknown: "no data" };
    return F.h(
      "p",
      { class: "legend" },
      Object.keys(F.SHAPES)
        .filter((health) => healths.includes(health))
        .map((health) => F.state(health, words[health])),
    );
  };
  F.dot = (colour) =>
    F.h("span", { class: "dot", style: `background:var(--service-${Number(colour)})`, "aria-hidden": "true" });
  F.token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  // A small line over time, with what is usual behind it; gaps stay gaps. kind: a class that gives its colour.
  F.sparkline = (values, { usual = null, kind = "", label = null, title = null, width = 96, height = 24 } = {}) => {
    const there = values.filter(known);
    if (there.length < 2) return null;
    const top = Math.max(...there, usual ? usual[1] : 0) || 1;
    const y = (value) => height - 2 - (value / top) * (height - 4);
    let pen = "M";
    const path = values
      .map((value, i) => {
        if (!known(value)) {
          pen = "M";
          return "";
        }
        const step = `${pen}${((i / Math.max(1, values.length - 1)) * width).toFixed(1)} ${y(value).toFixed(1)}`;
        pen = "L";
        return step;
      })
      .join("");
    const said = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
    return F.s(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}`, class: `spark ${kind}`, ...said },
      title ? F.s("title", null, title) : null,
      usual
        ? F.s("rect", { x: 0, width, y: y(usual[1]), height: Math.max(1, y(usual[0]) - y(usual[1])), class: "usual" })
        : null,
      F.s("path", { d: path }),
    );
  };
  // The cause of an incident; nothing has happened yet where it has no victims.
  F.cause = (incident, words = {}) => {
    const plain = incident.cause.replaceAll("_", " ");
    return incident.victims.length ? words[incident.cause] || plain : `${plain} may come`;
  };
  // The recommended action of an incident.
  F.step = ({ clauses }) => {
    const text = F.sentence(clauses);
    const step = `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
    return h("p", { class: "step" }, h("b", null, "Do now"), h("span", null, step));
  };
  // A name that is wide may go on in another line after a slash within it, not in the middle of a word.
  F.name = (text) => text.split(/(?<=[^\s/]\/)/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));
  F.short = (text, most) => (text.length > most ? `${text.slice(0, Math.max(1, most - 1))}…` : text);

  // The name without its namespace where no other of these services has it; the whole is in the tooltip.
  F.labels = (ids) => {
    const bare = (id) => id.slice(id.indexOf("/") + 1);
    const count = new Map();
    for (const id of ids) count.set(bare(id), (count.get(bare(id)) || 0) + 1);
    return (id) => (count.get(bare(id)) === 1 ? bare(id) : id);
  };

  F.tracesOf = (service) => F.to("/traces", { service, order: "slowest" });
  F.serviceOf = (service) => F.to(`/services/${service.split("/").map(encodeURIComponent).join("/")}`);
  // Go to an address of this app without loading it anew; Dash's Location listens to this event.
  F.go = (href, replace = false) => {
    history[replace ? "replaceState" : "pushState"]({}, "", href);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    window.dispatchEvent(new CustomEvent("foreshock:url"));
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-go]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    F.go(link.getAttribute("href"));
    window.scrollTo(0, 0);
  });
})();
