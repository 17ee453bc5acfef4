// Plays one of several versions of a song, at equal loudness, behind the face of one media element.

import { address, between } from "./dom.js";

const PASSED_ON = ["play", "pause", "ended", "seeking", "seeked", "canplay", "loadedmetadata",
  "durationchange", "volumechange", "ratechange", "timeupdate"];

/**
 * Time counts on the waveform, which may begin `before` seconds ahead of the song: what lies outside
 * of the song is silent and cannot be played. All versions share one position.
 */
export class Deck extends EventTarget {
  constructor(versions, before, whole) {
    super();
    this.before = before;
    this.whole = whole;
    this.chosen = 0;
    this.equal = true;
    this.level = 1;
    this.loudness = versions.map((one) => one.peaks.loudness);
    this.ends = new AbortController();
    this.audios = versions.map((one) => this.#audio(one.url, versions.length > 1));
    this.#settle();
  }

  #audio(url, soon) {
    const audio = new Audio();
    audio.preload = soon ? "auto" : "metadata";
    const { signal } = this.ends;
    for (const name of PASSED_ON) {
      audio.addEventListener(name, () => {
        if (audio === this.audio && !this.switching) this.dispatchEvent(new Event(name));
      }, { signal });
    }
    audio.addEventListener("error", () => {
      if (!signal.aborted) this.dispatchEvent(new Event("failed"));
    }, { signal });
    const src = address(url);
    if (src === null) queueMicrotask(() => this.dispatchEvent(new Event("failed")));
    else audio.src = src;
    return audio;
  }

  get audio() { return this.audios[this.chosen]; }

  /** Decibels by which a version is turned down to be as loud as the quietest. */
  gain(version = this.chosen) {
    const own = this.loudness[version];
    const known = this.loudness.filter(Number.isFinite);
    if (!this.equal || !Number.isFinite(own) || known.length < this.loudness.length) return 0;
    return Math.min(...known) - own;
  }

  #settle() {
    this.audios.forEach((audio, n) => {
      audio.volume = between(0, this.level * 10 ** (this.gain(n) / 20), 1);
    });
  }

  setEqual(equal) {
    this.equal = equal;
    this.#settle();
  }

  /** Go on with another version where this one is. */
  async choose(version) {
    if (version === this.chosen || !(version in this.audios)) return;
    const from = this.audio;
    const playing = !from.paused && !from.ended;
    this.switching = true;
    try {
      this.chosen = version;
      const last = Number.isFinite(this.audio.duration) ? this.audio.duration : Infinity;
      this.audio.currentTime = Math.min(from.currentTime, last);
      from.pause();
      if (playing) await this.audio.play();
    } finally {
      this.switching = false;
    }
  }

  destroy() {
    this.ends.abort();
    for (const audio of this.audios) {
      audio.pause();
      audio.removeAttribute("src");
      audio.load();
    }
  }

  // What a media element has.
  get currentTime() { return this.audio.currentTime + this.before; }
  set currentTime(time) {
    const audio = this.audio;
    const last = Number.isFinite(audio.duration) ? audio.duration : this.whole;
    audio.currentTime = between(0, time - this.before, last);
    this.dispatchEvent(new Event("timeupdate"));
  }
  get duration() { return this.whole; }
  get paused() { return this.audio.paused; }
  get ended() { return this.audio.ended; }
  get seeking() { return this.audio.seeking; }
  get readyState() { return 4; }
  get volume() { return this.level; }
  set volume(level) {
    this.level = level;
    this.#settle();
  }
  get muted() { return this.audio.muted; }
  set muted(muted) { for (const audio of this.audios) audio.muted = muted; }
  get playbackRate() { return this.audio.playbackRate; }
  set playbackRate(rate) { for (const audio of this.audios) audio.playbackRate = rate; }
  get src() { return ""; }
  get currentSrc() { return ""; }
  set src(_) { /* the versions have theirs */ }
  play() { return this.audio.play(); }
  pause() { this.audio.pause(); }
  load() {}
  remove() {}
  removeAttribute() {}
  canPlayType(type) { return this.audio.canPlayType(type); }
}
