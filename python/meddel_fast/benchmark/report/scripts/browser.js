// Every frame: filters, a page of tiles, and the frame under pointer or focus beside the kept frame
// that it is most like.
(() => {
  const { data, all, column, fates, key, paint, walk } = report;
  if (!data || !document.getElementById("browser")) return;
  const element = (id) => document.getElementById(id);
  const [cells, why, found] = ["cells", "why", "found"].map(element);
  const [byFate, byCluster, byOrder, byName] = ["by-fate", "by-cluster", "by-order", "by-name"].map(element);
  const NONE = 0xffff;
  const NO_CLUSTER = 0xffffffff;
  const SIZE = 60;
  const rows = column(data.rows);
  const folded = data.names.map((name) => name.toLowerCase());
  let tag = null; // the columns of the selection that is shown
  let listed = []; // frames that pass the filters, in order
  let first = 0;
  let current; // the frame that is explained
  const stop = walk(cells, ".cell");

  function choose() {
    const of = data.tags[key()];
    tag = of && {
      fate: of.fate, near: column(of.near), cosine: column(of.cosine), of: column(of.of),
      alike: column(of.alike), cluster: column(of.cluster), distance: column(of.distance),
    };
    const clusters = new Map();
    tag?.cluster?.forEach((c) => { if (c !== NO_CLUSTER) clusters.set(c, (clusters.get(c) ?? 0) + 1); });
    const before = byCluster.value;
    byCluster.replaceChildren(new Option("all", ""), ...[...clusters].sort((a, b) => a[0] - b[0])
      .map(([c, count]) => new Option(`${c} (${count})`, c)));
    byCluster.value = clusters.has(Number(before)) && before !== "" ? before : "";
    byCluster.disabled = clusters.size === 0;
    byOrder.disabled = !tag?.near;
    filter();
  }

  function filter() {
    const fate = byFate.value;
    const cluster = byCluster.value === "" ? null : Number(byCluster.value);
    const text = byName.value.toLowerCase();
    listed = !tag ? [] : data.names.map((_, i) => i).filter((i) =>
      (fate === "" || tag.fate[i] === fate || (fate === "dropped" && tag.fate[i] !== "0"))
      && (cluster === null || tag.cluster[i] === cluster)
      && (text === "" || folded[i].includes(text)));
    const direction = { far: 1, near: -1 }[byOrder.value];
    if (direction && tag?.near) {
      // Kept frames have no such neighbour, and come last.
      const rank = (i) => (tag.fate[i] === "0" ? Infinity : direction * tag.cosine[i]);
      listed.sort((a, b) => rank(a) - rank(b) || a - b);
    }
    turn(0);
  }

  function turn(to) {
    first = to;
    const shown = listed.slice(first, first + SIZE);
    const range = shown.length ? `, ${first + 1} to ${first + shown.length} shown` : "";
    found.textContent = `${listed.length} of ${data.names.length} frames${range}`;
    element("back").disabled = first === 0;
    element("on").disabled = first + SIZE >= listed.length;
    cells.replaceChildren(...shown.map(cell));
    stop(cells.firstElementChild);
    explain(shown[0]);
  }

  function cell(i) {
    const option = document.createElement("div");
    const reason = data.reasons[tag.fate[i]];
    option.className = `cell ${reason}`;
    option.style.borderColor = `var(--${reason})`;
    option.role = "option";
    option.dataset.frame = i;
    option.ariaLabel = `${data.names[i]}, ${fates[tag.fate[i]]}`;
    option.append(picture(i, 48));
    option.addEventListener("focus", () => explain(i));
    option.addEventListener("pointerenter", () => explain(i));
    return option;
  }

  function picture(i, side) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    if (!paint(canvas, i)) canvas.classList.add("none");
    return canvas;
  }

  function large(i) {
    // The larger picture of a gallery, where the page has it.
    const id = `t${rows[i]}`;
    if (!element(id)) return picture(i, 112);
    const name = document.querySelector(".store").namespaceURI;
    const svg = document.createElementNS(name, "svg");
    svg.setAttribute("viewBox", "0 0 112 112");
    const use = document.createElementNS(name, "use");
    use.setAttribute("href", `#${id}`);
    svg.append(use);
    return svg;
  }

  function line(text, kind = "div") {
    const one = document.createElement(kind);
    one.textContent = text;
    return one;
  }

  function figure(i, caption) {
    const one = document.createElement("figure");
    const words = document.createElement("figcaption");
    words.append(line(caption, "b"), line(data.names[i]), line(fates[tag.fate[i]]));
    one.append(large(i), words);
    return one;
  }

  function explain(i) {
    current = i;
    all(".cell", cells).forEach((option) => {
      option.ariaSelected = String(Number(option.dataset.frame) === i);
    });
    if (i === undefined) {
      why.replaceChildren(line("No frame passes the filters."));
      return;
    }
    const pair = document.createElement("div");
    pair.className = "side";
    const facts = [];
    pair.append(figure(i, tag.fate[i] === "0" ? "This frame" : "Dropped"));
    if (tag.fate[i] !== "0" && tag.near) {
      const near = tag.near[i];
      const cosine = (tag.cosine[i] / 1e4).toFixed(4);
      if (near === NONE) facts.push("The kept frame most like it is not among those shown.");
      else pair.append(figure(near, "Most like it of all kept"));
      facts.push(`Cosine ${cosine}.`);
    }
    if (tag.of && tag.of[i] !== NONE && tag.of[i] !== tag.near?.[i]) {
      const other = tag.of[i];
      facts.push(`Dropped as a repeat of ${data.names[other]} (${fates[tag.fate[other]]}), `
        + `cosine ${(tag.alike[i] / 1e4).toFixed(4)}.`);
    }
    if (tag.cluster && tag.cluster[i] !== NO_CLUSTER) facts.push(`Cluster ${tag.cluster[i]}.`);
    if (tag.distance && Number.isFinite(tag.distance[i])) {
      facts.push(`Distance to the centroid ${tag.distance[i].toPrecision(4)}.`);
    }
    why.replaceChildren(pair, line(facts.join(" "), "p"));
  }

  [byFate, byCluster, byOrder].forEach((one) => one.addEventListener("change", filter));
  byName.addEventListener("input", filter);
  element("back").addEventListener("click", () => turn(Math.max(0, first - SIZE)));
  element("on").addEventListener("click", () => turn(first + SIZE));
  document.addEventListener("selection", choose);
  document.addEventListener("repaint", () => {
    all(".cell", cells).forEach((option) => paint(option.firstChild, Number(option.dataset.frame)));
    explain(current);
  });
  choose();
})();
