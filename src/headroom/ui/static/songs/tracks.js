// The tracks of a song: one more is added, or one is taken out. A track is pressed, or a song of the
// list or a recording is dropped on it.
import {failure, text} from "../words.js";
import {ask, element, send} from "../dom.js";
import {facts} from "./facts.js";
import {TRACK, from, toForm} from "./requests.js";
import {DRAGGED} from "./rows.js";

const AWAITED = "awaited"; // a song or a recording is being dragged: the tracks are kept in sight
const DOES = [["lego", "songs_track_add"], ["extract", "songs_track_out"]];

export async function tracks(song, tasks, say) {
  const {requests} = await facts();
  const able = DOES.filter(([task]) => tasks.has(task) && TRACK in requests[task].fields);
  if (!able.length) return "";
  return element("details", {class: "tracks"}, element("summary", {}, text("songs_tracks")),
    element("p", {class: "quiet"}, text("songs_track_about")),
    ...able.flatMap(([task, key]) => [element("h3", {}, text(key)),
      element("div", {class: "row", role: "group", "aria-label": text(key)},
        ...requests[task].fields[TRACK].choices.map(name => track(song, task, name, say)))]));
}

const drops = data => data && (data.types.includes(DRAGGED) || data.types.includes("Files"));

let awaited = false;

/** Keep the tracks in sight, or no longer. */
function inSight(on) {
  if (!on && !awaited) return;
  awaited = on;
  for (const one of document.querySelectorAll("details.tracks")) {
    one.classList.toggle(AWAITED, on);
    if (on) one.open = true;
  }
}

for (const kind of ["dragenter", "dragover"]) addEventListener(kind, event => { if (drops(event.dataTransfer)) inSight(true); });
// No mouse moves while something is dragged: one that does tells of a drag whose end went unheard, as
// that of a row does which was taken out of the list meanwhile.
for (const kind of ["dragend", "drop", "pointermove"]) addEventListener(kind, () => inSight(false), {capture: true});
addEventListener("dragleave", event => { if (!event.relatedTarget) inSight(false); }); // it has left the window

function track(song, task, name, say) {
  const carry = async whole => {
    try { toForm(await from(whole, task, {[TRACK]: name})); } catch (error) { say(failure(error)); }
  };
  const offer = event => { event.preventDefault(); chip.classList.add("over"); };
  const chip = element("button", {type: "button", class: "tool chip", "data-task": task, "data-track": name, onclick: () => carry(song),
    ondragenter: offer, ondragover: offer,
    ondragleave: () => chip.classList.remove("over"),
    ondrop: async event => {
      event.preventDefault();
      chip.classList.remove("over");
      const whole = await dropped(event.dataTransfer, say);
      if (whole) await carry(whole);
    }}, text(name, {}, "choices").replaceAll("_", " "));
  return chip;
}

/** The song that was dropped; of a recording, what a song is as far as a request needs it. */
async function dropped(data, say) {
  const song = data.getData(DRAGGED), file = data.files[0];
  try {
    if (song) return await ask("GET", `/v1/library/songs/${encodeURIComponent(song)}`);
    if (!file) return null;
    say(text("drop_sending", {name: file.name}));
    const {id} = await send(file);
    say("");
    return {file: id, caption: "", lyrics: ""};
  } catch (error) { say(failure(error)); return null; }
}
