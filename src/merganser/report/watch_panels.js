"use strict";
// what the player of thoughts draws: each panel is an element and a function that shows a tick
const watchPanels = (() => {
  // ---- making elements --------------------------------------------------------------------------------------
  const make = (space) => (name, attributes = {}, ...children) => {
    const made = space ? document.createElementNS(space, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const html = make(null), svg = make("http://www.w3.org/2000/svg");
  const picture = (box, label, className) => svg("svg", { viewBox: box.join(" "), role: "img", "aria-label": label, class: className });
  const figure = (title, drawing, words) => html("figure", {}, html("h3", {}, title), drawing, html("figcaption", {}, words));
  const said = (share) => Math.round(100 * share) + "\u202f%";
  const path = (points) => points.map(([x, y], k) => (k ? "L" : "M") + round(x) + " " + round(y)).join("");
  const round = (value) => Math.round(100 * value) / 100;
  const extent = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);

  // ---- attention --------------------------------------------------------------------------------------------
  // shares of one head, or the mean over heads, at every tick; full colour is the largest share of the whole thought
  const lookOf = (sample, head) => {
    const shares = sample.attention.map((heads) => head === null
      ? heads[0].map((_, token) => heads.reduce((sum, each) => sum + each[token], 0) / heads.length)
      : heads[head]);
    const most = Math.max(...shares.map((row) => Math.max(...row)), 1e-9);
    return { shares, strength: (tick, token) => Math.max(0, shares[tick][token]) / most };
  };

  // ---- what is looked at, by kind ---------------------------------------------------------------------------
  const overlay = (sample, data, rows, columns) => {
    const layer = svg("g", { class: "look" });
    if (!sample.attention || !data.grid) return { layer, show: () => {} };
    const [down, across] = data.grid;
    const cells = Array.from({ length: down * across }, (_, k) => svg("rect", {
      x: (k % across) * columns / across, y: Math.floor(k / across) * rows / down, width: columns / across, height: rows / down,
    }));
    layer.append(...cells);
    return { layer, show: (tick, look) => cells.forEach((cell, k) => cell.setAttribute("opacity", round(0.72 * look.strength(tick, k)))) };
  };

  const mazeStage = (sample, data) => {
    const rows = sample.passages.length, columns = sample.passages[0].length;
    const stage = picture([0, 0, columns, rows], "the maze, where the model looks, and the route it answers", "stage maze");
    const open = sample.passages.flatMap((line, y) => line.flatMap((free, x) => (free ? ["M" + x + " " + y + "h1v1h-1z"] : []))).join("");
    const centre = ([y, x]) => [x + 0.5, y + 0.5];
    const [start, goal] = sample.ends.map(centre), look = overlay(sample, data, rows, columns);
    const truth = svg("path", { class: "truth", d: path(sample.right.map(centre)) });
    const route = svg("path", { class: "route" }), hits = svg("g", { class: "hits" });
    stage.append(
      svg("rect", { class: "wall", width: columns, height: rows }), svg("path", { class: "open", d: open }), look.layer, truth, route,
      svg("circle", { class: "start", cx: start[0], cy: start[1], r: 0.32 }),
      svg("rect", { class: "goal", x: goal[0] - 0.3, y: goal[1] - 0.3, width: 0.6, height: 0.6 }), hits);
    const cross = (place) => {
      const [x, y] = centre(place);
      return svg("path", { d: `M${x - 0.22} ${y - 0.22}l.44 .44m0 -.44l-.44 .44` });
    };
    const show = (tick, look_) => {
      look.show(tick, look_);
      route.setAttribute("d", path(sample.places[tick].map(centre)));
      hits.replaceChildren(...sample.walls[tick].map(cross));
    };
    const words = "Grey is wall. Red dot: start; green square: goal. Orange: the route it answers at this tick; a cross marks a wall it runs into.";
    return { drawing: stage, show, words, truth };
  };

  // places in a row, those of signs and of what attention says of them in the same columns
  const LINE = { wide: 500, left: 70, high: 20, gap: 6 };
  const columns = (count) => {
    const cell = Math.min(24, (LINE.wide - LINE.left) / count), space = cell > 8 ? 2 : 0.5;
    return { cell, inner: cell - space, at: (k) => LINE.left + k * cell };
  };
  const signsStage = (sample) => {
    const { cell, inner, at } = columns(sample.signs.length), high = LINE.high, texts = cell > 10;
    const names = ["sign", "looks at", "answers", "right?", "truth"], row = (k) => k * (high + LINE.gap);
    const stage = picture([0, 0, LINE.wide, row(names.length)], "the signs, where the model looks, and what it answers", "stage signs");
    names.forEach((name, k) => stage.append(svg("text", { x: LINE.left - 8, y: row(k) + 14, "text-anchor": "end" }, name)));
    const box = (k, line, className) => svg("rect", { x: at(k), y: row(line), width: inner, height: high, class: className });
    const letter = (k, line, text) => (texts ? [svg("text", { x: at(k) + inner / 2, y: row(line) + 14, "text-anchor": "middle", class: "letter" }, text)] : []);
    const looks = [], answers = [], marks = [], letters = [];
    sample.signs.forEach((sign, k) => {
      looks.push(svg("rect", { x: at(k), width: inner, class: "seen" }));
      answers.push(box(k, 2, "answer"));
      letters.push(svg("text", { x: at(k) + inner / 2, y: row(2) + 14, "text-anchor": "middle", class: "letter" }));
      marks.push(texts ? svg("text", { x: at(k) + inner / 2, y: row(3) + 14, "text-anchor": "middle" })
        : svg("rect", { x: at(k), y: row(3) + 4, width: inner, height: high - 8 }));
      stage.append(box(k, 0, sign < 0 ? "minus" : "plus"), ...letter(k, 0, sign < 0 ? "\u2212" : "+"), looks[k], answers[k]);
      stage.append(...(texts ? [letters[k]] : []), marks[k]);
      stage.append(box(k, 4, sample.targets[k] ? "odd" : "even"), ...letter(k, 4, sample.targets[k] ? "1" : "0"));
    });
    const show = (tick, look) => sample.signs.forEach((_, k) => {
      const said_ = sample.answers[tick][k], right = said_ === sample.targets[k], strength = look ? look.strength(tick, k) : 0;
      looks[k].setAttribute("height", round(high * strength));
      looks[k].setAttribute("y", round(row(1) + high * (1 - strength)));
      answers[k].setAttribute("class", (said_ ? "odd" : "even") + (right ? "" : " wrong"));
      letters[k].textContent = said_;
      if (texts) marks[k].textContent = right ? "\u2713" : "\u2717";
      marks[k].setAttribute("class", right ? "mark right" : "mark wrong");
    });
    const words = "At each sign the model answers 1 if the minus signs up to there are odd in number, else 0. Bars: where it looks at this tick.";
    return { drawing: stage, show, words };
  };

  const pictureStage = (sample, data) => {
    const pixels = sample.picture, rows = pixels[0].length, columns = pixels[0][0].length;
    const stage = picture([0, 0, columns, rows], "the picture, and where the model looks", "stage picture");
    const [low, high] = extent(pixels.flat(2)), level = (value) => (value - low) / (high - low || 1);
    stage.append(svg("rect", { class: "blank", width: columns, height: rows }));
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        const channels = pixels.map((channel) => level(channel[y][x]));
        const colour = channels.length === 1 ? { class: "ink", opacity: round(channels[0]) }
          : { fill: `rgb(${channels.map((value) => Math.round(255 * value)).join(" ")})` };
        stage.append(svg("rect", { x, y, width: 1.02, height: 1.02, ...colour }));
      }
    }
    const look = overlay(sample, data, rows, columns);
    stage.append(look.layer);
    return { drawing: stage, show: look.show, words: "Blue: where it looks at this tick." };
  };
  const STAGES = { maze: mazeStage, signs: signsStage, picture: pictureStage };

  // ---- beside it: curves, classes, where it looked ------------------------------------------------------------
  const curves = (sample, data, go) => {
    const wide = 420, tall = 150, left = 46, right = 36, top = 16, bottom = 22, last = Math.max(sample.ticks - 1, 1);
    const x = (tick) => left + tick / last * (wide - left - right), y = (share) => top + (1 - share) * (tall - top - bottom);
    const most = Math.max(...sample.losses, 1e-9);
    const chart = picture([0, 0, wide, tall], "certainty and loss at every tick", "curves");
    for (const share of [0, 0.5, 1]) {
      chart.append(svg("line", { class: "rule", x1: left, x2: wide - right, y1: y(share), y2: y(share) }));
      chart.append(svg("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, said(share)));
    }
    chart.append(svg("text", { x: wide - right + 6, y: y(1) + 4, class: "of-loss" }, most.toPrecision(2)));
    chart.append(svg("text", { x: wide - right + 6, y: y(0) + 4, class: "of-loss" }, "0"));
    chart.append(svg("line", { class: "enough", x1: left, x2: wide - right, y1: y(data.enough), y2: y(data.enough) }));
    chart.append(svg("path", { class: "loss", d: path(sample.losses.map((loss, t) => [x(t), y(loss / most)])) }));
    chart.append(svg("path", { class: "certainty", d: path(sample.certainties.map((share, t) => [x(t), y(share)])) }));
    const mark = (tick, name, className, r) => chart.append(
      svg("circle", { cx: x(tick), cy: y(sample.certainties[tick]), r, class: className }, svg("title", {}, name + ": tick " + (tick + 1))));
    if (sample.halted !== null) mark(sample.halted, "certain enough to stop", "halted", 5.5);
    mark(sample.answered, "its answer", "surest", 3.5);
    chart.append(svg("text", { x: left, y: tall - 4 }, "tick 1"), svg("text", { x: wide - right, y: tall - 4, "text-anchor": "end" }, String(sample.ticks)));
    const cursor = svg("line", { class: "cursor", y1: top - 6, y2: tall - bottom });
    chart.append(cursor);
    chart.addEventListener("click", (event) => {
      const box = chart.getBoundingClientRect(), place = (event.clientX - box.left) / box.width * wide;
      go(Math.round((place - left) / (wide - left - right) * last));
    });
    const words = `Blue: certainty. Grey: loss, how far it is from the right answer. Dot: the ${sample.answered === sample.surest ? "surest" : "last"} tick, ${sample.answered + 1}, whose answer counts`
      + (sample.halted === null ? `; it never gets ${said(data.enough)} sure.` : `. Ring: ${said(data.enough)} sure at tick ${sample.halted + 1}, where it could stop.`);
    return { figure: figure("How sure it is", chart, words), show: (tick) => { cursor.setAttribute("x1", x(tick)); cursor.setAttribute("x2", x(tick)); } };
  };

  const classBars = (sample, data) => {
    const chart = picture([0, 0, 420, 18 * data.classes.length], "probability of each class", "classes");
    const bars = data.classes.map((name, k) => {
      const bar = svg("rect", { x: 40, y: 18 * k + 3, height: 12, class: k === sample.targets[0] ? "right" : "other" });
      chart.append(svg("text", { x: 32, y: 18 * k + 13, "text-anchor": "end" }, name + (k === sample.targets[0] ? " \u2713" : "")), bar);
      return bar;
    });
    const show = (tick) => bars.forEach((bar, k) => bar.setAttribute("width", round(360 * sample.chances[tick][0][k])));
    return { figure: figure("What it answers", chart, "Probability of each class at this tick. \u2713: what it is."), show };
  };

  // tokens that stand in a line: all ticks at once, the token it looks at most joined from tick to tick
  const looks = (sample) => {
    const tokens = sample.attention[0][0].length, { cell, inner, at } = columns(tokens), line = 170 / sample.ticks;
    const chart = picture([0, 0, LINE.wide, 174], "where it looks at every tick", "looks");
    const cells = svg("g", { class: "look" }), way = svg("path", { class: "way" });
    const now = svg("rect", { class: "now", x: LINE.left - 3, width: tokens * cell + 4, height: line });
    chart.append(cells, way, now);
    [["tick 1", 12], [String(sample.ticks), 170]].forEach(([text, y]) => chart.append(svg("text", { x: LINE.left - 8, y, "text-anchor": "end" }, text)));
    const restart = (look) => {
      cells.replaceChildren(...look.shares.flatMap((row, t) => row.map((_, k) => svg("rect", {
        x: round(at(k)), y: round(2 + t * line), width: round(inner), height: round(line), opacity: round(look.strength(t, k)),
      }))));
      way.setAttribute("d", path(look.shares.map((row, t) => [at(row.indexOf(Math.max(...row))) + inner / 2, 2 + (t + 0.5) * line])));
    };
    const words = "A line for each tick, from the top, in the same columns. The orange line joins what it looks at most.";
    return { figure: figure("Where it looks, tick after tick", chart, words), show: (tick) => now.setAttribute("y", round(2 + tick * line)), restart };
  };

  // ---- inside -------------------------------------------------------------------------------------------------
  const neurons = (sample, data, others) => {
    const across = 6, wide = 100, tall = 44, count = data.neurons.length, last = Math.max(sample.ticks - 1, 1);
    const chart = picture([0, 0, across * wide, Math.ceil(count / across) * tall], "activations of single neurons over the ticks", "neurons");
    const lines = data.neurons.map((number, k) => {
      const mine = sample.activations.map((row) => row[k]), rest = others[k].map((line) => line.slice(0, sample.ticks));
      const [low, high] = extent([mine, ...rest].flat());
      const x = (t) => 4 + t / last * (wide - 12), y = (v) => 6 + (1 - (v - low) / (high - low || 1)) * (tall - 14);
      const line = (values) => path(values.map((value, t) => [x(t), y(value)]));
      const cursor = svg("line", { class: "cursor", y1: 3, y2: tall - 5 });
      chart.append(svg("g", { transform: `translate(${(k % across) * wide} ${Math.floor(k / across) * tall})` },
        svg("title", {}, "neuron " + number), svg("path", { class: "rest", d: rest.map(line).join("") }), svg("path", { class: "mine", d: line(mine) }), cursor));
      return (tick) => { cursor.setAttribute("x1", round(x(tick))); cursor.setAttribute("x2", round(x(tick))); };
    });
    const words = `The ${count} neurons that move most, from the first tick to the last. Blue: for this input. Grey: for other inputs.`;
    return { figure: figure("What neurons do", chart, words), show: (tick) => lines.forEach((line) => line(tick)) };
  };

  const matrix = (sample) => {
    const count = sample.together[0].length;
    const chart = picture([0, 0, count, count], "how much every two neurons go together at this tick", "matrix");
    const most = sample.together.flat(2).map(Math.abs).sort((a, b) => a - b);
    const full = most[Math.floor(0.99 * (most.length - 1))] || 1; // a few large ones would leave the rest pale
    const cells = Array.from({ length: count * count }, (_, k) => svg("rect", { x: k % count, y: Math.floor(k / count), width: 1, height: 1 }));
    chart.append(...cells);
    const show = (tick) => cells.forEach((cell, k) => {
      const value = sample.together[tick][Math.floor(k / count)][k % count];
      cell.setAttribute("class", value < 0 ? "against" : "with");
      cell.setAttribute("opacity", round(Math.min(1, Math.abs(value) / full)));
    });
    const words = "Synchronisation of every two of these neurons, in the same order: blue where they move together, orange where against each other. What the model answers is read off such numbers.";
    return { figure: figure("How they go together", chart, words), show };
  };

  return { STAGES, classBars, curves, figure, html, lookOf, looks, matrix, neurons, said };
})();
