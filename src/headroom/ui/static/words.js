// The texts of the page for its scripts: the same tables, fetched once a language.
const tables = new Map();
let current = {language: document.documentElement.lang || "en", table: null};
const listeners = new Set();

export async function speak(language) {
  if (!tables.has(language)) {
    const answer = await fetch(`/ui/words/${encodeURIComponent(language)}`);
    tables.set(language, await answer.json());
  }
  current = {language, table: tables.get(language)};
  document.documentElement.lang = language;
  document.documentElement.dir = current.table.direction;
  for (const listener of listeners) listener();
}

export const language = () => current.language;

/** A figure with its unit, kept in its order among words that run from the right. */
export const isolated = text => current.table?.direction === "rtl" ? `\u2066${text}\u2069` : text;

/** Calls `listener` whenever the language changes; the answer ends that. */
export function onLanguage(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function text(key, values = {}, section = "ui") {
  const found = current.table?.[section]?.[key];
  return found === undefined ? (section === "ui" ? "" : key) : fill(found, values);
}

function fill(template, values) {
  return template.replace(/\{(\w+)(?:[^}]*)\}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined || value === null) return whole;
    if (typeof value === "number") return String(Math.round(value * 1000) / 1000);
    if (typeof value === "object" && "code" in value) return reason(value.code, value.values, value.text);
    return String(value);
  });
}

function reason(code, values, english) {
  const template = current.table?.reasons?.[code];
  return template === undefined ? english : fill(template, values);
}

/** An error of the service, or of a job, as a sentence. */
export function problem(form) {
  const given = form.values || {};
  if (form.code === "invalid_request" && given.value === null) return text("field_needed", {field: field(given.field)}) || form.message;
  const template = current.language === "en" ? undefined : current.table?.errors?.[form.code];
  if (template === undefined) return form.message || form.code || "";
  const values = {...form.values};
  if (values.field) values.field = field(values.field);
  return fill(template, values);
}

/** What was thrown, as a sentence: an error of the service, or of the browser that did not reach it. */
export const failure = error => problem(error.form || {message: error.message});

/** The name of a field of a request or of a setting. */
function field(name) {
  const {params, settings} = current.table || {};
  return params?.[name] || settings?.[name] || name;
}

/** A value as people read it. */
const value = one => typeof one === "boolean" ? text(one ? "on" : "off") : text(String(one), {}, "values");

/** A note of a job as a sentence. */
export function note(form) {
  const why = form.code === "several" && Array.isArray(form.values.reasons)
    ? form.values.reasons.map(one => reason(one.code, one.values, one.text)).join("; ")
    : reason(form.code, form.values, form.why);
  const values = {field: field(form.field), asked: value(form.asked), used: value(form.used), why};
  return text(form.used === null ? "note_unused" : "note_used", values);
}
