// The map of services and their calls, drawn at its real width; on a phone a list, since a small picture is illegible.
import { link, pairHref, serviceHref } from "#web/assets/address.js";
import { byId, h, headCells, put, s, scrollTable, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import {
  capitalized,
  formatPercent,
  formatRate,
  formatSeconds,
  inWords,
  isNumber,
  NOT_KNOWN,
  plural,
  shortLabels,
  truncate,
} from "#web/assets/format.js";
import { causeText } from "#web/assets/timeline/incident.js";
import { healthState, SUSPECT_SIGN, stateOf } from "#web/assets/timeline/signs.js";
import { ABSENT, CASCADE_TEXTS, EMPTY, ROLES } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").MapEdge} MapEdge */
/** @typedef {import("#web/assets/payload.d.ts").ServiceMap["nodes"][number]} MapNode */
/** @typedef {import("#web/assets/payload.d.ts").Topology} Topology */
/** @typedef {import("#web/pages/cascade/payload.d.ts").EdgeValue} EdgeValue */
/** @typedef {import("#web/pages/cascade/payload.d.ts").MapData} MapData */
/** @typedef {import("#web/pages/cascade/payload.d.ts").MapService} MapService */
/** @typedef {import("#web/pages/cascade/payload.d.ts").PropagationStep} PropagationStep */
/** @typedef {[x: number, y: number]} Point */

const ROW_HEIGHT = 54;
const BOX_HEIGHT = 44;
/** Pixels between two lines along one call. */
const PARALLEL_GAP = 9;
const MIN_BOX_WIDTH = 84;
const MAX_BOX_WIDTH = 190;
const MIN_PICTURE_WIDTH = 600;
const ERROR_RATE_CRITICAL = 0.05;
const ERROR_RATE_WARNING = 0.01;
const MANY_ATTEMPTS = 1.2;
/** @typedef {ReturnType<typeof stateOf>["state"]} State */
/** @type {readonly State[]} */
const STATE_ORDER = ["critical", "warning", "suspect", "recovering", "ok", "idle", "unknown"];

/** @param {string[]} names */
const keyOf = (...names) => names.join("\n");

/**
 * The retries per call beyond the first attempt.
 * @param {number | null | undefined} attempts
 * @param {string} otherwise
 */
const retriesText = (attempts, otherwise) => (isNumber(attempts) ? (attempts - 1).toFixed(2) : otherwise);

/** @param {EdgeValue | undefined} value */
const edgeClass = (value) => {
  const [, , , errorRate, , attempts] = value ?? [];
  if ((errorRate ?? 0) >= ERROR_RATE_CRITICAL) return "crit";
  return (errorRate ?? 0) >= ERROR_RATE_WARNING || (attempts ?? 0) >= MANY_ATTEMPTS ? "warn" : "plain";
};

/**
 * @param {MapEdge} edge
 * @param {EdgeValue | undefined} value
 */
const edgeText = ({ client, server }, value) => {
  const [, , rate, errorRate, p95, attempts] = value ?? [];
  const call = inWords(`${client} → ${server}`);
  if (!isNumber(rate)) return `${call}: ${ABSENT.data}`;
  const retries = isNumber(attempts) ? `${retriesText(attempts, "")} retries per call` : ABSENT.retries;
  const errors = `error rate ${formatPercent(errorRate)}`;
  return `${call}: ${formatRate(rate)}, ${errors}, p95 ${formatSeconds(p95)}, ${retries}`;
};

/** @param {PropagationStep} step */
const stepText = ({ from, to, via }) => `${inWords(`${from} → ${to}`)}: ${CASCADE_TEXTS[via]}`;

/**
 * Draw the map's panel.
 * @param {MapData} data
 * @param {Topology} topology
 */
export const drawServiceMap = (data, topology) => {
  const body = byId("map");
  if (!body) return;
  const { nodes, hidden } = topology.map;
  if (!nodes.length) {
    setPanelEmpty("map", EMPTY.calls);
    return;
  }
  const width = body.clientWidth;
  const isNarrow = width < MIN_PICTURE_WIDTH;
  put(
    body,
    isNarrow ? null : new MapPicture(data, topology, width).draw(),
    isNarrow ? null : legend(data, topology, hidden),
    h("details", { class: "quiet-fold", open: isNarrow }, h("summary", null, "Table"), tables(data, topology)),
  );
  setPanel("map", "ready");
};

/**
 * The steps of the cascade in their order, those of each incident together.
 * @param {MapData} data
 */
export const propagationPath = (data) => {
  const { propagation, forecast_steps: forecast } = data;
  const ids = [...new Set([...propagation, ...forecast].map(({ incident }) => incident))];
  const item = (/** @type {PropagationStep} */ step) =>
    h(
      "li",
      { title: stepText(step) },
      inWords(`${step.from} → ${step.to} `),
      h("span", { class: "muted" }, CASCADE_TEXTS[step.via]),
    );
  const title = (/** @type {string} */ id) => {
    const incident = data.selected.find((selected) => selected.id === id);
    return ids.length > 1 && incident
      ? h("p", { class: "propagation-of" }, `${inWords(incident.service)}: ${causeText(incident)}`)
      : null;
  };
  const list = (/** @type {string} */ name, /** @type {readonly PropagationStep[]} */ steps) =>
    steps.length
      ? h(
          "div",
          { class: "propagation-part" },
          h("span", { class: "muted", "aria-hidden": "true" }, name), // the list has it as its label
          h("ol", { class: "propagation", "aria-label": name }, steps.map(item)),
        )
      : null;
  return ids.map((id) => {
    const isOf = (/** @type {PropagationStep} */ { incident }) => incident === id;
    return [
      title(id),
      list("Propagation so far (onsets ±1 min)", propagation.filter(isOf)),
      list("Forecast propagation", forecast.filter(isOf)),
    ];
  });
};

/**
 * A state without its number of GPUs: "No inbound requests" of "No inbound requests; uses 2 GPUs".
 * @param {string} word
 */
const generalWord = (word) => word.split("; ")[0] ?? word;

/**
 * An entry for each kind of mark in the picture.
 * @param {MapData} data
 * @param {Topology} topology
 * @param {number} hidden number of services that are not drawn
 */
const legend = (data, { map }, hidden) => {
  const { services, propagation, forecast_steps: forecast } = data;
  const byId = new Map(services.map((service) => [service.id, service]));
  const states = map.nodes.map((node) => nodeState(node, byId.get(node.id))).filter(({ sign }) => sign);
  const drawn = new Map(states.map((state) => [generalWord(state.word), state]));
  return h(
    "p",
    { class: "legend" },
    [...drawn.values()]
      .sort((a, b) => STATE_ORDER.indexOf(a.state) - STATE_ORDER.indexOf(b.state))
      .map(({ state, word, sign }) => healthState(state, generalWord(word), sign)),
    propagation.some(({ via }) => via !== "gpu") ? h("span", { class: "key propagation" }, "propagation") : null,
    propagation.some(({ via }) => via === "gpu")
      ? h("span", { class: "key propagation gpu" }, `propagation by ${CASCADE_TEXTS.gpu}`)
      : null,
    forecast.length ? h("span", { class: "key propagation forecast" }, "expected propagation") : null,
    map.edges.length ? h("span", { class: "key call" }, CASCADE_TEXTS.calls_key) : null,
    otherWaits(data, map.nodes).length ? h("span", { class: "key gpu-wait" }, CASCADE_TEXTS.gpu_wait_key) : null,
    states.every(({ sign }) => sign !== SUSPECT_SIGN) && services.some(({ suspect }) => suspect)
      ? h("span", null, h("span", { class: "flag", "aria-hidden": "true" }, SUSPECT_SIGN), ` ${ROLES.suspect}`)
      : null,
    services.some(({ order }) => order)
      ? h(
          "span",
          null,
          h("span", { class: "order-key", "aria-hidden": "true" }, "1"),
          " order of first anomaly (within 1 min: dependency first)",
        )
      : null,
    hidden ? h("span", null, `${hidden} more services not shown`) : null,
  );
};

/**
 * GPU wait between services on the map, except where the propagation shows it, in either direction.
 * @param {MapData} data
 * @param {readonly MapNode[]} nodes
 */
const otherWaits = ({ propagation, gpu_waits: waits }, nodes) => {
  const gpuSteps = propagation.filter(({ via }) => via === "gpu");
  const shown = new Set(gpuSteps.flatMap(({ from, to }) => [keyOf(to, from), keyOf(from, to)]));
  const drawn = new Set(nodes.map(({ id }) => id));
  return waits.filter(
    ([victim, aggressor]) => drawn.has(victim) && drawn.has(aggressor) && !shown.has(keyOf(victim, aggressor)),
  );
};

/** @param {MapData} data */
const valuesByEdge = (data) => new Map(data.edges.map((value) => [keyOf(value[0], value[1]), value]));

/**
 * @param {MapData} data
 * @param {Topology} topology
 */
const tables = (data, topology) => {
  const values = valuesByEdge(data);
  const calls = topology.map.edges.map(({ client, server }) => {
    const [, , rate, errorRate, p95, attempts] = values.get(keyOf(client, server)) ?? [];
    return h(
      "tr",
      null,
      h("th", { scope: "row" }, inWords(`${client} → ${server}`)),
      h("td", null, isNumber(rate) ? formatRate(rate) : ABSENT.data),
      h("td", null, formatPercent(errorRate)),
      h("td", null, formatSeconds(p95)),
      h("td", { class: "minor" }, retriesText(attempts, NOT_KNOWN)),
    );
  });
  const callHead = [
    ...headCells(["Caller → dependency", "Request rate", "Error rate", "p95"]),
    h("th", { scope: "col", class: "minor" }, "Retries per call"),
  ];
  const waits = data.gpu_waits.map(([victim, aggressor, ratio, gpus]) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, link(pairHref(victim, aggressor), inWords(`${victim} → ${aggressor}`))),
      h("td", null, formatPercent(ratio)),
      h("td", null, gpus),
    ),
  );
  return [
    scrollTable("Calls", null, callHead, calls),
    waits.length
      ? scrollTable("GPU wait", null, headCells(["Service → waits on", "GPU wait (share of time)", "GPUs"]), waits)
      : null,
  ];
};

