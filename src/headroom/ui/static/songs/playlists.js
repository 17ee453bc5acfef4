// Playlists: made, filled, named, exported, removed.
import {failure, text} from "../words.js";
import {ask, element} from "../dom.js";
import {button, choice, fetched} from "./pieces.js";

const NEW = "new";
const at = id => `/v1/library/playlists/${encodeURIComponent(id)}`;

export const playlists = async () => (await ask("GET", "/v1/library/playlists")).playlists;

/** A choice of playlists to add songs to; a new one asks for its name. */
export function adding(library, ids) {
  const place = element("span", {class: "adding"});
  const options = [["", "—"], ...library.lists.map(one => [one.id, one.name]), [NEW, text("songs_playlist_new")]];
  const pick = async value => {
    if (value === NEW) { place.replaceChildren(naming(library, ids)); place.querySelector("input").focus(); return; }
    if (!value) return;
    try {
      const {songs} = await ask("GET", at(value));
      const inside = songs.map(one => one.id);
      const list = await ask("PATCH", at(value), {songs: [...inside, ...ids.filter(id => !inside.includes(id))]});
      await library.look();
      library.say(text("songs_added", {name: list.name}));
    } catch (error) { library.say(failure(error)); }
  };
  place.append(choice(text("songs_playlist_add"), options, "", pick, {name: "add"}));
  return place;
}

function naming(library, songs) {
  const name = element("input", {type: "text", maxlength: 100, required: true, "aria-label": text("songs_playlist_name"), placeholder: text("songs_playlist_name")});
  return element("form", {class: "row", onsubmit: async event => {
    event.preventDefault();
    try {
      const list = await ask("POST", "/v1/library/playlists", {name: name.value.trim(), songs});
      await library.look();
      library.say(text("songs_added", {name: list.name}));
    } catch (error) { library.say(failure(error)); }
  }}, name, element("button", {class: "tool", "data-does": "playlist"}, text("songs_playlist_make")));
}

/** The head of the playlist that is shown. */
export class Playlist {
  constructor(library, list) {
    const say = told => library.say(told);
    const name = element("input", {type: "text", maxlength: 100, value: list.name, "aria-label": text("songs_playlist_name"), onchange: async () => {
      try { await ask("PATCH", at(list.id), {name: name.value.trim()}); await library.look(); } catch (error) { say(failure(error)); }
    }});
    this.node = element("div", {class: "row playlist"}, name,
      button(text("songs_zip"), async () => fetched(`/v1/library/export?playlist=${encodeURIComponent(list.id)}`), say, {"data-does": "zip-list", disabled: !list.count}),
      button(text("songs_playlist_remove"), async () => { await ask("DELETE", at(list.id)); await library.to(null); }, say, {"data-does": "remove-list"}));
  }
}
