// A place to drop recordings on: they are sent to the service, and their ids are its value.
import {failure, onLanguage, text} from "./words.js";
import {ask, element, send} from "./dom.js";

const names = new Map(); // of files by id, as far as this page has seen them

// A file that misses its place is not opened by the browser, which would leave the page.
window.addEventListener("dragover", event => {
  if (event.defaultPrevented || !event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "none";
});

customElements.define("headroom-drop", class extends HTMLElement {
  #ids = [];
  #label = "";
  #told = "";

  set value(ids) { this.#ids = (ids || "").split(" ").filter(Boolean); this.show(); }
  set label(said) { this.#label = said || ""; this.show(); }

  connectedCallback() { this.quiet = onLanguage(() => this.show()); this.show(); }
  disconnectedCallback() { this.quiet(); }

  show() {
    if (!this.isConnected) return;
    const [label, info] = this.#label.split("\n");
    const many = this.hasAttribute("many");
    const file = element("input", {type: "file", accept: "audio/*,video/mp4", multiple: many, class: "unseen", "aria-label": label,
      onchange: () => this.#send([...file.files])});
    const area = element("label", {class: "area",
      ondragover: event => { event.preventDefault(); area.classList.add("over"); },
      ondragleave: () => area.classList.remove("over"),
      ondrop: event => { event.preventDefault(); this.#send([...event.dataTransfer.files]); }},
      file, element("span", {}, text("drop")));
    const list = element("ul", {}, ...this.#ids.map(id => element("li", {},
      element("span", {}, names.get(id) || id),
      element("button", {type: "button", class: "tool", onclick: () => this.#choose(this.#ids.filter(one => one !== id))}, text("drop_remove")))));
    this.replaceChildren(
      element("span", {class: "label"}, label || ""), element("span", {class: "info"}, info || ""),
      list, area, element("p", {role: "status"}, this.#told));
    for (const id of this.#ids) if (!names.has(id)) this.#name(id);
  }

  async #name(id) {
    names.set(id, id);
    try { names.set(id, (await ask("GET", `/v1/files/${encodeURIComponent(id)}`)).name); this.show(); } catch { /* it is gone */ }
  }

  async #send(files) {
    const many = this.hasAttribute("many");
    const ids = many ? [...this.#ids] : [];
    for (const file of many ? files : files.slice(0, 1)) {
      this.#say(text("drop_sending", {name: file.name}));
      try {
        const {id, name} = await send(file);
        names.set(id, name);
        ids.push(id);
      } catch (error) { this.#say(failure(error)); return; }
    }
    this.#told = "";
    this.#choose(ids);
  }

  #say(told) { this.#told = told; this.show(); }

  #choose(ids) {
    this.#ids = ids;
    this.show();
    this.dispatchEvent(new CustomEvent("picked", {detail: ids.join(" "), bubbles: true}));
  }
});
