"use strict";
(() => {
  const NARROW = 620, PRINTED = 690;
  const root = document.documentElement;
  const figures = [...document.querySelectorAll("figure.figure")].filter((one) => one.querySelector(".plot"));
  const state = new Map();
  let printing = false;

  const preferred = window.matchMedia("(prefers-color-scheme: dark)");
  let asked = null;
  const setTheme = () => {
    const dark = !printing && (asked === null ? preferred.matches : asked === "dark");
    root.dataset.theme = dark ? "dark" : "light";
  };

  // a text "@name" is a colour of the page; typed arrays and numbers are left alone
  const coloured = (value, colours) => {
    if (typeof value === "string") return value[0] === "@" ? colours.getPropertyValue("--" + value.slice(1)).trim() : value;
    if (Array.isArray(value)) {
      const ends = [value[0], value[value.length - 1]];
      const plain = ends.every((one) => typeof one === "number" || ArrayBuffer.isView(one));
      return plain ? value : value.map((one) => coloured(one, colours));
    }
    if (value && typeof value === "object" && !value.bdata && !ArrayBuffer.isView(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one, colours)]));
    }
    return value;
  };
  const merged = (base, more) => {
    const result = { ...base };
    for (const [key, value] of Object.entries(more || {})) {
      const both = [result[key], value].every((one) => one && typeof one === "object" && !Array.isArray(one));
      result[key] = both ? merged(result[key], value) : value;
    }
    return result;
  };

  const common = (narrow, above) => {
    const line = { gridcolor: "@rule", zerolinecolor: "@faint", linecolor: "@faint", tickcolor: "@faint" };
    return {
      line,
      layout: {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "@paper", hovermode: "closest",
        font: { color: "@ink", size: narrow ? 11 : 12, family: getComputedStyle(document.body).fontFamily },
        margin: narrow ? { l: 52, r: 10, t: above, b: 42 } : { l: 62, r: 16, t: above, b: 46 },
        hoverlabel: { bgcolor: "@panel", bordercolor: "@rule", font: { color: "@ink" } },
        legend: { bgcolor: "rgba(0,0,0,0)" },
      },
    };
  };

  // on a phone a finger that scrolls must not zoom
  const made = (figure) => {
    const own = state.get(figure), width = printing ? PRINTED : figure.clientWidth, narrow = width < NARROW;
    const view = own.spec.views[own.view] || { layout: {} };
    const headed = own.spec.layout.annotations || own.spec.layout.legend || narrow;
    const { line, layout } = common(narrow, headed ? 40 : 12);
    let full = merged(layout, own.spec.layout);
    if (narrow) full = merged(full, own.spec.narrow);
    full = merged(full, view.layout);
    for (const key of Object.keys(full)) {
      if (/^[xy]axis\d*$/.test(key)) full[key] = merged({ ...line, showline: true, exponentformat: "power", ticks: "outside", ticklen: 3, zeroline: false }, full[key]);
    }
    if (full.scene) {
      const walls = { backgroundcolor: "@paper", gridcolor: "@rule", showbackground: false, color: "@ink" };
      for (const key of ["xaxis", "yaxis", "zaxis"]) full.scene[key] = merged(walls, full.scene[key]);
      if (own.camera) full.scene = { ...full.scene, camera: own.camera };
    }
    full.width = width;
    full.height = narrow ? own.spec.narrowHeight : own.spec.height;
    full.uirevision = own.view + (narrow ? "n" : "w");
    if (narrow && !full.scene) full.dragmode = own.zooms ? "zoom" : false;
    const data = own.spec.data.map((trace, index) => (view.visible ? { ...trace, visible: view.visible[index] } : trace));
    const colours = getComputedStyle(root);
    const barred = narrow ? data.map((trace) => smallBar(trace, full)) : data;
    return { data: coloured(barred, colours), layout: coloured(full, colours) };
  };
  // above the panel, where a bar beside it would take a third of a phone
  const smallBar = (trace, layout) => {
    const domain = (layout["yaxis" + (trace.yaxis || "y").slice(1)] || {}).domain || [0, 1];
    const flat = { orientation: "h", thickness: 7, len: 0.5, lenmode: "fraction", x: 1, xanchor: "right", y: domain[1], yanchor: "bottom", ypad: 2 };
    const bar = (one) => ({ ...one, ...flat, title: { ...one.title, side: "top" } });
    if (trace.colorbar) return { ...trace, colorbar: bar(trace.colorbar) };
    if (trace.marker && trace.marker.colorbar) return { ...trace, marker: { ...trace.marker, showscale: false } };
    return trace;
  };
  const config = (narrow) => ({
    displaylogo: false, responsive: false, displayModeBar: narrow || printing ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d"],
  });
  const draw = (figure) => {
    const { data, layout } = made(figure), plot = figure.querySelector(".plot");
    plot.style.minHeight = layout.height + "px";
    return window.Plotly.react(plot, data, layout, config(layout.width < NARROW));
  };
  const drawAll = () => figures.filter((one) => state.get(one).drawn).map(draw);

  const choose = (figure, index) => {
    state.get(figure).view = index;
    figure.querySelectorAll("[data-view]").forEach((one) => one.setAttribute("aria-pressed", String(+one.dataset.view === index)));
    draw(figure);
  };
  const turn = (figure, button) => {
    const own = state.get(figure), plot = figure.querySelector(".plot");
    own.turning = !own.turning;
    button.setAttribute("aria-pressed", String(own.turning));
    const eye = (plot.layout.scene.camera || {}).eye || { x: 1.65, y: -1.45, z: 0.75 };
    const far = Math.hypot(eye.x, eye.y);
    let angle = Math.atan2(eye.y, eye.x);
    const step = () => {
      if (!own.turning) return;
      angle += 0.02;
      own.camera = { ...plot.layout.scene.camera, eye: { x: far * Math.cos(angle), y: far * Math.sin(angle), z: eye.z } };
      window.Plotly.relayout(plot, { "scene.camera": own.camera }).then(() => setTimeout(() => requestAnimationFrame(step), 30));
    };
    step();
  };

  // whole numbers with a step and a lowest value, the largest one for nothing; see spec.py
  const unpacked = (value) => {
    if (Array.isArray(value)) return value.map(unpacked);
    if (!value || typeof value !== "object") return value;
    if (value.step === undefined || !value.bdata) return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, unpacked(one)]));
    const bytes = Uint8Array.from(atob(value.bdata), (one) => one.charCodeAt(0));
    const values = Float32Array.from(new Uint16Array(bytes.buffer), (one) => (one === 65535 ? NaN : value.low + value.step * one));
    if (!value.shape) return values;
    const [rows, columns] = value.shape.split(", ").map(Number);
    return Array.from({ length: rows }, (_, row) => values.subarray(row * columns, (row + 1) * columns));
  };

  const begin = (figure) => {
    const spec = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
    spec.data = unpacked(spec.data);
    const own = { spec, view: 0, drawn: true, zooms: false, turning: false, camera: null };
    state.set(figure, own);
    figure.querySelectorAll("[data-view]").forEach((one) => one.addEventListener("click", () => choose(figure, +one.dataset.view)));
    figure.querySelectorAll("[data-turn]").forEach((one) => one.addEventListener("click", () => turn(figure, one)));
    return draw(figure);
  };
  // the first screen first; the others one after the other, so that the page can be used meanwhile
  const beginAll = async () => {
    for (const figure of figures) {
      await begin(figure);
      await new Promise((next) => setTimeout(next, 0));
    }
    root.dataset.drawn = String(figures.length);
  };

  setTheme();
  figures.forEach((figure) => state.set(figure, { drawn: false }));
  const ready = beginAll();
  document.getElementById("theme").addEventListener("click", () => {
    asked = root.dataset.theme === "dark" ? "light" : "dark";
    setTheme();
    drawAll();
  });
  preferred.addEventListener("change", () => { setTheme(); drawAll(); });
  let waiting = 0;
  window.addEventListener("resize", () => {
    if (printing) return;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 150);
  });
  const closed = [];
  window.addEventListener("beforeprint", () => {
    printing = true;
    setTheme();
    document.querySelectorAll("details:not([open])").forEach((one) => { one.open = true; closed.push(one); });
    drawAll();
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    setTheme();
    closed.splice(0).forEach((one) => { one.open = false; });
    drawAll();
  });
  window.steadyspikeReport = { ready };
})();
