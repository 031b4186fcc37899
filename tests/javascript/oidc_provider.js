// An OpenID provider for tests: any user signs in, with the password `x`; the user's groups are those after a `+` in the name.
// Arguments: port, secret of the client `foreshock`, and its redirect URI. Prints a line once it listens.
// The client `machine` gets tokens for itself, and may examine and revoke them.
// Users whose names begin with `unverified` or `objects` have claims that differ.
// @ts-expect-error: it ships no types
import { Provider } from "oidc-provider";

const [port, secret, redirectUri] = process.argv.slice(2);

/** @param {string} email */
function account(email) {
  const [name = "", groups = ""] = email.split("+");
  const claims = {
    sub: `sub-${email}`,
    email,
    email_verified: name.startsWith("unverified-text") ? "false" : !name.startsWith("unverified"),
    groups: name === "objects" ? [{ id: groups }, 7, groups] : groups.split("+"),
  };
  return { accountId: email, claims: () => claims };
}

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    { client_id: "foreshock", client_secret: secret, redirect_uris: [redirectUri] },
    {
      client_id: "machine",
      client_secret: secret,
      redirect_uris: [],
      grant_types: ["client_credentials"],
      response_types: [],
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  claims: { email: ["email", "email_verified", "groups"], profile: [] },
  cookies: { keys: ["test"] },
  findAccount: (/** @type {unknown} */ _, /** @type {string} */ email) => account(email),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
