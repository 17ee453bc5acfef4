// The songs that are chosen, and what is done with all of them.
import {text} from "../words.js";
import {ask, element} from "../dom.js";
import {button, fetched} from "./pieces.js";
import {adding} from "./playlists.js";

const MOST = 100; // ids that an address may have; more go in a body

export class Chosen {
  #ids = new Set();
  node = element("div", {class: "chosen", role: "group"});

  constructor(library) { this.library = library; }

  has(id) { return this.#ids.has(id); }
  keep(known) { this.#ids = new Set([...this.#ids].filter(id => known.has(id))); }
  set(id, on) { on ? this.#ids.add(id) : this.#ids.delete(id); this.draw(); }
  tool(label, work, more = {}) { return button(label, work, told => this.library.say(told), more); }

  draw() {
    const ids = [...this.#ids], {library} = this;
    this.node.hidden = !ids.length;
    if (!ids.length) { this.node.replaceChildren(); return; }
    this.node.setAttribute("aria-label", text("songs_chosen", {count: ids.length}));
    this.node.replaceChildren(
      element("strong", {}, text("songs_chosen", {count: ids.length})),
      adding(library, ids),
      this.tool(text("songs_zip_chosen"), () => this.export(ids), {"data-does": "zip"}),
      ...(ids.length === 2 ? [this.tool(text("songs_compare"), () => library.open(...ids), {"data-does": "compare"})] : []),
      this.tool(text("job_delete"), async () => { this.#ids.clear(); await library.remove(ids); }, {"data-does": "delete"}),
      this.tool(text("songs_chosen_none"), () => { this.#ids.clear(); library.want({}); }, {"data-does": "none"}));
  }

  /** Fetch songs as a ZIP archive; null: all that the library is asked for. */
  async export(ids) {
    const all = ids || await this.#all();
    if (all.length <= MOST) {
      fetched(`/v1/library/export?${new URLSearchParams(all.map(id => ["song", id]))}`);
      return;
    }
    const answer = await fetch("/v1/library/export", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({songs: all})});
    if (!answer.ok) throw Object.assign(new Error(answer.status), {form: await answer.json()});
    const url = URL.createObjectURL(await answer.blob());
    fetched(url);
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  async #all() {
    const ids = [];
    let cursor = null;
    do {
      const page = await ask("GET", `/v1/library/songs?${this.library.query(cursor, MOST)}`);
      ids.push(...page.songs.map(one => one.id));
      cursor = page.next;
    } while (cursor);
    return ids;
  }

  /** Put these songs, in this order, into a playlist in place of those that are in it. */
  async playlist(id, songs) {
    await ask("PATCH", `/v1/library/playlists/${encodeURIComponent(id)}`, {songs});
    await this.library.look();
  }
}
