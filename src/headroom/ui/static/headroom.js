// The page's own parts, as custom elements; Gradio places them and knows nothing of what they do.
import {speak, onLanguage, text} from "./words.js";
import {element, ask} from "./dom.js";
import "./drop.js";
import "./jobs.js";
import {remember} from "./previews.js";
import "./songs/library.js";
import "./songs/sweep.js";
import "./models.js";
import {untouched} from "./touched.js";

window.headroom = {
  speak,
  previewed({id, whole}) {
    remember(id, whole);
    window.headroom.follow(id);
  },
  follow: id => window.dispatchEvent(new CustomEvent("headroom-made", {detail: id})),
  left: untouched,
  sweep: request => window.dispatchEvent(new CustomEvent("headroom-swept", {detail: request})),
  save(request) {
    const link = element("a", {download: "headroom.json", href: URL.createObjectURL(new Blob([request], {type: "application/json"}))});
    link.click();
    URL.revokeObjectURL(link.href);
  },
};

class Speaking extends HTMLElement {
  connectedCallback() { this.quiet = onLanguage(() => this.show()); this.show(); }
  disconnectedCallback() { this.quiet(); }
}

customElements.define("headroom-brand", class extends HTMLElement {
  connectedCallback() {
    this.replaceChildren(
      element("img", {src: "/ui/files/icon.svg", alt: "", width: 28, height: 28}),
      element("h1", {}, "headroom"));
  }
});

customElements.define("headroom-tools", class extends Speaking {
  show() {
    const dark = element("button", {type: "button", class: "tool", "aria-label": text("dark"), title: text("dark"),
      onclick: () => theme(!document.body.classList.contains("dark"))}, "◐");
    const out = element("button", {type: "button", class: "tool", hidden: !/headroom_token=/.test(document.cookie),
      onclick: async () => { await ask("DELETE", "/v1/session"); location.assign("/login"); }}, text("sign_out"));
    this.replaceChildren(dark, out);
  }
});

customElements.define("headroom-load", class extends Speaking {
  show() {
    const file = element("input", {type: "file", accept: ".json,application/json", hidden: true,
      onchange: async () => {
        if (file.files[0]) apply(await file.files[0].text());
        file.value = "";
      }});
    this.replaceChildren(element("button", {type: "button", class: "tool", onclick: () => file.click()}, text("load_file")), file);
  }
});

// What Gradio says of a service that is away, in English alone; and its heads of messages, which are
// buttons with a button inside, of which a screen reader can tell only one.
const LOST = "Connection to the server was lost";
new MutationObserver(() => {
  for (const head of document.querySelectorAll(".toast-header[role]")) for (const one of ["role", "tabindex"]) head.removeAttribute(one);
  for (const one of document.querySelectorAll(".toast-body *")) {
    if (!one.firstElementChild && one.textContent.trim().startsWith(LOST)) one.textContent = text("offline");
  }
}).observe(document.documentElement, {childList: true, subtree: true});

export function apply(request) {
  window.dispatchEvent(new CustomEvent("headroom-apply", {detail: request}));
}

function theme(dark) {
  document.body.classList.toggle("dark", dark);
  try { localStorage.setItem("headroom-dark", dark ? "1" : "0"); } catch { /* a browser that keeps nothing */ }
}

try {
  const kept = localStorage.getItem("headroom-dark");
  if (kept !== null) theme(kept === "1");
} catch { /* a browser that keeps nothing */ }
