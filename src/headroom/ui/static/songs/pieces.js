// Small parts of the library: buttons, choices, stars, dates.
import {failure, language, text} from "../words.js";
import {element} from "../dom.js";

/** A button that does something slow: it cannot be pressed twice, and `say` gets what went wrong. */
export function button(label, work, say, more = {}) {
  return element("button", {type: "button", class: "tool", ...more, onclick: async event => {
    const pressed = event.currentTarget;
    pressed.disabled = true;
    try { await work(event); } catch (error) { say(failure(error)); }
    pressed.disabled = false;
  }}, label);
}

/** A labelled choice; `options`: [value, text]. */
export function choice(label, options, value, changed, more = {}) {
  const list = element("select", {"aria-label": label, ...more, onchange: () => changed(list.value)},
    ...options.map(([key, shown]) => element("option", {value: key, selected: key === value}, shown)));
  return element("label", {class: "choice"}, element("span", {}, label), list);
}

/** Five stars as buttons; the one that is set takes the rating away. `rate` gets 1 to 5, or null. */
export function stars(rating, rate, say) {
  const all = [1, 2, 3, 4, 5].map(count => button(count <= (rating || 0) ? "★" : "☆",
    () => rate(count === rating ? null : count), say,
    {class: "star", "aria-pressed": String(count === rating), "aria-label": text("songs_rating", {stars: count}), "data-stars": count}));
  return element("span", {class: "stars", role: "group", "aria-label": text("songs_stars"), dir: "ltr"}, ...all);
}

export const when = seconds => new Date(seconds * 1000).toLocaleString(language(), {dateStyle: "medium", timeStyle: "short"});

export function clock(seconds) {
  const whole = Math.round(seconds || 0);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export const named = song => song.title || song.caption || text("job_untitled");

/** Fetch an archive as a download. */
export const fetched = url => element("a", {href: url, download: "songs.zip"}).click();
