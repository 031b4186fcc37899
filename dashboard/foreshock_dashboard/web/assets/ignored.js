// What of the address this page does not follow: one quiet line, and a way to leave it out.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const RANGE = ["from", "to", "refresh"];
  const words = (text) => (text || "").split(" ").filter(Boolean);

  F.ignored = () => {
    const line = F.byId("ignored");
    const page = document.querySelector("[data-page][data-feed]");
    if (!line) return;
    if (!page) {
      line.hidden = true;
      return;
    }
    const { takes, keeps, orders } = page.dataset;
    const told = [...new Set([...words(takes), ...words(keeps), ...RANGE])];
    const known = new Set([...told, ...words(orders)]);
    const given = new URLSearchParams(location.search);
    const strange = [...new Set(given.keys())].filter((name) => !known.has(name));
    const faults = F.range.faults();
    const names = [...faults.map(([name]) => name), ...strange];
    line.hidden = !names.length;
    const short =
      strange
        .slice(0, 5)
        .map((name) => F.short(name, 40))
        .join(", ") + (strange.length > 5 ? ` and ${strange.length - 5} more` : "");
    F.put(
      line,
      faults.map(([name, why]) => `${name}=${F.short(given.get(name), 40)} ${why}. The usual is shown. `),
      strange.length ? `This page does not know ${short}: it takes ${told.join(", ")}. ` : null,
      names.length
        ? F.h(
            "a",
            { href: F.href(Object.fromEntries(names.map((name) => [name, null]))), "data-go": true },
            "Leave out what is ignored",
          )
        : null,
    );
  };
})();
