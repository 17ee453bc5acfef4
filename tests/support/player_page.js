import { mount } from "/player/player.js";

const host = document.querySelector("#player");
window.events = [];
for (const name of ["ready", "play", "pause", "seek", "version", "regions", "error"]) {
  host.addEventListener(`player-${name}`, (event) => window.events.push([name, event.detail]));
}
window.start = (options) => { window.player = mount(host, { nonce: "test", ...options }); };
window.loaded = true;
