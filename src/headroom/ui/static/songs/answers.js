// What a model tells of a song when it is asked: how well it fits its words, and when each line is
// sung. The newest answers stay with the song.
import {text} from "../words.js";
import {element} from "../dom.js";
import {button} from "./pieces.js";
import {from, made} from "./requests.js";

const SCORE = "score", LINES = "align_lyrics";

export class Answers {
  constructor(view, tasks) {
    const {song} = view, say = told => view.say(told), row = element("div", {class: "row"});
    const add = (label, does, task) => row.append(button(label, () => this.#ask(view, task), say, {"data-does": does}));
    const {score} = song.answers || {};
    if (tasks.has(SCORE) && (song.caption || song.lyrics)) add(text("songs_score"), "score", SCORE);
    if (tasks.has(LINES) && sung(song.lyrics)) add(text("songs_lines"), "lines", LINES);
    if (song.lrc) row.append(element("a", {class: "tool", href: song.lrc, download: true, "data-does": "lrc"}, text("songs_lrc")));
    this.node = element("section", {class: "answers"}, row, ...(score ? [this.#score(score)] : []));
  }

  async #ask(view, task) {
    await view.follow(early => from(view.song, task).then(request => made(request, early)));
  }

  #score(score) {
    const whole = Object.entries({reward: score.reward, ...score.parts});
    return element("dl", {class: "figures score"}, ...whole.map(([name, value]) => element("div", {"data-part": name},
      element("dt", {}, name === "reward" ? text("songs_score_whole") : text(name, {}, "params")),
      element("dd", {}, `${Math.round(value * 100)} %`))));
  }
}

/** Whether lyrics have a line that is sung: one that is no heading. */
const sung = lyrics => lyrics.split("\n").some(line => line.trim() && !/^\s*\[.*\]\s*$/.test(line));
