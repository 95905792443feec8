"use strict";
// Tables that sort, and charts that a reader can look closer at. Without this script the page shows everything all the same.

const make = (tag, attributes = {}, ...inside) => {
  const svg = ["svg", "path", "line", "rect", "text", "g"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
};

// --- tables

const valueOf = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.by === undefined ? cell.textContent : Number(cell.dataset.by);
};

const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
  : typeof a === typeof b ? a.localeCompare(b, undefined, { numeric: true }) : typeof a === "number" ? -1 : 1;

for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    const button = make("button", { type: "button", title: "Sort" }, head.textContent);
    head.replaceChildren(button);
    // On paper a table's head comes again on every page, but not with buttons in it.
    addEventListener("beforeprint", () => head.replaceChildren(button.textContent));
    addEventListener("afterprint", () => head.replaceChildren(button));
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].sort((a, b) => compare(valueOf(a, column), valueOf(b, column)) * (up ? 1 : -1));
      table.tBodies[0].append(...rows);
    });
  });
}

// --- numbers as people say them

const digits = number => String(Number(number.toPrecision(3)));
const seconds = value => {
  const size = Math.abs(value);
  return value === 0 ? "0 s" : size >= 1 ? `${digits(value)} s` : size >= 1e-3 ? `${digits(value * 1e3)} ms` : `${digits(value * 1e6)} µs`;
};
const written = {
  "s": seconds,
  "%": value => `${Number((100 * value).toFixed(3))} %`,
  "tail": value => `p${Number((100 * value).toFixed(4))}`,
  "": digits,
};

// --- charts

const WIDTH = 460, HEIGHT = 270, LEFT = 62, RIGHT = 12, TOP = 40, BOTTOM = 40;
const colours = JSON.parse(document.getElementById("colours").textContent);
const dashes = ["", "7 3", "9 3 2 3", "2 2"];
const hidden = new Set();
const redraws = [];
const dark = matchMedia("(prefers-color-scheme: dark)");

// Black, or nearly so, is not to be seen on dark paper.
const colourOf = name => {
  const found = colours[name] ?? "#888888";
  const [red, green, blue] = [1, 3, 5].map(at => parseInt(found.slice(at, at + 2), 16));
  return dark.matches && 0.3 * red + 0.59 * green + 0.11 * blue < 90 ? `color-mix(in srgb, ${found} 45%, white)` : found;
};
const dashOf = name => dashes[Object.keys(colours).indexOf(name) % dashes.length] ?? "";

const nice = (low, high, count) => {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(one => one * power).find(one => one >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + 1e-9 * step; tick += step) ticks.push(Number(tick.toPrecision(9)));
  return ticks;
};

const scaleOf = (kind, low, high, from, to) => {
  const bend = { tail: value => -Math.log10(1 - Math.min(value, 0.99999)), log: value => Math.log10(Math.max(value, 1e-9)) }[kind] ?? (value => value);
  const [start, end] = [bend(low), bend(high)];
  const scale = value => from + (bend(value) - start) / ((end - start) || 1) * (to - from);
  scale.ticks = kind === "tail" ? [0.5, 0.9, 0.99, 0.999, 0.9999].filter(tick => tick >= low && tick <= high)
    : kind === "log" ? [...Array(16).keys()].flatMap(power => [1, 3].map(one => one * 10 ** (power - 7))).filter(tick => tick >= low && tick <= high)
    : nice(low, high, 5);
  return scale;
};

const pointsOf = panel => Object.keys(panel.series).filter(name => !hidden.has(name))
  .flatMap(name => panel.series[name]).filter(point => point[1] !== null);

// From least to most of all panels, so that they can be compared.
const heightsOf = (data, zoom) => {
  const all = data.panels.flatMap(pointsOf);
  const inside = all.filter(point => !zoom || (point[0] >= zoom[0] && point[0] <= zoom[1]));
  const values = (inside.length ? inside : all).map(point => point[1]);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (data.log) return [least, most];
  return data.y.unit === "%" ? [Math.max(0, least - 0.02), Math.min(1, most + 0.002)] : [0, most * 1.06 || 1];
};

