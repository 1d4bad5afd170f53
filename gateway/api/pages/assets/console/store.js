// What the page knows, gathered from the streams; whoever draws hears of each change once a frame.

const KEPT = 600; // seconds of traffic

export class Store {
  routes = new Map(); // by model
  models = {}; // the loaded versions by model
  reports = new Map();
  traffic = new Map(); // by model: { width, now, versions: Map of version to Map of second to point }
  logs = new Map(); // by model: the events of its route, the newest first
  workers = null;
  health = {};
  connected = null; // null before the first word
  #listeners = new Set();
  #due = false;

  /** Calls `draw` after changes. Answers how to stop. */
  subscribe(draw) {
    this.#listeners.add(draw);
    return () => this.#listeners.delete(draw);
  }

  /** The routes of all models that are loaded or have a rollout under way; the others are kept, as they are told again
   *  only when they change. */
  get served() {
    return [...this.routes.values()].filter(({ model }) => Object.hasOwn(this.models, model));
  }

  set(fields) {
    Object.assign(this, fields);
    this.changed();
  }

  route(view) {
    const known = this.routes.get(view.model);
    if (known && known.generation > view.generation) return; // another worker's copy may be a moment behind
    this.routes.set(view.model, { ...view, received: Date.now() });
    this.changed();
  }

  report(report) {
    this.reports.set(report.model, report);
    this.changed();
  }

  addTraffic({ model, width, now, versions }) {
    const known = this.traffic.get(model)?.versions ?? new Map();
    for (const [version, points] of Object.entries(versions)) {
      const held = known.get(version) ?? new Map();
      for (const point of points) held.set(point.at, point);
      for (const at of held.keys()) if (at < now - KEPT) held.delete(at);
      known.set(version, held);
    }
    this.traffic.set(model, { width, now, versions: known });
    this.changed();
  }

  changed() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      for (const draw of [...this.#listeners]) draw();
    });
  }
}
