// One's own jobs: those that wait and run, with stage, step and time left, and the newest songs.
// The list is read from the service, so who comes back finds everything; one stream of events
// follows the job that runs, and none while nobody looks.
import {note, onLanguage, problem, text} from "./words.js";
import {ask, coded, element} from "./dom.js";
import {Early} from "./early.js";
import {whole} from "./previews.js";
import {facts} from "./songs/facts.js";
import {button} from "./songs/pieces.js";
import "./songs/listen.js";

const NEWEST = 12, LOOK = 2000, LATER = 8000; // jobs; milliseconds between two looks at the list
const ENDED = ["done", "failed", "cancelled", "expired"];

customElements.define("headroom-jobs", class extends HTMLElement {
  #jobs = [];
  #cards = new Map();
  #progress = new Map(); // what is known of jobs that run, by id
  #stream = null;
  #timer = 0;
  #failed = false;
  #looking = false;
  #again = false;

  connectedCallback() {
    this.#heading = element("h2", {});
    this.#status = element("p", {class: "quiet", role: "status"});
    this.#list = element("ol", {class: "jobs"});
    this.replaceChildren(this.#heading, this.#status, this.#list);
    this.ends = [
      onLanguage(() => { for (const card of this.#cards.values()) card.early.close(); this.#cards.clear(); this.#list.replaceChildren(); this.#show(); }),
      on(window, "headroom-made", () => this.#look()),
      on(document, "visibilitychange", () => document.hidden ? this.#rest() : this.#look()),
    ];
    this.#look();
  }
  #heading; #status; #list;

  disconnectedCallback() { this.#rest(); for (const end of this.ends) end(); }

  #rest() { clearTimeout(this.#timer); this.#stream?.close(); this.#stream = null; }

  // The list, one answer at a time: what asks for it meanwhile gets one more afterwards.
  async #look() {
    this.#again = this.#looking;
    if (this.#looking) return;
    this.#looking = true;
    try {
      do { this.#again = false; await this.#read(); } while (this.#again);
    } finally { this.#looking = false; }
  }

  async #read() {
    clearTimeout(this.#timer);
    try {
      const {jobs} = await ask("GET", `/v1/jobs?most=${NEWEST}`);
      // The list has no outputs of songs and no places in the queue: those are asked for.
      this.#jobs = await Promise.all(jobs.map(job => this.#whole(job)));
      this.#failed = false;
    } catch { this.#failed = true; }
    if (!this.isConnected || document.hidden) return;
    this.#show();
    this.#follow();
    const busy = this.#failed || this.#jobs.some(job => !ENDED.includes(job.state));
    if (busy) this.#timer = setTimeout(() => this.#look(), this.#stream || this.#failed ? LATER : LOOK);
  }

  async #whole(job) {
    const card = this.#cards.get(job.id);
    if (card && card.job.state === job.state && ENDED.includes(job.state)) return card.job;
    if (job.state === "running") return job;
    return ask("GET", `/v1/jobs/${job.id}`);
  }

  #follow() {
    const running = this.#jobs.find(job => job.state === "running") || this.#jobs.findLast(job => job.state === "queued");
    if (this.#stream?.job === running?.id) return;
    this.#stream?.close();
    this.#stream = null;
    if (!running) return;
    const stream = new EventSource(`/v1/jobs/${running.id}/events`);
    stream.job = running.id;
    this.#stream = stream;
    const heard = event => this.#hear(running.id, JSON.parse(event.data));
    for (const kind of ["started", "stage_started", "loading", "progress", "stage_done", "replanned", "wrote", "audio_ready"]) {
      stream.addEventListener(kind, heard);
    }
    stream.addEventListener("end", () => { stream.close(); this.#stream = null; this.#progress.delete(running.id); this.#look(); });
  }

  #hear(id, event) {
    const known = this.#progress.get(id) || {stages: [], done: 0, since: performance.now(), tokens: 0, heard: new Map()};
    if (event.event === "started") {
      known.stages = event.plan.stages.map(stage => ({name: stage.stage, seconds: stage.seconds}));
      Object.assign(known, {done: 0, stage: null, tokens: 0, heard: new Map()}); // told again after a pause
    } else if (event.event === "stage_started") {
      Object.assign(known, {stage: event.stage, step: null, loading: null, since: performance.now()});
    } else if (event.event === "loading") known.loading = event.part;
    else if (event.event === "progress") Object.assign(known, {stage: event.stage, step: [event.done, event.total], loading: null});
    else if (event.event === "stage_done") known.done = known.stages.findIndex(stage => stage.name === event.stage) + 1;
    else if (event.event === "audio_ready") known.heard.set(event.song, (event.start + event.frames) / event.rate);
    else if (event.event === "wrote") known.tokens += event.spent.drawn + event.spent.forced;
    this.#progress.set(id, known);
    const job = this.#jobs.find(one => one.id === id);
    if (job && job.state === "queued") this.#look();
    this.#cards.get(id)?.progress(known);
  }

  #show() {
    this.#heading.textContent = text("jobs");
    this.#status.textContent = this.#failed ? text("offline") : this.#jobs.length ? "" : text("jobs_none");
    const kept = new Set();
    this.#jobs.forEach((job, at) => {
      let card = this.#cards.get(job.id);
      if (!card || card.stamp !== stamp(job)) {
        const fresh = new Card(job, () => this.#look(), card?.early.places());
        card?.early.close();
        card?.node.replaceWith(fresh.node);
        card = fresh;
        this.#cards.set(job.id, card);
      }
      kept.add(job.id);
      if (this.#list.children[at] !== card.node) this.#list.insertBefore(card.node, this.#list.children[at] || null);
      const known = this.#progress.get(job.id);
      if (known) card.progress(known);
    });
    for (const [id, card] of this.#cards) if (!kept.has(id)) { card.early.close(); card.node.remove(); this.#cards.delete(id); }
  }
});

class Card {
  constructor(job, look, places = new Map()) {
    this.job = job;
    this.early = new Early(job);
    this.stamp = stamp(job);
    this.look = look;
    this.line = element("p", {class: "line"});
    this.bar = element("progress", {max: 1, "aria-label": text("state_running")});
    const running = job.state === "running";
    this.node = element("li", {class: `job ${job.state}`, "data-job": job.id, "data-state": job.state},
      element("div", {class: "top"},
        element("strong", {}, title(job)),
        whole(job.id) ? element("span", {class: "mark"}, text("job_preview")) : null,
        element("span", {class: "state"}, text(job.cancelling ? "job_cancelling" : `state_${job.state}`))),
      running ? this.bar : null, this.line, running ? this.early.node : null,
      ...job.outputs.map(output => this.output(output, places.get(output.number))),
      this.actions());
    if (job.state === "queued") this.line.textContent = job.position ? text("job_position", {position: job.position}) : "";
    if (job.error) this.line.replaceChildren(...coded(problem(job.error)));
    const notes = job.result?.notes || [];
    if (notes.length) this.node.insertBefore(element("ul", {class: "notes"}, ...notes.map(one => element("li", {}, ...coded(note(one))))), this.node.lastChild);
  }

  /** An output; `place`: where it was being listened to while it was made. */
  output(output, place) {
    const name = output.title || title(this.job), id = `${this.job.id}.${output.number}`;
    const player = element("headroom-player");
    player.set([{title: name, url: output.url, peaks: `${output.url}/peaks`}]);
    player.place = place || null;
    const open = element("button", {type: "button", class: "tool", "data-does": "open",
      onclick: () => window.dispatchEvent(new CustomEvent("headroom-open", {detail: id}))}, text("songs_open"));
    return element("div", {class: "output", "data-output": output.number}, player, element("div", {class: "row"}, open));
  }

  actions() {
    const row = element("div", {class: "row"});
    const say = told => { this.line.textContent = told; };
    const add = (key, work) => row.append(button(text(key), work, say, {"data-does": key}));
    const job = this.job, path = `/v1/jobs/${job.id}`;
    if (!ENDED.includes(job.state)) {
      if (!job.cancelling) add("job_cancel", async () => { await ask("DELETE", path); this.look(); });
      return row;
    }
    const sheet = job.result?.output?.kind === "song_sheet";
    add(sheet ? "job_sheet" : "job_edit", async () => {
      const request = sheet ? await song(job.result.output) : carried(job);
      window.dispatchEvent(new CustomEvent("headroom-apply", {detail: JSON.stringify(request)}));
    });
    const all = job.state === "done" && whole(job.id);
    if (all) add("job_whole", async () => { await ask("POST", `/v1/jobs?${subject(job)}`, all); this.look(); });
    if (job.state === "done") add("job_again", async () => { await ask("POST", `${path}/replay`, {}); this.look(); });
    add("job_delete", () => this.confirm(row, path, say));
    return row;
  }

  confirm(row, path, say) {
    const before = [...row.children];
    const back = () => { row.replaceChildren(...before); before.at(-1).focus(); };
    row.replaceChildren(element("span", {}, text("confirm_delete")),
      button(text("yes_delete"), async () => { await ask("DELETE", path); this.look(); }, say, {class: "tool wrong"}),
      element("button", {type: "button", class: "tool", onclick: back}, text("no_keep")));
    row.querySelector("button").focus();
  }

  progress(known) {
    if (this.job.state !== "running") return;
    const parts = [];
    const share = known.step ? known.step[0] / known.step[1] : 0;
    if (known.stage) parts.push(text(known.stage, {}, "stages"));
    if (known.loading) parts.push(text("job_loading", {part: text(known.loading, {}, "components")}));
    else if (known.step) parts.push(text("job_step", {done: known.step[0], total: known.step[1]}));
    if (known.tokens) parts.push(text("job_tokens", {tokens: known.tokens}));
    const seconds = known.stages.map(stage => stage.seconds || 0);
    const all = seconds.reduce((a, b) => a + b, 0);
    if (all > 0) {
      const behind = seconds.slice(0, known.done).reduce((a, b) => a + b, 0) + (seconds[known.done] || 0) * share;
      this.bar.value = behind / all;
      parts.push(text("job_left", {seconds: Math.max(1, Math.ceil(all - behind))}));
    } else if (known.stages.length) this.bar.value = (known.done + share) / known.stages.length;
    this.line.textContent = parts.join(" · ");
    this.early.show(known.heard);
  }
}

const subject = ({asked}) => new URLSearchParams({family: asked.family, ...(asked.model ? {model: asked.model} : {}), reuse: "true"});
const stamp = job => [job.state, job.cancelling, job.position, job.outputs.length].join();

function title(job) {
  const asked = job.asked.request;
  return job.outputs[0]?.title || asked.caption || asked.query || text(asked.task, {}, "tasks") || text("job_untitled");
}

/** The song that a sheet describes, as far as a request has fields for it. */
async function song({language, ...told}) {
  const {usual, requests} = await facts();
  const known = Object.entries({...told, vocal_language: language}).filter(([name, value]) => value !== null && name in requests[usual].fields);
  return {task: usual, ...Object.fromEntries(known)};
}

/** What a job was asked for, as it was carried out. */
function carried(job) {
  const done = job.result?.request;
  const values = done ? Object.fromEntries(done.set_fields.map(name => [name, done.values[name]])) : job.asked.request;
  return {...values, task: job.asked.request.task};
}

function on(target, kind, listener) {
  target.addEventListener(kind, listener);
  return () => target.removeEventListener(kind, listener);
}
