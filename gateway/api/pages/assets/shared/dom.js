// Elements from data. Text is always text: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element. `props` are properties and attributes: `class`, `dataset` (an object), `on…` (listeners), booleans
 * (present or absent), `style` (an object of CSS properties, custom ones too). null, undefined and false are left out,
 * also among the children.
 */
export function h(tag, props, ...children) {
  return filled(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

/** Puts these in the place of everything in `parent`. What has the focus there keeps it, or passes it on. */
export function fill(parent, ...children) {
  const giveBack = parent.contains(document.activeElement) ? holdFocus() : null;
  parent.replaceChildren(...flat(children));
  giveBack?.();
  return parent;
}

/**
 * Remembers what has the focus. Answers how to give it back: to the same element, else to the one of its name that was
 * drawn in its place, else to the region that it was in.
 */
export function holdFocus() {
  const held = document.activeElement;
  const name = nameOf(held);
  const region = held.parentElement?.closest("[tabindex]");
  const heir = () => (name === null ? null : [...document.querySelectorAll(held.tagName)].find((each) => nameOf(each) === name));
  return () => (held.isConnected ? held : heir() ?? region)?.focus({ preventScroll: true });
}

/** By what an element is known again: `data-key`, else its label or its target. */
const nameOf = (element) => element.dataset.key ?? element.getAttribute("aria-label") ?? element.getAttribute("href");

const keys = new WeakMap();

/** Fills `parent` with what `build` makes, only where `key` is another than last time: no churn for who reads aloud. */
export function refill(parent, key, build) {
  const text = JSON.stringify(key);
  if (keys.get(parent) === text) return;
  keys.set(parent, text);
  fill(parent, build());
}

function filled(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) set(element, name, value);
  element.append(...flat(children));
  return element;
}

function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "dataset") Object.assign(element.dataset, value);
  else if (name === "style") for (const [rule, to] of Object.entries(value)) element.style.setProperty(rule, to);
  else if (name === "value" || name === "checked") element[name] = value;
  else element.setAttribute(name, value === true ? "" : value);
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}
