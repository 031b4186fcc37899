// The table twin of every chart that Plotly draws: the same figures, for whoever cannot see or point at the picture.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const { h, put } = F;
  const MOST = 120;

  // Names come escaped for Plotly, which reads tags; here they are text again.
  const plain = (text) =>
    String(text ?? "")
      .replaceAll(/<br ?\/?>/g, ", ")
      .replaceAll("&lt;", "<")
      .replaceAll("&gt;", ">")
      .replaceAll("&amp;", "&");
  // As the tooltip tells it: the format and unit of the figure's own template.
  const told = (trace, value) => {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return plain(value);
    const [, format = "", unit = ""] = /%\{y:?([^}]*)\}([^<]*)/.exec(trace.hovertemplate || "") || [];
    if (format.includes("%")) return F.percent(value);
    if (unit === "s") return F.seconds(value);
    if (unit === "/s") return F.rate(value);
    return `${Number(value.toPrecision(4))}${plain(unit)}`;
  };
  // Lines share their times: one row a time, the newest first. Other marks have a row each, with the words of their tooltip.
  const rows = (data) => {
    const lines = data.filter(
      (trace) => trace.type === "scatter" && (trace.mode || "").includes("lines") && !trace.text?.length && trace.name,
    );
    if (lines.length) {
      const at = new Map();
      lines.forEach((trace, i) =>
        Array.from(trace.x || []).forEach((x, j) => {
          if (!at.has(x)) at.set(x, Array(lines.length).fill(null));
          at.get(x)[i] = trace.y[j];
        }),
      );
      const times = [...at.keys()].toSorted().toReversed();
      return [
        ["Time", ...lines.map((trace) => plain(trace.name))],
        times.map((time) => [plain(time), ...at.get(time).map((value, i) => told(lines[i], value))]),
      ];
    }
    const cells = data.flatMap((trace) =>
      trace.type === "heatmap"
        ? (trace.text || []).flatMap((row, r) =>
            Array.from(row)
              .map((text, c) => text && [plain(trace.x[c]), plain(text)])
              .filter(Boolean),
          )
        : Array.from(trace.x || []).map((x, i) => [
            plain(x),
            plain(trace.text?.[i] ?? `${trace.name || ""} ${told(trace, trace.y?.[i])}`),
          ]),
    );
    return [["At", "What"], cells.toReversed()];
  };
  const draw = (twin) => {
    const graph = F.byId(twin.dataset.twin)?.querySelector(".js-plotly-plot");
    if (!twin.open || !twin.isConnected) return;
    if (!graph?.data) return void setTimeout(() => draw(twin), 300); // Plotly is still being loaded
    const [head, body] = rows(graph.data);
    const title = F.byId(`${twin.dataset.twin}-title`)?.textContent || "Chart";
    put(
      twin.querySelector(".twin-body"),
      body.length
        ? h(
            "div",
            { class: "scroll twin-scroll", tabindex: "0", role: "region", "aria-label": `${title}, table` },
            h(
              "table",
              { class: "rows" },
              h(
                "thead",
                null,
                h(
                  "tr",
                  null,
                  head.map((name) => h("th", { scope: "col" }, name)),
                ),
              ),
              h(
                "tbody",
                null,
                body.slice(0, MOST).map(([first, ...rest]) =>
                  h(
                    "tr",
                    null,
                    h("th", { scope: "row" }, first),
                    rest.map((value) => h("td", null, value)),
                  ),
                ),
              ),
            ),
            body.length > MOST
              ? h("p", { class: "note" }, `The first ${MOST} of ${body.length}; a shorter range shows more.`)
              : null,
          )
        : h("p", { class: "note" }, plain(graph.layout?.annotations?.[0]?.text || "Nothing is drawn.")),
    );
    if (!graph.twinned) {
      graph.twinned = true;
      graph.on("plotly_afterplot", () => draw(twin));
    }
  };
  document.addEventListener(
    "toggle",
    (event) => {
      if (event.target.classList?.contains("twin")) draw(event.target);
    },
    true,
  );
})();