/** The picture of the map: services in columns, from callers to callees. */
class MapPicture {
  /**
   * @param {MapData} data
   * @param {Topology} topology
   * @param {number} width in pixels
   */
  constructor(data, { map }, width) {
    this.data = data;
    this.map = map;
    this.width = width;
    this.columnWidth = width / map.heights.length;
    this.boxWidth = Math.min(MAX_BOX_WIDTH, Math.max(MIN_BOX_WIDTH, this.columnWidth - 44));
    this.height = Math.max(...map.heights) * ROW_HEIGHT + 8;
    this.label = shortLabels(map.nodes.map(({ id }) => id));
    this.values = valuesByEdge(data);
    this.services = new Map(data.services.map((service) => [service.id, service]));
    /** The middle of each service's box. @type {Map<string, Point>} */
    this.places = new Map(map.nodes.map(({ id, column, row }) => [id, this.point(column, row)]));
  }

  /**
   * The pixels of a place in the grid of columns and rows.
   * @param {number} column
   * @param {number} row
   * @returns {Point}
   */
  point(column, row) {
    const rows = this.map.heights[column] ?? 0;
    return [this.columnWidth * (column + 0.5), (this.height - rows * ROW_HEIGHT) / 2 + (row + 0.5) * ROW_HEIGHT];
  }

