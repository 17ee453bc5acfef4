// Builds elements. Texts are only ever set as texts: nothing here parses HTML.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

/** A text with what stands between backticks as code, for `append`. */
export const coded = text => text.split("`").map((part, at) => at % 2 ? element("code", {}, part) : part);

/** The answer of the service as JSON. Throws an Error whose `form` is the error of the service. */
export function ask(method, path, body) {
  return answered(path, body === undefined ? {method}
    : {method, headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
}

/** Sends a file to the service; the answer has its id. Throws as `ask`. */
export function send(file) {
  return answered(`/v1/files?name=${encodeURIComponent(file.name)}`,
    {method: "POST", body: file, headers: {"Content-Type": "application/octet-stream"}});
}

async function answered(path, options) {
  const answer = await fetch(path, options);
  const told = answer.status === 204 ? null : await answer.json();
  if (answer.status === 401 || told?.code === "unknown_host") location.assign("/login"); // the session is over
  if (!answer.ok) throw Object.assign(new Error(told?.message || answer.status), {form: told || {}});
  return told;
}
