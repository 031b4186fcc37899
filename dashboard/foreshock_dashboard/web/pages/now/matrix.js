// The matrix of GPU wait during an incident of GPU contention.
import { link, pageHref, pairHref } from "#web/assets/address.js";
import { byId, h, put, requireId, scrollTable, setPanel } from "#web/assets/dom.js";
import { capitalized, inWords, shortLabels, truncate } from "#web/assets/format.js";
import { incidentStatus } from "#web/assets/timeline/incident.js";
import { MATRIX_AXES, waitCell } from "#web/assets/widgets/wait_cell.js";
import { ABSENT, GPU_TEXTS, NOW_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */

/**
 * @param {string} victim
 * @param {string} aggressor
 */
const pairKey = (victim, aggressor) => `${victim}\n${aggressor}`;

/**
 * Draw the matrix; without an incident of GPU contention there is none.
 * @param {NowData} data
 */
export const drawMatrix = ({ matrix, open_incidents }) => {
  requireId("matrix-panel").hidden = !matrix?.victims.length;
  setPanel("matrix", "ready");
  if (!matrix?.victims.length) return;
  const { victims, aggressors, cells, jobs, hidden, other_gpus: others } = matrix;
  const label = shortLabels([...new Set([...victims, ...aggressors])]);
  const statuses = new Map(
    open_incidents.map((item) => [pairKey(item.service, String(item.suspect.service)), incidentStatus(item)]),
  );
  const head = [
    h("th", { scope: "col" }, MATRIX_AXES),
    aggressors.map((name) => h("th", { scope: "col", title: inWords(name) }, truncate(label(name), 14))),
  ];
  const rows = victims.map((victim, row) =>
    h(
      "tr",
      null,
      h(
        "th",
        { scope: "row", title: inWords(victim) },
        truncate(label(victim), 18),
        jobs.includes(victim) ? h("small", null, "batch job") : null,
      ),
      aggressors.map((aggressor, column) => {
        const cell = cells[row]?.[column];
        if (!cell) return h("td", { class: "none", title: capitalized(ABSENT.shared_gpu) }, "·");
        return waitCell({
          victim,
          aggressor,
          ratio: cell.ratio,
          gpus: cell.gpus.length,
          status: statuses.get(pairKey(victim, aggressor)) ?? null,
          href: pairHref(victim, aggressor),
        });
      }),
    ),
  );
  put(
    byId("matrix"),
    scrollTable("GPU wait", { class: "matrix" }, head, rows),
    h(
      "p",
      { class: "note" },
      `${GPU_TEXTS.upper_bound} `,
      others ? `${NOW_TEXTS.other_gpus} ${others}. ` : null,
      h("span", { class: "unbroken" }, link(pageHref("/contention"), hidden ? `${hidden} more` : "All pairs")),
    ),
  );
};