  draw() {
    return s(
      "svg",
      { width: this.width, height: this.height, class: "map", role: "group", "aria-label": "Cascade map" },
      s(
        "defs",
        null,
        arrowHead("tip", 8),
        arrowHead("tip-wait", 9),
        arrowHead("tip-crit", 13),
        arrowHead("tip-warn", 13),
      ),
      this.calls(),
      this.waits(),
      s("g", { class: "propagation" }, this.steps()),
      this.map.nodes.map((node) => this.node(node)),
    );
  }

  calls() {
    const maxRate = Math.max(1, ...this.data.edges.map(([, , rate]) => rate || 0));
    const { propagation, forecast_steps: forecast } = this.data;
    const steps = [...propagation, ...forecast].flatMap(({ from, to }) => [keyOf(from, to), keyOf(to, from)]);
    const isAside = (/** @type {MapEdge} */ { client, server }) =>
      steps.length > 0 && !steps.includes(keyOf(client, server));
    return this.map.edges.map((edge) => {
      const value = this.values.get(keyOf(edge.client, edge.server));
      const rate = value?.[2] || 0;
      return s(
        "path",
        {
          d: this.curve(edge),
          class: `edge ${edgeClass(value)}${rate ? "" : " still"}${isAside(edge) ? " aside" : ""}`,
          "stroke-width": (1 + 2.5 * Math.sqrt(rate / maxRate)).toFixed(1),
          "marker-end": "url(#tip)",
        },
        s("title", null, edgeText(edge, value)),
      );
    });
  }

