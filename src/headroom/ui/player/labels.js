// Every text of the player comes from a table that the page passes in, in the visitor's language.

// Words in braces are replaced: {time}, {whole}, {number}, {letter}, {name}, {tempo}, {gain}.
export const NEEDED = [
  "play", "pause", "position", "time", "waveform", "versions", "version", "equal", "gain",
  "zoomIn", "zoomOut", "regions", "region", "regionStart", "regionEnd", "add", "remove", "snap",
  "hint", "lyrics", "downloads", "error",
];

/** A function from the name of a label and its values to the text; throws for a table that lacks one. */
export function texts(table) {
  const missing = NEEDED.filter((name) => typeof table?.[name] !== "string");
  if (missing.length) throw new Error(`labels are missing: ${missing.join(", ")}`);
  return (name, values = {}) =>
    table[name].replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

/** Seconds as people read them: 1:02, or with tenths 1:02.3; a minus sign before the song's start. */
export function clock(seconds, tenths = false) {
  const sign = seconds < 0 ? "−" : "";
  const parts = Math.round(Math.abs(seconds) * (tenths ? 10 : 1));
  const whole = tenths ? Math.floor(parts / 10) : parts;
  const rest = String(whole % 60).padStart(2, "0");
  return `${sign}${Math.floor(whole / 60)}:${rest}${tenths ? `.${parts % 10}` : ""}`;
}
