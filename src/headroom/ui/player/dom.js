// Elements are made by calls and texts are set as text: nothing that a visitor wrote is ever markup.

/** An element with attributes, listeners (names that begin with "on") and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

const SHAPES = {
  play: "M8 5.5v13l10.5-6.5z",
  pause: "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z",
  remove: "M6 6l12 12M18 6L6 18",
  add: "M12 5v14M5 12h14",
  zoomIn: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L20 20M10.5 7.5v6M7.5 10.5h6",
  zoomOut: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L20 20M7.5 10.5h6",
  download: "M12 4v11M7.5 11L12 15.5 16.5 11M5 19.5h14",
};
const FILLED = new Set(["play", "pause"]);
const SVG = "http://www.w3.org/2000/svg";

/** A picture for a button, which says nothing to screen readers. */
export function icon(name) {
  const picture = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false",
    class: FILLED.has(name) ? "icon filled" : "icon",
  })) picture.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  picture.append(path);
  return picture;
}

/** An address that may stand in a link or be played: of http, https or blob; null for any other. */
export function address(text) {
  try {
    const url = new URL(text, document.baseURI);
    return ["http:", "https:", "blob:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

export const between = (low, value, high) => Math.min(Math.max(value, low), high);