  waits() {
    return otherWaits(this.data, this.map.nodes).map(([victim, aggressor, ratio, gpus]) => {
      const d = this.arc(aggressor, victim);
      if (!d) return null;
      const wait = `up to ${formatPercent(ratio)} of the time, ${plural(gpus, "GPU")}`;
      const title = `${inWords(`${victim} waits on ${aggressor}`)} ${wait}`;
      const width = (1 + 3 * Math.min(1, ratio / 0.5)).toFixed(1);
      return s(
        "path",
        { d, class: "gpu-wait", "stroke-width": width, "marker-end": "url(#tip-wait)" },
        s("title", null, title),
      );
    });
  }

  /** The propagation of the incident: along calls, or between services that share GPUs. */
  steps() {
    const edges = new Map(this.map.edges.map((edge) => [keyOf(edge.client, edge.server), edge]));
    const edgeOf = (/** @type {PropagationStep} */ { from, to, via }) =>
      edges.get(via === "load" ? keyOf(from, to) : keyOf(to, from));
    const taken = new Set(this.data.propagation.filter(({ via }) => via !== "gpu").map(edgeOf));
    return [...this.data.forecast_steps, ...this.data.propagation].map((step) => {
      const { from, to, via } = step;
      const edge = edgeOf(step);
      const callPath = edge ? this.curve(edge) : null;
      const d = via === "gpu" ? this.arc(from, to) : callPath;
      const marker = via === "call" || via === "forecast" ? "marker-start" : "marker-end";
      const tip = via === "forecast" ? "url(#tip-warn)" : "url(#tip-crit)";
      if (!d) return null;
      // Beside the propagation along the same call, not below it.
      const transform = via === "forecast" && edge && taken.has(edge) ? `translate(0 ${PARALLEL_GAP})` : null;
      return s("path", { d, class: `step ${via}`, [marker]: tip, transform }, s("title", null, stepText(step)));
    });
  }

  /**
   * The path of a call, through the middle of every bend, so that it passes between boxes and not behind them.
   * @param {MapEdge} edge
   */
  curve({ points, back }) {
    const side = back ? -1 : 1;
    const halfBox = (side * this.boxWidth) / 2;
    const [first = [0, 0], ...rest] = points.map(([column, row]) => this.point(column, row));
    let [x, y] = [first[0] + halfBox, first[1]];
    let path = `M${x} ${y}`;
    rest.forEach(([nextX, nextY], i) => {
      const isLast = i === rest.length - 1;
      const endX = nextX - halfBox - (isLast ? side * 3 : 0);
      const half = (endX - x) / 2;
      path += `C${x + half} ${y} ${endX - half} ${nextY} ${endX} ${nextY}`;
      if (!isLast) path += `H${nextX + halfBox}`;
      [x, y] = [isLast ? endX : nextX + halfBox, nextY];
    });
    return path;
  }

  /**
   * The path between two services that share GPUs; null where one is not drawn.
   * @param {string} from
   * @param {string} to
   */
  arc(from, to) {
    const [start, end] = [this.places.get(from), this.places.get(to)];
    if (!start || !end) return null;
    const [[x, y], [endX, endY]] = [start, end];
    const halfBox = this.boxWidth / 2;
    if (Math.abs(x - endX) < 1) {
      if (Math.abs(endY - y) > ROW_HEIGHT * 1.2) {
        const bulge = x + halfBox + 26;
        return `M${x + halfBox} ${y}C${bulge} ${y} ${bulge} ${endY} ${endX + halfBox + 4} ${endY}`;
      }
      const down = endY > y ? 1 : -1;
      return `M${x} ${y + (down * BOX_HEIGHT) / 2}L${endX} ${endY - down * (BOX_HEIGHT / 2 + 4)}`;
    }
    const side = endX > x ? 1 : -1;
    const half = (endX - x) / 2;
    const tip = endX - side * (halfBox + 4);
    return `M${x + side * halfBox} ${y}C${x + half} ${y} ${endX - half} ${endY} ${tip} ${endY}`;
  }

