"use strict";
// What links and forms can't: times in the reader's zone, pages that renew themselves, keys, work that goes on by itself, the
// live view. Every text that comes from elsewhere is set as text, never as markup.
(() => {
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  // Words are in the page, so that all of them are in one file of the program.
  const words = document.body.dataset;
  const make = (name, properties) => Object.assign(document.createElement(name), properties);

  // What a reader has switched off, on this machine.
  const isOn = (name) => {
    // A browser may keep nothing for pages, and then even asking is an error.
    try { return localStorage.getItem(`formgate.${name}`) !== "off"; } catch { return true; }
  };
  for (const box of all("[data-setting]")) {
    box.checked = isOn(box.dataset.setting);
    box.addEventListener("change", () => {
      try { localStorage.setItem(`formgate.${box.dataset.setting}`, box.checked ? "on" : "off"); } catch { /* As above. */ }
    });
  }

  // Times.
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const short = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const distance = (seconds) => {
    if (seconds < 60) return `${seconds} ${words.seconds}`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} ${words.minutes}`;
    return `${Math.floor(seconds / 3600)} ${words.hours}`;
  };
  const ago = (at) => {
    const seconds = Math.floor((Date.now() - at) / 1000);
    if (Math.abs(seconds) >= 86400) return short.format(at);
    if (seconds >= 0 && seconds < 5) return words.now;
    return seconds < 0 ? `${words.in} ${distance(-seconds)}` : `${distance(seconds)} ${words.ago}`;
  };
  const localize = (within = document) => {
    for (const time of all("time", within)) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      time.title = exact.format(at);
      if ("exact" in time.dataset) time.textContent = exact.format(at);
      if ("hour" in time.dataset) time.textContent = hour.format(at);
      if ("short" in time.dataset) time.textContent = ago(at);
    }
  };
  setInterval(() => localize(), 15000);

  // Rows under the keys.
  const rows = () => all("tr[data-row]");
  const current = () => one("tr.here");
  const linkOf = (row) => row && one("a.main", row);
  const mark = (row) => {
    current()?.classList.remove("here");
    row?.classList.add("here");
  };
  const step = (by) => {
    const list = rows();
    if (list.length === 0) return;
    const at = list.indexOf(current());
    const row = list[at < 0 ? 0 : Math.max(0, Math.min(list.length - 1, at + by))];
    mark(row);
    row.scrollIntoView({ block: "nearest" });
    linkOf(row)?.focus({ preventScroll: true });
  };

  // Renewal: the parts that live are fetched again and put in their places, unless the reader is at work in them.
  const seconds = Number(words.refresh || 0);
  let failures = 0;
  let isRenewing = false;
  const isBusy = (part) => part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select, summary, button")
    || all("input:checked", part).length > 0 || all("details[open]", part).length > 0 || String(getSelection()).length > 0;
  const replace = (part, fresh) => {
    // The row and the link are found again by where they lead: others may have come before them.
    const here = linkOf(current())?.getAttribute("href");
    const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
    part.replaceChildren(...document.adoptNode(fresh).childNodes);
    localize(part);
    const link = (href) => href && all("a", part).find((anchor) => anchor.getAttribute("href") === href);
    if (here && part.contains(link(here) ?? null)) mark(link(here).closest("tr"));
    if (focused) link(focused)?.focus({ preventScroll: true });
  };
  const renew = async () => {
    const parts = all("[data-live]");
    if (isRenewing || document.hidden || !isOn("renewal") || parts.some(isBusy)) return;
    isRenewing = true;
    try {
      // It doesn't keep a session open: nobody may be there.
      const answer = await fetch(location.href, { headers: { "X-Renewal": "1" }, redirect: "manual" });
      if (answer.type === "opaqueredirect") return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      failures = 0;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (parts.some(isBusy)) return;
      // What is to be waited for is over, and the whole page is another.
      if (!page.body.dataset.refresh) return location.reload();
      for (const part of parts) {
        const fresh = page.getElementById(part.id);
        if (fresh) replace(part, fresh);
      }
    } catch {
      failures += 1;
      if (failures === 2) parts[0].prepend(make("p", { className: "notice bad", textContent: words.stale }));
    } finally {
      isRenewing = false;
    }
  };
  if (seconds > 0 && one("[data-live]")) setInterval(renew, seconds * 1000);

  // What is chosen: without any, there is nothing to do with it.
  const chosen = one(".chosen");
  const count = () => {
    if (!chosen) return;
    const isAll = one("[name=all]").checked;
    const boxes = all("input[name=id]");
    for (const box of boxes) box.disabled = isAll;
    const number = boxes.filter((box) => box.checked).length;
    chosen.textContent = isAll || number === 0 ? "" : number === 1 ? chosen.dataset.one : chosen.dataset.many.replace("{n}", number);
    for (const button of all("button[name=verb]")) button.disabled = !isAll && number === 0;
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-all]")) {
      for (const box of all("input[name=id]")) box.checked = event.target.checked;
    }
    count();
  });

  // Keys.
  const places = { o: "/console/", l: "/console/leads", s: "/console/sites", v: "/console/live" };
  const choose = () => {
    const box = current() && one("input[name=id]", current());
    if (!box) return;
    box.checked = !box.checked;
    count();
  };
  const acts = {
    j: () => step(1),
    k: () => step(-1),
    x: choose,
    "/": () => one("#search") ? one("#search").focus() : location.assign("/console/leads"),
    p: () => one("#pause")?.click(),
    g: () => { goes = true; },
    "?": () => one("#keys")?.showModal(),
  };
  let goes = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const isTyping = event.target.matches("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape" && isTyping) return event.target.blur();
    if (isTyping || one("dialog[open]") || !isOn("keys")) return;
    const wasGoing = goes;
    goes = false;
    if (wasGoing && places[event.key]) return location.assign(places[event.key]);
    if (acts[event.key]) {
      acts[event.key]();
      event.preventDefault();
    }
  });
  for (const button of all("[data-keys]")) {
    button.hidden = false;
    button.addEventListener("click", acts["?"]);
  }

  // What is to be pasted elsewhere.
  for (const button of all("[data-copy]")) {
    if (!navigator.clipboard) break;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(one(button.dataset.copy).textContent);
      button.textContent = words.copied;
    });
  }

  // Work that goes on by itself, part by part, in this one page.
  const goOn = async () => {
    for (let form = one("form[data-continue]"); form; form = one("form[data-continue]")) {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      // The form is still there, and goes on from where it was.
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      one("main").replaceChildren(...document.adoptNode(one("main", page)).childNodes);
      localize();
    }
  };
  if (one("form[data-continue]")) {
    goOn().catch(() => one("form[data-continue]").before(make("p", { className: "notice bad", textContent: words.stopped })));
  }

  // The live view.
  const ROWS_MAX = 500;
  const LATER_MAX = 1000;
  const KINDS = {
    queued: "queued", held: "held", duplicate: "queued", delivered: "delivered", failed: "held", ambiguous: "held",
    key_refused: "dead", lead_refused: "dead",
  };
  const cell = (...parts) => {
    const td = make("td");
    td.append(...parts.filter((part) => part !== undefined && part !== null));
    return td;
  };
  const rowOf = (told, stream) => {
    const at = new Date(told.at);
    const time = make("time", { dateTime: told.at, title: exact.format(at), textContent: clock.format(at) });
    const form = told.form && make("span", { className: "hint", textContent: ` / ${told.form}` });
    const kind = KINDS[told.result] ?? (told.mistake ? "dead" : "");
    const badge = make("span", { className: `state ${kind}`, textContent: String(told.result).replaceAll("_", " ") });
    const attempt = told.number && ` ${stream.dataset.attempt.replace("{n}", told.number)}`;
    const link = told.id && make("a", { className: "main", href: `/console/leads/${encodeURIComponent(told.id)}`, textContent: told.id.slice(-12) });
    const why = [told.mistake, told.reason].filter(Boolean).join(", ").replaceAll("_", " ");
    const took = cell(`${told.duration_ms} ms`);
    took.className = "number";
    const details = cell(link, " ", why);
    details.className = "wide";
    const row = make("tr", { className: "new" });
    row.append(cell(time), cell(told.site ?? "", form), cell(badge, attempt), took, details);
    return row;
  };
  const missed = (told, stream) => {
    const td = cell(stream.dataset.missed.replace("{n}", told.events));
    td.colSpan = 5;
    td.className = "hint";
    const row = make("tr");
    row.append(td);
    return row;
  };
  const follow = (stream) => {
    const status = one("#status");
    const pause = one("#pause");
    const nothing = one("#nothing");
    const body = one("tbody", stream);
    let later = [];
    let isPaused = false;
    let isThere = false;
    stream.hidden = pause.hidden = nothing.hidden = false;
    const show = (row) => {
      nothing.hidden = true;
      body.prepend(row);
      while (body.rows.length > ROWS_MAX) body.lastElementChild.remove();
    };
    const add = (row) => {
      if (!isPaused) return show(row);
      later.push(row);
      if (later.length > LATER_MAX) later.shift();
    };
    const say = (now = isThere) => {
      isThere = now;
      status.textContent = !isThere ? status.dataset.lost : isPaused ? status.dataset.paused : status.dataset.connected;
    };
    const labels = [pause.textContent, pause.dataset.resume];
    pause.addEventListener("click", () => {
      isPaused = !isPaused;
      pause.setAttribute("aria-pressed", String(isPaused));
      pause.textContent = labels[Number(isPaused)];
      say();
      later.forEach(show);
      later = [];
    });
    connect(stream, add, say, status);
  };
  // A browser tries again by itself when a connection ends, and never after another answer than 200.
  const connect = (stream, add, say, status) => {
    const source = new EventSource(stream.dataset.url);
    source.addEventListener("open", () => say(true));
    source.addEventListener("error", async () => {
      say(false);
      if (source.readyState !== EventSource.CLOSED) return;
      const answer = await fetch("/api/v1", { headers: { "X-Renewal": "1" } }).catch(() => undefined);
      if (answer?.status === 401) return location.reload();
      if (answer?.ok) status.textContent = status.dataset.full;
      setTimeout(() => connect(stream, add, say, status), 10000);
    });
    for (const name of ["request", "attempt"]) {
      source.addEventListener(name, (event) => add(rowOf(JSON.parse(event.data), stream)));
    }
    source.addEventListener("missed", (event) => add(missed(JSON.parse(event.data), stream)));
    addEventListener("pagehide", () => source.close(), { once: true });
  };
  // A page that was put aside has missed what happened since.
  addEventListener("pageshow", (event) => { if (event.persisted && one("#stream")) location.reload(); });
  if (one("#stream")) follow(one("#stream"));

  localize();
  count();
})();
