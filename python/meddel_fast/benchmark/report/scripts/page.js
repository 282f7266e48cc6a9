"use strict";
// What the other parts share: the data, the choice of a selection, the theme, tips.
const report = (() => {
  const root = document.documentElement;
  const all = (query, within = document) => [...within.querySelectorAll(query)];
  const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;
  root.classList.add("js");

  // Numbers come as little-endian arrays in base64, frames as places in them.
  const kinds = { u16: Uint16Array, u32: Uint32Array, i16: Int16Array, f32: Float32Array };
  const data = JSON.parse(document.getElementById("frame-data").textContent);
  const columns = (data?.columns ?? []).map(([kind, text]) =>
    new kinds[kind](Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer));
  const column = (number) => (number === undefined ? null : columns[number]);
  const fates = data?.fates ?? []; // in words, by the digits of a selection's fates

  // The selection that is shown.
  const changed = (what) => document.dispatchEvent(new Event(what));
  const key = () => `${chosen("selector")}\n${chosen("ratio")}`;
  all(".choose input").forEach((input) => input.addEventListener("change", () => changed("selection")));

  // Theme: as the system says, or by hand for this view.
  const theme = document.getElementById("theme");
  const schemes = [["system", "light dark"], ["light", "light"], ["dark", "dark"]];
  let scheme = 0;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    scheme = (scheme + 1) % schemes.length;
    root.style.colorScheme = schemes[scheme][1];
    theme.textContent = `Theme: ${schemes[scheme][0]}`;
    changed("repaint");
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => changed("repaint"));

  // Tiny pictures of the frames, on one sheet.
  const sheet = new Image();
  if (data) {
    sheet.addEventListener("load", () => changed("repaint"));
    sheet.src = data.sheet;
  }
  function paint(canvas, frame) {
    const pen = canvas.getContext("2d");
    if (frame >= data.tiles) return false;
    const [x, y] = [frame % data.across, Math.floor(frame / data.across)];
    pen.drawImage(sheet, x * data.tile, y * data.tile, data.tile, data.tile,
      0, 0, canvas.width, canvas.height);
    return true;
  }

  // What a pointer or the focus is on, beside it.
  const tip = document.getElementById("tip");
  function show(beside, ...content) {
    tip.replaceChildren(...content);
    tip.hidden = false;
    const box = beside.getBoundingClientRect();
    const left = Math.min(box.left, innerWidth - tip.offsetWidth - 12);
    const above = box.top - tip.offsetHeight - 6;
    tip.style.left = `${Math.max(8, left) + scrollX}px`;
    tip.style.top = `${(above < 0 ? box.bottom + 6 : above) + scrollY}px`;
  }
  const hide = () => { tip.hidden = true; };
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // One stop of the tab key for a group; arrow keys walk within it.
  function walk(box, query) {
    const items = () => all(query, box);
    const stop = (item) => items().forEach((other) => { other.tabIndex = other === item ? 0 : -1; });
    stop(items()[0]);
    box.addEventListener("focusin", (event) => {
      const item = event.target.closest(query);
      if (item) stop(item);
    });
    box.addEventListener("keydown", (event) => {
      const list = items();
      const at = list.indexOf(event.target.closest(query));
      if (at < 0) return;
      const row = list.filter((item) => item.offsetTop === list[0].offsetTop).length;
      const to = {
        ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + row, ArrowUp: at - row,
        Home: 0, End: list.length - 1,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      list[Math.min(Math.max(to, 0), list.length - 1)].focus();
    });
    return stop;
  }

  return { all, changed, chosen, column, data, fates, hide, key, paint, show, walk };
})();