  /** @param {MapNode} node */
  node(node) {
    const service = this.services.get(node.id);
    const isSuspect = service?.suspect;
    const { word, box, sign } = nodeState(node, service);
    const [x, y] = this.places.get(node.id) ?? [0, 0];
    const values = service?.rate
      ? `, ${formatRate(service.rate)}, p95 ${formatSeconds(service.p95)}, errors ${formatPercent(service.error_rate)}`
      : "";
    const order = service?.order ? `${service.order} in order of first anomaly, ` : "";
    const role = isSuspect ? `${ROLES.suspect}, ` : order;
    const name = `${inWords(node.id)}: ${sign === SUSPECT_SIGN ? "" : role}${word}${values}`;
    const hasFlag = isSuspect && sign !== SUSPECT_SIGN;
    const label = truncate(this.label(node.id), Math.floor((this.boxWidth - (hasFlag ? 54 : 36)) / 7.6));
    const valueText = truncate(nodeValueText(service, word), Math.floor((this.boxWidth - 24) / 6.1));
    const [left, top] = [x - this.boxWidth / 2, y - BOX_HEIGHT / 2];
    const group = s(
      "g",
      { class: `node ${box} ${node.kind}`, transform: `translate(${left} ${top})` },
      s("title", null, name),
      s("rect", { class: "box", width: this.boxWidth, height: BOX_HEIGHT, rx: 8 }),
      s("text", { x: 12, y: 19, class: "name" }, label),
      s("text", { x: 12, y: 36, class: "value" }, valueText),
      s("text", { x: this.boxWidth - 16, y: 19, class: "shape" }, sign),
      hasFlag ? s("text", { x: this.boxWidth - 36, y: 19, class: "flag" }, SUSPECT_SIGN) : null,
      isSuspect ? null : orderBadge(service?.order),
    );
    return service ? s("a", { href: serviceHref(node.id), "data-go": true, "aria-label": name }, group) : group;
  }
}

/**
 * @param {string} id
 * @param {number} size
 */
const arrowHead = (id, size) =>
  s(
    "marker",
    {
      id,
      viewBox: "0 0 8 8",
      refX: "7",
      refY: "4",
      markerWidth: size,
      markerHeight: size,
      markerUnits: "userSpaceOnUse",
      orient: "auto-start-reverse",
    },
    s("path", { d: "M0 0L8 4L0 8z" }),
  );

/** @param {number | null | undefined} order */
const orderBadge = (order) =>
  order
    ? [
        s("circle", { cx: 0, cy: 2, r: 10, class: "order" }),
        s("text", { x: 0, y: 6, class: "order-number", "text-anchor": "middle" }, order),
      ]
    : null;

/**
 * The state of a service, its word and sign, and the classes of its box.
 * @param {MapNode} node
 * @param {MapService | undefined} service
 * @returns {{ state: State, word: string, sign: string, box: string }}
 */
export const nodeState = (node, service) => {
  if (!service) {
    const word = { outside: "external", database: "database" }[node.kind] ?? "";
    return { state: "idle", word, sign: "", box: "idle" };
  }
  const shown = stateOf(service);
  const isMild = shown.state === "warning" && service.stage !== "degraded";
  return { ...shown, box: isMild ? "warning early" : shown.state };
};

/**
 * The request rate with p95, or with the error rate where that is critical; without requests the state.
 * @param {MapService | undefined} service
 * @param {string} word
 */
export const nodeValueText = (service, word) => {
  if (!service?.rate) return capitalized(word.split("; ").at(-1) ?? word);
  const isFailing = (service.error_rate ?? 0) >= ERROR_RATE_CRITICAL;
  const worst = isFailing ? `errors ${formatPercent(service.error_rate)}` : `p95 ${formatSeconds(service.p95)}`;
  return `${formatRate(service.rate)} · ${worst}`;
};
