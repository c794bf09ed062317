"use strict";
(() => {
  const root = document.documentElement;
  const charts = [...document.querySelectorAll(".chart")];
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  // Colours are variables of the style sheet, so that charts drawn already follow a change of theme, and the printer.
  function theme(width) {
    const ink = "var(--ink)", soft = "var(--soft)", grid = "var(--grid)", narrow = width < 520;
    const range = [1, 2, 3, 4, 5, 6, 7].map((number) => `var(--series-${number})`);
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: null, font, view: { stroke: null }, range: { category: range },
      mark: { color: range[0] }, point: { color: range[0] }, rule: { color: range[0] }, rect: { color: soft },
      axis: {
        labelColor: soft, titleColor: soft, titleFontWeight: 400, gridColor: grid, domainColor: grid, tickColor: grid,
        labelFontSize: narrow ? 11 : 12, titleFontSize: 12, titlePadding: 10, labelLimit: narrow ? 150 : 360, labelOverlap: true,
      },
      legend: {
        orient: "top", direction: "horizontal", labelColor: ink, labelFontSize: 12, columns: Math.max(1, Math.floor((width - 60) / 140)),
        labelLimit: 150, symbolOpacity: 1, title: null, offset: 10, padding: 0,
      },
      text: { color: ink },
    };
  }

  const views = new Map();
  async function draw(chart) {
    const figure = chart.closest("figure"), bind = figure.querySelector(".choices");
    const spec = JSON.parse(figure.querySelector("script").textContent);
    const choice = bind.querySelector("select")?.value;
    views.get(chart)?.finalize();
    bind.replaceChildren();
    const width = chart.clientWidth;
    // The list of choices stands outside the chart, which is an image to screen readers. Only errors are logged.
    const made = await vegaEmbed(chart, spec, {
      renderer: "svg", config: theme(width), bind, tooltip: { theme: "custom" }, actions: false, logLevel: 1,
    });
    if (choice) {
      const [{ name }] = spec.params.filter((one) => one.bind?.input === "select");
      made.view.signal(name, choice).run();
    }
    chart.dataset.width = width;
    views.set(chart, made);
  }

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) first(target);
    }
  }, { rootMargin: "600px" });
  charts.forEach((chart) => seen.observe(chart));

  // Charts out of view are drawn when the browser is idle, because a page is printed or searched as a whole.
  const waits = new Set(charts);
  function first(chart) {
    seen.unobserve(chart);
    return waits.delete(chart) ? draw(chart) : undefined;
  }
  const later = window.requestIdleCallback ?? ((work) => setTimeout(work, 100));
  async function rest() {
    // A method's charts have no width until it is opened.
    const next = [...waits].find((chart) => chart.clientWidth);
    if (next) { await first(next); later(rest); }
  }
  addEventListener("load", () => later(rest));

  // On paper nothing can be opened, so methods are opened before, and the numbers of charts that are not drawn yet.
  let opened = [];
  addEventListener("beforeprint", () => {
    const bare = [...waits].flatMap((chart) => [...chart.closest("figure").querySelectorAll("details.numbers")]);
    opened = [...document.querySelectorAll("details.method"), ...bare].filter((one) => !one.open);
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });

  function set(choice) {
    root.dataset.theme = choice;
    try { localStorage.setItem("theme", choice); } catch { /* a page from a disk may not keep anything */ }
  }
  try { if (localStorage.getItem("theme")) root.dataset.theme = localStorage.getItem("theme"); } catch { /* nor be read */ }
  document.getElementById("theme").addEventListener("click", () => set(isDark() ? "light" : "dark"));

  // Legends have as many columns as fit, so charts are drawn again when their width changes.
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => [...views.keys()].filter((c) => Math.abs(c.clientWidth - c.dataset.width) > 40).forEach(draw), 200);
  });

  const number = (text) => parseFloat(text.replace(/,/g, ""));
  const NOTHING = "-";
  document.querySelectorAll("table.sortable thead button").forEach((button) => {
    button.addEventListener("click", () => {
      const head = button.closest("th"), place = head.cellIndex, body = head.closest("table").tBodies[0];
      const down = head.getAttribute("aria-sort") !== "descending";
      head.parentElement.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[place].textContent.trim();
      // What has no value stands last, either way.
      const rows = [...body.rows], lacks = rows.filter((row) => key(row) === NOTHING);
      const have = rows.filter((row) => key(row) !== NOTHING);
      const numeric = have.every((row) => !Number.isNaN(number(key(row))));
      const compare = (a, b) => (numeric ? number(key(a)) - number(key(b)) : key(a).localeCompare(key(b)));
      body.append(...have.sort((a, b) => (down ? -compare(a, b) : compare(a, b))), ...lacks);
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
