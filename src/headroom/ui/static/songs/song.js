// One song: heard, named, rated, tagged, compared with another version, and where one can go from it.
import {failure, onLanguage, problem, text} from "../words.js";
import {ask, element} from "../dom.js";
import {Answers} from "./answers.js";
import {able} from "./facts.js";
import "./listen.js";
import {Parts} from "./parts.js";
import {button, clock, named, stars, when} from "./pieces.js";
import {adding} from "./playlists.js";
import {REFERENCE, SOURCE, asked, ended, from, having, toForm} from "./requests.js";
import {tracks} from "./tracks.js";
import {versions} from "./versions.js";

customElements.define("headroom-song", class extends HTMLElement {
  #song = null;
  #other = null; // the version that it is compared with
  #versions = [];
  #tasks = new Set();
  #turn = 0;
  #said = element("p", {class: "said", role: "status"});

  connectedCallback() { this.quiet = onLanguage(() => this.#song && this.#draw()); }
  disconnectedCallback() { this.quiet(); }

  get id_() { return this.#song?.id; }
  get song() { return this.#song; }

  /** Show a song, beside another one to compare it with. */
  async show(id, other = null) {
    const turn = ++this.#turn;
    const path = `/v1/library/songs/${encodeURIComponent(id)}`;
    try {
      const [song, {versions}, tasks, second] = await Promise.all([ask("GET", path), ask("GET", `${path}/versions`),
        able(), other && ask("GET", `/v1/library/songs/${encodeURIComponent(other)}`)]);
      if (turn !== this.#turn) return;
      [this.#song, this.#versions, this.#tasks, this.#other] = [song, versions, tasks, second];
      await this.#draw();
    } catch (error) { this.say(failure(error)); this.replaceChildren(this.#said); }
  }

  /** Read the song anew, and show the same. */
  again() { return this.show(this.#song.id, this.#other?.id); }

  async compare(other) {
    await this.show(this.#song.id, other);
    this.reveal();
  }

  /** Scroll to where this begins, if that is not to be seen: on a small screen the list is long. */
  reveal() {
    const {top} = this.getBoundingClientRect();
    if (top < 0 || top > innerHeight) this.scrollIntoView({block: "start"});
  }

  say(told) { this.#said.textContent = told; }

  close() {
    this.#turn += 1;
    this.#song = null;
    this.hidden = true;
    this.replaceChildren();
    this.library.closed();
  }

  async #draw() {
    const song = this.#song, say = told => this.say(told), turn = this.#turn;
    this.say("");
    const player = element("headroom-player");
    const pair = this.#other ? [song, this.#other] : [song];
    const alike = pair.length > 1 && named(song) === named(this.#other);
    player.set(pair.map(one => ({...one, title: alike ? `${named(one)}, ${when(one.created)}` : named(one)})));
    const parts = new Parts(this, player, this.#tasks);
    const about = [when(song.created), clock(song.seconds), song.made?.provenance?.model, seed(song)].filter(Boolean).join(" · ");
    const actions = await this.#actions(parts, say), lanes = await tracks(song, this.#tasks, say);
    if (turn !== this.#turn) return;
    this.replaceChildren(
      element("div", {class: "top"}, this.#title(say), button("✕", () => this.close(), say, {class: "tool small", "aria-label": text("songs_close"), title: text("songs_close")})),
      element("p", {class: "quiet"}, about),
      element("div", {class: "row"}, stars(song.rating, rating => this.#change({rating}), say), this.#tags(say)),
      player, parts.node, this.#said, actions, adding(this.library, [song.id]), lanes,
      new Answers(this, this.#tasks).node,
      this.#words(), versions(this, this.#versions));
  }

  #title(say) {
    const song = this.#song;
    const title = element("input", {type: "text", class: "title", maxlength: 1000, dir: "auto", value: song.title, "aria-label": text("songs_title"),
      onchange: () => this.#change({title: title.value}).catch(error => say(failure(error)))});
    return title;
  }

  #tags(say) {
    const tags = element("input", {type: "text", class: "tags", dir: "auto", value: this.#song.tags.join(", "), "aria-label": text("songs_tags"), placeholder: text("songs_tags"),
      onchange: () => this.#change({tags: tags.value.split(",").map(one => one.trim()).filter(Boolean)}).catch(error => say(failure(error)))});
    return tags;
  }

  async #change(values) {
    const changed = await this.library.change(this.#song.id, values);
    this.#song = {...this.#song, ...changed};
    if ("rating" in values) {
      const before = this.querySelector(".stars");
      const focused = before.querySelector(":focus")?.dataset.stars;
      const after = stars(changed.rating, rating => this.#change({rating}), told => this.say(told));
      before.replaceWith(after);
      after.querySelector(`[data-stars="${focused}"]`)?.focus();
    }
  }

  async #actions(parts, say) {
    const song = this.#song, tasks = this.#tasks;
    const [sourced, referring] = [await having(SOURCE, tasks), await having(REFERENCE, tasks)];
    const row = element("div", {class: "row actions"});
    const add = (label, does, work) => row.append(button(label, work, say, {"data-does": does}));
    if (this.#other) add(text("songs_compare_end"), "alone", () => this.compare(null));
    else if (parts.possible) add(text("songs_repaint"), "parts", () => parts.toggle());
    if (sourced.includes("cover")) add(text("songs_cover"), "cover", async () => toForm(await from(song, "cover")));
    if (referring.length) add(text("songs_reference"), "reference", async () => toForm(await from(song, referring[0], {}, REFERENCE)));
    const request = asked(song);
    if (request) add(text("job_edit"), "edit", () => toForm(request));
    add(text("job_again"), "again", () =>
      this.follow(async early => ended(await ask("POST", `/v1/jobs/${encodeURIComponent(song.job)}/replay`, {}), early)));
    add(text("job_delete"), "delete", () => this.library.remove([song.id]));
    return row;
  }

  /** Wait for a job, and show what it made of this song. `asking` tells once it is accepted. */
  async follow(asking) {
    const turn = this.#turn;
    const job = await asking(() => this.say(text("songs_waiting")));
    if (turn !== this.#turn) return;
    if (job.error) { this.say(problem(job.error)); return; }
    await this.again();
    this.library.look();
  }

  #words() {
    const {caption, lyrics} = this.#song;
    const inside = [caption && element("p", {dir: "auto"}, caption), lyrics && element("pre", {dir: "auto"}, lyrics)].filter(Boolean);
    return inside.length ? element("details", {}, element("summary", {}, text("lyrics", {}, "player")), ...inside) : "";
  }
});

const seed = song => {
  const value = song.made?.provenance?.seed;
  return value === undefined || value === null ? "" : `${text("seed", {}, "params")} ${value}`;
};
