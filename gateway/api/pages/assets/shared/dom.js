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

/** Puts these in the place of everything in `parent`. */
export function fill(parent, ...children) {
  parent.replaceChildren(...flat(children));
  return parent;
}

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
