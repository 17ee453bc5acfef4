// The player: a waveform with what is sung under it, two versions to compare, and regions to change.
//
//   import { mount } from "./player.js";
//   const player = mount(element, { versions, labels, edit, theme, nonce });
//
// It draws from the peaks that it is given and decodes nothing. It lives in a shadow root of its own;
// its state is on the element: data-state, data-time, data-seconds, data-version, data-gain,
// data-regions. Events on the element: player-ready, -play, -pause, -seek, -version, -regions, -error.

import { Deck } from "./deck.js";
import { address, between, icon, make } from "./dom.js";
import { clock, texts } from "./labels.js";
import { Words, lanes } from "./lanes.js";
import { Regions } from "./regions.js";
import WaveSurfer from "./wavesurfer-8.0.1.esm.js";

const SKIP = 5; // seconds, of an arrow key
const HEIGHT = 96;
const ZOOMS = [1, 2, 4, 8];
const LETTERS = "AB";

/** Make a player in an element. Throws for labels that are missing, and for no version. */
export function mount(element, options) {
  if (!options.versions?.length) throw new Error("there is no version to play");
  return new Player(element, options);
}

class Player {
  #host; #label; #song; #deck; #wave; #regions; #words; #ends = new AbortController();
  #versions; #root; #parts = {}; #zoom = 0; #frame = 0; #gone = false;

