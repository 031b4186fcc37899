// The service map as SVG at the real width; below 600 px a list of calls, since a shrunk picture cannot be read.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const { h, s, put } = F;
  const map = (F.map = {});
  const ROW = 66;
  const TALL = 46;
  const NARROW = 600;

  const edgeClass = (failed, attempts) => (failed >= 0.05 ? "crit" : failed >= 0.01 || attempts >= 1.2 ? "warn" : "plain");
  const tell = (edge, value) => {
    const [, , rate, failed, p95, attempts] = value || [];
    if (!F.known(rate)) return `${edge.client} calls ${edge.server}: no data`;
    return `${edge.client} calls ${edge.server}: ${F.rate(rate)}, ${F.percent(failed)} failed, p95 ${F.seconds(p95)}, ${attempts === null || attempts === undefined ? "retries unknown" : `${(attempts - 1).toFixed(2)} retries per call`}`;
  };

  map.draw = (data, topology) => {
    const body = F.byId("map");
    if (!body) return;
    const { nodes, edges, heights, hidden } = topology.map;
    if (!nodes.length) {
      put(body);
      return F.panel("map", "empty", "No service has called another yet: no spans with a caller and a callee have arrived. Send OTLP spans to port 4317 (gRPC) or 4318 (HTTP).");
    }
    const values = new Map(data.edges.map((row) => [`${row[0]}\n${row[1]}`, row]));
    const of = (edge) => values.get(`${edge.client}\n${edge.server}`);
    const condition = Object.fromEntries(data.services.map((service) => [service.id, service]));
    const width = body.clientWidth;
    put(body,
      width < NARROW ? null : picture(nodes, edges, heights, width, of, condition, data),
      h("p", { class: "legend" },
        ["ok", "warning", "critical", "idle", "unknown"].map((health) => F.state(health, { ok: "as usual", warning: "warning", critical: "critical", idle: "no requests", unknown: "no data" }[health])),
        h("span", { class: "key starves" }, "starves of GPU time"), hidden ? h("span", null, `${hidden} more services are not drawn`) : null),
      h("details", { open: width < NARROW },
        h("summary", null, "Calls as a table"),
        h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Calls, table" },
          h("table", null,
            h("thead", null, h("tr", null, ["Caller → callee", "Calls", "Errors", "p95"].map((name) => h("th", { scope: "col" }, name)), h("th", { scope: "col", class: "minor" }, "Retries per call"))),
            h("tbody", null, edges.map((edge) => {
              const [, , rate, failed, p95, attempts] = of(edge) || [];
              return h("tr", null, h("th", { scope: "row" }, `${edge.client} → ${edge.server}`), h("td", null, F.known(rate) ? F.rate(rate) : "no data"), h("td", null, F.percent(failed)), h("td", null, F.seconds(p95)), h("td", { class: "minor" }, attempts === null || attempts === undefined ? "–" : (attempts - 1).toFixed(2)));
            }))))));
    F.panel("map", "ready");
  };

  const picture = (nodes, edges, heights, width, of, condition, data) => {
    const columns = heights.length;
    const step = width / columns;
    const box = Math.min(190, Math.max(84, step - 44));
    const height = Math.max(...heights) * ROW + 8;
    const x = (column) => step * (column + 0.5);
    const y = (column, row) => (height - heights[column] * ROW) / 2 + (row + 0.5) * ROW;
    const place = Object.fromEntries(nodes.map((node) => [node.id, [x(node.column), y(node.column, node.row)]]));
    const label = F.labels(nodes.map((node) => node.id));
    const most = Math.max(1, ...data.edges.map((row) => row[2] || 0));
    const lines = edges.map((edge) => {
      const value = of(edge);
      const thick = 1 + 5 * Math.sqrt((value?.[2] || 0) / most);
      return s("path", { d: curve(edge, x, y, box), class: `edge ${edgeClass(value?.[3], value?.[5])}${value?.[2] ? "" : " still"}`, "stroke-width": thick.toFixed(1), "marker-end": "url(#tip)" }, s("title", null, tell(edge, value)));
    });
    const starving = data.warnings.filter((w) => place[w.aggressor] && place[w.victim]).map((w) =>
      s("g", { class: "starves" }, s("path", { d: arc(place[w.aggressor], place[w.victim], box), "marker-end": "url(#tip-crit)" }, s("title", null, `${w.aggressor} starves ${w.victim}`))));
    return s("svg", { width, height, class: "map", role: "group", "aria-label": "Service map" },
      s("defs", null, ["tip", "tip-crit"].map((id) => s("marker", { id, viewBox: "0 0 8 8", refX: "7", refY: "4", markerWidth: "8", markerHeight: "8", markerUnits: "userSpaceOnUse", orient: "auto" }, s("path", { d: "M0 0L8 4L0 8z" })))),
      lines, nodes.map((node) => box_of(node, label(node.id), place[node.id], box, condition[node.id])), starving);
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
      return between ? `M${ax + box / 2} ${ay}C${bulge} ${ay} ${bulge} ${vy} ${vx + box / 2 + 4} ${vy}` : `M${ax} ${sy}L${vx} ${ey}`;
    }
    const side = vx > ax ? 1 : -1;
    const half = (vx - ax) / 2;
    return `M${ax + (side * box) / 2} ${ay}C${ax + half} ${ay} ${vx - half} ${vy} ${vx - side * (box / 2 + 4)} ${vy}`;
  };

  const box_of = (node, label, [cx, cy], box, service) => {
    const health = service ? service.health : "idle";
    const plain = node.kind === "outside" ? "outside" : node.kind === "database" ? "database" : "";
    const word = service ? service.word : plain;
    const figures = service?.rate ? `${F.rate(service.rate)} · p95 ${F.seconds(service.p95)}` : word;
    const second = service && service.health !== "ok" && service.rate ? `${service.word} · p95 ${F.seconds(service.p95)}` : figures;
    const letters = Math.floor((box - 42) / 7.6);
    const name = `${node.id}: ${word}${service?.rate ? `, ${F.rate(service.rate)}, p95 ${F.seconds(service.p95)}, ${F.percent(service.failed)} failed` : ""}`;
    const group = s("g", { class: `node ${health} ${node.kind}`, transform: `translate(${cx - box / 2} ${cy - TALL / 2})` },
      s("title", null, name), s("rect", { class: "box", width: box, height: TALL, rx: 8 }),
      s("rect", { width: 5, height: TALL - 12, x: 6, y: 6, rx: 2.5, style: `fill:var(--service-${Number(node.colour)})` }),
      s("text", { x: 18, y: 19, class: "name" }, F.short(label, letters)),
      s("text", { x: 18, y: 36, class: "value" }, F.short(second, Math.floor((box - 24) / 6.1))),
      s("text", { x: box - 16, y: 19, class: "shape" }, F.SHAPES[health]));
    return service ? s("a", { href: F.tracesOf(node.id), "data-go": true, "aria-label": name }, group) : group;
  };
})();
