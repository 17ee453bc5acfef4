// Requests made of a song: what is known of it goes where another task has the same fields.
import {ask} from "../dom.js";
import {facts} from "./facts.js";

export const SOURCE = "source_audio", REFERENCE = "reference_audio", TRACK = "track";

/** The request that a song was made by: the fields that were set. */
export function asked(whole) {
  const {requests = [], song = 0} = whole.made?.provenance || {};
  const one = requests[Math.min(song, requests.length - 1)];
  if (!one) return null;
  const set = one.set_fields.map(name => [name, one.values[name]]);
  return {...Object.fromEntries(set), task: one.values.task};
}

/** A request of a task, with the words of a song and its sound in a field: as a source, unless another is named. */
export async function from(whole, task, more = {}, field = SOURCE) {
  const {words, requests} = await facts();
  const fields = requests[task].fields;
  const known = asked(whole) || {caption: whole.caption, lyrics: whole.lyrics};
  const carried = words.filter(name => name in fields && ![undefined, null, ""].includes(known[name]));
  const sound = fields[field].many ? [whole.file] : whole.file;
  return {task, ...Object.fromEntries(carried.map(name => [name, known[name]])), [field]: sound, ...more};
}

/** The tasks with a field, of those that can be carried out. */
export async function having(field, tasks) {
  const {requests} = await facts();
  return [...tasks].filter(task => field in requests[task].fields);
}

/** Show a request in the form, and the form. */
export function toForm(request) {
  window.dispatchEvent(new CustomEvent("headroom-apply", {detail: JSON.stringify(request)}));
  go("make");
}

/** Ask for a job and wait for its end; `early` gets the job at once. The answer is the job as it ended. */
export async function made(request, early = () => {}) {
  const {family} = await facts();
  return ended(await ask("POST", `/v1/jobs?family=${encodeURIComponent(family)}`, request), early);
}

/** The job as it is when it has ended. */
export function ended(job, early = () => {}) {
  early(job);
  window.dispatchEvent(new CustomEvent("headroom-made", {detail: job.id}));
  return new Promise((resolve, reject) => {
    const stream = new EventSource(`/v1/jobs/${encodeURIComponent(job.id)}/events`);
    const look = async () => {
      stream.close();
      try { resolve(await ask("GET", `/v1/jobs/${encodeURIComponent(job.id)}`)); } catch (error) { reject(error); }
    };
    stream.addEventListener("end", look);
    stream.addEventListener("error", () => { if (stream.readyState === EventSource.CLOSED) look(); });
  });
}

/** Choose a place of the page. */
export const go = place => document.getElementById(`tab-${place}-button`)?.click();
