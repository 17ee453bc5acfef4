// Parts that follow one after another: when a job has made the first, the next is asked for, with what
// it gave as its source. What is left is kept in this tab of the browser.
import {onLanguage, text} from "../words.js";
import {ask, element} from "../dom.js";
import {SOURCE, ended, made} from "./requests.js";

const KEPT = "headroom-parts";

/** The parts that come after the one of a request, once the form has asked for that. */
export function then(request, rest) {
  keep(rest.length ? {source: request[SOURCE], start: request.start, rest} : null);
}

function kept() {
  try { return JSON.parse(sessionStorage.getItem(KEPT)); } catch { return null; }
}

function keep(value) {
  try {
    value ? sessionStorage.setItem(KEPT, JSON.stringify(value)) : sessionStorage.removeItem(KEPT);
  } catch { /* a browser that keeps nothing */ }
  window.dispatchEvent(new CustomEvent("headroom-parts"));
}

/** What was asked for in the form: perhaps it is the part that the others wait for. */
async function asked(id) {
  const left = kept();
  if (!left || left.job) return;
  const job = await ask("GET", `/v1/jobs/${encodeURIComponent(id)}`);
  const {[SOURCE]: source, start = 0} = job.asked.request;
  if (source !== left.source || start !== left.start) return;
  keep({...left, job: id});
  await goOn(job);
}

/** Ask for the parts that are left, each on the one before it; one that fails ends it. */
async function goOn(job) {
  let before = await ended(job);
  for (let left = kept(); left && before.outputs.length; left = kept()) {
    const [part, ...rest] = left.rest;
    const request = {...before.asked.request, ...part, [SOURCE]: before.outputs[0].file};
    before = await made(request, next => keep(rest.length ? {...left, job: next.id, rest} : null));
  }
  keep(null);
}

const quietly = work => work.catch(() => keep(null)); // the list of jobs tells what went wrong

window.addEventListener("headroom-made", event => { if (event.detail) quietly(asked(event.detail)); });

customElements.define("headroom-parts", class extends HTMLElement {
  connectedCallback() {
    this.show = () => this.#show();
    this.quiet = onLanguage(this.show);
    window.addEventListener("headroom-parts", this.show);
    this.show();
    const left = kept();
    if (left?.job) quietly(ask("GET", `/v1/jobs/${encodeURIComponent(left.job)}`).then(goOn));
  }

  disconnectedCallback() {
    this.quiet();
    window.removeEventListener("headroom-parts", this.show);
  }

  #show() {
    const left = kept();
    this.hidden = !left;
    this.replaceChildren(...(left ? [
      element("span", {}, text("songs_parts_more", {count: left.rest.length})),
      element("button", {type: "button", class: "tool", onclick: () => keep(null)}, text("drop_remove"))] : []));
  }
});
