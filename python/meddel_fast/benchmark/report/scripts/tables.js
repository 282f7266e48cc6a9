// Tables sort by a click on a head; the legends leave selectors out of tables and plots.
(() => {
  const { all, hide, show } = report;
  const scores = document.getElementById("scores");

  function value(cell, table) {
    const text = cell.dataset.value ?? cell.dataset[table.dataset.metric] ?? cell.textContent.trim();
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  }

  function sort(table) {
    const head = table.querySelector('th[aria-sort$="ending"]');
    if (!head) return;
    const direction = head.ariaSort === "ascending" ? 1 : -1;
    const compare = (a, b) =>
      typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    const at = (row) => value(row.cells[head.cellIndex], table);
    table.classList.add("sorted");
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => direction * compare(at(a), at(b))));
  }

  all("thead button").forEach((button) => button.addEventListener("click", () => {
    const head = button.parentElement;
    const table = head.closest("table");
    const first = head.dataset.first === "1" ? "ascending" : "descending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.ariaSort === first ? other : first;
    all("th[aria-sort]", table).forEach((one) => { one.ariaSort = "none"; });
    head.ariaSort = order;
    sort(table);
  }));
  all('input[name="metric"]').forEach((input) => input.addEventListener("change", () => {
    scores.dataset.metric = input.value;
    sort(scores);
  }));

  all(".legend button").forEach((button) => button.addEventListener("click", () => {
    const on = button.ariaPressed === "false";
    const same = `[data-style="${button.dataset.style}"]`;
    all(`.legend button${same}`).forEach((one) => { one.ariaPressed = String(on); });
    all(`.charts .series${same}, tr${same}`).forEach((one) => one.classList.toggle("off", !on));
  }));
  all("[data-tip]").forEach((point) => {
    point.addEventListener("pointerenter", () => show(point, point.dataset.tip));
    point.addEventListener("pointerleave", hide);
  });
})();
