"use strict";
// the player of thoughts: reads the page's data, and takes what the reader does to the panels
(() => {
  const { STAGES, classBars, curves, figure, html, lookOf, looks, matrix, neurons, said } = watchPanels;

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
      const led = sample.reached[tick] ? "reaches the goal" : sample.whole[tick] ? "is right as far as it is asked for" : "does not reach the goal";
      parts.push(`the route ${led}` + (hits ? ` and runs into walls ${hits === 1 ? "once" : hits + " times"}` : ""));
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
      show(sample.answered);
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
