// What the page knows of the requests of this service, and which of them can be carried out here.
import {ask} from "../dom.js";

let known = null;

/** The family's requests and the formats of songs; asked for once. */
export function facts() {
  known ??= ask("GET", "/ui/requests").catch(error => { known = null; throw error; });
  return known;
}

/** The tasks of the model that is used here, and of the language model if one is. */
export async function able() {
  const {family, usual, requests} = await facts();
  const of = `family=${encodeURIComponent(family)}`;
  const [models, limits] = await Promise.all([
    ask("GET", `/v1/models?${of}`), ask("GET", `/v1/limits?${of}&task=${encodeURIComponent(usual)}`)]);
  const model = models.models.find(one => one.is_default);
  const tasks = model?.tasks.length ? model.tasks : Object.keys(requests);
  return new Set(tasks.filter(task => requests[task] && (limits.language_model || !requests[task].language_model)));
}
