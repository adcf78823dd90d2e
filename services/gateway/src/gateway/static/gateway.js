// What is asked of the gateway, and its refusals in words.

export const API = "/api/v1";

export class TokenNeeded extends Error {
  constructor() {
    super("This is not the token. Unless it was given one, the gateway makes a new token at every start.");
  }
}

export const token = () => sessionStorage.getItem("token") ?? "";
export const keepToken = (text) => sessionStorage.setItem("token", text);

async function call(path, options = {}) {
  const authorization = token() ? { Authorization: `Bearer ${token()}` } : {};
  let response;
  try {
    response = await fetch(API + path, { ...options, headers: { ...authorization, ...options.headers } });
  } catch {
    throw new Error("The gateway does not answer. Look whether it is running, and try again.");
  }
  if (response.ok) return (await response.json()).data;
  if (response.status === 401) {
    sessionStorage.removeItem("token");
    throw new TokenNeeded();
  }
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? `The gateway answered ${response.status}.`);
}

export const read = (path) => call(path);

export function write(method, path, body) {
  return call(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}
