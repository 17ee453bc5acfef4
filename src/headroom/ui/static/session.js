// Repeats the token of the session in every change that the page asks for. It is loaded before
// anything of Gradio, whose requests go through `fetch` as well.
(() => {
  const send = window.fetch.bind(window);
  const token = () => (document.cookie.match(/(?:^|; )headroom_token=([0-9a-f]{64})/) || [])[1];
  window.fetch = (target, options = {}) => {
    const url = new URL(target instanceof Request ? target.url : target, location.href);
    const method = (options.method || (target instanceof Request ? target.method : "GET")).toUpperCase();
    const held = token();
    if (held && url.origin === location.origin && method !== "GET" && method !== "HEAD") {
      const headers = new Headers(options.headers || (target instanceof Request ? target.headers : {}));
      headers.set("X-Headroom-Token", held);
      options = {...options, headers};
    }
    return send(target, options);
  };
})();
