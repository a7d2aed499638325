/* Starts the charts, folds what is folded, and opens everything for print. */
const vmjitterReport = (() => {
  const charts = [];
  const folds = () => document.querySelectorAll("details[data-fold]");
  let opened = [];

  async function start(figure, deadline) {
    const head = JSON.parse(figure.querySelector("script").textContent);
    charts.push(new SeriesChart(figure, await unpack(head), deadline));
  }

  /* Charts of a group share their latency scale. */
  function join() {
    for (const chart of charts) {
      const group = chart.figure.dataset.group;
      if (group) chart.peers = charts.filter(other => other.figure.dataset.group === group);
    }
    charts.forEach(chart => chart.show(0, chart.data.count));
  }

  async function startAll() {
    if (typeof DecompressionStream === "undefined") return;
    const deadline = Number(document.body.dataset.deadline) || 0;
    for (const figure of document.querySelectorAll("figure.series")) await start(figure, deadline);
    join();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(chart => chart.plot.redraw()));
  }

  folds().forEach(fold => { fold.open = location.hash === "#open"; });
  addEventListener("beforeprint", () => {
    opened = [...folds()].filter(fold => !fold.open);
    opened.forEach(fold => { fold.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach(fold => { fold.open = false; }));
  const ready = startAll();

  /* For the browser's console: vmjitterReport.chart("name").data.known(k) is the latency in ns. */
  return { ready, charts, chart: name => charts.find(chart => chart.name === name) };
})();
