// What happens when, below the waveform: sections and lines in their places, and the words to read.

import { make } from "./dom.js";
import { clock } from "./labels.js";

/** Sections and sung lines as blocks; `song`: {before, whole}. Nothing in them takes the focus. */
export function lanes(peaks, song) {
  const percent = (time) => `${((time + song.before) / song.whole) * 100}%`;
  const lane = (name, items) => {
    const element = make("div", { class: `lane ${name}`, "aria-hidden": "true" });
    for (const one of items) {
      const block = make("span", { class: "block", title: one.text },
        make("span", { dir: "auto" }, one.text));
      block.style.insetInlineStart = percent(one.start);
      block.style.inlineSize = `${(Math.max(0, one.end - one.start) / song.whole) * 100}%`;
      element.append(block);
    }
    return element;
  };
  const found = [];
  if (peaks.sections?.length) found.push(lane("sections", peaks.sections));
  if (peaks.lines?.length) found.push(lane("lines", peaks.lines));
  return found;
}

/** The words of a song: each line is a button that goes to its time; arrow keys go through them. */
export class Words {
  constructor(peaks, label, seek) {
    this.lines = peaks.lines ?? [];
    this.current = -1;
    const headings = new Map((peaks.sections ?? []).map((one) => [one.start, one.text]));
    this.buttons = [];
    this.element = make("div", { class: "words", role: "group", "aria-label": label("lyrics"),
      onkeydown: (event) => this.#key(event) });
    for (const line of this.lines) {
      const heading = headings.get(line.start);
      if (heading) this.element.append(make("p", { class: "heading" },
        make("span", { dir: "auto" }, heading)));
      const button = make("button", { type: "button", tabindex: "-1",
        onclick: () => seek(line.start) },
        make("span", { class: "when", dir: "ltr" }, clock(line.start)),
        make("span", { dir: "auto" }, line.text));
      this.buttons.push(button);
      this.element.append(button);
    }
    if (this.buttons.length) this.buttons[0].tabIndex = 0;
  }

  /** Mark the line that is sung at a time of the song. */
  at(time) {
    const now = this.lines.findIndex((one) => one.start <= time && time < one.end);
    if (now === this.current) return;
    this.buttons[this.current]?.removeAttribute("aria-current");
    this.current = now;
    const button = this.buttons[now];
    if (!button) return;
    button.setAttribute("aria-current", "true");
    if (!this.element.contains(this.element.getRootNode().activeElement)) { // not while one reads
      this.element.scrollTop = button.offsetTop - this.element.clientHeight / 2;
    }
  }

  #key(event) {
    const at = this.buttons.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: this.buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const next = this.buttons[to];
    if (!next) return;
    this.buttons[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}
