// The service map as SVG at the real width; below 600 px a list of calls, since a shrunk picture cannot be read.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const { h, s, put } = F;
  const map = (F.map = {});
  const ROW = 66;
  const TALL = 46;
  const NARROW = 600;

  const edgeClass = (failed, attempts) =>
    failed >= 0.05 ? "crit" : failed >= 0.01 || attempts >= 1.2 ? "warn" : "plain";
  const tell = (edge, value) => {
    const [, , rate, failed, p95, attempts] = value || [];
    if (!F.known(rate)) return `${edge.client} calls ${edge.server}: no data`;
    return `${edge.client} calls ${edge.server}: ${F.rate(rate)}, ${F.percent(failed)} failed, p95 ${F.seconds(p95)}, ${attempts === null || attempts === undefined ? "retries unknown" : `${(attempts - 1).toFixed(2)} retries per call`}`;
  };

  // data: services (with stage and order of hit), edges, sharing (who waits for whom on GPUs), path (how it spread), chosen.
  map.draw = (data, topology) => {
    const body = F.byId("map");
    if (!body) return;
    const { nodes, edges, heights, hidden } = topology.map;
    if (!nodes.length) {
      put(body);
      return F.panel(
        "map",
        "empty",
        "No service has called another yet: no spans with a caller and a callee have arrived. Send OTLP spans to port 4317 (gRPC) or 4318 (HTTP).",
      );
    }
    const values = new Map(data.edges.map((row) => [`${row[0]}\n${row[1]}`, row]));
    const of = (edge) => values.get(`${edge.client}\n${edge.server}`);
    const width = body.clientWidth;
    const culprits = new Set(data.chosen.map((item) => item.aggressor).filter(Boolean));
    put(
      body,
      width < NARROW ? null : picture(nodes, edges, heights, width, of, data, culprits),
      h(
        "p",
        { class: "legend" },
        F.state("ok", "as usual"),
        ["early", "degraded", "failing"].map(F.stage),
        F.state("idle", "no requests"),
        F.state("unknown", "no data"),
        h("span", { class: "key spread" }, "how it spread"),
        h("span", { class: "key starves" }, "waits for GPU time of"),
        culprits.size ? h("span", null, h("span", { class: "flag", "aria-hidden": "true" }, "⚑"), " culprit") : null,
        hidden ? h("span", null, `${hidden} more services are not drawn`) : null,
      ),
      h(
        "details",
        { open: width < NARROW },
        h("summary", null, "Map as tables"),
        data.path.length
          ? [
              h("h3", null, "How it spread"),
              h(
                "ol",
                { class: "path" },
                data.path.map((step) => h("li", null, told(step))),
              ),
            ]
          : null,
        h(
          "div",
          { class: "scroll", tabindex: "0", role: "region", "aria-label": "Calls, table" },
          h(
            "table",
            null,
            h(
              "thead",
              null,
              h(
                "tr",
                null,
                ["Caller → callee", "Calls", "Errors", "p95"].map((name) => h("th", { scope: "col" }, name)),
                h("th", { scope: "col", class: "minor" }, "Retries per call"),
              ),
            ),
            h(
              "tbody",
              null,
              edges.map((edge) => {
                const [, , rate, failed, p95, attempts] = of(edge) || [];
                return h(
                  "tr",
                  null,
                  h("th", { scope: "row" }, `${edge.client} → ${edge.server}`),
                  h("td", null, F.known(rate) ? F.rate(rate) : "no data"),
                  h("td", null, F.percent(failed)),
                  h("td", null, F.seconds(p95)),
                  h(
                    "td",
                    { class: "minor" },
                    attempts === null || attempts === undefined ? "–" : (attempts - 1).toFixed(2),
                  ),
                );
              }),
            ),
          ),
        ),
        data.sharing.length
          ? h(
              "div",
              { class: "scroll", tabindex: "0", role: "region", "aria-label": "Waits for GPUs, table" },
              h(
                "table",
                null,
                h(
                  "thead",
                  null,
                  h(
                    "tr",
                    null,
                    ["Waits → runs", "Share of time", "GPUs"].map((name) => h("th", { scope: "col" }, name)),
                  ),
                ),
                h(
                  "tbody",
                  null,
                  data.sharing.map(([victim, aggressor, ratio, gpus]) =>
                    h(
                      "tr",
                      null,
                      h(
                        "th",
                        { scope: "row" },
                        h(
                          "a",
                          { href: F.to("/contention", { victim, aggressor }), "data-go": true },
                          `${victim} → ${aggressor}`,
                        ),
                      ),
                      h("td", null, F.percent(ratio)),
                      h("td", null, gpus),
                    ),
                  ),
                ),
              ),
            )
          : null,
      ),
    );
    F.panel("map", "ready");
  };
  const VIA = { gpu: "takes the GPU time of", load: "sends its load to", call: "slows its caller" };
  const told = ({ from, to, via }) => `${from} ${VIA[via]} ${to}`;

  const picture = (nodes, edges, heights, width, of, data, culprits) => {
    const columns = heights.length;
    const step = width / columns;
    const box = Math.min(190, Math.max(84, step - 44));
    const height = Math.max(...heights) * ROW + 8;
    const x = (column) => step * (column + 0.5);
    const y = (column, row) => (height - heights[column] * ROW) / 2 + (row + 0.5) * ROW;
    const place = Object.fromEntries(nodes.map((node) => [node.id, [x(node.column), y(node.column, node.row)]]));
    const service = Object.fromEntries(data.services.map((one) => [one.id, one]));
    const label = F.labels(nodes.map((node) => node.id));
    const most = Math.max(1, ...data.edges.map((row) => row[2] || 0));
    const lines = edges.map((edge) => {
      const value = of(edge);
      const thick = 1 + 5 * Math.sqrt((value?.[2] || 0) / most);
      return s(
        "path",
        {
          d: curve(edge, x, y, box),
          class: `edge ${edgeClass(value?.[3], value?.[5])}${value?.[2] ? "" : " still"}`,
          "stroke-width": thick.toFixed(1),
          "marker-end": "url(#tip)",
        },
        s("title", null, tell(edge, value)),
      );
    });
    const steps = new Set(data.path.filter((one) => one.via === "gpu").map((one) => `${one.to}\n${one.from}`));
    const sharing = data.sharing
      .filter(([victim, aggressor]) => place[victim] && place[aggressor] && !steps.has(`${victim}\n${aggressor}`))
      .map(([victim, aggressor, ratio, gpus]) =>
        s(
          "path",
          {
            d: arc(place[aggressor], place[victim], box),
            class: "shares",
            "stroke-width": (1 + 3 * Math.min(1, ratio / 0.5)).toFixed(1),
          },
          s(
            "title",
            null,
            `${victim} waits for ${aggressor} ${F.percent(ratio)} of the time on ${gpus} GPU${gpus > 1 ? "s" : ""}`,
          ),
        ),
      );
    const route = new Map(edges.map((edge) => [`${edge.client}\n${edge.server}`, edge]));
    const spread = data.path.map((one) => {
      if (one.via === "gpu")
        return place[one.from] && place[one.to]
          ? s(
              "path",
              { d: arc(place[one.from], place[one.to], box), class: "step gpu", "marker-end": "url(#tip-crit)" },
              s("title", null, told(one)),
            )
          : null;
      const edge = route.get(one.via === "load" ? `${one.from}\n${one.to}` : `${one.to}\n${one.from}`);
      return edge
        ? s(
            "path",
            {
              d: curve(edge, x, y, box),
              class: `step ${one.via}`,
              [one.via === "load" ? "marker-end" : "marker-start"]: "url(#tip-crit)",
            },
            s("title", null, told(one)),
          )
        : null;
    });
    return s(
      "svg",
      { width, height, class: "map", role: "group", "aria-label": "Service map" },
      s(
        "defs",
        null,
        ["tip", "tip-crit"].map((id) =>
          s(
            "marker",
            {
              id,
              viewBox: "0 0 8 8",
              refX: "7",
              refY: "4",
              markerWidth: id === "tip" ? "8" : "13",
              markerHeight: id === "tip" ? "8" : "13",
              markerUnits: "userSpaceOnUse",
              orient: "auto-start-reverse",
            },
            s("path", { d: "M0 0L8 4L0 8z" }),
          ),
        ),
      ),
      lines,
      sharing,
      s("g", { class: "spread" }, spread),
      nodes.map((node) => box_of(node, label(node.id), place[node.id], box, service[node.id], culprits.has(node.id))),
    );
  };
  // Through the middle of every bend, so that an edge passes between boxes and not behind them.
  const curve = (edge, x, y, box) => {
    const points = edge.points.map(([column, row]) => [x(column), y(column, row)]);
    const last = points.length - 1;
    const side = edge.back ? -1 : 1;
    let [px, py] = [points[0][0] + (side * box) / 2, points[0][1]];
    let path = `M${px} ${py}`;
    points.slice(1).forEach(([nx, ny], i) => {
      const end = i + 1 === last;
      const tx = end ? nx - side * (box / 2 + 3) : nx - (side * box) / 2;
      const half = (tx - px) / 2;
      path += `C${px + half} ${py} ${tx - half} ${ny} ${tx} ${ny}`;
      if (!end) path += `H${nx + (side * box) / 2}`;
      [px, py] = end ? [tx, ny] : [nx + (side * box) / 2, ny];
    });
    return path;
  };
  const arc = ([ax, ay], [vx, vy], box) => {
    if (Math.abs(ax - vx) < 1) {
      const down = vy > ay ? 1 : -1;
      const [sy, ey] = [ay + (down * TALL) / 2, vy - down * (TALL / 2 + 4)];
      const between = Math.abs(vy - ay) > ROW * 1.2;
      const bulge = between ? ax + box / 2 + 26 : ax;
      return between
        ? `M${ax + box / 2} ${ay}C${bulge} ${ay} ${bulge} ${vy} ${vx + box / 2 + 4} ${vy}`
        : `M${ax} ${sy}L${vx} ${ey}`;
    }
    const side = vx > ax ? 1 : -1;
    const half = (vx - ax) / 2;
    return `M${ax + (side * box) / 2} ${ay}C${ax + half} ${ay} ${vx - half} ${vy} ${vx - side * (box / 2 + 4)} ${vy}`;
  };

  const LOOK = { early: "warning early", degraded: "warning", failing: "critical" };
  const box_of = (node, label, [cx, cy], box, service, culprit) => {
    const staged = service?.stage && service.stage !== "calm";
    const health = staged
      ? LOOK[service.stage]
      : service?.stage
        ? "ok"
        : service?.word.includes("no data")
          ? "unknown"
          : "idle";
    const plain = node.kind === "outside" ? "outside" : node.kind === "database" ? "database" : "";
    const word = staged
      ? F.STAGES[service.stage]
      : service
        ? service.stage === "calm" && service.rate
          ? "as usual"
          : service.word
        : plain;
    const rates = service?.rate ? `${F.rate(service.rate)} · p95 ${F.seconds(service.p95)}` : word;
    const second = staged
      ? `${service.failed >= 0.05 ? `${F.percent(service.failed)} failed · ` : ""}p95 ${F.seconds(service.p95)}`
      : rates;
    const letters = Math.floor((box - 42) / 7.6);
    const part = culprit ? "culprit, " : service?.order ? `hit ${service.order}, ` : "";
    const name = `${node.id}: ${part}${word}${service?.rate ? `, ${F.rate(service.rate)}, p95 ${F.seconds(service.p95)}, ${F.percent(service.failed)} failed` : ""}`;
    const group = s(
      "g",
      { class: `node ${health} ${node.kind}`, transform: `translate(${cx - box / 2} ${cy - TALL / 2})` },
      s("title", null, name),
      s("rect", { class: "box", width: box, height: TALL, rx: 8 }),
      s("rect", {
        width: 5,
        height: TALL - 12,
        x: 6,
        y: 6,
        rx: 2.5,
        style: `fill:var(--service-${Number(node.colour)})`,
      }),
      s("text", { x: 18, y: 19, class: "name" }, F.short(label, letters)),
      s("text", { x: 18, y: 36, class: "value" }, F.short(second, Math.floor((box - 24) / 6.1))),
      s("text", { x: box - 16, y: 19, class: "shape" }, staged ? F.MARKS[service.stage] : F.SHAPES[health]),
      culprit
        ? s("text", { x: -6, y: 6, class: "flag" }, "⚑")
        : service?.order
          ? [
              s("circle", { cx: 0, cy: 2, r: 10, class: "hit" }),
              s("text", { x: 0, y: 6, class: "hit-number", "text-anchor": "middle" }, service.order),
            ]
          : null,
    );
    return service ? s("a", { href: F.serviceOf(node.id), "data-go": true, "aria-label": name }, group) : group;
  };
})();
