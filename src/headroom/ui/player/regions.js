// Parts of a song that are to be made anew: dragged, moved by keys, or typed as numbers.

import { between, icon, make } from "./dom.js";
import { clock } from "./labels.js";
import RegionsPlugin from "./wavesurfer-8.0.1-regions.esm.js";

const STEP = 0.1; // seconds that an arrow key moves an edge by, without a tempo
const FAR = 10; // steps with the shift key
const PAGE = 5; // seconds
const SHORTEST = 0.5;
const BARELY = 1e-6; // without any length it would be a marker

/**
 * `edit`: {regions, extend, most, tempo, shortest}; `song`: {before, seconds, whole}. Times outside of
 * this file are seconds of the song: below 0 and beyond its end they extend it.
 */
export class Regions {
  constructor(edit, song, label, changed) {
    this.song = song;
    this.label = label;
    this.changed = changed;
    this.most = Math.max(1, edit.most ?? 1);
    this.tempo = edit.tempo > 0 ? edit.tempo : null;
    this.snaps = this.tempo !== null;
    this.shortest = Math.min(edit.shortest ?? SHORTEST, song.whole);
    this.first = edit.regions ?? [];
    this.plugin = RegionsPlugin.create();
    this.list = make("ol", { class: "regions", "aria-label": label("regions") });
    this.add = make("button", { type: "button", class: "add", onclick: () => this.#addOne() },
      icon("add"), make("span", {}, label("add")));
    const snap = make("input", { type: "checkbox", checked: this.snaps,
      onchange: (event) => { this.snaps = event.target.checked; } });
    this.element = make("div", { class: "edit" },
      make("p", { class: "hint" }, label("hint")), this.list,
      make("div", { class: "row" }, this.add,
        ...(this.tempo ? [make("label", { class: "check" }, snap,
          make("span", {}, label("snap", { tempo: Math.round(this.tempo * 10) / 10 })))] : [])));
  }

  /** To be called once the waveform is there. */
  start() {
    this.plugin.on("region-initialized", (region) => { // a drawn one begins with a width of its own
      if (!this.putting) region.end = region.start + BARELY;
    });
    this.plugin.on("region-created", (region) => this.#created(region));
    this.plugin.on("region-update", () => this.#show());
    this.plugin.on("region-updated", (region, side) => this.#settle(region, side));
    this.plugin.on("region-removed", () => this.#show(true));
    this.plugin.enableDragSelection({ color: "var(--region)", minLength: this.shortest });
    this.set(this.first);
  }

  /** The regions in order, in seconds of the song. */
  get() {
    return this.#sorted().map((one) => ({ start: this.#told(one.start), end: this.#told(one.end) }));
  }

  set(regions) {
    this.quiet = true;
    this.plugin.clearRegions();
    for (const { start, end } of regions.slice(0, this.most)) this.#put(start, end);
    this.quiet = false;
    this.#show(true);
  }

  #told(time) { return Math.round((time - this.song.before) * 1000) / 1000; }
  #sorted() { return [...this.plugin.getRegions()].sort((a, b) => a.start - b.start); }
  #step() { return this.snaps ? 60 / this.tempo : STEP; }

  #put(start, end) {
    const { before, whole } = this.song;
    const from = between(0, start + before, whole - this.shortest);
    const to = between(from + this.shortest, end + before, whole);
    this.putting = true;
    this.plugin.addRegion({ start: from, end: to, color: "var(--region)",
      minLength: this.shortest, drag: true, resize: true });
    this.putting = false;
  }

  #addOne() {
    const { seconds } = this.song;
    const size = Math.max(this.shortest, Math.min(10, seconds / 4));
    const last = Math.max(0, ...this.get().map((one) => one.end));
    const start = last + size <= seconds ? last : Math.max(0, (seconds - size) / 2);
    this.#put(start, start + size);
    this.list.querySelector("li:last-child input")?.focus();
  }

  #created(region) {
    const all = this.plugin.getRegions();
    if (all.length > this.most) { // a new one takes the place of the only one, or is not taken
      (this.most === 1 ? all.find((one) => one !== region) : region).remove();
    }
    if (!region.isRemoved) this.#equip(region);
    this.#settle(region);
  }

  #equip(region) {
    const { element } = region;
    element.setAttribute("role", "group");
    element.tabIndex = 0;
    element.addEventListener("keydown", (event) => this.#key(event, region, null));
    element.addEventListener("click", (event) => event.stopPropagation());
    for (const side of ["start", "end"]) {
      const handle = this.#handle(region, side);
      if (!handle) continue;
      handle.setAttribute("role", "slider");
      handle.setAttribute("aria-orientation", "horizontal");
      handle.tabIndex = 0;
      handle.addEventListener("keydown", (event) => this.#key(event, region, side));
    }
  }

  #handle(region, side) {
    const name = side === "start" ? "region-handle-left" : "region-handle-right";
    return region.element?.querySelector(`[part~="${name}"]`);
  }

  #key(event, region, side) {
    const { whole } = this.song;
    const step = this.#step() * (event.shiftKey ? FAR : 1);
    const moves = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step,
      PageDown: -PAGE, PageUp: PAGE, Home: -whole, End: whole };
    if (event.key === "Delete" || event.key === "Backspace") this.#remove(region);
    else if (event.key in moves) this.#move(region, side, moves[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #move(region, side, by) {
    const { whole } = this.song;
    const { start, end } = region;
    if (side === "start") {
      region.setOptions({ start: between(0, start + by, end - this.shortest), end });
    } else if (side === "end") {
      region.setOptions({ start, end: between(start + this.shortest, end + by, whole) });
    } else {
      const shift = between(-start, by, whole - end);
      region.setOptions({ start: start + shift, end: end + shift });
    }
    this.#settle(region, side ?? undefined);
  }

