// A player of one song, or of two versions at equal loudness. It is made once it is seen, and made
// anew in another language.
import {language, onLanguage, text} from "../words.js";
import {ask, element} from "../dom.js";
import {facts} from "./facts.js";

const PLAYER = "/ui/player", POINTS = 1000;

customElements.define("headroom-player", class extends HTMLElement {
  #songs = [];
  #edit = null;
  #player = null;
  #seen = false;
  #turn = 0;

  /** `songs`: {id, title, url, peaks} of one or two; `edit`: null, or what the player takes of it. */
  set(songs, edit = null) {
    this.#songs = songs;
    this.#edit = edit;
    if (this.isConnected) this.#show();
  }

  get regions() { return this.#player?.regions() || []; }

  connectedCallback() {
    this.quiet = onLanguage(() => this.#show());
    this.watch = new IntersectionObserver(entries => {
      if (!entries.some(one => one.isIntersecting)) return;
      this.watch.disconnect();
      this.#seen = true;
      this.#show();
    });
    this.watch.observe(this);
  }

  disconnectedCallback() {
    this.quiet();
    this.watch.disconnect();
    this.#end();
    this.#seen = false;
  }

  /** Goes on at `place`, {time, playing}, if there is one; once. */
  #resume() {
    if (!this.place) return;
    this.#player.seek(this.place.time);
    if (this.place.playing) this.#player.play();
    this.place = null;
  }

  #end() {
    this.#turn += 1;
    this.#player?.destroy();
    this.#player = null;
  }

  async #show() {
    if (!this.#seen || !this.#songs.length || !this.isConnected) return;
    this.#end();
    const turn = this.#turn, songs = this.#songs;
    try {
      const [{mount}, {NEEDED}, known, ...peaks] = await Promise.all([
        import(`${PLAYER}/player.js`), import(`${PLAYER}/labels.js`), facts(),
        ...songs.map(one => ask("GET", `${one.peaks}?buckets=${POINTS}`))]);
      if (turn !== this.#turn) return;
      const labels = Object.fromEntries(NEEDED.map(key => [key, text(key, {}, "player")]));
      const versions = songs.map((one, n) => ({name: one.title, url: one.url, peaks: peaks[n], downloads: songs.length > 1 ? [] : downloads(one, known.formats)}));
      const edit = this.#edit && {...this.#edit, tempo: peaks[0].tempo, extend: room(peaks[0].seconds)};
      const place = element("div", {dir: "auto", lang: language()});
      this.replaceChildren(place);
      this.#player = mount(place, {versions, labels, edit});
      this.#resume();
      this.dispatchEvent(new CustomEvent("peaks", {detail: peaks}));
    } catch (error) {
      if (turn !== this.#turn) return;
      this.replaceChildren(...songs.map(one => element("audio", {controls: true, preload: "none", src: one.url, "aria-label": one.title})));
    }
  }
});

/** Seconds ahead of a song and behind it, by which a part of it may be longer than it is. */
const room = seconds => Math.min(30, Math.max(5, Math.round(seconds / 4)));

function downloads(song, formats) {
  return Object.entries(formats).map(([format, ending]) => ({
    label: format, url: `${song.url}?format=${format}`, name: `${safe(song.title)}.${ending}`}));
}

export const safe = name => name.replace(/[^\p{L}\p{N} _-]+/gu, "_").slice(0, 60) || "song";
