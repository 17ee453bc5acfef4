// A song in the list.
import {text} from "../words.js";
import {element} from "../dom.js";
import {button, clock, named, stars, when} from "./pieces.js";

export const DRAGGED = "application/x-headroom-song"; // what is dragged is a song, by its file

export function row(library, song, at) {
  const say = told => library.say(told), name = named(song);
  const about = [when(song.created), clock(song.seconds), ...song.tags.map(tag => `\u2068#${tag}\u2069`)].join(" · ");
  const lead = library.bin ? [] : [element("span", {class: "grip", "aria-hidden": "true"}, "⠿"), element("input", {type: "checkbox", checked: library.chosen.has(song.id),
    "aria-label": text("songs_choose", {title: name}), onchange: event => library.chosen.set(song.id, event.target.checked)})];
  const open = element("button", {type: "button", class: "open", onclick: () => library.open(song.id), disabled: library.bin},
    element("strong", {dir: "auto"}, name), element("span", {class: "quiet", dir: "auto"}, about));
  const tail = library.bin
    ? [button(text("songs_restore"), () => library.restore([song.id]), say, {"data-does": "restore"})]
    : library.list ? moves(library, song, at, say)
    : [stars(song.rating, rating => library.change(song.id, {rating}), say)];
  return element("li", {class: "song", "data-song": song.id, draggable: !library.bin && "true",
    ondragstart: event => event.dataTransfer.setData(DRAGGED, song.id)}, ...lead, open, ...tail);
}

function moves(library, song, at, say) {
  const ids = library.songs.map(one => one.id), title = named(song);
  const put = order => library.chosen.playlist(library.list, order);
  const swapped = by => { const order = [...ids]; [order[at], order[at + by]] = [order[at + by], order[at]]; return order; };
  const tool = (sign, label, work, does, off) => button(sign, work, say,
    {class: "tool small", "aria-label": label, title: label, "data-does": does, disabled: off});
  return [element("span", {class: "moves"},
    tool("↑", text("songs_up", {title}), () => put(swapped(-1)), "up", at === 0),
    tool("↓", text("songs_down", {title}), () => put(swapped(1)), "down", at === ids.length - 1),
    tool("✕", text("songs_out", {title}), () => put(ids.filter(one => one !== song.id)), "out"))];
}
