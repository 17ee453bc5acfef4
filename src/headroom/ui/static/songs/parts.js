// Parts of a song to be made anew: dragged on its waveform, then carried into the form. Several are
// made one after another, each on what the one before it gave.
import {text} from "../words.js";
import {element} from "../dom.js";
import {button, named} from "./pieces.js";
import {from, toForm} from "./requests.js";
import {then} from "./chain.js";

const TASK = "repaint", MOST = 8;

export class Parts {
  node = element("div", {class: "parts", hidden: true});
  #on = false;

  constructor(view, player, tasks) {
    [this.view, this.player, this.possible] = [view, player, tasks.has(TASK)];
  }

  /** Begin to choose parts, or leave it. */
  toggle() {
    this.#on = !this.#on;
    const song = {...this.view.song, title: named(this.view.song)};
    this.player.set([song], this.#on ? {regions: [], most: MOST} : null);
    this.node.hidden = !this.#on;
    this.view.querySelector("[data-does=parts]")?.setAttribute("aria-pressed", String(this.#on));
    if (!this.#on) { this.node.replaceChildren(); return; }
    const count = element("p", {class: "quiet"});
    const go = button(text("songs_parts_go"), () => this.#carry(), told => this.view.say(told), {class: "tool main", "data-does": "carry", disabled: true});
    const changed = regions => {
      go.disabled = !regions.length;
      count.textContent = regions.length > 1 ? text("songs_parts_more", {count: regions.length - 1}) : "";
    };
    this.player.addEventListener("player-regions", event => changed(event.detail.regions));
    this.node.replaceChildren(count, go);
  }

  async #carry() {
    // The last one is made first: what grows before a part would move it.
    const regions = [...this.player.regions].sort((a, b) => b.start - a.start);
    if (!regions.length) return;
    const [first, ...rest] = regions;
    const request = await from(this.view.song, TASK, first);
    then(request, rest);
    toForm(request);
  }
}
