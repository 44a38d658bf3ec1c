"use strict";
(() => {
  const root = document.documentElement;
  // what went wrong is noted on the page itself, where a reader and a test can see it
  const note = (message) => { root.dataset.errors = [root.dataset.errors, String(message)].filter(Boolean).join("; "); };
  window.addEventListener("error", (event) => note(event.message));
  window.addEventListener("unhandledrejection", (event) => note(event.reason));

  const options = { actions: false, renderer: "svg", tooltip: { theme: "custom" } };
  const draw = async (place) => {
    const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
    try {
      await window.vegaEmbed(place, spec, options);
    } catch (error) {
      note(error);
      place.textContent = "This picture could not be drawn: " + error;
    }
  };
  Promise.all(Array.from(document.querySelectorAll(".chart"), draw)).then(() => { root.dataset.drawn = "all"; });
})();
