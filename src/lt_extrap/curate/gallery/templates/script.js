"use strict";
(() => {
  const page = document.documentElement.dataset;
  const STORE = `lt_extrap verdicts ${page.target} ${page.store}`;
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // What was said in this browser: {takenIn, said: {"<image> <class>": [verdict or null, saved, told]}}; `told`: a file
  // has a verdict on it, which only another one takes back. What was saved is taken to be taken in once the gallery was
  // written with other verdicts than then.
  let memory = { takenIn: page.takenIn, said: {} };
  let lasting = true;
  function load() {
    if (!lasting) return;  // what the browser does not keep is here alone
    try {
      const found = JSON.parse(localStorage.getItem(STORE));
      if (found && typeof found.said === "object") memory = found;
    } catch { lasting = false; }
    if (memory.takenIn !== page.takenIn) {
      const left = Object.entries(memory.said).filter(([, [, saved]]) => !saved);
      memory = { takenIn: page.takenIn, said: Object.fromEntries(left) };
      keep();
    }
  }
  function keep() {
    try { localStorage.setItem(STORE, JSON.stringify(memory)); } catch { lasting = false; }
  }
  const idOf = element => `${element.dataset.image ?? ""} ${element.dataset.key}`;
  function verdictOf(element) {
    const said = memory.said[idOf(element)];
    return said ? said[0] : element.dataset.verdict || null;
  }
  function say(element, verdict) {
    load();
    const id = idOf(element), told = Boolean(memory.said[id]?.[2]);
    if (verdict === (element.dataset.verdict || null) && !told) delete memory.said[id];
    else memory.said[id] = [verdict, false, told];
    keep();
    show();
    one("#said").textContent = { keep: "kept", drop: "dropped" }[verdict] ?? "taken back";
  }
  const toggle = (element, verdict) => say(element, verdictOf(element) === verdict ? null : verdict);

  function showPicture(picture) {
    const verdict = verdictOf(picture);
    if (verdict) picture.dataset.said = verdict; else delete picture.dataset.said;
    const kept = verdict === "keep" && !picture.dataset.final;
    picture.dataset.now = verdict === "drop" ? "gone" : kept ? "kept" : picture.dataset.was;
  }
  function showClass(decide) {
    const verdict = verdictOf(decide), around = decide.closest("section.strip, .row");
    one(".keep", decide).setAttribute("aria-pressed", String(verdict === "keep"));
    one(".drop", decide).setAttribute("aria-pressed", String(verdict === "drop"));
    if (verdict) around.dataset.said = verdict; else delete around.dataset.said;
  }
  const saveButton = one("#save");
  function show() {
    pictures.forEach(showPicture);
    decides.forEach(showClass);
    const said = Object.values(memory.said), fresh = said.filter(([, saved]) => !saved).length;
    saveButton.hidden = said.length === 0;
    saveButton.textContent = fresh ? `Save ${fresh} verdict${fresh === 1 ? "" : "s"}` : "Save again";
    if (view.open) showView();
  }
  function save() {
    load();
    const verdicts = Object.entries(memory.said).map(([id, [verdict]]) => {
      const at = id.indexOf(" ");
      return { class: id.slice(at + 1), image: id.slice(0, at) || null, verdict };
    });
    if (!verdicts.length) return;
    const text = JSON.stringify({ format: page.format, target: page.target, verdicts }, null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "verdicts.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    for (const said of Object.values(memory.said)) said[1] = said[2] = true;
    keep();
    show();
    one("#saved-what").textContent = `${verdicts.length} verdict${verdicts.length === 1 ? "" : "s"} saved`;
    if (view.open) view.close();
    one("#saved").showModal();
  }

  const pictures = all(".p"), decides = all(".decide");
  const shown = () => pictures.filter(picture => picture.getClientRects().length);
  function go(from, step) {
    const there = shown(), at = there.indexOf(from);
    return there[at + step] ?? null;
  }
  function below(from, step) {
    const here = from.getBoundingClientRect(), rows = new Map();
    for (const picture of shown()) {
      const place = picture.getBoundingClientRect();
      if (step > 0 ? place.top <= here.top + 4 : place.top >= here.top - 4) continue;
      const row = Math.round(place.top), nearest = rows.get(row);
      if (!nearest || Math.abs(place.left - here.left) < nearest.far)
        rows.set(row, { picture, far: Math.abs(place.left - here.left) });
    }
    const tops = [...rows.keys()].sort((a, b) => step * (a - b));
    return tops.length ? rows.get(tops[0]).picture : null;
  }
  // The tab key stops once at the pictures of a class.
  function stop(picture) {
    for (const other of all(".p[tabindex='0']", picture.parentElement)) other.tabIndex = -1;
    picture.tabIndex = 0;
  }
  function stops() {
    for (const picture of pictures) picture.tabIndex = -1;
    const grids = new Set();
    for (const picture of shown()) {
      if (!grids.has(picture.parentElement)) picture.tabIndex = 0;
      grids.add(picture.parentElement);
    }
  }
  document.addEventListener("focusin", event => { if (event.target.matches(".p")) stop(event.target); });
  function focus(picture) {
    if (!picture) return;
    picture.focus({ preventScroll: true });
    picture.scrollIntoView({ block: "nearest" });
  }

  const view = one("#view"), large = one("#large");
  let viewed = null;
  function fact(list, name, text, address) {
    if (!text) return;
    const term = document.createElement("dt"), said = document.createElement("dd");
    term.textContent = name;
    said.dir = "auto";
    if (address && /^https?:\/\//i.test(address)) {
      const link = document.createElement("a");
      Object.assign(link, { href: address, textContent: text, rel: "noreferrer noopener", target: "_blank" });
      said.append(link);
    } else said.textContent = text;
    list.append(term, said);
  }
  function showView() {
    const { about, now, final } = viewed.dataset, known = JSON.parse(about), verdict = verdictOf(viewed);
    one("#view-class").textContent = one("h2 bdi, figcaption bdi", viewed.closest(".strip, .pair")).textContent;
    const state = one("#view-state");
    state.className = verdict ? now : "";
    state.textContent = verdict === "keep" && !final ? "You keep it" : verdict === "drop" ? "You drop it" : known.why;
    one("#view-caption").textContent = known.caption ?? "";
    const list = one("#view-facts");
    list.replaceChildren();
    if (verdict) fact(list, "before", known.why);
    fact(list, "because", known.because);
    fact(list, "cosine", known.cosine);
    fact(list, "size", known.size);
    fact(list, "licence", known.licence, known.licencePage);
    fact(list, "creator", known.creator);
    fact(list, "page", known.page, known.page);
    fact(list, "place", known.place === known.page ? "" : known.place);
    const keepIt = one("#view-keep"), dropIt = one("#view-drop");
    keepIt.setAttribute("aria-pressed", String(verdict === "keep"));
    dropIt.setAttribute("aria-pressed", String(verdict === "drop"));
    keepIt.disabled = Boolean(final);
    keepIt.title = final ? "A copy of an image of the target set is never kept" : "";
    one("#back").disabled = !go(viewed, -1);
    one("#on").disabled = !go(viewed, 1);
  }
  function look(picture) {
    if (!picture) return;
    viewed = picture;
    const small = one("img", picture).src;
    large.style.maxWidth = large.style.maxHeight = "";
    large.onload = () => {  // a small picture is not blown up to blocks
      const most = `${Math.max(256, 4 * Math.max(large.naturalWidth, large.naturalHeight))}px`;
      large.style.maxWidth = large.style.maxHeight = most;
    };
    large.onerror = () => { large.onerror = null; large.src = small; };
    large.alt = one("img", picture).alt;
    large.src = `${page.root}../images/${JSON.parse(picture.dataset.about).file}`;
    if (!view.open) view.showModal();
    showView();
  }
  view.addEventListener("close", () => focus(viewed));

  document.addEventListener("click", event => {
    const target = event.target.closest("button, dialog");
    if (!target) return;
    if (target.matches(".p")) look(target);
    else if (target.matches(".decide button")) toggle(target.parentElement, target.className);
    else if (target.matches(".seg [data-show]")) {
      page.show = target.dataset.show;
      press(target);
      stops();
    } else if (target.matches("dialog") && event.target === target) target.close();  // beside what it shows
  });
  function press(button) {
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
  }
  const on = (selector, act) => one(selector).addEventListener("click", act);
  on("#save", save);
  on("#keys", () => one("#help").showModal());
  on("#close", () => view.close());
  on("#help-close", () => one("#help").close());
  on("#saved-close", () => one("#saved").close());
  on("#back", () => look(go(viewed, -1)));
  on("#on", () => look(go(viewed, 1)));
  on("#view-keep", () => toggle(viewed, "keep"));
  on("#view-drop", () => toggle(viewed, "drop"));

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
    const key = event.key.toLowerCase();
    const picture = view.open ? viewed : event.target.closest(".p");
    const verdict = { k: "keep", x: "drop" }[key];
    let done = true;
    if (all("dialog[open]:not(#view)").length) return;
    if (verdict && event.shiftKey) {
      const decide = event.target.closest("section.strip, .row") ?? (view.open ? viewed : null)?.closest("section.strip");
      const buttons = decide && one(".decide", decide);
      if (buttons) toggle(buttons, verdict);
    } else if (verdict && picture) {
      if (verdict === "keep" && picture.dataset.final) return;
      const next = go(picture, 1), again = verdictOf(picture) === verdict;
      toggle(picture, verdict);
      if (next && !again) (view.open ? look : focus)(next);
    } else if (key === "arrowright" || key === "arrowleft") {
      const step = key === "arrowright" ? 1 : -1;
      if (view.open) look(go(viewed, step));
      else focus(picture ? go(picture, step) : shown()[0]);
    } else if ((key === "arrowdown" || key === "arrowup") && picture && !view.open) {
      focus(below(picture, key === "arrowdown" ? 1 : -1));
    } else if (key === "arrowdown" && event.target === document.body && shown().length) {
      focus(shown().find(one => one.getBoundingClientRect().top >= 0));
    } else if (key === "[" || key === "]") one(key === "[" ? "#before" : "#behind")?.click();
    else if (key === "s") save();
    else if (key === "?") one("#help").showModal();
    else done = false;
    if (done) event.preventDefault();
  });

  const find = one("#find");
  if (find) {
    const items = all(".item").map(item => [item, item.textContent.toLowerCase()]);
    let shot = "";
    const sift = () => {
      const words = find.value.trim().toLowerCase();
      let some = false;
      for (const [item, text] of items) {
        item.hidden = !text.includes(words) || (shot !== "" && item.dataset.shot !== shot);
        some ||= !item.hidden;
      }
      one("#nothing").hidden = some;
    };
    find.addEventListener("input", sift);
    for (const button of all("button[data-shot]"))
      button.addEventListener("click", () => { shot = button.dataset.shot; press(button); sift(); });
    one(".find").hidden = false;
  }

  load();
  window.addEventListener("storage", () => { load(); show(); });
  window.addEventListener("pageshow", () => { load(); show(); });
  window.addEventListener("beforeunload", event => {
    if (!lasting && Object.values(memory.said).some(([, saved]) => !saved)) event.preventDefault();
  });
  all(".decide button").forEach(button => { button.disabled = false; });
  all(".tools .seg").forEach(seg => { seg.hidden = false; });
  one("#keys").hidden = pictures.length === 0;
  show();
  stops();
})();