  constructor(host, { versions, labels, edit = null, theme = "auto", nonce }) {
    this.#label = texts(labels);
    this.#host = host;
    this.#versions = versions.slice(0, LETTERS.length);
    const seconds = Math.max(...this.#versions.map((one) => one.peaks.seconds));
    const before = Math.max(0, edit?.extend ?? 0);
    this.#song = { before, seconds, whole: before + seconds + before };
    this.#deck = new Deck(this.#versions, before, this.#song.whole);
    if (edit) {
      this.#regions = new Regions(edit, this.#song, this.#label, (found, done) => {
        this.#tell({ regions: JSON.stringify(found) });
        if (done) this.#send("regions", { regions: found });
      });
    }
    this.#words = new Words(this.#versions[0].peaks, this.#label, (time) => this.seek(time));
    this.#root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    this.#build();
    this.#tell({ state: "loading", version: 0, seconds, time: 0, gain: this.#gain() });
    this.theme(theme);
    this.#draw(nonce);
    this.#listen();
  }

  /** Regions in order, in seconds of the song; below 0 and beyond its end they extend it. */
  regions() { return this.#regions?.get() ?? []; }
  setRegions(regions) { this.#regions?.set(regions); }
  pause() { this.#deck.pause(); }
  async play() {
    try {
      await this.#deck.play();
    } catch (error) {
      if (error.name !== "AbortError") this.#fail();
    }
  }

  /** Go to a time of the song, in seconds. */
  seek(time) {
    this.#deck.currentTime = between(0, time, this.#song.seconds) + this.#song.before;
    this.#send("seek", { time: this.#time() });
  }

  /** Play another version, 0 or 1, from where this one is. */
  async choose(version) {
    await this.#deck.choose(version);
    if (this.#gone) return;
    const { peaks } = this.#versions[this.#deck.chosen];
    this.#wave.setOptions({ peaks: this.#peaks(peaks), duration: this.#song.whole });
    this.#show();
    this.#send("version", { version: this.#deck.chosen });
  }

  /** "light", "dark", or "auto": as the page around it. */
  theme(name) {
    if (name === "auto") delete this.#host.dataset.theme;
    else this.#host.dataset.theme = name;
    this.#colour();
  }

  /** Stop, let go of everything, and leave the element empty. */
  destroy() {
    if (this.#gone) return;
    this.#gone = true;
    cancelAnimationFrame(this.#frame);
    this.#ends.abort();
    this.#wave.destroy();
    this.#deck.destroy();
    this.#root.replaceChildren();
    for (const name of ["time", "seconds", "version", "gain", "regions", "theme"]) {
      delete this.#host.dataset[name];
    }
    this.#tell({ state: "destroyed" });
  }

  #time() { return Math.max(0, this.#deck.currentTime - this.#song.before); }
  #gain() { return Math.round(this.#deck.gain() * 10) / 10; }

  #tell(values) {
    for (const [name, value] of Object.entries(values)) this.#host.dataset[name] = value;
  }

  #send(name, detail = {}) {
    const event = new CustomEvent(`player-${name}`, { bubbles: true, composed: true, detail });
    this.#host.dispatchEvent(event);
  }

  #fail() {
    if (this.#gone) return;
    this.#parts.alert.textContent = this.#label("error");
    this.#tell({ state: "error" });
    this.#send("error");
  }

  #build() {
    const style = make("link", { rel: "stylesheet", href: new URL("player.css", import.meta.url) });
    const parts = this.#parts;
    parts.wave = make("div", { class: "wave", dir: "ltr" });
    parts.inner = make("div", { class: "inner", dir: "ltr" }, parts.wave,
      ...lanes(this.#versions[0].peaks, this.#song));
    for (const lane of parts.inner.querySelectorAll(".lane")) {
      lane.addEventListener("click", (event) => this.#point(event, lane));
    }
    parts.scroll = make("div", { class: "scroll", dir: "ltr", role: "group" }, parts.inner);
    parts.alert = make("p", { class: "alert", role: "alert" });
    const whole = make("div", { class: "player" }, parts.scroll, this.#controls(), parts.alert);
    if (this.#regions) whole.append(this.#regions.element);
    if (this.#words.lines.length) whole.append(this.#words.element);
    const downloads = this.#downloads();
    if (downloads) whole.append(downloads);
    whole.hidden = true; // until its style is there
    const show = () => { whole.hidden = false; };
    style.addEventListener("load", show, { once: true });
    style.addEventListener("error", show, { once: true });
    this.#root.replaceChildren(style, whole);
  }

  #controls() {
    const parts = this.#parts;
    const { seconds } = this.#song;
    parts.play = make("button", { type: "button", class: "main", onclick: () => this.#toggle() });
    parts.seek = make("input", { type: "range", class: "seek", dir: "ltr", min: 0, max: seconds,
      step: "any", value: 0, "aria-label": this.#label("position"),
      oninput: (event) => this.seek(Number(event.target.value)) });
    parts.clock = make("span", { class: "clock", dir: "ltr" });
    const row = make("div", { class: "controls" }, parts.play, parts.seek, parts.clock,
      this.#zoomButtons());
    return this.#versions.length > 1 ? make("div", {}, row, this.#comparison()) : row;
  }

  #zoomButtons() {
    const parts = this.#parts;
    const button = (name, by) => make("button", { type: "button", class: "plain",
      "aria-label": this.#label(name), title: this.#label(name),
      onclick: () => this.#zoomBy(by) }, icon(name));
    parts.out = button("zoomOut", -1);
    parts.in = button("zoomIn", 1);
    parts.out.disabled = true;
    return make("span", { class: "zoom" }, parts.out, parts.in);
  }

  #comparison() {
    const parts = this.#parts;
    parts.choices = this.#versions.map((one, n) => make("button", { type: "button",
      class: "choice", "aria-pressed": n === 0,
      "aria-label": this.#label("version", { letter: LETTERS[n], name: one.name }),
      onclick: () => this.choose(n) },
      make("b", {}, LETTERS[n]), make("span", { dir: "auto" }, one.name)));
    const equal = make("input", { type: "checkbox", checked: true, onchange: (event) => {
      this.#deck.setEqual(event.target.checked);
      this.#show();
    } });
    parts.gain = make("span", { class: "gain", dir: "ltr" });
    return make("div", { class: "row compare" },
      make("div", { class: "choices", role: "group", "aria-label": this.#label("versions") },
        ...parts.choices),
      make("label", { class: "check" }, equal, make("span", {}, this.#label("equal")), parts.gain));
  }

  #downloads() {
    const links = this.#versions.flatMap((one) => one.downloads ?? []).map((one) => {
      const href = address(one.url);
      return href && make("a", { class: "download", href, download: one.name ?? true },
        icon("download"), make("span", { dir: "auto" }, one.label));
    }).filter(Boolean);
    if (!links.length) return null;
    const label = this.#label("downloads");
    return make("div", { class: "row", role: "group", "aria-label": label }, ...links);
  }

  #peaks({ top, bottom, seconds }) {
    const each = top.length / seconds;
    const ahead = Array(Math.round(this.#song.before * each)).fill(0);
    const rest = Math.round((this.#song.whole - this.#song.before - seconds) * each);
    const behind = Array(Math.max(0, rest)).fill(0);
    return [top, bottom].map((side) => [...ahead, ...side, ...behind]);
  }

  #draw(nonce) {
    this.#wave = WaveSurfer.create({
      container: this.#parts.wave, media: this.#deck, height: HEIGHT, cspNonce: nonce,
      peaks: this.#peaks(this.#versions[0].peaks), duration: this.#song.whole,
      barWidth: 2, barGap: 1, barRadius: 2, barMinHeight: 1, cursorWidth: 2,
      hideScrollbar: true, autoScroll: false, ...this.#colours(),
      plugins: this.#regions ? [this.#regions.plugin] : [],
    });
    this.#wave.on("interaction", () => this.#send("seek", { time: this.#time() }));
    this.#wave.once("ready", () => {
      if (this.#gone) return;
      this.#regions?.start();
      this.#deck.dispatchEvent(new Event("timeupdate")); // the song begins behind the room before it
      if (this.#host.dataset.state === "loading") this.#tell({ state: "paused" });
      this.#send("ready");
    });
    const names = this.#versions.map((one) => one.name).join(", ");
    this.#parts.scroll.setAttribute("aria-label", this.#label("waveform", { name: names }));
    this.#outside();
    this.#show();
  }

  /** Mark what lies outside of the song. */
  #outside() {
    const { before, whole } = this.#song;
    if (!before) return;
    for (const side of ["ahead", "behind"]) {
      const shade = make("div", { class: `outside ${side}`, "aria-hidden": "true" });
      shade.style.inlineSize = `${(before / whole) * 100}%`;
      this.#parts.inner.append(shade);
    }
  }

  #listen() {
    const { signal } = this.#ends;
    const on = (target, names, act) => {
      for (const name of names) target.addEventListener(name, act, { signal });
    };
    on(this.#deck, ["play", "pause", "ended"], (event) => {
      this.#show();
      this.#send(event.type === "play" ? "play" : "pause");
    });
    on(this.#deck, ["timeupdate", "seeking", "seeked"], () => this.#show());
    on(this.#deck, ["failed"], () => this.#fail());
    on(this.#root.querySelector(".player"), ["keydown"], (event) => this.#key(event));
    const schemes = matchMedia("(prefers-color-scheme: dark)");
    on(schemes, ["change"], () => this.#colour());
    on(this.#root.querySelector("link"), ["load"], () => this.#colour());
    const watch = new MutationObserver(() => this.#colour());
    for (const one of [document.documentElement, document.body]) {
      watch.observe(one, { attributes: true, attributeFilter: ["class", "style", "data-theme"] });
    }
    signal.addEventListener("abort", () => watch.disconnect());
  }

  #key(event) {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    const target = event.composedPath()[0];
    const typed = target.matches("input:not([type=checkbox])");
    const pressed = target.matches("button, a, input");
    const acts = {
      " ": pressed ? null : () => this.#toggle(),
      k: () => this.#toggle(),
      ArrowLeft: () => this.seek(this.#time() - SKIP),
      ArrowRight: () => this.seek(this.#time() + SKIP),
      Home: () => this.seek(0),
      End: () => this.seek(this.#song.seconds),
      a: () => this.choose(0),
      b: () => this.choose(1),
    };
    const number = target.matches("input[type=number]");
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || number || (typed && event.key.length > 1)) return;
    if ("ab".includes(event.key.toLowerCase()) && this.#versions.length < 2) return;
    event.preventDefault();
    act();
  }

  #toggle() { return this.#deck.paused ? this.play() : this.pause(); }

  #point(event, lane) {
    const { left, width } = lane.getBoundingClientRect();
    this.seek(((event.clientX - left) / width) * this.#song.whole - this.#song.before);
  }

  #zoomBy(by) {
    this.#zoom = between(0, this.#zoom + by, ZOOMS.length - 1);
    const { inner, scroll, out } = this.#parts;
    inner.style.inlineSize = `${ZOOMS[this.#zoom] * 100}%`;
    const at = this.#deck.currentTime / this.#song.whole;
    scroll.scrollLeft = at * scroll.scrollWidth - scroll.clientWidth / 2;
    out.disabled = this.#zoom === 0;
    this.#parts.in.disabled = this.#zoom === ZOOMS.length - 1;
  }

  /** Bring everything that shows the state up to date. */
  #show() {
    if (this.#gone) return;
    const parts = this.#parts;
    const playing = !this.#deck.paused && !this.#deck.ended;
    if (this.#host.dataset.state !== "error" && (playing || parts.name !== "play")) {
      this.#tell({ state: playing ? "playing" : this.#wave ? "paused" : "loading" });
    }
    const name = playing ? "pause" : "play";
    if (parts.name !== name) {
      parts.name = name;
      parts.play.setAttribute("aria-label", this.#label(name));
      parts.play.replaceChildren(icon(name));
    }
    parts.choices?.forEach((one, n) => one.setAttribute("aria-pressed", n === this.#deck.chosen));
    const gain = this.#gain();
    this.#tell({ version: this.#deck.chosen, gain });
    if (parts.gain) parts.gain.textContent = gain ? this.#label("gain", { gain }) : "";
    this.#showTime();
    cancelAnimationFrame(this.#frame);
    if (playing) this.#frame = requestAnimationFrame(() => this.#tick());
  }

  #tick() {
    this.#showTime();
    if (!this.#deck.paused) this.#frame = requestAnimationFrame(() => this.#tick());
  }

  #showTime() {
    const { clock: text, seek } = this.#parts;
    const time = this.#time();
    const shown = `${clock(time)} / ${clock(this.#song.seconds)}`;
    this.#tell({ time: time.toFixed(2) });
    this.#words.at(time);
    seek.value = time;
    seek.style.setProperty("--done", `${(time / this.#song.seconds) * 100}%`);
    if (text.textContent === shown) return;
    text.textContent = shown;
    const values = { time: clock(time), whole: clock(this.#song.seconds) };
    seek.setAttribute("aria-valuetext", this.#label("time", values));
  }

  #colours() {
    const { wave } = this.#parts; // a canvas knows no variables: they are read as a colour here
    const of = (name) => {
      wave.style.color = `var(${name})`;
      return getComputedStyle(wave).color;
    };
    return { waveColor: of("--wave"), progressColor: of("--played"), cursorColor: of("--ink") };
  }

  #colour() {
    if (this.#wave && !this.#gone) this.#wave.setOptions(this.#colours());
  }
}
