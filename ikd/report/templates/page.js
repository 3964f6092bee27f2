"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return { ink: of("--ink"), line: of("--line"), panel: of("--panel"), back: of("--back") };
  };
  // What of a chart depends on light or dark.
  const themed = (layout) => {
    const { ink, line, panel, back } = colours();
    const changes = { "font.color": ink, "hoverlabel.bgcolor": panel, "hoverlabel.bordercolor": line, "hoverlabel.font.color": ink };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        changes[`${key}.gridcolor`] = line;
        changes[`${key}.linecolor`] = line;
        changes[`${key}.tickcolor`] = line;
      }
    }
    (layout.annotations ?? []).forEach((_, index) => { changes[`annotations[${index}].bgcolor`] = back; });
    return changes;
  };
  const merged = (layout, changes) => {
    for (const [path, value] of Object.entries(changes)) {
      const parts = path.replace(/\[(\d+)\]/, ".$1").split(".");
      let place = layout;
      for (const part of parts.slice(0, -1)) place = place[part] ??= {};
      place[parts.at(-1)] = value;
    }
    return layout;
  };
  const drawn = new Set();
  const draw = (figure) => {
    if (drawn.has(figure)) return;
    drawn.add(figure);
    const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
    layout.xaxis ??= {};
    layout.yaxis ??= {};
    const shown = { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
    Plotly.newPlot(figure, data, merged(layout, themed(layout)), shown);
  };
  const charts = [...document.querySelectorAll("figure.chart")];
  const watcher = new IntersectionObserver(
    (entries) => entries.filter((one) => one.isIntersecting).forEach((one) => { watcher.unobserve(one.target); draw(one.target); }),
    { rootMargin: "600px" },
  );
  charts.forEach((one) => watcher.observe(one));
  addEventListener("beforeprint", () => charts.forEach(draw));
  dark.addEventListener("change", () => drawn.forEach((one) => Plotly.relayout(one, themed(one.layout))));
  document.querySelectorAll("button.all").forEach((button) => button.addEventListener("click", () => {
    button.parentElement.classList.add("whole");
    button.remove();
  }));
  document.querySelectorAll("nav a").forEach((link) => link.addEventListener("click", () => { document.getElementById("menu").checked = false; }));
})();
