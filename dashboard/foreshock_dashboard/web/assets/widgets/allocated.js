// A container with a GPU of whose service no process is seen.
import { link, serviceHref } from "#web/assets/address.js";
import { GPU_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").Allocated} Allocated */

/**
 * @param {Allocated} item
 * @param {boolean} [withContainer]
 */
export const allocatedText = ({ pod, container, service }, withContainer = false) => [
  "Allocated to ",
  service ? link(serviceHref(service), pod) : pod,
  withContainer && container ? ` (container ${container})` : "",
  `, ${GPU_TEXTS.no_process}`,
];
