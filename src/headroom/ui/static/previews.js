// Songs that were asked for with few steps first: what makes the whole song, kept in this browser.
const KEY = "headroom-previews", MOST = 50;

function all() {
  try { return JSON.parse(localStorage.getItem(KEY)) || {}; } catch { return {}; } // it keeps nothing
}

/** Remembers the request that makes the whole song of a job. */
export function remember(id, whole) {
  const kept = Object.fromEntries([...Object.entries(all()), [id, whole]].slice(-MOST));
  try { localStorage.setItem(KEY, JSON.stringify(kept)); } catch { /* a browser that keeps nothing */ }
}

/** The request that makes the whole song of a job; undefined: it is no preview. */
export const whole = id => all()[id];
