// Enhances pages that work without it: live blocks, streams of answers, a filter, the terminal.
"use strict";

const $ = (selector, within = document) => within.querySelector(selector);

const fragment = html => {
  // A template parses without running anything; what it gets was escaped by the server.
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
};

// A stream of events, until what comes back is called. A browser gives one up that is refused; it is asked for again here.
const follow = (url, events) => {
  let source, again;
  const open = () => {
    source = new EventSource(url);
    for (const [name, hear] of Object.entries(events)) source.addEventListener(name, hear);
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) again = setTimeout(open, 10_000);
    });
  };
  open();
  return () => { clearTimeout(again); source.close(); };
};

// Live blocks. The server names each block by id, and says what stands before it.
const live = $("[data-live]");
if (live) {
  const status = $("#status");
  const say = (state, text) => {
    if (!status || status.textContent === text) return;
    status.dataset.state = state;
    status.textContent = text;
  };
  const lost = ({ target }) => say("lost", target.readyState === EventSource.CLOSED
    ? "Not live: the dashboard is followed by too many pages, or asks for a login. Close some, or load this one again; trying again."
    : "Connection lost. What is shown may be out of date; trying again.");
  const change = event => {
    const { whole, put, gone } = JSON.parse(event.data);
    if (whole) {
      // What went while the connection was lost is nowhere said to be gone.
      const there = new Set(put.map(({ id }) => id));
      for (const home of live.querySelectorAll("[data-blocks]")) {
        for (const block of [...home.children]) if (!there.has(block.id)) block.remove();
      }
    }
    for (const id of gone) document.getElementById(id)?.remove();
    for (const { id, within, after, html } of put) {
      const home = document.getElementById(within);
      if (!home) continue;
      const old = document.getElementById(id);
      // The first event says what the page has shown already.
      if (whole && old?.outerHTML === html) continue;
      if (old && old.contains(document.activeElement) && old !== document.activeElement) {
        // What has the focus keeps it: its link is the same before and after.
        const href = document.activeElement.getAttribute("href");
        old.replaceWith(fragment(html));
        for (const link of document.getElementById(id)?.querySelectorAll("a") ?? []) {
          if (link.getAttribute("href") === href) { link.focus({ preventScroll: true }); break; }
        }
      } else if (old) {
        old.replaceWith(fragment(html));
      } else {
        const before = after && document.getElementById(after);
        if (before) before.after(fragment(html)); else home.prepend(fragment(html));
      }
    }
    filter();
  };
  follow(live.dataset.live, { open: () => say("live", "Live."), error: lost, blocks: change });
}

// The filter above a table.
const field = $("[data-filter]");
let filtered = false;
function filter() {
  const wanted = field?.value.trim().toLowerCase() ?? "";
  if (wanted === "" && !filtered) return;
  filtered = wanted !== "";
  let shown = 0;
  for (const row of document.querySelectorAll(`#${field.dataset.filter} > *`)) {
    row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
    if (!row.hidden) shown += 1;
  }
  const count = $("#filtered");
  if (count) count.textContent = wanted === "" ? "" : `${shown} shown`;
}
field?.addEventListener("input", filter);

// Streams that add lines: the tap, events.
for (const list of document.querySelectorAll("[data-feed]")) {
  const most = 500;
  const wanted = document.getElementById(list.dataset.wanted ?? "");
  const add = event => {
    const item = fragment(event.data);
    const row = item.firstElementChild;
    if (wanted && !row.textContent.toLowerCase().includes(wanted.value.trim().toLowerCase())) return;
    list.prepend(item);
    while (list.childElementCount > most) list.lastElementChild.remove();
  };
  const stop = follow(list.dataset.feed, { item: add });
  $("[data-pause]")?.addEventListener("click", stop, { once: true });
}

// Forms whose answer is a stream of text: calls, the terminal, publishing.
for (const form of document.querySelectorAll("form[data-stream]")) {
  const output = document.getElementById(form.dataset.stream);
  const stop = $("[data-stop]", form);
  let running;
  form.addEventListener("submit", async event => {
    event.preventDefault();
    running?.abort();
    running = new AbortController();
    if (stop) stop.disabled = false;
    if (!form.dataset.keep) output.textContent = "";
    const write = text => {
      output.textContent = (output.textContent + text).slice(-1_000_000);
      output.scrollTop = output.scrollHeight;
    };
    const data = new URLSearchParams(new FormData(form));
    if (form.dataset.keep) {
      write(`> ${data.get("line")}\n`);
      form.reset();
    }
    try {
      const response = await fetch(form.action, { method: "POST", body: data, headers: { accept: "text/plain" }, signal: running.signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let read = await reader.read(); !read.done; read = await reader.read()) write(read.value);
    } catch (error) {
      write(error.name === "AbortError" ? "stopped\n" : `the dashboard cannot be reached: ${error.message}\n`);
    }
    if (stop) stop.disabled = true;
  });
  stop?.addEventListener("click", () => running?.abort());
}

// A form of a method's fields writes the JSON that is sent.
const shape = $("[data-shape]");
if (shape) {
  const text = $("[name=request]");
  const value = input => {
    if (input.type === "checkbox") return input.checked;
    if (input.value === "") return undefined;
    if (input.dataset.kind === "number") return Number(input.value);
    if (input.dataset.kind === "json") { try { return JSON.parse(input.value); } catch { return undefined; } }
    return input.value;
  };
  shape.addEventListener("input", () => {
    const request = {};
    for (const input of shape.querySelectorAll("[data-path]")) {
      const found = value(input);
      if (found === undefined || found === false) continue;
      const path = JSON.parse(input.dataset.path);
      let at = request;
      for (const key of path.slice(0, -1)) {
        if (!Object.hasOwn(at, key)) Object.defineProperty(at, key, { value: {}, enumerable: true });
        at = at[key];
      }
      Object.defineProperty(at, path.at(-1), { value: found, enumerable: true });
    }
    text.value = JSON.stringify(request, null, 2);
  });
}

// Choosing a service or a method shows its form.
for (const select of document.querySelectorAll("[data-submit]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}
