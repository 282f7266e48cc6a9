// The map of the embeddings.
(() => {
  const { column, data, key, paint } = report;
  const canvas = document.getElementById("map");
  if (!data?.map || !canvas) return;
  const points = column(data.map.points); // the frames on the map
  const [across, up] = [column(data.map.x), column(data.map.y)];
  const card = document.getElementById("map-card");
  const fates = [
    ["kept", "kept"], ["duplicate", "redundant"],
    ["disruptive", "disruptive"], ["budget", "left out"], ["excluded", "excluded"],
  ];
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
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const fate = data.tags[key()]?.fate;
    fateOf = [...points].map((i) => (fate ? Number(fate[i]) : -1));
    const margin = 18;
    // One unit is as long on both axes, unless one of them would become a line.
    const aspect = Math.min(Math.max(data.map.aspect, 0.35), 1.5);
    const size = Math.min(width - 2 * margin, (height - 2 * margin) / aspect);
    const left = (width - size) / 2;
    const top = (height - size * aspect) / 2;
    places = [...across].map((x, i) => [
      left + (x / 4095) * size, top + (1 - up[i] / 4095) * size * aspect,
    ]);
    const colour = colours();
    const radius = Math.max(2.2, Math.min(4.5, 90 / Math.sqrt(points.length)));
    for (const group of [4, 3, 1, 2, 0]) {
      pen.fillStyle = pen.strokeStyle = colour[group];
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
      pen.strokeStyle = colour.at(-1);
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(...places[current], radius + 5, 0, 7);
      pen.stroke();
    }
    document.querySelector(".map-key").replaceChildren(...fates.map(([name, text], group) => {
      const count = places.filter((_, i) => fateOf[i] === group).length;
      const item = document.createElement("li");
      const sign = document.createElement("b");
      sign.ariaHidden = "true";
      sign.textContent = ["●", "○", "✕", "•", "·"][group];
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
    const picture = document.createElement("canvas");
    picture.width = picture.height = 108;
    if (paint(picture, points[current])) card.append(picture);
    const name = document.createElement("b");
    name.textContent = data.names[points[current]];
    card.append(name, document.createElement("br"), fates[fateOf[current]]?.[1] ?? "");
    const [x, y] = places[current];
    const beside = x + 18 + card.offsetWidth > canvas.clientWidth ? x - 18 - card.offsetWidth : x + 18;
    card.style.left = `${Math.max(4, beside)}px`;
    card.style.top = `${Math.max(4, Math.min(y - 20, canvas.clientHeight - card.offsetHeight - 4))}px`;
  }

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
    const kept = [...points.keys()].filter((i) => fateOf[i] === 0);
    kept.sort((a, b) => across[a] - across[b]);
    const next = kept.indexOf(current) + step;
    current = kept[(next + kept.length) % kept.length] ?? -1;
    draw();
  });
  new ResizeObserver(() => draw()).observe(canvas);
  document.addEventListener("selection", draw);
  document.addEventListener("repaint", draw);
})();
