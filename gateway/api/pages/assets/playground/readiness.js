// Whether the gateway can answer at all, from /readyz, while the page is looked at.

const EVERY = 4000; // milliseconds

/** `back` is called each time that the gateway has become ready again. */
export function watchReadiness(badge, back) {
  let ready = true;
  let looking = false;
  const look = async () => {
    if (document.hidden || looking) return;
    looking = true;
    // A gateway that is silent is no answer either, and keeps no more than one of the browser's connections.
    const signal = AbortSignal.timeout(EVERY);
    const response = await fetch("/readyz", { cache: "no-store", signal }).catch(() => null);
    const told = await response?.json().catch(() => null);
    looking = false;
    const [tone, text] = words(response, told);
    if (badge.textContent !== text) badge.textContent = text;
    badge.className = `badge ${tone}`;
    if (response?.ok && !ready) back();
    ready = Boolean(response?.ok);
  };
  setInterval(look, EVERY);
  document.addEventListener("visibilitychange", look);
  look();
}

function words(response, told) {
  if (response?.ok) return ["good", "ready"];
  if (!told) return ["bad", "no answer"];
  if (told.parts && !told.parts.triton) return ["bad", "Triton is down"];
  if (told.parts && !told.parts.models) return ["bad", "no model is loaded"];
  return ["bad", "not ready"];
}
