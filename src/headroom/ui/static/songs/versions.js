// The versions of a song as a tree: what it was made from, and what was made from it.
import {text} from "../words.js";
import {element} from "../dom.js";
import {button, clock, named, when} from "./pieces.js";

export function versions(view, all) {
  if (all.length < 2) return "";
  const root = element("ul", {class: "versions", "aria-label": text("versions", {}, "player")});
  const levels = [root];
  all.forEach((one, at) => {
    const item = element("li", {}, node(view, one));
    levels[one.depth].append(item);
    levels.length = one.depth + 1;
    if (all[at + 1]?.depth > one.depth) {
      levels.push(element("ul", {}));
      item.append(levels.at(-1));
    }
  });
  return element("section", {class: "tree"}, element("h3", {}, text("versions", {}, "player")), root);
}

function node(view, song) {
  const own = song.id === view.id_, say = told => view.say(told);
  const open = element("button", {type: "button", class: "open", "aria-current": own && "true", onclick: () => view.library.open(song.id)},
    element("span", {dir: "auto"}, named(song)), element("span", {class: "quiet"}, `${when(song.created)} · ${clock(song.seconds)}`));
  return element("span", {class: "version", "data-version": song.id}, open,
    own ? null : button(text("songs_compare"), () => view.compare(song.id), say, {class: "tool small", "data-does": "compare"}));
}
