// One table for all pages: sorted by a click on a head, which the address keeps; names are text, figures stay in columns.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const { h, put } = F;
  const drawn = new Map();
  let page = "";

  // The order that the address asks for: a column's key, "-" before it for the largest first.
  const order = (spec) => {
    const told = new URLSearchParams(location.search).get(spec.param || "sort") || "";
    const key = told.replace(/^-/, "");
    return spec.columns.some((column) => column.key === key) ? told : spec.by || "";
  };
  const value = (column, row) => (column.value ? column.value(row) : row[column.key]);
  const absent = (known) => known === null || known === undefined || Number.isNaN(known);
  // What is not known comes last either way: it is neither small nor large.
  const sorted = (spec, by) => {
    const down = by.startsWith("-");
    const column = spec.columns.find((one) => one.key === by.replace(/^-/, ""));
    if (!column || spec.remote) return spec.rows;
    const keyed = spec.rows.map((row) => [value(column, row), row]);
    const compare = (a, b) =>
      typeof a === "string" || typeof b === "string"
        ? String(a).localeCompare(String(b), undefined, { numeric: true })
        : a - b;
    keyed.sort(([a], [b]) => (absent(a) || absent(b) ? absent(a) - absent(b) : down ? compare(b, a) : compare(a, b)));
    return keyed.map(([, row]) => row);
  };
  // The first click gives what is looked for most: large figures, or names from A on; the second turns it round.
  const next = (column, by) => {
    const first = column.text ? column.key : `-${column.key}`;
    const other = column.text ? `-${column.key}` : column.key;
    return by === first ? other : first;
  };

  const head = (spec, by) =>
    h(
      "tr",
      null,
      spec.columns.map((column) => {
        const here = by.replace(/^-/, "") === column.key;
        const way = here ? (by.startsWith("-") ? "descending" : "ascending") : null;
        const kind = [column.text ? "text-cell" : "", column.minor ? "minor" : ""].join(" ").trim();
        return h(
          "th",
          { scope: "col", class: kind || null, "aria-sort": way, title: column.hint },
          column.fixed
            ? column.name
            : h(
                "button",
                { type: "button", "data-order": next(column, by), "data-table": spec.id },
                column.name,
                here ? h("span", { "aria-hidden": "true" }, way === "descending" ? " ▾" : " ▴") : "",
              ),
        );
      }),
    );
  const line = (spec, row) =>
    h(
      "tr",
      { "data-health": spec.health?.(row), "aria-current": spec.current?.(row) ? "true" : null },
      spec.columns.map((column, i) => {
        const shown = column.cell ? column.cell(row) : value(column, row);
        const kind = [column.text && i ? "text-cell" : "", column.minor ? "minor" : "", column.kind?.(row) || ""]
          .join(" ")
          .trim();
        const content = absent(shown) ? "–" : shown;
        return i ? h("td", { class: kind || null }, content) : h("th", { scope: "row", class: kind || null }, content);
      }),
    );

  // Draw rows into an element.
  //   id: of this table, one a page. label: what a screen reader calls it.
  //   columns: {key, name, text: names and not figures, value(row): what is sorted by, cell(row): what is shown,
  //     kind(row): a class, hint, minor: not on a phone, fixed: not sorted by}; the first is the row's head.
  //   rows; by: the order where the address has none, such as "-wait"; param: its name in the address, "sort" unless told.
  //   remote: the rows come in the order asked for. most: rows that are drawn. note: below the table.
  //   current(row): the row that is open; health(row): its state.
  F.table = (body, spec) => {
    if (!body) return;
    if (page !== location.pathname) drawn.clear(); // one table of a page that was left would hold all of that page
    page = location.pathname;
    drawn.set(spec.id, [body, spec]);
    const by = order(spec);
    const rows = sorted(spec, by);
    const shown = rows.slice(0, spec.most || 500);
    put(
      body,
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": `${spec.label}, table` },
        h(
          "table",
          { class: "rows", id: spec.id },
          h("thead", null, head(spec, by)),
          h(
            "tbody",
            null,
            shown.map((row) => line(spec, row)),
          ),
        ),
      ),
      shown.length < rows.length ? h("p", { class: "note" }, `The first ${shown.length} of ${rows.length}.`) : null,
      spec.note || null,
    );
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[data-order]");
    const [body, spec] = (button && drawn.get(button.dataset.table)) || [];
    if (!spec) return;
    const { order: wanted } = button.dataset;
    F.go(F.href({ [spec.param || "sort"]: wanted === spec.by ? null : wanted }), true);
    if (body.isConnected) F.table(body, spec);
  });
})();
