// Requests to the hub's JSON API.

const TIMEOUT_MS = 10_000;

/** A refusal of the hub, in its own words. */
export class HubError extends Error {
  /**
   * @param {string} message
   * @param {number} status of HTTP
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * An answer: its body, the hub's time in Unix seconds and the ETag, or only the time where nothing changed.
 * @template T
 * @typedef {{ unchanged: true, time: number } | { unchanged: false, body: T, time: number, etag: string }} Answer
 */

/**
 * Ask the hub for JSON.
 * @param {string} path
 * @param {string} [etag] of the answer that is known already
 * @returns {Promise<Answer<any>>}
 */
export const fetchAnswer = async (path, etag = "") => {
  const headers = etag ? { "If-None-Match": etag } : undefined;
  const response = await fetch(path, {
    ...(headers && { headers }),
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (response.status === 304) return { unchanged: true, time: Number(response.headers.get("Foreshock-Time")) };
  const body = await response.json();
  if (response.status === 401) location.reload(); // a session that has ended: the page leads to the login
  if (!response.ok) throw new HubError(body.error || `status ${response.status}`, response.status);
  return { unchanged: false, body, time: body.time, etag: response.headers.get("ETag") ?? "" };
};

/**
 * Ask the hub for JSON and return its body.
 * @param {string} path
 * @returns {Promise<any>}
 */
export const fetchJson = async (path) => {
  const answer = await fetchAnswer(path);
  return answer.unchanged ? null : answer.body;
};

/**
 * Send JSON to the hub and return the body of its answer.
 * @param {string} method
 * @param {string} path
 * @param {Record<string, unknown>} content
 * @returns {Promise<any>}
 */
export const sendJson = async (method, path, content) => {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(path, {
    method,
    headers,
    body: JSON.stringify(content),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const body = await response.json();
  if (!response.ok) throw new HubError(body.error || `status ${response.status}`, response.status);
  return body;
};

/**
 * The hub's own words of a refusal, else a sentence for a hub that does not answer.
 * @param {unknown} error
 * @param {string} otherwise
 */
export const errorMessage = (error, otherwise) => (error instanceof HubError ? error.message : otherwise);
