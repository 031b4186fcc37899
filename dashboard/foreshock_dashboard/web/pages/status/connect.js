// The commands that connect data sources to this hub.
import { byId, h, put, setPanel, unbrokenWords } from "#web/assets/dom.js";

/** @typedef {import("#web/pages/status/payload.d.ts").StatusData} StatusData */

const DEFAULT_OTLP_PORTS = { http: 4318, grpc: 4317 };

/**
 * A way to connect something: a command to copy, and what it does.
 * @param {string} name
 * @param {string} command
 * @param {string} note
 */
const connectStep = (name, command, note) =>
  h(
    "div",
    null,
    h("dt", null, name),
    h(
      "dd",
      null,
      h("code", null, unbrokenWords(command)),
      " ",
      h(
        "button",
        { type: "button", class: "quiet small", "data-copy": command, "aria-label": `Copy: ${name}` },
        "Copy",
      ),
      h("p", { class: "note" }, unbrokenWords(note)),
    ),
  );

/** @param {StatusData} data */
export const drawConnect = ({ hub: { sources = {} } }) => {
  const host = location.hostname.includes(":") ? `[${location.hostname}]` : location.hostname;
  const httpPort = sources.otlp_http_port || DEFAULT_OTLP_PORTS.http;
  const grpcPort = sources.otlp_grpc_port || DEFAULT_OTLP_PORTS.grpc;
  const methods = sources.authentication ?? [];
  const steps = h(
    "dl",
    { class: "steps" },
    connectStep(
      "GPU hosts",
      "foreshock-exporter",
      "Then list them: foreshock serve --targets HOST,HOST, or let Prometheus scrape port 10877.",
    ),
    connectStep(
      "Services",
      `OTEL_EXPORTER_OTLP_ENDPOINT=http://${host}:${httpPort}`,
      `Any OpenTelemetry SDK or Collector; gRPC on port ${grpcPort}.`,
    ),
    connectStep(
      "Existing Prometheus",
      "foreshock serve --prometheus-url http://prometheus:9090",
      "Read metrics from Prometheus instead of the embedded store.",
    ),
    connectStep(
      "Existing Tempo or Jaeger",
      "foreshock serve --tempo-url http://tempo:3200",
      "Or --jaeger-url http://jaeger:16686.",
    ),
    connectStep(
      "Prometheus alerts",
      `foreshock generate rules --hub-url ${location.origin} --output-dir rules`,
      "Rules that read this hub's /metrics and link to its pages.",
    ),
    methods.length ? h("div", null, h("dt", null, "Access"), h("dd", null, methods.join(", "))) : null,
  );
  put(byId("connect"), h("details", { id: "connect-steps" }, h("summary", null, "Commands"), steps));
  setPanel("connect", "ready");
};
