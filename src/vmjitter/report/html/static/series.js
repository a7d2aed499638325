/* A series that can be zoomed until every wake-up is a point. */
const SeriesChart = (() => {
  const NARROW_NS = 1e9;
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const grouped = count => String(count).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
  const UNITS = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];
  const unitOf = top => UNITS.find(([size]) => Math.abs(top) >= 2 * size) || UNITS[3];
  const short = value => {
    const [size, word] = UNITS.find(([least]) => Math.abs(value) >= least) || UNITS[3];
    return size === 1 ? `${value} ns` : `${(value / size).toFixed(2).replace(/\.00$/, "")} ${word}`;
  };
  const round = value => String(Number(value.toPrecision(9)));

  class Chart {
    constructor(figure, data, deadline) {
      this.figure = figure; this.data = data; this.deadline = deadline;
      this.name = figure.dataset.name; this.mark = -1; this.log = false; this.peers = [this];
      this.from = 0; this.to = data.count;
      this.build();
    }

    /* The chart, its tools and its words stand where the static picture was. */
    build() {
      this.live = document.createElement("div");
      this.live.className = "live"; this.live.tabIndex = 0;
      this.live.setAttribute("role", "group");
      this.live.setAttribute("aria-label", `Latency of ${this.name} over time, chart to zoom into. ` +
        "Plus and minus zoom, arrow keys move, comma and full stop step through the wake-ups, W goes to the worst, 0 shows all.");
      this.readout = document.createElement("output");
      this.readout.className = "readout"; this.readout.setAttribute("aria-live", "polite");
      this.bar = this.toolbar();
      const still = this.figure.querySelector(".static");
      still.before(this.live); still.before(this.bar); still.before(this.readout);
      this.figure.classList.add("ready");
      this.plot = new uPlot(this.options(), [[0, this.seconds(this.data.count)], [null, null]], this.live);
      this.live.addEventListener("keydown", event => this.key(event));
      this.live.addEventListener("wheel", event => this.wheel(event), { passive: false });
      new ResizeObserver(() => this.resize()).observe(this.figure);
      this.show(0, this.data.count);
    }

    toolbar() {
      const bar = document.createElement("div");
      bar.className = "toolbar"; bar.setAttribute("role", "group"); bar.setAttribute("aria-label", `Zoom of ${this.name}`);
      const button = (words, label, act) => {
        const made = document.createElement("button");
        made.type = "button"; made.textContent = words; made.setAttribute("aria-label", label); made.title = label;
        made.addEventListener("click", () => act(made)); bar.append(made); return made;
      };
      button("all", "show the whole trial", () => this.show(0, this.data.count));
      button("+", "zoom in", () => this.zoom(0.25));
      button("−", "zoom out", () => this.zoom(4));
      button("◀", "earlier", () => this.pan(-0.5));
      button("▶", "later", () => this.pan(0.5));
      button("worst", "go to the worst wake-up, then to the next worst", () => this.nextWorst(1));
      this.logButton = button("log", "logarithmic latency", () => this.setLog(!this.log));
      this.logButton.setAttribute("aria-pressed", "false");
      const entry = document.createElement("input");
      entry.inputMode = "numeric"; entry.placeholder = "activation";
      entry.setAttribute("aria-label", `go to an activation of ${this.name}, 0 to ${this.data.count - 1}`);
      entry.addEventListener("change", () => {
        const place = Number(entry.value.replace(/[\s\u202f]/g, ""));
        if (entry.value && Number.isInteger(place)) this.goTo(place);
      });
      bar.append(entry);
      return bar;
    }

    seconds(place) { return place * this.data.period / NARROW_NS; }
    activation(second) { return Math.round(second * NARROW_NS / this.data.period); }
    width() { return Math.max(260, Math.floor(this.figure.clientWidth)); }
    height() { return Math.max(200, Math.min(300, Math.round(this.width() * 0.45))); }

    options() {
      const axis = { stroke: () => css("--soft"), grid: { stroke: () => css("--rule"), width: 0.6 }, ticks: { stroke: () => css("--rule"), width: 1 }, font: "11px system-ui, sans-serif" };
      return {
        width: this.width(), height: this.height(), padding: [12, 12, 0, 0], legend: { show: false },
        scales: { x: { time: false, auto: false }, y: { auto: false, distr: this.log ? 4 : 1, asinh: 1000 } },
        series: [{}, { paths: () => null, points: { show: false } }],
        axes: [
          { ...axis, label: "time since the first activation (s)", labelSize: 20, labelFont: "11px system-ui, sans-serif", size: 34, values: (_, splits) => splits.map(round) },
          { ...axis, size: 62, filter: (_, splits) => splits, splits: this.log ? (_u, _a, low, high) => decades(low, high) : undefined, values: (_, splits) => this.labels(splits) },
        ],
        cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false }, bind: { dblclick: () => () => { this.show(0, this.data.count); return null; } } },
        hooks: { draw: [plot => this.draw(plot)], setSelect: [plot => this.selected(plot)], setCursor: [plot => this.hover(plot)] },
      };
    }

    labels(splits) {
      if (this.log) return splits.map(short);
      const [size, word] = unitOf(splits[splits.length - 1] || 1);
      return splits.map((value, place) => round(value / size) + (place === splits.length - 1 ? ` ${word}` : ""));
    }

    /* Show the activations from..to-1. */
    show(from, to) {
      const least = Math.min(this.data.count, 4);
      from = Math.max(0, Math.min(Math.floor(from), this.data.count - least));
      to = Math.min(this.data.count, Math.max(Math.ceil(to), from + least));
      this.from = from; this.to = to;
      this.peers.forEach(peer => peer.rescale());
      this.describe();
    }

    rescale() {
      if (!this.plot) return;
      let low = 0, high = 1;
      for (const peer of this.peers) {
        const seen = peer.data.extremes(peer.from, peer.to);
        low = Math.min(low, seen.low); high = Math.max(high, seen.high);
      }
      if (this.deadline > high && this.deadline <= high * 1.25) high = this.deadline;
      const rest = this.to - this.from > 1 ? 0.5 : 1;
      this.plot.batch(() => {
        this.plot.setScale("x", { min: this.seconds(this.from - rest), max: this.seconds(this.to - 1 + rest) });
        this.plot.setScale("y", { min: low * 1.06, max: high * 1.06 });
      });
    }

    zoom(factor, around) {
      const width = this.to - this.from;
      const middle = around ?? (this.mark >= this.from && this.mark < this.to ? this.mark : (this.from + this.to) / 2);
      const share = (middle - this.from) / width, wider = Math.max(4, width * factor);
      this.show(middle - share * wider, middle + (1 - share) * wider);
    }

    pan(share) {
      const width = this.to - this.from, step = Math.max(1, Math.round(width * Math.abs(share))) * Math.sign(share);
      const from = Math.max(0, Math.min(this.from + step, this.data.count - width));
      this.show(from, from + width);
    }

    /* Zoom to an activation so far that it is a point of its own, and mark it. */
    goTo(place) {
      place = Math.max(0, Math.min(place, this.data.count - 1));
      const half = Math.max(50, 2 * this.data.size);
      this.mark = place;
      if (place < this.from || place >= this.to || this.to - this.from > 8 * half) this.show(place - half, place + half);
      else this.show(this.from, this.to);
    }

    nextWorst(step) {
      const worst = this.data.worst;
      if (!worst.length) return;
      const rank = worst.indexOf(this.mark);
      this.goTo(worst[rank < 0 ? 0 : (rank + step + worst.length) % worst.length]);
    }

    setLog(on) {
      this.log = on; this.logButton.setAttribute("aria-pressed", String(on));
      this.plot.destroy();
      this.plot = new uPlot(this.options(), [[0, this.seconds(this.data.count)], [null, null]], this.live);
      this.show(this.from, this.to);
    }

    selected(plot) {
      const { left, width } = plot.select;
      if (width < 3) return;
      const from = this.activation(plot.posToVal(left, "x")), to = this.activation(plot.posToVal(left + width, "x")) + 1;
      plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      this.show(from, to);
    }

    hover(plot) {
      const left = plot.cursor.left;
      if (left == null || left < 0) return;
      const from = Math.max(0, this.activation(plot.posToVal(left, "x")));
      if (this.single()) { this.mark = Math.min(from, this.data.count - 1); }
      else {
        const to = Math.max(from + 1, this.activation(plot.posToVal(left + 1, "x")));
        const seen = this.data.extremes(from, Math.min(to, this.data.count));
        if (seen.at < 0) return;
        this.mark = seen.at;
      }
      this.plot.redraw(false);
      this.describe();
    }

    wheel(event) {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 0.7 : 1 / 0.7, this.activation(this.plot.posToVal(this.plot.cursor.left, "x")));
    }

    key(event) {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const acts = {
        "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
        "ArrowLeft": () => this.pan(-0.25), "ArrowRight": () => this.pan(0.25),
        "Home": () => this.pan(-1e9), "End": () => this.pan(1e9),
        "0": () => this.show(0, this.data.count), "w": () => this.nextWorst(1), "W": () => this.nextWorst(-1),
        ",": () => this.step(-1), ".": () => this.step(1), "l": () => this.setLog(!this.log),
      };
      const act = acts[event.key];
      if (act) { event.preventDefault(); act(); }
    }

    step(by) { this.goTo(this.mark < 0 ? this.from : this.mark + by); }

    /* Whether every activation in view is drawn by itself. */
    single() { return this.data.every && this.to - this.from <= 4 * this.plot.over.clientWidth; }

    draw(plot) {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
      this.drawLimit(plot);
      ctx.fillStyle = css("--c0");
      this.drawn = this.single() ? this.drawPoints(plot) : this.drawColumns(plot);
      this.drawMark(plot);
      ctx.restore();
    }

    drawPoints(plot) {
      const { ctx, bbox } = plot, size = (this.to - this.from < plot.over.clientWidth ? 4 : 2.4) * devicePixelRatio;
      let drawn = 0;
      for (let place = this.from; place < this.to; place++) {
        const value = this.data.value[place], x = plot.valToPos(this.seconds(place), "x", true);
        if (Number.isNaN(value)) { this.drawMiss(ctx, x, bbox); drawn++; continue; }
        ctx.fillRect(x - size / 2, plot.valToPos(value, "y", true) - size / 2, size, size);
        drawn++;
      }
      return drawn;
    }

    /* Each column of pixels from its earliest to its latest wake-up. */
    drawColumns(plot) {
      const { ctx, bbox } = plot, width = this.to - this.from;
      const columns = Math.max(1, Math.min(Math.floor(bbox.width / devicePixelRatio), Math.ceil(width / this.data.size)));
      for (let column = 0; column < columns; column++) {
        const from = this.from + Math.floor(column * width / columns), to = this.from + Math.floor((column + 1) * width / columns);
        const seen = this.data.extremes(from, Math.max(to, from + 1));
        const x = plot.valToPos(this.seconds(from), "x", true), next = plot.valToPos(this.seconds(to), "x", true);
        if (this.data.missed(from, to)) this.drawMiss(ctx, x, bbox);
        if (seen.at < 0) continue;
        const top = plot.valToPos(seen.high, "y", true), bottom = plot.valToPos(seen.low, "y", true), least = 1.5 * devicePixelRatio;
        ctx.fillRect(x, top - least / 2, Math.max(next - x, least), Math.max(bottom - top, 0) + least);
      }
      return 0;
    }

    drawMiss(ctx, x, bbox) {
      const before = ctx.fillStyle;
      ctx.fillStyle = css("--bad");
      ctx.fillRect(x - devicePixelRatio / 2, bbox.top, devicePixelRatio, 7 * devicePixelRatio);
      ctx.fillStyle = before;
    }

    drawLimit(plot) {
      if (!this.deadline || this.deadline > plot.scales.y.max) return;
      const { ctx, bbox } = plot, y = plot.valToPos(this.deadline, "y", true);
      ctx.strokeStyle = css("--ink"); ctx.lineWidth = devicePixelRatio; ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke(); ctx.setLineDash([]);
      ctx.fillStyle = css("--ink"); ctx.textAlign = "left"; ctx.textBaseline = "bottom"; ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.fillText(`deadline ${short(this.deadline)}`, bbox.left + 6 * devicePixelRatio, y - 4 * devicePixelRatio);
    }

    drawMark(plot) {
      const value = this.mark < this.from || this.mark >= this.to ? undefined : this.markValue();
      if (value === undefined || Number.isNaN(value)) return;
      const { ctx } = plot;
      ctx.strokeStyle = css("--ink"); ctx.lineWidth = 1.5 * devicePixelRatio;
      ctx.beginPath();
      ctx.arc(plot.valToPos(this.seconds(this.mark), "x", true), plot.valToPos(value, "y", true), 5 * devicePixelRatio, 0, 7);
      ctx.stroke();
    }

    markValue() {
      const value = this.data.known(this.mark);
      return value !== undefined || this.data.every ? value : this.data.extremes(this.mark, this.mark + 1).high;
    }

    describe() {
      const range = `Activations ${grouped(this.from)} to ${grouped(this.to - 1)}, ` +
        (this.single() ? "each a point." : this.data.every ? "extremes of each column." : `extremes of blocks of ${grouped(this.data.size)}.`);
      const marked = this.mark < this.from || this.mark >= this.to ? "" : ` ${this.sentence()}`;
      this.readout.textContent = range + marked;
    }

    sentence() {
      const value = this.data.known(this.mark);
      const at = `Activation ${grouped(this.mark)}, planned at ${this.seconds(this.mark).toFixed(6)} s: `;
      if (value === undefined) {
        const seen = this.data.extremes(this.mark, this.mark + 1);
        return `Block of activation ${grouped(this.mark)}: ${short(seen.low)} to ${short(seen.high)}; each wake-up is in the run's files.`;
      }
      if (Number.isNaN(value)) return `${at}missed.`;
      return `${at}latency ${short(value)}, exactly ${grouped(value)} ns.`;
    }

    resize() {
      const width = this.width();
      if (width === this.plot.width || this.figure.clientWidth === 0) return;
      this.plot.setSize({ width, height: this.height() });
      this.describe();
    }
  }

  function decades(low, high) {
    const found = low < -1000 ? [low] : [];
    found.push(0);
    for (let value = 1000; value <= high; value *= 10) found.push(value);
    return found;
  }
  return Chart;
})();
