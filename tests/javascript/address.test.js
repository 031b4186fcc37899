// Addresses of pages and of the API keep the cluster that the reader chose.
import assert from "node:assert/strict";
import { test } from "node:test";
import { visit } from "./document.js";

const { ofCluster, pageHref, serviceHref } = await import("#web/assets/address.js");
const { atRangeEnd } = await import("#web/assets/widgets/time_range.js");

test("links to pages keep the cluster and the time range, and nothing else", () => {
  visit("/services?cluster=eu&from=now-1h&q=x");
  assert.equal(pageHref("/fleet"), "/fleet?from=now-1h&cluster=eu");
  assert.equal(serviceHref("eu//shop/chat"), "/services/eu//shop/chat?from=now-1h&cluster=eu");
});

test("requests are for the cluster of the page", () => {
  visit("/services?cluster=eu%2F1");
  assert.equal(ofCluster("/api/services"), "/api/services?cluster=eu%2F1");
  assert.equal(ofCluster("/api/report/x?as=zip"), "/api/report/x?as=zip&cluster=eu%2F1");
  assert.equal(atRangeEnd("/api/topology"), "/api/topology?cluster=eu%2F1");
});

test("without a cluster the addresses are as they were", () => {
  visit("/services");
  assert.equal(ofCluster("/api/services"), "/api/services");
  assert.equal(pageHref("/fleet"), "/fleet");
});
