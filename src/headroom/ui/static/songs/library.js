// The library: every song that was made here, found by words, tag and rating, in playlists; what is
// chosen is rated, exported, compared, deleted and brought back. The list is read from the service.
import {onLanguage, problem, text} from "../words.js";
import {ask, element} from "../dom.js";
import {Chosen} from "./chosen.js";
import {choice} from "./pieces.js";
import {Playlist, playlists} from "./playlists.js";
import {go} from "./requests.js";
import {row} from "./rows.js";
import "./song.js";

const MOST = 50, PAUSE = 250; // songs at once; milliseconds after the last key of a search
const ALL = "all", DELETED = "deleted", LIST = "list:";
const ORDERS = () => [["date desc", text("songs_newest")], ["date asc", text("songs_oldest")],
  ["name asc", text("songs_by_name")], ["rating desc", text("songs_best")], ["length desc", text("songs_longest")]];
let wanted = null; // the song to open, before the library is there

window.addEventListener("headroom-open", event => {
  wanted = event.detail;
  go("songs");
  for (const one of document.querySelectorAll("headroom-library")) one.open(wanted);
});

customElements.define("headroom-library", class extends HTMLElement {
  #asked = {q: "", tag: "", rating: "", order: "date desc", place: ALL};
  #songs = [];
  #next = null;
  #lists = [];
  #tags = [];
  #turn = 0;
  #asking = 0; // lists and changes that are on their way
  #said = "";
  #undo = null;
  #parts = {};
  #stamp = "";

  connectedCallback() {
    this.chosen = new Chosen(this);
    this.#parts.song ??= element("headroom-song", {hidden: true});
    this.#parts.song.library = this;
    this.quiet = onLanguage(() => {
      this.#stamp = ""; // rows that stand have other texts, or none where the texts came late
      this.#draw();
    });
    this.watch = new IntersectionObserver(entries => { if (entries.some(one => one.isIntersecting)) this.look(); });
    this.watch.observe(this);
    this.#draw();
    if (wanted) this.open(wanted);
  }

  disconnectedCallback() { this.quiet(); this.watch.disconnect(); }

  get lists() { return this.#lists; }
  get songs() { return this.#songs; }
  get list() { return this.#asked.place.startsWith(LIST) ? this.#asked.place.slice(LIST.length) : null; }
  get bin() { return this.#asked.place === DELETED; }

  /** Open a song beside the list, with another one to compare it with if one is named. */
  open(id, other = null) {
    wanted = null;
    this.#parts.song.hidden = false;
    this.classList.add("open");
    this.#parts.song.show(id, other).then(() => this.#parts.song.reveal());
    for (const one of this.querySelectorAll("[data-song]")) one.classList.toggle("shown", one.dataset.song === id);
  }

  closed() { this.classList.remove("open"); }

  /** Read songs, playlists and tags anew. */
  async look() {
    const turn = ++this.#turn;
    this.#asking += 1;
    try {
      const [page, lists, tags] = await Promise.all([this.#page(null), playlists(), ask("GET", "/v1/library/tags")]);
      if (turn !== this.#turn) return;
      [this.#songs, this.#next, this.#lists, this.#tags] = [page.songs, page.next, lists, tags.tags];
      this.chosen.keep(new Set(this.#songs.map(one => one.id)));
      this.#draw();
    } catch (error) { this.say(problem(error.form || {}) || text("offline")); } finally { this.#asking -= 1; }
  }

  /** The query of the songs that are asked for. */
  query(cursor = null, most = MOST) {
    const {q, tag, rating, order} = this.#asked;
    const [sort, way] = order.split(" ");
    const query = new URLSearchParams({sort, order: way, most});
    for (const [name, value] of Object.entries({q, tag, rating, cursor, deleted: this.bin || ""})) if (value) query.set(name, value);
    return query;
  }

  #page(cursor) {
    if (this.list) return ask("GET", `/v1/library/playlists/${encodeURIComponent(this.list)}`).then(one => ({songs: one.songs, next: null}));
    return ask("GET", `/v1/library/songs?${this.query(cursor)}`);
  }

  async more() {
    const turn = this.#turn, page = await this.#page(this.#next);
    if (turn !== this.#turn) return; // the list was read anew meanwhile
    [this.#songs, this.#next] = [[...this.#songs, ...page.songs], page.next];
    this.#draw();
  }

  /** Say something, with a way to undo it if there is one. */
  say(told, undo = null) {
    [this.#said, this.#undo] = [told, undo];
    this.#status();
  }

  /** A change of a song, which the list and the open song then show. */
  async change(id, values) {
    this.#asking += 1;
    const song = await ask("PATCH", `/v1/library/songs/${encodeURIComponent(id)}`, values).finally(() => { this.#asking -= 1; });
    this.#songs = this.#songs.map(one => one.id === id ? song : one);
    const focused = this.querySelector(":focus")?.dataset;
    this.#draw();
    if (focused?.stars) this.querySelector(`[data-song="${id}"] [data-stars="${focused.stars}"]`)?.focus();
    if (values.tags || this.#asking) this.look(); // what is on its way may have the song as it was
    return song;
  }

  /** Delete songs, with undo. */
  async remove(ids) {
    const gone = [];
    for (const id of ids) gone.push(await ask("DELETE", `/v1/library/songs/${encodeURIComponent(id)}`));
    if (ids.includes(this.#parts.song.id_)) this.#parts.song.close();
    await this.look();
    const told = gone.length === 1 ? text("songs_deleted", {title: gone[0].title}) : text("songs_deleted_many", {count: gone.length});
    this.say(told, () => this.restore(ids));
    this.querySelector(".said button")?.focus();
  }

  async restore(ids) {
    for (const id of ids) await ask("POST", `/v1/library/songs/${encodeURIComponent(id)}/restore`, {});
    this.say("");
    await this.look();
  }

  /** Show other songs: some of `q`, `tag`, `rating`, `order`, `place`. */
  want(values) {
    Object.assign(this.#asked, values);
    if (values.place) this.#draw();
    return this.look();
  }

  to(list) { return this.want({place: list ? LIST + list : ALL}); }

  #draw() {
    const parts = this.#parts;
    if (!parts.search) {
      let pause = 0;
      parts.search = element("input", {type: "search", maxlength: 200, oninput: () => {
        clearTimeout(pause);
        pause = setTimeout(() => this.want({q: parts.search.value}), PAUSE);
      }});
      parts.filters = element("div", {class: "filters"});
      parts.head = element("div", {});
      parts.said = element("p", {class: "said", role: "status"});
      parts.list = element("ol", {class: "songs"});
      parts.below = element("div", {class: "row"});
      const side = element("div", {class: "shelf"}, parts.search, parts.filters, parts.head, this.chosen.node, parts.said, parts.list, parts.below);
      this.replaceChildren(side, parts.song);
    }
    parts.search.placeholder = text("songs_search");
    parts.search.setAttribute("aria-label", text("songs_search"));
    this.#filters();
    const list = this.#lists.find(one => one.id === this.list);
    parts.head.replaceChildren(...(list ? [new Playlist(this, list).node] : []));
    const stamp = JSON.stringify([this.#songs, this.#asked.place]);
    if (stamp !== this.#stamp) parts.list.replaceChildren(...this.#songs.map((one, at) => row(this, one, at)));
    this.#stamp = stamp; // rows that stand are left alone: one of them may be dragged just now
    for (const one of parts.list.children) {
      one.classList.toggle("shown", one.dataset.song === parts.song.id_ && !parts.song.hidden);
      const box = one.querySelector("input[type=checkbox]");
      if (box) box.checked = this.chosen.has(one.dataset.song);
    }
    this.#below();
    this.chosen.draw();
    this.#status();
  }

  #filters() {
    const {filters} = this.#parts, {tag, rating, order, place} = this.#asked;
    const focused = filters.contains(document.activeElement) ? document.activeElement.name : null;
    const places = [[ALL, text("songs_all")], ...this.#lists.map(one => [LIST + one.id, `${one.name} (${one.count})`]), [DELETED, text("songs_trash")]];
    const tags = [...new Set([tag, ...this.#tags.map(one => one.tag)])].filter(Boolean);
    const ratings = [5, 4, 3, 2, 1].map(count => [String(count), text("songs_stars_least", {stars: count})]);
    const inList = Boolean(this.list);
    filters.replaceChildren(
      choice(text("songs_show"), places, place, value => this.want({place: value}), {name: "place"}),
      ...(inList ? [] : [
        choice(text("songs_tag"), [["", text("songs_any")], ...tags.map(one => [one, one])], tag, value => this.want({tag: value}), {name: "tag"}),
        choice(text("songs_stars"), [["", text("songs_any")], ...ratings], rating, value => this.want({rating: value}), {name: "rating"}),
        choice(text("songs_sort"), ORDERS(), order, value => this.want({order: value}), {name: "order"})]));
    this.#parts.search.hidden = inList;
    if (focused) filters.querySelector(`[name="${focused}"]`)?.focus();
  }

  #below() {
    const {below} = this.#parts, rows = [];
    if (!this.#songs.length) rows.push(element("p", {class: "quiet"}, text("songs_none")));
    if (this.#next) rows.push(this.chosen.tool(text("songs_more"), () => this.more(), {"data-does": "more"}));
    if (this.#songs.length && !this.bin && !this.list) rows.push(this.chosen.tool(text("songs_zip"), () => this.chosen.export(null), {"data-does": "zip-all"}));
    below.replaceChildren(...rows);
  }

  #status() {
    const {said} = this.#parts;
    if (!said) return;
    const undo = this.#undo && this.chosen.tool(text("songs_undo"), this.#undo, {"data-does": "undo"});
    said.replaceChildren(this.#said, ...(undo ? [" ", undo] : []));
  }
});
