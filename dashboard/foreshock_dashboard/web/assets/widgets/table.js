// A table whose order is a parameter of the address: a click on a column's head sorts by it.
import { hrefWith, navigate, param } from "#web/assets/address.js";
import { closest, h, put, scrollTable } from "#web/assets/dom.js";
import { clusterOf, filled, NOT_KNOWN } from "#web/assets/format.js";
import { SHELL_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */

const MAX_ROWS = 500;

/**
 * A column. The first one of a table is the head of its rows.
 * @template R
 * @typedef {object} Column
 * @property {string} key of the row's value, and of the column in the address
 * @property {string} name
 * @property {boolean} [text] names, not numbers: aligned left, sorted from A
 * @property {(row: R) => unknown} [value] to sort by, else the row's value of this key
 * @property {(row: R) => Content} [cell] to show, else the value
 * @property {(row: R) => string} [kind] a class of the cell
 * @property {string} [hint] tooltip of the head
 * @property {boolean} [minor] left out on a phone
 * @property {boolean} [fixed] not to be sorted by
 */
/**
 * A table.
 * @template R
 * @typedef {object} TableSpec
 * @property {string} id unique on the page
 * @property {string} label for screen readers
 * @property {readonly Column<R>[]} columns
 * @property {readonly R[]} rows
 * @property {(row: R) => string} [cluster] a name with the cluster of a row, which a separate column then shows
 * @property {string} [by] the order where the address has none: a column's key, after "-" for the largest first
 * @property {string} [param] the parameter of the address that has the order, "sort" by default
 * @property {boolean} [remote] the rows come in the requested order
 * @property {number} [maxRows] rows that are drawn
 * @property {Content} [above] above the table
 * @property {Content} [note] below the table
 * @property {(row: R) => boolean} [current] whether a row is the one that is open
 * @property {(row: R) => string} [health] state of a row
 */

/** @type {Map<string, { body: Element, spec: TableSpec<any> }>} */
const drawn = new Map();
let drawnPath = "";

/** @param {unknown} value */
const isMissing = (value) => value === null || value === undefined || Number.isNaN(value);

/**
 * @template R
 * @param {Column<R>} column
 * @param {R} row
 * @returns {unknown}
 */
const cellValue = (column, row) =>
  column.value ? column.value(row) : /** @type {Record<string, unknown>} */ (row)[column.key];

/** @param {string} order */
const columnKey = (order) => order.replace(/^-/, "");

/**
 * @param {any} a
 * @param {any} b
 */
const compare = (a, b) => {
  const isText = typeof a === "string" || typeof b === "string";
  return isText ? String(a).localeCompare(String(b), undefined, { numeric: true }) : a - b;
};

/**
 * Rows in an order; those whose value is missing come last either way.
 * @template R
 * @param {readonly R[]} rows
 * @param {readonly Column<R>[]} columns
 * @param {string} order a column's key, after "-" for the largest first
 * @returns {readonly R[]}
 */
export const sortRows = (rows, columns, order) => {
  const column = columns.find(({ key }) => key === columnKey(order));
  if (!column) return rows;
  const direction = order.startsWith("-") ? -1 : 1;
  return rows
    .map((row) => ({ row, value: cellValue(column, row) }))
    .sort((a, b) => {
      const missing = Number(isMissing(a.value)) - Number(isMissing(b.value));
      if (missing || isMissing(a.value)) return missing;
      return direction * compare(a.value, b.value);
    })
    .map(({ row }) => row);
};

/**
 * The order after a click on a column's head: first the largest numbers, or names from A; then the other way round.
 * @param {Pick<Column<unknown>, "key" | "text">} column
 * @param {string} order the current one
 */
export const nextOrder = ({ key, text }, order) => {
  const [first, second] = text ? [key, `-${key}`] : [`-${key}`, key];
  return order === first ? second : first;
};

/**
 * The table with a column of clusters, where its rows have others than that of the address.
 * @param {TableSpec<any>} spec
 * @returns {TableSpec<any>}
 */
const withClusters = (spec) => {
  const { cluster, columns, rows } = spec;
  if (!cluster || rows.every((row) => ["", param("cluster")].includes(clusterOf(cluster(row))))) return spec;
  const value = (/** @type {any} */ row) => clusterOf(cluster(row)) || null;
  const column = { key: "cluster", name: "Cluster", text: true, value };
  return { ...spec, columns: [...columns.slice(0, 1), column, ...columns.slice(1)] };
};

/** @param {TableSpec<any>} spec */
const currentOrder = (spec) => {
  const written = param(spec.param ?? "sort");
  return spec.columns.some(({ key }) => key === columnKey(written)) ? written : (spec.by ?? "");
};

/** @param {...(string | false | undefined)} names */
const classes = (...names) => names.filter(Boolean).join(" ") || null;

/**
 * @param {TableSpec<any>} spec
 * @param {string} order
 */
const headCells = (spec, order) =>
  spec.columns.map((column) => {
    const isSortable = !column.fixed && spec.rows.length > 1;
    const isSorted = isSortable && columnKey(order) === column.key;
    const isDescending = order.startsWith("-");
    const direction = isDescending ? "descending" : "ascending";
    const button = () =>
      h(
        "button",
        { type: "button", "data-order": nextOrder(column, order), "data-table": spec.id },
        column.name,
        isSorted ? h("span", { "aria-hidden": "true" }, isDescending ? " ▾" : " ▴") : "",
      );
    return h(
      "th",
      {
        scope: "col",
        class: classes(column.text && "text-cell", column.minor && "minor"),
        "aria-sort": isSorted ? direction : null,
        title: column.hint,
      },
      isSortable ? button() : column.name,
    );
  });

/**
 * @param {TableSpec<any>} spec
 * @param {any} row
 */
const bodyRow = (spec, row) =>
  h(
    "tr",
    { "data-health": spec.health?.(row), "aria-current": spec.current?.(row) ? "true" : null },
    spec.columns.map((column, i) => {
      const value = column.cell ? column.cell(row) : /** @type {Content} */ (cellValue(column, row));
      const content = isMissing(value) ? NOT_KNOWN : value;
      const kind = classes(column.text && i > 0 && "text-cell", column.minor && "minor", column.kind?.(row));
      return i ? h("td", { class: kind }, content) : h("th", { scope: "row", class: kind }, content);
    }),
  );

/**
 * Draw a table into an element.
 * @template R
 * @param {Element | null} body
 * @param {TableSpec<R>} table
 */
export const drawTable = (body, table) => {
  if (!body) return;
  if (drawnPath !== location.pathname) drawn.clear(); // a table of a page that was left would keep all of that page
  drawnPath = location.pathname;
  drawn.set(table.id, { body, spec: table });
  const spec = withClusters(table);
  const order = currentOrder(spec);
  const rows = spec.remote ? spec.rows : sortRows(spec.rows, spec.columns, order);
  const shown = rows.slice(0, spec.maxRows ?? MAX_ROWS);
  put(
    body,
    spec.above ?? null,
    scrollTable(
      spec.label,
      { class: "rows", id: spec.id },
      headCells(spec, order),
      shown.map((row) => bodyRow(spec, row)),
    ),
    shown.length < rows.length
      ? h("p", { class: "note" }, filled(SHELL_TEXTS.first_rows, { shown: shown.length, count: rows.length }))
      : null,
    spec.note ?? null,
  );
};

/** Sort a table whose head is clicked. */
export const startTables = () => {
  document.addEventListener("click", (event) => {
    const button = closest(event, "button[data-order]");
    const table = drawn.get(button?.dataset.table ?? "");
    if (!button || !table) return;
    const { body, spec } = table;
    const order = button.dataset.order ?? "";
    navigate(hrefWith({ [spec.param ?? "sort"]: order === spec.by ? null : order }), true);
    if (body.isConnected) drawTable(body, spec);
  });
};
