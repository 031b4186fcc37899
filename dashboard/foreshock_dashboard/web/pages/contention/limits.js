// Resources besides SM time at whose limit services wait; shown only if there are some.
import { gpuHref, link, pageHref, serviceHref } from "#web/assets/address.js";
import { byId, h, put, requireId, setPanel } from "#web/assets/dom.js";
import { filled, formatPercent, localName, NOT_KNOWN, shortLabels, truncate } from "#web/assets/format.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { CONNECTION_TEXTS, GPU_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/pages/contention/payload.d.ts").ContentionData} ContentionData */
/** @typedef {import("#web/pages/contention/payload.d.ts").LimitRow} LimitRow */

const MAX_ROWS = 8;
const HOST_RESOURCES = ["cpu", "cpu_limit", "storage", "host_memory", "steal"];

/** @param {LimitRow} row */
const placeLink = ({ place, resource }) =>
  HOST_RESOURCES.includes(resource)
    ? link(pageHref("/fleet", { q: place }), localName(place), place)
    : link(gpuHref(place), localName(place), place);

/** @param {ContentionData} data */
export const drawLimits = ({ limits: { rows, hidden, error } }) => {
  requireId("limits-panel").hidden = !rows.length && !error;
  if (error) {
    setPanel("limits", "error", filled(CONNECTION_TEXTS.unreadable, { error }));
    return;
  }
  if (!rows.length) {
    put(byId("limits"));
    return;
  }
  const label = shortLabels([...new Set(rows.flatMap(({ service, shared_with: others }) => [service, ...others]))]);
  drawTable(byId("limits"), {
    id: "limits",
    label: "Other resources at their limit",
    rows,
    cluster: ({ service }) => service,
    maxRows: MAX_ROWS,
    param: "lsort",
    by: "-wait_ratio",
    columns: [
      {
        key: "service",
        name: "Service",
        text: true,
        cell: ({ service }) => link(serviceHref(service), truncate(label(service), 30), service),
      },
      {
        key: "name",
        name: "Waits for",
        text: true,
        cell: (row) => [row.name, h("span", { class: "place" }, placeLink(row))],
      },
      {
        key: "wait_ratio",
        name: "Time lost",
        hint: "Share of time (upper bound)",
        cell: ({ wait_ratio: wait }) => `≤ ${formatPercent(wait)}`,
      },
      {
        key: "saturated_ratio",
        name: "At its limit",
        minor: true,
        hint: "Share of time with the resource at its limit (measured)",
        cell: ({ saturated_ratio: saturated }) => formatPercent(saturated),
      },
      { key: "place", name: "Where", text: true, minor: true, cell: placeLink },
      {
        key: "shared_with",
        name: "Shared with",
        fixed: true,
        text: true,
        minor: true,
        cell: ({ shared_with: others }) => others.map((name) => truncate(label(name), 30)).join(", ") || NOT_KNOWN,
      },
      { key: "step", name: "First step", fixed: true, text: true, minor: true, kind: () => "wide-cell" },
    ],
    note: h("p", { class: "note" }, `${GPU_TEXTS.limits} `, hidden ? `${hidden} more in /api/contention` : null),
  });
  setPanel("limits", "ready");
};