  #remove(region) {
    const next = this.#sorted().find((one) => one !== region);
    region.remove();
    (next?.element ?? this.add).focus();
  }

  /** Put the edges on beats, and keep the shortest length, once a region has been moved. */
  #settle(region, side) {
    if (!region.isRemoved) {
      const { whole } = this.song;
      let start = side === "end" ? region.start : this.#snapped(region.start);
      let end = side === "start" ? region.end : this.#snapped(region.end);
      if (side === "start") start = between(0, start, end - this.shortest);
      else {
        start = between(0, start, whole - this.shortest);
        end = between(start + this.shortest, end, whole);
      }
      if (start !== region.start || end !== region.end) region.setOptions({ start, end });
    }
    this.#show(true);
  }

  #snapped(time) {
    if (!this.snaps) return time;
    const beat = 60 / this.tempo;
    const near = Math.round((time - this.song.before) / beat) * beat + this.song.before;
    return between(0, near, this.song.whole);
  }

  /** Bring numbers, labels and listeners up to date; `done`: the change has ended. */
  #show(done = false) {
    if (this.quiet) return;
    const regions = this.#sorted();
    while (this.list.children.length > regions.length) this.list.lastChild.remove();
    while (this.list.children.length < regions.length) this.list.append(this.#fields());
    regions.forEach((region, n) => this.#describe(region, n));
    this.add.disabled = regions.length >= this.most;
    this.changed(this.get(), done);
  }

  #describe(region, n) {
    const { before, whole } = this.song;
    const number = n + 1;
    const [start, end] = [this.#told(region.start), this.#told(region.end)];
    const times = `${clock(start, true)} – ${clock(end, true)}`;
    region.element?.setAttribute("aria-label", `${this.label("region", { number })}, ${times}`);
    for (const [side, name, low, value, high] of [
      ["start", "regionStart", -before, start, end - this.shortest],
      ["end", "regionEnd", start + this.shortest, end, whole - before],
    ]) {
      const handle = this.#handle(region, side);
      for (const [key, one] of Object.entries({
        "aria-label": this.label(name, { number }), "aria-valuemin": low.toFixed(2),
        "aria-valuemax": high.toFixed(2), "aria-valuenow": value.toFixed(2),
        "aria-valuetext": clock(value, true),
      })) handle?.setAttribute(key, one);
    }
    const row = this.list.children[n];
    row.region = region;
    row.querySelector(".name").textContent = this.label("region", { number });
    const [from, to] = row.querySelectorAll("input");
    for (const [input, name, value] of [[from, "regionStart", start], [to, "regionEnd", end]]) {
      input.setAttribute("aria-label", this.label(name, { number }));
      input.min = -before;
      input.max = (whole - before).toFixed(3);
      if (input.getRootNode().activeElement !== input || !input.dirty) input.value = value.toFixed(2);
    }
    row.querySelector("button").setAttribute("aria-label", this.label("remove", { number }));
  }

  #fields() {
    const field = (side) => make("input", { type: "number", step: "0.01", inputmode: "decimal",
      oninput: (event) => { event.target.dirty = true; },
      onchange: (event) => this.#typed(event.target, side) });
    return make("li", {}, make("span", { class: "name" }),
      make("span", { class: "span", dir: "ltr" }, field("start"), make("span", {}, "–"), field("end")),
      make("button", { type: "button", class: "plain",
        onclick: (event) => this.#remove(event.currentTarget.parentElement.region) }, icon("remove")));
  }

  #typed(input, side) {
    const { region } = input.closest("li");
    const value = Number.parseFloat(input.value);
    input.dirty = false;
    if (Number.isFinite(value)) { // as it was typed: no beat moves it
      const { before, whole } = this.song;
      const at = value + before;
      if (side === "start") {
        region.setOptions({ start: between(0, at, region.end - this.shortest), end: region.end });
      } else {
        const end = between(region.start + this.shortest, at, whole);
        region.setOptions({ start: region.start, end });
      }
    }
    this.#show(true);
  }
}
