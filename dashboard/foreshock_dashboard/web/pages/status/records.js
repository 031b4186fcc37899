// Records of the Status page: receivers of notifications, and the audit log.
import { timeElement } from "#web/assets/clock.js";
import { byId, h, requireId, setPanel } from "#web/assets/dom.js";
import { formatWhole, isNumber, truncate } from "#web/assets/format.js";
import { healthState } from "#web/assets/timeline/signs.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { AUDIT_ACTIONS } from "#web/assets/words.js";

/** @typedef {import("#web/pages/status/payload.d.ts").AuditEvent} AuditEvent */
/** @typedef {import("#web/pages/status/payload.d.ts").Receiver} Receiver */
/** @typedef {import("#web/pages/status/payload.d.ts").StatusData} StatusData */

/** @type {import("#web/assets/widgets/table.js").Column<Receiver>[]} */
const RECEIVER_COLUMNS = [
  {
    key: "name",
    name: "Receiver",
    text: true,
    cell: ({ name, error }) => [truncate(name, 46), " ", error ? healthState("critical", "failing") : null],
  },
  { key: "kind", name: "Kind", text: true, minor: true },
  {
    key: "last_success",
    name: "Last success",
    cell: ({ last_success: time }) => (isNumber(time) ? timeElement(time, 0) : "never"),
  },
  { key: "waiting", name: "Waiting", cell: ({ waiting }) => formatWhole(waiting) },
  { key: "sent", name: "Sent", cell: ({ sent }) => formatWhole(sent) },
  { key: "failed", name: "Failed attempts", minor: true, cell: ({ failed }) => formatWhole(failed) },
  { key: "dropped", name: "Dropped", minor: true, cell: ({ dropped }) => formatWhole(dropped) },
  {
    key: "error",
    name: "Last error",
    text: true,
    fixed: true,
    cell: ({ error }) => h("span", { class: "wide-cell" }, error),
  },
];

/** @param {StatusData} data */
export const drawNotifications = ({ hub: { notifications } }) => {
  const receivers = notifications?.channels ?? [];
  requireId("notifications-panel").hidden = !receivers.length;
  if (!receivers.length) return;
  drawTable(byId("notifications"), {
    id: "notifications-table",
    label: "Notification channels",
    columns: RECEIVER_COLUMNS.filter(({ key }) => key !== "error" || receivers.some(({ error }) => error)),
    rows: receivers,
    param: "notifications",
    by: "",
    note: notifications?.error ? h("p", { class: "note" }, notifications.error) : null,
  });
  setPanel("notifications", "ready");
};

/** @type {import("#web/assets/widgets/table.js").Column<AuditEvent>[]} */
const AUDIT_COLUMNS = [
  { key: "time", name: "Time", text: true, cell: ({ time }) => timeElement(time, 0) },
  { key: "principal", name: "User", text: true, cell: ({ principal }) => principal || "unknown" },
  {
    key: "action",
    name: "Event",
    text: true,
    cell: ({ action }) => AUDIT_ACTIONS[/** @type {keyof typeof AUDIT_ACTIONS} */ (action)] ?? action,
  },
  { key: "role", name: "Role", text: true, minor: true },
  { key: "method", name: "Method", text: true, minor: true },
  { key: "address", name: "Address", text: true, minor: true },
  {
    key: "request",
    name: "Request",
    text: true,
    minor: true,
    cell: ({ request, status: code }) => [truncate(request, 80), ` (${code})`],
  },
];

/** @param {StatusData} data */
export const drawAudit = ({ audit }) => {
  requireId("audit-panel").hidden = !audit;
  if (!audit) return;
  drawTable(byId("audit"), {
    id: "audit-table",
    label: "Audit log",
    columns: AUDIT_COLUMNS,
    rows: audit,
    param: "audit",
    by: "-time",
  });
  setPanel("audit", "ready");
};
