// The same request with the same seed at three shifts and two guidances, as a grid to listen through.
import {failure, onLanguage, problem, text} from "../words.js";
import {ask, element} from "../dom.js";
import {facts} from "./facts.js";
import "./listen.js";
import {button} from "./pieces.js";
import {ended} from "./requests.js";

const ACROSS = "shift", DOWN = "guidance_scale";
const SHARES = {[ACROSS]: [0, 0.5, 1], [DOWN]: [0.2, 0.43]}; // of the limits of a field, to begin with
const ALONE = ["seeds", "batch_size"]; // fields of several songs at once
const KEPT = "headroom-sweep", SEEDS = 2 ** 32;

customElements.define("headroom-sweep", class extends HTMLElement {
  #cells = [];
  #values = null;
  #said = element("p", {class: "said", role: "status"});
  #grid = element("div", {class: "grid"});

  async connectedCallback() {
    this.swept = event => this.#make(JSON.parse(event.detail));
    window.addEventListener("headroom-swept", this.swept);
    this.quiet = onLanguage(() => this.#draw());
    try {
      const {family, usual, requests} = await facts();
      if (!(ACROSS in requests[usual].fields && DOWN in requests[usual].fields)) { this.hidden = true; return; }
      const {limits} = await ask("GET", `/v1/limits?family=${encodeURIComponent(family)}&task=${encodeURIComponent(usual)}`);
      this.#values ??= Object.fromEntries(Object.entries(SHARES).map(([name, shares]) => [name,
        shares.map(share => between(limits[name].minimum, limits[name].maximum, share))]));
    } catch { this.hidden = true; return; }
    try { this.#cells = JSON.parse(sessionStorage.getItem(KEPT)) || []; } catch { /* a browser that keeps nothing */ }
    this.#draw();
    this.#follow();
  }

  disconnectedCallback() { window.removeEventListener("headroom-swept", this.swept); this.quiet(); }

  #draw() {
    if (!this.#values) return;
    const fields = Object.entries(this.#values).map(([name, values]) => element("fieldset", {},
      element("legend", {}, text(name, {}, "params")),
      ...values.map((value, at) => element("input", {type: "number", step: "any", value, "aria-label": `${text(name, {}, "params")} ${at + 1}`,
        onchange: event => { values[at] = event.target.valueAsNumber; }}))));
    const go = button(text("sweep_go"), () => document.querySelector("#sweep button, button#sweep").click(), told => this.#say(told), {"data-does": "sweep"});
    this.replaceChildren(element("details", {open: this.#cells.length > 0}, element("summary", {}, text("sweep")),
      element("p", {class: "quiet"}, text("sweep_about")), element("div", {class: "row"}, ...fields, go), this.#said, this.#grid));
    this.#grid.replaceChildren(...this.#cells.map(cell => this.#cell(cell)));
  }

  #cell(cell) {
    const said = [ACROSS, DOWN].map(name => `${text(name, {}, "params")} ${cell.values[name]}`).join(" · ");
    const node = element("div", {class: "cell", "data-job": cell.id, "data-state": cell.state}, element("strong", {}, said));
    if (cell.state !== "done") node.append(element("span", {class: "quiet"}, cell.error ? problem(cell.error) : text(`state_${cell.state}`)));
    for (const output of cell.outputs || []) {
      const player = element("headroom-player");
      player.set([{title: said, url: output.url, peaks: `${output.url}/peaks`}]);
      node.append(player);
    }
    return node;
  }

  #say(told) { this.#said.textContent = told; }

  /** Ask for all of them; `request` is what the form shows. */
  async #make(request) {
    const {family} = await facts();
    const seed = request.seed ?? Math.floor(Math.random() * SEEDS);
    const alone = Object.fromEntries(Object.entries(request).filter(([name]) => !ALONE.includes(name)));
    this.#cells = [];
    this.#say("");
    try {
      for (const down of this.#values[DOWN]) for (const across of this.#values[ACROSS]) {
        const values = {[ACROSS]: across, [DOWN]: down};
        const job = await ask("POST", `/v1/jobs?family=${encodeURIComponent(family)}`, {...alone, ...values, seed});
        this.#cells.push({id: job.id, values, state: job.state});
      }
    } catch (error) { this.#say(failure(error)); }
    this.#keep();
    this.#draw();
    await this.#follow();
  }

  /** Wait for one after another, as they are made. */
  async #follow() {
    const cells = this.#cells;
    for (const [at, cell] of cells.entries()) {
      if (cell.state === "done" || cell.error) continue;
      try {
        const job = await ended({id: cell.id});
        Object.assign(cell, {state: job.state, error: job.error, outputs: job.outputs.map(one => ({url: one.url}))});
      } catch { Object.assign(cell, {state: "cancelled"}); }
      if (cells !== this.#cells || !this.isConnected) return;
      this.#keep();
      this.#grid.children[at].replaceWith(this.#cell(cell)); // alone: others may be listened to
    }
  }

  #keep() {
    try { sessionStorage.setItem(KEPT, JSON.stringify(this.#cells)); } catch { /* a browser that keeps nothing */ }
  }
});

/** A number at a share of the way between two, rounded to halves. */
const between = (low, high, share) => Math.round(2 * (low + share * (high - low))) / 2;
