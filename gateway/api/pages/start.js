// Opens the API description of the gateway that served this page, in the theme of all its pages.
window.SwaggerUIBundle({
  url: "/docs/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
});

(() => {
  const root = document.documentElement;
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    const theme = root.dataset.theme || (systemIsDark.matches ? "dark" : "light");
    root.classList.toggle("dark-mode", theme === "dark");
  };
  new MutationObserver(follow).observe(root, { attributeFilter: ["data-theme"] });
  systemIsDark.addEventListener("change", follow);
  follow();
})();
