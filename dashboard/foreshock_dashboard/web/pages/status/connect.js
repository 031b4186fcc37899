// The commands that connect data sources to this hub.
import { byId, h, put, setPanel, unbrokenWords } from "#web/assets/dom.js";
import { filled } from "#web/assets/format.js";
import { CONNECT_NOTES } from "#web/assets/words.js";

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
    connectStep("GPU hosts", "foreshock-exporter", CONNECT_NOTES.exporter),
    connectStep(
      "Services",
      `OTEL_EXPORTER_OTLP_ENDPOINT=http://${host}:${httpPort}`,
      filled(CONNECT_NOTES.otlp, { port: grpcPort }),
    ),
    connectStep(
      "Existing Prometheus",
      "foreshock serve --prometheus-url http://prometheus:9090",
      CONNECT_NOTES.prometheus,
    ),
    connectStep("Existing Tempo or Jaeger", "foreshock serve --tempo-url http://tempo:3200", CONNECT_NOTES.traces),
    connectStep(
      "Prometheus alerts",
      `foreshock generate rules --hub-url ${location.origin} --output-dir rules`,
      CONNECT_NOTES.rules,
    ),
    methods.length ? h("div", null, h("dt", null, "Access"), h("dd", null, methods.join(", "))) : null,
  );
  put(byId("connect"), h("details", { id: "connect-steps" }, h("summary", null, "Commands"), steps));
  setPanel("connect", "ready");
};