const drawPanel = (data, panel, zoom, onZoom, tell) => {
  const names = Object.keys(panel.series).filter(name => !hidden.has(name));
  const all = pointsOf(panel);
  const svg = make("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: 0, role: "img",
    "aria-label": `${panel.name}: ${data.y.name} over ${data.x.name}. Arrow keys read values, Escape shows everything again.`,
  });
  svg.append(make("text", { x: LEFT, y: 15, "font-weight": 600 }, panel.name));
  if (!all.length) return svg;
  const [firstX, lastX] = zoom ?? [Math.min(...all.map(point => point[0])), Math.max(...all.map(point => point[0]))];
  const [least, most] = heightsOf(data, zoom);
  const x = scaleOf(data.x.unit, firstX, lastX, LEFT, WIDTH - RIGHT);
  const y = scaleOf(data.log ? "log" : "", least, most, HEIGHT - BOTTOM, TOP);
  for (const tick of x.ticks) {
    svg.append(make("line", { class: "grid", x1: x(tick), x2: x(tick), y1: TOP, y2: HEIGHT - BOTTOM }));
    svg.append(make("text", { x: x(tick), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, written[data.x.unit](tick)));
  }
  for (const tick of y.ticks) {
    svg.append(make("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }));
    svg.append(make("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, written[data.y.unit](tick)));
  }
  svg.append(make("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, data.x.name));
  const clamp = value => Math.min(HEIGHT - BOTTOM, Math.max(TOP, y(value)));
  for (const [label, start, end] of panel.bands) {
    const from = Math.max(x(start), LEFT), to = Math.min(x(end ?? lastX), WIDTH - RIGHT);
    if (to > from) svg.append(make("rect", { class: "fault", x: from, y: TOP, width: to - from, height: HEIGHT - BOTTOM - TOP }));
    if (to > from) svg.append(make("text", { x: Math.min(from, WIDTH - RIGHT - 6 * label.length), y: TOP - 6 }, label));
  }
  for (const name of names) {
    const points = panel.series[name].filter(point => point[1] !== null && point[0] >= firstX && point[0] <= lastX);
    const line = points.map((point, i) => `${i ? "L" : "M"}${x(point[0]).toFixed(1)} ${clamp(point[1]).toFixed(1)}`).join("");
    const banded = points.filter(point => point[2] !== null && point[3] !== null);
    const upper = banded.map(point => `${x(point[0]).toFixed(1)} ${clamp(point[3]).toFixed(1)}`);
    const lower = banded.map(point => `${x(point[0]).toFixed(1)} ${clamp(point[2]).toFixed(1)}`).reverse();
    if (banded.length > 1) svg.append(make("path", { d: `M${[...upper, ...lower].join("L")}Z`, fill: colourOf(name), opacity: 0.18 }));
    svg.append(make("path", { class: "curve", d: line, fill: "none", stroke: colourOf(name), "stroke-width": 2, "stroke-dasharray": dashOf(name) }));
  }
  const cursor = make("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const picked = make("rect", { class: "picked", y: TOP, height: HEIGHT - BOTTOM - TOP, width: 0 });
  svg.append(cursor, picked);
  const places = [...new Set(all.map(point => point[0]))].filter(at => at >= firstX && at <= lastX).sort((a, b) => a - b);
  let place = -1, from = null;
  const show = at => {
    place = Math.max(0, Math.min(places.length - 1, at));
    const here = places[place];
    cursor.setAttribute("x1", x(here));
    cursor.setAttribute("x2", x(here));
    cursor.setAttribute("visibility", "visible");
    const told = names.map(name => [name, panel.series[name].find(point => point[0] === here)]).filter(([, point]) => point && point[1] !== null)
      .map(([name, [, middle, low, high]]) => `${name} ${written[data.y.unit](middle)}` +
        (low === null || high === null ? "" : ` [${written[data.y.unit](low)}, ${written[data.y.unit](high)}]`));
    tell(`${panel.name}, ${written[data.x.unit](here)}: ${told.join(" · ")}`);
  };
  const under = event => {
    const box = svg.getBoundingClientRect();
    return (event.clientX - box.left) / box.width * WIDTH;
  };
  const nearest = at => places.reduce((best, one, i) => Math.abs(x(one) - at) < Math.abs(x(places[best]) - at) ? i : best, 0);
  svg.addEventListener("pointermove", event => {
    show(nearest(under(event)));
    if (from === null) return;
    picked.setAttribute("x", Math.min(from, under(event)));
    picked.setAttribute("width", Math.abs(under(event) - from));
  });
  svg.addEventListener("pointerdown", event => { from = under(event); });
  svg.addEventListener("pointerup", event => {
    const ends = from === null ? [] : [nearest(from), nearest(under(event))].sort((a, b) => a - b).map(i => places[i]);
    const wide = from !== null && Math.abs(under(event) - from) > 12;
    from = null;
    picked.setAttribute("width", 0);
    if (wide && ends[1] > ends[0]) onZoom(ends);
  });
  svg.addEventListener("pointerleave", () => { from = null; picked.setAttribute("width", 0); cursor.setAttribute("visibility", "hidden"); });
  svg.addEventListener("dblclick", () => onZoom(null));
  svg.addEventListener("keydown", event => {
    if (event.key === "ArrowRight") show(place + 1);
    else if (event.key === "ArrowLeft") show(place - 1);
    else if (event.key === "Escape") return onZoom(null);
    else return;
    event.preventDefault();
  });
  return svg;
};

for (const figure of document.querySelectorAll("figure.chart")) {
  const source = figure.querySelector("script[type='application/json']");
  if (!source) continue;
  const data = JSON.parse(source.textContent);
  const names = [...new Set(data.panels.flatMap(panel => Object.keys(panel.series)))];
  const live = make("div", { class: "live" });
  const keys = make("div", { class: "keys", role: "group", "aria-label": "Candidates" });
  for (const name of names) {
    const stroke = make("line", { x1: 0, x2: 30, y1: 5, y2: 5, "stroke-width": 3, "stroke-dasharray": dashOf(name) });
    const swatch = make("svg", { class: "swatch", viewBox: "0 0 30 10", "aria-hidden": "true" }, stroke);
    const button = make("button", { type: "button", "aria-pressed": "true" }, swatch, name);
    button.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      redraws.forEach(redraw => redraw());
    });
    redraws.push(() => {
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      stroke.setAttribute("stroke", colourOf(name));
    });
    keys.append(button);
  }
  const told = make("div", { class: "told-here", "aria-live": "polite" });
  const panels = make("div", { class: "panels" });
  let zoom = null;
  const redraw = () => {
    const again = [...panels.children].indexOf(document.activeElement);
    panels.replaceChildren(...data.panels.map(panel => drawPanel(data, panel, zoom, ends => { zoom = ends; redraw(); }, text => { told.textContent = text; })));
    if (again >= 0) panels.children[again].focus();
  };
  redraws.push(redraw);
  const hint = make("p", { class: "hint" }, "Point to read values, or use the arrow keys; drag to look closer, double-click or Escape to see everything.");
  live.append(keys, panels, told, hint);
  figure.append(live);
  figure.classList.add("has-live");
}
redraws.forEach(redraw => redraw());
dark.addEventListener("change", () => redraws.forEach(redraw => redraw()));
