// Buttons that download models and put them to use, and how far that is. What is under way is kept
// here and not in the elements, which are made anew whenever the list changes.
import {isolated, onLanguage, problem, text} from "./words.js";
import {ask, element} from "./dom.js";

const LOOK = 1000, LATER = 15000; // milliseconds between two looks; until the list is surely new
const works = new Map(); // by what an element is for
const told = new EventTarget();
let admin = null;
let status = {at: 0, answer: null};

customElements.define("headroom-model", class extends HTMLElement {
  async connectedCallback() {
    const show = () => this.show();
    told.addEventListener("change", show);
    const quiet = onLanguage(show);
    // Where Gradio puts new HTML into the page, an element that stays loses what it shows.
    const emptied = new MutationObserver(() => { if (!this.firstChild) this.show(); });
    emptied.observe(this, {childList: true});
    this.ends = () => { told.removeEventListener("change", show); quiet(); emptied.disconnect(); };
    // Where nobody answers, the service will say later what may be done.
    admin ??= ask("GET", "/v1/session").then(session => session.admin, error => { admin = null; return !error.form; });
    this.may = await admin;
    this.show();
    if (this.may && this.dataset.act !== "use") resume(this.dataset);
  }
  disconnectedCallback() { this.ends(); }

  show() {
    if (!this.isConnected || this.may === undefined) return;
    const work = works.get(key(this.dataset));
    const busy = work && !work.ended;
    const name = {download: "model_download", use: "model_use", begin: "first_go"}[this.dataset.act];
    const go = element("button", {type: "button", class: "tool", disabled: !this.may, onclick: () => begin(this.dataset), "aria-label": `${text(name)}: ${this.dataset.models}`}, text(name));
    const stop = element("button", {type: "button", class: "tool", onclick: () => callOff(work)}, text("model_stop"));
    this.replaceChildren(
      ...(busy ? [bar(work)] : []), ...(busy && work.errands.length && work.stage === "download" ? [stop] : !work || work.error ? [go] : []),
      element("span", {role: "status", class: work?.error ? "wrong" : "quiet"}, this.may ? line(work) : text("admin_only")));
  }
});

function bar(work) {
  const made = element("progress", {max: 1, "aria-label": text("model_coming", {done: size(work.done), total: size(work.total)})});
  if (work.total && work.stage === "download") made.value = work.done / work.total;
  return made;
}

function line(work) {
  if (!work) return "";
  if (work.error) return problem(work.error);
  if (work.ended) return "";
  if (work.stage === "load") return text("model_loading");
  return work.total ? text("model_coming", {done: size(work.done), total: size(work.total)}) : text("model_waiting");
}

async function begin(wish) {
  const work = {errands: [], stage: wish.act === "use" ? "load" : "download", done: 0, total: 0, ended: false, error: null};
  works.set(key(wish), work);
  changed();
  await finish(work, {...wish}, null);
}

/** A download that runs already, which this page or another has begun, is watched. */
async function resume(wish) {
  if (works.has(key(wish))) return;
  const names = wish.models.split(" ");
  const running = (await now()).filter(one => one.models.some(name => names.includes(name))).map(one => one.errand);
  if (!running.length || works.has(key(wish))) return;
  const work = {errands: [], stage: "download", done: 0, total: 0, ended: false, error: null};
  works.set(key(wish), work);
  await finish(work, {...wish}, running);
}

async function finish(work, wish, running) {
  try {
    if (wish.act !== "use") await follow(work, running || await errands("/v1/models/download", {family: wish.family, models: wish.models.split(" ")}));
    if (wish.act !== "download") {
      work.stage = "load";
      await follow(work, await errands("/v1/models/load", {family: wish.family, model: wish.model || null, ...(wish.lm ? {language_model: wish.lm} : {})}));
    }
  } catch (error) { work.error = error.form || {message: String(error)}; }
  work.ended = true;
  changed();
  if (!work.error) {
    setTimeout(() => works.delete(key(wish)), LATER);
    window.dispatchEvent(new Event("headroom-models"));
  }
}

const errands = async (path, body) => (await ask("POST", `${path}?wait=0`, body)).errands.map(one => one.id);

async function follow(work, ids) {
  work.errands = ids;
  for (;;) {
    changed();
    const found = (await Promise.all(ids.map(id => ask("GET", `/gpu/errands/${id}`)))).flatMap(answer => answer.errands);
    const failed = found.find(one => one.state === "failed");
    if (failed) throw Object.assign(new Error(), {form: failed.error});
    if (found.every(one => one.state === "done")) return;
    const mine = (await now()).filter(one => ids.includes(one.errand));
    if (mine.length) [work.done, work.total] = ["done", "total"].map(name => mine.reduce((sum, one) => sum + one[name], 0));
    await new Promise(after => setTimeout(after, LOOK));
  }
}

async function callOff(work) {
  for (const id of work.errands) await ask("DELETE", `/gpu/errands/${id}`).catch(() => null); // it may have ended
}

/** The downloads that run now; one question for all who ask within a moment. */
function now() {
  if (performance.now() - status.at > LOOK / 2) {
    const answer = ask("GET", "/gpu/status").then(engines => engines.engines.flatMap(one => one.downloads || []), () => []);
    status = {at: performance.now(), answer};
  }
  return status.answer;
}

const key = wish => `${wish.act} ${wish.models}`;
const changed = () => told.dispatchEvent(new Event("change"));
const size = bytes => isolated(bytes >= 2 ** 30 / 10 ? `${(bytes / 2 ** 30).toFixed(1)} GB` : `${Math.round(bytes / 2 ** 20)} MB`);
