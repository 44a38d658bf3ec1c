"use strict";
(() => {
  // ---- reading the data -------------------------------------------------------------------------------------
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const unpack = (packed) => {
    if (!packed) return null;
    const raw = bytesOf(packed.bytes);
    let flat = raw;
    if ("span" in packed) flat = Float32Array.from(raw, (level) => packed.low + packed.span * level / 255);
    else if (packed.wide) flat = Uint16Array.from({ length: raw.length / 2 }, (_, k) => raw[2 * k] + 256 * raw[2 * k + 1]);
    return nested(flat, packed.shape);
  };
  const nested = (flat, shape) => {
    if (shape.length === 1) return Array.from(flat);
    const size = flat.length / shape[0];
    return Array.from({ length: shape[0] }, (_, k) => nested(flat.subarray(k * size, (k + 1) * size), shape.slice(1)));
  };
  const PACKED = ["answers", "chances", "attention", "activations", "together", "passages", "places", "picture"];
  const unpackSample = (sample) => {
    for (const name of PACKED) sample[name] = unpack(sample[name]);
    sample.ticks = sample.certainties.length;
    return sample;
  };

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

  // ---- what is looked at: each kind gives an element and a function that shows a tick -------------------------
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
      marks.push(svg("text", { x: at(k) + inner / 2, y: row(3) + 14, "text-anchor": "middle", class: "mark" }));
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
      marks[k].textContent = right ? "\u2713" : "\u2717";
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
    mark(sample.surest, "surest", "surest", 3.5);
    chart.append(svg("text", { x: left, y: tall - 4 }, "tick 1"), svg("text", { x: wide - right, y: tall - 4, "text-anchor": "end" }, String(sample.ticks)));
    const cursor = svg("line", { class: "cursor", y1: top - 6, y2: tall - bottom });
    chart.append(cursor);
    chart.addEventListener("click", (event) => {
      const box = chart.getBoundingClientRect(), place = (event.clientX - box.left) / box.width * wide;
      go(Math.round((place - left) / (wide - left - right) * last));
    });
    const words = `Blue: certainty. Grey: loss, how far it is from the right answer. Dot: the surest tick, ${sample.surest + 1}, whose answer counts`
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

  // ---- the player ----------------------------------------------------------------------------------------------
  const SPEEDS = [1, 2, 4, 8, 16, 32];
  const option = (value, text, chosen) => html("option", { value, selected: chosen ? "" : null }, text);
  const labelled = (text, control) => html("label", {}, text + " ", control);
  const button = (text, label) => html("button", { type: "button", "aria-label": label, title: label }, text);

  const status = (sample, data, tick) => {
    const parts = [`Tick ${tick + 1} of ${sample.ticks}: ${said(sample.certainties[tick])} sure`], answers = sample.answers[tick];
    const right = answers.filter((answer, k) => answer === sample.targets[k]).length;
    if (data.kind === "maze") {
      const hits = sample.walls[tick].length;
      parts.push((sample.reached[tick] ? "the route reaches the goal" : "the route does not reach the goal") + (hits ? ` and runs into walls ${hits === 1 ? "once" : hits + " times"}` : ""));
    } else if (answers.length === 1) {
      parts.push(`answers ${data.classes[answers[0]]}, which is ${right ? "right" : "wrong"}`);
    } else {
      parts.push(`${right} of ${answers.length} answers are right`);
    }
    return parts.join("; ") + ".";
  };

  const play = (place) => {
    const data = JSON.parse(document.getElementById(place.dataset.watch).textContent);
    const others = unpack(data.others), samples = data.samples.map(unpackSample);
    let sample, tick, head = null, timer = null, panels = [], look = null, stage = null;

    const first = button("|\u25c0\ufe0e", "first tick (Home)"), back = button("\u25c0\ufe0e", "one tick back (left arrow)");
    const toggle = button("\u25b6\ufe0e Play", "play or pause (space)"), on = button("\u25b6\ufe0e", "one tick on (right arrow)");
    toggle.className = "toggle";
    const slider = html("input", { type: "range", min: 1, step: 1, "aria-label": "tick" });
    const perSecond = SPEEDS.find((speed) => speed >= samples[0].ticks / 8) || 32;
    const speed = html("select", {}, ...SPEEDS.map((each) => option(each, each + (each === 1 ? " tick" : " ticks") + " a second", each === perSecond)));
    const heads = samples[0].attention ? samples[0].attention[0].length : 0;
    const chooseHead = html("select", {}, option("", "all heads", true), ...Array.from({ length: heads }, (_, k) => option(k, "head " + (k + 1))));
    const truth = html("input", { type: "checkbox" });
    const words = html("output", { class: "status" });
    const chooser = html("div", { class: "samples", role: "group", "aria-label": "samples" });
    const main = html("div", { class: "main" }), side = html("div", { class: "side" });
    const options = html("div", { class: "options" }, labelled("Speed", speed));
    if (heads > 1) options.append(labelled("Looks of", chooseHead));
    if (data.kind === "maze") options.append(html("label", {}, truth, " show the right route, dashed"));
    const controls = html("div", { class: "controls" }, html("div", { class: "keys" }, first, back, toggle, on, slider), options);
    const stageBox = html("div"), below = html("div");
    main.append(html("div", {}, stageBox, words, controls, below), side);

    const show = (wanted) => {
      tick = Math.min(Math.max(wanted, 0), sample.ticks - 1);
      panels.forEach((panel) => panel.show(tick, look));
      slider.value = tick + 1;
      words.textContent = status(sample, data, tick);
      place.dataset.tick = tick + 1;
    };
    const pause = () => {
      clearInterval(timer);
      timer = null;
      toggle.textContent = "\u25b6\ufe0e Play";
      place.dataset.state = "paused";
      words.setAttribute("aria-live", "polite");
    };
    const run = () => {
      words.setAttribute("aria-live", "off"); // nobody can listen to so many
      toggle.textContent = "\u275a\u275a Pause";
      place.dataset.state = "playing";
      timer = setInterval(() => { if (tick + 1 < sample.ticks) show(tick + 1); else pause(); }, 1000 / Number(speed.value));
    };
    const begin = () => { if (tick + 1 === sample.ticks) show(0); run(); };
    const step = (wanted) => { pause(); show(wanted); };
    const relook = () => {
      look = sample.attention ? lookOf(sample, head) : null;
      panels.forEach((panel) => panel.restart && panel.restart(look));
    };
    const choose = (number) => {
      pause();
      sample = samples[number];
      place.dataset.sample = number + 1;
      [...chooser.children].forEach((each, k) => each.setAttribute("aria-pressed", String(k === number)));
      stage = STAGES[data.kind] ? STAGES[data.kind](sample, data) : null;
      const beside = [curves(sample, data, step)];
      if (data.kind === "picture" || (data.kind === "none" && sample.targets.length === 1)) beside.push(classBars(sample, data));
      if (sample.activations && others) beside.push(neurons(sample, data, others));
      if (sample.together) beside.push(matrix(sample));
      const under = sample.attention && !data.grid && sample.attention[0][0].length > 1 ? [looks(sample)] : [];
      stageBox.replaceChildren(...(stage ? [figure("What it sees", stage.drawing, stage.words)] : []));
      side.replaceChildren(...beside.map((panel) => panel.figure));
      below.replaceChildren(...under.map((panel) => panel.figure));
      panels = [...(stage ? [stage] : []), ...under, ...beside];
      slider.max = sample.ticks;
      if (stage && stage.truth) stage.truth.style.display = truth.checked ? "" : "none";
      controls.querySelector(".keys").hidden = sample.ticks < 2;
      relook();
      show(sample.surest);
    };

    samples.forEach((each, k) => {
      const pick = html("button", { type: "button", class: each.solved ? "solved" : "failed" }, html("b", {}, `Sample ${each.number}`), html("span", {}, each.outcome));
      pick.addEventListener("click", () => choose(k));
      chooser.append(pick);
    });
    first.addEventListener("click", () => step(0));
    back.addEventListener("click", () => step(tick - 1));
    on.addEventListener("click", () => step(tick + 1));
    toggle.addEventListener("click", () => (timer === null ? begin() : pause()));
    slider.addEventListener("input", () => step(Number(slider.value) - 1));
    speed.addEventListener("change", () => { if (timer !== null) { clearInterval(timer); run(); } });
    chooseHead.addEventListener("change", () => { head = chooseHead.value === "" ? null : Number(chooseHead.value); relook(); show(tick); });
    truth.addEventListener("change", () => { stage.truth.style.display = truth.checked ? "" : "none"; });
    const KEYS = { ArrowLeft: () => step(tick - 1), ArrowRight: () => step(tick + 1), Home: () => step(0), End: () => step(sample.ticks - 1), " ": () => (timer === null ? begin() : pause()) };
    place.addEventListener("keydown", (event) => {
      const tag = event.target.tagName, taken = tag === "SELECT" || (event.key === " " && ["BUTTON", "INPUT"].includes(tag) && event.target !== slider);
      if (taken || !KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      KEYS[event.key]();
    });
    place.tabIndex = 0;
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", "player of thoughts; arrow keys go from tick to tick, space plays");
    place.replaceChildren(chooser, main);
    const solved = samples.map((each) => each.solved).lastIndexOf(true);
    choose(Math.max(solved, 0)); // the hardest of those that it can do
  };
  document.querySelectorAll(".watch").forEach(play);
})();
