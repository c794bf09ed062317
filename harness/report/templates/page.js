"use strict";
(() => {
  const root = document.documentElement;
  const charts = [...document.querySelectorAll(".chart")];
  const system = matchMedia("(prefers-color-scheme: dark)");
  // Okabe and Ito's palette, which colour-blind readers can tell apart, lighter on a dark page.
  const palettes = {
    light: ["#0072B2", "#D55E00", "#009E73", "#B5548F", "#B07A00", "#3B9BD3", "#555555"],
    dark: ["#56B4E9", "#FF8A3C", "#2CC899", "#E79AC6", "#E6B422", "#9AD1F2", "#BBBBBB"],
  };

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function theme(width) {
    const ink = colour("--ink"), soft = colour("--soft"), grid = colour("--grid"), narrow = width < 520;
    const range = palettes[isDark() ? "dark" : "light"];
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: null, font, view: { stroke: null }, range: { category: range },
      mark: { color: range[0] }, point: { color: range[0] }, rule: { color: range[0] }, rect: { color: soft },
      axis: {
        labelColor: soft, titleColor: soft, titleFontWeight: 400, gridColor: grid, domainColor: grid, tickColor: grid,
        labelFontSize: narrow ? 11 : 12, titleFontSize: 12, titlePadding: 10, labelLimit: narrow ? 150 : 360, labelOverlap: true,
      },
      legend: {
        orient: "top", direction: "horizontal", labelColor: ink, labelFontSize: 12, columns: Math.max(1, Math.floor(width / 130)),
        labelLimit: 150, symbolOpacity: 1, title: null, offset: 10, padding: 0,
      },
      text: { color: ink },
    };
  }

  const views = new Map();
  async function draw(chart) {
    const spec = JSON.parse(chart.nextElementSibling.textContent);
    views.get(chart)?.finalize();
    const width = chart.clientWidth;
    const config = theme(width);
    const made = await vegaEmbed(chart, spec, {
      renderer: "svg", config, tooltip: { theme: isDark() ? "dark" : "light" },
      actions: false,
      logLevel: 1, // errors; that a chart has no interval is not one
    });
    chart.dataset.width = width;
    views.set(chart, made);
  }

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) { seen.unobserve(target); draw(target); }
    }
  }, { rootMargin: "600px" });
  charts.forEach((chart) => seen.observe(chart));
  const redraw = () => [...views.keys()].forEach(draw);

  function set(choice) {
    root.dataset.theme = choice;
    try { localStorage.setItem("theme", choice); } catch { /* a page from a disk may not keep anything */ }
    redraw();
  }
  try { if (localStorage.getItem("theme")) root.dataset.theme = localStorage.getItem("theme"); } catch { /* likewise */ }
  document.getElementById("theme").addEventListener("click", () => set(isDark() ? "light" : "dark"));
  system.addEventListener("change", redraw);

  // Legends have as many columns as fit, so a page that is turned is drawn again.
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => [...views.keys()].filter((c) => Math.abs(c.clientWidth - c.dataset.width) > 40).forEach(draw), 200);
  });

  const number = (text) => parseFloat(text.replace(/,/g, ""));
  document.querySelectorAll("table.sortable thead button").forEach((button) => {
    button.addEventListener("click", () => {
      const head = button.closest("th"), place = head.cellIndex, body = head.closest("table").tBodies[0];
      const down = head.getAttribute("aria-sort") !== "descending";
      head.parentElement.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[place].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [number(key(a)), number(key(b))];
        return Number.isNaN(x) || Number.isNaN(y) ? key(a).localeCompare(key(b)) : x - y;
      };
      body.append(...[...body.rows].sort((a, b) => (down ? -compare(a, b) : compare(a, b))));
    });
  });

  function open() {
    const wanted = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = wanted; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (wanted) wanted.scrollIntoView();
  }
  addEventListener("hashchange", open);
  open();
})();
