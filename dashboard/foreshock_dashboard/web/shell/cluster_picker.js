// The choice of a cluster in the bar, where there are several. The address has it, so that links keep it.
import { hrefWith, navigate, param } from "#web/assets/address.js";
import { byId, closest, h, put } from "#web/assets/dom.js";

/** @param {string} id */
const option = (id) => h("option", { value: id, selected: param("cluster") === id }, id || "All clusters");

/**
 * Draw the choice among clusters; it is hidden where there is none to make.
 * @param {readonly string[]} clusters
 */
export const drawClusters = (clusters) => {
  const place = byId("clusters");
  if (!place) return;
  place.hidden = !clusters.length;
  const label = { id: "cluster", class: "badge", "aria-label": "Cluster", title: "Cluster" };
  put(place, clusters.length ? h("select", label, ...["", ...clusters].map(option)) : null);
};

/** Show another cluster when it is chosen. */
export const startClusters = () => {
  document.addEventListener("change", (event) => {
    const select = closest(event, "#cluster");
    if (select instanceof HTMLSelectElement)
      navigate(hrefWith({ cluster: select.value, service: null, incident: null }));
  });
};
