"use strict";
(() => {
  const root = document.documentElement;
  let dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  const setTheme = () => { root.dataset.theme = dark ? "dark" : "light"; };
  setTheme();
  document.getElementById("theme").addEventListener("click", () => { dark = !dark; setTheme(); });
  const buttons = [...document.querySelectorAll("button[data-state]")];
  const show = (chosen) => {
    buttons.forEach((one) => one.setAttribute("aria-pressed", String(one === chosen)));
    document.querySelectorAll("tr[data-state]").forEach((row) => {
      row.hidden = chosen.dataset.state !== "" && row.dataset.state !== chosen.dataset.state;
    });
  };
  buttons.forEach((one) => one.addEventListener("click", () => show(one)));
})();
