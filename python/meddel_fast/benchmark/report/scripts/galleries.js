// The galleries: one selection's at a time, walked by arrow keys, enlarged under pointer and focus.
(() => {
  const { all, chosen, hide, show, walk } = report;

  document.addEventListener("selection", () => all(".panel").forEach((panel) => panel.toggleAttribute(
    "data-later", panel.dataset.selector !== chosen("selector") || panel.dataset.ratio !== chosen("ratio"))));

  all(".frames").forEach((frames) => walk(frames, "figure"));
  all(".frames figure").forEach((figure) => {
    const enlarge = () => {
      const pictures = document.createElement("div");
      pictures.className = "large";
      const names = all(".frame", figure).map((frame) => {
        const picture = frame.querySelector("svg")?.cloneNode(true);
        if (picture) pictures.append(picture);
        const line = document.createElement("div");
        line.textContent = frame.title;
        return line;
      });
      show(figure, pictures, ...names, figure.querySelector("figcaption")?.textContent ?? "");
    };
    figure.addEventListener("pointerenter", enlarge);
    figure.addEventListener("focus", enlarge);
    figure.addEventListener("pointerleave", hide);
    figure.addEventListener("blur", hide);
  });
})();
