// The theme: the system's until somebody chooses, then theirs. A plain script in <head>, so that no page flashes.
(() => {
  const root = document.documentElement;
  const KEY = "gateway-theme";

  const stored = () => {
    try { return localStorage.getItem(KEY); } catch { return null; }
  };
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
  const current = () => root.dataset.theme || (systemIsDark.matches ? "dark" : "light");

  const label = () => {
    const text = `Use the ${current() === "dark" ? "light" : "dark"} theme`;
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.setAttribute("aria-label", text);
      button.title = text;
    }
  };

  if (["light", "dark"].includes(stored())) root.dataset.theme = stored();

  // A button with data-theme-toggle is the switch.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-toggle]");
    if (!button) return;
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    try { localStorage.setItem(KEY, root.dataset.theme); } catch { /* it lasts for this page then */ }
    label();
  });
  document.addEventListener("DOMContentLoaded", label);
  systemIsDark.addEventListener("change", label);
})();
