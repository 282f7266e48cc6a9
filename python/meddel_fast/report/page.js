"use strict";
(() => {
  const root = document.documentElement;
  const all = (query, within = document) => [...within.querySelectorAll(query)];
  const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;
  root.classList.add("js");

  // Theme: as the system says, or by hand for this view.
  const theme = document.getElementById("theme");
  const schemes = [["system", "light dark"], ["light", "light"], ["dark", "dark"]];
  let scheme = 0;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    scheme = (scheme + 1) % schemes.length;
    root.style.colorScheme = schemes[scheme][1];
    theme.textContent = `Theme: ${schemes[scheme][0]}`;
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());

  // The table: which metric it shows, and in which order.
  const scores = document.getElementById("scores");
  const value = (cell) => {
    const text = cell.dataset.value ?? cell.dataset[scores.dataset.metric] ?? "";
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  };
  let sorted = null;
  const sort = () => {
    if (!sorted) return;
    const [column, direction] = sorted;
    const rows = [...scores.tBodies[0].rows];
    const compare = (a, b) =>
      typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    scores.classList.add("sorted");
    rows.sort((a, b) => direction * compare(value(a.cells[column]), value(b.cells[column])));
    scores.tBodies[0].append(...rows);
  };
  if (scores) {
    all('input[name="metric"]').forEach((input) => input.addEventListener("change", () => {
      scores.dataset.metric = input.value;
      sort();
    }));
    all("thead button", scores).forEach((button, column) => button.addEventListener("click", () => {
      const head = button.parentElement;
      // Scores: the highest first; names and shares: the lowest first.
      const first = column < 2 ? 1 : -1;
      const same = sorted && sorted[0] === column;
      sorted = [column, same ? -sorted[1] : first];
      all("th[aria-sort]", scores).forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", sorted[1] > 0 ? "ascending" : "descending");
      sort();
    }));
  }

  // The plots: hide a selector, read a point.
  all(".legend button").forEach((button) => button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") === "false";
    button.setAttribute("aria-pressed", String(on));
    all(`.charts .series[data-style="${button.dataset.style}"]`)
      .forEach((series) => series.classList.toggle("off", !on));
  }));
  const tip = document.getElementById("tip");
  all("[data-tip]").forEach((point) => {
    point.addEventListener("pointerenter", () => {
      const box = point.getBoundingClientRect();
      tip.textContent = point.dataset.tip;
      tip.hidden = false;
      const left = Math.min(box.left, innerWidth - tip.offsetWidth - 12);
      tip.style.left = `${Math.max(8, left) + scrollX}px`;
      tip.style.top = `${box.top + scrollY - tip.offsetHeight - 6}px`;
    });
    point.addEventListener("pointerleave", () => { tip.hidden = true; });
  });

  // Galleries and map show one selection.
  all(".choose input").forEach((input) => input.addEventListener("change", show));
  function show() {
    all(".panel").forEach((panel) => panel.toggleAttribute("data-later",
      panel.dataset.selector !== chosen("selector") || panel.dataset.ratio !== chosen("ratio")));
    draw();
  }

  // The map.
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const canvas = document.getElementById("map");
  const card = document.getElementById("map-card");
  const fates = [
    ["kept", "kept"], ["duplicate", "redundant"],
    ["disruptive", "disruptive"], ["budget", "left out"], ["excluded", "excluded"],
  ];
  const sheet = new Image();
  let places = [];
  let fateOf = []; // index into `fates`, by point
  let current = -1;

  function colours() {
    const probe = document.createElement("i");
    document.body.append(probe);
    const found = fates.map(([name]) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    });
    probe.style.color = "var(--ink)";
    found.push(getComputedStyle(probe).color);
    probe.remove();
    return found;
  }

  function draw() {
    if (!data || !canvas) return;
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    fateOf = [...(data.fates[`${chosen("selector")}\n${chosen("ratio")}`] ?? "")].map(Number);
    const margin = 18;
    // One unit is as long on both axes, unless one of them would become a line.
    const aspect = Math.min(Math.max(data.aspect, 0.35), 1.5);
    const size = Math.min(width - 2 * margin, (height - 2 * margin) / aspect);
    const left = (width - size) / 2;
    const top = (height - size * aspect) / 2;
    places = data.x.map((x, i) => [
      left + (x / 4095) * size, top + (1 - data.y[i] / 4095) * size * aspect,
    ]);
    const paint = colours();
    const radius = Math.max(2.2, Math.min(4.5, 90 / Math.sqrt(data.x.length)));
    for (const group of [3, 1, 2, 0]) {
      pen.fillStyle = pen.strokeStyle = paint[group];
      places.forEach(([x, y], i) => {
        if (fateOf[i] !== group) return;
        pen.globalAlpha = group === 0 ? 0.95 : 0.6;
        pen.beginPath();
        if (group === 2) { // a cross
          const r = radius * 1.1;
          pen.lineWidth = 1.6;
          pen.moveTo(x - r, y - r); pen.lineTo(x + r, y + r);
          pen.moveTo(x + r, y - r); pen.lineTo(x - r, y + r);
          pen.stroke();
        } else if (group === 1) { // a ring
          pen.lineWidth = 1.2;
          pen.arc(x, y, radius * 0.85, 0, 7);
          pen.stroke();
        } else {
          pen.arc(x, y, group === 0 ? radius * 1.25 : radius * 0.7, 0, 7);
          pen.fill();
        }
      });
    }
    pen.globalAlpha = 1;
    if (current >= 0) {
      pen.strokeStyle = paint[4];
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(...places[current], radius + 5, 0, 7);
      pen.stroke();
    }
    const key = document.querySelector(".map-key");
    key.replaceChildren(...fates.map(([name, text], group) => {
      const count = places.filter((_, i) => fateOf[i] === group).length;
      const item = document.createElement("li");
      const sign = document.createElement("b");
      sign.textContent = ["●", "○", "✕", "•"][group];
      sign.style.color = `var(--${name})`;
      item.append(sign, ` ${text} (${count})`);
      item.hidden = count === 0;
      return item;
    }));
    describe();
  }

  function describe() {
    card.hidden = current < 0;
    if (current < 0) return;
    card.replaceChildren();
    if (current < data.tiles) {
      const picture = document.createElement("canvas");
      picture.width = picture.height = 3 * data.tile;
      const [x, y] = [current % data.columns, Math.floor(current / data.columns)];
      picture.getContext("2d").drawImage(sheet, x * data.tile, y * data.tile, data.tile, data.tile,
        0, 0, picture.width, picture.height);
      card.append(picture);
    }
    const name = document.createElement("b");
    name.textContent = data.names[current];
    card.append(name, document.createElement("br"), fates[fateOf[current]][1]);
    const [x, y] = places[current];
    const beside = x + 18 + card.offsetWidth > canvas.clientWidth ? x - 18 - card.offsetWidth : x + 18;
    card.style.left = `${Math.max(4, beside)}px`;
    card.style.top = `${Math.max(4, Math.min(y - 20, canvas.clientHeight - card.offsetHeight - 4))}px`;
  }

  if (data && canvas) {
    sheet.src = data.sheet;
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const [px, py] = [event.clientX - box.left, event.clientY - box.top];
      let best = 196;
      let found = -1;
      places.forEach(([x, y], i) => {
        // Kept samples are on top, and so come first under the pointer.
        const far = (x - px) ** 2 + (y - py) ** 2 + (fateOf[i] === 0 ? 0 : 9);
        if (far < best) [best, found] = [far, i];
      });
      if (found !== current) { current = found; draw(); }
    });
    canvas.addEventListener("pointerleave", () => { current = -1; draw(); });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") { current = -1; draw(); }
      if (!step) return;
      event.preventDefault();
      const kept = data.x.map((_, i) => i).filter((i) => fateOf[i] === 0);
      kept.sort((a, b) => data.x[a] - data.x[b]);
      const next = kept.indexOf(current) + step;
      current = kept[(next + kept.length) % kept.length] ?? -1;
      draw();
    });
    new ResizeObserver(() => draw()).observe(canvas);
  }
})();
