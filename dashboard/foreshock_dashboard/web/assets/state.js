// The newest values of the page that is shown, as the hub sent them.

/** @typedef {import("#web/assets/payload.d.ts").LivePayload} LivePayload */
/** @typedef {import("#web/assets/payload.d.ts").Topology} Topology */
/** @typedef {import("#web/assets/payload.d.ts").User} User */

/** @type {{ data: LivePayload | null, topology: Topology | null, time: number | null, user: User | null }} */
export const live = {
  /** The page's own values. */
  data: null,
  /** Names of services, hosts and GPUs, to which the values refer by index. */
  topology: null,
  /** The hub's clock in Unix seconds; it may run faster than this machine's. */
  time: null,
  /** The signed-in user; without authentication the name is empty. */
  user: null,
};

/** The hub's time, or this machine's before the first answer. */
export const hubTime = () => live.time || Date.now() / 1000;
