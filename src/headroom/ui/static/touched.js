// Which controls of the form somebody has changed since the page opened: what comes late, as the form
// that was left here last, does not undo it.
const PLACES = "[id^='field-'], #mode, #task, #mood, #length";
const touched = new Set(); // by their ids

for (const kind of ["input", "picked"]) {
  document.addEventListener(kind, ({target}) => {
    const place = target.closest?.(PLACES);
    if (place) touched.add(place.id);
  }, {capture: true});
}

/** Answers for controls, without those for controls that somebody has changed. `ids`: of each
 *  answer the controls that it is about, or none. */
export const untouched = (answers, ids) =>
  answers.map((answer, at) => ids[at].some(id => touched.has(id)) ? {__type__: "update"} : answer);
