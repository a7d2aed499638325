"use strict";
/* Samples as they are stored in the page; see vmjitter.report.html.samples for the format. */
const unpack = (() => {
  const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
  const DIGIT = new Uint8Array(128);
  [...ALPHABET].forEach((letter, digit) => { DIGIT[letter.charCodeAt(0)] = digit; });

  function bytesOf(text) {
    const groups = Math.ceil(text.length / 5), pad = groups * 5 - text.length;
    const bytes = new Uint8Array(groups * 4), words = new DataView(bytes.buffer);
    for (let group = 0; group < groups; group++) {
      let value = 0;
      for (let place = group * 5; place < group * 5 + 5; place++) {
        value = value * 85 + (place < text.length ? DIGIT[text.charCodeAt(place)] : 84);
      }
      words.setUint32(group * 4, value);
    }
    return bytes.subarray(0, bytes.length - pad);
  }

  async function inflated(bytes) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /* Gives so many bits of the stored ones at each call. */
  function bitReader(bytes) {
    let at = 0;
    return count => {
      let value = 0, got = 0;
      while (got < count) {
        const from = at & 7, take = Math.min(8 - from, count - got);
        value += ((bytes[at >> 3] >> from) & ((1 << take) - 1)) * 2 ** got;
        got += take; at += take;
      }
      return value;
    };
  }

  /* Whole numbers up to 2^53 are exact in it; a missed activation is NaN. */
  async function array(packed) {
    const length = packed.length, symbols = await inflated(bytesOf(packed.symbols)), bits = bitReader(bytesOf(packed.bits));
    if (symbols.length !== length * packed.planes) throw new Error("the samples in this page are damaged");
    const values = new Float64Array(length);
    for (let place = 0; place < length; place++) {
      const symbol = symbols[place] + (packed.planes > 1 ? 256 * symbols[length + place] : 0);
      const below = Math.max(0, (symbol >> 3) - 1);
      const code = symbol < 16 ? symbol : (symbol - 8 * below) * 2 ** below + bits(below);
      values[place] = code === 0 ? NaN : packed.base - 1 + code;
    }
    return values;
  }

  /* Every activation by itself. */
  class Samples {
    constructor(head, value) {
      this.period = head.period_ns; this.count = head.count; this.size = 1; this.every = true;
      this.value = value;
    }
    /* Extremes of the activations from..to-1, and where the latest of them is. */
    extremes(from, to) {
      let low = Infinity, high = -Infinity, at = -1;
      for (let place = from; place < to; place++) {
        const value = this.value[place];
        if (value < low) low = value;
        if (value > high) { high = value; at = place; }
      }
      return { low, high, at };
    }
    missed(from, to) {
      let count = 0;
      for (let place = from; place < to; place++) if (Number.isNaN(this.value[place])) count++;
      return count;
    }
    known(place) { return this.value[place]; }
    /* The latest wake-ups, the latest of all first; sorted when somebody asks. */
    get worst() { return this.sorted ??= latest(this.value); }
  }

  /* The extremes of blocks, and the latest wake-ups one by one. */
  class Blocks {
    constructor(head, parts) {
      this.period = head.period_ns; this.count = head.count; this.size = head.size; this.every = false;
      Object.assign(this, parts);
      this.place = new Map(this.peakAt.map((at, index) => [at, this.peak[index]]));
      this.worst = [...this.peakAt.keys()].sort((a, b) => this.peak[b] - this.peak[a] || a - b).map(i => this.peakAt[i]);
    }
    extremes(from, to) {
      let low = Infinity, high = -Infinity, at = -1;
      const last = Math.min(this.high.length, Math.ceil(to / this.size));
      for (let block = Math.floor(from / this.size); block < last; block++) {
        if (this.low[block] < low) low = this.low[block];
        if (this.high[block] > high) { high = this.high[block]; at = block * this.size; }
      }
      return { low, high, at };
    }
    missed(from, to) {
      let count = 0;
      const last = Math.min(this.high.length, Math.ceil(to / this.size));
      for (let block = Math.floor(from / this.size); block < last; block++) count += this.overruns[block];
      return count;
    }
    /* undefined: this activation is not in the page by itself */
    known(place) { return this.place.get(place); }
  }

  function latest(value) {
    const order = Array.from({ length: value.length }, (_, place) => place).filter(place => !Number.isNaN(value[place]));
    order.sort((a, b) => value[b] - value[a] || a - b);
    return order.slice(0, 1000);
  }

  return async function (head) {
    if (head.kind === "all") return new Samples(head, await array(head.value));
    const [low, high, overruns, steps, peak] = await Promise.all(
      [head.low, head.high, head.missed, head.peak_step, head.peak].map(array));
    let at = 0;
    const peakAt = Array.from(steps, step => (at += step));
    return new Blocks(head, { low, high, overruns, peak, peakAt });
  };
})();
