// Songs heard while they are made: a button for each tells how much there is, and what it plays goes
// on with what has come since. The service keeps no such sound of a job that has ended.
import {text} from "./words.js";
import {element} from "./dom.js";

const ENOUGH = 0.5; // seconds more, to fetch it again for

export class Early {
  #path;
  #songs = new Map(); // what is shown of each, by its number from 1

  constructor(job) {
    this.#path = number => `/v1/jobs/${job.id}/outputs/${number}/preview`;
    this.node = element("div", {class: "early"});
  }

  /** Shows how much can be heard: seconds, by song from 0. */
  show(heard) {
    for (const [song, seconds] of heard) {
      const one = this.#songs.get(song + 1) || this.#begin(song + 1);
      one.seconds = seconds;
      one.button.textContent = text("job_early", {seconds: Math.floor(seconds)});
      if (one.sound?.ended && seconds > one.sound.duration + ENOUGH) this.#play(one);
    }
  }

  /** Where each song is that is being listened to: {time, playing}, by its number. */
  places() {
    const listened = [...this.#songs].filter(([, one]) => one.sound);
    return new Map(listened.map(([number, {sound}]) => [number, {time: sound.currentTime, playing: !sound.paused || sound.ended}]));
  }

  close() {
    for (const {sound} of this.#songs.values()) if (sound) { sound.pause(); URL.revokeObjectURL(sound.src); }
  }

  /** What can be heard of a song; null: the job has ended, or the song begins again. */
  async #fetched(number) {
    try {
      const answer = await fetch(this.#path(number));
      return answer.ok ? await answer.blob() : null;
    } catch { return null; }
  }

  #begin(number) {
    const one = {number, seconds: 0, sound: null, coming: false};
    one.button = element("button", {type: "button", class: "tool", "data-does": "job_early", onclick: () => this.#play(one)});
    one.row = element("div", {class: "output", "data-early": number}, one.button);
    this.#songs.set(number, one);
    this.node.append(one.row);
    return one;
  }

  async #play(one) {
    if (one.coming) return;
    one.coming = true;
    const blob = await this.#fetched(one.number);
    one.coming = false;
    if (!blob || !this.node.isConnected) return;
    const url = URL.createObjectURL(blob);
    if (!one.sound) {
      one.sound = element("audio", {controls: true, "aria-label": text("job_early", {seconds: Math.floor(one.seconds)}),
        onended: () => { if (one.seconds > one.sound.duration + ENOUGH) this.#play(one); }});
      one.row.prepend(one.sound);
    }
    const {sound} = one, time = sound.currentTime;
    if (sound.src) URL.revokeObjectURL(sound.src);
    sound.src = url;
    sound.currentTime = time;
    await sound.play().catch(() => {}); // paused meanwhile
  }
}
